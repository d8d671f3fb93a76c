/**
 * Completion models, deployments of Azure, fallbacks, own keys at OpenRouter: where one call is several, goes elsewhere
 * than it says, or costs more than it says.
 */
import { AzureChatOpenAI, OpenAI } from '@langchain/openai';
import { describe, expect, it } from 'vitest';
import { guardModel, spendGuardHandler } from '../../callbacks/langchain.ts';
import { isBlocked } from '../../src/index.ts';
import type { Reply } from '../../src/node/simulator/index.ts';
import * as old from '../frameworks/langchain-0.3/index.ts';
import {
  anthropic,
  caught,
  HAIKU,
  ladder,
  MODELS,
  openai,
  openDesk,
  openrouter,
  policyOf,
  WIDE,
  type Chat,
} from './langchain-kit.ts';

/** In nano-USD, what gpt-3.5-turbo-instruct costs. */
const INPUT = 1500;
const OUTPUT = 2000;

/** Stands for OpenAI's legacy completions, which the simulator doesn't have. `failing` is the request that gets a 429. */
function completions(failing = 0): { fetch: typeof fetch; billed: () => bigint; requests: () => number } {
  let billed = 0n;
  let requests = 0;
  const answer = async (_url: unknown, init?: RequestInit): Promise<Response> => {
    requests += 1;
    if (requests === failing) return Response.json({ error: { message: 'slow down' } }, { status: 429 });
    const { model, prompt, max_tokens: limit, stream } = JSON.parse(init?.body as string);
    const prompts = [prompt].flat() as string[];
    const usage = {
      prompt_tokens: 5 * prompts.length,
      completion_tokens: limit * prompts.length,
      total_tokens: (5 + limit) * prompts.length,
    };
    billed += BigInt(usage.prompt_tokens * INPUT + usage.completion_tokens * OUTPUT);
    const choices = prompts.map((_, index) => ({ index, text: 'x', finish_reason: 'length' }));
    const body = { id: 'cmpl-1', object: 'text_completion', model, choices, usage };
    if (stream !== true) return Response.json(body);
    const events = `data: ${JSON.stringify({ ...body, usage: undefined })}\n\ndata: [DONE]\n\n`;
    return new Response(events, { headers: { 'content-type': 'text/event-stream' } });
  };
  return { fetch: answer as typeof fetch, billed: () => billed, requests: () => requests };
}

type Completion = OpenAI;

describe.each([
  ['1.x', OpenAI],
  ['0.3', old.OpenAI as unknown as typeof OpenAI],
])('a completion model of %s', (_version, Model) => {
  const make = (fetch: typeof globalThis.fetch): Completion =>
    new Model({
      model: 'gpt-3.5-turbo-instruct',
      apiKey: 'k',
      maxTokens: 100,
      maxRetries: 0,
      configuration: { fetch },
    });
  const prompts = (count: number): string[] => Array.from({ length: count }, (_, index) => `prompt ${index}`);

  it.each([1, 3, 25])('holds and settles the answers of %i prompts', async (count) => {
    await using desk = await openDesk();
    const api = completions();
    await guardModel(make(api.fetch), desk.guard).generate(prompts(count));
    const [decision] = await desk.receipts('decision');
    expect(BigInt(decision!.hold)).toBeGreaterThanOrEqual(api.billed());
    expect(await desk.spent()).toBe(api.billed());
    expect(await desk.held()).toBe(0n);
  });

  it('never leaves with several prompts that a cap has no room for', async () => {
    await using desk = await openDesk(policyOf([{ amountCents: 0.05, window: 'total', action: 'block' }]));
    const api = completions();
    const model = guardModel(make(api.fetch), desk.guard);
    await expect(model.generate(prompts(3))).rejects.toSatisfy(isBlocked);
    expect(api.requests()).toBe(0);
    await model.generate(prompts(1));
    expect(await desk.spent()).toBe(api.billed());
  });

  it('pays for what was answered before a request that was refused', async () => {
    await using desk = await openDesk();
    const api = completions(2);
    expect(await caught(() => guardModel(make(api.fetch), desk.guard).generate(prompts(25)))).toBeDefined();
    expect(api.requests()).toBe(2);
    expect(await desk.spent()).toBeGreaterThanOrEqual(api.billed());
  });

  it('counts the prompt of a stream', async () => {
    await using desk = await openDesk();
    const api = completions();
    const long = 'The quick brown fox jumps over the lazy dog. '.repeat(100);
    for await (const _ of await guardModel(make(api.fetch), desk.guard).stream(long));
    const [decision] = await desk.receipts('decision');
    expect(decision!.request.input_tokens).toBeGreaterThan(900);
  });
});

