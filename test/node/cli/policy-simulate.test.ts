import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { beforeAll, describe, expect, it } from 'vitest';
import type { SpendGuard, SpendPolicy } from '../../../src/index.ts';
import { guardWith } from '../../../src/guard.ts';
import { fileLedger } from '../../../src/node/file-ledger/index.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { agentguard, type CliRun } from './run-cli.ts';

const HAIKU = 'anthropic/claude-haiku-4-5';
const OPUS = 'anthropic/claude-opus-4-7';
const MINI = 'openai/gpt-5-mini';

const YESTERDAY: SpendPolicy = {
  id: 'yesterday',
  scope: { tenantId: 'acme' },
  caps: [{ amountCents: 100, window: 'per_day', action: 'block' }],
  version: 1,
  effectiveFrom: '2026-01-01',
};

let home: string;
let log: string;

/** Ten reviews by opus at 5 cents each, five answers of gpt-5-mini at a cent, and two calls that are too dear. */
async function makeCalls(guard: SpendGuard): Promise<void> {
  const usage = { inputTokens: 5000, outputTokens: 1000 };
  for (let count = 0; count < 10; count++) {
    const scope = { teamId: 'engineering', task: 'code-review', userId: `user-${count % 2}` };
    const call = await guard.begin({ model: OPUS, inputTokens: 6000, maxOutputTokens: 1500, scope });
    await call.settle({ outcome: 'ok', usage });
  }
  for (let count = 0; count < 5; count++) {
    const scope = { teamId: 'support', task: 'agent-support' };
    const call = await guard.begin({ model: MINI, inputTokens: 40_000, maxOutputTokens: 2000, scope });
    await call.settle({ outcome: 'ok', cost: 0.01, usage: { inputTokens: 32_000, outputTokens: 1000 } });
  }
  for (let count = 0; count < 2; count++) {
    const scope = { teamId: 'engineering', task: 'code-review', userId: 'user-0' };
    await guard
      .begin({ model: OPUS, inputTokens: 100_000, maxOutputTokens: 20_000, scope })
      .catch(() => undefined);
  }
}

beforeAll(async () => {
  home = temporaryFolder();
  const dir = join(home, 'acme');
  let now = Date.parse('2026-05-04T09:00:00Z');
  const clock = (): number => (now += 1000);
  const keyFile = join(home, 'installation-key.json');
  const ledger = fileLedger({ dir, keyFile, now: clock, durability: 'os', tenantId: 'acme' });
  const guard = guardWith({ policy: YESTERDAY, ledger, waitForHoldsMs: 0 }, { now: clock });
  await makeCalls(guard);
  await guard.close();
  log = join(dir, 'decisions.ndjson');
});

function fileOf(policies: unknown): string {
  const path = join(temporaryFolder(), 'new.yaml');
  writeFileSync(path, typeof policies === 'string' ? policies : stringify(policies));
  return path;
}

const tomorrow = (more: Partial<SpendPolicy>): SpendPolicy => ({ ...YESTERDAY, id: 'tomorrow', ...more });

interface Sums {
  calls: number;
  blocked: number;
  rerouted: number;
  letThrough: number;
  before: { usd: string };
  after: { usd: string };
  saved: { usd: string; nanoUsd: string };
}

interface Report {
  exitCode: number;
  error?: string;
  total: Sums & { stillBlocked: number; inFlight: number; estimated: { usd: string } };
  deciders: object[];
  byTask: (Sums & { task: string | null })[];
  byTeam: (Sums & { team: string | null })[];
  byModel: (Sums & { model: string })[];
  assumed: Record<string, number>;
  shadow: string[];
  notes: string[];
}

async function simulated(policies: unknown, path = log): Promise<Report> {
  const run = await agentguard(['policy', 'simulate', fileOf(policies), '--log', path, '--json']);
  return JSON.parse(run.stdout) as Report;
}

