/** OpenRouter's list of models (`GET /api/v1/models`) as price rows. Pure. */
import * as v from 'valibot';
import { scaleUp, usdText } from '../money.ts';
import { WEEKDAYS } from '../windows.ts';
import type { ModelFeature, PriceOverride, PriceRow, TokenRates } from './price.ts';

/** A row of a list, without what is the same for all of them; `aliases` are other ids of the same model. */
export interface ListedRow extends Omit<PriceRow, 'source' | 'version'> {
  aliases?: readonly string[];
}

/** A list in our terms. */
export interface ConvertedList {
  rows: ListedRow[];
  /** Listed models without a price that can be calculated with, each with the reason. */
  unknown: [model: string, reason: string][];
  /** What can't be true, each as a sentence; the models in it are among the unknown. */
  absurd: string[];
}

/**
 * Models that always bring charges beside their text tokens (pictures, sound, searches), whether or not the
 * source states them: the text rates alone would be too low.
 */
export const ALWAYS_MORE =
  /(^|[/-])(image|audio|realtime|transcribe|live|sonic)($|[-:])|search-preview|deep-research|pro-search|online$/;

/** More than any model costs by a factor of ten: whoever says so has mixed up tokens and millions. */
const ABSURD_USD_PER_MTOK = 10_000n;
const ABSURD_FEE_USD = 100n;
const NANO = 1_000_000_000n;

const RATE_KEYS = {
  prompt: 'input',
  completion: 'output',
  input_cache_read: 'cacheRead',
  input_cache_write: 'cacheWrite',
  input_cache_write_1h: 'cacheWriteHour',
  internal_reasoning: 'reasoning',
  audio: 'inputAudio',
  input_audio_cache: 'cacheReadAudio',
  image_token: 'inputImage',
  audio_output: 'outputAudio',
} as const satisfies Record<string, keyof TokenRates>;

const FEE_KEYS = ['request', 'image'] as const;

const DAYS: readonly string[] = WEEKDAYS;

/** Answers that the rates for tokens pay for: an embedding is no more than its prompt. */
const FREE_OUTPUT: ReadonlySet<string> = new Set(['text', 'embeddings']);

/** What ids are made of; anything else in one could be there to look like another. */
const MODEL_ID = /^[\w.:/@~-]+$/;

const listedModel = v.looseObject({
  id: v.pipe(v.string(), v.maxLength(200), v.regex(MODEL_ID)),
  canonical_slug: v.nullish(v.string()),
  context_length: v.nullish(v.number()),
  architecture: v.nullish(
    v.looseObject({
      input_modalities: v.nullish(v.array(v.string())),
      output_modalities: v.nullish(v.array(v.string())),
    }),
  ),
  pricing: v.record(v.string(), v.unknown()),
  top_provider: v.nullish(
    v.looseObject({
      context_length: v.nullish(v.number()),
      max_completion_tokens: v.nullish(v.number()),
    }),
  ),
  supported_parameters: v.nullish(v.array(v.string())),
});

type ListedModel = v.InferOutput<typeof listedModel>;

/** Says why a model has no price; `absurd` where that is a mistake of the list's. */
class Unpriced extends Error {
  readonly isAbsurd: boolean;

  constructor(reason: string, isAbsurd = false) {
    super(reason);
    this.isAbsurd = isAbsurd;
  }
}

/** The shortest form of an amount: `5`, `0.075`. */
function plain(amount: bigint): string {
  return usdText(amount).replace(/\.?0+$/, '');
}

function shown(value: unknown): string {
  return (JSON.stringify(value) ?? String(value)).slice(0, 40);
}

/** A price of the list in units of 10^-`places` USD, rounded up. `-1` and all that is no price make the model unknown. */
function scaled(key: string, value: unknown, places: number): bigint {
  let amount = -1n;
  if (typeof value === 'string' || typeof value === 'number') {
    try {
      amount = scaleUp(value, places);
    } catch {
      // not a decimal
    }
  }
  if (amount >= 0n) return amount;
  const isVariable = String(value) === '-1';
  throw new Unpriced(
    isVariable ? `its price varies (${key} is -1)` : `${key} is ${shown(value)}, which is no price`,
  );
}

/** USD per token as USD per million tokens. */
function rateText(key: string, value: unknown): string {
  const amount = scaled(key, value, 15);
  if (amount > ABSURD_USD_PER_MTOK * NANO) {
    throw new Unpriced(`${key} is ${shown(value)} a token, $${plain(amount)} per million`, true);
  }
  return plain(amount);
}

