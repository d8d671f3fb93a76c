/** Prices that the user sets in code. They come before every list. */
import { nanoUsdFromCents, scaleExactly, usdText } from '../money.ts';
import { MODEL_FEATURES, type ModelFeature, type PriceRow } from './price.ts';

/** A price in US cents per 1000 tokens; 0.1 is $1.00 per million tokens. Strings are read exactly, too. */
export interface CostOverride {
  inputCentsPerKtok: number | string;
  outputCentsPerKtok: number | string;
  /** Absent: as `inputCentsPerKtok`. */
  cacheReadCentsPerKtok?: number | string;
  /** Absent: as `inputCentsPerKtok`. */
  cacheWriteCentsPerKtok?: number | string;
  /** Absent: as `outputCentsPerKtok`. */
  reasoningCentsPerKtok?: number | string;
  /** Writing a cache that lasts an hour. Absent: unknown, so that calls which ask for one have no bound. */
  cacheWriteHourCentsPerKtok?: number | string;
  /** Sound in the prompt. Absent: as `inputCentsPerKtok`. */
  inputAudioCentsPerKtok?: number | string;
  /** Pictures in the prompt. Absent: as `inputCentsPerKtok`. */
  inputImageCentsPerKtok?: number | string;
  /** Sound in the answer. Absent: as `outputCentsPerKtok`. */
  outputAudioCentsPerKtok?: number | string;
  /** Pictures in the answer. Absent: as `outputCentsPerKtok`. */
  outputImageCentsPerKtok?: number | string;
  /** US cents for each request, on top of the tokens. */
  requestCents?: number | string;
  /** US cents for each picture in the prompt, on top of the tokens. */
  imageCents?: number | string;
  /** All that the model can do beside text. Absent: unknown. */
  features?: readonly ModelFeature[];
  /** Input and output tokens that the model takes together. */
  contextLength?: number;
  /** The most output tokens that the model gives. */
  maxOutputTokens?: number;
}

/**
 * Shared by every copy of the package in the process; `revision` tells the copies to drop what they cached.
 */
interface OverrideStore {
  revision: number;
  rows: Map<string, PriceRow>;
}

const STORE = Symbol.for('agentguard.spend/cost-overrides@1');

const RATES = {
  inputCentsPerKtok: 'input',
  outputCentsPerKtok: 'output',
  cacheReadCentsPerKtok: 'cacheRead',
  cacheWriteCentsPerKtok: 'cacheWrite',
  reasoningCentsPerKtok: 'reasoning',
  cacheWriteHourCentsPerKtok: 'cacheWriteHour',
  inputAudioCentsPerKtok: 'inputAudio',
  inputImageCentsPerKtok: 'inputImage',
  outputAudioCentsPerKtok: 'outputAudio',
  outputImageCentsPerKtok: 'outputImage',
} as const;

const FEES = { requestCents: 'request', imageCents: 'image' } as const;

const COUNTS = ['contextLength', 'maxOutputTokens'] as const;

/**
 * Cents per thousand tokens are tenths of dollars per million; a rate has at most nine places of a dollar.
 */
const PLACES_OF_CENTS_PER_KTOK = 10;

function store(): OverrideStore {
  const holder = globalThis as { [STORE]?: OverrideStore };
  return (holder[STORE] ??= { revision: 0, rows: new Map() });
}

function shown(value: unknown): string {
  return typeof value === 'string' ? JSON.stringify(value) : String(value);
}

function rateText(model: string, field: string, value: unknown): string {
  const expected =
    'expected US cents per 1000 tokens, a number of at least 0, e.g. 0.1 for $1.00 per million';
  const message = `cost override of ${JSON.stringify(model)}: ${field} is ${shown(value)}, ${expected}`;
  if (typeof value !== 'number' && typeof value !== 'string') throw new TypeError(message);
  let rate: bigint;
  try {
    rate = scaleExactly(value, PLACES_OF_CENTS_PER_KTOK);
  } catch (cause) {
    throw new RangeError(message, { cause });
  }
  if (rate < 0n) throw new RangeError(message);
  return usdText(rate);
}

