/**
 * Checkpoints (c2sp.org/tlog-checkpoint): signed notes that say how many lines a log had, and their Merkle root.
 * Whoever keeps one out of the writer's reach can tell later whether lines were cut or rewritten.
 */
import { fromBase64, toBase64 } from './base64.ts';
import { thumbprint, type Signer } from './keys.ts';
import { parseNote, signNote, verifyNote, type Note } from './note.ts';

/** What a checkpoint says. */
export interface Checkpoint {
  /** Id of the log. */
  log: string;
  /** How many lines it covers, from the first. */
  size: number;
  /** RFC 6962 root of those lines. */
  root: Uint8Array;
  /** The signed note, as it is kept and passed on. */
  note: string;
}

const ORIGIN = 'agentguard.run/log/';
const BODY =
  /^agentguard\.run\/log\/([A-Za-z0-9_-]{22})\n([1-9]\d{0,15})\n([A-Za-z0-9+/]{43}=)\n(?:[^\n]+\n)*$/;

/** The first line of a log's checkpoints, which is the name of their key as well. */
export function originOf(log: string): string {
  return `${ORIGIN}${log}`;
}

/** Signs that log `log` had `size` lines with this root. */
export function signCheckpoint(log: string, size: number, root: Uint8Array, signer: Signer): Checkpoint {
  const origin = originOf(log);
  return { log, size, root, note: signNote(`${origin}\n${size}\n${toBase64(root)}\n`, origin, signer) };
}

/** A checkpoint taken apart; nothing in it has been verified. */
export interface ParsedCheckpoint extends Checkpoint {
  signed: Note;
}

/** Takes a checkpoint apart, or says why it is none. */
export function parseCheckpoint(note: string): ParsedCheckpoint | { problem: string } {
  const signed = parseNote(note);
  if ('problem' in signed) return signed;
  const [, log, size, base64] = BODY.exec(signed.text) ?? [];
  const root = base64 === undefined ? undefined : fromBase64(base64);
  if (log === undefined || root === undefined || !Number.isSafeInteger(Number(size))) {
    return { problem: 'expected the lines of a checkpoint: agentguard.run/log/<log id>, size, base64 root' };
  }
  return { log, size: Number(size), root, note, signed };
}

/** Who signed a checkpoint, among keys that are known. */
export type CheckpointSigner =
  | { signer: string; problem?: never }
  | { signer?: never; verdict: 'invalid' | 'undecidable'; problem: string };

/**
 * The thumbprint of the key that signed a checkpoint. One signature by a known key is enough, and others are passed
 * over; a wrong signature in the name of a known key makes the checkpoint invalid.
 */
export function checkpointSigner(
  checkpoint: ParsedCheckpoint,
  keys: readonly Uint8Array[],
): CheckpointSigner {
  const origin = originOf(checkpoint.log);
  let signer: string | undefined;
  for (const key of keys) {
    const found = verifyNote(checkpoint.signed, origin, key);
    if (found === 'forged') {
      return { verdict: 'invalid', problem: 'the checkpoint’s signature does not fit its text' };
    }
    if (found === 'signed') signer = thumbprint(key);
  }
  if (signer !== undefined) return { signer };
  return { verdict: 'undecidable', problem: 'the checkpoint is signed by no key that is known here' };
}
