/**
 * A model as one call shall see it: the live model itself, with some of its fields read otherwise. Nothing of the
 * model is changed or copied, so calls side by side can differ, and what a provider's package keeps on its model –
 * its client, say – lasts.
 */
import { fieldsOf, isFields, type Fields } from '../src/wire/fields.ts';
import type { Sending } from './langchain-wire.ts';

/** Models inside of `ChatOpenAI` that write its requests. */
const PARTS: ReadonlySet<string | symbol> = new Set(['completions', 'responses']);

export type Method = (...args: unknown[]) => unknown;

/** What stands around a method of the model's own. */
export type Wraps = Readonly<Record<string, (own: Method) => Method>>;

/** The model with these fields in place of its own, and these methods wrapped, also inside of its parts. */
export function lensOf<M extends object>(model: M, changes: Fields, wraps: Wraps = {}): M {
  const parts = new Map<string | symbol, object>();
  return new Proxy(model, {
    get(target, key, lens) {
      if (typeof key === 'string' && Object.hasOwn(changes, key)) return changes[key];
      const value: unknown = Reflect.get(target, key, lens);
      const wrap = typeof key === 'string' && Object.hasOwn(wraps, key) ? wraps[key] : undefined;
      if (wrap !== undefined && typeof value === 'function')
        return wrap((...args) => Reflect.apply(value, lens, args));
      if (!PARTS.has(key) || !isFields(value) || typeof value['_generate'] !== 'function') return value;
      let part = parts.get(key);
      if (part === undefined) parts.set(key, (part = lensOf(value, changes, wraps)));
      return part;
    },
    set: (target, key, value) => Reflect.set(target, key, value),
  });
}

/** Fields that packages let callers write into the body as they are. */
const KWARGS = ['modelKwargs', 'invocationKwargs'] as const;

function without(fields: Fields, names: readonly string[]): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([name]) => !names.includes(name)));
}

function kwargsWithout(model: object, names: readonly string[]): Fields {
  const own = model as Fields;
  const given = KWARGS.filter((key) => isFields(own[key]));
  return Object.fromEntries(given.map((key) => [key, without(fieldsOf(own[key]), names)]));
}

/** Where a request may name other models than the one that it is for. */
const FALLBACKS = ['models', 'route'] as const;

/** The same call without any fallback that it names. */
export function withoutFallbacks({ model, options }: Sending): Sending {
  const own = FALLBACKS.filter((name) => name in model).map((name) => [name, undefined]);
  const changes = { ...Object.fromEntries(own), ...kwargsWithout(model, FALLBACKS) };
  return { model: lensOf(model, changes), options: without(options, FALLBACKS) };
}

/** The same call for the model `id`, and no other. */
export function withName(sending: Sending, id: string): Sending {
  const { model, options } = withoutFallbacks(sending);
  const names = ['model', 'modelName'].filter((name) => name in model).map((name) => [name, id]);
  const changes = { ...Object.fromEntries(names), ...kwargsWithout(model, ['model']) };
  return { model: lensOf(model, changes), options };
}

const LIMITS = ['max_tokens', 'max_completion_tokens', 'max_output_tokens'] as const;

/** The same call with this output limit, in every place that a limit is taken from. */
export function withMaxTokens({ model, options }: Sending, limit: number): Sending {
  const own = ['maxTokens', 'maxOutputTokens'].filter((name) => name === 'maxTokens' || name in model);
  const changes = {
    ...Object.fromEntries(own.map((name) => [name, limit])),
    ...kwargsWithout(model, LIMITS),
  };
  const asked = ['maxTokens', 'maxOutputTokens'].filter((name) => options[name] != null);
  const changed = { ...options, ...Object.fromEntries(asked.map((name) => [name, limit])) };
  return { model: lensOf(model, changes), options: asked.length > 0 ? changed : options };
}

/** The same call with this in its body's `provider`, which is OpenRouter's for choosing a host. */
export function withProviderField({ model, options }: Sending, provider: Fields): Sending {
  const kwargs = fieldsOf((model as Fields)['modelKwargs']);
  const changes = 'provider' in model ? { provider } : { modelKwargs: { ...kwargs, provider } };
  const asked = options['provider'] == null ? options : { ...options, provider };
  return { model: lensOf(model, changes), options: asked };
}
