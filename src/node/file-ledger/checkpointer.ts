/** Makes checkpoints of a log on a schedule, off every call's way, and hands them to the sinks. */
import { AgentGuardError } from '../../errors.ts';
import { signCheckpoint, type Checkpoint } from '../../receipts/checkpoint.ts';
import type { LogKeys } from '../../receipts/signers.ts';
import { Delivery, type CheckpointSink } from './delivery.ts';
import { LogTree, type DurablePlace } from './log-tree.ts';
import { readTree, writeTree } from './tree-file.ts';

export interface CheckpointOptions {
  /** Receipts between two checkpoints. Default 256. */
  every?: number;
  /** The longest that a receipt stays uncovered, in milliseconds. Default 60 000. */
  intervalMs?: number;
  /** Where checkpoints go. They help only where the log's writer can't take them back. */
  sinks?: readonly CheckpointSink[];
  /** How long closing waits for the sinks, in milliseconds. Default 10 000. */
  closeTimeoutMs?: number;
  /** Told of checkpoints that could not be made or delivered. Calls go on meanwhile. */
  onError?: (error: Error) => void;
}

/** What the ledger says of itself when a checkpoint is to be made. */
export interface DurableLog extends DurablePlace {
  path: string;
  keys: LogKeys;
}

const EVERY = 256;
const INTERVAL_MS = 60_000;
const CLOSE_MS = 10_000;

/** Throws `AgentGuardError` (`invalid_config`) for options that can't be meant. */
export function checkCheckpointOptions({ every, intervalMs, sinks, ...rest }: CheckpointOptions): void {
  const isCount = (value: number | undefined): boolean =>
    value === undefined || (Number.isSafeInteger(value) && value >= 1);
  if (!isCount(every)) throw invalid('every', 'a whole number of receipts, at least 1', every);
  if (!isCount(intervalMs) || (intervalMs ?? 1) >= 2 ** 31) {
    throw invalid('intervalMs', 'whole milliseconds from 1 to 2^31', intervalMs);
  }
  if (!isCount(rest.closeTimeoutMs)) {
    throw invalid('closeTimeoutMs', 'whole milliseconds, at least 1', rest.closeTimeoutMs);
  }
  const isSink = (sink: Partial<CheckpointSink> | null): boolean => typeof sink?.put === 'function';
  if (sinks !== undefined && !(Array.isArray(sinks) && sinks.every(isSink))) {
    throw invalid('sinks', 'a list of sinks such as fileSink(path)', sinks);
  }
}

function invalid(field: string, expected: string, found: unknown): AgentGuardError {
  const message = `fileLedger: checkpoints.${field}: expected ${expected}, got ${String(found)}`;
  return new AgentGuardError('invalid_config', message);
}

export class Checkpointer {
  readonly #every: number;
  readonly #intervalMs: number;
  readonly #closeMs: number;
  readonly #deliveries: readonly Delivery[];
  readonly #onError: (error: Error) => void;
  /** Makes everything durable and says up to where; `undefined` for an empty log. */
  readonly #durable: () => Promise<DurableLog | undefined>;
  #tree: LogTree | undefined;
  #last: Checkpoint | undefined;
  /** How many lines the log has, and how many are covered, as far as this process has heard. */
  #size = 0;
  #covered = 0;
  #timer: NodeJS.Timeout | undefined;
  #making: Promise<Checkpoint | undefined> | undefined;
  readonly #isScheduled: boolean;
  #isClosed = false;

