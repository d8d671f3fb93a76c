/**
 * The last checkpoint beside its log, with what the Merkle tree needs to go on from there. Derived, and it vouches for
 * itself: the tree must have the root that the note signs. Without it the tree is built anew from the whole log.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as v from 'valibot';
import { AgentGuardError } from '../../errors.ts';
import { equalBytes, fromBase64, toBase64 } from '../../receipts/base64.ts';
import { checkpointProblem, parseCheckpoint, type Checkpoint } from '../../receipts/checkpoint.ts';
import { TreeFrontier } from '../../receipts/merkle.ts';
import type { Head } from '../../receipts/seal.ts';
import type { LogKeys } from '../../receipts/signers.ts';
import { makeFolder } from '../make-folder.ts';
import { writeDurably } from '../write-durably.ts';
import { derivedFolder } from './log-file.ts';

/** A tree at the place of its last checkpoint. */
export interface KeptTree {
  checkpoint: Checkpoint;
  tree: TreeFrontier;
  /** Where the log's next line begins, and the hash of the line before it. */
  offset: number;
  head: string;
}

const whole = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const treeFile = v.strictObject({
  frontier: v.array(v.string()),
  head: v.string(),
  note: v.string(),
  offset: whole,
  v: v.literal(1),
});

function treePath(logPath: string): string {
  return join(derivedFolder(logPath, 'checkpoints'), 'latest.json');
}

/** The tree of the last checkpoint that one of the log's own keys signed; `undefined` when there is none to trust. */
export function readTree(logPath: string, log: string, keys: LogKeys): KeptTree | undefined {
  const path = treePath(logPath);
  if (!existsSync(path)) return undefined;
  try {
    const { frontier, head, note, offset } = v.parse(treeFile, JSON.parse(readFileSync(path, 'utf8')));
    const checkpoint = parseCheckpoint(note);
    if ('problem' in checkpoint || checkpoint.log !== log) return undefined;
    // A key that is gone for good can't vouch any more: whoever found it could point anywhere.
    const living = keys.former.filter(({ signer }) => signer !== undefined);
    if (checkpointProblem(checkpoint, [keys.signer, ...living]) !== undefined) return undefined;
    const roots = frontier.map((text) => fromBase64(text) ?? new Uint8Array(0));
    const tree = new TreeFrontier(checkpoint.size, roots);
    if (!equalBytes(tree.root(), checkpoint.root)) return undefined;
    return { checkpoint, tree, offset, head };
  } catch {
    // Unreadable or something else: it costs time to build the tree anew, nothing more.
    return undefined;
  }
}

/** Keeps a tree for the next start. */
export async function writeTree(
  logPath: string,
  { checkpoint, tree, offset, head }: KeptTree,
): Promise<void> {
  const path = treePath(logPath);
  makeFolder(derivedFolder(logPath, 'checkpoints'));
  const frontier = tree.roots.map(toBase64);
  const text = `${JSON.stringify({ frontier, head, note: checkpoint.note, offset, v: 1 })}\n`;
  await writeDurably(path, text);
}

/**
 * How many lines the checkpoint beside a log covers; 0 without one. Throws `AgentGuardError` (`log_damaged`) when the
 * log doesn't have as many.
 */
export function coveredLines(logPath: string, { log, seq }: Head, keys: LogKeys): number {
  const lines = seq + 1;
  const covered = readTree(logPath, log, keys)?.checkpoint.size ?? 0;
  if (covered <= lines) return covered;
  throw new AgentGuardError(
    'log_damaged',
    `${logPath} has ${lines} lines, but the checkpoint beside it covers ${covered}: lines were cut from ` +
      'its end. The file is left as it is. Restore the log from a backup, or move its folder away to start a new one.',
  );
}
