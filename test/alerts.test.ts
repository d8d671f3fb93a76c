/** Alerts: once in each window and cap, across calls, processes and restarts; by callback and by webhook. */
import { createServer, type IncomingHttpHeaders } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import {
  createSpendGuard,
  type SpendAlert,
  type SpendCap,
  type SpendEvent,
  type SpendGuardOptions,
  type SpendPolicy,
} from '../src/index.ts';
import { fileLedger } from '../src/node/file-ledger/index.ts';
import { ofType, receiptsOf, verdictOn } from '../src/testing/conformance-kit.ts';
import { testGuard } from '../src/testing/test-guard.ts';
import { otherProcess } from './node/other-process.ts';
import { temporaryFolder } from './node/temporary-folder.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const CAP: SpendCap = { amountCents: 100, window: 'per_day', action: 'block', alerts: [0.5, 0.8, 1] };

function policy(caps: readonly SpendCap[] = [CAP]): SpendPolicy {
  return { id: 'p', scope: {}, caps, version: 1, effectiveFrom: '2020-01-01T00:00:00Z' };
}

function open(caps?: readonly SpendCap[], more: Partial<SpendGuardOptions> = {}) {
  const alerts: SpendAlert[] = [];
  const world = testGuard({
    policy: policy(caps),
    onAlert: (alert) => alerts.push(alert),
    waitForHoldsMs: 0,
    ...more,
  });
  const spend = async (usd: string, scope = {}): Promise<void> => {
    await world.guard.charge({ label: 'x', usd, scope });
    await world.guard.flush();
  };
  return { ...world, alerts, spend, shares: () => alerts.map(({ share }) => share) };
}

