/** What a scope may do: the policy that a user writes, validated, and the one normal form that is recorded. */
import * as v from 'valibot';
import { AgentGuardError } from './errors.ts';
import { nanoUsdFromCents, type NanoUsd } from './money.ts';
import { canonicalJson } from './receipts/canonical-json.ts';
import { digestOf } from './receipts/keys.ts';
import { SCOPE_FIELDS, type ScopeField, type SpendScope } from './scope.ts';
import {
  isTimeZone,
  WEEKDAYS,
  WINDOW_KINDS,
  type Calendar,
  type Weekday,
  type WindowKind,
} from './windows.ts';

/** An amount in a window, with what happens when it would be passed. */
export interface SpendCap {
  /** US cents; fractions down to 1e-7 are exact. `5000` is $50. */
  amountCents: number | string;
  window: WindowKind;
  /**
   * `block` refuses a call whose worst case doesn't fit. `downgrade` sends calls to `downgradeTo` once the amount
   * is spent (`per_call`: when the call alone could cost more).
   */
  action: 'block' | 'downgrade';
  /** The cheaper model, or a ladder of them tried in order. Only with `action: 'downgrade'`. */
  downgradeTo?: string | readonly string[];
  /** A separate balance for each value of these scope fields, e.g. `['userId']`. */
  per?: readonly ScopeField[];
  /** Your words; they appear in errors and receipts. */
  reason?: string;
}

/** What a scope may do. All policies whose scope fits a call apply; the strictest wins. */
export interface SpendPolicy {
  id: string;
  name?: string;
  /** The calls that this policy is for: those whose scope has the same value in every field named here. */
  scope: SpendScope;
  caps: readonly SpendCap[];
  /** `shadow` records what would have been decided and changes nothing. Default `enforce`. */
  mode?: 'enforce' | 'shadow';
  version: number;
  /** ISO 8601 instant. Calls before it are blocked. */
  effectiveFrom: string;
  /** IANA time zone of day, week and month windows. Default `UTC`. */
  timeZone?: string;
  /** First day of `per_week` windows. Default `monday`. */
  weekStart?: Weekday;
  /**
   * Output limit set on calls that have none of their own, where a cap depends on it. A number of tokens, or
   * `model` for the model's own maximum. Default 8192.
   */
  maxOutputTokens?: number | 'model';
  /** What to do with a model without a known price while a cap is in play. Default `block`. */
  unknownPrice?: 'block' | 'allow';
  /** Shrinks the output limit to what a block cap leaves, down to `minTokens`, instead of refusing. Default off. */
  clampOutput?: { minTokens: number };
}

/** A cap in normal form, as it is recorded. */
export interface Cap {
  /** Nano-USD as a decimal string. */
  amount: string;
  window: WindowKind;
  action: 'block' | 'downgrade';
  downgradeTo?: readonly string[];
  per?: readonly ScopeField[];
  reason?: string;
}

/** A policy in normal form: every default written out, amounts in nano-USD. This is what receipts carry. */
export interface PolicyRecord {
  id: string;
  name?: string;
  scope: SpendScope;
  caps: readonly Cap[];
  mode: 'enforce' | 'shadow';
  version: number;
  effectiveFrom: string;
  timeZone: string;
  weekStart: Weekday;
  maxOutputTokens: number | 'model';
  unknownPrice: 'block' | 'allow';
  clampOutput?: { minTokens: number };
}

/** A policy record made ready for decisions. */
export interface Policy {
  readonly record: PolicyRecord;
  /** Names the record in receipts. */
  readonly digest: string;
  readonly effectiveFrom: number;
  readonly calendar: Calendar;
  readonly amounts: readonly NanoUsd[];
}

export const DEFAULT_MAX_OUTPUT_TOKENS = 8192;
const MAX_CAPS = 32;
/** A policy and the prices of its models must fit into a receipt each. */
const MAX_RECORD_LENGTH = 24 * 1024;
const MAX_LADDER_MODELS = 32;

const shortText = (limit: number) =>
  v.pipe(v.string(), v.nonEmpty(), v.maxLength(limit), v.check(isSound, UNSOUND));
