/**
 * Most lines of a log as one regular expression for each type, made from the type's schema: a line that it matches is in
 * its RFC 8785 form and in its closed schema, so nobody has to parse it and write it again to know. It takes plain text
 * only: what it doesn't match may still be right, and is for `parseLine` to judge. A test holds the two together.
 */
import type * as v from 'valibot';
import { strictUtf8 } from './canonical-json.ts';
import {
  instant,
  MAX_LINE_BYTES,
  noList,
  PAYLOADS,
  type DecisionPayload,
  type ReceiptType,
} from './payloads.ts';
import { adjustmentEntry, decisionEntry, settlementEntry, type TallyEntry } from './tally.ts';

/** What a line says of its place in the log and of money, and who signed it. */
export interface PlainLine {
  type: PlainType;
  durable_seq: number | undefined;
  issued_at: string;
  issuer_id: string;
  log: string;
  previousReceiptHash: string | undefined;
  seq: number;
  signature: { alg: string; kid: string; sig: string };
  entry: TallyEntry;
}

/** Types that promise nothing about their own content but its form: nearly all lines of every log. */
const PLAIN_TYPES = ['decision', 'settlement', 'adjustment'] as const satisfies readonly ReceiptType[];
type PlainType = (typeof PLAIN_TYPES)[number];

/** Paths of the members that are read out, where a type has them. */
const READ: ReadonlySet<string> = new Set([
  'durable_seq',
  'issued_at',
  'issuer_id',
  'log',
  'previousReceiptHash',
  'seq',
  'call',
  'change',
  'cost.amount',
  'decision',
  'outcome',
]);

interface Pattern {
  type: PlainType;
  whole: RegExp;
  /** Which of the pattern's groups each member is. */
  groups: Readonly<Record<string, number>>;
}

let patterns: readonly Pattern[] | undefined;

/** `undefined` for a line that must be looked at more closely. */
export function plainLine(line: Uint8Array): PlainLine | undefined {
  if (line.length > MAX_LINE_BYTES) return undefined;
  let text: string;
  try {
    text = strictUtf8(line);
  } catch {
    return undefined;
  }
  patterns ??= PLAIN_TYPES.map(linePattern);
  for (const pattern of patterns) {
    const found = pattern.whole.exec(text);
    if (found !== null) return readOut(pattern, found);
  }
  return undefined;
}

function readOut({ type, groups }: Pattern, found: RegExpExecArray): PlainLine {
  const read = (name: string): string => found[groups[name] as number] as string;
  const durable = read('durable_seq') as string | undefined;
  return {
    type,
    durable_seq: durable === undefined ? undefined : Number(durable),
    issued_at: read('issued_at'),
    issuer_id: read('issuer_id'),
    log: read('log'),
    previousReceiptHash: read('previousReceiptHash'),
    seq: Number(read('seq')),
    signature: { alg: 'EdDSA', kid: read('kid'), sig: read('sig') },
    entry: entryFrom(type, read),
  };
}

function entryFrom(type: PlainType, read: (name: string) => string): TallyEntry {
  switch (type) {
    case 'decision':
      return decisionEntry(read('call'), read('decision') as DecisionPayload['decision']);
    case 'settlement':
      return settlementEntry(read('call'), read('outcome'), read('cost.amount'));
    case 'adjustment':
      return adjustmentEntry(read('change'));
  }
}

const HEAD = '{"payload":'.length;
const TAIL = ',"signature":{"alg":"EdDSA","kid":"","sig":""}}'.length + 43 + 128;

/** The bytes that a plain line's signature is over: what is around them always has the same length. */
export function signedPart(line: Uint8Array): Uint8Array {
  return line.subarray(HEAD, line.length - TAIL);
}

