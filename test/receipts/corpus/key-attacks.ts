/** Signatures that some implementation takes, and keys that were never let in. */
import { createHash } from 'node:crypto';
import * as ed25519 from '@noble/ed25519';
import { sha512 } from '@noble/hashes/sha2.js';
import { canonicalJson } from '../../../src/receipts/canonical-json.ts';
import { base64url, signerFromSeed, thumbprint, type Signer } from '../../../src/receipts/keys.ts';
import { keyProofText } from '../../../src/receipts/seal.ts';
import { hashOf, open, relink, resign, type Members } from '../log-kit.ts';
import { bad, honest, undecidable, type CorpusCase } from './case.ts';
import { altered, MIDDLE } from './log-attacks.ts';
import { ADMITTED, ATTACKER, honestLog, INSTALLATION, seed, write } from './logs.ts';

ed25519.hashes.sha512 = sha512;
const { Point } = ed25519;
const L = Point.CURVE().n;
const line = MIDDLE + 1;

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const numberOf = (bytes: Uint8Array): bigint => BigInt(`0x${hex(bytes.toReversed())}`);
const littleEndian = (value: bigint): string =>
  hex(Uint8Array.from(Buffer.from(value.toString(16).padStart(64, '0'), 'hex')).toReversed());

/** The secret scalar of a seed (RFC 8032, section 5.1.5). */
function scalarOf(bytes: Uint8Array): bigint {
  const half = Uint8Array.from(createHash('sha512').update(bytes).digest().subarray(0, 32));
  half[0] = (half[0] as number) & 248;
  half[31] = ((half[31] as number) & 127) | 64;
  return numberOf(half) % L;
}

/** A signature by the holder of a seed with an R of his choice, for which he knows the scalar part. */
function signatureWith(
  body: string,
  r: Uint8Array,
  nonce: bigint,
  bytes: Uint8Array,
  publicKey: Uint8Array,
): string {
  const k =
    numberOf(Uint8Array.from(createHash('sha512').update(r).update(publicKey).update(body).digest())) % L;
  return hex(r) + littleEndian((nonce + k * scalarOf(bytes)) % L);
}

function bodyOf(text: string): string {
  return text.slice('{"payload":'.length, text.lastIndexOf(',"signature":'));
}

export async function signatureAttacks(): Promise<CorpusCase[]> {
  const lines = await honestLog();
  const middle = lines[MIDDLE] as string;
  const good = open(middle).signature['sig'] as string;
  const body = bodyOf(middle);
  const s = numberOf(Buffer.from(good.slice(64), 'hex'));
  const torsion = Point.fromHex('c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a');
  const nonce = 123_456_789n;
  const mixed = Point.BASE.multiply(nonce).add(torsion).toBytes();
  const identity = Point.ZERO.toBytes();
  const forged = (r: Uint8Array, of: bigint): string =>
    signatureWith(body, r, of, seed(3), ADMITTED.publicKey);
  const attack = (name: string, sig: string, cause = /signature does not fit/): CorpusCase => {
    const changed = middle.replace(good, sig);
    return bad(
      'signature',
      name,
      relink([...lines.slice(0, MIDDLE), changed, ...lines.slice(line)], line, INSTALLATION),
      line,
      cause,
    );
  };
  const small = Uint8Array.from(identity);
  const smallKid = thumbprint(small);
  const genesis = { ...open(lines[0] as string).payload, public_key: base64url(small), issuer_id: smallKid };
  const onSmall = `{"payload":${canonicalJson(genesis)},"signature":{"alg":"EdDSA","kid":"${smallKid}","sig":"${hex(Point.BASE.toBytes())}${littleEndian(1n)}"}}`;
  return [
    attack('S + L', good.slice(0, 64) + littleEndian(s + L)),
    attack('S + 2 L', good.slice(0, 64) + littleEndian(s + 2n * L)),
    attack('R with torsion, by the key’s own holder', forged(mixed, nonce)),
    attack('R = identity, by the key’s own holder', forged(identity, 0n)),
    attack('all zero', '0'.repeat(128)),
    attack('R = B, S = 1', hex(Point.BASE.toBytes()) + littleEndian(1n)),
    attack('a bit of R flipped', `${good.startsWith('0') ? '1' : '0'}${good.slice(1)}`),
    attack('a bit of S flipped', `${good.slice(0, 70)}${good[70] === '0' ? '1' : '0'}${good.slice(71)}`),
    attack('a byte short', good.slice(2)),
    attack('a byte long', `${good}00`),
    attack('empty', ''),
    attack('no hex', `zz${good.slice(2)}`),
    attack('the signature of another line', open(lines[MIDDLE + 1] as string).signature['sig'] as string),
    undecidable('signature', 'a pinned key of small order', [onSmall], 1, /unknown key/, {
      keys: [base64url(small)],
    }),
    honest(
      'a nonce of the holder’s choice is no attack',
      relinkedWith(lines, forged(Point.BASE.multiply(nonce).toBytes(), nonce), good),
      {},
      'signature',
    ),
  ];
}

