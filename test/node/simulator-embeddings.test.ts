/** The simulator's embeddings, by the clients that ask for them. */
import { createOpenAI } from '@ai-sdk/openai';
import { OpenAIEmbeddings } from '@langchain/openai';
import { createOpenRouter } from '@openrouter/ai-sdk-provider';
import { embed, embedMany } from 'ai';
import OpenAI from 'openai';
import { describe, expect, it } from 'vitest';
import type { Fault, Simulator } from '../../src/node/simulator/index.ts';
import { OpenAI as OpenAI6 } from '../frameworks/openai-6/index.ts';
import { nano, OPUS, post, start, whenAsked } from './simulator-kit.ts';

const SMALL = 'openai/text-embedding-3-small';
const LARGE = 'openai/text-embedding-3-large';
/** Nano-USD per token. */
const SMALL_IN = 20n;
const LARGE_IN = 130n;

const clientOf = (sim: Simulator): OpenAI => new OpenAI({ apiKey: 'x', baseURL: sim.url, maxRetries: 0 });

describe.each([
  ['openai 7', clientOf],
  ['openai 6', (sim: Simulator) => new OpenAI6({ apiKey: 'x', baseURL: sim.url, maxRetries: 0 }) as never],
])('%s', (_name, client: (sim: Simulator) => OpenAI) => {
  it('reads base64 as the vectors that floats are', async () => {
    const sim = await start();
    const { embeddings } = client(sim);
    const input = ['one text of 24 characters', 'another'];
    const packed = await embeddings.create({ model: SMALL, input });
    expect(sim.requests[0]?.body).toMatchObject({ input, encoding_format: 'base64' });
    const plain = await embeddings.create({ model: SMALL, input, encoding_format: 'float' });
    expect(packed.data.map(({ embedding }) => Array.from(embedding))).toEqual(
      plain.data.map(({ embedding }) => embedding),
    );
    expect(packed.data.map(({ embedding }) => embedding.length)).toEqual([1536, 1536]);
    expect(packed.data[0]?.embedding).not.toEqual(packed.data[1]?.embedding);
    expect(Math.hypot(...(plain.data[0]?.embedding ?? []))).toBeCloseTo(1, 3);
    expect(packed).toMatchObject({
      object: 'list',
      model: SMALL,
      usage: { prompt_tokens: 9, total_tokens: 9 },
    });
    expect(sim.billed).toBe(2n * 9n * SMALL_IN);
    expect(nano((packed.usage as unknown as { cost: number }).cost)).toBe(9n * SMALL_IN);
  });

  it('fails as the script says', async () => {
    let fault: Fault = { kind: 'http', status: 429, message: 'slow down' };
    const sim = await start({ respond: () => ({ inputTokens: 1000, fault }) });
    const ask = (): Promise<unknown> => client(sim).embeddings.create({ model: LARGE, input: 'text' });
    await expect(ask()).rejects.toThrow('slow down');
    expect(sim.billed).toBe(0n);
    fault = { kind: 'drop', afterChunks: 0 };
    await expect(ask()).rejects.toThrow();
    fault = { kind: 'truncate', afterChunks: 0 };
    await expect(ask()).rejects.toThrow();
    expect(sim.billed).toBe(2n * 1000n * LARGE_IN);
    fault = { kind: 'no-usage' };
    expect(await ask()).not.toHaveProperty('usage');
    fault = { kind: 'zero-usage' };
    expect(await ask()).toMatchObject({ usage: { prompt_tokens: 0, cost: 0 } });
    fault = { kind: 'bad-usage', usage: 'none' };
    expect(await ask()).toMatchObject({ usage: 'none' });
    expect(sim.billed).toBe(5n * 1000n * LARGE_IN);
  });
});

it('an error with HTTP 200, and a call that is left, cost the prompt', async () => {
  const sim = await start({ respond: () => ({ inputTokens: 1000, fault: { kind: 'error-body' } }) });
  const answer = await post(sim, '/embeddings', { model: SMALL, input: 'text' });
  expect(await answer.json()).toMatchObject({ error: { code: 502 } });
  expect(sim.billed).toBe(1000n * SMALL_IN);
  const late = await start({ latencyMs: 600_000, respond: () => ({ inputTokens: 1000 }) });
  const left = clientOf(late).embeddings.create({ model: SMALL, input: 'text' }, { signal: whenAsked(late) });
  await expect(left).rejects.toThrow();
  await late.idle();
  expect(late.bill()).toMatchObject([{ how: 'aborted', nanoUsd: 1000n * SMALL_IN }]);
});

it('speaks to the AI SDK and to LangChain', async () => {
  const sim = await start({ respond: ({ messages }) => ({ inputTokens: messages.length * 100 }) });
  const openai = createOpenAI({ apiKey: 'x', baseURL: sim.url });
  const values = ['a', 'b', 'c'];
  const many = await embedMany({ model: openai.embedding(SMALL), values });
  expect(many.embeddings).toHaveLength(3);
  expect(many.usage.tokens).toBe(300);
  const openrouter = createOpenRouter({ apiKey: 'x', baseURL: sim.url });
  const one = await embed({ model: openrouter.textEmbeddingModel(LARGE), value: 'a' });
  expect(one.usage.tokens).toBe(100);
  const metadata = one.providerMetadata?.['openrouter'] as { usage: { cost: number } };
  expect(nano(metadata.usage.cost)).toBe(100n * LARGE_IN);
  const langChain = new OpenAIEmbeddings({
    model: SMALL,
    apiKey: 'x',
    maxRetries: 0,
    configuration: { baseURL: sim.url },
  });
  expect(await langChain.embedDocuments(values)).toHaveLength(3);
  expect(sim.billed).toBe(600n * SMALL_IN + 100n * LARGE_IN);
});

it('counts tokens as they are, keeps to `dimensions`, and refuses what is no embedding model', async () => {
  const sim = await start();
  const { embeddings } = clientOf(sim);
  const tokens = await embeddings.create({ model: SMALL, input: [[1, 2, 3], [4]], dimensions: 8 });
  expect(tokens.usage.prompt_tokens).toBe(4);
  expect(tokens.data[0]?.embedding).toHaveLength(8);
  await expect(embeddings.create({ model: OPUS, input: 'a' })).rejects.toMatchObject({ status: 400 });
  expect((await post(sim, '/embeddings', { model: SMALL })).status).toBe(400);
  expect((await post(sim, '/chat/completions', { model: SMALL, messages: [] })).status).toBe(400);
  expect(sim.billed).toBe(4n * SMALL_IN);
});
