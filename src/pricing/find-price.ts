/** The price of a model, or a sentence that says why it is unknown. */
import { catalogueRow } from './catalogue.ts';
import { costOverride, costOverridesRevision } from './overrides.ts';
import { compilePrice, type Price, type PriceRow } from './price.ts';
import { resolveModelId } from './resolve.ts';
import { suggestModels } from './suggest.ts';

/** A price, or a sentence for people and up to three ids that they may have meant. */
export type FoundPrice = { price: Price } | { unknown: string; suggestions: string[] };

/** A row, or why there is none; `undefined` passes the question on to the next source. */
type RowSource = (model: string, provider: string | undefined) => PriceRow | { reason: string } | undefined;

/** Enough for every model that a process meets; a flood of made-up ids can't grow it further. */
const MAX_CACHED = 1000;

const cache = new Map<string, FoundPrice>();
let cachedRevision = -1;

/** Rates alone; two rows with the same rates are the same price, whichever provider they come from. */
function ratesText({ input, output, cacheRead, cacheWrite, reasoning, request, tiers }: PriceRow): string {
  return JSON.stringify([input, output, cacheRead, cacheWrite, reasoning, request, tiers]);
}

const fromCatalogue: RowSource = (model, provider) => {
  const resolved = resolveModelId(model, provider);
  if ('refused' in resolved) return { reason: `the id ${resolved.refused}` };
  for (const step of resolved.steps) {
    const found = step.flatMap((key) => {
      const row = catalogueRow(key.provider, key.id);
      return row === undefined ? [] : [{ seller: key.provider, row }];
    });
    const first = found[0];
    if (first === undefined) continue;
    if (found.every(({ row }) => ratesText(row) === ratesText(first.row))) return first.row;
    const sellers = [...new Set(found.map(({ seller }) => seller))].join(' and ');
    return { reason: `${sellers} charge different prices for it, name the provider` };
  }
  return { reason: 'no price list has exactly this id' };
};

/** Asked in this order. A price list that was synced from OpenRouter belongs between the two. */
const SOURCES: readonly RowSource[] = [(model) => costOverride(model), fromCatalogue];

function unknownPrice(model: string, provider: string | undefined, reason: string): FoundPrice {
  const name = JSON.stringify(model.length > 80 ? `${model.slice(0, 80)}…` : model);
  const suggestions = suggestModels(model, provider);
  const hint = suggestions.length > 0 ? ` Did you mean ${suggestions.join(' or ')}?` : '';
  const remedy = `Set one with setCostOverride(${name}, { inputCentsPerKtok, outputCentsPerKtok }).`;
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
 * The price of this model, from the first of: `setCostOverride` for exactly this id, then the embedded
 * catalogue by the rules of `resolveModelId`. A model that isn't found, or isn't found for certain, is
 * unknown; no price is ever taken from a model with a similar name. Answers are remembered until an override
 * changes. Never throws.
 *
 * `provider` is who gets the call, if the caller knows: a catalogue name, or what a framework calls it.
 */
export function findPrice(model: string, provider?: string): FoundPrice {
  const revision = costOverridesRevision();
  if (revision !== cachedRevision || cache.size >= MAX_CACHED) {
    cache.clear();
    cachedRevision = revision;
  }
  const key = JSON.stringify([provider ?? null, model]);
  let found = cache.get(key);
  if (found === undefined) {
    found = lookUp(model, provider);
    if (key.length <= 300) cache.set(key, found);
  }
  return found;
}
