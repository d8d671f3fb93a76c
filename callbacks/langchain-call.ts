/** One call of a guarded model: decided, sent as decided, settled on every ending. */
import { notCarriedOut, type AdapterGuard } from '../src/adapter.ts';
import type { GuardedCall } from '../src/guarded-call.ts';
import { failureOutcome } from '../src/wire/failure.ts';
import type { Fields } from '../src/wire/fields.ts';
import { underCaller, type SingleCaller } from './langchain-caller.ts';
import { lensOf } from './langchain-lens.ts';
import { carryOut, spendRequest, type Ways } from './langchain-route.ts';
import { takeScope, versionsIn } from './langchain-scope.ts';
import { StreamTally } from './langchain-tally.ts';
import { dropRaw, resultOutcome, type AnsweredBy } from './langchain-usage.ts';
import { providerOf, type Sending } from './langchain-wire.ts';

/** A call of a model's own method, as LangChain makes it. */
export interface Calling {
  adapter: AdapterGuard;
  ways: Ways;
  model: object;
  messages: unknown;
  options: Fields;
  runManager: unknown;
  metadata: Fields;
  /** Told when the call goes to another model than the one that was asked for. */
  onDowngrade(): void;
}

/** A call that may leave, as it is to be sent. */
interface Opened extends Sending {
  call: GuardedCall;
  from: AnsweredBy;
  /** True when the provider's answer is in the result only for us. */
  addsRaw: boolean;
}

async function open(calling: Calling, { caller }: SingleCaller): Promise<Opened> {
  const { adapter, ways, model, messages, options, metadata } = calling;
  const signal = options['signal'] as AbortSignal | undefined;
  const asked: Sending = { model, options };
  const request = spendRequest(asked, messages, ways);
  const scope = takeScope(metadata);
  const call = await adapter.begin({
    ...request,
    ...(scope !== undefined && { scope }),
    ...(signal !== undefined && { signal }),
  });
  const target = call.decision === 'downgrade' ? call.model : undefined;
  let carried: Sending | undefined;
  try {
    carried = carryOut(asked, { model: target, limit: call.maxOutputTokens }, ways);
  } catch (error) {
    await call.settle({ outcome: 'not_sent' });
    throw error;
  }
  if (carried === undefined) throw await notCarriedOut(call, request.model);
  if (signal?.aborted === true) {
    await call.settle({ outcome: 'not_sent' });
    throw signal.reason;
  }
  if (target !== undefined) calling.onDowngrade();
  const from = { provider: providerOf(carried), versions: versionsIn(carried.model) };
  const addsRaw = RAW_SWITCH in carried.model && (carried.model as Fields)[RAW_SWITCH] === undefined;
  const changes = { ...(caller !== undefined && { caller }), ...(addsRaw && { [RAW_SWITCH]: false }) };
  return { ...carried, model: lensOf(carried.model, changes), call, from, addsRaw };
}

/**
 * Lets ChatOpenAI put the provider's answer into what `_generate` gives, for it drops OpenRouter's cost before 1.0.
 * `false` is enough for that, and leaves streams as they are.
 */
const RAW_SWITCH = '__includeRawResponse';

type Method = (messages: unknown, options: Fields, runManager: unknown) => unknown;

function methodOf(model: object, name: string): Method {
  const method = (model as Fields)[name] as Method;
  return (...args) => Reflect.apply(method, model, args);
}

/** `_generate` of a guarded model. Rejects with what the model rejects with, or with our refusal. */
export function guardedGenerate(calling: Calling): Promise<unknown> {
  const { messages, runManager } = calling;
  return underCaller(calling.model, calling.options, async (single) => {
    const { call, model, options, from, addsRaw } = await open(calling, single);
    let result: unknown;
    try {
      result = await methodOf(model, '_generate')(messages, options, runManager);
    } catch (error) {
      await call.settle(failureOutcome(error, options['signal'] as AbortSignal | undefined));
      throw error;
    }
    await call.settle(resultOutcome(result, from));
    if (addsRaw) dropRaw(result);
    return result;
  });
}

interface Streaming {
  call: GuardedCall;
  parts: AsyncIterator<unknown>;
  first: IteratorResult<unknown>;
  tally: StreamTally;
}

/** Sends a streamed call, up to its first part: until then it can be tried again. */
async function openStream(
  calling: Calling,
  name: string,
  single: SingleCaller,
  stop: AbortSignal,
): Promise<Streaming> {
  const { call, model, options, from } = await open(calling, single);
  const signal = options['signal'] as AbortSignal | undefined;
  const stoppable = signal === undefined ? stop : AbortSignal.any([signal, stop]);
  try {
    const source = methodOf(model, name)(
      calling.messages,
      { ...options, signal: stoppable },
      calling.runManager,
    ) as AsyncIterable<unknown>;
    const parts = source[Symbol.asyncIterator]();
    const first = await parts.next();
    return { call, parts, first, tally: new StreamTally(from) };
  } catch (error) {
    await call.settle(failureOutcome(error, signal));
    throw error;
  }
}

/**
 * `_streamResponseChunks` or `_streamChatModelEvents` of a guarded model. A reader that leaves early ends the
 * request, too: some models would let the provider write on, at the caller's cost.
 */
export async function* guardedChunks(calling: Calling, name: string): AsyncGenerator {
  const stop = new AbortController();
  const { call, parts, first, tally } = await underCaller(calling.model, calling.options, (single) =>
    openStream(calling, name, single, stop.signal),
  );
  const signal = calling.options['signal'] as AbortSignal | undefined;
  let broken: 'aborted' | 'error' | undefined = 'aborted';
  let isOpen = true;
  // a reader whose signal is aborted while it has a part in hand may never come back for the next
  let isLent = false;
  const onAbort = (): void => void (isLent && call.settle(tally.outcome('aborted')));
  signal?.addEventListener('abort', onAbort);
  try {
    for (let part = first; part.done !== true; part = await parts.next()) {
      tally.see(part.value);
      isLent = true;
      yield part.value;
      isLent = false;
    }
    isOpen = false;
    broken = signal?.aborted === true ? 'aborted' : undefined;
  } catch (error) {
    isOpen = false;
    broken = signal?.aborted === true ? 'aborted' : 'error';
    throw error;
  } finally {
    signal?.removeEventListener('abort', onAbort);
    if (isOpen) await leave(parts, stop);
    await call.settle(tally.outcome(broken));
  }
}

async function leave(parts: AsyncIterator<unknown>, stop: AbortController): Promise<void> {
  try {
    await parts.return?.();
  } catch {
    // the reader has left: there is nobody to tell
  }
  stop.abort();
}
