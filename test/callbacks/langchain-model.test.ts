import { InMemoryCache } from '@langchain/core/caches';
import { HumanMessage } from '@langchain/core/messages';
import { ChatOpenAI, OpenAI } from '@langchain/openai';
import { ChatOpenRouter } from '@langchain/openrouter';
import { initChatModel } from 'langchain';
import { describe, expect, it, vi } from 'vitest';
import { guardModel, spendGuardHandler } from '../../callbacks/langchain.ts';
import { blockedError, isBlocked } from '../../src/index.ts';
import type { Reply } from '../../src/node/simulator/index.ts';
import * as old from '../frameworks/langchain-0.3/index.ts';
import {
  caught,
  HAIKU,
  ladder,
  MODELS,
  openai,
  openDesk,
  openrouter,
  OPUS,
  policyOf,
  readAll,
  SONNET,
  WIDE,
  type Chat,
} from './langchain-kit.ts';

const tools = [
  { type: 'function' as const, function: { name: 'look', parameters: { type: 'object', properties: {} } } },
];
const schema = { title: 'sky', type: 'object', properties: { sky: { type: 'string' } } } as const;
const JSON_TEXT = '{"sky":"clear"}';
const DOWN = policyOf([WIDE, ladder(HAIKU)]);

/** Every way to make a call of a model, but for the newest. */
const WAYS: Readonly<Record<string, (model: Chat) => Promise<unknown>>> = {
  invoke: (model) => model.invoke('hi'),
  stream: (model) => readAll(model.stream('hi')),
  batch: (model) => model.batch(['hi']),
  generate: (model) => model.generate([[new HumanMessage('hi')]]),
  _generate: (model) => model._generate([new HumanMessage('hi')], {} as never),
  'streamEvents v1': (model) => readAll(model.streamEvents('hi', { version: 'v1' })),
  'streamEvents v2': (model) => readAll(model.streamEvents('hi', { version: 'v2' })),
  streamLog: (model) => readAll(model.streamLog('hi')),
  bindTools: (model) => model.bindTools(tools).invoke('hi'),
  'bindTools, streamed': (model) => readAll(model.bindTools(tools).stream('hi')),
  'structured output': (model) => model.withStructuredOutput(schema, { includeRaw: true }).invoke('hi'),
  withConfig: (model) => model.withConfig({ tags: ['x'] }).invoke('hi'),
  'withConfig twice': (model) =>
    model
      .withConfig({ tags: ['x'] })
      .withConfig({ callbacks: [] })
      .invoke('hi'),
  'no callbacks': (model) => model.invoke('hi', { callbacks: [] }),
  withRetry: (model) => model.withRetry({ stopAfterAttempt: 1 }).invoke('hi'),
  withFallbacks: (model) => model.withFallbacks([]).invoke('hi'),
};
const V3: typeof WAYS = {
  'streamEvents v3': (model) => readAll(model.streamEvents('hi') as never),
  'streamEvents v3 with tools': (model) =>
    readAll((model.bindTools(tools) as Chat).streamEvents('hi', {} as never) as never),
};

function limitOf(name: string): string {
  return name.startsWith('Responses') ? 'max_output_tokens' : 'max_tokens';
}

