/** What caps do: ask, shadow, allow, count some models only, keep a task on its rung; grants and freezes in code. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import {
  blockedError,
  createSpendGuard,
  memoryLedger,
  type ApprovalQuestion,
  type Ledger,
  type SpendCap,
  type SpendEvent,
  type SpendPolicy,
  type SpendRequest,
} from '../src/index.ts';
import { signerFromSeed } from '../src/receipts/keys.ts';
import { ofType, receiptsOf, verdictOn } from '../src/testing/conformance-kit.ts';
import { testGuard, type TestGuardOptions } from '../src/testing/test-guard.ts';
import { expectRecomputed } from './recompute.ts';

const MINUTE = 60_000;

/** 1000 tokens of output cost $0.05, $0.015 and $0.005; the input costs a fifth of it. */
const PRICES = {
  'v/big': { inputCentsPerKtok: 1, outputCentsPerKtok: 5, cacheReadCentsPerKtok: '0.1' },
  'v/mid': { inputCentsPerKtok: '0.3', outputCentsPerKtok: '1.5' },
  'v/small': { inputCentsPerKtok: '0.1', outputCentsPerKtok: '0.5' },
};

function policy(caps: readonly SpendCap[], more: Partial<SpendPolicy> = {}): SpendPolicy {
  return { id: 'p', scope: {}, caps, version: 1, effectiveFrom: '2020-01-01T00:00:00Z', ...more };
}

function open(caps: readonly SpendCap[], options: TestGuardOptions & { more?: Partial<SpendPolicy> } = {}) {
  const { more, ...rest } = options;
  const world = testGuard({ prices: PRICES, waitForHoldsMs: 0, policy: policy(caps, more), ...rest });
  opened.push(world.ledger);
  return world;
}

const opened: Ledger[] = [];

// Whatever a test did, every decision follows from what the log says.
afterEach(async () => {
  for (const ledger of opened.splice(0)) expectRecomputed(await receiptsOf(ledger));
});

const big: SpendRequest = { model: 'v/big', inputTokens: 0, maxOutputTokens: 1000 };
const ask = (cents: number, more: Partial<SpendCap> = {}): SpendCap => ({
  amountCents: cents,
  window: 'total',
  action: 'ask',
  ...more,
});

async function reason(work: Promise<unknown>): Promise<string | undefined> {
  return work.then(
    () => undefined,
    (error: unknown) => blockedError(error)?.reason ?? String(error),
  );
}

