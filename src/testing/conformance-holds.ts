/** The part of the conformance suite that is about money: holds, how they end, and waiting for them. */
import { blockedError } from '../errors.ts';
import { expiryDrafts } from '../record.ts';
import {
  balancesOf,
  bothBalances,
  callOf,
  expectSound,
  guardOn,
  ofType,
  passed,
  policyOf,
  range,
  receiptsOf,
  refusal,
  settleAt,
  settlementDraft,
  TOKEN_NANO,
  totalCap,
  writerOf,
  type Scenario,
} from './conformance-kit.ts';

export const HOLDS: Record<string, Scenario> = {
  'lets exactly K of N concurrent calls pass': async (bench) => {
    const { expect } = bench;
    const guards = bench.writers.map((writer) => guardOn(writer, policyOf([totalCap(700)])));
    const calls = await passed(
      range(200).map((turn) => (guards[turn % guards.length] as (typeof guards)[0]).begin(callOf(100))),
    );
    expect(calls.length).toBe(7);
    const [guard] = guards as [(typeof guards)[0]];
    const full = { window: 'total', spent: '0', held: (700n * TOKEN_NANO).toString() };
    expect(await balancesOf(guard)).toEqual([full]);
    await Promise.all(calls.map((call) => settleAt(call, 100)));
    expect(await balancesOf(guard)).toEqual([{ window: 'total', spent: full.held, held: '0' }]);
    expect(blockedError(await refusal(guard.begin(callOf(1))))?.reason).toBe('cap_spent');
    const decided = ofType(await receiptsOf(bench.ledger), 'decision');
    expect(decided.filter(({ decision }) => decision === 'allow').length).toBe(7);
    expect(decided.length).toBe(201);
    await expectSound(bench);
  },

  'holds on every cap of every policy, or on none': async (bench) => {
    const { ledger, expect } = bench;
    const wide = policyOf([totalCap(1000), totalCap(900, { per: ['teamId'] })], { id: 'wide' });
    const narrow = policyOf([totalCap(300, { per: ['userId'] }), totalCap(2000, { per: ['agentId'] })], {
      id: 'narrow',
      scope: { teamId: 'red' },
    });
    const scope = { teamId: 'red', userId: 'ann', agentId: 'a1' };
    const guard = guardOn(ledger, [wide, narrow]);
    const calls = await passed(range(20).map(() => guard.begin(callOf(100, scope))));
    expect(calls.length).toBe(3);
    const held = (300n * TOKEN_NANO).toString();
    expect(await balancesOf(guard, [scope])).toEqual(
      range(4).map(() => ({ window: 'total', spent: '0', held })),
    );
    // Another user has room in `narrow`, but the team and the whole only as far as they go.
    const others = await passed(
      range(20).map((number) => guard.begin(callOf(100, { ...scope, userId: `u${number}` }))),
    );
    expect(others.length).toBe(6);
    expect((await guard.balances(scope)).map((cap) => cap.held / TOKEN_NANO)).toEqual([
      900n,
      900n,
      300n,
      900n,
    ]);
    await expectSound(bench);
  },

  'ends a hold exactly once, whoever comes first': async (bench) => {
    const { ledger, expect } = bench;
    const guard = guardOn(ledger, policyOf([totalCap(1000)]));
    const call = await guard.begin(callOf(100));
    const ends = await Promise.all(
      range(50).map((number) =>
        writerOf(bench, number).transact([], (view) => ({
          drafts: view.hold(call.id) === undefined ? [] : [settlementDraft(call.id, BigInt(number + 1))],
          result: number + 1,
        })),
      ),
    );
    const winners = ends.filter(({ receipts }) => receipts.length > 0);
    expect(winners.length).toBe(1);
    expect(await balancesOf(guard)).toEqual([
      { window: 'total', spent: String(winners[0]?.result), held: '0' },
    ]);
    const again = await guard.begin(callOf(100));
    const answers = await Promise.all([settleAt(again, 10), settleAt(again, 20), settleAt(again, 30)]);
    expect(new Set(answers.map(({ receipt }) => receipt?.hash)).size).toBe(1);
    expect(ofType(await receiptsOf(ledger), 'settlement').length).toBe(2);
  },

  'expires a hold once at its full amount; a late settle is one adjustment': async (bench) => {
    const { ledger, expect } = bench;
    const policy = policyOf([totalCap(1000), totalCap(2000, { per: ['userId'] })]);
    const scope = { userId: 'ann' };
    const guard = guardOn(ledger, policy);
    const call = await guardOn(ledger, policy, { leaseMs: 1 }).begin(callOf(100, scope));
    for (let due = 0; due === 0;) {
      const look = await ledger.transact([], (view) => ({ drafts: [], result: view.dueHolds().length }));
      due = look.result;
    }
    await Promise.all(
      range(20).map((number) =>
        writerOf(bench, number).transact([], (view) => ({ drafts: expiryDrafts(view), result: 0 })),
      ),
    );
    const full = (100n * TOKEN_NANO).toString();
    expect(await balancesOf(guard, [scope])).toEqual(
      range(2).map(() => ({ window: 'total', spent: full, held: '0' })),
    );
    await settleAt(call, 30);
    await settleAt(call, 40);
    const receipts = await receiptsOf(ledger);
    const ends = ofType(receipts, 'settlement').map(({ outcome, cost }) => [outcome, cost.amount]);
    expect(ends).toEqual([['expired', full]]);
    expect(ofType(receipts, 'adjustment').map(({ change, previous }) => [change, previous])).toEqual([
      [(-70n * TOKEN_NANO).toString(), full],
    ]);
    const spent = (30n * TOKEN_NANO).toString();
    expect(await balancesOf(guard, [scope])).toEqual(
      range(2).map(() => ({ window: 'total', spent, held: '0' })),
    );
    await expectSound(bench);
  },

  'has the balances that a replay of its receipts gives': async (bench) => {
    const { expect } = bench;
    const policies = [
      policyOf([totalCap(100_000), totalCap(50_000, { per: ['userId'] })], { id: 'a' }),
      policyOf([totalCap(30_000, { per: ['agentId'] })], { id: 'b' }),
    ];
    const guards = bench.writers.map((writer) => guardOn(writer, policies));
    const scopes = range(6).map((n) => ({ userId: `u${n % 3}`, agentId: `a${n % 2}` }));
    const run = async (number: number): Promise<void> => {
      const guard = guards[number % guards.length] as (typeof guards)[0];
      const call = await guard.begin(callOf(200 + number, scopes[number % 6]));
      if (number % 7 === 0) return;
      if (number % 5 === 0) await call.settle({ outcome: 'not_sent' });
      else if (number % 3 === 0) await call.settle({ outcome: 'aborted' });
      else await settleAt(call, 1 + ((number * 37) % 200));
    };
    await Promise.allSettled(range(300).map(run));
    for (const writer of bench.writers) {
      const { kept, replayed } = await bothBalances(writer);
      expect(kept).toEqual(replayed);
      expect(kept.length).toBe(6);
    }
    await expectSound(bench);
  },
};

