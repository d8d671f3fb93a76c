/** Signers that come from outside: checked, because one wrong signature would make a log invalid for good. */
import { toHex } from '#platform';
import { AgentGuardError } from '../errors.ts';
import type { KeyCertificate } from './key-certificate.ts';
import { admitPublicKey, isOwnSigner, thumbprint, verifySignature, type Signer } from './keys.ts';

/** The keys that may speak for a log itself, as its writer holds them. */
export interface LogKeys {
  /** Signs the log. */
  signer: Signer;
  /** Keys that were in its place before, the latest first. */
  former: readonly FormerKey[];
  /** A root's word for `signer`, for the genesis receipts of new logs. */
  certificate?: KeyCertificate;
}

export interface FormerKey {
  publicKey: Uint8Array;
  /** Absent once every log has been handed over, and the private half is gone. */
  signer?: Signer;
}

function refuse(field: string, problem: string): AgentGuardError {
  return new AgentGuardError('invalid_config', `${field}: ${problem}`);
}

/**
 * A signer of your own, with every signature checked before it counts. Throws `AgentGuardError` (`invalid_config`)
 * for one that can't be right; so does its `sign` for a signature that is wrong.
 */
export function checkedSigner(field: string, signer: Signer): Signer {
  if (isOwnSigner(signer)) return signer;
  const { kid, publicKey } = signer as Partial<Signer>;
  if (!(publicKey instanceof Uint8Array) || publicKey.length !== 32) {
    throw refuse(`${field}.publicKey`, 'expected the 32 bytes of an Ed25519 public key');
  }
  if (kid !== thumbprint(publicKey)) {
    throw refuse(`${field}.kid`, `expected ${thumbprint(publicKey)}, the RFC 7638 thumbprint of publicKey`);
  }
  if (typeof signer.sign !== 'function') throw refuse(`${field}.sign`, 'expected a function');
  return { kid, publicKey, sign: (bytes) => checkedSignature(field, signer, bytes) };
}

function checkedSignature(field: string, signer: Signer, bytes: Uint8Array): Uint8Array {
  const admitted = admitPublicKey(signer.publicKey);
  if ('refused' in admitted) throw refuse(`${field}.publicKey`, admitted.refused);
  // A function of the caller's may answer anything, and keep or change what it is given: that is a copy, for ours are
  // written over by the next receipt, and another one is what its signature is checked on.
  const message = Uint8Array.from(bytes);
  const signature = signer.sign(Uint8Array.from(message)) as unknown;
  if (!(signature instanceof Uint8Array)) {
    const found = signature instanceof Promise ? 'a promise: signing must be synchronous' : typeof signature;
    throw refuse(`${field}.sign`, `expected a signature of 64 bytes, got ${found}`);
  }
  if (signature.length !== 64 || !verifySignature(admitted.key, message, toHex(signature))) {
    throw refuse(`${field}.sign`, 'its signature does not fit publicKey');
  }
  return signature;
}
