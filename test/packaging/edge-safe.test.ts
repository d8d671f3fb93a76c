/** What an edge function bundles must not reach Node: the built files are followed from every such entry. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  exports: Record<string, { default: string } | string>;
  imports: Record<string, Record<string, string>>;
};

/** Entries that need Node by what they are. */
const NODE_ONLY = new Set([
  './ledgers/file',
  './policy-file',
  './policy.schema.json',
  './testing',
  './package.json',
]);
const entries = Object.entries(manifest.exports).filter(([name]) => !NODE_ONLY.has(name));

function reached(file: string, seen = new Set<string>()): Set<string> {
  if (seen.has(file)) return seen;
  seen.add(file);
  const text = readFileSync(join(root, file), 'utf8');
  for (const [, target = ''] of text.matchAll(/(?:from|import)\s*\(?\s*['"]([^'"]+)['"]/g)) {
    if (target.startsWith('.')) reached(join(dirname(file), target), seen);
    else if (target.startsWith('#')) reached(manifest.imports[target]!['edge-light']!, seen);
    else seen.add(target);
  }
  return seen;
}

describe('edge functions', () => {
  it.each(entries)('%s reaches no Node module', (_name, target) => {
    const file = (target as { default: string }).default;
    expect(existsSync(join(root, file)), `${file} is not built`).toBe(true);
    const all = [...reached(file)];
    expect(all.length).toBeGreaterThan(3);
    expect(all.filter((name) => name.startsWith('node:') || name.includes('src/node/'))).toEqual([]);
  });
});
