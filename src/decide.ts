/**
 * The one decision function: policies, balances, request and prices in, decision out. Synchronous and pure: no
 * clock, no I/O, no randomness, no time-zone database. Same inputs, same decision, everywhere and years later.
 */
import type { CapAccount } from './accounts.ts';
import type { BlockReason } from './errors.ts';
import { maxOf, type NanoUsd } from './money.ts';
import { outputThatFits, worstCaseCost, type Price } from './pricing/price.ts';
import { DEFAULT_MAX_OUTPUT_TOKENS, type Policy, type PolicyRecord } from './policy.ts';
import type { ScopeField, SpendScope } from './scope.ts';

/** What is known of a call before it leaves. */
export interface RequestFacts {
  model: string;
  /** Other models that may serve the call without asking again. */
  fallbacks: readonly string[];
  /** Upper bound of the input tokens, or why there is none. */
  input: { tokens: number } | { unbounded: string };
  /** The call's own output limit. */
  maxOutputTokens?: number;
  /** Answers asked for in one call (`n`). */
  choices: number;
  /** Reasoning budget that the call asks for; an output limit set on it is never lower. */
  reasoningTokens?: number;
  /** True when the adapter can set an output limit on a call that has none. */
  limitCanBeSet: boolean;
  /** The call asks for a prompt cache that lasts an hour, which has a rate of its own. */
  hourCache?: true;
  /** The prompt has sound in it. */
  audio?: true;
  /** How many pictures the prompt has, where it has any. */
  images?: number;
  /** A cost known beforehand, for what isn't a model call; models, tokens and prices then don't matter. */
  fixedCost?: NanoUsd;
}

/** A cap with the amounts that count for it. `per_call` caps have none. */
export interface CapState {
  ref: CapAccount;
  spent: NanoUsd;
  held: NanoUsd;
  /** When the window ends, in milliseconds; 0 for never. */
  resetsAt: number;
}

export interface DecideInput {
  /** The ledger's time, in milliseconds. */
  now: number;
  scope: SpendScope;
  /** The field on which two scope layers contradict each other. */
  scopeConflict?: ScopeField;
  requireTenant: boolean;
  /** True when the log's head lies in the future of the ledger's clock. */
  clockWrong: boolean;
  /** The policies that match, with whether each has taken effect. */
  policies: readonly { policy: Policy; effective: boolean }[];
  /** The caps of those policies, in order. */
  caps: readonly CapState[];
  request: RequestFacts;
  /** Prices by the model's name as asked; a model that is missing has no known price. */
  prices: ReadonlyMap<string, Price>;
  /** Downgrade targets that the adapter can't send the call to. */
  uncarried: { has(model: string): boolean };
}

/** Where the call goes. */
export interface Route {
  model: string;
  fallbacks: readonly string[];
  /** The output limit that the cost was bounded with; `undefined` when none was needed. */
  maxOutputTokens?: number;
  /**
   * Where the limit comes from: the call's `own`, `injected` into it, `clamped` to what a cap leaves, the
   * `model`'s own maximum, or `none`. Only `injected` and `clamped` change what is sent.
   */
  limit: 'own' | 'injected' | 'clamped' | 'model' | 'none';
}

export type AllowReason = 'within_caps' | 'no_caps' | 'over_soft_cap' | 'shadow';

export interface Decision {
  decision: 'allow' | 'downgrade' | 'block';
  reason: AllowReason | BlockReason;
  /** Absent when blocked. */
  route?: Route;
  /** The worst-case cost, held on every account of the matching caps. */
  hold: NanoUsd;
  /** Index into the input's `caps` of the cap that decided. */
  cap?: number;
  /** When a window resets and the same call may pass, in milliseconds. */
  retryAt?: number;
  /** The model that has no price, or the reason why the cost has no bound. */
  detail?: string;
  /** What the policies in shadow mode would have decided, where that differs. */
  shadow?: { decision: Decision['decision']; reason: Decision['reason'] };
}

/** The smallest answer that is left room for above a reasoning budget. */
const ANSWER_TOKENS = 1024;

