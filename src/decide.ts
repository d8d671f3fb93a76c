/**
 * The one decision function: policies, balances, request and prices in, decision out. Synchronous and pure: no
 * clock, no I/O, no randomness, no time-zone database. Same inputs, same decision, everywhere and years later.
 */
import type { Policy } from './policy.ts';
import { isAutoRouter, isRuleFor } from './policy/patterns.ts';
import type { ScopeField } from './scope.ts';
import { fit, type Verdict } from './decide/caps.ts';
import {
  block,
  capAt,
  capsOn,
  countsModels,
  hasMaximum,
  isCostInPlay,
  modelsOf,
  type BindingRule,
  type Case,
  type Target,
} from './decide/case.ts';
import { boundCost, openRoute, type Bound } from './decide/cost.ts';
import { demandsOn, downgrade, route, routedTo } from './decide/ladder.ts';
import { ceilingOn, refuseCapability, refusePrice, refuseTarget } from './decide/rules.ts';
import type { AllowReason, DecideInput, Decision, Route } from './decide/types.ts';

export type {
  AllowReason,
  CapState,
  DecideInput,
  Decision,
  PresentedCapability,
  RequestFacts,
  Route,
} from './decide/types.ts';

/** Decides one call. Refusals are values; the order of their reasons is that of `BLOCK_REASONS`. */
export function decide(input: DecideInput): Decision {
  const all = input.policies.map(({ policy }) => policy);
  const enforced = all.filter(({ record }) => record.mode === 'enforce');
  const real = withUncounted(input, judge(input, all.length === 0 ? undefined : enforced, false));
  const hasShadow = enforced.length < all.length || input.caps.some(({ ref }) => ref.cap.action === 'shadow');
  if (!hasShadow) return real;
  const would = judge(input, all, true);
  if (would.decision === real.decision && would.reason === real.reason) return real;
  return { ...real, shadow: { decision: would.decision, reason: would.reason } };
}

/** Names the caps that don't count the route, so that whoever keeps the balances need not know about models. */
function withUncounted(input: DecideInput, decision: Decision): Decision {
  if (decision.route === undefined || input.caps.every(({ ref }) => ref.cap.models === undefined))
    return decision;
  const models = modelsOf(decision.route);
  const uncounted = input.caps.flatMap(({ ref }, index) =>
    ref.account !== undefined && !countsModels(input, index, models) ? [index] : [],
  );
  return uncounted.length === 0 ? decision : { ...decision, uncounted };
}

/** Judges the call under these policies; `undefined` means that none matches. */
function judge(input: DecideInput, policies: readonly Policy[] | undefined, isShadow: boolean): Decision {
  if (input.scopeConflict !== undefined) return block('scope_conflict', { detail: input.scopeConflict });
  if (input.requireTenant && input.scope.tenantId === undefined) {
    return block('scope_required', { detail: 'tenantId' });
  }
  const kase = caseOf(input, policies ?? [], isShadow);
  const asked = capsOn(kase, input.request);
  const nameless = asked.find((index) => capAt(input, index).ref.missing !== undefined);
  if (nameless !== undefined) {
    const missing = capAt(input, nameless).ref.missing as ScopeField;
    return block('scope_required', { cap: nameless, detail: missing });
  }
  if (input.frozen !== undefined) return block('frozen', { detail: JSON.stringify(input.frozen) });
  if (policies === undefined) return block('no_policy');
  const bound = new Set(policies.map(({ digest }) => digest));
  const pending = input.policies.find(({ policy, effective }) => bound.has(policy.digest) && !effective);
  if (pending !== undefined) {
    return block('policy_not_effective', {
      retryAt: pending.policy.effectiveFrom,
      detail: pending.policy.record.id,
    });
  }
  // Without a cap nothing is counted, and time doesn't matter.
  if (input.clockWrong && kase.caps.length > 0) return block('clock');
  return refuseCapability(kase) ?? judgeModels(kase);
}

