/** What the core needs from its runtime, on Node: native crypto and AsyncLocalStorage. */
import { AsyncLocalStorage as NodeAsyncLocalStorage } from 'node:async_hooks';
import { createPrivateKey, createPublicKey, hash, randomBytes as nodeRandomBytes } from 'node:crypto';
import { sign as nodeSign, verify as nodeVerify, type KeyObject } from 'node:crypto';
import { closeSync, fstatSync, openSync, readFileSync, statSync, type Stats } from 'node:fs';
import type { PriceFile } from '../platform-web.ts';
import { priceFilePath } from './home.ts';

/** A `KeyObject`, by what it shows: users without Node's types must be able to read our declarations. */
export interface SigningKey {
  readonly asymmetricKeyType?: string | undefined;
}

export type VerifyingKey = SigningKey;

// RFC 8410: the DER prefixes of a raw Ed25519 seed (PKCS #8) and of a raw public key (SPKI).
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');

export function sha256(data: Uint8Array | string): Uint8Array {
  return hash('sha256', data, 'buffer');
}

export function sha256Hex(data: Uint8Array | string): string {
  return hash('sha256', data, 'hex');
}

const scratch = Buffer.allocUnsafeSlow(16 * 1024);

/**
 * The UTF-8 of `text`, to be read at once: the next call may write over it. A typed array for each text costs ten
 * times as much, most of it in the garbage collector.
 */
export function briefUtf8(text: string): Uint8Array {
  if (text.length * 3 > scratch.length) return Buffer.from(text, 'utf8');
  return scratch.subarray(0, scratch.write(text));
}

export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
}

export function toBase64url(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64url');
}

export function randomBytes(length: number): Uint8Array {
  return nodeRandomBytes(length);
}

/** Takes a 32-byte Ed25519 seed. */
export function signingKey(seed: Uint8Array): SigningKey {
  return createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, seed]), format: 'der', type: 'pkcs8' });
}

export function publicKeyOf(seed: Uint8Array): Uint8Array {
  const spki = createPublicKey(signingKey(seed) as KeyObject).export({ format: 'der', type: 'spki' });
  return new Uint8Array(spki.subarray(SPKI_PREFIX.length));
}

export function sign(key: SigningKey, message: Uint8Array): Uint8Array {
  return nodeSign(null, message, key as KeyObject);
}

/** Takes a 32-byte Ed25519 public key that has passed `admitPublicKey`. */
export function verifyingKey(publicKey: Uint8Array): VerifyingKey {
  return createPublicKey({ key: Buffer.concat([SPKI_PREFIX, publicKey]), format: 'der', type: 'spki' });
}

export function verify(key: VerifyingKey, message: Uint8Array, signature: Uint8Array): boolean {
  return nodeVerify(null, message, key as KeyObject, signature);
}

/** Only where native verification is asynchronous; here `verify` is as fast as it gets. */
export const verifyLater:
  | ((key: VerifyingKey, message: Uint8Array, signature: Uint8Array) => Promise<boolean>)
  | undefined = undefined;

interface AsyncStorage<T> {
  getStore(): T | undefined;
  run<R>(store: T, fn: () => R): R;
}

export const AsyncLocalStorage: (new <T>() => AsyncStorage<T>) | undefined = NodeAsyncLocalStorage;

function stampOf({ ino, mtimeMs, size }: Stats): string {
  return `${ino} ${mtimeMs} ${size}`;
}

/** The file of synced prices: one `stat`, and its text where that says that it is another one than the known. */
export function priceFile(known: string | undefined): PriceFile {
  const path = priceFilePath();
  try {
    const stats = statSync(path, { throwIfNoEntry: false });
    if (stats === undefined) return { path, stamp: 'none' };
    if (stampOf(stats) === known) return { path, stamp: known };
    const fd = openSync(path, 'r');
    try {
      return { path, stamp: stampOf(fstatSync(fd)), text: readFileSync(fd, 'utf8') };
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    const { code = 'error', message } = error as NodeJS.ErrnoException;
    return { path, stamp: code, error: message };
  }
}

export function environment(name: string): string | undefined {
  return process.env[name];
}