/** Decides one call. Refusals are values; the order of their reasons is that of `BLOCK_REASONS`. */
export function decide(input: DecideInput): Decision {
  const enforced = input.policies.filter(({ policy }) => policy.record.mode === 'enforce');
  const real = judge(input, input.policies.length === 0 ? undefined : enforced.map(({ policy }) => policy));
  if (enforced.length === input.policies.length) return real;
  const would = judge(
    input,
    input.policies.map(({ policy }) => policy),
  );
  if (would.decision === real.decision && would.reason === real.reason) return real;
  return { ...real, shadow: { decision: would.decision, reason: would.reason } };
}

/** A call under a set of policies; `undefined` policies means that none matches. */
interface Case {
  input: DecideInput;
  policies: readonly PolicyRecord[];
  /** Indexes into `input.caps` of the caps that bind. */
  caps: readonly number[];
}

function block(reason: BlockReason, more: Omit<Partial<Decision>, 'decision' | 'reason'> = {}): Decision {
  return { decision: 'block', reason, hold: 0n, ...more };
}

function judge(input: DecideInput, policies: readonly Policy[] | undefined): Decision {
  if (input.scopeConflict !== undefined) return block('scope_conflict', { detail: input.scopeConflict });
  if (input.requireTenant && input.scope.tenantId === undefined) {
    return block('scope_required', { detail: 'tenantId' });
  }
  const bound = new Set(policies?.map((policy) => policy.digest));
  const caps = input.caps.flatMap(({ ref }, index) => (bound.has(ref.policy.digest) ? [index] : []));
  const nameless = caps.find((index) => capAt(input, index).ref.missing !== undefined);
  if (nameless !== undefined) {
    const missing = capAt(input, nameless).ref.missing as ScopeField;
    return block('scope_required', { cap: nameless, detail: missing });
  }
  if (policies === undefined) return block('no_policy');
  const pending = input.policies.find(({ policy, effective }) => bound.has(policy.digest) && !effective);
  if (pending !== undefined) {
    return block('policy_not_effective', {
      retryAt: pending.policy.effectiveFrom,
      detail: pending.policy.record.id,
    });
  }
  // Without a cap nothing is counted, and time doesn't matter.
  if (input.clockWrong && caps.length > 0) return block('clock');
  const records = policies.map((policy) => policy.record);
  return judgeCost({ input, policies: records, caps });
}

function capAt(input: DecideInput, index: number): CapState {
  return input.caps[index] as CapState;
}

function amountOf({ ref }: CapState): NanoUsd {
  return ref.policy.amounts[ref.index] as NanoUsd;
}

/** What a call may cost on a route, or why that can't be said. */
type Bound = { route: Route; cost: NanoUsd } | { reason: 'unknown_price' | 'unbounded_cost'; detail: string };

function judgeCost(kase: Case): Decision {
  const { input, policies, caps } = kase;
  const { model, fallbacks } = input.request;
  const bound = boundCost(kase, model, fallbacks);
  if ('reason' in bound) {
    const uncapped = caps.length === 0;
    if (uncapped || (bound.reason === 'unknown_price' && policies.every((p) => p.unknownPrice === 'allow'))) {
      return { decision: 'allow', reason: allowReason(kase), route: openRoute(input.request), hold: 0n };
    }
    return block(bound.reason, { detail: bound.detail });
  }
  const triggered = caps.filter((index) => isTriggered(capAt(input, index), bound.cost));
  const demands = triggered.filter((index) => demandsCheaper(kase, index, bound.cost));
  if (demands.length > 0) return downgrade(kase, demands);
  return fit(kase, bound, { decision: 'allow', reason: allowReason(kase) });
}

function allowReason({ input, policies, caps }: Case): AllowReason {
  if (policies.length === 0 && input.policies.length > 0) return 'shadow';
  return caps.length === 0 ? 'no_caps' : 'within_caps';
}

function openRoute({ model, fallbacks, maxOutputTokens }: RequestFacts): Route {
  if (maxOutputTokens === undefined) return { model, fallbacks, limit: 'none' };
  return { model, fallbacks, maxOutputTokens, limit: 'own' };
}

