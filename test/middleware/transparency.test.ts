import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import {
  generateText,
  isStepCount,
  Output,
  streamText,
  tool,
  wrapLanguageModel,
  type LanguageModel,
} from 'ai';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { Fault, Reply, SimulatedRequest } from '../../src/node/simulator/index.ts';
import { openDesk, OPUS, policyOf, SONNET, WIDE, type Desk } from './ai-sdk-kit.ts';
import { caught, normal } from './normal.ts';

type Model = Extract<LanguageModel, { specificationVersion: 'v4' }>;

const prompt = 'What is the weather in Berlin?';
const weather = tool({
  description: 'Looks the weather up',
  inputSchema: z.object({ city: z.string() }),
  execute: ({ city }) => ({ city, sky: 'clear' }),
});
const output = Output.object({ schema: z.object({ sky: z.string() }) });

/** Everything that a streamed call shows: parts, errors, and the promises of its result. */
async function streamed(options: Parameters<typeof streamText>[0]): Promise<unknown> {
  const errors: unknown[] = [];
  const result = streamText({
    ...options,
    onError: ({ error }) => void errors.push(error),
  } as typeof options);
  const parts: unknown[] = [];
  for await (const part of result.stream) parts.push(part);
  const text = await caught(() => result.text);
  const steps = await caught(() => result.steps);
  const usage = await caught(() => result.totalUsage);
  const output = await caught(() => result.output);
  return { parts, errors, text, steps, usage, output };
}

const callOptions = {
  prompt: [
    { role: 'system' as const, content: 'Be brief.' },
    { role: 'user' as const, content: [{ type: 'text' as const, text: prompt }] },
  ],
  maxOutputTokens: 500,
};

/** What the language model interface itself gives. */
async function raw(model: Model): Promise<unknown> {
  const generated = await caught(() => model.doGenerate(callOptions));
  const opened = await caught(() => model.doStream({ ...callOptions, includeRawChunks: true }));
  const { stream, ...rest } = opened as { stream?: ReadableStream<unknown> };
  const parts: unknown[] = [];
  const failure = await caught(async () => {
    for await (const part of stream ?? []) parts.push(part);
  });
  return { generated, rest, parts, failure };
}

const base = { prompt, maxRetries: 0, maxOutputTokens: 500 };

const CALLS: Readonly<Record<string, (model: Model) => Promise<unknown>>> = {
  generateText: (model) => caught(() => generateText({ ...base, model })),
  'generateText with tools': (model) =>
    caught(() => generateText({ ...base, model, tools: { weather }, stopWhen: isStepCount(3) })),
  'generateText with an object': (model) => caught(() => generateText({ ...base, model, output })),
  streamText: (model) => streamed({ ...base, model }),
  'streamText with tools': (model) =>
    streamed({ ...base, model, tools: { weather }, stopWhen: isStepCount(3) }),
  'streamText with an object': (model) => streamed({ ...base, model, output: output as never }),
  'the model itself': raw,
};

function script(reply: Reply): (request: SimulatedRequest) => Reply {
  return ({ messages, tools }) =>
    tools.length > 0 && messages.length < 3
      ? {
          ...reply,
          text: 'Let me see.',
          toolCalls: [{ id: 'call_1', name: 'weather', arguments: { city: 'Berlin' } }],
        }
      : reply;
}

async function compare(
  call: (model: Model) => Promise<unknown>,
  reply: Reply,
  make: (desk: Desk) => Model,
): Promise<void> {
  for (const policy of [policyOf([]), policyOf([WIDE])]) {
    await using bare = await openDesk(policy, { respond: script(reply) });
    await using guarded = await openDesk(policy, { respond: script(reply) });
    const expected = normal(await call(make(bare)));
    const actual = normal(await call(guarded.wrap(make(guarded)) as Model));
    expect(actual).toEqual(expected);
    expect(guarded.sim.requests.map(({ bodyText }) => bodyText)).toEqual(
      bare.sim.requests.map(({ bodyText }) => bodyText),
    );
    const headers = guarded.sim.requests.map((request) => normal(request.headers));
    expect(headers).toEqual(bare.sim.requests.map((request) => normal(request.headers)));
    expect(guarded.sim.requests.length).toBeGreaterThan(0);
    expect(await guarded.held()).toBe(0n);
  }
}

