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
  // event by event, byte by byte, but for those that are only usage
  const seen = (chunk: Uint8Array | undefined): Uint8Array[] => {
    const found = chunk === undefined ? events.flush() : events.push(chunk);
    return found.filter(({ data }) => !tally.see(data)).map(({ bytes }) => bytes);
  };
  const { hidesUsage } = watch;
  const body = guardedStream(source, {
    ...(signal && { signal }),
    ...(hidesUsage && { pass: seen }),
    onPart: (chunk) => (hidesUsage ? undefined : void seen(chunk)),
    onEnd(end) {
      // what came last of an event that never became whole
      seen(undefined);
      return watch.settle(tally.outcome(watch.broken(end, true)));
    },
  });
  return withBody(response, body);
}
