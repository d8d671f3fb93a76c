/**
 * Makes test/vectors/ed25519.json: signatures that implementations of Ed25519 disagree on, each with the one verdict
 * of docs/receipt-format.md. The first are the cases of "Taming the many EdDSAs" (Chalkias, Garillot, Nikolaenko).
 *
 *     node --conditions=agentguard-source tools/make-ed25519-vectors.ts cases.json
 *
 * where cases.json is that of github.com/novifinancial/ed25519-speccheck. The file that it makes is frozen.
 */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import * as ed from '@noble/ed25519';
import { sha512 } from '@noble/hashes/sha2.js';

ed.hashes.sha512 = sha512;

interface Vector {
  name: string;
  /** Hex, all three. */
  publicKey: string;
  message: string;
  signature: string;
  verdict: 'valid' | 'invalid';
  /** Which part of the rule decides. */
  because: string;
}

const { Point } = ed;
const L = Point.CURVE().n;
const P = Point.CURVE().p;
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'));
const littleEndian = (value: bigint): Uint8Array => bytes(value.toString(16).padStart(64, '0')).toReversed();
const numberOf = (part: Uint8Array): bigint => BigInt(`0x${hex(part.toReversed())}`);
const modL = (value: bigint): bigint => ((value % L) + L) % L;
const times = (point: ed.Point, scalar: bigint): ed.Point => {
  let sum = Point.ZERO;
  for (let bit = scalar.toString(2).length - 1; bit >= 0; bit--) {
    sum = sum.double();
    if ((scalar >> BigInt(bit)) & 1n) sum = sum.add(point);
  }
  return sum;
};
const challenge = (r: Uint8Array, key: Uint8Array, message: Uint8Array): bigint =>
  modL(numberOf(sha512(new Uint8Array([...r, ...key, ...message]))));
const join = (r: Uint8Array, s: bigint): string => hex(r) + hex(littleEndian(s));

const message = new TextEncoder().encode('{"type":"a message"}');
/** The secret scalar behind a key, so that any signature can be made under it. */
const scalar = modL(numberOf(createHash('sha512').update('agentguard vectors').digest()));
const key = Point.BASE.multiply(scalar);
const publicKey = key.toBytes();
const nonce = modL(numberOf(createHash('sha512').update('a nonce').digest()));

/** A point of order 8, from the known encoding of one. */
const torsion = Point.fromBytes(
  bytes('c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a'),
  true,
);
const smallPoints = Array.from({ length: 8 }, (_, index) => times(torsion, BigInt(index)));

const vectors: Vector[] = [];
const add = (
  name: string,
  publicKeyHex: string,
  signature: string,
  verdict: Vector['verdict'],
  because: string,
  text: Uint8Array = message,
): void => {
  vectors.push({ name, publicKey: publicKeyHex, message: hex(text), signature, verdict, because });
};

/** Why each of the published cases is refused. All of their good keys are of mixed order, so none is let in. */
const SPECCHECK: readonly string[] = [
  'the key is of small order',
  'the key is of small order',
  'the key has a torsion component',
  'the key has a torsion component',
  'the key has a torsion component',
  'the key has a torsion component',
  'S is not below the group order',
  'S is not below the group order',
  'the key has a torsion component',
  'the key has a torsion component',
  'the key is not in canonical form',
  'the key is not in canonical form',
];
const [, , casesFile] = process.argv;
if (casesFile === undefined) throw new Error('pass the cases.json of ed25519-speccheck');
type Case = { message: string; pub_key: string; signature: string };
for (const [index, each] of (JSON.parse(readFileSync(casesFile, 'utf8')) as Case[]).entries()) {
  add(
    `speccheck ${index}`,
    each.pub_key,
    each.signature,
    'invalid',
    SPECCHECK[index] ?? '',
    bytes(each.message),
  );
}

// With a good key, whose holder makes what he likes.
const r = Point.BASE.multiply(nonce);
const s = (encoded: Uint8Array, k: bigint = challenge(encoded, publicKey, message)): bigint =>
  modL(nonce + k * scalar);