const TEXT = '{"sky":"clear, and rather blue, with a cloud of no importance over the lake"}';

const REPLIES: Readonly<Record<string, Reply>> = {
  text: { text: TEXT, chunks: 5 },
  reasoning: { text: TEXT, reasoning: 'The user wants to know about the sky.', chunks: 6 },
  'cached input': { text: TEXT, inputTokens: 900, cacheReadTokens: 500, cacheWriteTokens: 100 },
  'an answer cut short': { outputTokens: 900 },
  silence: { text: '' },
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
  { kind: 'bad-usage', usage: { prompt_tokens: 'x' } },
  { kind: 'usage-without-choices' },
];

const openrouter = (desk: Desk) => desk.openrouter()(OPUS, { models: [SONNET] }) as Model;

describe.each(Object.entries(CALLS))('%s', (_name, call) => {
  it.each(Object.entries(REPLIES))('gives what it gives without the guard: %s', (_reply, reply) =>
    compare(call, reply, openrouter),
  );

  it.each(FAULTS)('fails as it fails without the guard: $kind $status $afterChunks', (fault) =>
    compare(call, { text: TEXT, chunks: 5, fault }, openrouter),
  );

  it('is the same for an OpenAI-compatible client', () =>
    compare(call, { text: TEXT, chunks: 5 }, (desk) => {
      const client = createOpenAICompatible({
        name: 'mine',
        baseURL: desk.sim.url,
        apiKey: 'k',
        includeUsage: true,
      });
      return client(OPUS) as Model;
    }));

  it('is the same for the OpenAI client', () =>
    compare(call, { text: TEXT, chunks: 5 }, (desk) => {
      return createOpenAI({ baseURL: desk.sim.url, apiKey: 'k' }).chat(OPUS) as Model;
    }));

  it('is the same inside another wrapper', () =>
    compare(call, { text: TEXT, chunks: 5 }, (desk) => {
      return wrapLanguageModel({ model: desk.openrouter()(OPUS), middleware: {} }) as Model;
    }));
});

describe('the guarded model', () => {
  it('keeps the identity and the abilities of the model', async () => {
    await using desk = await openDesk();
    const model = createAnthropic({ apiKey: 'k' })('claude-opus-4-5');
    const wrapped = desk.wrap(model) as Model;
    expect([wrapped.provider, wrapped.modelId]).toEqual([model.provider, model.modelId]);
    expect(wrapped.supportedUrls).toEqual(model.supportedUrls);
  });

  it('hands on results and errors as the same objects', async () => {
    await using desk = await openDesk();
    const failure = new Error('mine');
    const content = [{ type: 'text' as const, text: 'hi' }];
    let fails = false;
    const inner = {
      ...(wrapLanguageModel({ model: desk.openrouter()(OPUS), middleware: {} }) as Model),
      doGenerate: () =>
        fails
          ? Promise.reject(failure)
          : Promise.resolve({
              content,
              finishReason: {},
              usage: { inputTokens: {}, outputTokens: {} },
              warnings: [],
            }),
    };
    const wrapped = desk.wrap(inner as never) as Model;
    const result = await wrapped.doGenerate(callOptions);
    expect(result.content).toBe(content);
    fails = true;
    await expect(Promise.resolve(wrapped.doGenerate(callOptions))).rejects.toBe(failure);
    await expect(
      Promise.resolve(wrapped.doGenerate({ ...callOptions, abortSignal: AbortSignal.abort(failure) })),
    ).rejects.toBe(failure);
  });
});
