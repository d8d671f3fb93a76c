/** Requests and answers that nobody would send by accident, and some that people do. */
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { defaultSettingsMiddleware, generateText, streamText, wrapLanguageModel } from 'ai';
import { describe, expect, it } from 'vitest';
import { spendGuard, toGuardedResponse } from '../../middleware/ai-sdk.ts';
import { guardRoute } from '../../middleware/http.ts';
import { blockedError, withSpendGuard, withSpendScope } from '../../src/index.ts';
import { HAIKU, ladder, openDesk, OPUS, policyOf, WIDE, type Desk } from './ai-sdk-kit.ts';
import { bareClient, guardedClient, MAJORS } from './openai-kit.ts';

const prompt = 'Say something.';
const messages = [{ role: 'user' as const, content: prompt }];

async function reasonOf(call: PromiseLike<unknown>): Promise<string | undefined> {
  return Promise.resolve(call).then(
    () => undefined,
    (error: unknown) => {
      const blocked = blockedError(error);
      if (blocked === undefined) throw error;
      return blocked.reason;
    },
  );
}

describe.each(MAJORS)('the OpenAI client $name', (major) => {
  const long = { outputTokens: 20_000 };

  it('takes no limit of another endpoint for one of its own', async () => {
    await using desk = await openDesk(policyOf([WIDE], { maxOutputTokens: 500 }), { respond: () => long });
    const client = guardedClient(major, desk);
    await client.chat.completions.create({ model: OPUS, messages, max_output_tokens: 10 } as never);
    await client.responses.create({ model: OPUS, input: prompt, max_tokens: 10 } as never);
    await client.responses.create({ model: OPUS, input: prompt, max_completion_tokens: 10 } as never);
    expect(desk.bodies()).toMatchObject([
      { max_tokens: 500 },
      { max_output_tokens: 500 },
      { max_output_tokens: 500 },
    ]);
    expect(desk.warnings()).not.toContain('over_hold');
    expect(await desk.spent()).toBe(desk.sim.billed);
  });

  it('knows a reference to kept input without its type', async () => {
    await using desk = await openDesk();
    const client = guardedClient(major, desk);
    const input = [{ id: 'msg_1' }, { id: 'msg_2', type: null }];
    for (const item of input) {
      const call = client.responses.create({ model: OPUS, input: [item] as never, max_output_tokens: 10 });
      expect(await reasonOf(call)).toBe('unbounded_cost');
    }
    expect(desk.sim.requests).toHaveLength(0);
  });

  it('counts a prompt that stands beside the messages', async () => {
    await using desk = await openDesk();
    const client = guardedClient(major, desk);
    const more = { prompt: 'word '.repeat(20_000), system: 'word '.repeat(20_000) };
    await client.chat.completions.create({ model: OPUS, messages, max_tokens: 10, ...more } as never);
    const [decision] = await desk.receipts('decision');
    expect(decision?.request.input_tokens).toBeGreaterThan(30_000);
  });

  it.each<[string, object]>([
    ['live search', { search_parameters: { mode: 'auto' } }],
    ['a prediction', { prediction: { type: 'content', content: 'x' } }],
    ['the prompt in the answer', { echo: true }],
  ])('refuses %s', async (_name, more) => {
    await using desk = await openDesk();
    const call = guardedClient(major, desk).chat.completions.create({
      model: OPUS,
      messages,
      ...more,
    } as never);
    expect(await reasonOf(call)).toBe('unbounded_cost');
    expect(desk.sim.requests).toHaveLength(0);
  });

  it('sets no limit below a thinking budget, and counts the answers that a search throws away', async () => {
    await using desk = await openDesk();
    const client = guardedClient(major, desk);
    const thinking = { type: 'enabled', budget_tokens: 20_000 };
    await client.chat.completions.create({ model: OPUS, messages, thinking, best_of: 3 } as never);
    expect(desk.bodies()[0]?.['max_tokens']).toBeGreaterThan(20_000);
    expect((await desk.receipts('decision'))[0]?.request.choices).toBe(3);
  });

  it('takes nothing of other vendors below /projects for free', async () => {
    await using desk = await openDesk();
    const path = '/projects/p/locations/l/publishers/google/models/gemini-2.5-pro:generateContent';
    expect(await reasonOf(guardedClient(major, desk).post(path, { body: {} }))).toBe('unbounded_cost');
    expect(desk.sim.requests).toHaveLength(0);
  });

  it('sends the key that the client has now', async () => {
    await using desk = await openDesk();
    const bare = bareClient(major, desk.sim.url);
    bare.apiKey = 'sk-or-rotated';
    await withSpendGuard(bare, desk.guard).chat.completions.create({ model: OPUS, messages });
    expect(desk.sim.requests[0]?.headers['authorization']).toBe('Bearer sk-or-rotated');
  });

  it('watches a stream of another class, as polyfills have it', async () => {
    await using desk = await openDesk();
    const answer = [
      { choices: [{ index: 0, delta: { content: 'one' }, finish_reason: 'stop' }] },
      { choices: [], usage: { prompt_tokens: 10, completion_tokens: 1, total_tokens: 11 } },
    ];
    const lines = [...answer.map((each) => JSON.stringify({ model: 'gpt-5-mini', ...each })), '[DONE]'];
    const text = lines.map((line) => `data: ${line}\n\n`).join('');
    const fetch = (): Promise<Response> => {
      const response = new Response(text, { headers: { 'content-type': 'text/event-stream' } });
      const inner = response.body as ReadableStream<Uint8Array>;
      const foreign = { locked: false, getReader: () => inner.getReader() };
      return Promise.resolve(Object.defineProperty(response, 'body', { value: foreign }));
    };
    const client = guardedClient(major, desk, { fetch }, { provider: 'openai' });
    const stream = await client.chat.completions.create({ model: 'gpt-5-mini', messages, stream: true });
    const seen: unknown[] = [];
    for await (const { choices } of stream) seen.push(choices[0]?.delta.content);
    expect(seen).toEqual(['one']);
    expect(await desk.held()).toBe(0n);
    expect(await desk.receipts('settlement')).toMatchObject([{ outcome: 'ok', cost: { source: 'tokens' } }]);
  });

  it('leaves no hold behind an answer that can not be watched', async () => {
    await using desk = await openDesk();
    const fetch = (): Promise<Response> =>
      Promise.resolve(
        Object.defineProperty(Response.json({}), 'headers', {
          get: () => {
            throw new TypeError('no headers');
          },
        }),
      );
    const client = guardedClient(major, desk, { fetch });
    await expect(client.chat.completions.create({ model: OPUS, messages })).rejects.toThrow();
    expect(await desk.held()).toBe(0n);
    expect(await desk.receipts('settlement')).toMatchObject([{ outcome: 'error', cost: { source: 'hold' } }]);
  });
});

