/** Snapshot bodies beside the log, each named by the digest that a `snapshot` receipt signs. */
import { existsSync, readdirSync, readFileSync, unlinkSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { sha256Text } from '../../receipts/keys.ts';
import type { LedgerState } from '../../ledgers/state.ts';
import { stateFromSnapshot } from '../../ledgers/snapshot.ts';
import { writeDurably } from '../write-durably.ts';
import { derivedFolder } from './log-file.ts';

/** Bodies kept; older ones only cost space. */
const KEPT = 3;

function bodyName(seq: number, digest: string): string {
  return `${String(seq).padStart(12, '0')}-${digest.slice('sha256:'.length, 'sha256:'.length + 32)}.json`;
}

/** Writes a snapshot's body durably and returns its digest. */
export async function writeSnapshot(logPath: string, seq: number, text: string): Promise<string> {
  const folder = derivedFolder(logPath, 'snapshots');
  const digest = sha256Text(text);
  const path = join(folder, bodyName(seq, digest));
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await writeDurably(path, text);
  return digest;
}

/** The state of a snapshot, or `undefined` when its body is missing or isn't what its receipt signed. */
export function readSnapshot(
  logPath: string,
  seq: number,
  digest: string,
): { state: LedgerState; offset: number } | undefined {
  const path = join(derivedFolder(logPath, 'snapshots'), bodyName(seq, digest));
  if (!existsSync(path)) return undefined;
  try {
    const text = readFileSync(path, 'utf8');
    return sha256Text(text) === digest ? stateFromSnapshot(text) : undefined;
  } catch {
    // An unreadable body costs time, not money: the log is replayed from an earlier one.
    return undefined;
  }
}

/** Removes bodies that newer ones have made useless. */
export function forgetOldSnapshots(logPath: string): void {
  const folder = derivedFolder(logPath, 'snapshots');
  try {
    const bodies = readdirSync(folder).filter((name) => name.endsWith('.json'));
    for (const name of bodies.sort().slice(0, -KEPT)) unlinkSync(join(folder, name));
  } catch {
    // Another process may have been faster; what is left is removed next time.
  }
}
