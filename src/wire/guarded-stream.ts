/** A stream that is read to its end whatever its consumer does, and told of exactly once when it ends. */

/** How a stream ended. `error` is set only for `failed`. */
export interface StreamEnd {
  how: 'done' | 'failed' | 'cancelled';
  error?: unknown;
}

export interface StreamWatch<T> {
  /** Sees every part on its way. Must not throw. */
  onPart(part: T): void;
  /**
   * What is handed on of each part, and of `undefined` when no more will come. Without it the parts themselves. Must
   * not throw.
   */
  pass?(part: T | undefined): readonly T[];
  /** Called once, on whichever ending comes first. Must not reject; the stream closes when it has resolved. */
  onEnd(end: StreamEnd): Promise<unknown>;
  /**
   * Once it is aborted, parts that nobody has read yet are dropped, as the body of a response drops them, and the
   * stream counts as failed, whether its source heeds the signal or not.
   */
  signal?: AbortSignal;
}

/**
 * Passes the parts of `source` on, in order and at once, and closes or fails as it does – after `onEnd`. The source
 * is pulled without waiting for the consumer, into a queue without limit: a consumer that stops reading gives no
 * sign of it in some frameworks, and what it paid for must be known all the same. Answers of models are small.
 * Cancelling cancels the source.
 */
export function guardedStream<T>(source: ReadableStream<T>, watch: StreamWatch<T>): ReadableStream<T> {
  const reader = source.getReader();
  const queue: T[] = [];
  let ending: Promise<unknown> | undefined;
  let ended: StreamEnd | undefined;
  let isCancelled = false;
  let wake: (() => void) | undefined;

  function end(how: StreamEnd): Promise<unknown> {
    ending ??= watch.onEnd(how);
    watch.signal?.removeEventListener('abort', onAbort);
    return ending;
  }

  function onAbort(): void {
    void end({ how: 'failed', error: watch.signal?.reason });
  }

  watch.signal?.addEventListener('abort', onAbort);
  if (watch.signal?.aborted === true) onAbort();

  /** True when there is nothing to hand over yet. */
  function mustWait(): boolean {
    if (watch.signal?.aborted === true && ended?.how !== 'done') queue.length = 0;
    return queue.length === 0 && ended === undefined && !isCancelled;
  }

  function handOn(part: T | undefined): void {
    if (watch.pass !== undefined) queue.push(...watch.pass(part));
    else if (part !== undefined) queue.push(part);
    wake?.();
  }

  async function drain(): Promise<void> {
    let how: StreamEnd = { how: 'done' };
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        if (ending !== undefined) continue;
        watch.onPart(value);
        handOn(value);
      }
    } catch (error) {
      how = { how: 'failed', error };
    }
    if (ending === undefined) handOn(undefined);
    await end(how);
    ended = how;
    wake?.();
  }

  // starts now, so that a stream that nobody ever reads is settled, too
  void drain();

  return new ReadableStream<T>(
    {
      async pull(controller) {
        // woken by the next part, or by the end
        while (mustWait()) await new Promise<void>((resolve) => (wake = resolve));
        if (isCancelled) return;
        if (queue.length > 0) controller.enqueue(queue.shift() as T);
        else if (ended?.how === 'failed') controller.error(ended.error);
        else controller.close();
      },
      async cancel(reason) {
        isCancelled = true;
        queue.length = 0;
        const settled = end({ how: 'cancelled' });
        try {
          await reader.cancel(reason);
        } finally {
          await settled;
        }
      },
    },
    { highWaterMark: 0 },
  );
}
