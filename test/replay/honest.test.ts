/** What honest guards write follows from itself, whatever happened to them. */
import { expect, it } from 'vitest';
import { memoryLedger } from '../../src/ledgers/memory.ts';
import type { Ledger } from '../../src/ledgers/ledger.ts';
import { fileLedger } from '../../src/node/file-ledger/index.ts';
import { blockedError } from '../../src/errors.ts';
import { guardWith } from '../../src/guard.ts';
import type { Draft } from '../../src/receipts/payloads.ts';
import { Replay, type ReplayVerdict } from '../../src/replay.ts';
import {
  callOf,
  policyOf,
  range,
  refusal,
  settleAt,
  TOKEN_NANO,
  totalCap,
} from '../../src/testing/conformance-kit.ts';
import { testPrices } from '../../src/testing/test-guard.ts';
import { temporaryFolder } from '../node/temporary-folder.ts';
import { makeControlledTraffic } from './controlled-traffic.ts';
import { makeTraffic, TRAFFIC_START } from './traffic.ts';

type Counts = Record<string, number>;

async function replayed(ledger: Ledger, seen: Counts = {}): Promise<ReplayVerdict & { receipts: number }> {
  const replay = new Replay();
  let receipts = 0;
  const count = (what: string): void => {
    seen[what] = (seen[what] ?? 0) + 1;
  };
  for await (const receipt of ledger.read()) {
    receipts += 1;
    replay.add(receipt);
    const { payload } = receipt;
    count(payload.type);
    if (payload.type === 'settlement') count(payload.outcome);
    if (payload.type !== 'decision') continue;
    count(payload.reason);
    count(`limit ${payload.route?.limit ?? 'of nothing'}`);
    if (payload.shadow !== undefined) count('shadow');
    for (const mark of ['granted', 'approved', 'rungs', 'uncounted'] as const)
      if (payload[mark] !== undefined) count(`has ${mark}`);
    if (payload.request.capabilities?.some((each) => each.replayed)) count('has replayed');
  }
  return { ...replay.verdict(), receipts };
}

it('100,000 receipts of random traffic', { timeout: 300_000 }, async () => {
  const seen: Counts = {};
  let receipts = 0;
  for (let seed = 1; receipts < 100_000; seed++) {
    const clock = { now: TRAFFIC_START };
    const ledger = memoryLedger({ now: () => clock.now });
    await makeTraffic({ seed, calls: 20_000, clock, ledgers: [ledger], clockJumps: seed % 2 === 0 });
    await ledger.close();
    const verdict = await replayed(ledger, seen);
    expect(verdict.problem, `seed ${seed}`).toBeUndefined();
    expect(verdict.replay).toBe('follows');
    receipts += verdict.receipts;
  }
  console.log('the replay saw', JSON.stringify(seen));
  // Without these it would show nothing.
  const needed = ['within_caps', 'over_soft_cap', 'cap_spent', 'cap_held', 'cap_per_call', 'clock', 'shadow'];
  const rare = [
    'expired',
    'adjustment',
    'limit clamped',
    'limit injected',
    'limit model',
    'no_route',
    'policy',
  ];
  for (const what of [...needed, ...rare]) expect(seen[what] ?? 0, what).toBeGreaterThan(20);
});

it(
  '100,000 receipts of traffic with grants, freezes, approvals and late costs',
  { timeout: 900_000 },
  async () => {
    const seen: Counts = {};
    let receipts = 0;
    for (let seed = 101; receipts < 100_000; seed++) {
      const clock = { now: TRAFFIC_START };
      const ledger = memoryLedger({ now: () => clock.now });
      await makeControlledTraffic({ seed, calls: 15_000, clock, ledger });
      await ledger.close();
      const verdict = await replayed(ledger, seen);
      expect(verdict.problem, `seed ${seed}`).toBeUndefined();
      expect(verdict.replay).toBe('follows');
      receipts += verdict.receipts;
    }
    console.log('the replay saw', JSON.stringify(seen));
    const needed = [
      'grant',
      'freeze',
      'approval',
      'alert',
      'adjustment',
      'expired',
      'frozen',
      'not_approved',
    ];
    for (const what of needed) expect(seen[what] ?? 0, what).toBeGreaterThan(20);
    for (const what of ['granted', 'approved', 'replayed', 'rungs', 'uncounted'])
      expect(seen[`has ${what}`] ?? 0, what).toBeGreaterThan(20);
  },
);

it(
  'a file ledger that is closed and opened again, with snapshots between',
  { timeout: 120_000 },
  async () => {
    const dir = temporaryFolder();
    const clock = { now: TRAFFIC_START };
    for (const seed of [11, 12, 13]) {
      const ledger = fileLedger({ dir, durability: 'os', now: () => clock.now });
      await makeTraffic({ seed, calls: 1500, clock, ledgers: [ledger], clockJumps: seed === 12 });
      await ledger.close();
    }
    const seen: Counts = {};
    const verdict = await replayed(fileLedger({ dir }), seen);
    expect(verdict).toMatchObject({ replay: 'follows' });
    expect(seen['snapshot']).toBeGreaterThan(5);
    expect(seen['clock']).toBeGreaterThan(0);
    expect(verdict.receipts).toBeGreaterThan(4000);
  },
);

it('a clock that was wrong for long: what was spent before still counts when it is set back', async () => {
  const clock = { now: TRAFFIC_START };
  const ledger = memoryLedger({ now: () => clock.now });
  const policy = policyOf([totalCap(1000, { window: 'per_day' })]);
  const guard = guardWith(
    { policy, ledger, waitForHoldsMs: 0 },
    {
      now: () => clock.now,
      priceOf: testPrices({ 'conformance/model': { inputCentsPerKtok: 0, outputCentsPerKtok: '0.1' } }),
    },
  );
  await settleAt(await guard.begin(callOf(900)), 900);
  clock.now += 3 * 86_400_000;
  // Long enough for closed windows to leave memory.
  for (const _ of range(300)) await settleAt(await guard.begin(callOf(1)), 1);
  const wrong = clock.now;
  clock.now -= 3 * 86_400_000;
  const text = (time: number): string => new Date(time).toISOString();
  const draft: Draft = { type: 'clock', from: text(wrong), to: text(clock.now) };
  await ledger.transact([], () => ({ drafts: [draft], result: undefined }));
  const [balance] = await guard.balances();
  expect(balance?.spent).toBe(900n * TOKEN_NANO);
  expect(blockedError(await refusal(guard.begin(callOf(101))))?.reason).toBe('cap_spent');
  await settleAt(await guard.begin(callOf(100)), 100);
  await ledger.close();
  expect(await replayed(ledger)).toMatchObject({ replay: 'follows' });
});
