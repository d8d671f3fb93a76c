/** What a simulation says of a policy, against what a guard really does under that policy with the same calls. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { blockedError, parsePolicy, type SpendCap, type SpendPolicy } from '../../../src/index.ts';
import type { GuardedCall } from '../../../src/guarded-call.ts';
import { Simulation } from '../../../src/node/simulate/simulation.ts';
import { UsageShares } from '../../../src/node/simulate/usage-shares.ts';
import type { Payload } from '../../../src/receipts/payloads.ts';
import type { SpendRequest } from '../../../src/request.ts';
import { testGuard } from '../../../src/testing/index.ts';

const HAIKU = 'anthropic/claude-haiku-4-5';
const SONNET = 'anthropic/claude-sonnet-4-6';
const OPUS = 'anthropic/claude-opus-4-7';
const MINI = 'openai/gpt-5-mini';

function policyOf(caps: readonly SpendCap[], more: Partial<SpendPolicy> = {}): SpendPolicy {
  return { id: 'p', scope: {}, version: 1, effectiveFrom: '2026-01-01', caps, ...more };
}

/** Counts, and never refuses; so the log knows the prices of all models. */
const OPEN = policyOf([{ amountCents: 0, window: 'total', action: 'allow' }]);

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

interface Step {
  waitMs: number;
  /** Begins a call; without one, the call of this position among the open ones ends. */
  begin?: Pick<SpendRequest, 'model' | 'inputTokens' | 'maxOutputTokens' | 'scope' | 'claims' | 'fallbacks'>;
  end?: number;
  /** Parts of its bounds that the call uses. */
  used?: number;
}

interface Ran {
  payloads: Payload[];
  /** For each call that was begun, where it went, or why it was refused. */
  outcomes: Map<string, string>;
  settled: bigint;
}

/** The same calls and endings at the same times, under a policy. A call that is refused has no ending. */
async function run(policy: SpendPolicy | SpendPolicy[], steps: readonly Step[]): Promise<Ran> {
  const { guard, clock, receipts } = testGuard({ policy, waitForHoldsMs: 0 });
  const outcomes = new Map<string, string>();
  const open: { call: GuardedCall | undefined; step: NonNullable<Step['begin']> }[] = [];
  for (const { waitMs, begin, end = 0, used = 0.5 } of steps) {
    clock.advance(waitMs);
    if (begin !== undefined) {
      const call = await guard.begin(begin).catch((error: unknown) => {
        const blocked = blockedError(error);
        if (blocked === undefined) throw error;
        outcomes.set(blocked.callId as string, blocked.reason);
        return undefined;
      });
      if (call !== undefined) outcomes.set(call.id, `${call.model} ${call.reason}`);
      open.push({ call, step: begin });
      continue;
    }
    const [ended] = open.splice(open.length === 0 ? 0 : end % open.length, 1);
    await ended?.call?.settle({
      outcome: 'ok',
      usage: {
        inputTokens: Math.floor((ended.step.inputTokens ?? 0) * used),
        outputTokens: Math.floor((ended.step.maxOutputTokens ?? 0) * used),
      },
    });
  }
  // Whoever writes last expires what was never settled.
  clock.advance(HOUR);
  await guard
    .charge({ label: 'last', usd: 0, scope: { userId: 'alice', taskId: 't1' } })
    .catch(() => undefined);
  const payloads = (await receipts()).map(({ payload }) => payload);
  const settled = payloads.reduce((sum, payload) => {
    if (payload.type === 'settlement') return sum + BigInt(payload.cost.amount);
    return payload.type === 'adjustment' ? sum + BigInt(payload.change) : sum;
  }, 0n);
  return { payloads, outcomes, settled };
}

interface Simulated {
  simulation: Simulation;
  outcomes: Map<string, string>;
}

function simulate(payloads: readonly Payload[], policy: SpendPolicy | SpendPolicy[]): Simulated {
  const shares = new UsageShares();
  for (const payload of payloads) shares.add(payload);
  const outcomes = new Map<string, string>();
  const simulation = new Simulation([policy].flat().map(parsePolicy), shares, (call, { route, reason }) =>
    outcomes.set(call, route === undefined ? reason : `${route.model} ${reason}`),
  );
  for (const payload of payloads) simulation.add(payload);
  return { simulation, outcomes };
}

