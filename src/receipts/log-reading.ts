/** One pass over a log: what verified is delivered in order, and what didn't ends it. */
import { verifyLater } from '#platform';
import { strictUtf8 } from './canonical-json.ts';
import { sha256Text, verifySignature } from './keys.ts';
import { leafHash } from './leaf-hash.ts';
import type { Payload, Receipt } from './payloads.ts';
import { standingText, type CleanSegment } from './segment.ts';
import type { TallySheet } from './tally.ts';
import { soundSignature } from './strict-signature.ts';
import {
  EMPTY,
  unfinished,
  verdictOf,
  wantsSignature,
  type Anchor,
  type LogVerdict,
  type SeenReceipt,
  type SignaturePolicy,
  type Verified,
  type VerifyLogOptions,
} from './verdict.ts';
import {
  LogVerifier,
  UNSIGNED,
  type KeyStanding,
  type LineProblem,
  type SignatureCheck,
  type SignatureRule,
  type Trust,
} from './log-verifier.ts';

/** Where signatures can only be checked asynchronously, so many are under way at once. */
const BATCH = 64;

/** Receipts on their way to the caller, and the signatures that have to be right before they get there. */
class Batch {
  readonly #deliver: (receipt: Receipt) => void;
  #receipts: Receipt[] = [];
  #checks: { line: number; isRight: Promise<boolean> }[] = [];

  constructor(deliver: (receipt: Receipt) => void) {
    this.#deliver = deliver;
  }

  get isFull(): boolean {
    return this.#checks.length >= BATCH;
  }

  /** Checks at once where the runtime can, else later. */
  check({ payload, key, message, signature }: SignatureCheck): boolean {
    if (verifyLater === undefined) return verifySignature(key, message, signature);
    const sound = soundSignature(signature);
    if (sound === undefined) return false;
    this.#checks.push({ line: payload.seq + 1, isRight: verifyLater(key, message, sound) });
    return true;
  }

  add(receipt: Receipt): void {
    if (this.#checks.length === 0) this.#deliver(receipt);
    else this.#receipts.push(receipt);
  }

  /** Delivers what is signed; answers with the first line that isn't. */
  async flush(): Promise<LineProblem | undefined> {
    const checks = this.#checks;
    const answers = await Promise.all(checks.map(({ isRight }) => isRight));
    const wrong = checks[answers.indexOf(false)];
    for (const receipt of this.#receipts) {
      if (wrong !== undefined && receipt.payload.seq + 1 >= wrong.line) break;
      this.#deliver(receipt);
    }
    this.#receipts = [];
    this.#checks = [];
    return wrong === undefined ? undefined : { verdict: 'invalid', line: wrong.line, cause: UNSIGNED };
  }
}

export interface ReadingOptions extends VerifyLogOptions {
  /**
   * Told what the receipts of a segment come to, and the last of them, in place of `onReceipt` for each: for segments
   * that were summed up elsewhere, where every signature is checked.
   */
  onSheet?: (sheet: TallySheet, last: Receipt) => void;
}

/** A receipt whose signature was put off: either the next line vouches for it, or the end checks it. */
interface HeldBack {
  receipt: Receipt;
  /** False when the signature is wrong; `true` may mean that it is under way. */
  isSigned: () => boolean;
}

export class LogReading {
  readonly #trust: Trust;
  readonly #verifier: LogVerifier;
  readonly #anchor: Anchor | undefined;
  readonly #signatures: SignaturePolicy;
  readonly #onReceipt: VerifyLogOptions['onReceipt'];
  readonly #onSheet: ReadingOptions['onSheet'];
  readonly #batch: Batch;
  readonly #verified: Verified = { receipts: 0 };
  #putOff: SignatureCheck | undefined;
  #heldBack: HeldBack | undefined;

  constructor(trust: Trust, { onReceipt, onSheet, anchor, signatures = 'all' }: ReadingOptions = {}) {
    this.#trust = trust;
    this.#anchor = anchor;
    this.#signatures = signatures;
    this.#onReceipt = onReceipt;
    this.#onSheet = onSheet;
    this.#batch = new Batch((receipt) => this.#deliver(receipt));
    const rule: SignatureRule = (check) => {
      const isWanted = wantsSignature(signatures, check.payload);
      this.#putOff = isWanted ? undefined : check;
      return !isWanted || this.#batch.check(check);
    };
    this.#verifier = new LogVerifier(trust, undefined, rule);
  }

  /** Which keys count for the next line. */
  get standing(): KeyStanding {
    return this.#verifier.standing;
  }

