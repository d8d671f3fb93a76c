/** What a model costs, and what a usage at that price comes to, in whole nano-dollars. */
import { divideUp, maxOf, scaleExactly, type NanoUsd } from '../money.ts';
import type { TokenUsage } from '../usage.ts';

/**
 * Rates in USD per million tokens, as decimal strings. A rate that is absent is charged as the rate it refines. The
 * kinds of tokens are those of `TokenUsage`.
 */
export interface TokenRates {
  input: string;
  output: string;
  /** Tokens read from the provider's prompt cache; absent: as `input`. */
  cacheRead?: string;
  /** Tokens written to the provider's prompt cache (5 minutes); absent: as `input`. */
  cacheWrite?: string;
  /**
   * Tokens written to a cache that lasts an hour. Absent: unknown, so that a call which asks for it has no bound; one
   * that was made all the same is charged twice `input`, which is what Anthropic takes.
   */
  cacheWriteHour?: string;
  /** Hidden reasoning tokens; absent: as `output`. */
  reasoning?: string;
  /** Sound in the prompt; absent: as `input`. */
  inputAudio?: string;
  /** Sound read from the prompt cache; absent: as the dearer of `cacheRead` and `inputAudio`. */
  cacheReadAudio?: string;
  /** Pictures in the prompt; absent: as `input`. */
  inputImage?: string;
  /** Sound in the answer; absent: as `output`. */
  outputAudio?: string;
  /** Pictures in the answer; absent: as `output`. */
  outputImage?: string;
}

/** Rates that replace some of a row's while all of its conditions hold. */
export interface PriceOverride extends Partial<TokenRates> {
  /** Holds for input longer than so many tokens. */
  above?: number;
  /** Minutes of the UTC day, the first inclusive, the second exclusive; it may wrap past midnight. */
  between?: readonly [from: number, to: number];
  /** Days of the week in UTC, 0 for Sunday, at the moment of the call. */
  days?: readonly number[];
}

/** One row of a price list. */
export interface PriceRow extends TokenRates {
  /** The id that the row is for, as the source spells it. */
  model: string;
  /** Where the row comes from: `override`, `openrouter` or `catalogue`. */
  source: string;
  /** The source's version or date. */
  version: string;
  /** USD for each request, on top of the tokens. */
  request?: string;
  /** USD for each picture in the prompt, on top of the tokens. */
  image?: string;
  /** Other rates for the whole call when its input is longer than `above` tokens. Ascending. */
  tiers?: readonly ({ above: number } & TokenRates)[];
  /** Applied one after another on top of base and tier; of several that hold, the later wins, rate by rate. */
  overrides?: readonly PriceOverride[];
  /** Input and output tokens that the model takes together, where the source says so. */
  contextLength?: number;
  /** The model's own maximum of output tokens, where the source says so. */
  maxOutputTokens?: number;
  /** What the model can do, where the source says so: a complete list of words from `MODEL_FEATURES`. Sorted. */
  features?: readonly ModelFeature[];
}

/**
 * What a call may need of a model beside text: pictures, sound, files and video in the prompt; `json` any JSON and
 * `schema` JSON of a given schema as the answer; `parallel_tools` several tool calls in one answer.
 */
export const MODEL_FEATURES = [
  'audio',
  'files',
  'images',
  'json',
  'parallel_tools',
  'reasoning',
  'schema',
  'tool_choice',
  'tools',
  'video',
] as const;

export type ModelFeature = (typeof MODEL_FEATURES)[number];

/** Rates in nano-USD per million tokens. */
interface CompiledRates extends Record<keyof TokenRates, bigint> {
  above: number;
}

/** A price row made ready for arithmetic. */
export interface Price {
  readonly row: PriceRow;
  readonly request: NanoUsd;
  /** For each picture in the prompt. */
  readonly image: NanoUsd;
  /** The rate of writing the one-hour cache per million tokens (the lowest of its tiers), where the list has one. */
  readonly cacheWriteHour: NanoUsd | undefined;
  /** All rates that the row can come to, by length of input. */
  readonly tiers: readonly CompiledRates[];
  /** The same apart: one list, ascending, for each of the row's times, and one for a row without. */
  readonly slots: readonly (readonly CompiledRates[])[];
  /** Positions in `slots` by which of the row's overrides hold (`01`: the second one), as far as time is concerned. */
  readonly slotNames: ReadonlyMap<string, number>;
}

