/** Waiting for holds: fair order, one account's wait is not another's, and no wait beyond its time. */
import { describe, expect, it } from 'vitest';
import {
  createSpendGuard,
  isBlocked,
  memoryLedger,
  setCostOverride,
  type GuardedCall,
  type SpendPolicy,
} from '../src/index.ts';
import { HoldQueue, type Answer } from '../src/hold-queue.ts';

setCostOverride('queue/model', { inputCentsPerKtok: 0, outputCentsPerKtok: 1 });

const policy: SpendPolicy = {
  id: 'queue',
  scope: {},
  caps: [
    { amountCents: 1_000_000, window: 'per_day', action: 'block' },
    { amountCents: 1, window: 'per_day', action: 'block', per: ['userId'] },
  ],
  version: 1,
  effectiveFrom: '2026-01-01T00:00:00Z',
};

function testSubject(waitForHoldsMs: number): {
  begin: (userId: string, tokens?: number) => Promise<GuardedCall>;
} {
  const guard = createSpendGuard({ policy, ledger: memoryLedger(), waitForHoldsMs });
  return {
    begin: (userId, maxOutputTokens = 1000) =>
      guard.begin({ model: 'queue/model', inputTokens: 1, maxOutputTokens, scope: { userId } }),
  };
}

const done = (outputTokens: number) => ({ outcome: 'ok', usage: { inputTokens: 1, outputTokens } }) as const;

describe('waiting for holds', () => {
  it('lets a user pass while another waits for a cap of their own', async () => {
    const { begin } = testSubject(60_000);
    const first = await begin('alice');
    const order: string[] = [];
    const waiting = begin('alice', 500).then((call) => {
      order.push('alice');
      return call;
    });
    await begin('bob').then(() => order.push('bob'));
    await first.settle(done(100));
    await waiting;
    expect(order).toEqual(['bob', 'alice']);
  });

  it('serves those who wait in the order in which they came', async () => {
    const { begin } = testSubject(60_000);
    const first = await begin('alice');
    const order: number[] = [];
    const waiters = Array.from({ length: 20 }, async (_, index) => {
      const call = await begin('alice', 950);
      order.push(index);
      await call.settle(done(1));
    });
    await first.settle(done(1));
    await Promise.all(waiters);
    expect(order).toEqual(Array.from({ length: 20 }, (_, index) => index));
  });

  it('a newcomer does not overtake one who waits, though its own call would fit', async () => {
    const { begin } = testSubject(60_000);
    const first = await begin('alice', 600);
    const order: string[] = [];
    const big = begin('alice', 900).then((call) => order.push('big') && call);
    await new Promise((resolve) => setTimeout(resolve, 10));
    const small = begin('alice', 50).then((call) => order.push('small') && call);
    await first.settle(done(1));
    await Promise.all([big, small]);
    expect(order).toEqual(['big', 'small']);
  });

  it('blocks when the wait is over, with the cap and what is held', async () => {
    const { begin } = testSubject(30);
    await begin('alice');
    const error = await begin('alice').catch((refusal: unknown) => refusal);
    expect(isBlocked(error)).toBe(true);
    expect(error).toMatchObject({ reason: 'cap_held', message: expect.stringContaining('hold $0.01') });
  });

  it('decides at once when the time runs out during an attempt', async () => {
    const queue = new HoldQueue();
    const asked: boolean[] = [];
    const attempt = async (last: boolean): Promise<Answer<string>> => {
      asked.push(last);
      await new Promise((resolve) => setTimeout(resolve, 40));
      return last ? { decided: 'refused' } : { inTheWay: ['a'] };
    };
    expect(await queue.wait(['a'], attempt, 45)).toBe('refused');
    expect(asked.filter(Boolean)).toHaveLength(1);
    expect(queue.busyAmong(['a'])).toEqual([]);
  });

  it('decides in the end although nothing stands in the way by name', async () => {
    const queue = new HoldQueue();
    const attempt = (last: boolean): Promise<Answer<string>> =>
      Promise.resolve(last ? { decided: 'x' } : { inTheWay: [] });
    expect(await queue.wait([], attempt, 20)).toBe('x');
  });

  it('leaves no trace of one who gave up during an attempt', async () => {
    const queue = new HoldQueue();
    const abort = new AbortController();
    const attempt = async (): Promise<Answer<string>> => {
      await new Promise((resolve) => setTimeout(resolve, 30));
      return { inTheWay: ['a'] };
    };
    const wait = queue.wait(['a'], attempt, 1000, abort.signal);
    setTimeout(() => abort.abort(new Error('gone')), 35);
    await expect(wait).rejects.toThrow('gone');
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(queue.busyAmong(['a'])).toEqual([]);
  });

  it('passes an error of an attempt on, and goes on with the next', async () => {
    const queue = new HoldQueue();
    const failing = queue.wait(['a'], () => Promise.reject(new Error('disk')), 1000);
    const passing = queue.wait(['a'], () => Promise.resolve({ decided: 1 }), 1000);
    await expect(failing).rejects.toThrow('disk');
    expect(await passing).toBe(1);
  });
});
