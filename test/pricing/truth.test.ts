/**
 * Every price of the embedded catalogue against the figures of its source, for every kind of usage, length of prompt and time
 * of day. Nothing here is shared with the code under test: rates are read from the source's own decimals, digit by
 * digit, and added up as fractions.
 */
import * as fc from 'fast-check';
import { findProvider, type ModelInfo, type ModelPrice, type TieredPrices } from '@pydantic/genai-prices';
import { describe, expect, it } from 'vitest';
import { CATALOGUE_DATE } from '../../src/pricing/catalogue-data.ts';
import { catalogueIds, catalogueRow } from '../../src/pricing/catalogue.ts';
import { compilePrice, costOf, worstCaseCost, type PriceRow } from '../../src/pricing/price.ts';
import type { TokenUsage } from '../../src/usage.ts';

interface Fraction {
  over: bigint;
  under: bigint;
}

/** A number of the source as the fraction that its decimal form says. */
function fraction(value: number): Fraction {
  const [whole = '0', places = ''] = String(value).split('.');
  let over = 0n;
  for (const digit of whole + places) over = over * 10n + BigInt(digit.charCodeAt(0) - 48);
  return { over, under: 10n ** BigInt(places.length) };
}

function plus(a: Fraction, b: Fraction): Fraction {
  return { over: a.over * b.under + b.over * a.under, under: a.under * b.under };
}

function times(count: number, a: Fraction): Fraction {
  return { over: BigInt(count) * a.over, under: a.under };
}

const NONE: Fraction = { over: 0n, under: 1n };

/** The source's price of a unit for a prompt of this length: a cliff, strictly above the threshold. */
function rateAt(price: number | TieredPrices | undefined, inputTokens: number): Fraction | undefined {
  if (price === undefined) return undefined;
  if (typeof price === 'number') return fraction(price);
  let rate = price.base;
  let above = -1;
  for (const { start, price: dearer } of price.tiers) {
    if (inputTokens > start && start > above) {
      rate = dearer;
      above = start;
    }
  }
  return fraction(rate);
}

/** What the source charges at an instant: the last of its prices whose condition holds. */
function pricesAt(model: ModelInfo, at: Date): ModelPrice {
  if (!Array.isArray(model.prices)) return model.prices;
  let found: ModelPrice = {};
  const clock = at.toISOString().slice(11, 19);
  const day = at.toISOString().slice(0, 10);
  for (const { constraint, prices } of model.prices) {
    if (constraint === undefined) found = prices;
    else if (constraint.type === 'start_date') {
      if (constraint.start_date <= day) found = prices;
    } else {
      const [from, until] = [constraint.start_time.slice(0, 8), constraint.end_time.slice(0, 8)];
      const isIn = from <= until ? clock >= from && clock < until : clock >= from || clock < until;
      if (isIn) found = prices;
    }
  }
  return found;
}

/** The vendor's prices of a model that OpenRouter resells, for the terms that the source lists with the vendor only. */
function vendorPrices(provider: string, id: string): ModelPrice {
  if (provider !== 'openrouter') return {};
  const [vendor, name] = [id.slice(0, id.indexOf('/')), id.slice(id.indexOf('/') + 1)];
  const models = findProvider({ providerId: vendor })?.models ?? [];
  const own = models.find((model) => model.id === name || model.id === name.replaceAll('.', '-'));
  return own === undefined ? {} : pricesAt(own, NOON);
}

const NOON = new Date(`${CATALOGUE_DATE}T12:00:00Z`);

/** Nano-dollars for a usage, rounded up at the end. */
function truth(prices: ModelPrice, vendors: ModelPrice, usage: TokenUsage): bigint {
  const { inputTokens, outputTokens } = usage;
  const isPassedOn = (['input_mtok', 'output_mtok'] as const).every(
    (unit) => JSON.stringify(prices[unit]) === JSON.stringify(vendors[unit]),
  );
  const rate = (unit: string): Fraction | undefined =>
    rateAt(prices[unit] ?? (isPassedOn ? vendors[unit] : undefined), inputTokens);
  const input = rateAt(prices['input_mtok'], inputTokens) as Fraction;
  // embeddings have no output
  const output = rateAt(prices['output_mtok'], inputTokens) ?? NONE;
  const cacheRead = rateAt(prices['cache_read_mtok'], inputTokens) ?? input;
  let cacheWrite = rateAt(prices['cache_write_mtok'], inputTokens) ?? input;
  // a write rate below the input rate is for storage alone
  if (cacheWrite.over * input.under < input.over * cacheWrite.under) cacheWrite = plus(cacheWrite, input);
  const hour = rate('cache_write_1h_mtok') ?? times(2, input);
  const audio = rate('input_audio_mtok') ?? input;
  const n = (part: keyof TokenUsage): number => usage[part] ?? 0;
  const uncached =
    inputTokens -
    n('cacheReadTokens') -
    n('cacheWriteTokens') -
    n('inputAudioTokens') -
    n('inputImageTokens');
  let sum = times(uncached, input);
  sum = plus(sum, times(n('cacheReadTokens') - n('cacheReadAudioTokens'), cacheRead));
  if (n('cacheReadAudioTokens') > 0)
    sum = plus(sum, times(n('cacheReadAudioTokens'), rate('cache_audio_read_mtok') ?? NONE));
  sum = plus(sum, times(n('cacheWriteTokens') - n('cacheWriteHourTokens'), cacheWrite));
  sum = plus(sum, times(n('cacheWriteHourTokens'), hour));
  sum = plus(sum, times(n('inputAudioTokens'), audio));
  sum = plus(sum, times(n('inputImageTokens'), rate('input_image_mtok') ?? input));
  sum = plus(sum, times(outputTokens - n('reasoningTokens') - n('outputImageTokens'), output));
  sum = plus(sum, times(n('outputImageTokens'), rateAt(prices['output_image_mtok'], inputTokens) ?? output));
  sum = plus(
    sum,
    times(n('reasoningTokens'), rateAt(prices['output_reasoning_mtok'], inputTokens) ?? output),
  );
  // tokens x USD per million, and requests at USD per thousand, in nano-dollars
  const requests = prices['requests_kcount'];
  const fee = typeof requests === 'number' ? times(1_000_000, fraction(requests)) : NONE;
  const nano = plus(times(1000, sum), fee);
  return (nano.over + nano.under - 1n) / nano.under;
}

