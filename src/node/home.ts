/** Where things lie on disk: `~/.agentguard`, one folder for each tenant. */
import { createHash } from 'node:crypto';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';

/** The home of all logs and keys: `AGENTGUARD_HOME`, else `~/.agentguard`. */
export function homeDirectory(): string {
  const set = process.env['AGENTGUARD_HOME'];
  return set === undefined || set === '' ? join(homedir(), '.agentguard') : resolve(set);
}

/** The price list that `agentguard models --sync-pricing` wrote. */
export function priceFilePath(): string {
  return join(homeDirectory(), 'prices.json');
}

const LONGEST_NAME = 200;

/**
 * A tenant's name as a folder name that is safe on every file system: lower-case letters, digits, `-` and `_` stay,
 * every other byte becomes `%` and two hex digits, so that `Acme` and `acme` differ where case doesn't.
 */
export function tenantFolder(tenantId: string): string {
  let name = '';
  for (const byte of Buffer.from(tenantId, 'utf8')) {
    const char = String.fromCharCode(byte);
    name += /[a-z0-9_-]/.test(char) ? char : `%${byte.toString(16).padStart(2, '0')}`;
  }
  if (name.length <= LONGEST_NAME) return name;
  return `~${createHash('sha256').update(tenantId).digest('hex')}`;
}

/** The one file that is the truth of a ledger. */
export const LOG_FILE = 'decisions.ndjson';

export const KEY_FILE = 'installation-key.json';
