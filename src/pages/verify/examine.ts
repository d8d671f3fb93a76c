/** Reads a file from its beginning to its end and judges it, while the page stays usable. */
import { CheckpointCheck, type CheckpointFinding } from '../../receipts/checkpoint-check.ts';
import { fromBase64url, thumbprint } from '../../receipts/keys.ts';
import { LogReading } from '../../receipts/log-reading.ts';
import { parseLine } from '../../receipts/parse-line.ts';
import { MAX_LINE_BYTES, type Receipt } from '../../receipts/payloads.ts';
import { heldHead, type LogVerdict } from '../../receipts/verdict.ts';
import type { Trust } from '../../receipts/verify.ts';
import { Replay, type ReplayVerdict } from '../../replay.ts';
import { isKeyless, trustOf, type Pins } from './pins.ts';
import { ReceiptIndex } from './receipt-index.ts';
import { Tally, type LogTotals } from '../../receipts/tally.ts';
import { Foundations } from './foundations.ts';

export interface Progress {
  bytes: number;
  total: number;
  receipts: number;
  /** Milliseconds since the beginning. */
  elapsed: number;
}

/** What was found out about a file. */
export interface Examination {
  file: File;
  /** The verdict under the pins. Without a pinned key it is undecidable. */
  verdict: LogVerdict;
  /** Where no key is pinned: what the verdict would be under the key that the log itself shows. */
  underShownKey?: LogVerdict;
  /** Thumbprint of the key that the log shows in its first line. Not a source of trust. */
  shownKey?: string;
  checkpoints: readonly CheckpointFinding[];
  replay?: ReplayVerdict;
  totals: LogTotals;
  index: ReceiptIndex;
  foundations: Foundations;
  trust: Trust;
  head?: { seq: number; hash: string; time: string };
  /** False when nothing in the file looks like a receipt. */
  isLog: boolean;
  elapsed: number;
}

/** A file is read in pieces of this size, so memory doesn't grow with it. */
const PIECE = 256 * 1024;
/** How long the page may be busy before it gets to handle clicks and draw. */
const SLICE_MS = 12;
const PROGRESS_EVERY_MS = 100;
const RECEIPT_START = '{"payload":{';

export class Cancelled extends Error {
  readonly progress: Progress;

  constructor(progress: Progress) {
    super('cancelled');
    this.progress = progress;
  }
}

export interface ExamineOptions {
  pins: Pins;
  replay: boolean;
  onProgress: (progress: Progress) => void;
  signal: AbortSignal;
}

/** Throws `Cancelled`, and what reading the file throws. */
export async function examine(file: File, options: ExamineOptions): Promise<Examination> {
  const { pins } = options;
  const shown = await shownKey(file);
  const pinned = trustOf(pins, shown === undefined ? [] : [shown]);
  const isSupposed = isKeyless(pins) && shown !== undefined;
  // Without a pinned key the log's own is supposed to be right, only to have something to show.
  const trust = isSupposed ? { ...pinned, keys: [shown] } : pinned;
  const audit = new Audit(file, trust, options);
  const verdict = await audit.run();
  const examination = await audit.examination(verdict);
  if (!isSupposed) return examination;
  const kid = thumbprint(shown);
  // Another log than the expected one is refused before its key is looked at.
  const isOther = verdict.cause?.startsWith('this is log ') === true;
  if (isOther) return { ...examination, shownKey: kid };
  const undecidable: LogVerdict = {
    integrity: 'undecidable',
    completeness: { status: 'not_proved' },
    receipts: 0,
    line: 1,
    cause: `signed by the unknown key ${kid}`,
  };
  return { ...examination, verdict: undecidable, underShownKey: verdict, shownKey: kid };
}

/** The public key in the first line, if that is a genesis receipt. */
async function shownKey(file: Blob): Promise<Uint8Array | undefined> {
  const bytes = new Uint8Array(await file.slice(0, MAX_LINE_BYTES + 1).arrayBuffer());
  const parsed = parseLine(bytes.subarray(0, Math.max(0, bytes.indexOf(0x0a))));
  if ('problem' in parsed || parsed.payload.type !== 'genesis') return undefined;
  try {
    return fromBase64url(parsed.payload.public_key, 32);
  } catch {
    return undefined;
  }
}

class Audit {
  readonly #file: File;
  readonly #trust: Trust;
  readonly #options: ExamineOptions;
  readonly #reading: LogReading;
  readonly #check: CheckpointCheck | undefined;
  readonly #replay: Replay | undefined;
  readonly #tally = new Tally();
  readonly #index: ReceiptIndex;
  readonly #foundations: Foundations;
  readonly #begun = performance.now();
  #head: Examination['head'];
  #offset = 0;
  #sliceEnds = 0;
  #toldAt = 0;

