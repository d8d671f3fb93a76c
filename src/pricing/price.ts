/** What a model costs, and what a usage at that price comes to, in whole nano-dollars. */
import { divideUp, maxOf, scaleExactly, type NanoUsd } from '../money.ts';
import type { TokenUsage } from '../usage.ts';

/** Rates in USD per million tokens, as decimal strings. A rate that is absent is charged as the rate it refines. */
export interface TokenRates {
  input: string;
  output: string;
  /** Tokens read from the provider's prompt cache; absent: as `input`. */
  cacheRead?: string;
  /** Tokens written to the provider's prompt cache (5 minutes); absent: as `input`. */
  cacheWrite?: string;
  /** Hidden reasoning tokens; absent: as `output`. */
  reasoning?: string;
}

/** What a call may need of a model. */
export const MODEL_FEATURES = ['tools', 'images', 'files', 'schema', 'reasoning'] as const;

export type ModelFeature = (typeof MODEL_FEATURES)[number];

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
  /** Other rates for the whole call when its input is longer than `above` tokens. Ascending. */
  tiers?: readonly ({ above: number } & TokenRates)[];
  /** Input and output tokens that the model takes together, where the source says so. */
  contextLength?: number;
  /** The model's own maximum of output tokens, where the source says so. */
  maxOutputTokens?: number;
  /** What the model can do, where the source says so; a feature that is missing then is one that it lacks. */
  features?: readonly ModelFeature[];
}

/** Rates in nano-USD per million tokens. */
interface CompiledRates {
  above: number;
  input: bigint;
  output: bigint;
  cacheRead: bigint;
  cacheWrite: bigint;
  reasoning: bigint;
}

/** A price row made ready for arithmetic. */
export interface Price {
  readonly row: PriceRow;
  readonly request: NanoUsd;
  readonly tiers: readonly CompiledRates[];
}

const TOKENS_PER_RATE = 1_000_000n;
/** A billion dollars: more is a mistake, and would not fit into a receipt. */
const MAX_RATE: NanoUsd = 10n ** 18n;

function compileRates(rates: TokenRates, above: number, model: string): CompiledRates {
  const rate = (name: keyof TokenRates, otherwise?: bigint): bigint => {
    const text = rates[name];
    if (text === undefined && otherwise !== undefined) return otherwise;
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
  };
  const input = rate('input');
  const output = rate('output');
  return {
    above,
    input,
    output,
    cacheRead: rate('cacheRead', input),
    cacheWrite: rate('cacheWrite', input),
    reasoning: rate('reasoning', output),
  };
}

/** Makes a row ready for arithmetic. Throws `RangeError` that names the model and the field of a bad rate. */
export function compilePrice(row: PriceRow): Price {
  const base = compileRates(row, -1, row.model);
  const tiers = (row.tiers ?? []).map((tier) => compileRates(tier, tier.above, row.model));
  tiers.sort((a, b) => a.above - b.above);
  const request = scaleExactly(row.request ?? '0', 9);
  if (request < 0n || request > MAX_RATE) {
    throw new RangeError(
      `price of ${row.model}: request is ${row.request}, expected US dollars of at least 0`,
    );
  }
  return { row, request, tiers: [base, ...tiers] };
}

function ratesFor(price: Price, inputTokens: number): CompiledRates {
  let chosen = price.tiers[0] as CompiledRates;
  for (const tier of price.tiers) if (inputTokens > tier.above) chosen = tier;
  return chosen;
}

/** What `usage` costs at `price`: the sum of tokens × rate, rounded up once, plus the fee for the request. */
export function costOf(price: Price, usage: TokenUsage): NanoUsd {
  const rates = ratesFor(price, usage.inputTokens);
  const cacheRead = usage.cacheReadTokens ?? 0;
  const cacheWrite = usage.cacheWriteTokens ?? 0;
  const reasoning = usage.reasoningTokens ?? 0;
  const sum =
    BigInt(usage.inputTokens - cacheRead - cacheWrite) * rates.input +
    BigInt(cacheRead) * rates.cacheRead +
    BigInt(cacheWrite) * rates.cacheWrite +
    BigInt(usage.outputTokens - reasoning) * rates.output +
    BigInt(reasoning) * rates.reasoning;
  return divideUp(sum, TOKENS_PER_RATE) + price.request;
}

/**
 * The most that a call can cost: every input token at the dearest input rate, every output token at the dearest
 * output rate, over all the tiers that `inputTokens` or fewer can reach, once per choice for the output.
 */
export function worstCaseCost(price: Price, inputTokens: number, outputTokens: number, choices = 1): NanoUsd {
  let dearest = 0n;
  for (const tier of price.tiers) {
    if (tier.above >= inputTokens && tier.above >= 0) continue;
    const input = maxOf(maxOf(tier.input, tier.cacheRead), tier.cacheWrite);
    const output = maxOf(tier.output, tier.reasoning);
    const cost = BigInt(inputTokens) * input + BigInt(outputTokens) * BigInt(choices) * output;
    dearest = maxOf(dearest, cost);
  }
  return divideUp(dearest, TOKENS_PER_RATE) + price.request;
}

/** The largest output limit whose worst case is at most `budget`, or -1 when not even no output fits. */
export function outputThatFits(price: Price, inputTokens: number, budget: NanoUsd, choices = 1): number {
  const left = (budget - worstCaseCost(price, inputTokens, 0, choices)) * TOKENS_PER_RATE;
  if (left < 0n) return -1;
  let rate = 0n;
  for (const tier of price.tiers) {
    if (tier.above >= inputTokens && tier.above >= 0) continue;
    rate = maxOf(rate, maxOf(tier.output, tier.reasoning));
  }
  if (rate === 0n) return Number.MAX_SAFE_INTEGER;
  const fits = left / (rate * BigInt(choices));
  return fits > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(fits);
}
