import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { createOpenRouter } from '@openrouter/ai-sdk-provider';
import {
  APICallError,
  generateText,
  isStepCount,
  Output,
  RetryError,
  streamText,
  tool,
  ToolLoopAgent,
  wrapLanguageModel,
  type LanguageModelMiddleware,
} from 'ai';
import * as fc from 'fast-check';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { z } from 'zod';
import { spendGuard, spendOptions } from '../../middleware/ai-sdk.ts';
import {
  AgentGuardBlockedError,
  createSpendGuard,
  isBlocked,
  memoryLedger,
  withSpendScope,
  type SpendEvent,
} from '../../src/index.ts';
import type { DecisionPayload } from '../../src/receipts/payloads.ts';
import type { Reply, SimulatedRequest } from '../../src/node/simulator/index.ts';
import { HAIKU, ladder, openDesk, OPUS, policyOf, SONNET, WIDE } from './ai-sdk-kit.ts';

const prompt = 'How many cents are in a dollar?';

async function refusal(work: PromiseLike<unknown>): Promise<AgentGuardBlockedError> {
  const error: unknown = await Promise.resolve(work).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(isBlocked(error)).toBe(true);
  return error as AgentGuardBlockedError;
}

const fail = () => ({ fault: { kind: 'http', status: 500, retryAfterSeconds: 0 } as const });

const askTwice = ({ messages }: SimulatedRequest): Reply =>
  messages.length < 5
    ? { toolCalls: [{ name: 'weather', arguments: { city: 'Berlin' } }] }
    : { text: 'Sunny.' };

