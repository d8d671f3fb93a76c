/** Signing keys, and the one rule for which public keys and signatures are let in, on every backend. */
import * as ed25519 from '@noble/ed25519';
import {
  publicKeyOf,
  randomBytes,
  sha256,
  sha256Hex,
  sign,
  signingKey,
  toBase64url,
  verify,
  verifyingKey,
  type VerifyingKey,
} from '#platform';
import { AgentGuardError } from '../errors.ts';
import { canonicalJson } from './canonical-json.ts';
import { soundSignature } from './strict-signature.ts';

/**
 * What signs receipts: a key of this process, or your own. Signing is synchronous and on every call's way, so a key
 * in a remote service can't be one; let it certify the key that signs here instead (`signKeyCertificate`).
 */
export interface Signer {
  /** RFC 7638 thumbprint of the public key. */
  readonly kid: string;
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** The 64-byte Ed25519 signature of `bytes` as they are, without a prehash. */
  sign(bytes: Uint8Array): Uint8Array;
}

/** A raw Ed25519 key pair, 32 bytes each, as `createSpendGuard({ signingKeys })` takes it. */
export interface SigningKeys {
  privateKey: Uint8Array;
  publicKey: Uint8Array;
}

export function base64url(bytes: Uint8Array): string {
  return toBase64url(bytes);
}

/** Throws `RangeError` unless `text` is the one unpadded base64url form of `length` bytes. */
export function fromBase64url(text: string, length: number): Uint8Array {
  let bytes: Uint8Array | undefined;
  try {
    const binary = atob(text.replaceAll('-', '+').replaceAll('_', '/'));
    bytes = Uint8Array.from(binary, (char) => char.charCodeAt(0));
  } catch {
    // reported below, with the length that was expected
  }
  if (bytes?.length !== length || base64url(bytes) !== text) {
    throw new RangeError(`expected ${length} bytes as unpadded base64url, got ${JSON.stringify(text)}`);
  }
  return bytes;
}

/** RFC 7638 thumbprint of an Ed25519 public key, 43 characters. */
export function thumbprint(publicKey: Uint8Array): string {
  return base64url(sha256(`{"crv":"Ed25519","kty":"OKP","x":"${base64url(publicKey)}"}`));
}

/** A 128-bit random id as 22 characters of base64url. */
export function randomId(): string {
  if (drawn + ID_BYTES > pool.length) {
    // One draw for many ids: asking the runtime each time costs more than the rest of the id.
    pool = randomBytes(ID_BYTES * 256);
    drawn = 0;
  }
  drawn += ID_BYTES;
  return base64url(pool.subarray(drawn - ID_BYTES, drawn));
}

const ID_BYTES = 16;
let pool: Uint8Array = new Uint8Array(0);
let drawn = 0;

/** A signer from a 32-byte Ed25519 seed. */
export function signerFromSeed(seed: Uint8Array): Signer {
  const publicKey = publicKeyOf(seed);
  const key = signingKey(seed);
  const signer: Signer = { kid: thumbprint(publicKey), publicKey, sign: (bytes) => sign(key, bytes) };
  ownSigners.add(signer);
  return signer;
}

const ownSigners = new WeakSet<Signer>();

/** True for a signer of this module, whose signatures need no check. */
export function isOwnSigner(signer: Signer): boolean {
  return ownSigners.has(signer);
}

/**
 * A signer from raw keys. Throws `AgentGuardError` (`invalid_config`) when a key isn't 32 bytes or the public
 * key doesn't belong to the private one.
 */
export function signerFromKeys(keys: SigningKeys): Signer {
  for (const field of ['privateKey', 'publicKey'] as const) {
    const bytes = keys[field] as unknown;
    if (!(bytes instanceof Uint8Array) || bytes.length !== 32) {
      const found = bytes instanceof Uint8Array ? `${bytes.length} bytes` : typeof bytes;
      throw new AgentGuardError(
        'invalid_config',
        `signingKeys.${field}: expected 32 raw bytes, got ${found}`,
      );
    }
  }
  const signer = signerFromSeed(keys.privateKey);
  if (base64url(signer.publicKey) !== base64url(keys.publicKey)) {
    throw new AgentGuardError(
      'invalid_config',
      'signingKeys.publicKey does not belong to signingKeys.privateKey',
    );
  }
  return signer;
}

/**
 * Lets a public key in, or says why not: it must be 32 bytes, canonical, not of small order and free of torsion,
 * or some verifiers would accept signatures that others refuse. Takes about 5 ms the first time.
 */
export function admitPublicKey(publicKey: Uint8Array): AdmittedKey {
  const text = base64url(publicKey);
  let admitted = checkedKeys.get(text);
  if (admitted === undefined) {
    admitted = checkPublicKey(publicKey);
    if (checkedKeys.size >= CHECKED_KEYS_KEPT) checkedKeys.clear();
    checkedKeys.set(text, admitted);
  }
  return admitted;
}

type AdmittedKey = { key: VerifyingKey } | { refused: string };

const CHECKED_KEYS_KEPT = 256;
const checkedKeys = new Map<string, AdmittedKey>();

function checkPublicKey(publicKey: Uint8Array): AdmittedKey {
  if (publicKey.length !== 32) return { refused: 'the public key is not 32 bytes' };
  try {
    const point = ed25519.Point.fromBytes(publicKey, false);
    if (point.isSmallOrder()) return { refused: 'the public key is of small order' };
    if (!point.isTorsionFree()) return { refused: 'the public key has a torsion component' };
  } catch {
    return { refused: 'the public key is not a point of the curve in canonical form' };
  }
  return { key: verifyingKey(publicKey) };
}

/**
 * Verifies a signature by the one strict rule: lower-case hex of 64 bytes, S below the group order, R not the
 * identity, and the cofactorless equation. The key must have been admitted.
 */
export function verifySignature(key: VerifyingKey, message: Uint8Array, signatureHex: string): boolean {
  const signature = soundSignature(signatureHex);
  return signature !== undefined && verify(key, message, signature);
}

/** `sha256:` and the lower-case hex of the SHA-256 of `text`. */
export function sha256Text(text: string | Uint8Array): string {
  return `sha256:${sha256Hex(text)}`;
}

/** The digest that receipts name a policy, a price row or a snapshot by: SHA-256 of its RFC 8785 form. */
export function digestOf(value: unknown): string {
  return sha256Text(canonicalJson(value));
}
