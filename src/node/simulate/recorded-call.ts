/** A call as its decision's receipt tells it, made ready to be decided again under other policies. */
import { hasCapability } from '../../capability-names.ts';
import type { PresentedCapability, RequestFacts } from '../../decide.ts';
import { isRuleFor } from '../../policy/patterns.ts';
import type { Policy } from '../../policy.ts';
import { catalogueIds } from '../../pricing/catalogue.ts';
import type { ModelFeature } from '../../pricing/price.ts';
import type { DecisionPayload } from '../../receipts/payloads.ts';
import type { SpendScope } from '../../scope.ts';

type Recorded = DecisionPayload['request'];

/** The facts that the receipt holds. What no policy asked about at the time is not among them. */
export function recordedFacts(request: Recorded): RequestFacts {
  const { unbounded_input: unbounded = 'the log doesn’t say why', input_tokens: tokens } = request;
  const provider = request.provider ?? vendorOf(request.model);
  return {
    model: request.model,
    fallbacks: request.fallbacks ?? [],
    input: tokens === undefined ? { unbounded } : { tokens },
    choices: request.choices ?? 1,
    limitCanBeSet: request.limit_can_be_set === true,
    ...(provider !== undefined && { provider }),
    ...(request.audio === true && { audio: true as const }),
    ...(request.hour_cache === true && { hourCache: true as const }),
    ...(request.images !== undefined && { images: request.images }),
    ...(request.cached_tokens !== undefined && { cachedTokens: request.cached_tokens }),
    ...(request.max_output_tokens !== undefined && { maxOutputTokens: request.max_output_tokens }),
    ...(request.reasoning_tokens !== undefined && { reasoningTokens: request.reasoning_tokens }),
    ...(request.ceiling_can_be_set === true && { ceilingCanBeSet: true }),
    ...(request.features !== undefined && { features: request.features as ModelFeature[] }),
    ...(request.claims !== undefined && { claims: request.claims }),
    ...(request.capabilities !== undefined && { capabilities: request.capabilities.map(presented) }),
    ...(request.fixed_cost !== undefined && { fixedCost: BigInt(request.fixed_cost) }),
  };
}

function presented(given: NonNullable<Recorded['capabilities']>[number]): PresentedCapability {
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

const VENDORS = ['anthropic', 'openai', 'google', 'mistral', 'deepseek', 'x-ai', 'cohere', 'perplexity'];

let vendors: Map<string, string> | undefined;

/** Whose a bare name is, where the log doesn't say. */
function vendorOf(model: string): string | undefined {
  if (model.includes('/')) return undefined;
  if (vendors === undefined) {
    vendors = new Map();
    const lists = catalogueIds();
    for (const vendor of VENDORS)
      for (const id of lists.get(vendor) ?? []) if (!vendors.has(id)) vendors.set(id, vendor);
  }
  return vendors.get(model);
}

/** What the receipt can't tell, and what is taken in its place. */
export interface Assumed {
  request: RequestFacts;
  capability: boolean;
  ceiling: boolean;
  /** True when nothing is known of what the model must be able to do. */
  features: boolean;
}

function asks(policies: readonly Policy[], scope: SpendScope): { names: Set<string>; signed: Set<string> } {
  const rules = policies.flatMap(({ record }) =>
    (record.rules ?? []).filter((rule) => isRuleFor(rule, scope)),
  );
  return {
    names: new Set(rules.flatMap(({ requires = [] }) => requires)),
    signed: new Set(rules.flatMap(({ requires = [], signed }) => (signed === true ? requires : []))),
  };
}

function asksForCeiling(policies: readonly Policy[]): boolean {
  return policies.some(({ record }) => record.rules?.some(({ maxPrice }) => maxPrice !== undefined));
}

function hasLadder(policies: readonly Policy[]): boolean {
  return policies.some(
    ({ record }) =>
      record.caps.some(({ downgradeTo }) => downgradeTo !== undefined) ||
      record.rules?.some(({ routeTo }) => routeTo !== undefined),
  );
}

/** Never checked again, for the log has only what was checked then. */
const ASSUMED_HASH = '0'.repeat(64);

/**
 * Completes the facts where the policies of the time didn't ask and those of the file do: capabilities are taken as given, and a ceiling as one
 * that can be sent along.
 */
export function assumedFacts(
  request: RequestFacts,
  scope: SpendScope,
  { was, will }: { was: readonly Policy[]; will: readonly Policy[] },
): Assumed {
  const before = new Set(
    was.flatMap(({ record }) => (record.rules ?? []).flatMap(({ requires = [] }) => requires)),
  );
  const { names, signed } = asks(will, scope);
  // Of tiers the highest was recorded as soon as one was asked for.
  const isKnown = (name: string): boolean =>
    [...before].some(
      (asked) => asked === name || hasCapability([name], asked) || hasCapability([asked], name),
    );
  const missing = [...names].filter((name) => !isKnown(name));
  const ceiling = asksForCeiling(will) && !asksForCeiling(was) && request.fixedCost === undefined;
  const held = missing.filter((name) => signed.has(name));
  return {
    request: {
      ...request,
      ...(missing.length > 0 && { claims: [...(request.claims ?? []), ...missing] }),
      ...(held.length > 0 && {
        capabilities: [
          ...(request.capabilities ?? []),
          { hash: ASSUMED_HASH, names: held, expires: Number.MAX_SAFE_INTEGER },
        ],
      }),
      ...(ceiling && { ceilingCanBeSet: true }),
    },
    capability: missing.length > 0,
    ceiling,
    features: !hasLadder(was) && !asksForCeiling(was),
  };
}
