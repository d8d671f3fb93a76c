/** The questions of `agentguard init`, at a terminal. */
import { existsSync } from 'node:fs';
import type { Readable, Writable } from 'node:stream';
import { confirm, group, intro, multiselect, outro, text } from '@clack/prompts';
import { nearestZone } from '../../../policy/problems.ts';
import { checkScope } from '../../../scope.ts';
import { isTimeZone } from '../../../windows.ts';
import { fileName } from '../../policy-file/read.ts';
import { screenWidth } from '../output.ts';
import type { InitOptions, Plan } from './init.ts';
import { PRESET_NAMES, PRESETS, type PresetName } from './presets.ts';

/** Thrown out of the questions when somebody has had enough of them. */
class Cancelled extends Error {}

/** Where the questions are put; the terminal by default. */
export interface Screen {
  input?: Readable;
  output?: Writable;
}

/** Asks for what the options don't say. `undefined` when it was cancelled, or the file may not be replaced. */
export async function ask(given: Plan, options: InitOptions, screen: Screen = {}): Promise<Plan | undefined> {
  // A terminal of unknown size says 0, and would get one letter a line.
  if (process.stdout.columns === 0) process.stdout.columns = screenWidth();
  intro('A policy file for AgentGuard Spend', screen);
  try {
    const answers = await group(questions(given, options, screen), {
      onCancel() {
        throw new Cancelled();
      },
    });
    const { replace } = answers as { replace?: boolean };
    if (replace === false) return undefined;
    outro('Thank you.', screen);
    const { presets, tenantId, teamId, timeZone, shadow, file } = answers;
    return {
      file,
      presets,
      answers: {
        tenantId,
        ...(teamId !== '' && { teamId }),
        timeZone,
        mode: shadow ? 'shadow' : 'enforce',
      },
      force: given.force || replace === true,
    };
  } catch (error) {
    if (error instanceof Cancelled) return undefined;
    throw error;
  }
}

// oxlint-disable-next-line typescript/explicit-function-return-type -- what `group` makes of them
function questions({ file, presets, answers, force }: Plan, options: InitOptions, screen: Screen) {
  const textOf = textOn(screen);
  return {
    presets: () =>
      presets.length > 0
        ? Promise.resolve([...presets])
        : multiselect<PresetName>({
            ...screen,
            message: 'What work are the calls for? (space selects, enter goes on)',
            options: PRESET_NAMES.map((name) => ({
              value: name,
              label: PRESETS[name].title,
              hint: PRESETS[name].hint,
            })),
            required: true,
          }),
    tenantId: () =>
      options.tenant !== undefined
        ? Promise.resolve(answers.tenantId)
        : textOf('Tenant (company or customer)', 'acme', scopeProblem('tenantId')),
    teamId: () =>
      options.team !== undefined
        ? Promise.resolve(options.team)
        : textOf('Team (empty for all teams)', '', (value) =>
            value === '' ? undefined : scopeProblem('teamId')(value),
          ),
    timeZone: () =>
      options.timeZone !== undefined
        ? Promise.resolve(answers.timeZone)
        : textOf('Time zone whose days, weeks and months count', localZone(), (value) =>
            isTimeZone(value)
              ? undefined
              : `An IANA time zone such as ${nearestZone(value) ?? 'Europe/Berlin'}`,
          ),
    shadow: () =>
      options.shadow !== undefined
        ? Promise.resolve(options.shadow)
        : confirm({
            ...screen,
            message: 'Begin in shadow mode, which records what it would decide and changes nothing?',
            initialValue: true,
          }),
    file: () => (options.file !== undefined ? Promise.resolve(file) : textOf('File', file, () => undefined)),
    replace: ({ results }: { results: { file?: string } }) => {
      const path = results.file ?? file;
      if (force || !existsSync(path)) return Promise.resolve(undefined);
      return confirm({
        ...screen,
        message: `${fileName(path)} is there already. Replace it?`,
        initialValue: false,
      });
    },
  };
}

type AskText = (
  message: string,
  initial: string,
  problem: (value: string) => string | undefined,
) => Promise<string | symbol>;

function textOn(screen: Screen): AskText {
  return (message, initial, problem) =>
    text({
      ...screen,
      message,
      ...(initial !== '' && { placeholder: initial }),
      defaultValue: initial,
      validate: (value) => problem(value === undefined || value === '' ? initial : value),
    });
}

function scopeProblem(field: 'tenantId' | 'teamId'): (value: string) => string | undefined {
  return (value) => {
    try {
      checkScope('scope', { [field]: value });
      return undefined;
    } catch {
      return 'Text of 1 to 128 bytes without control characters';
    }
  };
}

function localZone(): string {
  return new Intl.DateTimeFormat().resolvedOptions().timeZone;
}