/** Each kind by itself, and mixes, on both sides of every threshold in the source. */
const KINDS: Record<string, (tokens: number) => TokenUsage> = {
  input: (tokens) => ({ inputTokens: tokens, outputTokens: 0 }),
  output: (tokens) => ({ inputTokens: 1, outputTokens: tokens }),
  'cache read': (tokens) => ({ inputTokens: tokens, outputTokens: 0, cacheReadTokens: tokens }),
  'cache write': (tokens) => ({ inputTokens: tokens, outputTokens: 0, cacheWriteTokens: tokens }),
  'one-hour cache write': (tokens) => ({
    inputTokens: tokens,
    outputTokens: 0,
    cacheWriteTokens: tokens,
    cacheWriteHourTokens: tokens,
  }),
  reasoning: (tokens) => ({ inputTokens: 7, outputTokens: tokens, reasoningTokens: tokens }),
  'sound in': (tokens) => ({ inputTokens: tokens, outputTokens: 0, inputAudioTokens: tokens }),
  'pictures in': (tokens) => ({ inputTokens: tokens, outputTokens: 0, inputImageTokens: tokens }),
  'pictures out': (tokens) => ({ inputTokens: 7, outputTokens: tokens + 3, outputImageTokens: tokens }),
  mixed: (tokens) => ({
    inputTokens: tokens + 11,
    outputTokens: 4097,
    cacheReadTokens: Math.floor(tokens / 3),
    cacheWriteTokens: Math.floor(tokens / 5),
    cacheWriteHourTokens: Math.floor(tokens / 7),
    inputAudioTokens: Math.floor(tokens / 9),
    inputImageTokens: Math.floor(tokens / 11),
    reasoningTokens: 96,
    outputImageTokens: 1000,
  }),
};

const LENGTHS = [1, 3, 999, 12_345, 128_000, 128_001, 200_000, 200_001, 272_000, 272_001, 1_000_003];

/** Minutes on both sides of every time in the source, and some between. */
const INSTANTS = [
  '00:29:59',
  '00:30:00',
  '01:00:00',
  '03:59:59',
  '04:00:00',
  '09:59:59',
  '10:00:00',
  '16:30:00',
];

interface Listed {
  provider: string;
  id: string;
  row: PriceRow;
  model: ModelInfo;
}

const LISTED: Listed[] = [...catalogueIds()].flatMap(([provider, ids]) => {
  const models = new Map(findProvider({ providerId: provider })?.models.map((model) => [model.id, model]));
  return ids.map((id) => ({
    provider,
    id,
    row: catalogueRow(provider, id) as PriceRow,
    model: models.get(id) as ModelInfo,
  }));
});

/** The one kind of rate of the source that has no nine decimal places: a twelfth of a dollar, which we round up. */
function isRounded({ model }: Listed): boolean {
  const prices = Array.isArray(model.prices) ? {} : model.prices;
  return typeof prices['cache_write_mtok'] === 'number' && String(prices['cache_write_mtok']).length > 11;
}

/** Answers of models that draw don't tell what came from a cache, so that all of a prompt is charged as new. */
function charged(id: string, prices: ModelPrice): ModelPrice {
  if (!id.startsWith('gpt-image-')) return prices;
  return Object.fromEntries(Object.entries(prices).filter(([unit]) => !unit.startsWith('cache_')));
}

function check(listed: Listed, usage: TokenUsage, at: Date): void {
  const { provider, id, row, model } = listed;
  const ours = costOf(compilePrice(row), usage, { at: [at.getTime()] });
  const expected = truth(charged(id, pricesAt(model, at)), vendorPrices(provider, id), usage);
  const what = `${provider} ${id} ${at.toISOString()} ${JSON.stringify(usage)}`;
  if (!isRounded(listed)) return expect(ours, what).toBe(expected);
  // less than a nano-dollar for a million tokens, and never less than the truth
  expect(ours - expected, what).toBeGreaterThanOrEqual(0n);
  expect(ours - expected, what).toBeLessThanOrEqual(2n);
}

