/** Price rows as a table for people, at the width of their screen. */
import Table from 'cli-table3';
import { scaleUp, usdText } from '../../money.ts';
import type { PriceRow } from '../../pricing/price.ts';
import { styled } from './output.ts';

/** A model of a price list with who sells it. */
export interface ListedModel {
  seller: string;
  id: string;
  row: PriceRow;
}

/** From this width on there is room for the cache, the maximum of output tokens and the seller. */
const WIDE = 110;
const LEAST_WIDTH = 60;
const MOST_WIDTH = 160;

/** How wide a table may be. */
export function tableWidth(): number {
  const columns = process.stdout.columns || Number(process.env['COLUMNS']) || 100;
  return Math.min(MOST_WIDTH, Math.max(LEAST_WIDTH, columns));
}

/** Finer than this is for arithmetic, not for reading; --json has it all. */
const PLACES_SHOWN = 4;

/** `5` as `5.00`, `0.0028` as it is, `0.583333334` as `0.5834`. */
export function rateShown(rate: string | undefined): string {
  if (rate === undefined) return '–';
  const rounded = usdText(scaleUp(rate, PLACES_SHOWN) * 10n ** BigInt(9 - PLACES_SHOWN));
  const [whole = '0', places = ''] = rounded.replace(/0+$/, '').split('.');
  return `${whole}.${places.padEnd(2, '0')}`;
}

/** `200000` as `200k`, `1048576` as `1.05M`. */
export function tokensShown(tokens: number | undefined): string {
  if (tokens === undefined) return '–';
  if (tokens >= 1_000_000) return `${(tokens / 1_000_000).toFixed(2).replace(/\.?0+$/, '')}M`;
  return tokens >= 1000 ? `${Math.floor(tokens / 1000)}k` : String(tokens);
}

/** Where a row comes from, and the day of its list. */
export function sourceShown({ source, version }: PriceRow): { source: string; date: string } {
  const date = /\d{4}-\d\d-\d\d/.exec(version)?.[0] ?? version;
  return {
    source: source === 'catalogue' ? 'embedded' : source === 'override' ? 'override' : 'synced',
    date,
  };
}

function clockText(minute: number): string {
  const two = (value: number): string => String(value).padStart(2, '0');
  return `${two(Math.floor(minute / 60))}:${two(minute % 60)}`;
}

const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];

/** OpenRouter lists Gemini's rate for a token of a picture as a fee for the whole one, which is next to nothing. */
const LEAST_FEE_SHOWN = 0.0001;

/** The other rates of a row and when they hold: `above 200,000 tokens 4.00 in, 18.00 out`. */
export function termsOf({ tiers = [], overrides = [], request, image }: PriceRow): string[] {
  const rates = (input?: string, output?: string): string =>
    [
      ...(input === undefined ? [] : [`${rateShown(input)} in`]),
      ...(output === undefined ? [] : [`${rateShown(output)} out`]),
    ].join(', ') || 'other rates';
  const above = (tokens: number | undefined): string[] =>
    tokens === undefined ? [] : [`above ${tokens.toLocaleString('en-US')} tokens`];
  return [
    ...(request === undefined ? [] : [`$${rateShown(request)} a request`]),
    ...(image === undefined || Number(image) < LEAST_FEE_SHOWN ? [] : [`$${rateShown(image)} a picture`]),
    ...tiers.map((tier) => `${above(tier.above).join()} ${rates(tier.input, tier.output)}`),
    ...overrides.map((override) => {
      const { between, days } = override;
      const when = [
        ...above(override.above),
        ...(between === undefined ? [] : [`${clockText(between[0])}–${clockText(between[1])} UTC`]),
        ...(days === undefined ? [] : [days.map((day) => DAYS[day]).join(' ')]),
      ];
      return `${when.join(' ')} ${rates(override.input, override.output)}`;
    }),
  ];
}

type Align = 'left' | 'right';
interface Column {
  head: string;
  align: Align;
  cell: (model: ListedModel) => string;
}

const INPUT: Column = {
  head: 'input',
  align: 'right',
  cell: ({ row }) => `${rateShown(row.input)}${termsOf(row).length > 0 ? '*' : ' '}`,
};

function columnsFor(width: number): Column[] {
  const isWide = width >= WIDE;
  const output: Column = { head: 'output', align: 'right', cell: ({ row }) => rateShown(row.output) };
  const context: Column = {
    head: 'context',
    align: 'right',
    cell: ({ row }) => tokensShown(row.contextLength),
  };
  const source: Column = {
    head: 'prices of',
    align: 'left',
    cell: ({ row }) => {
      const { source: from, date } = sourceShown(row);
      return `${date} ${from}`;
    },
  };
  const model: Column = {
    head: 'model',
    align: 'left',
    cell: ({ id, seller }) => (isWide || seller === 'openrouter' ? id : `${id} (${seller})`),
  };
  if (!isWide) return [model, INPUT, output, context, source];
  return [
    model,
    { head: 'seller', align: 'left', cell: ({ seller }) => seller },
    INPUT,
    output,
    { head: 'cache read', align: 'right', cell: ({ row }) => rateShown(row.cacheRead) },
    { head: 'write', align: 'right', cell: ({ row }) => rateShown(row.cacheWrite) },
    { head: '1 h', align: 'right', cell: ({ row }) => rateShown(row.cacheWriteHour) },
    context,
    { head: 'max out', align: 'right', cell: ({ row }) => tokensShown(row.maxOutputTokens) },
    source,
  ];
}

const BLANK = Object.fromEntries(
  ['top', 'bottom', 'left', 'right'].flatMap((side) =>
    ['', '-mid', '-left', '-right'].map((part) => [side + part, '']),
  ),
);

const GAP = 2;

/** Lines of a table without rules. The first column is broken where the others leave it too little room. */
export function plainTable(
  heads: readonly string[],
  aligns: readonly Align[],
  rows: readonly string[][],
  width: number,
): string[] {
  const widths = heads.map(
    (head, index) => Math.max(head.length, ...rows.map((row) => (row[index] ?? '').length)) + GAP,
  );
  const others = widths.slice(1).reduce((sum, each) => sum + each, 0);
  // a column of cli-table3 counts its padding; the last one's gap is cut off with the other white space at the end
  const first = Math.max(20, Math.min(widths[0] ?? 0, width - others + GAP));
  const table = new Table({
    head: heads.map((head) => styled('dim', head)),
    chars: { ...BLANK, mid: '', 'mid-mid': '', middle: '' },
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': GAP },
    colAligns: [...aligns],
    colWidths: [first, ...widths.slice(1)],
    wordWrap: true,
    wrapOnWordBoundary: false,
  });
  for (const row of rows) table.push(row);
  return table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd());
}

/** The table, and a line for each model with other rates at times. */
export function modelTable(models: readonly ListedModel[]): string[] {
  const width = tableWidth();
  const columns = columnsFor(width);
  const lines = plainTable(
    columns.map(({ head }) => head),
    columns.map(({ align }) => align),
    models.map((model) => columns.map(({ cell }) => cell(model))),
    width,
  );
  const notes = models.flatMap(({ id, row }) => {
    const terms = termsOf(row);
    return terms.length === 0 ? [] : [`* ${id}: ${terms.join('; ')}`];
  });
  return [...lines, ...notes];
}
