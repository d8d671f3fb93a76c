/**
 * The simulator's own money. Independent on purpose: it shares no code with the library that is judged by it.
 * Prices are decimal strings in USD per token, as in OpenRouter's list; amounts are whole nano-USD.
 */
import type { TokenCounts } from './script.ts';

/** `pricing` of a model in OpenRouter's list: USD per token, request, image or search, as decimal strings. */
export interface SimulatorPricing {
  prompt: string;
  completion: string;
  request?: string;
  image?: string;
  web_search?: string;
  internal_reasoning?: string;
  input_cache_read?: string;
  input_cache_write?: string;
  /** Per token written to a cache that lasts an hour. Default: as other writes. */
  input_cache_write_1h?: string;
  /** Per token of sound and of a picture in the prompt. Default: as other input. */
  audio?: string;
  image_token?: string;
  /** Per token of an image that the model draws. Default: as other output. */
  image_output?: string;
  /** Other rates for the whole call while all conditions hold; of several that apply the later wins, key by key. */
  overrides?: readonly SimulatorPriceOverride[];
  [key: string]: unknown;
}

export interface SimulatorPriceOverride {
  /** Longer prompts only. */
  min_prompt_tokens?: number;
  /** From then until before then, as `2230` for 22:30, maybe past midnight. */
  utc_start?: number;
  utc_end?: number;
  /** `monday` to `sunday`. */
  utc_days?: readonly string[];
  [key: string]: unknown;
}

/** What a call used that costs money. */
interface Consumption extends TokenCounts {
  /** Images that are priced by the piece: those of the prompt, and those that the images API draws. */
  images: number;
  webSearches: number;
}

/** How a charge came about. */
export type ChargeKind = 'completed' | 'aborted' | 'error';

/** One charge. */
export interface BillLine extends TokenCounts {
  requestId: number;
  generationId: string;
  /** Milliseconds since 1970. */
  at: number;
  /** The model that served and is billed, and the one that the call named first. */
  model: string;
  requestedModel: string;
  provider: string;
  streamed: boolean;
  isByok: boolean;
  finishReason: string;
  /** All that the user pays for the call. */
  nanoUsd: bigint;
  /** The part that OpenRouter charges, which is what `usage.cost` says: all of it, or the fee with an own key. */
  creditsNanoUsd: bigint;
  /** What the upstream's price comes to, where the answer tells it. */
  upstreamNanoUsd: bigint | undefined;
  how: ChargeKind;
}

interface Decimal {
  digits: bigint;
  /** Places after the point. */
  places: number;
}

/** Reads a decimal exactly, a number by its shortest form. Throws `RangeError` for anything else. */
function decimal(value: unknown): Decimal {
  const match = /^([+-]?)(\d*)\.?(\d*)(?:[eE]([+-]?\d+))?$/.exec(String(value).trim());
  const digits = match ? `${match[2]}${match[3]}` : '';
  if (!match || digits === '') throw new RangeError(`not a price: ${String(value)}`);
  const places = (match[3] ?? '').length - Number(match[4] ?? 0);
  const magnitude = BigInt(digits) * (places < 0 ? 10n ** BigInt(-places) : 1n);
  return { digits: match[1] === '-' ? -magnitude : magnitude, places: Math.max(0, places) };
}

function atPlaces(value: Decimal, places: number): bigint {
  return value.digits * 10n ** BigInt(places - value.places);
}

/** -1, 0 or 1 as `a` is below, equal to or above `b` × `factor`. Throws `RangeError` when one is not a decimal. */
export function compareDecimals(a: unknown, b: unknown, factor = 1n): number {
  const left = decimal(a);
  const right = decimal(b);
  const places = Math.max(left.places, right.places);
  const difference = atPlaces(left, places) - atPlaces(right, places) * factor;
  return difference < 0n ? -1 : Number(difference > 0n);
}

/** Whether every call can be priced: prompt and completion are decimals of at least 0 (`-1` means unknown). */
export function isPriced(pricing: SimulatorPricing): boolean {
  try {
    return decimal(pricing.prompt).digits >= 0n && decimal(pricing.completion).digits >= 0n;
  } catch {
    return false;
  }
}

/** USD for one web search where the model has no price of its own: five results at $4 a thousand. */
const WEB_SEARCH_USD = '0.02';

const NANO_PLACES = 9;