function tokenCount(model: string, field: string, value: unknown): number {
  const message = `cost override of ${JSON.stringify(model)}: ${field} is ${shown(value)}, expected tokens`;
  if (typeof value !== 'number') throw new TypeError(`${message}, a number such as 128000`);
  if (!Number.isSafeInteger(value) || value < 1)
    throw new RangeError(`${message}, a whole number of at least 1`);
  return value;
}

const FIELDS: readonly string[] = [...Object.keys(RATES), ...Object.keys(FEES), ...COUNTS, 'features'];

function feeText(model: string, field: string, value: unknown): string {
  const message = `cost override of ${JSON.stringify(model)}: ${field} is ${shown(value)}, expected US cents of at least 0`;
  if (typeof value !== 'number' && typeof value !== 'string') throw new TypeError(message);
  let fee = -1n;
  try {
    fee = nanoUsdFromCents(value);
  } catch {
    // told below
  }
  if (fee < 0n) throw new RangeError(message);
  return usdText(fee);
}

function featureList(model: string, value: unknown): ModelFeature[] {
  const known: readonly unknown[] = MODEL_FEATURES;
  if (Array.isArray(value) && value.every((word) => known.includes(word))) {
    return [...new Set(value as ModelFeature[])].sort();
  }
  const expected = MODEL_FEATURES.join(', ');
  throw new TypeError(`cost override of ${JSON.stringify(model)}: features: expected a list of ${expected}`);
}

/** The price row that an override stands for. Throws as `setCostOverride` does. */
export function overrideRow(model: string, override: CostOverride): PriceRow {
  const row: PriceRow = { model, source: 'override', version: 'set in code', input: '', output: '' };
  for (const field of Object.keys(override)) {
    if (FIELDS.includes(field)) continue;
    const known = FIELDS.join(', ');
    throw new TypeError(
      `cost override of ${JSON.stringify(model)}: unknown field ${field}, expected ${known}`,
    );
  }
  for (const [field, rate] of Object.entries(RATES) as [
    keyof typeof RATES,
    (typeof RATES)[keyof typeof RATES],
  ][]) {
    const isOptional = rate !== 'input' && rate !== 'output';
    if (isOptional && override[field] === undefined) continue;
    row[rate] = rateText(model, field, override[field]);
  }
  for (const [field, fee] of Object.entries(FEES) as [
    keyof typeof FEES,
    (typeof FEES)[keyof typeof FEES],
  ][]) {
    if (override[field] !== undefined) row[fee] = feeText(model, field, override[field]);
  }
  if (override.features !== undefined) row.features = featureList(model, override.features);
  for (const field of COUNTS) {
    if (override[field] !== undefined) row[field] = tokenCount(model, field, override[field]);
  }
  return row;
}

/**
 * Sets the price of exactly this model id, spelled as the calls spell it, for the whole process; `undefined`
 * or `null` takes it away again. Zero is a price: it makes the model free.
 *
 * Throws `TypeError` for a field that is unknown or of the wrong type, `RangeError` for one out of range; the
 * message names the field, what was found and what is expected. Nothing changes then.
 */
export function setCostOverride(model: string, override: CostOverride | null | undefined): void {
  if (typeof model !== 'string' || model === '') {
    throw new TypeError(
      `cost override: model is ${shown(model)}, expected a model id such as "openai/gpt-5"`,
    );
  }
  const overrides = store();
  if (override === undefined || override === null) {
    overrides.rows.delete(model);
  } else if (typeof override !== 'object') {
    throw new TypeError(
      `cost override of ${JSON.stringify(model)}: found ${shown(override)}, expected an object`,
    );
  } else {
    overrides.rows.set(model, overrideRow(model, override));
  }
  overrides.revision += 1;
}

/** Takes all overrides away. */
export function clearCostOverrides(): void {
  const overrides = store();
  overrides.rows.clear();
  overrides.revision += 1;
}

/** The override of exactly this id. */
export function costOverride(model: string): PriceRow | undefined {
  return store().rows.get(model);
}

/** Grows with every change, in whichever copy of the package it was made. */
export function costOverridesRevision(): number {
  return store().revision;
}
