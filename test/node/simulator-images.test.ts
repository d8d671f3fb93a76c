/** What the simulator draws: on the images API, and in chat. */
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenRouter } from '@openrouter/ai-sdk-provider';
import { generateImage, generateText, streamText } from 'ai';
import OpenAI from 'openai';
import { describe, expect, it } from 'vitest';
import type { Fault, Simulator, SimulatorModel } from '../../src/node/simulator/index.ts';
import { OpenAI as OpenAI6 } from '../frameworks/openai-6/index.ts';
import { nano, post, start } from './simulator-kit.ts';

const GPT_IMAGE = 'openai/gpt-image-1';
const DALL_E = 'openai/dall-e-3';
/** Nano-USD per token. */
const TEXT_IN = 5000n;
const IMAGE_OUT = 40_000n;

const clientOf = (sim: Simulator): OpenAI => new OpenAI({ apiKey: 'x', baseURL: sim.url, maxRetries: 0 });
const prompt = 'a cat that counts its coins';
/** 27 characters are 7 tokens. */
const PROMPT_COST = 7n * TEXT_IN;

describe.each([
  ['openai 7', clientOf],
  ['openai 6', (sim: Simulator) => new OpenAI6({ apiKey: 'x', baseURL: sim.url, maxRetries: 0 }) as never],
])('%s', (_name, client: (sim: Simulator) => OpenAI) => {
  it('draws by tokens: size, quality and number', async () => {
    const sim = await start();
    const square = await client(sim).images.generate({ model: GPT_IMAGE, prompt, n: 2, quality: 'low' });
    expect(square.data).toHaveLength(2);
    expect(
      Buffer.from(square.data?.[0]?.b64_json ?? '', 'base64')
        .subarray(1, 4)
        .toString(),
    ).toBe('PNG');
    expect(square.usage).toMatchObject({
      input_tokens: 7,
      input_tokens_details: { text_tokens: 7, image_tokens: 0 },
      output_tokens: 544,
      total_tokens: 551,
    });
    expect(sim.billed).toBe(PROMPT_COST + 544n * IMAGE_OUT);
    expect(nano((square.usage as unknown as { cost: number }).cost)).toBe(sim.billed);
    sim.reset();
    await client(sim).images.generate({ model: GPT_IMAGE, prompt, size: '1024x1536', quality: 'medium' });
    expect(sim.billed).toBe(PROMPT_COST + 1584n * IMAGE_OUT);
    expect(sim.bill()).toMatchObject([{ completionTokens: 1584, imageTokens: 1584 }]);
    sim.reset();
    await client(sim).images.generate({ model: GPT_IMAGE, prompt });
    expect(sim.billed).toBe(PROMPT_COST + 4160n * IMAGE_OUT);
  });

  it('draws by the piece', async () => {
    const sim = await start();
    await client(sim).images.generate({ model: DALL_E, prompt, n: 3 });
    expect(sim.billed).toBe(3n * 40_000_000n);
  });

  it('streams parts and bills them', async () => {
    const reply = { images: 3, outputTokens: 300, imageTokens: 300 };
    const sim = await start({ respond: () => reply });
    const asked = { model: GPT_IMAGE, prompt, stream: true, partial_images: 2 } as const;
    const types: string[] = [];
    for await (const event of await client(sim).images.generate(asked)) types.push(event.type);
    expect(types).toEqual([
      ...Array<string>(3).fill('image_generation.partial_image'),
      'image_generation.completed',
    ]);
    expect(sim.billed).toBe(PROMPT_COST + 300n * IMAGE_OUT);
    const broken = await start({
      respond: () => ({ ...reply, fault: { kind: 'error-chunk', afterChunks: 1 } }),
    });
    const seen: string[] = [];
    await expect(
      (async () => {
        for await (const event of await client(broken).images.generate(asked)) seen.push(event.type);
      })(),
    ).rejects.toThrow();
    expect(seen).toHaveLength(1);
    expect(broken.billed).toBe(PROMPT_COST + 100n * IMAGE_OUT);
  });
});

it.each<[Fault, bigint]>([
  [{ kind: 'http', status: 500 }, 0n],
  [{ kind: 'error-body' }, PROMPT_COST],
  [{ kind: 'drop', afterChunks: 0 }, PROMPT_COST],
  [{ kind: 'truncate', afterChunks: 1 }, PROMPT_COST + 272n * IMAGE_OUT],
  [{ kind: 'no-usage' }, PROMPT_COST + 272n * IMAGE_OUT],
  [{ kind: 'zero-usage' }, PROMPT_COST + 272n * IMAGE_OUT],
  [{ kind: 'bad-usage', usage: {} }, PROMPT_COST + 272n * IMAGE_OUT],
])('%o is billed exactly', async (fault, expected) => {
  const sim = await start({ respond: () => ({ fault }) });
  await clientOf(sim)
    .images.generate({ model: GPT_IMAGE, prompt, quality: 'low' })
    .catch(() => {});
  await sim.idle();
  expect(sim.billed).toBe(expected);
});

it('speaks to the AI SDK', async () => {
  const sim = await start();
  const openai = createOpenAI({ apiKey: 'x', baseURL: sim.url });
  const drawn = await generateImage({ model: openai.image(GPT_IMAGE), prompt, n: 1, size: '1024x1024' });
  expect(drawn.image.mediaType).toBe('image/png');
  expect(drawn.usage).toMatchObject({ inputTokens: 7, outputTokens: 4160 });
  const openrouter = createOpenRouter({ apiKey: 'x', baseURL: sim.url });
  const routed = await generateImage({ model: openrouter.imageModel(GPT_IMAGE), prompt });
  expect(routed.image.mediaType).toBe('image/png');
  expect(routed.usage).toMatchObject({ inputTokens: 7, outputTokens: 4160 });
  expect(sim.billed).toBe(2n * (PROMPT_COST + 4160n * IMAGE_OUT));
});

it('refuses what it can not read', async () => {
  const sim = await start();
  expect((await post(sim, '/images/generations', { model: GPT_IMAGE })).status).toBe(400);
  expect((await post(sim, '/images/generations', { model: GPT_IMAGE, prompt, n: 11 })).status).toBe(400);
  expect(sim.billed).toBe(0n);
});

it('draws in chat, whole and streamed', async () => {
  const model: SimulatorModel = {
    id: 'acme/painter',
    pricing: { prompt: '0.000001', completion: '0.000002', image_output: '0.00003' },
  };
  const sim = await start({
    models: [model],
    respond: () => ({ inputTokens: 10, text: 'abcd', images: 1 }),
  });
  const call = {
    model: createOpenRouter({ apiKey: 'x', baseURL: sim.url })('acme/painter', {
      extraBody: { modalities: ['image', 'text'] },
    }),
    prompt: 'Draw.',
  };
  const whole = await generateText(call);
  expect(whole.files.map(({ mediaType }) => mediaType)).toEqual(['image/png']);
  const files = await streamText(call).files;
  expect(files.map(({ mediaType }) => mediaType)).toEqual(['image/png']);
  expect(whole.usage.outputTokens).toBe(1291);
  // ten tokens in, one of text and 1,290 of an image out
  expect(sim.billed).toBe(2n * (10n * 1000n + 2000n + 1290n * 30_000n));
  expect(sim.requests[0]?.body).toMatchObject({ modalities: ['image', 'text'] });
});
