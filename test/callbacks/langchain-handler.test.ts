/** The bare handler, and every path through LangChain on which it has to stop a call. */
import { InMemoryCache } from '@langchain/core/caches';
import { HumanMessage } from '@langchain/core/messages';
import { RunnableLambda } from '@langchain/core/runnables';
import { tool } from '@langchain/core/tools';
import { MessagesAnnotation, StateGraph } from '@langchain/langgraph';
import { createAgent, modelFallbackMiddleware, modelRetryMiddleware } from 'langchain';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { guardModel, spendGuardHandler } from '../../callbacks/langchain.ts';
import { blockedError, isBlocked, withSpendScope } from '../../src/index.ts';
import type { Reply, SimulatedRequest } from '../../src/node/simulator/index.ts';
import * as old from '../frameworks/langchain-0.3/index.ts';
import {
  anthropic,
  caught,
  HAIKU,
  MODELS,
  oldOpenai,
  openai,
  openDesk,
  openrouter,
  OPUS,
  policyOf,
  readAll,
  WIDE,
  type Chat,
  type Desk,
} from './langchain-kit.ts';

const NOTHING = policyOf([{ amountCents: 0, window: 'total', action: 'block' }]);
const input = { messages: [{ role: 'user' as const, content: 'hi' }] };
const schema = { type: 'object' as const, properties: { key: { type: 'string' as const } } };

// LangChain prints every error that a handler throws
beforeEach(() => void vi.spyOn(console, 'error').mockImplementation(() => undefined));
afterEach(() => void vi.restoreAllMocks());

/** What a call rejects with, and that nothing was sent. */
async function stops(desk: Desk, call: () => PromiseLike<unknown>): Promise<void> {
  const { thrown } = (await caught(call)) as { thrown: unknown };
  expect(blockedError(thrown)).toMatchObject({ reason: 'cap_spent', status: 402 });
  expect(desk.sim.requests).toHaveLength(0);
  expect((await desk.receipts('decision')).every(({ decision }) => decision === 'block')).toBe(true);
}

const tools = [{ type: 'function' as const, function: { name: 'look', parameters: schema } }];

const PATHS: Readonly<Record<string, (model: Chat, options: never) => PromiseLike<unknown>>> = {
  invoke: (model, options) => model.invoke('hi', options),
  stream: (model, options) => readAll(model.stream('hi', options)),
  batch: (model, options) => model.batch(['a', 'b'], options),
  generate: (model, options) => model.generate([[new HumanMessage('a')], [new HumanMessage('b')]], options),
  'streamEvents v1': (model, options) =>
    readAll(model.streamEvents('hi', { version: 'v1', ...(options as object) })),
  'streamEvents v2': (model, options) =>
    readAll(model.streamEvents('hi', { version: 'v2', ...(options as object) })),
  streamLog: (model, options) => readAll(model.streamLog('hi', options)),
  'structured output': (model, options) =>
    model.withStructuredOutput({ title: 'x', ...schema }).invoke('hi', options),
  bindTools: (model, options) => model.bindTools(tools).invoke('hi', options),
  'a chain': (model, options) =>
    RunnableLambda.from(() => 'hi')
      .pipe(model)
      .invoke('x', options),
  'withRetry that gives up': (model, options) =>
    model
      .withRetry({
        stopAfterAttempt: 3,
        onFailedAttempt: (error: unknown) => {
          throw error as Error;
        },
      })
      .invoke('hi', options),
  withFallbacks: (model, options) => model.withFallbacks([model]).invoke('hi', options),
};