describe('agentguard policy simulate', () => {
  it('finds no difference under the same policy', async () => {
    const { total, deciders, assumed } = await simulated(YESTERDAY);
    expect(total).toMatchObject({
      calls: 17,
      blocked: 0,
      rerouted: 0,
      letThrough: 0,
      stillBlocked: 2,
      before: { usd: '0.55' },
      after: { usd: '0.55' },
      saved: { nanoUsd: '0' },
    });
    expect(deciders).toEqual([]);
    expect(assumed).toEqual({});
  });

  it('prices what goes to another model by its tokens, and counts it by team, task and model', async () => {
    const rules = [{ when: { task: 'code-review' }, routeTo: HAIKU }];
    const report = await simulated(tomorrow({ rules }));
    // 5000 in at $1 and 1000 out at $5 per million: one cent instead of five. The two dear calls now fit, too.
    expect(report.total).toMatchObject({
      rerouted: 10,
      letThrough: 2,
      blocked: 0,
      stillBlocked: 0,
      before: { usd: '0.55' },
    });
    // The part of its bounds that a review came to: 5000 of 6000 in, 1000 of 1500 out.
    const each = (Math.ceil((100_000 * 5000) / 6000) * 1 + Math.ceil((20_000 * 1000) / 1500) * 5) / 1e6;
    expect(Number(report.total.estimated.usd)).toBeCloseTo(2 * each, 9);
    expect(Number(report.total.after.usd)).toBeCloseTo(10 * 0.01 + 5 * 0.01 + 2 * each, 9);
    expect(report.byTask.map(({ task, rerouted, before }) => [task, rerouted, before.usd])).toEqual([
      ['code-review', 10, '0.50'],
      ['agent-support', 0, '0.05'],
    ]);
    expect(report.byTeam.map(({ team }) => team)).toEqual(['engineering', 'support']);
    expect(report.byModel.map(({ model }) => model)).toEqual([OPUS, MINI]);
    expect(report.deciders).toEqual([
      { change: 'rerouted', reason: 'routed', policy: 'tomorrow', rule: 0, calls: 10 },
    ]);
    expect(report.assumed).toMatchObject({ estimated: 2, features: 10 });
  });

  it('lets balances follow the new decisions', async () => {
    // 7.5 cents are held for each review, and 5 spent: three fit under 18 cents.
    const caps = [{ amountCents: 18, window: 'per_day', action: 'block', models: OPUS }] as const;
    const { total, deciders } = await simulated(tomorrow({ caps }));
    expect(total).toMatchObject({
      blocked: 7,
      stillBlocked: 2,
      after: { usd: '0.20' },
      saved: { usd: '0.35' },
    });
    expect(deciders).toEqual([
      { change: 'blocked', reason: 'cap_spent', policy: 'tomorrow', cap: 0, calls: 7 },
    ]);
  });

  it('takes the prompt cache as it was used, and cuts answers at a new limit', async () => {
    const folder = temporaryFolder();
    const ledger = fileLedger({ dir: folder, keyFile: join(folder, 'key.json'), durability: 'os' });
    const guard = guardWith({ policy: YESTERDAY, ledger, waitForHoldsMs: 0 });
    const call = await guard.begin({ model: OPUS, inputTokens: 5000 });
    const usage = { inputTokens: 4000, cacheReadTokens: 3000, outputTokens: 1000, reasoningTokens: 900 };
    await call.settle({ outcome: 'ok', usage });
    await guard.close();
    const path = join(folder, 'decisions.ndjson');
    // 1000 in at $1, 3000 from the cache at $0.10, 1000 out at $5 per million.
    const routed = await simulated(tomorrow({ rules: [{ routeTo: HAIKU }] }), path);
    expect(routed.total.after.usd).toBe('0.0063');
    const short = await simulated(tomorrow({ rules: [{ routeTo: HAIKU }], maxOutputTokens: 200 }), path);
    expect(short.total.after.usd).toBe('0.0023');
    expect(short.assumed).toMatchObject({ cut: 1 });
  });

  it('counts for each user, and falls back when a soft cap is spent', async () => {
    const caps = [
      { amountCents: 10, window: 'per_day', action: 'downgrade', downgradeTo: HAIKU, per: ['userId'] },
    ] as const;
    const { total } = await simulated(tomorrow({ caps, scope: { tenantId: 'acme', task: 'code-review' } }));
    // Two reviews of each user at five cents, then three at one; no policy is for the support calls.
    expect(total).toMatchObject({ rerouted: 6, blocked: 5, letThrough: 2 });
  });

  it('says what it takes for given where the log can’t tell', async () => {
    const rules = [{ requires: 'payment_execute' as const }];
    const caps = [{ amountCents: 0, window: 'per_day', action: 'ask' }] as const;
    const report = await simulated(tomorrow({ rules, caps, mode: 'shadow' }));
    expect(report.assumed).toMatchObject({ capability: 17, asked: 17 });
    expect(report.shadow).toEqual(['tomorrow']);
    expect(report.notes.join('\n')).toMatch(/17 calls: a person would have been asked.*taken to be yes/);
    expect(report.total).toMatchObject({ blocked: 0, letThrough: 2 });
  });

  it('tries policies of the future as if they had been in force', async () => {
    const { total } = await simulated(tomorrow({ effectiveFrom: '2099-01-01' }));
    expect(total).toMatchObject({ blocked: 0, stillBlocked: 2 });
  });

  it('warns when the calls are in no policy’s scope, for that looks like a saving', async () => {
    const path = fileOf(tomorrow({ scope: { tenantId: 'acme', teamId: 'sales' } }));
    const run = await agentguard(['policy', 'simulate', path, '--log', log], { COLUMNS: '80' });
    expect(run).toMatchObject({ code: 0, stderr: '' });
    expect(run.stdout).toContain('None of them is in the scope of a policy');
    expect(run.stdout).toMatch(/^ +15 {2}blocked now, were let through$/m);
  });

  it('tells it in 80 columns', async () => {
    const path = fileOf(tomorrow({ rules: [{ when: { task: 'code-review' }, routeTo: HAIKU }] }));
    const run = await agentguard(['policy', 'simulate', path, '--log', log], { COLUMNS: '80' });
    expect(run).toMatchObject({ code: 0, stderr: '' });
    expect(run.stdout).toMatch(/^ +10 {2}sent to another model than before$/m);
    expect(run.stdout).toMatch(/^ +10 {2}to another model by rule 0 of tomorrow \(routed\)$/m);
    expect(run.stdout).toMatch(/^by task +calls +moved +passed +before +after +saved$/m);
    const lines = run.stdout.split('\n').filter((line) => !line.includes(home));
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(80);
  });

  it('finds the log as verify does', async () => {
    const path = fileOf(YESTERDAY);
    const env = { AGENTGUARD_HOME: home };
    for (const more of [
      [],
      ['--log', 'acme'],
      ['--log', join(home, 'acme')],
      ['--log', home],
      ['--log', log],
    ])
      expect(await agentguard(['policy', 'simulate', path, ...more], env)).toMatchObject({
        code: 0,
        stderr: '',
      });
  });

  it('leaves out a line that is being written', async () => {
    const copy = join(temporaryFolder(), 'decisions.ndjson');
    writeFileSync(copy, readFileSync(log));
    appendFileSync(copy, '{"payload":{"call":"');
    expect((await simulated(YESTERDAY, copy)).total.calls).toBe(17);
  });

  async function refused(args: readonly string[], env: Record<string, string> = {}): Promise<CliRun> {
    const run = await agentguard(['policy', 'simulate', ...args], env);
    expect(run.stdout).toBe('');
    return run;
  }

  it('says what to do about every mistake', async () => {
    const good = fileOf(YESTERDAY);
    const folder = temporaryFolder();
    const damaged = join(folder, 'damaged.ndjson');
    writeFileSync(damaged, readFileSync(log, 'utf8').replace('"type":"decision"', '"type":"decisin"'));
    const other = join(folder, 'other.txt');
    writeFileSync(other, 'hello\n');
    const empty = join(folder, 'empty.ndjson');
    writeFileSync(empty, '');
    const home = { AGENTGUARD_HOME: join(folder, 'nothing') };
    const wrong = fileOf({ ...YESTERDAY, mode: 'off' });
    const errors: [CliRun, number, string][] = [
      [await refused([wrong, '--log', log]), 1, `${wrong}:10:7: mode: expected "enforce" or "shadow"`],
      [await refused(['none.yaml', '--log', log]), 2, 'agentguard init'],
      [await refused([good, '--log', 'nobody'], home), 2, 'no tenants yet'],
      [await refused([good], home), 2, 'a guard writes the first receipt at its first call'],
      [await refused([good, '--log', other]), 2, 'is not an AgentGuard log'],
      [await refused([good, '--log', empty]), 2, 'no calls yet'],
      [await refused([good, '--log', damaged]), 2, 'verify'],
      [await refused([]), 2, "missing required argument 'file'"],
    ];
    for (const [run, code, words] of errors) {
      expect(run.stderr).toContain(words);
      expect(run.code, run.stderr).toBe(code);
    }
    const json = await agentguard(['policy', 'simulate', good, '--log', other, '--json']);
    expect(json.code).toBe(2);
    expect(JSON.parse(json.stdout)).toMatchObject({
      exitCode: 2,
      error: expect.stringContaining('not an AgentGuard log'),
    });
  });

  it('writes nothing', async () => {
    const folder = temporaryFolder();
    mkdirSync(join(folder, 'acme'));
    const copy = join(folder, 'acme', 'decisions.ndjson');
    const text = readFileSync(log);
    writeFileSync(copy, text);
    await agentguard(['policy', 'simulate', fileOf(YESTERDAY), '--log', 'acme'], { AGENTGUARD_HOME: folder });
    expect(readFileSync(copy).equals(text)).toBe(true);
    expect(existsSync(join(folder, 'installation-key.json'))).toBe(false);
  });
});