function sumUp(terms: readonly (readonly [count: number, usd: unknown])[]): bigint {
  const priced = terms.map(([count, usd]) => ({ count: BigInt(count), price: decimal(usd) }));
  const places = Math.max(NANO_PLACES, ...priced.map(({ price }) => price.places));
  let sum = 0n;
  for (const { count, price } of priced) sum += count * atPlaces(price, places);
  const unit = 10n ** BigInt(places - NANO_PLACES);
  return sum % unit === 0n ? sum / unit : sum / unit + 1n;
}

const DAYS = ['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday'];

function holds(override: SimulatorPriceOverride, promptTokens: number, at: Date): boolean {
  const { min_prompt_tokens: above, utc_start: from, utc_end: until, utc_days: days } = override;
  if (above !== undefined && promptTokens <= above) return false;
  if (days !== undefined && !days.includes(DAYS[at.getUTCDay()] as string)) return false;
  if (from === undefined || until === undefined) return true;
  const clock = at.getUTCHours() * 100 + at.getUTCMinutes();
  return from <= until ? from <= clock && clock < until : from <= clock || clock < until;
}

/** Tokens × list price, summed exactly and rounded up once to whole nano-USD. Throws `RangeError` on a bad price. */
function costAtList(pricing: SimulatorPricing, used: Consumption, at: number): bigint {
  const rates = { ...pricing };
  for (const override of pricing.overrides ?? [])
    if (holds(override, used.promptTokens, new Date(at))) Object.assign(rates, override);
  const { cacheReadTokens, cacheWriteTokens, inputAudioTokens, inputImageTokens, promptTokens } = used;
  return sumUp([
    [promptTokens - cacheReadTokens - cacheWriteTokens - inputAudioTokens - inputImageTokens, rates.prompt],
    [inputAudioTokens, rates.audio ?? rates.prompt],
    [inputImageTokens, rates.image_token ?? rates.prompt],
    [cacheReadTokens, rates.input_cache_read ?? rates.prompt],
    [cacheWriteTokens - used.cacheWriteHourTokens, rates.input_cache_write ?? rates.prompt],
    [used.cacheWriteHourTokens, rates.input_cache_write_1h ?? rates.input_cache_write ?? rates.prompt],
    [used.completionTokens - used.reasoningTokens - used.imageTokens, rates.completion],
    [used.imageTokens, rates.image_output ?? rates.completion],
    [used.reasoningTokens, rates.internal_reasoning ?? rates.completion],
    [1, rates.request ?? '0'],
    [used.images, rates.image ?? '0'],
    [used.webSearches, rates.web_search ?? WEB_SEARCH_USD],
  ]);
}

/** What a call costs: in all, in OpenRouter credits, and upstream where the answer tells it. */
export function chargesFor(
  pricing: SimulatorPricing,
  used: Consumption,
  terms: { at: number; isByok: boolean; upstreamCost: string | undefined },
): Pick<BillLine, 'nanoUsd' | 'creditsNanoUsd' | 'upstreamNanoUsd'> {
  const told = terms.upstreamCost === undefined ? undefined : sumUp([[1, terms.upstreamCost]]);
  const atList = costAtList(pricing, used, terms.at);
  if (!terms.isByok) return { nanoUsd: atList, creditsNanoUsd: atList, upstreamNanoUsd: told };
  const upstream = told ?? atList;
  const fee = (upstream * 5n + 99n) / 100n;
  return { nanoUsd: upstream + fee, creditsNanoUsd: fee, upstreamNanoUsd: upstream };
}

/** Nano-USD as US dollars in digits, at least one after the point. */
export function usdText(nanoUsd: bigint): string {
  const text = nanoUsd.toString().padStart(NANO_PLACES + 1, '0');
  return `${text.slice(0, -NANO_PLACES)}.${text.slice(-NANO_PLACES)}`.replace(/(?<=\.\d+)0+$/, '');
}

/**
 * Nano-USD as the JSON number of US dollars whose shortest decimal form is exactly that amount.
 * Throws `RangeError` from about $9 million on, where no such number need exist.
 */
export function usdNumber(nanoUsd: bigint): number {
  const usd = Number(usdText(nanoUsd));
  if (compareDecimals(usd, `${nanoUsd}e-9`) !== 0)
    throw new RangeError(`too large for a JSON number: ${nanoUsd}`);
  return usd;
}
