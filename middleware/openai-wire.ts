/**
 * What a request of the OpenAI client will cost at most, and the same request with another model or output limit.
 * Reads and writes the body as it goes over the wire. Pure.
 */
import type { PromptShape } from '../src/estimate.ts';
import type { GuardedCall } from '../src/guarded-call.ts';
import type { SpendRequest } from '../src/prepare.ts';
import type { ModelFeature } from '../src/pricing/price.ts';
import { toldCeiling } from '../src/wire/ceiling.ts';
import { neededFeatures, wantsReasoning } from '../src/wire/features.ts';
import { pictureUnbounded, TOKENS_PER_PICTURE } from '../src/wire/pictures.ts';
import { fieldsOf, isFields, listOf, textOf, type Fields } from '../src/wire/fields.ts';
import { hourCacheOf, longCacheFee, longCacheWithin } from '../src/wire/hour-cache.ts';
import { LIMITS, readBody, type Wire } from '../src/wire/request-body.ts';
import { feeInResponses } from '../src/wire/responses-body.ts';
import { withDeployment, type Endpoint } from './openai-endpoints.ts';
import { chatShape, imagesShape, inputsIn, responsesShape } from './openai-prompt.ts';

/** A request as it will be sent. */
export interface Sending {
  endpoint: Endpoint;
  url: string;
  /** What `fetch` gets: JSON, mostly. */
  body: unknown;
  provider: string | undefined;
  /** What stands in the body, where that can be seen. */
  fields: Fields | undefined;
}

/** A request, looked into. */
export function sendingOf(request: Omit<Sending, 'fields'>): Sending {
  const isPriced = request.endpoint.kind !== 'open' && request.endpoint.kind !== 'free';
  return { ...request, fields: isPriced ? fieldsIn(request.body) : undefined };
}

/** The fields of a body; `undefined` for one that can't be looked into. */
function fieldsIn(body: unknown): Fields | undefined {
  if (typeof body === 'string') {
    try {
      const value: unknown = JSON.parse(body);
      return isFields(value) && !Array.isArray(value) ? value : undefined;
    } catch {
      return undefined;
    }
  }
  if (typeof FormData === 'undefined' || !(body instanceof FormData)) return undefined;
  const fields: Record<string, unknown> = {};
  for (const [name, value] of body.entries()) {
    const key = name.replace(/\[\d*\]$/, '');
    const number = typeof value === 'string' && /^\d{1,9}$/.test(value) ? Number(value) : value;
    fields[key] = key in fields ? [fields[key], number].flat() : number;
  }
  return fields;
}

/** The names of the limit that an endpoint heeds; none where there is no output to limit. */
function limitNames({ kind }: Endpoint): readonly string[] {
  return kind === 'chat' || kind === 'responses' || kind === 'completions' ? LIMITS[kind] : [];
}

/** What every endpoint of these names and asks for. */
function wireOf(sending: Sending, body: Fields): Wire {
  const { endpoint } = sending;
  const first = textOf(listOf(body['models'])[0]);
  // tools of responses have kinds of their own, and are looked at there
  const isResponses = endpoint.kind === 'responses';
  const names = limitNames(endpoint);
  const wire = readBody(isResponses ? { ...body, tools: [] } : body, first ?? '', names);
  const model = endpoint.deployment ?? wire.model;
  // a body without the word needs no walk
  const isMarked = /"(cacheControl|cache_control|cachePoint)"/.test(String(sending.body));
  const longCache = isMarked ? longCacheWithin(body) : wire.longCache;
  const unbounded =
    wire.unbounded ?? (isResponses ? feeInResponses(body) : undefined) ?? longCacheFee(longCache);
  const fallbacks = wire.fallbacks.filter((name) => name !== model);
  const kept = longCache !== undefined && { longCache };
  return { ...wire, model, fallbacks, ...kept, ...(unbounded !== undefined && { unbounded }) };
}

/** What a prompt costs, and how many answers it asks for. */
type Asked = Pick<SpendRequest, 'prompt' | 'inputTokens' | 'choices' | 'maxOutputTokens' | 'unbounded'>;

