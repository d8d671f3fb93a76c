/** What a ledger must remember beside balances: freezes, grants, used capabilities, rungs of tasks, alerts. */
import type { SpendCap } from '../policy.ts';
import type { SpendGuardOptions } from '../options.ts';
import {
  callOf,
  expectSound,
  guardOn,
  ofType,
  policyOf,
  range,
  receiptsOf,
  refusal,
  RUNG,
  settleAt,
  totalCap,
  writerOf,
  type Bench,
  type Scenario,
} from './conformance-kit.ts';

/** The log as every writer sees it, and again after it was opened anew. */
async function everywhere(bench: Bench, look: (ledger: Bench['ledger']) => Promise<void>): Promise<void> {
  for (const writer of bench.writers) await look(writer);
  const again = await bench.reopen?.();
  if (again !== undefined) await look(again);
  await expectSound(again === undefined ? bench : { ...bench, ledger: again });
}

async function reasonOf(promise: Promise<unknown>): Promise<unknown> {
  return ((await refusal(promise)) as { reason?: unknown } | undefined)?.reason;
}

/** Takes every token at its word: what is tried here is that the ledger remembers which were used. */
const VERIFIER: NonNullable<SpendGuardOptions['capabilities']> = {
  verify: (token) =>
    Promise.resolve({ issuer: 'i', jti: token, names: ['read_only'], expires: Date.now() + 600_000 }),
};

export const MARKS: Record<string, Scenario> = {
  'stops a frozen scope at the next decision of every writer': async (bench) => {
    const policy = policyOf([totalCap(1e6)]);
    await guardOn(bench.ledger, policy).freeze({ userId: 'a' });
    await everywhere(bench, async (ledger) => {
      const guard = guardOn(ledger, policy);
      bench.expect(await reasonOf(guard.begin(callOf(1, { userId: 'a' })))).toBe('frozen');
      bench.expect(await reasonOf(guard.begin(callOf(1, { userId: 'b' })))).toBe(undefined);
    });
  },

  'counts a grant at the next decision of every writer, until it ends': async (bench) => {
    const policy = policyOf([totalCap(100)]);
    const guard = guardOn(bench.ledger, policy);
    await settleAt(await guard.begin(callOf(100)), 100);
    const until = new Date(Date.now() + 3_600_000);
    await guard.grant({ policyId: policy.id, cap: 0, usd: '0.0001', until });
    await everywhere(bench, async (ledger) => {
      bench.expect((await guardOn(ledger, policy).preview(callOf(100))).decision).toBe('allow');
      bench.expect((await guardOn(ledger, policy).preview(callOf(101))).decision).toBe('block');
    });
  },

  'lets a capability be used once, by whichever writer': async (bench) => {
    const policy = policyOf([totalCap(1e6)]);
    const use = (ledger: Bench['ledger'], token: string): Promise<unknown> =>
      reasonOf(
        guardOn(ledger, policy, { capabilities: VERIFIER }).begin({ ...callOf(1), capability: token }),
      );
    const answers = await Promise.all(range(12).map((number) => use(writerOf(bench, number), 'one')));
    bench.expect(answers.filter((reason) => reason === undefined).length).toBe(1);
    await everywhere(bench, async (ledger) => {
      bench.expect(await use(ledger, 'one')).toBe('capability_invalid');
    });
  },

  'keeps a task on its rung, for every writer': async (bench) => {
    const soft: SpendCap = {
      ...totalCap(100),
      action: 'downgrade',
      downgradeTo: RUNG,
      sticky: 'task',
    };
    const policy = policyOf([soft]);
    const guard = guardOn(bench.ledger, policy);
    const call = callOf(100, { taskId: 't' });
    await settleAt(await guard.begin(call), 100);
    await guard.begin({ ...call, maxOutputTokens: 1e6 });
    await guard.grant({ policyId: policy.id, cap: 0, usd: 1, forMs: 3_600_000 });
    await everywhere(bench, async (ledger) => {
      const routes = await Promise.all(
        ['t', 'u'].map((taskId) => guardOn(ledger, policy).preview({ ...call, scope: { taskId } })),
      );
      bench.expect(routes.map(({ route }) => route?.model)).toEqual([RUNG, call.model]);
    });
  },

  'gives each alert once, among all writers': async (bench) => {
    const { expect } = bench;
    const policy = policyOf([totalCap(100, { action: 'allow', alerts: [0.5, 1] })]);
    const given: number[] = [];
    const spend = async (ledger: Bench['ledger']): Promise<void> => {
      const guard = guardOn(ledger, policy, { onAlert: ({ share }) => given.push(share) });
      await settleAt(await guard.begin(callOf(20)), 20);
      await guard.flush();
    };
    await Promise.all(range(10).map((number) => spend(writerOf(bench, number))));
    given.sort((a, b) => a - b);
    expect(given).toEqual([0.5, 1]);
    await everywhere(bench, spend);
    expect(given).toEqual([0.5, 1]);
    const log = bench.writers.at(-1) ?? bench.ledger;
    expect(ofType(await receiptsOf(log), 'alert').length).toBe(2);
  },
};