describe('spendGuard', () => {
  it('fits the middleware type of ai', () => {
    expectTypeOf(spendGuard).returns.toExtend<LanguageModelMiddleware>();
  });

  it('lets a call through, settled at the cost that the provider reports', async () => {
    await using desk = await openDesk();
    const { text } = await generateText({ model: desk.model(), prompt, maxOutputTokens: 100 });
    expect(text).toBe(`You said: ${prompt}`);
    const [settlement] = await desk.receipts('settlement');
    expect(settlement).toMatchObject({
      outcome: 'ok',
      cost: { source: 'provider', amount: `${desk.sim.billed}` },
    });
    expect(settlement?.cost.computed).toBe(settlement?.cost.reported);
    expect(settlement?.provider_ref).toBe(desk.sim.bill()[0]?.generationId);
    expect(settlement?.served).toEqual({ model: OPUS, provider: 'Anthropic' });
    expect(await desk.spent()).toBe(desk.sim.billed);
    expect(await desk.held()).toBe(0n);
  });

  it('takes a policy, or several, and makes its own guard', () => {
    expect(() => spendGuard(policyOf([{ ...WIDE, amountCents: -1 }]))).toThrow('amountCents');
    expect(() => spendGuard([policyOf([WIDE])], { scope: { tenant: 'a' } as never })).toThrow('scope.tenant');
    expect(spendGuard([policyOf([WIDE]), policyOf([WIDE], { id: 'b' })]).specificationVersion).toBe('v3');
  });

  it('blocks with a receipt and without a request', async () => {
    await using desk = await openDesk(
      policyOf([{ amountCents: '0.001', window: 'per_day', action: 'block' }]),
    );
    const error = await refusal(generateText({ model: desk.model(), prompt }));
    expect(error).toBeInstanceOf(AgentGuardBlockedError);
    expect(error.reason).toBe('cap_spent');
    expect(desk.sim.requests).toHaveLength(0);
    expect(await desk.receipts('decision')).toMatchObject([{ decision: 'block' }]);
    expect(await desk.receipts('settlement')).toHaveLength(0);
  });

  it('shows a blocked stream as the same error', async () => {
    await using desk = await openDesk(policyOf([{ amountCents: 0, window: 'per_call', action: 'block' }]));
    const seen: unknown[] = [];
    const result = streamText({ model: desk.model(), prompt, onError: ({ error }) => void seen.push(error) });
    for await (const part of result.stream) if (part.type === 'error') seen.push(part.error);
    expect(seen.length).toBeGreaterThan(0);
    for (const error of seen) expect(error).toBeInstanceOf(AgentGuardBlockedError);
    expect(new Set(seen).size).toBe(1);
    expect(desk.sim.requests).toHaveLength(0);
  });

  it('settles each retry', async () => {
    let calls = 0;
    const respond = () => ({
      text: 'ok',
      ...(calls++ === 0 && { fault: { kind: 'http', status: 429, retryAfterSeconds: 0 } as const }),
    });
    await using desk = await openDesk(undefined, { respond });
    await generateText({ model: desk.model(), prompt });
    expect(await desk.receipts('decision')).toHaveLength(2);
    expect((await desk.receipts('settlement')).map(({ outcome }) => outcome)).toEqual(['refused', 'ok']);
    expect(await desk.spent()).toBeGreaterThanOrEqual(desk.sim.billed);
    expect(await desk.held()).toBe(0n);
  });

  it('is found inside a RetryError when a retry is blocked', async () => {
    await using first = await openDesk(undefined, { respond: fail });
    await generateText({ model: first.model(), prompt, maxRetries: 0 }).catch(() => undefined);
    const hold = Number((await first.receipts('decision'))[0]?.hold) / 1e7;
    // the failed attempt is charged in full, so the second worst case no longer fits
    await using desk = await openDesk(policyOf([{ amountCents: hold, window: 'total', action: 'block' }]), {
      respond: fail,
    });
    const error = await generateText({ model: desk.model(), prompt }).catch((e: unknown) => e);
    expect(RetryError.isInstance(error)).toBe(true);
    expect(isBlocked(error)).toBe(true);
    expect(desk.sim.requests).toHaveLength(1);
  });

  it('passes on an error as the same object', async () => {
    const failure = new APICallError({ message: 'no', url: 'u', requestBodyValues: {}, statusCode: 400 });
    await using desk = await openDesk();
    const model = desk.openrouter({ fetch: () => Promise.reject(failure) })(OPUS);
    const error = await generateText({ model: desk.wrap(model), prompt, maxRetries: 0 }).catch(
      (e: unknown) => e,
    );
    expect(error).toBe(failure);
  });

  it('decides and settles each step of a tool loop', async () => {
    const weather = tool({
      inputSchema: z.object({ city: z.string() }),
      execute: () => 'sunny',
    });
    await using desk = await openDesk(undefined, { respond: askTwice });
    const options = { model: desk.model(), tools: { weather }, stopWhen: isStepCount(5) };
    const { text, steps } = await generateText({ ...options, prompt });
    expect({ text, steps: steps.length }).toEqual({ text: 'Sunny.', steps: 3 });
    expect(await desk.receipts('decision')).toHaveLength(3);
    const agent = new ToolLoopAgent({
      ...options,
      providerOptions: spendOptions({ scope: { agentId: 'a1' } }),
    });
    expect((await agent.generate({ prompt })).text).toBe('Sunny.');
    const decisions = await desk.receipts('decision');
    expect(decisions.map(({ scope }) => scope.agentId)).toEqual([
      undefined,
      undefined,
      undefined,
      'a1',
      'a1',
      'a1',
    ]);
    expect(await desk.receipts('settlement')).toHaveLength(6);
    expect(await desk.spent()).toBe(desk.sim.billed);
    expect(JSON.stringify(desk.bodies())).not.toContain('spendGuard');
  });

  it('streams text and objects', async () => {
    await using desk = await openDesk(undefined, { respond: () => ({ text: '{"cents":100}', chunks: 4 }) });
    const output = Output.object({ schema: z.object({ cents: z.number() }) });
    const generated = await generateText({ model: desk.model(), prompt, output });
    expect(generated.output).toEqual({ cents: 100 });
    const streamed = streamText({ model: desk.model(), prompt, output });
    expect(await streamed.output).toEqual({ cents: 100 });
    expect(await desk.receipts('settlement')).toMatchObject([{ outcome: 'ok' }, { outcome: 'ok' }]);
    expect(await desk.spent()).toBe(desk.sim.billed);
  });

  it('charges tokens where no cost is told, and the provider with the key of the user', async () => {
    let isByok = false;
    await using desk = await openDesk(undefined, { respond: () => ({ text: 'ok', isByok }) });
    const compatible = createOpenAICompatible({
      name: 'mine',
      baseURL: desk.sim.url,
      apiKey: 'k',
      includeUsage: true,
    });
    await generateText({ model: desk.wrap(compatible(OPUS)), prompt });
    expect(await desk.spent()).toBe(desk.sim.billed);
    isByok = true;
    await generateText({ model: desk.model(), prompt });
    expect(await desk.spent()).toBe(desk.sim.billed);
    const costs = (await desk.receipts('settlement')).map(({ cost }) => cost.source);
    expect(costs).toEqual(['provider', 'provider']);
  });
});