const good = s(r.toBytes());
add('good key, good signature', hex(publicKey), join(r.toBytes(), good), 'valid', 'nothing is wrong');
add(
  'good key, empty message',
  hex(publicKey),
  join(r.toBytes(), s(r.toBytes(), challenge(r.toBytes(), publicKey, new Uint8Array(0)))),
  'valid',
  'nothing is wrong',
  new Uint8Array(0),
);
add('S + L', hex(publicKey), join(r.toBytes(), good + L), 'invalid', 'S is not below the group order');
add('S + 2 L', hex(publicKey), join(r.toBytes(), good + 2n * L), 'invalid', 'S is not below the group order');
add('S = L', hex(publicKey), join(r.toBytes(), L), 'invalid', 'S is not below the group order');
for (const [index, point] of smallPoints.entries()) {
  if (index === 0) continue;
  const mixed = r.add(point).toBytes();
  add(
    `R with torsion ${index}`,
    hex(publicKey),
    join(mixed, s(mixed)),
    'invalid',
    'only the cofactored equation holds',
  );
}
const identity = Point.ZERO.toBytes();
add(
  'R = identity',
  hex(publicKey),
  join(identity, modL(challenge(identity, publicKey, message) * scalar)),
  'invalid',
  'R is the identity',
);
const highIdentity = identity.slice();
highIdentity[31] = 0x80;
add(
  'R = identity, with the sign bit',
  hex(publicKey),
  join(highIdentity, modL(challenge(highIdentity, publicKey, message) * scalar)),
  'invalid',
  'R is not in canonical form',
);
const bigIdentity = littleEndian(P + 1n);
add(
  'R = identity, not reduced',
  hex(publicKey),
  join(bigIdentity, modL(challenge(bigIdentity, publicKey, message) * scalar)),
  'invalid',
  'R is not in canonical form',
);
const flipped = r.toBytes();
flipped[0] = (flipped[0] as number) ^ 1;
add('R with a flipped bit', hex(publicKey), join(flipped, good), 'invalid', 'the equation does not hold');
add(
  'another message',
  hex(publicKey),
  join(r.toBytes(), good),
  'invalid',
  'the equation does not hold',
  new TextEncoder().encode('{"type":"another"}'),
);
for (const length of [0, 32, 63, 65, 128]) {
  const signature = `${join(r.toBytes(), good)}${'00'.repeat(64)}`.slice(0, length * 2);
  add(
    `a signature of ${length} bytes`,
    hex(publicKey),
    signature,
    'invalid',
    'the signature is not 64 bytes',
  );
}

// Keys that must not be let in. Each has a signature that some implementation accepts.
for (const [index, point] of smallPoints.entries()) {
  const small = point.toBytes();
  // Any message: with R = B and S = 1 the equation holds whenever k is a multiple of the point's order.
  let counter = 0;
  let text = message;
  while (challenge(Point.BASE.toBytes(), small, text) % 8n !== 0n && counter < 1000) {
    text = new TextEncoder().encode(`{"type":"message ${counter++}"}`);
  }
  const name = index === 0 ? 'the identity as key' : `key of small order ${index}`;
  add(name, hex(small), join(Point.BASE.toBytes(), 1n), 'invalid', 'the key is of small order', text);
}
for (const [name, encoded] of [
  ['p', littleEndian(P)],
  ['p + 1', littleEndian(P + 1n)],
  ['p, with the sign bit', littleEndian(P + (1n << 255n))],
  ['1, with the sign bit', littleEndian(1n + (1n << 255n))],
  ['2^255 - 1', littleEndian((1n << 255n) - 1n)],
] as const) {
  add(
    `key not in canonical form: ${name}`,
    hex(encoded),
    join(Point.BASE.toBytes(), 1n),
    'invalid',
    'the key is not in canonical form',
  );
}
for (const [index, point] of smallPoints.entries()) {
  if (index === 0) continue;
  const mixed = key.add(point).toBytes();
  let counter = 0;
  let text = message;
  // A message for which the torsion falls out of the equation, so that native verifiers accept it.
  while (challenge(r.toBytes(), mixed, text) % 8n !== 0n && counter < 1000) {
    text = new TextEncoder().encode(`{"type":"message ${counter++}"}`);
  }
  const k = challenge(r.toBytes(), mixed, text);
  add(
    `key with torsion ${index}`,
    hex(mixed),
    join(r.toBytes(), s(r.toBytes(), k)),
    'invalid',
    'the key has a torsion component',
    text,
  );
}
add(
  'key that is no point',
  hex(littleEndian(2n)),
  join(Point.BASE.toBytes(), 1n),
  'invalid',
  'the key is not a point',
);
for (const length of [0, 31, 33]) {
  const short = `${hex(publicKey)}00`.slice(0, length * 2);
  add(`a key of ${length} bytes`, short, join(r.toBytes(), good), 'invalid', 'the key is not 32 bytes');
}

writeFileSync(
  new URL('../test/vectors/ed25519.json', import.meta.url),
  `${JSON.stringify(vectors, undefined, 2)}\n`,
);
console.log(`${vectors.length} vectors`);