/** Bounds the cost of sending the call to `model`, or to any of `fallbacks` when that fails. */
function boundCost(kase: Case, model: string, fallbacks: readonly string[]): Bound {
  const { request, prices } = kase.input;
  if (request.fixedCost !== undefined) {
    return { route: { model, fallbacks, limit: 'none' }, cost: request.fixedCost };
  }
  const candidates: Price[] = [];
  for (const candidate of [model, ...fallbacks]) {
    const price = prices.get(candidate);
    if (price === undefined) return { reason: 'unknown_price', detail: candidate };
    if (request.hourCache === true && price.cacheWriteHour === undefined) {
      return {
        reason: 'unbounded_cost',
        detail: `a one-hour cache write, whose rate the price of ${candidate} lacks`,
      };
    }
    candidates.push(price);
  }
  if ('unbounded' in request.input) return { reason: 'unbounded_cost', detail: request.input.unbounded };
  const route = limitedRoute(kase, model, fallbacks, candidates);
  if (route === undefined) {
    return {
      reason: 'unbounded_cost',
      detail: `the call has no output limit and ${model} has no known maximum`,
    };
  }
  const { tokens } = request.input;
  let cost = 0n;
  for (const price of candidates) {
    // Without a limit no cap depends on the cost; the usual length serves as its estimate.
    const limit =
      route.maxOutputTokens ?? Math.min(DEFAULT_MAX_OUTPUT_TOKENS, price.row.maxOutputTokens ?? Infinity);
    cost = maxOf(cost, worstCaseCost(price, tokens, limit, request.choices, request));
  }
  return { route, cost };
}

/** The route with the output limit that its cost is bounded with; `undefined` when there is none to be had. */
function limitedRoute(
  kase: Case,
  model: string,
  fallbacks: readonly string[],
  candidates: readonly Price[],
): Route | undefined {
  const { request } = kase.input;
  const base = { model, fallbacks };
  if (request.maxOutputTokens !== undefined) {
    return { ...base, maxOutputTokens: request.maxOutputTokens, limit: 'own' };
  }
  const maxima = candidates.map(({ row }) => row.maxOutputTokens);
  if (kase.caps.length === 0) return { ...base, limit: 'none' };
  if (!request.limitCanBeSet) {
    // Whichever model serves writes as much as it likes.
    if (maxima.includes(undefined)) return undefined;
    return { ...base, maxOutputTokens: Math.max(...(maxima as number[])), limit: 'model' };
  }
  const modelMaximum = maxima[0];
  const wanted = kase.policies.map(({ maxOutputTokens }) =>
    maxOutputTokens === 'model' ? (modelMaximum ?? DEFAULT_MAX_OUTPUT_TOKENS) : maxOutputTokens,
  );
  const reasoning = request.reasoningTokens === undefined ? 0 : request.reasoningTokens + ANSWER_TOKENS;
  const limit = Math.max(Math.min(...wanted), reasoning);
  return { ...base, maxOutputTokens: Math.min(limit, modelMaximum ?? limit), limit: 'injected' };
}

/** A downgrade cap is triggered by what is spent; `per_call` by what the call alone could cost. */
function isTriggered(cap: CapState, cost: NanoUsd): boolean {
  if (cap.ref.cap.action !== 'downgrade') return false;
  return cap.ref.cap.window === 'per_call' ? cost > amountOf(cap) : cap.spent >= amountOf(cap);
}

/** False when the call already goes to one of the cap's models, or costs no more than the first of them. */
function demandsCheaper(kase: Case, index: number, cost: NanoUsd): boolean {
  const { request } = kase.input;
  const ladder = capAt(kase.input, index).ref.cap.downgradeTo ?? [];
  if (request.fixedCost !== undefined) return false;
  if (request.fallbacks.length === 0 && ladder.includes(request.model)) return false;
  const first = boundCost(kase, ladder[0] as string, []);
  return 'reason' in first || first.cost < cost;
}

/**
 * Sends the call to the cheapest of the models that the triggered caps name, taking from each cap's ladder the
 * first one that can carry the call and passes every block cap. Fallbacks named in the call are dropped.
 */
