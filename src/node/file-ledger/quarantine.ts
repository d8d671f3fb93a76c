/** Bytes that a crash left at the end of a log: kept aside under a name that says where they were. */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Draft } from '../../receipts/payloads.ts';
import { syncDirectory } from '../installation-key.ts';
import { makeFolder } from '../make-folder.ts';
import { derivedFolder } from './log-file.ts';

function prefixOf(seq: number): string {
  return `${String(seq).padStart(12, '0')}-`;
}

function recoveredDraft(name: string, bytes: Uint8Array, digest: string): Draft {
  return {
    type: 'recovered',
    dropped_bytes: bytes.length,
    dropped_sha256: `sha256:${digest}`,
    quarantine: `quarantine/${name}`,
  };
}

function digestOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Keeps bytes that stood where receipt `seq` belongs, durably. Returns the draft that says so. */
export function putAside(logPath: string, seq: number, bytes: Uint8Array): Draft {
  const folder = derivedFolder(logPath, 'quarantine');
  const digest = digestOf(bytes);
  const name = `${prefixOf(seq)}${digest.slice(0, 16)}.bin`;
  makeFolder(folder);
  writeFileSync(join(folder, name), bytes, { mode: 0o600, flush: true });
  syncDirectory(folder);
  return recoveredDraft(name, bytes, digest);
}

/** What was put aside at `seq` by a process that could not write its receipt any more, say for want of space. */
export function unrecorded(logPath: string, seq: number): Draft | undefined {
  const folder = derivedFolder(logPath, 'quarantine');
  if (!existsSync(folder)) return undefined;
  const name = readdirSync(folder).find((entry) => entry.startsWith(prefixOf(seq)) && entry.endsWith('.bin'));
  if (name === undefined) return undefined;
  const bytes = readFileSync(join(folder, name));
  return recoveredDraft(name, bytes, digestOf(bytes));
}
