/**
 * Writes the generated parts of docs/estimates.md and docs/prices.md: `npm run docs`. A test holds the pages against the same functions.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { coverageTable, priceTranscript } from './docs-prices.ts';
import { errorTable } from './docs-estimates.ts';

/** Pages, the names of their generated parts, and what makes them. */
export const GENERATED: readonly [page: string, part: string, make: () => string | Promise<string>][] = [
  ['docs/estimates.md', 'error-table', errorTable],
  ['docs/prices.md', 'coverage', coverageTable],
  ['docs/prices.md', 'transcript', priceTranscript],
];

const fileOf = (page: string): URL => new URL(`../${page}`, import.meta.url);

function marks(part: string): [string, string] {
  return [`<!-- ${part}: made by tools/write-docs.ts -->\n`, `<!-- end of ${part} -->`];
}

/** The text between a part's marks. */
export function partOf(page: string, part: string): string {
  const [start, end] = marks(part);
  const text = readFileSync(fileOf(page), 'utf8');
  const from = text.indexOf(start);
  const to = text.indexOf(end);
  if (from < 0 || to < from) throw new Error(`${page} has no part ${part}`);
  return text.slice(from + start.length, to);
}

if (import.meta.main) {
  for (const [page, part, make] of GENERATED) {
    const [start] = marks(part);
    const text = readFileSync(fileOf(page), 'utf8');
    const old = partOf(page, part);
    const from = text.indexOf(start) + start.length;
    writeFileSync(fileOf(page), text.slice(0, from) + (await make()) + text.slice(from + old.length));
  }
}
