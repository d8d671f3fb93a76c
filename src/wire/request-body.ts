/**
 * What a request in OpenRouter's and OpenAI's format will cost: models, output limit, answers, and whatever has a
 * fee that nobody can bound. Every adapter reads its requests here, so that all gate the same fields. Pure.
 */
import { fieldsOf, isFields, json, listOf, positive, type Fields } from './fields.ts';
import { longCacheFee, longCacheOf, longCacheWithin, longest, type LongCache } from './hour-cache.ts';

/** The request of a call, as far as its cost depends on it. */
export interface Wire {
  model: string;
  fallbacks: readonly string[];
  /** The output limit that the request will carry. */
  limit?: number;
  choices: number;
  reasoningTokens?: number;
  /** A prompt cache beyond five minutes that the request asks for. */
  longCache?: LongCache;
  /** Why the cost can't be bounded. */
  unbounded?: string;
}

/** OpenRouter plugins without a fee. */
const FREE_PLUGINS: ReadonlySet<unknown> = new Set(['response-healing']);

/** Ways to read a PDF that cost no more than the tokens that come of it. The others have a fee for each page. */
const FREE_ENGINES: ReadonlySet<unknown> = new Set(['native', 'cloudflare-ai', 'pdf-text']);

function isFree({ id, enabled, pdf }: Fields): boolean {
  if (enabled === false || FREE_PLUGINS.has(id)) return true;
  return id === 'file-parser' && FREE_ENGINES.has(fieldsOf(pdf)['engine']);
}

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

/** Why a tier of service has no bound, where it isn't at the list price. */
export function tierFee(tier: unknown): string | undefined {
  return LISTED_TIERS.has(tier) ? undefined : `service tier ${JSON.stringify(tier)} has prices of its own`;
}

/** Names of models in a list of names, or of objects that have one. */
export function namesIn(list: unknown): string[] {
  return listOf(list).flatMap((each) => {
    const name = isFields(each) ? each['model'] : each;
    return typeof name === 'string' ? [name] : [];
  });
}

/** The names of the output limit, by the endpoint that heeds them: all others are passed over, or refused. */
export const LIMITS = {
  chat: ['max_tokens', 'max_completion_tokens'],
  completions: ['max_tokens'],
  responses: ['max_output_tokens'],
} as const;

/**
 * Of several limits in one body the largest is counted: providers differ in which they heed. None counts beside one
 * that can't be read, for some servers read more than we do (`"9000"`).
 */
export function limitIn(body: Fields, names: readonly string[]): number | undefined {
  const given = names.map((name) => body[name]).filter((limit) => limit !== undefined && limit !== null);
  const limits = given.flatMap((limit) => positive(limit) ?? []);
  return limits.length === 0 || limits.length < given.length ? undefined : Math.max(...limits);
}

/** Why the cost of a request has no bound, where a field of its body says so. */
export function feeInBody(body: Fields): string | undefined {
  const plugin = listOf(body['plugins'])
    .map(fieldsOf)
    .find((each) => !isFree(each));
  if (plugin !== undefined) return `the fee of plugin ${JSON.stringify(plugin['id'])} has no bound`;
  if (isFields(body['web_search_options'])) return 'the fee of web_search_options has no bound';
  const { search_parameters: search } = body;
  if (isFields(search) && search['mode'] !== 'off') return 'the fee of search_parameters has no bound';
  if (isFields(body['preset']) || typeof body['preset'] === 'string') return 'a preset may name other models';
  const { models, n, modalities, provider, service_tier: tier } = body;
  const areNames = Array.isArray(models) && models.every((id) => typeof id === 'string');
  if (models !== undefined && models !== null && !areNames) return 'models is not a list of names';
  if (n !== undefined && n !== null && positive(n) === undefined)
    return 'n is not a whole number of at least 1';
  if (listOf(modalities).some((kind) => kind !== 'text'))
    return 'output other than text has prices of its own';
  const dear = tierFee(tier);
  if (dear !== undefined) return dear;
  if (body['prediction'] != null) return 'prediction: rejected tokens are billed on top of the limit';
  if (body['echo'] === true) return 'echo: the prompt is part of the answer';
  const kept = longCacheFee(longCacheOf(body));
  if (kept !== undefined) return kept;
  const { sort } = fieldsOf(provider);
  const by = isFields(sort) ? sort['by'] : sort;
  if (by === 'throughput' || by === 'latency') return `provider.sort ${by} may cost more than the list price`;
  const moved = feeInExtraBody(body['extra_body']);
  if (moved !== undefined) return moved;
  const served = listOf(body['tools']).find((tool) => !RUN_BY_CALLER.has(fieldsOf(tool)['type']));
  return served === undefined ? undefined : 'the fee of a tool that the provider runs has no bound';
}

