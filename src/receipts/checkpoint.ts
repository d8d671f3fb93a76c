/**
 * Checkpoints (c2sp.org/tlog-checkpoint): signed notes that say how many lines a log had, and their Merkle root.
 * Whoever keeps one out of the writer's reach can tell later whether lines were cut or rewritten.
 */
import { fromBase64, toBase64 } from './base64.ts';
import type { Signer } from './keys.ts';
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

/** A key that is, or was, a log's own. */
export interface LogOwner {
  publicKey: Uint8Array;
  /** `seq` of the receipt that put another key in its place; it may sign for the lines up to that one. */
  until?: number;
}

/** Why a checkpoint can't be relied on. */
export interface CheckpointProblem {
  verdict: 'invalid' | 'undecidable';
  cause: string;
}

/**
 * What is wrong with a checkpoint's signatures; `undefined` when one of the log's own keys signed it in its time.
 * Signatures by keys that are not known are passed over; a wrong one in the name of a known key is fatal.
 */
export function checkpointProblem(
  checkpoint: ParsedCheckpoint,
  owners: readonly LogOwner[],
): CheckpointProblem | undefined {
  const origin = originOf(checkpoint.log);
  let best: 'signed' | 'too late' | undefined;
  for (const { publicKey, until } of owners) {
    const found = verifyNote(checkpoint.signed, origin, publicKey);
    if (found === 'forged') {
      return { verdict: 'invalid', cause: 'the checkpoint’s signature does not fit its text' };
    }
    if (found === 'unsigned') continue;
    if (until === undefined || checkpoint.size - 1 <= until) best = 'signed';
    else best ??= 'too late';
  }
  if (best === 'signed') return undefined;
  if (best === 'too late') {
    return { verdict: 'invalid', cause: 'the checkpoint is signed by a key that was replaced before' };
  }
  return { verdict: 'undecidable', cause: 'the checkpoint is signed by no key that is known here' };
}
