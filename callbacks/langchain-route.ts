/**
 * Sends a call to another model or with another output limit. Every change is checked on the body that the model
 * will write; what can't be seen there isn't relied on.
 */
import { AgentGuardError } from '../src/errors.ts';
import type { PromptShape } from '../src/estimate.ts';
import type { GuardedCall } from '../src/guarded-call.ts';
import type { SpendRequest } from '../src/prepare.ts';
import type { ModelFeature } from '../src/pricing/price.ts';
import { isSameModel } from '../src/pricing/resolve.ts';
import { fieldsOf, isFields, listOf, type Fields } from '../src/wire/fields.ts';
import { isTold, toldCeiling } from '../src/wire/ceiling.ts';
import { neededFeatures, wantsReasoning } from '../src/wire/features.ts';
import { hourCacheOf, longCacheFee, longest } from '../src/wire/hour-cache.ts';
import { withMaxTokens, withName, withoutFallbacks, withProviderField } from './langchain-lens.ts';
import { readPrompt } from './langchain-prompt.ts';
import {
  bodyOf,
  deploymentOf,
  pricedName,
  providerOf,
  readWire,
  type ModelWire,
  type Sending,
} from './langchain-wire.ts';

/** The models that a downgrade may come to, by the names that policies call them. */
export type Rungs = ReadonlyMap<string, object>;

/** What `bindTools` was called with: another provider's model must bind the tools in its own way. */
export interface BoundTools {
  tools: unknown;
  kwargs: unknown;
}

export function isModel(value: unknown): value is object {
  return isFields(value) && typeof value['_generate'] === 'function';
}

/** The ladder as it was given: models by name, or a list of models that have names of their own. */
export function readLadder(ladder: unknown, unwrap: (model: object) => object): Rungs {
  const isList = Array.isArray(ladder);
  const entries = isList
    ? listOf(ladder).map((model): [unknown, unknown] => [nameOf(model), model])
    : Object.entries(fieldsOf(ladder));
  const rungs = new Map<string, object>();
  for (const [index, [name, model]] of entries.entries()) {
    const where = isList ? `ladder[${index}]` : `ladder[${JSON.stringify(name)}]`;
    if (!isModel(model)) {
      const expected = 'expected a chat model, before bindTools, withStructuredOutput and withConfig';
      throw new AgentGuardError('invalid_config', `${where}: ${expected}`);
    }
    if (typeof name !== 'string' || name === '') {
      const fix = 'pass the ladder as an object, { [name]: model }';
      throw new AgentGuardError('invalid_config', `${where}: its model has no name; ${fix}`);
    }
    rungs.set(name, unwrap(model));
  }
  return rungs;
}

function nameOf(model: unknown): unknown {
  const { model: name, modelName } = fieldsOf(model);
  return pricedName(name ?? modelName, deploymentOf(model));
}

function rungFor(rungs: Rungs, id: string): object | undefined {
  const exact = rungs.get(id);
  if (exact !== undefined) return exact;
  for (const [name, model] of rungs) if (isSameModel(name, id)) return model;
  return undefined;
}

/** Options that only the model's own class can read, for it wrote them. */
const OWN_FORM = ['tools', 'tool_choice', 'functions', 'function_call', 'response_format', 'outputConfig'];

/** What binding wrote: on a model of OpenAI's, else on a `RunnableBinding` (`kwargs` before 1.0). */
function boundOptions(bound: unknown): Fields {
  const { defaultOptions, kwargs, config } = fieldsOf(bound);
  const { callbacks: _callbacks, tags: _tags, metadata: _metadata, ...options } = fieldsOf(config);
  return { ...fieldsOf(defaultOptions), ...fieldsOf(kwargs), ...options };
}

/** The options as another model can read them, or `undefined` where they can't be had in its form. */
function optionsFor(
  rung: object,
  { model, options }: Sending,
  bound: BoundTools | undefined,
): Fields | undefined {
  if (Object.getPrototypeOf(rung) === Object.getPrototypeOf(model)) return options;
  if (bound === undefined) return OWN_FORM.some((name) => options[name] != null) ? undefined : options;
  const { bindTools } = rung as { bindTools?: unknown };
  if (typeof bindTools !== 'function') return undefined;
  const kept = Object.fromEntries(Object.entries(options).filter(([name]) => !OWN_FORM.includes(name)));
  return { ...kept, ...boundOptions(Reflect.apply(bindTools, rung, [bound.tools, bound.kwargs])) };
}

/** What a call can be turned into. */
export interface Ways {
  rungs: Rungs;
  bound: BoundTools | undefined;
}

/** The same call with this output limit in its body, or `undefined` where that can't be had. */
export function withLimit(sending: Sending, limit: number): Sending | undefined {
  const limited = withMaxTokens(sending, limit);
  const wire = readWire(limited);
  return wire.isSeen && wire.limit === limit ? limited : undefined;
}

