/** What a key file or the environment holds: an Ed25519 key as a JWK, and the keys that came before it. */
import { parseKeyCertificate, type KeyCertificate } from '../receipts/key-certificate.ts';
import { base64url, fromBase64url, signerFromSeed, thumbprint, type Signer } from '../receipts/keys.ts';
import type { FormerKey, LogKeys } from '../receipts/signers.ts';

/** A public Ed25519 key (RFC 8037). `d` is the private half. */
export interface Jwk {
  crv: 'Ed25519';
  d?: string;
  kid: string;
  kty: 'OKP';
  x: string;
}

/** A key with its whole past. */
export interface KeyFile extends LogKeys {
  /** The private half, 32 bytes. */
  seed: Uint8Array;
  former: readonly DatedKey[];
  /** When the key was made, where that is known: RFC 3339. */
  since?: string;
}

export interface DatedKey extends FormerKey {
  seed?: Uint8Array;
  since?: string;
  /** When the next key took its place. */
  until?: string;
}

export function publicJwk(publicKey: Uint8Array): Jwk {
  return { crv: 'Ed25519', kid: thumbprint(publicKey), kty: 'OKP', x: base64url(publicKey) };
}

interface StoredKey {
  crv?: unknown;
  d?: unknown;
  x?: unknown;
  since?: unknown;
  until?: unknown;
}

/** Reads a key with its past from the JSON of a JWK. Throws for anything else; the message never shows the text. */
export function parseKeyFile(text: string): KeyFile {
  const stored = JSON.parse(text) as StoredKey & { previous?: unknown; certificate?: unknown };
  const seed = fromBase64url(String(stored.d), 32);
  const signer = signerFor(stored, seed);
  const previous = (stored.previous ?? []) as StoredKey[];
  const { certificate } = stored;
  return {
    seed,
    signer,
    former: previous.map(datedKey),
    ...(typeof stored.since === 'string' && { since: stored.since }),
    ...(certificate !== undefined && { certificate: parseKeyCertificate(JSON.stringify(certificate)) }),
  };
}

function signerFor({ crv, x }: StoredKey, seed: Uint8Array): Signer {
  const signer = signerFromSeed(seed);
  if (crv !== 'Ed25519' || x !== base64url(signer.publicKey)) throw new RangeError(MISMATCH);
  return signer;
}

/** The message of a key whose halves are not of one key. */
export const MISMATCH = 'its public part does not belong to its private part';

function datedKey(stored: StoredKey): DatedKey {
  const { since, until } = stored;
  const dates = {
    ...(typeof since === 'string' && { since }),
    ...(typeof until === 'string' && { until }),
  };
  const { d, x } = stored as { d?: string; x: string };
  if (d === undefined) return { publicKey: fromBase64url(x, 32), ...dates };
  const seed = fromBase64url(d, 32);
  const signer = signerFor(stored, seed);
  return { publicKey: signer.publicKey, signer, seed, ...dates };
}

/** The JSON that `parseKeyFile` reads, with its newline. */
export function keyFileText({ seed, signer, former, since, certificate }: KeyFile): string {
  const { crv, kid, kty, x } = publicJwk(signer.publicKey);
  const previous = former.map((key) => {
    const jwk = publicJwk(key.publicKey);
    return {
      ...jwk,
      ...(key.seed && { d: base64url(key.seed) }),
      ...(key.since && { since: key.since }),
      ...(key.until && { until: key.until }),
    };
  });
  const jwk = {
    ...(certificate && { certificate: certificate satisfies KeyCertificate }),
    crv,
    d: base64url(seed),
    kid,
    kty,
    ...(previous.length > 0 && { previous }),
    ...(since !== undefined && { since }),
    x,
  };
  return `${JSON.stringify(jwk)}\n`;
}

/** A new key, with its past in `former`. */
export function newKeyFile(seed: Uint8Array, since?: string, former: readonly DatedKey[] = []): KeyFile {
  return { seed, signer: signerFromSeed(seed), former, ...(since !== undefined && { since }) };
}
