/** Spend control for the Vercel AI SDK: a language model middleware for `ai` 4 to 7. */
import { resultOutcome, StreamTally, type SentTo } from './ai-sdk-outcome.ts';
import { carryOut, pinned, spelledOut, spendRequest, tellingCost } from './ai-sdk-route.ts';
import { takeScope } from './ai-sdk-scope.ts';
import { modelOf, type ModelLike, type Sending } from './ai-sdk-wire.ts';
import { guardedStream } from '../src/wire/guarded-stream.ts';
import { adapterGuard, checkOptions, notCarriedOut, type Guarding } from '../src/adapter.ts';
import { AgentGuardError } from '../src/errors.ts';
import type { GuardedCall } from '../src/guarded-call.ts';
import { checkScope, type SpendScope } from '../src/scope.ts';
import { failureOutcome } from '../src/wire/failure.ts';
import type { Fields } from '../src/wire/fields.ts';

export type { ModelLike } from './ai-sdk-wire.ts';
export { spendErrorText, toGuardedResponse } from './ai-sdk-response.ts';
export { guardEmbeddingModel, spendGuardEmbedding } from './ai-sdk-embedding.ts';
export type {
  EmbeddingGuardOptions,
  EmbeddingModelLike,
  SpendGuardEmbeddingMiddleware,
} from './ai-sdk-embedding.ts';
export { spendGuardImage } from './ai-sdk-image.ts';
export type { ImageGuardOptions, ImageModelLike, SpendGuardImageMiddleware } from './ai-sdk-image.ts';
export type { ResponseOptionsOf, StreamTextLike } from './ai-sdk-response.ts';

export interface AiSdkGuardOptions {
  /** With a policy, the guard's scope; with a guard, a layer of scope of every call through this middleware. */
  scope?: SpendScope;
  /**
   * The model to use when a call is sent to `id`. Without it, OpenRouter's and OpenAI-compatible models are told in
   * the request and other providers' models are copied under the other id. Must not return a guarded model: the
   * call would be decided twice. `undefined` leaves the choice to these ways.
   */
  resolveModel?: (id: string) => ModelLike | undefined;
}

/** Fits `wrapLanguageModel` and `wrapProvider` of every version without their types. */
export interface SpendGuardMiddleware {
  readonly specificationVersion: 'v3';
  wrapGenerate<R>(call: { doGenerate(): PromiseLike<R>; params: object; model: ModelLike }): Promise<R>;
  wrapStream<R>(call: { doStream(): PromiseLike<R>; params: object; model: ModelLike }): Promise<R>;
}

/** What one call says of itself. */
export interface SpendCallOptions {
  scope?: SpendScope;
  /** Capabilities that the call has, on the word of this code. */
  claims?: readonly string[];
  /** Signed capabilities, as tokens; each is for one call, so set `maxRetries: 0` with them. */
  capability?: string | readonly string[];
}

/**
 * Scope and capabilities of one call, for its `providerOptions`:
 * `{ providerOptions: spendOptions({ scope: { userId } }) }`. Throws `AgentGuardError` for fields that it doesn't know.
 */
export function spendOptions(options: SpendCallOptions): {
  spendGuard: Record<string, string | string[]>;
} {
  checkOptions('spendOptions', options, ['scope', 'claims', 'capability']);
  const { scope, claims, capability } = options;
  const set = Object.entries(checkScope('scope', scope)).filter(([, value]) => value !== undefined);
  return {
    spendGuard: {
      ...(Object.fromEntries(set) as Record<string, string>),
      ...(claims !== undefined && { claims: [...claims] }),
      ...(capability !== undefined && { capability: [capability].flat() }),
    },
  };
}

/** A call that may leave, as it is to be sent. */
interface Opened extends Sending {
  call: GuardedCall;
  /** True when the call is sent as the framework made it. */
  isUnchanged: boolean;
  signal: AbortSignal | undefined;
  to: SentTo;
}

/** Sends an opened call; one that fails is settled. Rejects with what the model rejects with. */
async function send<R>(opened: Opened, work: () => PromiseLike<R>): Promise<R> {
  const { call, signal } = opened;
  if (signal?.aborted === true) {
    await call.settle({ outcome: 'not_sent' });
    throw signal.reason;
  }
  try {
    return await work();
  } catch (error) {
    await call.settle(failureOutcome(error, signal));
    throw error;
  }
}

