/**
 * The packed package as its users install it: by npm and by pnpm (strict), with every framework and with each of them
 * absent, type-checked by TypeScript 5.9 and 7 as a bundler and as Node resolve it, imported and required.
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startRegistry, type LocalRegistry } from './local-registry.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const BIN = join(ROOT, 'node_modules');
const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  name: string;
  version: string;
  exports: Record<string, unknown>;
  devDependencies: Record<string, string>;
};

/** Every subpath that is a module. */
const SUBPATHS = Object.keys(manifest.exports).filter((path) => !path.endsWith('.json'));
const MODULES = SUBPATHS.map((path) => manifest.name + path.slice(1));

/** What a user of each framework has installed. */
const FRAMEWORKS = {
  'ai-sdk': ['ai', '@openrouter/ai-sdk-provider', 'zod'],
  langchain: ['langchain', '@langchain/core', '@langchain/openai', 'zod'],
  openai: ['openai'],
} as const;
type Framework = keyof typeof FRAMEWORKS;

interface Run {
  code: number;
  output: string;
}

function run(command: string, args: readonly string[], cwd: string): Promise<Run> {
  // Node 24 first in the path, as in every script of ours; nothing of the machine's own settings.
  const { PATH = '', HOME = '' } = process.env;
  const env = { PATH: `${join(BIN, '.bin')}:${PATH}`, HOME, NO_COLOR: '1', CI: 'true' };
  return new Promise((resolve) => {
    execFile(command, args, { cwd, env, maxBuffer: 1 << 26 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? 1), output: `${stdout}${stderr}` });
    });
  });
}

let base: string;
let registry: LocalRegistry;

beforeAll(async () => {
  base = mkdtempSync(join(tmpdir(), 'agentguard-consumers-'));
  const pack = await run('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', base], ROOT);
  expect(pack.code, pack.output).toBe(0);
  const bytes = readFileSync(join(base, pack.output.trim().split('\n').at(-1) as string));
  registry = await startRegistry(ROOT, [{ manifest, bytes }]);
});

afterAll(async () => {
  await registry?.[Symbol.asyncDispose]();
  rmSync(base, { recursive: true, force: true });
});

/** A project that depends on our package and on some frameworks, installed. */
async function consumer(tool: 'npm' | 'pnpm', frameworks: readonly Framework[]): Promise<string> {
  const folder = mkdtempSync(join(base, `${tool}-`));
  const names = frameworks.flatMap((framework) => [...FRAMEWORKS[framework]]);
  const dependencies: Record<string, string> = { [manifest.name]: manifest.version };
  for (const name of names) dependencies[name] = manifest.devDependencies[name] as string;
  writeFileSync(
    join(folder, 'package.json'),
    JSON.stringify({ name: 'consumer', type: 'module', private: true, dependencies }),
  );
  const common = ['install', '--ignore-scripts', `--registry=${registry.url}`];
  const own =
    tool === 'npm'
      ? ['--no-audit', '--no-fund', `--cache=${join(base, 'npm-cache')}`]
      : [
          `--store-dir=${join(base, 'pnpm-store')}`,
          '--config.strict-peer-dependencies=true',
          `--cache-dir=${join(base, 'pnpm-cache')}`,
        ];
  const installed = await run(tool, [...common, ...own], folder);
  expect(installed.code, installed.output).toBe(0);
  return folder;
}

/** Fails to compile where a subpath, a parameter or a result is `any`. */
function typeTests(): string {
  const lines = MODULES.map((name, index) => `import * as m${index} from '${name}';`);
  lines.push(`
type IsAny<T> = 0 extends 1 & T ? true : false;
type AnyIn<F> = F extends (...args: infer A) => infer R
  ? true extends IsAny<R> | { [K in keyof A]: IsAny<A[K]> }[number] ? true : false
  : false;
type Anys<M> = { [K in keyof M]: IsAny<M[K]> extends true ? K : AnyIn<M[K]> extends true ? K : never }[keyof M];
type Empty<M> = keyof M extends never ? true : false;
`);
  MODULES.forEach((_name, index) => {
    lines.push(
      `export const any${index}: [Anys<typeof m${index}>] extends [never] ? true : Anys<typeof m${index}> = true;`,
    );
    lines.push(`export const empty${index}: Empty<typeof m${index}> = false;`);
  });
  return lines.join('\n');
}

/** CommonJS that requires every subpath, as Node 22.12 and newer let it. */
function requireTests(): string {
  const lines = MODULES.map((name, index) => `import m${index} = require('${name}');`);
  return [
    ...lines,
    `export const all = [${MODULES.map((_name, index) => `m${index}`).join(', ')}] as const;`,
  ].join('\n');
}

