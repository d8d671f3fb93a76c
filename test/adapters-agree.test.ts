/** The same calls through every adapter: the same decisions, reasons, routes, holds and settlements. */
import { HumanMessage, SystemMessage } from '@langchain/core/messages';
import { ChatOpenAI } from '@langchain/openai';
import { ChatOpenRouter } from '@langchain/openrouter';
import { createOpenRouter } from '@openrouter/ai-sdk-provider';
import { generateText, streamText, wrapLanguageModel } from 'ai';
import { OpenAI } from 'openai';
import { describe, expect, it } from 'vitest';
import { guardModel } from '../callbacks/langchain.ts';
import { spendGuard } from '../middleware/ai-sdk.ts';
import { withSpendGuard, withSpendScope, type SpendPolicy } from '../src/index.ts';
import type { Reply, SimulatedRequest } from '../src/node/simulator/index.ts';
import { HAIKU, OPUS, openDesk, policyOf, WIDE, type Desk } from './middleware/ai-sdk-kit.ts';

interface Ask {
  what: string;
  /** The texts that every adapter reads from the call: a system prompt and the user's words. */
  system: string;
  user: string;
  model: string;
  fallbacks?: readonly string[];
  maxOutputTokens?: number;
  stream?: true;
  /** Who is calling. */
  userId: string;
}

interface Way {
  name: string;
  /** Who served isn't told in streams. */
  isSilent?: true;
  /** Makes one call; rejects where it fails. Never retries. */
  call(desk: Desk, ask: Ask): Promise<unknown>;
}

const modelsOf = ({ model, fallbacks }: Ask): { models?: string[] } =>
  fallbacks === undefined ? {} : { models: [model, ...fallbacks] };

const aiSdk: Way = {
  name: 'AI SDK',
  async call({ guard, sim }, ask) {
    const openrouter = createOpenRouter({ apiKey: 'sk-or-test', baseURL: sim.url });
    const model = wrapLanguageModel({
      model: openrouter(ask.model, modelsOf(ask)),
      middleware: spendGuard(guard),
    });
    const { system, user: prompt, maxOutputTokens } = ask;
    const call = {
      model,
      system,
      prompt,
      maxRetries: 0,
      ...(maxOutputTokens !== undefined && { maxOutputTokens }),
    };
    if (ask.stream === undefined) return generateText(call);
    let failure: unknown;
    await streamText({ ...call, onError: ({ error }) => (failure = error) }).consumeStream();
    if (failure !== undefined) throw failure;
  },
};

const openai: Way = {
  name: 'OpenAI client',
  async call({ guard, sim }, ask) {
    const bare = new OpenAI({ apiKey: 'sk-or-test', baseURL: sim.url, maxRetries: 0 });
    const { chat } = withSpendGuard(bare, { guard, provider: 'openrouter' });
    const body = {
      model: ask.model,
      ...modelsOf(ask),
      messages: [
        { role: 'system' as const, content: ask.system },
        { role: 'user' as const, content: ask.user },
      ],
      ...(ask.maxOutputTokens !== undefined && { max_tokens: ask.maxOutputTokens }),
    };
    if (ask.stream === undefined) return chat.completions.create(body);
    for await (const _chunk of await chat.completions.create({ ...body, stream: true }));
  },
};

const openaiModel = ({ sim }: Desk, ask: Ask): ChatOpenAI =>
  new ChatOpenAI({
    model: ask.model,
    apiKey: 'sk-or-test',
    maxRetries: 0,
    configuration: { baseURL: sim.url },
    modelKwargs: modelsOf(ask),
    ...(ask.maxOutputTokens !== undefined && { maxTokens: ask.maxOutputTokens }),
  });

const openrouterModel = ({ sim }: Desk, ask: Ask): ChatOpenRouter =>
  new ChatOpenRouter({
    model: ask.model,
    apiKey: 'sk-or-test',
    maxRetries: 0,
    baseURL: sim.url,
    ...modelsOf(ask),
    ...(ask.maxOutputTokens !== undefined && { maxTokens: ask.maxOutputTokens }),
  });

function langchain(name: string, make: (desk: Desk, ask: Ask) => ChatOpenAI | ChatOpenRouter): Way {
  return {
    name,
    async call(desk, ask) {
      const model = guardModel(make(desk, ask) as ChatOpenAI, desk.guard);
      const messages = [new SystemMessage(ask.system), new HumanMessage(ask.user)];
      if (ask.stream === undefined) return model.invoke(messages);
      for await (const _chunk of await model.stream(messages));
    },
  };
}

const WAYS: readonly Way[] = [
  aiSdk,
  openai,
  langchain('LangChain (ChatOpenAI)', openaiModel),
  { ...langchain('LangChain (ChatOpenRouter)', openrouterModel), isSilent: true },
];