const UNSOUND = 'expected text without lone surrogates';
function isSound(text: string): boolean {
  return text.isWellFormed();
}

const scopeFields = v.strictObject({
  tenantId: v.optional(shortText(128)),
  teamId: v.optional(shortText(128)),
  userId: v.optional(shortText(128)),
  agentId: v.optional(shortText(128)),
  taskId: v.optional(shortText(128)),
  task: v.optional(shortText(128)),
});

const amountCents = v.pipe(
  v.union([v.number(), v.string()]),
  v.rawTransform<number | string, string>(({ dataset, addIssue, NEVER }) => {
    try {
      const amount = nanoUsdFromCents(dataset.value);
      if (amount >= 0n) return amount.toString();
    } catch {
      // reported below
    }
    addIssue({ message: `expected ${EXPECTED['amountCents']}; got ${shown(dataset.value)}` });
    return NEVER;
  }),
);

const tokens = v.pipe(v.number(), v.safeInteger('expected a whole number'), v.minValue(1));

const capFields = v.pipe(
  v.strictObject({
    amountCents,
    window: v.picklist(WINDOW_KINDS),
    action: v.picklist(['block', 'downgrade']),
    downgradeTo: v.optional(
      v.union([shortText(256), v.pipe(v.array(shortText(256)), v.minLength(1), v.maxLength(16))]),
    ),
    per: v.optional(v.pipe(v.array(v.picklist(SCOPE_FIELDS)), v.minLength(1))),
    reason: v.optional(shortText(256)),
  }),
  v.forward(
    v.check(
      ({ action, downgradeTo }) => action !== 'downgrade' || downgradeTo !== undefined,
      'missing; action "downgrade" needs the cheaper model, e.g. "openai/gpt-5-mini"',
    ),
    ['downgradeTo'],
  ),
  v.forward(
    v.check(
      ({ action, downgradeTo }) => action === 'downgrade' || downgradeTo === undefined,
      'remove it, or set action to "downgrade"',
    ),
    ['downgradeTo'],
  ),
  v.transform(
    ({ amountCents: amount, downgradeTo, per, ...cap }): Cap =>
      ({
        amount,
        ...cap,
        ...(downgradeTo !== undefined && { downgradeTo: [downgradeTo].flat() }),
        ...(per !== undefined && { per: SCOPE_FIELDS.filter((field) => per.includes(field)) }),
      }) as Cap,
  ),
);

const policyFields = v.strictObject({
  id: shortText(128),
  name: v.optional(shortText(256)),
  scope: scopeFields,
  caps: v.pipe(v.array(capFields), v.maxLength(MAX_CAPS)),
  mode: v.optional(v.picklist(['enforce', 'shadow']), 'enforce'),
  version: v.pipe(v.number(), v.safeInteger('expected a whole number'), v.minValue(0)),
  effectiveFrom: v.pipe(
    v.string(),
    v.check(
      (text) => isIsoInstant(text),
      ({ input }) => instantProblem(input),
    ),
  ),
  timeZone: v.optional(v.pipe(v.string(), v.check(isTimeZone)), 'UTC'),
  weekStart: v.optional(v.picklist(WEEKDAYS), 'monday'),
  maxOutputTokens: v.optional(v.union([tokens, v.literal('model')]), DEFAULT_MAX_OUTPUT_TOKENS),
  unknownPrice: v.optional(v.picklist(['block', 'allow']), 'block'),
  clampOutput: v.optional(v.strictObject({ minTokens: tokens })),
});

const ISO_INSTANT = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2}))?$/;

function isIsoInstant(text: string): boolean {
  return ISO_INSTANT.test(text) && Number.isFinite(Date.parse(text));
}

const ZONELESS = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?$/;

function instantProblem(text: string): string {
  if (ZONELESS.test(text))
    return `add a time zone, e.g. Z or +02:00, for an ISO 8601 instant; got ${shown(text)}`;
  return `expected ${EXPECTED['effectiveFrom']}, got ${shown(text)}`;
}

