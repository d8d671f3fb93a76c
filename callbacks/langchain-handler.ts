/** The callback handler: decides each call when LangChain announces it, and settles it when it ends. */
import { adapterGuard, type AdapterGuard, type Guarding } from '../src/adapter.ts';
import type { SpendRequest } from '../src/prepare.ts';
import type { SpendScope } from '../src/scope.ts';
import type { CallOutcome } from '../src/settlement.ts';
import { failureOutcome } from '../src/wire/failure.ts';
import { fieldsOf, type Fields } from '../src/wire/fields.ts';
import { hourCacheOf, longCacheFee, longest } from '../src/wire/hour-cache.ts';
import { guardOf } from './langchain-model.ts';
import { asksForCache, readPrompt } from './langchain-prompt.ts';
import { runsOf, togetherWith, type Run } from './langchain-runs.ts';
import { takeScope } from './langchain-scope.ts';
import { resultOutcome } from './langchain-usage.ts';
import { pricedName, providerName, readParams } from './langchain-wire.ts';

/** Fits `callbacks` of every version without its types. */
export interface SpendGuardHandler {
  readonly name: string;
  readonly raiseError: true;
  readonly awaitHandlers: true;
  handleChatModelStart(
    llm: unknown,
    messages: readonly (readonly unknown[])[],
    runId: string,
    parentRunId?: string,
    extraParams?: object,
    tags?: readonly string[],
    metadata?: object,
  ): Promise<void>;
  handleLLMStart(
    llm: unknown,
    prompts: readonly string[],
    runId: string,
    parentRunId?: string,
    extraParams?: object,
    tags?: readonly string[],
    metadata?: object,
  ): Promise<void>;
  handleLLMEnd(
    output: unknown,
    runId: string,
    parentRunId?: string,
    tags?: readonly string[],
    extraParams?: object,
  ): Promise<void>;
  handleLLMError(error: unknown, runId: string): Promise<void>;
}

/** What a callback is told of a call. */
interface Announced {
  llm: unknown;
  prompt: unknown;
  extra: Fields;
  metadata: Fields;
}

/**
 * A stream whose reader leaves is told to nobody. Its hold expires by itself; after an hour the run is forgotten,
 * so that they don't pile up.
 */
const FORGET_AFTER_MS = 3_600_000;

/** An aborted stream that nobody reads on is told to nobody, either. Whatever LangChain tells comes before this. */
const ABORT_GRACE_MS = 1000;

/** A call as the guard wants to know it. A callback can't change what is sent, so neither limit nor route can be set. */
function announcedRequest({ llm, prompt, extra, metadata }: Announced): SpendRequest {
  const options = fieldsOf(extra['options']);
  const params = fieldsOf(extra['invocation_params']);
  const kwargs = fieldsOf(fieldsOf(llm)['kwargs']);
  const named = params['model'] ?? metadata['ls_model_name'] ?? kwargs['model'] ?? kwargs['model_name'];
  const limit = metadata['ls_max_tokens'] ?? kwargs['max_tokens'] ?? kwargs['max_output_tokens'];
  const isSeen = typeof params['model'] === 'string';
  const model = pricedName(named, kwargs['deployment_name']) ?? 'unknown model';
  const body = isSeen ? { ...params, model } : { ...params, model, max_tokens: limit };
  const provider = providerName(metadata['ls_provider']);
  const wire = readParams({ ...body, ...invocationKwargs(kwargs) }, provider, options);
  const { extraText, tools } = wire;
  const read = readPrompt(prompt, { ...(extraText !== undefined && { text: extraText }), tools });
  const longCache = longest(wire.longCache, read.longCache);
  const unbounded = wire.unbounded ?? longCacheFee(longCache);
  const signal = options['signal'] as AbortSignal | undefined;
  const scope = takeScope(metadata);
  return {
    model: wire.model,
    ...(provider !== undefined && { provider }),
    fallbacks: wire.fallbacks,
    prompt: read.shape,
    ...(unbounded !== undefined && { unbounded }),
    ...(wire.limit !== undefined && { maxOutputTokens: wire.limit }),
    choices: wire.choices,
    ...hourCacheOf(longCache),
    ...(wire.reasoningTokens !== undefined && { reasoningTokens: wire.reasoningTokens }),
    limitCanBeSet: false,
    canRoute: () => false,
    ...(scope !== undefined && { scope }),
    ...(signal !== undefined && { signal }),
  };
}

/** ChatAnthropic writes these over its body after it has told callbacks about it. */
function invocationKwargs(kwargs: Fields): Fields {
  return fieldsOf(kwargs['invocation_kwargs'] ?? kwargs['invocationKwargs']);
}

