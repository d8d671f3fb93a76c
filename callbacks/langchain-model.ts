/** A model of LangChain's whose calls are under a guard, whichever of its many ways they take. */
import type { AdapterGuard } from '../src/adapter.ts';
import { AgentGuardError, isBlocked } from '../src/errors.ts';
import type { SpendGuard } from '../src/guard.ts';
import { fieldsOf, isFields, listOf, type Fields } from '../src/wire/fields.ts';
import { guardedChunks, guardedGenerate, type Calling } from './langchain-call.ts';
import { lensOf } from './langchain-lens.ts';
import { isModel, type BoundTools, type Rungs } from './langchain-route.ts';

/** What calls of a guarded model go by. */
export interface Guarded {
  adapter: AdapterGuard;
  rungs: Rungs;
  bound?: BoundTools;
}

/** Whose calls a model's are, where it is guarded; also in what it tells callbacks about itself. */
export const GUARDED: unique symbol = Symbol.for('agentguard.spend/langchain-guard@1');
const TARGET = Symbol.for('agentguard.spend/langchain-target@1');

/** The guard that decides a model's calls already. */
export function guardOf(value: unknown): SpendGuard | undefined {
  return (fieldsOf(value) as { [GUARDED]?: SpendGuard })[GUARDED];
}

/** The model inside of one that the same guard has. Throws for another guard's: one call has one decision. */
export function unguarded(model: object, guard: SpendGuard): object {
  const other = guardOf(model);
  if (other === undefined) return model;
  if (other === guard) return (model as { [TARGET]: object })[TARGET];
  const message = 'guardModel: the model is under another guard; give one guard the policies of both';
  throw new AgentGuardError('invalid_config', message);
}

/** What is only known while one call runs. */
interface Slot {
  metadata: Fields;
  downgraded: boolean;
}

type Method = (...args: unknown[]) => unknown;

/** Where a call starts: each one gets a view of the model that remembers what came with it. */
const ENTRIES: ReadonlySet<string | symbol> = new Set([
  'generate',
  '_streamIterator',
  'streamEvents',
  'streamV2',
]);
/** What gives another model, or a wrapper around one. */
const MAKERS: ReadonlySet<string | symbol> = new Set([
  'withConfig',
  'bind',
  'bindTools',
  'withStructuredOutput',
]);
const STREAMS: ReadonlySet<string | symbol> = new Set(['_streamResponseChunks', '_streamChatModelEvents']);

/** False for what only the base class has: that calls the model's other methods, and LangChain asks for it by identity. */
function isOverridden(target: object, name: string | symbol): boolean {
  let owners = Object.hasOwn(target, name) ? 2 : 0;
  for (let each = Object.getPrototypeOf(target) as object | null; each !== null;) {
    if (Object.hasOwn(each, name)) owners += 1;
    each = Object.getPrototypeOf(each) as object | null;
  }
  return owners > 1;
}

/** The method by which a model looks its own model up at each call (`initChatModel`): of 1.x, and of 0.3. */
function lookUpOf(value: unknown): string | undefined {
  const fields = fieldsOf(value);
  if (typeof fields['_getModelInstance'] === 'function') return '_getModelInstance';
  const isOld = typeof fields['_model'] === 'function' && isFields(fields['_queuedMethodOperations']);
  return isOld ? '_model' : undefined;
}

function isLookUp(value: unknown): boolean {
  return lookUpOf(value) !== undefined;
}

/** Models that look-ups have come to, before anything was asked of them; the look-up's own have it done already. */
const FOUND = new WeakMap<object, Map<unknown, unknown>>();

/**
 * The model that a look-up comes to, under the guard before what was asked of the look-up (`withStructuredOutput`,
 * `bindTools`) is asked of it: afterwards, the model would lie inside of a chain, out of reach.
 */
