/** The suite that every ledger must pass. It takes the test runner as an argument, so it depends on none. */
import type { Ledger } from '../ledgers/ledger.ts';
import { signerFromSeed } from '../receipts/keys.ts';
import type { Receipt } from '../receipts/payloads.ts';
import { HOLDS, WAITING } from './conformance-holds.ts';
import { MARKS } from './conformance-marks.ts';
import {
  balancesOf,
  callOf,
  expectSound,
  guardOn,
  markDraft,
  ofType,
  passed,
  policyOf,
  range,
  receiptsOf,
  refusal,
  settleAt,
  totalCap,
  writerOf,
  type Bench,
  type LedgerUnderTest,
  type Scenario,
  type TestRunner,
} from './conformance-kit.ts';

export type { LedgerUnderTest, TestRunner } from './conformance-kit.ts';

/** Runs the suite on a ledger. Needs nothing of the ledger but its interface, and real time for a few leases. */
export function ledgerConformance({ describe, it, expect }: TestRunner, under: LedgerUnderTest): void {
  describe(`${under.name}: ledger conformance`, () => {
    for (const [name, scenario] of Object.entries({ ...LOG, ...HOLDS, ...WAITING, ...MARKS, ...LIFE })) {
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
