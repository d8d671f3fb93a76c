/** A call as its decision's receipt tells it, made ready to be decided again under other policies. */
import { hasCapability } from '../../capability-names.ts';
import type { RequestFacts } from '../../decide.ts';
import { isRuleFor } from '../../policy/patterns.ts';
import type { Policy } from '../../policy.ts';
import { catalogueIds } from '../../pricing/catalogue.ts';
import type { DecisionPayload } from '../../receipts/payloads.ts';
import { requestOf } from '../../rehydrate.ts';
import type { SpendScope } from '../../scope.ts';

type Recorded = DecisionPayload['request'];

/** The facts that the receipt holds, with whose model it is where the receipt doesn't say. */
export function recordedFacts(request: Recorded): RequestFacts {
  const facts = requestOf(request);
  const provider = facts.provider ?? vendorOf(request.model);
  return provider === undefined ? facts : { ...facts, provider };
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