describe('alerts', () => {
  it('come at each part of the amount, once, in order', async () => {
    const { alerts, shares, spend, guard, ledger } = open();
    await spend('0.49');
    expect(shares()).toEqual([]);
    await spend('0.01');
    expect(shares()).toEqual([0.5]);
    await spend('0.10');
    expect(shares()).toEqual([0.5]);
    await spend('0.40');
    expect(shares()).toEqual([0.5, 0.8, 1]);
    await guard.charge({ label: 'x', usd: '0.01' }).catch(() => undefined);
    await guard.flush();
    expect(shares()).toHaveLength(3);
    expect(alerts[0]).toMatchObject({
      policyId: 'p',
      cap: 0,
      window: 'per_day',
      spent: 500_000_000n,
      amount: 1_000_000_000n,
    });
    expect(new Set(alerts.map(({ id }) => id)).size).toBe(3);
    expect(ofType(await receiptsOf(ledger), 'alert').map(({ share }) => share)).toEqual([5000, 8000, 10_000]);
    expect(await verdictOn(ledger)).toMatchObject({ integrity: 'valid' });
  });

  it('come again in the next window, and what is settled late counts on the day of its decision', async () => {
    const { alerts, guard, clock, shares, spend } = open();
    await spend('0.60');
    const late = await guard.begin({ model: 'm', inputTokens: 0, maxOutputTokens: 100_000 });
    clock.advance(24 * HOUR);
    await spend('0.55');
    expect(shares()).toEqual([0.5, 0.5]);
    // $0.20 on the day before, which has had its half
    await late.settle({ outcome: 'ok', usage: { inputTokens: 0, outputTokens: 100_000 } });
    await guard.flush();
    expect(shares()).toEqual([0.5, 0.5, 0.8]);
    expect(alerts[2]?.spent).toBe(800_000_000n);
  });

  it('of a rolling window come again only when what counted has left it', async () => {
    const { clock, shares, spend } = open([{ ...CAP, window: 'per_minute', alerts: [0.5] }]);
    await spend('0.50');
    clock.advance(50_000);
    await spend('0.30');
    clock.advance(20_000);
    await spend('0.20');
    expect(shares()).toEqual([0.5, 0.5]);
    clock.advance(30_000);
    await spend('0.10');
    expect(shares()).toEqual([0.5, 0.5]);
  });

  it('are given for each balance of `per`, and for each cap', async () => {
    const { shares, spend } = open([
      { ...CAP, per: ['userId'], alerts: [0.5] },
      { ...CAP, amountCents: 200, per: ['userId'], alerts: [0.5, 0.9] },
      { ...CAP, window: 'total', per: ['userId'], action: 'allow', alerts: [2] },
    ]);
    await spend('0.60', { userId: 'a' });
    expect(shares()).toEqual([0.5]);
    await spend('0.50', { userId: 'b' });
    expect(shares()).toEqual([0.5, 0.5]);
  });

  it('go beyond the amount where nothing is refused', async () => {
    const { shares, spend } = open([{ ...CAP, action: 'allow', alerts: [1, 2.5] }]);
    await spend('2.49');
    await spend('0.01');
    expect(shares()).toEqual([1, 2.5]);
  });

  it('come for what expired without a settlement', async () => {
    const { clock, guard, shares } = open();
    await guard.begin({ model: 'm', inputTokens: 0, maxOutputTokens: 300_000 });
    clock.advance(15 * MINUTE);
    await guard.charge({ label: 'x', usd: 0 });
    await guard.flush();
    expect(shares()).toEqual([0.5]);
  });

  it('are also told to onEvent, and a callback that throws loses nothing', async () => {
    const events: SpendEvent[] = [];
    const { spend, ledger } = open(undefined, {
      onEvent: (event) => events.push(event),
      onAlert: () => {
        throw new Error('x');
      },
    });
    await spend('0.90');
    expect(events.filter(({ type }) => type === 'alert')).toHaveLength(2);
    expect(ofType(await receiptsOf(ledger), 'alert')).toHaveLength(2);
  });

  it('come once for 40 calls that settle at the same time', async () => {
    const { guard, shares } = open([{ ...CAP, amountCents: 4000 }]);
    const calls = await Promise.all(
      Array.from({ length: 40 }, () => guard.begin({ model: 'm', inputTokens: 0, maxOutputTokens: 500_000 })),
    );
    await Promise.all(
      calls.map((call) => call.settle({ outcome: 'ok', usage: { inputTokens: 0, outputTokens: 500_000 } })),
    );
    await guard.flush();
    expect(shares()).toEqual([0.5, 0.8, 1]);
  });

  it('come once across processes and restarts', async () => {
    const dir = temporaryFolder();
    const setting = { dir, policy: policy([{ ...CAP, window: 'total', alerts: [0.2, 0.4, 0.6, 0.8] }]) };
    const [a, b] = [await otherProcess(setting), await otherProcess(setting)];
    const charge = { charge: { label: 'x', usd: '0.10' } };
    const given: number[] = [];
    for (const each of [a, b, b, a, a]) given.push(...((await each(charge)).alerts ?? []));
    expect(given).toEqual([0.2, 0.4]);
    await a({ close: true });
    await b({ close: true });
    const c = await otherProcess(setting);
    for (let i = 0; i < 4; i++) given.push(...((await c(charge)).alerts ?? []));
    expect(given).toEqual([0.2, 0.4, 0.6, 0.8]);
    await c({ close: true });
  });

  it('one that a process died before giving is given by the next', async () => {
    const { guard, ledger } = open();
    await guard.charge({ label: 'x', usd: '0.60' });
    // as if the process had ended between the settlement and the look at the alerts
    const lost = createSpendGuard({ policy: policy(), ledger, onAlert: (alert) => alerts.push(alert) });
    const alerts: SpendAlert[] = [];
    await lost.charge({ label: 'x', usd: '0.01' });
    await lost.flush();
    await guard.flush();
    expect(ofType(await receiptsOf(ledger), 'alert')).toHaveLength(1);
  });
});

interface Hook extends AsyncDisposable {
  url: string;
  got: { headers: IncomingHttpHeaders; body: Record<string, unknown> }[];
}