describe.each(MODELS)('%s', (name, make) => {
  const ways = Object.entries(name.endsWith('1.x') ? { ...WAYS, ...V3 } : WAYS);
  const respond = (): Reply => ({ text: JSON_TEXT });

  it.each(ways)('sends a downgraded call to the cheaper model: %s', async (_way, call) => {
    await using desk = await openDesk(DOWN, { respond });
    await call(guardModel(make(desk.sim.url), desk.guard));
    expect(desk.bodies()).toMatchObject([{ model: HAIKU, [limitOf(name)]: 500 }]);
    expect(await desk.receipts('decision')).toMatchObject([
      { decision: 'downgrade', route: { model: HAIKU } },
    ]);
    expect(await desk.spent()).toBe(desk.sim.billed);
    expect(await desk.held()).toBe(0n);
  });

  it.each(ways)('sends nothing that is refused: %s', async (_way, call) => {
    await using desk = await openDesk(policyOf([{ amountCents: 0, window: 'total', action: 'block' }]));
    const { thrown } = (await caught(() => call(guardModel(make(desk.sim.url), desk.guard)))) as {
      thrown: unknown;
    };
    expect(isBlocked(thrown)).toBe(true);
    expect(desk.sim.requests).toHaveLength(0);
    expect(await desk.receipts('decision')).toMatchObject([{ decision: 'block' }]);
  });

  it.each(ways)('sets the limit of a call that has none: %s', async (_way, call) => {
    // ChatAnthropic always has a limit, so there it is clamped
    const caps = [{ amountCents: 5, window: 'total' as const, action: 'block' as const }];
    const policy = policyOf(caps, { maxOutputTokens: 321, clampOutput: { minTokens: 1 } });
    await using desk = await openDesk(policy, { respond });
    await call(guardModel(make(desk.sim.url, { maxTokens: undefined }), desk.guard));
    const [body] = desk.bodies();
    const [decision] = await desk.receipts('decision');
    expect(decision).toMatchObject({ route: { limit: name.includes('Anthropic') ? 'clamped' : 'injected' } });
    expect(body).toMatchObject({ model: OPUS, [limitOf(name)]: decision?.route?.max_output_tokens });
  });

  it('drops the fallbacks of a call that it downgrades', async () => {
    await using desk = await openDesk(DOWN);
    const named = make(desk.sim.url, {
      modelKwargs: { models: [OPUS, SONNET], route: 'fallback' },
      models: [OPUS, SONNET],
    });
    await guardModel(named, desk.guard).invoke('hi');
    expect(desk.bodies()[0]).toMatchObject({ model: HAIKU });
    expect(desk.bodies()[0]).not.toHaveProperty('models');
    expect(desk.bodies()[0]).not.toHaveProperty('route');
  });

  it.each([
    ['a plugin', { plugins: [{ id: 'web' }] }],
    ['a fallback without a price', { models: [OPUS, 'nobody/knows-it'] }],
    ['a dear tier', { service_tier: 'priority' }],
    ['a provider by speed', { provider: { sort: 'throughput' } }],
  ])('gates what a body names: %s', async (_name, kwargs) => {
    await using desk = await openDesk();
    const model = guardModel(
      make(desk.sim.url, { modelKwargs: kwargs, invocationKwargs: kwargs }),
      desk.guard,
    );
    await expect(model.invoke('hi')).rejects.toSatisfy(isBlocked);
    expect(desk.sim.requests).toHaveLength(0);
  });

  it('decides each of several prompts alone, and settles those that were sent', async () => {
    await using desk = await openDesk(policyOf([{ amountCents: 2, window: 'total', action: 'block' }]));
    const model = guardModel(make(desk.sim.url, { maxTokens: 700 }), desk.guard);
    const long = 'word '.repeat(40_000);
    const prompts = [[new HumanMessage('hi')], [new HumanMessage(long)]];
    await expect(model.generate(prompts)).rejects.toSatisfy(isBlocked);
    const answers = await model.batch(['hi', long], {}, { returnExceptions: true });
    expect(answers.map((answer) => isBlocked(answer))).toEqual([false, true]);
    await desk.sim.idle();
    expect(desk.sim.requests).toHaveLength(2);
    await vi.waitFor(async () => expect(await desk.held()).toBe(0n));
    expect(await desk.spent()).toBe(desk.sim.billed);
  });

  it.each(['generated', 'full'] as const)(
    'settles a stream that is left, and ends its request (%s)',
    async (abortBilling) => {
      const long: Reply = { outputTokens: 400, chunks: 200, chunkDelayMs: 2 };
      await using desk = await openDesk(undefined, { respond: () => long, abortBilling });
      const model = guardModel(make(desk.sim.url), desk.guard);
      for await (const chunk of await model.stream('hi')) if (chunk.content !== '') break;
      await vi.waitFor(async () =>
        expect(await desk.receipts('settlement')).toMatchObject([{ outcome: 'aborted' }]),
      );
      await desk.sim.idle();
      expect(desk.sim.bill()).toMatchObject([{ how: 'aborted' }]);
      expect(await desk.held()).toBe(0n);
      expect(await desk.spent()).toBeGreaterThanOrEqual(desk.sim.billed);
    },
  );

  it.each([
    ['drop', { kind: 'drop', afterChunks: 3 }],
    ['error chunk', { kind: 'error-chunk', afterChunks: 3 }],
    ['truncate', { kind: 'truncate', afterChunks: 3 }],
    ['no usage', { kind: 'no-usage' }],
    ['zero usage', { kind: 'zero-usage' }],
    ['no choices beside the usage', { kind: 'usage-without-choices' }],
    ['bad usage', { kind: 'bad-usage', usage: { prompt_tokens: -5, completion_tokens: 'x' } }],
    ['an error with status 200', { kind: 'error-body' }],
    ['a bad gateway', { kind: 'http', status: 502 }],
    ['a refusal', { kind: 'http', status: 429 }],
  ] as const)('never settles below the bill: %s', async (_name, fault) => {
    for (const way of ['invoke', 'stream'] as const) {
      await using desk = await openDesk(undefined, {
        respond: () => ({ text: 'So it goes. '.repeat(20), chunks: 6, fault }),
      });
      await caught(() =>
        (WAYS[way] as (model: Chat) => Promise<unknown>)(guardModel(make(desk.sim.url), desk.guard)),
      );
      await desk.sim.idle();
      await vi.waitFor(async () => expect(await desk.receipts('settlement')).toHaveLength(1));
      expect(await desk.held()).toBe(0n);
      expect(await desk.spent()).toBeGreaterThanOrEqual(desk.sim.billed);
      expect(await desk.spent()).toBeGreaterThan(0n);
    }
  });

  it('decides and settles each attempt of a call that is tried again', async () => {
    let calls = 0;
    await using desk = await openDesk(undefined, {
      respond: () => (++calls < 2 ? { fault: { kind: 'http', status: 500 } } : { text: 'at last' }),
    });
    const model = guardModel(make(desk.sim.url, { maxRetries: 4 }), desk.guard);
    expect((await model.invoke('hi')).text).toBe('at last');
    expect(desk.sim.requests).toHaveLength(2);
    const settlements = await desk.receipts('settlement');
    expect(settlements.map(({ outcome }) => outcome)).toEqual(['error', 'ok']);
    expect(await desk.receipts('decision')).toHaveLength(2);
    expect(await desk.held()).toBe(0n);
  }, 30_000);

  it('stops a call that is tried again where a cap ends it', async () => {
    await using desk = await openDesk(policyOf([{ amountCents: 2, window: 'total', action: 'block' }]), {
      respond: () => ({ fault: { kind: 'http', status: 500 } }),
    });
    const model = guardModel(make(desk.sim.url, { maxRetries: 4, maxTokens: 600 }), desk.guard);
    await expect(model.invoke('hi')).rejects.toSatisfy(isBlocked);
    expect(desk.sim.requests).toHaveLength(1);
  }, 30_000);

  it('does not try a refused call again', async () => {
    await using desk = await openDesk(policyOf([{ amountCents: 0, window: 'total', action: 'block' }]));
    const failed: unknown[] = [];
    const onFailedAttempt = (error: unknown): void => void failed.push(error);
    const model = guardModel(make(desk.sim.url), desk.guard).withRetry({
      stopAfterAttempt: 4,
      onFailedAttempt,
    });
    await expect(model.invoke('hi')).rejects.toSatisfy(isBlocked);
    expect(await desk.receipts('decision')).toHaveLength(1);
    expect(failed).toEqual([]);
    await using other = await openDesk(undefined, {
      respond: () => ({ fault: { kind: 'http', status: 400 } }),
    });
    const retried = guardModel(make(other.sim.url), other.guard).withRetry({
      stopAfterAttempt: 2,
      onFailedAttempt,
    });
    await caught(() => retried.invoke('hi'));
    expect(other.sim.requests).toHaveLength(2);
    expect(failed).toHaveLength(2);
  });

  it('keeps the answers of a cheaper model out of the cache of the dearer one', async () => {
    await using desk = await openDesk(DOWN);
    const model = guardModel(make(desk.sim.url, { cache: new InMemoryCache() }), desk.guard);
    await model.invoke('hi');
    await model.invoke('hi');
    expect(desk.bodies()).toMatchObject([{ model: HAIKU }, { model: HAIKU }]);
    expect(await desk.spent()).toBe(desk.sim.billed);
  });

  it('settles cached input never below the bill, and at the bill where the wire can be heard', async () => {
    const reply: Reply = { text: 'Hello.', inputTokens: 900, cacheReadTokens: 500, cacheWriteTokens: 100 };
    const part = { type: 'text', text: 'A long story.', cache_control: { type: 'ephemeral' } };
    const messages = [new HumanMessage({ content: [part] as never })];
    const calls: Readonly<Record<string, (model: Chat) => Promise<unknown>>> = {
      invoke: (model) => model.invoke(messages),
      stream: (model) => readAll(model.stream(messages)),
      ...(name.endsWith('1.x') && { v3: (model: Chat) => readAll(model.streamEvents(messages) as never) }),
    };
    for (const [way, call] of Object.entries(calls)) {
      await using desk = await openDesk(undefined, { respond: () => reply });
      await call(guardModel(make(desk.sim.url), desk.guard));
      const spent = await desk.spent();
      expect(spent).toBeGreaterThanOrEqual(desk.sim.billed);
      if (name !== 'ChatOpenRouter 1.x' || way !== 'v3') expect(spent).toBe(desk.sim.billed);
      await using other = await openDesk(undefined, { respond: () => reply });
      const callbacks = [spendGuardHandler(other.guard)];
      if (way === 'v3') continue;
      await call(make(other.sim.url, { callbacks }));
      expect(await other.spent()).toBeGreaterThanOrEqual(other.sim.billed);
    }
  });

  it('counts several answers once', async () => {
    await using desk = await openDesk();
    const model = guardModel(make(desk.sim.url, { n: 3, modelKwargs: { n: 3 } }), desk.guard);
    await model.invoke('hi');
    expect(desk.sim.bill()[0]?.completionTokens).toBeGreaterThan(0);
    expect(await desk.spent()).toBe(desk.sim.billed);
  });
});

