/**
 * A root's word that a key is a log's own. The root signs no receipts, so it may lie where signing takes long or
 * needs a person: offline, or in a key management service.
 */
import { toHex } from '#platform';
import { AgentGuardError } from '../errors.ts';
import { canonicalJson } from './canonical-json.ts';
import { admitPublicKey, fromBase64url, thumbprint, verifySignature, type Signer } from './keys.ts';
import type { GenesisPayload } from './payloads.ts';
import { instantText } from './seal.ts';

/** A certificate as a genesis receipt carries it, where the certified key is the issuer's. */
interface CarriedCertificate {
  /** RFC 3339 in UTC with milliseconds. */
  issued_at: string;
  /** Thumbprint of the root. */
  root: string;
  /** The root's signature, 128 lower-case hex digits. */
  sig: string;
}

/** A certificate by itself, in a file beside a log. */
export interface KeyCertificate extends CarriedCertificate {
  /** Thumbprint of the key that is certified. */
  kid: string;
}

/** Whether a genesis receipt is by a key that a pinned root has certified. */
export type CertifiedBy = (genesis: GenesisPayload) => boolean;

/** The text that a root signs. */
export function keyCertificateText({ issued_at, kid, root }: Omit<KeyCertificate, 'sig'>): string {
  return canonicalJson({ issued_at, kid, root, type: 'agentguard:key-certificate', v: 1 });
}

/** Certifies the key with thumbprint `kid`. `root` may be a signer for which signing takes long. */
export function signKeyCertificate(kid: string, root: Signer, now: number = Date.now()): KeyCertificate {
  const unsigned = { issued_at: instantText(now), kid, root: root.kid };
  const sig = toHex(root.sign(new TextEncoder().encode(keyCertificateText(unsigned))));
  return { ...unsigned, sig };
}

const FIELDS = {
  issued_at: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/,
  kid: /^[\w-]{43}$/,
  root: /^[\w-]{43}$/,
};

/** Reads the JSON of a certificate. Throws `AgentGuardError` (`invalid_config`) for anything else. */
export function parseKeyCertificate(text: string): KeyCertificate {
  let value: Record<string, unknown> | null = null;
  try {
    value = JSON.parse(text) as Record<string, unknown> | null;
  } catch {
    // reported below
  }
  const isText = (name: string, pattern: RegExp): boolean => pattern.test(String(value?.[name]));
  const fits =
    typeof value === 'object' &&
    Object.entries(FIELDS).every(([name, pattern]) => isText(name, pattern)) &&
    isText('sig', /^[0-9a-f]{128}$/);
  if (fits) return value as unknown as KeyCertificate;
  throw new AgentGuardError(
    'invalid_config',
    'not a key certificate: expected a JSON object with "issued_at", "kid", "root" and "sig"',
  );
}

/** True when `root` signed the certificate, by the same strict rule as for receipts. */
export function verifyKeyCertificate(certificate: KeyCertificate, root: Uint8Array): boolean {
  if (certificate.root !== thumbprint(root)) return false;
  const admitted = admitPublicKey(root);
  if ('refused' in admitted) return false;
  const text = new TextEncoder().encode(keyCertificateText(certificate));
  return verifySignature(admitted.key, text, certificate.sig);
}

/** True when one of `roots` has certified the key that a genesis receipt shows and is signed by. */
export function isCertified(
  { issuer_id: kid, public_key: publicKey, certificate }: GenesisPayload,
  roots: readonly Uint8Array[],
  certificates: readonly KeyCertificate[],
): boolean {
  try {
    if (thumbprint(fromBase64url(publicKey, 32)) !== kid) return false;
  } catch {
    return false;
  }
  const carried = certificate === undefined ? [] : [{ ...certificate, kid }];
  const fitting = [...carried, ...certificates].filter((each) => each.kid === kid);
  return fitting.some((each) => roots.some((root) => verifyKeyCertificate(each, root)));
}