function linePattern(type: PlainType): Pattern {
  const payload = objectPattern(PAYLOADS[type].entries, '');
  const kid = unrolled('[\\w-]{43}');
  const sig = unrolled('[0-9a-f]{128}');
  const signature = `\\{"alg":"EdDSA","kid":"(?<kid>${kid})","sig":"(?<sig>${sig})"\\}`;
  const named = `^\\{"payload":${payload},"signature":${signature}\\}$`;
  // The names are for here alone: what is found by a number is found faster.
  const names = Array.from(named.matchAll(/\(\?<([\w.]+)>/g), ([, name]) => name as string);
  const groups = Object.fromEntries(names.map((name, index) => [name, index + 1]));
  return { type, whole: new RegExp(named.replaceAll(/\(\?<[\w.]+>/g, '(')), groups };
}

/** Written out, a fixed number of characters is matched several times as fast. */
function unrolled(pattern: string): string {
  return pattern.replace(/(\[[^\]]*\]|\\d)\{(\d+)\}/g, (_, set: string, count: string) =>
    set.repeat(Number(count)),
  );
}

type AnySchema = v.GenericSchema & {
  entries?: Entries;
  items?: readonly AnySchema[];
  item?: AnySchema;
  wrapped?: AnySchema;
  literal?: unknown;
  options?: readonly string[];
  pipe?: readonly (AnySchema | Action)[];
};
type Entries = Readonly<Record<string, v.GenericSchema>>;

interface Action {
  kind: 'validation';
  type: string;
  requirement: unknown;
}

/** What JSON writes as it is, a character for a character. */
const PLAIN_TEXT = '[ !#-\\[\\]-~]';
/** Dates that are in every year's calendar. */
const REAL_INSTANT =
  '\\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|' +
  '02-(?:0[1-9]|1\\d|2[0-8]))T(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d\\.\\d{3}Z';

/** Throws `TypeError` for what these types don't use: a pattern that is too wide would let a wrong line pass. */
function patternOf(schema: AnySchema): string {
  if (schema === (instant as AnySchema)) return `"${unrolled(REAL_INSTANT)}"`;
  const steps = (schema.pipe ?? [schema]).filter((step) => step !== noList && step.type !== 'unknown');
  const [bare, ...rules] = steps as [AnySchema, ...Action[]];
  if (bare.type === 'string') return `"${textPattern(rules)}"`;
  if (bare.type === 'number') return wholePattern(rules);
  if (rules.length > 0) throw new TypeError(`plain lines have no rules for ${bare.type}`);
  switch (bare.type) {
    case 'boolean':
      return '(?:true|false)';
    case 'literal':
      return escaped(JSON.stringify(bare.literal));
    case 'picklist':
      return `"(?:${(bare.options ?? []).map(escaped).join('|')})"`;
    case 'array': {
      const item = patternOf(bare.item as AnySchema);
      return `\\[(?:${item}(?:,${item})*)?\\]`;
    }
    case 'strict_tuple':
      return `\\[${(bare.items ?? []).map(patternOf).join(',')}\\]`;
    case 'strict_object':
      return objectPattern(bare.entries ?? {});
  }
  throw new TypeError(`plain lines have no schema of type ${bare.type}`);
}

function textPattern([rule, ...more]: readonly Action[]): string {
  if (rule === undefined) return `${PLAIN_TEXT}*`;
  const { type, requirement } = rule;
  if (type === 'max_length' && more.length === 0) return `${PLAIN_TEXT}{0,${requirement as number}}`;
  if (type !== 'regex' || more.length > 0) throw new TypeError(`plain lines have no rule of type ${type}`);
  const { source } = requirement as RegExp;
  if (!/^\^.*\$$/.test(source)) throw new TypeError('plain lines have rules for whole texts only');
  return `(?:${unrolled(source.slice(1, -1).replaceAll(/\((?!\?)/g, '(?:'))})`;
}

/** Whole numbers from 0, far below 2^53. */
function wholePattern(rules: readonly Action[]): string {
  const isWhole =
    rules.map(({ type }) => type).join() === 'safe_integer,min_value' && rules[1]?.requirement === 0;
  if (!isWhole) throw new TypeError('plain lines have no other numbers than whole ones');
  return '(?:0|[1-9]\\d{0,14})';
}

/** Members in their canonical order, each at most once. `place` is that of the object, where something of it is read. */
function objectPattern(entries: Entries, place?: string): string {
  const names = Object.keys(entries).sort();
  const isNeeded = (name: string): boolean => entries[name]?.type !== 'exact_optional';
  const firstNeeded = names.findIndex(isNeeded);
  const members = names.map((name, index) => {
    const entry = entries[name] as AnySchema;
    const schema = isNeeded(name) ? entry : (entry.wrapped as AnySchema);
    const member = `"${name}":${place === undefined ? patternOf(schema) : readable(schema, place + name)}`;
    // Around the first that is always there, the commas have their places.
    if (firstNeeded < 0) return `(?:${member}(?:,(?=")|(?=\\})))?`;
    if (index < firstNeeded) return `(?:${member},)?`;
    const after = index === firstNeeded ? member : `,${member}`;
    return isNeeded(name) ? after : `(?:${after})?`;
  });
  return `\\{${members.join('')}\\}`;
}

/** With a group around what is read, without its quotes. */
function readable(schema: AnySchema, path: string): string {
  if (path === 'cost') return objectPattern(schema.entries ?? {}, 'cost.');
  const value = patternOf(schema);
  if (!READ.has(path)) return value;
  return value.startsWith('"') ? `"(?<${path}>${value.slice(1, -1)})"` : `(?<${path}>${value})`;
}

function escaped(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\/]/g, '\\$&');
}