const LONG_MS = 60_000;

export const WAITING: Record<string, Scenario> = {
  'lets calls wait for holds, in the order in which they came': async (bench) => {
    const { ledger, expect } = bench;
    const guard = guardOn(ledger, policyOf([totalCap(120)]), { waitForHoldsMs: LONG_MS });
    const first = await guard.begin(callOf(100));
    const order: number[] = [];
    const waiting = range(10).map(async (number) => {
      const call = await guard.begin(callOf(100));
      order.push(number);
      await settleAt(call, 1);
    });
    await ledger.transact([], () => ({ drafts: [], result: 0 }));
    expect(order).toEqual([]);
    await settleAt(first, 1);
    await Promise.all(waiting);
    expect(order).toEqual(range(10));
    expect(await balancesOf(guard)).toEqual([
      { window: 'total', spent: (11n * TOKEN_NANO).toString(), held: '0' },
    ]);
  },

  'stops waiting when the caller gives up, and holds nothing for it': async (bench) => {
    const { ledger, expect } = bench;
    const guard = guardOn(ledger, policyOf([totalCap(120)]), { waitForHoldsMs: LONG_MS });
    const first = await guard.begin(callOf(100));
    const leaving = new AbortController();
    const left = refusal(guard.begin({ ...callOf(100), signal: leaving.signal }));
    const behind = guard.begin(callOf(100));
    const reason = new Error('gone');
    leaving.abort(reason);
    expect(await left).toBe(reason);
    await settleAt(first, 1);
    await settleAt(await behind, 1);
    expect(ofType(await receiptsOf(ledger), 'decision').length).toBe(2);
    expect(await balancesOf(guard)).toEqual([
      { window: 'total', spent: (2n * TOKEN_NANO).toString(), held: '0' },
    ]);
  },

  'refuses a call at last when the holds stay': async ({ ledger, expect }) => {
    const guard = guardOn(ledger, policyOf([totalCap(120)]), { waitForHoldsMs: 60 });
    await guard.begin(callOf(100));
    const errors = await Promise.all(range(3).map(() => refusal(guard.begin(callOf(100)))));
    expect(errors.map((error) => blockedError(error)?.reason)).toEqual(range(3).map(() => 'cap_held'));
  },
};
