/** The price of a model, or a sentence that says why it is unknown. */
import { scaleExactly } from '../money.ts';
import { catalogueRow } from './catalogue.ts';
import { costOverride, costOverridesRevision } from './overrides.ts';
import { compilePrice, type Price, type PriceRow } from './price.ts';
import { isSameModel, resolveModelId, type ModelKey } from './resolve.ts';
import { suggestModels } from './suggest.ts';
import { syncedRevision, syncedRow } from './synced.ts';

/** A price, or a sentence for people and up to three ids that they may have meant. */
export type FoundPrice = { price: Price } | { unknown: string; suggestions: string[] };

/** A row, or why there is none; `undefined` passes the question on to the next source. */
type RowSource = (model: string, provider: string | undefined) => PriceRow | { reason: string } | undefined;

/** Enough for every model that a process meets; a flood of made-up ids can't grow it further. */
const MAX_CACHED = 1000;

/** By provider, then by model: a call looks up several, and one name for both would have to be put together first. */
const cache = new Map<string | undefined, Map<string, FoundPrice>>();
let cached = 0;
let cachedRevision = -1;

/** Rates alone; two rows with the same rates are the same price, whichever provider they come from. */
function ratesText(row: PriceRow): string {
  const {
    model: _,
    source: __,
    version: ___,
    contextLength: ____,
    maxOutputTokens: _____,
    features: ______,
    ...rates
  } = row;
  return JSON.stringify(Object.entries(rates).sort(([one], [other]) => (one < other ? -1 : 1)));
}

/** The vendor's own row of a model that OpenRouter resells. */
function vendorRow(id: string): PriceRow | undefined {
  const resolved = resolveModelId(id, 'gateway');
  if ('refused' in resolved || id.includes(':')) return undefined;
  for (const { provider, id: own } of resolved.steps.flat()) {
    const row = catalogueRow(provider, own);
    if (row !== undefined) return row;
  }
  return undefined;
}

/**
 * OpenRouter's rows lack some of the terms that it passes on: dearer rates for long prompts, the one-hour cache, fees
 * for a request. Where the vendor's own row has the same rates for input and output, its terms are added.
 */
function withVendorTerms(row: PriceRow): PriceRow {
  const vendors = vendorRow(row.model);
  if (vendors === undefined || row.tiers !== undefined || row.overrides !== undefined) return row;
  const isSame = (['input', 'output'] as const).every((name) => isSameRate(row[name], vendors[name]));
  if (!isSame) return row;
  const added: Partial<PriceRow> = {};
  for (const name of VENDOR_TERMS) {
    if (row[name] === undefined && vendors[name] !== undefined) added[name] = vendors[name];
  }
  return { ...row, ...added, ...(vendors.tiers && { tiers: vendors.tiers }) };
}

const VENDOR_TERMS = ['cacheWriteHour', 'inputAudio', 'cacheReadAudio', 'inputImage', 'request'] as const;

function isSameRate(one: string, other: string): boolean {
  return scaleExactly(one, 9) === scaleExactly(other, 9);
}

/** OpenRouter's ids are looked up in the synced list first; every other list is the embedded one. */
function listedRow({ provider, id }: ModelKey): PriceRow | { reason: string } | undefined {
  const synced = provider === 'openrouter' ? syncedRow(id) : undefined;
  if (synced === undefined) return catalogueRow(provider, id);
  return 'reason' in synced ? synced : withVendorTerms(synced);
}

const fromLists: RowSource = (model, provider) => {
  const resolved = resolveModelId(model, provider);
  if ('refused' in resolved) return { reason: `the id ${resolved.refused}` };
  for (const step of resolved.steps) {
    const found = step.flatMap((key) => {
      const row = listedRow(key);
      return row === undefined ? [] : [{ seller: key.provider, row }];
    });
    const first = found[0];
    if (first === undefined) continue;
    if ('reason' in first.row) return { reason: first.row.reason };
    const { row } = first;
    if (found.every((other) => !('reason' in other.row) && ratesText(other.row) === ratesText(row)))
      return row;
    const sellers = [...new Set(found.map(({ seller }) => seller))].join(' and ');
    return { reason: `${sellers} charge different prices for it, name the provider` };
  }
  return { reason: 'no price list has exactly this id' };
};

/** Asked in this order. */
const SOURCES: readonly RowSource[] = [(model) => costOverride(model), fromLists];

function unknownPrice(model: string, provider: string | undefined, reason: string): FoundPrice {
  const name = JSON.stringify(model.length > 80 ? `${model.slice(0, 80)}…` : model);
  const suggestions = suggestModels(model, provider);
  const hint = suggestions.length > 0 ? ` Did you mean ${suggestions.join(' or ')}?` : '';
  const output = /embed/i.test(model) ? 'outputCentsPerKtok: 0' : 'outputCentsPerKtok';
  const remedy = `Set one with setCostOverride(${name}, { inputCentsPerKtok, ${output} }).`;
  return { unknown: `The price of ${name} is unknown: ${reason}.${hint} ${remedy}`, suggestions };
}

function lookUp(model: string, provider: string | undefined): FoundPrice {
  for (const source of SOURCES) {
    const row = source(model, provider);
    if (row === undefined) continue;
    if ('reason' in row) return unknownPrice(model, provider, row.reason);
    try {
      return { price: compilePrice(row) };
    } catch {
      // a list that says -1 means "depends"; no sum is done with such a rate
      return unknownPrice(model, provider, `its row in the ${row.source} list has a rate that is no price`);
    }
  }
  return unknownPrice(model, provider, 'no price list has exactly this id');
}

/**
 * The price of this model, from the first of: `setCostOverride` for exactly this id; for OpenRouter's ids the synced
 * list; the embedded catalogue; the latter two by the rules of `resolveModelId`. A model that isn't found, or isn't
 * found for certain, is unknown; no price is ever taken from a model with a similar name. Answers are remembered
 * until an override or the synced list changes. Never throws.
 *
 * `provider` is who gets the call, if the caller knows: a catalogue name, or what a framework calls it.
 */
export function findPrice(model: string, provider?: string): FoundPrice {
  // both only grow, so their sum changes with either
  const revision = costOverridesRevision() + syncedRevision();
  if (revision !== cachedRevision || cached >= MAX_CACHED) {
    cache.clear();
    cached = 0;
    cachedRevision = revision;
  }
  const kept = cache.get(provider);
  let found = kept?.get(model);
  if (found === undefined) {
    found = lookUp(model, provider);
    if (model.length + (provider?.length ?? 0) <= 300) {
      cache.set(provider, (kept ?? new Map<string, FoundPrice>()).set(model, found));
      cached += 1;
    }
  }
  return found;
}

/**
 * True when the price list has the rate of a one-hour cache write for this model: a call that asks for one (see
 * `SpendRequest.hourCache`) can then be bounded.
 */
export function hasHourCacheRate(model: string, provider?: string): boolean {
  const found = findPrice(model, provider);
  return 'price' in found && found.price.cacheWriteHour !== undefined;
}

/**
 * True when two ids are names of one model: by the rules of `resolveModelId`, or because a list has both for one row
 * (OpenRouter answers with its slug, `anthropic/claude-4.5-haiku-20251001`).
 */
export function namesOneModel(a: string, b: string, provider?: string): boolean {
  if (isSameModel(a, b, provider)) return true;
  const [one, other] = [fromLists(a, provider), fromLists(b, provider)];
  if (one === undefined || other === undefined || 'reason' in one || 'reason' in other) return false;
  return one.model === other.model && one.source === other.source;
}
