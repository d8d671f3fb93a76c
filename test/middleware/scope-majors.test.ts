/** Who pays: many tenants through one guarded model, and scopes that contradict each other, in every major. */
import { describe, expect, it } from 'vitest';
import { spendGuard, spendOptions } from '../../middleware/ai-sdk.ts';
import {
  blockedError,
  memoryLedger,
  createSpendGuard,
  withSpendScope,
  type SpendScope,
} from '../../src/index.ts';
import { startSimulator } from '../../src/node/simulator/index.ts';
import { MAJORS, type Any, type Ask, type Major } from '../majors/major.ts';
import { OPUS, openDesk, policyOf, WIDE } from './ai-sdk-kit.ts';

async function readText(major: Major, ask: Ask): Promise<string> {
  let text = '';
  for await (const part of major.stream(ask).fullStream) text += major.textOf(part);
  return text;
}

describe.each(MAJORS)('$name', (major) => {
  it('1,000 requests of two tenants through one guarded model: no spend on the wrong account', async () => {
    const respond = ({ messages }: { messages: readonly unknown[] }) => {
      const [, tenant, index] = /(a|b)-(\d+)/.exec(JSON.stringify(messages)) ?? [];
      return { text: `for ${tenant}`, outputTokens: 10 + (Number(index) % 7), chunks: 2 };
    };
    await using sim = await startSimulator({ respond });
    const policies = (['a', 'b'] as const).map((tenantId) =>
      policyOf([WIDE], { id: tenantId, scope: { tenantId } }),
    );
    const guard = createSpendGuard({ policy: policies, ledger: memoryLedger() });
    const model = major.wrap(major.openrouter({ url: sim.url }, OPUS), spendGuard(guard));
    const run = async (index: number): Promise<void> => {
      const tenantId = index % 2 === 0 ? 'a' : 'b';
      const ask = { model, prompt: `${tenantId}-${index}`, maxOutputTokens: 100, maxRetries: 0 };
      await withSpendScope({ tenantId }, async () => {
        await Promise.resolve();
        const text = index % 3 === 0 ? await readText(major, ask) : (await major.generate(ask)).text;
        expect(text).toBe(`for ${tenantId}`);
      });
    };
    // fifty at once, all the time, each at its own pace
    let next = 0;
    await Promise.all(
      Array.from({ length: 50 }, async () => {
        while (next < 1000) await run(next++);
      }),
    );
    await sim.idle();
    const bills = { a: 0n, b: 0n };
    for (const line of sim.bill()) {
      const request = sim.requests.find(({ id }) => id === line.requestId);
      bills[/"a-\d+"/.test(request?.bodyText ?? '') ? 'a' : 'b'] += line.nanoUsd;
    }
    expect(bills.a).toBeGreaterThan(0n);
    expect(bills.a).not.toBe(bills.b);
    for (const tenantId of ['a', 'b'] as const) {
      const [balance] = await guard.balances({ tenantId });
      expect(balance).toMatchObject({ spent: bills[tenantId], held: 0n });
    }
    expect(sim.requests).toHaveLength(1000);
  }, 180_000);

  it.each<[string, SpendScope | undefined, SpendScope | undefined, SpendScope | undefined]>([
    ['the call against withSpendScope', undefined, { tenantId: 'a' }, { tenantId: 'b' }],
    ['the call against the adapter', { tenantId: 'a' }, undefined, { tenantId: 'b' }],
    ['withSpendScope against the adapter', { tenantId: 'a' }, { tenantId: 'b' }, undefined],
    ['a user of another', undefined, { tenantId: 'a', userId: 'x' }, { userId: 'y' }],
  ])('refuses a scope that contradicts an outer one: %s', async (_name, layer, around, own) => {
    await using desk = await openDesk(policyOf([WIDE]));
    const adapter = spendGuard(desk.guard, layer === undefined ? {} : { scope: layer });
    const model = major.wrap(major.openrouter({ url: desk.sim.url }, OPUS), adapter);
    const providerOptions = own === undefined ? {} : spendOptions({ scope: own });
    const ask: Ask = { model, prompt: 'x', maxOutputTokens: 100, providerOptions };
    const within = async <T>(work: () => Promise<T>): Promise<T> =>
      around === undefined ? work() : withSpendScope(around, work);
    const thrown = await within(() => major.generate(ask)).catch((error: unknown) => error);
    expect(blockedError(thrown)).toMatchObject({ reason: 'scope_conflict' });
    const told: unknown[] = [];
    const more = { onError: ({ error }: Any) => told.push(error) };
    await within(() => readText(major, { ...ask, more }));
    expect(told.map(blockedError)).toMatchObject([{ reason: 'scope_conflict' }]);
    expect(desk.sim.requests).toHaveLength(0);
    expect(await desk.receipts('decision')).toMatchObject([
      { decision: 'block', reason: 'scope_conflict' },
      { decision: 'block', reason: 'scope_conflict' },
    ]);
  });

  it('carries the scope of withSpendScope and of the call into every step', async () => {
    const respond = ({ messages }: { messages: readonly unknown[] }) =>
      messages.length < 3 ? { toolCalls: [{ name: 'look', arguments: { key: 'k' } }] } : { text: 'Done.' };
    await using desk = await openDesk(policyOf([WIDE]), { respond });
    const model = major.wrap(major.openrouter({ url: desk.sim.url }, OPUS), spendGuard(desk.guard));
    const tools = { look: major.look };
    const providerOptions = spendOptions({ scope: { userId: 'ada' } });
    const ask: Ask = { model, prompt: 'x', maxOutputTokens: 100, tools, steps: 3, providerOptions };
    // made inside, read outside
    const stream = withSpendScope({ tenantId: 'acme' }, () => major.stream(ask));
    for await (const _ of stream.fullStream);
    const scope = { tenantId: 'acme', userId: 'ada' };
    expect(await desk.receipts('decision')).toMatchObject([{ scope }, { scope }]);
  });
});
