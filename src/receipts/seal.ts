/** Turns drafts into receipts: numbers, dates, links and signs them. */
import { AgentGuardError } from '../errors.ts';
import { canonicalJson } from './canonical-json.ts';
import { sha256Text, type Signer } from './keys.ts';
import { MAX_LINE_BYTES, type Draft, type Payload, type Receipt } from './payloads.ts';

/** Where a log ends. */
export interface Head {
  /** Random id of the log. */
  log: string;
  /** `seq` of the last receipt, -1 for an empty log. */
  seq: number;
  /** Hash of the last receipt's line. */
  hash: string;
  /** `issued_at` of the last receipt, in milliseconds. */
  time: number;
}

export interface SealOptions {
  signer: Signer;
  /** The ledger's own time, in milliseconds. Never sealed as earlier than the head's. */
  now: number;
  /** The highest seq that is known to be on disk; written on the first receipt of a batch. */
  durableSeq?: number;
}

let lastTime = Number.NaN;
let lastTimeText = '';

/** RFC 3339 with milliseconds, in UTC. */
export function instantText(time: number): string {
  if (time !== lastTime) {
    lastTimeText = new Date(time).toISOString();
    lastTime = time;
  }
  return lastTimeText;
}

/** Seals one draft after `head`. Throws `TypeError` for values that a receipt may not hold. */
export function seal(draft: Draft, head: Head, { signer, now, durableSeq }: SealOptions): Receipt {
  const back = head.seq >= 0 ? head.time - now : 0;
  const payload = {
    ...draft,
    ...(back > 0 && draft.type !== 'clock' && { clock_back_ms: back }),
    ...(durableSeq !== undefined && { durable_seq: durableSeq }),
    issued_at: instantText(draft.type === 'clock' ? now : Math.max(now, head.time)),
    issuer_id: signer.kid,
    log: head.log,
    ...(head.seq >= 0 && { previousReceiptHash: head.hash }),
    seq: head.seq + 1,
    v: 1,
  } as Payload;
  const body = canonicalJson(payload);
  const line = `{"payload":${body},"signature":{"alg":"EdDSA","kid":"${signer.kid}","sig":"${hex(signer.sign(body))}"}}`;
  // Counted in UTF-16 units, three bytes at most for each.
  if (line.length * 3 > MAX_LINE_BYTES) {
    throw new AgentGuardError(
      'invalid_config',
      `a ${payload.type} receipt would be ${line.length} characters long`,
    );
  }
  return { line, payload, hash: sha256Text(line) };
}

/** The head after `receipt`. */
export function headAfter(receipt: Receipt): Head {
  const { log, seq, issued_at: issuedAt } = receipt.payload;
  return { log, seq, hash: receipt.hash, time: Date.parse(issuedAt) };
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

function hex(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += HEX[byte];
  return text;
}

/** The text that a new key signs to prove that whoever admits it also holds it. */
export function keyProofText(log: string, seq: number, previousReceiptHash: string, kid: string): string {
  return canonicalJson({ kid, log, previousReceiptHash, seq, type: 'agentguard:key-proof' });
}