/** OpenAI's own limit of legacy completions that set none. */
const LEGACY_LIMIT = 16;
/** A little room around each input of tokens. */
const TOKENS_PER_INPUT = 8;

function askedInTexts(value: unknown): Asked & { count: number } {
  const inputs = inputsIn(value);
  if (inputs === undefined) return { count: 1, unbounded: 'the input is neither text nor tokens' };
  const { texts, tokens, count } = inputs;
  if (texts.length === 0) return { count, inputTokens: tokens + count * TOKENS_PER_INPUT };
  if (tokens > 0) return { count, unbounded: 'the input is text and tokens at once' };
  return { count, prompt: { texts, messages: count } };
}

function askedInLegacy(body: Fields, { provider }: Sending, wire: Wire): Asked {
  const { count, ...asked } = askedInTexts(body['prompt'] ?? '');
  const isOpenAI = provider === 'openai' || provider === 'azure';
  const choices = wire.choices * count;
  const { suffix } = body;
  if (asked.prompt !== undefined && typeof suffix === 'string')
    asked.prompt = { ...asked.prompt, texts: [...asked.prompt.texts, suffix] };
  const own = isOpenAI && wire.limit === undefined ? { maxOutputTokens: LEGACY_LIMIT } : {};
  return { ...asked, ...own, choices };
}

function askedInImages(body: Fields, model: string): Asked {
  const prompt = imagesShape(body);
  const unbounded = pictureUnbounded(model, body['size']);
  return unbounded === undefined ? { prompt, maxOutputTokens: TOKENS_PER_PICTURE } : { prompt, unbounded };
}

function askedIn(sending: Sending, body: Fields, wire: Wire): Asked {
  switch (sending.endpoint.kind) {
    case 'chat':
      return { prompt: chatShape(body) };
    case 'responses':
      return { prompt: responsesShape(body) };
    case 'completions':
      return askedInLegacy(body, sending, wire);
    case 'images':
      return askedInImages(body, wire.model);
    default: {
      const { count: _, ...asked } = askedInTexts(body['input']);
      // embeddings have no output, and a limit can't be less than one
      return { ...asked, maxOutputTokens: 1 };
    }
  }
}

/** A request whose cost nobody can bound. */
function openRequest({ endpoint, provider }: Sending, why?: string): SpendRequest {
  const { label } = endpoint;
  return {
    model: label,
    ...(provider !== undefined && { provider }),
    isModel: false,
    unbounded: why ?? `the cost of ${label} has no bound`,
    limitCanBeSet: false,
    canRoute: () => false,
  };
}

/** What the model must be able to do for a request. */
function featuresOf(body: Fields, prompt: PromptShape | undefined, wire: Wire): ModelFeature[] {
  const format = fieldsOf(fieldsOf(body['text'])['format'] ?? body['response_format'])['type'];
  return neededFeatures(prompt, {
    tools: listOf(body['tools'] ?? body['functions']).length > 0,
    schema: format === 'json_schema',
    reasoning:
      wire.reasoningTokens !== undefined || wantsReasoning(body['reasoning'] ?? body['reasoning_effort']),
  });
}

/** A request as the guard wants to know it. */
export function spendRequest(sending: Sending): SpendRequest {
  const { endpoint, provider, fields: body } = sending;
  if (endpoint.kind === 'open') return openRequest(sending);
  if (body === undefined) return openRequest(sending, `the body of ${endpoint.label} can't be read`);
  const wire = wireOf(sending, body);
  if (wire.model === '') return openRequest(sending, `${endpoint.label} names no model`);
  const { unbounded, ...asked } = askedIn(sending, body, wire);
  const why = wire.unbounded ?? unbounded;
  const limit = wire.limit ?? asked.maxOutputTokens;
  const canChange = isWritable(sending);
  const features = featuresOf(body, asked.prompt, wire);
  return {
    model: wire.model,
    ...(provider !== undefined && { provider }),
    fallbacks: wire.fallbacks,
    choices: wire.choices,
    ...asked,
    ...(limit !== undefined && { maxOutputTokens: limit }),
    ...(why !== undefined && { unbounded: why }),
    ...hourCacheOf(wire.longCache),
    ...(wire.reasoningTokens !== undefined && { reasoningTokens: wire.reasoningTokens }),
    limitCanBeSet: canChange,
    ...(canChange && provider === 'openrouter' && { ceilingCanBeSet: true }),
    ...(features.length > 0 && { features }),
    canRoute: () => canChange,
  };
}

