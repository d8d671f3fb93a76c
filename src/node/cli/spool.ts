/** A log on standard input, kept in a temporary file while it is verified: keys and checkpoints are looked up first. */
import { createWriteStream, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { LOG_FILE } from '../home.ts';

/** How a report names it. */
export const STDIN = '-';

let folder: string | undefined;

/** The file that holds what came in on standard input. It is removed when the process ends. */
export async function spoolStdin(): Promise<string> {
  if (folder === undefined) {
    const made = mkdtempSync(join(tmpdir(), 'agentguard-stdin-'));
    folder = made;
    process.once('exit', () => rmSync(made, { recursive: true, force: true }));
    await pipeline(process.stdin, createWriteStream(join(made, LOG_FILE), { mode: 0o600 }));
  }
  return join(folder, LOG_FILE);
}

export function isSpooled(file: string): boolean {
  return folder !== undefined && file.startsWith(folder);
}
