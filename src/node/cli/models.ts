/** `agentguard models`: what guards on this machine take models to cost. */
import { CATALOGUE_DATE } from '../../pricing/catalogue-data.ts';
import { catalogueIds } from '../../pricing/catalogue.ts';
import { findPrice } from '../../pricing/find-price.ts';
import { costOf, type Price, type PriceRow } from '../../pricing/price.ts';
import { suggestModels } from '../../pricing/suggest.ts';
import { syncedIds, syncedProblem } from '../../pricing/synced.ts';
import { formatUsd, usdText } from '../../money.ts';
import {
  modelTable,
  plainTable,
  rateShown,
  sourceShown,
  tableWidth,
  termsOf,
  tokensShown,
  type ListedModel,
} from './models-table.ts';
import { CliError, commandText, countText, failure, printable, styled, wrapped } from './output.ts';
import type { SyncOptions } from './sync-pricing.ts';

export interface ModelsOptions extends SyncOptions {
  syncPricing?: boolean;
  provider?: string;
  all?: boolean;
}

/** Enough for a look; the rest is found by searching. */
const MOST_LISTED = 40;

/** Every model with a price, OpenRouter's first. */
function everyModel(provider: string | undefined): ListedModel[] {
  const lists = new Map(catalogueIds());
  lists.set('openrouter', [...new Set([...(lists.get('openrouter') ?? []), ...syncedIds()])]);
  return [...lists].flatMap(([seller, ids]) => {
    if (provider !== undefined && seller !== provider) return [];
    return ids.toSorted().flatMap((id): ListedModel[] => {
      const found = findPrice(id, seller);
      return 'price' in found ? [{ seller, id, row: found.price.row }] : [];
    });
  });
}

function rowDocument({ seller, id, row }: ListedModel): Record<string, unknown> {
  const { model, source: _, version, ...rest } = row;
  const { source, date } = sourceShown(row);
  return { id, seller, ...(model !== id && { listedAs: model }), ...rest, source, version, date };
}

function matches({ seller, id }: ListedModel, words: readonly string[]): boolean {
  const name = `${seller}/${id}`.toLowerCase();
  return words.every((word) => name.includes(word.toLowerCase()));
}

function sellersText(): string {
  return [...catalogueIds().keys()].join(', ');
}

function printLines(lines: readonly string[]): void {
  process.stdout.write(`${lines.join('\n')}\n`);
}

/** Which lists the prices come from, and what to do where one is damaged or missing. */
function listsText(): string[] {
  const problem = syncedProblem();
  if (problem !== undefined) return [styled('yellow', wrapped(problem, 0))];
  if (syncedIds().length > 0) return [];
  return [
    wrapped(
      `Embedded catalogue of ${CATALOGUE_DATE}. For OpenRouter's prices of today: ${commandText('models', '--sync-pricing')}`,
      0,
    ),
  ];
}

function list(words: readonly string[], options: ModelsOptions): number {
  const { provider } = options;
  if (provider !== undefined && !catalogueIds().has(provider)) {
    throw new CliError(`--provider ${printable(provider)}: expected one of ${sellersText()}.`);
  }
  const found = everyModel(provider).filter((model) => matches(model, words));
  if (found.length === 0) {
    const wanted = words.join(' ');
    const likely = words.flatMap((word) => suggestModels(word, provider)).slice(0, 3);
    const hint =
      likely.length > 0
        ? ` Did you mean ${likely.join(' or ')}?`
        : ' Search for a part of the id, e.g. "haiku".';
    throw new CliError(`No model with a price has ${JSON.stringify(printable(wanted))} in its id.${hint}`, 1);
  }
  if (options.json === true) {
    const problem = syncedProblem();
    const models = found.map(rowDocument);
    printLines([
      JSON.stringify(
        { exitCode: 0, unit: 'USD per million tokens', ...(problem && { problem }), models },
        undefined,
        2,
      ),
    ]);
    return 0;
  }
  const shown = options.all === true ? found : found.slice(0, MOST_LISTED);
  const left = found.length - shown.length;
  printLines([
    styled('bold', `${countText(found.length, 'model')}, USD per million tokens`),
    ...modelTable(shown),
    ...(left > 0 ? [`… and ${left.toLocaleString('en-US')} more: search for a part of an id, or --all`] : []),
    ...listsText(),
  ]);
  return 0;
}

interface Compared {
  id: string;
  price: Price;
  cost: bigint;
}

const DEFAULT_INPUT = 10_000;
const DEFAULT_OUTPUT = 1000;

