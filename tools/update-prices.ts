/**
 * Writes `src/pricing/catalogue-data.ts` from the price data of `@pydantic/genai-prices` (a dev dependency):
 * `npm exec node tools/update-prices.ts`. The same package version and `IN_FORCE_ON` give the same file.
 *
 * What a row of ours can't express is left out, never approximated; `reasonToLeaveOut` lists the cases.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { findProvider, type ModelInfo, type ModelPrice, type TieredPrices } from '@pydantic/genai-prices';
import { ALWAYS_MORE } from '../src/pricing/openrouter-list.ts';
import { COUNTED_IN_TOKENS } from '../src/wire/pictures.ts';

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
  'voyageai',
];

/** OpenRouter's vendor names, where they differ from the provider ids of the source. */
const VENDOR_PROVIDER: Record<string, string> = { mistralai: 'mistral', 'z-ai': 'zai' };

/** Ids that may stand in the table: nothing that its separators or a template string would trip over. */
const PLAIN_ID = /^[\w@][\w@.:/-]*$/;

/** Ids that choose among models, so that no one price is theirs. */
const ROUTER = /^openrouter\/|(^|[/-])(auto|router)($|-)/;

/** Models whose answer costs nothing beside the prompt. */
const EMBEDDING = /(^|[/.-])(text-)?embed(ding|dings)?($|[-.:\d])|^voyage-/;

/** The source's own shorthand for fine-tuned models, whose real ids carry the owner's name. */
const FINE_TUNED = /^ft:|\.ft-/;

/** The only suffixes that name a price of their own in a list. */
const LISTED_SUFFIX = /^(free|batch|thinking|extended)$/;

/** The source's names of the rates that have tiers, in the order of a row. */
const RATE_UNITS = [
  'input_mtok',
  'output_mtok',
  'cache_read_mtok',
  'cache_write_mtok',
  'cache_write_1h_mtok',
  'input_audio_mtok',
  'cache_audio_read_mtok',
  'input_image_mtok',
] as const;

/** What is charged only for tools that the provider runs, which a guard refuses or is told of as a fee. */
const SERVER_TOOLS = new Set(['web_searches_kcount', 'storage_searches_kcount']);
const HELD_UNITS = new Set<string>([
  ...RATE_UNITS,
  ...SERVER_TOOLS,
  'output_reasoning_mtok',
  'requests_kcount',
]);

/**
 * Models that draw are asked for pictures only, at known numbers of tokens. Their answers don't tell what came from a
 * cache, so that its rates are left out: such tokens are charged as others.
 */
const DRAWING_UNITS = new Set(['input_mtok', 'output_mtok', 'input_image_mtok', 'output_image_mtok']);

/** Rates in the order of `RATE_UNITS`, empty where there is none. */
interface Rates {
  above: number;
  texts: string[];
}

