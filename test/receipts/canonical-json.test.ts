/** Our RFC 8785 writer against an independent one, and what it refuses. */
import canonicalize from 'canonicalize';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalJson, strictUtf8 } from '../../src/receipts/canonical-json.ts';

const names = fc
  .string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 12 })
  .filter((name) => !/^\d+$/.test(name) && name !== '__proto__');
const values = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.string({ unit: 'grapheme' }).filter((text) => text.isWellFormed()),
    fc.maxSafeInteger().filter((number) => !Object.is(number, -0)),
    fc.boolean(),
    fc.array(tie('value')),
    fc.dictionary(names, tie('value')),
  ),
})).value;

describe('canonicalJson', () => {
  it('equals an independent implementation', () => {
    fc.assert(
      fc.property(values, (value) => {
        expect(canonicalJson(value)).toBe(canonicalize(value));
      }),
      { numRuns: 2000 },
    );
  });

  it('does not depend on the order of members, and leaves its input alone', () => {
    const value = { b: { z: 1, a: [{ d: 1, c: 2 }] }, a: 'x', left: undefined };
    const before = JSON.stringify(value);
    expect(canonicalJson(value)).toBe('{"a":"x","b":{"a":[{"c":2,"d":1}],"z":1}}');
    expect(JSON.stringify(value)).toBe(before);
  });

  it.each([
    ['a fraction', 0.5],
    ['beyond 2^53', 2 ** 53],
    ['minus zero', -0],
    ['NaN', Number.NaN],
    ['null', null],
    ['undefined in an array', [undefined]],
    ['a bigint', 1n],
    ['a lone surrogate', '\ud800'],
    ['a name outside ASCII', { ä: 1 }],
    ['a name of digits', { 10: 1 }],
    ['an empty name', { '': 1 }],
  ])('refuses %s', (_name, value) => {
    expect(() => canonicalJson({ value })).toThrow(TypeError);
  });

  it('decodes UTF-8 strictly', () => {
    expect(() => strictUtf8(Uint8Array.of(0xf0, 0x90, 0x80))).toThrow(TypeError);
    expect(strictUtf8(Uint8Array.of(0xef, 0xbb, 0xbf, 0x61))).toBe('\ufeffa');
  });
});
