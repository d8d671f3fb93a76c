import { expect, it } from 'vitest';
import type { SpendCap } from '../../src/policy.ts';
import { LedgerState } from '../../src/ledgers/state.ts';
import { markDraft, policyOf, range, receiptsOf, totalCap } from '../../src/testing/conformance-kit.ts';
import { testGuard } from '../../src/testing/test-guard.ts';

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const DAY = 24 * 60 * MINUTE;

/** From when the first dollar is spent, on Wednesday, 17 June 2026 at noon. */
const WINDOWS: [window: SpendCap['window'], lastOpen: number, closed: number][] = [
  ['per_minute', 59_999, MINUTE + SECOND],
  ['per_hour', 60 * MINUTE - 1, 61 * MINUTE],
  ['per_day', DAY / 2 - 1, DAY / 2],
  ['per_week', 4.5 * DAY - 1, 4.5 * DAY],
  ['per_month', 13.5 * DAY - 1, 13.5 * DAY],
  ['per_task', 30 * DAY - 1, 30 * DAY],
];

/** How many windows the state has in memory that follows from the receipts. */
async function windowsInMemory(world: ReturnType<typeof testGuard>): Promise<number> {
  const state = new LedgerState({ log: '', seq: -1, hash: '', time: 0 });
  for (const receipt of await receiptsOf(world.ledger)) state.apply(receipt);
  return [...state.accounts.values()].reduce((sum, buckets) => sum + buckets.size, 0);
}

it.each(WINDOWS)(
  'a %s window counts to its last moment, and leaves memory after it',
  async (window, last, closed) => {
    const policy = policyOf([totalCap(10_000_000, { window })]);
    const world = testGuard({ policy, now: '2026-06-17T12:00:00Z' });
    const { guard, clock, ledger } = world;
    const scope = { taskId: 't' };
    await guard.charge({ label: 'work', usd: 1, scope });
    const others = async (): Promise<void> => {
      await ledger.transact([], () => ({ drafts: range(300).map(markDraft), result: 0 }));
    };
    clock.advance(last);
    await others();
    expect(await guard.balances(scope)).toMatchObject([{ spent: 1_000_000_000n }]);
    expect(await windowsInMemory(world)).toBe(1);
    clock.advance(closed - last);
    expect(await guard.balances(scope)).toMatchObject([{ spent: 0n }]);
    await others();
    expect(await windowsInMemory(world)).toBe(0);
  },
);

it('a window stays in memory while a call that began in it is in flight', async () => {
  const world = testGuard({ policy: policyOf([totalCap(10_000_000, { window: 'per_minute' })]) });
  const call = await world.guard.begin({ model: 'any', inputTokens: 1000, maxOutputTokens: 1000 });
  world.clock.advance(5 * MINUTE);
  await world.ledger.transact([], () => ({ drafts: range(300).map(markDraft), result: 0 }));
  expect(await windowsInMemory(world)).toBe(1);
  await call.settle({ outcome: 'ok', usage: { inputTokens: 1, outputTokens: 1 } });
  await world.ledger.transact([], () => ({ drafts: range(300).map(markDraft), result: 0 }));
  expect(await windowsInMemory(world)).toBe(0);
});
