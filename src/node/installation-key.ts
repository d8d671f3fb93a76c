/** The installation key: made once, kept in a file that only its owner can read. */
import { randomBytes } from 'node:crypto';
import { closeSync, constants, fstatSync, fsyncSync, linkSync, openSync } from 'node:fs';
import { readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { AgentGuardError } from '../errors.ts';
import { base64url, fromBase64url, signerFromSeed, type Signer } from '../receipts/keys.ts';
import { makeFolder } from './make-folder.ts';

function unsafe(path: string, problem: string): AgentGuardError {
  return new AgentGuardError('key_unsafe', `the key file ${path} ${problem}`);
}

/**
 * The installation key of `path`, made there when it is missing. Throws `AgentGuardError` (`key_unsafe`) when the
 * file can be read by others, is a link, or isn't an Ed25519 key, and `ledger_unavailable` when it can't be
 * opened or made.
 */
export function installationKey(path: string): Signer {
  return readKey(path) ?? makeKey(path);
}

/**
 * The installation key of a log that has receipts already. Throws as `installationKey` does, and `key_unsafe` when
 * the file is missing.
 */
export function existingKey(path: string, logPath: string): Signer {
  const signer = readKey(path);
  if (signer !== undefined) return signer;
  throw unsafe(
    path,
    `is missing, but ${logPath} was begun with it; restore it, or move the log away to begin a new one`,
  );
}

/** The public half of the installation key of `path`; `undefined` when there is no such file. */
export function installationPublicKey(path: string): Uint8Array | undefined {
  return readKey(path)?.publicKey;
}

function readKey(path: string): Signer | undefined {
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
    return signerFromJwk(path, readFileSync(fd, 'utf8'));
  } finally {
    closeSync(fd);
  }
}

function signerFromJwk(path: string, text: string): Signer {
  let jwk: { crv?: unknown; d?: unknown; x?: unknown };
  let seed: Uint8Array;
  try {
    jwk = JSON.parse(text) as typeof jwk;
    seed = fromBase64url(String(jwk.d), 32);
  } catch {
    throw unsafe(path, 'is not an Ed25519 private key as a JWK; restore it from your backup');
  }
  const signer = signerFromSeed(seed);
  if (jwk.crv !== 'Ed25519' || jwk.x !== base64url(signer.publicKey)) {
    throw unsafe(
      path,
      'is damaged: its public part does not belong to its private part; restore it from your backup',
    );
  }
  return signer;
}

function makeKey(path: string): Signer {
  const seed = new Uint8Array(randomBytes(32));
  const signer = signerFromSeed(seed);
  const jwk = {
    crv: 'Ed25519',
    d: base64url(seed),
    kid: signer.kid,
    kty: 'OKP',
    x: base64url(signer.publicKey),
  };
  const temporary = `${path}.${process.pid}.${randomBytes(6).toString('hex')}`;
  try {
    makeFolder(dirname(path));
    writeFileSync(temporary, `${JSON.stringify(jwk)}\n`, { mode: 0o600, flag: 'wx', flush: true });
    try {
      // A link fails where a rename would replace: of two processes that make a key at once, one wins.
      linkSync(temporary, path);
    } finally {
      unlinkSync(temporary);
    }
    syncDirectory(dirname(path));
    return signer;
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
