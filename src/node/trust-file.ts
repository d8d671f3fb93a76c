/** What a verifier remembers: the last checkpoint that it saw of each log. Kept away from the logs' writers. */
import { randomBytes } from 'node:crypto';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import * as v from 'valibot';
import { AgentGuardError } from '../errors.ts';
import { parseCheckpoint, type ParsedCheckpoint } from '../receipts/checkpoint.ts';
import { makeFolder } from './make-folder.ts';

const trustFile = v.strictObject({
  /** signed notes by log id */
  logs: v.record(v.pipe(v.string(), v.regex(/^[\w-]{22}$/)), v.string()),
  v: v.literal(1),
});

type Notes = Map<string, string>;

/** Throws `AgentGuardError` (`invalid_config`) for a file that is something else: it is never overwritten. */
function readNotes(path: string): Notes {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return new Map();
    throw new AgentGuardError('invalid_config', `the trust file can't be read: ${(error as Error).message}`);
  }
  try {
    return new Map(Object.entries(v.parse(trustFile, JSON.parse(text)).logs));
  } catch {
    throw new AgentGuardError('invalid_config', `${path} is no trust file; it is left as it is`);
  }
}

/** The last checkpoint of a log that this verifier has seen. Throws as for a file that is something else. */
export function lastSeen(path: string, log: string): ParsedCheckpoint | undefined {
  const note = readNotes(path).get(log);
  if (note === undefined) return undefined;
  const checkpoint = parseCheckpoint(note);
  if (!('problem' in checkpoint) && checkpoint.log === log) return checkpoint;
  throw new AgentGuardError('invalid_config', `${path} holds no checkpoint of log ${log} under its name`);
}

/** Remembers a checkpoint that has been verified, unless a later one is known. */
export function remember(path: string, { log, size, note }: ParsedCheckpoint): void {
  const notes = readNotes(path);
  const before = lastSeen(path, log);
  if (before !== undefined && before.size >= size) return;
  notes.set(log, note);
  const logs = Object.fromEntries([...notes].sort(([a], [b]) => (a < b ? -1 : 1)));
  const temporary = `${path}.${process.pid}.${randomBytes(4).toString('hex')}`;
  makeFolder(dirname(path));
  writeFileSync(temporary, `${JSON.stringify({ logs, v: 1 }, undefined, 2)}\n`, {
    mode: 0o600,
    flag: 'wx',
    flush: true,
  });
  renameSync(temporary, path);
}