describe('retries that are paid for', () => {
  it('are decided one by one where an answer that does not parse is asked for again', async () => {
    await using desk = await openDesk(undefined, { respond: () => ({ text: 'no JSON at all' }) });
    const model = guardModel(openai(desk.sim.url, { maxRetries: 2 }), desk.guard);
    const answer = caught(() =>
      model.withStructuredOutput(schema, { method: 'jsonSchema', strict: true }).invoke('hi'),
    );
    expect(await answer).toHaveProperty('thrown');
    await desk.sim.idle();
    expect(desk.sim.requests).toHaveLength(3);
    expect(await desk.receipts('decision')).toHaveLength(desk.sim.requests.length);
    expect(await desk.receipts('settlement')).toHaveLength(desk.sim.requests.length);
    expect(await desk.spent()).toBeGreaterThanOrEqual(desk.sim.billed);
  }, 30_000);
});

describe('a ladder', () => {
  it('of models of their own: by list and by name', async () => {
    for (const asList of [true, false]) {
      await using desk = await openDesk(DOWN);
      const cheap = openai(desk.sim.url, { model: HAIKU, temperature: 0.5 });
      const rungs = asList ? [cheap] : { [HAIKU]: cheap };
      await guardModel(openai(desk.sim.url), desk.guard, { ladder: rungs }).invoke('hi');
      expect(desk.bodies()).toMatchObject([{ model: HAIKU, temperature: 0.5, max_tokens: 500 }]);
    }
  });

  it('of another provider binds the tools in its own way', async () => {
    await using desk = await openDesk(DOWN);
    const cheap = openrouter(desk.sim.url, { model: HAIKU, siteName: 'mine' });
    const model = guardModel(openai(desk.sim.url), desk.guard, { ladder: [cheap] });
    await model.bindTools(tools).invoke('hi');
    expect(desk.bodies()).toMatchObject([{ model: HAIKU, tools: [{ function: { name: 'look' } }] }]);
    expect(desk.sim.requests[0]?.headers['x-title']).toBe('mine');
  });

  it('takes the fallbacks of its models away', async () => {
    await using desk = await openDesk(DOWN);
    const cheap = openrouter(desk.sim.url, { model: HAIKU, models: [HAIKU, OPUS] });
    await guardModel(openrouter(desk.sim.url), desk.guard, { ladder: [cheap] }).invoke('hi');
    expect(desk.bodies()[0]).not.toHaveProperty('models');
  });

  it('blocks where it can not be carried out', async () => {
    await using desk = await openDesk(DOWN);
    // hides the body that it writes
    class Hidden extends ChatOpenRouter {
      override invocationParams(options: never): never {
        return { ...super.invocationParams(options), model: OPUS } as never;
      }
    }
    const model = guardModel(
      new Hidden({ model: OPUS, apiKey: 'k', baseURL: desk.sim.url, maxTokens: 9 }),
      desk.guard,
    );
    const { thrown } = (await caught(() => model.invoke('hi'))) as { thrown: unknown };
    expect(blockedError(thrown)).toMatchObject({ reason: 'no_route' });
    expect(blockedError(thrown)?.message).toContain('guardModel a ladder');
    expect(desk.sim.requests).toHaveLength(0);
  });

  it.each([
    ['a list of what is no model', [{}], /ladder\[0\]: expected a chat model/],
    [
      'names of what is no model',
      { [HAIKU]: 7 },
      new RegExp(`ladder\\["${HAIKU}"\\]: expected a chat model`),
    ],
  ])('is checked at once: %s', async (_name, rungs, message) => {
    await using desk = await openDesk();
    expect(() => guardModel(openai(desk.sim.url), desk.guard, { ladder: rungs as never })).toThrow(message);
  });
});

