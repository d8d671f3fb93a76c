/** The simulator's AI Gateway, by the AI SDK's own client. */
import * as ai from 'ai';
import { describe, expect, it } from 'vitest';
import type { Simulator } from '../../src/node/simulator/index.ts';
import { ai as ai5 } from '../frameworks/ai-5/index.ts';
import { ai as ai6 } from '../frameworks/ai-6/index.ts';
import { aiSdkClient } from './simulator-clients.ts';
import { CHUNK, eventsOf, HAIKU, LONG, nano, OPUS, post, PROMPT, start, wireSuite } from './simulator-kit.ts';

const { createGateway, embedMany, generateImage, generateText, streamText } = ai;

const gateway = (sim: Simulator): ReturnType<typeof createGateway> =>
  createGateway({ apiKey: 'x', baseURL: `${sim.origin}/v3/ai` });

wireSuite([
  aiSdkClient(
    {
      name: 'gateway of ai 7',
      cutWord: 'length',
      // It echoes the id that was asked for.
      odd: { hidesModel: 'of whole answers', breaksOn: ['bad-usage'], streamBreaksOn: ['bad-usage'] },
    },
    (sim, id) => gateway(sim)(id),
  ),
]);

const prompt = [{ role: 'user', content: [{ type: 'text', text: 'Hi' }] }];

function headersOf(version: number, streaming = false): Record<string, string> {
  return {
    'ai-language-model-id': OPUS,
    'ai-language-model-streaming': String(streaming),
    'ai-language-model-specification-version': String(version),
  };
}

interface Gateway {
  cost: string;
  generationId: string;
  routing: { originalModelId: string; canonicalSlug?: string; finalProvider: string };
}

const PATH = '/v3/ai/language-model';
const thoughtful = { ...LONG, reasoning: 'r'.repeat(8), cacheReadTokens: 4 };

describe('the wire', () => {
  it('tells cost, generation and routing', async () => {
    const sim = await start({
      respond: ({ candidates }) => ({ ...LONG, servedModel: candidates.at(-1) ?? '', provider: 'Bedrock' }),
    });
    const call = {
      model: gateway(sim)(OPUS),
      prompt: 'Hi',
      maxOutputTokens: 50,
      providerOptions: { gateway: { models: [HAIKU] } },
    };
    const streamed = streamText(call);
    const told = [(await generateText(call)).providerMetadata, await streamed.providerMetadata];
    for (const [index, metadata] of told.entries()) {
      const { cost, generationId, routing } = metadata!['gateway'] as unknown as Gateway;
      const line = sim.bill().find((each) => each.generationId === generationId);
      expect(line?.streamed).toBe(index === 1);
      expect(typeof cost).toBe('string');
      expect(nano(cost)).toBe(line?.nanoUsd);
      expect(routing).toMatchObject({
        originalModelId: OPUS,
        canonicalSlug: HAIKU,
        finalProvider: 'bedrock',
      });
    }
    expect(sim.requests[0]).toMatchObject({
      path: PATH,
      headers: { 'ai-language-model-id': OPUS },
      body: { maxOutputTokens: 50, providerOptions: { gateway: { models: [HAIKU] } } },
    });
    expect(sim.bill()).toMatchObject([{ model: HAIKU }, { model: HAIKU }]);
  });

  it.each([2, 3, 4])('gives results of specification %d', async (version) => {
    const sim = await start({ respond: () => thoughtful });
    const whole = (await (await post(sim, PATH, { prompt }, headersOf(version))).json()) as {
      content: object[];
      finishReason: unknown;
      usage: unknown;
    };
    expect(whole.content).toEqual([
      { type: 'reasoning', text: thoughtful.reasoning },
      { type: 'text', text: LONG.text },
    ]);
    expect(whole.finishReason).toEqual(version === 2 ? 'stop' : { unified: 'stop', raw: 'stop' });
    expect(whole.usage).toEqual(
      version === 2
        ? { inputTokens: 10, outputTokens: 42, totalTokens: 52, reasoningTokens: 2, cachedInputTokens: 4 }
        : {
            inputTokens: { total: 10, noCache: 6, cacheRead: 4, cacheWrite: 0 },
            outputTokens: { total: 42, text: 40, reasoning: 2 },
          },
    );
    const events = await eventsOf(await post(sim, PATH, { prompt }, headersOf(version, true)));
    const types = events.map(({ data }) => data['type']);
    expect([...new Set(types)]).toEqual([
      'stream-start',
      'response-metadata',
      'reasoning-start',
      'reasoning-delta',
      'reasoning-end',
      'text-start',
      'text-delta',
      'text-end',
      'finish',
    ]);
    expect(events.at(-1)?.data).toMatchObject({ usage: whole.usage, finishReason: whole.finishReason });
  });

  it('refuses in the words of this API', async () => {
    const sim = await start({ respond: () => ({ fault: { kind: 'http', status: 429 } }) });
    const busy = generateText({ model: gateway(sim)(OPUS), prompt: 'Hi', maxRetries: 0 });
    await expect(busy).rejects.toMatchObject({ name: 'GatewayRateLimitError', statusCode: 429 });
    expect((await post(sim, PATH, { prompt })).status).toBe(400);
    expect((await post(sim, PATH, { prompt }, { authorization: '' })).status).toBe(401);
    expect((await post(sim, PATH, {}, headersOf(4))).status).toBe(400);
    expect(sim.billed).toBe(0n);
  });

  it('embeds and draws', async () => {
    const sim = await start({ respond: ({ wire }) => (wire === 'embeddings' ? { inputTokens: 100 } : {}) });
    const small = gateway(sim).textEmbeddingModel('openai/text-embedding-3-small');
    const { embeddings, usage, providerMetadata } = await embedMany({ model: small, values: ['a', 'b'] });
    expect(embeddings.map(({ length }) => length)).toEqual([1536, 1536]);
    expect(usage.tokens).toBe(100);
    expect(nano((providerMetadata!['gateway'] as unknown as Gateway).cost)).toBe(100n * 20n);
    expect(sim.billed).toBe(100n * 20n);
    const painter = gateway(sim).imageModel('openai/gpt-image-1');
    const drawn = await generateImage({ model: painter, prompt: 'cats', n: 2, size: '1024x1024' });
    expect(drawn.images).toHaveLength(2);
    expect(drawn.usage).toMatchObject({ inputTokens: 1, outputTokens: 8320 });
    expect(sim.billed).toBe(100n * 20n + 5000n + 8320n * 40_000n);
  });

  it('finds a generation again', async () => {
    const sim = await start({ respond: () => LONG });
    await generateText({ model: gateway(sim)(OPUS), prompt: 'Hi' });
    const id = sim.bill()[0]?.generationId ?? '';
    const info = await gateway(sim).getGenerationInfo({ id });
    expect(info).toMatchObject({ id, model: OPUS, promptTokens: 10, completionTokens: 40 });
    expect(nano(info.totalCost)).toBe(sim.billed);
  });

  it('bills what was generated before an error', async () => {
    const sim = await start({ respond: () => ({ ...LONG, fault: { kind: 'error-chunk', afterChunks: 4 } }) });
    const events = await eventsOf(await post(sim, PATH, { prompt }, headersOf(4, true)));
    expect(events.at(-1)?.data).toMatchObject({ type: 'error', error: { type: 'internal_server_error' } });
    expect(sim.billed).toBe(PROMPT + 4n * CHUNK);
  });
});