const USES: Record<Framework, string> = {
  'ai-sdk': `
import { wrapLanguageModel } from 'ai';
import { createOpenRouter } from '@openrouter/ai-sdk-provider';
import { spendGuard } from '@agentguard-run/spend/ai-sdk';
export const guarded = wrapLanguageModel({
  model: createOpenRouter({ apiKey: 'k' })('openai/gpt-5-mini'),
  middleware: spendGuard({ id: 'p', scope: {}, caps: [], version: 1, effectiveFrom: '2026-01-01' }),
});`,
  openai: `
import OpenAI from 'openai';
import { withSpendGuard, type SpendPolicy } from '@agentguard-run/spend';
const policy: SpendPolicy = { id: 'p', scope: {}, caps: [], version: 1, effectiveFrom: '2026-01-01' };
export const client: OpenAI = withSpendGuard(new OpenAI({ apiKey: 'k' }), { policy, scope: { userId: 'u' } });`,
  langchain: `
import { createAgent } from 'langchain';
import { ChatOpenAI } from '@langchain/openai';
import { createSpendGuard, memoryLedger } from '@agentguard-run/spend';
import { guardModel, spendGuardHandler, spendGuardMiddleware } from '@agentguard-run/spend/langchain';
const policy = { id: 'p', scope: {}, caps: [], version: 1, effectiveFrom: '2026-01-01' } as const;
const guard = createSpendGuard({ policy, ledger: memoryLedger() });
export const model: ChatOpenAI = guardModel(new ChatOpenAI({ apiKey: 'k', model: 'gpt-5-mini' }), guard);
export const bare = new ChatOpenAI({ apiKey: 'k', callbacks: [spendGuardHandler(guard)] });
export const agent = createAgent({ model, tools: [], middleware: [spendGuardMiddleware(guard)] });`,
};

const COMPILERS = { '5.9': 'typescript-5', '7': 'typescript' } as const;
const RESOLUTIONS = { bundler: 'ESNext', nodenext: 'NodeNext' } as const;

async function typeChecks(folder: string, frameworks: readonly Framework[]): Promise<void> {
  writeFileSync(join(folder, 'any.ts'), typeTests());
  writeFileSync(join(folder, 'required.cts'), requireTests());
  for (const framework of frameworks) writeFileSync(join(folder, `use-${framework}.ts`), USES[framework]);
  for (const compiler of Object.values(COMPILERS)) {
    for (const [moduleResolution, module] of Object.entries(RESOLUTIONS)) {
      const options = {
        strict: true,
        noEmit: true,
        target: 'ES2022',
        lib: ['ES2024', 'ESNext.Disposable', 'DOM', 'DOM.Iterable'],
        types: [],
        module,
        moduleResolution,
        // with frameworks, their own declarations are their own business
        skipLibCheck: frameworks.length > 0,
      };
      writeFileSync(
        join(folder, 'tsconfig.json'),
        JSON.stringify({
          compilerOptions: options,
          include: moduleResolution === 'nodenext' ? ['*.ts', '*.cts'] : ['*.ts'],
        }),
      );
      const { bin } = JSON.parse(readFileSync(join(BIN, compiler, 'package.json'), 'utf8')) as {
        bin: { tsc: string };
      };
      const checked = await run('node', [join(BIN, compiler, bin.tsc), '-p', folder], folder);
      expect(checked.output, `${compiler}, ${moduleResolution}`).toBe('');
    }
  }
}

async function loads(folder: string): Promise<void> {
  const names = JSON.stringify(MODULES);
  writeFileSync(
    join(folder, 'load.mjs'),
    `for (const name of ${names}) console.log(name, Object.keys(await import(name)).length > 0);`,
  );
  writeFileSync(
    join(folder, 'load.cjs'),
    `for (const name of ${names}) console.log(name, Object.keys(require(name)).length > 0);`,
  );
  const expected = MODULES.map((name) => `${name} true\n`).join('');
  for (const file of ['load.mjs', 'load.cjs']) {
    const loaded = await run('node', [join(folder, file)], folder);
    expect(loaded.output).toBe(expected);
  }
}

const ALL = Object.keys(FRAMEWORKS) as Framework[];
const CASES: { tool: 'npm' | 'pnpm'; frameworks: Framework[] }[] = [
  { tool: 'npm', frameworks: ALL },
  { tool: 'npm', frameworks: [] },
  { tool: 'pnpm', frameworks: ALL },
  { tool: 'pnpm', frameworks: [] },
  ...ALL.map((absent) => ({ tool: 'pnpm' as const, frameworks: ALL.filter((name) => name !== absent) })),
];

describe('the packed package', () => {
  it.each(CASES.map((each) => ({ ...each, with: each.frameworks.join(', ') || 'no framework' })))(
    'by $tool with $with: types are whole in TypeScript 5.9 and 7, and everything loads',
    async ({ tool, frameworks }) => {
      const folder = await consumer(tool, frameworks);
      await typeChecks(folder, frameworks);
      await loads(folder);
      rmSync(folder, { recursive: true, force: true });
    },
    240_000,
  );

  it('runs its command', async () => {
    const folder = await consumer('npm', []);
    const { code, output } = await run('npx', ['--no-install', 'agentguard', '--help'], folder);
    expect(code, output).toBe(0);
    expect(output).toContain('verify');
  });
});
