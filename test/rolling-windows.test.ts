/** Rolling windows against an exact log of all spends, kept apart from the guard. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { blockedError } from '../src/errors.ts';
import { guardWith } from '../src/guard.ts';
import type { GuardedCall } from '../src/guarded-call.ts';
import { memoryLedger } from '../src/ledgers/memory.ts';
import { LedgerState } from '../src/ledgers/state.ts';
import { snapshotText, stateFromSnapshot } from '../src/ledgers/snapshot.ts';
import type { SpendPolicy } from '../src/policy.ts';
import { receiptsOf } from '../src/testing/conformance-kit.ts';
import { testPrices } from '../src/testing/test-guard.ts';

const SECOND = 1000;
const MINUTE = 60 * SECOND;

/** The length of each window and of its sub-buckets, as the documents say; not taken from the code. */
const WINDOWS = {
  per_minute: { length: MINUTE, bucket: SECOND },
  per_hour: { length: 60 * MINUTE, bucket: MINUTE },
} as const;

/** One nano-dollar for each output token, and nothing for the input. */
const PRICES = { m: { inputCentsPerKtok: 0, outputCentsPerKtok: '1e-4' } };

interface Step {
  /** In parts of the window's length. */
  wait: number;
  /** In sub-buckets and in milliseconds, on top. */
  buckets: number;
  ms: number;
  do: 'begin' | 'settle' | 'settle-late';
  /** Of the cap, in nano-dollars, for `begin`; which of the open calls, for the others. */
  size: number;
  /** The part of the hold that the call really costs. */
  used: number;
}

/** A spend or a hold of the exact log: its instant, its amount as it stands, and whether it is still open. */
interface Entry {
  at: number;
  amount: bigint;
  open: boolean;
}

const step: fc.Arbitrary<Step> = fc.record({
  wait: fc.oneof(
    { weight: 3, arbitrary: fc.constant(0) },
    { weight: 4, arbitrary: fc.double({ min: 0, max: 0.06, noNaN: true }) },
    { weight: 2, arbitrary: fc.double({ min: 0, max: 1.2, noNaN: true }) },
    { weight: 2, arbitrary: fc.constant(1) },
  ),
  // From the instant at which something leaves the window, or its sub-bucket does, a little to either side.
  buckets: fc.constantFrom(0, 0, 0, 1, -1),
  ms: fc.constantFrom(0, 0, 0, 1, -1),
  do: fc.constantFrom('begin', 'begin', 'begin', 'settle', 'settle', 'settle-late'),
  size: fc.integer({ min: 1, max: 60 }),
  used: fc.constantFrom(0, 0.3, 1, 1, 1),
});

const CAP = 100n;

function sumWithin(log: readonly Entry[], after: number, until: number): bigint {
  return log.reduce((sum, { at, amount }) => (at > after && at <= until ? sum + amount : sum), 0n);
}

const seen = { passed: 0, refused: 0, nearlyFull: 0 };

