/** Runs every example and every TypeScript block of the README against the built package, as a user would. */
import { execFile } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startSimulator, type Simulator } from '../src/node/simulator/index.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const EXAMPLES = join(ROOT, 'examples');
/** Inside the package, so that its own name resolves; `dist` is not kept. */
const BLOCKS = join(ROOT, 'dist', 'test-blocks');

interface Run {
  code: number;
  stdout: string;
  stderr: string;
}

function node(file: string, env: Record<string, string>, args: readonly string[] = []): Promise<Run> {
  const { PATH = '' } = process.env;
  return new Promise((resolve) => {
    const options = { cwd: ROOT, env: { PATH, NO_COLOR: '1', ...env } };
    execFile(process.execPath, [...args, file], options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

let home: string;
let simulator: Simulator;

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), 'agentguard-examples-'));
  simulator = await startSimulator();
  mkdirSync(BLOCKS, { recursive: true });
});

afterAll(async () => {
  await simulator.close();
  rmSync(home, { recursive: true, force: true });
  rmSync(BLOCKS, { recursive: true, force: true });
});

describe('examples', () => {
  const programs = readdirSync(EXAMPLES)
    .map((name) => (name.endsWith('.ts') ? name : join(name, 'run.ts')))
    .filter((name) => existsSync(join(EXAMPLES, name)));

  it.each(programs)('%s runs', async (name) => {
    const run = await node(join(EXAMPLES, name), { AGENTGUARD_HOME: home, TMPDIR: home });
    expect(run).toMatchObject({ code: 0, stderr: '' });
    expect(run.stdout).not.toBe('');
  });

  it('01 goes through allow, downgrade and block, and its log verifies', async () => {
    const run = await node(join(EXAMPLES, '01-ai-sdk-agent.ts'), { TMPDIR: home });
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

  it('04 gives each user an allowance, and a 402 beyond it', async () => {
    const { stdout } = await node(join(EXAMPLES, '04-hono-per-request-scope.ts'), { TMPDIR: home });
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
    const { stdout } = await node(join(EXAMPLES, '06-edge-worker/run.ts'), {});
    expect(stdout.match(/^\d: \d+/gm)).toEqual(['1: 200', '2: 200', '3: 402']);
  });
});

/** Sends calls to OpenRouter to the simulator, so that the blocks run as they stand. */
const REDIRECT = `data:text/javascript,${encodeURIComponent(`
  const real = globalThis.fetch;
  globalThis.fetch = (input, init) =>
    real(String(input).replace('https://openrouter.ai/api/v1', process.env.SIMULATOR_URL), init);
`)}`;

const README = readFileSync(join(ROOT, 'README.md'), 'utf8');
const blocks = [...README.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, code]) => code as string);

describe('README', () => {
  it('has TypeScript blocks', () => expect(blocks.length).toBeGreaterThan(3));

  it.each(blocks.map((code, index) => ({ code, index, first: code.split('\n')[0] })))(
    'block $index runs ($first)',
    async ({ code, index }) => {
      const file = join(BLOCKS, `block-${index}.ts`);
      writeFileSync(file, code);
      const env = {
        AGENTGUARD_HOME: join(home, `block-${index}`),
        OPENROUTER_API_KEY: 'sk-or-v1-offline',
        SIMULATOR_URL: simulator.url,
      };
      const run = await node(file, env, [`--import=${REDIRECT}`]);
      expect(run, run.stderr).toMatchObject({ code: 0 });
    },
  );

  it('is right about what its quick start prints', async () => {
    const env = {
      AGENTGUARD_HOME: join(home, 'quick'),
      OPENROUTER_API_KEY: 'k',
      SIMULATOR_URL: simulator.url,
    };
    const file = join(BLOCKS, 'quick.ts');
    writeFileSync(file, blocks[0] as string);
    simulator.reset();
    const { stderr } = await node(file, env, [`--import=${REDIRECT}`]);
    expect(stderr).toContain('was blocked (cap_per_call)');
    // one call was served, the refused one never left
    expect(simulator.requests).toHaveLength(1);
  });

  it('is right about where a refused stream is found', async () => {
    const code = blocks.find((block) => block.includes('streamText')) as string;
    const file = join(BLOCKS, 'stream.ts');
    writeFileSync(file, code);
    const env = {
      AGENTGUARD_HOME: join(home, 'stream'),
      OPENROUTER_API_KEY: 'k',
      SIMULATOR_URL: simulator.url,
    };
    const { stdout, stderr } = await node(file, env, [`--import=${REDIRECT}`]);
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
