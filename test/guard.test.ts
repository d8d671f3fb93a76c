/** What the guard makes of decisions over time: expiry, late settlements, ladders, shared prompts. */
import { describe, expect, it } from 'vitest';
import {
  createSpendGuard,
  definePolicy,
  isBlocked,
  memoryLedger,
  setCostOverride,
  withSpendScope,
  type Ledger,
  type SpendCap,
  type SpendEvent,
  type SpendGuard,
  type SpendPolicy,
} from '../src/index.ts';
import type { DecisionPayload, Payload } from '../src/receipts/payloads.ts';

setCostOverride('guard/big', { inputCentsPerKtok: 0, outputCentsPerKtok: 1 });
setCostOverride('guard/small', { inputCentsPerKtok: 0, outputCentsPerKtok: 0.1 });

const BLOCK: SpendCap = { amountCents: 1000, window: 'per_day', action: 'block' };

function policy(caps: readonly SpendCap[], more: Partial<SpendPolicy> = {}): SpendPolicy {
  return definePolicy({
    id: 'guard',
    scope: {},
    caps,
    version: 1,
    effectiveFrom: '2026-01-01T00:00:00Z',
    ...more,
  });
}

interface Subject {
  guard: SpendGuard;
  ledger: Ledger;
  events: SpendEvent[];
  tick: (ms: number) => void;
  payloads: () => Promise<Payload[]>;
}

function subject(
  caps: readonly SpendCap[],
  more: { leaseMs?: number; policies?: SpendPolicy[] } = {},
): Subject {
  let now = Date.parse('2026-11-23T10:00:00Z');
  const ledger = memoryLedger({ now: () => now });
  const events: SpendEvent[] = [];
  const guard = createSpendGuard({
    policy: more.policies ?? policy(caps),
    ledger,
    waitForHoldsMs: 0,
    leaseMs: more.leaseMs ?? 1000,
    onEvent: (event) => events.push(event),
  });
  const payloads = async (): Promise<Payload[]> => {
    const found: Payload[] = [];
    for await (const { payload } of ledger.read()) found.push(payload);
    return found;
  };
  return { guard, ledger, events, tick: (ms) => (now += ms), payloads };
}

const CALL = { model: 'guard/big', inputTokens: 1, maxOutputTokens: 1000 };
const done = (outputTokens: number) => ({ outcome: 'ok', usage: { inputTokens: 1, outputTokens } }) as const;

describe('leases', () => {
  it('expires a hold at its full amount, and a late settlement is one adjustment of the difference', async () => {
    const { guard, tick, payloads } = subject([BLOCK]);
    const late = await guard.begin(CALL);
    tick(1001);
    await (await guard.begin(CALL)).settle(done(1));
    expect((await guard.balances())[0]).toMatchObject({ spent: 10_010_000n, held: 0n });
    expect(await late.settle(done(100))).toMatchObject({
      amount: 1_000_000n,
      receipt: { payload: { type: 'adjustment' } },
    });
    expect(await late.settle(done(900))).toMatchObject({ amount: 1_000_000n });
    expect((await guard.balances())[0]).toMatchObject({ spent: 1_010_000n, held: 0n });
    const ends = (await payloads()).filter((payload) => 'call' in payload && payload.call === late.id);
    expect(ends.map(({ type }) => type)).toEqual(['decision', 'settlement', 'adjustment']);
  });

  it('counts what has expired as spent in the very decision that finds it', async () => {
    const { guard, tick, payloads } = subject([
      { amountCents: 1, window: 'per_day', action: 'downgrade', downgradeTo: 'guard/small' },
    ]);
    await guard.begin(CALL);
    tick(1001);
    expect(await guard.begin(CALL)).toMatchObject({ decision: 'downgrade', model: 'guard/small' });
    const last = (await payloads()).at(-1) as DecisionPayload;
    // what the receipt says is what the receipts before it add up to
    expect(last.caps).toEqual([[0, '10000000', '0']]);
  });

  it('ends many holds in several steps, and holds them all until then', async () => {
    const { guard, tick, payloads } = subject([BLOCK]);
    for (let index = 0; index < 150; index++) await guard.begin(CALL);
    tick(1001);
    for (const left of [86, 22, 0]) {
      await (await guard.begin({ ...CALL, maxOutputTokens: 1 })).settle(done(1));
      const [cap] = await guard.balances();
      const expired = (await payloads()).filter(
        (payload) => 'outcome' in payload && payload.outcome === 'expired',
      );
      // two looks, begin and settle, of 64 each
      expect(expired.length).toBeGreaterThan(0);
      expect(cap!.spent + cap!.held).toBeGreaterThanOrEqual(1_500_000_000n);
      if (left === 0) expect(cap!.held).toBe(0n);
    }
  });
});

