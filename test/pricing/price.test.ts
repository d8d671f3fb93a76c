import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { catalogueIds, catalogueRow } from '../../src/pricing/catalogue.ts';
import {
  compilePrice,
  costOf,
  outputThatFits,
  worstCaseCost,
  type PriceRow,
  type TokenRates,
} from '../../src/pricing/price.ts';
import type { TokenUsage } from '../../src/usage.ts';

/** A rate as a fraction, read digit by digit: nothing in common with the code under test. */
function fraction(text: string): { over: bigint; under: bigint } {
  const [whole = '0', places = ''] = text.split('.');
  let over = 0n;
  for (const digit of whole + places) over = over * 10n + BigInt(digit.charCodeAt(0) - 48);
  return { over, under: 10n ** BigInt(places.length) };
}

/**
 * Sum of tokens x rate / 1 000 000 in exact fractions of a dollar, to nano-dollars, rounded up at the end.
 */
function recomputed(row: PriceRow, usage: TokenUsage): bigint {
  let rates: TokenRates = row;
  for (const tier of row.tiers ?? []) if (usage.inputTokens > tier.above) rates = tier;
  const { cacheReadTokens: read = 0, cacheWriteTokens: write = 0, reasoningTokens: thought = 0 } = usage;
  const parts: [number, string][] = [
    [usage.inputTokens - read - write, rates.input],
    [read, rates.cacheRead ?? rates.input],
    [write, rates.cacheWrite ?? rates.input],
    [usage.outputTokens - thought, rates.output],
    [thought, rates.reasoning ?? rates.output],
  ];
  let over = 0n;
  let under = 1n;
  for (const [tokens, text] of parts) {
    const rate = fraction(text);
    over = over * rate.under + BigInt(tokens) * rate.over * under;
    under *= rate.under;
  }
  const nano = over * 1000n;
  const request = fraction(row.request ?? '0');
  return nano / under + (nano % under === 0n ? 0n : 1n) + (request.over * 10n ** 9n) / request.under;
}

const allRows = [...catalogueIds()].flatMap(([provider, ids]) =>
  ids.map((id) => [`${provider} ${id}`, catalogueRow(provider, id) as PriceRow] as const),
);

/** `recomputed` knows no times of the day; `truth.test.ts` does. */
const untimedRows = allRows.filter(([, { overrides }]) => overrides === undefined);

const USAGES: TokenUsage[] = [
  { inputTokens: 1, outputTokens: 0 },
  { inputTokens: 0, outputTokens: 1 },
  { inputTokens: 12_345, outputTokens: 678 },
  { inputTokens: 100_000, outputTokens: 9_999, cacheReadTokens: 33_333, cacheWriteTokens: 44_444 },
  { inputTokens: 200_000, outputTokens: 1, reasoningTokens: 1 },
  { inputTokens: 200_001, outputTokens: 4_097, cacheReadTokens: 7, reasoningTokens: 96 },
  { inputTokens: 272_001, outputTokens: 128_000, cacheWriteTokens: 272_001 },
];

const usages = fc
  .tuple(fc.nat(2_000_000), fc.nat(200_000), fc.double({ min: 0, max: 1, noNaN: true }), fc.nat(100))
  .map(([inputTokens, outputTokens, share, thought]): TokenUsage => {
    const cacheReadTokens = Math.floor(inputTokens * share);
    const cacheWriteTokens = Math.floor((inputTokens - cacheReadTokens) / 3);
    const reasoningTokens = Math.floor((outputTokens * thought) / 100);
    return { inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens, reasoningTokens };
  });

