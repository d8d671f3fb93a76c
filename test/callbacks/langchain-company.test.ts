/** Calls in company: several handlers and guards, other middleware, graphs. Judged by HTTP body, bill and holds. */
import { HumanMessage } from '@langchain/core/messages';
import { RunnableLambda, RunnableParallel } from '@langchain/core/runnables';
import { tool } from '@langchain/core/tools';
import { BaseTracer, type Run } from '@langchain/core/tracers/base';
import { Annotation, Command, END, interrupt, MemorySaver, START, StateGraph } from '@langchain/langgraph';
import {
  createAgent,
  createMiddleware,
  humanInTheLoopMiddleware,
  llmToolSelectorMiddleware,
  modelFallbackMiddleware,
  modelRetryMiddleware,
  summarizationMiddleware,
  type AgentMiddleware,
} from 'langchain';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { guardModel, spendGuardHandler, spendGuardMiddleware } from '../../callbacks/langchain.ts';
import { isBlocked, withSpendScope } from '../../src/index.ts';
import type { Reply, SimulatedRequest } from '../../src/node/simulator/index.ts';
import {
  caught,
  HAIKU,
  ladder,
  MODELS,
  openai,
  openDesk,
  OPUS,
  policyOf,
  readAll,
  SONNET,
  WIDE,
  type Desk,
} from './langchain-kit.ts';

const DOWN = policyOf([WIDE, ladder(HAIKU)]);
const NOTHING = policyOf([{ amountCents: 0, window: 'total', action: 'block' }]);
const BY_USER = policyOf([{ ...WIDE, per: ['userId'] }, ladder(HAIKU)]);
const input = { messages: [{ role: 'user' as const, content: 'hi' }] };
const schema = { type: 'object' as const, properties: { key: { type: 'string' as const } } };
const named = { name: 'look', description: 'Looks.', schema };
const look = tool((given: unknown) => `value of ${(given as { key: string }).key}`, named);

/** One look, then an answer. */
function lookOnce({ messages, tools }: SimulatedRequest): Reply {
  const isDone = tools.length === 0 || JSON.stringify(messages).includes('"role":"tool"');
  return isDone
    ? { text: 'Found it.' }
    : { text: '', toolCalls: [{ name: 'look', arguments: { key: 'x' } }] };
}

const sentTo = (desk: Desk): unknown[] => desk.bodies().map(({ model }) => model);

/** Every request was decided once and settled at its bill, and nothing is held. */
async function expectSound(desk: Desk, calls: number): Promise<void> {
  expect(desk.bodies()).toHaveLength(calls);
  const decisions = await desk.receipts('decision');
  expect(decisions.filter(({ decision }) => decision !== 'block')).toHaveLength(calls);
  expect(await desk.receipts('settlement')).toHaveLength(calls);
  expect(await desk.held()).toBe(0n);
  expect(await desk.spent()).toBe(desk.sim.billed);
}

/** Calls that were held and never sent cost nothing and hold nothing, once LangChain's refusal is through. */
async function expectUnsent(desk: Desk, calls: number): Promise<void> {
  await vi.waitFor(async () => expect(await desk.receipts('settlement')).toHaveLength(calls), 5000);
  expect(desk.sim.requests).toHaveLength(0);
  expect([await desk.held(), await desk.spent()]).toEqual([0n, 0n]);
}

beforeEach(() => void vi.spyOn(console, 'error').mockImplementation(() => undefined));
afterEach(() => void vi.restoreAllMocks());

