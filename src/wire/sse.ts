/** Server-sent events out of bytes that come in pieces. Pure. */

/** One event, with the very bytes that it came in, the blank line that ends it included. */
export interface SseEvent {
  bytes: Uint8Array;
  /** The lines of `data`, joined. `undefined` for comments and the like. */
  data: string | undefined;
}

const LF = 10;
const CR = 13;

function joined(pieces: readonly Uint8Array[]): Uint8Array {
  if (pieces.length === 1) return pieces[0] as Uint8Array;
  const all = new Uint8Array(pieces.reduce((length, piece) => length + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

const decoder = new TextDecoder();

function eventOf(bytes: Uint8Array): SseEvent {
  const data = decoder
    .decode(bytes)
    .split(/\r\n|\r|\n/)
    .flatMap((line) => /^data(?:: ?(.*))?$/s.exec(line)?.slice(1) ?? [])
    .map((value) => value ?? '');
  return { bytes, data: data.length === 0 ? undefined : data.join('\n') };
}

/** Cuts a stream of bytes into its events. Every byte that goes in comes out again, in order. */
export class SseEvents {
  /** What came of the event that isn't whole yet. */
  #pieces: Uint8Array[] = [];
  /** Nothing but a line end since the last one. */
  #isLineEmpty = true;
  #lastByte = 0;

  /** The events that `chunk` completes. */
  push(chunk: Uint8Array): SseEvent[] {
    const events: SseEvent[] = [];
    let start = 0;
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at] as number;
      const isSecondHalf = byte === LF && this.#lastByte === CR;
      this.#lastByte = byte;
      if (byte !== LF && byte !== CR) {
        this.#isLineEmpty = false;
      } else if (isSecondHalf) {
        // the end of an event that is cut already: its reader may wait for this very byte
        if (this.#pieces.length === 0 && start === at) {
          events.push(this.#cut(chunk.subarray(at, at + 1)));
          start = at + 1;
        }
      } else {
        if (this.#isLineEmpty) {
          const end = byte === CR && chunk[at + 1] === LF ? at + 2 : at + 1;
          events.push(this.#cut(chunk.subarray(start, end)));
          start = end;
        }
        this.#isLineEmpty = true;
      }
    }
    if (start < chunk.length) this.#pieces.push(chunk.subarray(start));
    return events;
  }

  /** What is left at the end of the stream: clients take it for an event, too. */
  flush(): SseEvent[] {
    return this.#pieces.length === 0 ? [] : [this.#cut(new Uint8Array())];
  }

  #cut(last: Uint8Array): SseEvent {
    const bytes = joined([...this.#pieces, last]);
    this.#pieces = [];
    return eventOf(bytes);
  }
}