function downgrade(kase: Case, demands: readonly number[]): Decision {
  let best: Decision | undefined;
  let refusal: Decision | undefined;
  for (const index of demands) {
    const outcome = firstRung(kase, index);
    if (outcome.decision === 'block') {
      // Waiting for holds can't help where another cap refuses for good.
      if (refusal === undefined || refusal.reason === 'cap_held') refusal = outcome;
    } else if (best === undefined || outcome.hold < best.hold) best = outcome;
  }
  // Every cap that asks for a cheaper model must get one.
  return refusal ?? (best as Decision);
}

function firstRung(kase: Case, index: number): Decision {
  let refusal: Decision | undefined;
  for (const model of capAt(kase.input, index).ref.cap.downgradeTo ?? []) {
    if (kase.input.uncarried.has(model)) continue;
    const bound = boundCost(kase, model, []);
    if ('reason' in bound || !hasRoom(kase, model)) continue;
    const outcome = fit(kase, bound, { decision: 'downgrade', reason: 'over_soft_cap', cap: index });
    if (outcome.decision !== 'block') return outcome;
    // One rung that only waits for holds is enough to wait for.
    if (refusal === undefined || refusal.reason !== 'cap_held') refusal = outcome;
  }
  return refusal ?? block('no_route', { cap: index });
}

/** False when the model's context is known to be too short for the call. */
function hasRoom({ input }: Case, model: string): boolean {
  const length = input.prices.get(model)?.row.contextLength;
  return length === undefined || 'unbounded' in input.request.input || input.request.input.tokens <= length;
}

type Verdict = Pick<Decision, 'decision' | 'reason' | 'cap'>;

/** Allows a bounded route when it fits every block cap, clamped if the policies say so; else says what is full. */
function fit(kase: Case, bound: { route: Route; cost: NanoUsd }, verdict: Verdict): Decision {
  const refusal = refusalBy(kase, bound.cost);
  if (refusal === undefined) return { ...verdict, route: bound.route, hold: bound.cost };
  const clamped = clampRoute(kase, bound.route);
  return clamped === undefined ? { ...refusal, hold: bound.cost } : { ...verdict, ...clamped };
}

function refusalBy({ input, caps }: Case, cost: NanoUsd): Decision | undefined {
  let held: Decision | undefined;
  let spent: Decision | undefined;
  for (const index of caps) {
    const cap = capAt(input, index);
    if (cap.ref.cap.action !== 'block') continue;
    const amount = amountOf(cap);
    if (cap.ref.cap.window === 'per_call') {
      if (cost > amount) return block('cap_per_call', { cap: index });
      continue;
    }
    // A new window helps only a call that fits into an empty one.
    const retryAt = cap.resetsAt === 0 || cost > amount ? {} : { retryAt: cap.resetsAt };
    if (cap.spent + cost > amount) spent ??= block('cap_spent', { cap: index, ...retryAt });
    else if (cap.spent + cap.held + cost > amount) held ??= block('cap_held', { cap: index });
  }
  return spent ?? held;
}

/** The route with the largest output limit that every block cap has room for, where the policies allow that. */
function clampRoute(kase: Case, route: Route): Pick<Decision, 'route' | 'hold'> | undefined {
  const { input, policies, caps } = kase;
  const { request, prices } = input;
  if (policies.some(({ clampOutput }) => clampOutput === undefined)) return undefined;
  if (request.fixedCost !== undefined || !request.limitCanBeSet || 'unbounded' in request.input)
    return undefined;
  const { tokens } = request.input;
  let limit = route.maxOutputTokens ?? 0;
  for (const index of caps) {
    const cap = capAt(input, index);
    if (cap.ref.cap.action !== 'block') continue;
    const room = amountOf(cap) - cap.spent - cap.held;
    for (const model of [route.model, ...route.fallbacks]) {
      limit = Math.min(
        limit,
        outputThatFits(prices.get(model) as Price, tokens, room, request.choices, request),
      );
    }
  }
  const least = Math.max(
    ...policies.map(({ clampOutput }) => clampOutput?.minTokens ?? 1),
    request.reasoningTokens ?? 0,
  );
  if (limit < least) return undefined;
  let hold = 0n;
  for (const model of [route.model, ...route.fallbacks]) {
    hold = maxOf(hold, worstCaseCost(prices.get(model) as Price, tokens, limit, request.choices, request));
  }
  return { route: { ...route, maxOutputTokens: limit, limit: 'clamped' }, hold };
}