describe('a ledger that fails once', () => {
  it('does not lose the correction of an expired hold', async () => {
    const { guard, ledger, tick } = subject([BLOCK]);
    const call = await guard.begin(CALL);
    tick(1001);
    await (await guard.begin({ ...CALL, maxOutputTokens: 1 })).settle(done(1));
    const transact = ledger.transact.bind(ledger);
    let failures = 1;
    ledger.transact = ((...args: Parameters<typeof transact>) =>
      failures-- > 0 ? Promise.reject(new Error('disk')) : transact(...args)) as typeof transact;
    expect((await call.settle(done(100))).receipt?.payload.type).toBe('adjustment');
    expect((await guard.balances())[0]).toMatchObject({ spent: 1_010_000n });
  });
});

describe('the input bound', () => {
  it('holds for every model that may get the prompt', async () => {
    const prompt = { texts: ['Überprüfe диff und 漢字 carefully. '.repeat(200)], messages: 1 };
    const ladder = policy([
      { amountCents: 0, window: 'per_day', action: 'downgrade', downgradeTo: 'anthropic/claude-opus-4-7' },
      BLOCK,
    ]);
    const plain = subject([BLOCK]);
    const downgraded = subject([], { policies: [ladder] });
    const request = { provider: 'openrouter', prompt, maxOutputTokens: 10 };
    await plain.guard.begin({ ...request, model: 'anthropic/claude-opus-4-7' });
    await downgraded.guard.begin({ ...request, model: 'openai/gpt-5' });
    const tokensOf = async ({ payloads }: Subject): Promise<number | undefined> =>
      ((await payloads()).find(({ type }) => type === 'decision') as DecisionPayload).request.input_tokens;
    expect(await tokensOf(downgraded)).toBe(await tokensOf(plain));
  });
});

describe('scope', () => {
  it('refuses contradictions between layers, with a receipt, and before any hold', async () => {
    const { guard, payloads } = subject([BLOCK]);
    const refusal = await withSpendScope({ tenantId: 'acme' }, () =>
      guard.begin({ ...CALL, scope: { tenantId: 'other' } }),
    ).catch((error: unknown) => error);
    expect(isBlocked(refusal)).toBe(true);
    expect((await payloads()).at(-1)).toMatchObject({
      type: 'decision',
      reason: 'scope_conflict',
      scope_conflict: 'tenantId',
    });
  });

  it('names what is wrong with a scope that is no scope', async () => {
    const { guard } = subject([BLOCK]);
    for (const [scope, message] of [
      [{ user: 'x' }, /user: unknown/],
      [{ userId: 42 }, /userId: expected text/],
      [{ userId: 'u'.repeat(129) }, /userId: expected text/],
      [{ userId: 'a\nb' }, /userId: expected text/],
      [null, /expected an object/],
    ] as const) {
      await expect(guard.begin({ ...CALL, scope: scope as never })).rejects.toThrow(message);
      expect(() => withSpendScope(scope as never, () => 0)).toThrow(message);
    }
  });
});

describe('a policy that could not be recorded', () => {
  it('is refused when it is read, not at each call', () => {
    const ladder = Array.from({ length: 16 }, (_, index) => `vendor/model-${index}`);
    const caps = Array.from({ length: 32 }, (_, cap): SpendCap => ({
      amountCents: cap,
      window: 'per_day',
      action: 'downgrade',
      downgradeTo: ladder.map((name) => `${name}-${cap}`),
    }));
    expect(() => policy(caps)).toThrow(/no room in a receipt/);
  });
});

describe('settlement', () => {
  it('says when a model served that the decision did not name', async () => {
    const { guard, events } = subject([BLOCK]);
    await (await guard.begin(CALL)).settle({ ...done(1), servedModel: 'guard/small' });
    expect(events).toContainEqual(expect.objectContaining({ type: 'warning', code: 'route_not_taken' }));
  });

  it('gives no retry time where waiting can’t help', async () => {
    const { guard } = subject([{ ...BLOCK, amountCents: 1 }]);
    await expect(guard.begin({ ...CALL, maxOutputTokens: 2000 })).rejects.toMatchObject({
      retryAfterMs: undefined,
    });
    const held = await guard.begin(CALL);
    await expect(guard.begin(CALL)).rejects.toMatchObject({ reason: 'cap_held', retryAfterMs: undefined });
    await held.settle(done(1000));
    await expect(guard.begin(CALL)).rejects.toMatchObject({ reason: 'cap_spent', retryAfterMs: 50_400_000 });
  });
});
