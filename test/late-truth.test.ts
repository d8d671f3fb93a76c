/** Late truth, judged by the simulator's bill: what a call that broke off really cost, in place of what it settled at. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  createSpendGuard,
  LookUpRefused,
  memoryLedger,
  openRouterGenerations,
  setCostOverride,
  type Ledger,
  type SpendEvent,
  type SpendGuard,
  type SpendGuardOptions,
} from '../src/index.ts';
import type { AdjustmentPayload, Payload } from '../src/receipts/payloads.ts';
import { verifyLog } from '../src/receipts/index.ts';
import { fromBase64url } from '../src/receipts/keys.ts';
import { LateTruths } from '../src/late-truth.ts';
import { truthIn } from '../src/openrouter-generations.ts';
import { agentguard } from './node/cli/run-cli.ts';
import { fileLedger } from '../src/node/file-ledger/index.ts';
import { startSimulator, type Reply, type Simulator } from '../src/node/simulator/index.ts';

const MODEL = 'anthropic/claude-haiku-4-5';
const KEY = 'sk-or-secret-0123456789';

const POLICY = {
  id: 'late',
  scope: {},
  caps: [{ amountCents: 100, window: 'per_day' as const, action: 'block' as const }],
  version: 1,
  effectiveFrom: '2020-01-01T00:00:00Z',
};

async function simulator(reply: Reply): Promise<Simulator> {
  const running = await startSimulator({ respond: () => reply });
  onTestFinished(() => running.close());
  return running;
}

/** Streams a call and leaves after the first event; returns the id of its generation. */
async function abortedCall(upstream: Simulator): Promise<string> {
  const gone = new AbortController();
  const response = await fetch(`${upstream.url}/chat/completions`, {
    method: 'POST',
    signal: gone.signal,
    headers: { authorization: `Bearer ${KEY}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      model: MODEL,
      stream: true,
      max_tokens: 500,
      messages: [{ role: 'user', content: 'Hi' }],
    }),
  });
  const id = response.headers.get('x-generation-id') as string;
  const reader = response.body!.getReader();
  await reader.read();
  await reader.read();
  gone.abort();
  await reader.cancel().catch(() => undefined);
  await upstream.idle();
  return id;
}

function guardOn(ledger: Ledger, more: Partial<SpendGuardOptions> = {}): SpendGuard {
  return createSpendGuard({ policy: POLICY, ledger, waitForHoldsMs: 0, ...more });
}

/** A call that settles as aborted, at its hold. */
async function settleAborted(guard: SpendGuard, providerRef: string): Promise<bigint> {
  const call = await guard.begin({
    model: MODEL,
    provider: 'openrouter',
    inputTokens: 1000,
    maxOutputTokens: 500,
  });
  const { source, amount } = await call.settle({ outcome: 'aborted', providerRef });
  expect(source).toBe('hold');
  return amount;
}

async function payloadsOf(ledger: Ledger): Promise<Payload[]> {
  const found: Payload[] = [];
  for await (const { payload } of ledger.read()) found.push(payload);
  return found;
}

const adjustments = (payloads: readonly Payload[]): AdjustmentPayload[] =>
  payloads.filter((payload) => payload.type === 'adjustment');

const LONG: Reply = { outputTokens: 400, chunks: 20, chunkDelayMs: 2 };

describe('reconcile', () => {
  it('puts the bill in the place of the hold, once, signed', async () => {
    const upstream = await simulator(LONG);
    const ledger = memoryLedger();
    const guard = guardOn(ledger);
    const ref = await abortedCall(upstream);
    const hold = await settleAborted(guard, ref);
    expect((await guard.balances())[0]?.spent).toBe(hold);
    const lateTruth = openRouterGenerations({ apiKey: KEY, baseURL: upstream.url });
    const { adjusted, open } = await guard.reconcile({ lateTruth });
    expect(open).toEqual([]);
    expect(adjusted).toEqual([
      expect.objectContaining({ cost: upstream.billed, change: upstream.billed - hold }),
    ]);
    expect(upstream.billed).toBeGreaterThan(0n);
    expect(upstream.billed).toBeLessThan(hold);
    expect((await guard.balances())[0]).toMatchObject({ spent: upstream.billed, held: 0n });

    expect(await guard.reconcile({ lateTruth })).toEqual({ adjusted: [], open: [] });
    const all = await payloadsOf(ledger);
    expect(adjustments(all)).toEqual([
      expect.objectContaining({
        outcome: 'aborted',
        provider_ref: ref,
        previous: hold.toString(),
        change: (upstream.billed - hold).toString(),
        cost: {
          amount: upstream.billed.toString(),
          reported: upstream.billed.toString(),
          source: 'provider',
        },
        served: { model: MODEL, provider: 'Anthropic' },
        usage: expect.objectContaining({ output_tokens: expect.any(Number) }),
      }),
    ]);
    const lines: Uint8Array[] = [];
    for await (const { line } of ledger.read()) lines.push(new TextEncoder().encode(`${line}\n`));
    const [genesis] = all;
    const keys = [fromBase64url((genesis as { public_key: string }).public_key, 32)];
    expect(await verifyLog(lines, { keys })).toMatchObject({ integrity: 'valid' });
    expect(Buffer.concat(lines).toString()).not.toContain(KEY);
  });

  it('keeps what the upstream bills to an own key apart, and counts both', async () => {
    const upstream = await simulator({ ...LONG, isByok: true });
    const ledger = memoryLedger();
    const guard = guardOn(ledger);
    await settleAborted(guard, await abortedCall(upstream));
    await guard.reconcile({
      lateTruth: openRouterGenerations({ apiKey: () => KEY, baseURL: `${upstream.url}/` }),
    });
    const [line] = upstream.bill();
    const [adjustment] = adjustments(await payloadsOf(ledger));
    expect(adjustment?.cost).toEqual({
      amount: upstream.billed.toString(),
      byok: true,
      fee: line!.creditsNanoUsd.toString(),
      reported: upstream.billed.toString(),
      source: 'provider',
      upstream: line!.upstreamNanoUsd!.toString(),
    });
    expect(BigInt(adjustment!.cost.fee!) + BigInt(adjustment!.cost.upstream!)).toBe(upstream.billed);
  });

  it('records a truth above the hold in full', async () => {
    setCostOverride(MODEL, { inputCentsPerKtok: '0.000001', outputCentsPerKtok: '0.000001' });
    onTestFinished(() => setCostOverride(MODEL, null));
    const upstream = await simulator(LONG);
    const guard = guardOn(memoryLedger());
    const hold = await settleAborted(guard, await abortedCall(upstream));
    const lateTruth = openRouterGenerations({ apiKey: KEY, baseURL: upstream.url });
    const { adjusted } = await guard.reconcile({ lateTruth });
    expect(adjusted[0]?.change).toBe(upstream.billed - hold);
    expect(adjusted[0]?.change).toBeGreaterThan(0n);
    expect((await guard.balances())[0]?.spent).toBe(upstream.billed);
  });

  it('leaves calls alone that ended at a known cost, never left, or have no id', async () => {
    const asked: string[] = [];
    const guard = guardOn(memoryLedger());
    const begin = (): ReturnType<SpendGuard['begin']> =>
      guard.begin({ model: MODEL, provider: 'openrouter', inputTokens: 1000, maxOutputTokens: 500 });
    const usage = { inputTokens: 10, outputTokens: 10 };
    await (await begin()).settle({ outcome: 'ok', usage, cost: 0.001, providerRef: 'gen-known' });
    await (await begin()).settle({ outcome: 'aborted', usage, providerRef: 'gen-tokens' });
    await (await begin()).settle({ outcome: 'not_sent', providerRef: 'gen-not-sent' });
    await (await begin()).settle({ outcome: 'aborted' });
    const lookUp = async (ref: string): Promise<undefined> => void asked.push(ref);
    expect(await guard.reconcile({ lateTruth: { lookUp } })).toEqual({ adjusted: [], open: [] });
    expect(asked).toEqual([]);
  });

  it.each([
    [async () => undefined, 'not known yet'],
    [async () => null, 'does not know ids like this one'],
    [async () => ({ cost: 'a lot' }), 'a cost that is none'],
    [async () => ({ cost: -1 }), 'a cost that is none'],
    [() => Promise.reject(new Error('no network')), 'no network'],
    [() => Promise.reject(new LookUpRefused('wrong key')), 'wrong key'],
  ])('says why a call stays open (%#), and closes it the next time', async (lookUp, reason) => {
    const ledger = memoryLedger();
    const guard = guardOn(ledger);
    const hold = await settleAborted(guard, 'gen-1');
    const { adjusted, open } = await guard.reconcile({ lateTruth: { lookUp } });
    expect({ adjusted, open }).toEqual({
      adjusted: [],
      open: [{ callId: expect.any(String), providerRef: 'gen-1', reason: expect.stringContaining(reason) }],
    });
    expect((await guard.balances())[0]?.spent).toBe(hold);
    await guard.reconcile({ lateTruth: { lookUp: async () => ({ cost: '0.000001' }) } });
    expect((await guard.balances())[0]?.spent).toBe(1000n);
  });

  it('needs a source', async () => {
    await expect(guardOn(memoryLedger()).reconcile()).rejects.toMatchObject({ code: 'invalid_config' });
    const lateTruth = {} as never;
    expect(() => guardOn(memoryLedger(), { lateTruth })).toThrow('lateTruth: expected a source');
  });
});

describe('across processes and restarts', () => {
  async function folder(): Promise<string> {
    const dir = await mkdtemp(join(tmpdir(), 'agentguard-late-'));
    onTestFinished(() => rm(dir, { recursive: true, force: true }));
    return dir;
  }

  it('a call that another one left is found behind its snapshot, and adjusted by one of many', async () => {
    const home = await folder();
    const open = (): Ledger =>
      fileLedger({ dir: join(home, 'acme'), keyFile: join(home, 'key.json'), durability: 'os' });
    const first = guardOn(open());
    const hold = await settleAborted(first, 'gen-left');
    // far enough for a snapshot, which the next opening begins at
    for (let n = 0; n < 80; n += 1) await first.charge({ label: 'search', usd: '0.000001' });
    await first.close();
    const guards = Array.from({ length: 4 }, () => guardOn(open()));
    const lateTruth = { lookUp: async () => ({ cost: '0.0001' }) };
    const found = await Promise.all(guards.map((guard) => guard.reconcile({ lateTruth })));
    expect(found.flatMap(({ adjusted }) => adjusted)).toHaveLength(1);
    for (const guard of guards) {
      expect(await guard.reconcile({ lateTruth })).toEqual({ adjusted: [], open: [] });
      expect((await guard.balances())[0]?.spent).toBe(100_000n + 80_000n);
      await guard.close();
    }
    const again = guardOn(open());
    expect(await again.reconcile({ lateTruth })).toEqual({ adjusted: [], open: [] });
    await again.close();
    const text = await readFile(join(home, 'acme', 'decisions.ndjson'), 'utf8');
    expect(text.match(/"type":"adjustment"/g)).toHaveLength(1);
    const callId = found.flatMap(({ adjusted }) => adjusted)[0]?.callId as string;
    const shown = await agentguard(['verify', join(home, 'acme'), '--trace', callId]);
    expect(shown.code).toBe(2);
    const keyed = await agentguard([
      'verify',
      join(home, 'acme'),
      '--trace',
      callId,
      '--key',
      join(home, 'key.json'),
    ]);
    expect(keyed.code).toBe(0);
    expect(keyed.stdout).toContain('so much the provider says that it charged');
    expect(hold).toBeGreaterThan(100_000n);
  });

  it('a call whose hold had expired before it settled gets its truth, too', async () => {
    let now = Date.parse('2026-11-24T12:00:00Z');
    const ledger = memoryLedger({ now: () => now });
    const guard = guardOn(ledger, { leaseMs: 1000 });
    const call = await guard.begin({
      model: MODEL,
      provider: 'openrouter',
      inputTokens: 1000,
      maxOutputTokens: 500,
    });
    now += 5000;
    await guard.charge({ label: 'later', usd: 0 });
    await call.settle({ outcome: 'aborted', providerRef: 'gen-late' });
    await guard.reconcile({ lateTruth: { lookUp: async () => ({ cost: '0.0001' }) } });
    expect(adjustments(await payloadsOf(ledger)).map(({ change }) => change)).toEqual([
      '0',
      (100_000n - call.hold).toString(),
    ]);
    expect((await guard.balances())[0]?.spent).toBe(100_000n);
  });
});

describe('after a clock was set back', () => {
  it('finds the rolling window where it was moved to', async () => {
    const start = Date.parse('2026-11-24T12:00:00Z');
    let now = start + 3 * 86_400_000;
    const ledger = memoryLedger({ now: () => now });
    const caps = [{ amountCents: 100, window: 'per_hour' as const, action: 'block' as const }];
    const guard = createSpendGuard({ policy: { ...POLICY, caps }, ledger, waitForHoldsMs: 0 });
    await settleAborted(guard, 'gen-1');
    now = start;
    const [from, to] = [start + 3 * 86_400_000, start].map((time) => new Date(time).toISOString()) as [
      string,
      string,
    ];
    await ledger.transact([], () => ({ drafts: [{ type: 'clock', from, to }], result: undefined }));
    await guard.reconcile({ lateTruth: { lookUp: async () => ({ cost: '0.0001' }) } });
    expect((await guard.balances())[0]?.spent).toBe(100_000n);
  });
});

describe('in the background', () => {
  const fast = [1, 1, 1];

  function awaiting(
    ledger: Ledger,
    lookUp: () => Promise<{ cost: string } | undefined>,
    events: SpendEvent[] = [],
  ): LateTruths {
    const around = {
      ledger,
      signing: {},
      tell: (event: SpendEvent) => events.push(event),
      freed: () => undefined,
      pauses: fast,
    };
    return new LateTruths({ lookUp }, around);
  }

  it('asks again until the truth is there', async () => {
    const ledger = memoryLedger();
    const guard = guardOn(ledger);
    await settleAborted(guard, 'gen-1');
    let asked = 0;
    const events: SpendEvent[] = [];
    const late = awaiting(ledger, async () => ((asked += 1) < 3 ? undefined : { cost: '0.0001' }), events);
    const receipts = [];
    for await (const receipt of ledger.read()) receipts.push(receipt);
    await late.expect(receipts.find(({ payload }) => payload.type === 'settlement'));
    expect(asked).toBe(3);
    expect(events).toEqual([expect.objectContaining({ type: 'adjustment', cost: 100_000n })]);
    expect((await guard.balances())[0]?.spent).toBe(100_000n);
  });

  it('stops at a refusal, says it once, and never asks again', async () => {
    const ledger = memoryLedger();
    const guard = guardOn(ledger);
    for (const ref of ['gen-1', 'gen-2']) await settleAborted(guard, ref);
    let asked = 0;
    const events: SpendEvent[] = [];
    const late = awaiting(
      ledger,
      () => {
        asked += 1;
        return Promise.reject(new LookUpRefused('OpenRouter answered 401'));
      },
      events,
    );
    for await (const receipt of ledger.read()) await late.expect(receipt);
    expect(asked).toBe(1);
    expect(events).toEqual([expect.objectContaining({ type: 'warning', code: 'late_truth' })]);
  });

  it('is begun by the guard after such a call, off its way, and gives waiting calls their room', async () => {
    const upstream = await simulator(LONG);
    const events: SpendEvent[] = [];
    const kept: Promise<unknown>[] = [];
    const guard = guardOn(memoryLedger(), {
      lateTruth: openRouterGenerations({ apiKey: KEY, baseURL: upstream.url }),
      onEvent: (event) => events.push(event),
      waitUntil: (work) => kept.push(work),
    });
    await settleAborted(guard, await abortedCall(upstream));
    expect(events.some(({ type }) => type === 'adjustment')).toBe(false);
    await Promise.all(kept);
    expect(events.find(({ type }) => type === 'adjustment')).toMatchObject({ cost: upstream.billed });
    expect((await guard.balances())[0]?.spent).toBe(upstream.billed);
    await guard.close();
  });

  it('ends with the guard', async () => {
    const kept: Promise<unknown>[] = [];
    let asked = 0;
    const guard = guardOn(memoryLedger(), {
      lateTruth: { lookUp: async () => void (asked += 1) as undefined },
      waitUntil: (work) => kept.push(work),
    });
    await settleAborted(guard, 'gen-1');
    await guard.close();
    await Promise.all(kept);
    expect(asked).toBe(0);
  });
});

describe('openRouterGenerations', () => {
  const never = new AbortController().signal;

  it('asks about its own ids alone, with the key in the header and nowhere else', async () => {
    const upstream = await simulator(LONG);
    const source = openRouterGenerations({ apiKey: KEY, baseURL: upstream.url });
    expect(await source.lookUp('chatcmpl-123', never)).toBeNull();
    expect(await source.lookUp('gen-../models', never)).toBeNull();
    expect(upstream.requests).toHaveLength(0);
    expect(await source.lookUp('gen-unknown', never)).toBeUndefined();
    const [request] = upstream.requests;
    expect(request).toMatchObject({ path: '/api/v1/generation?id=gen-unknown' });
    expect(request!.headers['authorization']).toBe(`Bearer ${KEY}`);
  });

  it.each([401, 403, 500, 429])('tells a final %s from one that passes, without the key', async (status) => {
    const send = (async () => new Response(`echo ${KEY}`, { status })) as typeof fetch;
    const error: unknown = await openRouterGenerations({ apiKey: KEY, fetch: send })
      .lookUp('gen-1', never)
      .catch((failure: unknown) => failure);
    expect(error instanceof LookUpRefused).toBe(status < 429);
    expect(String(error)).toContain(String(status));
    expect(String(error)).not.toContain(KEY);
  });

  it.each([
    [{ id: 'gen-2', total_cost: 1 }],
    [{ id: 'gen-1', total_cost: null }],
    [{ id: 'gen-1', total_cost: -1 }],
    [{ id: 'gen-1', total_cost: 'x' }],
    [{ id: 'gen-1', total_cost: 0, native_tokens_completion: 5 }],
    [{ id: 'gen-1', total_cost: 0.1, is_byok: true, upstream_inference_cost: null }],
    [undefined],
  ])('takes %j for no truth yet', (data) => {
    expect(truthIn({ data }, 'gen-1')).toBeUndefined();
  });

  it.each([
    [{ total_cost: 0.25 }, '0.25'],
    [{ total_cost: 0, native_tokens_completion: 0 }, '0.00'],
    [{ total_cost: 0, native_tokens_completion: 9, model: 'a/b:free' }, '0.00'],
    [{ total_cost: 0.05, is_byok: true, upstream_inference_cost: 1 }, '1.05'],
    [{ total_cost: 0.05, is_byok: false, upstream_inference_cost: 0.04 }, '0.05'],
  ])('takes %j for %s', (data, cost) => {
    expect(truthIn({ data: { id: 'gen-1', ...data } }, 'gen-1')).toMatchObject({ cost });
  });

  it.each([[{}], [{ apiKey: '' }], [{ apiKey: KEY, baseURL: 'openrouter' }]])('refuses %j', (options) => {
    expect(() => openRouterGenerations(options as never)).toThrow('openRouterGenerations:');
    try {
      openRouterGenerations(options as never);
    } catch (error) {
      expect(String(error)).not.toContain(KEY);
    }
  });
});