describe('ask', () => {
  it('lets the call pass once somebody approved, with a receipt before the decision’s', async () => {
    const asked: ApprovalQuestion[] = [];
    const world = open([ask(6, { reason: 'ask finance' })], {
      onAsk: (question) => {
        asked.push(question);
        return { approved: true, by: 'carol', reason: 'release day' };
      },
    });
    const { guard } = world;
    await guard.begin(big);
    expect(asked).toEqual([]);
    const call = await guard.begin({ ...big, scope: { userId: 'alice' } });
    expect(asked).toMatchObject([
      {
        callId: call.id,
        model: 'v/big',
        scope: { userId: 'alice' },
        cap: { policyId: 'p', index: 0, reason: 'ask finance' },
        worstCase: 50_000_000n,
        spent: 0n,
        held: 50_000_000n,
      },
    ]);
    const receipts = await receiptsOf(world.ledger);
    const approvals = ofType(receipts, 'approval');
    expect(approvals).toMatchObject([
      { call: call.id, cap: 0, outcome: 'approved', by: 'carol', reason: 'release day', hold: '50000000' },
    ]);
    expect(approvals[0]?.seq).toBe((call.receipt?.payload.seq ?? 0) - 1);
    expect(call.receipt?.payload).toMatchObject({ decision: 'allow', approved: [0] });
    // The yes was for that call alone.
    await guard.begin(big);
    expect(asked).toHaveLength(2);
    expect(await verdictOn(world.ledger)).toMatchObject({ integrity: 'valid' });
  });

  it.each<[string, TestGuardOptions['onAsk'], string]>([
    ['no', () => false, 'denied'],
    ['no, later', async () => ({ approved: false, by: 'carol' }), 'denied'],
    ['a throw', () => Promise.reject(new Error('x')), 'failed'],
    [
      'a throw at once',
      () => {
        throw new Error('x');
      },
      'failed',
    ],
    ['nothing', () => undefined as never, 'denied'],
    ['a word', () => 'yes' as never, 'denied'],
    ['a truthy field', () => ({ approved: 'yes' }) as never, 'denied'],
  ])('%s is a no', async (_what, onAsk, outcome) => {
    const { guard, ledger } = open([ask(1)], onAsk === undefined ? {} : { onAsk });
    expect(await reason(guard.begin(big))).toBe('not_approved');
    const receipts = await receiptsOf(ledger);
    expect(ofType(receipts, 'approval')).toMatchObject([{ outcome }]);
    expect(ofType(receipts, 'decision')).toMatchObject([{ decision: 'block', reason: 'not_approved' }]);
    expect(await guard.balances()).toMatchObject([{ held: 0n }]);
  });

  it('an answer that comes too late is a no', async () => {
    vi.useFakeTimers();
    try {
      let signal: AbortSignal | undefined;
      const { guard, ledger } = open([ask(1)], {
        askTimeoutMs: 30_000,
        onAsk: (question) => {
          ({ signal } = question);
          return new Promise(() => undefined);
        },
      });
      const refused = reason(guard.begin(big));
      await vi.advanceTimersByTimeAsync(29_999);
      expect(signal?.aborted).toBe(false);
      await vi.advanceTimersByTimeAsync(1);
      expect(await refused).toBe('not_approved');
      expect(signal?.aborted).toBe(true);
      expect(ofType(await receiptsOf(ledger), 'approval')).toMatchObject([{ outcome: 'timeout' }]);
    } finally {
      vi.useRealTimers();
    }
  });

  it('with nobody to ask is a block', async () => {
    const { guard, ledger } = open([ask(1)]);
    expect(await reason(guard.begin(big))).toBe('not_approved');
    expect(ofType(await receiptsOf(ledger), 'approval')).toEqual([]);
  });

  it('never gets past a block cap, and isn’t asked where one refuses anyway', async () => {
    let asked = 0;
    const onAsk = (): boolean => ((asked += 1), true);
    const { guard } = open([ask(1), { amountCents: 4, window: 'total', action: 'block' }], { onAsk });
    expect(await reason(guard.begin(big))).toBe('cap_spent');
    expect(asked).toBe(0);
  });

  it('a block cap that filled up while somebody thought still blocks', async () => {
    const { guard } = open([ask(1), { amountCents: 9, window: 'total', action: 'block' }], {
      onAsk: async ({ callId }) => {
        if (callId !== first) return true;
        await guard.charge({ label: 'meanwhile', usd: '0.08' });
        return true;
      },
    });
    const first = 'AAAAAAAAAAAAAAAAAAAAAQ';
    expect(await reason(guard.begin(big))).toBe('cap_spent');
  });

  it('asks about each cap, and again when the call may cost more than was asked', async () => {
    const asked: [number, bigint][] = [];
    // The first answer comes when the soft cap is raised, so that the call goes to the big model after all.
    const soft: SpendCap = { amountCents: 1, window: 'total', action: 'downgrade', downgradeTo: 'v/small' };
    const { guard } = open([soft, ask(2), ask(1, { window: 'per_call', models: 'v/*' })], {
      onAsk: async ({ cap, worstCase }) => {
        asked.push([cap.index, worstCase]);
        if (asked.length === 1) await guard.grant({ policyId: 'p', cap: 0, usd: 1, forMs: MINUTE });
        return true;
      },
    });
    await guard.charge({ label: 'x', usd: '0.02' });
    const call = await guard.begin(big);
    expect(call.model).toBe('v/big');
    expect(asked).toEqual([
      [1, 5_000_000n],
      [1, 50_000_000n],
      [2, 50_000_000n],
    ]);
  });

  it('the caller may leave while somebody thinks', async () => {
    const caller = new AbortController();
    const { guard, ledger } = open([ask(1)], {
      onAsk: () => {
        caller.abort(new Error('left'));
        return new Promise(() => undefined);
      },
    });
    await expect(guard.begin({ ...big, signal: caller.signal })).rejects.toThrow('left');
    expect(ofType(await receiptsOf(ledger), 'decision')).toEqual([]);
    expect(await guard.balances()).toMatchObject([{ held: 0n }]);
  });
});