/** Older majors, whose functions have the same shape as far as this goes. */
describe.each([
  ['ai 5', '2', ai5 as unknown as typeof ai],
  ['ai 6', '3', ai6 as unknown as typeof ai],
])('the gateway of %s', (_name, version, major) => {
  it('reads whole answers and streams', async () => {
    const sim = await start({ respond: () => thoughtful });
    const model = major.createGateway({ apiKey: 'x', baseURL: `${sim.origin}/v1/ai` })(OPUS);
    const whole = await major.generateText({ model, prompt: 'Hi' });
    const stream = major.streamText({ model, prompt: 'Hi' });
    const results = [
      [whole.text, whole.reasoningText, whole.usage, whole.finishReason, whole.providerMetadata],
      [
        await stream.text,
        await stream.reasoningText,
        await stream.usage,
        await stream.finishReason,
        await stream.providerMetadata,
      ],
    ];
    for (const [index, [text, reasoning, usage, finish, metadata]] of results.entries()) {
      expect([text, reasoning, finish]).toEqual([LONG.text, thoughtful.reasoning, 'stop']);
      expect(usage).toMatchObject({
        inputTokens: 10,
        outputTokens: 42,
        reasoningTokens: 2,
        cachedInputTokens: 4,
      });
      const { cost } = (metadata as unknown as { gateway: Gateway }).gateway;
      expect(nano(cost)).toBe(sim.bill()[index]?.nanoUsd);
    }
    expect(sim.billed).toBe(2n * (6n * 5000n + 4n * 500n + 42n * 25_000n));
    expect(sim.requests[0]?.headers['ai-language-model-specification-version']).toBe(version);
  });

  it('fails and stops as the wire says', async () => {
    const sim = await start({
      respond: ({ id }) => ({
        ...LONG,
        ...(id === 1 && { fault: { kind: 'error-chunk', afterChunks: 2 } }),
        ...(id === 2 && { chunkDelayMs: 600_000 }),
      }),
    });
    const model = major.createGateway({ apiKey: 'x', baseURL: `${sim.origin}/v1/ai` })(OPUS);
    const types: string[] = [];
    const failing = major.streamText({ model, prompt: 'Hi', onError: () => {} });
    for await (const part of failing.fullStream) types.push(part.type);
    expect(types).toContain('error');
    expect(sim.billed).toBe(PROMPT + 2n * CHUNK);
    const controller = new AbortController();
    const left = major.streamText({
      model,
      prompt: 'Hi',
      abortSignal: controller.signal,
      onError: () => {},
    });
    for await (const part of left.fullStream) {
      if (part.type === 'text-delta') controller.abort();
    }
    await sim.idle();
    expect(sim.billed).toBe(2n * PROMPT + 4n * CHUNK);
  });
});