/**
 * Validates a policy that came from anywhere: a literal, a file, a network. Throws `AgentGuardError`
 * (`invalid_policy`) that names each bad field, what it holds and what was expected.
 */
export function parsePolicy(value: unknown): Policy {
  const parsed = v.safeParse(policyFields, value);
  if (!parsed.success) throw new AgentGuardError('invalid_policy', policyProblems(value, parsed.issues));
  const record = parsed.output as PolicyRecord;
  const { length } = canonicalJson(record);
  const ladders = new Set(record.caps.flatMap((cap) => cap.downgradeTo ?? []));
  if (length > MAX_RECORD_LENGTH || ladders.size > MAX_LADDER_MODELS) {
    throw new AgentGuardError(
      'invalid_policy',
      `policy ${JSON.stringify(record.id)} has no room in a receipt: ${length} characters and ${ladders.size} models to ` +
        `downgrade to, at most ${MAX_RECORD_LENGTH} and ${MAX_LADDER_MODELS}. Split it, or shorten names and reasons.`,
    );
  }
  return policyFromRecord(record);
}

/** Makes a recorded policy ready for decisions, without validating it again. */
export function policyFromRecord(record: PolicyRecord): Policy {
  return {
    record,
    digest: digestOf(record),
    effectiveFrom: Date.parse(record.effectiveFrom),
    calendar: { timeZone: record.timeZone, weekStart: record.weekStart },
    amounts: record.caps.map((cap) => BigInt(cap.amount)),
  };
}

/** Checks a policy as it is written and returns it unchanged, typed. Throws as `parsePolicy` does. */
export function definePolicy(policy: SpendPolicy): SpendPolicy {
  parsePolicy(policy);
  return policy;
}

function policyProblems(value: unknown, issues: readonly v.BaseIssue<unknown>[]): string {
  const id = (value as { id?: unknown } | null | undefined)?.id;
  const name = typeof id === 'string' && id !== '' ? `policy ${JSON.stringify(id)}` : 'the policy';
  if (Array.isArray(value)) return `${name} is not valid:\n  (policy): ${policyProblem(value)}`;
  const lines = issues.slice(0, 8).map((issue) => `  ${pathText(issue)}: ${problemText(issue)}`);
  const more = issues.length > 8 ? [`  … and ${issues.length - 8} more`] : [];
  return [`${name} is not valid:`, ...lines, ...more].join('\n');
}

function pathText(issue: v.BaseIssue<unknown>): string {
  let text = '';
  for (const { key } of issue.path ?? []) {
    text += typeof key === 'number' ? `[${key}]` : `${text === '' ? '' : '.'}${String(key)}`;
  }
  return text === '' ? '(policy)' : text;
}

/** What belongs into a field, in words. */
const EXPECTED: Readonly<Record<string, string>> = {
  id: 'text of 1 to 128 characters',
  name: 'text of 1 to 256 characters',
  scope: 'an object such as { tenantId: "acme" } ({} for every call)',
  caps: 'a list of caps ([] for none)',
  mode: '"enforce" or "shadow"',
  version: 'a whole number of at least 0',
  effectiveFrom: 'an ISO 8601 instant such as "2026-05-28T00:00:00Z"',
  timeZone: 'an IANA time zone such as "Europe/Berlin"',
  weekStart: oneOf(WEEKDAYS),
  maxOutputTokens: 'a whole number of at least 1, or "model"',
  unknownPrice: '"block" or "allow"',
  clampOutput: 'an object such as { minTokens: 256 }',
  minTokens: 'a whole number of at least 1',
  amountCents:
    'US cents of at least 0 with at most 7 decimal places, as a number or decimal string, e.g. 5000 for $50',
  window: oneOf(WINDOW_KINDS),
  action: '"block" or "downgrade"',
  downgradeTo: 'a model id, or a list of up to 16 of them',
  per: 'a list of scope fields, e.g. ["userId"]',
  reason: 'text of 1 to 256 characters',
  ...Object.fromEntries(SCOPE_FIELDS.map((field) => [field, 'text of 1 to 128 characters'])),
};