describe('shadow and allow caps', () => {
  it('a shadow cap records that it would have refused, and changes nothing', async () => {
    const events: SpendEvent[] = [];
    const caps: SpendCap[] = [
      { amountCents: 1, window: 'total', action: 'shadow' },
      { amountCents: 100, window: 'total', action: 'block' },
    ];
    const { guard, ledger } = open(caps, { onEvent: (event) => events.push(event) });
    const call = await guard.begin(big);
    expect(call).toMatchObject({ decision: 'allow', reason: 'within_caps', model: 'v/big' });
    expect(ofType(await receiptsOf(ledger), 'decision')).toMatchObject([
      { shadow: { decision: 'block', reason: 'cap_spent' } },
    ]);
    expect(events).toContainEqual(expect.objectContaining({ type: 'warning', code: 'shadow' }));
  });

  it('shadow and allow caps alone inject no limit and refuse no model, but count', async () => {
    for (const action of ['shadow', 'allow'] as const) {
      const { guard } = open([{ amountCents: 1, window: 'total', action }]);
      const call = await guard.begin({ model: 'v/big', inputTokens: 10 });
      expect(call.maxOutputTokens).toBeUndefined();
      await call.settle({ outcome: 'ok', usage: { inputTokens: 0, outputTokens: 1000 } });
      expect(await guard.balances()).toMatchObject([{ action, spent: 50_000_000n }]);
      const priceless = createSpendGuard({
        policy: policy([{ amountCents: 1, window: 'total', action }]),
        ledger: memoryLedger(),
      });
      const unknown = await priceless.begin({ model: 'nobody/knows', inputTokens: 1 });
      await unknown.settle({ outcome: 'ok', cost: 0.5 });
      expect(await priceless.balances()).toMatchObject([{ spent: 500_000_000n }]);
    }
  });
});

describe('caps on some models', () => {
  const onBig: SpendCap = { amountCents: 6, window: 'total', action: 'block', models: 'v/big' };

  it('count and refuse the calls that may go there, and no others', async () => {
    const { guard, ledger } = open([onBig, { amountCents: 1000, window: 'total', action: 'block' }]);
    const small = await guard.begin({ ...big, model: 'v/small' });
    await guard.begin(big);
    expect(await guard.balances()).toMatchObject([{ held: 50_000_000n }, { held: 55_000_000n }]);
    expect(await reason(guard.begin(big))).toBe('cap_held');
    expect(await reason(guard.begin({ ...big, model: 'v/small', fallbacks: ['v/big'] }))).toBe('cap_held');
    await guard.begin({ ...big, model: 'v/mid' });
    await small.settle({ outcome: 'ok', usage: { inputTokens: 0, outputTokens: 1000 } });
    expect(await guard.balances()).toMatchObject([{ spent: 0n }, { spent: 5_000_000n }]);
    const decisions = ofType(await receiptsOf(ledger), 'decision');
    expect(decisions.map(({ uncounted }) => uncounted)).toEqual([[0], undefined, undefined, undefined, [0]]);
  });

  it('have an account of their own for each set of models, whatever the order', async () => {
    const { guard } = open([
      { ...onBig, amountCents: 900 },
      { ...onBig, amountCents: 800, models: ['v/mid', 'v/big'] },
      { ...onBig, amountCents: 700, models: ['v/big', 'v/mid'] },
    ]);
    await guard.begin({ ...big, model: 'v/mid' });
    expect(await guard.balances()).toMatchObject([
      { held: 0n },
      { held: 15_000_000n },
      { held: 15_000_000n },
    ]);
  });

  it.each([
    ['v/big:free', 'a variant is about its base'],
    ['v/big-20260101', 'a dated version'],
  ])('%s counts, too: %s', async (model) => {
    const { guard } = open([onBig], { prices: { ...PRICES, [model]: PRICES['v/big'] } });
    await guard.begin({ ...big, model });
    expect(await guard.balances()).toMatchObject([{ held: 50_000_000n }]);
  });

  it('a downgrade leaves the account of the dear model alone', async () => {
    const soft: SpendCap = {
      amountCents: 0,
      window: 'per_call',
      action: 'downgrade',
      downgradeTo: 'v/small',
      models: 'v/b*',
    };
    const { guard } = open([soft, onBig]);
    expect((await guard.begin(big)).model).toBe('v/small');
    expect((await guard.begin({ ...big, model: 'v/mid' })).model).toBe('v/mid');
    expect(await guard.balances()).toMatchObject([{ held: 0n }]);
  });

  it('ask for their `per` fields only of the calls that they count', async () => {
    const { guard } = open([{ ...onBig, per: ['userId'] }]);
    await guard.begin({ ...big, model: 'v/small' });
    expect(await reason(guard.begin(big))).toBe('scope_required');
  });
});

