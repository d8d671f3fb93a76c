/** The matrix of the README names the versions that its tests run, and has a row for each. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Where each pinned framework is installed. */
const FOLDERS = [
  '',
  ...['ai-4', 'ai-5', 'ai-6', 'openai-6', 'langchain-0.3'].map((name) => `test/frameworks/${name}/`),
];

function installed(name: string): string[] {
  return FOLDERS.flatMap((folder) => {
    try {
      const path = `${ROOT}${folder}node_modules/${name}/package.json`;
      return [(JSON.parse(readFileSync(path, 'utf8')) as { version: string }).version];
    } catch {
      return [];
    }
  });
}

const rows = readFileSync(`${ROOT}README.md`, 'utf8')
  .split('\n')
  .filter((line) => /^\| (AI SDK|OpenAI client|LangChain) .*`[^`]+` \d/.test(line));

it('has a row for every driver of the matrix', () => expect(rows).toHaveLength(12));

it.each(rows)('%s', (row) => {
  const pins = [...row.matchAll(/`([@\w/-]+)` (\d+\.\d+\.\d+)/g)];
  expect(pins.length).toBeGreaterThan(0);
  for (const [, name = '', version] of pins) expect(installed(name)).toContain(version);
});
