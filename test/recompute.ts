/** Decides every decision of a log anew, from nothing but its receipts. */
import { expect } from 'vitest';
import { capLayout } from '../src/accounts.ts';
import { decide, type CapState, type DecideInput, type PresentedCapability } from '../src/decide.ts';
import { policyFromRecord, type Policy, type PolicyRecord } from '../src/policy.ts';
import { compilePrice, type Price, type PriceRow } from '../src/pricing/price.ts';
import type { DecisionPayload, Receipt } from '../src/receipts/payloads.ts';
import type { SpendScope } from '../src/scope.ts';

type Request = DecisionPayload['request'];

function capabilityOf(given: NonNullable<Request['capabilities']>[number]): PresentedCapability {
  return {
    hash: given.sha256,
    names: given.caps,
    expires: given.exp,
    ...(given.iss !== undefined && { issuer: given.iss }),
    ...(given.jti !== undefined && { jti: given.jti }),
    ...(given.nbf !== undefined && { notBefore: given.nbf }),
    ...(given.sub !== undefined && { subject: given.sub }),
    ...(given.max !== undefined && { max: BigInt(given.max) }),
    ...(given.problem !== undefined && { problem: given.problem }),
  };
}

function requestOf(given: Request): DecideInput['request'] {
  return {
    model: given.model,
    ...(given.provider !== undefined && { provider: given.provider }),
    fallbacks: given.fallbacks ?? [],
    input:
      given.input_tokens === undefined
        ? { unbounded: given.unbounded_input ?? '' }
        : { tokens: given.input_tokens },
    ...(given.cached_tokens !== undefined && { cachedTokens: given.cached_tokens }),
    ...(given.max_output_tokens !== undefined && { maxOutputTokens: given.max_output_tokens }),
    choices: given.choices ?? 1,
    ...(given.reasoning_tokens !== undefined && { reasoningTokens: given.reasoning_tokens }),
    limitCanBeSet: given.limit_can_be_set ?? false,
    ...(given.ceiling_can_be_set === true && { ceilingCanBeSet: true }),
    ...(given.features !== undefined && { features: given.features as never }),
    ...(given.claims !== undefined && { claims: given.claims }),
    ...(given.capabilities !== undefined && { capabilities: given.capabilities.map(capabilityOf) }),
    ...(given.audio === true && { audio: true }),
    ...(given.hour_cache === true && { hourCache: true }),
    ...(given.images !== undefined && { images: given.images }),
    ...(given.fixed_cost !== undefined && { fixedCost: BigInt(given.fixed_cost) }),
  };
}

function inputOf(
  payload: DecisionPayload,
  policies: readonly Policy[],
  prices: ReadonlyMap<string, Price>,
): DecideInput {
  const scope = payload.scope as SpendScope;
  const layout = capLayout(policies, scope);
  const amounts = new Map(payload.caps.map(([index, spent, held]) => [index, { spent, held }]));
  const granted = new Map(payload.granted);
  const rungs = new Map(payload.rungs);
  const caps = layout.caps.map((ref, index): CapState => {
    const { spent, held } = amounts.get(index) ?? { spent: '0', held: '0' };
    const resetsAt = ref.window === undefined ? 0 : (payload.spans[ref.window]?.[1] ?? 0);
    const [grant, rung] = [granted.get(index), rungs.get(index)];
    return {
      ref,
      spent: BigInt(spent),
      held: BigInt(held),
      resetsAt,
      ...(grant !== undefined && { granted: BigInt(grant) }),
      ...(rung !== undefined && { rung }),
    };
  });
  const replayed = (payload.request.capabilities ?? []).flatMap((each, index) =>
    each.replayed === true ? [index] : [],
  );
  return {
    now: Date.parse(payload.issued_at),
    scope,
    ...(payload.scope_conflict !== undefined && { scopeConflict: payload.scope_conflict as never }),
    requireTenant: payload.require_tenant ?? false,
    ...(payload.frozen !== undefined && { frozen: payload.frozen as SpendScope }),
    clockWrong: payload.reason === 'clock',
    policies: policies.map((policy, index) => ({
      policy,
      effective: payload.not_effective?.includes(index) !== true,
    })),
    caps,
    request: requestOf(payload.request),
    ...(replayed.length > 0 && { replayed }),
    ...(payload.approved !== undefined && { approved: payload.approved }),
    prices,
    uncarried: new Set(payload.uncarried),
  };
}

/** Fails unless every decision follows from what the log says. Returns how many there were. */
export function expectRecomputed(receipts: readonly Receipt[]): number {
  const policies = new Map<string, Policy>();
  const prices = new Map<string, ReadonlyMap<string, Price>>();
  let count = 0;
  for (const { payload } of receipts) {
    if (payload.type === 'policy')
      policies.set(payload.digest, policyFromRecord(payload.policy as unknown as PolicyRecord));
    if (payload.type === 'prices') {
      const rows = payload.rows.map(
        ([model, row]) => [model, compilePrice(row as unknown as PriceRow)] as const,
      );
      prices.set(payload.digest, new Map(rows));
    }
    if (payload.type !== 'decision') continue;
    count += 1;
    const found = payload.policies.map((digest) => policies.get(digest) as Policy);
    const rates = payload.prices === undefined ? new Map<string, Price>() : prices.get(payload.prices);
    const decision = decide(inputOf(payload, found, rates as ReadonlyMap<string, Price>));
    const { route } = decision;
    expect({
      decision: decision.decision,
      reason: decision.reason,
      hold: decision.hold.toString(),
      decisive_cap: decision.cap,
      decisive_rule: decision.rule,
      uncounted: decision.uncounted,
      shadow: decision.shadow,
      model: route?.model,
      fallbacks: route?.fallbacks,
      limit: route?.limit,
      max_output_tokens: route?.maxOutputTokens,
      max_price: route?.maxPrice,
    }).toEqual({
      decision: payload.decision,
      reason: payload.reason,
      hold: payload.hold,
      decisive_cap: payload.decisive_cap,
      decisive_rule: payload.decisive_rule,
      uncounted: payload.uncounted,
      shadow: payload.shadow,
      model: payload.route?.model,
      fallbacks: payload.route === undefined ? undefined : (payload.route.fallbacks ?? []),
      limit: payload.route?.limit,
      max_output_tokens: payload.route?.max_output_tokens,
      max_price: payload.route?.max_price,
    });
  }
  return count;
}
