/**
 * Writes `src/pricing/catalogue-data.ts` from the price data of `@pydantic/genai-prices` (a dev dependency):
 * `npm exec node tools/update-prices.ts`. The same package version and `IN_FORCE_ON` give the same file.
 *
 * What a row of ours can't express is left out, never approximated; `reasonToLeaveOut` lists the cases.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { findProvider, type ModelInfo, type ModelPrice, type TieredPrices } from '@pydantic/genai-prices';

/** The day for which rows are chosen: of the rows with a start date, the latest that has begun. */
const IN_FORCE_ON = '2026-11-23';

const OUTPUT = new URL('../src/pricing/catalogue-data.ts', import.meta.url);

const PROVIDERS = [
  'openrouter',
  'anthropic',
  'openai',
  'google',
  'aws',
  'azure',
  'mistral',
  'groq',
  'deepseek',
  'x-ai',
  'cohere',
  'together',
  'fireworks',
  'perplexity',
  'moonshotai',
  'cerebras',
  'minimax',
  'zai',
];

/** OpenRouter's vendor names, where they differ from the provider ids of the source. */
const VENDOR_PROVIDER: Record<string, string> = { mistralai: 'mistral', 'z-ai': 'zai' };

/** Ids that may stand in the table: nothing that its separators or a template string would trip over. */
const PLAIN_ID = /^[\w@][\w@.:/-]*$/;

/** Ids that choose among models, so that no one price is theirs. */
const ROUTER = /^openrouter\/|(^|[/-])(auto|router)($|-)/;

/**
 * Models that always bring charges beside their text tokens (pictures, sound, searches), whether or not the
 * source states them: the text rates alone would be too low.
 */
const ALWAYS_MORE =
  /(^|[/-])(image|audio|realtime|transcribe|live|sonic)($|-)|search-preview|deep-research|pro-search|online$/;

/** The source's own shorthand for fine-tuned models, whose real ids carry the owner's name. */
const FINE_TUNED = /^ft:|\.ft-/;

/** The only suffixes that name a price of their own in a list. */
const LISTED_SUFFIX = /^(free|batch|thinking|extended)$/;

/**
 * What a row can hold, or what is charged only when a call asks for it (server tools, one-hour cache, audio
 * in).
 */
const TEXT_UNITS = new Set(['input_mtok', 'output_mtok', 'cache_read_mtok', 'cache_write_mtok']);
const OUTPUT_UNITS_HELD = new Set(['output_mtok', 'output_reasoning_mtok']);

interface Rates {
  above: number;
  input: string;
  output: string;
  cacheRead: string;
  cacheWrite: string;
}

interface Row {
  id: string;
  aliases: string[];
  rates: Rates[];
  reasoning: string;
  request: string;
  context: string;
}

/**
 * The shortest decimal form of a number, in at most nine places, the finest that a rate may have: float noise
 * beyond them is dropped, and a real remainder (one twelfth of a dollar) is rounded up.
 */
export function decimalText(value: number): string {
  if (!Number.isFinite(value) || value < 0) throw new RangeError(`not a price: ${value}`);
  const nearest = value.toFixed(9);
  const isNoise = Math.abs(Number(nearest) - value) <= value * 1e-12;
  const text = isNoise || Number(nearest) >= value ? nearest : (Number(nearest) + 1e-9).toFixed(9);
  return text.replace(/\.?0+$/, '');
}

/** The prices in force on the day, or why there is no one price for the whole day. */
function pricesInForce(model: ModelInfo): ModelPrice | { varies: true } {
  if (!Array.isArray(model.prices)) return model.prices;
  let chosen: ModelPrice = {};
  let since = '';
  for (const { constraint, prices } of model.prices) {
    if (constraint?.type === 'time_of_date') return { varies: true };
    const start = constraint?.start_date ?? '';
    if (start > IN_FORCE_ON || start < since) continue;
    chosen = prices;
    since = start;
  }
  return chosen;
}