describe('every row of the catalogue', () => {
  it('has rows', () => {
    expect(allRows.length).toBeGreaterThan(800);
  });

  it.each(untimedRows)('%s', (_name, row) => {
    const price = compilePrice(row);
    for (const usage of USAGES) {
      expect(costOf(price, usage)).toBe(recomputed(row, usage));
      expect(worstCaseCost(price, usage.inputTokens, usage.outputTokens)).toBeGreaterThanOrEqual(
        costOf(price, usage),
      );
    }
  });

  it('to the nano-dollar for any usage, and never above the worst case', () => {
    fc.assert(
      fc.property(fc.constantFrom(...untimedRows), usages, fc.nat(1000), ([, row], usage, more) => {
        const price = compilePrice(row);
        const cost = costOf(price, usage);
        expect(cost).toBe(recomputed(row, usage));
        const worst = worstCaseCost(price, usage.inputTokens + more, usage.outputTokens + more);
        expect(worst).toBeGreaterThanOrEqual(cost);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('outputThatFits', () => {
  it('is the largest limit within the budget', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...allRows),
        fc.nat(400_000),
        fc.bigInt({ min: 0n, max: 10n ** 11n }),
        fc.integer({ min: 1, max: 4 }),
        ([, row], input, budget, choices) => {
          const price = compilePrice(row);
          const fits = outputThatFits(price, input, budget, choices);
          if (fits === Number.MAX_SAFE_INTEGER) return;
          if (fits >= 0) expect(worstCaseCost(price, input, fits, choices)).toBeLessThanOrEqual(budget);
          // each part is rounded up by itself, so that one token fewer than the very most may be given
          expect(worstCaseCost(price, input, fits + 2, choices)).toBeGreaterThan(budget);
        },
      ),
      { numRuns: 1000 },
    );
  });
});

describe('compilePrice', () => {
  const row = { model: 'm', source: 'override', version: '1', input: '1', output: '2' };

  it.each([
    ['input', { ...row, input: '-1' }],
    ['input', { ...row, input: 'NaN' }],
    ['input', { ...row, input: '' }],
    ['output', { ...row, output: 'Infinity' }],
    ['output', { ...row, output: '0.0000000001' }],
    ['cacheRead', { ...row, cacheRead: '-0.1' }],
    ['reasoning', { ...row, tiers: [{ above: 1, input: '1', output: '2', reasoning: 'x' }] }],
    ['request', { ...row, request: '-1' }],
  ])('refuses a bad %s', (field, bad) => {
    expect(() => compilePrice(bad)).toThrow(new RegExp(`price of m: ${field}`));
  });

  it('takes a tier strictly above its threshold, for the whole call', () => {
    const price = compilePrice({ ...row, tiers: [{ above: 200_000, input: '10', output: '20' }] });
    expect(costOf(price, { inputTokens: 200_000, outputTokens: 0 })).toBe(200_000_000n);
    expect(costOf(price, { inputTokens: 200_001, outputTokens: 0 })).toBe(2_000_010_000n);
    expect(worstCaseCost(price, 200_000, 0)).toBe(200_000_000n);
    expect(worstCaseCost(price, 200_001, 0)).toBe(2_000_010_000n);
  });
});

describe('overrides', () => {
  const row = { model: 'm', source: 'openrouter', version: '1', input: '1', output: '10', cacheRead: '0.1' };
  const at = (text: string): { at: number[] } => ({ at: [Date.parse(text)] });
  const usage = (inputTokens: number): TokenUsage => ({
    inputTokens,
    outputTokens: 1_000_000,
    cacheReadTokens: 1000,
  });

  it('replace rates key by key, the later over the earlier, strictly above the threshold', () => {
    const price = compilePrice({
      ...row,
      overrides: [
        { above: 1000, input: '2', output: '20' },
        { above: 100_000, input: '3' },
      ],
    });
    const cost = (tokens: number): bigint => costOf(price, usage(tokens));
    expect(cost(1000)).toBe(100_000n + 10_000_000_000n);
    expect(cost(1001)).toBe(100_000n + 2000n + 20_000_000_000n);
    expect(cost(100_000)).toBe(100_000n + 99_000n * 2000n + 20_000_000_000n);
    expect(cost(100_001)).toBe(100_000n + 99_001n * 3000n + 20_000_000_000n);
    expect(worstCaseCost(price, 1000, 1)).toBe(1_010_000n);
    expect(worstCaseCost(price, 1001, 1)).toBe(2_022_000n);
  });

  it('hold from the first minute to before the last, on their days, also past midnight', () => {
    const price = compilePrice({
      ...row,
      overrides: [
        { between: [22 * 60, 2 * 60 + 30], output: '20' },
        { between: [60, 240], days: [6, 0], output: '40' },
        { days: [3], above: 5000, output: '80' },
      ],
    });
    const dollars = (text: string, tokens = 1000): bigint =>
      (costOf(price, { inputTokens: tokens, outputTokens: 1_000_000 }, at(text)) - BigInt(tokens) * 1000n) /
      1_000_000_000n;
    // 24 November 2026 is a Tuesday
    expect(dollars('2026-11-24T21:59:59.999Z')).toBe(10n);
    expect(dollars('2026-11-24T22:00:00Z')).toBe(20n);
    expect(dollars('2026-11-27T02:29:59Z')).toBe(20n);
    expect(dollars('2026-11-27T02:30:00Z')).toBe(10n);
    expect(dollars('2026-11-28T02:29:00Z')).toBe(40n);
    expect(dollars('2026-11-29T03:59:59Z')).toBe(40n);
    expect(dollars('2026-11-29T04:00:00Z')).toBe(10n);
    expect(dollars('2026-11-25T12:00:00Z')).toBe(10n);
    expect(dollars('2026-11-25T12:00:00Z', 5001)).toBe(80n);
    expect(dollars('1969-12-31T23:00:00Z')).toBe(20n);
  });

  it('are bounded by the dearest time, and settled by the dearer of begin and end', () => {
    const price = compilePrice({ ...row, overrides: [{ between: [60, 120], output: '20' }] });
    expect(worstCaseCost(price, 0, 1_000_000)).toBe(20_000_000_000n);
    const spoken = { inputTokens: 0, outputTokens: 1_000_000 };
    const [before, within] = [Date.parse('2026-11-24T00:59:00Z'), Date.parse('2026-11-24T01:00:00Z')];
    expect(costOf(price, spoken, { at: [before, before + 1000] })).toBe(10_000_000_000n);
    expect(costOf(price, spoken, { at: [before, within] })).toBe(20_000_000_000n);
    expect(costOf(price, spoken)).toBe(20_000_000_000n);
    expect(outputThatFits(price, 0, 10_000_000_000n)).toBe(500_000);
  });
});

describe('rates that not every call needs', () => {
  const row = { model: 'm', source: 'openrouter', version: '1', input: '1', output: '10' };

  it('are in the bound of the calls that ask for them', () => {
    const price = compilePrice({
      ...row,
      cacheWriteHour: '2',
      inputAudio: '7',
      inputImage: '5',
      image: '0.5',
      request: '0.25',
    });
    expect(worstCaseCost(price, 1_000_000, 0)).toBe(1_250_000_000n);
    expect(worstCaseCost(price, 1_000_000, 0, 1, { hourCache: true })).toBe(2_250_000_000n);
    expect(worstCaseCost(price, 1_000_000, 0, 1, { audio: true })).toBe(7_250_000_000n);
    expect(worstCaseCost(price, 1_000_000, 0, 1, { images: 3 })).toBe(6_750_000_000n);
    expect(price.cacheWriteHour).toBe(2_000_000_000n);
  });

  it('are what they refine where the row does not say', () => {
    const price = compilePrice({ ...row, cacheWrite: '3', cacheRead: '0.5' });
    const million = (part: keyof TokenUsage, more: Partial<TokenUsage> = {}): bigint =>
      costOf(price, { inputTokens: 1_000_000, outputTokens: 0, ...more, [part]: 1_000_000 });
    expect(price.cacheWriteHour).toBeUndefined();
    expect(million('cacheWriteHourTokens', { cacheWriteTokens: 1_000_000 })).toBe(3_000_000_000n);
    expect(million('inputAudioTokens')).toBe(1_000_000_000n);
    expect(million('cacheReadAudioTokens', { cacheReadTokens: 1_000_000 })).toBe(500_000_000n);
    const spoken = {
      inputTokens: 0,
      outputTokens: 1_000_000,
      outputAudioTokens: 500_000,
      outputImageTokens: 500_000,
    };
    expect(costOf(price, spoken)).toBe(10_000_000_000n);
    expect(costOf(compilePrice({ ...row, outputAudio: '64', outputImage: '30' }), spoken)).toBe(
      47_000_000_000n,
    );
  });
});