/** Answers with each of `statuses` in turn, then with 200; 0 hangs up. */
async function startHook(...statuses: number[]): Promise<Hook> {
  const got: Hook['got'] = [];
  const server = createServer((request, response) => {
    let text = '';
    request.on('data', (chunk) => (text += String(chunk)));
    request.on('end', () => {
      got.push({ headers: request.headers, body: JSON.parse(text) as Record<string, unknown> });
      const status = statuses.shift() ?? 200;
      if (status === 0) request.socket.destroy();
      else response.writeHead(status, { location: 'http://127.0.0.1:1/' }).end('ok');
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/hook`,
    got,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
    },
  };
}

describe('the webhook', () => {
  const retryDelaysMs = [1, 1, 1];

  it('gets each alert once, as JSON', async () => {
    await using hook = await startHook();
    const headers = { authorization: 'Bearer secret-of-the-hook' };
    const { spend, alerts, ledger } = open([{ ...CAP, reason: 'daily ceiling' }], {
      webhook: { url: hook.url, headers },
    });
    await spend('0.85');
    expect(hook.got.map(({ body }) => body['share'])).toEqual([0.5, 0.8]);
    expect(hook.got[1]?.body).toEqual({
      type: 'agentguard.alert',
      id: alerts[1]?.id,
      policy: 'p',
      cap: 0,
      window: 'per_day',
      share: 0.8,
      spentUsd: '0.85',
      amountUsd: '1.00',
      reason: 'daily ceiling',
      at: '2026-06-01T12:00:00.000Z',
    });
    expect(hook.got[0]?.headers).toMatchObject({
      'content-type': 'application/json',
      'idempotency-key': alerts[0]?.id,
      ...headers,
    });
    expect((await receiptsOf(ledger)).map(({ line }) => line).join()).not.toContain('secret-of-the-hook');
  });

  it('is tried again when it is down, busy or broken', async () => {
    await using hook = await startHook(503, 0, 429);
    const { spend } = open([{ ...CAP, alerts: [0.5] }], { webhook: { url: hook.url, retryDelaysMs } });
    await spend('0.60');
    expect(hook.got).toHaveLength(4);
    expect(new Set(hook.got.map(({ body }) => body['id'])).size).toBe(1);
  });

  it.each([
    ['says no', [404, 200]],
    ['points elsewhere', [302, 302, 302, 302]],
  ])('is given up with a warning when it %s', async (_what, statuses) => {
    await using hook = await startHook(...statuses);
    const events: SpendEvent[] = [];
    const { spend } = open([{ ...CAP, alerts: [0.5] }], {
      webhook: { url: hook.url, retryDelaysMs },
      onEvent: (event) => events.push(event),
    });
    await spend('0.60');
    expect(hook.got).toHaveLength(statuses[0] === 404 ? 1 : 4);
    expect(events).toContainEqual(expect.objectContaining({ type: 'warning', code: 'alert_not_given' }));
  });

  it('is never on a call’s path', async () => {
    await using hook = await startHook(503, 503, 503, 503);
    const { guard } = open([{ ...CAP, alerts: [0.5] }], {
      webhook: { url: hook.url, retryDelaysMs: [2 ** 30] },
    });
    // the hook is not reached for twelve days, and the calls go on
    await guard.charge({ label: 'x', usd: '0.60' });
    await guard.charge({ label: 'x', usd: '0.30' });
    expect(await guard.balances()).toMatchObject([{ spent: 900_000_000n }]);
  });

  it.each(['', 'ftp://x', 'x', { url: 'mailto:a@b' }, {}])('%j is no webhook', (webhook) => {
    expect(() => open([CAP], { webhook: webhook as never })).toThrow('webhook: expected an http(s) URL');
  });
});

it('a file ledger remembers what was given through a snapshot', async () => {
  const dir = temporaryFolder();
  const shares: number[] = [];
  for (let i = 0; i < 3; i++) {
    const guard = createSpendGuard({
      policy: policy([{ ...CAP, window: 'total' }]),
      ledger: fileLedger({ dir, durability: 'os' }),
      onAlert: ({ share }) => shares.push(share),
    });
    await guard.charge({ label: 'x', usd: '0.30' });
    await guard.close();
  }
  expect(shares).toEqual([0.5, 0.8]);
});
