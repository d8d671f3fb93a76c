/** What is wrong with a policy, in words that name the field and the fix. */
import type * as v from 'valibot';
import { SCOPE_FIELDS } from '../scope.ts';
import { WEEKDAYS, WINDOW_KINDS } from '../windows.ts';
import { CAP_ACTIONS } from './types.ts';

const ZONELESS = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?$/;

/** Why a text is no instant. */
export function instantProblem(text: string): string {
  if (ZONELESS.test(text))
    return `add a time zone, e.g. Z or +02:00, for an ISO 8601 instant; got ${shown(text)}`;
  return `expected ${EXPECTED['effectiveFrom']}, got ${shown(text)}`;
}

/** What is wrong at one place in a policy. */
export interface PolicyProblem {
  /** Keys and positions down to the place; empty for the policy as a whole. */
  path: readonly (string | number)[];
  /** What was expected, what was found, what to do. Doesn't name the place. */
  message: string;
}

/** What is wrong with a policy, field by field. `fieldsAt` names the fields of the object at a path. */
export function policyProblems(
  value: unknown,
  issues: readonly v.BaseIssue<unknown>[],
  fieldsAt: (keys: readonly unknown[]) => readonly string[],
): PolicyProblem[] {
  if (Array.isArray(value)) return [{ path: [], message: policyProblem(value) }];
  return issues.map(innermost).map((issue) => ({
    path: (issue.path ?? []).map(({ key }) => key as string | number),
    message: problemText(issue, fieldsAt),
  }));
}

/** The problems of a policy as the message of an error, a line for each field. */
export function problemsText(value: unknown, problems: readonly PolicyProblem[]): string {
  const lines = problems.slice(0, 8).map(({ path, message }) => `  ${pathText(path)}: ${message}`);
  const more = problems.length > 8 ? [`  … and ${problems.length - 8} more`] : [];
  return [`${policyName(value)} is not valid:`, ...lines, ...more].join('\n');
}

function policyName(value: unknown): string {
  const id = (value as { id?: unknown } | null | undefined)?.id;
  return typeof id === 'string' && id !== '' ? `policy ${JSON.stringify(id)}` : 'the policy';
}

/** Of a choice that nothing fitted, what is wrong with the alternative that was meant: the one whose parts were read. */
function innermost(issue: v.BaseIssue<unknown>): v.BaseIssue<unknown> {
  const parts = issue.type === 'union' ? (issue.issues ?? []) : [];
  const meant = parts.find(({ path, type }) => (path ?? []).length > 0 || OWN_WORDS.has(type));
  if (meant === undefined) return issue;
  const path = [...(issue.path ?? []), ...(meant.path ?? [])] as unknown as v.BaseIssue<unknown>['path'];
  return innermost({ ...meant, ...(path && { path }) });
}

/** Kinds of issues that say in our words what is wrong. */
const OWN_WORDS: ReadonlySet<string> = new Set(['check', 'raw_transform']);

/** `caps[0].amountCents` */
export function pathText(path: readonly (string | number)[]): string {
  let text = '';
  for (const key of path) text += typeof key === 'number' ? `[${key}]` : `${text === '' ? '' : '.'}${key}`;
  return text === '' ? '(policy)' : text;
}

/** What belongs into a field, in words. */
export const EXPECTED: Readonly<Record<string, string>> = {
  id: 'text of 1 to 128 characters',
  name: 'text of 1 to 256 characters',
  scope: 'an object such as { tenantId: "acme" } ({} for every call)',
  caps: 'a list of caps ([] for none)',
  mode: '"enforce" or "shadow"',
  version: 'a whole number of at least 0',
  effectiveFrom: 'a date such as "2026-05-28", or an ISO 8601 instant such as "2026-05-28T00:00:00Z"',
  timeZone: 'an IANA time zone such as "Europe/Berlin", or an offset such as "+02:00"',
  weekStart: oneOf(WEEKDAYS),
  maxOutputTokens: 'a whole number of at least 1, or "model"',
  unknownPrice: '"block" or "allow"',
  clampOutput: 'an object such as { minTokens: 256 }',
  minTokens: 'a whole number of at least 1',
  amountCents:
    'US cents of at least 0 with at most 7 decimal places, as a number or decimal string, e.g. 5000 for $50',
  window: oneOf(WINDOW_KINDS),
  action: oneOf(CAP_ACTIONS),
  downgradeTo: 'a model id, or a list of up to 16 of them',
  sticky: '"task"',
  models: 'a model id or pattern such as "anthropic/*", or a list of up to 32 of them',
  per: 'a list of scope fields, e.g. ["userId"]',
  alerts: 'a list of parts of the amount, e.g. [0.5, 0.8, 1]',
  alert: 'a part of the amount from 0.0001 to 10 with at most 4 decimal places, e.g. 0.8',
  rules: 'a list of rules',
  when: 'an object such as { task: "code-review" }',
  maxPrice:
    'USD per million tokens as a decimal, e.g. "0.20", or an object such as { input: "0.20", output: "0.80" }',
  price: 'US dollars of at least 0 with at most 9 decimal places, e.g. "0.20" per million tokens',
  input: 'USD per million tokens, e.g. "0.20"',
  output: 'USD per million tokens, e.g. "0.80"',
  request: 'USD for each request, e.g. "0.01"',
  requires: 'a capability such as "payment_execute", or a list of up to 8 of them',
  capability:
    'a capability: 1 to 64 letters, digits and . _ : / -, such as "payment_execute" or "repo:write"',
  signed: 'true or false',
  routeTo: 'a model id, or a list of up to 16 of them',
  reason: 'text of 1 to 256 characters',
  ...Object.fromEntries(SCOPE_FIELDS.map((field) => [field, 'text of 1 to 128 characters'])),
};

