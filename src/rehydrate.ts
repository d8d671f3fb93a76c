/**
 * From a decision's receipt back to what `decide` was given. This is the one place that knows which member of the
 * payload stands for which part of the input; its twin, which writes them, is `record.ts`.
 */
import type { CapLayout } from './accounts.ts';
import type { DecideInput, Decision, RequestFacts, Route } from './decide.ts';
import type { Policy } from './policy.ts';
import { CLOCK_TOLERANCE_MS } from './prepare.ts';
import type { Price } from './pricing/price.ts';
import type { DecisionPayload } from './receipts/payloads.ts';
import { instantOf } from './receipts/seal.ts';
import type { ScopeField, SpendScope } from './scope.ts';

/** What the rest of the log says to a decision. */
export interface Foundation {
  policies: readonly Policy[];
  layout: CapLayout;
  prices: ReadonlyMap<string, Price>;
  /** What is spent and held, for each of the layout's caps. */
  amounts: readonly { spent: bigint; held: bigint }[];
}

/** The input that a decision rested on. */
export function rehydrate(payload: DecisionPayload, foundation: Foundation): DecideInput {
  const { policies, layout, prices, amounts } = foundation;
  const notEffective = new Set(payload.not_effective);
  return {
    now: instantOf(payload.issued_at),
    scope: payload.scope as SpendScope,
    ...(payload.scope_conflict !== undefined && { scopeConflict: payload.scope_conflict as ScopeField }),
    requireTenant: payload.require_tenant === true,
    // The ledger's clock said so much less than the receipt's date.
    clockWrong: (payload.clock_back_ms ?? 0) > CLOCK_TOLERANCE_MS,
    policies: policies.map((policy, index) => ({ policy, effective: !notEffective.has(index) })),
    caps: layout.caps.map((ref, index) => {
      const end = ref.window === undefined ? undefined : payload.spans[ref.window]?.[1];
      return { ref, spent: 0n, held: 0n, ...amounts[index], resetsAt: end ?? 0 };
    }),
    request: requestOf(payload.request),
    prices,
    uncarried: new Set(payload.uncarried),
  };
}

function requestOf(request: DecisionPayload['request']): RequestFacts {
  return {
    model: request.model,
    fallbacks: request.fallbacks ?? [],
    input:
      request.input_tokens === undefined
        ? { unbounded: request.unbounded_input ?? '' }
        : { tokens: request.input_tokens },
    ...(request.max_output_tokens !== undefined && { maxOutputTokens: request.max_output_tokens }),
    choices: request.choices ?? 1,
    ...(request.reasoning_tokens !== undefined && { reasoningTokens: request.reasoning_tokens }),
    limitCanBeSet: request.limit_can_be_set === true,
    ...(request.fixed_cost !== undefined && { fixedCost: BigInt(request.fixed_cost) }),
  };
}

/** What a receipt says was decided, in the words of `decide`. */
export function recordedDecision(payload: DecisionPayload): Omit<Decision, 'retryAt' | 'detail'> {
  const { route, shadow } = payload;
  return {
    decision: payload.decision,
    reason: payload.reason as Decision['reason'],
    hold: BigInt(payload.hold),
    ...(payload.decisive_cap !== undefined && { cap: payload.decisive_cap }),
    ...(route && { route: routeOf(route) }),
    ...(shadow && { shadow: shadow as NonNullable<Decision['shadow']> }),
  };
}

function routeOf(route: NonNullable<DecisionPayload['route']>): Route {
  return {
    model: route.model,
    fallbacks: route.fallbacks ?? [],
    ...(route.max_output_tokens !== undefined && { maxOutputTokens: route.max_output_tokens }),
    limit: route.limit,
  };
}
