/** From what an adapter knows of a call to what `decide` needs: scope, policies, caps, prices, bounds. */
import { capLayout, type CapAccount, type CapLayout } from './accounts.ts';
import type { CapState, DecideInput, PresentedCapability, RequestFacts } from './decide.ts';
import { AgentGuardError } from './errors.ts';
import type { LedgerView } from './ledgers/ledger.ts';
import type { NanoUsd } from './money.ts';
import type { Policy } from './policy.ts';
import type { findPrice } from './pricing/find-price.ts';
import { compilePrice, type Price } from './pricing/price.ts';
import { capabilityName, isCapabilityName, relevantCapabilities } from './capability-names.ts';
import {
  nameText,
  requestFacts,
  type EstimateSettings,
  type PolicyNeeds,
  type SpendRequest,
} from './request.ts';
import {
  carriedConflict,
  checkScope,
  currentClaims,
  currentScope,
  layerScopes,
  scopeMatches,
  type ScopeField,
  type SpendScope,
} from './scope.ts';
import { spanAt, type WindowSpan } from './windows.ts';

export type { SpendRequest } from './request.ts';

/** How a guard looks at every request. */
export interface PrepareOptions extends EstimateSettings {
  policies: readonly Policy[];
  scope: SpendScope;
  requireScope: boolean;
  /** Claims of every call through the guard. */
  claims: readonly string[];
  priceOf: typeof findPrice;
}

/**
 * The models that the adapter can't send a call to. It is asked only about models that a decision comes to, for
 * trying a route on a request takes time, and most calls are never downgraded.
 */
class Uncarried {
  /** The models that were asked about and can't be reached. */
  readonly found: string[] = [];
  #answers: Map<string, boolean> | undefined;
  readonly #canRoute: (model: string) => boolean;

  constructor(canRoute: (model: string) => boolean) {
    this.#canRoute = canRoute;
  }

  has(model: string): boolean {
    this.#answers ??= new Map();
    let answer = this.#answers.get(model);
    if (answer === undefined) {
      answer = !this.#canRoute(model);
      this.#answers.set(model, answer);
      if (answer) this.found.push(model);
    }
    return answer;
  }
}

/** A request made ready: everything that doesn't depend on the ledger. */
export interface Prepared {
  scope: SpendScope;
  scopeConflict?: ScopeField;
  requireTenant: boolean;
  policies: readonly Policy[];
  layout: CapLayout;
  request: RequestFacts;
  prices: ReadonlyMap<string, Price>;
  /** Why models have no price, for the error. */
  unpriced: ReadonlyMap<string, string>;
  uncarried: Uncarried;
}

type Matched = Pick<Prepared, 'scope' | 'scopeConflict' | 'requireTenant' | 'policies' | 'layout'>;

/** The scope and the policies of a call. */
function matchPolicies(layer: SpendScope | undefined, options: PrepareOptions): Matched {
  checkScope('scope', layer);
  const surrounding = currentScope();
  const { scope, conflict } = layerScopes([options.scope, surrounding, layer]);
  const scopeConflict = carriedConflict(surrounding) ?? conflict;
  const policies = options.policies.filter((policy) => scopeMatches(policy.record.scope, scope));
  const layout = capLayout(policies, scope);
  const matched: Matched = { scope, requireTenant: options.requireScope, policies, layout };
  if (scopeConflict !== undefined) matched.scopeConflict = scopeConflict;
  return matched;
}

/** Stands for what has no price of its own, so that its unbounded cost is what it is refused for. */
function unpricedRow(model: string): Price {
  return compilePrice({ model, source: 'none', version: 'not a model', input: '0', output: '0' });
}

// Layouts are kept for policies and scopes that come again, and so is what their policies ask about.
const needsOf = new WeakMap<CapLayout, PolicyNeeds>();

/** What the policies of a call ask about. */
function policyNeeds(policies: readonly Policy[], layout: CapLayout): PolicyNeeds {
  let needs = needsOf.get(layout);
  if (needs === undefined) needsOf.set(layout, (needs = readNeeds(policies, layout)));
  return needs;
}

function readNeeds(policies: readonly Policy[], { ladder }: CapLayout): PolicyNeeds {
  const rules = policies.flatMap(({ record }) => record.rules ?? []);
  return {
    ladder,
    asksFor: new Set(rules.flatMap(({ requires }) => requires ?? [])),
    isAboutModels:
      rules.length > 0 ||
      policies.some(({ record }) => record.caps.some(({ models }) => models !== undefined)),
    hasCeiling: rules.some(({ maxPrice }) => maxPrice !== undefined),
  };
}

/** Claims that came from the outside, by their one spelling. Throws `AgentGuardError` that names the place. */
export function checkClaims(place: string, claims: unknown): readonly string[] {
  if (claims === undefined) return [];
  if (Array.isArray(claims) && claims.every(isCapabilityName))
    return (claims as readonly string[]).map(capabilityName);
  throw new AgentGuardError(
    'invalid_config',
    `${place}: expected a list of capabilities such as ["payment_execute", "repo:write"]`,
  );
}