function rateAt(price: number | TieredPrices | undefined, above: number): number | undefined {
  if (price === undefined || typeof price === 'number') return price;
  let rate = price.base;
  for (const tier of [...price.tiers].sort((a, b) => a.start - b.start))
    if (tier.start <= above) rate = tier.price;
  return rate;
}

function tierStarts(prices: ModelPrice): number[] {
  const starts = new Set<number>();
  for (const unit of TEXT_UNITS) {
    const price = prices[unit];
    if (typeof price === 'object') for (const tier of price.tiers) starts.add(tier.start);
  }
  return [...starts].sort((a, b) => a - b);
}

/**
 * A write rate below the input rate is what OpenRouter lists for Gemini: the storage for five minutes, which
 * is charged on top of the input rate (https://openrouter.ai/docs/features/prompt-caching).
 */
function cacheWriteRate(write: number | undefined, input: number): number | undefined {
  return write !== undefined && write < input ? write + input : write;
}

function ratesAbove(prices: ModelPrice, above: number): Rates {
  const optional = (value: number | undefined): string => (value === undefined ? '' : decimalText(value));
  const input = rateAt(prices.input_mtok, above) as number;
  return {
    above,
    input: decimalText(input),
    output: decimalText(rateAt(prices.output_mtok, above) as number),
    cacheRead: optional(rateAt(prices.cache_read_mtok, above)),
    cacheWrite: optional(cacheWriteRate(rateAt(prices.cache_write_mtok, above), input)),
  };
}

/** Why the source's row can't stand in our table, or `undefined` when it can. */
function reasonToLeaveOut(provider: string, id: string, prices: ModelPrice): string | undefined {
  if (!PLAIN_ID.test(id)) return 'a moving alias or an id with separators';
  if (ROUTER.test(id)) return 'a router';
  if (ALWAYS_MORE.test(id)) return 'always charges more than text tokens';
  if (FINE_TUNED.test(id)) return 'shorthand for fine-tuned models';
  if (provider === 'openrouter' && !id.includes('/')) return 'not an OpenRouter id';
  if (prices.input_mtok === undefined || prices.output_mtok === undefined)
    return 'no price for text in and out';
  for (const unit of Object.keys(prices)) {
    if (unit.startsWith('output_') && !OUTPUT_UNITS_HELD.has(unit))
      return `output is also charged by ${unit}`;
  }
  return undefined;
}

/**
 * The names that the source matches by equality and that the rules of `resolve.ts` wouldn't find by
 * themselves.
 */
function exactAliases(model: ModelInfo): string[] {
  const clauses = 'or' in model.match ? model.match.or : [model.match];
  const names = clauses.flatMap((clause) => ('equals' in clause ? [clause.equals] : []));
  return names.filter((name) => {
    const suffix = name.includes(':') ? name.slice(name.lastIndexOf(':') + 1) : 'free';
    const undated = name.replace(/-20\d\d-?\d\d-?\d\d$/, '');
    if (name === model.id || undated === model.id || !PLAIN_ID.test(name)) return false;
    return LISTED_SUFFIX.test(suffix) && !ALWAYS_MORE.test(name);
  });
}

function readRow(provider: string, model: ModelInfo): Row | { leftOut: string } {
  const prices = pricesInForce(model);
  if ('varies' in prices) return { leftOut: 'the price depends on the time of day' };
  const leftOut = reasonToLeaveOut(provider, model.id, prices as ModelPrice);
  if (leftOut !== undefined) return { leftOut };
  const held = prices as ModelPrice;
  const { output_reasoning_mtok: reasoning, requests_kcount: requests } = held;
  return {
    id: model.id,
    aliases: exactAliases(model),
    rates: [-1, ...tierStarts(held)].map((above) => ratesAbove(held, above)),
    reasoning: typeof reasoning === 'number' ? decimalText(reasoning) : '',
    request: typeof requests === 'number' ? decimalText(requests / 1000) : '',
    context: model.context_window === undefined ? '' : String(model.context_window),
  };
}

/**
 * Whether a resold row says less than the vendor's own: then it stays out, and a look-up falls to the
 * vendor's. (OpenRouter's rows lack some tiers and fees that OpenRouter passes on.)
 */
