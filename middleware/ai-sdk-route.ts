/**
 * Sends a call to another model or with another output limit. Every change is checked on the request as it will
 * be; what can't be changed for certain isn't changed.
 */
import type { GuardedCall } from '../src/guarded-call.ts';
import type { PromptShape } from '../src/estimate.ts';
import type { SpendRequest } from '../src/prepare.ts';
import { attempt, fieldsOf, isFields, positive, type Fields } from '../src/wire/fields.ts';
import { hourCacheOf, longCacheFee, longest, type LongCache } from '../src/wire/hour-cache.ts';
import { limitIn, LIMITS, type Wire } from '../src/wire/request-body.ts';
import { longCacheIn } from './ai-sdk-cache.ts';
import { featuresOf, withCeiling, withOptions } from './ai-sdk-ceiling.ts';
import { namespaceOf, promptShape } from './ai-sdk-usage.ts';
import {
  addedBudget,
  bodyOf,
  isWrapped,
  limitInSettings,
  limitKey,
  limitOf,
  namesRead,
  optionsKey,
  otherSpelling,
  readWire,
  writesOptions,
  type ModelLike,
  type Sending,
} from './ai-sdk-wire.ts';

/** The same call with this output limit in its request, or `undefined` where that can't be done for certain. */
export function withLimit(sending: Sending, limit: number): Sending | undefined {
  const { model, params } = sending;
  const key = limitKey(params);
  let changed: Sending;
  if (writesOptions(model)) {
    changed = { model, params: { ...params, [key]: limit } };
    const named = bodyOf(changed);
    const completion = positive(named['max_completion_tokens']) !== undefined;
    if (!completion && limitIn(named, LIMITS.chat) === limit) return changed;
    if (completion && bodyOf(sending)['max_tokens'] == null) changed = { model, params };
    if (completion) changed = withOptions(changed, { max_completion_tokens: limit });
    // `extraBody` comes after the call's own limit, the provider's options after both
    if (limitIn(bodyOf(changed), LIMITS.chat) !== limit)
      changed = withOptions(changed, { max_tokens: limit });
  } else {
    const added = addedBudget(sending);
    if (added === 'unknown' || limit <= added) return undefined;
    changed = { model, params: { ...params, [key]: limit - added } };
    const options = fieldsOf(params[optionsKey(params)]);
    const named = ['openai', 'azure'].filter(
      (name) => fieldsOf(options[name])['maxCompletionTokens'] != null,
    );
    if (named.length > 0) changed = withOptions(changed, { maxCompletionTokens: limit }, named);
  }
  return limitOf(changed) === limit ? changed : undefined;
}

/**
 * True for an instance of a provider's own class, whose request names its `modelId`. False for wrapped models and
 * for adapters of another version, which would call the original, and for a class whose copies can't be read: private
 * fields don't come along.
 */
export function isCloneable(model: object, method: 'doGenerate' | 'doEmbed' = 'doGenerate'): boolean {
  const prototype = Object.getPrototypeOf(model) as Fields | null;
  const id = Object.getOwnPropertyDescriptor(model, 'modelId');
  if (prototype === null || prototype === Object.prototype || typeof prototype[method] !== 'function')
    return false;
  const version = Object.getOwnPropertyDescriptor(model, 'specificationVersion');
  const isAdapted = version !== undefined && version.value !== (model as Fields)['specificationVersion'];
  if (id === undefined || !('value' in id) || isAdapted) return false;
  const { provider } = model as Fields;
  return attempt(() => (copyWith(model, {}) as Fields)['provider'] === provider, false);
}

/** An instance of the same class with some fields replaced. */
export function copyWith<M extends object>(model: M, changes: object): M {
  return Object.assign(Object.create(Object.getPrototypeOf(model) as object) as M, model, changes);
}

function clone(model: ModelLike, modelId: string): ModelLike {
  const { settings, config } = model as { settings?: unknown; config?: unknown };
  const copy = copyWith(model, { modelId });
  if (isFields(settings) && 'models' in settings)
    Object.assign(copy, { settings: { ...settings, models: undefined } });
  if (isFields(config) && 'requestModelId' in config) {
    Object.assign(copy, { config: { ...config, requestModelId: undefined } });
  }
  return copy;
}