/** What of a call was found out before it is prepared: its verified capabilities, and what models have cached. */
export interface Found {
  capabilities: readonly PresentedCapability[];
  cachedTokens: (scope: SpendScope, model: string) => number;
}

/** `request` must have passed `requestProblem`. */
export function prepare(request: SpendRequest, options: PrepareOptions, found: Found): Prepared {
  const matched = matchPolicies(request.scope, options);
  const { ladder } = matched.layout;
  const claims = claimsOf(request.claims, options);
  const needs = policyNeeds(matched.policies, matched.layout);
  const cachedTokens = found.cachedTokens(matched.scope, request.model);
  const facts = requestFacts(
    request,
    needs,
    { capabilities: found.capabilities, cachedTokens, claims },
    options,
  );
  const prices = new Map<string, Price>();
  const unpriced = new Map<string, string>();
  for (const model of [facts.model, ...facts.fallbacks, ...ladder]) {
    const priced =
      request.isModel === false && model === facts.model
        ? { price: unpricedRow(model) }
        : options.priceOf(model, request.provider);
    if ('price' in priced) prices.set(model, priced.price);
    else unpriced.set(model, priced.unknown);
  }
  const uncarried = new Uncarried(request.canRoute ?? (() => true));
  return { ...matched, request: facts, prices, unpriced, uncarried };
}

/** The claims of all layers together: guard, surrounding scope, call. */
function claimsOf(own: unknown, options: PrepareOptions): string[] {
  return [...options.claims, ...currentClaims(), ...checkClaims('claims', own)];
}

/** Prepares a charge of a known amount for something that isn't a model call. */
export function prepareCharge(
  {
    label,
    amount,
    scope,
    claims,
  }: { label: string; amount: NanoUsd; scope?: SpendScope; claims?: readonly string[] },
  options: PrepareOptions,
): Prepared {
  const matched = matchPolicies(scope, options);
  const { asksFor } = policyNeeds(matched.policies, matched.layout);
  const held = relevantCapabilities(claimsOf(claims, options), asksFor);
  const request: RequestFacts = {
    model: nameText(label),
    fallbacks: [],
    input: { tokens: 0 },
    choices: 1,
    limitCanBeSet: false,
    ...(held.length > 0 && { claims: held }),
    fixedCost: amount,
  };
  const none = new Map<string, never>();
  const uncarried = new Uncarried(() => true);
  return { ...matched, request, prices: none, unpriced: none, uncarried };
}

/** A clock that went back by more than this blocks calls; less is the everyday correction of a clock. */
export const CLOCK_TOLERANCE_MS: number = 5 * 60_000;

/** The input of `decide` at one look at the ledger, with the spans of the distinct windows. */
export function decideInput(
  prepared: Prepared,
  view: LedgerView,
  hostNow: number,
  approved: readonly number[] = [],
): { input: DecideInput; spans: WindowSpan[] } {
  const { layout, policies } = prepared;
  const spans = layout.windows.map(({ kind, calendar }) => spanAt(kind, calendar, view.now));
  const { marks, now } = view;
  const { scopeConflict, request } = prepared;
  const input: DecideInput = {
    now,
    scope: prepared.scope,
    requireTenant: prepared.requireTenant,
    clockWrong: view.now - view.wall > CLOCK_TOLERANCE_MS,
    // The host that wrote `effectiveFrom` may be ahead of the ledger's clock; that must not block its calls.
    policies: policies.map((policy) => ({
      policy,
      effective: policy.effectiveFrom <= Math.max(hostNow, view.now),
    })),
    caps: layout.caps.map((ref) => capState(ref, prepared.scope, view, spans)),
    request,
    prices: prepared.prices,
    uncarried: prepared.uncarried,
  };
  const frozen = marks.frozen(prepared.scope);
  const replayed = request.capabilities?.flatMap(({ issuer, jti }, index) =>
    issuer !== undefined && jti !== undefined && marks.isUsed(issuer, jti) ? [index] : [],
  );
  if (scopeConflict !== undefined) input.scopeConflict = scopeConflict;
  if (frozen !== undefined) input.frozen = frozen;
  if (replayed !== undefined && replayed.length > 0) input.replayed = replayed;
  if (approved.length > 0) input.approved = approved;
  return { input, spans };
}

/** A cap with what counts for it at this look at the ledger. */
function capState(
  ref: CapAccount,
  scope: SpendScope,
  view: LedgerView,
  spans: readonly WindowSpan[],
): CapState {
  const { marks, now } = view;
  const { id } = ref.policy.record;
  const granted = marks.granted({ policy: id, cap: ref.index, window: ref.cap.window, scope }, now);
  const rung = ref.task === undefined ? undefined : marks.rung(ref.task, now);
  const span = ref.window === undefined ? undefined : spans[ref.window];
  const state: CapState = { ref, spent: 0n, held: 0n, resetsAt: 0 };
  if (ref.account !== undefined && span !== undefined) {
    const { spent, held } = view.amounts(ref.account, span);
    state.spent = spent;
    state.held = held;
    state.resetsAt = span.end;
  }
  if (granted > 0n) state.granted = granted;
  if (rung !== undefined) state.rung = rung;
  return state;
}
