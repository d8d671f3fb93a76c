/** What the commands share for talking to people: colour, widths, escaped strings, plain errors. */
import { relative } from 'node:path';
import { styleText } from 'node:util';
import { AgentGuardError } from '../../errors.ts';

/** An error for the user: one or two sentences that say what to do next. */
export class CliError extends Error {
  readonly exitCode: number;

  constructor(message: string, exitCode = 2) {
    super(message);
    this.exitCode = exitCode;
  }
}

type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan';

/** Coloured where standard output is a terminal that wants it (`NO_COLOR`, `FORCE_COLOR`), else as it is. */
export function styled(style: Style, text: string): string {
  return styleText(style, text, { stream: process.stdout });
}

/** How wide a line may be. */
export function screenWidth(): number {
  // A terminal of unknown size says 0.
  const columns = process.stdout.columns || Number(process.env['COLUMNS']) || 100;
  return Math.min(100, Math.max(60, columns));
}

// Controls, formats (bidi marks, zero-width signs, tags), line separators, surrogates and private use.
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}]/gu;

/** A string from outside, safe to print: what could steer a terminal or turn the text around is shown escaped. */
export function printable(text: string): string {
  return text.replaceAll(INVISIBLE, (char) => `\\u{${(char.codePointAt(0) as number).toString(16)}}`);
}

/** `2026-11-23 12:01:02.345 UTC` */
export function timeText(time: number | string): string {
  return `${new Date(time).toISOString().replace('T', ' ').replace('Z', '')} UTC`;
}

const UNITS: readonly (readonly [name: string, ms: number])[] = [
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
  ['second', 1000],
];

/** The two largest units: `7 days 22 hours`. */
export function durationText(ms: number): string {
  const parts: string[] = [];
  let left = Math.abs(ms);
  for (const [name, length] of UNITS) {
    const count = Math.floor(left / length);
    left -= count * length;
    if (count > 0) parts.push(countText(count, name));
    else if (parts.length > 0) break;
    if (parts.length === 2) break;
  }
  return parts.length === 0 ? 'less than a second' : parts.join(' ');
}

/** `1 call`, `1,204 calls` */
export function countText(count: number, noun: string): string {
  return `${count.toLocaleString('en-US')} ${noun}${count === 1 ? '' : 's'}`;
}

/** Breaks `text` between words, each line after the first indented. Words longer than a line stay whole. */
export function wrapped(text: string, indent: number, width: number = screenWidth()): string {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && indent + line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line].join(`\n${' '.repeat(indent)}`);
}

/** A labelled line, its text wrapped beside the label. `style` colours the first word up to a dash. */
export function labelled(label: string, text: string, width: number, style?: Style): string {
  const body = wrapped(text, width);
  const [verdict = '', ...rest] = body.split(/(?=[:,\s])/);
  const shown = style === undefined ? body : [styled(style, verdict), ...rest].join('');
  return `${styled('dim', label.padEnd(width))}${shown}`;
}

/** How this program was started, so that a hint can be pasted into the same shell. */
export function commandText(...args: string[]): string {
  return [...invocation(), ...args.map(quoted)].join(' ');
}

function invocation(): string[] {
  const script = process.argv[1] ?? '';
  if (!/\.(js|ts)$/.test(script)) {
    return script.includes('node_modules') ? ['npx', 'agentguard'] : ['agentguard'];
  }
  const path = relative(process.cwd(), script);
  return ['node', ...process.execArgv, path.startsWith('..') ? script : path];
}

function quoted(arg: string): string {
  return /^[\w@%+=:,./~-]+$/.test(arg) ? arg : `'${arg.replaceAll("'", String.raw`'\''`)}'`;
}

/** Throws `CliError` on a Node that lacks what the file ledger needs (node:sqlite). */
export function requireNode(): void {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major > 22 || (major === 22 && minor >= 13)) return;
  throw new CliError(`This needs Node.js 22.13 or newer, and runs on ${process.versions.node}.`);
}

/** What to print of an error that ended a command, and with which code to end. */
export function failure(error: unknown): { message: string; exitCode: number } {
  if (error instanceof CliError) return { message: error.message, exitCode: error.exitCode };
  if (error instanceof AgentGuardError) return { message: error.message, exitCode: 2 };
  const { message, stack } = error as Error;
  const detail = process.env['AGENTGUARD_DEBUG'] === undefined ? message : (stack ?? message);
  return { message: `something went wrong that this program did not expect: ${detail}`, exitCode: 2 };
}