function caseOf(input: DecideInput, policies: readonly Policy[], isShadow: boolean): Case {
  const bound = new Set(policies.map((policy) => policy.digest));
  const caps: number[] = [];
  let isFiltered = false;
  for (let index = 0; index < input.caps.length; index++) {
    const { policy, cap } = capAt(input, index).ref;
    if (!bound.has(policy.digest)) continue;
    caps.push(index);
    if (cap.models !== undefined) isFiltered = true;
  }
  const rules: BindingRule[] = [];
  for (const [index, { policy }] of input.policies.entries()) {
    if (policy.record.rules !== undefined && bound.has(policy.digest))
      rules.push(...bindingRules(policy, index, input));
  }
  return { input, policies: policies.map(({ record }) => record), caps, rules, isFiltered, isShadow };
}

function bindingRules({ record }: Policy, policy: number, { scope }: DecideInput): BindingRule[] {
  return (record.rules ?? []).flatMap((rule, index): BindingRule[] =>
    isRuleFor(rule, scope) ? [{ rule, place: [policy, index] }] : [],
  );
}

/** Sends the call where a rule wants it, unless it goes there already. */
function judgeModels(kase: Case): Decision {
  const { request } = kase.input;
  const routed = routedTo(kase);
  if (routed !== undefined && !modelsOf(request).every((model) => routed.models.includes(model))) {
    return route(kase, routed, (target, verdict) => judgeTarget(kase, target, verdict));
  }
  const { model, fallbacks } = request;
  return judgeTarget(kase, { model, fallbacks }, { decision: 'allow', reason: 'within_caps' });
}

/** Judges the call as it would be sent to `target`: rules first, then what it may cost, then the caps. */
function judgeTarget(kase: Case, target: Target, verdict: Verdict): Decision {
  const refused = refuseTarget(kase, target);
  if (refused !== undefined) return refused;
  const named =
    verdict.reason === 'within_caps' ? { ...verdict, reason: allowReason(kase, target) } : verdict;
  const bound = boundCost(kase, target);
  if ('reason' in bound) return judgeUnbound(kase, target, bound, named);
  const above = refusePrice(kase, target);
  if (above !== undefined) return above;
  const standing = { target, bound };
  const demands = demandsOn(kase, standing);
  const cheaper = demands.length === 0 ? undefined : downgrade(kase, demands, standing);
  return cheaper ?? fit(kase, bound, named);
}

/** A call whose cost can't be said passes where nothing depends on it, or where the policies say that it may. */
function judgeUnbound(
  kase: Case,
  target: Target,
  { reason, detail }: Exclude<Bound, { route: Route }>,
  verdict: Verdict,
): Decision {
  const isUnpriced = reason === 'unknown_price';
  const hasCeiling = ceilingOn(kase, target) !== undefined;
  // What has no price is below no ceiling, and a router that may choose anything keeps no rule.
  if (isUnpriced && (hasCeiling || (isAutoRouter(detail) && kase.rules.length > 0)))
    return block(reason, { detail });
  const above = reason === 'unbounded_cost' ? refusePrice(kase, target) : undefined;
  if (above !== undefined) return above;
  const isOpen = !isCostInPlay(kase, target);
  const mayPass =
    isUnpriced && !hasMaximum(kase) && kase.policies.every(({ unknownPrice }) => unknownPrice === 'allow');
  if (reason === 'price_ceiling' || !(isOpen || mayPass)) return block(reason, { detail });
  return { ...verdict, route: openRoute(kase, target), hold: 0n };
}

function allowReason(kase: Case, target: Target): AllowReason {
  if (kase.policies.length === 0 && kase.input.policies.length > 0) return 'shadow';
  if (capsOn(kase, target).length > 0) return 'within_caps';
  return kase.rules.length > 0 ? 'within_rules' : 'no_caps';
}
