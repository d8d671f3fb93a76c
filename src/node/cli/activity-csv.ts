/** OpenRouter's activity export: a CSV file with a row for each generation. */
import { createReadStream } from 'node:fs';
import { parse } from 'csv-parse';
import { reportedCost } from '../../money.ts';
import type { BillRow } from '../../reconcile.ts';
import { CliError, printable } from './output.ts';

/** The columns that are read, by the names that exports have had. Others, and their order, don't matter. */
const COLUMNS = {
  id: ['generation_id', 'generation id', 'id'],
  cost: ['cost_total', 'total_cost', 'cost', 'usage'],
  time: ['created_at', 'created at', 'timestamp'],
  /** What the upstream took from an own key of the caller's, beside the cost. */
  upstream: ['byok_usage_inference', 'byok usage inference'],
} as const;

type Column = keyof typeof COLUMNS;

function columnsOf(
  file: string,
  header: readonly string[],
): (row: readonly string[], column: Column) => string | undefined {
  const names = header.map((name) => name.trim().toLowerCase());
  const place = Object.fromEntries(
    Object.entries(COLUMNS).map(([column, known]) => [
      column,
      known.map((name) => names.indexOf(name)).find((index) => index >= 0),
    ]),
  ) as Record<Column, number | undefined>;
  for (const column of ['id', 'cost'] as const) {
    if (place[column] !== undefined) continue;
    throw new CliError(
      `${printable(file)} has no column ${COLUMNS[column].join(', ')}. Its columns: ${names.map(printable).join(', ')}.`,
    );
  }
  return (row, column) => (place[column] === undefined ? undefined : row[place[column]]);
}

/** Times without a zone are UTC. */
function timeOf(text: string | undefined): number | undefined {
  if (text === undefined || text.trim() === '') return undefined;
  const iso = text.trim().replace(' ', 'T');
  const time = Date.parse(/(Z|[+-]\d\d:?\d\d)$/i.test(iso) || !iso.includes('T') ? iso : `${iso}Z`);
  return Number.isNaN(time) ? undefined : time;
}

function costIn(text: string, where: string): bigint {
  const amount = reportedCost(text);
  if (amount !== undefined) return amount;
  throw new CliError(`${where}: ${JSON.stringify(printable(text))} is not a cost in US dollars.`);
}

/** The rows of an export. Throws `CliError` that names file, row and column for what can't be read. */
export async function readActivity(file: string): Promise<BillRow[]> {
  const rows: BillRow[] = [];
  let cell: ReturnType<typeof columnsOf> | undefined;
  const parser = parse({ bom: true, skip_empty_lines: true, trim: true, relax_column_count: false });
  createReadStream(file)
    .once('error', (error) => parser.destroy(error))
    .pipe(parser);
  try {
    for await (const row of parser as AsyncIterable<string[]>) {
      if (cell === undefined) {
        cell = columnsOf(file, row);
        continue;
      }
      const where = `${printable(file)}, row ${parser.info.records}`;
      const id = cell(row, 'id') ?? '';
      if (id === '') throw new CliError(`${where}: the generation id is empty.`);
      const amount = costIn(cell(row, 'cost') ?? '', where);
      const told = cell(row, 'upstream') ?? '';
      const upstream = told === '' ? undefined : costIn(told, where);
      const at = timeOf(cell(row, 'time'));
      rows.push({ id, amount, ...(upstream !== undefined && { upstream }), ...(at !== undefined && { at }) });
    }
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw new CliError(`${printable(file)} can't be read as CSV: ${(error as Error).message}.`);
  }
  if (cell === undefined) throw new CliError(`${printable(file)} is empty: not even a header.`);
  return rows;
}
