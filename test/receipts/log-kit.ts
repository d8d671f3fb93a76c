/** Taking logs apart and putting them together again, as an attacker or an auditor would. */
import { createHash } from 'node:crypto';
import { canonicalJson } from '../../src/receipts/canonical-json.ts';
import type { Signer } from '../../src/receipts/keys.ts';

export type Members = Record<string, unknown>;

export interface Envelope {
  payload: Members;
  signature: Members;
}

export const open = (line: string): Envelope => JSON.parse(line) as Envelope;

export function linesOf(bytes: Uint8Array): string[] {
  return new TextDecoder().decode(bytes).split('\n').slice(0, -1);
}

export function textOf(lines: readonly string[]): string {
  return lines.map((line) => `${line}\n`).join('');
}

export const bytesOf = (lines: readonly string[]): Uint8Array => new TextEncoder().encode(textOf(lines));

/** A payload as a line signed by `by`, whatever it holds. */
export function resign(payload: Members, by: Signer): string {
  return sealed({ ...payload, issuer_id: by.kid }, by);
}

/** As `resign`, with the issuer as it stands in the payload. */
export function sealed(payload: Members, by: Signer): string {
  const body = canonicalJson(payload);
  const sig = Buffer.from(by.sign(new TextEncoder().encode(body))).toString('hex');
  return `{"payload":${body},"signature":{"alg":"EdDSA","kid":"${by.kid}","sig":"${sig}"}}`;
}

export const hashOf = (line: string): string => `sha256:${createHash('sha256').update(line).digest('hex')}`;

/** Rewrites everything from `index` on so that numbers and links fit again, signed by `by`. */
export function relink(lines: readonly string[], index: number, by: Signer): string[] {
  const rewritten = lines.slice(0, index);
  for (const line of lines.slice(index)) {
    const { payload } = open(line);
    const previous = rewritten.at(-1);
    const link = previous === undefined ? {} : { previousReceiptHash: hashOf(previous) };
    rewritten.push(resign({ ...payload, ...link, seq: rewritten.length }, by));
  }
  return rewritten;
}
