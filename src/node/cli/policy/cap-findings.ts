/** Mistakes in the caps of one policy: amounts that can't be reached, or that nothing fits under. */
import { formatUsd, NANO_PER_USD } from '../../../money.ts';
import type { Cap } from '../../../policy.ts';
import { DEFAULT_MAX_OUTPUT_TOKENS, type PolicyRecord } from '../../../policy/types.ts';
import { worstCaseCost } from '../../../pricing/price.ts';
import { scopeMatches } from '../../../scope.ts';
import type { WindowKind } from '../../../windows.ts';
import type { Find } from './findings.ts';
import { isPattern, priceOf } from './known-models.ts';
import { listText, windowText } from './sentences.ts';

/** Shorter windows lie inside longer ones, so that what is spent in one is spent in the other. */
const LENGTHS: readonly WindowKind[] = [
  'per_call',
  'per_minute',
  'per_hour',
  'per_day',
  'per_week',
  'per_month',
  'total',
];

export function capFindings(record: PolicyRecord, all: readonly PolicyRecord[], find: Find): void {
  for (const [index, cap] of record.caps.entries()) {
    unreachable(record, index, all, find);
    amounts(record, index, cap, find);
    tooSmall(record, index, cap, find);
    naming(record, index, cap, find);
  }
  const { caps } = record;
  const isHard = caps.some(({ action }) => action === 'block' || action === 'ask');
  if (caps.length > 0 && !isHard) {
    const message =
      'no cap of this policy ever stops a call; add one with action block where spending must end';
    find({ code: 'no_hard_cap', path: ['caps'], message }, 'note');
  }
}

const CALENDAR: ReadonlySet<WindowKind> = new Set(['per_day', 'per_week', 'per_month']);

/** A cap with the policy that it stands in. */
interface Placed {
  cap: Cap;
  policy: PolicyRecord;
}

/** True when all that `inner` counts is counted by `outer`, too. */
function contains(outer: Placed, inner: Placed): boolean {
  const isLonger = LENGTHS.indexOf(outer.cap.window) >= LENGTHS.indexOf(inner.cap.window);
  const isKnown =
    [outer, inner].every(({ cap }) => LENGTHS.includes(cap.window)) && outer.cap.window !== 'per_call';
  const isWider = (outer.cap.per ?? []).every(
    (field) => inner.cap.per?.includes(field) === true || inner.policy.scope[field] !== undefined,
  );
  const { models } = outer.cap;
  const isAboutMore =
    models === undefined ||
    (inner.cap.models !== undefined && inner.cap.models.every((model) => models.includes(model)));
  return (
    isKnown && isLonger && isWider && isAboutMore && scopeMatches(outer.policy.scope, inner.policy.scope)
  );
}

/** True when two windows of `outer` may see one of `inner`: what rolls goes on past midnight, a week past the month. */
function straddles(outer: Placed, inner: Placed): boolean {
  const [longer, shorter] = [outer.cap.window, inner.cap.window];
  if (!CALENDAR.has(longer) || shorter === 'per_call') return false;
  const isRolling = !CALENDAR.has(shorter);
  return isRolling || (longer === 'per_month' && shorter === 'per_week') || !isSameCalendar(outer, inner);
}

function isSameCalendar({ policy: a }: Placed, { policy: b }: Placed): boolean {
  return a.timeZone === b.timeZone && a.weekStart === b.weekStart;
}

/** True when `stop` blocks before `cap` is reached; two that say the same: when `stop` comes first. */
function isBefore(stop: Placed, cap: Placed, comesFirst: boolean): boolean {
  // A cap of zero is told of on its own, and what only records stops nothing.
  if (stop.cap.action !== 'block' || stop.cap.amount === '0') return false;
  if (stop.policy.mode === 'shadow' && cap.policy.mode !== 'shadow') return false;
  if (!contains(stop, cap)) return false;
  const [limit, amount] = [BigInt(stop.cap.amount), BigInt(cap.cap.amount)];
  const isSame = limit === amount && cap.cap.action === 'block' && contains(cap, stop);
  return isSame ? comesFirst : limit <= amount;
}

const WORDS: Readonly<Record<Cap['action'], string>> = {
  block: 'blocks',
  downgrade: 'downgrades',
  ask: 'asks',
  shadow: 'records anything',
  allow: 'matters',
};

/** A cap that another one stops before it is reached: a soft one above the hard one, mostly. */
function unreachable(record: PolicyRecord, index: number, all: readonly PolicyRecord[], find: Find): void {
  const cap = record.caps[index] as Cap;
  if (cap.action === 'allow') return;
  const own = all.indexOf(record);
  const placed = { cap, policy: record };
  // Of a policy that has the name of this one something else is said.
  const others = all.filter(({ id }) => id !== record.id);
  for (const [position, policy] of [record, ...others].entries()) {
    const isOwn = position === 0;
    const hard = policy.caps.findIndex((other, at) => {
      const comesFirst = isOwn ? at < index : all.indexOf(policy) < own;
      return other !== cap && isBefore({ cap: other, policy }, placed, comesFirst);
    });
    if (hard < 0) continue;
    const name = isOwn ? `cap ${hard}` : `cap ${hard} of policy ${policy.id}`;
    const stop = { cap: policy.caps[hard] as Cap, policy };
    const message = unreachableText(placed, stop, name);
    const isSoft = cap.action !== 'block';
    find({
      code: isSoft ? 'soft_above_hard' : 'never_reached',
      path: ['caps', index, 'amountCents'],
      message,
    });
    return;
  }
}