  /** Without options there is no schedule, and `make` is all that it does. */
  constructor(options: CheckpointOptions | undefined, durable: () => Promise<DurableLog | undefined>) {
    const { every = EVERY, intervalMs = INTERVAL_MS, sinks = [], onError } = options ?? {};
    this.#isScheduled = options !== undefined;
    this.#every = every;
    this.#intervalMs = intervalMs;
    this.#closeMs = options?.closeTimeoutMs ?? CLOSE_MS;
    this.#onError = (error) => {
      try {
        onError?.(error);
      } catch {
        // The caller's own function must not be able to stop the ledger.
      }
    };
    this.#deliveries = sinks.map((sink) => new Delivery(sink, this.#onError));
    this.#durable = durable;
  }

  /** Told how many lines the last checkpoint covers. */
  begin(covered: number): void {
    this.#covered = Math.max(this.#covered, covered);
  }

  /** Told how many lines the log has. Starts the schedule; never waits and never throws. */
  sees(size: number): void {
    if (!this.#isScheduled || this.#isClosed || size <= this.#size) return;
    this.#size = size;
    if (size - this.#covered >= this.#every) this.#makeSoon();
    else if (size > this.#covered && this.#timer === undefined) {
      this.#timer = setTimeout(() => this.#makeSoon(), this.#intervalMs);
      // A program that has nothing else to do must be able to end.
      this.#timer.unref();
    }
  }

  /** A checkpoint of everything that the log has now; `undefined` for an empty log. */
  make(): Promise<Checkpoint | undefined> {
    const before = this.#making ?? Promise.resolve(undefined);
    const next = before.then(
      () => this.#make(),
      () => this.#make(),
    );
    this.#making = next;
    return next;
  }

  /** Makes the last checkpoint and waits for the sinks, but not for ever. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    try {
      if (this.#isScheduled) await this.make();
    } catch (error) {
      this.#onError(error as Error);
    }
    this.#isClosed = true;
    await Promise.all(this.#deliveries.map((delivery) => delivery.close(this.#closeMs)));
  }

  #makeSoon(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    // Until it is made, what is written meanwhile starts no other.
    this.#covered = this.#size;
    this.make().catch(this.#onError);
  }

  async #make(): Promise<Checkpoint | undefined> {
    const durable = await this.#durable();
    if (durable === undefined) return undefined;
    const size = durable.head.seq + 1;
    const others = this.#madeByOthers(durable);
    if (others?.size === size && this.#last?.size !== size) this.#last = others;
    if (this.#last?.size !== size) this.#last = await this.#sign(durable);
    this.#covered = Math.max(this.#covered, size);
    for (const delivery of this.#deliveries) delivery.offer(this.#last);
    return this.#last;
  }

  /** What another process, or this one before a restart, has made: the tree goes on from there. */
  #madeByOthers({ path, head, offset, keys }: DurableLog): Checkpoint | undefined {
    const kept = readTree(path, head.log, keys);
    if (kept === undefined || kept.offset > offset) return undefined;
    if (this.#tree === undefined || this.#tree.offset < kept.offset) {
      this.#tree = new LogTree(kept.tree, kept.offset, kept.head);
    }
    return kept.checkpoint;
  }

  async #sign(durable: DurableLog): Promise<Checkpoint> {
    const { path, head, keys } = durable;
    const grown = await this.#grown(durable);
    const checkpoint = signCheckpoint(head.log, head.seq + 1, grown.tree.root(), keys.signer);
    try {
      await writeTree(path, { checkpoint, tree: grown.tree, offset: grown.offset, head: grown.head });
    } catch (error) {
      // The next start takes longer; the checkpoint itself is as good.
      this.#onError(error as Error);
    }
    return checkpoint;
  }

  async #grown(durable: DurableLog): Promise<LogTree> {
    const begun = this.#tree;
    // On failure nothing of a half-grown tree may stay.
    this.#tree = undefined;
    if (begun !== undefined && begun.offset <= durable.offset) {
      try {
        await begun.growTo(durable.path, durable);
        return (this.#tree = begun);
      } catch (error) {
        if (!(error instanceof AgentGuardError)) throw error;
        // What was kept may be wrong where the log is right; only the whole log can tell.
      }
    }
    const whole = new LogTree();
    await whole.growTo(durable.path, durable);
    return (this.#tree = whole);
  }
}