async function lookedUp(method: Method, args: unknown[], { target, settings }: Seen): Promise<unknown> {
  let found = FOUND.get(target);
  if (found === undefined) FOUND.set(target, (found = new Map()));
  const plain = lensOf(target, { _queuedMethodOperations: {}, _modelInstanceCache: found });
  let model: unknown = guardedModel(await Reflect.apply(method, plain, args), settings);
  for (const [name, given] of Object.entries(fieldsOf((target as Fields)['_queuedMethodOperations']))) {
    const asked = (model as Fields)[name];
    if (typeof asked === 'function') model = await Reflect.apply(asked, model, listOf(given));
  }
  return model;
}

/** The model under a guard. */
export function guarded(target: object, settings: Guarded, slot?: Slot): object {
  return new Proxy(target, {
    get(_target, key, view) {
      if (key === GUARDED) return settings.adapter.guard;
      if (key === TARGET) return target;
      const value: unknown = Reflect.get(target, key, view);
      if (key === 'cache') return slot === undefined ? value : cacheFor(value, slot);
      if (typeof value !== 'function') return value;
      return methodFor(value as Method, key, { target, settings, slot, view: view as object }) ?? value;
    },
  });
}

interface Seen {
  target: object;
  settings: Guarded;
  slot: Slot | undefined;
  view: object;
}

/** What stands in for a method; `undefined` where the model's own does. */
function methodFor(method: Method, key: string | symbol, seen: Seen): Method | undefined {
  const { target, settings, slot, view } = seen;
  const own = (...args: unknown[]): unknown => Reflect.apply(method, view, args);
  if (key === 'toJSON') return (...args) => marked(own(...args), settings.adapter.guard);
  if (key === 'bindTools') return (...args) => boundTo(method, args, seen);
  const given = CALLED_WITH.get(key);
  if (given !== undefined) return (first) => guardedResult(own(given(settings, first)), settings);
  if (MAKERS.has(key)) return (...args) => guardedResult(own(...args), settings);
  const lookUp = lookUpOf(target);
  if (lookUp !== undefined) return key === lookUp ? (...args) => lookedUp(method, args, seen) : undefined;
  if (key === '_generate') {
    return (messages, options, runManager) =>
      guardedGenerate(calling(seen, { messages, options, runManager }));
  }
  if (STREAMS.has(key) && isOverridden(target, key)) {
    return (messages, options, runManager) =>
      guardedChunks(calling(seen, { messages, options, runManager }), String(key));
  }
  if (slot === undefined && ENTRIES.has(key)) {
    const own = guarded(target, settings, { metadata: {}, downgraded: false });
    return (...args) => Reflect.apply(method, own, args);
  }
  if (slot !== undefined && key === '_separateRunnableConfigFromCallOptionsCompat') {
    return (...args) => {
      const parts = own(...args);
      slot.metadata = fieldsOf(fieldsOf((parts as readonly unknown[])[0])['metadata']);
      return parts;
    };
  }
  return undefined;
}

function calling(
  { target, settings, slot }: Seen,
  given: { messages: unknown; options: unknown; runManager: unknown },
): Calling {
  const { adapter, rungs, bound } = settings;
  const { messages, runManager } = given;
  const called = slot?.metadata ?? fieldsOf(fieldsOf(runManager)['metadata']);
  return {
    adapter,
    ways: { rungs, bound },
    model: target,
    messages,
    options: fieldsOf(given.options),
    runManager,
    // as LangChain lays them over each other
    metadata: { ...called, ...fieldsOf((target as Fields)['metadata']) },
    onDowngrade() {
      if (slot !== undefined) slot.downgraded = true;
    },
  };
}

/** A cache that is not told of a cheaper model's answers: it would keep them under the dearer one's name. */
function cacheFor(cache: unknown, slot: Slot): unknown {
  if (!isFields(cache)) return cache;
  return new Proxy(cache, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value !== 'function') return value;
      if (key === 'update' && slot.downgraded) return () => Promise.resolve();
      return (value as Method).bind(target);
    },
  });
}