describe('the AI SDK', () => {
  async function refused(
    desk: Desk,
    options: object,
    model: 'chat' | 'responses' | 'compatible',
  ): Promise<unknown> {
    const openai = createOpenAI({ apiKey: 'k', baseURL: desk.sim.url });
    const compatible = createOpenAICompatible({ name: 'openrouter', baseURL: desk.sim.url });
    const models = {
      chat: () => openai.chat('gpt-5'),
      responses: () => openai.responses('gpt-5'),
      compatible: () => compatible('openai/gpt-5'),
    };
    return reasonOf(
      generateText({
        model: desk.wrap(models[model]()),
        prompt,
        maxOutputTokens: 20,
        providerOptions: { [model === 'compatible' ? 'openrouter' : 'openai']: options as never },
      }),
    );
  }

  it.each([
    ['chat', { prediction: { type: 'content', content: 'x' } }],
    ['compatible', { prediction: { type: 'content', content: 'x' } }],
    ['responses', { reasoningMode: 'pro' }],
    ['responses', { contextManagement: [{ type: 'compaction', compactThreshold: 1000 }] }],
  ] as const)('refuses what the OpenAI client refuses: %s %j', async (model, options) => {
    await using desk = await openDesk();
    expect(await refused(desk, options, model)).toBe('unbounded_cost');
    expect(desk.sim.requests).toHaveLength(0);
  });

  it('leaves no fallback after a downgrade, though middleware inside names one', async () => {
    await using desk = await openDesk(policyOf([ladder(HAIKU)]));
    const inner = wrapLanguageModel({
      model: desk.openrouter()(OPUS),
      middleware: defaultSettingsMiddleware({
        settings: { providerOptions: { openrouter: { models: [OPUS], n: 3 } } },
      }),
    });
    const model = wrapLanguageModel({ model: inner, middleware: spendGuard(desk.guard) });
    await generateText({ model, prompt, maxOutputTokens: 20 });
    const [body] = desk.bodies();
    expect(body?.['model']).toBe(HAIKU);
    expect(body?.['models'] ?? [HAIKU]).toEqual([HAIKU]);
    expect(body?.['n'] ?? 1).toBe(1);
  });

  it('counts texts in options that become part of the prompt', async () => {
    await using desk = await openDesk();
    const long = 'word '.repeat(20_000);
    const openai = createOpenAI({ apiKey: 'sk-or-test', baseURL: desk.sim.url });
    await generateText({
      model: desk.wrap(openai.responses('openai/gpt-5')),
      prompt,
      maxOutputTokens: 20,
      providerOptions: { openai: { instructions: long } },
    });
    const completion = desk.openrouter().completion(OPUS, { suffix: long } as never);
    const call = generateText({ model: desk.wrap(completion as never), prompt, maxRetries: 0 });
    await Promise.resolve(call).catch(() => undefined);
    for (const { request } of await desk.receipts('decision'))
      expect(request.input_tokens).toBeGreaterThan(15_000);
    expect(await desk.receipts('decision')).toHaveLength(2);
  });

  it('answers 402 also where nobody reads the copy of the stream', async () => {
    await using desk = await openDesk(policyOf([{ ...WIDE, amountCents: 0 }]));
    const result = streamText({ model: desk.model(), prompt, onError: () => {} });
    const response = await toGuardedResponse(result, { consumeSseStream: () => {} });
    expect(response.status).toBe(402);
  });
});

