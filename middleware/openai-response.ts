/** An answer on its way to the OpenAI client, with every byte passed on and its ending told once. */
import { guardedStream, type StreamEnd } from '../src/wire/guarded-stream.ts';
import { SseEvents } from '../src/wire/sse.ts';
import type { CallOutcome } from '../src/settlement.ts';
import { bodyOutcome, EventTally } from './openai-usage.ts';

export interface AnswerWatch {
  /** How many answers a stream has. */
  choices: number;
  /** Events with nothing but usage are ours: the caller hasn't asked for them. */
  hidesUsage: boolean;
  /** Aborted when the request is, by whomever. */
  signal: AbortSignal | undefined;
  /** How an ending is to be called that isn't the answer's own. */
  broken(end: StreamEnd, isStream: boolean): 'aborted' | 'error' | undefined;
  /** Called once. Must not reject. */
  settle(outcome: CallOutcome): Promise<unknown>;
}

type Bytes = ReadableStream<Uint8Array>;

const FACTS = ['url', 'redirected', 'type'] as const;

/** The same answer with another body. Its copies are the same, too. */
function withBody(response: Response, body: Bytes | null): Response {
  const { status, statusText, headers } = response;
  const copy = new Response(body as BodyInit | null, { status, statusText, headers });
  return withFacts(copy, response);
}

/** What `new Response` can't be told. */
function withFacts(copy: Response, response: Response): Response {
  const clone = copy.clone.bind(copy);
  for (const fact of FACTS) Object.defineProperty(copy, fact, { value: response[fact], configurable: true });
  Object.defineProperty(copy, 'clone', { value: () => withFacts(clone(), response), configurable: true });
  return copy;
}

/** Takes the events that are only usage out of a stream; all else passes byte by byte, event by event. */
function withoutUsage(source: Bytes, tally: EventTally): Bytes {
  const events = new SseEvents();
  type Controller = TransformStreamDefaultController<Uint8Array>;
  const pass = (found: ReturnType<SseEvents['push']>, controller: Controller): void => {
    for (const { bytes, data } of found) if (!tally.see(data)) controller.enqueue(bytes);
  };
  const filter = new TransformStream<Uint8Array, Uint8Array>({
    transform: (chunk, controller) => pass(events.push(chunk), controller),
    flush: (controller) => pass(events.flush(), controller),
  });
  return source.pipeThrough(filter);
}

/** Collects an answer in one piece. Copies of it are small beside what it cost. */
function wholeReader(): { see(chunk: Uint8Array): void; outcome(): CallOutcome } {
  const decoder = new TextDecoder();
  let text = '';
  return {
    see: (chunk) => void (text += decoder.decode(chunk, { stream: true })),
    outcome: () => bodyOutcome(text + decoder.decode()),
  };
}

function typeOf(response: Response): string {
  return response.headers.get('content-type')?.split(';')[0]?.trim().toLowerCase() ?? '';
}

/**
 * The answer, watched and settled at its end: before its body closes, so that who has read it finds it settled. What
 * has no body that can be watched is settled at once and handed on as it is.
 */
export async function watchedResponse(
  response: Response,
  isStream: boolean,
  watch: AnswerWatch,
): Promise<Response> {
  const source = response.body as Bytes | null;
  if (source === null || typeof source.getReader !== 'function' || source.locked) {
    await watch.settle({ outcome: source === null ? 'ok' : 'error' });
    return response;
  }
  const type = typeOf(response);
  const isEvents = type === 'text/event-stream' || (isStream && !type.includes('json'));
  const { signal } = watch;
  if (!isEvents) {
    const whole = wholeReader();
    const body = guardedStream(source, {
      ...(signal && { signal }),
      onPart: (chunk) => whole.see(chunk),
      onEnd(end) {
        const how = watch.broken(end, false);
        return watch.settle(how === undefined ? whole.outcome() : { outcome: how });
      },
    });
    return withBody(response, body);
  }
  const tally = new EventTally(watch.choices);
  const events = new SseEvents();
  const seeAll = (found: ReturnType<SseEvents['push']>): void => {
    for (const { data } of found) tally.see(data);
  };
  const { hidesUsage } = watch;
  const body = guardedStream(hidesUsage ? withoutUsage(source, tally) : source, {
    ...(signal && { signal }),
    onPart: (chunk) => (hidesUsage ? undefined : seeAll(events.push(chunk))),
    onEnd(end) {
      if (!hidesUsage) seeAll(events.flush());
      return watch.settle(tally.outcome(watch.broken(end, true)));
    },
  });
  return withBody(response, body);
}
