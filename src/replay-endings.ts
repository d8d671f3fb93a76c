/** Whether what ends a call follows from its decision: amounts, sources, and an expiry's time. */
import type { RequestFacts, Route } from './decide.ts';
import type { Hold } from './ledgers/ledger.ts';
import { formatUsd } from './money.ts';
import { costOf, costsByTime, worstCaseCost, type Price } from './pricing/price.ts';
import type { AdjustmentPayload, SettlementPayload } from './receipts/payloads.ts';
import { instantOf, instantText } from './receipts/seal.ts';
import { tokenUsage } from './rehydrate.ts';

/** What is remembered of a call that was let through. */
export interface OpenCall {
  /** 1-based line of its decision. */
  line: number;
  hold: Hold;
  /** When it was decided, in milliseconds. */
  at: number;
  request: RequestFacts;
  model: string;
  limit: Route['limit'] | undefined;
  /** The price of the route; `undefined` where none was known, or nothing was priced. */
  price: Price | undefined;
}

type Ending = SettlementPayload | AdjustmentPayload;

function usd(amount: bigint): string {
  return formatUsd(amount);
}

/** Why a cost can't have come from what the receipt says beside it; `undefined` when it can. */
function costProblem(payload: Ending, call: OpenCall): string | undefined {
  return (
    amountProblem(payload, call) ??
    sourceProblem(payload, call) ??
    feeProblem(payload) ??
    computedProblem(payload, call) ??
    estimateProblem(payload, call)
  );
}

const nano = (text: string | undefined): bigint | undefined =>
  text === undefined ? undefined : BigInt(text);

/** The amount is that of its source. */
function amountProblem({ cost }: Ending, { hold, request: { fixedCost } }: OpenCall): string | undefined {
  const amount = BigInt(cost.amount);
  const expected: Partial<Record<typeof cost.source, bigint | undefined>> = {
    provider: nano(cost.reported),
    tokens: fixedCost ?? nano(cost.computed),
    hold: hold.amount,
    none: 0n,
  };
  const due = expected[cost.source];
  if (cost.source === 'estimate' || amount === due) return undefined;
  return `the cost is ${usd(amount)}, and by its source (${cost.source}) it is ${due === undefined ? 'not known' : usd(due)}`;
}

/** The source is the first that counts: what the provider said, then tokens × price, then what errs high. */
function sourceProblem(payload: Ending, { hold, request }: OpenCall): string | undefined {
  const { cost, outcome, usage } = payload;
  const { source } = cost;
  const told = (what: string): string => `${what}, and the cost is by another source (${source})`;
  if (source === 'none' && outcome !== 'not_sent' && hold.amount > 0n)
    return `the call is said to have cost nothing, and its outcome is ${outcome}`;
  if (request.fixedCost !== undefined)
    return source === 'tokens' || source === 'none' ? undefined : told('the charge was of a known amount');
  const [reported, computed] = [nano(cost.reported), nano(cost.computed)];
  if (computed !== undefined && usage === undefined) return 'tokens × price is named, and no tokens are';
  if (reported !== undefined && reported > 0n && source !== 'provider')
    return told(`the provider reported ${usd(reported)}`);
  if (computed !== undefined && source !== 'provider' && source !== 'tokens')
    return told(`tokens × price is ${usd(computed)}`);
  // Clients turn "not reported" into 0, so a zero counts only where the tokens agree. A late truth names no price.
  const isZero = source === 'provider' && reported === 0n;
  if (isZero && (computed === undefined ? payload.type === 'settlement' : computed > 0n))
    return 'the provider is said to have charged nothing, and the tokens don’t bear it out';
  return undefined;
}

/** On a key of the caller's own, what is paid is the upstream's charge and the provider's fee. */
function feeProblem({ cost: { byok, fee, reported, upstream } }: Ending): string | undefined {
  if (fee === undefined) return undefined;
  const sum = BigInt(fee) + BigInt(upstream ?? '0');
  if (byok && nano(reported) === sum) return undefined;
  return `fee and upstream charge come to ${usd(sum)}, and reported is ${usd(nano(reported) ?? 0n)}`;
}