describe.each([
  ['1.x', AzureChatOpenAI],
  ['0.3', old.AzureChatOpenAI as unknown as typeof AzureChatOpenAI],
])('AzureChatOpenAI of %s', (_version, Azure) => {
  function azure(seen: string[], more: object): Chat {
    const fetch = async (url: unknown): Promise<Response> => {
      seen.push(String(url));
      return Response.json({
        id: 'chatcmpl-1',
        object: 'chat.completion',
        model: 'gpt-4o-2024-08-06',
        choices: [{ index: 0, message: { role: 'assistant', content: 'hi' }, finish_reason: 'stop' }],
        usage: { prompt_tokens: 5, completion_tokens: 10, total_tokens: 15 },
      });
    };
    return new Azure({
      azureOpenAIApiKey: 'k',
      azureOpenAIApiInstanceName: 'mine',
      azureOpenAIApiDeploymentName: 'gpt-4o',
      azureOpenAIApiVersion: '2024-10-21',
      maxRetries: 0,
      maxTokens: 100,
      configuration: { fetch },
      ...more,
    } as never) as unknown as Chat;
  }

  it.each<[string, object]>([
    ['by its deployment, which serves', {}],
    ['by the name that it is given', { model: 'gpt-4o', azureOpenAIApiDeploymentName: 'ours' }],
  ])('is priced %s', async (_name, more) => {
    await using desk = await openDesk();
    await guardModel(azure([], more), desk.guard).invoke('hi');
    await azure([], more).invoke('hi', { callbacks: [spendGuardHandler(desk.guard)] });
    expect(await desk.receipts('decision')).toMatchObject([
      { request: { model: 'gpt-4o' } },
      { request: { model: 'gpt-4o' } },
    ]);
    expect(await desk.receipts('settlement')).toMatchObject([
      { served: { model: 'gpt-4o-2024-08-06' } },
      { served: { model: 'gpt-4o-2024-08-06' } },
    ]);
    expect(desk.warnings()).not.toContain('over_hold');
  });

  it('is not downgraded by a name that its address overrules', async () => {
    await using desk = await openDesk(policyOf([ladder('gpt-4o-mini')]));
    const seen: string[] = [];
    await expect(guardModel(azure(seen, {}), desk.guard).invoke('hi')).rejects.toMatchObject({
      reason: 'no_route',
    });
    expect(seen).toEqual([]);
  });

  it('is downgraded to another deployment by a ladder', async () => {
    await using desk = await openDesk(policyOf([ladder('gpt-4o-mini')]));
    const seen: string[] = [];
    const mini = azure(seen, { azureOpenAIApiDeploymentName: 'gpt-4o-mini' });
    await guardModel(azure(seen, {}), desk.guard, { ladder: [mini] }).invoke('hi');
    expect(seen).toMatchObject([expect.stringContaining('/deployments/gpt-4o-mini/')]);
  });
});

describe('withFallbacks of a guarded model', () => {
  const SHUT = policyOf([{ amountCents: 0, window: 'total', action: 'block' }]);

  describe.each(MODELS)('%s', (_name, make) => {
    it.each<[string, (model: Chat, cheap: Chat) => { invoke(input: string): Promise<unknown> }]>([
      ['a list', (model, cheap) => model.withFallbacks([cheap])],
      ['fields', (model, cheap) => model.withFallbacks({ fallbacks: [cheap] })],
      ['after withRetry', (model, cheap) => model.withRetry({ stopAfterAttempt: 2 }).withFallbacks([cheap])],
      [
        'after bindTools and withConfig',
        (model, cheap) =>
          model
            .bindTools([])
            .withConfig({ tags: ['x'] })
            .withFallbacks([cheap]),
      ],
      ['after bindTools', (model, cheap) => model.bindTools([]).withFallbacks([cheap.bindTools([])])],
    ])('has its fallbacks under the guard: %s', async (_way, chain) => {
      await using desk = await openDesk(SHUT);
      const model = guardModel(make(desk.sim.url), desk.guard);
      const both = chain(model, make(desk.sim.url, { model: HAIKU }));
      await expect(both.invoke('hi')).rejects.toSatisfy(isBlocked);
      expect(desk.sim.requests).toHaveLength(0);
      expect(await desk.receipts('decision')).toMatchObject([
        { decision: 'block' },
        { decision: 'block', request: { model: HAIKU } },
      ]);
    });
  });

  it('decides the fallback alone, and settles it', async () => {
    await using desk = await openDesk(policyOf([{ amountCents: 0.5, window: 'total', action: 'block' }]));
    const cheap = openrouter(desk.sim.url, { model: HAIKU });
    await guardModel(openrouter(desk.sim.url), desk.guard).withFallbacks([cheap]).invoke('hi');
    expect(desk.bodies()).toMatchObject([{ model: HAIKU }]);
    expect(await desk.spent()).toBe(desk.sim.billed);
    expect(await desk.receipts('decision')).toMatchObject([{ decision: 'block' }, { decision: 'allow' }]);
  });

  it('leaves a fallback that is under a guard already to it', async () => {
    await using desk = await openDesk(SHUT);
    await using other = await openDesk(policyOf([WIDE]));
    const theirs = guardModel(openai(desk.sim.url, { model: HAIKU }), other.guard);
    const ours = guardModel(anthropic(desk.sim.url, { model: HAIKU }), desk.guard);
    await guardModel(openai(desk.sim.url), desk.guard).withFallbacks([ours, theirs]).invoke('hi');
    expect(await desk.receipts('decision')).toHaveLength(2);
    expect(await other.receipts('decision')).toHaveLength(1);
    expect(await other.spent()).toBe(desk.sim.billed);
  });

  it.each([
    ['ChatAnthropic', anthropic],
    ['ChatOpenAI', openai],
  ])('does not try a refusal again with tools bound: %s', async (_name, make) => {
    await using desk = await openDesk(SHUT);
    const model = guardModel(make(desk.sim.url), desk.guard).bindTools([]);
    await expect(model.withRetry({ stopAfterAttempt: 4 }).invoke('hi')).rejects.toSatisfy(isBlocked);
    expect(await desk.receipts('decision')).toHaveLength(1);
  });
});

