/** DESIGN §8 as a test: imports point one way, `node:` stays in src/node, files and functions stay small. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

function filesBelow(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)).replaceAll('\\', '/'));
}

const files = ['src', 'middleware', 'callbacks'].flatMap((folder) => {
  try {
    return filesBelow(folder);
  } catch {
    return [];
  }
});

/** Every module that a file imports: our own as a path from the root, others by their name. */
function importsOf(file: string): { target: string; typeOnly: boolean }[] {
  const text = readFileSync(join(root, file), 'utf8').replaceAll(/\/\*[\s\S]*?\*\//g, '');
  const found = [
    ...text.matchAll(/^\s*(?:import|export)\s+(type\s)?(?:[\w*{}\s,]+?\sfrom\s+)?['"]([^'"]+)['"]/gm),
  ].map(([, type, target]) => ({ target: target!, typeOnly: type !== undefined }));
  const dynamic = [...text.matchAll(/\bimport\(\s*['"]([^'"]+)['"]\s*\)/g)].map(([, target]) => ({
    target: target!,
    typeOnly: false,
  }));
  return [...found, ...dynamic].map(({ target, typeOnly }) => ({
    target: target.startsWith('.')
      ? relative(root, join(root, dirname(file), target)).replaceAll('\\', '/')
      : target,
    typeOnly,
  }));
}

/** The layers of DESIGN §8, lowest first. The first pattern that fits a file is its layer. */
const LAYERS: readonly [string, RegExp][] = [
  ['rim', /^src\/(node\/(?!(platform|home)\.ts)|testing\/|pages\/)/],
  [
    'base',
    /^src\/(money|usage|errors|version|scope|capability-names|platform-web|node\/platform|node\/home)\.ts$/,
  ],
  ['facts', /^src\/(windows|policy|policy\/.*|accounts|estimate[\w-]*|pricing\/.*|receipts\/.*)(\.ts)?$/],
  ['decide', /^src\/(decide(\/[\w-]+)?|settlement)\.ts$/],
  ['ledgers', /^src\/ledgers\//],
  [
    'guard',
    /^src\/(guard|guarded-call|hold-queue|request|prepare|record|explain|events|options|policy-shelf|balances|alerts|approvals|capability|capabilities|control|prompt-caches|spend-guard|teller|waiting|webhook|adapter|late-truth|openrouter-generations)\.ts$/,
  ],
  ['guard', /^src\/(rehydrate|replay[\w-]*|reconcile)\.ts$/],
  ['wire', /^src\/wire\//],
  ['adapters', /^(middleware|callbacks)\//],
  ['index', /^src\/index\.ts$/],
];
const ORDER = ['base', 'facts', 'decide', 'ledgers', 'guard', 'wire', 'adapters', 'index', 'rim'];

function layerOf(file: string): string {
  const layer = LAYERS.find(([, pattern]) => pattern.test(file))?.[0];
  if (layer === undefined)
    throw new Error(`${file} belongs to no layer of test/packaging/architecture.test.ts`);
  return layer;
}

describe('the house', () => {
  it('has sources to look at', () => expect(files.length).toBeGreaterThan(40));

  it.each(files)('%s imports only from its own layer and those below', (file) => {
    const own = ORDER.indexOf(layerOf(file));
    for (const { target } of importsOf(file)) {
      if (!/^(src|middleware|callbacks)\//.test(target)) continue;
      expect(ORDER.indexOf(layerOf(target)), `${file} imports ${target}`).toBeLessThanOrEqual(own);
    }
  });

  it('keeps ledgers and decide apart: one serialises, the other says yes or no', () => {
    for (const file of files.filter((name) => layerOf(name) === 'ledgers')) {
      expect(importsOf(file).map(({ target }) => target)).not.toContain('src/decide.ts');
    }
    for (const file of files.filter((name) => /^src\/decide[./]/.test(name))) {
      for (const { target } of importsOf(file)) expect(target).not.toMatch(/ledgers|node:|platform/);
    }
  });

  it.each(files.filter((file) => !file.startsWith('src/node/')))('%s has no import of Node', (file) => {
    // `#platform` and `#default-ledger` choose by runtime; naming the Node side would take it to the edge.
    const isRim = layerOf(file) === 'rim';
    for (const { target } of importsOf(file))
      expect(target).not.toMatch(isRim ? /^node:/ : /^node:|^src\/node\//);
  });

  it.each(files.filter((file) => /^(middleware|callbacks)\//.test(file)))(
    '%s imports no framework',
    (file) => {
      for (const { target } of importsOf(file)) {
        expect(target, `${file} imports ${target}`).toMatch(/^(src|middleware|callbacks)\//);
      }
    },
  );

  it('keeps jose to those who verify signed capabilities', () => {
    for (const file of files) {
      const targets = importsOf(file).map(({ target }) => target);
      if (file === 'src/capabilities.ts') expect(targets).toContain('jose');
      else expect(targets, file).not.toContain('jose');
      // nor through the file that imports it
      if (layerOf(file) !== 'rim') expect(targets, file).not.toContain('src/capabilities.ts');
    }
  });

  it('has no import cycle', () => {
    const done = new Set<string>();
    const visit = (file: string, path: readonly string[]): void => {
      expect(path, `cycle: ${[...path, file].join(' → ')}`).not.toContain(file);
      if (done.has(file)) return;
      for (const { target, typeOnly } of importsOf(file)) {
        if (!typeOnly && files.includes(target)) visit(target, [...path, file]);
      }
      done.add(file);
    };
    for (const file of files) visit(file, []);
  });

  it.each(files.filter((file) => !file.endsWith('catalogue-data.ts')))(
    '%s is short enough to read',
    (file) => {
      expect(readFileSync(join(root, file), 'utf8').split('\n').length).toBeLessThanOrEqual(420);
    },
  );

  it('names its version once', async () => {
    const { SDK } = await import('../../src/version.ts');
    const { name, version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<
      string,
      string
    >;
    expect(SDK).toBe(`${name}/${version}`);
  });
});
