/** What the core needs from its runtime, for edge functions and browsers. `src/node/platform.ts` is its twin. */
import * as ed25519 from '@noble/ed25519';
import { sha256 as nobleSha256, sha512 } from '@noble/hashes/sha2.js';

ed25519.hashes.sha512 = sha512;

/** A private key in the form that this runtime signs with. */
export type SigningKey = Uint8Array;

/** A public key in the form that this runtime verifies with. */
export type VerifyingKey = Uint8Array;

export function sha256(data: Uint8Array | string): Uint8Array {
  return nobleSha256(typeof data === 'string' ? briefUtf8(data) : data);
}

export function sha256Hex(data: Uint8Array | string): string {
  return toHex(sha256(data));
}

const encoder = new TextEncoder();

/** The UTF-8 of `text`, to be read at once: the next call may write over it. */
export function briefUtf8(text: string): Uint8Array {
  return encoder.encode(text);
}

const HEX_CODES: readonly (readonly [number, number])[] = Array.from({ length: 256 }, (_, byte) => {
  const digits = byte.toString(16).padStart(2, '0');
  return [digits.charCodeAt(0), digits.charCodeAt(1)];
});

/** In one go: a text that grows by every digit leaves many behind. */
export function toHex(bytes: Uint8Array): string {
  const codes: number[] = [];
  for (const byte of bytes) {
    const [high, low] = HEX_CODES[byte] as readonly [number, number];
    codes.push(high, low);
  }
  return String.fromCharCode(...codes);
}

export function toBase64url(bytes: Uint8Array): string {
  let binary = '';
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

export function randomBytes(length: number): Uint8Array {
  return globalThis.crypto.getRandomValues(new Uint8Array(length));
}

/** Takes a 32-byte Ed25519 seed. */
export function signingKey(seed: Uint8Array): SigningKey {
  return seed;
}

export function publicKeyOf(seed: Uint8Array): Uint8Array {
  return ed25519.getPublicKey(seed);
}

export function sign(key: SigningKey, message: Uint8Array): Uint8Array {
  return ed25519.sign(message, key);
}

/** Takes a 32-byte Ed25519 public key that has passed `admitPublicKey`. */
export function verifyingKey(publicKey: Uint8Array): VerifyingKey {
  return publicKey;
}

/**
 * The cofactorless Ed25519 equation, R byte-equal to [S]B - [k]A, as native backends compute it. noble's own
 * `verify` is cofactored and accepts signatures that they refuse.
 */
export function verify(key: VerifyingKey, message: Uint8Array, signature: Uint8Array): boolean {
  try {
    const r = signature.slice(0, 32);
    const s = littleEndian(signature.subarray(32));
    const publicPoint = ed25519.Point.fromBytes(key, false);
    const hash = sha512(concat(r, key, message));
    const k = littleEndian(hash) % ed25519.Point.CURVE().n;
    const left = s === 0n ? ed25519.Point.ZERO : ed25519.Point.BASE.multiply(s, false);
    const right = k === 0n ? ed25519.Point.ZERO : publicPoint.multiply(k, false);
    return equalBytes(left.add(right.negate()).toBytes(), r);
  } catch {
    return false;
  }
}

/** Keys in the form of WebCrypto, as they are asked for. */
const webKeys = new WeakMap<VerifyingKey, Promise<CryptoKey | undefined>>();

function webKey(key: VerifyingKey): Promise<CryptoKey | undefined> {
  let found = webKeys.get(key);
  if (found === undefined) {
    found = importKey(key).catch(() => undefined);
    webKeys.set(key, found);
  }
  return found;
}

async function importKey(key: VerifyingKey): Promise<CryptoKey> {
  return globalThis.crypto.subtle.importKey('raw', Uint8Array.from(key), 'Ed25519', false, ['verify']);
}

/**
 * Verifies by the runtime's own WebCrypto, which is many times faster than JavaScript, and by `verify` where it lacks
 * Ed25519. For signatures that `soundSignature` let through.
 */
export const verifyLater:
  | ((key: VerifyingKey, message: Uint8Array, signature: Uint8Array) => Promise<boolean>)
  | undefined = async (key, message, signature) => {
  const native = await webKey(key);
  if (native === undefined) return verify(key, message, signature);
  // No copies: a verdict on a long log would leave hundreds of thousands of them behind.
  const [sig, text] = [signature, message] as Uint8Array<ArrayBuffer>[];
  return globalThis.crypto.subtle.verify('Ed25519', native, sig!, text!);
};

function littleEndian(bytes: Uint8Array): bigint {
  return BigInt(`0x${toHex(Uint8Array.from(bytes).toReversed())}`);
}

function concat(...parts: Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

interface AsyncStorage<T> {
  getStore(): T | undefined;
  run<R>(store: T, fn: () => R): R;
}

/** Edge runtimes put AsyncLocalStorage on `globalThis`; browsers have none. */
export const AsyncLocalStorage: (new <T>() => AsyncStorage<T>) | undefined = (
  globalThis as { AsyncLocalStorage?: new <T>() => AsyncStorage<T> }
).AsyncLocalStorage;

/** The file of synced prices, at one look. */
export interface PriceFile {
  path: string;
  /** Changes with the file. */
  stamp: string;
  /** What is in it, where it is another one than the known. */
  text?: string;
  /** Why it can't be read. */
  error?: string;
}

/** Edge runtimes and browsers have no files: prices are handed over by `loadPrices`. */
export function priceFile(_known: string | undefined): PriceFile | undefined {
  return undefined;
}

/** Edge runtimes and browsers have no environment to read. */
export function environment(_name: string): string | undefined {
  return undefined;
}