/** What a call has or asks for that other rates are for. */
export interface PricedExtras {
  /** The call asks for a prompt cache that lasts an hour. */
  hourCache?: boolean;
  /** The prompt has sound in it. */
  audio?: boolean;
  /** Pictures in the prompt. */
  images?: number;
}

const TOKENS_PER_RATE = 1_000_000n;
/** A billion dollars: more is a mistake, and would not fit into a receipt. */
const MAX_RATE: NanoUsd = 10n ** 18n;

function rateOf(text: string | undefined, name: string, model: string): bigint {
  try {
    const value = scaleExactly(text as string, 9);
    if (value >= 0n && value <= MAX_RATE) return value;
  } catch {
    // falls through to the error that names the model and the field
  }
  throw new RangeError(
    `price of ${model}: ${name} is ${JSON.stringify(text)}, expected USD per million tokens as a decimal ` +
      `string of at least 0 with at most 9 places, e.g. "0.25"`,
  );
}

function compileRates(rates: TokenRates, above: number, model: string): CompiledRates {
  const rate = (name: keyof TokenRates, otherwise: bigint): bigint =>
    rates[name] === undefined ? otherwise : rateOf(rates[name], name, model);
  const input = rateOf(rates.input, 'input', model);
  const output = rateOf(rates.output, 'output', model);
  const cacheRead = rate('cacheRead', input);
  const cacheWrite = rate('cacheWrite', input);
  const inputAudio = rate('inputAudio', input);
  return {
    above,
    input,
    output,
    cacheRead,
    cacheWrite,
    cacheWriteHour: rate('cacheWriteHour', maxOf(cacheWrite, 2n * input)),
    reasoning: rate('reasoning', output),
    inputAudio,
    cacheReadAudio: rate(
      'cacheReadAudio',
      rates.inputAudio === undefined ? cacheRead : maxOf(cacheRead, inputAudio),
    ),
    inputImage: rate('inputImage', input),
    outputAudio: rate('outputAudio', output),
    outputImage: rate('outputImage', output),
  };
}

const MINUTE = 60_000;
const MINUTES_A_DAY = 1440;
/** 1 January 1970 was a Thursday. */
const FIRST_WEEKDAY = 4;

/** Minute of the day and day of the week in UTC. */
function clockAt(at: number): { minute: number; day: number } {
  const minutes = Math.floor(at / MINUTE);
  const day = Math.floor(minutes / MINUTES_A_DAY);
  return { minute: minutes - day * MINUTES_A_DAY, day: (((day + FIRST_WEEKDAY) % 7) + 7) % 7 };
}

function holdsAt({ between, days }: PriceOverride, minute: number, day: number): boolean {
  if (days !== undefined && !days.includes(day)) return false;
  if (between === undefined) return true;
  const [from, to] = between;
  return from <= to ? minute >= from && minute < to : minute >= from || minute < to;
}

/** The rates of a row by length of input, while exactly the overrides `active` hold as far as time is concerned. */
function ratesByLength(row: PriceRow, active: readonly PriceOverride[]): CompiledRates[] {
  const tiers = [...(row.tiers ?? [])].sort((a, b) => a.above - b.above);
  const lengths = new Set([
    -1,
    ...tiers.map(({ above }) => above),
    ...active.map(({ above }) => above ?? -1),
  ]);
  return [...lengths]
    .sort((a, b) => a - b)
    .map((above) => {
      let rates: TokenRates = row;
      for (const tier of tiers) if (tier.above <= above) rates = tier;
      for (const { above: least = -1, between: _, days: __, ...changes } of active) {
        if (least <= above) rates = { ...rates, ...changes };
      }
      return compileRates(rates, above, row.model);
    });
}

