/** Spend control for embeddings of the Vercel AI SDK: a middleware for `ai` 6 and 7, a wrapper for 4 to 7. */
import { adapterGuard, checkOptions, type AdapterGuard, type Guarding } from '../src/adapter.ts';
import { AgentGuardError } from '../src/errors.ts';
import type { SpendRequest } from '../src/prepare.ts';
import type { SpendScope } from '../src/scope.ts';
import type { CallOutcome } from '../src/settlement.ts';
import { attempt, fieldsOf, listOf, type Fields } from '../src/wire/fields.ts';
import { reportedInBody } from '../src/wire/reported.ts';
import { namesIn } from '../src/wire/request-body.ts';
import { copyWith, isCloneable } from './ai-sdk-route.ts';
import { namespaceOf, reportedMetadata } from './ai-sdk-usage.ts';
import { guardedWhole, settingsWire, type NamedModel } from './ai-sdk-whole.ts';

/** An embedding model of any version of the AI SDK, as far as it is needed here. */
export interface EmbeddingModelLike extends NamedModel {
  doEmbed(params: never): PromiseLike<unknown>;
}

/** Fits `wrapEmbeddingModel` of `ai` 6 and 7 without their types. */
export interface SpendGuardEmbeddingMiddleware {
  readonly specificationVersion: 'v3';
  wrapEmbed<R>(call: { doEmbed(): PromiseLike<R>; params: object; model: EmbeddingModelLike }): Promise<R>;
}

export interface EmbeddingGuardOptions {
  /** With a policy, the guard's scope; with a guard, a layer of scope of every call. */
  scope?: SpendScope;
}

/** A vector of another model is another thing: only where a policy names an embedding model is it taken for one. */
function routedTo(model: EmbeddingModelLike, id: string): EmbeddingModelLike | undefined {
  return /embed/i.test(id) && isCloneable(model, 'doEmbed') ? copyWith(model, { modelId: id }) : undefined;
}

/** Why a call's cost can't be bounded, beyond what the model's settings say. */
function unboundedIn(values: readonly unknown[], params: Fields): string | undefined {
  if (!values.every((value) => typeof value === 'string')) return 'the values to embed are not all texts';
  const options = Object.entries(fieldsOf(params['providerOptions']));
  const [name] = options.find(([, own]) => listOf(fieldsOf(own)['content']).length > 0) ?? [];
  return name === undefined ? undefined : `${name}.content: files to embed have prices of their own`;
}

function requestOf(model: EmbeddingModelLike, params: Fields): SpendRequest {
  const values = listOf(params['values']);
  const wire = settingsWire(model);
  const unbounded = wire.unbounded ?? unboundedIn(values, params);
  const { models } = fieldsOf(fieldsOf(params['providerOptions'])['gateway']);
  const fallbacks = [...new Set([...wire.fallbacks, ...namesIn(models)])];
  return {
    model: wire.model,
    provider: namespaceOf(model.provider),
    fallbacks,
    prompt: { texts: values.map(String), messages: values.length },
    // embeddings have no output, and a limit can't be less than one
    maxOutputTokens: 1,
    limitCanBeSet: false,
    ...(unbounded !== undefined && { unbounded }),
    canRoute: (id) => routedTo(model, id) !== undefined && fallbacks.length === 0,
  };
}

function outcomeOf(result: unknown, { provider }: NamedModel): CallOutcome {
  return attempt<CallOutcome>(
    () => {
      const { usage, providerMetadata, response } = fieldsOf(result);
      const { tokens } = fieldsOf(usage);
      return {
        outcome: 'ok',
        ...reportedInBody(fieldsOf(response)['body']),
        // 0 is what some models make of a figure that is missing
        ...(tokens !== undefined && tokens !== 0 && { usage: { inputTokens: tokens, outputTokens: 0 } }),
        ...reportedMetadata(providerMetadata, undefined, provider),
      };
    },
    { outcome: 'ok' },
  );
}

function embedGuarded<R>(
  adapter: AdapterGuard,
  model: EmbeddingModelLike,
  given: object,
  asIs: (params: Fields) => PromiseLike<R>,
): Promise<R> {
  return guardedWhole<EmbeddingModelLike, R>(adapter, {
    model,
    given: given as Fields,
    request: (params) => requestOf(model, params),
    routed: (id) => routedTo(model, id),
    send: (target, params) =>
      target === model ? asIs(params) : (target.doEmbed(params as never) as PromiseLike<R>),
    outcome: outcomeOf,
  });
}

/**
 * A middleware for `wrapEmbeddingModel` (`ai` 6 and 7): every call is decided, held, settled and recorded. Takes a
 * policy, several, or a guard that other adapters share. A downgrade goes only to a model whose name says that it
 * embeds; where a policy names none, the call is refused (`no_route`).
 */
export function spendGuardEmbedding(
  policy: Guarding,
  options: EmbeddingGuardOptions = {},
): SpendGuardEmbeddingMiddleware {
  checkOptions('spendGuardEmbedding: options', options, ['scope']);
  const adapter = adapterGuard(policy, options.scope);
  return {
    specificationVersion: 'v3',
    wrapEmbed: ({ params, model, ...hooks }) =>
      embedGuarded(adapter, model, params, (sent) =>
        sent === params
          ? hooks.doEmbed()
          : (model.doEmbed(sent as never) as ReturnType<typeof hooks.doEmbed>),
      ),
  };
}

/**
 * The same embedding model under a guard, for `ai` 4 and 5, which have no middleware for it; works in 4 to 7. All of
 * its other members are the model's own.
 */
export function guardEmbeddingModel<M extends EmbeddingModelLike>(
  model: M,
  policy: Guarding,
  options: EmbeddingGuardOptions = {},
): M {
  if (typeof fieldsOf(model)['doEmbed'] !== 'function') {
    throw new AgentGuardError('invalid_config', 'guardEmbeddingModel: expected (model, policy or guard)');
  }
  checkOptions('guardEmbeddingModel: options', options, ['scope']);
  const adapter = adapterGuard(policy, options.scope);
  const doEmbed = (params: object): Promise<unknown> =>
    embedGuarded(adapter, model, params, (sent) => model.doEmbed(sent as never));
  return new Proxy(model, {
    get(target, key) {
      // the model itself as the receiver: its getters may need fields that a proxy doesn't have
      return key === 'doEmbed' ? doEmbed : (Reflect.get(target, key, target) as unknown);
    },
  });
}
