/** Money as integers: nano-USD for amounts, nano-USD per million tokens for prices. No float ever holds money. */

/** An amount in nano-USD: 1 USD = 1 000 000 000, 1 cent = 10 000 000. */
export type NanoUsd = bigint;

export const NANO_PER_USD: NanoUsd = 1_000_000_000n;

const LONGEST_DECIMAL = 64;
const DECIMAL = /^(-?)(\d+)(?:\.(\d+))?(?:e([+-]?\d+))?$/i;

/** A decimal number as an integer and a power of ten: `1.25` is `{ digits: 125n, exponent: -2 }`. */
interface Decimal {
  digits: bigint;
  exponent: number;
}

/**
 * Reads a decimal exactly. A `number` is read through its shortest decimal form, so `0.1` is one tenth.
 * Throws `RangeError` when the text is not a finite decimal number, or has more than 400 digits of scale.
 */
function parseDecimal(value: string | number | bigint): Decimal {
  const text = String(value).trim();
  // A provider may send anything, and reading digits takes quadratic time.
  if (text.length > LONGEST_DECIMAL) throw new RangeError(`not a decimal number: ${text.length} characters`);
  const match = DECIMAL.exec(text);
  if (!match) throw new RangeError(`not a decimal number: ${JSON.stringify(text)}`);
  const [, sign = '', whole = '0', fraction = '', power = '0'] = match;
  const exponent = Number(power) - fraction.length;
  if (Math.abs(exponent) > 400) throw new RangeError(`number out of range: ${JSON.stringify(text)}`);
  const magnitude = BigInt(whole + fraction);
  return { digits: sign === '-' ? -magnitude : magnitude, exponent };
}

/** Receipts have room for 31 digits; a quadrillion dollars leaves enough of them for sums. */
const MAX_SCALED = 10n ** 24n;

/**
 * `value × 10^places` as an integer. Throws `RangeError` when that is not a whole number, or beyond 10^24 (for
 * nano-USD a quadrillion dollars).
 */
export function scaleExactly(value: string | number | bigint, places: number): bigint {
  const { digits, exponent } = parseDecimal(value);
  const shift = exponent + places;
  const divisor = 10n ** BigInt(Math.max(0, -shift));
  if (digits % divisor !== 0n) throw new RangeError(`finer than a nano-dollar: ${value}`);
  const scaled = (digits / divisor) * 10n ** BigInt(Math.max(0, shift));
  if (scaled > MAX_SCALED || scaled < -MAX_SCALED) throw new RangeError(`number out of range: ${value}`);
  return scaled;
}

/** `value × 10^places` rounded up to an integer. Throws `RangeError` for what is no decimal, or beyond 10^24. */
export function scaleUp(value: string | number, places: number): bigint {
  const { digits, exponent } = parseDecimal(value);
  const shift = exponent + places;
  const divisor = 10n ** BigInt(Math.max(0, -shift));
  const whole = digits / divisor;
  const scaled = (digits > whole * divisor ? whole + 1n : whole) * 10n ** BigInt(Math.max(0, shift));
  if (scaled > MAX_SCALED || scaled < -MAX_SCALED) throw new RangeError(`number out of range: ${value}`);
  return scaled;
}

/** Cents to nano-USD, exactly. Throws `RangeError` for anything finer than a nano-dollar (1e-7 cents). */
export function nanoUsdFromCents(cents: string | number | bigint): NanoUsd {
  return scaleExactly(cents, 7);
}

/** US dollars to nano-USD, exactly. Throws `RangeError` for anything finer than a nano-dollar. */
export function nanoUsdFromUsd(usd: string | number | bigint): NanoUsd {
  return scaleExactly(usd, 9);
}

/**
 * A cost that a provider reported in US dollars, rounded half up to the nano-dollar, but never to zero.
 * Providers compute with floats, so digits beyond the ninth are noise as often as money.
 * Returns `undefined` when the value is not a number from zero to a quadrillion.
 */
export function reportedCost(usd: unknown): NanoUsd | undefined {
  if (typeof usd !== 'number' && typeof usd !== 'string') return undefined;
  let decimal: Decimal;
  try {
    decimal = parseDecimal(usd);
  } catch {
    return undefined;
  }
  if (decimal.digits < 0n) return undefined;
  const shift = decimal.exponent + 9;
  const divisor = 10n ** BigInt(Math.max(0, -shift));
  const rounded = ((decimal.digits * 2n + divisor) / (divisor * 2n)) * 10n ** BigInt(Math.max(0, shift));
  if (rounded > MAX_SCALED) return undefined;
  return rounded === 0n && decimal.digits > 0n ? 1n : rounded;
}

/** Integer division rounded up, for a dividend of at least zero and a positive divisor. */
export function divideUp(dividend: bigint, divisor: bigint): bigint {
  return (dividend + divisor - 1n) / divisor;
}

export function maxOf(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

/** Nano-USD as a plain decimal of US dollars with at least two places: `"50.00"`, `"0.0000125"`. */
export function usdText(amount: NanoUsd): string {
  const magnitude = amount < 0n ? -amount : amount;
  const fraction = (magnitude % NANO_PER_USD)
    .toString()
    .padStart(9, '0')
    .replace(/0{1,7}$/, '');
  return `${amount < 0n ? '-' : ''}${magnitude / NANO_PER_USD}.${fraction}`;
}

/** Nano-USD for people: `"$50.00"`, `"$0.0000125"`. */
export function formatUsd(amount: NanoUsd): string {
  const text = usdText(amount);
  return text.startsWith('-') ? `-$${text.slice(1)}` : `$${text}`;
}
