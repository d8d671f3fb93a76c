/** Verifying a long log on all cores. Order, links and verdict stay with one thread, so the verdict is that of one. */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { LogReading, type ReadingOptions } from '../receipts/log-reading.ts';
import { MAX_LINE_BYTES } from '../receipts/payloads.ts';
import type { SegmentTask } from '../receipts/segment.ts';
import type { LogVerdict } from '../receipts/verdict.ts';
import type { Trust } from '../receipts/verify.ts';
import type { WorkerAnswer } from './verify-worker.ts';

export interface ParallelOptions extends ReadingOptions {
  /** Threads that are used for more than one log. Default: new ones, one for each core. */
  pool?: ThreadPool;
  /** Told how many bytes have been looked at. */
  onProgress?: (bytes: number) => void;
  /** How much this thread does alone: shorter logs are verified before another would have started. Default 512 KiB. */
  aloneBytes?: number;
  /** What a thread is given at once. Default 256 KiB. */
  segmentBytes?: number;
}

const ALONE_BYTES = 512 * 1024;
const SEGMENT_BYTES = 256 * 1024;
/** Segments that wait at each worker, so that none is ever idle. */
const QUEUE = 3;
const NEWLINE = 0x0a;

/**
 * `verifyLog` with the work on single lines shared among threads. Takes memory for a few segments only, whatever the
 * length of the log.
 */
export async function verifyLogOnAllCores(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  trust: Trust,
  options: ParallelOptions = {},
): Promise<LogVerdict> {
  if (options.pool === undefined) {
    using pool = new ThreadPool();
    return await verifyWith(pool, chunks, trust, options);
  }
  return verifyWith(options.pool, chunks, trust, options);
}

async function verifyWith(
  pool: ThreadPool,
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  trust: Trust,
  options: ParallelOptions,
): Promise<LogVerdict> {
  const { onProgress, aloneBytes = ALONE_BYTES, segmentBytes = SEGMENT_BYTES, ...rest } = options;
  const reading = new LogReading(trust, rest);
  const waiting: Promise<WorkerAnswer>[] = [];
  const { signatures = 'all', anchor, onReceipt, onSheet } = rest;
  const wantsLeaves = anchor?.wantsLeaves === true;
  const wantsSheet = onSheet !== undefined && signatures === 'all';
  const buffers = new Buffers(segmentBytes);
  // Receipts that were handed out, or are held back, are looked into later.
  const areKept = signatures !== 'all' || (onReceipt !== undefined && !wantsSheet);
  let seen = 0;
  let done = 0;
  const finish = async (answer: Promise<WorkerAnswer>): Promise<LogVerdict | undefined> => {
    const { segment, bytes } = await answer;
    const stopped =
      segment !== undefined && reading.accept(segment, bytes) ? undefined : await takeLines(reading, bytes);
    done += bytes.length;
    onProgress?.(done);
    if (!areKept) buffers.giveBack(bytes.buffer as ArrayBuffer);
    return stopped;
  };
  let tail = 0;
  for await (const { bytes, isWhole } of segments(chunks, segmentBytes, buffers)) {
    if (!isWhole) {
      tail = bytes.length;
      break;
    }
    const isAlone = seen < aloneBytes;
    seen += bytes.length;
    const task = { bytes, trust, standing: reading.standing, signatures, wantsLeaves, wantsSheet };
    waiting.push(isAlone ? Promise.resolve({ bytes, segment: undefined }) : pool.run(task));
    if (isAlone || waiting.length > pool.size * QUEUE) {
      const stopped = await finish(waiting.shift() as Promise<WorkerAnswer>);
      if (stopped !== undefined) return stopped;
    }
  }
  for (const answer of waiting) {
    const stopped = await finish(answer);
    if (stopped !== undefined) return stopped;
  }
  return reading.end(tail);
}

async function takeLines(reading: LogReading, bytes: Uint8Array): Promise<LogVerdict | undefined> {
  let start = 0;
  for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, start)) {
    const stopped = await reading.take(bytes.subarray(start, end));
    if (stopped !== undefined) return stopped;
    start = end + 1;
  }
  return undefined;
}