describe.each(MODELS)('several handlers on %s', (_name, make) => {
  it('of one guard decide a call once', async () => {
    await using desk = await openDesk();
    const model = make(desk.sim.url, { callbacks: [spendGuardHandler(desk.guard)] });
    const callbacks = [spendGuardHandler(desk.guard), spendGuardHandler(desk.guard)];
    await model.invoke('hi', { callbacks });
    await expectSound(desk, 1);
  });

  it.each(['first', 'last'])('of two guards hold nothing where one refuses, asked %s', async (place) => {
    await using desk = await openDesk();
    await using other = await openDesk(NOTHING);
    const callbacks = [spendGuardHandler(desk.guard), spendGuardHandler(other.guard)];
    if (place === 'first') callbacks.reverse();
    await expect(make(desk.sim.url).invoke('hi', { callbacks })).rejects.toSatisfy(isBlocked);
    await expectUnsent(desk, 1);
  });

  it('hold nothing for prompts that are not sent since another one is refused', async () => {
    await using desk = await openDesk(
      policyOf([WIDE, { amountCents: 3, window: 'per_call', action: 'block' }]),
    );
    const prompts = [
      [new HumanMessage('a')],
      [new HumanMessage('b'.repeat(100_000))],
      [new HumanMessage('c')],
    ];
    const callbacks = [spendGuardHandler(desk.guard)];
    await expect(make(desk.sim.url).generate(prompts, { callbacks })).rejects.toSatisfy(isBlocked);
    await expectUnsent(desk, 2);
  });

  it('beside a guarded model of another guard: both settle, or neither', async () => {
    await using desk = await openDesk();
    await using down = await openDesk(DOWN);
    await using nothing = await openDesk(NOTHING);
    const callbacks = [spendGuardHandler(desk.guard)];
    const refused = guardModel(make(desk.sim.url), nothing.guard);
    await expect(refused.invoke('hi', { callbacks })).rejects.toSatisfy(isBlocked);
    await expectUnsent(desk, 1);
    await guardModel(make(desk.sim.url), down.guard).invoke('hi', { callbacks });
    expect(sentTo(desk)).toEqual([HAIKU]);
    expect(await down.spent()).toBe(desk.sim.billed);
  });
});

