/** Signed notes (c2sp.org/signed-note): a text, a blank line, and a line for each signature. */
import { sha256, toHex } from '#platform';
import { equalBytes, fromBase64, toBase64 } from './base64.ts';
import { admitPublicKey, verifySignature, type Signer } from './keys.ts';

/** A note taken apart; nothing in it has been verified. */
export interface Note {
  /** What is signed, to its last newline. */
  text: string;
  signatures: readonly NoteSignature[];
}

export interface NoteSignature {
  /** Of the key, as the signer calls it. */
  name: string;
  /** The first 4 bytes of a digest of name and key: a hint, not a proof. */
  keyId: Uint8Array;
  signature: Uint8Array;
}

const ED25519 = 0x01;
const DASH = '—';
const MOST_SIGNATURES = 32;
const LONGEST_NOTE = 16 * 1024;
const SIGNATURE_LINE = new RegExp(`^${DASH} ([^\\s+]+) ([A-Za-z0-9+/]+={0,2})$`, 'u');
// Everything below U+0020 but the newline. Lone surrogates have no UTF-8 form.
// oxlint-disable-next-line no-control-regex
const CONTROLS = /[\u0000-\u0009\u000b-\u001f]/;

const encoder = new TextEncoder();

/** The id that a note names an Ed25519 key by: SHA-256(name ‖ 0x0A ‖ 0x01 ‖ key), its first 4 bytes. */
export function noteKeyId(name: string, publicKey: Uint8Array): Uint8Array {
  const prefix = encoder.encode(`${name}\n`);
  const preimage = new Uint8Array(prefix.length + 1 + publicKey.length);
  preimage.set(prefix);
  preimage[prefix.length] = ED25519;
  preimage.set(publicKey, prefix.length + 1);
  return sha256(preimage).slice(0, 4);
}

/** The key in the form that tools for signed notes take: `name+id+key`. */
export function noteVerifierKey(name: string, publicKey: Uint8Array): string {
  const key = new Uint8Array(1 + publicKey.length);
  key[0] = ED25519;
  key.set(publicKey, 1);
  return `${name}+${toHex(noteKeyId(name, publicKey))}+${toBase64(key)}`;
}

/** Signs `text`, which must end with a newline, under the key name `name`. */
export function signNote(text: string, name: string, signer: Signer): string {
  return `${text}\n${signatureLine(text, name, signer)}`;
}

function signatureLine(text: string, name: string, signer: Signer): string {
  const signature = signer.sign(encoder.encode(text));
  const bytes = new Uint8Array(4 + signature.length);
  bytes.set(noteKeyId(name, signer.publicKey));
  bytes.set(signature, 4);
  return `${DASH} ${name} ${toBase64(bytes)}\n`;
}

/** Takes a note apart, or says why it is none. */
export function parseNote(note: string): Note | { problem: string } {
  if (note.length > LONGEST_NOTE) return { problem: `the note is longer than ${LONGEST_NOTE} characters` };
  if (!note.isWellFormed() || CONTROLS.test(note))
    return { problem: 'the note holds characters that it may not' };
  const end = note.lastIndexOf('\n\n');
  if (end <= 0) return { problem: 'the note has no blank line before its signatures' };
  if (!note.endsWith('\n')) return { problem: 'the note doesn’t end with a newline' };
  const lines = note.slice(end + 2, -1).split('\n');
  if (lines.length > MOST_SIGNATURES)
    return { problem: `the note has more than ${MOST_SIGNATURES} signatures` };
  const signatures: NoteSignature[] = [];
  for (const line of lines) {
    const [, name = '', base64 = ''] = SIGNATURE_LINE.exec(line) ?? [];
    const bytes = fromBase64(base64);
    if (bytes === undefined || bytes.length < 5)
      return { problem: 'the note has a malformed signature line' };
    signatures.push({ name, keyId: bytes.subarray(0, 4), signature: bytes.subarray(4) });
  }
  return { text: note.slice(0, end + 1), signatures };
}

/**
 * Whether the key `publicKey`, under the key name `name`, signed the note. Signatures by other keys are passed over;
 * one that names this key and doesn't fit is `forged`, whatever else is there.
 */
export function verifyNote(
  note: Note,
  name: string,
  publicKey: Uint8Array,
): 'signed' | 'unsigned' | 'forged' {
  const keyId = noteKeyId(name, publicKey);
  const own = note.signatures.filter((each) => each.name === name && equalBytes(each.keyId, keyId));
  if (own.length === 0) return 'unsigned';
  const admitted = admitPublicKey(publicKey);
  if ('refused' in admitted) return 'forged';
  const { key } = admitted;
  const message = encoder.encode(note.text);
  return own.every(({ signature }) => verifySignature(key, message, toHex(signature))) ? 'signed' : 'forged';
}
