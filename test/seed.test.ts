/** The quick start that the package is known by, run as it stands there: base URL and key aside, nothing is changed. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
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
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startSimulator, type Simulator } from '../src/node/simulator/index.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const NAME = 'seed-openrouter-quickstart.txt';
/** The page beside the repository, and the copy for clones that have nothing beside them. */
const PAGE = join(ROOT, '..', 'shared', NAME);
const COPY = join(ROOT, 'test', 'fixtures', NAME);
const DIGEST = '0fa1aa1b98ae84288b672299dd179263fe05b30f845e498fbf3f92c143a0eb35';

/** The page as it is now, or the copy of it, which must be the very same bytes. */
function page(): string {
  if (existsSync(PAGE)) return readFileSync(PAGE, 'utf8');
  const copy = existsSync(COPY) ? readFileSync(COPY) : Buffer.alloc(0);
  const digest = createHash('sha256').update(copy).digest('hex');
  if (digest !== DIGEST) {
    throw new Error(
      `${NAME} is neither in ../shared nor, unchanged, in test/fixtures: its sample can't be run`,
    );
  }
  return copy.toString('utf8');
}

/** The TypeScript sample: from its heading to the Python one. */
function sample(): string {
  const [, code] = /^TypeScript \/ Node\n+(import OpenAI[\s\S]*?)\n+Python$/m.exec(page()) ?? [];
  if (code === undefined) throw new Error(`${NAME} has no TypeScript sample any more`);
  return code;
}

const BASE_URL = "'https://openrouter.ai/api/v1'";

interface Line {
  payload: {
    type: string;
    issuer_id: string;
    log: string;
    caps?: [number, string, string][];
    cost?: { amount: string };
    decision?: string;
    scope?: unknown;
  };
}

let home: string;
let folder: string;
let simulator: Simulator;

beforeEach(async () => {
  home = mkdtempSync(join(tmpdir(), 'agentguard-seed-'));
  // inside the package, so that its own name resolves
  mkdirSync(join(ROOT, 'dist'), { recursive: true });
  folder = mkdtempSync(join(ROOT, 'dist', 'test-seed-'));
  simulator = await startSimulator();
});

afterEach(async () => {
  await simulator.close();
  for (const each of [home, folder]) rmSync(each, { recursive: true, force: true });
});

function node(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const { PATH = '' } = process.env;
  const env = { PATH, NO_COLOR: '1', AGENTGUARD_HOME: home, OPENROUTER_API_KEY: 'sk-or-v1-offline' };
  return new Promise((resolve) => {
    execFile(process.execPath, args, { cwd: ROOT, env }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

describe("the quick start's sample", () => {
  it('is what the copy has, where the page is at hand', () => {
    expect(createHash('sha256').update(page()).digest('hex')).toBe(DIGEST);
    expect(createHash('sha256').update(readFileSync(COPY)).digest('hex')).toBe(DIGEST);
  });

  it('runs twice into one valid log, and the second run sees what the first one spent', async () => {
    const code = sample();
    expect(code.split(BASE_URL)).toHaveLength(2);
    const file = join(folder, 'sample.ts');
    writeFileSync(file, code.replace(BASE_URL, JSON.stringify(simulator.url)));

    for (const run of [1, 2]) {
      expect(await node(file)).toEqual({ code: 0, stdout: '', stderr: '' });
      expect(simulator.requests).toHaveLength(run);
    }
    const { requests } = simulator;
    expect(requests.map(({ path, headers }) => [path, headers['authorization']])).toEqual(
      requests.map(() => ['/api/v1/chat/completions', 'Bearer sk-or-v1-offline']),
    );
    expect(requests[0]?.body).toMatchObject({
      model: 'anthropic/claude-opus-4-7',
      messages: [{ role: 'user', content: 'Review this PR for security issues...' }],
    });

    expect(readdirSync(home).sort()).toEqual(['acme', 'installation-key.json']);
    const text = readFileSync(join(home, 'acme', 'decisions.ndjson'), 'utf8').trimEnd();
    const payloads = text.split('\n').map((line) => (JSON.parse(line) as Line).payload);
    expect(new Set(payloads.map(({ log }) => log)).size).toBe(1);
    expect(payloads.filter(({ type }) => type === 'genesis')).toHaveLength(1);
    const [first, second] = payloads.filter(({ type }) => type === 'decision');
    const settled = payloads
      .filter(({ type }) => type === 'settlement')
      .map(({ cost }) => BigInt(cost?.amount ?? 0));
    expect(settled).toEqual(requests.map(({ charge }) => charge));
    expect(settled[0]).toBeGreaterThan(0n);
    expect(first?.scope).toEqual({ tenantId: 'acme', teamId: 'engineering', userId: 'alice' });
    // the key is made anew at every start; what was spent isn't
    expect(first?.issuer_id).not.toBe(second?.issuer_id);
    expect(first?.caps?.map(([, spent]) => spent)).toEqual(['0', '0', '0']);
    expect(second?.caps?.map(([, spent]) => spent)).toEqual(
      Array.from({ length: 3 }, () => String(settled[0])),
    );

    const cli = join(ROOT, 'dist/src/node/cli/main.js');
    const verdict = await node(cli, 'verify', 'acme', '--json');
    expect(verdict.code, verdict.stderr).toBe(0);
    expect(JSON.parse(verdict.stdout)).toMatchObject({ integrity: 'valid' });
    expect((await node(cli, 'verify', '--trace', 'latest')).code).toBe(0);
  });
});
