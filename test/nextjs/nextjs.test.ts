/** The Next.js example as its users run it: the real `next`, the real browser, the packed package. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { chromium, type Browser } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  startSimulator,
  type Reply,
  type SimulatedRequest,
  type Simulator,
} from '../../src/node/simulator/index.ts';
import { buildNextApp, receiptsOf, removeApps, startNextApp, type NextApp } from './next-app.ts';

/** Debian's package; another place by CHROMIUM_PATH. */
const CHROMIUM = process.env['CHROMIUM_PATH'] ?? '/usr/bin/chromium';
const hasChromium = existsSync(CHROMIUM);
if (!hasChromium)
  console.warn(`SKIPPED: useChat in a browser: no Chromium at ${CHROMIUM} (apt-get install chromium)`);

/** A second bundle with a copy of the package of its own, and a route that looks at what the copies share. */
const PROBE: Record<string, string> = {
  'instrumentation.ts': `
export async function register() {
  if (process.env.NEXT_RUNTIME !== 'nodejs') return;
  const spend = await import('@agentguard-run/spend');
  const { guard } = await import('./lib/guard');
  spend.setCostOverride('probe/model', { inputCentsPerKtok: 1, outputCentsPerKtok: 1 });
  (globalThis as any).probe = { guard, createSpendGuard: spend.createSpendGuard, withSpendScope: spend.withSpendScope };
}
`,
  'app/api/probe/route.ts': `
import { createSpendGuard, withSpendScope } from '@agentguard-run/spend';
import { guard } from '@/lib/guard';

const text = (value: unknown) => JSON.parse(JSON.stringify(value, (_key, each) => (typeof each === 'bigint' ? String(each) : each)));

export async function GET() {
  const other = (globalThis as any).probe;
  // the scope of the other copy reaches this copy's guard, and its price override, too
  const call = await other.withSpendScope({ userId: 'zoe' }, () =>
    guard.begin({ model: 'probe/model', inputTokens: 100, maxOutputTokens: 100 }),
  );
  await call.settle({ outcome: 'ok', usage: { inputTokens: 100, outputTokens: 50 } });
  const here = await guard.balances({ userId: 'zoe' });
  const there = await other.guard.balances({ userId: 'zoe' });
  const charged = await withSpendScope({ userId: 'zoe' }, () => other.guard.charge({ label: 'x', usd: '0.001' }));
  const after = await guard.balances({ userId: 'zoe' });
  return Response.json(text({
    isSameCopy: other.createSpendGuard === createSpendGuard,
    isSameGuard: other.guard === guard,
    here, there, after, charged: charged.amount,
  }));
}
`,
  'app/api/lazy/route.ts': `
import { after } from 'next/server';
import { guardRoute } from '@agentguard-run/spend/http';
import { guard } from '@/lib/guard';

async function spend(name: string) {
  const call = await guard.begin({ model: 'probe/model', inputTokens: 100, maxOutputTokens: 100 });
  await call.settle({ outcome: 'ok', usage: { inputTokens: 100, outputTokens: 50 } });
  return new TextEncoder().encode(name);
}

async function* parts() {
  for (const name of ['a', 'b', 'c']) yield await spend(name);
}

const scope = (request: Request) => ({ userId: request.headers.get('x-user')! });
export const GET = guardRoute({ scope }, () => {
  after(() => spend('later'));
  return new Response((ReadableStream as any).from(parts()));
});
`,
};

const headersOf = (user?: string): Record<string, string> => ({
  'content-type': 'application/json',
  ...(user !== undefined && { cookie: `session=session-of-${user}` }),
});

const chatBody = (text: string): string =>
  JSON.stringify({
    messages: [{ id: '1', role: 'user', parts: [{ type: 'text', text }] }],
    scope: { userId: 'bob' },
  });

