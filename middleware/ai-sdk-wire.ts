/**
 * What a call's request will name – models, output limit, fees – wherever a provider of the AI SDK takes it from:
 * the model's settings, the provider's `extraBody`, the call's options. Pure.
 */
import { fieldsOf, isFields, json, listOf, positive, textOf, type Fields } from '../src/wire/fields.ts';
import { longCacheFee, longest } from '../src/wire/hour-cache.ts';
import {
  feeInBody,
  limitIn,
  sumsUp,
  LIMITS,
  namesIn,
  promptFieldsIn,
  readBody,
  tierFee,
  type Wire,
} from '../src/wire/request-body.ts';
import { namespaceOf, providerRunTool } from './ai-sdk-usage.ts';

/** A language model of any version of the AI SDK, as far as it is needed here. */
export interface ModelLike {
  readonly provider: string;
  readonly modelId: string;
  readonly specificationVersion?: unknown;
  doGenerate(params: never): PromiseLike<unknown>;
  doStream(params: never): PromiseLike<unknown>;
}

/** A call as it could be made: the parameters of `doGenerate`, and the model that gets them. */
export interface Sending {
  model: ModelLike;
  params: Fields;
}

/** What a call's request names, with what the AI SDK lets options put into it. */
export interface OptionsWire extends Wire {
  /** Texts and JSON that take the place of messages or tools, or come on top of them. */
  extraText?: string;
}

/** `providerOptions`; `ai` 4 called them `providerMetadata`. */
export function optionsKey(params: Fields): 'providerOptions' | 'providerMetadata' {
  return 'mode' in params || 'inputFormat' in params ? 'providerMetadata' : 'providerOptions';
}

export function limitKey(params: Fields): 'maxOutputTokens' | 'maxTokens' {
  return optionsKey(params) === 'providerMetadata' ? 'maxTokens' : 'maxOutputTokens';
}

function camelCase(text: string): string {
  return text.replaceAll(/[_-]([a-z])/g, (found) => (found[1] as string).toUpperCase());
}

/**
 * How a model writes its request: from options that become the body's own fields, or in a way of its own. OpenAI-
 * compatible models are known by two fields together, for other providers' classes have come to use the first, too.
 */
export function writesOptions(model: ModelLike): boolean {
  if (namespaceOf(model.provider) === 'openrouter') return true;
  return 'providerOptionsName' in model && 'failedResponseHandler' in model;
}

/** True for a model inside another wrapper: its settings can't be seen. */
export function isWrapped(model: ModelLike): boolean {
  return !isFields((model as Partial<Record<'config', unknown>>).config);
}

/** Marks a body that the caller's own function didn't let us see. */
const UNREADABLE = 'transformRequestBody';

/** True for models before V3: they read a provider's options under its very name alone, and have no `maxTokens`. */
function isBeforeV3({ specificationVersion }: ModelLike): boolean {
  return specificationVersion === 'v1' || specificationVersion === 'v2';
}

/** The other spelling of a provider's name that options are read under, where it has one. */
export function otherSpelling(model: ModelLike): string | undefined {
  const name = namespaceOf(model.provider);
  const other = camelCase(name);
  return other === name || isBeforeV3(model) ? undefined : other;
}

/** The output limit in the settings of OpenRouter's models. */
export function limitInSettings(model: ModelLike): number | undefined {
  const { settings } = model as { settings?: unknown };
  if (namespaceOf(model.provider) !== 'openrouter' || isBeforeV3(model)) return undefined;
  return positive(fieldsOf(settings)['maxTokens']);
}

/** What the settings of OpenRouter's models put into the body. Other clients pass over such fields. */
function openRouterSettings(own: Fields, config: unknown): Fields {
  return {
    models: own['models'],
    reasoning: own['reasoning'],
    plugins: own['plugins'],
    web_search_options: own['web_search_options'],
    provider: own['provider'],
    cache_control: own['cache_control'],
    ...fieldsOf(fieldsOf(config)['extraBody']),
    ...fieldsOf(own['extraBody']),
  };
}

/** The fields that options, settings and the provider's `extraBody` put into the body, as the provider merges them. */
export function bodyOf({ model, params }: Sending): Fields {
  const { settings, config } = model as { settings?: unknown; config?: unknown };
  const own = fieldsOf(settings);
  const options = fieldsOf(params[optionsKey(params)]);
  const name = namespaceOf(model.provider);
  const other = otherSpelling(model);
  const body: Record<string, unknown> = {
    model: model.modelId,
    max_tokens: params[limitKey(params)] ?? limitInSettings(model),
    echo: own['echo'],
    suffix: own['suffix'],
    ...(name === 'openrouter' && openRouterSettings(own, config)),
    ...fieldsOf(options[name]),
    ...(other !== undefined && fieldsOf(options[other])),
  };
  const { transformRequestBody } = fieldsOf(config);
  if (typeof transformRequestBody !== 'function') return body;
  try {
    return fieldsOf(
      (transformRequestBody as (body: Fields, warnings: unknown[]) => unknown)({ messages: [], ...body }, []),
    );
  } catch {
    return { ...body, [UNREADABLE]: true };
  }
}

