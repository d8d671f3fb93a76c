/** A guard for users' own tests: in memory, on a clock that stands still, with a price for every model. */
import { guardWith, type SpendGuard } from '../guard.ts';
import { memoryLedger } from '../ledgers/memory.ts';
import type { Ledger } from '../ledgers/ledger.ts';
import type { SpendGuardOptions } from '../options.ts';
import type { SpendPolicy } from '../policy.ts';
import { findPrice, type FoundPrice } from '../pricing/find-price.ts';
import { overrideRow, type CostOverride } from '../pricing/overrides.ts';
import { compilePrice } from '../pricing/price.ts';
import { base64url, signerFromSeed } from '../receipts/keys.ts';
import type { Receipt } from '../receipts/payloads.ts';

/** A clock that moves only when it is told to. */
export interface TestClock {
  /** Milliseconds since 1970. */
  now(): number;
  advance(ms: number): void;
  /** Jumps to an instant, also to an earlier one. Throws `RangeError` for text that is no ISO 8601 instant. */
  set(instant: number | string): void;
}

export interface TestGuardOptions extends Omit<SpendGuardOptions, 'policy' | 'ledger'> {
  /** Default: a policy without caps, which allows every call. */
  policy?: SpendGuardOptions['policy'];
  /** Where the clock starts. Default `2026-06-01T12:00:00Z`, a Monday. */
  now?: number | string;
  /** Prices by model. A model that has none here has its usual price, and one without any `DEFAULT_TEST_PRICE`. */
  prices?: Readonly<Record<string, CostOverride>>;
}

export interface TestGuard {
  guard: SpendGuard;
  ledger: Ledger;
  clock: TestClock;
  /** All receipts so far, oldest first. */
  receipts: () => Promise<Receipt[]>;
}

/** What a model costs that has no price: $1 per million input tokens and $2 per million output tokens. */
export const DEFAULT_TEST_PRICE: CostOverride = { inputCentsPerKtok: '0.1', outputCentsPerKtok: '0.2' };

const OPEN_POLICY: SpendPolicy = {
  id: 'test',
  scope: {},
  caps: [],
  version: 1,
  effectiveFrom: '2020-01-01T00:00:00Z',
};

const DEFAULT_NOW = '2026-06-01T12:00:00Z';

function instant(value: number | string): number {
  const time = typeof value === 'number' ? value : Date.parse(value);
  if (Number.isSafeInteger(time)) return time;
  throw new RangeError(`expected milliseconds or an ISO 8601 instant, got ${JSON.stringify(value)}`);
}

function testClock(start: number | string): TestClock {
  let time = instant(start);
  return {
    now: () => time,
    advance(ms) {
      time += ms;
    },
    set(value) {
      time = instant(value);
    },
  };
}

/** A price list that leaves no model without a price. */
export function testPrices(prices: Readonly<Record<string, CostOverride>> = {}): typeof findPrice {
  const known = new Map<string, FoundPrice>();
  const priced = (model: string, override: CostOverride): FoundPrice => {
    const found = { price: compilePrice(overrideRow(model, override)) };
    known.set(model, found);
    return found;
  };
  for (const [model, override] of Object.entries(prices)) priced(model, override);
  return (model, provider) => {
    const own = known.get(model);
    if (own !== undefined) return own;
    const usual = findPrice(model, provider);
    return 'price' in usual ? usual : priced(model, DEFAULT_TEST_PRICE);
  };
}

/** The same bytes for the same number. */
function fixedBytes(length: number, number: number): Uint8Array {
  const bytes = new Uint8Array(length);
  new DataView(bytes.buffer).setUint32(length - 4, number);
  return bytes;
}

/**
 * A guard on a ledger in memory, whose clock stands still until the test moves it and for which every model has a
 * price. Key and ids are the same in every run, so the same calls in the same order give the same receipts, byte for
 * byte. Throws as `createSpendGuard` does.
 */
export function testGuard(options: TestGuardOptions = {}): TestGuard {
  const { policy = OPEN_POLICY, now = DEFAULT_NOW, prices, ...rest } = options;
  const clock = testClock(now);
  const ledger = memoryLedger({
    signer: signerFromSeed(fixedBytes(32, 1)),
    now: () => clock.now(),
    logId: base64url(fixedBytes(16, 0)),
  });
  let calls = 0;
  const guard = guardWith(
    { ...rest, policy, ledger },
    {
      now: () => clock.now(),
      newId: () => base64url(fixedBytes(16, (calls += 1))),
      priceOf: testPrices(prices),
    },
  );
  return {
    guard,
    ledger,
    clock,
    async receipts() {
      const found: Receipt[] = [];
      for await (const receipt of ledger.read()) found.push(receipt);
      return found;
    },
  };
}