const step: fc.Arbitrary<Step> = fc
  .record({
    waitMs: fc.constantFrom(0, 1, 400, 3 * SECOND, 20 * SECOND, 5 * MINUTE, 16 * MINUTE, 9 * 60 * MINUTE),
    isEnd: fc.constantFrom(false, false, true),
    end: fc.nat(5),
    used: fc.constantFrom(0, 0.2, 0.7, 1),
    model: fc.constantFrom(OPUS, SONNET, HAIKU, MINI),
    inputTokens: fc.constantFrom(0, 1000, 20_000),
    maxOutputTokens: fc.constantFrom(1, 500, 4000),
    userId: fc.constantFrom('alice', 'bob', undefined),
    task: fc.constantFrom('code-review', 'chat'),
    taskId: fc.constantFrom('t1', 't2', undefined),
  })
  .map(({ waitMs, isEnd, end, used, userId, task, taskId, ...request }) =>
    isEnd
      ? { waitMs, end, used }
      : {
          waitMs,
          begin: { ...request, scope: { task, ...(userId && { userId }), ...(taskId && { taskId }) } },
        },
  );

const cap: fc.Arbitrary<SpendCap> = fc
  .record({
    amountCents: fc.constantFrom(1, 5, 12, 30, 80),
    window: fc.constantFrom('per_call', 'per_minute', 'per_hour', 'per_day', 'per_task', 'total'),
    action: fc.constantFrom('block', 'block', 'downgrade', 'shadow', 'allow'),
    downgradeTo: fc.constantFrom(HAIKU, MINI, [SONNET, MINI]),
    per: fc.constantFrom(undefined, undefined, ['userId'] as const),
    models: fc.constantFrom(undefined, undefined, 'anthropic/*', OPUS),
    sticky: fc.constantFrom(undefined, 'task' as const),
  })
  .map(({ downgradeTo, sticky, per, models, ...rest }) => ({
    ...rest,
    ...(per && { per }),
    ...(models && { models }),
    ...(rest.action === 'downgrade' && { downgradeTo, ...(sticky && { sticky }) }),
  })) as fc.Arbitrary<SpendCap>;

const rules: fc.Arbitrary<SpendPolicy['rules']> = fc.constantFrom<SpendPolicy['rules']>(
  undefined,
  undefined,
  [{ when: { task: 'code-review' }, routeTo: HAIKU }],
  [{ models: ['anthropic/*', MINI] }],
  [{ when: { task: 'chat' }, maxPrice: '5' }],
);

const policy: fc.Arbitrary<SpendPolicy> = fc
  .record({ caps: fc.array(cap, { minLength: 1, maxLength: 4 }), rules })
  .map(({ caps, rules: some }) =>
    policyOf(caps, { timeZone: 'Europe/Berlin', ...(some && { rules: some }) }),
  );