describe('spendGuardMiddleware beside', () => {
  type Others = (desk: Desk) => AgentMiddleware;
  // middleware with contexts of their own don't fit the plain type
  const own = (middleware: unknown): AgentMiddleware => middleware as AgentMiddleware;
  const agentOf = (desk: Desk, others: Others, place: string) => {
    const ours: AgentMiddleware = spendGuardMiddleware(desk.guard);
    const middleware = place === 'before' ? [others(desk), ours] : [ours, others(desk)];
    const checkpointer = new MemorySaver();
    return createAgent({ model: openai(desk.sim.url), tools: [look], middleware, checkpointer });
  };
  const thread = { configurable: { thread_id: '1' } };

  it.each(['before', 'after'])('summarizationMiddleware (%s it)', async (place) => {
    await using desk = await openDesk(DOWN, { respond: lookOnce });
    const others: Others = () =>
      own(
        summarizationMiddleware({
          model: guardModel(openai(desk.sim.url, { model: SONNET }), desk.guard),
          trigger: { messages: 3 },
          keep: { messages: 1 },
        } as never),
      );
    const messages = ['a', 'b', 'c'].map((content) => ({ role: 'user' as const, content }));
    await agentOf(desk, others, place).invoke({ messages }, thread);
    expect(new Set(sentTo(desk))).toEqual(new Set([HAIKU]));
    await expectSound(desk, desk.bodies().length);
  });

  it('llmToolSelectorMiddleware: tells nobody of its calls, so the agent’s model itself must be guarded', async () => {
    const respond = (request: SimulatedRequest): Reply =>
      request.tools.length > 0 ? lookOnce(request) : { text: '{"tools":["look"]}' };
    const run = async (desk: Desk, isGuarded: boolean): Promise<void> => {
      const bare = openai(desk.sim.url);
      const agent = createAgent({
        model: isGuarded ? guardModel(bare, desk.guard) : bare,
        tools: [look],
        middleware: [
          own(llmToolSelectorMiddleware({ maxTools: 1 } as never)),
          spendGuardMiddleware(desk.guard),
        ],
      });
      await agent.invoke(input, { callbacks: [spendGuardHandler(desk.guard)] });
    };
    await using hole = await openDesk(undefined, { respond });
    await run(hole, false);
    expect((await hole.receipts('decision')).length).toBeLessThan(hole.sim.requests.length);
    await using desk = await openDesk(undefined, { respond });
    await run(desk, true);
    await expectSound(desk, desk.sim.requests.length);
  });

  it('modelFallbackMiddleware before it: the fallback is decided, too', async () => {
    const policy = policyOf([WIDE, { amountCents: 0.3, window: 'per_call', action: 'block' }]);
    await using desk = await openDesk(policy, { respond: lookOnce });
    const others: Others = () =>
      own(modelFallbackMiddleware(openai(desk.sim.url, { model: HAIKU, maxTokens: 50 })));
    await agentOf(desk, others, 'before').invoke(input, thread);
    expect(sentTo(desk)).toEqual([HAIKU, HAIKU]);
    await expectSound(desk, 2);
  });

  it.each([
    ['before', 3],
    ['after', 1],
  ])('modelRetryMiddleware (%s it): a refusal is decided %i times, and never sent', async (place, times) => {
    await using desk = await openDesk(NOTHING);
    const others: Others = () =>
      own(modelRetryMiddleware({ maxRetries: 2, initialDelayMs: 1, onFailure: 'error' }));
    await expect(agentOf(desk, others, place).invoke(input, thread)).rejects.toSatisfy(isBlocked);
    expect(desk.sim.requests).toHaveLength(0);
    expect(await desk.receipts('decision')).toHaveLength(times);
  });

  it('a middleware after it that takes another model: only the handler sees it', async () => {
    const others: Others = (desk) =>
      own(
        createMiddleware({
          name: 'swap',
          wrapModelCall: (request, handler) =>
            handler({ ...request, model: openai(desk.sim.url, { model: SONNET }) }),
        }),
      );
    await using bare = await openDesk(NOTHING);
    await agentOf(bare, others, 'after').invoke(input, thread);
    expect(await bare.receipts('decision')).toHaveLength(0);
    await using desk = await openDesk(undefined, { respond: lookOnce });
    const callbacks = [spendGuardHandler(desk.guard)];
    await agentOf(desk, others, 'after').invoke(input, { ...thread, callbacks });
    await expectSound(desk, 2);
    await using before = await openDesk(DOWN, { respond: lookOnce });
    await agentOf(before, others, 'before').invoke(input, thread);
    expect(sentTo(before)).toEqual([HAIKU, HAIKU]);
  });

  it.each(['before', 'after'])('humanInTheLoopMiddleware (%s it): an agent goes on', async (place) => {
    await using desk = await openDesk(DOWN, { respond: lookOnce });
    const others: Others = () => own(humanInTheLoopMiddleware({ interruptOn: { look: true } } as never));
    const agent = agentOf(desk, others, place);
    await agent.invoke(input, thread);
    const resume = { decisions: [{ type: 'approve' }] };
    const { messages } = (await agent.invoke(new Command({ resume }), thread)) as {
      messages: { text: string }[];
    };
    expect(messages.at(-1)?.text).toBe('Found it.');
    await expectSound(desk, 2);
  });

  it('a tool that interrupts', async () => {
    await using desk = await openDesk(DOWN, { respond: lookOnce });
    const asks = tool(() => `said ${interrupt('sure?')}`, named);
    const middleware = [spendGuardMiddleware(desk.guard)];
    const model = openai(desk.sim.url);
    const agent = createAgent({ model, tools: [asks], middleware, checkpointer: new MemorySaver() });
    await agent.invoke(input, thread);
    const { messages } = (await agent.invoke(new Command({ resume: 'yes' }), thread)) as {
      messages: { text: string }[];
    };
    expect(messages.map(({ text }) => text)).toContain('said yes');
    await expectSound(desk, 2);
  });
});

