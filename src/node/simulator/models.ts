/** Which models the simulator lists, and which of them may serve a call. */
import { compareDecimals, isPriced, type SimulatorPricing } from './bill.ts';

/** A row of `GET /api/v1/models`; more fields than these are passed on as they are. */
export interface SimulatorModel {
  id: string;
  canonical_slug?: string;
  context_length?: number | null;
  pricing: SimulatorPricing;
  top_provider?: { max_completion_tokens?: number | null; [key: string]: unknown };
  [key: string]: unknown;
}

/** A refusal in the words and with the status of OpenRouter. */
export interface Refusal {
  status: number;
  message: string;
}

/** The models that may serve, best first, and the ids of those whose variant asks for a web search. */
interface Route {
  rows: readonly SimulatorModel[];
  online: ReadonlySet<string>;
}

type DefaultRow = readonly [
  id: string,
  prompt: string,
  completion: string,
  context: number,
  output: number | null,
  more?: Partial<SimulatorPricing>,
  gives?: 'text' | 'embeddings' | 'image',
];

function cache(read: string, write?: string, hour?: string): Partial<SimulatorPricing> {
  if (write === undefined) return { input_cache_read: read };
  const long = hour === undefined ? {} : { input_cache_write_1h: hour };
  return { input_cache_read: read, input_cache_write: write, ...long, web_search: '0.01' };
}

const DEFAULT_ROWS: readonly DefaultRow[] = [
  [
    'anthropic/claude-opus-4-7',
    '0.000005',
    '0.000025',
    1_000_000,
    128_000,
    cache('0.0000005', '0.00000625', '0.00001'),
  ],
  [
    'anthropic/claude-sonnet-4-6',
    '0.000003',
    '0.000015',
    1_000_000,
    128_000,
    cache('0.0000003', '0.00000375', '0.000006'),
  ],
  [
    'anthropic/claude-haiku-4-5',
    '0.000001',
    '0.000005',
    200_000,
    64_000,
    cache('0.0000001', '0.00000125', '0.000002'),
  ],
  ['openai/gpt-5', '0.00000125', '0.00001', 400_000, 128_000, cache('0.000000125')],
  ['openai/gpt-5-mini', '0.00000025', '0.000002', 400_000, 128_000, cache('0.000000025')],
  ['openai/gpt-5-nano', '0.00000005', '0.0000004', 400_000, 128_000, cache('0.00000001')],
  ['openai/gpt-oss-120b', '0.000000039', '0.00000018', 131_072, null],
  ['openai/gpt-oss-120b:free', '0', '0', 131_072, 131_072],
  [
    'google/gemini-3.1-pro',
    '0.000002',
    '0.000012',
    1_048_576,
    65_536,
    { internal_reasoning: '0.000012', ...cache('0.0000002', '0.000000375') },
  ],
  ['google/gemini-2.5-flash', '0.0000003', '0.0000025', 1_048_576, 65_535, cache('0.00000003')],
  ['deepseek/deepseek-v3.2', '0.000000252', '0.000000378', 131_072, 65_536, cache('0.0000000252')],
  ['deepseek/deepseek-chat-v3.1', '0.00000021', '0.00000079', 163_840, 32_768, cache('0.00000013')],
  ['meta-llama/llama-3.3-70b-instruct', '0.0000001', '0.00000032', 131_072, 16_384],
  ['meta-llama/llama-3.3-70b-instruct:free', '0', '0', 131_072, null],
  ['x-ai/grok-4.3', '0.00000125', '0.0000025', 1_000_000, null, cache('0.0000002')],
  ['openrouter/auto', '-1', '-1', 2_000_000, null],
  ['openai/text-embedding-3-small', '0.00000002', '0', 8192, null, {}, 'embeddings'],
  ['openai/text-embedding-3-large', '0.00000013', '0', 8192, null, {}, 'embeddings'],
  ['openai/gpt-image-1', '0.000005', '0.00004', 32_000, null, {}, 'image'],
  // by the piece, not by tokens
  ['openai/dall-e-3', '0', '0', 4000, null, { image: '0.04' }, 'image'],
];

/** The models of a simulator that was given none: real ids with their list prices of mid 2026. */
export const DEFAULT_MODELS: readonly SimulatorModel[] = DEFAULT_ROWS.map(
  ([id, prompt, completion, context, output, more, gives = 'text']) => ({
    id,
    canonical_slug: id,
    name: id,
    created: 1_770_000_000,
    description: '',
    context_length: context,
    architecture: { modality: `text->${gives}`, input_modalities: ['text'], output_modalities: [gives] },
    pricing: { prompt, completion, ...more },
    top_provider: { context_length: context, max_completion_tokens: output, is_moderated: false },
    per_request_limits: null,
    supported_parameters: ['max_tokens', 'reasoning', 'response_format', 'structured_outputs', 'tools'],
  }),
);

const AUTO = 'openrouter/auto';

/** Variants that only change the choice of a host: they are not listed and take the row of the base model. */
const ROUTING_VARIANTS: ReadonlySet<string> = new Set(['nitro', 'floor', 'exacto', 'online']);

function dashed(id: string): string {
  return id.replaceAll(/(\d)\.(?=\d)/g, '$1-');
}

/** Looks a model up by id or canonical slug; a version may be spelled `4.7` or `4-7`. */
export function findModel(models: readonly SimulatorModel[], id: string): SimulatorModel | undefined {
  const exact = models.find((row) => row.id === id) ?? models.find((row) => row.canonical_slug === id);
  if (exact) return exact;
  return models.find((row) => dashed(row.id) === dashed(id));
}