interface Piece {
  /** In a buffer of its own, which may be handed over. */
  bytes: Uint8Array;
  /** False for the end of a log that doesn't end with a newline, and for a line that is longer than any. */
  isWhole: boolean;
}

/** Buffers that come back are filled anew: fresh memory costs more than what is written into it. */
class Buffers {
  readonly #size: number;
  readonly #free: ArrayBuffer[] = [];

  constructor(segmentBytes: number) {
    this.#size = 2 * segmentBytes;
  }

  /** Of so many bytes at least. */
  take(length = 0): Uint8Array<ArrayBuffer> {
    if (length > this.#size) return new Uint8Array(length);
    return new Uint8Array(this.#free.pop() ?? new ArrayBuffer(this.#size));
  }

  giveBack(buffer: ArrayBuffer): void {
    if (buffer.byteLength === this.#size) this.#free.push(buffer);
  }
}

/** The log in runs of whole lines. */
async function* segments(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  segmentBytes: number,
  buffers: Buffers,
): AsyncGenerator<Piece, void, undefined> {
  let whole = buffers.take();
  let length = 0;
  let ended = 0;
  for await (const chunk of chunks) {
    if (length + chunk.length > whole.length) {
      const larger = buffers.take(2 * (length + chunk.length));
      larger.set(whole.subarray(0, length));
      whole = larger;
    }
    whole.set(chunk, length);
    const end = chunk.lastIndexOf(NEWLINE);
    if (end >= 0) ended = length + end + 1;
    length += chunk.length;
    if (ended >= segmentBytes) {
      const rest = length - ended;
      const next = buffers.take(rest);
      next.set(whole.subarray(ended, length));
      yield { bytes: whole.subarray(0, ended), isWhole: true };
      [whole, length, ended] = [next, rest, 0];
    }
    if (length - ended > MAX_LINE_BYTES) break;
  }
  const rest = whole.slice(ended, length);
  if (ended > 0) yield { bytes: whole.subarray(0, ended), isWhole: true };
  if (rest.length > 0) yield { bytes: rest, isWhole: false };
}

interface Thread {
  worker: Worker;
  waiting: { resolve: (answer: WorkerAnswer) => void; reject: (error: Error) => void }[];
}

/** Worker threads, started when they are first needed. */
export class ThreadPool implements Disposable {
  readonly size: number;
  readonly #threads: Thread[] = [];

  constructor(size: number = availableParallelism()) {
    this.size = size;
  }

  run(task: SegmentTask): Promise<WorkerAnswer> {
    const { promise, resolve, reject } = Promise.withResolvers<WorkerAnswer>();
    const thread = this.#idlest();
    thread.waiting.push({ resolve, reject });
    thread.worker.postMessage(task, [task.bytes.buffer as ArrayBuffer]);
    // Looked at in the order of the log, which may be never when the log turns out bad before.
    promise.catch(() => undefined);
    return promise;
  }

  #idlest(): Thread {
    while (this.#threads.length < this.size) this.#threads.push(startThread());
    return this.#threads.reduce((best, thread) =>
      thread.waiting.length < best.waiting.length ? thread : best,
    );
  }

  [Symbol.dispose](): void {
    for (const { worker } of this.#threads) void worker.terminate();
  }
}

function startThread(): Thread {
  const isSource = import.meta.url.endsWith('.ts');
  const worker = new Worker(new URL(`./verify-worker.${isSource ? 'ts' : 'js'}`, import.meta.url), {
    ...(isSource && { execArgv: ['--conditions=agentguard-source'] }),
  });
  const thread: Thread = { worker, waiting: [] };
  worker.on('message', (answer: WorkerAnswer) => thread.waiting.shift()?.resolve(answer));
  worker.on('error', (error) => {
    for (const { reject } of thread.waiting.splice(0)) reject(error);
  });
  return thread;
}
