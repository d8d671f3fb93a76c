/** `agentguard models --sync-pricing`: OpenRouter's list, checked against what was known, into `prices.json`. */
import { CATALOGUE_DATE } from '../../pricing/catalogue-data.ts';
import { catalogueRow } from '../../pricing/catalogue.ts';
import { convertOpenRouterList, type ConvertedList, type ListedRow } from '../../pricing/openrouter-list.ts';
import type { PriceList } from '../../pricing/price-list.ts';
import type { TokenRates } from '../../pricing/price.ts';
import { priceFilePath } from '../home.ts';
import { readPriceFile, writePriceFile, type StoredPrices } from '../price-file.ts';
import { DEFAULT_URL, fetchList, listAddress } from './fetch-list.ts';
import { CliError, countText, failure, printable, styled, timeText, wrapped } from './output.ts';

export interface SyncOptions {
  url?: string;
  /** Seconds. */
  timeout?: string;
  force?: boolean;
  json?: boolean;
}

interface Change {
  model: string;
  rate: string;
  from: string;
  to: string;
}

interface Synced {
  path: string;
  list: PriceList;
  added: number;
  removed: number;
  changes: Change[];
  /** What was taken only because of `--force`. */
  forced: string[];
  /** What stood in the place of the new list and could not be read. */
  damaged?: string;
  /** True when another process has written a later list meanwhile. */
  overtaken: boolean;
}

/** Prices that move by more between two lists are a mistake more often than a bargain. */
const ABSURD_FACTOR = 50;
/** A list with fewer models than this says nothing by getting shorter. */
const SHORT_LIST = 10;
const MOST_SHOWN = 8;

const NAMED_RATES = ['input', 'output', 'cacheRead', 'cacheWrite'] as const;

function keptText(stored: StoredPrices): string {
  if ('list' in stored) return `The list of ${timeText(stored.list.fetchedAt)} stays in force.`;
  const why =
    'none' in stored
      ? 'There is no synced list yet'
      : `The list that is there can't be used (${stored.damaged})`;
  return `${why}; the catalogue of this package (${CATALOGUE_DATE}) stays in force.`;
}

function previousRates(id: string, stored: StoredPrices): Partial<TokenRates> | undefined {
  const listed = 'list' in stored ? stored.list.rows.find(({ model }) => model === id) : undefined;
  return listed ?? catalogueRow('openrouter', id);
}

/** Rates that moved too far to be believed, each as a sentence. */
function absurdMoves(rows: readonly ListedRow[], stored: StoredPrices): string[] {
  return rows.flatMap((row) => {
    const before = previousRates(row.model, stored);
    return (['input', 'output'] as const).flatMap((name) => {
      const [from, to] = [Number(before?.[name] ?? Number.NaN), Number(row[name])];
      if (!(from > 0) || (to >= from / ABSURD_FACTOR && to <= from * ABSURD_FACTOR)) return [];
      return [`${row.model}: ${name} moved from $${before?.[name]} to $${row[name]} per million tokens`];
    });
  });
}

function doubts(converted: ConvertedList, stored: StoredPrices): string[] {
  const { rows, absurd } = converted;
  const before = 'list' in stored ? stored.list.rows.length : 0;
  const isShort = before >= SHORT_LIST && rows.length * 2 < before;
  return [
    ...absurd,
    ...absurdMoves(rows, stored),
    ...(isShort
      ? [`it has prices for ${countText(rows.length, 'model')}, where the list before had ${before}`]
      : []),
  ];
}

function changesFrom(
  stored: StoredPrices,
  rows: readonly ListedRow[],
): Pick<Synced, 'added' | 'removed' | 'changes'> {
  const before = new Map(('list' in stored ? stored.list.rows : []).map((row) => [row.model, row]));
  const after = new Set(rows.map(({ model }) => model));
  const changes = rows.flatMap((row) => {
    const old = before.get(row.model);
    if (old === undefined) return [];
    return NAMED_RATES.flatMap((rate): Change[] =>
      old[rate] === row[rate]
        ? []
        : [{ model: row.model, rate, from: old[rate] ?? '–', to: row[rate] ?? '–' }],
    );
  });
  return {
    added: rows.filter(({ model }) => !before.has(model)).length,
    removed: [...before.keys()].filter((model) => !after.has(model)).length,
    changes,
  };
}

function timeoutMs(seconds: string | undefined): number {
  const value = seconds === undefined ? 30 : Number(seconds);
  if (value > 0 && value <= 3600) return value * 1000;
  throw new CliError(`--timeout ${seconds}: expected seconds, more than 0 and at most 3600.`);
}