describe.each(MODELS)('a handler stops %s', (name, make) => {
  it.each(Object.entries(PATHS))('%s', async (_path, call) => {
    await using desk = await openDesk(NOTHING);
    await stops(desk, () =>
      call(make(desk.sim.url), { callbacks: [spendGuardHandler(desk.guard)] } as never),
    );
  });

  it('from its constructor, with other callbacks at the call', async () => {
    await using desk = await openDesk(NOTHING);
    const model = make(desk.sim.url, { callbacks: [spendGuardHandler(desk.guard)] });
    await stops(desk, () => model.invoke('hi', { callbacks: [] }));
    await stops(desk, () => model.bindTools(tools).invoke('hi', { callbacks: [{}] as never }));
  });

  it('where it streams by itself', async () => {
    await using desk = await openDesk(NOTHING);
    const model = make(desk.sim.url, { streaming: true });
    await stops(desk, () => model.invoke('hi', { callbacks: [spendGuardHandler(desk.guard)] }));
  });

  it('once where it is at the model and at the call', async () => {
    await using desk = await openDesk();
    const handler = spendGuardHandler(desk.guard);
    const model = make(desk.sim.url, { callbacks: [handler] });
    await model.invoke('hi', { callbacks: [handler] });
    await readAll(model.stream('hi', { callbacks: [handler] }));
    expect(await desk.receipts('decision')).toHaveLength(2);
    expect(await desk.receipts('settlement')).toHaveLength(2);
    // merged chunks of ChatAnthropic count the first token twice, and their cost doesn't say whose key it was
    const more = name.startsWith('ChatAnthropic') ? 25_000n : 0n;
    expect(await desk.spent()).toBe(desk.sim.billed + more);
  });

  it('and settles what is answered, aborted and refused', async () => {
    let reply: Reply = { text: 'Hello.' };
    await using desk = await openDesk(undefined, { respond: () => reply });
    const callbacks = [spendGuardHandler(desk.guard)];
    const model = make(desk.sim.url);
    await model.batch(['a', 'b'], { callbacks });
    expect(await desk.spent()).toBe(desk.sim.billed);
    reply = { fault: { kind: 'http', status: 429 } };
    await caught(() => model.invoke('hi', { callbacks }));
    reply = { outputTokens: 400, chunks: 200, chunkDelayMs: 2 };
    const abort = new AbortController();
    await caught(async () => {
      const stream = await model.stream('hi', { callbacks, signal: abort.signal });
      for await (const _ of stream) abort.abort();
    });
    await desk.sim.idle();
    await vi.waitFor(async () => expect(await desk.receipts('settlement')).toHaveLength(4), {
      timeout: 20_000,
    });
    expect((await desk.receipts('settlement')).map(({ outcome }) => outcome).slice(2)).toEqual([
      'refused',
      expect.stringMatching(/aborted|ok/),
    ]);
    expect(await desk.held()).toBe(0n);
    expect(await desk.spent()).toBeGreaterThanOrEqual(desk.sim.billed);
  });

  it('asks for a limit where the model has none and no maximum is known', async () => {
    await using desk = await openDesk();
    const callbacks = [spendGuardHandler(desk.guard)];
    const { thrown } = (await caught(() =>
      make(desk.sim.url, { maxTokens: undefined }).invoke('hi', { callbacks }),
    )) as {
      thrown: Error;
    };
    // ChatAnthropic sets one by itself
    if (name.includes('Anthropic')) return expect(thrown).toBeUndefined();
    expect(thrown.message).toContain('has no output limit');
    expect(thrown.message).toContain('Set an output limit on the call.');
    expect(desk.sim.requests).toHaveLength(0);
  });
});