describe('the Next.js example', () => {
  let simulator: Simulator;
  let app: NextApp;
  let built: { folder: string; left: string[] };
  let reply: (request: SimulatedRequest) => Reply;

  beforeAll(async () => {
    built = await buildNextApp(PROBE);
    simulator = await startSimulator({ respond: (request) => reply(request) });
  }, 300_000);

  beforeEach(async () => {
    await app?.[Symbol.asyncDispose]();
    simulator.reset();
    reply = () => ({ text: 'Fine.', outputTokens: 100 });
    app = await startNextApp(built.folder, simulator.url);
  }, 120_000);

  afterAll(async () => {
    await app?.[Symbol.asyncDispose]();
    await simulator?.close();
    removeApps();
  });

  const post = (path: string, body: string, user?: string): Promise<Response> =>
    fetch(app.url + path, { method: 'POST', headers: headersOf(user), body });

  /** What was settled, once everything has ended. */
  async function settled(): Promise<bigint> {
    await simulator.idle();
    await expect.poll(() => ends().settlements.length - ends().allowed.length, { timeout: 30_000 }).toBe(0);
    return ends().settlements.reduce(
      (sum, { cost }) => sum + BigInt((cost as { amount: string }).amount),
      0n,
    );
  }

  function ends(): { allowed: Record<string, unknown>[]; settlements: Record<string, unknown>[] } {
    const receipts = receiptsOf(app.home);
    return {
      allowed: receipts.filter(({ type, decision }) => type === 'decision' && decision !== 'block'),
      settlements: receipts.filter(({ type }) => type === 'settlement'),
    };
  }

  it('builds without making a file', () => expect(built.left).toEqual([]));

  it('answers 200, and the ledger is the bill', async () => {
    const response = await post('/api/summary', JSON.stringify({ text: 'moon' }), 'alice');
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({ summary: 'Fine.' });
    const chat = await post('/api/chat', chatBody('hello'), 'alice');
    expect(chat.status).toBe(200);
    expect(await chat.text()).toContain('Fine.');
    expect(simulator.requests).toHaveLength(2);
    expect(await settled()).toBe(simulator.billed);
    expect(receiptsOf(app.home).find(({ type }) => type === 'decision')).toMatchObject({
      scope: { tenantId: 'acme', userId: 'alice' },
    });
  });

  it('answers 402 before anything is streamed, and other users are served', async () => {
    reply = () => ({ text: 'Long.', outputTokens: 200, inputTokens: 8000 });
    expect((await post('/api/summary', '{"text":"x"}', 'alice')).status).toBe(200);
    await settled();
    const bodies = [];
    for (const [path, body] of [
      ['/api/summary', '{"text":"x"}'],
      ['/api/chat', chatBody('hello')],
    ] as const) {
      const refused = await post(path, body, 'alice');
      expect(refused.status, path).toBe(402);
      const json = (await refused.json()) as Record<string, unknown>;
      expect(json, path).toMatchObject({
        code: 'AGENTGUARD_BLOCKED',
        reason: 'cap_spent',
        cap: { policyId: 'chat-v1', window: 'per_day', reason: 'daily allowance of a user' },
      });
      expect(Number(refused.headers.get('retry-after'))).toBe(
        Math.ceil((json['retryAfterMs'] as number) / 1000),
      );
      bodies.push(json);
    }
    expect(JSON.stringify(bodies)).not.toMatch(/opus|alice|0\.0|amount/);
    expect((await post('/api/summary', '{"text":"x"}')).status).toBe(401);
    // JSON of the client names bob: it is alice's allowance all the same
    expect(simulator.requests).toHaveLength(1);
    expect((await post('/api/summary', '{"text":"x"}', 'bob')).status).toBe(200);
    expect(await settled()).toBe(simulator.billed);
  });

  it('settles a client that hangs up at what the answer cost', async () => {
    reply = () => ({ outputTokens: 280, chunks: 40, chunkDelayMs: 25 });
    const controller = new AbortController();
    const response = await fetch(`${app.url}/api/chat`, {
      method: 'POST',
      headers: headersOf('alice'),
      body: chatBody('a long story'),
      signal: controller.signal,
    });
    expect(response.status).toBe(200);
    await response.body?.getReader().read();
    controller.abort();
    await expect.poll(() => simulator.bill().length, { timeout: 30_000 }).toBe(1);
    expect(await settled()).toBe(simulator.billed);
    expect(simulator.bill()).toMatchObject([{ how: 'completed', completionTokens: 280 }]);
  });

  it('shares ledger, scope and prices between two bundled copies of the package', async () => {
    const response = await fetch(`${app.url}/api/probe`);
    const text = await response.text();
    expect(response.status, app.output() + text).toBe(200);
    const probe = JSON.parse(text) as Record<string, unknown>;
    expect(probe['isSameCopy'], 'the test means nothing unless there are two copies').toBe(false);
    expect(probe['isSameGuard']).toBe(false);
    expect(probe['here']).toEqual(probe['there']);
    const spentOf = (balances: unknown): bigint[] =>
      (balances as { spent: string }[]).map(({ spent }) => BigInt(spent));
    // 150 tokens at 1 cent for a thousand
    expect(spentOf(probe['here'])).toEqual([1_500_000n, 1_500_000n, 1_500_000n]);
    expect(spentOf(probe['after'])).toEqual([2_500_000n, 2_500_000n, 2_500_000n]);
    const receipts = receiptsOf(app.home);
    expect(receipts.filter(({ type }) => type === 'genesis')).toHaveLength(1);
    expect(receipts.filter(({ type }) => type === 'settlement')).toHaveLength(2);
    expect(existsSync(join(app.home, 'default'))).toBe(false);
  });

  it('makes a body while it is read in the scope of its request, and work after it, too', async () => {
    const ask = async (user: string): Promise<string> =>
      (await fetch(`${app.url}/api/lazy`, { headers: { 'x-user': user } })).text();
    // next answers HEAD by GET, and reads no body then
    await fetch(`${app.url}/api/lazy`, { method: 'HEAD', headers: { 'x-user': 'eve' } });
    expect(await Promise.all([ask('ann'), ask('ben'), ask('ann')])).toEqual(['abc', 'abc', 'abc']);
    const usersOf = (): string[] =>
      receiptsOf(app.home)
        .filter(({ type }) => type === 'settlement')
        .map(({ call }) =>
          receiptsOf(app.home).find((each) => each['type'] === 'decision' && each['call'] === call),
        )
        .map((decision) => ((decision?.['scope'] ?? {}) as { userId?: string }).userId ?? 'nobody')
        .toSorted();
    const expected = [...Array<string>(8).fill('ann'), ...Array<string>(4).fill('ben'), 'eve'];
    await expect.poll(usersOf, { timeout: 30_000 }).toEqual(expected);
  });

  describe.skipIf(!hasChromium && process.env['CI'] === undefined)('in a browser', () => {
    let browser: Browser;

    beforeAll(async () => {
      browser = await chromium.launch({
        executablePath: CHROMIUM,
        args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--no-first-run'],
      });
    });
    afterAll(() => browser?.close());

    it('shows a refusal in the middle of an agent loop, and one before the stream', async () => {
      const look = { name: 'orderStatus', arguments: { id: '1' } };
      reply = () => ({ toolCalls: [look], outputTokens: 100, inputTokens: 3000 });
      const context = await browser.newContext();
      await context.addCookies([{ name: 'session', value: 'session-of-alice', url: app.url }]);
      const page = await context.newPage();
      const answered: number[] = [];
      page.on('response', (response) => {
        if (response.url().endsWith('/api/chat')) answered.push(response.status());
      });
      await page.goto(app.url);
      await page.getByLabel('Your question').fill('Where is order 1001?');
      await page.getByRole('button', { name: 'Send' }).click();
      const stopped = page.getByRole('alert').filter({ hasText: /policy/ });
      await stopped.waitFor({ timeout: 30_000 });
      expect(await stopped.innerText()).toMatch(
        /^This request was stopped by a spending policy\. \(daily allowance of a user\) Try again in \d+ (min|h)\.$/,
      );
      // the stream had begun: some steps ran, the refused one never left
      expect(answered).toEqual([200]);
      const steps = simulator.requests.length;
      expect(steps).toBeGreaterThan(0);
      expect(await page.getByText('looking something up…').count()).toBe(steps);
      await page.getByLabel('Your question').fill('And now?');
      await page.getByRole('button', { name: 'Send' }).click();
      await expect.poll(() => answered, { timeout: 30_000 }).toEqual([200, 402]);
      await stopped.waitFor({ timeout: 30_000 });
      expect(await stopped.innerText()).toMatch(/^This request was stopped by a spending policy\./);
      expect(simulator.requests).toHaveLength(steps);
      expect(await settled()).toBe(simulator.billed);
      await context.close();
    });
  });
});
