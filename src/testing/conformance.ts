/** The suite that every ledger must pass. It takes the test runner as an argument, so it depends on none. */
import { blockedError } from '../errors.ts';
import type { GuardedCall } from '../guarded-call.ts';
import type { Ledger } from '../ledgers/ledger.ts';
import { expiryDrafts } from '../record.ts';
import { signerFromSeed } from '../receipts/keys.ts';
import type { Receipt } from '../receipts/payloads.ts';
import {
  balancesOf,
  bothBalances,
  callOf,
  guardOn,
  markDraft,
  ofType,
  policyOf,
  range,
  receiptsOf,
  refusal,
  settleAt,
  settlementDraft,
  TOKEN_NANO,
  totalCap,
  verdictOn,
  type LedgerUnderTest,
  type TestRunner,
} from './conformance-kit.ts';

export type { LedgerUnderTest, TestRunner } from './conformance-kit.ts';

type Expect = TestRunner['expect'];

interface Bench {
  ledger: Ledger;
  /** `ledger` and, where the log can be opened more than once, others on the same log. */
  writers: Ledger[];
  /** Closes every writer and opens the log again; `undefined` where that can't be done. */
  reopen: (() => Promise<Ledger>) | undefined;
  expect: Expect;
}

type Scenario = (bench: Bench) => Promise<void>;

/** Runs the suite on a ledger. Needs nothing of the ledger but its interface, and real time for a few leases. */
export function ledgerConformance({ describe, it, expect }: TestRunner, under: LedgerUnderTest): void {
  describe(`${under.name}: ledger conformance`, () => {
    for (const [name, scenario] of Object.entries({ ...LOG, ...HOLDS, ...WAITING, ...LIFE })) {
      it(name, async () => {
        const ledger = await under.open();
        const writers = [ledger];
        try {
          while (under.reopen !== undefined && writers.length < (under.processes ?? 1)) {
            writers.push(await under.reopen(ledger));
          }
          await scenario({ ledger, writers, reopen: reopener(under, writers), expect });
        } finally {
          await Promise.all(writers.map((writer) => writer.close()));
        }
      });
    }
  });
}

function reopener({ reopen }: LedgerUnderTest, writers: Ledger[]): Bench['reopen'] {
  if (reopen === undefined) return undefined;
  return async () => {
    for (const writer of writers) await writer.close();
    const again = await reopen(writers[0] as Ledger);
    writers.push(again);
    return again;
  };
}

/** The writer whose turn it is. */
function writerOf({ writers }: Bench, turn: number): Ledger {
  return writers[turn % writers.length] as Ledger;
}

/** Those of many calls that passed. Throws whatever is not a refusal. */
async function passed(calls: readonly Promise<GuardedCall>[]): Promise<GuardedCall[]> {
  const settled = await Promise.allSettled(calls);
  return settled.flatMap((call) => {
    if (call.status === 'fulfilled') return [call.value];
    if (blockedError(call.reason) === undefined) throw call.reason;
    return [];
  });
}

async function expectSound({ ledger, expect }: Bench): Promise<void> {
  const { integrity, cause } = await verdictOn(ledger);
  expect({ integrity, cause }).toEqual({ integrity: 'valid', cause: undefined });
}