/** The model without its vendor, and without the date that its maker may give it. */
function bareId(id: string): string {
  return id.slice(id.indexOf('/') + 1);
}

const DATE = /-(?:\d{8}|\d{4}-\d{2}-\d{2})$/;

/** Looks a model up by the name that its maker gives it, dated or not: `gpt-5-mini`, `claude-haiku-4-5-20251001`. */
function findBare(models: readonly SimulatorModel[], id: string): SimulatorModel | undefined {
  for (const name of [id, id.replace(DATE, '')]) {
    const row = models.find((each) => dashed(bareId(each.id)) === dashed(name));
    if (row) return row;
  }
  return undefined;
}

/** The row that serves by the script's word: any name of a listed model. */
export function findServed(models: readonly SimulatorModel[], id: string): SimulatorModel | undefined {
  const row = findModel(models, id) ?? findModel(models, id.replace(DATE, ''));
  return row ?? (id.includes('/') ? undefined : findBare(models, id));
}

/** What an answer calls the model that serves: a dated name as the script says it, with or without the vendor. */
export function servedName(row: SimulatorModel, told: string | undefined, form: 'vendor' | 'bare'): string {
  const name = told !== undefined && DATE.test(told) ? bareId(told) : bareId(row.id);
  return form === 'bare' ? name : row.id.slice(0, row.id.indexOf('/') + 1) + name;
}

/** Whether a model gives what an API is asked for; one that doesn't tell can do all. */
function gives(row: SimulatorModel, wanted: string): boolean {
  const { output_modalities: outputs } = (row['architecture'] ?? {}) as { output_modalities?: unknown };
  return !Array.isArray(outputs) || outputs.includes(wanted);
}

interface Lookup {
  row: SimulatorModel | undefined;
  variant: string;
}

function lookUp(models: readonly SimulatorModel[], id: string, form: RouteTerms['form']): Lookup {
  if (form !== 'vendor' && !id.includes('/')) return { row: findBare(models, id), variant: '' };
  if (form === 'bare') return { row: undefined, variant: '' };
  const [base = id, variant = ''] = id.split(':');
  const listed = findModel(models, id);
  if (listed || !ROUTING_VARIANTS.has(variant)) return { row: listed, variant };
  return { row: findModel(models, base), variant };
}

const TOKENS_PER_PRICE = 1_000_000n;

/** Whether the prices of a model are within `provider.max_price` (USD per million tokens, request, image). */
function isWithin(maxPrice: unknown, pricing: SimulatorPricing): boolean {
  if (typeof maxPrice !== 'object' || maxPrice === null) return true;
  const limits = maxPrice as Record<string, unknown>;
  const over = (key: string, factor: bigint): boolean => {
    const limit = limits[key];
    if (limit === undefined || limit === null) return false;
    return compareDecimals(limit, pricing[key] ?? '0', factor) < 0;
  };
  return !(
    over('prompt', TOKENS_PER_PRICE) ||
    over('completion', TOKENS_PER_PRICE) ||
    over('request', 1n) ||
    over('image', 1n)
  );
}

function dearestFirst(a: SimulatorModel, b: SimulatorModel): number {
  return (
    compareDecimals(b.pricing.completion, a.pricing.completion) ||
    compareDecimals(b.pricing.prompt, a.pricing.prompt)
  );
}

/** What a call says of the models that may serve it. */
export interface RouteTerms {
  named: readonly string[];
  maxPrice?: unknown;
  /** Which names are known: `vendor/model`, the model alone, or both. */
  form: 'vendor' | 'bare' | 'either';
  gives: string;
}

function unknownModel(id: string, form: RouteTerms['form']): Refusal {
  if (form === 'bare') {
    return { status: 404, message: `The model \`${id}\` does not exist or you do not have access to it.` };
  }
  if (id.endsWith(':free')) return { status: 404, message: `No endpoints found for ${id}.` };
  return { status: 400, message: `${id} is not a valid model ID` };
}

/** Says which models may serve the call: the named ones that are listed, able, priced and within `max_price`. */
export function routeCall(listed: readonly SimulatorModel[], terms: RouteTerms): Route | Refusal {
  const { form, maxPrice, named } = terms;
  const models = listed.filter((row) => gives(row, terms.gives));
  const rows: SimulatorModel[] = [];
  const online = new Set<string>();
  let known = false;
  for (const id of named) {
    const { row, variant } = lookUp(models, id, form);
    // The router is mean: it takes the dearest model there is.
    const found =
      id === AUTO ? models.filter((each) => isPriced(each.pricing)).toSorted(dearestFirst) : [row];
    for (const each of found) {
      if (!each) continue;
      known = true;
      if (!isPriced(each.pricing) || !isWithin(maxPrice, each.pricing)) continue;
      if (!rows.includes(each)) rows.push(each);
      if (variant === 'online') online.add(each.id);
      if (id === AUTO) break;
    }
  }
  if (rows.length > 0) return { rows, online };
  const id = named[0] ?? '';
  if (!known) return unknownModel(id, form);
  return {
    status: 404,
    message:
      'No endpoints found that satisfy the price limits of this request. To learn more about provider ' +
      'routing, visit: https://openrouter.ai/docs/guides/routing/provider-selection',
  };
}

const VENDORS: Readonly<Record<string, string>> = {
  anthropic: 'Anthropic',
  openai: 'OpenAI',
  google: 'Google',
  deepseek: 'DeepSeek',
  'meta-llama': 'DeepInfra',
  'x-ai': 'xAI',
};

/** Name of the host that serves a model where the script names none. */
export function vendorOf(id: string): string {
  const prefix = id.split('/')[0] ?? id;
  return VENDORS[prefix] ?? prefix;
}
