/** `docs/auditor.md` as an auditor follows it: each command is run in the same shell, and prints what the page shows. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { temporaryFolder } from '../node/temporary-folder.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const page = readFileSync(join(root, 'docs/auditor.md'), 'utf8');

const FILES = {
  'decisions.ndjson': 'test/vectors/good/every-type-of-receipt.ndjson',
  'acme.checkpoint': 'test/vectors/checkpoint-early.txt',
  'link.txt': 'test/vectors/link.txt',
  'verify.sh': 'docs/verify.sh',
  'verify.py': 'docs/verify.py',
};

interface Step {
  commands: string;
  output: string;
}

/** The commands of the page, each with what it shows behind them. */
function steps(): Step[] {
  const found: Step[] = [];
  for (const [, language, text = ''] of page.matchAll(/```(sh|text)\n([^]*?)```/g)) {
    if (language === 'sh') found.push({ commands: text, output: '' });
    else (found.at(-1) as Step).output = text;
  }
  return found;
}

/** Runs all of them in one shell, so that later ones see what earlier ones have set. */
function outputs(commands: readonly string[]): string[] {
  const folder = temporaryFolder();
  for (const [name, source] of Object.entries(FILES)) copyFileSync(join(root, source), join(folder, name));
  const mark = '---- end of a step ----';
  const script = commands.map((each) => `${each}\necho '${mark}'\n`).join('');
  writeFileSync(join(folder, 'page.sh'), `exec 2>&1\n${script}`);
  const all = execFileSync('bash', ['page.sh'], { cwd: folder, encoding: 'utf8' });
  return all.split(`${mark}\n`).slice(0, -1);
}

describe('the page for auditors', () => {
  it('shows what its commands print', () => {
    const found = steps();
    expect(found.length).toBeGreaterThan(12);
    const printed = outputs(found.map(({ commands }) => commands));
    expect(printed).toEqual(found.map(({ output }) => output));
  });

  it('uses openssl, coreutils and bash alone, but for the Python of its last section', () => {
    const tools = new Set(['openssl', 'bash', '/usr/bin/python3']);
    const text = steps()
      .map(({ commands }) => commands)
      .join('\n');
    for (const other of ['xxd', 'jq', 'sed', 'awk', 'grep', 'perl', 'node', 'cmp', 'diff']) {
      expect(text).not.toMatch(new RegExp(`(^|[|;(\\s])${other}\\s`, 'm'));
    }
    for (const tool of tools) expect(text).toContain(tool);
  });
});
