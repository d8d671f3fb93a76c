/** Finding a log, and the key that it is to be verified with. */
import { closeSync, existsSync, openSync, readdirSync, readFileSync, readSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { equalBytes } from '../../receipts/base64.ts';
import { fromBase64url, thumbprint } from '../../receipts/keys.ts';
import type { LogKeys } from '../../receipts/signers.ts';
import { MAX_LINE_BYTES } from '../../receipts/payloads.ts';
import { parseLine, type Trust } from '../../receipts/verify.ts';
import { parseKeyCertificate } from '../../receipts/key-certificate.ts';
import { homeDirectory, KEY_FILE, LOG_FILE, tenantFolder } from '../home.ts';
import { keyOfEnvironment, readKey } from '../installation-key.ts';
import { CliError, commandText, printable } from './output.ts';
import { isSpooled } from './spool.ts';
import type { VerifyOptions } from './verify.ts';

/** Folders of a home that hold a log. */
function tenantsOf(home: string): string[] {
  if (!existsSync(home)) return [];
  const folders = readdirSync(home, { withFileTypes: true }).filter((entry) => !entry.isFile());
  return folders.map(({ name }) => name).filter((name) => existsSync(join(home, name, LOG_FILE)));
}

/** The logs of a home, or of a folder that is one log's own. */
export function logsOf(home: string): string[] {
  const own = join(home, LOG_FILE);
  return [...(existsSync(own) ? [own] : []), ...tenantsOf(home).map((name) => join(home, name, LOG_FILE))];
}

function onlyLogOf(home: string, doing: readonly string[]): string {
  const tenants = tenantsOf(home);
  const [only] = tenants;
  if (tenants.length === 1 && only !== undefined) return join(home, only, LOG_FILE);
  if (tenants.length === 0) {
    throw new CliError(
      `There is no log in ${home} yet: a guard writes the first receipt at its first call. Name the log's file or ` +
        'folder, or set AGENTGUARD_HOME.',
    );
  }
  const choices = tenants.map((name) => `  ${commandText(...doing, join(home, name))}`);
  throw new CliError(
    [`${home} holds the logs of ${tenants.length} tenants. Name one:`, ...choices].join('\n'),
  );
}

const MOST_NAMED = 20;

/** Which tenants a home has, for a name that is none of them. */
function tenantsText(home: string): string {
  const tenants = tenantsOf(home).map(tenantOfFolder);
  if (tenants.length === 0) return `${home} has no tenants yet`;
  const named = tenants.slice(0, MOST_NAMED).map((name) => printable(name));
  const more = tenants.length > MOST_NAMED ? ` and ${tenants.length - MOST_NAMED} more` : '';
  return `no tenant of that name. The tenants of ${home}: ${named.join(', ')}${more}`;
}

/** The tenant that a folder is named after; a name that was too long for one stays a digest. */
function tenantOfFolder(folder: string): string {
  try {
    return decodeURIComponent(folder);
  } catch {
    return folder;
  }
}

/**
 * The log that a user means by `path`: a file, a folder, a tenant's name, or nothing for the only log of the home.
 * Throws `CliError` that lists the choices or says where a log was looked for.
 * `doing` are the words of the command that come before the path.
 */
export function findLog(path: string | undefined, ...doing: readonly string[]): string {
  if (path === undefined) return onlyLogOf(homeDirectory(), doing);
  if (path.trim() === '') {
    throw new CliError('The path is empty. Name a log file, its folder or a tenant, or leave it out.');
  }
  const absolute = resolve(path);
  if (!existsSync(absolute)) {
    const home = homeDirectory();
    const named = join(home, tenantFolder(path), LOG_FILE);
    if (existsSync(named)) return named;
    throw new CliError(`There is no file or folder ${printable(absolute)}, and ${tenantsText(home)}.`);
  }
  if (!statSync(absolute).isDirectory()) return absolute;
  const file = join(absolute, LOG_FILE);
  if (existsSync(file)) return file;
  if (tenantsOf(absolute).length > 0) return onlyLogOf(absolute, doing);
  throw new CliError(`The folder ${absolute} holds no ${LOG_FILE}. Name the log's file, or its folder.`);
}

/** The installation key's file that belongs to a log: beside it, or in the home above it. */
export function keyFileOf(logFile: string): string | undefined {
  const folder = dirname(logFile);
  const places = isSpooled(logFile) ? [homeDirectory()] : [folder, dirname(folder)];
  return places.map((place) => join(place, KEY_FILE)).find((path) => existsSync(path));
}

/** Which keys a log is verified with, and who says so. */
export interface KeyChoice {
  keys: readonly Uint8Array[];
  /** RFC 7638 thumbprints of the keys; of a pin that fits no key, the pin itself. */
  thumbprints: readonly string[];
  /** `pinned` on the command line, found beside the log (`installation`), or `none`. */
  source: 'pinned' | 'installation' | 'none';
  keyFile?: string;
}

/** Throws `CliError` for a pin that can't be a key, `AgentGuardError` for a key file that isn't safe. */
export function chooseKey(logFile: string, pins: readonly string[]): KeyChoice {
  if (pins.length > 0) {
    const pinned = pins.map((pin) => pinnedKey(logFile, pin));
    return {
      keys: pinned.map(({ key }) => key),
      thumbprints: pinned.map(({ name }) => name),
      source: 'pinned',
    };
  }
  const keyFile = keyFileOf(logFile);
  const keys = ownKeys(keyFile);
  if (keys.length === 0) return { keys: [], thumbprints: [], source: 'none' };
  // A log that began under a key that came before is pinned by that one.
  const shown = keys.length > 1 ? shownBy(logFile)?.key : undefined;
  if (shown !== undefined) keys.sort((a, b) => Number(equalBytes(b, shown)) - Number(equalBytes(a, shown)));
  return {
    keys,
    thumbprints: keys.map(thumbprint),
    source: 'installation',
    ...(keyFile !== undefined && { keyFile }),
  };
}

function withFormer({ signer, former }: LogKeys): Uint8Array[] {
  return [signer, ...former].map(({ publicKey }) => publicKey);
}

/** This machine's own keys: of the environment, and of a key file. */
export function ownKeys(keyFile: string | undefined): Uint8Array[] {
  const own = [keyOfEnvironment(), keyFile === undefined ? undefined : readKey(keyFile)];
  return own.flatMap((key) => (key === undefined ? [] : withFormer(key)));
}

/** The keys that a pin may mean, where several are shown. A thumbprint that none of them has is no key. */
export function keysOfPin(pin: string, shown: readonly Uint8Array[]): Uint8Array[] {
  const fitting = shown.find((key) => thumbprint(key) === pin);
  return [fitting ?? keyFromText(pin) ?? keyFromJwk(pin)];
}

/** What a log is to be verified with: pinned keys and roots, or this machine's own key. Throws as `chooseKey` does. */
export function chooseTrust(
  logFile: string,
  { key: pins = [], root = [], certificate = [], logId }: VerifyOptions,
): { key: KeyChoice; trust: Trust } {
  const roots = root.map(rootKey);
  const key: KeyChoice =
    roots.length > 0 && pins.length === 0
      ? { keys: [], thumbprints: roots.map(thumbprint), source: 'pinned' }
      : chooseKey(logFile, pins);
  const certificates = certificate.map((path) => parseKeyCertificate(readText(path, '--certificate')));
  return { key, trust: { keys: key.keys, roots, certificates, ...(logId !== undefined && { log: logId }) } };
}

/** A root is pinned by its public key: a thumbprint alone would leave nothing to verify with. */
export function rootKey(pin: string): Uint8Array {
  return keyFromText(pin) ?? keyFromJwk(pin, '--root');
}

export function readText(path: string, option: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new CliError(`${option}: it can't be read: ${(error as Error).message}.`);
  }
}