describe('sticky rungs', () => {
  const soft: SpendCap = {
    amountCents: 5,
    window: 'per_day',
    action: 'downgrade',
    downgradeTo: ['v/mid', 'v/small'],
    sticky: 'task',
  };

  it('keep a task on its rung in the next window, and no other task', async () => {
    const { guard, clock } = open([soft]);
    const task = (taskId: string): SpendRequest => ({ ...big, scope: { taskId } });
    const spend = async (taskId: string): Promise<string> => {
      const call = await guard.begin(task(taskId));
      await call.settle({ outcome: 'ok', usage: { inputTokens: 0, outputTokens: 1000 } });
      return call.model;
    };
    expect(await spend('a')).toBe('v/big');
    expect(await spend('a')).toBe('v/mid');
    clock.advance(24 * 60 * MINUTE);
    expect(await spend('b')).toBe('v/big');
    clock.advance(24 * 60 * MINUTE);
    expect(await spend('a')).toBe('v/mid');
    expect(await spend('c')).toBe('v/big');
    // a call that asks for a lower rung gets it
    const lower = await guard.begin({ ...task('a'), model: 'v/small' });
    expect(lower).toMatchObject({ decision: 'allow', model: 'v/small' });
    // and a call that names no task is on none
    clock.advance(24 * 60 * MINUTE);
    expect((await guard.begin(big)).model).toBe('v/big');
  });
});

describe('a downgrade and the cache that it loses', () => {
  const soft: SpendCap = {
    amountCents: 1,
    window: 'total',
    action: 'downgrade',
    downgradeTo: ['v/mid', 'v/small'],
  };
  // 10,000 tokens in: $0.10 on the big model, $0.01 from its cache; $0.03 on the middle one, $0.01 on the small one
  const long: SpendRequest = { model: 'v/big', inputTokens: 10_000, maxOutputTokens: 100 };

  async function spent(): Promise<ReturnType<typeof open>> {
    const world = open([soft]);
    await world.guard.charge({ label: 'x', usd: '0.01' });
    return world;
  }

  it('goes to the first rung that costs less than the call with its cache', async () => {
    const { guard, ledger } = await spent();
    expect((await guard.begin(long)).model).toBe('v/mid');
    expect((await guard.begin({ ...long, cachedTokens: 5_000 })).model).toBe('v/mid');
    // $0.015 with the cache against $0.0315 and $0.0105
    expect((await guard.begin({ ...long, cachedTokens: 10_000 })).model).toBe('v/big');
    const decisions = ofType(await receiptsOf(ledger), 'decision');
    expect(decisions.map(({ request }) => request.cached_tokens)).toEqual([
      undefined,
      undefined,
      5000,
      10_000,
    ]);
  });

  it('knows what the last call of the task left in the cache, for five minutes', async () => {
    const { guard, clock } = await spent();
    const scope = { taskId: 't' };
    const first = await guard.begin({ ...long, model: 'v/mid', scope });
    await first.settle({
      outcome: 'ok',
      usage: { inputTokens: 10_000, outputTokens: 1, cacheWriteTokens: 10_000 },
    });
    expect((await guard.preview({ ...long, model: 'v/mid', scope })).decision).toBe('allow');
    const bigOnce = await guard.begin({ ...long, cachedTokens: 10_000, scope });
    await bigOnce.settle({
      outcome: 'ok',
      usage: { inputTokens: 10_000, outputTokens: 1, cacheReadTokens: 10_000 },
    });
    expect((await guard.begin({ ...long, scope })).model).toBe('v/big');
    expect((await guard.begin({ ...long, scope: { taskId: 'u' } })).model).toBe('v/mid');
    clock.advance(5 * MINUTE);
    expect((await guard.begin({ ...long, scope })).model).toBe('v/mid');
  });
});

