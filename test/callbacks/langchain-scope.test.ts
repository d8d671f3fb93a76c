/** Who is calling: from metadata, from around the call, and never on the wire. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createAgent } from 'langchain';
import { guardModel, spendGuardHandler, spendGuardMiddleware } from '../../callbacks/langchain.ts';
import { blockedError, withSpendScope, type SpendPolicy } from '../../src/index.ts';
import {
  caught,
  MODELS,
  openai,
  openDesk,
  policyOf,
  readAll,
  WIDE,
  type Chat,
  type Desk,
} from './langchain-kit.ts';

const TENANT = 'tenant-of-nobody-else';
const scope = { spendGuard: { tenantId: TENANT, userId: 'user-of-nobody-else' } };

beforeEach(() => void vi.spyOn(console, 'error').mockImplementation(() => undefined));
afterEach(() => void vi.restoreAllMocks());

type Guarding = (model: Chat, desk: Desk) => [Chat, object];
const GUARDINGS: readonly (readonly [string, Guarding])[] = [
  ['guardModel', (model, { guard }) => [guardModel(model, guard), {}]],
  ['a handler', (model, { guard }) => [model, { callbacks: [spendGuardHandler(guard)] }]],
  ['both', (model, { guard }) => [guardModel(model, guard), { callbacks: [spendGuardHandler(guard)] }]],
];

const WAYS: Readonly<Record<string, (model: Chat, options: object) => Promise<unknown>>> = {
  invoke: (model, options) => model.invoke('hi', options),
  stream: (model, options) => readAll(model.stream('hi', options)),
  batch: (model, options) => model.batch(['a', 'b'], options),
  'streamEvents v2': (model, options) => readAll(model.streamEvents('hi', { version: 'v2', ...options })),
  withConfig: (model, options) => model.withConfig(options).invoke('hi'),
};

describe.each(MODELS)('%s', (name, make) => {
  it.each(GUARDINGS)(
    'takes the scope from metadata, and sends nothing of it: %s',
    async (_name, guarding) => {
      for (const [way, call] of Object.entries(WAYS)) {
        await using desk = await openDesk();
        const [model, options] = guarding(make(desk.sim.url), desk);
        await call(model, { ...options, metadata: scope });
        const decisions = await desk.receipts('decision');
        expect(decisions, way).toHaveLength(way === 'batch' ? 2 : 1);
        for (const decision of decisions) {
          expect(decision.scope).toMatchObject({ tenantId: TENANT, userId: 'user-of-nobody-else' });
        }
        for (const { bodyText, headers, path } of desk.sim.requests) {
          expect(`${bodyText} ${JSON.stringify(headers)} ${path}`).not.toMatch(
            /nobody-else|spendGuard|agentguard/i,
          );
        }
      }
    },
  );

  it('takes it from the metadata of its constructor, and from newer events', async () => {
    await using desk = await openDesk();
    await guardModel(make(desk.sim.url, { metadata: scope }), desk.guard).invoke('hi');
    if (name.endsWith('1.x')) {
      const model = guardModel(make(desk.sim.url), desk.guard);
      await readAll(model.streamEvents('hi', { metadata: scope } as never) as never);
      expect(await desk.receipts('decision')).toHaveLength(2);
    }
    for (const decision of await desk.receipts('decision'))
      expect(decision.scope).toMatchObject({ tenantId: TENANT });
  });

  it.each(GUARDINGS)('refuses a scope that contradicts the one around it: %s', async (_name, guarding) => {
    await using desk = await openDesk();
    const [model, options] = guarding(make(desk.sim.url), desk);
    for (const call of Object.values(WAYS)) {
      const told = await caught(() =>
        withSpendScope({ tenantId: 'other' }, () => call(model, { ...options, metadata: scope })),
      );
      expect(blockedError((told as { thrown: unknown }).thrown)).toMatchObject({ reason: 'scope_conflict' });
    }
    expect(desk.sim.requests).toHaveLength(0);
    expect((await desk.receipts('decision')).every(({ reason }) => reason === 'scope_conflict')).toBe(true);
  });

  it('refuses metadata that is no scope, and sends nothing', async () => {
    await using desk = await openDesk();
    for (const [, guarding] of GUARDINGS) {
      const [model, options] = guarding(make(desk.sim.url), desk);
      await expect(model.invoke('hi', { ...options, metadata: { spendGuard: 'me' } })).rejects.toThrow(
        /metadata\.spendGuard/,
      );
    }
    expect(desk.sim.requests).toHaveLength(0);
  });
});

it('an adapter has a layer of its own', async () => {
  await using desk = await openDesk();
  const model = guardModel(openai(desk.sim.url), desk.guard, { scope: { agentId: 'mine' } });
  await model.invoke('hi', { metadata: { spendGuard: { userId: 'u' } } });
  expect(await desk.receipts('decision')).toMatchObject([{ scope: { agentId: 'mine', userId: 'u' } }]);
  const told = await caught(() => model.invoke('hi', { metadata: { spendGuard: { agentId: 'other' } } }));
  expect(blockedError((told as { thrown: unknown }).thrown)).toMatchObject({ reason: 'scope_conflict' });
});

it('an agent hands its metadata on to its own model, guarded by the middleware', async () => {
  await using desk = await openDesk();
  const agent = createAgent({
    model: openai(desk.sim.url),
    tools: [],
    middleware: [spendGuardMiddleware(desk.guard)],
  });
  await agent.invoke({ messages: [{ role: 'user', content: 'hi' }] }, { metadata: scope });
  expect(await desk.receipts('decision')).toMatchObject([{ scope: { tenantId: TENANT } }]);
});

it.each(MODELS)(
  'calls that wait in the queue of their model keep their own scope: %s',
  async (_name, make) => {
    await using desk = await openDesk();
    const model = guardModel(make(desk.sim.url, { maxConcurrency: 1 }), desk.guard);
    const mine = new AsyncLocalStorage<string>();
    const seen: string[] = [];
    const callbacks = [{ handleLLMEnd: () => void seen.push(mine.getStore() ?? 'nobody') }];
    const users = ['ann', 'bob', 'cid', 'dan', 'eve', 'fay'];
    const calls = users.map((userId, index) =>
      mine.run(userId, () =>
        withSpendScope({ userId }, () =>
          index % 2 === 0
            ? model.invoke(`I am ${userId}`, { callbacks })
            : readAll(model.stream(`I am ${userId}`, { callbacks })),
        ),
      ),
    );
    await Promise.all([...calls, model.invoke('I am nobody')]);
    const settlements = await desk.receipts('settlement');
    const decisions = await desk.receipts('decision');
    expect(decisions).toHaveLength(7);
    // the cost of each request lies with the one who made it
    for (const { generationId, bodyText, charge } of desk.sim.requests) {
      const words = /I am (\w+)/.exec(bodyText)?.[1];
      const own = decisions.filter(({ scope: { userId = 'nobody' } }) => userId === words);
      expect(own).toHaveLength(1);
      const settlement = settlements.find(({ call }) => call === own[0]?.call);
      expect(BigInt(settlement?.cost.amount ?? 0)).toBe(charge);
      if (settlement?.provider_ref !== undefined) expect(settlement.provider_ref).toBe(generationId);
    }
    expect(seen.toSorted()).toEqual(users);
  },
);

describe('two tenants on one guarded model', () => {
  const CALLS = 1000;
  const policies: SpendPolicy[] = ['red', 'blue'].map((tenantId) =>
    policyOf([WIDE], { id: tenantId, scope: { tenantId } }),
  );

  it.each([
    [
      'withSpendScope',
      (tenantId: string, call: (options: object) => Promise<unknown>) =>
        withSpendScope({ tenantId }, () => call({})),
    ],
    [
      'metadata',
      (tenantId: string, call: (options: object) => Promise<unknown>) =>
        call({ metadata: { spendGuard: { tenantId } } }),
    ],
  ] as const)('have all their spend on their own accounts (%s)', async (_name, as) => {
    const respond = ({ body }: { body: object }) => ({
      text: 'x',
      outputTokens: JSON.stringify(body).includes('red') ? 3 : 5,
    });
    await using desk = await openDesk(policies, { respond });
    const model = guardModel(openai(desk.sim.url, { maxTokens: 20 }), desk.guard);
    const tenants = Array.from({ length: CALLS }, (_, index) => (index % 3 === 0 ? 'red' : 'blue'));
    let next = 0;
    const work = async (): Promise<void> => {
      for (let index = next++; index < CALLS; index = next++) {
        const tenant = tenants[index] as string;
        const words = `I am ${tenant}, number ${index}`;
        await as(tenant, (options) =>
          index % 2 === 0 ? model.invoke(words, options) : readAll(model.stream(words, options)),
        );
      }
    };
    await Promise.all(Array.from({ length: 20 }, work));
    expect(desk.sim.requests).toHaveLength(CALLS);
    const billed: Record<string, bigint> = { red: 0n, blue: 0n };
    for (const { bodyText, charge = 0n } of desk.sim.requests) {
      billed[bodyText.includes('I am red') ? 'red' : 'blue']! += charge;
    }
    for (const tenantId of ['red', 'blue']) {
      const [cap] = await desk.guard.balances({ tenantId });
      expect(cap).toMatchObject({ spent: billed[tenantId], held: 0n });
    }
    const scopes = (await desk.receipts('decision')).map((decision) => decision.scope.tenantId);
    expect(scopes.filter((tenant) => tenant === 'red')).toHaveLength(
      tenants.filter((each) => each === 'red').length,
    );
  });
});