function slotName(overrides: readonly PriceOverride[], minute: number, day: number): string {
  return overrides.map((override) => (holdsAt(override, minute, day) ? '1' : '0')).join('');
}

/** One list of rates for each set of overrides that hold at some time of the week. */
function ratesByTime(row: PriceRow): Pick<Price, 'slots' | 'slotNames'> {
  const overrides = row.overrides ?? [];
  const slots: CompiledRates[][] = [];
  const slotNames = new Map<string, number>();
  const isTimed = overrides.some(({ between, days }) => between !== undefined || days !== undefined);
  const minutes = new Set([0, ...overrides.flatMap(({ between }) => between ?? [])]);
  for (let day = 0; day < (isTimed ? 7 : 1); day += 1) {
    for (const minute of minutes) {
      const name = slotName(overrides, minute, day);
      if (slotNames.has(name)) continue;
      slotNames.set(name, slots.length);
      slots.push(
        ratesByLength(
          row,
          overrides.filter((override) => holdsAt(override, minute, day)),
        ),
      );
    }
  }
  return { slots, slotNames };
}

/** The rates by length of input at an instant in milliseconds. */
function ratesAt({ row, slots, slotNames }: Price, at: number): readonly CompiledRates[] {
  const { minute, day } = clockAt(at);
  return slots[slotNames.get(slotName(row.overrides ?? [], minute, day)) ?? 0] as readonly CompiledRates[];
}

function feeOf(row: PriceRow, name: 'request' | 'image'): NanoUsd {
  const fee = scaleExactly(row[name] ?? '0', 9);
  if (fee >= 0n && fee <= MAX_RATE) return fee;
  throw new RangeError(`price of ${row.model}: ${name} is ${row[name]}, expected US dollars of at least 0`);
}

/** Makes a row ready for arithmetic. Throws `RangeError` that names the model and the field of a bad rate. */
export function compilePrice(row: PriceRow): Price {
  // An override can't take a rate away, so a row has the hour's rate at all times or only in some tiers.
  const hasHour =
    row.cacheWriteHour !== undefined && (row.tiers ?? []).every((tier) => tier.cacheWriteHour !== undefined);
  const { slots, slotNames } = ratesByTime(row);
  return {
    row,
    request: feeOf(row, 'request'),
    image: feeOf(row, 'image'),
    cacheWriteHour: hasHour ? rateOf(row.cacheWriteHour, 'cacheWriteHour', row.model) : undefined,
    tiers: slots.flat(),
    slots,
    slotNames,
  };
}

function ratesFor(tiers: readonly CompiledRates[], inputTokens: number): CompiledRates {
  let chosen = tiers[0] as CompiledRates;
  for (const tier of tiers) if (inputTokens > tier.above) chosen = tier;
  return chosen;
}

/** Tokens × rate over all kinds, in nano-USD × 10^6. */
function sumOf(rates: CompiledRates, usage: TokenUsage): bigint {
  const { inputTokens, outputTokens, cacheReadTokens = 0, cacheWriteTokens = 0, reasoningTokens = 0 } = usage;
  const {
    cacheWriteHourTokens = 0,
    cacheReadAudioTokens = 0,
    inputAudioTokens = 0,
    inputImageTokens = 0,
  } = usage;
  const { outputAudioTokens = 0, outputImageTokens = 0 } = usage;
  return (
    BigInt(inputTokens - cacheReadTokens - cacheWriteTokens - inputAudioTokens - inputImageTokens) *
      rates.input +
    BigInt(cacheReadTokens - cacheReadAudioTokens) * rates.cacheRead +
    BigInt(cacheReadAudioTokens) * rates.cacheReadAudio +
    BigInt(cacheWriteTokens - cacheWriteHourTokens) * rates.cacheWrite +
    BigInt(cacheWriteHourTokens) * rates.cacheWriteHour +
    BigInt(inputAudioTokens) * rates.inputAudio +
    BigInt(inputImageTokens) * rates.inputImage +
    BigInt(outputTokens - reasoningTokens - outputAudioTokens - outputImageTokens) * rates.output +
    BigInt(reasoningTokens) * rates.reasoning +
    BigInt(outputAudioTokens) * rates.outputAudio +
    BigInt(outputImageTokens) * rates.outputImage
  );
}