describe('what a rung can do', () => {
  it('one whose abilities nobody knows is taken, with a warning once', async () => {
    const events: SpendEvent[] = [];
    const soft: SpendCap = {
      amountCents: 0,
      window: 'per_call',
      action: 'downgrade',
      downgradeTo: 'v/small',
    };
    const { guard, ledger } = open([soft], { onEvent: (event) => events.push(event) });
    for (let i = 0; i < 2; i++)
      expect((await guard.begin({ ...big, features: ['tools', 'images'] })).model).toBe('v/small');
    const warnings = events.filter((event) => event.type === 'warning');
    expect(warnings).toMatchObject([
      { code: 'features_unknown', message: expect.stringContaining('images, tools') },
    ]);
    expect(ofType(await receiptsOf(ledger), 'decision')[0]?.request.features).toEqual(['images', 'tools']);
  });
});

it('a refusal by a rule names it', async () => {
  const { guard } = open([], {
    more: {
      rules: [{ requires: 'a' }, { when: { task: 't' }, models: ['v/small', 'v/mid'], reason: 'cheap only' }],
    },
  });
  const error = blockedError(
    await guard.begin({ ...big, claims: ['a'], scope: { task: 't' } }).catch((e: unknown) => e),
  );
  expect(error).toMatchObject({
    reason: 'model_not_allowed',
    rule: { policyId: 'p', index: 1, reason: 'cheap only' },
  });
  expect(error?.message).toBe(
    "v/big was blocked (model_not_allowed): rule 1 of policy p (cheap only) doesn't let it go to v/big. It allows v/small, v/mid.",
  );
});