const TURNS: Readonly<Partial<Record<WindowKind, string>>> = {
  per_day: 'a day',
  per_week: 'a week',
  per_month: 'a month',
};

function unreachableText(placed: Placed, stop: Placed, name: string): string {
  const { cap } = placed;
  const [amount, limit] = [BigInt(cap.amount), BigInt(stop.cap.amount)];
  const isSplit = straddles(stop, placed) && amount <= 2n * limit;
  const seldom = isSplit ? `only across the turn of ${TURNS[stop.cap.window]}` : undefined;
  const does = seldom === undefined ? `never ${WORDS[cap.action]}` : `${WORDS[cap.action]} ${seldom}`;
  const before = `${name} (${formatUsd(limit)} ${stop.cap.window}) ${seldom === undefined ? 'blocks' : 'else blocks'} before it is reached`;
  const remedy = cap.action === 'block' ? 'remove it, or set it lower' : `set it below ${formatUsd(limit)}`;
  return `the cap of ${formatUsd(amount)} ${does}: ${before}; ${remedy}`;
}

function amounts(record: PolicyRecord, index: number, cap: Cap, find: Find): void {
  const amount = BigInt(cap.amount);
  const path = ['caps', index, 'amountCents'];
  if (amount === 0n && cap.action === 'block') {
    const message =
      'a cap of zero blocks every call that costs anything; to stop a scope for a while use "agentguard freeze", to forbid models a rule';
    find({ code: 'cap_zero', path, message });
  } else if (amount > 0n && amount < NANO_PER_USD && (cap.window === 'per_month' || cap.window === 'total')) {
    const message = `amounts are US cents, so this is ${formatUsd(amount)} ${windowText(cap, record)}; write 5000 for $50`;
    find({ code: 'small_amount', path, message }, 'note');
  }
  const beyond = (cap.alerts ?? []).findIndex((share) => share > 10_000);
  if (beyond >= 0 && cap.action === 'block') {
    const message =
      'this alert is given only where a grant raises the cap: a block cap is never passed, so spending ends at 1';
    find({ code: 'alert_never', path: ['caps', index, 'alerts', beyond], message });
  }
}

/** A short prompt, for the question whether anything fits. */
const SHORT_PROMPT = 1000;

/** A cap that even a short call on the cheapest model that is allowed doesn't fit under. */
function tooSmall(
  { caps, rules = [], maxOutputTokens, clampOutput }: PolicyRecord,
  index: number,
  cap: Cap,
  find: Find,
): void {
  const amount = BigInt(cap.amount);
  if (cap.action !== 'block' || amount === 0n || clampOutput !== undefined) return;
  const named = rules.flatMap(({ routeTo, models = [], when }) =>
    when === undefined ? (routeTo ?? models) : [],
  );
  const ladder = caps.flatMap(({ downgradeTo = [], window }) => (window === 'per_call' ? downgradeTo : []));
  if (named.length === 0 || named.some(isPattern)) return;
  const limit = maxOutputTokens === 'model' ? DEFAULT_MAX_OUTPUT_TOKENS : maxOutputTokens;
  let least: { model: string; cost: bigint } | undefined;
  for (const model of [...named, ...ladder]) {
    const price = priceOf(model);
    if (price === undefined) continue;
    const output = Math.min(limit, price.row.maxOutputTokens ?? limit);
    const cost = worstCaseCost(price, SHORT_PROMPT, output);
    if (least === undefined || cost < least.cost) least = { model, cost };
  }
  if (least === undefined || least.cost <= amount) return;
  const tokens = limit.toLocaleString('en-US');
  find({
    code: 'nothing_fits',
    path: ['caps', index, 'amountCents'],
    message:
      `no call fits that sets no output limit: at ${tokens} tokens out, ${least.model} could cost ${formatUsd(least.cost)} ` +
      `for a short prompt; raise the cap, or lower maxOutputTokens`,
  });
}

/** What calls must say of themselves, and what the program must have, for a cap to work. */
function naming({ scope }: PolicyRecord, index: number, cap: Cap, find: Find): void {
  const isCall = cap.window === 'per_call';
  if (isCall && cap.per !== undefined) {
    const message =
      'a per_call cap is about each call alone, so counting for each of something changes nothing';
    find({ code: 'per_of_one', path: ['caps', index, 'per'], message });
  }
  const counted = isCall
    ? []
    : [...(cap.window === 'per_task' ? (['taskId'] as const) : []), ...(cap.per ?? [])];
  const fixed = counted.filter((field) => scope[field] !== undefined);
  const asked = counted.filter((field) => scope[field] === undefined);
  if (fixed.length > 0) {
    const path = cap.per === undefined ? ['caps', index, 'window'] : ['caps', index, 'per'];
    const message = `the policy is for one ${listText(fixed)} only, so counting for each of them changes nothing`;
    find({ code: 'per_of_one', path, message });
  }
  if (asked.length > 0) {
    const path = cap.window === 'per_task' ? ['caps', index, 'window'] : ['caps', index, 'per'];
    const message = `calls that don’t name their ${listText(asked)} are refused (scope_required)`;
    find({ code: 'must_be_named', path, message }, 'note');
  }
  if (cap.action === 'ask') {
    const message =
      'the program must answer: createSpendGuard({ onAsk }); without it these calls are blocked (not_approved)';
    find({ code: 'needs_answer', path: ['caps', index, 'action'], message }, 'note');
  }
  if (cap.sticky === 'task' && scope.taskId === undefined && !asked.includes('taskId')) {
    const message = 'only calls that name their taskId stay where they were sent';
    find({ code: 'sticky_needs_task', path: ['caps', index, 'sticky'], message }, 'note');
  }
}
