/** Runs every example and every TypeScript block of the README against the built package, as a user would. */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { blocksOf, openBlocks, ROOT, runNode, type BlockRunner } from './doc-blocks.ts';

const EXAMPLES = join(ROOT, 'examples');

let home: string;
let runner: BlockRunner;

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), 'agentguard-examples-'));
  runner = await openBlocks();
});

afterAll(async () => {
  await runner[Symbol.asyncDispose]();
  rmSync(home, { recursive: true, force: true });
});

describe('examples', () => {
  const programs = readdirSync(EXAMPLES)
    .map((name) => (name.endsWith('.ts') ? name : join(name, 'run.ts')))
    .filter((name) => existsSync(join(EXAMPLES, name)));

  it.each(programs)('%s runs', async (name) => {
    const run = await runNode(join(EXAMPLES, name), { AGENTGUARD_HOME: home, TMPDIR: home });
    expect(run).toMatchObject({ code: 0, stderr: '' });
    expect(run.stdout).not.toBe('');
  });

  it('01 goes through allow, downgrade and block, and its log verifies', async () => {
    const run = await runNode(join(EXAMPLES, '01-ai-sdk-agent.ts'), { TMPDIR: home });
    expect(run.stdout).toMatch(/^allow +anthropic\/claude-opus-4-7 → anthropic\/claude-opus-4-7, \$0\.\d+$/m);
    expect(run.stdout).toMatch(
      /^downgrade +anthropic\/claude-opus-4-7 → anthropic\/claude-haiku-4-5, \$0\.\d+$/m,
    );
    expect(run.stdout).toMatch(/^stopped +cap_spent: /m);
    const folder = /^log +(.+)$/m.exec(run.stdout)?.[1] as string;
    const cli = join(ROOT, 'dist/src/node/cli/main.js');
    const verdict = await new Promise<string>((resolve) => {
      execFile(process.execPath, [cli, 'verify', folder, '--json'], (_error, stdout) => resolve(stdout));
    });
    expect(JSON.parse(verdict)).toMatchObject({ integrity: 'valid' });
  });

  it('02 goes through allow, downgrade and block, in calls, streams and tool loops', async () => {
    const run = await runNode(join(EXAMPLES, '02-openai-client.ts'), { TMPDIR: home });
    expect(run.stdout).toMatch(/^allow +anthropic\/claude-opus-4-7 → anthropic\/claude-opus-4-7$/m);
    expect(run.stdout).toMatch(/^stream +No secrets/m);
    expect(run.stdout).toMatch(/^downgrade +anthropic\/claude-opus-4-7 → anthropic\/claude-haiku-4-5$/m);
    expect(run.stdout).toMatch(/^stopped +cap_spent: /m);
    const folder = /^log +(.+)$/m.exec(run.stdout)?.[1] as string;
    const cli = join(ROOT, 'dist/src/node/cli/main.js');
    const verdict = await new Promise<string>((resolve) => {
      execFile(process.execPath, [cli, 'verify', folder, '--json'], (_error, stdout) => resolve(stdout));
    });
    expect(JSON.parse(verdict)).toMatchObject({ integrity: 'valid' });
  });

  it('04 gives each user an allowance, and a 402 beyond it', async () => {
    const { stdout } = await runNode(join(EXAMPLES, '04-hono-per-request-scope.ts'), { TMPDIR: home });
    const rows = stdout.split('\n').map((line) => line.split(/\s+/).slice(0, 3).join(' '));
    expect(rows).toEqual(
      expect.arrayContaining([
        'token-of-alice 200 A',
        'token-of-alice 402 cap_spent',
        'token-of-bob 200 A',
        'stolen 401 unknown',
      ]),
    );
    expect(stdout).toMatch(/^billed +\$0\.011565$/m);
  });

  it('06 answers 402 beyond its burst guard', async () => {
    const { stdout } = await runNode(join(EXAMPLES, '06-edge-worker/run.ts'), {});
    expect(stdout.match(/^\d: \d+/gm)).toEqual(['1: 200', '2: 200', '3: 402']);
  });
});

const README = readFileSync(join(ROOT, 'README.md'), 'utf8');
const blocks = blocksOf('README.md');

describe('README', () => {
  it('has TypeScript blocks', () => expect(blocks.length).toBeGreaterThan(3));

  it.each(blocks)('block $index runs ($first)', async ({ code, index }) => {
    const run = await runner.run(`block-${index}`, code);
    expect(run, run.stderr).toMatchObject({ code: 0 });
  });

  it('is right about what its quick start prints', async () => {
    const { simulator } = runner;
    simulator.reset();
    const { stderr } = await runner.run('quick', blocks[0]?.code ?? '');
    expect(stderr).toContain('was blocked (cap_per_call)');
    // one call was served, the refused one never left
    expect(simulator.requests).toHaveLength(1);
  });

  it('is right about where a refused stream is found', async () => {
    const { code = '' } = blocks.find((block) => block.code.includes('streamText')) ?? {};
    const { stdout, stderr } = await runner.run('stream', code);
    expect(stderr).toContain('was blocked (cap_spent): the call alone could cost');
    expect(stdout).toContain('stopped by a spending policy');
    expect(stdout).toMatch(/^per_day: \$0\.0\d* of \$0\.50$/m);
  });

  it('lists every block reason in its order of precedence', async () => {
    const { BLOCK_REASONS } = await import('../src/errors.ts');
    const rows = [...README.matchAll(/^\| `([a-z_]+)` \|/gm)].map(([, reason]) => reason);
    expect(rows.filter((reason) => (BLOCK_REASONS as readonly unknown[]).includes(reason))).toEqual([
      ...BLOCK_REASONS,
    ]);
  });
});
