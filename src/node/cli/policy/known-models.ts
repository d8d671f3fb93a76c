/** What is known of models on this machine: which there are, and what they cost. */
import { formatUsd } from '../../../money.ts';
import { allowsModel } from '../../../policy/patterns.ts';
import type { Ceiling } from '../../../policy/types.ts';
import { catalogueIds } from '../../../pricing/catalogue.ts';
import { findPrice } from '../../../pricing/find-price.ts';
import type { Price } from '../../../pricing/price.ts';
import { scaleExactly } from '../../../money.ts';

interface KnownModel {
  id: string;
  /** Whose list it is in. */
  seller: string;
}

let models: KnownModel[] | undefined;

/** Every model of every list, once for each seller. */
function knownModels(): readonly KnownModel[] {
  models ??= [...catalogueIds()].flatMap(([seller, ids]) => ids.map((id) => ({ id, seller })));
  return models;
}

export function isPattern(name: string): boolean {
  return name.includes('*');
}

/** How many known models a pattern fits. */
export function modelsFitting(pattern: string): number {
  const names = knownModels().filter(({ id, seller }) => allowsModel([pattern], id, seller));
  return new Set(names.map(({ id, seller }) => (id.includes('/') ? id : `${seller}/${id}`))).size;
}

/** The price of a model by its name alone: nobody knows here who will get the call. */
export function priceOf(model: string): Price | undefined {
  const found = findPrice(model);
  if ('price' in found) return found.price;
  // A bare name that several vendors sell for different prices has one at each of them.
  const seller = [...catalogueIds().keys()].find((name) => 'price' in findPrice(model, name));
  const sold = seller === undefined ? undefined : findPrice(model, seller);
  return sold !== undefined && 'price' in sold ? sold.price : undefined;
}

/** Why a model has no price, as a sentence without the remedy for programs. */
export function whyUnpriced(model: string): string {
  const found = findPrice(model);
  if ('price' in found) return '';
  const [reason = ''] = found.unknown.split(/ (?=Set one with )/);
  return reason;
}

/** The list price of short prompts. */
export function listPrice({ tiers }: Price): { input: bigint; output: bigint } {
  const [first] = tiers;
  return { input: first?.input ?? 0n, output: first?.output ?? 0n };
}

/** `$1.00 in, $5.00 out` per million tokens. */
export function priceText(price: Price): string {
  const { input, output } = listPrice(price);
  return `${formatUsd(input)} in, ${formatUsd(output)} out`;
}

/** True when a list price is above a ceiling. */
export function isAboveCeiling(price: Price, { input, output }: Ceiling): boolean {
  const listed = listPrice(price);
  return (
    (input !== undefined && listed.input > scaleExactly(input, 9)) ||
    (output !== undefined && listed.output > scaleExactly(output, 9))
  );
}

/** How many models that cost something fit under a ceiling. */
export function modelsUnder(ceiling: Ceiling): number {
  const fitting = knownModels().filter(({ id, seller }) => {
    const found = findPrice(id, seller);
    if (!('price' in found) || isAboveCeiling(found.price, ceiling)) return false;
    const { input, output } = listPrice(found.price);
    return input > 0n || output > 0n;
  });
  return new Set(fitting.map(({ id, seller }) => (id.includes('/') ? id : `${seller}/${id}`))).size;
}