function feeText(key: string, value: unknown): string {
  const amount = scaled(key, value, 9);
  if (amount > ABSURD_FEE_USD * NANO) throw new Unpriced(`${key} is $${plain(amount)}`, true);
  return plain(amount);
}

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null;
}

function ratesIn(pricing: Readonly<Record<string, unknown>>): Partial<TokenRates> {
  const rates: Partial<TokenRates> = {};
  for (const [key, name] of Object.entries(RATE_KEYS)) {
    if (isGiven(pricing[key])) rates[name] = rateText(key, pricing[key]);
  }
  return rates;
}

/** `1030` is 10:30. */
function minuteOf(key: string, value: unknown): number {
  const clock = typeof value === 'number' && Number.isSafeInteger(value) ? value : -1;
  const minutes = Math.floor(clock / 100) * 60 + (clock % 100);
  if (clock < 0 || clock % 100 > 59 || minutes > 1440) {
    throw new Unpriced(`the override's ${key} is ${shown(value)}, which is no time of day`);
  }
  return minutes;
}

function dayNumbers(value: unknown): number[] {
  const days = Array.isArray(value) ? value.map((day) => DAYS.indexOf(String(day).toLowerCase())) : [-1];
  if (days.includes(-1)) throw new Unpriced(`the override's utc_days are ${shown(value)}`);
  return [...new Set(days)].sort((a, b) => a - b);
}

const CONDITIONS: ReadonlySet<string> = new Set(['min_prompt_tokens', 'utc_start', 'utc_end', 'utc_days']);

/** One entry of `overrides`. A condition that we don't know could make any price wrong, so it makes the model unknown. */
function overrideFrom(value: unknown): PriceOverride {
  if (typeof value !== 'object' || value === null) throw new Unpriced('an override is no object');
  const entry = value as Record<string, unknown>;
  const odd = Object.keys(entry).find(
    (key) =>
      isGiven(entry[key]) && !CONDITIONS.has(key) && !Object.hasOwn(RATE_KEYS, key) && key !== 'web_search',
  );
  if (odd !== undefined) throw new Unpriced(`an override has the unknown field ${shown(odd)}`);
  const { min_prompt_tokens: above, utc_start: from, utc_end: until, utc_days: days } = entry;
  if (isGiven(above) && !(Number.isSafeInteger(above) && (above as number) >= 0)) {
    throw new Unpriced(`the override's min_prompt_tokens is ${shown(above)}`);
  }
  if (isGiven(from) !== isGiven(until)) throw new Unpriced('an override has only one end of its time of day');
  return {
    ...(isGiven(above) && { above: above as number }),
    ...(isGiven(from) && { between: [minuteOf('utc_start', from), minuteOf('utc_end', until)] as const }),
    ...(isGiven(days) && { days: dayNumbers(days) }),
    ...withStorage(ratesIn(entry)),
  };
}

function featuresOf({
  supported_parameters: parameters,
  architecture,
}: ListedModel): ModelFeature[] | undefined {
  const inputs = architecture?.input_modalities;
  if (!parameters || !inputs) return undefined;
  const has = (...names: string[]): boolean => names.some((name) => parameters.includes(name));
  const features: [ModelFeature, boolean][] = [
    ['audio', inputs.includes('audio')],
    ['files', inputs.includes('file')],
    ['images', inputs.includes('image')],
    ['json', has('response_format', 'structured_outputs')],
    ['parallel_tools', has('parallel_tool_calls')],
    ['reasoning', has('reasoning', 'include_reasoning', 'reasoning_effort')],
    ['schema', has('structured_outputs')],
    ['tool_choice', has('tool_choice')],
    ['tools', has('tools')],
    ['video', inputs.includes('video')],
  ];
  return features.flatMap(([name, isThere]) => (isThere ? [name] : []));
}

function countOf(...values: unknown[]): number | undefined {
  const counts = values.filter(
    (value): value is number => Number.isSafeInteger(value) && (value as number) > 0,
  );
  return counts.length === 0 ? undefined : Math.min(...counts);
}

/**
 * A write rate below the input rate is what OpenRouter lists for Gemini: the storage for five minutes, which is
 * charged on top of the input rate (https://openrouter.ai/docs/features/prompt-caching).
 */
