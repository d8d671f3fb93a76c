/** Rules: which models, at which price, with which capabilities. */
import { scaleExactly, usdText } from '../money.ts';
import { hasCapability } from '../capability-names.ts';
import { allowsModel, isAutoRouter } from '../policy/patterns.ts';
import type { Ceiling } from '../policy/types.ts';
import type { Price } from '../pricing/price.ts';
import { block, concernsAny, modelsOf, type BindingRule, type Case, type Target } from './case.ts';
import type { DecideInput, Decision, PresentedCapability } from './types.ts';

/** Signed capabilities whose clock ran out may still be on their way for this long. */
const CLOCK_SKEW_MS = 5000;

/** Why a signed capability that came with the call doesn't count. */
function capabilityProblem(
  { now, scope, replayed = [] }: DecideInput,
  given: PresentedCapability,
  index: number,
): string | undefined {
  if (given.problem !== undefined) return given.problem;
  if (now >= given.expires + CLOCK_SKEW_MS) return 'it has expired';
  if (given.notBefore !== undefined && now < given.notBefore - CLOCK_SKEW_MS) return 'it is not valid yet';
  if (given.subject !== undefined && given.subject !== scope.agentId) return 'it was given to another agent';
  return replayed.includes(index) ? 'it has been used by another call' : undefined;
}

/** A capability that is presented must be sound, whether or not a rule asks for it. */
export function refuseCapability({ input, policies }: Case): Decision | undefined {
  if (policies.length === 0) return undefined;
  for (const [index, given] of (input.request.capabilities ?? []).entries()) {
    const problem = capabilityProblem(input, given, index);
    if (problem !== undefined) return block('capability_invalid', { detail: problem });
  }
  return undefined;
}

/** The rules that are about a call which may go to `models`. */
export function rulesOn({ input, rules }: Case, models: readonly string[]): readonly BindingRule[] {
  return rules.length === 0
    ? rules
    : rules.filter(({ rule }) => concernsAny(input, rule.when?.models, models));
}

/** What the rules say against a call to `target`, but for its price. */
export function refuseTarget(kase: Case, target: Target): Decision | undefined {
  if (kase.rules.length === 0) return undefined;
  const { request } = kase.input;
  const models = modelsOf(target);
  const rules = rulesOn(kase, models);
  const signed = (request.capabilities ?? []).flatMap(({ names }) => names);
  const held = [...(request.claims ?? []), ...signed];
  for (const { rule, place } of rules) {
    const missing = rule.requires?.find((name) => !hasCapability(rule.signed === true ? signed : held, name));
    if (missing !== undefined) return block('capability_missing', { detail: missing, rule: place });
  }
  if (request.fixedCost !== undefined) return undefined;
  for (const { rule, place } of rules) {
    const { models: allowed, when } = rule;
    if (allowed === undefined) continue;
    const refused = models.find(
      (model) =>
        concernsAny(kase.input, when?.models, [model]) && !allowsModel(allowed, model, request.provider),
    );
    if (refused !== undefined) return block('model_not_allowed', { detail: refused, rule: place });
  }
  return undefined;
}

/** A ceiling in nano-USD per million tokens, and per request. */
export interface Limits {
  input?: bigint;
  output?: bigint;
  request: bigint;
  /** The rules that it comes from. */
  places: readonly BindingRule[];
}

const parsed = new WeakMap<Ceiling, { input?: bigint; output?: bigint; request: bigint }>();

function limitsOf(ceiling: Ceiling): { input?: bigint; output?: bigint; request: bigint } {
  let limits = parsed.get(ceiling);
  if (limits === undefined) {
    const { input, output, request } = ceiling;
    limits = {
      ...(input !== undefined && { input: scaleExactly(input, 9) }),
      ...(output !== undefined && { output: scaleExactly(output, 9) }),
      request: scaleExactly(request ?? '0', 9),
    };
    parsed.set(ceiling, limits);
  }
  return limits;
}

function lower(a: bigint | undefined, b: bigint | undefined): bigint | undefined {
  return a === undefined || (b !== undefined && b < a) ? b : a;
}

/** The strictest of all ceilings on a call that may go to `target`; `undefined` when there is none. */
export function ceilingOn(kase: Case, target: Target): Limits | undefined {
  if (kase.rules.length === 0 || kase.input.request.fixedCost !== undefined) return undefined;
  let found: Limits | undefined;
  for (const place of rulesOn(kase, modelsOf(target))) {
    const { maxPrice } = place.rule;
    if (maxPrice === undefined) continue;
    const limits = limitsOf(maxPrice);
    const input = lower(found?.input, limits.input);
    const output = lower(found?.output, limits.output);
    found = {
      ...(input !== undefined && { input }),
      ...(output !== undefined && { output }),
      request: lower(found?.request, limits.request) as bigint,
      places: [...(found?.places ?? []), place],
    };
  }
  return found;
}

/** The ceiling as a route carries it. */
export function ceilingText({ input, output, request }: Limits): Ceiling {
  return {
    ...(input !== undefined && { input: usdText(input) }),
    ...(output !== undefined && { output: usdText(output) }),
    request: usdText(request),
  };
}

/** True when a list price that a prompt of `inputTokens` can reach is above the ceiling. Cache rates don't count. */
function isAbove({ row, tiers, request }: Price, limits: Limits, inputTokens: number): boolean {
  // What isn't a model's work has no list price, and what it costs nobody knows.
  if (row.source === 'none' || request > limits.request) return true;
  return tiers.some((tier) => {
    if (tier.above >= inputTokens && tier.above >= 0) return false;
    const output = tier.output > tier.reasoning ? tier.output : tier.reasoning;
    return (
      (limits.input !== undefined && tier.input > limits.input) ||
      (limits.output !== undefined && output > limits.output)
    );
  });
}

/** What the price ceilings say against a call to `target`. Models without a price are looked at elsewhere. */
export function refusePrice(kase: Case, target: Target): Decision | undefined {
  const limits = ceilingOn(kase, target);
  if (limits === undefined) return undefined;
  const { request, prices } = kase.input;
  const tokens = 'tokens' in request.input ? request.input.tokens : Infinity;
  for (const model of modelsOf(target)) {
    const price = prices.get(model);
    if (isAutoRouter(model) || price === undefined || !isAbove(price, limits, tokens)) continue;
    // The strictest ceiling is made of several rules; the one that this model breaks is named.
    const { place } =
      limits.places.find(({ rule }) =>
        isAbove(price, { ...limitsOf(rule.maxPrice as Ceiling), places: [] }, tokens),
      ) ?? (limits.places[0] as BindingRule);
    return block('price_ceiling', { detail: model, rule: place });
  }
  return undefined;
}
