/** One pass over a log: the verdict, what its receipts add up to, and the receipts of one call. */
import { open, stat } from 'node:fs/promises';
import type { Receipt } from '../../receipts/payloads.ts';
import { Tally, type LogTotals, type TallySheet } from '../../receipts/tally.ts';
import { heldHead, isSince, type Anchor, type LogVerdict, type Since } from '../../receipts/verdict.ts';
import type { Trust } from '../../receipts/verify.ts';
import { Reconciler, type BillRow, type Reconciliation } from '../../reconcile.ts';
import { Replay, type ReplayVerdict } from '../../replay.ts';
import { verifyLogOnAllCores } from '../parallel-verify.ts';
import { CallTrace } from './trace.ts';

export interface LogAudit {
  verdict: LogVerdict;
  totals: LogTotals;
  /** The last receipt that verified. */
  head?: { seq: number; hash: string; time: string };
  /** Where `options.replay` asked for one. */
  replay?: ReplayVerdict;
  /** Where `options.bill` was given. */
  reconciliation?: Reconciliation;
  /** Where `options.trace` asked for one. */
  trace?: CallTrace;
}

/** A head that somebody kept outside the log. */
export interface HeldHead {
  /** `sha256:` and 64 hex digits. */
  hash: string;
  seq?: number;
}

export interface AuditOptions {
  /** Collects the receipts of this call: an id, or `latest`. */
  trace?: string;
  /** Looks for this head among the receipts. */
  head?: HeldHead;
  /** Checks signatures, adds up and reconciles from there on only. */
  since?: Since;
  /** Recomputes every decision and balance. */
  replay?: boolean;
  /** Holds what was settled against this. */
  bill?: readonly BillRow[];
  onProgress?: (done: number, total: number) => void;
  /** Told of each receipt that verified. */
  witness?: { add(receipt: Receipt): void };
}

/** Verifies the log in `file` and adds it up. Reads only, needs no lock, and takes the same memory for any length. */
export async function auditLog(file: string, trust: Trust, options: AuditOptions = {}): Promise<LogAudit> {
  const { since, bill } = options;
  const tally = new Tally();
  const trace = options.trace === undefined ? undefined : new CallTrace(options.trace);
  const replay = options.replay === true ? new Replay() : undefined;
  const reconciler = bill === undefined ? undefined : new Reconciler();
  let last: Pick<Receipt, 'payload' | 'hash'> | undefined;
  const onReceipt = (receipt: Receipt): void => {
    last = receipt;
    const { payload } = receipt;
    const counts = since === undefined || isSince(since, payload);
    tally.add(payload, counts);
    trace?.add(receipt);
    replay?.add(receipt);
    reconciler?.add(payload, counts);
    options.witness?.add(receipt);
  };
  const onSheet = (sheet: TallySheet, { payload, hash }: Receipt): void => {
    // Read now: the bytes behind it are used again.
    last = { payload, hash };
    tally.addSheet(sheet);
  };
  const isLookedInto = [trace, replay, reconciler, options.witness, since].some((each) => each !== undefined);
  const { size: total } = await stat(file);
  const { onProgress } = options;
  const anchor: Anchor | undefined = options.head && heldHead(options.head.hash, options.head.seq);
  const verdict = await verifyLogOnAllCores(wholeLinesOf(file), trust, {
    onReceipt,
    ...(!isLookedInto && { onSheet }),
    ...(anchor && { anchor }),
    ...(since && { signatures: since }),
    ...(onProgress && { onProgress: (done) => onProgress(Math.min(done, total), total) }),
  });
  return {
    verdict,
    totals: tally.totals(),
    ...(last && { head: { seq: last.payload.seq, hash: last.hash, time: last.payload.issued_at } }),
    ...(trace && { trace }),
    ...(replay && { replay: replay.verdict() }),
    ...(reconciler && bill && { reconciliation: reconciler.against(bill) }),
  };
}

const RECEIPT_START = Buffer.from('{"payload":{');

/** True when something in `file` could be a receipt: what holds none was never a log, changed or not. */
export async function holdsReceipts(file: string): Promise<boolean> {
  const handle = await open(file, 'r');
  try {
    let rest = Buffer.alloc(0);
    for (let position = 0; ;) {
      const { bytesRead, buffer } = await handle.read(Buffer.alloc(CHUNK_BYTES), 0, CHUNK_BYTES, position);
      // A first line that was cut after a few bytes.
      if (bytesRead === 0) return position < RECEIPT_START.length && startsReceipt(rest);
      rest = Buffer.concat([rest, buffer.subarray(0, bytesRead)]);
      if (rest.includes(RECEIPT_START)) return true;
      position += bytesRead;
      rest = rest.subarray(Math.max(0, rest.length - RECEIPT_START.length));
    }
  } finally {
    await handle.close();
  }
}

function startsReceipt(bytes: Buffer): boolean {
  return RECEIPT_START.subarray(0, bytes.length).equals(bytes);
}

const CHUNK_BYTES = 256 * 1024;
const NEWLINE = 0x0a;
/** How long the end of a line that is being written is waited for. */
const TAIL_WAIT_MS = 50;
const TAIL_WAITS = 10;

/**
 * The bytes of a log as long as it was when this began, and to the end of its last line: other processes may be
 * appending meanwhile, and a line that is half written is no damage.
 */
async function* wholeLinesOf(file: string): AsyncGenerator<Uint8Array> {
  const handle = await open(file, 'r');
  try {
    const total = (await handle.stat()).size;
    // Whoever reads has done with a chunk when it asks for the next.
    const chunk = Buffer.alloc(CHUNK_BYTES);
    let done = 0;
    let last = NEWLINE;
    for (let waits = 0; done < total || (last !== NEWLINE && waits < TAIL_WAITS);) {
      const { bytesRead } = await handle.read(chunk, 0, CHUNK_BYTES, done);
      if (bytesRead === 0) {
        if (done < total) return;
        waits += 1;
        await new Promise((resolve) => setTimeout(resolve, TAIL_WAIT_MS));
        continue;
      }
      const bytes = upToLineEnd(chunk.subarray(0, bytesRead), total - done);
      done += bytes.length;
      last = bytes.at(-1) as number;
      yield bytes;
    }
  } finally {
    await handle.close();
  }
}

/** Cuts what was appended after the line that `wanted` bytes end in. */
function upToLineEnd(bytes: Uint8Array, wanted: number): Uint8Array {
  if (bytes.length <= wanted) return bytes;
  const end = bytes.indexOf(NEWLINE, Math.max(0, wanted - 1));
  return end < 0 ? bytes : bytes.subarray(0, end + 1);
}