describe('a simulation', () => {
  it('decides every call as a guard did under the same policy, and it costs the same', async () => {
    let blocked = 0;
    let moved = 0;
    await fc.assert(
      fc.asyncProperty(policy, fc.array(step, { minLength: 5, maxLength: 40 }), async (given, steps) => {
        const truth = await run(given, steps);
        const { simulation, outcomes } = simulate(truth.payloads, given);
        expect(Object.fromEntries(outcomes)).toMatchObject(Object.fromEntries(truth.outcomes));
        const { total } = simulation.tally;
        expect(total).toMatchObject({
          blocked: 0,
          rerouted: 0,
          letThrough: 0,
          before: truth.settled,
          after: truth.settled,
        });
        blocked += simulation.tally.stillBlocked;
        for (const payload of truth.payloads)
          if (payload.type === 'decision' && payload.decision === 'downgrade') moved += 1;
      }),
      { numRuns: 120 },
    );
    // Else the property would say nothing.
    expect(blocked).toBeGreaterThan(80);
    expect(moved).toBeGreaterThan(40);
  });

  it('foretells what a guard does under another policy, call by call and to the nano-dollar', async () => {
    let blocked = 0;
    let moved = 0;
    await fc.assert(
      fc.asyncProperty(policy, fc.array(step, { minLength: 5, maxLength: 40 }), async (given, steps) => {
        const log = await run(OPEN, steps);
        const truth = await run(given, steps);
        const { simulation, outcomes } = simulate(log.payloads, given);
        expect(Object.fromEntries(outcomes)).toMatchObject(Object.fromEntries(truth.outcomes));
        const { total } = simulation.tally;
        expect(total.before).toBe(log.settled);
        expect(total.after).toBe(truth.settled);
        blocked += total.blocked;
        moved += total.rerouted;
      }),
      { numRuns: 120 },
    );
    expect(blocked).toBeGreaterThan(80);
    expect(moved).toBeGreaterThan(40);
  });

  it('applies grants and freezes as the log has them', async () => {
    const tight = policyOf([{ amountCents: 5, window: 'total', action: 'block' }]);
    const { guard, receipts } = testGuard({ policy: tight, waitForHoldsMs: 0 });
    const charge = (): Promise<unknown> =>
      guard.charge({ label: 'search', usd: '0.05' }).catch(() => undefined);
    await charge();
    await charge();
    await guard.grant({ policyId: 'p', cap: 0, usd: '0.05', forMs: HOUR });
    await charge();
    await guard.freeze({});
    await charge();
    const payloads = (await receipts()).map(({ payload }) => payload);
    const same = simulate(payloads, tight);
    expect([...same.outcomes.values()]).toEqual([
      'search within_caps',
      'cap_spent',
      'search within_caps',
      'frozen',
    ]);
    expect(same.simulation.tally.total).toMatchObject({
      blocked: 0,
      letThrough: 0,
      before: 100_000_000n,
      after: 100_000_000n,
    });
    // The grant is for a cap of another policy now, and the freeze is for everybody.
    const other = simulate(payloads, { ...tight, id: 'q' });
    expect([...other.outcomes.values()]).toEqual(['search within_caps', 'cap_spent', 'cap_spent', 'frozen']);
  });

  it('corrects a call that was settled late, here as there', async () => {
    const { guard, clock, receipts } = testGuard({ policy: OPEN, waitForHoldsMs: 0 });
    const call = await guard.begin({ model: OPUS, inputTokens: 1000, maxOutputTokens: 1000 });
    clock.advance(HOUR);
    // Expires the first call at its hold.
    await guard.charge({ label: 'search', usd: 0 });
    await call.settle({ outcome: 'ok', usage: { inputTokens: 1000, outputTokens: 100 } });
    const payloads = (await receipts()).map(({ payload }) => payload);
    expect(payloads.map(({ type }) => type)).toContain('adjustment');
    const { simulation } = simulate(payloads, policyOf([], { rules: [{ routeTo: HAIKU }] }));
    // $5 in and $25 out per million tokens then, $1 and $5 now.
    expect(simulation.tally.total).toMatchObject({ before: 7_500_000n, after: 1_500_000n, rerouted: 1 });
  });

  it('judges policies in shadow mode as if they were enforced', async () => {
    const steps: Step[] = [{ waitMs: 0, begin: { model: OPUS, inputTokens: 1000, maxOutputTokens: 1000 } }];
    const { payloads } = await run(OPEN, steps);
    const shadow = policyOf([{ amountCents: 1, window: 'total', action: 'block' }], { mode: 'shadow' });
    const { simulation } = simulate(payloads, shadow);
    expect(simulation.tally.total.blocked).toBe(1);
    expect(simulation.shadow).toEqual(['p']);
  });

  it('knows which capabilities the log knows of', async () => {
    const asks = policyOf([], { rules: [{ requires: 'data_write' }] });
    const steps: Step[] = [
      { waitMs: 0, begin: { model: MINI, inputTokens: 1, maxOutputTokens: 1, claims: ['data_write'] } },
      { waitMs: 0, begin: { model: MINI, inputTokens: 1, maxOutputTokens: 1, claims: ['payment_execute'] } },
    ];
    const { payloads } = await run(asks, steps);
    const pays = simulate(payloads, policyOf([], { rules: [{ requires: 'payment_execute' }] }));
    // A tier was asked for, so the highest was recorded: the first call did not have it.
    expect([...pays.outcomes.values()].slice(0, 2)).toEqual(['capability_missing', `${MINI} within_rules`]);
    expect(pays.simulation.tally.assumed.has('capability')).toBe(false);
    const repo = simulate(payloads, policyOf([], { rules: [{ requires: 'repo:write' }] }));
    expect([...repo.outcomes.values()].slice(0, 2)).toEqual([`${MINI} within_rules`, `${MINI} within_rules`]);
    expect(repo.simulation.tally.assumed.get('capability')).toBeGreaterThanOrEqual(2);
    const signed = simulate(payloads, policyOf([], { rules: [{ requires: 'data_write', signed: true }] }));
    expect([...signed.outcomes.values()].slice(0, 2)).toEqual(['capability_missing', 'capability_missing']);
  });
});