function pinnedKey(logFile: string, pin: string): { key: Uint8Array; name: string } {
  const named = keyFromText(pin) === undefined ? keyFromJwk(pin) : undefined;
  if (named !== undefined) return { key: named, name: thumbprint(named) };
  // Thumbprints and public keys look alike; the key that the log shows can only fit one of the two readings.
  const shown = shownBy(logFile)?.key;
  if (shown !== undefined && thumbprint(shown) === pin) return { key: shown, name: pin };
  const key = keyFromText(pin) as Uint8Array;
  const isShown = shown !== undefined && Buffer.from(shown).equals(key);
  return { key, name: isShown ? thumbprint(key) : pin };
}

function keyFromText(text: string): Uint8Array | undefined {
  try {
    return fromBase64url(text, 32);
  } catch {
    return undefined;
  }
}

function keyFromJwk(path: string, option = '--key'): Uint8Array {
  const expected = 'expected a thumbprint, a public key (43 characters of base64url) or the file of a JWK';
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    throw new CliError(`${option} ${printable(path)}: ${expected}.`);
  }
  try {
    const jwk = JSON.parse(text) as { crv?: unknown; x?: unknown };
    if (jwk.crv === 'Ed25519') return fromBase64url(String(jwk.x), 32);
  } catch {
    // reported below
  }
  throw new CliError(`${option}: ${basename(path)} is not an Ed25519 key as a JWK (members "crv" and "x").`);
}

/** The public key and log id that a log's first line shows. Never a source of trust, but good for finding a pin. */
export function shownBy(logFile: string): { key: Uint8Array | undefined; log: string } | undefined {
  const bytes = new Uint8Array(MAX_LINE_BYTES);
  const fd = openSync(logFile, 'r');
  try {
    const count = readSync(fd, bytes, 0, bytes.length, 0);
    const end = bytes.subarray(0, count).indexOf(10);
    const parsed = parseLine(bytes.subarray(0, Math.max(0, end)));
    if ('problem' in parsed || parsed.payload.type !== 'genesis') return undefined;
    return { key: keyFromText(parsed.payload.public_key), log: parsed.payload.log };
  } finally {
    closeSync(fd);
  }
}