const policies: SpendPolicy[] = [
  policyOf(
    [
      WIDE,
      { amountCents: 2, window: 'per_call', action: 'downgrade', downgradeTo: HAIKU },
      { amountCents: 10, window: 'per_call', action: 'block' },
    ],
    { id: 'all', maxOutputTokens: 700 },
  ),
  policyOf([{ amountCents: 0, window: 'total', action: 'block' }], { id: 'poor', scope: { userId: 'poor' } }),
];

const plain = { system: 'You know the sky.', user: 'How far is the moon?', model: OPUS, userId: 'ann' };
const ASKS: readonly Ask[] = [
  { ...plain, what: 'allowed', maxOutputTokens: 500 },
  { ...plain, what: 'streamed', maxOutputTokens: 500, stream: true },
  { ...plain, what: 'downgraded', maxOutputTokens: 2000 },
  { ...plain, what: 'too dear for one call', maxOutputTokens: 50_000 },
  { ...plain, what: 'served by a fallback', maxOutputTokens: 500, fallbacks: [HAIKU] },
  { ...plain, what: 'of a model without a price', model: 'somebody/unknown-model', maxOutputTokens: 500 },
  { ...plain, what: 'without an output limit' },
  { ...plain, what: 'refused by the provider', user: 'Too many!', maxOutputTokens: 500 },
  { ...plain, what: 'answered without usage', user: 'No usage!', maxOutputTokens: 500 },
  { ...plain, what: 'of a user who has nothing', maxOutputTokens: 500, userId: 'poor' },
];

function respond({ messages, body }: SimulatedRequest): Reply {
  const { content } = messages.at(-1) as { content: unknown };
  // some clients send a text as one part
  const words = typeof content === 'string' ? content : JSON.stringify(content);
  if (words.includes('Too many!')) return { fault: { kind: 'http', status: 429 } };
  const answer = { text: 'Far, far away.', outputTokens: 30, inputTokens: 25 };
  if (words.includes('No usage!')) return { ...answer, fault: { kind: 'no-usage' } };
  return body['models'] === undefined ? answer : { ...answer, servedModel: HAIKU };
}

/** What the log has of a run, but for ids, times and names of hosts. */
async function run(way: Way): Promise<unknown[]> {
  await using desk = await openDesk(policies, { respond });
  const told: unknown[] = [];
  for (const ask of ASKS) {
    const { requests } = desk.sim;
    const before = requests.length;
    const refused = await withSpendScope({ userId: ask.userId }, () => way.call(desk, ask)).then(
      () => false,
      () => true,
    );
    await desk.sim.idle();
    const [decision] = (await desk.receipts('decision')).slice(-1);
    const settlement = (await desk.receipts('settlement')).find(({ call }) => call === decision?.call);
    const sent = requests.slice(before).map(({ body }) => body as Record<string, unknown>);
    told.push({
      what: ask.what,
      refused,
      sent: sent.map(({ model, models, max_tokens: limit }) => ({ model, models: models ?? null, limit })),
      decision: decision && {
        decision: decision.decision,
        reason: decision.reason,
        request: decision.request,
        route: decision.route,
        hold: decision.hold,
        decisive: decision.decisive_cap,
        scope: decision.scope,
      },
      settlement: settlement && {
        outcome: settlement.outcome,
        cost: settlement.cost,
        usage: settlement.usage,
        served: settlement.served?.model,
        isFallback: settlement.served?.fallback,
        isUnknown: settlement.unknown_usage !== undefined,
      },
    });
  }
  expect(await desk.held()).toBe(0n);
  expect(await desk.receipts('decision')).toHaveLength(ASKS.length);
  return told;
}

describe('adapters agree', () => {
  it.each(WAYS.slice(1))('AI SDK and $name', async (way) => {
    const [mine, theirs] = [await run(aiSdk), await run(way)];
    for (const [index, row] of (mine as { what: string; settlement?: object }[]).entries()) {
      const isUntold = way.isSilent === true && row.what === 'streamed';
      const expected = isUntold ? { ...row, settlement: { ...row.settlement, served: undefined } } : row;
      expect(theirs[index]).toEqual(expected);
    }
  });

  it('go through every kind of decision', async () => {
    const rows = (await run(aiSdk)) as { decision: { decision: string; reason: string } }[];
    expect(rows.map(({ decision: { decision, reason } }) => `${decision} ${reason}`)).toEqual([
      'allow within_caps',
      'allow within_caps',
      'downgrade over_soft_cap',
      'block cap_per_call',
      'allow within_caps',
      'block unknown_price',
      'allow within_caps',
      'allow within_caps',
      'allow within_caps',
      'block cap_spent',
    ]);
  });
});
