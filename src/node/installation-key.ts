/** The installation key: made once, kept in a file that only its owner can read, or given by the environment. */
import { randomBytes } from 'node:crypto';
import { closeSync, constants, fstatSync, fsyncSync, linkSync, openSync } from 'node:fs';
import { readFileSync, renameSync, unlinkSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { AgentGuardError } from '../errors.ts';
import { fromBase64url } from '../receipts/keys.ts';
import { keyFileText, MISMATCH, newKeyFile, parseKeyFile, type KeyFile } from './key-file.ts';
import { makeFolder } from './make-folder.ts';

/** Holds the installation key where there is no file to keep it in: a base64url seed, or the text of a key file. */
export const KEY_VARIABLE = 'AGENTGUARD_SIGNING_KEY';

function unsafe(path: string, problem: string): AgentGuardError {
  return new AgentGuardError('key_unsafe', `the key file ${path} ${problem}`);
}

/**
 * The key of `AGENTGUARD_SIGNING_KEY`; `undefined` when that is not set. Throws `AgentGuardError` (`key_unsafe`) for
 * anything that is no key. Neither the error nor anything else repeats the value.
 */
export function keyOfEnvironment(): KeyFile | undefined {
  const text = process.env[KEY_VARIABLE]?.trim();
  if (text === undefined || text === '') return undefined;
  try {
    if (text.startsWith('{')) return parseKeyFile(text);
    return newKeyFile(fromBase64url(text, 32));
  } catch {
    throw new AgentGuardError(
      'key_unsafe',
      `${KEY_VARIABLE}: expected an Ed25519 seed (32 bytes as 43 characters of base64url) or a private key as a JWK`,
    );
  }
}

/** Lets a key file that a user has named count, whatever the environment says. For commands: it is their own process. */
export function ignoreEnvironmentKey(): void {
  delete process.env[KEY_VARIABLE];
}

/**
 * The installation key of `path`, made there when it is missing. Throws `AgentGuardError` (`key_unsafe`) when the
 * file can be read by others, is a link, or isn't an Ed25519 key, and `ledger_unavailable` when it can't be
 * opened or made.
 */
export function installationKey(path: string): KeyFile {
  return readKey(path) ?? makeKey(path);
}

/**
 * The installation key of a log that has receipts already. Throws as `installationKey` does, and `key_unsafe` when
 * the file is missing.
 */
export function existingKey(path: string, logPath: string): KeyFile {
  const key = readKey(path);
  if (key !== undefined) return key;
  throw unsafe(
    path,
    `is missing, but ${logPath} was begun with it; restore it, or move the log away to begin a new one`,
  );
}

/** The public half of the installation key of `path`; `undefined` when there is no such file. */
export function installationPublicKey(path: string): Uint8Array | undefined {
  return readKey(path)?.signer.publicKey;
}

/** The key file of `path`; `undefined` when there is none. Throws as `installationKey` does. */
export function readKey(path: string): KeyFile | undefined {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return undefined;
    if (code === 'ELOOP') throw unsafe(path, 'is a symbolic link; put the key itself there');
    throw new AgentGuardError(
      'ledger_unavailable',
      `can't open the key file ${path}: ${(error as Error).message}`,
      {
        cause: error,
      },
    );
  }
  try {
    const mode = fstatSync(fd).mode & 0o777;
    // Windows has no such bits; there the folder's own protection counts.
    if (process.platform !== 'win32' && (mode & 0o077) !== 0) {
      const shown = mode.toString(8).padStart(3, '0');
      throw unsafe(path, `can be read by others (mode ${shown}); run: chmod 600 ${path}`);
    }
    return keyOfFile(path, readFileSync(fd, 'utf8'));
  } finally {
    closeSync(fd);
  }
}

function keyOfFile(path: string, text: string): KeyFile {
  try {
    return parseKeyFile(text);
  } catch (error) {
    // The parser's own messages may show what stands in the file.
    const isMismatch = (error as Error).message === MISMATCH;
    throw unsafe(
      path,
      isMismatch
        ? `is damaged: ${MISMATCH}; restore it from your backup`
        : 'is not an Ed25519 private key as a JWK; restore it from your backup',
    );
  }
}

function makeKey(path: string): KeyFile {
  const key = newKeyFile(new Uint8Array(randomBytes(32)), new Date().toISOString());
  try {
    writeNewKey(path, key);
    return key;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') {
      const winner = readKey(path);
      if (winner !== undefined) return winner;
    }
    throw new AgentGuardError(
      'ledger_unavailable',
      `can't make the key file ${path}: ${(error as Error).message}. Set AGENTGUARD_HOME to a folder that can be written.`,
      { cause: error },
    );
  }
}

/** Puts `key` in the place of the key file of `path`, whole or not at all. Throws the file system's error. */
export function replaceKey(path: string, key: KeyFile): void {
  placeKey(path, key, (temporary) => renameSync(temporary, path));
}

/** Makes a key file where there is none. Throws the file system's error, `EEXIST` where there is one. */
export function writeNewKey(path: string, key: KeyFile): void {
  placeKey(path, key, (temporary) => {
    // A link fails where a rename would replace: of two processes that make a key at once, one wins.
    try {
      linkSync(temporary, path);
    } finally {
      unlinkSync(temporary);
    }
  });
}

function placeKey(path: string, key: KeyFile, place: (temporary: string) => void): void {
  const temporary = `${path}.${process.pid}.${randomBytes(6).toString('hex')}`;
  makeFolder(dirname(path));
  writeFileSync(temporary, keyFileText(key), { mode: 0o600, flag: 'wx', flush: true });
  place(temporary);
  syncDirectory(dirname(path));
}

/** Makes a created, renamed or removed name durable. */
export function syncDirectory(directory: string): void {
  if (process.platform === 'win32') return;
  const fd = openSync(directory, constants.O_RDONLY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