describe('guardModel', () => {
  it.each([[undefined], [{}], ['gpt-5'], [() => 1]])('says what it can not guard: %s', async (value) => {
    await using desk = await openDesk();
    expect(() => guardModel(value as object, desk.guard)).toThrow(/guardModel: expected a chat model/);
  });

  it('guards once where it is called twice with one guard', async () => {
    await using desk = await openDesk();
    await guardModel(guardModel(openai(desk.sim.url), desk.guard), desk.guard).invoke('hi');
    expect(await desk.receipts('decision')).toHaveLength(1);
  });

  it('refuses a model that is under another guard', async () => {
    await using desk = await openDesk();
    await using other = await openDesk();
    const model = guardModel(openai(desk.sim.url), desk.guard);
    const message = /give one guard the policies of both/;
    expect(() => guardModel(model, other.guard)).toThrow(message);
    expect(() => guardModel(openai(desk.sim.url), other.guard, { ladder: [model] })).toThrow(message);
  });

  it('and a handler of another guard both decide', async () => {
    await using desk = await openDesk();
    await using other = await openDesk();
    const model = guardModel(openai(desk.sim.url), other.guard);
    await model.invoke('hi', { callbacks: [spendGuardHandler(desk.guard)] });
    expect(await desk.receipts('decision')).toHaveLength(1);
    expect(await other.receipts('decision')).toHaveLength(1);
    expect(await other.spent()).toBe(desk.sim.billed);
  });

  it('takes a model with tools bound to it', async () => {
    await using desk = await openDesk(DOWN);
    await guardModel(openrouter(desk.sim.url).bindTools(tools), desk.guard).invoke('hi');
    expect(desk.bodies()).toMatchObject([{ model: HAIKU, tools: [{ function: { name: 'look' } }] }]);
  });

  describe.each([
    ['1.x', initChatModel],
    ['0.3', old.initChatModel as unknown as typeof initChatModel],
  ])('takes a model that is looked up by its name (%s)', (version, look) => {
    const options = { modelProvider: 'openai', apiKey: 'k', maxTokens: 99 };
    const open = async (url: string, more = {}): Promise<Chat> =>
      (await look(OPUS, { ...options, configuration: { baseURL: url }, ...more })) as unknown as Chat;
    const json = { method: 'jsonMode' } as const;
    const asks = 'Answer in json.';
    const ways: Readonly<Record<string, (model: Chat) => Promise<unknown>>> = {
      invoke: (model) => model.invoke(asks),
      stream: (model) => readAll(model.stream(asks)),
      batch: (model) => model.batch([asks]),
      bindTools: (model) => model.bindTools(tools).invoke(asks),
      withConfig: (model) => model.withConfig({ tags: ['x'] }).invoke(asks),
      pipe: (model) => model.pipe(({ content }) => content).invoke(asks),
      'streamEvents v2': (model) => readAll(model.streamEvents(asks, { version: 'v2' })),
      'structured output': (model) => model.withStructuredOutput(schema, json).invoke(asks),
      'structured output, streamed': (model) =>
        readAll(model.withStructuredOutput(schema, json).stream(asks) as never),
      'structured output, raw': (model) =>
        model.withStructuredOutput(schema, { ...json, includeRaw: true }).batch([asks]),
      'tools and structured output': (model) =>
        (model.bindTools(tools) as Chat).withStructuredOutput(schema, json).invoke(asks),
      ...(version === '1.x' && {
        'streamEvents v3': (model: Chat) => readAll(model.streamEvents(asks) as never),
      }),
    };

    it.each(Object.entries(ways))('%s', async (_way, call) => {
      await using desk = await openDesk(DOWN, { respond: () => ({ text: JSON_TEXT }) });
      await call(guardModel(await open(desk.sim.url), desk.guard));
      expect(desk.bodies()).toMatchObject([{ model: HAIKU }]);
      expect(await desk.receipts('decision')).toHaveLength(1);
      expect(await desk.spent()).toBe(desk.sim.billed);
    });

    it('that the call itself names', async () => {
      await using desk = await openDesk(DOWN);
      const fields = { model: SONNET, configurableFields: ['model', 'maxTokens'] };
      const model = guardModel(await open(desk.sim.url, fields), desk.guard);
      await model.invoke('hi', { configurable: { model: OPUS, maxTokens: 50 } } as never);
      expect(desk.bodies()).toMatchObject([{ model: HAIKU, max_tokens: 50 }]);
      expect(await desk.receipts('decision')).toMatchObject([{ request: { model: OPUS } }]);
    });

    it('with what was asked of it before, which stays as it was without the guard', async () => {
      await using desk = await openDesk(DOWN, { respond: () => ({ text: JSON_TEXT }) });
      const bare = (await open(desk.sim.url)).withStructuredOutput(schema, json);
      await bare.invoke(asks);
      expect(await guardModel(bare, desk.guard).invoke(asks)).toEqual({ sky: 'clear' });
      await bare.invoke(asks);
      expect(desk.bodies().map(({ model }) => model)).toEqual([OPUS, HAIKU, OPUS]);
    });
  });

  it('keeps calls within the concurrency of their model', async () => {
    let most = 0;
    let now = 0;
    await using desk = await openDesk(undefined, {
      respond: async () => {
        most = Math.max(most, ++now);
        await new Promise((resolve) => setTimeout(resolve, 5));
        now -= 1;
        return { text: 'x' };
      },
    });
    const model = guardModel(openai(desk.sim.url, { maxConcurrency: 2 }), desk.guard);
    await Promise.all(Array.from({ length: 8 }, () => model.invoke('hi')));
    expect(most).toBeLessThanOrEqual(2);
    expect(desk.sim.requests).toHaveLength(8);
  });

  it('takes a completion model', async () => {
    await using desk = await openDesk(policyOf([{ amountCents: 0, window: 'total', action: 'block' }]));
    const model = new OpenAI({
      model: 'gpt-3.5-turbo-instruct',
      apiKey: 'k',
      configuration: { baseURL: desk.sim.url },
    });
    await expect(guardModel(model, desk.guard).invoke('hi')).rejects.toSatisfy(isBlocked);
    await expect(model.invoke('hi', { callbacks: [spendGuardHandler(desk.guard)] })).rejects.toSatisfy(
      isBlocked,
    );
    expect(desk.sim.requests).toHaveLength(0);
  });

  it('refuses an option that would replace the whole request', async () => {
    await using desk = await openDesk();
    const model = guardModel(openai(desk.sim.url), desk.guard);
    const hijack = { options: { body: { model: OPUS, messages: [] } } } as never;
    await expect(model.invoke('hi', hijack)).rejects.toSatisfy(isBlocked);
    expect(desk.sim.requests).toHaveLength(0);
  });

  it('leaves the model itself as it was', async () => {
    await using desk = await openDesk(DOWN);
    const bare = new ChatOpenAI({
      model: OPUS,
      apiKey: 'k',
      maxTokens: 5,
      configuration: { baseURL: desk.sim.url },
    });
    await guardModel(bare, desk.guard).invoke('hi');
    await bare.invoke('hi');
    expect(desk.bodies().map(({ model }) => model)).toEqual([HAIKU, OPUS]);
    expect(await desk.receipts('decision')).toHaveLength(1);
  });
});
