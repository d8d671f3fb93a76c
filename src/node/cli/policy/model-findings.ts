/** Mistakes in the models that a policy names: such as nobody can price, and ladders that lead upwards. */
import { allowsModel } from '../../../policy/patterns.ts';
import type { PolicyRecord, Rule } from '../../../policy/types.ts';
import type { Price } from '../../../pricing/price.ts';
import type { Path } from '../../policy-file/document.ts';
import type { Find } from './findings.ts';
import {
  isPattern,
  listPrice,
  modelsFitting,
  modelsUnder,
  priceOf,
  priceText,
  whyUnpriced,
} from './known-models.ts';
import { ceilingWords } from './sentences.ts';

export function modelFindings(record: PolicyRecord, find: Find): void {
  for (const { path, models, mustBeOne } of namedModels(record)) {
    for (const [position, model] of models.entries()) {
      named(record, model, mustBeOne, models.length === 1 ? path : [...path, position], find);
    }
  }
  record.caps.forEach((_, index) => ladder(record, index, find));
  for (const [index, { maxPrice }] of (record.rules ?? []).entries()) {
    if (maxPrice === undefined || modelsUnder(maxPrice) > 0) continue;
    const message = `no known model costs at most ${ceilingWords(maxPrice)}; the figures are US dollars per million tokens`;
    find({ code: 'ceiling_too_low', path: ['rules', index, 'maxPrice'], message });
  }
}

interface Named {
  path: Path;
  models: readonly string[];
  /** True where a call may be sent there, so that a pattern or an unknown id is of no use. */
  mustBeOne: boolean;
}

function namedModels({ caps, rules = [] }: PolicyRecord): Named[] {
  const at = (path: Path, models: readonly string[] | undefined, mustBeOne: boolean): Named[] =>
    models === undefined ? [] : [{ path, models, mustBeOne }];
  return [
    ...caps.flatMap(({ downgradeTo, models }, index) => [
      ...at(['caps', index, 'downgradeTo'], downgradeTo, true),
      ...at(['caps', index, 'models'], models, false),
    ]),
    ...rules.flatMap(({ when, models, routeTo }, index) => [
      ...at(['rules', index, 'when', 'models'], when?.models, false),
      ...at(['rules', index, 'models'], models, false),
      ...at(['rules', index, 'routeTo'], routeTo, true),
    ]),
  ];
}

/** The router has no price of its own; a ceiling on input and output gives it one. */
const AUTO = 'openrouter/auto';

function hasCeiling(rules: readonly Rule[]): boolean {
  const ceilings = rules.map(({ maxPrice }) => maxPrice);
  return (['input', 'output'] as const).every((part) =>
    ceilings.some((ceiling) => ceiling?.[part] !== undefined),
  );
}

function named(
  { rules = [], unknownPrice }: PolicyRecord,
  model: string,
  mustBeOne: boolean,
  path: Path,
  find: Find,
): void {
  if (mustBeOne && isPattern(model)) {
    find({
      code: 'no_such_model',
      path,
      message: `${model} names no single model; write the id of the one to send calls to`,
    });
    return;
  }
  if (isPattern(model)) {
    if (modelsFitting(model) > 0) return;
    find({
      code: 'no_such_model',
      path,
      message: `no known model fits ${model}; * stands for letters, digits and . _ ~ / -, and letters and their case count`,
    });
    return;
  }
  if (priceOf(model) !== undefined) return;
  if (model === AUTO) {
    if (hasCeiling(rules)) return;
    const message = `${AUTO} may choose any model, so its calls are blocked where a cap counts them; set maxPrice in a rule`;
    find({ code: 'unpriced_model', path, message });
    return;
  }
  const isRung = path[0] === 'caps' && path[2] === 'downgradeTo';
  const held =
    unknownPrice === 'allow'
      ? 'no cap holds its calls back'
      : 'its calls are blocked where a cap counts them';
  const result = isRung ? 'no call is sent there' : held;
  find({
    code: 'unpriced_model',
    path,
    message: `${whyUnpriced(model)} So ${result}; correct the id, sync the prices, or set one in code (setCostOverride)`,
  });
}

function isDearer(a: Price, b: Price): boolean {
  const [one, other] = [listPrice(a), listPrice(b)];
  const isMore = one.input > other.input || one.output > other.output;
  return isMore && one.input >= other.input && one.output >= other.output;
}

/** A ladder must lead downwards, from the models that the calls may use. */
function ladder({ caps, rules = [] }: PolicyRecord, index: number, find: Find): void {
  const { downgradeTo = [], models } = caps[index] ?? {};
  const [first = ''] = downgradeTo;
  const price = priceOf(first);
  const path = ['caps', index, 'downgradeTo'];
  if (price === undefined) return;
  const allowed =
    models ?? rules.find((rule) => rule.when === undefined && rule.models !== undefined)?.models ?? [];
  const sources = allowed.filter((model) => !isPattern(model) && !allowsModel(downgradeTo, model));
  const cheaper = sources.find((model) => {
    const own = priceOf(model);
    return own !== undefined && isDearer(price, own);
  });
  if (cheaper !== undefined) {
    const own = priceText(priceOf(cheaper) as Price);
    find({
      code: 'dearer_downgrade',
      path,
      message: `${first} (${priceText(price)}) is dearer than ${cheaper} (${own}), whose calls therefore stay where they are; name a cheaper model`,
    });
  }
  for (const [position, rung] of downgradeTo.entries()) {
    const [own, before] = [priceOf(rung), priceOf(downgradeTo[position - 1] ?? '')];
    if (own === undefined || before === undefined || !isDearer(own, before)) continue;
    const message = `${rung} (${priceText(own)}) is dearer than ${downgradeTo[position - 1]} before it; it is tried only where that can’t carry a call`;
    find({ code: 'ladder_upwards', path: [...path, position], message });
  }
}
