/** Signatures that implementations of Ed25519 disagree on. Runs in any runtime that has the vectors. */
import { admitPublicKey } from '../../src/receipts/keys.ts';
import { soundSignature } from '../../src/receipts/strict-signature.ts';

export interface Ed25519Vector {
  name: string;
  /** Hex, all three. */
  publicKey: string;
  message: string;
  signature: string;
  verdict: 'valid' | 'invalid';
  because: string;
}

/** A backend as the strict rule calls it: after its own checks, with a key that was let in. */
export type Backend = (
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
) => boolean | Promise<boolean>;

export function fromHexText(hex: string): Uint8Array {
  return Uint8Array.from(hex.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16));
}

/** The verdict on one vector by the one rule, on a backend. */
export async function verdictOn(vector: Ed25519Vector, backend: Backend): Promise<Ed25519Vector['verdict']> {
  const publicKey = fromHexText(vector.publicKey);
  const signature = soundSignature(vector.signature);
  if ('refused' in admitPublicKey(publicKey) || signature === undefined) return 'invalid';
  return (await backend(publicKey, fromHexText(vector.message), signature)) ? 'valid' : 'invalid';
}

/** The vectors on which a backend doesn't come to the verdict. */
export async function disagreements(vectors: readonly Ed25519Vector[], backend: Backend): Promise<string[]> {
  const wrong: string[] = [];
  for (const vector of vectors) {
    const verdict = await verdictOn(vector, backend);
    if (verdict !== vector.verdict) wrong.push(`${vector.name}: ${verdict}, not ${vector.verdict}`);
  }
  return wrong;
}
