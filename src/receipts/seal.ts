/** Turns drafts into receipts: numbers, dates, links and signs them. */
import { briefUtf8, toHex } from '#platform';
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

// Receipts of one moment and leases of one length share their seconds, and writing a date costs microseconds.
let seconds = [Number.NaN, Number.NaN];
let secondTexts = ['', ''];

/** RFC 3339 with milliseconds, in UTC. */
export function instantText(time: number): string {
  const second = Math.floor(time / 1000);
  let slot = seconds.indexOf(second);
  if (slot < 0) {
    slot = 0;
    seconds = [second, seconds[0] as number];
    secondTexts = [new Date(second * 1000).toISOString().slice(0, -4), secondTexts[0] as string];
  }
  return `${secondTexts[slot]}${String(Math.floor(time) - second * 1000).padStart(3, '0')}Z`;
}

let parsedText = '';
let parsedTime = Number.NaN;

/** The milliseconds of a receipt's date. Receipts of one batch have the same. */
export function instantOf(text: string): number {
  if (text !== parsedText) {
    parsedTime = Date.parse(text);
    parsedText = text;
  }
  return parsedTime;
}

/**
 * Seals one draft after `head`. Throws `TypeError` for values that a receipt may not hold. A draft that has places for
 * the common members becomes the payload itself; any other is left as it is.
 */
export function seal(draft: Draft, head: Head, { signer, now: time, durableSeq }: SealOptions): Receipt {
  const now = Math.floor(time);
  const isClock = draft.type === 'clock';
  const back = head.seq >= 0 && !isClock ? head.time - now : 0;
  const common: Common = {
    issued_at: instantText(isClock ? now : Math.max(now, head.time)),
    issuer_id: signer.kid,
    log: head.log,
    previousReceiptHash: head.hash,
    seq: head.seq + 1,
    v: 1,
  };
  const isUsual = head.seq >= 0 && back <= 0 && durableSeq === undefined;
  const payload =
    isUsual && hasPlaces(draft)
      ? filled(draft, common)
      : merged(draft as unknown as Members, {
          ...(back > 0 && { clock_back_ms: back }),
          ...(durableSeq !== undefined && { durable_seq: durableSeq }),
          ...common,
          ...(head.seq < 0 && { previousReceiptHash: undefined }),
        });
  const body = canonicalJson(payload);
  const line = `{"payload":${body},"signature":{"alg":"EdDSA","kid":"${signer.kid}","sig":"${toHex(signer.sign(briefUtf8(body)))}"}}`;
  // Counted in UTF-16 units, three bytes at most for each.
  if (line.length * 3 > MAX_LINE_BYTES) {
    throw new AgentGuardError(
      'invalid_config',
      `a ${payload.type} receipt would be ${line.length} characters long`,
    );
  }
  return { line, payload, hash: sha256Text(line) };
}

/** What every receipt has. */
interface Common {
  issued_at: string;
  issuer_id: string;
  log: string;
  previousReceiptHash: string;
  seq: number;
  v: 1;
}

/** True for the drafts of `record.ts`, which every call writes. */
function hasPlaces(draft: object): draft is Draft & Common {
  return 'v' in draft;
}

function filled(draft: Draft & Common, common: Common): Payload {
  draft.issued_at = common.issued_at;
  draft.issuer_id = common.issuer_id;
  draft.log = common.log;
  draft.previousReceiptHash = common.previousReceiptHash;
  draft.seq = common.seq;
  return draft;
}

type Members = Record<string, unknown>;

/** A draft and the common members as one, in order where both are: then writing them down needs no sorting. */
function merged(draft: Members, common: Members): Payload {
  const payload: Members = {};
  const rest = Object.keys(common).filter((name) => common[name] !== undefined);
  let next = 0;
  for (const name in draft) {
    for (; next < rest.length && (rest[next] as string) < name; next++)
      payload[rest[next] as string] = common[rest[next] as string];
    if (!(name in common)) payload[name] = draft[name];
  }
  for (; next < rest.length; next++) payload[rest[next] as string] = common[rest[next] as string];
  return payload as unknown as Payload;
}

/** The head after `receipt`. */
export function headAfter(receipt: {
  payload: Pick<Payload, 'issued_at' | 'log' | 'seq'>;
  hash: string;
}): Head {
  const { log, seq, issued_at: issuedAt } = receipt.payload;
  return { log, seq, hash: receipt.hash, time: instantOf(issuedAt) };
}

/** The text that a new key signs to prove that whoever admits it also holds it. */
export function keyProofText(log: string, seq: number, previousReceiptHash: string, kid: string): Uint8Array {
  return new TextEncoder().encode(
    canonicalJson({ kid, log, previousReceiptHash, seq, type: 'agentguard:key-proof' }),
  );
}