/** What belongs into a list. */
const EXPECTED_IN: Readonly<Record<string, string>> = {
  caps: 'a cap such as { amountCents: 5000, window: "per_day", action: "block" }',
  downgradeTo: 'text of 1 to 256 characters',
  per: oneOf(SCOPE_FIELDS),
};

const EMPTY: Readonly<Record<string, string>> = {
  downgradeTo: 'expected at least one model id',
  per: 'expected at least one scope field',
};

function oneOf(words: readonly string[]): string {
  return `one of ${words.map((word) => `"${word}"`).join(', ')}`;
}

function problemText(issue: v.BaseIssue<unknown>): string {
  const { input, type, message } = issue;
  const keys = (issue.path ?? []).map(({ key }) => key);
  const last = keys.at(-1);
  if (last === undefined) return policyProblem(input);
  if (type === 'strict_object' && issue.expected === 'never') return unknownField(last as string, keys);
  const isInList = typeof last === 'number';
  const field = String(isInList ? keys.at(-2) : last);
  const expected = (isInList ? EXPECTED_IN[field] : EXPECTED[field]) ?? 'another value';
  if (input === undefined && type !== 'check') return `missing; expected ${expected}`;
  const isOwn = type === 'raw_transform' || (type === 'check' && field !== 'timeZone');
  if (isOwn) return message;
  if (Array.isArray(input) && type === 'min_length') return EMPTY[field] ?? message;
  if (Array.isArray(input) && type === 'max_length')
    return `expected at most ${String(issue.requirement)}, got ${input.length}`;
  if (field === 'effectiveFrom' && input instanceof Date)
    return 'expected text, got a Date; use date.toISOString()';
  return `expected ${expected}${field === 'amountCents' ? ';' : ','} got ${shown(input)}`;
}

function policyProblem(input: unknown): string {
  if (typeof input === 'string') return 'expected an object, got text; JSON.parse it first';
  if (Array.isArray(input)) return 'expected an object, got a list; pass one policy';
  return `expected an object, got ${shown(input)}`;
}

/** A value for people: short, and never `null` for what JSON has no word for. */
function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
  if (typeof value === 'bigint') return `${value}n`;
  if (value instanceof Date) return 'a Date';
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list';
  if (typeof value === 'object' && value !== null) return 'an object';
  return typeof value === 'function' ? 'a function' : String(value);
}

function unknownField(name: string, keys: readonly unknown[]): string {
  const parent = keys.length > 1 ? keys[0] : undefined;
  const known = Object.keys(
    parent === 'caps'
      ? capFields.pipe[0].entries
      : parent === 'scope'
        ? scopeFields.entries
        : parent === 'clampOutput'
          ? { minTokens: true }
          : policyFields.entries,
  );
  if (parent === 'caps' && /usd|dollar|amount|limit|budget|euro|price/i.test(name))
    return 'unknown field; did you mean amountCents? Amounts are US cents: 5000 is $50';
  const near = nearest(name, known);
  return `unknown field; ${near === undefined ? `expected one of ${known.join(', ')}` : `did you mean ${near}?`}`;
}

/** The field that `name` may be a slip of: the same letters, a part of it, or few edits away. */
function nearest(name: string, known: readonly string[]): string | undefined {
  const wanted = name.toLowerCase();
  const distances = known.map((field) => {
    const candidate = field.toLowerCase();
    const isPart = wanted.length > 2 && (candidate.startsWith(wanted) || wanted.startsWith(candidate));
    return { field, edits: isPart ? 1 : editsBetween(wanted, candidate) };
  });
  const best = distances.toSorted((a, b) => a.edits - b.edits)[0];
  return best !== undefined && best.edits <= Math.max(1, Math.floor(wanted.length / 3))
    ? best.field
    : undefined;
}

function editsBetween(a: string, b: string): number {
  // Longer names are no slip of any field.
  if (a.length > 40) return a.length;
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (previous[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      current.push(Math.min(replaced, (previous[j] as number) + 1, (current[j - 1] as number) + 1));
    }
    previous = current;
  }
  return previous[b.length] as number;
}
