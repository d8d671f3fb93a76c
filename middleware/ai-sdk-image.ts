/** Spend control for images of the Vercel AI SDK: a middleware for `ai` 6 and 7. */
import { adapterGuard, checkOptions, type Guarding } from '../src/adapter.ts';
import type { SpendRequest } from '../src/prepare.ts';
import type { SpendScope } from '../src/scope.ts';
import type { CallOutcome } from '../src/settlement.ts';
import { attempt, fieldsOf, listOf, positive, sum, textOf, type Fields } from '../src/wire/fields.ts';
import { drawnUsage, pictureUnbounded, TOKENS_PER_PICTURE } from '../src/wire/pictures.ts';
import { namespaceOf, reportedMetadata, reportedUsage } from './ai-sdk-usage.ts';
import { guardedWhole, settingsWire, type NamedModel } from './ai-sdk-whole.ts';

/** An image model of any version of the AI SDK, as far as it is needed here. */
export interface ImageModelLike extends NamedModel {
  doGenerate(params: never): PromiseLike<unknown>;
}

interface ImageCall<R> {
  doGenerate(): PromiseLike<R>;
  params: object;
  model: ImageModelLike;
}

/** Fits `wrapImageModel`, and `imageModelMiddleware` of `wrapProvider`, of `ai` 6 and 7 without their types. */
export interface SpendGuardImageMiddleware {
  readonly specificationVersion: 'v3';
  wrapGenerate<R>(call: ImageCall<R>): Promise<R>;
}

export interface ImageGuardOptions {
  /** With a policy, the guard's scope; with a guard, a layer of scope of every call. */
  scope?: SpendScope;
}

/** Options that change the picture within its bound; whatever else there is may change what it costs. */
const KNOWN: ReadonlySet<string> = new Set([
  'quality',
  'style',
  'background',
  'moderation',
  'outputFormat',
  'outputCompression',
  'inputFidelity',
  'user',
  'safetyIdentifier',
]);

function unknownOption(params: Fields): string | undefined {
  for (const [name, options] of Object.entries(fieldsOf(params['providerOptions']))) {
    const key = Object.keys(fieldsOf(options)).find((each) => !KNOWN.has(each));
    if (key !== undefined) return `${name}.${key}: what it does to the cost of an image is not known`;
  }
  return undefined;
}

function picturesIn({ files, mask }: Fields): readonly unknown[] {
  return [...listOf(files), ...(mask == null ? [] : [mask])];
}

function requestOf(model: ImageModelLike, params: Fields): SpendRequest {
  const { prompt, n, size } = params;
  const wire = settingsWire(model);
  const given = picturesIn(params);
  const unbounded = wire.unbounded ?? pictureUnbounded(wire.model, size) ?? unknownOption(params);
  const text = textOf(prompt) ?? textOf(fieldsOf(prompt)['text']) ?? '';
  return {
    model: wire.model,
    provider: namespaceOf(model.provider),
    fallbacks: wire.fallbacks,
    prompt: { texts: [text], messages: 1, ...(given.length > 0 && { images: given.map(() => ({})) }) },
    choices: positive(n) ?? 1,
    maxOutputTokens: TOKENS_PER_PICTURE,
    limitCanBeSet: false,
    ...(unbounded !== undefined && { unbounded }),
    // a picture of another model is another thing
    canRoute: () => false,
  };
}

/** How much of the prompt was pictures: told with each picture of the answer, by OpenAI alone. */
function pictureTokens(metadata: unknown): { inputImageTokens?: number } {
  const told = listOf(fieldsOf(fieldsOf(metadata)['openai'])['images']).map(
    (image) => fieldsOf(image)['imageTokens'],
  );
  return told.some((tokens) => typeof tokens === 'number') ? { inputImageTokens: sum(...told) } : {};
}

function outcomeOf(result: unknown, { provider }: NamedModel, hasPictures: boolean): CallOutcome {
  return attempt<CallOutcome>(
    () => {
      const { usage, providerMetadata } = fieldsOf(result);
      const told = reportedUsage(usage, { provider, seenOutputTokens: 1 });
      return {
        outcome: 'ok',
        ...(told !== undefined && {
          usage: drawnUsage({ ...told, ...pictureTokens(providerMetadata) }, hasPictures),
        }),
        ...reportedMetadata(providerMetadata, usage, provider),
      };
    },
    { outcome: 'ok' },
  );
}

/**
 * A middleware for `wrapImageModel` and the `imageModelMiddleware` of `wrapProvider` (`ai` 6 and 7): every call is
 * decided, held, settled and recorded. Pictures that are priced by tokens (`gpt-image-1` and its kin) are bounded;
 * under a cap all others are refused (`unbounded_cost` or `unknown_price`), and none is ever downgraded.
 */
export function spendGuardImage(
  policy: Guarding,
  options: ImageGuardOptions = {},
): SpendGuardImageMiddleware {
  checkOptions('spendGuardImage: options', options, ['scope']);
  const adapter = adapterGuard(policy, options.scope);
  return {
    specificationVersion: 'v3',
    wrapGenerate<R>({ params, model, ...hooks }: ImageCall<R>) {
      return guardedWhole<ImageModelLike, R>(adapter, {
        model,
        given: params as Fields,
        request: (sent) => requestOf(model, sent),
        routed: () => undefined,
        send: (_, sent) =>
          sent === params ? hooks.doGenerate() : (model.doGenerate(sent as never) as PromiseLike<R>),
        outcome: (result, target) => outcomeOf(result, target, picturesIn(params as Fields).length > 0),
      });
    },
  };
}