/** A line with another signature that is as good, and what follows linked to it. */
function relinkedWith(lines: readonly string[], sig: string, good: string): string[] {
  const changed = (lines[MIDDLE] as string).replace(good, sig);
  return relink([...lines.slice(0, MIDDLE), changed, ...lines.slice(line)], line, INSTALLATION);
}

/** A receipt that admits `key`, at the end of `lines`. */
function admission(
  lines: readonly string[],
  key: Signer,
  by: Signer,
  more: { proof?: string; publicKey?: Uint8Array; seq?: number; replaces?: string } = {},
): string[] {
  const last = open(lines.at(-1) as string).payload;
  const publicKey = more.publicKey ?? key.publicKey;
  const kid = thumbprint(publicKey);
  const hash = hashOf(lines.at(-1) as string);
  const proof =
    more.proof ?? hex(key.sign(keyProofText(String(last['log']), more.seq ?? lines.length, hash, kid)));
  const payload: Members = {
    issued_at: last['issued_at'],
    kid,
    log: last['log'],
    previousReceiptHash: hash,
    proof,
    public_key: base64url(publicKey),
    ...(more.replaces !== undefined && { replaces: more.replaces }),
    seq: lines.length,
    type: 'key',
    v: 1,
  };
  return [...lines, resign(payload, by)];
}

/** A receipt of `lines`' kind at its end, signed by `by`. */
function followed(lines: readonly string[], by: Signer): string[] {
  const last = open(lines.at(-1) as string).payload;
  const payload = { issued_at: last['issued_at'], log: last['log'], open_holds: 0, type: 'close', v: 1 };
  return [
    ...lines,
    resign({ ...payload, seq: lines.length, previousReceiptHash: hashOf(lines.at(-1) as string) }, by),
  ];
}