async function run(
  window: keyof typeof WINDOWS,
  start: number,
  steps: readonly Step[],
  extra: Partial<SpendPolicy> = {},
): Promise<void> {
  const { length, bucket } = WINDOWS[window];
  let now = start;
  const policy: SpendPolicy = {
    id: 'p',
    scope: {},
    caps: [{ amountCents: '0.00001', window, action: 'block' }],
    version: 1,
    effectiveFrom: '2020-01-01T00:00:00Z',
    ...extra,
  };
  const ledger = memoryLedger({ now: () => now });
  const guard = guardWith(
    { policy, ledger, waitForHoldsMs: 0, leaseMs: 400 * MINUTE },
    { priceOf: testPrices(PRICES), now: () => now },
  );
  const log: Entry[] = [];
  const flying: { call: GuardedCall; entry: Entry }[] = [];

  const settle = async ({ size, used }: Step): Promise<void> => {
    const [taken] = flying.splice(size % Math.max(1, flying.length), 1);
    if (taken === undefined) return;
    const { call, entry } = taken;
    const cost = Math.floor(Number(entry.amount) * used);
    await call.settle({ outcome: 'ok', usage: { inputTokens: 1, outputTokens: cost } });
    entry.amount = BigInt(cost);
    entry.open = false;
  };

  for (const each of steps) {
    now += Math.max(0, Math.round(each.wait * length) + each.buckets * bucket + each.ms);
    if (each.do !== 'begin') {
      if (each.do === 'settle-late') now += length;
      await settle(each);
      continue;
    }
    const cost = BigInt(each.size);
    try {
      const call = await guard.begin({ model: 'm', inputTokens: 0, maxOutputTokens: each.size });
      const entry = { at: now, amount: cost, open: true };
      log.push(entry);
      flying.push({ call, entry });
      seen.passed += 1;
      // Never more than the cap in any span of the window's length that ends now, holds counted in full.
      const spent = sumWithin(log, now - length, now);
      expect({ window, now, spent, passed: spent > CAP }).toMatchObject({ passed: false });
      if (spent > 90n) seen.nearlyFull += 1;
    } catch (error) {
      expect(blockedError(error)?.reason).toMatch(/^cap_(spent|held)$/);
      seen.refused += 1;
      // Never refused when this span and one sub-bucket left room.
      const around = sumWithin(log, now - length - bucket, now);
      expect({ window, now, around, cost, hadRoom: around + cost <= CAP }).toMatchObject({ hadRoom: false });
    }
  }
  // As it all came out: every span of the window's length, wherever it begins.
  for (const { at } of log) expect(sumWithin(log, at - 1, at - 1 + length)).toBeLessThanOrEqual(CAP);
  await expectSameAfterRestart(ledger, now);
}

/** Whoever opens the log anew, from a snapshot or from its start, counts the same. */
async function expectSameAfterRestart(ledger: ReturnType<typeof memoryLedger>, now: number): Promise<void> {
  const state = new LedgerState({ log: '', seq: -1, hash: '', time: 0 });
  for (const receipt of await receiptsOf(ledger)) state.apply(receipt);
  if (state.head.seq < 0) return;
  const copy = stateFromSnapshot(snapshotText(state, 0)).state;
  for (const [key, buckets] of state.accounts) {
    const [first] = buckets.values();
    if (first === undefined) continue;
    const { bucket, length } = WINDOWS[first.window as keyof typeof WINDOWS];
    const start = Math.floor(now / bucket) * bucket;
    const span = { start, end: start + bucket + length };
    const account = { key, window: first.window };
    expect(copy.amounts(account, span, now)).toEqual(state.amounts(account, span, now));
  }
}

it.each(['per_minute', 'per_hour'] as const)(
  '%s: never more than the cap in any span, never refused with room in the span and one sub-bucket',
  async (window) => {
    const starts = fc.oneof(
      fc.constantFrom(1_800_000_000_000, 1_800_000_000_001, 1_799_999_999_999),
      fc.integer({ min: 1_800_000_000_000, max: 1_800_000_000_000 + 3 * MINUTE }),
    );
    await fc.assert(
      fc.asyncProperty(starts, fc.array(step, { minLength: 5, maxLength: 60 }), (start, steps) =>
        run(window, start, steps),
      ),
      { numRuns: 1000 },
    );
    console.log('the property saw', JSON.stringify(seen));
    // Without these it would show nothing.
    expect(seen.passed).toBeGreaterThan(2000);
    expect(seen.refused).toBeGreaterThan(500);
    expect(seen.nearlyFull).toBeGreaterThan(100);
  },
);

it('minutes at every phase of the second, to the millisecond', async () => {
  const full: Step = { wait: 0, buckets: 0, ms: 0, do: 'begin', size: 100, used: 1 };
  for (const phase of [0, 1, 499, 500, 998, 999]) {
    for (const edge of [-1000, -1, 0, 1, 999, 1000, 1001]) {
      await run('per_minute', 1_800_000_000_000 + phase, [
        full,
        { ...full, do: 'settle' },
        { ...full, wait: 1, ms: edge },
      ]);
    }
  }
});
