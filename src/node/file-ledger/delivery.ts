/** Brings checkpoints to one sink: one at a time, the newest first, again when it fails, never on a call's way. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Checkpoint } from '../../receipts/checkpoint.ts';

/** Where checkpoints are put: out of the reach of whoever writes the log. */
export interface CheckpointSink {
  /** Names the sink in errors. Must hold no secrets. */
  readonly name: string;
  /** Rejects when the checkpoint could not be put; it is tried again. May be given one that it has already. */
  put(checkpoint: Checkpoint, signal: AbortSignal): Promise<void>;
}

const ATTEMPTS = 5;
const FIRST_PAUSE_MS = 500;

export class Delivery {
  readonly #sink: CheckpointSink;
  readonly #onError: (error: Error) => void;
  readonly #stop = new AbortController();
  /** The newest checkpoint that waits; one that it makes useless is dropped. */
  #next: Checkpoint | undefined;
  #delivered = 0;
  #running: Promise<void> | undefined;

  constructor(sink: CheckpointSink, onError: (error: Error) => void) {
    this.#sink = sink;
    this.#onError = onError;
  }

  /** Delivers in the background. */
  offer(checkpoint: Checkpoint): void {
    if (checkpoint.size <= this.#delivered || checkpoint.size <= (this.#next?.size ?? 0)) return;
    this.#next = checkpoint;
    this.#running ??= this.#run();
  }

  /** Waits for what is under way, `timeoutMs` at most; then gives up. */
  async close(timeoutMs: number): Promise<void> {
    if (this.#running === undefined) return;
    const timer = setTimeout(() => this.#stop.abort(), timeoutMs);
    await this.#running;
    clearTimeout(timer);
  }

  async #run(): Promise<void> {
    while (this.#next !== undefined) {
      const checkpoint = this.#next;
      this.#next = undefined;
      await this.#deliver(checkpoint);
    }
    this.#running = undefined;
  }

  async #deliver(first: Checkpoint): Promise<void> {
    let checkpoint = first;
    const { signal } = this.#stop;
    for (let attempt = 1; ; attempt++) {
      try {
        await settledOrStopped(this.#sink.put(checkpoint, signal), signal);
        this.#delivered = checkpoint.size;
        return;
      } catch (error) {
        const { message } = error as Error;
        // A newer one says everything that this one says.
        if (this.#next !== undefined) [checkpoint, this.#next] = [this.#next, undefined];
        const what = `the checkpoint of ${checkpoint.size} lines could not be put to ${this.#sink.name}: ${message}`;
        if (attempt === ATTEMPTS || signal.aborted) {
          this.#onError(new Error(what, { cause: error }));
          return;
        }
        await sleep(FIRST_PAUSE_MS * 2 ** (attempt - 1), undefined, { signal, ref: false }).catch(
          () => undefined,
        );
      }
    }
  }
}

/** A sink may not listen to the signal; closing must not hang on it. */
async function settledOrStopped(put: Promise<void>, signal: AbortSignal): Promise<void> {
  const { promise, reject } = Promise.withResolvers<never>();
  const stop = (): void => reject(new Error('gave up at closing'));
  if (signal.aborted) stop();
  signal.addEventListener('abort', stop, { once: true });
  try {
    await Promise.race([put, promise]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
