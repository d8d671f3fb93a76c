/** Runs the example whose number is given, the first one without it: `npm run example 04 -- --serve`. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('../examples', import.meta.url));
/** What a person starts; an app with a README of its own (Next.js) is started as that says. */
const programs = readdirSync(folder)
  .toSorted()
  .map((name) => (name.endsWith('.ts') ? name : join(name, 'run.ts')))
  .filter((name) => existsSync(join(folder, name)));

const [wanted = '01', ...rest] = process.argv.slice(2);
const program = programs.find((name) => name.startsWith(wanted));
const app = readdirSync(folder).find((name) => name.startsWith(wanted));
if (program === undefined && app !== undefined) {
  console.error(`${app} is an app of its own: see examples/${app}/README.md`);
  process.exitCode = 2;
} else if (program === undefined) {
  console.error(`no example ${wanted}; there are\n${programs.map((name) => `  ${name}`).join('\n')}`);
  process.exitCode = 2;
} else {
  const { status } = spawnSync(process.execPath, [join(folder, program), ...rest], { stdio: 'inherit' });
  process.exitCode = status ?? 1;
}
