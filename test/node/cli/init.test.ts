import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { loadPolicies } from '../../../src/node/policy-file/index.ts';
import type { Plan } from '../../../src/node/cli/init/init.ts';
import { PRESET_NAMES } from '../../../src/node/cli/init/presets.ts';
import { ask } from '../../../src/node/cli/init/questions.ts';
import { agentguard, newHome } from './run-cli.ts';

describe('agentguard init --yes', () => {
  it('writes a policy that a guard takes and policy check has nothing against', async () => {
    const file = join(await newHome(), 'policies.yaml');
    const run = await agentguard([
      'init',
      '--yes',
      '--file',
      file,
      '--tenant',
      'globex',
      '--team',
      '42',
      '--shadow',
    ]);
    expect(run).toMatchObject({ code: 0, stderr: '' });
    expect(run.stdout).toContain('policy check');
    expect(run.stdout).toContain('--log globex');
    const [policy] = loadPolicies(file);
    expect(policy).toMatchObject({
      id: 'code-review',
      scope: { tenantId: 'globex', teamId: '42', task: 'code-review' },
      mode: 'shadow',
    });
    expect(readFileSync(file, 'utf8')).toMatch(/^# yaml-language-server: \$schema=\S+policy\.schema\.json\n/);
    const check = await agentguard(['policy', 'check', file, '--strict']);
    expect(check).toMatchObject({ code: 0, stderr: '' });
  });

  it('takes several presets, by repetition and by list, and all of them', async () => {
    const home = await newHome();
    const several = join(home, 'several.yaml');
    const args = ['--preset', 'repo-scan,code-review', '--preset', 'agent-support'];
    expect(await agentguard(['init', '--yes', '--file', several, ...args])).toMatchObject({ code: 0 });
    expect(loadPolicies(several).map(({ id }) => id)).toEqual(['repo-scan', 'code-review', 'agent-support']);
    const all = join(home, 'new folder', 'all.yaml');
    expect(
      await agentguard(['init', '--yes', '--file', all, '--preset', 'all', '--time-zone', 'Asia/Kolkata']),
    ).toMatchObject({ code: 0 });
    expect(loadPolicies(all).map(({ id }) => id)).toEqual(PRESET_NAMES);
    expect(loadPolicies(all).every(({ timeZone }) => timeZone === 'Asia/Kolkata')).toBe(true);
  });

  it('writes JSON where the name says so', async () => {
    const file = join(await newHome(), 'policies.json');
    const run = await agentguard(['init', '--json', '--file', file, '--preset', 'risk-analysis']);
    expect(JSON.parse(run.stdout)).toMatchObject({
      exitCode: 0,
      presets: ['risk-analysis'],
      replaced: false,
    });
    expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({ policies: [{ id: 'risk-analysis' }] });
    expect(loadPolicies(file)).toHaveLength(1);
  });

  it('points an editor to the nearest installation of the package', async () => {
    const home = await newHome();
    const installed = join(home, 'node_modules', '@agentguard-run', 'spend');
    mkdirSync(installed, { recursive: true });
    writeFileSync(join(installed, 'policy.schema.json'), '{}');
    const file = join(home, 'config', 'policies.yaml');
    await agentguard(['init', '--yes', '--file', file]);
    expect(readFileSync(file, 'utf8').split('\n')[0]).toBe(
      '# yaml-language-server: $schema=../node_modules/@agentguard-run/spend/policy.schema.json',
    );
  });

  it('never replaces a file unasked', async () => {
    const home = await newHome();
    const file = join(home, 'policies.yaml');
    writeFileSync(file, 'mine\n');
    const run = await agentguard(['init', '--yes', '--file', file]);
    expect(run.code).toBe(2);
    expect(run.stderr).toContain('is there already, and was left as it is');
    expect(run.stderr).toContain('--force');
    expect(readFileSync(file, 'utf8')).toBe('mine\n');
    const json = await agentguard(['init', '--json', '--file', file]);
    expect(json.code).toBe(2);
    expect(JSON.parse(json.stdout)).toMatchObject({ exitCode: 2, error: expect.stringContaining('--force') });
    const forced = await agentguard(['init', '--json', '--file', file, '--force']);
    expect(JSON.parse(forced.stdout)).toMatchObject({ exitCode: 0, replaced: true });
    expect(loadPolicies(file)).toHaveLength(1);
    expect(readdirSync(home)).toEqual(['policies.yaml']);
  });

  it.each([
    [['--preset', 'code'], 'Choose from code-review, risk-analysis'],
    [['--tenant', ''], '--tenant'],
    [['--time-zone', 'Mars/Olympus'], 'Europe/Berlin'],
    [['--presets', 'code-review'], 'unknown option'],
  ])('says what to do about %s', async (args, words) => {
    const file = join(await newHome(), 'policies.yaml');
    const run = await agentguard(['init', '--yes', '--file', file, ...args]);
    expect(run).toMatchObject({ code: 2, stdout: '' });
    expect(run.stderr).toContain(words);
    expect(existsSync(file)).toBe(false);
  });

  it('asks nothing where nobody is there to answer', async () => {
    const file = join(await newHome(), 'policies.yaml');
    const run = await agentguard(['init', '--file', file]);
    expect(run.code).toBe(2);
    expect(run.stderr).toContain('--yes');
    expect(existsSync(file)).toBe(false);
  });
});

const PLAN: Plan = {
  file: 'policies.yaml',
  presets: [],
  answers: { tenantId: 'acme', timeZone: 'UTC', mode: 'enforce' },
  force: false,
};

/** Answers each question as it comes up: by what it says, with these keys. */
async function answered(
  plan: Plan,
  answers: readonly (readonly [question: string, keys: string])[],
): Promise<Plan | undefined> {
  const input = Object.assign(new PassThrough(), { isTTY: true, setRawMode: () => input });
  const open = [...answers];
  let shown = '';
  const output = Object.assign(
    new Writable({
      write(chunk: Buffer, _encoding, done) {
        shown += chunk.toString();
        done();
        const [next] = open;
        if (next === undefined || !shown.includes(next[0])) return;
        open.shift();
        shown = '';
        setImmediate(() => void pressed(next[1]));
      },
    }),
    { isTTY: true, columns: 80, rows: 40 },
  );
  const pressed = async (keys: string): Promise<void> => {
    for (const key of keys) {
      input.write(key);
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const plan_ = await ask(plan, {}, { input, output });
  expect(open).toEqual([]);
  return plan_;
}

describe('the questions of agentguard init', () => {
  it('lead to a plan', async () => {
    const file = join(await newHome(), 'mine.yaml');
    const plan = await answered(PLAN, [
      ['What work', ' \r'],
      ['Tenant', 'globex\r'],
      ['Team', '\r'],
      ['Time zone', 'Mars\r'],
      // A wrong answer is asked again.
      ['IANA', '\u007f\u007f\u007f\u007fEurope/Berlin\r'],
      ['shadow mode', '\r'],
      ['File', `${file}\r`],
    ]);
    expect(plan).toEqual({
      file,
      presets: ['code-review'],
      answers: { tenantId: 'globex', timeZone: 'Europe/Berlin', mode: 'shadow' },
      force: false,
    });
  });

  it('replace a file only where somebody says so', async () => {
    const file = join(await newHome(), 'mine.yaml');
    writeFileSync(file, 'mine\n');
    const before = [
      ['What work', ' \r'],
      ['Tenant', '\r'],
      ['Team', 'research\r'],
      ['Time zone', 'UTC\r'],
      ['shadow mode', 'n'],
      ['File', `${file}\r`],
    ] as const;
    // The default is no.
    expect(await answered(PLAN, [...before, ['Replace it?', '\r']])).toBeUndefined();
    expect(await answered(PLAN, [...before, ['Replace it?', 'y']])).toMatchObject({
      file,
      force: true,
      answers: { tenantId: 'acme', teamId: 'research', mode: 'enforce' },
    });
    expect(readFileSync(file, 'utf8')).toBe('mine\n');
  });

  it('can be left at any time', async () => {
    expect(await answered(PLAN, [['What work', '\u0003']])).toBeUndefined();
  });
});
