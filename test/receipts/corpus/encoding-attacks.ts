/** Lines that say the same in other bytes, or other things in bytes that a lenient reader takes for the same. */
import { MAX_LINE_BYTES } from '../../../src/receipts/payloads.ts';
import { bytesOf, hashOf, open, relink } from '../log-kit.ts';
import { bad, undecidable, type CorpusCase } from './case.ts';
import { MIDDLE } from './log-attacks.ts';
import { honestLog, INSTALLATION } from './logs.ts';

const encoder = new TextEncoder();
const line = MIDDLE + 1;

/** A line around a payload's text, signed by the real key as it stands: only its form is wrong. */
function signedText(body: string): string {
  const sig = Buffer.from(INSTALLATION.sign(encoder.encode(body))).toString('hex');
  return `{"payload":${body},"signature":{"alg":"EdDSA","kid":"${INSTALLATION.kid}","sig":"${sig}"}}`;
}

/** What follows a changed line, linked to it again. */
function continued(lines: readonly string[], changed: string): string[] {
  const chain = [...lines.slice(0, MIDDLE), changed];
  return relink([...chain, ...lines.slice(line)], line, INSTALLATION);
}

type Change = [name: string, change: (body: string) => string, cause: RegExp];

const NOT_CANONICAL = /RFC 8785/;

