/** TypeScript blocks of Markdown pages, run against the built package as a user would run them. */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startSimulator, type Simulator } from '../src/node/simulator/index.ts';

export const ROOT: string = fileURLToPath(new URL('..', import.meta.url));

export interface Run {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs a program with nothing in its environment but what is given. */
export function runNode(
  file: string,
  env: Record<string, string>,
  args: readonly string[] = [],
): Promise<Run> {
  const { PATH = '' } = process.env;
  return new Promise((resolve) => {
    const options = { cwd: ROOT, env: { PATH, NO_COLOR: '1', ...env } };
    execFile(process.execPath, [...args, file], options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

/** The blocks of a page that are TypeScript, whole programs each. */
export function blocksOf(page: string): { code: string; index: number; first: string }[] {
  const text = readFileSync(join(ROOT, page), 'utf8');
  return [...text.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, code = ''], index) => ({
    code,
    index,
    first: code.split('\n')[0] ?? '',
  }));
}

/** Sends what would go to providers to the simulators, so that the blocks run as they stand. */
const REDIRECT = `data:text/javascript,${encodeURIComponent(`
  const real = globalThis.fetch;
  const to = JSON.parse(process.env.REDIRECTS);
  globalThis.fetch = (input, init) => {
    const url = String(input);
    const from = Object.keys(to).find((each) => url.startsWith(each));
    return real(from === undefined ? input : url.replace(from, to[from]), init);
  };
`)}`;

/** A place where blocks run: simulators for the providers, and a home of their own for the logs. */
export interface BlockRunner extends AsyncDisposable {
  /** OpenRouter. */
  simulator: Simulator;
  home: string;
  /** `name` names the file and the home of the program. */
  run(name: string, code: string): Promise<Run>;
}

export async function openBlocks(): Promise<BlockRunner> {
  const home = mkdtempSync(join(tmpdir(), 'agentguard-blocks-'));
  // inside the package, so that its own name resolves; `dist` is not kept
  mkdirSync(join(ROOT, 'dist'), { recursive: true });
  const folder = mkdtempSync(join(ROOT, 'dist', 'test-blocks-'));
  const simulator = await startSimulator();
  const makers = await startSimulator({ dialect: 'openai' });
  const redirects = {
    'https://openrouter.ai/api/v1': simulator.url,
    'https://api.openai.com/v1': makers.url,
    'https://api.anthropic.com/v1': makers.url,
  };
  const keys = {
    OPENROUTER_API_KEY: 'sk-or-v1-offline',
    OPENAI_API_KEY: 'sk-offline',
    ANTHROPIC_API_KEY: 'sk-ant-offline',
  };
  return {
    simulator,
    home,
    run(name, code) {
      const file = join(folder, `${name}.ts`);
      writeFileSync(file, code);
      const env = { ...keys, AGENTGUARD_HOME: join(home, name), REDIRECTS: JSON.stringify(redirects) };
      return runNode(file, env, [`--import=${REDIRECT}`]);
    },
    async [Symbol.asyncDispose]() {
      await simulator.close();
      await makers.close();
      rmSync(home, { recursive: true, force: true });
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