describe('output limit', () => {
  it('is injected where the call has none, and said once', async () => {
    await using desk = await openDesk();
    await generateText({ model: desk.model(), prompt });
    await generateText({ model: desk.model(), prompt });
    expect(desk.bodies().map(({ max_tokens }) => max_tokens)).toEqual([8192, 8192]);
    expect(desk.warnings()).toEqual(['limit_injected']);
    expect((await desk.receipts('decision'))[0]?.route?.limit).toBe('injected');
  });

  it.each([
    ['the call', {}, { maxOutputTokens: 50 }],
    ['settings', { maxTokens: 50 }, {}],
    ['extraBody', { extraBody: { max_tokens: 50 } }, { maxOutputTokens: 9 }],
    ['options', { maxTokens: 7 }, { providerOptions: { openrouter: { max_completion_tokens: 50 } } }],
  ])('of %s is left as it is', async (_where, settings, more) => {
    await using desk = await openDesk(undefined, { respond: () => ({ outputTokens: 5000 }) });
    await generateText({ model: desk.model(OPUS, settings), prompt, ...more });
    const [decision] = await desk.receipts('decision');
    expect(decision?.route).toMatchObject({ limit: 'own', max_output_tokens: 50 });
    expect(BigInt(decision?.hold ?? 0)).toBeGreaterThanOrEqual(desk.sim.billed);
    expect(desk.warnings()).toEqual([]);
  });

  it.each([
    ['the call', {}, { maxOutputTokens: 90_000 }],
    ['settings', { maxTokens: 90_000 }, {}],
    ['settings.extraBody', { extraBody: { max_tokens: 90_000 } }, {}],
    ['both names', { extraBody: { max_tokens: 90_000, max_completion_tokens: 80_000 } }, {}],
    ['options', {}, { providerOptions: { openrouter: { max_completion_tokens: 90_000 } } }],
  ])('of %s is clamped to what a cap leaves', async (_where, settings, more) => {
    const policy = policyOf([{ amountCents: 10, window: 'total', action: 'block' }], {
      clampOutput: { minTokens: 10 },
    });
    await using desk = await openDesk(policy, { respond: () => ({ outputTokens: 90_000 }) });
    await generateText({ model: desk.model(OPUS, settings), prompt, ...more });
    const [decision] = await desk.receipts('decision');
    expect(decision?.route?.limit).toBe('clamped');
    expect(desk.sim.billed).toBeLessThanOrEqual(100_000_000n);
    const { max_tokens: one, max_completion_tokens: other } = desk.bodies()[0] ?? {};
    expect([one, other]).toContain(decision?.route?.max_output_tokens);
    expect(Math.max(Number(one ?? 0), Number(other ?? 0))).toBe(decision?.route?.max_output_tokens);
  });

  it('leaves a call without caps alone', async () => {
    await using desk = await openDesk(policyOf([]));
    await generateText({ model: desk.model(), prompt });
    expect(desk.bodies()[0]).not.toHaveProperty('max_tokens');
  });

  it('is never below the reasoning budget', async () => {
    await using desk = await openDesk();
    await generateText({ model: desk.model(OPUS, { reasoning: { max_tokens: 20_000 } }), prompt });
    expect(desk.bodies()[0]?.['max_tokens']).toBe(21_024);
  });

  it('counts the budget that the Anthropic provider adds', async () => {
    const bodies: Record<string, unknown>[] = [];
    const fetch = (_url: unknown, init?: RequestInit) => {
      bodies.push(JSON.parse(init?.body as string) as Record<string, unknown>);
      return Promise.resolve(Response.json({ error: { type: 'x', message: 'no' } }, { status: 400 }));
    };
    await using desk = await openDesk();
    const model = desk.wrap(createAnthropic({ apiKey: 'k', fetch })('claude-sonnet-4-5'));
    const thinking = { type: 'enabled', budgetTokens: 3000 } as const;
    const anthropic = { providerOptions: { anthropic: { thinking } }, prompt, maxRetries: 0 };
    await generateText({ model, ...anthropic, maxOutputTokens: 500 }).catch(() => undefined);
    await generateText({ model, ...anthropic }).catch(() => undefined);
    await generateText({ model, prompt, maxRetries: 0 }).catch(() => undefined);
    const limits = (await desk.receipts('decision')).map(({ route }) => route?.max_output_tokens);
    expect(limits).toEqual([3500, 8192, 8192]);
    expect(bodies.map((body) => body['max_tokens'])).toEqual(limits);
  });
});