describe('a handler in agents and graphs stops', () => {
  it.each([
    ['openai', openai],
    ['openrouter', openrouter],
    ['anthropic', anthropic],
  ])('createAgent: invoke, stream, events (%s)', async (_name, make) => {
    await using desk = await openDesk(NOTHING);
    const options = { callbacks: [spendGuardHandler(desk.guard)] };
    const agent = createAgent({ model: make(desk.sim.url), tools: [] });
    await stops(desk, () => agent.invoke(input, options));
    await stops(desk, async () => readAll(await agent.stream(input, options)));
    await stops(desk, () => readAll(agent.streamEvents(input, { version: 'v2', ...options }) as never));
  });

  it('createAgent with its own version of events', async () => {
    await using desk = await openDesk(NOTHING);
    const options = { callbacks: [spendGuardHandler(desk.guard)], version: 'v3' as const };
    const agent = createAgent({ model: openai(desk.sim.url), tools: [] });
    await stops(desk, async () => {
      const run = (await agent.streamEvents(input, options as never)) as unknown as {
        output: Promise<unknown>;
      };
      await run.output;
    });
  });

  it('createReactAgent of 0.3: invoke, stream, events', async () => {
    await using desk = await openDesk(NOTHING);
    const options = { callbacks: [spendGuardHandler(desk.guard)] };
    const agent = old.createReactAgent({ llm: oldOpenai(desk.sim.url) as never, tools: [] });
    await stops(desk, () => agent.invoke(input, options));
    await stops(desk, async () => readAll(await agent.stream(input, options)));
    await stops(desk, () => readAll(agent.streamEvents(input, { version: 'v2', ...options })));
  });

  it('AgentExecutor of 0.3', async () => {
    await using desk = await openDesk(NOTHING);
    const look = old.tool(() => 'x', { name: 'look', description: 'Looks.', schema });
    const prompt = old.ChatPromptTemplate.fromMessages([
      ['user', '{input}'],
      ['placeholder', '{agent_scratchpad}'],
    ]);
    const agent = old.createToolCallingAgent({
      llm: oldOpenai(desk.sim.url) as never,
      tools: [look],
      prompt,
    });
    const executor = new old.AgentExecutor({ agent, tools: [look] });
    await stops(desk, () => executor.invoke({ input: 'hi' }, { callbacks: [spendGuardHandler(desk.guard)] }));
  });

  it('StateGraph and subgraphs, with no config passed on', async () => {
    await using desk = await openDesk(NOTHING);
    const model = openai(desk.sim.url);
    const ask = async ({ messages }: typeof MessagesAnnotation.State) => ({
      messages: [await model.invoke(messages)],
    });
    const inner = new StateGraph(MessagesAnnotation)
      .addNode('ask', ask)
      .addEdge('__start__', 'ask')
      .compile();
    const outer = new StateGraph(MessagesAnnotation)
      .addNode('inner', inner)
      .addEdge('__start__', 'inner')
      .compile();
    const options = { callbacks: [spendGuardHandler(desk.guard)] };
    await stops(desk, () => inner.invoke(input, options));
    await stops(desk, () => outer.invoke(input, options));
    await stops(desk, async () => readAll(await outer.stream(input, options)));
    const retried = new StateGraph(MessagesAnnotation)
      .addNode('ask', ask, { retryPolicy: { maxAttempts: 3 } })
      .addEdge('__start__', 'ask')
      .compile();
    const before = (await desk.receipts('decision')).length;
    await stops(desk, () => retried.invoke(input, options));
    // LangGraph does not try a 402 again
    expect(await desk.receipts('decision')).toHaveLength(before + 1);
  });

  it('StateGraph of 0.3', async () => {
    await using desk = await openDesk(NOTHING);
    const model = oldOpenai(desk.sim.url);
    const ask = async ({ messages }: typeof old.MessagesAnnotation.State) => ({
      messages: [await model.invoke(messages as never)] as never,
    });
    const graph = new old.StateGraph(old.MessagesAnnotation)
      .addNode('ask', ask)
      .addEdge('__start__', 'ask')
      .compile();
    await stops(desk, () => graph.invoke(input, { callbacks: [spendGuardHandler(desk.guard)] }));
  });

  it('models inside of tools and sub-agents, which the agent alone would not', async () => {
    let isOuter = true;
    const respond = ({ tools: asked }: SimulatedRequest): Reply =>
      asked.length > 0 && isOuter
        ? { toolCalls: [{ name: 'look', arguments: { key: 'x' } }], text: '' }
        : { text: 'done' };
    const policy = policyOf([{ amountCents: 0, window: 'total', action: 'block' }], {
      scope: { task: 'inner' },
    });
    await using desk = await openDesk([policyOf([WIDE], { id: 'outer' }), policy], { respond });
    const inner = createAgent({ model: openai(desk.sim.url), tools: [] });
    let told: unknown;
    const look = tool(
      async () => {
        isOuter = false;
        told = await caught(() => withSpendScope({ task: 'inner' }, () => inner.invoke(input)));
        throw (told as { thrown: Error }).thrown;
      },
      { name: 'look', description: 'Looks.', schema },
    );
    const agent = createAgent({ model: openai(desk.sim.url), tools: [look] });
    await agent.invoke(input, { callbacks: [spendGuardHandler(desk.guard)] });
    expect(isBlocked((told as { thrown: unknown }).thrown)).toBe(true);
    // the agent goes on, for a tool's error is told to its model: spendGuardMiddleware stops it
    expect(desk.sim.requests).toHaveLength(2);
  });
});

