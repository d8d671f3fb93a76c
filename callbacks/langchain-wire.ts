/**
 * What the request of a LangChain model will name – models, output limit, fees – read from the body that the model
 * itself would write. Pure.
 */
import { fieldsOf, isFields, json, listOf, positive, textOf, type Fields } from '../src/wire/fields.ts';
import { longCacheFee, longest } from '../src/wire/hour-cache.ts';
import { LIMITS, promptFieldsIn, readBody, sumsUp, type Wire } from '../src/wire/request-body.ts';
import { feeInResponses } from '../src/wire/responses-body.ts';

/** A call as it could be made: a model, and the options that its `_generate` gets. */
export interface Sending {
  model: object;
  options: Fields;
}

/** What a call's request names, as far as it can be seen. */
export interface ModelWire extends Wire {
  /** True when the model shows the body that it writes. A change that can't be seen is not relied on. */
  isSeen: boolean;
  tools: number;
  /** Texts and JSON that go to the model beside the messages. */
  extraText?: string;
}

/** What LangChain calls a provider, where the price list has another name for it. */
const PROVIDERS: Readonly<Record<string, string>> = {
  google_genai: 'google',
  google_vertexai: 'vertex',
  amazon_bedrock: 'amazon-bedrock',
  azure_openai: 'azure',
  mistral_ai: 'mistral',
};

/** The price list's name for a provider; `undefined` where LangChain names none. */
export function providerName(lsProvider: unknown): string | undefined {
  if (typeof lsProvider !== 'string' || lsProvider === '') return undefined;
  const name = lsProvider.toLowerCase();
  return PROVIDERS[name] ?? name.replaceAll('_', '-');
}

/** The provider of a model, from what it tells tracers about itself. */
export function providerOf({ model, options }: Sending): string | undefined {
  const { getLsParams } = model as { getLsParams?: unknown };
  if (typeof getLsParams !== 'function') return undefined;
  try {
    return providerName(fieldsOf(Reflect.apply(getLsParams, model, [options]))['ls_provider']);
  } catch {
    return undefined;
  }
}

/** What LangChain names where nobody has: of what Azure has deployed it says nothing. */
const UNNAMED = /^gpt-3\.5-turbo(-instruct)?$/;

/** The name to price: the caller's own word for the model, else that of the deployment in Azure's address. */
export function pricedName(named: unknown, deployment: unknown): unknown {
  if (typeof deployment !== 'string') return named;
  return typeof named === 'string' && !UNNAMED.test(named) ? named : deployment;
}

/** The deployment that serves a model's calls, whatever their bodies name. */
export function deploymentOf(model: unknown): string | undefined {
  return textOf(fieldsOf(model)['azureOpenAIApiDeploymentName']);
}

/** Marks a body that the model could not write. */
const UNREADABLE = 'invocationParams';

/** The body of a call but for its messages, and whether the model shows it. */
export function bodyOf({ model, options }: Sending): { body: Fields; isSeen: boolean } {
  const own = model as Fields;
  const { invocationParams, invocationKwargs } = own;
  const named = {
    model: own['model'] ?? own['modelName'],
    max_tokens: own['maxTokens'] ?? own['maxOutputTokens'],
  };
  if (typeof invocationParams !== 'function') return { body: named, isSeen: false };
  let params: Fields;
  try {
    params = fieldsOf(Reflect.apply(invocationParams, model, [options]));
  } catch {
    return { body: { ...named, [UNREADABLE]: true }, isSeen: false };
  }
  const isSeen = typeof params['model'] === 'string';
  // ChatAnthropic writes these over everything else
  const body = { ...(!isSeen && named), ...params, ...fieldsOf(invocationKwargs) };
  return { body: { ...body, model: pricedName(body.model, deploymentOf(own)) }, isSeen };
}

/** Tools of Anthropic's that the caller's own code runs; tools without a type are the caller's own. */
const RUN_BY_CALLER = /^(custom|bash_|text_editor_|computer_|memory_|str_replace_)/;

/** What may cost more than its tokens in a body of Anthropic's. */
function feeInMessages(body: Fields): string | undefined {
  const served = listOf(body['tools'])
    .map((tool) => fieldsOf(tool)['type'])
    .find((type) => type !== undefined && !(typeof type === 'string' && RUN_BY_CALLER.test(type)));
  if (served !== undefined) return `the fee of tool ${JSON.stringify(served)} has no bound`;
  const { mcp_servers: servers, container, inference_geo: geo, speed } = body;
  if (listOf(servers).length > 0) return 'what tools of mcp_servers cost has no bound';
  if (listOf(fieldsOf(container)['skills']).length > 0) return 'what skills of a container cost has no bound';
  if (sumsUp(body['context_management'])) return 'summing up a conversation has no bound';
  if (geo === 'us' || speed === 'fast') return 'speed and inference_geo have prices of their own';
  return undefined;
}

/** Input that the provider keeps has no bound; neither has a body that replaces the one that was read. */
function hiddenInput(body: Fields, options: Fields): string | undefined {
  const kept = ['previous_response_id', 'conversation'].find((key) => body[key] != null);
  if (kept !== undefined) return `${kept}: input kept by the provider has no bound`;
  if (isFields(body['prompt'])) return 'prompt: a template kept by the provider has no bound';
  if (UNREADABLE in body) return 'the model could not say what it will send';
  const isReplaced = options['body'] != null || fieldsOf(options['options'])['body'] != null;
  return isReplaced ? 'options.body replaces the request' : undefined;
}

/** Where prompts go beside the fields that all formats have. */
function otherText({ output_config: output, text }: Fields): string[] {
  return [fieldsOf(output)['format'], fieldsOf(text)['format']].filter(isFields).map(json);
}

/** What a body names. `options` are the call's own. */
export function readParams(
  body: Fields,
  provider: string | undefined,
  options: Fields = {},
): Omit<ModelWire, 'isSeen'> {
  const isAnthropic = provider === 'anthropic';
  // only the Responses API has it, and there the other API's limits mean nothing
  const isResponses = 'truncation' in body;
  const limits = isResponses ? LIMITS.responses : LIMITS.chat;
  // both have kinds of tools of their own
  const read = isAnthropic || isResponses ? { ...body, tools: undefined } : body;
  const wire = readBody(read, 'a model without a name', limits);
  const inPrompt = promptFieldsIn(body);
  const texts = [...(inPrompt.text === undefined ? [] : [inPrompt.text]), ...otherText(body)];
  const longCache = longest(wire.longCache, inPrompt.longCache);
  const unbounded =
    hiddenInput(body, options) ??
    wire.unbounded ??
    (isResponses ? feeInResponses(body) : undefined) ??
    (isAnthropic ? feeInMessages(body) : undefined) ??
    longCacheFee(longCache);
  const budget = positive(fieldsOf(body['thinking'])['budget_tokens']);
  // a completion model's own search over several answers, all of them paid for
  const choices = Math.max(wire.choices, positive(body['best_of']) ?? 1);
  return {
    ...wire,
    ...(longCache !== undefined && { longCache }),
    choices,
    tools: listOf(body['tools']).length,
    ...(budget !== undefined && { reasoningTokens: budget }),
    ...(unbounded !== undefined && { unbounded }),
    ...(texts.length > 0 && { extraText: texts.join('\n') }),
  };
}

/** What the request of a call will name. */
export function readWire(sending: Sending, provider = providerOf(sending)): ModelWire {
  const { body, isSeen } = bodyOf(sending);
  return { ...readParams(body, provider, sending.options), isSeen };
}