describe('downgrade', () => {
  const downgrading = policyOf([ladder(HAIKU), WIDE]);

  it.each([
    ['a plain model', {}, {}, {}],
    ['settings.models', { models: [OPUS, SONNET] }, {}, {}],
    ['settings.extraBody', { extraBody: { models: [SONNET], model: SONNET, route: 'fallback' } }, {}, {}],
    ['the provider', {}, { extraBody: { models: [SONNET], model: OPUS } }, {}],
    ['options', {}, {}, { openrouter: { models: [SONNET], model: SONNET } }],
    [
      'everywhere',
      { models: [OPUS], extraBody: { models: [SONNET] } },
      { extraBody: { models: [OPUS] } },
      { openrouter: { models: [OPUS] } },
    ],
  ])(
    'names only the cheaper model, with names from %s',
    async (_where, settings, provider, providerOptions) => {
      await using desk = await openDesk(downgrading);
      const model = desk.wrap(desk.openrouter(provider)(OPUS, settings));
      await generateText({ model, prompt, providerOptions });
      await streamText({ model, prompt, providerOptions }).text;
      expect(desk.bodies()).toHaveLength(2);
      for (const body of desk.bodies()) {
        expect(body['model']).toBe(HAIKU);
        expect(body).not.toHaveProperty('models');
        expect(body).not.toHaveProperty('route');
      }
      expect(desk.sim.bill().map((line) => line.model)).toEqual([HAIKU, HAIKU]);
      expect((await desk.receipts('decision'))[0]).toMatchObject({
        decision: 'downgrade',
        route: { model: HAIKU },
      });
      expect(await desk.spent()).toBe(desk.sim.billed);
      for (const { served } of await desk.receipts('settlement'))
        expect(served).not.toHaveProperty('fallback');
    },
  );

  it('copies models of other providers', async () => {
    await using desk = await openDesk(policyOf([ladder('gpt-5-nano', 'claude-haiku-4-5'), WIDE]));
    const bodies: Record<string, unknown>[] = [];
    const fetch = (_url: unknown, init?: RequestInit) => {
      bodies.push(JSON.parse(init?.body as string) as Record<string, unknown>);
      return Promise.resolve(Response.json({ error: { message: 'no', type: 'x' } }, { status: 400 }));
    };
    const openai = createOpenAI({ apiKey: 'k', fetch });
    const anthropic = createAnthropic({ apiKey: 'k', fetch });
    const providerOptions = { anthropic: { fallbacks: [{ model: 'claude-sonnet-4-5' }] } };
    for (const model of [openai('gpt-5'), openai.chat('gpt-5'), anthropic('claude-opus-4-5')]) {
      await generateText({ model: desk.wrap(model), prompt, maxRetries: 0, providerOptions }).catch(
        () => undefined,
      );
    }
    expect(bodies.map(({ model }) => model)).toEqual(['gpt-5-nano', 'gpt-5-nano', 'claude-haiku-4-5']);
    for (const body of bodies) expect(body).not.toHaveProperty('fallbacks');
  });

  it('tells an OpenAI-compatible provider in the request, through its own transformation, too', async () => {
    await using desk = await openDesk(downgrading);
    const options = { name: 'my-router', baseURL: desk.sim.url, apiKey: 'k' };
    const plain = createOpenAICompatible(options);
    const adding = createOpenAICompatible({
      ...options,
      transformRequestBody: (body) => ({ ...body, models: [OPUS] }),
    });
    await generateText({
      model: desk.wrap(plain(OPUS)),
      prompt,
      providerOptions: { myRouter: { models: [SONNET] } },
    });
    expect(desk.bodies()[0]).toMatchObject({ model: HAIKU });
    expect(desk.bodies()[0]).not.toHaveProperty('models');
    const error = await refusal(generateText({ model: desk.wrap(adding(SONNET)), prompt }));
    expect(error.reason).toBe('no_route');
    expect(desk.sim.requests).toHaveLength(1);
  });

  it('uses the model that the caller resolves, and clears its fallbacks', async () => {
    await using desk = await openDesk(downgrading);
    const asked: string[] = [];
    const resolveModel = (id: string) => {
      asked.push(id);
      return desk.openrouter()(id, { models: [OPUS] });
    };
    await generateText({ model: desk.model(OPUS, {}, { resolveModel }), prompt });
    expect(desk.bodies()[0]).toMatchObject({ model: HAIKU });
    expect(desk.bodies()[0]).not.toHaveProperty('models');
    expect(new Set(asked)).toEqual(new Set([HAIKU]));
  });

  it('keeps the output limit that the cost was bounded with', async () => {
    await using desk = await openDesk(downgrading);
    const resolveModel = (id: string) => desk.openrouter()(id, { extraBody: { max_tokens: 60_000 } });
    await generateText({ model: desk.model(OPUS, { maxTokens: 77 }, { resolveModel }), prompt });
    expect(desk.bodies()[0]).toMatchObject({ model: HAIKU, max_tokens: 77 });
  });

  it('blocks where the call can not be sent elsewhere', async () => {
    await using desk = await openDesk(policyOf([ladder('gpt-5-nano'), WIDE]));
    const inner = wrapLanguageModel({ model: createOpenAI({ apiKey: 'k' })('gpt-5'), middleware: {} });
    const error = await refusal(generateText({ model: desk.wrap(inner), prompt }));
    expect(error.reason).toBe('no_route');
  });
});

