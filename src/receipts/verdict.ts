/** The verdict on a whole log: integrity, and how far it is proved to be complete, each on its own. */
import { MAX_LINE_BYTES, type Payload, type Receipt } from './payloads.ts';
import type { LineProblem } from './log-verifier.ts';

/**
 * Which signatures are checked. Encoding, schema, order and links always are.
 * - `all`: every one
 * - `heads`: those of receipts that others rest on (keys, policies, prices, …), and the last one, which by its link
 *   vouches for every line before it. For a log that a checkpoint covers.
 * - `fromSeq`, `fromTime`: all from there on, and before it as `heads`
 */
export type SignaturePolicy = 'all' | 'heads' | Since;

/** A place in a log. */
export type Since = { fromSeq: number } | { fromTime: number };

/** Something kept outside the log's reach that says how the log looked: a head, a checkpoint. */
export interface Anchor {
  /** What it is, in words: `the head you hold`. */
  readonly name: string;
  /** Whether `see` is to be given Merkle leaves. */
  readonly wantsLeaves?: boolean;
  /** Sees every receipt that verified, in order. `leaf` is the SHA-256 of a zero byte and the line (RFC 6962). */
  see(receipt: SeenReceipt): void;
  /** After the last receipt: the highest `seq` that it proves, or how it contradicts the log. */
  proved(): { upTo: number } | { refuted: string };
}

export interface SeenReceipt {
  readonly seq: number;
  /** May be worked out when it is asked for. */
  readonly hash: string;
  readonly leaf?: Uint8Array;
}

/** How far it is proved that no line was cut from a log. `refuted` makes the log invalid. */
export type Completeness =
  | { status: 'proved'; upTo: number; by: string }
  | { status: 'refuted'; by: string; note: string }
  | { status: 'not_proved' };

export interface VerifyLogOptions {
  /** Called for each receipt that verified, in order. */
  onReceipt?: (receipt: Receipt) => void;
  /** Default `all`. */
  signatures?: SignaturePolicy;
  anchor?: Anchor;
}

/** The verdict on a log. */
export interface LogVerdict {
  integrity: 'valid' | 'invalid' | 'undecidable';
  completeness: Completeness;
  /** Receipts that verified before the end or the first problem. */
  receipts: number;
  log?: string;
  /** Hash of the last receipt that verified. */
  head?: string;
  /** 1-based line of the first problem, with its cause. A log that an anchor refutes has no such line. */
  line?: number;
  cause?: string;
}

/** Receipts that nothing in the log rests on, so that `heads` may leave their signatures to the last one. */
const LEAVES: ReadonlySet<Payload['type']> = new Set(['decision', 'settlement', 'adjustment']);

/** Whether `policy` wants the signature of a receipt checked that isn't the last. */
export function wantsSignature(
  policy: SignaturePolicy,
  payload: Pick<Payload, 'issued_at' | 'seq' | 'type'>,
): boolean {
  if (policy === 'all' || !LEAVES.has(payload.type)) return true;
  if (policy === 'heads') return false;
  return isSince(policy, payload);
}

/** True from the place on. */
export function isSince(since: Since, payload: Pick<Payload, 'issued_at' | 'seq'>): boolean {
  if ('fromSeq' in since) return payload.seq >= since.fromSeq;
  return Date.parse(payload.issued_at) >= since.fromTime;
}

export const EMPTY: LineProblem = { verdict: 'undecidable', line: 1, cause: 'the log is empty' };

/** A line that a writer is still at, or died at: nobody has been told that it counts, and the next writer removes it. */
export function unfinished(length: number, line: number): LineProblem {
  if (length > MAX_LINE_BYTES)
    return { verdict: 'invalid', line, cause: `the line is longer than ${MAX_LINE_BYTES} bytes` };
  return { verdict: 'undecidable', line, cause: NO_END };
}

const NO_END = 'the last line has no end';

/** How much of a log verified. */
export interface Verified {
  receipts: number;
  /** The last receipt that did. */
  log?: string;
  head?: string;
}

/** Puts a verdict together from what verified, what stopped it, and what the anchor says. */
export function verdictOf(
  verified: Verified,
  problem: LineProblem | undefined,
  anchor: Anchor | undefined,
): LogVerdict {
  const integrity = problem?.verdict ?? 'valid';
  const found = problem === undefined ? {} : { line: problem.line, cause: problem.cause };
  const proof = anchor?.proved();
  if (anchor === undefined || proof === undefined) {
    return { integrity, completeness: { status: 'not_proved' }, ...verified, ...found };
  }
  if ('upTo' in proof) {
    const completeness: Completeness = { status: 'proved', upTo: proof.upTo, by: anchor.name };
    return { integrity, completeness, ...verified, ...found };
  }
  // What an anchor says of lines beyond the first bad one is not known.
  const isReadToTheEnd = problem === undefined || problem === EMPTY || problem.cause === NO_END;
  if (!isReadToTheEnd) return { integrity, completeness: { status: 'not_proved' }, ...verified, ...found };
  const completeness: Completeness = { status: 'refuted', by: anchor.name, note: proof.refuted };
  return { integrity: 'invalid', completeness, ...verified, cause: proof.refuted };
}

/** A head that somebody kept outside the log: it must be in the log, which is whole up to there. */
export function heldHead(hash: string, seq?: number): Anchor {
  let found: number | undefined;
  return {
    name: 'the head you hold',
    see: (receipt) => {
      // The number first: hashing a line takes its time.
      if ((seq ?? receipt.seq) === receipt.seq && receipt.hash === hash) found = receipt.seq;
    },
    proved: () =>
      found === undefined
        ? { refuted: 'the head you hold is not in this log: it was cut or rewritten' }
        : { upTo: found },
  };
}
