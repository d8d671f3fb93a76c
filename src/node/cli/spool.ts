/** A log that comes through a pipe, kept in a temporary file while it is verified: keys and checkpoints are looked up first. */
import { createReadStream, createWriteStream, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { LOG_FILE } from '../home.ts';

/** How a report names it. */
export const STDIN = '-';

let folder: string | undefined;

/** The file that holds what came in on standard input. It is removed when the process ends. */
export function spoolStdin(): Promise<string> {
  return spool(process.stdin);
}

/** The same for a named pipe, such as the shell's `<(zcat log.gz)`. */
export function spoolPipe(path: string): Promise<string> {
  return spool(createReadStream(path));
}

async function spool(source: Readable): Promise<string> {
  if (folder === undefined) {
    const made = mkdtempSync(join(tmpdir(), 'agentguard-stdin-'));
    folder = made;
    process.once('exit', () => rmSync(made, { recursive: true, force: true }));
    await pipeline(source, createWriteStream(join(made, LOG_FILE), { mode: 0o600 }));
  }
  return join(folder, LOG_FILE);
}

export function isSpooled(file: string): boolean {
  return folder !== undefined && file.startsWith(folder);
}