describe('what the request names', () => {
  it.each([
    ['settings', { models: ['no/such-model'] }, {}, {}],
    ['settings.extraBody', { extraBody: { models: ['no/such-model'] } }, {}, {}],
    ['the provider', {}, { extraBody: { model: 'no/such-model' } }, {}],
    ['options', {}, {}, { openrouter: { models: ['no/such-model'] } }],
    ['an option for the model', {}, {}, { openrouter: { model: 'openrouter/auto' } }],
  ])('is gated on every model from %s', async (_where, settings, provider, providerOptions) => {
    await using desk = await openDesk();
    const model = desk.wrap(desk.openrouter(provider)(HAIKU, settings));
    const error = await refusal(generateText({ model, prompt, providerOptions }));
    expect(error.reason).toBe('unknown_price');
    expect(desk.sim.requests).toHaveLength(0);
  });

  it('holds for the dearest fallback and prices the one that served', async () => {
    await using desk = await openDesk(undefined, {
      respond: () => ({ outputTokens: 1000, servedModel: OPUS }),
    });
    await generateText({ model: desk.model(HAIKU, { models: [HAIKU, OPUS] }), prompt });
    const [decision] = await desk.receipts('decision');
    expect(decision?.request).toMatchObject({ model: HAIKU, fallbacks: [OPUS] });
    expect(BigInt(decision?.hold ?? 0)).toBeGreaterThanOrEqual(desk.sim.billed);
    const [settlement] = await desk.receipts('settlement');
    expect(settlement?.served).toMatchObject({ fallback: true, model: OPUS });
    expect(settlement?.cost.computed).toBe(`${desk.sim.billed}`);
    expect(desk.bodies()[0]?.['models']).toEqual([HAIKU, OPUS]);
  });

  it('multiplies by the answers asked for', async () => {
    await using desk = await openDesk(undefined, { respond: () => ({ outputTokens: 100 }) });
    await generateText({ model: desk.model(OPUS, { extraBody: { n: 4 } }), prompt, maxOutputTokens: 100 });
    const [decision] = await desk.receipts('decision');
    expect(decision?.request.choices).toBe(4);
    expect(BigInt(decision?.hold ?? 0)).toBeGreaterThanOrEqual(desk.sim.billed);
  });

  it.each<[string, object, object]>([
    ['a plugin', { plugins: [{ id: 'web' }] }, {}],
    ['web_search_options', { web_search_options: { max_results: 1 } }, {}],
    ['a plugin in options', {}, { plugins: [{ id: 'file-parser' }] }],
    ['reading pictures of pages', { plugins: [{ id: 'file-parser', pdf: { engine: 'mistral-ocr' } }] }, {}],
    ['a preset', { extraBody: { preset: 'mine' } }, {}],
    ['a service tier', {}, { service_tier: 'priority' }],
    ['routing by throughput', { provider: { sort: 'throughput' } }, {}],
    ['images', {}, { modalities: ['image', 'text'] }],
    ['a nonsensical n', {}, { n: '3' }],
  ])('is refused where %s has no bound', async (_what, settings, openrouter) => {
    await using desk = await openDesk();
    const error = await refusal(
      generateText({
        model: desk.model(OPUS, settings),
        prompt,
        providerOptions: { openrouter: openrouter as never },
      }),
    );
    expect(error.reason).toBe('unbounded_cost');
    expect(desk.sim.requests).toHaveLength(0);
  });

  it('has no fee where a PDF is read by an engine without one', async () => {
    await using desk = await openDesk();
    for (const engine of ['native', 'cloudflare-ai', 'pdf-text'] as const) {
      const plugins = [{ id: 'file-parser' as const, pdf: { engine } }];
      await generateText({ model: desk.model(OPUS, { plugins }), prompt });
    }
    expect(desk.sim.requests).toHaveLength(3);
  });

  it('is refused for :online and for tools that the provider runs', async () => {
    await using desk = await openDesk();
    expect((await refusal(generateText({ model: desk.model(`${OPUS}:online`), prompt }))).reason).toBe(
      'unknown_price',
    );
    const openai = createOpenAI({ apiKey: 'k' });
    const tools = { search: openai.tools.webSearch({}) };
    const call = generateText({ model: desk.wrap(openai('gpt-5')), prompt, tools });
    expect((await refusal(call)).reason).toBe('unbounded_cost');
    expect(desk.sim.requests).toHaveLength(0);
  });

  it('is what is sent, wherever it comes from', async () => {
    const names = fc.constantFrom(OPUS, SONNET, HAIKU);
    const limits = fc.constantFrom(undefined, null, 100, 9000, 60_000);
    const place = fc.record(
      {
        model: names,
        models: fc.option(fc.uniqueArray(names, { maxLength: 3 }), { nil: undefined }),
        max_tokens: limits,
        max_completion_tokens: limits,
        n: fc.constantFrom(undefined, 1, 3),
        route: fc.constant('fallback'),
      },
      { requiredKeys: [] },
    );
    const where = fc.record({
      client: fc.constantFrom('openrouter', 'compatible', 'wrapped'),
      id: names,
      settings: fc.record(
        { models: fc.uniqueArray(names, { maxLength: 3 }), maxTokens: fc.constantFrom(50, 5000) },
        { requiredKeys: [] },
      ),
      outer: place,
      inner: place,
      options: place,
      maxOutputTokens: fc.constantFrom(undefined, 70, 20_000),
      cap: fc.constantFrom([WIDE], [ladder(HAIKU), WIDE], [{ ...WIDE, amountCents: 20 }]),
    });
    const property = fc.asyncProperty(
      where,
      async ({ client, id, settings, outer, inner, options, maxOutputTokens, cap }) => {
        const sent: Record<string, unknown>[] = [];
        const fetch = (_url: unknown, init?: RequestInit) => {
          sent.push(JSON.parse(init?.body as string) as Record<string, unknown>);
          return Promise.resolve(Response.json({ error: { message: 'no', code: 400 } }, { status: 400 }));
        };
        const ledger = memoryLedger();
        const events: SpendEvent[] = [];
        const policy = policyOf(cap, { clampOutput: { minTokens: 20 } });
        const guard = createSpendGuard({
          policy,
          ledger,
          waitForHoldsMs: 0,
          onEvent: (event) => events.push(event),
        });
        const own = createOpenRouter({ apiKey: 'k', fetch: fetch as never, extraBody: outer })(id, {
          ...settings,
          extraBody: inner,
        } as never);
        const compatible = createOpenAICompatible({
          name: 'openrouter',
          baseURL: 'http://x.invalid',
          fetch: fetch as never,
          transformRequestBody: (body) => ({ ...body, ...(inner.n !== undefined && { n: inner.n }) }),
        })(id);
        const model = client === 'compatible' ? compatible : own;
        const middleware = spendGuard(guard);
        await generateText({
          model: wrapLanguageModel({
            model: client === 'wrapped' ? wrapLanguageModel({ model, middleware: {} }) : model,
            middleware,
          }),
          prompt,
          maxRetries: 0,
          ...(maxOutputTokens !== undefined && { maxOutputTokens }),
          providerOptions: { openrouter: options as never },
        }).catch(() => undefined);
        const [decision] = events.flatMap((event) =>
          event.type === 'decision' ? [event.receipt.payload as DecisionPayload] : [],
        );
        const [body] = sent;
        expect(sent.length).toBe(decision?.decision === 'block' ? 0 : 1);
        if (body === undefined || decision?.route === undefined) return;
        const models = ((body['models'] as string[] | null) ?? []).filter((name) => name !== body['model']);
        expect([body['model'], models]).toEqual([decision.route.model, decision.route.fallbacks ?? []]);
        const limit = Math.max(Number(body['max_tokens'] ?? 0), Number(body['max_completion_tokens'] ?? 0));
        expect(limit).toBe(decision.route.max_output_tokens);
        expect(body['n'] ?? 1).toBeLessThanOrEqual(decision.request.choices ?? 1);
      },
    );
    await fc.assert(property, { numRuns: 200 });
  });

  it('is written out for a model inside another wrapper', async () => {
    await using desk = await openDesk();
    const hidden = desk.openrouter()(HAIKU, { models: [OPUS], extraBody: { n: 3, max_tokens: 60_000 } });
    await generateText({ model: desk.wrap(wrapLanguageModel({ model: hidden, middleware: {} })), prompt });
    expect(desk.bodies()[0]).toMatchObject({ model: HAIKU, max_tokens: 8192 });
    expect(desk.bodies()[0]).not.toHaveProperty('models');
    expect(desk.bodies()[0]).not.toHaveProperty('n');
  });
});

