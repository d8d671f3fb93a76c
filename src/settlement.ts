/** What a call really cost, from what the framework and the provider reported. Pure. */
import type { RequestFacts, Route } from './decide.ts';
import { reportedCost, type NanoUsd } from './money.ts';
import { costOf, worstCaseCost, type Price } from './pricing/price.ts';
import { knownUsage, type AskedUsage, type ReportedUsage, type TokenUsage } from './usage.ts';

/** How a call ended, as an adapter saw it. Whatever it doesn't know, it leaves out. */
export interface CallOutcome {
  /**
   * - `ok`: the answer arrived whole
   * - `error`: the call failed after it may have been served
   * - `refused`: the provider answered with a status that rules out that a model ran (a 4xx, mostly)
   * - `aborted`: the caller gave up
   * - `abandoned`: nobody read the answer to its end
   * - `not_sent`: the request provably never left
   */
  outcome: 'ok' | 'error' | 'refused' | 'aborted' | 'abandoned' | 'not_sent';
  usage?: ReportedUsage;
  /**
   * What the call cost by what the provider says, in US dollars. On a key of the caller's own, all that is paid for
   * it: what the upstream charged and the provider's fee.
   */
  cost?: unknown;
  /** What the upstream charged, in US dollars, where the provider tells it. */
  upstreamCost?: unknown;
  /** The call ran on a key of the caller's own at the upstream; `cost − upstreamCost` is then the provider's fee. */
  isByok?: boolean;
  /** The model that served, as the provider names it. */
  servedModel?: string;
  servedProvider?: string;
  /** The provider's id for the call, e.g. OpenRouter's `gen-…`. */
  providerRef?: string;
  /** An estimate of the output tokens that arrived, for calls that had no output limit. */
  seenOutputTokens?: number;
}

export interface SettledCost {
  amount: NanoUsd;
  source: 'provider' | 'tokens' | 'estimate' | 'hold' | 'none';
  reported?: NanoUsd;
  computed?: NanoUsd;
  /** What the upstream charged, where the provider said so. Never added to `amount`, which has it on an own key. */
  upstream?: NanoUsd;
  /** True when the upstream bills an own key of the caller. */
  byok?: true;
  /** With `byok`: the part of `reported` that the provider itself charged. */
  fee?: NanoUsd;
  usage?: TokenUsage;
  /** Why the reported usage was not believed. */
  unknownUsage?: string;
}

const OUTCOMES: ReadonlySet<string> = new Set(['ok', 'error', 'refused', 'aborted', 'abandoned', 'not_sent']);

function textOr(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/** An outcome that can be recorded, whatever was passed: a call that was paid for must be settled. */
export function soundOutcome(given: CallOutcome): CallOutcome {
  const fields: Partial<CallOutcome> = typeof given === 'object' && given !== null ? given : {};
  const { outcome, usage, cost, upstreamCost, isByok, seenOutputTokens } = fields;
  const sound: CallOutcome = { outcome: 'error' };
  if (outcome !== undefined && OUTCOMES.has(outcome)) sound.outcome = outcome;
  if (typeof usage === 'object' && usage !== null) sound.usage = usage;
  if (cost !== undefined) sound.cost = cost;
  if (upstreamCost !== undefined) sound.upstreamCost = upstreamCost;
  if (isByok === true) sound.isByok = true;
  if (Number.isSafeInteger(seenOutputTokens))
    sound.seenOutputTokens = Math.min(Math.max(0, seenOutputTokens as number), 1e9);
  for (const field of ['servedModel', 'servedProvider', 'providerRef'] as const) {
    const text = textOr(fields[field]);
    if (text !== undefined) sound[field] = text;
  }
  return sound;
}

/** What the decision fixed. */
export interface SettledAgainst {
  request: RequestFacts;
  route: Route;
  hold: NanoUsd;
  /** Price of the model that served, or of the route's; `undefined` when unknown. */
  price: Price | undefined;
  /** When the call was decided and when it ended, in milliseconds, for prices that depend on the time. */
  at?: readonly number[];
}

/** What is said of the upstream, kept apart from what counts. */
export function upstreamFacts(
  { upstreamCost, isByok }: Pick<CallOutcome, 'upstreamCost' | 'isByok'>,
  reported: NanoUsd | undefined,
): Pick<SettledCost, 'upstream' | 'byok' | 'fee'> {
  const upstream = reportedCost(upstreamCost);
  if (isByok !== true) return upstream === undefined ? {} : { upstream };
  const hasFee = upstream !== undefined && reported !== undefined && reported >= upstream;
  return {
    byok: true,
    ...(upstream !== undefined && { upstream }),
    ...(hasFee && { fee: reported - upstream }),
  };
}

/** What of a call costs more than other tokens where its price is told apart. */
function askedUsage({ request, price }: SettledAgainst): AskedUsage {
  const { hourCache, audio, images } = request;
  const isDearer = (rate: 'inputAudio' | 'inputImage'): boolean =>
    price?.tiers.some((tier) => tier[rate] > tier.input) === true;
  return {
    ...(hourCache && { hourCache }),
    audio: audio === true && isDearer('inputAudio'),
    images: images !== undefined && isDearer('inputImage'),
  };
}

/**
 * The cost to settle: what the provider reported, else tokens × price. Where neither can be believed, the hold,
 * which is the one figure that can't be too low; a call without an output limit has an estimate instead.
 */
export function settledCost(outcome: CallOutcome, against: SettledAgainst): SettledCost {
  if (outcome.outcome === 'not_sent') return { amount: 0n, source: 'none' };
  if (against.request.fixedCost !== undefined) return { amount: against.request.fixedCost, source: 'tokens' };
  const usage = knownUsage(outcome.usage, askedUsage(against));
  const known = 'unknown' in usage ? undefined : usage;
  const reported = reportedCost(outcome.cost);
  const { at, request } = against;
  const { images = 0 } = request;
  const computed =
    known && against.price && costOf(against.price, known, at === undefined ? { images } : { at, images });
  let cost: SettledCost;
  // Libraries and BYOK accounts turn "not reported" into 0, so a zero counts only where the tokens agree.
  if (reported !== undefined && (reported > 0n || computed === 0n))
    cost = { amount: reported, source: 'provider' };
  else if (computed !== undefined) cost = { amount: computed, source: 'tokens' };
  else cost = highEstimate(outcome, against);
  if (reported !== undefined) cost.reported = reported;
  if (outcome.isByok === true || outcome.upstreamCost !== undefined)
    Object.assign(cost, upstreamFacts(outcome, reported));
  if (computed !== undefined) cost.computed = computed;
  if ('unknown' in usage) cost.unknownUsage = usage.unknown;
  else cost.usage = usage;
  return cost;
}

function highEstimate(outcome: CallOutcome, { request, route, hold, price }: SettledAgainst): SettledCost {
  const inputTokens = 'tokens' in request.input ? request.input.tokens : 0;
  if (outcome.outcome === 'refused' && price !== undefined) {
    const input = worstCaseCost(price, inputTokens, 0, 1, request);
    return { amount: input < hold || route.limit === 'none' ? input : hold, source: 'estimate' };
  }
  if (route.limit !== 'none') return { amount: hold, source: 'hold' };
  if (price === undefined) return { amount: hold, source: hold === 0n ? 'none' : 'hold' };
  const seen = outcome.seenOutputTokens ?? 0;
  return { amount: worstCaseCost(price, inputTokens, seen, 1, request), source: 'estimate' };
}
