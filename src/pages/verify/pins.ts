/** What the person who verifies holds from elsewhere, as they typed, pasted or picked it. */
import { parseCheckpoint, type ParsedCheckpoint } from '../../receipts/checkpoint.ts';
import { parseKeyCertificate, type KeyCertificate } from '../../receipts/key-certificate.ts';
import { base64url, fromBase64url, thumbprint } from '../../receipts/keys.ts';
import type { Trust } from '../../receipts/verify.ts';

/** The fields of the page. */
export interface PinTexts {
  keys: string;
  log: string;
  checkpoints: readonly string[];
  head: string;
  roots: string;
  certificates: readonly string[];
}

export interface Pins {
  /** Each a thumbprint or a public key: which of the two is known once a log shows its key. */
  keys: readonly string[];
  log?: string;
  checkpoints: readonly ParsedCheckpoint[];
  head?: { hash: string; seq?: number };
  roots: readonly Uint8Array[];
  certificates: readonly KeyCertificate[];
}

export type PinField = keyof PinTexts;

/** Why a field can't be used. */
export type PinProblems = Partial<Record<PinField, string>>;

const HEAD = /^(?:#?(\d{1,15}):)?(?:sha256:)?([0-9a-f]{64})$/i;
const KEY_EXPECTED = 'Expected a thumbprint or a public key (43 characters of base64url), or a JWK.';

/** Reads the fields. A field with a problem is one that must not be passed over. */
export function readPins(texts: PinTexts): { pins: Pins; problems: PinProblems } {
  const problems: PinProblems = {};
  const read = <T>(field: PinField, parse: () => T, otherwise: T): T => {
    try {
      return parse();
    } catch (error) {
      problems[field] = (error as Error).message;
      return otherwise;
    }
  };
  const log = read('log', () => logId(texts.log), undefined);
  const head = read('head', () => keptHead(texts.head), undefined);
  const pins: Pins = {
    keys: read('keys', () => keyTexts(texts.keys), []),
    ...(log !== undefined && { log }),
    ...(head && { head }),
    checkpoints: read('checkpoints', () => texts.checkpoints.flatMap(checkpointOf), []),
    roots: read('roots', () => keyTexts(texts.roots).map((text) => fromBase64url(text, 32)), []),
    certificates: read('certificates', () => texts.certificates.map(certificateOf), []),
  };
  return { pins, problems };
}

function keyTexts(text: string): string[] {
  const trimmed = text.trim();
  if (trimmed === '') return [];
  if (trimmed.startsWith('{')) return jwkKeys(trimmed);
  const found = trimmed.split(/[\s,]+/);
  for (const each of found) {
    try {
      fromBase64url(each, 32);
    } catch {
      throw new Error(KEY_EXPECTED);
    }
  }
  return found;
}

/** The public keys of a JWK or a set of them. */
function jwkKeys(text: string): string[] {
  let value: { keys?: unknown };
  try {
    value = JSON.parse(text) as { keys?: unknown };
  } catch {
    throw new Error('This looks like a JWK, but is not JSON.');
  }
  const jwks = (Array.isArray(value.keys) ? value.keys : [value]) as { crv?: unknown; x?: unknown }[];
  return jwks.map((jwk) => {
    if (typeof jwk !== 'object' || jwk === null || jwk.crv !== 'Ed25519') throw new Error(KEY_EXPECTED);
    try {
      return base64url(fromBase64url(String(jwk.x), 32));
    } catch {
      throw new Error(KEY_EXPECTED);
    }
  });
}

function logId(text: string): string | undefined {
  const trimmed = text.trim();
  if (trimmed === '') return undefined;
  if (/^[\w-]{22}$/.test(trimmed)) return trimmed;
  throw new Error('Expected the id of a log: 22 characters of base64url.');
}

function keptHead(text: string): Pins['head'] {
  const trimmed = text.trim();
  if (trimmed === '') return undefined;
  const [, seq, digits] = HEAD.exec(trimmed) ?? [];
  if (digits === undefined)
    throw new Error('Expected <hash> or <number>:<hash>, where the hash has 64 hex digits.');
  return { hash: `sha256:${digits.toLowerCase()}`, ...(seq !== undefined && { seq: Number(seq) }) };
}

function checkpointOf(text: string): ParsedCheckpoint[] {
  if (text.trim() === '') return [];
  // Pasting loses the last newline, and may bring spaces before the first line.
  const note = `${text.replaceAll('\r\n', '\n').replace(/^\s+/, '').trimEnd()}\n`;
  const checkpoint = parseCheckpoint(note);
  if ('problem' in checkpoint) throw new Error(`This is no checkpoint: ${checkpoint.problem}.`);
  return [checkpoint];
}

function certificateOf(text: string): KeyCertificate {
  return parseKeyCertificate(text);
}

/** The keys that are meant, given those that a log or link shows. Shown keys are there to be found by a thumbprint. */
export function trustOf(pins: Pins, shownKeys: readonly Uint8Array[]): Trust {
  const keys = pins.keys.map(
    (pin) => shownKeys.find((key) => thumbprint(key) === pin) ?? fromBase64url(pin, 32),
  );
  return {
    keys,
    roots: pins.roots,
    certificates: pins.certificates,
    ...(pins.log !== undefined && { log: pins.log }),
  };
}

/** True when nothing is pinned that could vouch for a signature. */
export function isKeyless(pins: Pins): boolean {
  return pins.keys.length === 0 && pins.roots.length === 0;
}
