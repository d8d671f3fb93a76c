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
  v.union([v.number(), v.string()], 'expected US cents as a number or decimal string, e.g. 5000 for $50'),
  v.rawTransform<number | string, string>(({ dataset, addIssue, NEVER }) => {
    try {
      const amount = nanoUsdFromCents(dataset.value);
      if (amount >= 0n) return amount.toString();
    } catch {
      // reported below
    }
    const message = 'expected US cents of at least 0 with at most 7 decimal places, e.g. 5000 for $50';
    addIssue({ message: `${message}; got ${JSON.stringify(dataset.value) ?? String(dataset.value)}` });
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
      (cap) => (cap.action === 'downgrade') === (cap.downgradeTo !== undefined),
      'expected the cheaper model with action "downgrade", and nothing with action "block"',
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
    v.check((text) => isIsoInstant(text), 'expected an ISO 8601 instant such as "2026-05-28T00:00:00Z"'),
  ),
  timeZone: v.optional(
    v.pipe(v.string(), v.check(isTimeZone, 'expected an IANA time zone such as "Europe/Berlin"')),
    'UTC',
  ),
  weekStart: v.optional(v.picklist(WEEKDAYS), 'monday'),
  maxOutputTokens: v.optional(v.union([tokens, v.literal('model')]), DEFAULT_MAX_OUTPUT_TOKENS),
  unknownPrice: v.optional(v.picklist(['block', 'allow']), 'block'),
  clampOutput: v.optional(v.strictObject({ minTokens: tokens })),
});

const ISO_INSTANT = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2}))?$/;

function isIsoInstant(text: string): boolean {
  return ISO_INSTANT.test(text) && Number.isFinite(Date.parse(text));
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

function problemText(issue: v.BaseIssue<unknown>): string {
  if (issue.type === 'strict_object' && issue.expected === 'never')
    return 'unknown field; check its spelling';
  if (issue.received === 'undefined' && issue.expected !== null) return `missing; expected ${issue.expected}`;
  if (issue.message.startsWith('expected')) return issue.message;
  return issue.expected === null ? issue.message : `expected ${issue.expected}, got ${issue.received}`;
}
