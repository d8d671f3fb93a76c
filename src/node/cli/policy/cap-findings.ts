/** Mistakes in the caps of one policy: amounts that can't be reached, or that nothing fits under. */
import { formatUsd, NANO_PER_USD } from '../../../money.ts';
import type { Cap } from '../../../policy.ts';
import { DEFAULT_MAX_OUTPUT_TOKENS, type PolicyRecord } from '../../../policy/types.ts';
import { worstCaseCost } from '../../../pricing/price.ts';
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

export function capFindings(record: PolicyRecord, find: Find): void {
  for (const [index, cap] of record.caps.entries()) {
    unreachable(record, index, cap, find);
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

/** True when all that `inner` counts is counted by `outer`, too. */
function contains(outer: Cap, inner: Cap): boolean {
  const isLonger = LENGTHS.indexOf(outer.window) >= LENGTHS.indexOf(inner.window);
  const isKnown =
    LENGTHS.includes(outer.window) && LENGTHS.includes(inner.window) && outer.window !== 'per_call';
  const per = new Set(inner.per);
  const isWider = (outer.per ?? []).every((field) => per.has(field));
  const isAboutMore =
    outer.models === undefined ||
    (inner.models !== undefined && inner.models.every((model) => outer.models?.includes(model)));
  return isKnown && isLonger && isWider && isAboutMore;
}

const WORDS: Readonly<Record<Cap['action'], string>> = {
  block: 'blocks',
  downgrade: 'downgrades',
  ask: 'asks',
  shadow: 'records anything',
  allow: 'matters',
};

/** A cap that another one stops before it is reached: a soft one above the hard one, mostly. */
function unreachable({ caps }: PolicyRecord, index: number, cap: Cap, find: Find): void {
  const amount = BigInt(cap.amount);
  if (cap.action === 'allow') return;
  const hard = caps.findIndex((other, position) => {
    // A cap of zero is told of on its own.
    if (position === index || other.action !== 'block' || other.amount === '0') return false;
    if (!contains(other, cap)) return false;
    const isSame = BigInt(other.amount) === amount && contains(cap, other);
    // Of two that say the same, the later one is too many.
    if (isSame && cap.action === 'block') return position < index;
    return BigInt(other.amount) <= amount;
  });
  if (hard < 0) return;
  const stop = caps[hard] as Cap;
  const limit = formatUsd(BigInt(stop.amount));
  const isSoft = cap.action !== 'block';
  const remedy = isSoft ? `; set it below ${limit}` : '; remove it, or set it lower';
  find({
    code: isSoft ? 'soft_above_hard' : 'never_reached',
    path: ['caps', index, 'amountCents'],
    message: `the cap of ${formatUsd(amount)} never ${WORDS[cap.action]}: cap ${hard} (${limit} ${stop.window}) blocks before it is reached${remedy}`,
  });
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
    const message = 'this alert is never given: a block cap is never passed, so spending ends at 1';
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
  const counted = [...(cap.window === 'per_task' ? (['taskId'] as const) : []), ...(cap.per ?? [])];
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