/** Whose options a provider reads. Callers share one set of options between models of several providers. */
const READS: Readonly<Record<string, readonly string[]>> = {
  anthropic: ['anthropic'],
  openai: ['openai'],
  azure: ['azure', 'openai'],
  google: ['google', 'vertex', 'googleVertex'],
  vertex: ['vertex', 'google', 'googleVertex', 'anthropic', 'vertexAnthropic'],
  'amazon-bedrock': ['bedrock', 'amazonBedrock', 'anthropic'],
  bedrock: ['bedrock', 'amazonBedrock', 'anthropic'],
  xai: ['xai'],
  groq: ['groq'],
  mistral: ['mistral'],
  deepseek: ['deepseek'],
  cohere: ['cohere'],
  perplexity: ['perplexity'],
};

/** The providers whose options a model reads; `undefined` for all, where the provider isn't known by its name. */
export function namesRead(model: ModelLike): readonly string[] | undefined {
  return READS[namespaceOf(model.provider)];
}

/** The options that count for a call. */
function optionsRead({ model, params }: Sending): Fields {
  const options = fieldsOf(params[optionsKey(params)]);
  const read = namesRead(model);
  if (read === undefined) return options;
  return Object.fromEntries(Object.entries(options).filter(([name]) => read.includes(name)));
}

/** True where old parts of a conversation are to be summed up: by a model, at a price beyond the call's own limit. */
function compacts({ contextManagement, compaction, compactionTrigger }: Fields): boolean {
  return isFields(compaction) || compactionTrigger === true || sumsUp(contextManagement);
}

/** Options of OpenAI's models that are, in the bodies of others, fields that say the same. */
function feeAsInBody({ prediction, echo }: Fields): string | undefined {
  return feeInBody({ prediction, echo });
}

/** Options of providers that write their bodies themselves, by which a call may cost more than its tokens. */
function feeInOptions(all: Fields): string | undefined {
  for (const [name, value] of Object.entries(all)) {
    const options = fieldsOf(value);
    const { serviceTier, speed, inferenceGeo } = options;
    const dear = tierFee(serviceTier);
    if (dear !== undefined) return dear;
    if (speed === 'fast' || inferenceGeo === 'us')
      return `${name}: speed and inferenceGeo have prices of their own`;
    const asInBody = feeAsInBody(options);
    if (asInBody !== undefined) return `${name}.${asInBody}`;
    const { reasoningMode: mode } = options;
    if (mode != null && mode !== 'standard') return `${name}.reasoningMode: ${json(mode)} has no known bound`;
    if (compacts(options)) return `${name}: summing up a conversation has no bound`;
    const stored = ['previousResponseId', 'conversation', 'thread', 'cachedContent'].find(
      (key) => options[key] != null,
    );
    if (stored !== undefined) return `${name}.${stored}: input kept by the provider has no bound`;
    const served = listOf(options['mcpServers']).length > 0 ? 'mcpServers' : undefined;
    const skills =
      listOf(fieldsOf(options['container'])['skills']).length > 0 ? 'container.skills' : undefined;
    const searched = isFields(options['searchParameters']) ? 'searchParameters' : undefined;
    const run = served ?? skills ?? searched;
    if (run !== undefined) return `${name}.${run}: what the provider runs itself has no bound`;
    if (options['fallbacks'] === 'default') return `${name}.fallbacks: the provider chooses the model`;
    if (
      listOf(options['fallbacks']).some((each) => Object.keys(fieldsOf(each)).some((key) => key !== 'model'))
    ) {
      return `${name}.fallbacks: a fallback with settings of its own has no bound`;
    }
    if (listOf(options['responseModalities']).some((kind) => kind !== 'TEXT')) {
      return `${name}.responseModalities: output other than text has prices of its own`;
    }
  }
  return undefined;
}

/** Providers that count reasoning within the output limit; Anthropic's adds its budget to the limit. */
const REASONS_WITHIN = /^(openai|azure|google|groq|mistral|deepseek|xai|cohere|perplexity)(\.|$)/;