describe('fallbacks and retries', () => {
  it('of a model: each one is decided alone, so that a cheaper one may serve', async () => {
    const small = policyOf([{ amountCents: 1, window: 'per_call', action: 'block' }]);
    await using desk = await openDesk(small);
    const callbacks = [spendGuardHandler(desk.guard)];
    const chain = openai(desk.sim.url).withFallbacks([
      openai(desk.sim.url, { model: HAIKU, maxTokens: 100 }),
    ]);
    await chain.invoke('hi', { callbacks });
    await readAll(chain.stream('hi', { callbacks }));
    expect(desk.bodies().map(({ model }) => model)).toEqual([HAIKU, HAIKU]);
    expect((await desk.receipts('decision')).map(({ decision }) => decision)).toEqual([
      'block',
      'allow',
      'block',
      'allow',
    ]);
  });

  it('of createAgent: modelFallbackMiddleware', async () => {
    await using desk = await openDesk(policyOf([{ amountCents: 1, window: 'per_call', action: 'block' }]));
    const cheap = openai(desk.sim.url, { model: HAIKU, maxTokens: 100 });
    const agent = createAgent({
      model: openai(desk.sim.url),
      tools: [],
      middleware: [modelFallbackMiddleware(cheap)],
    });
    await agent.invoke(input, { callbacks: [spendGuardHandler(desk.guard)] });
    expect(desk.bodies().map(({ model }) => model)).toEqual([HAIKU]);
  });

  it('of modelRetryMiddleware: a refusal is not tried again, and reaches the caller with onFailure: error', async () => {
    await using desk = await openDesk(NOTHING);
    const middleware = [
      modelRetryMiddleware({ maxRetries: 3, initialDelayMs: 1, onFailure: 'error' }) as never,
    ];
    const agent = createAgent({ model: openai(desk.sim.url), tools: [], middleware });
    await stops(desk, () => agent.invoke(input, { callbacks: [spendGuardHandler(desk.guard)] }));
    expect(await desk.receipts('decision')).toHaveLength(1);
  });

  it('of modelRetryMiddleware: by default a refusal becomes a message', async () => {
    await using desk = await openDesk(NOTHING);
    const middleware = [modelRetryMiddleware({ maxRetries: 1, initialDelayMs: 1 }) as never];
    const agent = createAgent({ model: openai(desk.sim.url), tools: [], middleware });
    const { messages } = await agent.invoke(input, { callbacks: [spendGuardHandler(desk.guard)] });
    expect(messages.at(-1)?.text).toContain('was blocked');
    expect(desk.sim.requests).toHaveLength(0);
  });
});

describe('a cache', () => {
  it('costs nothing where it has the answer, though the usage of the first one is still there', async () => {
    for (const make of [openai, openrouter, oldOpenai]) {
      await using desk = await openDesk();
      const cache = make === oldOpenai ? new old.InMemoryCache() : new InMemoryCache();
      const model = make(desk.sim.url, { cache });
      const options = { callbacks: [spendGuardHandler(desk.guard)] };
      await model.invoke('hi', options);
      await model.invoke('hi', options);
      expect(desk.sim.requests).toHaveLength(1);
      expect((await desk.receipts('settlement')).map(({ outcome }) => outcome)).toEqual(['ok', 'not_sent']);
      expect(await desk.spent()).toBe(desk.sim.billed);
    }
  });
});

describe('known holes, as documented', () => {
  it('newer events of a bare model tell no handler; a guarded model is under the guard', async () => {
    await using desk = await openDesk(NOTHING);
    const model = openai(desk.sim.url, { callbacks: [spendGuardHandler(desk.guard)] });
    await readAll(model.streamEvents('hi') as never);
    expect(desk.sim.requests).toHaveLength(1);
    await expect(readAll(guardModel(model, desk.guard).streamEvents('hi') as never)).rejects.toSatisfy(
      isBlocked,
    );
    expect(desk.sim.requests).toHaveLength(1);
  });

  it('callbacks: [] takes inherited handlers away; a guarded model is under the guard', async () => {
    await using desk = await openDesk(NOTHING);
    const options = { callbacks: [spendGuardHandler(desk.guard)] };
    const run = (model: Chat) =>
      RunnableLambda.from(() => model.invoke('hi', { callbacks: [] })).invoke('x', options);
    await run(openai(desk.sim.url));
    expect(desk.sim.requests).toHaveLength(1);
    await expect(run(guardModel(openai(desk.sim.url), desk.guard))).rejects.toSatisfy(isBlocked);
    expect(desk.sim.requests).toHaveLength(1);
  });

  it('a stream that is left is told to no handler: its hold expires at the full amount', async () => {
    await using desk = await openDesk(
      undefined,
      { respond: () => ({ outputTokens: 100, chunks: 50, chunkDelayMs: 1 }) },
      { leaseMs: 1 },
    );
    const model = openai(desk.sim.url);
    for await (const _ of await model.stream('hi', { callbacks: [spendGuardHandler(desk.guard)] })) break;
    await desk.sim.idle();
    await vi.waitFor(async () => {
      await desk.guard.charge({ label: 'later', usd: '0' });
      expect(await desk.held()).toBe(0n);
    });
    expect(await desk.spent()).toBeGreaterThanOrEqual(desk.sim.billed);
  });
});

it('names the model that was asked for in its refusal', async () => {
  await using desk = await openDesk(NOTHING);
  const { thrown } = (await caught(() =>
    openai(desk.sim.url).invoke('hi', { callbacks: [spendGuardHandler(desk.guard)] }),
  )) as {
    thrown: Error;
  };
  expect(thrown).toMatchObject({ name: 'AgentGuardBlockedError', model: OPUS });
  expect(console.error).toHaveBeenCalledWith(
    expect.stringContaining('Error in handler AgentGuardSpendHandler'),
  );
});
