/** Every TypeScript block of docs/langchain.md, and the example, run against the built package, as a user would run them. */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startSimulator, type Simulator } from '../../src/node/simulator/index.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** Inside the package, so that its own name resolves; `dist` is not kept. */
const BLOCKS = join(ROOT, 'dist', 'test-blocks-langchain');
const DOCS = readFileSync(join(ROOT, 'docs', 'langchain.md'), 'utf8');
const blocks = [...DOCS.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, code]) => code as string);

/** Sends calls to OpenRouter to the simulator, so that the blocks run as they stand. */
const REDIRECT = `data:text/javascript,${encodeURIComponent(`
  const real = globalThis.fetch;
  globalThis.fetch = (input, init) =>
    real(String(input).replace('https://openrouter.ai/api/v1', process.env.SIMULATOR_URL), init);
`)}`;

let home: string;
let simulator: Simulator;

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), 'agentguard-docs-'));
  mkdirSync(BLOCKS, { recursive: true });
  simulator = await startSimulator();
});

afterAll(async () => {
  await simulator.close();
  rmSync(home, { recursive: true, force: true });
  rmSync(BLOCKS, { recursive: true, force: true });
});

function run(code: string, name: string): Promise<{ code: number; stdout: string; stderr: string }> {
  const file = join(BLOCKS, `${name}.ts`);
  writeFileSync(file, code);
  const { PATH = '' } = process.env;
  const env = {
    PATH,
    AGENTGUARD_HOME: join(home, name),
    OPENROUTER_API_KEY: 'sk-or-v1-offline',
    SIMULATOR_URL: simulator.url,
  };
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [`--import=${REDIRECT}`, file],
      { cwd: ROOT, env },
      (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
      },
    );
  });
}

describe('examples/03-langchain-agent.ts', () => {
  it('goes through allow, downgrade and block, and settles what was billed', async () => {
    const code = readFileSync(join(ROOT, 'examples', '03-langchain-agent.ts'), 'utf8');
    const { stdout, stderr } = await run(code, 'example');
    expect(stderr).toBe('');
    expect(stdout).toMatch(
      /^allow +bob +anthropic\/claude-opus-4-7 → anthropic\/claude-opus-4-7, \$0\.\d+$/m,
    );
    expect(stdout).toMatch(
      /^downgrade +\w+ +anthropic\/claude-opus-4-7 → anthropic\/claude-haiku-4-5, \$0\.\d+$/m,
    );
    expect(stdout).toMatch(/^stopped +cap_spent: /m);
    const nano = (text: string): bigint => BigInt(text.padEnd(9, '0'));
    const settled = [...stdout.matchAll(/, \$0\.(\d+)$/gm)].reduce(
      (sum, [, digits]) => sum + nano(digits as string),
      0n,
    );
    expect(settled).toBe(nano(/^billed +\$0\.(\d+)$/m.exec(stdout)?.[1] as string));
  });
});

describe('docs/langchain.md', () => {
  it('has blocks', () => expect(blocks).toHaveLength(3));

  it('is right about the model', async () => {
    simulator.reset();
    const told = await run(blocks[0] as string, 'model');
    expect(told, told.stderr).toMatchObject({ code: 0, stderr: '' });
    expect(told.stdout).toContain('You said: Review this diff: …');
    expect(told.stdout).toContain('was blocked (cap_per_call)');
    expect(simulator.requests.map(({ body }) => (body as { max_tokens: number }).max_tokens)).toEqual([
      1000, 1000,
    ]);
  });

  it('is right about the agent', async () => {
    simulator.reset();
    const told = await run(blocks[1] as string, 'agent');
    expect(told, told.stderr).toMatchObject({ code: 0, stderr: '' });
    expect(told.stdout).toContain('You said: Where is my order?');
    expect(simulator.requests).toHaveLength(1);
  });

  it('is right about who is calling', async () => {
    simulator.reset();
    const told = await run(blocks[2] as string, 'scope');
    expect(told, told.stderr).toMatchObject({ code: 0, stderr: '' });
    expect(told.stdout).toMatch(/^per_task \$0\.0\d*[1-9]$/m);
    expect(simulator.requests).toHaveLength(2);
  });
});
