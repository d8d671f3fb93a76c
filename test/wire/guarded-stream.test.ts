import { describe, expect, it } from 'vitest';
import { guardedStream, type StreamEnd } from '../../src/wire/guarded-stream.ts';

/** Three parts at once, then nothing until it is aborted. */
function hanging(signal: AbortSignal): ReadableStream<number> {
  return new ReadableStream({
    start(controller) {
      for (const part of [1, 2, 3]) controller.enqueue(part);
      signal.addEventListener('abort', () => controller.error(signal.reason));
    },
  });
}

describe('guardedStream with a signal', () => {
  it('drops what nobody has read once it is aborted, and fails as its source does', async () => {
    const abort = new AbortController();
    const ends: StreamEnd[] = [];
    const { signal } = abort;
    const seen: number[] = [];
    const stream = guardedStream(hanging(signal), {
      signal,
      onPart: (part) => seen.push(part),
      onEnd: (end) => Promise.resolve(ends.push(end)),
    });
    const reader = stream.getReader();
    expect(await reader.read()).toEqual({ done: false, value: 1 });
    await expect.poll(() => seen).toEqual([1, 2, 3]);
    const reason = new Error('enough');
    abort.abort(reason);
    await expect(reader.read()).rejects.toBe(reason);
    expect(ends).toEqual([{ how: 'failed', error: reason }]);
  });

  it('ends once it is aborted, though its source goes on as if nothing were', async () => {
    const abort = new AbortController();
    const ends: StreamEnd[] = [];
    const source = new ReadableStream<number>({ start: (controller) => controller.enqueue(1) });
    const watch = {
      signal: abort.signal,
      onPart: () => undefined,
      onEnd: (end: StreamEnd) => Promise.resolve(ends.push(end)),
    };
    const reader = guardedStream(source, watch).getReader();
    await reader.read();
    abort.abort('enough');
    expect(ends).toEqual([{ how: 'failed', error: 'enough' }]);
    await reader.cancel();
    guardedStream(new ReadableStream<number>(), watch);
    expect(ends).toHaveLength(2);
  });

  it('hands over all of a stream that had ended before', async () => {
    const abort = new AbortController();
    const source = new ReadableStream<number>({
      start(controller) {
        for (const part of [1, 2, 3]) controller.enqueue(part);
        controller.close();
      },
    });
    const stream = guardedStream(source, {
      signal: abort.signal,
      onPart: () => undefined,
      onEnd: () => Promise.resolve(setTimeout(() => abort.abort(), 0)),
    });
    await expect.poll(() => abort.signal.aborted).toBe(true);
    const parts: number[] = [];
    for await (const part of stream) parts.push(part);
    expect(parts).toEqual([1, 2, 3]);
  });
});
