/** The Merkle leaf of a line, as RFC 6962 has it: SHA-256 of a zero byte and the line. */
import { sha256 } from '#platform';

export function leafHash(line: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(line.length + 1);
  bytes.set(line, 1);
  return sha256(bytes);
}