describe('every model of the catalogue costs what its source says', () => {
  it('covers the catalogue', () => {
    expect(LISTED.length).toBeGreaterThan(850);
    expect(LISTED.filter(({ model }) => model === undefined)).toEqual([]);
    expect(LISTED.filter(isRounded).map(({ id }) => id)).toEqual([
      'google/gemini-2.5-flash-lite',
      'google/gemini-3-flash-preview',
      'google/gemini-3.1-flash-lite',
      'google/gemini-3.5-flash',
    ]);
    const kinds = new Set(LISTED.flatMap(({ row }) => Object.keys(row)));
    for (const kind of ['cacheWriteHour', 'inputAudio', 'cacheReadAudio', 'request', 'tiers', 'overrides'])
      expect(kinds, kind).toContain(kind);
    const embeddings = LISTED.filter(({ id }) => /embed|voyage/.test(id));
    expect(new Set(embeddings.map(({ provider }) => provider))).toEqual(
      new Set(['openai', 'azure', 'google', 'aws', 'mistral', 'cohere', 'voyageai']),
    );
    const drawing = LISTED.filter(({ id }) => id.startsWith('gpt-image-'));
    expect(drawing.map(({ id, row }) => [id, row.output, row.outputImage, row.inputImage])).toEqual([
      ['gpt-image-1', '40', undefined, '10'],
      ['gpt-image-1-mini', '8', undefined, '2.5'],
      ['gpt-image-1.5', '10', '32', '8'],
    ]);
  });

  it.each(Object.entries(KINDS))('%s, to the nano-dollar', (_kind, usageOf) => {
    for (const listed of LISTED) {
      for (const length of LENGTHS) check(listed, usageOf(length), NOON);
    }
  });

  it('sound from the cache, where the source has a rate for it', () => {
    const withRate = LISTED.filter(({ row }) => row.cacheReadAudio !== undefined);
    expect(withRate.length).toBeGreaterThan(3);
    for (const listed of withRate) {
      for (const length of LENGTHS) {
        check(
          listed,
          { inputTokens: length, outputTokens: 1, cacheReadTokens: length, cacheReadAudioTokens: length },
          NOON,
        );
      }
    }
  });

  it('at every time of the day', () => {
    const timed = LISTED.filter(({ row }) => row.overrides !== undefined);
    expect(timed.map(({ id }) => id)).toEqual([
      'deepseek-chat',
      'deepseek-reasoner',
      'deepseek-v4-flash',
      'deepseek-v4-pro',
    ]);
    for (const listed of timed) {
      const costs = new Set<bigint>();
      for (const clock of INSTANTS) {
        const at = new Date(`${CATALOGUE_DATE}T${clock}Z`);
        for (const usageOf of Object.values(KINDS)) check(listed, usageOf(12_345), at);
        costs.add(costOf(compilePrice(listed.row), KINDS['mixed']!(1000), { at: [at.getTime()] }));
      }
      expect(costs.size, listed.id).toBe(2);
    }
  });

  it('for any usage at any time, and never above the worst case', () => {
    const usages = fc
      .tuple(fc.nat(2_000_000), fc.nat(200_000), fc.array(fc.nat(100), { minLength: 6, maxLength: 6 }))
      .map(([inputTokens, outputTokens, shares]): TokenUsage => {
        const part = (of: number, index: number): number => Math.floor((of * (shares[index] ?? 0)) / 450);
        return {
          inputTokens,
          outputTokens,
          cacheReadTokens: part(inputTokens, 0),
          cacheWriteTokens: part(inputTokens, 1),
          cacheWriteHourTokens: Math.floor(part(inputTokens, 1) / 2),
          inputAudioTokens: part(inputTokens, 2),
          inputImageTokens: part(inputTokens, 3),
          reasoningTokens: part(outputTokens, 4),
          outputImageTokens: part(outputTokens, 5),
        };
      });
    const minutes = fc
      .nat(24 * 60 - 1)
      .map((minute) => new Date(Date.parse(`${CATALOGUE_DATE}T00:00:00Z`) + minute * 60_000));
    fc.assert(
      fc.property(fc.constantFrom(...LISTED), usages, minutes, fc.nat(1000), (listed, usage, at, more) => {
        check(listed, usage, at);
        const price = compilePrice(listed.row);
        const worst = worstCaseCost(price, usage.inputTokens + more, usage.outputTokens + more, 1, {
          hourCache: true,
          audio: true,
          images: 1,
        });
        expect(worst).toBeGreaterThanOrEqual(costOf(price, usage, { images: 1 }));
        expect(costOf(price, usage)).toBeGreaterThanOrEqual(costOf(price, usage, { at: [at.getTime()] }));
      }),
      { numRuns: 3000 },
    );
  });
});
