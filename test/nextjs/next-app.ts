/** The Next.js example, built and started by the real `next` on the packed package. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { extract } from 'tar';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const NEXT = join(ROOT, 'node_modules/next/dist/bin/next');

function run(command: string, args: readonly string[], cwd: string, env: NodeJS.ProcessEnv): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(command, args, { cwd, env, maxBuffer: 1 << 26 }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(`${command} ${args.join(' ')} failed\n${stdout}${stderr}`));
    });
  });
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer();
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

export interface NextApp extends AsyncDisposable {
  url: string;
  /** `AGENTGUARD_HOME` of the app. */
  home: string;
  /** What the server wrote. */
  output(): string;
}

/** Folders of built apps lie below the package, so that the frameworks installed here are found. */
const APPS = join(ROOT, 'dist', 'next-apps');

/**
 * Copies the example, puts the packed package into its `node_modules`, adds `files`, and runs `next build`. Resolves
 * with the folder, and with what the build left in `AGENTGUARD_HOME`.
 */
export async function buildNextApp(
  files: Record<string, string> = {},
): Promise<{ folder: string; left: string[] }> {
  mkdirSync(APPS, { recursive: true });
  const folder = mkdtempSync(join(APPS, 'app-'));
  cpSync(join(ROOT, 'examples/05-nextjs'), folder, { recursive: true });
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  const { PATH = '', HOME = '' } = process.env;
  const packed = await run(
    'npm',
    ['pack', '--silent', '--ignore-scripts', '--pack-destination', folder],
    ROOT,
    {
      ...process.env,
      PATH,
      HOME,
    },
  );
  const own = join(folder, 'node_modules/@agentguard-run/spend');
  mkdirSync(own, { recursive: true });
  await extract({ file: join(folder, packed.trim().split('\n').at(-1) as string), cwd: own, strip: 1 });
  const home = join(mkdtempSync(join(tmpdir(), 'agentguard-next-')), 'home');
  await run(process.execPath, [NEXT, 'build'], folder, nextEnv({ AGENTGUARD_HOME: home }));
  let left: string[] = [];
  try {
    left = readdirSync(home);
  } catch {
    // not even the folder: nothing was left
  }
  return { folder, left };
}

function nextEnv(more: Record<string, string>): NodeJS.ProcessEnv {
  const { PATH = '', HOME = '', TMPDIR = tmpdir() } = process.env;
  return { PATH, HOME, TMPDIR, NODE_ENV: 'production', NEXT_TELEMETRY_DISABLED: '1', NO_COLOR: '1', ...more };
}

async function answers(url: string, server: ChildProcess, output: () => string): Promise<void> {
  for (let turn = 0; turn < 600; turn++) {
    if (server.exitCode !== null) break;
    try {
      await fetch(url);
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
  throw new Error(`next start did not answer\n${output()}`);
}

/** Starts a built app. `openRouterUrl` is what it calls; without it, its own simulator. */
export async function startNextApp(folder: string, openRouterUrl?: string): Promise<NextApp> {
  const home = mkdtempSync(join(tmpdir(), 'agentguard-next-'));
  const port = await freePort();
  const upstream =
    openRouterUrl === undefined
      ? {}
      : { OPENROUTER_BASE_URL: openRouterUrl, OPENROUTER_API_KEY: 'sk-or-v1-secret' };
  const server = spawn(process.execPath, [NEXT, 'start', '-H', '127.0.0.1', '-p', String(port)], {
    cwd: folder,
    env: nextEnv({ AGENTGUARD_HOME: home, ...upstream }),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  for (const stream of [server.stdout, server.stderr]) stream.on('data', (chunk) => (text += String(chunk)));
  const url = `http://127.0.0.1:${port}`;
  await answers(url, server, () => text);
  return {
    url,
    home,
    output: () => text,
    async [Symbol.asyncDispose]() {
      const exited = new Promise((resolve) => server.once('exit', resolve));
      server.kill('SIGKILL');
      await exited;
      rmSync(home, { recursive: true, force: true });
    },
  };
}

/** Receipts of the app's log, as they stand in its file. */
export function receiptsOf(home: string): Record<string, unknown>[] {
  const text = readFileSync(join(home, 'acme/decisions.ndjson'), 'utf8');
  return text
    .trimEnd()
    .split('\n')
    .map((line) => (JSON.parse(line) as { payload: Record<string, unknown> }).payload);
}

export function removeApps(): void {
  rmSync(APPS, { recursive: true, force: true });
}