describe('scope', () => {
  it('comes from guard, surrounding, middleware and call', async () => {
    await using desk = await openDesk(undefined, {}, { scope: { tenantId: 't' } });
    const model = desk.model(OPUS, {}, { scope: { agentId: 'a' } });
    const providerOptions = spendOptions({ scope: { userId: 'u' } });
    await withSpendScope({ teamId: 'x' }, () => generateText({ model, prompt, providerOptions }));
    const [decision] = await desk.receipts('decision');
    expect(decision?.scope).toEqual({ tenantId: 't', teamId: 'x', agentId: 'a', userId: 'u' });
  });

  it.each([
    ['the guard', { scope: { userId: 'v' } }, {}],
    ['the middleware', {}, { scope: { userId: 'v' } }],
  ])('may not contradict %s', async (_who, more, options) => {
    await using desk = await openDesk(undefined, {}, more);
    const providerOptions = spendOptions({ scope: { userId: 'u' } });
    const error = await refusal(
      generateText({ model: desk.model(OPUS, {}, options), prompt, providerOptions }),
    );
    expect(error.reason).toBe('scope_conflict');
    expect(await desk.receipts('decision')).toMatchObject([{ reason: 'scope_conflict' }]);
  });

  it('is checked', async () => {
    await using desk = await openDesk();
    for (const spendGuard of [{ userid: 'u' }, { userId: 7 }, 'u', ['u']]) {
      const call = generateText({ model: desk.model(), prompt, providerOptions: { spendGuard } as never });
      await expect(call).rejects.toMatchObject({ code: 'invalid_config' });
    }
    expect(() => spendOptions({ scope: { userId: '' } })).toThrow('scope.userId');
    expect(desk.sim.requests).toHaveLength(0);
  });

  it.each([true, false])('never reaches the provider (guard on: %s)', async (enabled) => {
    await using desk = await openDesk(undefined, {}, { enabled });
    const seen: unknown[] = [];
    const finish = { unified: 'stop', raw: 'stop' } as const;
    const usage = { inputTokens: { total: 5 }, outputTokens: { total: 5 } };
    const sendAll = {
      specificationVersion: 'v4' as const,
      provider: 'openrouter',
      modelId: OPUS,
      supportedUrls: {},
      doGenerate(params: object) {
        seen.push(params);
        return Promise.resolve({ content: [], finishReason: finish, usage, warnings: [] });
      },
      doStream: () => Promise.reject(new Error('not here')),
    };
    const scope = spendOptions({ scope: { userId: 'secret-user' } });
    await generateText({ model: desk.wrap(sendAll as never), prompt, providerOptions: scope });
    await generateText({
      model: desk.wrap(sendAll as never),
      prompt,
      providerOptions: { ...scope, other: { a: 1 } },
    });
    expect(JSON.stringify(seen)).not.toMatch(/spendGuard|secret-user/);
    expect(seen[1]).toMatchObject({ providerOptions: { other: { a: 1 } } });
    expect(await desk.receipts('decision')).toHaveLength(enabled ? 2 : 0);
  });

  it('limits a call by the balance of its own user', async () => {
    const cap = { amountCents: 30, window: 'total', action: 'block', per: ['userId'] } as const;
    await using desk = await openDesk(policyOf([cap]), { respond: () => ({ outputTokens: 8000 }) });
    const ask = (userId: string) =>
      generateText({ model: desk.model(), prompt, providerOptions: spendOptions({ scope: { userId } }) });
    await ask('a');
    expect((await refusal(ask('a'))).reason).toBe('cap_spent');
    await ask('b');
    expect((await refusal(generateText({ model: desk.model(), prompt }))).reason).toBe('scope_required');
  });
});

