import { AIMessage, HumanMessage, ToolMessage } from '@langchain/core/messages';
import { tool } from '@langchain/core/tools';
import { MemorySaver } from '@langchain/langgraph';
import { createAgent, initChatModel, toolRetryMiddleware } from 'langchain';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { guardModel, spendGuardHandler, spendGuardMiddleware } from '../../callbacks/langchain.ts';
import { blockedError, isBlocked, withSpendScope } from '../../src/index.ts';
import type { Reply, SimulatedRequest } from '../../src/node/simulator/index.ts';
import {
  anthropic,
  caught,
  HAIKU,
  ladder,
  openai,
  openDesk,
  openrouter,
  OPUS,
  policyOf,
  readAll,
  WIDE,
  type Desk,
} from './langchain-kit.ts';

const NOTHING = policyOf([{ amountCents: 0, window: 'total', action: 'block' }]);
const DOWN = policyOf([WIDE, ladder(HAIKU)]);
const input = { messages: [{ role: 'user' as const, content: 'hi' }] };
const schema = { type: 'object' as const, properties: { key: { type: 'string' as const } } };
const look = tool((given: unknown) => `value of ${(given as { key: string }).key}`, {
  name: 'look',
  description: 'Looks.',
  schema,
});
const PUBLIC = 'This request was stopped by a spending policy.';

beforeEach(() => void vi.spyOn(console, 'error').mockImplementation(() => undefined));
afterEach(() => void vi.restoreAllMocks());

/** One look, then an answer. */
function lookOnce({ messages }: SimulatedRequest): Reply {
  const text = JSON.stringify(messages);
  const isDone = /"role":"tool"|tool_result/.test(text);
  return isDone
    ? { text: 'Found it.' }
    : { text: '', toolCalls: [{ name: 'look', arguments: { key: 'x' } }] };
}

/** An agent whose tool asks a model of its own, which is refused. */
function withRefusedTool(desk: Desk, exitBehavior: 'error' | 'end') {
  const inner = guardModel(openai(desk.sim.url), desk.guard);
  const asks = tool(async () => (await withSpendScope({ task: 'inner' }, () => inner.invoke('hi'))).text, {
    name: 'look',
    description: 'Looks.',
    schema,
  });
  const middleware = [spendGuardMiddleware(desk.guard, { exitBehavior })];
  return createAgent({
    model: openai(desk.sim.url),
    tools: [asks],
    middleware,
    checkpointer: new MemorySaver(),
  });
}

const INNER = [
  policyOf([WIDE], { id: 'outer' }),
  policyOf([{ amountCents: 0, window: 'total', action: 'block' }], { id: 'inner', scope: { task: 'inner' } }),
];

