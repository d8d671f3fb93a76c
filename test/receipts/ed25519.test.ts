/** One verdict on every signature, whatever backend and runtime look at it. */
import { execFile } from 'node:child_process';
import { createPublicKey, verify as nodeVerify } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import * as ed25519 from '@noble/ed25519';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import * as native from '../../src/node/platform.ts';
import * as web from '../../src/platform-web.ts';
import { admitPublicKey, signerFromSeed, verifySignature } from '../../src/receipts/keys.ts';
import { soundSignature } from '../../src/receipts/strict-signature.ts';
import { disagreements, fromHexText, type Ed25519Vector } from './ed25519-vectors.ts';

const path = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url));
const vectors = JSON.parse(readFileSync(path('../vectors/ed25519.json'), 'utf8')) as Ed25519Vector[];
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

const NODES: readonly [string, string][] = [
  ['this Node', process.execPath],
  ['Node 22', path('../frameworks/node-22/node_modules/node/bin/node')],
  ['Node 26', path('../frameworks/node-26/node_modules/node/bin/node')],
];

describe('the vectors', () => {
  it('are many, and of every kind', () => {
    expect(vectors.length).toBeGreaterThan(50);
    for (const kind of [
      'speccheck 9',
      'R = identity',
      'R with torsion 7',
      'S + L',
      'the identity as key',
      'a key of 31 bytes',
    ])
      expect(vectors.map(({ name }) => name)).toContain(kind);
    expect(vectors.filter(({ verdict }) => verdict === 'valid').length).toBeGreaterThan(1);
  });

  it.each(vectors)('$name is $verdict: $because', ({ publicKey, message, signature, verdict, because }) => {
    const admitted = admitPublicKey(fromHexText(publicKey));
    const isValid =
      !('refused' in admitted) && verifySignature(admitted.key, fromHexText(message), signature);
    expect(isValid ? 'valid' : 'invalid').toBe(verdict);
    // Whether key or signature is to blame must be what the vector was made for.
    expect('refused' in admitted).toBe(because.startsWith('the key'));
  });

  it('bite: without the rule, backends come to other verdicts', async () => {
    const nobles = await disagreements(vectors, (key, message, signature) =>
      ed25519.verify(signature, message, key),
    );
    expect(nobles.length).toBeGreaterThan(5);
    const unchecked = vectors.filter(({ publicKey, message, signature, verdict }) => {
      if (publicKey.length !== 64) return false;
      const key = createPublicKey({
        key: Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), fromHexText(publicKey)]),
        format: 'der',
        type: 'spki',
      });
      return nodeVerify(null, fromHexText(message), key, fromHexText(signature)) !== (verdict === 'valid');
    });
    expect(unchecked.length).toBeGreaterThan(5);
  });
});

describe('every backend comes to the same verdicts', () => {
  it.each(NODES)('on %s', async (_name, node) => {
    // Optional workspaces: where they are not installed there is nothing to run.
    if (!existsSync(node)) return expect(node).toContain('frameworks');
    const argv = [
      '--conditions=agentguard-source',
      '--disable-warning=ExperimentalWarning',
      path('ed25519-runtime.ts'),
    ];
    const { stdout } = await promisify(execFile)(node, argv);
    const {
      version,
      vectors: count,
      report,
    } = JSON.parse(stdout) as {
      version: string;
      vectors: number;
      report: Record<string, string[]>;
    };
    console.log(`${version}: ${count} vectors on ${Object.keys(report).join(', ')}`);
    expect(count).toBe(vectors.length);
    expect(report).toEqual({ 'node:crypto': [], webcrypto: [], 'as the web platform does': [], noble: [] });
  });

  it('on random signatures, right and wrong ones', async () => {
    const bytes = (length: number): fc.Arbitrary<Uint8Array> =>
      fc.uint8Array({ minLength: length, maxLength: length });
    const change = fc.oneof(fc.constant(undefined), fc.record({ at: fc.nat(63), bit: fc.nat(7) }));
    let right = 0;
    const property = fc.asyncProperty(
      bytes(32),
      fc.string({ maxLength: 200 }),
      change,
      async (seed, text, flip) => {
        const signer = signerFromSeed(seed);
        const { publicKey } = signer;
        const signature = Uint8Array.from(signer.sign(new TextEncoder().encode(text.toWellFormed())));
        if (flip !== undefined) signature[flip.at] = (signature[flip.at] as number) ^ (1 << flip.bit);
        const message = new TextEncoder().encode(text.toWellFormed());
        const sound = soundSignature(hex(signature));
        const expected =
          sound !== undefined && native.verify(native.verifyingKey(publicKey), message, signature);
        if (expected) right += 1;
        expect(expected).toBe(flip === undefined);
        if (sound === undefined) return;
        expect(web.verify(publicKey, message, sound)).toBe(expected);
        expect(await web.verifyLater?.(publicKey, message, sound)).toBe(expected);
      },
    );
    await fc.assert(property, { numRuns: 60 });
    expect(right).toBeGreaterThan(10);
  });
});

describe('a signature’s text', () => {
  const good = hex(signerFromSeed(new Uint8Array(32).fill(1)).sign(new TextEncoder().encode('m')));

  it.each([
    ['upper case', good.toUpperCase()],
    ['a digit less', good.slice(1)],
    ['a digit more', `${good}0`],
    ['no hex', `g${good.slice(1)}`],
    ['a wide character', `０${good.slice(1)}`],
    ['a byte that wraps around', `Ā${good.slice(1)}`],
    ['empty', ''],
  ])('must be 128 lower-case hex digits: %s', (_name, text) => expect(soundSignature(text)).toBeUndefined());

  it('is read as it is', () => expect(hex(soundSignature(good) as Uint8Array)).toBe(good));
});