/** `compare a b 10000 1000`, also `10000/1000`: ids, and the tokens to compare at. */
function comparison(words: readonly string[]): { ids: string[]; input: number; output: number } {
  const isNumber = (word: string): boolean => /^[\d_,]+(\/[\d_,]+)?$/.test(word);
  const ids = words.filter((word) => !isNumber(word));
  const tokens = words
    .filter(isNumber)
    .flatMap((word) => word.split('/'))
    .map((word) => Number(word.replaceAll(/[_,]/g, '')));
  const usage = commandText(
    'models',
    'compare',
    'anthropic/claude-haiku-4.5',
    'openai/gpt-5-mini',
    '10000',
    '1000',
  );
  if (ids.length < 2 || tokens.length > 2) {
    throw new CliError(
      `compare: expected at least two models, then input and output tokens, e.g.\n  ${usage}`,
    );
  }
  const [input = DEFAULT_INPUT, output = DEFAULT_OUTPUT] = tokens;
  if (![input, output].every((count) => Number.isSafeInteger(count) && count <= 1e9)) {
    throw new CliError('compare: expected input and output tokens as whole numbers up to a billion.');
  }
  return { ids, input, output };
}

function compare(words: readonly string[], options: ModelsOptions): number {
  const { ids, input, output } = comparison(words);
  const unknown: string[] = [];
  const compared = ids.flatMap((id): Compared[] => {
    const found = findPrice(id, options.provider);
    if ('unknown' in found) unknown.push(found.unknown);
    else
      return [
        { id, price: found.price, cost: costOf(found.price, { inputTokens: input, outputTokens: output }) },
      ];
    return [];
  });
  if (unknown.length > 0) throw new CliError(unknown.map((sentence) => printable(sentence)).join('\n'), 1);
  if (options.json === true) {
    const models = compared.map(({ id, price, cost }) => {
      const { model, source: _, version, ...row } = price.row;
      return {
        id,
        ...(model !== id && { listedAs: model }),
        ...row,
        ...sourceShown(price.row),
        version,
        costUsd: usdText(cost),
      };
    });
    printLines([
      JSON.stringify({ exitCode: 0, inputTokens: input, outputTokens: output, models }, undefined, 2),
    ]);
    return 0;
  }
  printLines(comparisonTable(compared, input, output));
  return 0;
}

/** Hundredths, of integers. */
function ratioText(cost: bigint, least: bigint): string {
  if (least === 0n) return cost === 0n ? '1.00 ×' : '–';
  const hundredths = (cost * 100n + least / 2n) / least;
  return `${hundredths / 100n}.${String(hundredths % 100n).padStart(2, '0')} ×`;
}

function comparisonTable(compared: readonly Compared[], input: number, output: number): string[] {
  const least = compared.reduce((found, { cost }) => (cost < found ? cost : found), compared[0]?.cost ?? 0n);
  const line = (label: string, text: (row: PriceRow) => string): string[] => [
    label,
    ...compared.map(({ price }) => text(price.row)),
  ];
  const lines = [
    line('input', (row) => rateShown(row.input)),
    line('output', (row) => rateShown(row.output)),
    line('cache read', (row) => rateShown(row.cacheRead)),
    line('cache write', (row) => rateShown(row.cacheWrite)),
    line('one-hour write', (row) => rateShown(row.cacheWriteHour)),
    line('reasoning', (row) => rateShown(row.reasoning)),
    line('context', (row) => tokensShown(row.contextLength)),
    line('most output', (row) => tokensShown(row.maxOutputTokens)),
    line('prices of', (row) => `${sourceShown(row).date} ${sourceShown(row).source}`),
    ['cost', ...compared.map(({ cost }) => formatUsd(cost))],
    ['to the cheapest', ...compared.map(({ cost }) => ratioText(cost, least))],
  ].filter(([, ...cells]) => cells.some((cell) => cell !== '–'));
  const count = (tokens: number): string => tokens.toLocaleString('en-US');
  const aligns = ['left', ...compared.map(() => 'right' as const)] as const;
  const heads = ['', ...compared.map(({ id }) => id)];
  return [
    styled('bold', `${count(input)} tokens in, ${count(output)} out; rates in USD per million tokens`),
    ...plainTable(heads, aligns, lines, tableWidth()),
    ...compared.flatMap(({ id, price }) => termsOf(price.row).map((term) => `* ${id}: ${term}`)),
    ...compared.flatMap(({ id, price }) =>
      price.row.features === undefined
        ? []
        : [wrapped(`${id}: ${price.row.features.join(', ')}`, 2, tableWidth())],
    ),
  ];
}

/**
 * Lists, searches, compares or syncs, and returns the exit code: 0 done, 1 nothing found, no price, or a list that
 * was refused, 2 the command could not do its work.
 */
export async function modelsCommand(words: readonly string[], options: ModelsOptions): Promise<number> {
  if (options.syncPricing === true) {
    if (words.length > 0) throw new CliError('--sync-pricing takes no models: it syncs the whole list.');
    const { syncCommand } = await import('./sync-pricing.ts');
    return syncCommand(options);
  }
  const only = (['url', 'timeout', 'force'] as const).find((name) => options[name] !== undefined);
  try {
    if (only !== undefined) throw new CliError(`--${only} belongs to --sync-pricing.`);
    const [verb, ...rest] = words;
    if (verb === 'compare') return compare(rest, options);
    return list(verb === 'list' || verb === 'search' ? rest : words, options);
  } catch (error) {
    if (options.json !== true) throw error;
    const { message, exitCode } = failure(error);
    printLines([JSON.stringify({ exitCode, error: message }, undefined, 2)]);
    return exitCode;
  }
}
