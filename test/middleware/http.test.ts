import { describe, expect, it } from 'vitest';
import { blockedResponse, guardRoute } from '../../middleware/http.ts';
import { AgentGuardBlockedError, createSpendGuard, memoryLedger, type SpendCap } from '../../src/index.ts';
import { policyOf, WIDE } from './ai-sdk-kit.ts';

const CALL = { model: 'openai/gpt-5-mini', provider: 'openrouter', inputTokens: 10, maxOutputTokens: 10 };

function guardOf(...caps: SpendCap[]): ReturnType<typeof createSpendGuard> {
  return createSpendGuard({ policy: policyOf(caps), ledger: memoryLedger() });
}

/** The user is whom the server's own header names. */
const scope = (request: Request): { userId: string } | Response => {
  const userId = request.headers.get('x-user');
  return userId === null ? new Response('who are you?', { status: 401 }) : { userId };
};

function requestOf(user?: string, body?: unknown): Request {
  const init = body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) };
  return new Request('http://app.test/', { ...init, headers: user === undefined ? {} : { 'x-user': user } });
}

describe('guardRoute', () => {
  it('runs the handler in the scope of the request', async () => {
    const guard = guardOf({ ...WIDE, per: ['userId'] });
    const route = guardRoute({ scope }, async () => {
      const call = await guard.begin(CALL);
      await call.settle({ outcome: 'ok', cost: 0.01 });
      return new Response('done');
    });
    expect(await (await route(requestOf('ann'))).text()).toBe('done');
    const [ann] = await guard.balances({ userId: 'ann' });
    const [ben] = await guard.balances({ userId: 'ben' });
    expect([ann?.spent, ben?.spent]).toEqual([10_000_000n, 0n]);
  });

  it('hands on what comes after the request, and answers before the handler where the scope does', async () => {
    let ran = 0;
    const route = guardRoute({ scope }, (_request: Request, context: { params: string }) => {
      ran += 1;
      return new Response(context.params);
    });
    expect(await (await route(requestOf('ann'), { params: 'p' })).text()).toBe('p');
    expect((await route(requestOf(), { params: 'p' })).status).toBe(401);
    expect(ran).toBe(1);
  });

  it('answers a refused call with 402, also behind the errors of frameworks', async () => {
    const guard = guardOf({ amountCents: 0, window: 'per_day', action: 'block', reason: 'daily ceiling' });
    const route = guardRoute({ scope }, async () => {
      await guard.begin(CALL).catch((error: unknown) => {
        throw Object.assign(new Error('tool failed'), { lastError: new Error('x', { cause: error }) });
      });
      return new Response('never');
    });
    const response = await route(requestOf('ann'));
    expect(response.status).toBe(402);
    expect(response.headers.get('content-type')).toContain('application/json');
    expect(await response.json()).toEqual({
      name: 'AgentGuardBlockedError',
      code: 'AGENTGUARD_BLOCKED',
      reason: 'cap_spent',
      message: 'This request was stopped by a spending policy.',
      cap: { policyId: 'test', window: 'per_day', reason: 'daily ceiling' },
    });
    // this call doesn't fit into an empty window either, so waiting is no advice
    expect(response.headers.get('retry-after')).toBeNull();
  });

  it('says when a window resets', async () => {
    const guard = guardOf({ amountCents: 1, window: 'per_minute', action: 'block' });
    const route = guardRoute({ scope }, async () => {
      const call = await guard.begin({ ...CALL, maxOutputTokens: 3000 });
      await call.settle({ outcome: 'ok', cost: 0.008 });
      return new Response('done');
    });
    expect((await route(requestOf('ann'))).status).toBe(200);
    const response = await route(requestOf('ann'));
    const { retryAfterMs } = (await response.json()) as { retryAfterMs: number };
    expect(response.status).toBe(402);
    expect(retryAfterMs).toBeGreaterThan(0);
    expect(response.headers.get('retry-after')).toBe(String(Math.max(1, Math.ceil(retryAfterMs / 1000))));
  });

  it('leaves other errors to the framework', async () => {
    const route = guardRoute({ scope }, () => {
      throw new RangeError('mine');
    });
    await expect(route(requestOf('ann'))).rejects.toThrow(new RangeError('mine'));
  });

  it('takes no scope from the body: a client that names another user is still itself', async () => {
    const guard = guardOf({ ...WIDE, per: ['userId'] });
    const route = guardRoute({ scope }, async (request: Request) => {
      const { spendGuard } = (await request.json()) as { spendGuard: { userId: string } };
      await guard.begin({ ...CALL, scope: spendGuard });
      return new Response('never');
    });
    const response = await route(requestOf('ann', { spendGuard: { userId: 'ben' } }));
    expect(response.status).toBe(402);
    expect(await response.json()).toMatchObject({ reason: 'scope_conflict' });
  });
});

it('guardRoute runs nothing for a scope that was forgotten', async () => {
  let ran = 0;
  const forgotten = (): never => undefined as never;
  const route = guardRoute({ scope: forgotten }, () => new Response(String((ran += 1))));
  await expect(route(requestOf('ann'))).rejects.toThrow('guardRoute: scope gave nothing');
  expect(ran).toBe(0);
});

it.each([[undefined], [{}], [scope]])('guardRoute says at once what it needs (%#)', (options) => {
  const given = options as { scope: typeof scope };
  expect(() => guardRoute(given, () => new Response('never'))).toThrow(
    'guardRoute: expected ({ scope: (request) => … }, handler)',
  );
  expect(() => guardRoute({ scope }, undefined as never)).toThrow('handler');
});

describe('blockedResponse', () => {
  const blocked = new AgentGuardBlockedError({
    reason: 'cap_spent',
    message: 'anthropic/claude-opus-4-7 was blocked: $49.99 of $50.00 spent by user ann',
    model: 'anthropic/claude-opus-4-7',
    cap: { policyId: 'p', index: 0, window: 'per_day', amount: 50_000_000_000n },
    retryAfterMs: 1001,
    worstCase: 123_456_789n,
  });

  it('reveals no balance, amount, model or scope', async () => {
    const text = (await blockedResponse(blocked)?.text()) ?? '';
    expect(text).not.toMatch(/opus|49\.99|50|ann\b|12345/);
    expect(blockedResponse(blocked)?.headers.get('retry-after')).toBe('2');
    expect(blockedResponse(blocked)?.headers.get('cache-control')).toBe('no-store');
  });

  it('takes headers and another status, and is nothing for other errors', () => {
    const response = blockedResponse(blocked, { status: 429, headers: { 'x-mine': '1' } });
    expect([response?.status, response?.headers.get('x-mine')]).toEqual([429, '1']);
    expect(blockedResponse(new Error('other'))).toBeUndefined();
    expect(blockedResponse(undefined)).toBeUndefined();
  });
});