/** Takes every fallback that a call names out of its options. */
function withoutFallbacks(sending: Sending): Sending {
  let cleared = sending;
  const options = fieldsOf(sending.params[optionsKey(sending.params)]);
  if (fieldsOf(options['anthropic'])['fallbacks'] != null)
    cleared = withOptions(cleared, { fallbacks: undefined }, ['anthropic']);
  if (fieldsOf(options['gateway'])['models'] != null)
    cleared = withOptions(cleared, { models: undefined }, ['gateway']);
  return cleared;
}

const ROUTED = { models: undefined, route: undefined };

type ResolveModel = (id: string) => unknown;

function isModelLike(value: unknown): value is ModelLike {
  const { doGenerate, doStream } = fieldsOf(value);
  return typeof doGenerate === 'function' && typeof doStream === 'function';
}

/**
 * The same call sent to `id` and to no other model, or `undefined` where no way is certain: by the model that
 * `resolve` knows, by the provider's own option, or by a copy of the model under the other name.
 */
export function withModel(sending: Sending, id: string, resolve?: ResolveModel): Sending | undefined {
  const { model, params } = sending;
  const resolved = resolve?.(id);
  if (isModelLike(resolved)) {
    if (resolved.specificationVersion !== model.specificationVersion) return undefined;
    const target = withoutFallbacks({ model: resolved, params });
    const routed = writesOptions(resolved)
      ? withOptions(target, { ...ROUTED, model: resolved.modelId })
      : target;
    return readWire(routed).fallbacks.length === 0 ? routed : undefined;
  }
  const copy = isCloneable(model) ? clone(model, id) : undefined;
  let way: Sending;
  // a copy, too, where it can be had: should the option not be read after all, the call is no other for it
  if (writesOptions(model)) way = withOptions({ model: copy ?? model, params }, { ...ROUTED, model: id });
  else if (copy !== undefined) way = withoutFallbacks({ model: copy, params });
  else return undefined;
  const wire = readWire(way);
  return wire.model === id && wire.fallbacks.length === 0 ? way : undefined;
}

/**
 * A model inside another wrapper may name more models than can be seen. The names that were decided on are written
 * out, so that no other can be in the request. A call that is sent elsewhere names each by a value, for middleware
 * that fills in defaults takes `undefined` for a place to fill; any other is as it would be without the guard.
 */
export function pinned(sending: Sending, isRouted: boolean): Sending {
  const { model } = sending;
  if (!isWrapped(model) || namespaceOf(model.provider) !== 'openrouter') return sending;
  const { model: named, models, n, max_tokens, max_completion_tokens } = bodyOf(sending);
  const seen = { model: named, models, n, max_tokens, max_completion_tokens };
  const none = { models: [named], n: 1, max_tokens: null, max_completion_tokens: null };
  const written = Object.entries(seen).filter(([, value]) => value !== undefined && value !== null);
  return withOptions(sending, isRouted ? { ...none, ...Object.fromEntries(written) } : seen);
}

/** Fields of a request that a decision was made by. */
const DECIDED_BY: ReadonlySet<string> = new Set([
  'model',
  'models',
  'max_tokens',
  'max_completion_tokens',
  'n',
]);

/**
 * The same call with what only newer clients read written where all of them do: a limit in the settings of a model,
 * and options under the other spelling of the provider's name. First releases for `ai` 6 pass over both, and nothing
 * tells them apart.
 */
export function spelledOut(sending: Sending): Sending {
  const { model, params } = sending;
  const other = otherSpelling(model);
  const options = fieldsOf(params[optionsKey(params)]);
  const main = fieldsOf(options[namespaceOf(model.provider)]);
  const written = Object.entries(other === undefined ? {} : fieldsOf(options[other])).filter(
    ([key, value]) => (DECIDED_BY.has(key) || key in main) && main[key] !== value,
  );
  const isWritten = writesOptions(model) && written.length > 0;
  const spelled = isWritten ? withOptions(sending, Object.fromEntries(written)) : sending;
  const limit = params[limitKey(params)] == null ? limitInSettings(model) : undefined;
  if (limit === undefined) return spelled;
  return { model, params: { ...spelled.params, [limitKey(params)]: limit } };
}

/**
 * The same call by a model that tells its cost. OpenRouter's client for `ai` 4 hands on the cost, and what was written
 * to a cache at a higher rate, only where its settings ask for it; later ones always do.
 */