/** What a model tells callbacks about itself, marked so that a handler of the same guard leaves the call to it. */
function marked(json: unknown, guard: SpendGuard): unknown {
  if (isFields(json) && Object.isExtensible(json)) Object.defineProperty(json, GUARDED, { value: guard });
  return json;
}

/** What some methods are called with in place of what they are given. */
const CALLED_WITH: ReadonlyMap<unknown, (settings: Guarded, given: unknown) => unknown> = new Map([
  ['withRetry', (_settings: Guarded, given: unknown) => givingUp(given)],
  ['withFallbacks', fallbacksUnder],
]);

/** `withRetry` that does not try a refused call again. */
function givingUp(fields: unknown): Fields {
  const { onFailedAttempt } = fieldsOf(fields);
  return {
    ...fieldsOf(fields),
    onFailedAttempt(error: unknown, input: unknown): unknown {
      if (isBlocked(error)) throw error;
      return typeof onFailedAttempt === 'function' ? (onFailedAttempt as Method)(error, input) : undefined;
    },
  };
}

/**
 * What `withFallbacks` is called with, its models under the guard, too: else a refusal would lead past it. What is
 * under a guard already stays as it is, and so do chains, whose models are out of reach.
 */
function fallbacksUnder(settings: Guarded, given: unknown): unknown {
  const { bound: _, ...own } = settings;
  const under = (fallback: unknown): unknown => {
    const kinds = [fallback, fieldsOf(fallback)['bound']];
    const isModelOrBound = kinds.some((each) => isModel(each) || isLookUp(each));
    const isFree = kinds.every((each) => guardOf(each) === undefined);
    return isModelOrBound && isFree ? guardedModel(fallback, own) : fallback;
  };
  if (Array.isArray(given)) return given.map(under);
  const { fallbacks } = fieldsOf(given);
  return Array.isArray(fallbacks) ? { ...fieldsOf(given), fallbacks: fallbacks.map(under) } : given;
}

/** Tools are remembered as they were given, for a ladder's model of another provider binds them in its own way. */
function boundTo(method: Method, args: unknown[], { target, settings }: Seen): unknown {
  const [tools, kwargs] = args;
  const remembering = { ...settings, bound: { tools, kwargs } };
  return guardedResult(Reflect.apply(method, guarded(target, remembering), args), remembering);
}

function guardedResult(result: unknown, settings: Guarded): unknown {
  if (!isFields(result) || guardOf(result) !== undefined) return result;
  if (isModel(result) || isLookUp(result)) return guarded(result, settings);
  const { bound } = result;
  if (!(isModel(bound) || isLookUp(bound))) return result;
  const under = guardOf(bound) === undefined ? guarded(bound, settings) : bound;
  return guardedBinding(result, under, settings);
}

/** A `RunnableBinding` with a guarded model inside. */
function guardedBinding(binding: object, bound: object, settings: Guarded): object {
  return new Proxy(binding, {
    get(target, key, view) {
      if (key === 'bound') return bound;
      if (key === GUARDED) return guardOf(bound);
      const value: unknown = Reflect.get(target, key, view);
      const given = CALLED_WITH.get(key);
      if (typeof value !== 'function' || !(given !== undefined || MAKERS.has(key))) return value;
      return (...args: unknown[]): unknown => {
        const changed = given === undefined ? args : [given(settings, args[0])];
        return guardedResult(Reflect.apply(value, view, changed), settings);
      };
    },
  });
}

/** Puts a model, or one with options bound to it, under a guard. Throws `AgentGuardError` for everything else. */
export function guardedModel(model: unknown, settings: Guarded): object {
  const { guard } = settings.adapter;
  if (isFields(model)) {
    if (isModel(model) || isLookUp(model)) return guarded(unguarded(model, guard), settings);
    const { bound } = model;
    if (isModel(bound) || isLookUp(bound))
      return guardedBinding(model, guarded(unguarded(bound as object, guard), settings), settings);
  }
  const message =
    'guardModel: expected a chat model or a completion model; guard it before withStructuredOutput';
  throw new AgentGuardError('invalid_config', message);
}
