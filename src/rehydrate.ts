/**
 * From a decision's receipt back to what `decide` was given. This is the one place that knows which member of the
 * payload stands for which part of the input; its twin, which writes them, is `record.ts`.
 */
import type { CapLayout } from './accounts.ts';
import type { CapState, DecideInput, Decision, PresentedCapability, RequestFacts, Route } from './decide.ts';
import type { Policy } from './policy.ts';
import { CLOCK_TOLERANCE_MS } from './prepare.ts';
import type { ModelFeature, Price } from './pricing/price.ts';
import type { DecisionPayload, SettlementPayload } from './receipts/payloads.ts';
import { instantOf } from './receipts/seal.ts';
import type { ScopeField, SpendScope } from './scope.ts';
import type { TokenUsage } from './usage.ts';

/** What the rest of the log says to a decision. */
export interface Foundation {
  policies: readonly Policy[];
  layout: CapLayout;
  prices: ReadonlyMap<string, Price>;
  /** What is spent and held for each of the layout's caps, granted on top, and the rung of the call's task. */
  amounts: readonly Pick<CapState, 'spent' | 'held' | 'granted' | 'rung'>[];
  /** The frozen scope that the call is in. */
  frozen: SpendScope | undefined;
}

/** The input that a decision rested on. */
export function rehydrate(payload: DecisionPayload, foundation: Foundation): DecideInput {
  const { policies, layout, prices, amounts, frozen } = foundation;
  const notEffective = new Set(payload.not_effective);
  const replayed = (payload.request.capabilities ?? []).flatMap((each, index) =>
    each.replayed ? [index] : [],
  );
  return {
    now: instantOf(payload.issued_at),
    scope: payload.scope as SpendScope,
    ...(payload.scope_conflict !== undefined && { scopeConflict: payload.scope_conflict as ScopeField }),
    requireTenant: payload.require_tenant === true,
    ...(frozen !== undefined && { frozen }),
    ...(replayed.length > 0 && { replayed }),
    ...(payload.approved !== undefined && { approved: payload.approved }),
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

/** What was asked, as far as the receipt holds it. What no policy asked about at the time is not in it. */
export function requestOf(request: DecisionPayload['request']): RequestFacts {
  return {
    model: request.model,
    ...(request.provider !== undefined && { provider: request.provider }),
    fallbacks: request.fallbacks ?? [],
    input:
      request.input_tokens === undefined
        ? { unbounded: request.unbounded_input ?? '' }
        : { tokens: request.input_tokens },
    ...(request.max_output_tokens !== undefined && { maxOutputTokens: request.max_output_tokens }),
    choices: request.choices ?? 1,
    ...(request.reasoning_tokens !== undefined && { reasoningTokens: request.reasoning_tokens }),
    limitCanBeSet: request.limit_can_be_set === true,
    ...(request.ceiling_can_be_set && { ceilingCanBeSet: true }),
    ...(request.cached_tokens !== undefined && { cachedTokens: request.cached_tokens }),
    ...(request.features && { features: request.features as ModelFeature[] }),
    ...(request.claims && { claims: request.claims }),
    ...(request.capabilities && { capabilities: request.capabilities.map(capabilityOf) }),
    ...(request.hour_cache && { hourCache: true as const }),
    ...(request.audio && { audio: true as const }),
    ...(request.images !== undefined && { images: request.images }),
    ...(request.fixed_cost !== undefined && { fixedCost: BigInt(request.fixed_cost) }),
  };
}

type CapabilityMember = NonNullable<DecisionPayload['request']['capabilities']>[number];

function capabilityOf({
  caps,
  exp,
  iss,
  jti,
  max,
  nbf,
  problem,
  sha256,
  sub,
}: CapabilityMember): PresentedCapability {
  return {
    hash: sha256,
    ...(iss !== undefined && { issuer: iss }),
    ...(jti !== undefined && { jti }),
    names: caps,
    expires: exp,
    ...(nbf !== undefined && { notBefore: nbf }),
    ...(sub !== undefined && { subject: sub }),
    ...(max !== undefined && { max: BigInt(max) }),
    ...(problem !== undefined && { problem }),
  };
}

type UsageMember = NonNullable<SettlementPayload['usage']>;

const USAGE: readonly [keyof UsageMember, keyof TokenUsage][] = [
  ['cache_read_audio_tokens', 'cacheReadAudioTokens'],
  ['cache_read_tokens', 'cacheReadTokens'],
  ['cache_write_hour_tokens', 'cacheWriteHourTokens'],
  ['cache_write_tokens', 'cacheWriteTokens'],
  ['input_audio_tokens', 'inputAudioTokens'],
  ['input_image_tokens', 'inputImageTokens'],
  ['output_audio_tokens', 'outputAudioTokens'],
  ['output_image_tokens', 'outputImageTokens'],
  ['reasoning_tokens', 'reasoningTokens'],
];

/** The tokens of a call, as its settlement holds them. */
export function tokenUsage(member: UsageMember): TokenUsage {
  const usage: TokenUsage = { inputTokens: member.input_tokens, outputTokens: member.output_tokens };
  for (const [name, key] of USAGE) {
    const tokens = member[name];
    if (tokens !== undefined) usage[key] = tokens;
  }
  return usage;
}

/** What a receipt says was decided, in the words of `decide`. */
export function recordedDecision(payload: DecisionPayload): Omit<Decision, 'retryAt' | 'detail'> {
  const { route, shadow } = payload;
  return {
    decision: payload.decision,
    reason: payload.reason as Decision['reason'],
    hold: BigInt(payload.hold),
    ...(payload.decisive_cap !== undefined && { cap: payload.decisive_cap }),
    ...(payload.decisive_rule && { rule: payload.decisive_rule }),
    ...(payload.uncounted && { uncounted: payload.uncounted }),
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
    ...(route.max_price && { maxPrice: route.max_price as NonNullable<Route['maxPrice']> }),
  };
}