/** True where old parts of a conversation are to be summed up: by a model, at a price beyond the call's own limit. */
export function sumsUp(management: unknown): boolean {
  const edits = [...listOf(management), ...listOf(fieldsOf(management)['edits'])];
  return edits.some((edit) => String(fieldsOf(edit)['type']).startsWith('compact'));
}

/** Fields that a request's cost is bounded by. */
const BOUNDING = ['model', 'models', 'messages', 'prompt', 'input', 'tools', 'n', 'best_of', 'reasoning'];

/** OpenAI's client for Python lays these fields over the request; that of JavaScript sends them, and a proxy may do so. */
function feeInExtraBody(extra: unknown): string | undefined {
  if (!isFields(extra)) return undefined;
  const names = [...BOUNDING, ...LIMITS.chat, ...LIMITS.responses];
  const name = names.find((each) => extra[each] != null);
  if (name === undefined) return feeInBody(extra);
  return `extra_body.${name} has no bound: a proxy may heed it; put it into the request itself`;
}

/** Tools that the caller's own code runs. */
const RUN_BY_CALLER: ReadonlySet<unknown> = new Set(['function', 'custom']);

/** How many answers a body asks for. `best_of` searches among more than it gives; all of them are paid for. */
function choicesIn(body: Fields): number {
  return Math.max(positive(body['n']) ?? 1, positive(body['best_of']) ?? 1);
}

/** What a body names and asks for, but for its prompt. `limits` are the names of the limit that its endpoint heeds. */
export function readBody(body: Fields, otherwise: string, limits: readonly string[]): Wire {
  const model = typeof body['model'] === 'string' ? body['model'] : otherwise;
  const limit = limitIn(body, limits);
  const { reasoning, thinking } = body;
  const reasoningTokens =
    positive(fieldsOf(reasoning)['max_tokens']) ?? positive(fieldsOf(thinking)['budget_tokens']);
  const unbounded = feeInBody(body);
  const longCache = longest(longCacheOf(body), longCacheOf(body['extra_body']));
  const fallbacks = [...new Set(namesIn(body['models']))].filter((name) => name !== model);
  const wire: Wire = { model, fallbacks, choices: choicesIn(body) };
  if (limit !== undefined) wire.limit = limit;
  if (reasoningTokens !== undefined) wire.reasoningTokens = reasoningTokens;
  if (longCache !== undefined) wire.longCache = longCache;
  if (unbounded !== undefined) wire.unbounded = unbounded;
  return wire;
}

/** Fields of a chat that some servers write into the prompt, beside the messages and what goes with them. */
export const BESIDE_MESSAGES = ['prompt', 'system', 'documents', 'suffix'] as const;

/** Fields that a prompt and what goes with it are written to. */
const PROMPT_FIELDS = ['messages', ...BESIDE_MESSAGES, 'tools', 'functions', 'response_format'];

/** What stands in the prompt fields of a body, as text, and what cache it asks for. */
export function promptFieldsIn(body: Fields): { text?: string; longCache: LongCache | undefined } {
  const given = PROMPT_FIELDS.map((key) => body[key]).filter(
    (value) => value !== undefined && value !== null,
  );
  const texts = given.map((value) => (typeof value === 'string' ? value : json(value)));
  return { ...(texts.length > 0 && { text: texts.join('\n') }), longCache: longCacheWithin(given) };
}