const LOG: Record<string, Scenario> = {
  'lets no two of 1,000 concurrent transacts see the same head': async (bench) => {
    const { ledger, expect } = bench;
    const commits = await Promise.all(
      range(1000).map((number) =>
        writerOf(bench, number).transact([], (view) => ({
          drafts: [markDraft(number)],
          result: { seq: view.head.seq, hash: view.head.hash },
        })),
      ),
    );
    expect(new Set(commits.map(({ result }) => result.seq)).size).toBe(1000);
    for (const { result, receipts } of commits) {
      expect(receipts.length).toBe(1);
      const payload = receipts[0]?.payload;
      // Before its first receipt a ledger writes `genesis`, which no transact asked for.
      if (result.seq >= 0) expect(payload?.previousReceiptHash).toBe(result.hash);
      expect(payload?.seq).toBe(Math.max(0, result.seq) + 1);
    }
    expect(ofType(await receiptsOf(ledger), 'policy').length).toBe(1000);
    await expectSound(bench);
  },

  'reads from any seq, oldest first, and returns what it committed': async (bench) => {
    const { ledger, expect } = bench;
    const written: Receipt[] = [];
    for (const number of range(5)) {
      const two = [markDraft(number * 2), markDraft(number * 2 + 1)];
      const { receipts } = await writerOf(bench, number).transact([], () => ({ drafts: two, result: 0 }));
      written.push(...receipts);
    }
    // A ledger may write receipts of its own in between.
    const all = await receiptsOf(ledger);
    expect(all.filter(({ payload }) => payload.type === 'policy')).toEqual(written);
    expect(all.map(({ payload }) => payload.seq)).toEqual(range(all.length));
    for (const from of [0, 1, 7, all.length - 1, all.length, 500]) {
      expect(await receiptsOf(ledger, from)).toEqual(all.slice(from));
    }
  },

  'writes nothing for a transact without drafts': async ({ ledger, expect }) => {
    const look = async (): Promise<number> => {
      const { result, receipts } = await ledger.transact([], (view) => ({
        drafts: [],
        result: view.head.seq,
      }));
      expect(receipts).toEqual([]);
      return result;
    };
    expect(await look()).toBe(-1);
    expect(await receiptsOf(ledger)).toEqual([]);
    await ledger.transact([], () => ({ drafts: [markDraft(1)], result: 0 }));
    expect(await look()).toBe(1);
    expect(await look()).toBe(1);
  },

  'changes nothing when a body throws, and goes on': async (bench) => {
    const { ledger, expect } = bench;
    const refused = new Error('no');
    const fail = (): never => {
      throw refused;
    };
    expect(await refusal(ledger.transact([], fail))).toBe(refused);
    expect(await receiptsOf(ledger)).toEqual([]);
    const mixed = await Promise.allSettled(
      range(30).map((number) =>
        ledger.transact([], () => (number % 3 === 1 ? fail() : { drafts: [markDraft(number)], result: 0 })),
      ),
    );
    expect(mixed.map(({ status }) => status === 'rejected')).toEqual(range(30).map((n) => n % 3 === 1));
    expect(ofType(await receiptsOf(ledger), 'policy').map(({ policy }) => policy['version'])).toEqual(
      range(30).filter((n) => n % 3 !== 1),
    );
    await expectSound(bench);
  },

  'writes all drafts of a transact or none': async (bench) => {
    const { ledger, expect } = bench;
    const bad = { ...markDraft(3), digest: '\ud800' } as ReturnType<typeof markDraft>;
    await ledger.transact([], () => ({ drafts: [markDraft(1)], result: 0 }));
    const before = await receiptsOf(ledger);
    const error = await refusal(ledger.transact([], () => ({ drafts: [markDraft(2), bad], result: 0 })));
    expect(error instanceof Error).toBe(true);
    expect(await receiptsOf(ledger)).toEqual(before);
    await ledger.transact([], () => ({ drafts: [markDraft(4)], result: 0 }));
    expect(ofType(await receiptsOf(ledger), 'policy').map(({ policy }) => policy['version'])).toEqual([1, 4]);
    await expectSound(bench);
  },

  'keeps one valid chain with several signers': async (bench) => {
    const { ledger, expect } = bench;
    const signers = range(4).map((number) => signerFromSeed(new Uint8Array(32).fill(number + 1)));
    const commits = await Promise.all(
      range(40).map((number) => {
        const signer = signers[number % 4];
        const body = () => ({ drafts: [markDraft(number)], result: signer?.kid });
        return writerOf(bench, number).transact([], body, signer === undefined ? {} : { signer });
      }),
    );
    for (const { result, receipts } of commits) expect(receipts[0]?.payload.issuer_id).toBe(result);
    const admitted = ofType(await receiptsOf(ledger), 'key').map(({ kid }) => kid);
    expect(admitted.sort()).toEqual(signers.map(({ kid }) => kid).sort());
    await expectSound(bench);
  },
};

const HOLDS: Record<string, Scenario> = {
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

const WAITING: Record<string, Scenario> = {
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

const LIFE: Record<string, Scenario> = {
  'keeps its balances and its holds when it is opened again': async (bench) => {
    const { ledger, reopen, expect } = bench;
    if (reopen === undefined) return;
    const policy = policyOf([totalCap(1000)]);
    const guard = guardOn(ledger, policy);
    await settleAt(await guard.begin(callOf(100)), 40);
    await guard.begin(callOf(200));
    const before = await balancesOf(guard);
    const again = await reopen();
    expect(await balancesOf(guardOn(again, policy))).toEqual(before);
    const calls = await passed(range(20).map(() => guardOn(again, policy).begin(callOf(100))));
    expect(calls.length).toBe(7);
    await expectSound({ ...bench, ledger: again });
  },

  'closes twice without harm and refuses what comes later': async (bench) => {
    const { ledger, writers, expect } = bench;
    await guardOn(ledger, policyOf([totalCap(1000)])).begin(callOf(100));
    await ledger.flush();
    await Promise.all([...writers, ...writers].map((writer) => writer.close()));
    await ledger.close();
    const refused = await Promise.all([
      refusal(ledger.transact([], () => ({ drafts: [], result: 0 }))),
      refusal(ledger.transact([], () => ({ drafts: [markDraft(1)], result: 0 }))),
      refusal(ledger.balances([])),
    ]);
    expect(refused.map((error) => (error as { code?: unknown } | undefined)?.code)).toEqual(
      range(3).map(() => 'ledger_unavailable'),
    );
    const closings = ofType(await receiptsOf(ledger), 'close');
    expect(closings.map((close) => close.open_holds)).toEqual([1]);
    await expectSound(bench);
  },
};
