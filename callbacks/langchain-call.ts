/** One call of a guarded model: decided, sent as decided, settled on every ending. */
import { notCarriedOut, type AdapterGuard } from '../src/adapter.ts';
import type { GuardedCall } from '../src/guarded-call.ts';
import type { CallOutcome } from '../src/settlement.ts';
import { failureOutcome } from '../src/wire/failure.ts';
import type { Fields } from '../src/wire/fields.ts';
import { underCaller, type SingleCaller } from './langchain-caller.ts';
import { lensOf } from './langchain-lens.ts';
import { asksForCache } from './langchain-prompt.ts';
import { carryOut, spendRequest, type Ways } from './langchain-route.ts';
import { takeScope, versionsIn } from './langchain-scope.ts';
import { StreamTally } from './langchain-tally.ts';
import { WireTap } from './langchain-tap.ts';
import { resultOutcome, type AnsweredBy } from './langchain-usage.ts';
import { bodyOf, providerOf, type Sending } from './langchain-wire.ts';

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
  tap: WireTap;
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
    const { maxOutputTokens: limit, maxPrice } = call;
    carried = carryOut(asked, { model: target, limit, maxPrice }, ways);
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
  const from = {
    provider: providerOf(carried),
    versions: versionsIn(carried.model),
    writesCache: asksForCache(messages, bodyOf(carried).body),
  };
  const tap = new WireTap();
  const single = lensOf(carried.model, caller === undefined ? {} : { caller }, tap.wraps);
  return { ...carried, model: single, call, from, tap };
}

/** The outcome with what the wire said in place of what came through. Counts from before a break are not the bill. */
function heard(outcome: CallOutcome, tap: WireTap): CallOutcome {
  return outcome.outcome === 'ok' ? { ...outcome, ...tap.outcome(outcome.seenOutputTokens) } : outcome;
}

type Method = (messages: unknown, options: Fields, runManager: unknown) => unknown;

function methodOf(model: object, name: string): Method {
  const method = (model as Fields)[name] as Method;
  return (...args) => Reflect.apply(method, model, args);
}

/** `_generate` of a guarded model. Rejects with what the model rejects with, or with our refusal. */
export function guardedGenerate(calling: Calling): Promise<unknown> {
  const { messages, runManager } = calling;
  return underCaller(calling.model, calling.options, async (single) => {
    const { call, model, options, from, tap } = await open(calling, single);
    let result: unknown;
    try {
      result = await methodOf(model, '_generate')(messages, options, runManager);
    } catch (error) {
      const failure = failureOutcome(error, options['signal'] as AbortSignal | undefined);
      // what was answered before, or could not be read, is paid for, whatever the error says of the last request
      const isPaid = tap.hasHeard && failure.outcome !== 'aborted';
      await call.settle(isPaid ? { outcome: 'error' } : failure);
      throw error;
    }
    await call.settle(heard(resultOutcome(result, from), tap));
    return result;
  });
}

interface Streaming {
  call: GuardedCall;
  parts: AsyncIterator<unknown>;
  first: IteratorResult<unknown>;
  outcome(broken: 'aborted' | 'error' | undefined): CallOutcome;
  see(part: unknown): void;
}

/** Sends a streamed call, up to its first part: until then it can be tried again. */
async function openStream(
  calling: Calling,
  name: string,
  single: SingleCaller,
  stop: AbortSignal,
): Promise<Streaming> {
  const { call, model, options, from, tap } = await open(calling, single);
  const tally = new StreamTally(from);
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
    return {
      call,
      parts,
      first,
      see: (part) => tally.see(part),
      outcome: (broken) => heard(tally.outcome(broken), tap),
    };
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
  const opened = await underCaller(calling.model, calling.options, (single) =>
    openStream(calling, name, single, stop.signal),
  );
  const { call, parts, first } = opened;
  const signal = calling.options['signal'] as AbortSignal | undefined;
  let broken: 'aborted' | 'error' | undefined = 'aborted';
  let isOpen = true;
  // a reader whose signal is aborted while it has a part in hand may never come back for the next
  let isLent = false;
  const onAbort = (): void => void (isLent && call.settle(opened.outcome('aborted')));
  signal?.addEventListener('abort', onAbort);
  try {
    for (let part = first; part.done !== true; part = await parts.next()) {
      opened.see(part.value);
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
    await call.settle(opened.outcome(broken));
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
