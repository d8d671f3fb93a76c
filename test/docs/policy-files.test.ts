/** The sessions in docs/policy-files.md are what the commands print. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { parse } from 'yaml';
import { PRESET_NAMES } from '../../src/node/cli/init/presets.ts';
import { pageWith, policyFilesPage, sessions } from '../../tools/docs-policy-files.ts';

it('shows what the commands print today (npm exec node tools/docs-policy-files.ts writes it)', async () => {
  const page = policyFilesPage();
  expect(pageWith(page, await sessions())).toBe(page);
});

it('names every preset, and every kind of finding', () => {
  const page = policyFilesPage();
  for (const name of PRESET_NAMES) expect(page).toContain(`| \`${name}\` |`);
  const sources = ['findings', 'cap-findings', 'model-findings', 'rule-findings'].map((name) =>
    readFileSync(new URL(`../../src/node/cli/policy/${name}.ts`, import.meta.url), 'utf8'),
  );
  const codes = [...sources.join('\n').matchAll(/code: (?:isSoft \? )?'(\w+)'(?: : '(\w+)')?/g)].flatMap(
    ([, ...found]) => found.filter((code) => code !== undefined),
  );
  expect(codes.length).toBeGreaterThan(20);
  for (const code of codes) expect(page, code).toContain(`\`${code}\``);
});

it('shows a file that is YAML', () => {
  const shown = /\$ head -32 policies\.yaml\n([^]*?)```/.exec(policyFilesPage())?.[1];
  expect(parse(shown ?? '')).toMatchObject({ policies: [{ id: 'code-review', mode: 'shadow' }] });
});