describe('graphs and chains', () => {
  it('branches side by side, each in a scope of its own', async () => {
    await using desk = await openDesk(BY_USER);
    const model = guardModel(openai(desk.sim.url), desk.guard);
    const answers = Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] });
    const node = (userId: string) => () =>
      withSpendScope({ userId }, async () => ({ answers: [(await model.invoke('hi')).text] }));
    const graph = new StateGraph(Annotation.Root({ answers }))
      .addNode('a', node('ann'))
      .addNode('b', node('ben'))
      .addEdge(START, 'a')
      .addEdge(START, 'b')
      .addEdge('a', END)
      .addEdge('b', END)
      .compile();
    await graph.invoke({ answers: [] }, { callbacks: [spendGuardHandler(desk.guard)] });
    const users = (await desk.receipts('decision')).map(({ scope }) => scope.userId);
    expect(new Set(users)).toEqual(new Set(['ann', 'ben']));
    expect(sentTo(desk)).toEqual([HAIKU, HAIKU]);
  });

  it('RunnableParallel and batch with a concurrency', async () => {
    await using desk = await openDesk(DOWN);
    const model = guardModel(openai(desk.sim.url), desk.guard);
    const inner = RunnableLambda.from(async (text: string) => (await model.invoke(text)).text);
    const chain = RunnableParallel.from<string>({ model, inner, piped: model.pipe(({ text }) => text) });
    await chain.batch(['a', 'b'], { maxConcurrency: 1 });
    await model.batch(['a', 'b', 'c'], { maxConcurrency: 2 });
    expect(new Set(sentTo(desk))).toEqual(new Set([HAIKU]));
    await expectSound(desk, 9);
  });

  it('two tenants in every way at once', async () => {
    await using desk = await openDesk(BY_USER, { respond: lookOnce });
    const model = guardModel(openai(desk.sim.url, { maxConcurrency: 3 }), desk.guard);
    const middleware = [spendGuardMiddleware(desk.guard)];
    const agent = createAgent({ model: openai(desk.sim.url), tools: [look], middleware });
    const ways: ((options: object) => Promise<unknown>)[] = [
      (options) => model.invoke('hi', options),
      (options) => readAll(model.stream('hi', options)),
      (options) => readAll(model.streamEvents('hi', options as never) as never),
      (options) => model.batch(['a', 'b'], options),
      (options) => agent.invoke(input, options),
      async (options) => readAll(await agent.stream(input, options)),
    ];
    const calls = Array.from({ length: 48 }, (_, index) => {
      const userId = `user${index % 2}`;
      const way = ways[index % ways.length] as (options: object) => Promise<unknown>;
      const isAround = index % 4 < 2;
      return isAround
        ? withSpendScope({ userId }, () => way({}))
        : way({ metadata: { spendGuard: { userId } } });
    });
    await Promise.all(calls);
    const spent = await Promise.all(
      ['user0', 'user1'].map(async (userId) => (await desk.guard.balances({ userId }))[0]?.spent ?? 0n),
    );
    expect((spent[0] ?? 0n) + (spent[1] ?? 0n)).toBe(desk.sim.billed);
    const decisions = await desk.receipts('decision');
    expect(decisions).toHaveLength(desk.bodies().length);
    expect(new Set(sentTo(desk))).toEqual(new Set([HAIKU]));
  });

  it('a tracer sees whole runs, and nothing of ours in them', async () => {
    const runs: Run[] = [];
    class Tracer extends BaseTracer {
      name = 'tracer';
      protected async persistRun(run: Run): Promise<void> {
        runs.push(run);
      }
    }
    await using desk = await openDesk(DOWN);
    await using nothing = await openDesk(NOTHING);
    const callbacks = [new Tracer({ _awaitHandler: true })];
    await guardModel(openai(desk.sim.url), desk.guard).invoke('hi', { callbacks });
    await caught(() => guardModel(openai(desk.sim.url), nothing.guard).invoke('hi', { callbacks }));
    expect(runs).toHaveLength(2);
    expect(runs.map(({ end_time: end }) => typeof end)).toEqual(['number', 'number']);
    expect(runs[1]?.error).toContain('cap_spent');
    expect(JSON.stringify(runs[0])).not.toMatch(/agentguard/i);
    expect(JSON.stringify(runs[0]?.serialized)).toContain(OPUS);
  });
});
