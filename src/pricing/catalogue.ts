/** The embedded price list: decoded at the first look-up, so that importing it costs nothing. */
import {
  CATALOGUE_DATE,
  CATALOGUE_SOURCE,
  CATALOGUE_SOURCE_VERSION,
  CATALOGUE_TABLE,
} from './catalogue-data.ts';
import type { PriceOverride, PriceRow, TokenRates } from './price.ts';

/** Where the embedded rows come from and how old they are, as `PriceRow.version` states it. */
export const CATALOGUE_VERSION: string = `${CATALOGUE_SOURCE} ${CATALOGUE_SOURCE_VERSION}, ${CATALOGUE_DATE}`;

interface Provider {
  /** The undecoded line of each id and alias. */
  lines: Map<string, string>;
  rows: Map<string, PriceRow>;
  /** The ids proper, without aliases. */
  ids: string[];
}

let providers: Map<string, Provider> | undefined;

function readTable(): Map<string, Provider> {
  const table = new Map<string, Provider>();
  let current: Provider | undefined;
  for (const line of CATALOGUE_TABLE.split('\n')) {
    if (line === '') continue;
    if (line.startsWith('@') && !line.includes(';')) {
      current = { lines: new Map(), rows: new Map(), ids: [] };
      table.set(line.slice(1), current);
      continue;
    }
    const names = line.slice(0, line.indexOf(';')).split('=');
    for (const name of names) current?.lines.set(name, line);
    current?.ids.push(names[0] as string);
  }
  return table;
}

/** The rates of a row in the order in which tiers and times have them. */
const RATE_NAMES = [
  'input',
  'output',
  'cacheRead',
  'cacheWrite',
  'cacheWriteHour',
  'inputAudio',
  'cacheReadAudio',
  'inputImage',
] as const satisfies readonly (keyof TokenRates)[];

function ratesOf(texts: readonly (string | undefined)[]): TokenRates {
  const rates: TokenRates = { input: '', output: '' };
  for (const [index, name] of RATE_NAMES.entries()) {
    const text = texts[index] ?? '';
    if (text !== '') rates[name] = text;
  }
  return rates;
}

function tierOf(text: string): { above: number } & TokenRates {
  const [above, ...rates] = text.split(',');
  return { above: Number(above), ...ratesOf(rates) };
}

function timeOf(text: string): PriceOverride {
  const [between = '', ...rates] = text.split(',');
  const [from, until] = between.split('-').map(Number) as [number, number];
  return { between: [from, until], ...ratesOf(rates) };
}

function rowOf(line: string): PriceRow {
  const [names = '', input, output, cacheRead, cacheWrite, context = '', ...rest] = line.split(';');
  const [tiers = '', reasoning = '', request = '', hour, audio, audioRead, image, ...last] = rest;
  const [times = '', outputImage = ''] = last;
  return {
    model: names.split('=')[0] as string,
    source: 'catalogue',
    version: CATALOGUE_VERSION,
    ...ratesOf([input, output, cacheRead, cacheWrite, hour, audio, audioRead, image]),
    ...(reasoning && { reasoning }),
    ...(outputImage && { outputImage }),
    ...(request && { request }),
    ...(tiers && { tiers: tiers.split('/').map(tierOf) }),
    ...(times && { overrides: times.split('/').map(timeOf) }),
    ...(context && { contextLength: Number(context) }),
  };
}

/** The embedded row of exactly this provider and id (or an alias that the source lists), if there is one. */
export function catalogueRow(provider: string, id: string): PriceRow | undefined {
  providers ??= readTable();
  const found = providers.get(provider);
  const line = found?.lines.get(id);
  if (found === undefined || line === undefined) return undefined;
  let row = found.rows.get(id);
  if (row === undefined) {
    row = rowOf(line);
    found.rows.set(id, row);
  }
  return row;
}

/** The ids of each provider in the embedded list, without aliases. */
export function catalogueIds(): ReadonlyMap<string, readonly string[]> {
  providers ??= readTable();
  return new Map([...providers].map(([name, { ids }]) => [name, ids]));
}