/**
 * What `doStream` resolved with, its stream watched and settled at its end. What has no stream that can be read is
 * handed on as it is, settled at once.
 */
async function watched<R>(result: R, { call, signal, to }: Opened): Promise<R> {
  const tally = new StreamTally(result, to);
  let stream: ReadableStream<unknown>;
  try {
    stream = guardedStream((result as { stream: ReadableStream<unknown> }).stream, {
      onPart: (part) => tally.see(part),
      onEnd: ({ how }) => {
        const aborted = how === 'cancelled' || signal?.aborted === true;
        return call.settle(tally.outcome(aborted ? 'aborted' : how === 'failed' ? 'error' : undefined));
      },
    });
  } catch {
    await call.settle(tally.outcome('error'));
    return result;
  }
  // fields as they are: to read one could throw
  const fields = Object.getOwnPropertyDescriptors(result as object);
  const value = { value: stream, enumerable: true, configurable: true, writable: true };
  return Object.defineProperties({}, { ...fields, stream: value }) as R;
}

/**
 * A middleware for `wrapLanguageModel` that decides, holds, settles and records every call of the model, retries
 * and the steps of agents one by one. Put it last in a list of middleware. Takes a policy, several, a policy file, or a guard that
 * other adapters share.
 *
 * Its calls reject with `AgentGuardBlockedError` when they may not be made; every other error is the model's own.
 * Throws `AgentGuardError` at once for a policy, scope or option that isn't valid.
 */
export function spendGuard(policy: Guarding, options: AiSdkGuardOptions = {}): SpendGuardMiddleware {
  checkOptions('spendGuard: options', options, ['scope', 'resolveModel']);
  const { resolveModel } = options;
  if (resolveModel !== undefined && typeof resolveModel !== 'function') {
    throw new AgentGuardError('invalid_config', 'resolveModel: expected (id) => model');
  }
  const adapter = adapterGuard(policy, options.scope);

  async function open(model: ModelLike, given: Fields): Promise<Opened> {
    const { params, scope: layer, claims, capability } = takeScope(given);
    const asked: Sending = { model, params };
    const signal = given['abortSignal'] as AbortSignal | undefined;
    const request = spendRequest(asked, resolveModel);
    if (claims !== undefined) request.claims = claims;
    if (capability !== undefined) request.capability = capability;
    if (layer !== undefined) request.scope = layer;
    if (signal !== undefined) request.signal = signal;
    const call = await adapter.begin(request);
    const target = call.decision === 'downgrade' ? call.model : undefined;
    let carried: Sending | undefined;
    try {
      carried = carryOut(
        asked,
        { model: target, limit: call.maxOutputTokens, maxPrice: call.maxPrice },
        resolveModel,
      );
    } catch (error) {
      await call.settle({ outcome: 'not_sent' });
      throw error;
    }
    if (carried === undefined) throw await notCarriedOut(call, request.model);
    const counts = call.reason !== 'no_caps' && call.reason !== 'shadow';
    const sending = counts ? tellingCost(pinned(spelledOut(carried), target !== undefined)) : carried;
    const isUnchanged = sending.model === model && sending.params === given;
    const named = sending === asked ? request.model : modelOf(sending);
    const to: SentTo = { provider: sending.model.provider, model: named };
    return { ...sending, call, isUnchanged, signal, to };
  }

  return {
    specificationVersion: 'v3',
    async wrapGenerate({ params, model, ...hooks }) {
      const opened = await open(model, params as Fields);
      const changed = () =>
        opened.model.doGenerate(opened.params as never) as ReturnType<typeof hooks.doGenerate>;
      const result = await send(opened, opened.isUnchanged ? () => hooks.doGenerate() : changed);
      await opened.call.settle(resultOutcome(result, opened.to));
      return result;
    },
    async wrapStream({ params, model, ...hooks }) {
      const opened = await open(model, params as Fields);
      const changed = () =>
        opened.model.doStream(opened.params as never) as ReturnType<typeof hooks.doStream>;
      const result = await send(opened, opened.isUnchanged ? () => hooks.doStream() : changed);
      return watched(result, opened);
    },
  };
}
