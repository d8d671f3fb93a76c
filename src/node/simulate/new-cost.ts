/** What a call that was made would have cost where it is sent now. */
import type { RequestFacts, Route } from '../../decide.ts';
import type { NanoUsd } from '../../money.ts';
import { costOf, type Price } from '../../pricing/price.ts';
import type { AdjustmentPayload, SettlementPayload } from '../../receipts/payloads.ts';
import type { TokenUsage } from '../../usage.ts';

type Ending = Pick<SettlementPayload | AdjustmentPayload, 'cost' | 'outcome' | 'usage'>;

export interface Sent {
  model: string;
  hold: NanoUsd;
}

export interface SentNow extends Sent {
  request: RequestFacts;
  route: Route;
  price: Price | undefined;
}

export interface NewCost {
  amount: NanoUsd;
  /** True when the answer was longer than the output limit that the call has now. */
  isCut: boolean;
}

/**
 * The recorded cost, where the call goes to the model that it went to. Else its tokens at the new model's list price,
 * divided over the prompt cache as they were, the answer no longer than the new limit. Where no tokens were reported,
 * the recorded cost in proportion to the worst cases.
 */
export function newCost({ cost, outcome, usage }: Ending, was: Sent, now: SentNow): NewCost {
  const { request, route, price, hold } = now;
  const amount = BigInt(cost.amount);
  if (outcome === 'not_sent') return { amount: 0n, isCut: false };
  if (request.fixedCost !== undefined) return { amount: request.fixedCost, isCut: false };
  const limit = route.maxOutputTokens === undefined ? Infinity : route.maxOutputTokens * request.choices;
  const isCut = usage !== undefined && usage.output_tokens > limit && route.limit !== 'own';
  if (was.model === now.model && !isCut) return { amount: outcome === 'expired' ? hold : amount, isCut };
  if (outcome === 'expired') return { amount: hold, isCut };
  if (usage !== undefined && price !== undefined)
    return { amount: costOf(price, tokensOf(usage, limit), { images: request.images ?? 0 }), isCut };
  return { amount: was.hold === 0n ? hold : (amount * hold) / was.hold, isCut };
}

/** A receipt's tokens by their names in code (`cache_read_tokens` is `cacheReadTokens`), the answer cut at `limit`. */
function tokensOf(usage: NonNullable<Ending['usage']>, limit: number): TokenUsage {
  const named = Object.entries(usage).map(([name, count]): [string, number] => [
    name.replaceAll(/_([a-z])/g, (_all, letter: string) => letter.toUpperCase()),
    count,
  ]);
  const tokens = Object.fromEntries(named) as unknown as TokenUsage;
  const outputTokens = Math.min(tokens.outputTokens, limit);
  const { reasoningTokens } = tokens;
  return {
    ...tokens,
    outputTokens,
    ...(reasoningTokens !== undefined && { reasoningTokens: Math.min(reasoningTokens, outputTokens) }),
  };
}
