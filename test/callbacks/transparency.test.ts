/**
 * A guarded model under a policy that allows everything is what it was without the guard: what LangChain's standard
 * tests of chat models look at, in each version, with the same bodies on the wire.
 */
import { HumanMessage, SystemMessage, ToolMessage, AIMessage } from '@langchain/core/messages';
import { InMemoryCache } from '@langchain/core/caches';
import { ChatPromptTemplate } from '@langchain/core/prompts';
import { describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import { guardModel, spendGuardHandler } from '../../callbacks/langchain.ts';
import type { Fault, Reply, SimulatedRequest } from '../../src/node/simulator/index.ts';
import {
  caught,
  MODELS,
  OPUS,
  openDesk,
  policyOf,
  readAll,
  SONNET,
  WIDE,
  type Chat,
  type Desk,
  type Make,
} from './langchain-kit.ts';

const PIXEL =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';

const weather = {
  type: 'function' as const,
  function: {
    name: 'weather',
    description: 'Looks the weather up',
    parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  },
};

const schema = {
  title: 'sky',
  type: 'object',
  properties: { sky: { type: 'string' } },
  required: ['sky'],
} as const;

const question = 'What is the weather in Berlin?';
const talk = [
  new SystemMessage('Be brief.'),
  new HumanMessage(question),
  new AIMessage({ content: '', tool_calls: [{ id: 'call_1', name: 'weather', args: { city: 'Berlin' } }] }),
  new ToolMessage({ content: 'clear', tool_call_id: 'call_1', name: 'weather' }),
];

/** What tracers are told of a call: the tree of its runs, in order. */
function tracer(): { callbacks: object[]; log: unknown[] } {
  const log: unknown[] = [];
  const note =
    (name: string) =>
    (...args: unknown[]) =>
      void log.push([name, ...args]);
  const names = [
    'handleChatModelStart',
    'handleLLMNewToken',
    'handleLLMEnd',
    'handleLLMError',
    'handleChainStart',
    'handleChainEnd',
    'handleChainError',
  ];
  const methods = Object.fromEntries(names.map((name) => [name, note(name)]));
  return { callbacks: [{ name: 'tracer', awaitHandlers: true, ...methods }], log };
}

type Call = (model: Chat) => Promise<unknown>;

/** Calls that both versions know. */
const CALLS: Readonly<Record<string, Call>> = {
  invoke: (model) => model.invoke(question),
  'invoke with messages and tool history': (model) => model.invoke(talk),
  'invoke with stop': (model) => model.invoke(question, { stop: ['Berlin'] }),
  'invoke with images': (model) =>
    model.invoke([
      new HumanMessage({
        content: [
          { type: 'text', text: 'What is this?' },
          { type: 'image_url', image_url: { url: `data:image/png;base64,${PIXEL}` } },
        ],
      }),
    ]),
  stream: (model) => readAll(model.stream(question)),
  batch: (model) => model.batch([question, 'And in Rome?']),
  'batch with returnExceptions': (model) =>
    model.batch([question, 'And in Rome?'], {}, { returnExceptions: true }),
  generate: (model) => model.generate([[new HumanMessage(question)], [new HumanMessage('And in Rome?')]]),
  'streamEvents v1': (model) => readAll(model.streamEvents(question, { version: 'v1' })),
  'streamEvents v2': (model) => readAll(model.streamEvents(question, { version: 'v2' })),
  streamLog: (model) => readAll(model.streamLog(question)),
  bindTools: (model) => model.bindTools([weather]).invoke(question),
  'bindTools and tool choice': (model) =>
    model.bindTools([weather], { tool_choice: 'weather' }).invoke(question),
  'bindTools, streamed': (model) => readAll(model.bindTools([weather]).stream(question)),
  'structured output': (model) => model.withStructuredOutput(schema).invoke(question),
  'structured output by zod, raw': (model) =>
    model
      .withStructuredOutput(z.object({ sky: z.string() }), { includeRaw: true, method: 'functionCalling' })
      .invoke(question),
  'structured output as JSON': (model) =>
    model.withStructuredOutput(schema, { method: 'jsonMode' }).invoke(question),
  withConfig: (model) => model.withConfig({ tags: ['mine'], metadata: { mine: 1 } }).invoke(question),
  'pipe after a prompt': (model) =>
    ChatPromptTemplate.fromMessages([['user', '{question}']])
      .pipe(model)
      .invoke({ question }),
  withRetry: (model) => model.withRetry({ stopAfterAttempt: 2 }).invoke(question),
  withFallbacks: (model) => model.withFallbacks([model]).invoke(question),
  'run tree of invoke': async (model) => {
    const { callbacks, log } = tracer();
    const answer = await caught(() =>
      model.invoke(question, { callbacks: callbacks as never, tags: ['t'], runName: 'mine' }),
    );
    return { answer, log };
  },
  'run tree of stream': async (model) => {
    const { callbacks, log } = tracer();
    const answer = await caught(() => readAll(model.stream(question, { callbacks: callbacks as never })));
    return { answer, log };
  },
  // before 1.0 the bare model throws an error of its client's here, and the guarded one the signal's own reason
  'a signal that was aborted before': async (model) => {
    const { thrown } = (await caught(() => model.invoke(question, { signal: AbortSignal.abort() }))) as {
      thrown: Error;
    };
    return /aborted/.test(thrown.message);
  },
  toJSON: (model) => Promise.resolve(JSON.parse(JSON.stringify(model)) as unknown),
  'what it is': (model) =>
    Promise.resolve({
      keys: Object.keys(model),
      name: model.getName(),
      type: model._llmType(),
      params: model.invocationParams({}),
      ls: model.getLsParams({} as never),
      lc: model.lc_id,
      tools: typeof model.bindTools,
    }),
};

/** Calls that came with 1.x. */
const NEWER: Readonly<Record<string, Call>> = {
  'streamEvents v3': (model) => readAll(model.streamEvents(question) as never),
};

/** Ids, times and addresses differ between two calls without the guard, too. */
function normal(value: unknown, seen = new Map<unknown, unknown>()): unknown {
  if (typeof value === 'string') {
    return value
      .replaceAll(/gen-\d+-\w+/g, 'gen')
      .replaceAll(/127\.0\.0\.1:\d+/g, 'host')
      .replaceAll(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, 'uuid');
  }
  if (typeof value === 'bigint') return String(value);
  if (typeof value === 'function') return 'function';
  if (typeof value !== 'object' || value === null) return value;
  const known = seen.get(value);
  if (known !== undefined) return known;
  if (value instanceof Date || value instanceof AbortSignal || value instanceof Headers)
    return value.constructor.name;
  if (Array.isArray(value)) {
    const list: unknown[] = [];
    seen.set(value, list);
    for (const each of value as unknown[]) list.push(normal(each, seen));
    return list;
  }
  const copy: Record<string, unknown> = { '(class)': value.constructor?.name };
  seen.set(value, copy);
  if (value instanceof Error) Object.assign(copy, { name: value.name, message: normal(value.message) });
  for (const [key, each] of Object.entries(value)) {
    if (/^(created|start_time|end_time|timestamp|created_at|date)$|^(x-)?generation-id$/.test(key))
      copy[key] = typeof each;
    else copy[key] = normal(each, seen);
  }
  return copy;
}

function script(reply: Reply): (request: SimulatedRequest) => Reply {
  return ({ tools, messages }) =>
    tools.length > 0 && messages.length < 3
      ? {
          ...reply,
          text: '',
          toolCalls: [{ id: 'call_1', name: nameOf(tools[0]), arguments: { sky: 'clear' } }],
        }
      : reply;
}

function nameOf(tool: unknown): string {
  return (tool as { function: { name: string } }).function.name;
}

async function same(make: Make, call: Call, reply: Reply, more?: object): Promise<void> {
  for (const policy of [policyOf([]), policyOf([WIDE])]) {
    await using bare = await openDesk(policy, { respond: script(reply) });
    await using desk = await openDesk(policy, { respond: script(reply) });
    const expected = normal(await caught(() => call(make(bare.sim.url, more))));
    const actual = normal(await caught(() => call(guardModel(make(desk.sim.url, more), desk.guard))));
    expect(actual).toEqual(expected);
    expect(sent(desk)).toEqual(sent(bare));
    await vi.waitFor(async () => expect(await desk.held()).toBe(0n));
  }
}

/** Bodies and headers as they were received. */
function sent(desk: Desk): unknown[] {
  const all = desk.sim.requests.map(({ bodyText, headers, path }) => ({
    bodyText,
    path,
    headers: normal(headers),
  }));
  return all.toSorted((a, b) => a.bodyText.localeCompare(b.bodyText));
}

const TEXT = '{"sky":"clear, and rather blue, with a cloud of no importance over the lake"}';

const REPLIES: Readonly<Record<string, Reply>> = {
  text: { text: TEXT, chunks: 5 },
  'reasoning and cached input': {
    text: TEXT,
    reasoning: 'The user wants to know about the sky.',
    chunks: 6,
    inputTokens: 900,
    cacheReadTokens: 500,
  },
};

const FAULTS: readonly Fault[] = [
  { kind: 'http', status: 402, message: 'Insufficient credits' },
  { kind: 'http', status: 500 },
  { kind: 'error-body' },
  { kind: 'error-chunk', afterChunks: 2 },
  { kind: 'drop', afterChunks: 0 },
  { kind: 'drop', afterChunks: 2 },
  { kind: 'truncate', afterChunks: 2 },
  { kind: 'no-usage' },
  { kind: 'zero-usage' },
  { kind: 'usage-without-choices' },
];

describe.each(MODELS)('%s', (name, make) => {
  const calls = Object.entries(name.endsWith('1.x') ? { ...CALLS, ...NEWER } : CALLS);

  describe.each(calls)('%s', (_call, call) => {
    it.each(Object.entries(REPLIES))('gives what it gives without the guard: %s', (_reply, reply) =>
      same(make, call, reply),
    );
  });

  it.each(
    ['invoke', 'stream', 'streamEvents v2', 'run tree of stream', 'structured output'].flatMap((call) =>
      FAULTS.map((fault) => ({ call, fault })),
    ),
  )(
    '$call fails as it fails without the guard: $fault.kind $fault.status $fault.afterChunks',
    ({ call, fault }) => same(make, CALLS[call] as Call, { text: TEXT, chunks: 5, fault }),
  );

  it('streams by itself as it does without the guard', () =>
    same(make, CALLS['streamEvents v2'] as Call, { text: TEXT, chunks: 5 }, { streamUsage: false }));

  it('is the same beside a handler of the same guard', async () => {
    await using desk = await openDesk();
    const model = guardModel(make(desk.sim.url), desk.guard);
    await model.invoke(question, { callbacks: [spendGuardHandler(desk.guard)] });
    await readAll(
      model.bindTools([weather]).stream(question, { callbacks: [spendGuardHandler(desk.guard)] }),
    );
    expect(await desk.receipts('decision')).toHaveLength(2);
    expect(await desk.spent()).toBe(desk.sim.billed);
  });

  it('keeps answers in a cache as it does without the guard', async () => {
    const call: Call = async (model) => [await model.invoke(question), await model.invoke(question)];
    await using bare = await openDesk();
    await using desk = await openDesk();
    const expected = normal(await call(make(bare.sim.url, { cache: new InMemoryCache() })));
    const model = guardModel(make(desk.sim.url, { cache: new InMemoryCache() }), desk.guard);
    expect(normal(await call(model))).toEqual(expected);
    expect(desk.sim.requests).toHaveLength(1);
    expect(await desk.receipts('decision')).toHaveLength(1);
    expect(await desk.spent()).toBe(desk.sim.billed);
  });

  it('is an instance of its class, with the fields of the live model', async () => {
    await using desk = await openDesk();
    const named = { models: [OPUS, SONNET] };
    const bare = make(desk.sim.url, { modelKwargs: named, invocationKwargs: named });
    const model = guardModel(bare, desk.guard);
    expect(model).toBeInstanceOf(bare.constructor as never);
    const parts = bare as unknown as { completions?: Chat; responses?: Chat; temperature: number };
    for (const part of [parts, parts.completions, parts.responses]) if (part) part.temperature = 0.25;
    await model.invoke(question);
    expect(desk.bodies()[0]).toMatchObject({ temperature: 0.25, models: [OPUS, SONNET] });
  });
});