describe('spendGuardMiddleware', () => {
  it.each([
    ['openai', openai],
    ['openrouter', openrouter],
    ['anthropic', anthropic],
  ])('sends a downgraded agent to the cheaper model, tools and all (%s)', async (_name, make) => {
    await using desk = await openDesk(DOWN, { respond: lookOnce });
    const agent = createAgent({
      model: make(desk.sim.url),
      tools: [look],
      middleware: [spendGuardMiddleware(desk.guard)],
    });
    const { messages } = await agent.invoke(input);
    expect(messages.at(-1)?.text).toBe('Found it.');
    await readAll(await agent.stream(input));
    const bodies = desk.bodies();
    expect(bodies.map(({ model }) => model)).toEqual([HAIKU, HAIKU, HAIKU, HAIKU]);
    for (const { tools } of bodies) expect(tools).toHaveLength(1);
    expect(await desk.spent()).toBe(desk.sim.billed);
  });

  it('takes a ladder of another provider, and binds the tools anew', async () => {
    await using desk = await openDesk(DOWN, { respond: lookOnce });
    const rungs = { [HAIKU]: anthropic(desk.sim.url, { model: HAIKU }) };
    const middleware = [spendGuardMiddleware(desk.guard, { ladder: rungs })];
    const agent = createAgent({ model: openai(desk.sim.url), tools: [look], middleware });
    const { messages } = await agent.invoke(input);
    expect(messages.at(-1)?.text).toBe('Found it.');
    expect(desk.sim.requests.map(({ path }) => path)).toEqual(['/api/v1/messages', '/api/v1/messages']);
    expect(desk.bodies()[0]?.['tools']).toMatchObject([{ name: 'look', input_schema: { type: 'object' } }]);
    expect(await desk.receipts('settlement')).toHaveLength(2);
    expect(await desk.held()).toBe(0n);
  });

  it('guards a model that is named by a text', async () => {
    await using desk = await openDesk(DOWN, { respond: lookOnce });
    const model = await initChatModel(OPUS, {
      modelProvider: 'openai',
      apiKey: 'k',
      maxTokens: 50,
      configuration: { baseURL: desk.sim.url },
    });
    const agent = createAgent({ model, tools: [look], middleware: [spendGuardMiddleware(desk.guard)] });
    await agent.invoke(input);
    expect(desk.bodies().map((body) => body['model'])).toEqual([HAIKU, HAIKU]);
    expect(await desk.receipts('decision')).toHaveLength(2);
  });

  it('decides once beside a handler and a guarded model of its guard', async () => {
    await using desk = await openDesk(undefined, { respond: lookOnce });
    const model = guardModel(openai(desk.sim.url), desk.guard);
    const agent = createAgent({ model, tools: [look], middleware: [spendGuardMiddleware(desk.guard)] });
    await agent.invoke(input, { callbacks: [spendGuardHandler(desk.guard)] });
    expect(await desk.receipts('decision')).toHaveLength(2);
    expect(await desk.spent()).toBe(desk.sim.billed);
  });

  it('rejects with a refusal by default', async () => {
    await using desk = await openDesk(NOTHING);
    const agent = createAgent({
      model: openai(desk.sim.url),
      tools: [look],
      middleware: [spendGuardMiddleware(desk.guard)],
    });
    const { thrown } = (await caught(() => agent.invoke(input))) as { thrown: unknown };
    expect(blockedError(thrown)).toMatchObject({ reason: 'cap_spent' });
    expect(desk.sim.requests).toHaveLength(0);
  });

  it('ends the agent with a message where it shall', async () => {
    await using desk = await openDesk(NOTHING);
    const middleware = [spendGuardMiddleware(desk.guard, { exitBehavior: 'end' })];
    const agent = createAgent({ model: openai(desk.sim.url), tools: [look], middleware });
    const { messages } = await agent.invoke(input);
    expect(messages).toHaveLength(2);
    const last = messages.at(-1) as AIMessage;
    expect(last.text).toBe(PUBLIC);
    expect(last).toBeInstanceOf(AIMessage);
    expect(last.tool_calls).toEqual([]);
    expect(JSON.parse(JSON.stringify(last))).toMatchObject({
      id: ['langchain_core', 'messages', 'AIMessage'],
    });
    expect(desk.sim.requests).toHaveLength(0);
  });

  it('ends it in the middle of its work, too, with the work that was paid for', async () => {
    const policy = policyOf([{ amountCents: 2, window: 'total', action: 'block' }]);
    await using desk = await openDesk(policy, {
      respond: (request) => ({ ...lookOnce(request), outputTokens: 300 }),
    });
    const middleware = [spendGuardMiddleware(desk.guard, { exitBehavior: 'end' })];
    const agent = createAgent({ model: openai(desk.sim.url), tools: [look], middleware });
    const { messages } = await agent.invoke(input);
    expect(messages.map((message) => message.getType())).toEqual(['human', 'ai', 'tool', 'ai']);
    expect(messages.at(-1)?.text).toBe(PUBLIC);
    expect(desk.sim.requests).toHaveLength(1);
    expect(await desk.spent()).toBe(desk.sim.billed);
  });

  it('stops an agent whose tool is refused', async () => {
    await using desk = await openDesk(INNER, { respond: lookOnce });
    const agent = withRefusedTool(desk, 'error');
    await expect(agent.invoke(input, { configurable: { thread_id: '1' } })).rejects.toSatisfy(isBlocked);
    expect(desk.sim.requests).toHaveLength(1);
  });

  it('ends an agent whose tool is refused, and lets it go on in the next turn', async () => {
    await using desk = await openDesk(INNER, { respond: lookOnce });
    const agent = withRefusedTool(desk, 'end');
    const config = { configurable: { thread_id: '1' } };
    const { messages } = await agent.invoke(input, config);
    expect(messages.map((message) => message.getType())).toEqual(['human', 'ai', 'tool', 'ai']);
    expect(messages.at(-1)?.text).toBe(PUBLIC);
    expect(messages[2]).toBeInstanceOf(ToolMessage);
    expect(messages[2]).toMatchObject({ status: 'error', tool_call_id: expect.any(String) as string });
    expect(desk.sim.requests).toHaveLength(1);
    const later = await agent.invoke({ messages: [new HumanMessage('and now?')] }, config);
    expect(later.messages.at(-1)?.text).toBe('Found it.');
    expect(desk.sim.requests).toHaveLength(2);
  });

  it('leaves the other errors of tools as they are without it', async () => {
    const fails = tool(
      () => {
        throw new TypeError('the database is away');
      },
      { name: 'look', description: 'Looks.', schema },
    );
    const told: unknown[] = [];
    for (const isGuarded of [false, true]) {
      await using desk = await openDesk(undefined, { respond: lookOnce });
      const middleware = isGuarded ? [spendGuardMiddleware(desk.guard)] : [];
      const agent = createAgent({ model: openai(desk.sim.url), tools: [fails], middleware });
      const { messages } = await agent.invoke(input);
      told.push(
        messages.map((message) => [message.getType(), message.text, (message as ToolMessage).status]),
      );
    }
    expect(told[0]).toEqual(told[1]);
    expect(JSON.stringify(told[1])).toContain('the database is away');
  });

  it('does not have a refused tool tried again', async () => {
    await using desk = await openDesk(INNER, { respond: lookOnce });
    const inner = guardModel(openai(desk.sim.url), desk.guard);
    let runs = 0;
    const asks = tool(
      async () => {
        runs += 1;
        return (await withSpendScope({ task: 'inner' }, () => inner.invoke('hi'))).text;
      },
      { name: 'look', description: 'Looks.', schema },
    );
    const retries = toolRetryMiddleware({ maxRetries: 3, initialDelayMs: 1 }) as never;
    const middleware = [retries, spendGuardMiddleware(desk.guard)];
    const agent = createAgent({ model: openai(desk.sim.url), tools: [asks], middleware });
    await caught(() => agent.invoke(input));
    expect(runs).toBe(1);
  });

  it('checks its options at once', async () => {
    await using desk = await openDesk();
    expect(() => spendGuardMiddleware(desk.guard, { exitBehavior: 'throw' as never })).toThrow(
      /exitBehavior: expected/,
    );
    expect(() => spendGuardMiddleware(desk.guard, { ladder: [{}] })).toThrow(/ladder\[0\]/);
    expect(() => spendGuardMiddleware(desk.guard, { scope: { user: 'x' } as never })).toThrow(/scope\.user/);
  });
});