/** The budget that the provider adds to the limit that it is given. `unknown` when it works it out itself. */
export function addedBudget(sending: Sending, options = optionsRead(sending)): number | 'unknown' {
  const { model, params } = sending;
  const { reasoning } = params;
  for (const [name, value] of Object.entries(options)) {
    const { thinking, reasoningConfig } = fieldsOf(value);
    const { type, budgetTokens } = fieldsOf(thinking ?? reasoningConfig);
    if (type !== 'enabled' || REASONS_WITHIN.test(name)) continue;
    return positive(budgetTokens) ?? 1024;
  }
  const isOwnWord = typeof reasoning === 'string' && reasoning !== 'none' && reasoning !== 'provider-default';
  if (
    !isOwnWord ||
    REASONS_WITHIN.test(model.provider) ||
    !/anthropic|bedrock|claude/.test(`${model.provider} ${model.modelId}`)
  ) {
    return 0;
  }
  return 'unknown';
}

/** The output limit that a provider with its own way of writing a request puts into it. */
function ownLimit(sending: Sending, options: Fields, added: number | 'unknown'): number | undefined {
  if (added === 'unknown') return undefined;
  const { model, params } = sending;
  const openai = fieldsOf(options['openai'])['maxCompletionTokens'];
  const azure = fieldsOf(options['azure']);
  const completion = 'maxCompletionTokens' in azure ? azure['maxCompletionTokens'] : openai;
  const named = {
    max_tokens: params[limitKey(params)],
    // only chats read it
    ...(!/\.(responses|completion)$/.test(model.provider) && { max_completion_tokens: completion }),
  };
  const asked = limitIn(named, LIMITS.chat);
  return asked === undefined ? undefined : asked + added;
}

/** The output limit that the request of a call will carry. */
export function limitOf(sending: Sending): number | undefined {
  if (writesOptions(sending.model)) return limitIn(bodyOf(sending), LIMITS.chat);
  const options = optionsRead(sending);
  return ownLimit(sending, options, addedBudget(sending, options));
}

/** The model that the request of a call will name. */
export function modelOf(sending: Sending): string {
  const { model } = sending;
  const named = writesOptions(model)
    ? bodyOf(sending)['model']
    : fieldsOf((model as { config?: unknown }).config)['requestModelId'];
  return typeof named === 'string' ? named : model.modelId;
}

/** Texts in options that become part of the prompt. */
function textBeside(options: Fields): string | undefined {
  const given = Object.values(options).map(fieldsOf);
  return textOf(given.flatMap((each) => [textOf(each['instructions']), textOf(each['suffix'])]).join(''));
}

function ownWire(sending: Sending): OptionsWire {
  const options = optionsRead(sending);
  const added = addedBudget(sending, options);
  const limit = ownLimit(sending, options, added);
  const { thinkingBudget } = fieldsOf(fieldsOf(options['google'])['thinkingConfig']);
  const budget = added === 'unknown' || added === 0 ? positive(thinkingBudget) : added + 1;
  const unbounded = feeInOptions(options);
  const extraText = textBeside(options);
  const wire: OptionsWire = {
    model: modelOf(sending),
    fallbacks: [
      ...namesIn(fieldsOf(options['anthropic'])['fallbacks']),
      ...namesIn(fieldsOf(options['gateway'])['models']),
    ],
    choices: 1,
  };
  if (limit !== undefined) wire.limit = limit;
  if (budget !== undefined) wire.reasoningTokens = budget;
  if (unbounded !== undefined) wire.unbounded = unbounded;
  if (extraText !== undefined) wire.extraText = extraText;
  return wire;
}

/** What the request of a call will name. */
export function readWire(sending: Sending): OptionsWire {
  const tool = providerRunTool(sending.params);
  const fee = tool === undefined ? undefined : `tool ${tool} is run by the provider: its cost has no bound`;
  if (!writesOptions(sending.model)) {
    const wire = ownWire(sending);
    return fee === undefined ? wire : { ...wire, unbounded: fee };
  }
  const body = bodyOf(sending);
  const wire = readBody(body, sending.model.modelId, LIMITS.chat);
  const inPrompt = promptFieldsIn(body);
  const unreadable =
    UNREADABLE in body ? 'transformRequestBody failed when it was asked what it will send' : undefined;
  const longCache = longest(wire.longCache, inPrompt.longCache);
  const unbounded = fee ?? unreadable ?? wire.unbounded ?? longCacheFee(longCache);
  const all: OptionsWire = { ...wire };
  if (longCache !== undefined) all.longCache = longCache;
  if (unbounded !== undefined) all.unbounded = unbounded;
  if (inPrompt.text !== undefined) all.extraText = inPrompt.text;
  return all;
}
