import { describe, expect, it } from 'vitest';
import { temporaryFolder } from '../temporary-folder.ts';
import { checkLog } from './check-log.ts';
import { runWorkers, startWorker } from './children.ts';
import {
  callMany,
  callUntilRefused,
  loadGuard,
  loadSimulator,
  TOKEN_NANO,
  type Load,
  type Tally,
} from './load.ts';

const LIMIT = 100;
const ONE_CALL = BigInt(LIMIT) * TOKEN_NANO;

/** What is true of every log after every call has ended: valid, nothing held, spent as billed, each hold ended once. */
async function expectSettled(load: Load, billed: bigint): Promise<void> {
  const { verdict, receipts } = await checkLog(load.dir);
  expect(verdict).toMatchObject({ integrity: 'valid', receipts: receipts.length });
  expect(receipts.map(({ payload }) => payload.seq)).toEqual(receipts.map((_, index) => index));
  const passed = receipts.flatMap(({ payload }) =>
    payload.type === 'decision' && payload.decision === 'allow' ? [payload.call] : [],
  );
  const settled = receipts.flatMap(({ payload }) => (payload.type === 'settlement' ? [payload.call] : []));
  expect(new Set(passed).size).toBe(passed.length);
  expect(settled.sort()).toEqual(passed.sort());
  const guard = loadGuard(load);
  expect(await guard.balances()).toMatchObject([{ spent: billed, held: 0n }]);
  await guard.close();
}

function sum(tallies: readonly Tally[]): { passed: number; refused: number } {
  const refused = (tally: Tally): number => Object.values(tally.blocked).reduce((a, b) => a + b, 0);
  return {
    passed: tallies.reduce((total, tally) => total + tally.passed, 0),
    refused: tallies.reduce((total, tally) => total + refused(tally), 0),
  };
}

describe('a cap with room for exactly K calls', () => {
  it('lets K of 1,000 concurrent calls of one process pass', async () => {
    await using simulator = await loadSimulator();
    const load = { dir: temporaryFolder(), url: simulator.url, capTokens: 300 * LIMIT + 99, limit: LIMIT };
    const guard = loadGuard(load);
    const tally = await callMany(guard, load, 1000);
    await guard.close();
    expect(sum([tally])).toEqual({ passed: 300, refused: 700 });
    expect(simulator.requests.length).toBe(300);
    expect(simulator.billed).toBe(300n * ONE_CALL);
    await expectSettled(load, simulator.billed);
  });

  // All at once the room is gone within a few turns of the lock; 16 at a time make each process come back for more.
  it.each([250, 16])('lets K of 4 processes × 250 calls pass, %i of each at a time', async (atOnce) => {
    await using simulator = await loadSimulator();
    const load = { dir: temporaryFolder(), url: simulator.url, capTokens: 300 * LIMIT + 99, limit: LIMIT };
    const workers = await Promise.all([1, 2, 3, 4].map(startWorker));
    const tallies = await runWorkers(workers, { kind: 'many', count: 250, atOnce, ...load });
    console.log('passed by each process:', tallies.map(({ passed }) => passed).join(' '));
    expect(sum(tallies)).toEqual({ passed: 300, refused: 700 });
    if (atOnce < 64) for (const { passed } of tallies) expect(passed).toBeGreaterThan(0);
    expect(simulator.requests.length).toBe(300);
    expect(simulator.billed).toBe(300n * ONE_CALL);
    await expectSettled(load, simulator.billed);
  });
});

describe('calls that use a tenth of their limit, waiting for holds', () => {
  const CAP_TOKENS = 40 * 1000;

  function loadOf(url: string): Load {
    return { dir: temporaryFolder(), url, capTokens: CAP_TOKENS, limit: 1000, waitForHoldsMs: 60_000 };
  }

  async function expectWellUsed(load: Load, billed: bigint, tallies: readonly Tally[]): Promise<void> {
    const share = Number((billed * 10_000n) / (BigInt(CAP_TOKENS) * TOKEN_NANO)) / 100;
    console.log(`${share} % of the cap used by ${sum(tallies).passed} calls:`, JSON.stringify(tallies));
    expect(billed).toBeLessThanOrEqual(BigInt(CAP_TOKENS) * TOKEN_NANO);
    expect(share).toBeGreaterThan(95);
    // Each agent stops at its one refusal, and none of them is for want of patience.
    for (const { blocked } of tallies) expect(Object.keys(blocked)).toEqual(['cap_spent']);
    await expectSettled(load, billed);
  }

  it('use more than 95 % of the cap with 64 agents in one process', async () => {
    await using simulator = await loadSimulator(0.1, 2);
    const load = loadOf(simulator.url);
    const guard = loadGuard(load);
    const tally = await callUntilRefused(guard, load, 64);
    await guard.close();
    await expectWellUsed(load, simulator.billed, [tally]);
  });

  it('use more than 95 % of the cap with 16 agents in each of 4 processes', async () => {
    await using simulator = await loadSimulator(0.1, 2);
    const load = loadOf(simulator.url);
    const workers = await Promise.all([1, 2, 3, 4].map(startWorker));
    const tallies = await runWorkers(workers, { kind: 'until-refused', agents: 16, ...load });
    for (const { passed } of tallies) expect(passed).toBeGreaterThan(0);
    await expectWellUsed(load, simulator.billed, tallies);
  });
});