/** Fetches, checks and writes. Throws `CliError`, with exit code 1 for a list that was refused. */
async function sync(options: SyncOptions, stored: StoredPrices): Promise<Synced> {
  const url = listAddress(options.url ?? DEFAULT_URL);
  const fetchedAt = new Date().toISOString();
  const converted = convertOpenRouterList(await fetchList(url, timeoutMs(options.timeout)));
  const { rows, unknown } = converted;
  if (rows.length === 0) {
    const [model, reason] = unknown[0] ?? ['', ''];
    throw new CliError(
      `The list was not taken: not one of its models has a price (${model}: ${printable(reason)}).`,
      1,
    );
  }
  const found = doubts(converted, stored);
  if (found.length > 0 && options.force !== true) {
    const more = found.length > MOST_SHOWN ? [`  … and ${found.length - MOST_SHOWN} more`] : [];
    const reasons = [...found.slice(0, MOST_SHOWN).map((reason) => `  ${printable(reason)}`), ...more];
    throw new CliError(
      [
        'The list was not taken, because it can hardly be right:',
        ...reasons,
        'If it is right, take it with --force.',
      ].join('\n'),
      1,
    );
  }
  const path = priceFilePath();
  const list: PriceList = { source: 'openrouter', url: url.href, fetchedAt, rows, unknown };
  let written: boolean;
  try {
    written = writePriceFile(list, path);
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException;
    throw new CliError(
      `${path} can't be written (${code || message}). Make its folder writable, or set AGENTGUARD_HOME to one that is.`,
    );
  }
  return {
    path,
    list,
    ...changesFrom(stored, rows),
    forced: found,
    ...('damaged' in stored && { damaged: stored.damaged }),
    overtaken: !written,
  };
}

function report({ path, list, added, removed, changes, forced, damaged, overtaken }: Synced): string[] {
  if (overtaken) return [`Another sync has written a later list to ${path} meanwhile; it stays in force.`];
  const { rows, unknown } = list;
  const moved = [
    ...(added > 0 ? [`${added} new`] : []),
    ...(removed > 0 ? [`${removed} gone`] : []),
    ...(changes.length > 0 ? [countText(changes.length, 'changed rate')] : []),
  ].join(', ');
  const shown = changes
    .slice(0, MOST_SHOWN)
    .map(({ model, rate, from, to }) => `  ${model}: ${rate} ${from} → ${to}`);
  return [
    `${styled('green', 'Synced')} the prices of ${countText(rows.length, 'model')} from ${new URL(list.url as string).host}, ` +
      `${timeText(list.fetchedAt)}${moved === '' ? '; nothing changed.' : ` (${moved}).`}`,
    ...shown,
    ...(changes.length > MOST_SHOWN ? [`  … and ${changes.length - MOST_SHOWN} more`] : []),
    ...(unknown.length > 0
      ? [`${countText(unknown.length, 'model')} without a price to calculate with stay unknown.`]
      : []),
    ...(damaged === undefined
      ? []
      : [`The file that was there could not be used (${damaged}) and is replaced.`]),
    ...forced.map((reason) => `Taken with --force: ${printable(reason)}`),
    `Written to ${path}`,
    wrapped(
      'Guards on this machine use it within seconds: after setCostOverride, before the embedded catalogue.',
      0,
    ),
  ];
}

/** Runs the sync, prints what came of it, and returns the exit code: 0 synced, 1 list refused, 2 no list or no file. */
export async function syncCommand(options: SyncOptions): Promise<number> {
  const stored = readPriceFile();
  try {
    const synced = await sync(options, stored);
    const { path, list, forced, added, removed, changes, overtaken } = synced;
    const { rows, unknown, source, url, fetchedAt } = list;
    const document = {
      exitCode: 0,
      synced: !overtaken,
      path,
      source,
      url,
      fetchedAt,
      models: rows.length,
      unknown: Object.fromEntries(unknown),
      added,
      removed,
      changes,
      forced,
    };
    process.stdout.write(
      options.json === true
        ? `${JSON.stringify(document, undefined, 2)}\n`
        : `${report(synced).join('\n')}\n`,
    );
    return 0;
  } catch (error) {
    const { message, exitCode } = failure(error);
    const kept = keptText(stored);
    if (options.json !== true) throw new CliError(`${message}\n${kept}`, exitCode);
    process.stdout.write(
      `${JSON.stringify({ exitCode, synced: false, error: message, kept }, undefined, 2)}\n`,
    );
    return exitCode;
  }
}