  constructor(file: File, trust: Trust, options: ExamineOptions) {
    this.#file = file;
    this.#trust = trust;
    this.#options = options;
    const { pins } = options;
    this.#index = new ReceiptIndex(file);
    this.#foundations = new Foundations(trust);
    this.#check =
      pins.checkpoints.length === 0 ? undefined : new CheckpointCheck(pins.checkpoints, trust.keys);
    this.#replay = options.replay ? new Replay() : undefined;
    const anchor = pins.head && heldHead(pins.head.hash, pins.head.seq);
    this.#reading = new LogReading(trust, {
      onReceipt: (receipt) => this.#take(receipt),
      ...(anchor && { anchor }),
    });
  }

  #take(receipt: Receipt): void {
    const { payload, hash } = receipt;
    this.#head = { seq: payload.seq, hash, time: payload.issued_at };
    this.#tally.add(payload);
    this.#index.addReceipt(payload);
    this.#foundations.add(payload);
    this.#check?.add(receipt);
    this.#replay?.add(receipt);
  }

  /** `verifyLog`, with pauses. */
  async run(): Promise<LogVerdict> {
    let rest = new Uint8Array(0);
    for (let read = 0; read < this.#file.size && rest.length <= MAX_LINE_BYTES;) {
      const piece = new Uint8Array(await this.#file.slice(read, read + PIECE).arrayBuffer());
      read += piece.length;
      await this.#pause();
      const bytes = joined(rest, piece);
      let start = 0;
      for (let end = bytes.indexOf(0x0a); end >= 0; end = bytes.indexOf(0x0a, start)) {
        const stopped = await this.#line(bytes.subarray(start, end));
        if (stopped !== undefined) return stopped;
        start = end + 1;
        if (performance.now() >= this.#sliceEnds) await this.#pause();
      }
      // A copy, so that the piece can go.
      rest = bytes.slice(start);
    }
    if (rest.length > 0) this.#lookAt(rest);
    return this.#reading.end(rest.length);
  }

  #line(line: Uint8Array): Promise<LogVerdict | undefined> {
    this.#lookAt(line);
    return this.#reading.take(line);
  }

  #lookAt(line: Uint8Array): void {
    this.#index.addLine(this.#offset);
    this.#offset += line.length + 1;
  }

  async #pause(): Promise<void> {
    const now = performance.now();
    const { onProgress, signal } = this.#options;
    if (now - this.#toldAt >= PROGRESS_EVERY_MS) {
      this.#toldAt = now;
      onProgress(this.#progress());
    }
    await breathe();
    if (signal.aborted) throw new Cancelled(this.#progress());
    this.#sliceEnds = performance.now() + SLICE_MS;
  }

  #progress(): Progress {
    return {
      bytes: Math.min(this.#offset, this.#file.size),
      total: this.#file.size,
      receipts: this.#index.size,
      elapsed: performance.now() - this.#begun,
    };
  }

  async examination(verdict: LogVerdict): Promise<Examination> {
    const isWhole =
      verdict.integrity === 'valid' ||
      verdict.cause === 'the log is empty' ||
      verdict.cause === 'the last line has no end';
    return {
      file: this.#file,
      verdict,
      checkpoints: this.#check?.findings(isWhole) ?? [],
      ...(this.#replay && { replay: this.#replay.verdict() }),
      totals: this.#tally.totals(),
      index: this.#index,
      foundations: this.#foundations,
      trust: this.#trust,
      ...(this.#head && { head: this.#head }),
      isLog: verdict.receipts > 0 || this.#file.size === 0 || (await holdsReceipts(this.#file)),
      elapsed: performance.now() - this.#begun,
    };
  }
}

/** True when something in the file could be a receipt: what holds none was never a log, changed or not. */
async function holdsReceipts(file: Blob): Promise<boolean> {
  let rest = '';
  for (let position = 0; position < file.size; position += PIECE) {
    rest += await file.slice(position, position + PIECE).text();
    if (rest.includes(RECEIPT_START)) return true;
    rest = rest.slice(-RECEIPT_START.length);
  }
  // A first line that was cut after a few bytes.
  return file.size < RECEIPT_START.length && RECEIPT_START.startsWith(rest);
}

function joined(a: Uint8Array<ArrayBuffer>, b: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  if (a.length === 0) return b;
  const whole = new Uint8Array(a.length + b.length);
  whole.set(a);
  whole.set(b, a.length);
  return whole;
}

const channel = new MessageChannel();

/** Lets the page handle what waits: timers would be slowed down in the background. */
function breathe(): Promise<void> {
  return new Promise((resolve) => {
    channel.port1.addEventListener('message', () => resolve(), { once: true });
    channel.port1.start();
    channel.port2.postMessage(undefined);
  });
}