describe('shadow mode', () => {
  it('changes nothing and records what it would have done', async () => {
    await using desk = await openDesk(policyOf([{ ...WIDE, amountCents: 0 }], { mode: 'shadow' }));
    await generateText({ model: desk.model(OPUS, { models: [SONNET] }), prompt });
    expect(desk.bodies()[0]).toMatchObject({ model: OPUS, models: [SONNET] });
    expect(desk.bodies()[0]).not.toHaveProperty('max_tokens');
    expect((await desk.receipts('decision'))[0]).toMatchObject({ shadow: { decision: 'block' } });
  });
});

describe('concurrency', () => {
  it('never lets a cap be passed', async () => {
    const policy = policyOf([{ amountCents: 5, window: 'total', action: 'block' }]);
    await using desk = await openDesk(
      policy,
      { respond: () => ({ outputTokens: 300 }) },
      { waitForHoldsMs: 0 },
    );
    const model = desk.model();
    const calls = Array.from({ length: 40 }, () =>
      generateText({ model, prompt, maxOutputTokens: 300, maxRetries: 0 }),
    );
    const settled = await Promise.allSettled(calls);
    expect(settled.filter(({ status }) => status === 'fulfilled').length).toBeGreaterThan(0);
    expect(desk.sim.billed).toBeLessThanOrEqual(50_000_000n);
    expect(await desk.spent()).toBe(desk.sim.billed);
  });

  it('shares a ledger between guards', async () => {
    await using desk = await openDesk();
    const ledger = memoryLedger();
    const guards = [1, 2].map(() => createSpendGuard({ policy: policyOf([WIDE]), ledger }));
    for (const guard of guards) {
      const model = wrapLanguageModel({ model: desk.openrouter()(OPUS), middleware: spendGuard(guard) });
      await generateText({ model, prompt });
    }
    const [cap] = (await guards[0]?.balances()) ?? [];
    expect(cap?.spent).toBe(desk.sim.billed);
  });
});