/**
 * What `usage` costs at `price`: the sum of tokens × rate, rounded up once, plus the fees for request and pictures.
 * `at` are instants in milliseconds; where the price depends on the time, the dearest of them counts, and without
 * any the dearest time of the week.
 */
export function costOf(
  price: Price,
  usage: TokenUsage,
  { at, images = 0 }: { at?: readonly number[]; images?: number } = {},
): NanoUsd {
  const { slots } = price;
  const isTimeless = slots.length === 1 || at === undefined || at.length === 0;
  const inForce = isTimeless ? slots : at.map((instant) => ratesAt(price, instant));
  let dearest = 0n;
  for (const tiers of inForce) dearest = maxOf(dearest, sumOf(ratesFor(tiers, usage.inputTokens), usage));
  return divideUp(dearest, TOKENS_PER_RATE) + price.request + BigInt(images) * price.image;
}

/** What `usage` costs at each of the times that a price depends on; one figure for a price that doesn't. */
export function costsByTime(price: Price, usage: TokenUsage, images = 0): NanoUsd[] {
  const fees = price.request + BigInt(images) * price.image;
  return price.slots.map(
    (tiers) => divideUp(sumOf(ratesFor(tiers, usage.inputTokens), usage), TOKENS_PER_RATE) + fees,
  );
}

/** The dearest that one token of input and of output can cost in a tier. */
function dearestRates(
  tier: CompiledRates,
  { hourCache, audio, images = 0 }: PricedExtras,
): { input: bigint; output: bigint } {
  let input = maxOf(maxOf(tier.input, tier.cacheRead), tier.cacheWrite);
  if (hourCache === true) input = maxOf(input, tier.cacheWriteHour);
  if (audio === true) input = maxOf(input, maxOf(tier.inputAudio, tier.cacheReadAudio));
  if (images > 0) input = maxOf(input, tier.inputImage);
  const output = maxOf(maxOf(tier.output, tier.reasoning), maxOf(tier.outputAudio, tier.outputImage));
  return { input, output };
}

/** The tiers that `inputTokens` or fewer can reach, at any time. */
function reachable({ tiers }: Price, inputTokens: number): readonly CompiledRates[] {
  return tiers.filter(({ above }) => above < 0 || above < inputTokens);
}

/**
 * The most that a call can cost: every input token at the dearest input rate, every output token at the dearest
 * output rate, over all the tiers that `inputTokens` or fewer can reach and all times of the week, once per choice
 * for the output.
 */
export function worstCaseCost(
  price: Price,
  inputTokens: number,
  outputTokens: number,
  choices = 1,
  extras: PricedExtras = {},
): NanoUsd {
  let dearest = 0n;
  for (const tier of reachable(price, inputTokens)) {
    const { input, output } = dearestRates(tier, extras);
    dearest = maxOf(dearest, BigInt(inputTokens) * input + BigInt(outputTokens) * BigInt(choices) * output);
  }
  return divideUp(dearest, TOKENS_PER_RATE) + price.request + BigInt(extras.images ?? 0) * price.image;
}

/** The largest output limit whose worst case is at most `budget`, or -1 when not even no output fits. */
export function outputThatFits(
  price: Price,
  inputTokens: number,
  budget: NanoUsd,
  choices = 1,
  extras: PricedExtras = {},
): number {
  const left = (budget - worstCaseCost(price, inputTokens, 0, choices, extras)) * TOKENS_PER_RATE;
  if (left < 0n) return -1;
  let rate = 0n;
  for (const tier of reachable(price, inputTokens)) rate = maxOf(rate, dearestRates(tier, extras).output);
  if (rate === 0n) return Number.MAX_SAFE_INTEGER;
  const fits = left / (rate * BigInt(choices));
  return fits > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(fits);
}
