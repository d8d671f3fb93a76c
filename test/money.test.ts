import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  divideUp,
  formatUsd,
  nanoUsdFromCents,
  nanoUsdFromUsd,
  reportedCost,
  scaleExactly,
  usdText,
} from '../src/money.ts';

describe('exact conversion', () => {
  it.each([
    [0, 0n],
    [5000, 50_000_000_000n],
    [0.1, 1_000_000n],
    ['0.0000001', 1n],
    [1e-7, 1n],
    ['1e2', 1_000_000_000n],
    [' 3 ', 30_000_000n],
    [-1, -10_000_000n],
    [20_000n, 200_000_000_000n],
  ])('%s cents', (cents, nano) => {
    expect(nanoUsdFromCents(cents)).toBe(nano);
  });

  it.each([
    Number.NaN,
    Infinity,
    '',
    ' ',
    'abc',
    '1,000',
    '1.',
    '.5',
    '0x10',
    '1e-9',
    '0.00000001',
    '1e999',
    '--1',
  ])('refuses %s', (cents) => {
    expect(() => nanoUsdFromCents(cents)).toThrow(RangeError);
  });

  it('reads a number by its shortest decimal form', () => {
    expect(nanoUsdFromUsd(0.1) + nanoUsdFromUsd(0.2)).toBe(nanoUsdFromUsd(0.3));
  });

  it('gives back what usdText wrote', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(10n ** 24n), max: 10n ** 24n }), (amount) => {
        expect(nanoUsdFromUsd(usdText(amount))).toBe(amount);
      }),
    );
  });

  it('scales whole numbers by powers of ten', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(10n ** 14n), max: 10n ** 14n }), fc.nat(10), (value, places) => {
        expect(scaleExactly(value, places)).toBe(value * 10n ** BigInt(places));
      }),
    );
  });
});

describe('reportedCost', () => {
  it.each([
    [0, 0n],
    ['0', 0n],
    [0.00123, 1_230_000n],
    [1e-12, 1n],
    [0.0000000014, 1n],
    [0.0000000015, 2n],
    [2, 2_000_000_000n],
    [-1, undefined],
    [Number.NaN, undefined],
    [Infinity, undefined],
    ['free', undefined],
    [null, undefined],
    [undefined, undefined],
    [{}, undefined],
    [true, undefined],
  ])('%s', (usd, nano) => {
    expect(reportedCost(usd)).toBe(nano);
  });
});

describe('text', () => {
  it.each([
    [0n, '0.00'],
    [50_000_000_000n, '50.00'],
    [12_500n, '0.0000125'],
    [-1n, '-0.000000001'],
    [1_100_000_000n, '1.10'],
  ])('%s', (amount, text) => {
    expect(usdText(amount)).toBe(text);
    expect(formatUsd(amount)).toBe(text.startsWith('-') ? `-$${text.slice(1)}` : `$${text}`);
  });

  it('divides up', () => {
    expect([divideUp(0n, 3n), divideUp(1n, 3n), divideUp(3n, 3n), divideUp(4n, 3n)]).toEqual([
      0n,
      1n,
      1n,
      2n,
    ]);
  });
});