export function tellingCost(sending: Sending): Sending {
  const { model, params } = sending;
  const settings = (model as { settings?: unknown }).settings;
  const isFirst = optionsKey(params) === 'providerMetadata' && namespaceOf(model.provider) === 'openrouter';
  if (!isFirst || !isFields(settings) || !isCloneable(model)) return sending;
  const usage = fieldsOf(settings['usage']);
  if (usage['include'] === true) return sending;
  return {
    model: copyWith(model, { settings: { ...settings, usage: { ...usage, include: true } } }),
    params,
  };
}

/** The prompt cache that a call asks for, and why its cost can't be bounded, wherever it says so. */
function termsIn(
  { model, params }: Sending,
  wire: Wire,
): { unbounded: string | undefined; longCache: LongCache | undefined } {
  // Claude is sold by others, too, and its cache options come under names of theirs
  const isClaude = /anthropic|claude/i.test(`${model.provider} ${wire.model}`);
  const longCache = longest(wire.longCache, longCacheIn(params, isClaude ? undefined : namesRead(model)));
  return { unbounded: wire.unbounded ?? longCacheFee(longCache), longCache };
}

/** What a decision asks for: another model, an output limit, a price ceiling, or none of them. */
interface Orders {
  model?: string | undefined;
  limit?: number | undefined;
  maxPrice?: GuardedCall['maxPrice'];
}

/**
 * The call as a decision wants it, or `undefined` where it can't be had: sent to another model it must keep the
 * output limit and the number of answers that its cost was bounded with, and take on no fee and no dearer cache.
 */
export function carryOut(sending: Sending, orders: Orders, resolve?: ResolveModel): Sending | undefined {
  const { maxPrice } = orders;
  const placed = placedCall(sending, orders, resolve);
  return placed === undefined || maxPrice === undefined ? placed : withCeiling(placed, maxPrice);
}

function placedCall(sending: Sending, orders: Orders, resolve?: ResolveModel): Sending | undefined {
  const { model, limit } = orders;
  if (model === undefined) return limit === undefined ? sending : withLimit(sending, limit);
  const asked = readWire(sending);
  const kept = limit ?? asked.limit;
  let routed = withModel(sending, model, resolve);
  if (routed !== undefined && kept !== undefined && limitOf(routed) !== kept)
    routed = withLimit(routed, kept);
  if (routed === undefined) return undefined;
  const wire = readWire(routed);
  const isBounded = wire.choices <= asked.choices && wire.fallbacks.length === 0;
  const terms = termsIn(routed, wire);
  const isAsked = terms.longCache === undefined || termsIn(sending, asked).longCache === terms.longCache;
  return isBounded && isAsked && terms.unbounded === undefined ? routed : undefined;
}

/** A prompt with a text that goes into the request beside it, as a message of its own. */
function withText(prompt: PromptShape, text: string | undefined): PromptShape {
  if (text === undefined) return prompt;
  return { ...prompt, texts: [...prompt.texts, text], messages: prompt.messages + 1 };
}

/** Any limit serves to see whether one can be set. */
const SOME_LIMIT = 65_537;

/** A call as the guard wants to know it. */
export function spendRequest(sending: Sending, resolve: ResolveModel | undefined): SpendRequest {
  const wire = readWire(sending);
  const prompt = promptShape(sending.params);
  const whole = withText(prompt, wire.extraText);
  const features = featuresOf(sending, prompt, wire);
  const limitCanBeSet = withLimit(sending, SOME_LIMIT) !== undefined;
  const { unbounded, longCache } = termsIn(sending, wire);
  const limit = limitCanBeSet && wire.limit === undefined ? SOME_LIMIT : wire.limit;
  const provider = namespaceOf(sending.model.provider);
  const request: SpendRequest = {
    model: wire.model,
    provider,
    fallbacks: wire.fallbacks,
    prompt: whole,
    choices: wire.choices,
    ...hourCacheOf(longCache),
    limitCanBeSet,
    canRoute: (model) => carryOut(sending, { model, limit }, resolve) !== undefined,
  };
  if (unbounded !== undefined) request.unbounded = unbounded;
  if (wire.limit !== undefined) request.maxOutputTokens = wire.limit;
  if (wire.reasoningTokens !== undefined) request.reasoningTokens = wire.reasoningTokens;
  // what can't be told of its ceiling after all is not sent
  if (provider === 'openrouter') request.ceilingCanBeSet = true;
  if (features.length > 0) request.features = features;
  return request;
}