/** An error after several attempts is the last one's; what the others cost it doesn't say. */
function errorOutcome(error: unknown, signal: AbortSignal | undefined): CallOutcome {
  const outcome = failureOutcome(error, signal);
  const { attemptNumber } = fieldsOf(error);
  const isAlone = typeof attemptNumber !== 'number' || attemptNumber <= 1;
  return isAlone || outcome.outcome === 'aborted' ? outcome : { outcome: 'error' };
}

/** A class, so that LangChain's own log of what handlers throw has a name to say. */
export class AgentGuardSpendHandler implements SpendGuardHandler {
  readonly name = 'AgentGuardSpendHandler';
  // without both flags LangChain would go on before the decision, and despite it
  readonly raiseError = true;
  readonly awaitHandlers = true;
  readonly #adapter: AdapterGuard;
  readonly #runs: Map<string, Run>;

  constructor(guarding: Guarding, scope: SpendScope | undefined) {
    this.#adapter = adapterGuard(guarding, scope);
    this.#runs = runsOf(this.#adapter.guard);
  }

  handleChatModelStart(
    llm: unknown,
    messages: readonly (readonly unknown[])[],
    runId: string,
    _parentRunId?: string,
    extra?: object,
    _tags?: readonly string[],
    metadata?: object,
  ): Promise<void> {
    return this.#start(
      { llm, prompt: messages[0], extra: fieldsOf(extra), metadata: fieldsOf(metadata) },
      runId,
    );
  }

  handleLLMStart(
    llm: unknown,
    prompts: readonly string[],
    runId: string,
    _parentRunId?: string,
    extra?: object,
    _tags?: readonly string[],
    metadata?: object,
  ): Promise<void> {
    return this.#start({ llm, prompt: prompts, extra: fieldsOf(extra), metadata: fieldsOf(metadata) }, runId);
  }

  handleLLMEnd(
    output: unknown,
    runId: string,
    _parentRunId?: string,
    _tags?: readonly string[],
    extra?: object,
  ): Promise<void> {
    const isCached = fieldsOf(extra)['cached'] === true;
    return this.#end(runId, ({ from }) => (isCached ? { outcome: 'not_sent' } : resultOutcome(output, from)));
  }

  handleLLMError(error: unknown, runId: string): Promise<void> {
    return this.#end(runId, ({ signal }) => errorOutcome(error, signal));
  }

  async #start(announced: Announced, runId: string): Promise<void> {
    // decided by the model itself
    if (guardOf(announced.llm) === this.#adapter.guard) return;
    // told twice: another handler of the guard; before 1.3 also one handler at a model and at its call
    const run = this.#runs.get(runId) ?? this.#open(announced, runId);
    try {
      await run.call;
    } catch (error) {
      // a call that was refused has no ending, and those that were to be sent with it have none, either
      this.#drop(runId, run);
      run.together.refuse();
      throw error;
    }
  }

  #open({ llm, prompt, extra, metadata }: Announced, runId: string): Run {
    const now = Date.now();
    this.#forget(now - FORGET_AFTER_MS);
    const call = Promise.resolve().then(() =>
      this.#adapter.begin(announcedRequest({ llm, prompt, extra, metadata })),
    );
    const from = {
      provider: providerName(metadata['ls_provider']),
      versions: metadata['versions'],
      writesCache: asksForCache(prompt, fieldsOf(extra['invocation_params'])),
    };
    const signal = fieldsOf(extra['options'])['signal'] as AbortSignal | undefined;
    const end = (): void => void this.#end(runId, () => ({ outcome: 'aborted' }));
    const onAbort = (): void => void setTimeout(end, ABORT_GRACE_MS);
    signal?.addEventListener('abort', onAbort);
    const together = togetherWith(extra, () => void this.#end(runId, () => ({ outcome: 'not_sent' })));
    const run = { call, from, signal, onAbort, at: now, together };
    this.#runs.set(runId, run);
    return run;
  }

  async #end(runId: string, outcomeOf: (run: Run) => CallOutcome): Promise<void> {
    const run = this.#runs.get(runId);
    if (run === undefined) return;
    this.#drop(runId, run);
    // read before anything is waited for: a cache hands the same message out again, and changes it
    const outcome = outcomeOf(run);
    const call = await run.call.catch(() => undefined);
    await call?.settle(outcome);
  }

  #forget(before: number): void {
    for (const [id, run] of this.#runs) {
      if (run.at >= before) return;
      this.#drop(id, run);
    }
  }

  #drop(runId: string, { signal, onAbort }: Run): void {
    this.#runs.delete(runId);
    signal?.removeEventListener('abort', onAbort);
  }
}
