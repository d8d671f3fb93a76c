/** What a call may cost where it is sent. */
import { maxOf, usdText, type NanoUsd } from '../money.ts';
import { isAutoRouter } from '../policy/patterns.ts';
import { DEFAULT_MAX_OUTPUT_TOKENS } from '../policy/types.ts';
import { compilePrice, worstCaseCost, type Price } from '../pricing/price.ts';
import { isCostInPlay, modelsOf, type Case, type Target } from './case.ts';
import { ceilingOn, ceilingText, type Limits } from './rules.ts';
import type { Route } from './types.ts';

/** The smallest answer that is left room for above a reasoning budget. */
const ANSWER_TOKENS = 1024;

/** What a call may cost on a route, or why that can't be said. */
export type Bound =
  | { route: Route; cost: NanoUsd }
  | { reason: 'unknown_price' | 'unbounded_cost' | 'price_ceiling'; detail: string };

/** Longer prompts meet models with dearer tiers, which a ceiling on the list price doesn't tell of. */
const AUTO_INPUT_TOKENS = 128_000;

/**
 * The price of the auto router: its ceiling. What is written to a prompt cache costs a quarter more than the input at
 * the vendors that charge for it, and the ceiling is on the input alone.
 */
function autoPrice({ input = 0n, output = 0n, request }: Limits): Price {
  return compilePrice({
    model: 'openrouter/auto',
    source: 'ceiling',
    version: '1',
    input: usdText(input),
    output: usdText(output),
    cacheWrite: usdText((input * 5n + 3n) / 4n),
    request: usdText(request),
  });
}

/** The auto router's price for this call, or why it has none. */
function autoBound(
  { request }: Case['input'],
  limits: Limits | undefined,
): Price | Exclude<Bound, { route: Route }> {
  const detail = 'openrouter/auto';
  if (limits?.input === undefined || limits.output === undefined) return { reason: 'unknown_price', detail };
  if (request.ceilingCanBeSet !== true) return { reason: 'price_ceiling', detail };
  if ('unbounded' in request.input) return { reason: 'unbounded_cost', detail: request.input.unbounded };
  if (request.input.tokens > AUTO_INPUT_TOKENS) {
    const most = `a prompt of more than ${AUTO_INPUT_TOKENS} tokens may meet a dearer tier of a model that nobody chose`;
    return { reason: 'unbounded_cost', detail: most };
  }
  const asked = request.features?.find((feature) => feature === 'images' || feature === 'files');
  const media = request.audio === true ? 'audio' : request.images === undefined ? asked : 'images';
  if (media === undefined) return autoPrice(limits);
  return { reason: 'unbounded_cost', detail: `${media} have prices of their own, which no ceiling is on` };
}

/** The prices of everything that may serve, or why one of them can't be said. */
function pricesOf(
  kase: Case,
  target: Target,
  limits: Limits | undefined,
): Price[] | Exclude<Bound, { route: Route }> {
  const found: Price[] = [];
  for (const model of modelsOf(target)) {
    const price = isAutoRouter(model) ? autoBound(kase.input, limits) : kase.input.prices.get(model);
    if (price === undefined) return { reason: 'unknown_price', detail: model };
    if ('reason' in price) return price;
    if (kase.input.request.hourCache === true && price.cacheWriteHour === undefined) {
      const detail = `a one-hour cache write, whose rate the price of ${model} lacks`;
      return { reason: 'unbounded_cost', detail };
    }
    found.push(price);
  }
  return found;
}

/** Bounds the cost of sending the call to `target.model`, or to any of its fallbacks when that fails. */
export function boundCost(kase: Case, target: Target): Bound {
  const { request } = kase.input;
  if (request.fixedCost !== undefined) {
    return { route: { ...target, limit: 'none' }, cost: request.fixedCost };
  }
  const limits = ceilingOn(kase, target);
  const candidates = pricesOf(kase, target, limits);
  if ('reason' in candidates) return candidates;
  if ('unbounded' in request.input) return { reason: 'unbounded_cost', detail: request.input.unbounded };
  const route = limitedRoute(kase, target, candidates);
  if (route === undefined) {
    return {
      reason: 'unbounded_cost',
      detail: `the call has no output limit and ${target.model} has no known maximum`,
    };
  }
  if (limits !== undefined && request.ceilingCanBeSet === true) route.maxPrice = ceilingText(limits);
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

/** The prices of a bounded route, for arithmetic on them. */
export function boundedPrices(kase: Case, target: Target): Price[] {
  const found = pricesOf(kase, target, ceilingOn(kase, target));
  return 'reason' in found ? [] : found;
}

/** The route of a call whose cost doesn't matter. */
export function openRoute(kase: Case, target: Target): Route {
  const { maxOutputTokens, ceilingCanBeSet } = kase.input.request;
  const limits = ceilingOn(kase, target);
  return {
    model: target.model,
    fallbacks: target.fallbacks,
    ...(maxOutputTokens !== undefined && { maxOutputTokens }),
    limit: maxOutputTokens === undefined ? 'none' : 'own',
    ...(limits !== undefined && ceilingCanBeSet === true && { maxPrice: ceilingText(limits) }),
  };
}

/** The route with the output limit that its cost is bounded with; `undefined` when there is none to be had. */
function limitedRoute(kase: Case, target: Target, candidates: readonly Price[]): Route | undefined {
  const { request } = kase.input;
  const base = { model: target.model, fallbacks: target.fallbacks };
  if (request.maxOutputTokens !== undefined) {
    return { ...base, maxOutputTokens: request.maxOutputTokens, limit: 'own' };
  }
  const maxima = candidates.map(({ row }) => row.maxOutputTokens);
  if (!isCostInPlay(kase, target)) return { ...base, limit: 'none' };
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

/** What the call would cost with what its model has in its prompt cache, which another model would have to be paid for. */
export function costWithCache({ request, prices }: Case['input'], model: string, cost: NanoUsd): NanoUsd {
  const price = prices.get(model);
  const { cachedTokens = 0, input } = request;
  if (price === undefined || cachedTokens === 0 || 'unbounded' in input) return cost;
  let saved: bigint | undefined;
  for (const tier of price.tiers) {
    if (tier.above >= input.tokens && tier.above >= 0) continue;
    const dearest = maxOf(maxOf(tier.input, tier.cacheRead), tier.cacheWrite);
    const least = dearest - tier.cacheRead;
    if (saved === undefined || least < saved) saved = least;
  }
  const cached = BigInt(Math.min(cachedTokens, input.tokens));
  return cost - (cached * (saved ?? 0n)) / 1_000_000n;
}

/** True when the model can do what the call needs and has the context for it, as far as that is known. */
export function canServe({ request, prices }: Case['input'], model: string): boolean {
  const row = prices.get(model)?.row;
  if (row?.features !== undefined) {
    const { features } = row;
    if (request.features?.some((feature) => !features.includes(feature))) return false;
  }
  const length = row?.contextLength;
  return length === undefined || 'unbounded' in request.input || request.input.tokens <= length;
}