/** What belongs into a list. */
const EXPECTED_IN: Readonly<Record<string, string>> = {
  caps: 'a cap such as { amountCents: 5000, window: "per_day", action: "block" }',
  rules: 'a rule such as { when: { task: "code-review" }, routeTo: "anthropic/claude-haiku-4-5" }',
  downgradeTo: 'text of 1 to 256 characters',
  models: 'text of 1 to 256 characters',
  routeTo: 'text of 1 to 256 characters',
  requires: 'a capability such as "payment_execute"',
  alerts: 'a part of the amount such as 0.8',
  per: oneOf(SCOPE_FIELDS),
  ...Object.fromEntries(SCOPE_FIELDS.map((field) => [field, 'text of 1 to 128 characters'])),
};

const EMPTY: Readonly<Record<string, string>> = {
  downgradeTo: 'expected at least one model id',
  models: 'expected at least one model',
  routeTo: 'expected at least one model id',
  requires: 'expected at least one capability',
  alerts: 'expected at least one part of the amount',
  per: 'expected at least one scope field',
};

function oneOf(words: readonly string[]): string {
  return `one of ${words.map((word) => `"${word}"`).join(', ')}`;
}

function problemText(
  issue: v.BaseIssue<unknown>,
  fieldsAt: (keys: readonly unknown[]) => readonly string[],
): string {
  const { input, type, message } = issue;
  const keys = (issue.path ?? []).map(({ key }) => key);
  const last = keys.at(-1);
  if (last === undefined) return policyProblem(input);
  if (type === 'strict_object' && issue.expected === 'never')
    return unknownField(last as string, keys, fieldsAt(keys.slice(0, -1)));
  const isInList = typeof last === 'number';
  const field = String(isInList ? keys.at(-2) : last);
  const expected = expectedAt(field, isInList, keys.includes('when'));
  if (input === undefined && type !== 'check') return `missing; expected ${expected}`;
  const isOwn = type === 'raw_transform' || (type === 'check' && field !== 'timeZone');
  if (isOwn) return message;
  if (Array.isArray(input) && type === 'min_length') return EMPTY[field] ?? 'expected at least one value';
  if (Array.isArray(input) && type === 'max_length')
    return `expected at most ${String(issue.requirement)}, got ${input.length}`;
  if (field === 'effectiveFrom' && input instanceof Date)
    return 'expected text, got a Date; use date.toISOString()';
  const zone = field === 'timeZone' && typeof input === 'string' ? nearestZone(input) : undefined;
  const hint = zone === undefined ? '' : `; did you mean ${zone}?`;
  return `expected ${expected}${field === 'amountCents' ? ';' : ','} got ${shown(input)}${hint}`;
}

const MOST_ZONE_EDITS = 2;

/** The time zone that a text may be a slip of, or the one of the city that it names. */
export function nearestZone(text: string): string | undefined {
  const wanted = text.toLowerCase().replaceAll(' ', '_');
  const fit = Intl.supportedValuesOf('timeZone').map((zone) => {
    const city = zone.slice(zone.lastIndexOf('/') + 1);
    return { zone, edits: editsBetween(wanted, (wanted.includes('/') ? zone : city).toLowerCase()) };
  });
  const best = fit.toSorted((a, b) => a.edits - b.edits)[0];
  return best !== undefined && best.edits <= Math.min(MOST_ZONE_EDITS, wanted.length / 3)
    ? best.zone
    : undefined;
}

function expectedAt(field: string, isInList: boolean, isFilter: boolean): string {
  if (isFilter && !isInList && (SCOPE_FIELDS as readonly string[]).includes(field))
    return 'text of 1 to 128 characters, or a list of up to 32 texts';
  return (isInList ? EXPECTED_IN[field] : EXPECTED[field]) ?? 'another value';
}

function policyProblem(input: unknown): string {
  if (typeof input === 'string') return 'expected an object, got text; JSON.parse it first';
  if (Array.isArray(input)) return 'expected an object, got a list; pass one policy';
  return `expected an object, got ${shown(input)}`;
}

/** A value for people: short, and never `null` for what JSON has no word for. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
  if (typeof value === 'bigint') return `${value}n`;
  if (value instanceof Date) return 'a Date';
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list';
  if (typeof value === 'object' && value !== null) return 'an object';
  return typeof value === 'function' ? 'a function' : String(value);
}

function unknownField(name: string, keys: readonly unknown[], known: readonly string[]): string {
  if (name === '<<') return 'unknown field; merge keys are not read, so write the fields out';
  if (/^\/[/*]/.test(name)) return 'unknown field; a comment begins with #, in JSON, too';
  const parent = keys.length > 1 ? keys[0] : undefined;
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
