/** Streams of the AI SDK as HTTP responses: a refusal is a real 402 while it can be, and told in the stream after. */
import { blockedError } from '../src/errors.ts';
import { attempt, fieldsOf } from '../src/wire/fields.ts';
import { blockedResponse } from './http-response.ts';

/** What `streamText` gives, as far as it is needed here: `ai` 5 to 7, and 4. */
export interface StreamTextLike {
  toUIMessageStreamResponse?(init?: never): Response;
  toDataStreamResponse?(init?: never): Response;
}

/** The options of the result's own method that makes a response. */
export type ResponseOptionsOf<R> = R extends { toUIMessageStreamResponse(...args: infer A): unknown }
  ? A[0]
  : R extends { toDataStreamResponse(...args: infer A): unknown }
    ? A[0]
    : never;

/** What the AI SDK itself says of an error that may not be shown. */
const HIDDEN = 'An error occurred.';

/**
 * The text of an error for `onError` of `toUIMessageStreamResponse` (`ai` 4: `getErrorMessage` of
 * `toDataStreamResponse`). For a refused call the JSON that may be shown to a client (reason, message, cap,
 * `retryAfterMs`), so that `useChat` has it as `error.message`; for every other error what the AI SDK says by default.
 */
export function spendErrorText(error: unknown): string {
  const blocked = blockedError(error);
  return blocked === undefined ? HIDDEN : JSON.stringify(blocked);
}

/** Kinds of chunks that come before anything of an answer. */
const PRELUDE: ReadonlySet<unknown> = new Set(['start', 'start-step', 'message-metadata']);

/** What a line of the body is: nothing of the answer yet, an error, or part of the answer. */
function kindOf(line: string): 'prelude' | 'error' | 'answer' {
  // `ai` 4 marks its parts with a character: `f` starts a step, `3` is an error
  if (line.trim() === '' || line.startsWith('f:')) return 'prelude';
  if (line.startsWith('3:')) return 'error';
  if (!line.startsWith('data:')) return 'answer';
  const { type } = attempt(() => fieldsOf(JSON.parse(line.slice('data:'.length))), {});
  if (type === 'error') return 'error';
  return PRELUDE.has(type) ? 'prelude' : 'answer';
}

/** A response body, read up to the first line that is more than prelude. */
interface Peeked {
  seen: Uint8Array[];
  reader: ReadableStreamDefaultReader<Uint8Array>;
  /** True when that line is an error. */
  isError: boolean;
}

async function peek(body: ReadableStream<Uint8Array>): Promise<Peeked> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  const seen: Uint8Array[] = [];
  let unread = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return { seen, reader, isError: false };
    seen.push(value);
    const lines = (unread + decoder.decode(value, { stream: true })).split('\n');
    unread = lines.pop() as string;
    const first = lines.map(kindOf).find((kind) => kind !== 'prelude');
    if (first !== undefined) return { seen, reader, isError: first === 'error' };
  }
}

/** The body as it would have been, from its first byte on. `last` may end a body that fails with words instead. */
function whole({ seen, reader }: Peeked, last: (error: unknown) => string | undefined): ReadableStream {
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const first = seen.shift();
        if (first !== undefined) return controller.enqueue(first);
        try {
          const { done, value } = await reader.read();
          if (done) controller.close();
          else controller.enqueue(value);
        } catch (error) {
          const words = last(error);
          if (words === undefined) throw error;
          controller.enqueue(new TextEncoder().encode(words));
          controller.close();
        }
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
}

/**
 * The response for a `streamText` result: the one that its own `toUIMessageStreamResponse(options)` makes (`ai` 4:
 * `toDataStreamResponse`), but a call that is refused before its first token is answered with a real HTTP 402 and a
 * JSON body (`blockedResponse`). A refusal in a later step is told in the stream by `spendErrorText`, unless the
 * options have an `onError` (4: `getErrorMessage`) of their own.
 *
 * Resolves when the first chunk of the answer is there, so the status is known. Rejects with what reading the stream
 * fails with, and with a `TypeError` for something that isn't a result of `streamText`.
 */
export async function toGuardedResponse<R extends StreamTextLike>(
  result: R,
  options?: ResponseOptionsOf<R>,
): Promise<Response> {
  const isUi = typeof result?.toUIMessageStreamResponse === 'function';
  if (!isUi && typeof result?.toDataStreamResponse !== 'function') {
    throw new TypeError(
      "toGuardedResponse: expected the result of streamText, or of an agent's stream once it is awaited",
    );
  }
  const given = fieldsOf(options);
  const name = isUi ? 'onError' : 'getErrorMessage';
  const textOf = (given[name] ?? spendErrorText) as (error: unknown) => string;
  let refused: Response | undefined;
  const told = (error: unknown): string => {
    refused ??= blockedResponse(error);
    return textOf(error);
  };
  const init = { ...given, [name]: told } as never;
  const response = (
    isUi ? result.toUIMessageStreamResponse?.(init) : result.toDataStreamResponse?.(init)
  ) as Response;
  if (response.body === null) return response;
  const peeked = await peek(response.body);
  if (refused !== undefined && peeked.isError) {
    await peeked.reader.cancel();
    return refused;
  }
  // in 4 a refusal in a later step breaks the body off, so that nobody would be told
  const last = (error: unknown): string | undefined =>
    isUi || blockedError(error) === undefined ? undefined : `3:${JSON.stringify(textOf(error))}\n`;
  return new Response(whole(peeked, last), response);
}