export async function keyAttacks(): Promise<CorpusCase[]> {
  const lines = await honestLog();
  const next = lines.length + 1;
  const fresh = signerFromSeed(seed(4));
  const identity = Point.ZERO.toBytes();
  const torsion = Point.fromHex('c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a');
  const mixed = Point.fromBytes(fresh.publicKey).add(torsion).toBytes();
  const notCanonical = Uint8Array.from({ length: 32 }, (_, index) =>
    index === 0 ? 0xee : index === 31 ? 0x7f : 0xff,
  );
  const other = (publicKey: Uint8Array): string[] => admission(lines, fresh, INSTALLATION, { publicKey });
  const withOwn = async (signer: Signer): Promise<string[]> =>
    honestLog({
      log: 14,
      calls: 1,
      more: (_guard, ledger) =>
        write(
          ledger,
          [
            {
              type: 'recovered',
              dropped_bytes: 1,
              dropped_sha256: `sha256:${'0'.repeat(64)}`,
              quarantine: 'q',
            },
          ],
          signer,
        ),
    });
  const stolen = await withOwn(ADMITTED);
  const recovered = stolen.findIndex((text) => text.includes('"type":"recovered"')) + 1;
  const replacing = (old: Signer): string[] => admission(lines, fresh, INSTALLATION, { replaces: old.kid });
  const replaced = /signed by a key that was replaced before/;
  return [
    honest(
      'the installation key replaced, and its follower speaks for the log',
      admission(followed(replacing(INSTALLATION), fresh), ATTACKER, fresh),
      {},
      'keys',
    ),
    honest('an admitted key replaced', followed(replacing(ADMITTED), fresh), {}, 'keys'),
    honest(
      'replaced twice',
      admission(replacing(INSTALLATION), ATTACKER, fresh, { replaces: fresh.kid }),
      {},
      'keys',
    ),
    bad(
      'keys',
      'the installation key used after it was replaced',
      followed(replacing(INSTALLATION), INSTALLATION),
      next + 1,
      replaced,
    ),
    bad(
      'keys',
      'an admitted key used after it was replaced',
      followed(replacing(ADMITTED), ADMITTED),
      next + 1,
      replaced,
    ),
    bad(
      'keys',
      'a replaced key admitted again',
      admission(replacing(ADMITTED), ADMITTED, INSTALLATION),
      next + 1,
      /admits a key that was replaced/,
    ),
    bad(
      'keys',
      'a key that replaces itself',
      admission(lines, INSTALLATION, INSTALLATION, { replaces: INSTALLATION.kid }),
      next,
      /can’t replace itself/,
    ),
    bad(
      'keys',
      'a key that replaces one that there is not',
      admission(lines, fresh, INSTALLATION, { replaces: ATTACKER.kid }),
      next,
      /had not admitted/,
    ),
    honest('a key admitted and used', followed(admission(lines, fresh, INSTALLATION), fresh), {}, 'keys'),
    honest(
      'a key admitted twice',
      admission(admission(lines, fresh, INSTALLATION), fresh, INSTALLATION),
      {},
      'keys',
    ),
    honest('the ledger’s own word by the installation key', await withOwn(INSTALLATION), {}, 'keys'),
    undecidable('keys', 'a key used before it is admitted', followed(lines, fresh), next, /unknown key/),
    undecidable('keys', 'a log whose key nobody pinned', lines, 1, /unknown key/, { keys: [] }),
    undecidable('keys', 'a log under another key than the pinned one', lines, 1, /unknown key/, {
      keys: [base64url(ATTACKER.publicKey)],
    }),
    undecidable('keys', 'the admitted key pinned instead of the installation key', lines, 1, /unknown key/, {
      keys: [base64url(ADMITTED.publicKey)],
    }),
    bad(
      'keys',
      'no proof of possession',
      admission(lines, fresh, INSTALLATION, { proof: '0'.repeat(128) }),
      next,
      /did not prove/,
    ),
    bad(
      'keys',
      'the proof of another place',
      admission(lines, fresh, INSTALLATION, { seq: 1 }),
      next,
      /did not prove/,
    ),
    bad(
      'keys',
      'the proof by another key',
      admission(lines, ATTACKER, INSTALLATION, { publicKey: fresh.publicKey }),
      next,
      /did not prove/,
    ),
    bad(
      'keys',
      'a key admitted by an admitted key',
      admission(lines, fresh, ADMITTED),
      next,
      /only by the installation key/,
    ),
    undecidable('keys', 'a key admitted by itself', admission(lines, fresh, fresh), next, /unknown key/),
    bad('keys', 'the identity admitted', other(identity), next, /small order/),
    bad('keys', 'a key with torsion admitted', other(mixed), next, /torsion/),
    bad('keys', 'a key not in canonical form admitted', other(notCanonical), next, /canonical form/),
    bad(
      'keys',
      'a kid that is not the thumbprint',
      relink(
        altered(
          admission(lines, fresh, INSTALLATION),
          lines.length,
          (payload) => void (payload['kid'] = ATTACKER.kid),
        ),
        lines.length,
        INSTALLATION,
      ),
      next,
      /kid is not the thumbprint/,
    ),
    bad(
      'keys',
      'a genesis with another’s public key',
      relink(
        altered(lines, 0, (payload) => void (payload['public_key'] = base64url(ATTACKER.publicKey))),
        0,
        INSTALLATION,
      ),
      1,
      /public_key is not the issuer/,
    ),
    bad(
      'keys',
      'the ledger’s own word by an admitted key',
      stolen,
      recovered,
      /only by the installation key/,
    ),
  ];
}
