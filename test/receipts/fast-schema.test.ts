/** The quick answer on a payload is that of its schema. */
import fc from 'fast-check';
import * as v from 'valibot';
import { describe, expect, it } from 'vitest';
import { compileSchema } from '../../src/receipts/fast-schema.ts';
import { checkPayload, PAYLOADS, type ReceiptType } from '../../src/receipts/payloads.ts';
import { buildCorpus } from './corpus/index.ts';
import { linesOf, open, type Members } from './log-kit.ts';

const corpus = (await buildCorpus()).filter(
  ({ group, bytes }) => group === 'honest' && bytes.length < 100_000,
);
const payloads = corpus.flatMap(({ bytes }) => linesOf(bytes).map((line) => open(line).payload));

function expectSame(payload: unknown): boolean {
  const type = (payload as Members)['type'] as ReceiptType;
  if (!Object.hasOwn(PAYLOADS, type)) return false;
  const { success } = v.safeParse(PAYLOADS[type], payload);
  expect({ fits: compileSchema(PAYLOADS[type])(payload), payload }).toEqual({ fits: success, payload });
  expect('payload' in checkPayload(payload)).toBe(success);
  return success;
}

/** Every place in a payload, as the path to it. */
function placesIn(value: unknown, path: readonly (string | number)[] = []): (readonly (string | number)[])[] {
  if (typeof value !== 'object' || value === null) return [path];
  const below = Object.entries(value).flatMap(([key, member]) =>
    placesIn(member, [...path, Array.isArray(value) ? Number(key) : key]),
  );
  return [path, ...below];
}

function changed(
  value: unknown,
  [key, ...rest]: readonly (string | number)[],
  change: (value: unknown) => unknown,
): unknown {
  if (key === undefined) return change(value);
  const copy = (Array.isArray(value) ? [...(value as unknown[])] : { ...(value as Members) }) as Members;
  const member = changed(copy[key], rest, change);
  if (member === undefined && Array.isArray(copy)) copy.splice(Number(key), 1);
  else if (member === undefined) delete copy[key];
  else copy[key] = member;
  return copy;
}

const ODD: readonly unknown[] = [
  undefined,
  null,
  true,
  false,
  0,
  -1,
  1,
  1.5,
  2 ** 53,
  '',
  'x',
  '0',
  '01',
  '-1',
  [],
  {},
  [[]],
  ['x'],
  [0, 0],
  'x'.repeat(513),
  '9'.repeat(32),
  `sha256:${'0'.repeat(64)}`,
  'A'.repeat(22),
  'A'.repeat(43),
  'A'.repeat(44),
  '2026-02-29T00:00:00.000Z',
  '2024-02-29T00:00:00.000Z',
  '2026-04-31T23:59:59.999Z',
  '2026-12-31T24:00:00.000Z',
  '2026-13-01T00:00:00.000Z',
  '2000-02-29T00:00:00.000Z',
  '1900-02-29T00:00:00.000Z',
  'USD',
  'allow',
  9,
];

describe('the quick check', () => {
  it('takes what is right', () => {
    expect(payloads.length).toBeGreaterThan(80);
    for (const payload of payloads) expect(expectSame(payload)).toBe(true);
    expect(new Set(payloads.map(({ type }) => type)).size).toBeGreaterThan(7);
  });

  it('comes to the schema’s answer on everything that is changed', () => {
    let refused = 0;
    const byType = Object.values(Object.groupBy(payloads, ({ type }) => String(type))).flatMap(
      (list) => list?.slice(0, 2) ?? [],
    );
    for (const payload of byType) {
      for (const path of placesIn(payload)) {
        if (path.length === 0) continue;
        for (const odd of ODD) if (!expectSame(changed(payload, path, () => odd))) refused += 1;
        const more = (value: unknown): unknown =>
          Array.isArray(value)
            ? [...(value as unknown[]), 1]
            : typeof value === 'object'
              ? { ...value, zzz: 1 }
              : `${JSON.stringify(value)} `;
        if (!expectSame(changed(payload, path, more))) refused += 1;
      }
    }
    expect(refused).toBeGreaterThan(1000);
  });

  it('and on payloads that were shuffled at random', () => {
    const property = fc.property(
      fc.constantFrom(...payloads),
      fc.constantFrom(...payloads),
      fc.nat(30),
      (one, two, pick) => {
        const names = Object.keys(two);
        const name = names[pick % names.length] as string;
        expectSame({ ...one, [name]: two[name] });
        const { [name]: gone, ...rest } = one;
        expectSame({ ...rest, ...(pick % 2 === 0 && { extra: gone }) });
      },
    );
    fc.assert(property, { numRuns: 1500 });
  });

  it('knows dates as the calendar does', () => {
    const instant = { ...payloads[0] };
    const property = fc.property(
      fc.integer({ min: 0, max: 9999 }),
      fc.nat(14),
      fc.nat(33),
      fc.nat(25),
      (year, month, day, hour) => {
        const two = (value: number): string => String(value).padStart(2, '0');
        const text = `${String(year).padStart(4, '0')}-${two(month)}-${two(day)}T${two(hour)}:00:00.000Z`;
        const time = Date.parse(text);
        const isReal = Number.isFinite(time) && new Date(time).toISOString() === text;
        expect({ text, fits: 'payload' in checkPayload({ ...instant, issued_at: text }) }).toEqual({
          text,
          fits: isReal,
        });
      },
    );
    fc.assert(property, { numRuns: 3000 });
  });
});
