/** A line that the patterns take is one that `parseLine` takes, and they read the same from it. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalJson } from '../../src/receipts/canonical-json.ts';
import { parseLine, signedBytes } from '../../src/receipts/parse-line.ts';
import { plainLine, signedPart } from '../../src/receipts/plain-line.ts';
import { entryOf } from '../../src/receipts/tally.ts';
import { buildCorpus } from './corpus/index.ts';
import { linesOf, open, type Members } from './log-kit.ts';

const encoder = new TextEncoder();
const corpus = await buildCorpus();
const logged = [...new Set(corpus.flatMap(({ bytes }) => (bytes.length < 100_000 ? linesOf(bytes) : [])))];
/** What the corpus has few of. */
const adjustments = logged
  .filter((line) => typeOf(line) === 'settlement')
  .map((line) => {
    const { payload, signature } = open(line);
    const { over_hold: _, ...rest } = payload;
    const more = { accounts: [['0123456789abcdef', 0]], change: '-5', previous: '10', type: 'adjustment' };
    return canonicalJson({ payload: { ...rest, ...more }, signature });
  });
const lines = [...logged, ...adjustments];
const PLAIN = new Set<unknown>(['decision', 'settlement', 'adjustment']);

function typeOf(line: string): unknown {
  try {
    return open(line).payload['type'];
  } catch {
    return undefined;
  }
}

/** True for a line that was taken as plain. */
function expectSame(line: string | Uint8Array): boolean {
  const bytes = typeof line === 'string' ? encoder.encode(line) : line;
  const plain = plainLine(bytes);
  if (plain === undefined) return false;
  const parsed = parseLine(bytes);
  if ('problem' in parsed) throw new Error(`${parsed.problem}: ${new TextDecoder().decode(bytes)}`);
  const { payload, signature, text } = parsed;
  const { type, durable_seq, issued_at, issuer_id, log, previousReceiptHash, seq } = payload;
  const read = {
    type,
    durable_seq,
    issued_at,
    issuer_id,
    log,
    previousReceiptHash,
    seq,
    signature,
    entry: entryOf(payload),
  };
  expect(plain).toEqual(read);
  expect(signedPart(bytes)).toEqual(signedBytes(bytes, text));
  return true;
}

/** A line of each shape: its type and the members that it has. */
const shapes = [
  ...new Map(
    lines
      .filter((line) => expectSame(line))
      .map((line) => [canonicalJson(Object.keys(open(line).payload)) + String(typeOf(line)), line] as const),
  ).values(),
];

const ODD: readonly string[] = [
  '""',
  '"é"',
  '"\\""',
  '"\\u0041"',
  '"x"',
  '-0',
  '-1',
  '1.0',
  '1e3',
  '01',
  '9007199254740993',
  '999999999999999',
  'null',
  'true',
  'false',
  '{}',
  '[]',
  '[[]]',
  '[0]',
  '["x"]',
  '{"a":1}',
  `"${'x'.repeat(512)}"`,
  `"${'x'.repeat(513)}"`,
  `"${'9'.repeat(31)}"`,
  `"${'9'.repeat(32)}"`,
  '"00"',
  '"-0"',
  '"2026-02-28T00:00:00.000Z"',
  '"2026-02-29T00:00:00.000Z"',
  '"2026-04-31T00:00:00.000Z"',
  '"2026-12-31T24:00:00.000Z"',
];

describe('plain lines', () => {
  it('are nearly all that a log has of these types', () => {
    const known = lines.filter(
      (line) => PLAIN.has(typeOf(line)) && !('problem' in parseLine(encoder.encode(line))),
    );
    expect(known.length).toBeGreaterThan(500);
    expect(known.filter((line) => expectSame(line)).length / known.length).toBeGreaterThan(0.9);
    expect(new Set(shapes.map(typeOf))).toEqual(PLAIN);
    expect(shapes.length).toBeGreaterThan(10);
  });

  it('are right in every line of the corpus, good or bad', () => {
    for (const { bytes } of corpus) {
      if (bytes.length >= 100_000) continue;
      let start = 0;
      for (let end = bytes.indexOf(0x0a); end >= 0; end = bytes.indexOf(0x0a, start)) {
        expectSame(bytes.subarray(start, end));
        start = end + 1;
      }
    }
  });

  it('are right with any byte changed, left out or put in', () => {
    for (const line of shapes.slice(0, 6)) {
      const bytes = encoder.encode(line);
      for (let at = 0; at < bytes.length; at++) {
        for (const byte of [
          0x20,
          0x22,
          0x2c,
          0x30,
          0x5c,
          0x61,
          0x7d,
          0x7f,
          0x80,
          (bytes[at] as number) ^ 1,
        ]) {
          expectSame(bytes.with(at, byte));
        }
        expectSame(Uint8Array.from([...bytes.subarray(0, at), ...bytes.subarray(at + 1)]));
        expectSame(Uint8Array.from([...bytes.subarray(0, at), 0x2c, ...bytes.subarray(at)]));
      }
    }
  });

  it('are right with any value in place of another', () => {
    let taken = 0;
    for (const line of shapes) {
      for (const value of line.matchAll(/:("[^"]*"|\d+|true|false|\[[^\]]*\]|\{[^{}]*\})/g)) {
        const start = value.index + 1;
        const end = value.index + value[0].length;
        for (const odd of ODD) if (expectSame(line.slice(0, start) + odd + line.slice(end))) taken += 1;
        // With a comma too many, and the member left out.
        expectSame(`${line.slice(0, end)},${line.slice(end)}`);
        const name = line.lastIndexOf('"', line.lastIndexOf('"', value.index - 2));
        expectSame(line.slice(0, name) + line.slice(end).replace(/^,/, ''));
        expectSame(line.slice(0, name) + line.slice(end));
      }
    }
    expect(taken).toBeGreaterThan(100);
  });

  it('are right with the members of others, in order or not', () => {
    const any = fc.constantFrom(...shapes);
    const property = fc.property(any, any, fc.nat(), fc.boolean(), (one, two, pick, isOrdered) => {
      const { payload, ...rest } = JSON.parse(one) as { payload: Members };
      const other = Object.entries(open(two).payload);
      const [name, value] = other[pick % other.length] as [string, unknown];
      const mixed = { payload: { ...payload, [name]: value }, ...rest };
      expectSame(isOrdered ? canonicalJson(mixed) : JSON.stringify(mixed));
      const { [name]: _gone, ...less } = payload;
      expectSame(canonicalJson({ payload: less, ...rest }));
    });
    fc.assert(property, { numRuns: 2000 });
  });

  it('take no time that grows faster than the line, whatever it is', () => {
    const line = shapes.find((each) => each.includes('"caps":[[')) as string;
    const many = Array.from({ length: 12_000 }, () => '[0,"0","0"]').join();
    const long = encoder.encode(line.replace(/"caps":\[.*?\]\],/, `"caps":[${many}],`).replace(/\}$/, ' '));
    expect(long.length).toBeGreaterThan(100_000);
    // Trying every way to match it would take years.
    expect(plainLine(long)).toBeUndefined();
  });
});
