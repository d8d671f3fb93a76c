/**
 * What a call's request will name – models, output limit, fees – wherever a provider of the AI SDK takes it from:
 * the model's settings, the provider's `extraBody`, the call's options. Pure.
 */
import { AgentGuardError } from '../src/errors.ts';
import { checkScope } from '../src/scope.ts';
import type { SpendScope } from '../src/scope.ts';
import { asksForHour, asksForHourInJson, HOUR_CACHE } from './ai-sdk-cache.ts';
import {
  fieldsOf,
  isFields,
  json,
  listOf,
  namespaceOf,
  providerRunTool,
  type Fields,
} from './ai-sdk-usage.ts';

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

/** The request of a call, as far as its cost depends on it. */
export interface Wire {
  model: string;
  fallbacks: readonly string[];
  /** The output limit that the request will carry. */
  limit?: number;
  choices: number;
  reasoningTokens?: number;
  /** Why the cost can't be bounded. */
  unbounded?: string;
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

export function positive(value: unknown): number | undefined {
  return Number.isSafeInteger(value) && (value as number) > 0 ? (value as number) : undefined;
}

export function camelCase(text: string): string {
  return text.replaceAll(/[_-]([a-z])/g, (found) => (found[1] as string).toUpperCase());
}

/** How a model writes its request: from options that become the body's own fields, or in a way of its own. */
export function writesOptions(model: ModelLike): boolean {
  return namespaceOf(model.provider) === 'openrouter' || 'providerOptionsName' in model;
}

/** True for a model inside another wrapper: its settings can't be seen. */
export function isWrapped(model: ModelLike): boolean {
  return !isFields((model as Partial<Record<'config', unknown>>).config);
}

/** Marks a body that the caller's own function didn't let us see. */
const UNREADABLE = 'transformRequestBody';

/** The fields that options, settings and the provider's `extraBody` put into the body, as the provider merges them. */
export function bodyOf({ model, params }: Sending): Fields {
  const { settings, config } = model as { settings?: unknown; config?: unknown };
  const own = fieldsOf(settings);
  const options = fieldsOf(params[optionsKey(params)]);
  const name = namespaceOf(model.provider);
  const body: Record<string, unknown> = {
    model: model.modelId,
    models: own['models'],
    max_tokens: params[limitKey(params)] ?? own['maxTokens'],
    reasoning: own['reasoning'],
    plugins: own['plugins'],
    web_search_options: own['web_search_options'],
    provider: own['provider'],
    cache_control: own['cache_control'],
    ...fieldsOf(fieldsOf(config)['extraBody']),
    ...fieldsOf(own['extraBody']),
    ...fieldsOf(options[name]),
    ...(camelCase(name) !== name && fieldsOf(options[camelCase(name)])),
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

/** OpenRouter plugins without a fee. */
const FREE_PLUGINS: ReadonlySet<unknown> = new Set(['response-healing']);

/** Tiers of service at the list price or below. */
const LISTED_TIERS: ReadonlySet<unknown> = new Set([
  undefined,
  null,
  'auto',
  'default',
  'flex',
  'standard',
  'standard_only',
]);

function feeInBody(body: Fields): string | undefined {
  const plugin = listOf(body['plugins'])
    .map(fieldsOf)
    .find(({ id, enabled }) => enabled !== false && !FREE_PLUGINS.has(id));
  if (plugin !== undefined) return `the fee of plugin ${JSON.stringify(plugin['id'])} has no bound`;
  if (isFields(body['web_search_options'])) return 'the fee of web_search_options has no bound';
  if (isFields(body['preset']) || typeof body['preset'] === 'string') return 'a preset may name other models';
  const { models, n, modalities, provider, service_tier: tier } = body;
  if (UNREADABLE in body) return 'transformRequestBody failed when it was asked what it will send';
  const areNames = Array.isArray(models) && models.every((id) => typeof id === 'string');
  if (models !== undefined && models !== null && !areNames) return 'models is not a list of names';
  if (n !== undefined && n !== null && positive(n) === undefined)
    return 'n is not a whole number of at least 1';
  if (listOf(modalities).some((kind) => kind !== 'text'))
    return 'output other than text has prices of its own';
  if (!LISTED_TIERS.has(tier)) return `service tier ${JSON.stringify(tier)} has prices of its own`;
  if (asksForHour(body)) return HOUR_CACHE;
  const { sort } = fieldsOf(provider);
  const by = isFields(sort) ? sort['by'] : sort;
  if (by === 'throughput' || by === 'latency') return `provider.sort ${by} may cost more than the list price`;
  const served = listOf(body['tools']).find((tool) => fieldsOf(tool)['type'] !== 'function');
  return served === undefined ? undefined : 'the fee of a tool that the provider runs has no bound';
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

/** Options of providers that write their bodies themselves, by which a call may cost more than its tokens. */
function feeInOptions(all: Fields): string | undefined {
  for (const [name, value] of Object.entries(all)) {
    const options = fieldsOf(value);
    const { serviceTier, speed, inferenceGeo } = options;
    if (!LISTED_TIERS.has(serviceTier))
      return `service tier ${JSON.stringify(serviceTier)} has prices of its own`;
    if (speed === 'fast' || inferenceGeo === 'us')
      return `${name}: speed and inferenceGeo have prices of their own`;
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

function namesIn(list: unknown): string[] {
  return listOf(list).flatMap((each) => {
    const name = isFields(each) ? each['model'] : each;
    return typeof name === 'string' ? [name] : [];
  });
}

/** Of several limits in one body the larger one is counted: providers differ in which they heed. */
export function limitIn(body: Fields): number | undefined {
  const limits = [positive(body['max_tokens']), positive(body['max_completion_tokens'])];
  return limits.reduce((a, b) => (b === undefined || (a !== undefined && a > b) ? a : b));
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
function ownLimit({ params }: Sending, options: Fields, added: number | 'unknown'): number | undefined {
  if (added === 'unknown') return undefined;
  const openai = fieldsOf(options['openai'])['maxCompletionTokens'];
  const azure = fieldsOf(options['azure']);
  const asked = limitIn({
    max_tokens: params[limitKey(params)],
    max_completion_tokens: 'maxCompletionTokens' in azure ? azure['maxCompletionTokens'] : openai,
  });
  return asked === undefined ? undefined : asked + added;
}

/** The output limit that the request of a call will carry. */
export function limitOf(sending: Sending): number | undefined {
  if (writesOptions(sending.model)) return limitIn(bodyOf(sending));
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

function ownWire(sending: Sending): Wire {
  const options = optionsRead(sending);
  const added = addedBudget(sending, options);
  const limit = ownLimit(sending, options, added);
  const { thinkingBudget } = fieldsOf(fieldsOf(options['google'])['thinkingConfig']);
  const budget = added === 'unknown' || added === 0 ? positive(thinkingBudget) : added + 1;
  const unbounded = feeInOptions(options);
  return {
    model: modelOf(sending),
    fallbacks: [
      ...namesIn(fieldsOf(options['anthropic'])['fallbacks']),
      ...namesIn(fieldsOf(options['gateway'])['models']),
    ],
    ...(limit !== undefined && { limit }),
    choices: 1,
    ...(budget !== undefined && { reasoningTokens: budget }),
    ...(unbounded !== undefined && { unbounded }),
  };
}

/** Fields of options that replace what the call's own parameters say, or add to it. */
const REPLACED = ['messages', 'prompt', 'system', 'tools', 'functions', 'response_format'];

/** What the request of a call will name. */
export function readWire(sending: Sending): Wire {
  const tool = providerRunTool(sending.params);
  const fee = tool === undefined ? undefined : `tool ${tool} is run by the provider: its cost has no bound`;
  if (!writesOptions(sending.model)) {
    const wire = ownWire(sending);
    return fee === undefined ? wire : { ...wire, unbounded: fee };
  }
  const body = bodyOf(sending);
  const model = typeof body['model'] === 'string' ? body['model'] : sending.model.modelId;
  const limit = limitIn(body);
  const reasoningTokens = positive(fieldsOf(body['reasoning'])['max_tokens']);
  const given = REPLACED.map((key) => body[key]).filter((value) => value !== undefined && value !== null);
  const texts = given.map((value) => (typeof value === 'string' ? value : json(value)));
  const asksInside = texts.some((text, at) => typeof given[at] !== 'string' && asksForHourInJson(text));
  const unbounded = fee ?? feeInBody(body) ?? (asksInside ? HOUR_CACHE : undefined);
  return {
    model,
    fallbacks: [...new Set(namesIn(body['models']))].filter((name) => name !== model),
    ...(limit !== undefined && { limit }),
    choices: positive(body['n']) ?? 1,
    ...(reasoningTokens !== undefined && { reasoningTokens }),
    ...(unbounded !== undefined && { unbounded }),
    ...(texts.length > 0 && { extraText: texts.join('\n') }),
  };
}

/** The call's own scope, and the call without it: our option never leaves, whoever reads the others. */
export function takeScope(params: Fields): { params: Fields; scope: SpendScope | undefined } {
  const key = optionsKey(params);
  const options = fieldsOf(params[key]);
  if (!('spendGuard' in options)) return { params, scope: undefined };
  const { spendGuard, ...others } = options;
  const { [key]: _, ...bare } = params;
  const rest = Object.keys(others).length === 0 ? bare : { ...params, [key]: others };
  if (spendGuard === undefined || spendGuard === null) return { params: rest, scope: undefined };
  if (!isFields(spendGuard) || Array.isArray(spendGuard)) {
    throw new AgentGuardError('invalid_config', `${key}.spendGuard: expected the fields of a scope`);
  }
  return { params: rest, scope: checkScope(`${key}.spendGuard`, spendGuard as SpendScope) };
}
