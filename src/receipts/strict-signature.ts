/**
 * The checks on a signature that come before any backend (docs/receipt-format.md, "Signatures"). Native and other
 * implementations of Ed25519 differ just here, so what they differ on never reaches them.
 */
import { fromHex } from './hex.ts';

/** RFC 8032, section 5.1: the order of the base point, 2^252 + 27742…8493, little-endian. */
const GROUP_ORDER = Uint8Array.of(
  0xed,
  0xd3,
  0xf5,
  0x5c,
  0x1a,
  0x63,
  0x12,
  0x58,
  0xd6,
  0x9c,
  0xf7,
  0xa2,
  0xde,
  0xf9,
  0xde,
  0x14,
  0,
  0,
  0,
  0,
  0,
  0,
  0,
  0,
  0,
  0,
  0,
  0,
  0,
  0,
  0,
  0x10,
);

function isBelowGroupOrder(signature: Uint8Array): boolean {
  for (let index = 31; index >= 0; index--) {
    const difference = (signature[32 + index] as number) - (GROUP_ORDER[index] as number);
    if (difference !== 0) return difference < 0;
  }
  return false;
}

/** The neutral element's encoding: 01 and 31 zero bytes. */
function isIdentity(r: Uint8Array): boolean {
  if (r[0] !== 1) return false;
  for (let index = 1; index < 32; index++) if (r[index] !== 0) return false;
  return true;
}

/** True for 64 bytes with S below the group order and an R that isn't the identity. */
export function isSoundSignature(signature: Uint8Array): boolean {
  return signature.length === 64 && isBelowGroupOrder(signature) && !isIdentity(signature);
}

/** The bytes of a signature that may be handed to a backend; `undefined` when the strict rule refuses it already. */
export function soundSignature(hex: string): Uint8Array | undefined {
  if (hex.length !== 128) return undefined;
  try {
    const signature = fromHex(hex);
    return isSoundSignature(signature) ? signature : undefined;
  } catch {
    return undefined;
  }
}
