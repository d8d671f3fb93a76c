/** A line taken apart: encoding, canonical form, envelope and schema. Signature and place come later. */
import { canonicalJson, strictUtf8 } from './canonical-json.ts';
import { checkPayload, MAX_LINE_BYTES, type Payload } from './payloads.ts';

interface Signature {
  alg: string;
  kid: string;
  sig: string;
}

/** A line taken apart, its encoding checked but nothing else. */
export interface ParsedLine {
  text: string;
  payload: Payload;
  signature: Signature;
}

const ENVELOPE = ['payload', 'signature'];
const SIGNATURE = ['alg', 'kid', 'sig'];

/** True for an object that has these members in this order, which is that of its canonical form. */
function hasOnly(value: unknown, names: readonly string[]): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  let count = 0;
  for (const name in value) if (name !== names[count++]) return false;
  return count === names.length;
}

const SIGNATURE_TAIL = ',"signature":';

/** Takes one line apart, or says what is wrong with its encoding or schema. */
export function parseLine(bytes: Uint8Array): ParsedLine | { problem: string } {
  if (bytes.length > MAX_LINE_BYTES) return { problem: `the line is longer than ${MAX_LINE_BYTES} bytes` };
  let text: string;
  let value: unknown;
  try {
    text = strictUtf8(bytes);
  } catch {
    return { problem: 'the line is not valid UTF-8' };
  }
  try {
    value = JSON.parse(text);
  } catch {
    return { problem: 'the line is not JSON' };
  }
  try {
    if (canonicalJson(value) !== text) return { problem: 'the line is not in its RFC 8785 form' };
  } catch (error) {
    return { problem: (error as Error).message };
  }
  const envelope = value as { payload?: unknown; signature?: Partial<Signature> };
  if (!hasOnly(envelope, ENVELOPE))
    return { problem: 'expected the members "payload" and "signature" and no others' };
  const { signature } = envelope;
  const isSignature =
    hasOnly(signature, SIGNATURE) &&
    signature?.alg === 'EdDSA' &&
    typeof signature.kid === 'string' &&
    typeof signature.sig === 'string';
  if (!isSignature) {
    return { problem: 'expected a signature with "alg": "EdDSA", "kid" and "sig"' };
  }
  const checked = checkPayload(envelope.payload);
  if ('problem' in checked) return checked;
  return { text, payload: checked.payload, signature: signature as Signature };
}

/** The bytes that a line's signature is over: the envelope has one canonical form, so they are a slice of it. */
export function signedBytes(bytes: Uint8Array, text: string): Uint8Array {
  const tail = text.length - text.lastIndexOf(SIGNATURE_TAIL);
  return bytes.subarray('{"payload":'.length, bytes.length - tail);
}