/** The same call sent to `id` and to no other model, or `undefined` where no way is certain. */
function withModel(sending: Sending, id: string, { rungs, bound }: Ways): Sending | undefined {
  const rung = rungFor(rungs, id);
  if (rung === undefined) {
    // the deployment in the address would serve it all the same
    if (deploymentOf(sending.model) !== undefined) return undefined;
    const renamed = withName(sending, id);
    const wire = readWire(renamed);
    return wire.isSeen && wire.model === id && wire.fallbacks.length === 0 ? renamed : undefined;
  }
  const options = optionsFor(rung, sending, bound);
  if (options === undefined) return undefined;
  const routed = withoutFallbacks({ model: rung, options });
  return readWire(routed).fallbacks.length === 0 ? routed : undefined;
}

/** What a decision asks for: another model, an output limit, a price ceiling, or none of them. */
interface Orders {
  model?: string | undefined;
  limit?: number | undefined;
  maxPrice?: GuardedCall['maxPrice'];
}

/**
 * The call as a decision wants it, or `undefined` where it can't be had: sent to another model it must keep the
 * output limit and the number of answers that its cost was bounded with, and its tools, and take on no fee and no
 * dearer cache.
 */
export function carryOut(sending: Sending, orders: Orders, ways: Ways): Sending | undefined {
  const placed = placedCall(sending, orders, ways);
  const { maxPrice } = orders;
  return placed === undefined || maxPrice === undefined ? placed : withCeiling(placed, maxPrice);
}

/** The same call with OpenRouter told of its ceiling. Other providers have one price for each model. */
function withCeiling(sending: Sending, ceiling: NonNullable<Orders['maxPrice']>): Sending | undefined {
  if (providerOf(sending) !== 'openrouter') return sending;
  const told = withProviderField(sending, toldCeiling(bodyOf(sending).body['provider'], ceiling));
  const { body, isSeen } = bodyOf(told);
  return isSeen && isTold(body['provider'], ceiling) ? told : undefined;
}

function placedCall(sending: Sending, orders: Orders, ways: Ways): Sending | undefined {
  const { model, limit } = orders;
  if (model === undefined) return limit === undefined ? sending : withLimit(sending, limit);
  const asked = readWire(sending);
  const kept = limit ?? asked.limit;
  let routed: Sending | undefined;
  try {
    routed = withModel(sending, model, ways);
    if (routed !== undefined && kept !== undefined && readWire(routed).limit !== kept)
      routed = withLimit(routed, kept);
  } catch {
    // the other model can't bind these tools
    return undefined;
  }
  if (routed === undefined) return undefined;
  const wire = readWire(routed);
  const isSound = wire.choices <= asked.choices && wire.tools >= asked.tools && wire.unbounded === undefined;
  const isAsked = wire.longCache === undefined || wire.longCache === asked.longCache;
  return isSound && isAsked ? routed : undefined;
}

/** What the model must be able to do for a call. */
function featuresOf(sending: Sending, prompt: PromptShape, wire: ModelWire): ModelFeature[] {
  const { body } = bodyOf(sending);
  const format = fieldsOf(body['response_format'] ?? fieldsOf(body['text'])['format'])['type'];
  const reasoning = body['reasoning'] ?? body['reasoning_effort'];
  return neededFeatures(prompt, {
    tools: wire.tools > 0,
    schema: format === 'json_schema',
    reasoning: wire.reasoningTokens !== undefined || wantsReasoning(reasoning),
  });
}

/** How many prompts a call has, each with answers of its own: a completion model takes several at once. */
function promptsIn(messages: unknown): number {
  const prompts = listOf(messages).filter((each) => typeof each === 'string').length;
  return Math.max(1, prompts);
}

/** Any limit serves to see whether one can be set. */
const SOME_LIMIT = 65_537;

/** A call as the guard wants to know it. */
export function spendRequest(sending: Sending, messages: unknown, ways: Ways): SpendRequest {
  const provider = providerOf(sending);
  const wire = readWire(sending, provider);
  const { extraText, tools } = wire;
  const prompt = readPrompt(messages, { ...(extraText !== undefined && { text: extraText }), tools });
  const longCache = longest(wire.longCache, prompt.longCache);
  const unbounded = wire.unbounded ?? longCacheFee(longCache);
  const features = featuresOf(sending, prompt.shape, wire);
  const limitCanBeSet = withLimit(sending, SOME_LIMIT) !== undefined;
  const limit = limitCanBeSet && wire.limit === undefined ? SOME_LIMIT : wire.limit;
  return {
    model: wire.model,
    ...(provider !== undefined && { provider }),
    fallbacks: wire.fallbacks,
    prompt: prompt.shape,
    ...(unbounded !== undefined && { unbounded }),
    ...(wire.limit !== undefined && { maxOutputTokens: wire.limit }),
    choices: wire.choices * promptsIn(messages),
    ...hourCacheOf(longCache),
    ...(wire.reasoningTokens !== undefined && { reasoningTokens: wire.reasoningTokens }),
    limitCanBeSet,
    // what can't be told of its ceiling after all is not sent
    ...(provider === 'openrouter' && { ceilingCanBeSet: true }),
    ...(features.length > 0 && { features }),
    canRoute: (model) => carryOut(sending, { model, limit }, ways) !== undefined,
  };
}
