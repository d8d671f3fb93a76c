/**
 * The price list that comes between `setCostOverride` and the embedded catalogue: OpenRouter's, from the file that
 * `agentguard models --sync-pricing` wrote (on Node), or handed over by `loadPrices` (anywhere).
 */
import { priceFile } from '#platform';
import { AgentGuardError } from '../errors.ts';
import type { ListedRow } from './openrouter-list.ts';
import type { PriceRow } from './price.ts';
import { checkPriceList, checkRows, parsePriceList, type PriceList } from './price-list.ts';

/** Rows by id and alias. */
type Rows = ReadonlyMap<string, PriceRow | { reason: string }>;

interface Loaded {
  rows: Rows;
  /** The ids proper that have a price. */
  ids: readonly string[];
  version: string;
}

/** Shared by every copy of the package in the process. */
interface SyncedStore {
  /** Grows with every change. */
  revision: number;
  /** What `loadPrices` was given; it stands in front of the file. */
  inCode?: Loaded;
  inFile?: Loaded;
  stamp?: string;
  /** When the file was looked at, in milliseconds. */
  lookedAt: number;
  /** Why the file is not used, as a sentence. */
  problem?: string;
}

const STORE = Symbol.for('agentguard.spend/synced-prices@1');

/** A changed file is noticed within this time; a look costs one `stat`. */
const LOOK_EVERY_MS = 3000;

function store(): SyncedStore {
  const holder = globalThis as { [STORE]?: SyncedStore };
  return (holder[STORE] ??= { revision: 0, lookedAt: -Infinity });
}

function versionText({ source, fetchedAt }: PriceList): string {
  return `${source === 'openrouter' ? 'OpenRouter' : source} list, ${fetchedAt}`;
}

function loadedFrom(list: PriceList): Loaded {
  const version = versionText(list);
  const rows = new Map<string, PriceRow | { reason: string }>();
  const add = ({ aliases = [], ...listed }: ListedRow): void => {
    const row: PriceRow = { ...listed, source: list.source, version };
    rows.set(row.model, row);
    for (const alias of aliases) if (!rows.has(alias)) rows.set(alias, row);
  };
  for (const row of list.rows) add(row);
  // an id is never another row's alias
  for (const { aliases: _, ...listed } of list.rows)
    rows.set(listed.model, { ...listed, source: list.source, version });
  const day = list.fetchedAt.slice(0, 10);
  for (const [model, reason] of list.unknown)
    rows.set(model, { reason: `${reason}, says the list of ${day}` });
  return { rows, ids: list.rows.map(({ model }) => model), version };
}

/** Takes in the file when it has changed since the last look. Never throws. */
function lookAtFile(synced: SyncedStore): void {
  const now = Date.now();
  // a clock that was set back must not stop the looking
  if (Math.abs(now - synced.lookedAt) < LOOK_EVERY_MS) return;
  synced.lookedAt = now;
  const file = priceFile(synced.stamp);
  if (file === undefined || file.stamp === synced.stamp) return;
  synced.stamp = file.stamp;
  synced.revision += 1;
  delete synced.inFile;
  delete synced.problem;
  if (file.text === undefined && file.error === undefined) return;
  try {
    if (file.text === undefined) throw new RangeError(`it can't be read (${file.error})`);
    synced.inFile = loadedFrom(parsePriceList(file.text));
  } catch (error) {
    synced.problem =
      `The synced prices in ${file.path} are not used: ${(error as Error).message}. Calls are priced by the ` +
      'catalogue of this package until "agentguard models --sync-pricing" has written a new list.';
  }
}

function loaded(): Loaded | undefined {
  const synced = store();
  if (synced.inCode !== undefined) return synced.inCode;
  lookAtFile(synced);
  return synced.inFile;
}

/**
 * Hands over a price list where there is no file of synced prices (edge functions), or to stand in front of it: the
 * parsed content of a `prices.json`, or price rows by OpenRouter's ids. `null` takes it away again.
 *
 * Throws `AgentGuardError` (`invalid_config`) that names what is wrong; nothing changes then.
 */
export function loadPrices(prices: readonly PriceRow[] | object | null): { models: number; version: string } {
  const synced = store();
  if (prices === null) {
    delete synced.inCode;
    synced.revision += 1;
    return { models: 0, version: '' };
  }
  let next: Loaded;
  try {
    next = Array.isArray(prices) ? loadedRows(prices) : loadedFrom(checkPriceList(prices));
  } catch (error) {
    const message = `loadPrices: ${(error as Error).message}; expected the content of a prices.json, or price rows`;
    throw new AgentGuardError('invalid_config', message, { cause: error });
  }
  synced.inCode = next;
  synced.revision += 1;
  return { models: next.ids.length, version: next.version };
}

function loadedRows(given: readonly unknown[]): Loaded {
  const rows = checkRows(given);
  return {
    rows: new Map(rows.map((row) => [row.model, row])),
    ids: rows.map(({ model }) => model),
    version: rows[0]?.version ?? '',
  };
}

/** The synced row of exactly this OpenRouter id or slug, or why it has no price; `undefined` where it isn't listed. */
export function syncedRow(id: string): PriceRow | { reason: string } | undefined {
  return loaded()?.rows.get(id);
}

/** The ids in the synced list that have a price. */
export function syncedIds(): readonly string[] {
  return loaded()?.ids ?? [];
}

/** Grows with every change of the list. Looks at the file now and then. */
export function syncedRevision(): number {
  loaded();
  return store().revision;
}

/** Why a file of synced prices is there and not used, as a sentence. */
export function syncedProblem(): string | undefined {
  loaded();
  return store().problem;
}

/** Looks at the file at the next question, for tests and the command line. */
export function lookAgain(): void {
  store().lookedAt = -Infinity;
}