/** Tokens × price. Another model that served has a price of its own, which the log may not have. */
function computedProblem({ cost, usage, served }: Ending, call: OpenCall): string | undefined {
  const { at, model, price, request } = call;
  const computed = nano(cost.computed);
  const isOwnModel = served?.model === undefined || served.model === model;
  if (computed === undefined || usage === undefined || !isOwnModel) return undefined;
  if (price === undefined) return `tokens × price is said to be ${usd(computed)}, and ${model} had no price`;
  const { images = 0 } = request;
  const tokens = tokenUsage(usage);
  const least = costOf(price, tokens, { at: [at], images });
  // Where the price depends on the time, the dearer of beginning and end counts, and the end is by the caller's clock.
  const isRight =
    computed === least || (computed > least && costsByTime(price, tokens, images).includes(computed));
  return isRight ? undefined : `tokens × price is ${usd(least)}, and the receipt says ${usd(computed)}`;
}

/** An estimate is at least what the prompt costs, and just that for a call that was refused. */
function estimateProblem({ cost, outcome, served }: Ending, call: OpenCall): string | undefined {
  const { hold, limit, model, price, request } = call;
  const isOwnModel = served?.model === undefined || served.model === model;
  if (cost.source !== 'estimate' || price === undefined || !isOwnModel) return undefined;
  const amount = BigInt(cost.amount);
  const input = worstCaseCost(price, 'tokens' in request.input ? request.input.tokens : 0, 0, 1, request);
  const least = limit === 'none' || input < hold.amount ? input : hold.amount;
  const isRight = outcome === 'refused' ? amount === least : limit === 'none' && amount >= least;
  if (isRight) return undefined;
  return `the estimate is ${usd(amount)}, and it is ${usd(outcome === 'refused' || limit === 'none' ? least : hold.amount)} for such a call`;
}

/** Why a settlement of an open call doesn't follow. */
export function settlementProblem(payload: SettlementPayload, call: OpenCall): string | undefined {
  const { cost, outcome, over_hold: overHold } = payload;
  const amount = BigInt(cost.amount);
  const { hold } = call;
  if (outcome === 'expired') {
    if (instantOf(payload.issued_at) < hold.until)
      return `the hold expired before its lease ended at ${instantText(hold.until)}`;
    if (cost.source !== 'hold' || amount !== hold.amount)
      return `an expired hold is spent in full, ${usd(hold.amount)}, and the receipt says ${usd(amount)}`;
  }
  const over = amount - hold.amount;
  if ((over > 0n ? over : undefined) !== (overHold === undefined ? undefined : BigInt(overHold))) {
    return `the cost is ${usd(amount)} and the hold was ${usd(hold.amount)}, and over_hold is ${overHold ?? 'absent'}`;
  }
  return outcome === 'expired' ? undefined : costProblem(payload, call);
}

/**
 * Why a correction doesn't follow. `before` is what the call has cost so far; its accounts may have `moved` when the
 * log's time was set back.
 */
export function adjustmentProblem(
  payload: AdjustmentPayload,
  call: OpenCall,
  before: bigint,
  moved: Hold['accounts'] = call.hold.accounts,
): string | undefined {
  const { hold } = call;
  const amount = BigInt(payload.cost.amount);
  const previous = BigInt(payload.previous);
  if (previous !== before) return `the call had cost ${usd(before)}, and previous is ${usd(previous)}`;
  if (BigInt(payload.change) !== amount - previous) {
    return `the change from ${usd(previous)} to ${usd(amount)} is not ${usd(BigInt(payload.change))}`;
  }
  const text = (accounts: readonly (readonly [string, number])[]): string =>
    accounts.map(([key, start]) => `${key} ${start}`).join();
  if (![hold.accounts, moved].some((accounts) => text(accounts) === text(payload.accounts)))
    return 'the accounts are not those that the call was held on';
  return costProblem(payload, call);
}