/** Changes of a payload's text that its issuer could sign. */
const CHANGES: Change[] = [
  ['a member twice', (body) => body.replace('"scale":9', '"scale":9,"scale":9'), NOT_CANONICAL],
  [
    'a member twice, first another value',
    (body) => body.replace('"hold":', '"hold":"1","hold":'),
    NOT_CANONICAL,
  ],
  [
    'members in another order',
    (body) => body.replace(/"currency":"USD",("decision":"[a-z]+"),/, '$1,"currency":"USD",'),
    NOT_CANONICAL,
  ],
  ['a space after a colon', (body) => body.replace('"scale":9', '"scale": 9'), NOT_CANONICAL],
  ['a tab', (body) => body.replace('"scale":9', '"scale":\t9'), NOT_CANONICAL],
  ['9.0 for 9', (body) => body.replace('"scale":9', '"scale":9.0'), NOT_CANONICAL],
  ['9e0 for 9', (body) => body.replace('"scale":9', '"scale":9e0'), NOT_CANONICAL],
  ['90e-1 for 9', (body) => body.replace('"scale":9', '"scale":90e-1'), NOT_CANONICAL],
  ['a leading zero', (body) => body.replace('"scale":9', '"scale":09'), /not JSON/],
  ['a plus', (body) => body.replace('"scale":9', '"scale":+9'), /not JSON/],
  ['minus zero', (body) => body.replace('"scale":9', '"scale":-0'), /safe integers/],
  ['a fraction', (body) => body.replace('"scale":9', '"scale":9.5'), /safe integers/],
  ['a number beyond 2^53', (body) => body.replace('"scale":9', '"scale":9007199254740993'), /safe integers/],
  ['2^53 itself', (body) => body.replace('"scale":9', '"scale":9007199254740992'), /safe integers/],
  ['a number beyond all', (body) => body.replace('"scale":9', '"scale":1e999'), /safe integers/],
  ['NaN', (body) => body.replace('"scale":9', '"scale":NaN'), /not JSON/],
  ['null', (body) => body.replace('"scale":9', '"scale":null'), /null/],
  ['an amount as a number', (body) => body.replace(/"hold":"(\d+)"/, '"hold":$1'), /decision: hold/],
  ['an amount with a leading zero', (body) => body.replace(/"hold":"/, '"hold":"0'), /decision: hold/],
  ['a negative amount', (body) => body.replace(/"hold":"/, '"hold":"-'), /decision: hold/],
  [
    'an amount of 32 digits',
    (body) => body.replace(/"hold":"\d+"/, `"hold":"${'9'.repeat(32)}"`),
    /decision: hold/,
  ],
  ['a needless escape', (body) => body.replace('"acme"', String.raw`"\u0061cme"`), NOT_CANONICAL],
  ['an escaped slash', (body) => body.replace('m/model', String.raw`m\/model`), NOT_CANONICAL],
  ['an upper-case escape', (body) => body.replace('"acme"', String.raw`"\u000Acme"`), NOT_CANONICAL],
  [
    'an escaped astral character',
    (body) => body.replace('"acme"', String.raw`"\ud83d\ude00"`),
    NOT_CANONICAL,
  ],
  ['a lone surrogate', (body) => body.replace('"acme"', String.raw`"\ud800"`), /surrogate/],
  [
    'surrogates the wrong way round',
    (body) => body.replace('"acme"', String.raw`"\ude00\ud83d"`),
    /surrogate/,
  ],
  [
    '__proto__',
    (body) => body.replace('{"call"', '{"__proto__":{"admin":true},"call"'),
    /__proto__|never|RFC 8785/,
  ],
  [
    'constructor',
    (body) => body.replace('"currency"', '"constructor":{"name":"x"},"currency"'),
    /constructor/,
  ],
  [
    'a member that the type does not have',
    (body) => body.replace('"currency"', '"currenct":1,"currency"'),
    /currenct/,
  ],
  [
    'a member with an astral name',
    (body) => body.replace(/\}$/, ',"\u{1f600}":1}'),
    /may not hold the member/,
  ],
  [
    'a member with a name of digits',
    (body) => body.replace('{"call"', '{"1":1,"call"'),
    /may not hold the member/,
  ],
  ['a member without a name', (body) => body.replace('{"call"', '{"":1,"call"'), /may not hold the member/],
  [
    'an upper-case hash',
    (body) => body.replace(/sha256:[0-9a-f]{64}/, (hash) => hash.toUpperCase().replace('SHA', 'sha')),
    /digest|regex|policies|Invalid format/,
  ],
  [
    'a type that there is not',
    (body) => body.replace('"type":"decision"', '"type":"donation"'),
    /unknown receipt type/,
  ],
  [
    'a type of the prototype’s',
    (body) => body.replace('"type":"decision"', '"type":"toString"'),
    /unknown receipt type/,
  ],
  ['no type', (body) => body.replace(',"type":"decision"', ''), /unknown receipt type/],
  ['another version of the format', (body) => body.replace('"v":1', '"v":2'), /decision: v/],
  [
    'nesting without end',
    (body) => body.replace('"scale":9', `"scale":${'['.repeat(5000)}${']'.repeat(5000)}`),
    /nested deeper/,
  ],
  [
    'a line that is too long',
    (body) => body.replace('"acme"', `"${'a'.repeat(MAX_LINE_BYTES)}"`),
    /longer than/,
  ],
  ['a text that is too long', (body) => body.replace('"acme"', `"${'a'.repeat(600)}"`), /decision: scope/],
  ['a scope that is a list', (body) => body.replace(/"scope":\{[^}]*\}/, '"scope":[]'), /decision: scope/],
  [
    'a span of three',
    (body) => body.replace(/"spans":\[\[(\d+),(\d+)\]/, '"spans":[[$1,$2,0]'),
    /decision: spans/,
  ],
  ['no object at all', () => '[]', /unknown receipt type/],
];

export async function encodingAttacks(): Promise<CorpusCase[]> {
  const lines = await honestLog();
  const signed = CHANGES.map(([name, change, cause]) => {
    const body = bodyOf(lines[MIDDLE] as string);
    const changed = change(body);
    if (changed === body) throw new Error(`the change "${name}" changes nothing`);
    return bad(
      'encoding',
      `${name}, signed by the real key`,
      continued(lines, signedText(changed)),
      line,
      cause,
    );
  });
  return [...signed, ...envelopeAttacks(lines), ...byteAttacks(lines), ...(await normalisation())];
}

function bodyOf(text: string): string {
  return text.slice('{"payload":'.length, text.lastIndexOf(',"signature":'));
}

/** Changes outside of what is signed. */
function envelopeAttacks(lines: readonly string[]): CorpusCase[] {
  const middle = lines[MIDDLE] as string;
  const envelope = (name: string, changed: string, cause: RegExp): CorpusCase => {
    if (changed === middle) throw new Error(`the change "${name}" changes nothing`);
    return bad('encoding', name, continued(lines, changed), line, cause);
  };
  const { payload, signature } = open(middle);
  return [
    envelope('an unsigned member beside the payload', middle.replace(/\}$/, ',"zzz":1}'), /no others/),
    envelope('an unsigned member before the payload', middle.replace(/^\{/, '{"note":1,'), /no others/),
    envelope(
      'an unsigned member in the signature',
      middle.replace('"kid"', '"iat":1,"kid"'),
      /expected a signature/,
    ),
    envelope(
      'the signature first',
      middle.replace(/^\{"payload":(.*),"signature":(\{.*\})\}$/, '{"signature":$2,"payload":$1}'),
      NOT_CANONICAL,
    ),
    envelope(
      'pretty-printed on one line',
      JSON.stringify({ payload, signature }, undefined, 1).replaceAll('\n', ''),
      NOT_CANONICAL,
    ),
    envelope(
      'an upper-case signature',
      middle.replace(/"sig":"([0-9a-f]+)"/, (_, sig: string) => `"sig":"${sig.toUpperCase()}"`),
      /signature does not fit/,
    ),
    envelope('alg none', middle.replace('"alg":"EdDSA"', '"alg":"none"'), /EdDSA/),
    envelope('alg Ed25519', middle.replace('"alg":"EdDSA"', '"alg":"Ed25519"'), /EdDSA/),
    envelope('no signature', `{"payload":${bodyOf(middle)}}`, /no others/),
    envelope(
      'a signature that is text',
      `{"payload":${bodyOf(middle)},"signature":"x"}`,
      /expected a signature/,
    ),
    envelope(
      'another kid than the issuer',
      middle.replace(/"kid":"[^"]+"/, `"kid":"${INSTALLATION.kid}"`),
      /signature.kid is not issuer_id/,
    ),
    envelope('a list', `[${middle}]`, /no others/),
    envelope('two receipts on a line', `${middle}${middle}`, /not JSON/),
    envelope('a trailing comma', middle.replace(/\}$/, ',}'), /not JSON/),
    envelope('a comment', `${middle}//`, /not JSON/),
  ];
}

/** Changes of the bytes around and between lines. */
function byteAttacks(lines: readonly string[]): CorpusCase[] {
  const bytes = bytesOf(lines);
  const middle = lines[MIDDLE] as string;
  const before = bytesOf(lines.slice(0, MIDDLE)).length;
  const at = before + middle.indexOf('acme') + 1;
  const replaced = (...garbage: number[]): Uint8Array =>
    Uint8Array.from([...bytes.slice(0, at), ...garbage, ...bytes.slice(at + garbage.length)]);
  const withText = (changed: string): string[] => lines.with(MIDDLE, changed);
  const torn = encoder.encode(`${lines.slice(0, MIDDLE).join('\n')}\n${middle.slice(0, 200)}`);
  return [
    bad('encoding', 'CRLF', withText(`${middle}\r`), line, NOT_CANONICAL),
    bad(
      'encoding',
      'CRLF everywhere',
      lines.map((text) => `${text}\r`),
      1,
      NOT_CANONICAL,
    ),
    bad('encoding', 'a blank line', lines.toSpliced(MIDDLE, 0, ''), line, /not JSON/),
    bad('encoding', 'a blank line at the end', [...lines, ''], lines.length + 1, /not JSON/),
    bad('encoding', 'a line of spaces', lines.toSpliced(MIDDLE, 0, '   '), line, /not JSON/),
    bad('encoding', 'a byte order mark', withBom(bytes), 1, /not JSON/),
    bad('encoding', 'a space before a line', withText(` ${middle}`), line, NOT_CANONICAL),
    bad('encoding', 'a zero byte behind a line', withText(`${middle}\u0000`), line, /not JSON/),
    bad(
      'encoding',
      'pretty-printed over lines',
      withText(JSON.stringify(open(middle), undefined, 2)),
      line,
      /not JSON/,
    ),
    bad(
      'encoding',
      'UTF-16',
      Uint8Array.from(Buffer.from(`${lines.join('\n')}\n`, 'utf16le')),
      1,
      /not JSON|UTF-8/,
    ),
    bad('encoding', 'a torn line with its newline', withText(middle.slice(0, 200)), line, /not JSON/),
    undecidable('encoding', 'a torn last line', torn, line, /the last line has no end/),
    undecidable(
      'encoding',
      'the last newline missing',
      bytes.slice(0, -1),
      lines.length,
      /the last line has no end/,
    ),
    bad(
      'encoding',
      'an end that is longer than any line',
      Uint8Array.from([...bytes, ...encoder.encode('x'.repeat(MAX_LINE_BYTES + 1))]),
      lines.length + 1,
      /longer than/,
    ),
    ...invalidUtf8(replaced),
    bad('encoding', 'a gzip file', Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0x0a), 1, /UTF-8|JSON/),
  ];
}

function withBom(bytes: Uint8Array): Uint8Array {
  return Uint8Array.from([0xef, 0xbb, 0xbf, ...bytes]);
}

/** Bytes that a lenient decoder turns into the same replacement characters. */
function invalidUtf8(replaced: (...garbage: number[]) => Uint8Array): CorpusCase[] {
  const GARBAGE: Readonly<Record<string, number[]>> = {
    'a cut sequence of four bytes': [0xf0, 0x90, 0x80],
    'a byte that never is': [0xff],
    'a lone continuation': [0x80],
    'an encoded surrogate': [0xed, 0xa0, 0x80],
    'an overlong slash': [0xc0, 0xaf],
    'a code point beyond Unicode': [0xf4, 0x90, 0x80],
  };
  return Object.entries(GARBAGE).map(([name, garbage]) =>
    bad('encoding', `invalid UTF-8: ${name}`, replaced(...garbage), line, /not valid UTF-8/),
  );
}

/** The same text to the eye, in other code points. */
async function normalisation(): Promise<CorpusCase[]> {
  const lines = await honestLog({ log: 13, guard: { scope: { userId: 'Zo\u00eb' } } });
  const index = lines.findIndex((text) => text.includes('Zo\u00eb'));
  const decomposed = lines.with(index, (lines[index] as string).normalize('NFD'));
  if (hashOf(decomposed[index] as string) === hashOf(lines[index] as string))
    throw new Error('nothing to decompose');
  return [
    bad('encoding', 'decomposed by Unicode normalisation', decomposed, index + 1, /signature does not fit/),
  ];
}
