/** Whether what ends a call follows from its decision: amounts, sources, and an expiry's time. */
import type { Hold } from './ledgers/ledger.ts';
import { formatUsd } from './money.ts';
import { costOf, type Price } from './pricing/price.ts';
import type { AdjustmentPayload, SettlementPayload } from './receipts/payloads.ts';
import { instantOf, instantText } from './receipts/seal.ts';

/** What is remembered of a call that was let through. */
export interface OpenCall {
  /** 1-based line of its decision. */
  line: number;
  hold: Hold;
  model: string;
  /** The price of the route; `undefined` where none was known, or nothing was priced. */
  price: Price | undefined;
  fixedCost: bigint | undefined;
}

function usd(amount: bigint): string {
  return formatUsd(amount);
}

/** Why a cost can't have come from what the receipt says beside it; `undefined` when it can. */
function costProblem(
  { cost, usage, served }: SettlementPayload | AdjustmentPayload,
  { hold, model, price, fixedCost }: OpenCall,
): string | undefined {
  const amount = BigInt(cost.amount);
  const expected: Partial<Record<typeof cost.source, bigint | undefined>> = {
    provider: cost.reported === undefined ? undefined : BigInt(cost.reported),
    tokens: fixedCost ?? (cost.computed === undefined ? undefined : BigInt(cost.computed)),
    hold: hold.amount,
    none: 0n,
  };
  if (cost.source !== 'estimate' && amount !== expected[cost.source]) {
    const due = expected[cost.source];
    return `the cost is ${usd(amount)}, and by its source (${cost.source}) it is ${due === undefined ? 'not known' : usd(due)}`;
  }
  // Another model that served has a price of its own, which the log may not have.
  const isOwnModel = served?.model === undefined || served.model === model;
  if (cost.computed === undefined || usage === undefined || price === undefined || !isOwnModel)
    return undefined;
  const computed = costOf(price, {
    inputTokens: usage.input_tokens,
    outputTokens: usage.output_tokens,
    ...(usage.cache_read_tokens !== undefined && { cacheReadTokens: usage.cache_read_tokens }),
    ...(usage.cache_write_tokens !== undefined && { cacheWriteTokens: usage.cache_write_tokens }),
    ...(usage.reasoning_tokens !== undefined && { reasoningTokens: usage.reasoning_tokens }),
  });
  if (computed === BigInt(cost.computed)) return undefined;
  return `tokens × price is ${usd(computed)}, and the receipt says ${usd(BigInt(cost.computed))}`;
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