  /** Takes the next line, without its newline. Answers with a verdict when there is nothing more to read. */
  async take(line: Uint8Array): Promise<LogVerdict | undefined> {
    this.#putOff = undefined;
    const next = this.#verifier.next(line);
    if ('verdict' in next) return this.#end(next);
    const check = this.#putOff as SignatureCheck | undefined;
    this.#release();
    if (check === undefined) this.#batch.add(next);
    else this.#heldBack = { receipt: next, isSigned: () => this.#batch.check(check) };
    if (!this.#batch.isFull) return undefined;
    const wrong = await this.#batch.flush();
    return wrong === undefined ? undefined : verdictOf(this.#verified, wrong, this.#anchor);
  }

  /**
   * Takes a segment that another thread found clean under the keys that this one told it, if it fits here. What
   * doesn't fit, and what isn't clean, must be taken line by line: then the verdict is that of one thread.
   */
  accept(segment: CleanSegment, bytes: Uint8Array): boolean {
    const { head } = this.#verifier;
    const { first, last, standing } = segment;
    const fits =
      head !== undefined &&
      first.log === head.log &&
      first.seq === head.seq + 1 &&
      first.previous === head.hash &&
      first.time >= head.time;
    if (!fits) return false;
    // Keys that were admitted or replaced since then may change what a line is worth.
    if (standing !== standingText(this.#verifier.standing)) return false;
    this.#release();
    this.#verifier.skipTo(last);
    const count = segment.ends.length;
    for (let index = 0; index < count - 1; index++) this.#pass(segment, bytes, index);
    const receipt = new SegmentReceipt(segment, bytes, count - 1);
    if (this.#signatures === 'all' || wantsSignature(this.#signatures, receipt.payload)) {
      this.#pass(segment, bytes, count - 1);
      if (segment.sheet !== undefined) this.#onSheet?.(segment.sheet, receipt);
    } else this.#heldBack = { receipt, isSigned: () => this.#isSigned(receipt) };
    return true;
  }

  /** The end of the log; `rest` bytes of a line without an end are left. */
  async end(rest = 0): Promise<LogVerdict> {
    const { head } = this.#verifier;
    if (rest > 0) return this.#end(unfinished(rest, (head?.seq ?? -1) + 2));
    return this.#end(head === undefined ? EMPTY : undefined);
  }

  async #end(problem: LineProblem | undefined): Promise<LogVerdict> {
    let found = problem;
    const held = this.#heldBack;
    if (held !== undefined) {
      if (held.isSigned()) this.#release();
      else found = { verdict: 'invalid', line: held.receipt.payload.seq + 1, cause: UNSIGNED };
    }
    found = (await this.#batch.flush()) ?? found;
    return verdictOf(this.#verified, found, this.#anchor);
  }

  #release(): void {
    if (this.#heldBack !== undefined) this.#batch.add(this.#heldBack.receipt);
    this.#heldBack = undefined;
  }

  /** The last signature of a segment that was read elsewhere. */
  #isSigned({ payload, bytes }: SegmentReceipt): boolean {
    const { log, seq, previousReceiptHash: hash = '', issued_at: issuedAt } = payload;
    const before = { log, seq: seq - 1, hash, time: Date.parse(issuedAt) };
    const start = { ...this.#verifier.standing, head: before, line: seq };
    return !('verdict' in new LogVerifier(this.#trust, start).next(bytes));
  }

  #deliver(receipt: Receipt): void {
    this.#verified.receipts += 1;
    this.#verified.log = receipt.payload.log;
    this.#verified.head = receipt.hash;
    if (this.#anchor !== undefined) this.#anchor.see(seen(receipt, this.#anchor));
    this.#onReceipt?.(receipt);
  }

  /** Delivers a receipt of a clean segment, without taking it apart where nobody looks inside. */
  #pass(segment: CleanSegment, bytes: Uint8Array, index: number): void {
    this.#verified.receipts += 1;
    // The very last one may be held back, and then it is the one before it that verified.
    const isLast = index >= segment.ends.length - 2;
    const anchor = this.#anchor;
    const onReceipt = segment.sheet === undefined ? this.#onReceipt : undefined;
    if (anchor === undefined && onReceipt === undefined && !isLast) return;
    const receipt = new SegmentReceipt(segment, bytes, index);
    if (isLast) {
      this.#verified.log = segment.first.log;
      this.#verified.head = receipt.hash;
    }
    anchor?.see(receipt);
    onReceipt?.(receipt);
  }
}

/** A receipt of a clean segment, taken apart when it is looked at. */
class SegmentReceipt implements Receipt, SeenReceipt {
  readonly bytes: Uint8Array;
  readonly seq: number;
  readonly leaf?: Uint8Array;
  #payload: Payload | undefined;
  #hash: string | undefined;

  constructor({ first, ends, leaves }: CleanSegment, bytes: Uint8Array, index: number) {
    const start = index === 0 ? 0 : (ends[index - 1] as number) + 1;
    this.bytes = bytes.subarray(start, ends[index]);
    this.seq = first.seq + index;
    if (leaves !== undefined) this.leaf = leaves.subarray(index * 32, index * 32 + 32);
  }

  get line(): string {
    return strictUtf8(this.bytes);
  }

  get payload(): Payload {
    return (this.#payload ??= (JSON.parse(this.line) as { payload: Payload }).payload);
  }

  get hash(): string {
    return (this.#hash ??= sha256Text(this.bytes));
  }
}

const encoder = new TextEncoder();

function seen({ hash, payload, line }: Receipt, anchor: Anchor): SeenReceipt {
  if (anchor.wantsLeaves !== true) return { seq: payload.seq, hash };
  return { seq: payload.seq, hash, leaf: leafHash(encoder.encode(line)) };
}
