/** `agentguard init`: writes a policy file to begin with. Never replaces one unasked. */
import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, extname, isAbsolute, join, relative, resolve } from 'node:path';
import { parse } from 'yaml';
import { nearestZone } from '../../../policy/problems.ts';
import { checkScope } from '../../../scope.ts';
import { isTimeZone } from '../../../windows.ts';
import { fileName, policiesIn, problemsMessage } from '../../policy-file/read.ts';
import { CliError, commandText, failure, printable, styled } from '../output.ts';
import { presetFile, PRESET_NAMES, PRESETS, type Answers, type PresetName } from './presets.ts';

export interface InitOptions {
  file?: string;
  preset?: readonly string[];
  tenant?: string;
  team?: string;
  timeZone?: string;
  shadow?: boolean;
  yes?: boolean;
  force?: boolean;
  json?: boolean;
}

/** All that must be known before a file is written. */
export interface Plan {
  file: string;
  presets: readonly PresetName[];
  answers: Omit<Answers, 'effectiveFrom'>;
  /** True when a file that is there may be replaced. */
  force: boolean;
}

export const DEFAULT_FILE = 'policies.yaml';

const PACKAGE_SCHEMA = join('node_modules', '@agentguard-run', 'spend', 'policy.schema.json');

/** Writes the file and says what comes next. Returns the exit code. */
export async function initCommand(options: InitOptions): Promise<number> {
  if (options.json !== true) {
    const plan = await planOf(options);
    if (plan === undefined) {
      process.stdout.write('Nothing was written.\n');
      return 1;
    }
    write(plan);
    process.stdout.write(`${nextSteps(plan).join('\n')}\n`);
    return 0;
  }
  let report: { exitCode: number; [member: string]: unknown };
  try {
    const plan = await planOf({ ...options, yes: true });
    if (plan === undefined) return 1;
    report = { exitCode: 0, ...write(plan) };
  } catch (error) {
    const { message, exitCode } = failure(error);
    report = { exitCode, error: message };
  }
  process.stdout.write(`${JSON.stringify(report, undefined, 2)}\n`);
  return report.exitCode;
}

/** What the options say, completed by questions where somebody can answer them. */
async function planOf(options: InitOptions): Promise<Plan | undefined> {
  const presets = (options.preset ?? []).flatMap((text) => text.split(',')).flatMap(presetOf);
  const given = {
    file: options.file ?? DEFAULT_FILE,
    presets: [...new Set(presets)],
    answers: {
      tenantId: scopeValue('--tenant', 'tenantId', options.tenant ?? 'acme'),
      ...(options.team !== undefined && { teamId: scopeValue('--team', 'teamId', options.team) }),
      timeZone: zoneOf(options.timeZone ?? 'UTC'),
      mode: options.shadow === true ? ('shadow' as const) : ('enforce' as const),
    },
    force: options.force === true,
  };
  if (options.yes === true) {
    return { ...given, presets: given.presets.length === 0 ? ['code-review'] : given.presets };
  }
  if (!process.stdin.isTTY || !process.stdout.isTTY) {
    throw new CliError(
      'init asks questions, and there is nobody at a terminal to answer them. Say what you want with options and ' +
        `--yes, e.g. ${commandText('init', '--yes', '--preset', 'code-review', '--tenant', 'acme')}`,
    );
  }
  const { ask } = await import('./questions.ts');
  return ask(given, options);
}

function presetOf(text: string): PresetName[] {
  const name = text.trim();
  if (name === 'all') return PRESET_NAMES;
  if ((PRESET_NAMES as readonly string[]).includes(name)) return [name as PresetName];
  throw new CliError(
    `--preset ${printable(name)}: there is none of that name. Choose from ${PRESET_NAMES.join(', ')}, or all.`,
  );
}

function scopeValue(option: string, field: 'tenantId' | 'teamId', value: string): string {
  try {
    checkScope('scope', { [field]: value });
    return value;
  } catch {
    throw new CliError(
      `${option} ${printable(value)}: expected text of 1 to 128 bytes without control characters.`,
    );
  }
}

function zoneOf(value: string): string {
  if (isTimeZone(value)) return value;
  const near = nearestZone(value);
  throw new CliError(
    `--time-zone ${printable(value)}: expected an IANA time zone such as Europe/Berlin.${near === undefined ? '' : ` Did you mean ${near}?`}`,
  );
}

/** Where an editor finds the schema, from the folder of the file: in the nearest installation of this package. */
function schemaPath(file: string): string {
  const from = dirname(resolve(file));
  for (let folder = from; ; folder = dirname(folder)) {
    const schema = join(folder, PACKAGE_SCHEMA);
    const found = relative(from, schema);
    if (existsSync(schema) && !isAbsolute(found))
      return (found.startsWith('.') ? found : `./${found}`).replaceAll('\\', '/');
    if (dirname(folder) === folder) return `./${PACKAGE_SCHEMA.replaceAll('\\', '/')}`;
  }
}

interface Written {
  file: string;
  presets: readonly PresetName[];
  policies: readonly { id: string; scope: object; mode: string }[];
  replaced: boolean;
}

function write({ file, presets, answers, force }: Plan): Written {
  const today = new Date().toISOString().slice(0, 10);
  const shown = fileName(file);
  const schema = schemaPath(file);
  const yaml = presetFile(presets, { ...answers, effectiveFrom: today }, { file: shown, schema });
  const read = policiesIn(yaml, shown);
  const problem = problemsMessage(read);
  // What init writes must be what a guard takes.
  if (problem !== undefined) throw new Error(problem);
  const isJson = extname(file).toLowerCase() === '.json';
  const text = isJson ? jsonText(yaml, schema) : yaml;
  const replaced = existsSync(file);
  if (replaced && !force) {
    throw new CliError(
      `${printable(shown)} is there already, and was left as it is. Name another --file, or replace it with --force.`,
    );
  }
  try {
    mkdirSync(dirname(resolve(file)), { recursive: true });
    if (replaced) {
      // A guard that follows the file must never see half of it.
      writeFileSync(`${file}.new`, text);
      renameSync(`${file}.new`, file);
    } else writeFileSync(file, text, { flag: 'wx' });
  } catch (error) {
    throw new CliError(`${printable(shown)} can't be written: ${(error as Error).message}.`);
  }
  const policies = read.policies.map(({ policy: { record } }) => ({
    id: record.id,
    scope: record.scope,
    mode: record.mode,
  }));
  return { file: shown, presets, policies, replaced };
}

function jsonText(yaml: string, schema: string): string {
  return `${JSON.stringify({ $schema: schema, ...(parse(yaml) as object) }, undefined, 2)}\n`;
}

function nextSteps({ file, presets, answers }: Plan): string[] {
  const name = fileName(file);
  const titles = presets.map((preset) => PRESETS[preset].title.toLowerCase());
  const what = `${titles.length === 1 ? 'a policy' : `${titles.length} policies`} for ${titles.join(', ')}`;
  return [
    `${styled('green', 'Wrote')} ${styled('bold', printable(name))}: ${what}.`,
    '',
    'Next:',
    `  ${commandText('policy', 'check', name)}`,
    `  ${commandText('policy', 'simulate', name, '--log', answers.tenantId)}`,
    '',
    'In the program, which follows the file from then on:',
    "  import { policyFile } from '@agentguard-run/spend/policy-file';",
    `  createSpendGuard({ policy: policyFile(${JSON.stringify(name)}) })`,
  ];
}