function withStorage<R extends Partial<TokenRates>>(rates: R): R {
  const { input, cacheWrite } = rates;
  if (input === undefined || cacheWrite === undefined) return rates;
  const [read, write] = [scaleUp(input, 9), scaleUp(cacheWrite, 9)];
  return write < read ? { ...rates, cacheWrite: plain(read + write) } : rates;
}

function rowFrom(model: ListedModel): ListedRow {
  const { id, pricing, architecture, top_provider: top } = model;
  if (id.startsWith('openrouter/') || id.startsWith('~'))
    throw new Unpriced('it stands for a choice of models');
  const { input, output, ...rates } = ratesIn(pricing);
  if (input === undefined || output === undefined)
    throw new Unpriced('it has no price for prompt and completion');
  if (ALWAYS_MORE.test(id)) throw new Unpriced('it always charges for more than text tokens');
  const isMore = (architecture?.output_modalities ?? []).find(
    (kind) => !FREE_OUTPUT.has(kind) && !(kind === 'audio' && rates.outputAudio !== undefined),
  );
  if (isMore !== undefined)
    throw new Unpriced(`it also answers with ${isMore}, whose price the list does not say`);
  if (input === '0' && output === '0' && !id.endsWith(':free')) {
    throw new Unpriced('it is listed at 0 without being a :free model');
  }
  const overrides = Array.isArray(pricing['overrides']) ? pricing['overrides'].map(overrideFrom) : [];
  const contextLength = countOf(model.context_length, top?.context_length);
  const maxOutputTokens = countOf(top?.max_completion_tokens);
  const features = featuresOf(model);
  const fees = FEE_KEYS.flatMap((key) => {
    const fee = isGiven(pricing[key]) ? feeText(key, pricing[key]) : '0';
    return fee === '0' ? [] : [[key, fee] as const];
  });
  return {
    model: id,
    ...withStorage({ input, output, ...rates }),
    ...Object.fromEntries(fees),
    ...(overrides.length > 0 && { overrides }),
    ...(contextLength !== undefined && { contextLength }),
    ...(maxOutputTokens !== undefined && { maxOutputTokens }),
    ...(features && { features }),
  };
}

/** Slugs that name exactly one model. Variants (`:free`) share the slug of their base. */
function aliasesOf(models: readonly ListedModel[]): Map<string, string> {
  const ids = new Set(models.map(({ id }) => id));
  const owners = new Map<string, string[]>();
  for (const { id, canonical_slug: slug } of models) {
    if (!slug || slug.length > 200 || !MODEL_ID.test(slug) || ids.has(slug) || id.includes(':')) continue;
    owners.set(slug, [...(owners.get(slug) ?? []), id]);
  }
  return new Map(
    [...owners].flatMap(([slug, [id, ...more]]) => (id && more.length === 0 ? [[id, slug]] : [])),
  );
}

/** What is wrong with a document that should be a list of models, as a clause for a sentence. */
export function listProblem(document: unknown): string | undefined {
  const data = (document as { data?: unknown } | null)?.data;
  if (!Array.isArray(data)) return 'it is JSON, but has no list of models ("data")';
  return data.length === 0 ? 'its list of models is empty' : undefined;
}

/** Converts OpenRouter's answer. Throws `RangeError` for a document that is no list of models. */
export function convertOpenRouterList(document: unknown): ConvertedList {
  const problem = listProblem(document);
  if (problem !== undefined) throw new RangeError(problem);
  const list: ConvertedList = { rows: [], unknown: [], absurd: [] };
  const models: ListedModel[] = [];
  let malformed = 0;
  for (const entry of (document as { data: unknown[] }).data) {
    const parsed = v.safeParse(listedModel, entry);
    if (parsed.success) models.push(parsed.output);
    else malformed += 1;
  }
  if (malformed > 0) list.absurd.push(`${malformed} of its models lack a sound id or prices`);
  const aliases = aliasesOf(models);
  const seen = new Set<string>();
  for (const model of models) {
    const { id } = model;
    if (seen.has(id)) {
      list.absurd.push(`${id} is listed twice`);
      continue;
    }
    seen.add(id);
    try {
      const slug = aliases.get(id);
      list.rows.push({ ...rowFrom(model), ...(slug !== undefined && { aliases: [slug] }) });
    } catch (error) {
      if (!(error instanceof Unpriced)) throw error;
      list.unknown.push([id, error.message]);
      if (error.isAbsurd) list.absurd.push(`${id}: ${error.message}`);
    }
  }
  return list;
}