describe('grants and freezes in code', () => {
  const cap: SpendCap = { amountCents: 6, window: 'total', action: 'block' };

  it('a grant raises one cap until it ends, and is in the decision’s receipt', async () => {
    const { guard, ledger, clock } = open([cap, { ...cap, amountCents: 50 }]);
    await guard.begin(big);
    expect(await reason(guard.begin(big))).toBe('cap_held');
    await guard.grant({ policyId: 'p', cap: 0, usd: '0.05', forMs: MINUTE, by: 'carol', reason: 'demo' });
    const call = await guard.begin(big);
    expect(call.receipt?.payload).toMatchObject({ granted: [[0, '50000000']] });
    expect(await reason(guard.begin(big))).toBe('cap_held');
    await call.settle({ outcome: 'not_sent' });
    clock.advance(MINUTE);
    expect(await reason(guard.begin(big))).toBe('cap_held');
    expect(ofType(await receiptsOf(ledger), 'grant')).toMatchObject([
      { policy: 'p', cap: 0, window: 'total', amount: '50000000', by: 'carol', reason: 'demo', scope: {} },
    ]);
    expect(await verdictOn(ledger)).toMatchObject({ integrity: 'valid' });
  });

  it.each([
    [{ policyId: 'q', cap: 0, usd: 1, forMs: 1 }, 'there is no policy "q"; expected one of p'],
    [{ policyId: 'p', cap: 2, usd: 1, forMs: 1 }, 'policy p has no cap 2; expected 0 to 0'],
    [{ policyId: 'p', cap: 0, usd: 0, forMs: 1 }, 'expected US dollars above 0, got 0'],
    [{ policyId: 'p', cap: 0, usd: 1 }, 'expected either forMs or until'],
    [{ policyId: 'p', cap: 0, usd: 1, until: 'x' }, 'until: expected a date such as'],
    [{ policyId: 'p', cap: 0, usd: 1, until: '2026-06-02T00:00:00' }, 'until: add a time zone'],
    [{ policyId: 'p', cap: 0, usd: 1, until: new Date(NaN) }, 'expected an instant, got Invalid Date'],
    [{ policyId: 'p', cap: 0, usd: 1, until: new Date(0) }, 'lies in the past'],
    [{ policyId: 'p', cap: 0, usd: 1, forMs: 1, scope: { user: 'x' } as never }, 'scope.user: unknown'],
    [{ policyId: 'p', cap: 0, usd: 1, forMs: 1, by: 'x'.repeat(300) }, 'by: expected text'],
  ])('%j is refused', async (request, words) => {
    const { guard, ledger } = open([cap]);
    await expect(guard.grant(request)).rejects.toThrow(words);
    expect(await receiptsOf(ledger)).toEqual([]);
  });

  it('a freeze stops a scope, also in shadow mode and for charges, and unfreezing lets it go on', async () => {
    const { guard, ledger } = open([cap], { more: { mode: 'shadow' } });
    await guard.freeze({ userId: 'alice' }, { reason: 'runaway' });
    const scope = { userId: 'alice', teamId: 'x' };
    const error = blockedError(await guard.begin({ ...big, scope }).catch((e: unknown) => e));
    expect(error?.message).toBe(
      'v/big was blocked (frozen): the scope {"userId":"alice"} is frozen: nothing in it may be called until somebody unfreezes it.',
    );
    expect(JSON.stringify(error)).not.toContain('alice');
    expect(await reason(guard.charge({ label: 'x', usd: 1, scope }))).toBe('frozen');
    await guard.begin({ ...big, scope: { userId: 'bob' } });
    expect(await guard.freeze({ userId: 'alice' })).toBeUndefined();
    expect(await guard.unfreeze({ userId: 'bob' })).toBeUndefined();
    expect(await guard.unfreeze({ userId: 'alice' })).toBeDefined();
    await guard.begin({ ...big, scope });
    expect(ofType(await receiptsOf(ledger), 'freeze').map(({ frozen }) => frozen)).toEqual([true, false]);
    expect(ofType(await receiptsOf(ledger), 'decision')[0]).toMatchObject({
      reason: 'frozen',
      frozen: { userId: 'alice' },
    });
  });

  it('balances tell of both: what is granted until when, and the freeze that the scope is in', async () => {
    const { guard, clock } = open([cap, { ...cap, window: 'per_day' }]);
    const alice = { userId: 'alice' };
    const until = new Date(clock.now() + 2 * MINUTE);
    await guard.grant({ policyId: 'p', cap: 0, usd: '0.05', forMs: MINUTE });
    await guard.grant({ policyId: 'p', cap: 0, usd: 1, until, scope: alice });
    await guard.freeze({ ...alice, teamId: 'x' });
    const [first, second] = await guard.balances(alice);
    expect(first).toMatchObject({
      amount: 60_000_000n,
      granted: 1_050_000_000n,
      grants: [
        { amount: 50_000_000n, until: new Date(clock.now() + MINUTE), scope: {} },
        { amount: 1_000_000_000n, until, scope: alice },
      ],
    });
    for (const none of ['granted', 'grants', 'frozen']) expect(second).not.toHaveProperty(none);
    expect(first).not.toHaveProperty('frozen');
    const frozen = { userId: 'alice', teamId: 'x' };
    expect((await guard.balances({ ...frozen, agentId: 'a' })).map((each) => each.frozen)).toEqual([
      frozen,
      frozen,
    ]);
    expect((await guard.balances())[0]).toMatchObject({ granted: 50_000_000n });
    clock.advance(MINUTE);
    expect((await guard.balances(alice))[0]).toMatchObject({ granted: 1_000_000_000n, grants: [{ until }] });
    clock.advance(MINUTE);
    expect((await guard.balances(alice))[0]).not.toHaveProperty('granted');
    await guard.unfreeze(frozen);
    expect((await guard.balances(frozen))[0]).not.toHaveProperty('frozen');
  });

  it('one that was signed by another key than the ledger’s own makes the log invalid', async () => {
    const { ledger } = open([cap]);
    const signer = signerFromSeed(new Uint8Array(32).fill(7));
    const draft = { type: 'freeze' as const, frozen: false, scope: { userId: 'alice' } };
    await ledger.transact([], () => ({ drafts: [draft], result: 0 }), { signer });
    expect(await verdictOn(ledger)).toMatchObject({
      integrity: 'invalid',
      cause: 'a freeze receipt may be signed only by the installation key',
    });
  });

  it('is not written with a guard’s own signing keys', async () => {
    const seed = new Uint8Array(32).fill(9);
    const signingKeys = { privateKey: seed, publicKey: signerFromSeed(seed).publicKey };
    const { guard, ledger } = open([cap], { signingKeys });
    await guard.begin(big);
    await guard.freeze({ userId: 'alice' });
    await guard.grant({ policyId: 'p', cap: 0, usd: 1, forMs: MINUTE });
    expect(await verdictOn(ledger)).toMatchObject({ integrity: 'valid' });
  });

  it('a call that waits for holds is stopped by a freeze', async () => {
    const { guard } = open([cap], { waitForHoldsMs: 60_000 });
    await guard.begin(big);
    const waiting = reason(guard.begin(big));
    await guard.freeze({});
    expect(await waiting).toBe('frozen');
  });
});