interface Row {
  id: string;
  aliases: string[];
  rates: Rates[];
  reasoning: string;
  /** Of pictures in the answer. */
  outputImage: string;
  request: string;
  context: string;
  /** Rates at times of the day, as `from-until` in minutes of the UTC day. */
  times: { between: string; texts: string[] }[];
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

interface InForce {
  prices: ModelPrice;
  times: { between: string; prices: ModelPrice }[];
}

/** `00:30:00Z` is 30. */
function minuteText(clock: string): string {
  const [, hours, minutes] = /^(\d\d):(\d\d):00Z$/.exec(clock) ?? [];
  if (hours === undefined || minutes === undefined)
    throw new RangeError(`not a whole minute in UTC: ${clock}`);
  return String(Number(hours) * 60 + Number(minutes));
}

/** The prices in force on the day: of those with a start date the latest that has begun, and those for times of it. */
function pricesInForce(model: ModelInfo): InForce {
  if (!Array.isArray(model.prices)) return { prices: model.prices, times: [] };
  let chosen: InForce = { prices: {}, times: [] };
  let since = '';
  for (const { constraint, prices } of model.prices) {
    if (constraint?.type === 'time_of_date') {
      const between = `${minuteText(constraint.start_time)}-${minuteText(constraint.end_time)}`;
      chosen.times.push({ between, prices });
      continue;
    }
    const start = constraint?.start_date ?? '';
    if (start > IN_FORCE_ON || start < since) continue;
    // the source lets the last one that applies win, so what comes later replaces times that came before
    chosen = { prices, times: [] };
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
  for (const unit of RATE_UNITS) {
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
  const input = rateAt(prices.input_mtok, above) as number;
  const texts = RATE_UNITS.map((unit) => {
    const isFree = unit === 'output_mtok' && prices.output_mtok === undefined;
    const rate = isFree ? 0 : rateAt(prices[unit], above);
    const charged = unit === 'cache_write_mtok' ? cacheWriteRate(rate, input) : rate;
    return charged === undefined ? '' : decimalText(charged);
  });
  return { above, texts };
}

/** Why the source's row can't stand in our table, or `undefined` when it can. */
function reasonToLeaveOut(provider: string, id: string, prices: ModelPrice): string | undefined {
  if (!PLAIN_ID.test(id)) return 'a moving alias or an id with separators';
  if (ROUTER.test(id)) return 'a router';
  const draws = COUNTED_IN_TOKENS.test(id);
  if (ALWAYS_MORE.test(id) && !draws) return 'always charges more than text tokens';
  if (FINE_TUNED.test(id)) return 'shorthand for fine-tuned models';
  if (provider === 'openrouter' && !id.includes('/')) return 'not an OpenRouter id';
  if (prices.input_mtok === undefined || (prices.output_mtok === undefined && !EMBEDDING.test(id)))
    return 'no price for text in and out';
  for (const unit of Object.keys(prices)) {
    if (HELD_UNITS.has(unit) || (draws && DRAWING_UNITS.has(unit))) continue;
    return unit.startsWith('output_') ? `output is also charged by ${unit}` : `it is also charged by ${unit}`;
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
  const { prices: all, times } = pricesInForce(model);
  const prices = COUNTED_IN_TOKENS.test(model.id)
    ? Object.fromEntries(Object.entries(all).filter(([unit]) => DRAWING_UNITS.has(unit)))
    : all;
  const leftOut = reasonToLeaveOut(provider, model.id, prices);
  if (leftOut !== undefined) return { leftOut };
  const isWhole = times.every(
    ({ prices: at }) => Object.keys(at).sort().join() === Object.keys(prices).sort().join(),
  );
  if (!isWhole) return { leftOut: 'at some times of the day it is charged by other units' };
  const { output_reasoning_mtok: reasoning, output_image_mtok: drawn, requests_kcount: requests } = prices;
  return {
    id: model.id,
    aliases: exactAliases(model),
    rates: [-1, ...tierStarts(prices)].map((above) => ratesAbove(prices, above)),
    reasoning: typeof reasoning === 'number' ? decimalText(reasoning) : '',
    outputImage: typeof drawn === 'number' ? decimalText(drawn) : '',
    request: typeof requests === 'number' ? decimalText(requests / 1000) : '',
    context: model.context_window === undefined ? '' : String(model.context_window),
    times: times.map(({ between, prices: at }) => ({ between, texts: ratesAbove(at, -1).texts })),
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
    vendors.rates.length > 1 &&
    row.rates.length === 1 &&
    vendors.rates[0]?.texts[0] === row.rates[0]?.texts[0]
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
    if (provider === 'openrouter' && vendors !== undefined) {
      if (saysLess(row, vendors)) continue;
      takeVendorTerms(row, vendors);
    }
    rows.push(row);
  }
  return withoutClashes(rows);
}

const HOUR = RATE_UNITS.indexOf('cache_write_1h_mtok');

/**
 * OpenRouter passes on the vendor's rates of the one-hour cache and of sound, and doesn't list them all: taken where
 * both agree on input and output.
 */
function takeVendorTerms(row: Row, vendors: Row | { leftOut: string }): void {
  if ('leftOut' in vendors) return;
  // input and output, by length of prompt
  const basis = ({ rates }: Row): string =>
    rates.map(({ above, texts }) => [above, texts[0], texts[1]].join()).join('/');
  if (basis(row) !== basis(vendors)) return;
  for (const [tier, { texts: own }] of row.rates.entries()) {
    const theirs = vendors.rates[tier]?.texts ?? [];
    for (let index = HOUR; index < theirs.length; index += 1)
      if (own[index] === '') own[index] = theirs[index] ?? '';
  }
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
  const [input, output, cacheRead, cacheWrite, ...more] = base.texts;
  const joined = (texts: readonly (string | number)[]): string => texts.join(',').replace(/,+$/, '');
  const fields = [
    [row.id, ...row.aliases].join('='),
    input,
    output,
    cacheRead,
    cacheWrite,
    row.context,
    tiers.map(({ above, texts }) => joined([above, ...texts])).join('/'),
    row.reasoning,
    row.request,
    ...more,
    row.times.map(({ between, texts }) => joined([between, ...texts])).join('/'),
    row.outputImage,
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
 * A row: id[=alias...];input;output;cache read;cache write;context window;tiers;reasoning;request;
 * one-hour cache write;sound in;sound from the cache;pictures in;times;pictures out. Rates are USD per million
 * tokens, a request is USD. A tier is above,<rates>, a time is from-until in minutes of the UTC day,<rates>; <rates>
 * are input,output,cache read,cache write,one-hour cache write,sound in,sound from the cache,pictures in.
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