/** Bodies in which model and limit can be changed: a vector or a picture of another model is another thing. */
const WRITABLE: ReadonlySet<string> = new Set(['chat', 'responses', 'completions']);

function isWritable({ endpoint, body, fields }: Sending): boolean {
  return WRITABLE.has(endpoint.kind) && typeof body === 'string' && fields !== undefined;
}

/** Models of OpenAI's own names that know no `max_tokens`, also behind a proxy of somebody's own. */
const REASONING = /^(o\d|gpt-([5-9]|\d\d))/;

/** The name of the output limit in a request that sets none. */
function limitName({ endpoint, provider }: Sending, model: unknown): string {
  if (endpoint.kind === 'responses') return 'max_output_tokens';
  const isOpenAI =
    provider === 'openai' ||
    provider === 'azure' ||
    (provider === undefined && REASONING.test(String(model)));
  return endpoint.kind === 'chat' && isOpenAI ? 'max_completion_tokens' : 'max_tokens';
}

function withLimit(sending: Sending, body: Fields, limit: number): Fields {
  const given = limitNames(sending.endpoint).filter((name) => body[name] != null);
  const names = given.length > 0 ? given : [limitName(sending, body['model'])];
  return { ...body, ...Object.fromEntries(names.map((name) => [name, limit])) };
}

/** What a decision asks for. */
export interface Orders {
  model?: string | undefined;
  limit?: number | undefined;
  /** OpenRouter is told of it. Other providers have one price for each model, and nothing to be told. */
  maxPrice?: GuardedCall['maxPrice'];
  /** Asks for the usage of a streamed chat, which OpenAI tells only then. */
  usage?: boolean;
}

/** The request as it is to be sent, and whether the caller hasn't asked for the usage that its stream will tell. */
export interface Carried extends Sending {
  addsUsage: boolean;
}

function needsUsage({ endpoint, provider }: Sending, body: Fields): boolean {
  if (endpoint.kind !== 'chat' && endpoint.kind !== 'completions') return false;
  // OpenRouter tells it anyway
  if (body['stream'] !== true || provider === 'openrouter') return false;
  return fieldsOf(body['stream_options'])['include_usage'] !== true;
}

/** The request as a decision wants it; `undefined` where its body can't be changed. Untouched where nothing is asked. */
export function carryOut(sending: Sending, orders: Orders): Carried | undefined {
  const { model, limit, usage } = orders;
  const { fields } = sending;
  const maxPrice = sending.provider === 'openrouter' ? orders.maxPrice : undefined;
  const addsUsage = usage === true && fields !== undefined && needsUsage(sending, fields);
  if (model === undefined && limit === undefined && maxPrice === undefined && !addsUsage)
    return { ...sending, addsUsage };
  if (fields === undefined || !isWritable(sending)) return undefined;
  let changed = fields;
  let { url } = sending;
  if (model !== undefined) {
    const { models: _models, route: _route, ...rest } = changed;
    changed = { ...rest, model };
    if (sending.endpoint.deployment !== undefined) url = withDeployment(url, model);
  }
  if (limit !== undefined) changed = withLimit(sending, changed, limit);
  if (maxPrice !== undefined) changed = { ...changed, provider: toldCeiling(changed['provider'], maxPrice) };
  if (addsUsage)
    changed = { ...changed, stream_options: { ...fieldsOf(fields['stream_options']), include_usage: true } };
  return { ...sending, url, body: JSON.stringify(changed), fields: changed, addsUsage };
}
