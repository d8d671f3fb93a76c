/** A synced price list as a document: what `prices.json` holds and what `loadPrices` takes. */
import * as v from 'valibot';
import { digestOf } from '../receipts/keys.ts';
import { compilePrice, MODEL_FEATURES, type PriceRow } from './price.ts';
import type { ListedRow } from './openrouter-list.ts';

/** A price list with where it comes from and when it was fetched. */
export interface PriceList {
  source: string;
  /** RFC 3339, UTC. */
  fetchedAt: string;
  url?: string;
  rows: readonly ListedRow[];
  /** Listed models whose price is not known, with the reason. They have none in other lists either. */
  unknown: readonly (readonly [model: string, reason: string])[];
}

const rate = v.pipe(v.string(), v.regex(/^\d{1,10}(\.\d{1,9})?$/, 'expected a decimal of at least 0'));
const optionalRate = v.exactOptional(rate);
const whole = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const count = v.pipe(v.number(), v.safeInteger(), v.minValue(1));
const minute = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(1440));
const modelId = v.pipe(v.string(), v.minLength(1), v.maxLength(200));

const parts = {
  cacheRead: optionalRate,
  cacheWrite: optionalRate,
  cacheWriteHour: optionalRate,
  reasoning: optionalRate,
  inputAudio: optionalRate,
  cacheReadAudio: optionalRate,
  inputImage: optionalRate,
  outputAudio: optionalRate,
  outputImage: optionalRate,
};
const rates = { input: rate, output: rate, ...parts };

const listedRow = v.strictObject({
  model: modelId,
  ...rates,
  request: optionalRate,
  image: optionalRate,
  tiers: v.exactOptional(v.array(v.strictObject({ above: whole, ...rates }))),
  overrides: v.exactOptional(
    v.array(
      v.strictObject({
        above: v.exactOptional(whole),
        between: v.exactOptional(v.tuple([minute, minute])),
        days: v.exactOptional(v.array(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(6)))),
        input: optionalRate,
        output: optionalRate,
        ...parts,
      }),
    ),
  ),
  contextLength: v.exactOptional(count),
  maxOutputTokens: v.exactOptional(count),
  features: v.exactOptional(v.array(v.picklist(MODEL_FEATURES))),
  aliases: v.exactOptional(v.array(modelId)),
});

const instant = v.pipe(v.string(), v.regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/));

const listDocument = v.strictObject({
  v: v.literal(1),
  source: v.pipe(v.string(), v.minLength(1), v.maxLength(64)),
  url: v.exactOptional(v.string()),
  fetchedAt: instant,
  digest: v.string(),
  rows: v.array(listedRow),
  unknown: v.array(v.tuple([modelId, v.pipe(v.string(), v.maxLength(300))])),
});

function issueText(issue: v.BaseIssue<unknown>): string {
  const path = issue.path?.map((item) => String(item.key)).join('.') ?? '';
  return `${path === '' ? '' : `${path}: `}${issue.message}`;
}

function contentOf({ source, fetchedAt, url, rows, unknown }: PriceList): Record<string, unknown> {
  return { source, fetchedAt, ...(url !== undefined && { url }), rows, unknown };
}

/** The list as text, one model a line, with a digest that tells damage and hand-made changes apart from a list. */
export function priceListText(list: PriceList): string {
  const { source, fetchedAt, url } = list;
  const head = {
    v: 1,
    source,
    ...(url !== undefined && { url }),
    fetchedAt,
    digest: digestOf(contentOf(list)),
  };
  const lines = (entries: readonly unknown[]): string =>
    entries.map((entry) => `\n  ${JSON.stringify(entry)}`).join(',');
  const start = JSON.stringify(head, undefined, 1).slice(0, -2);
  return `${start},\n "rows": [${lines(list.rows)}\n ],\n "unknown": [${lines(list.unknown)}\n ]\n}\n`;
}

/** Reads such a text. Throws `RangeError` that says what is wrong with it. */
export function parsePriceList(text: string): PriceList {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new RangeError(text.trim() === '' ? 'it is empty' : 'it is not JSON, or was cut off');
  }
  return checkPriceList(value);
}

/** The list in a parsed document. Throws `RangeError` that says what is wrong with it. */
export function checkPriceList(value: unknown): PriceList {
  const version = (value as { v?: unknown } | null)?.v;
  if (typeof version === 'number' && version > 1)
    throw new RangeError(`its version ${version} is newer than this package`);
  const parsed = v.safeParse(listDocument, value);
  if (!parsed.success) throw new RangeError(issueText(parsed.issues[0]));
  const { v: _, digest, ...list } = parsed.output;
  if (digestOf(contentOf(list)) !== digest)
    throw new RangeError('its digest does not fit: it was edited or damaged');
  return list;
}

/** Rows that were passed in code, checked. Throws `RangeError` that names the row and the field. */
export function checkRows(rows: readonly unknown[]): PriceRow[] {
  return rows.map((row, index) => {
    const { source, version, ...rest } = { ...(row as PriceRow) };
    const parsed = v.safeParse(listedRow, rest);
    if (!parsed.success) throw new RangeError(`row ${index}: ${issueText(parsed.issues[0])}`);
    const named = { source: source ?? 'openrouter', version: version ?? 'passed in code' };
    if (typeof named.source !== 'string' || typeof named.version !== 'string')
      throw new RangeError(`row ${index}: source and version: expected text`);
    compilePrice({ ...parsed.output, ...named });
    return { ...parsed.output, ...named };
  });
}