function saysLess(row: Row, vendors: Row | { leftOut: string }): boolean {
  if ('leftOut' in vendors) return vendors.leftOut.startsWith('output is also');
  if (vendors.request !== '' && row.request === '') return true;
  return (
    vendors.rates.length > 1 && row.rates.length === 1 && vendors.rates[0]?.input === row.rates[0]?.input
  );
}

function readProvider(provider: string, others: Map<string, Map<string, Row | { leftOut: string }>>): Row[] {
  const rows: Row[] = [];
  for (const [id, row] of others.get(provider) ?? []) {
    if ('leftOut' in row) continue;
    const [vendor = '', ...rest] = id.split('/');
    const vendorId = rest.join('/');
    const own = others.get(VENDOR_PROVIDER[vendor] ?? vendor);
    const vendors = own?.get(vendorId) ?? own?.get(vendorId.replaceAll('.', '-'));
    if (provider === 'openrouter' && vendors !== undefined && saysLess(row, vendors)) continue;
    rows.push(row);
  }
  return withoutClashes(rows);
}

/** An alias that is also an id goes to the row with that id; one that two rows claim goes to neither. */
function withoutClashes(rows: Row[]): Row[] {
  const claims = new Map<string, number>();
  for (const row of rows) for (const alias of row.aliases) claims.set(alias, (claims.get(alias) ?? 0) + 1);
  const ids = new Set(rows.map((row) => row.id));
  const byId = [...rows].sort((a, b) => (a.id < b.id ? -1 : 1));
  for (const row of byId) {
    row.aliases = row.aliases.filter((alias) => claims.get(alias) === 1 && !ids.has(alias)).sort();
  }
  return byId;
}

function rowText(row: Row): string {
  const [base, ...tiers] = row.rates as [Rates, ...Rates[]];
  const rates = (r: Rates): string[] => [r.input, r.output, r.cacheRead, r.cacheWrite];
  const tierText = tiers.map((tier) => [tier.above, ...rates(tier)].join(',').replace(/,+$/, '')).join('/');
  const fields = [
    [row.id, ...row.aliases].join('='),
    ...rates(base),
    row.context,
    tierText,
    row.reasoning,
    row.request,
  ];
  return fields.join(';').replace(/;+$/, '');
}

function main(): void {
  const require = createRequire(import.meta.url);
  const entry = require.resolve('@pydantic/genai-prices');
  const home = new URL('../', `file://${entry}`);
  const { version } = JSON.parse(readFileSync(new URL('package.json', home), 'utf8')) as { version: string };
  const licence = readFileSync(new URL('LICENSE', home), 'utf8').trim();

  const all = new Map<string, Map<string, Row | { leftOut: string }>>();
  for (const provider of PROVIDERS) {
    const models = findProvider({ providerId: provider })?.models;
    if (models === undefined) throw new Error(`the source has no provider ${provider}`);
    all.set(provider, new Map(models.map((model) => [model.id, readRow(provider, model)])));
  }
  const blocks = PROVIDERS.map((provider) => {
    const lines = readProvider(provider, all).map(rowText);
    return [`@${provider}`, ...lines].join('\n');
  });
  const notice = licence.split('\n').map((line) => ` * ${line.trim()}`.trimEnd());
  const text = `/*
 * Generated by tools/update-prices.ts from @pydantic/genai-prices ${version}: don't edit.
 * A row: id[=alias...];input;output;cache read;cache write;context window;tiers;reasoning;request.
 * Rates are USD per million tokens, a request is USD; a tier is above,input,output,cache read,cache write.
 *
 * The prices are part of that package, which is published under this licence:
 *
${notice.join('\n')}
 */
export const CATALOGUE_SOURCE = '@pydantic/genai-prices';
export const CATALOGUE_SOURCE_VERSION = '${version}';
/** The day for which the rows were chosen. */
export const CATALOGUE_DATE = '${IN_FORCE_ON}';
export const CATALOGUE_TABLE: string = \`
${blocks.join('\n')}
\`;
`;
  writeFileSync(OUTPUT, text);
}

if (import.meta.main) main();