describe('an own key at OpenRouter', () => {
  const respond = (): Reply => ({
    text: 'The moon is far away.',
    isByok: true,
    cacheReadTokens: 3,
    inputTokens: 9,
  });

  it.each(MODELS)(
    'is settled at the bill of the key and the fee, whole and streamed: %s',
    async (_name, make) => {
      await using desk = await openDesk(undefined, { respond });
      const model = guardModel(make(desk.sim.url), desk.guard);
      await model.invoke('hi');
      for await (const _ of await model.stream('hi'));
      expect(await desk.spent()).toBe(desk.sim.billed);
      expect(await desk.receipts('settlement')).toMatchObject([
        { cost: { source: 'provider', byok: true } },
        { cost: { source: 'provider', byok: true } },
      ]);
    },
  );

  it('is never taken for its fee alone where LangChain drops the rest', async () => {
    await using desk = await openDesk(undefined, { respond });
    const callbacks = [spendGuardHandler(desk.guard)];
    for await (const _ of await anthropic(desk.sim.url).stream('hi', { callbacks }));
    expect(await desk.receipts('settlement')).toMatchObject([{ cost: { source: 'tokens' } }]);
    // all but the fee of 5 %
    expect(await desk.spent()).toBeGreaterThanOrEqual((desk.sim.billed * 20n) / 21n);
  });
});

describe('a stream of ChatAnthropic', () => {
  it.each([
    ['an error', { kind: 'error-chunk', afterChunks: 2 }],
    ['a broken connection', { kind: 'drop', afterChunks: 2 }],
    ['a clean end that comes too early', { kind: 'truncate', afterChunks: 2 }],
  ] as const)('that ends with %s is not settled by what it counted at its start', async (_name, fault) => {
    await using desk = await openDesk(undefined, { respond: () => ({ outputTokens: 100, fault }) });
    await caught(async () => {
      for await (const _ of await guardModel(anthropic(desk.sim.url), desk.guard).stream('hi'));
    });
    const [decision] = await desk.receipts('decision');
    expect(await desk.spent()).toBe(BigInt(decision!.hold));
  });
});

/** Stands for hosts that tell the usage so far with every chunk. */
function runningUsage(): typeof fetch {
  const chunk = (at: number): string => {
    const usage = { prompt_tokens: 9, completion_tokens: at, total_tokens: 9 + at };
    const choices = [{ index: 0, delta: { content: 'word ' }, finish_reason: at === 20 ? 'stop' : null }];
    const fields = { id: 'c-1', object: 'chat.completion.chunk', model: 'gpt-4o', choices, usage };
    return `data: ${JSON.stringify(fields)}\n\n`;
  };
  const events = Array.from({ length: 20 }, (_, index) => chunk(index + 1)).join('');
  const answer = async (): Promise<Response> =>
    new Response(`${events}data: [DONE]\n\n`, { headers: { 'content-type': 'text/event-stream' } });
  return answer as typeof fetch;
}

it('a count that came before a reader left is not taken for the whole', async () => {
  await using desk = await openDesk();
  const model = openai('http://127.0.0.1:1/v1', {
    model: 'gpt-4o',
    configuration: { baseURL: 'http://127.0.0.1:1/v1', fetch: runningUsage() },
  });
  for await (const _ of await guardModel(model, desk.guard).stream('hi')) break;
  const [decision] = await desk.receipts('decision');
  expect(await desk.receipts('settlement')).toMatchObject([{ outcome: 'aborted', cost: { source: 'hold' } }]);
  expect(await desk.spent()).toBe(BigInt(decision!.hold));
});