describe('a stream with CRLF', () => {
  it.each(MAJORS)(
    'gives every event as it comes to $name',
    async (major) => {
      await using desk = await openDesk();
      let sendMore: (() => void) | undefined;
      const encoder = new TextEncoder();
      const piece = (content: string, more: object = {}) =>
        encoder.encode(
          `data: ${JSON.stringify({ id: 'c', model: 'gpt-5-mini', choices: [{ index: 0, delta: { content } }], ...more })}\r\n\r\n`,
        );
      const fetch = async (): Promise<Response> =>
        new Response(
          new ReadableStream<Uint8Array>({
            async start(controller) {
              controller.enqueue(piece('one'));
              await new Promise<void>((resolve) => (sendMore = resolve));
              controller.enqueue(piece('two'));
              controller.close();
            },
          }),
          { headers: { 'content-type': 'text/event-stream' } },
        );
      const client = guardedClient(major, desk, { fetch }, { provider: 'openai' });
      const stream = await client.chat.completions.create({
        model: 'gpt-5-mini',
        messages,
        max_completion_tokens: 20,
        stream: true,
      });
      const seen: unknown[] = [];
      for await (const { choices } of stream) {
        seen.push(choices[0]?.delta.content);
        sendMore?.();
      }
      expect(seen).toEqual(['one', 'two']);
    },
    5000,
  );
});

describe('scopes', () => {
  it('are no promises, maps or other objects that only look empty', () => {
    for (const given of [Promise.resolve({ userId: 'ann' }), new Map([['userId', 'ann']]), new Response()])
      expect(() => withSpendScope(given as never, () => 1)).toThrow(/expected an object/);
    for (const given of [{}, Object.create(null), { userId: undefined }])
      expect(withSpendScope(given as never, () => 1)).toBe(1);
  });

  it('that are responses of another class are the answer, and the handler is not run', async () => {
    const foreign = new (class {
      get status() {
        return 401;
      }
      get headers() {
        return new Map();
      }
    })();
    const route = guardRoute({ scope: () => foreign as never }, () => new Response('secret'));
    expect(await route(new Request('http://app.test/'))).toBe(foreign);
  });
});

describe('a model whose class has private fields', () => {
  class Private {
    readonly specificationVersion = 'v4';
    readonly supportedUrls = {};
    readonly modelId = OPUS;
    readonly #name = 'mine';
    calls = 0;
    get provider(): string {
      return this.#name;
    }
    doGenerate(): Promise<never> {
      this.calls += 1;
      return Promise.reject(new Error(this.#name));
    }
    doStream(): Promise<never> {
      return this.doGenerate();
    }
  }

  it('is not copied for a downgrade, which is a block then', async () => {
    await using desk = await openDesk(policyOf([ladder(HAIKU), WIDE]));
    const model = new Private();
    const call = generateText({ model: desk.wrap(model as never), prompt, maxOutputTokens: 20 });
    expect(await reasonOf(call)).toBe('no_route');
    expect(model.calls).toBe(0);
    expect([await desk.spent(), await desk.held()]).toEqual([0n, 0n]);
  });
});

describe('reasoning that a provider counts apart from the output', () => {
  const usage = { prompt_tokens: 10, completion_tokens: 5, total_tokens: 315 };
  const message = { role: 'assistant', content: 'Hi.' };
  const answer = {
    id: 'c',
    model: 'gpt-5-mini',
    choices: [{ index: 0, message, finish_reason: 'stop' }],
    usage,
  };
  const fetch = (): Promise<Response> => Promise.resolve(Response.json(answer));

  async function settled(desk: Desk): Promise<unknown> {
    const [{ usage: told, cost } = {}] = await desk.receipts('settlement');
    return [told?.output_tokens, cost?.source];
  }

  it.each(MAJORS)('is paid for, as the total says: $name', async (major) => {
    await using desk = await openDesk();
    const client = guardedClient(major, desk, { fetch }, { provider: 'openai' });
    const { usage: shown } = await client.chat.completions.create({ model: 'gpt-5-mini', messages });
    expect(shown).toEqual(usage);
    expect(await settled(desk)).toEqual([305, 'tokens']);
  });

  it('is paid for, as the total says: an OpenAI-compatible model', async () => {
    await using desk = await openDesk();
    const model = createOpenAICompatible({ name: 'mine', baseURL: desk.sim.url, fetch: fetch as never })(
      'openai/gpt-5-mini',
    );
    await generateText({ model: desk.wrap(model), prompt, maxOutputTokens: 400 });
    expect(await settled(desk)).toEqual([305, 'tokens']);
  });
});
