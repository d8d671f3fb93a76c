import { readFileSync } from 'node:fs';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { createOpenRouter } from '@openrouter/ai-sdk-provider';
import { APICallError, generateText, isStepCount, Output, streamText, tool } from 'ai';
import { afterEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import {
  startSimulator,
  tokensOfText,
  type Fault,
  type Simulator,
  type SimulatorModel,
  type SimulatorOptions,
} from '../../src/node/simulator/index.ts';

const OPUS = 'anthropic/claude-opus-4-7';
const HAIKU = 'anthropic/claude-haiku-4-5';
const FREE = 'openai/gpt-oss-120b:free';

/** Prices in nano-USD per token, written down here once more so that the bill is not judged by itself. */
const OPUS_IN = 5000n;
const OPUS_OUT = 25000n;
const HAIKU_IN = 1000n;
const HAIKU_OUT = 5000n;

const open: Simulator[] = [];

async function start(options?: SimulatorOptions): Promise<Simulator> {
  const sim = await startSimulator(options);
  open.push(sim);
  return sim;
}

afterEach(async () => {
  await Promise.all(open.splice(0).map((sim) => sim.close()));
});

interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  cost: number;
  is_byok: boolean;
  cost_details: { upstream_inference_cost: number | null };
  prompt_tokens_details: { cached_tokens: number; cache_write_tokens: number };
  completion_tokens_details: { reasoning_tokens: number };
}

interface WireBody {
  id: string;
  model: string;
  provider: string;
  usage?: Usage;
  error?: { message: string; code: number | string };
  choices: {
    finish_reason: string | null;
    message: { content: string; tool_calls?: { function: { arguments: string } }[] };
    delta: { content?: string; reasoning?: string; tool_calls?: { function: { arguments: string } }[] };
  }[];
}

function post(sim: Simulator, body: unknown, init: RequestInit = {}): Promise<Response> {
  return fetch(`${sim.url}/chat/completions`, {
    method: 'POST',
    headers: { authorization: 'Bearer sk-or-test', 'content-type': 'application/json' },
    body: JSON.stringify(body),
    ...init,
  });
}

const messages = [{ role: 'user', content: 'How many cents are in a dollar?' }];

async function ask(sim: Simulator, more: object = {}): Promise<WireBody> {
  const response = await post(sim, { model: OPUS, messages, ...more });
  return (await response.json()) as WireBody;
}

function get(sim: Simulator, path: string): Promise<Response> {
  return fetch(`${sim.url}${path}`, { headers: { authorization: 'Bearer sk-or-test' } });
}

/** Events of a stream; the last is `[DONE]` where it came. */
async function events(response: Response): Promise<(WireBody | '[DONE]')[]> {
  const text = await response.text();
  const data = text.split('\n\n').filter((event) => event.startsWith('data: '));
  return data.map((event) => {
    const json = event.slice('data: '.length);
    return json === '[DONE]' ? json : (JSON.parse(json) as WireBody);
  });
}

async function streamed(sim: Simulator, more: object = {}): Promise<(WireBody | '[DONE]')[]> {
  return events(await post(sim, { model: OPUS, messages, stream: true, ...more }));
}

function spoken(chunks: (WireBody | '[DONE]')[]): string {
  const texts = chunks.map((each) => (each === '[DONE]' ? '' : (each.choices[0]?.delta.content ?? '')));
  return texts.join('');
}

function lastUsage(chunks: (WireBody | '[DONE]')[]): Usage | undefined {
  return chunks.map((each) => (each === '[DONE]' ? undefined : each.usage)).findLast((usage) => usage);
}

/** Nano-USD of a JSON number by its shortest decimal form. */
function nano(usd: number): bigint {
  const [digits = '', power = '0'] = usd.toString().split('e');
  const [whole = '', fraction = ''] = digits.split('.');
  const places = 9 + Number(power) - fraction.length;
  if (places < 0) throw new Error(`finer than a nano-dollar: ${usd}`);
  return BigInt(whole + fraction) * 10n ** BigInt(places);
}

function listed(id: string, pricing: SimulatorModel['pricing'], more: object = {}): SimulatorModel {
  return { id, pricing, ...more };
}

describe('wire', () => {
  it('answers in JSON with usage, cost and generation id', async () => {
    const sim = await start({ respond: () => ({ text: 'One hundred.' }) });
    const response = await post(sim, { model: OPUS, messages });
    const body = (await response.json()) as WireBody;
    const promptTokens = tokensOfText(JSON.stringify(messages));
    expect(response.headers.get('x-generation-id')).toBe(body.id);
    expect(body).toMatchObject({ object: 'chat.completion', model: OPUS, provider: 'Anthropic' });
    expect(body.id).toMatch(/^gen-\d+-\w{20}$/);
    expect(body.choices[0]).toMatchObject({ finish_reason: 'stop', message: { content: 'One hundred.' } });
    expect(body.usage).toMatchObject({ prompt_tokens: promptTokens, completion_tokens: 3, is_byok: false });
    const expected = BigInt(promptTokens) * OPUS_IN + 3n * OPUS_OUT;
    expect(nano(body.usage?.cost ?? 0)).toBe(expected);
    expect(sim.billed).toBe(expected);
    expect(sim.requests).toMatchObject([
      {
        id: 1,
        method: 'POST',
        path: '/api/v1/chat/completions',
        body: { model: OPUS, messages },
        charge: expected,
        generationId: body.id,
        outcome: 'completed',
      },
    ]);
    expect(sim.requests[0]?.headers['authorization']).toBe('Bearer sk-or-test');
  });

  it('streams comments, deltas, a usage chunk and [DONE]', async () => {
    const sim = await start({ respond: () => ({ text: 'abcdefgh', reasoning: 'hmm, 12', chunks: 4 }) });
    const response = await post(sim, { model: OPUS, messages, stream: true });
    expect(response.headers.get('content-type')).toBe('text/event-stream');
    const raw = await response.clone().text();
    expect(raw.startsWith(': OPENROUTER PROCESSING\n\n')).toBe(true);
    const chunks = await events(response);
    expect(chunks.at(-1)).toBe('[DONE]');
    expect(chunks).toHaveLength(4 + 1 + 1 + 1);
    expect(spoken(chunks)).toBe('abcdefgh');
    expect(lastUsage(chunks)).toMatchObject({
      completion_tokens: 4,
      completion_tokens_details: { reasoning_tokens: 2 },
    });
    expect(nano(lastUsage(chunks)?.cost ?? 0)).toBe(sim.billed);
    expect(sim.bill()).toMatchObject([{ streamed: true, how: 'completed', nanoUsd: sim.billed }]);
  });

  it('gives n answers and bills all of them', async () => {
    const sim = await start({ respond: () => ({ text: 'abcd' }) });
    expect((await ask(sim, { n: 3 })).choices).toHaveLength(3);
    expect(sim.bill()[0]?.completionTokens).toBe(3);
  });

  it('serves models, generation and key', async () => {
    const sim = await start();
    const models = (await (await fetch(`${sim.url}/models`)).json()) as { data: SimulatorModel[] };
    expect(models.data.find((model) => model.id === OPUS)?.pricing).toMatchObject({ prompt: '0.000005' });
    const { id, usage } = await ask(sim);
    const generation = (await (await get(sim, `/generation?id=${id}`)).json()) as { data: object };
    expect(generation.data).toMatchObject({ id, total_cost: usage?.cost, model: OPUS, cancelled: false });
    expect((await get(sim, '/generation?id=gen-none')).status).toBe(404);
    expect(await (await get(sim, '/key')).json()).toMatchObject({ data: { usage: usage?.cost } });
  });

  it('refuses as OpenRouter does and bills nothing', async () => {
    const sim = await start();
    const keyless = await post(sim, { model: OPUS, messages }, { headers: {} });
    expect(keyless.status).toBe(401);
    expect((await ask(sim, { model: 'acme/none' })).error).toEqual({
      code: 400,
      message: 'acme/none is not a valid model ID',
    });
    expect((await ask(sim, { model: `${OPUS}:free` })).error).toMatchObject({ code: 404 });
    expect((await ask(sim, { messages: undefined })).error).toMatchObject({ code: 400 });
    expect((await ask(sim, { max_tokens: 0 })).error).toMatchObject({ code: 400 });
    expect((await post(sim, undefined, { body: '{' })).status).toBe(400);
    expect((await get(sim, '/nothing')).status).toBe(404);
    expect(sim.billed).toBe(0n);
    expect(sim.requests.map((request) => request.outcome)).toEqual(Array(7).fill('refused'));
  });

  it('says so when the script is at fault', async () => {
    const sim = await start({ respond: () => Promise.reject(new Error('typo')) });
    const response = await post(sim, { model: OPUS, messages });
    expect(response.status).toBe(500);
    expect(await response.text()).toContain('typo');
  });
});

describe('output limit', () => {
  it('cuts text, reasoning and tool calls to the limit', async () => {
    const sim = await start({ respond: () => ({ reasoning: 'r'.repeat(20), text: 't'.repeat(400) }) });
    const body = await ask(sim, { max_tokens: 15 });
    expect(body.choices[0]).toMatchObject({
      finish_reason: 'length',
      message: { content: 't'.repeat(40), reasoning: 'r'.repeat(20) },
    });
    expect(body.usage).toMatchObject({
      completion_tokens: 15,
      completion_tokens_details: { reasoning_tokens: 5 },
    });
    const thinking = await ask(sim, { max_completion_tokens: 3 });
    expect(thinking.choices[0]?.message.content).toBe('');
    expect(thinking.usage).toMatchObject({
      completion_tokens: 3,
      completion_tokens_details: { reasoning_tokens: 3 },
    });
    const tools = await start({
      respond: () => ({ toolCalls: [{ name: 'save', arguments: { text: 'x'.repeat(400) } }] }),
    });
    const cut = await ask(tools, { max_tokens: 10 });
    expect(cut.choices[0]?.finish_reason).toBe('length');
    expect(cut.choices[0]?.message.tool_calls?.[0]?.function.arguments).toHaveLength(36);
    expect(cut.usage?.completion_tokens).toBe(10);
  });

  it('honours overrides, the larger of two limits and the maximum of the model', async () => {
    const sim = await start({ respond: () => ({ outputTokens: 1_000_000, text: 'ok' }) });
    expect((await ask(sim, { max_tokens: 5, max_completion_tokens: 9 })).usage?.completion_tokens).toBe(9);
    const whole = await ask(sim);
    expect(whole.usage?.completion_tokens).toBe(128_000);
    expect(whole.choices[0]?.finish_reason).toBe('length');
    const filled = await start({ respond: () => ({ outputTokens: 1000 }) });
    expect((await ask(filled, { max_tokens: 50 })).choices[0]?.message.content).toHaveLength(200);
  });
});

describe('routing', () => {
  it('falls back in order and bills the model that serves', async () => {
    const sim = await start({
      respond: ({ candidates }) => ({ text: 'abcd', inputTokens: 10, servedModel: candidates.at(-1) ?? '' }),
    });
    const body = await ask(sim, { models: ['acme/none', HAIKU] });
    expect(body.model).toBe(HAIKU);
    expect(sim.billed).toBe(10n * HAIKU_IN + HAIKU_OUT);
    expect(sim.bill()[0]).toMatchObject({ model: HAIKU, requestedModel: OPUS });
    const first = await start({ respond: () => ({ text: 'abcd' }) });
    expect((await ask(first, { models: [HAIKU] })).model).toBe(OPUS);
    expect((await ask(first, { model: 'acme/none', models: [HAIKU] })).model).toBe(HAIKU);
  });

  it('keeps to max_price', async () => {
    const sim = await start();
    const limited = (max_price: object): object => ({ models: [HAIKU], provider: { max_price } });
    expect((await ask(sim, limited({ prompt: 5, completion: 25 }))).model).toBe(OPUS);
    expect((await ask(sim, limited({ prompt: 4.99 }))).model).toBe(HAIKU);
    expect((await ask(sim, limited({ completion: '24.999999' }))).model).toBe(HAIKU);
    const none = await ask(sim, limited({ prompt: 0.5, request: 0 }));
    expect(none.error).toMatchObject({ code: 404 });
    expect(none.error?.message).toMatch(/^No endpoints found/);
  });

  it('knows variants, both spellings of a version and the dear automatic choice', async () => {
    const sim = await start({ respond: () => ({ text: 'abcd', inputTokens: 10 }) });
    expect((await ask(sim, { model: FREE })).usage?.cost).toBe(0);
    expect((await ask(sim, { model: `${HAIKU}:nitro` })).model).toBe(HAIKU);
    expect((await ask(sim, { model: `${HAIKU}:floor` })).model).toBe(HAIKU);
    expect((await ask(sim, { model: 'anthropic/claude-haiku-4.5' })).model).toBe(HAIKU);
    expect((await ask(sim, { model: 'openrouter/auto' })).model).toBe(OPUS);
    const cheap = { model: 'openrouter/auto', provider: { max_price: { prompt: 1 } } };
    expect((await ask(sim, cheap)).model).toBe(HAIKU);
    sim.reset();
    expect((await ask(sim, { model: `${HAIKU}:online` })).model).toBe(HAIKU);
    // one search at the model's list price of one cent
    expect(sim.billed).toBe(10n * HAIKU_IN + HAIKU_OUT + 10_000_000n);
  });

  it('serves a sample of the real list of OpenRouter', async () => {
    const file = new URL('../fixtures/openrouter-models-sample.json', import.meta.url);
    const { data } = JSON.parse(readFileSync(file, 'utf8')) as { data: SimulatorModel[] };
    const sim = await start({ models: data, respond: () => ({ inputTokens: 333, outputTokens: 7 }) });
    const { usage } = await ask(sim, { model: 'deepseek/deepseek-v3.2' });
    // 333 × $0.000000252 + 7 × $0.000000378 is 86,562 nano-USD
    expect(sim.billed).toBe(86_562n);
    expect(nano(usage?.cost ?? 0)).toBe(86_562n);
    expect((await (await get(sim, '/models')).json()) as object).toEqual({ data });
  });
});

describe('bill', () => {
  it('prices cache, reasoning, request, images and tiers, and rounds up once', async () => {
    const pricing = {
      prompt: '0.0000000001',
      completion: '0.00000000025',
      request: '0.001',
      image: '0.0000000005',
      internal_reasoning: '0.0000000003',
      input_cache_read: '0.00000000001',
      input_cache_write: '0.000000000125',
      overrides: [{ min_prompt_tokens: 1000, prompt: '0.000000001' }],
    };
    const reply = { inputTokens: 1000, cacheReadTokens: 100, cacheWriteTokens: 50, outputTokens: 21 };
    const sim = await start({
      models: [listed('acme/one', pricing), listed('acme/big', pricing)],
      respond: ({ model }) => ({
        ...reply,
        reasoningTokens: 10,
        ...(model === 'acme/big' && { inputTokens: 1001 }),
      }),
    });
    const image = { type: 'image_url', image_url: { url: `data:image/png;base64,${'A'.repeat(5000)}` } };
    const withImage = [{ role: 'user', content: [{ type: 'text', text: 'look' }, image] }];
    await ask(sim, { model: 'acme/one', messages: withImage });
    // 85 + 1 + 6.25 + 2.75 + 3 + 0.5 = 98.5 nano-USD, and a tenth of a cent for the request
    expect(sim.billed).toBe(99n + 1_000_000n);
    sim.reset();
    await ask(sim, { model: 'acme/big' });
    // the prompt at ten times the rate: 851 + 1 + 6.25 + 2.75 + 3 = 864
    expect(sim.billed).toBe(864n + 1_000_000n);
  });

  it('bills a fee and the upstream with an own key', async () => {
    const sim = await start({
      respond: () => ({ inputTokens: 100, text: 'abcd', isByok: true }),
    });
    const upstream = 100n * OPUS_IN + OPUS_OUT;
    const { usage } = await ask(sim);
    expect(usage?.is_byok).toBe(true);
    expect(nano(usage?.cost_details.upstream_inference_cost ?? 0)).toBe(upstream);
    expect(nano(usage?.cost ?? 0)).toBe((upstream * 5n) / 100n);
    expect(sim.billed).toBe((upstream * 105n) / 100n);
  });

  it('counts inline data flat, not by its length', async () => {
    const sim = await start();
    const url = `data:image/png;base64,${'A'.repeat(400_000)}`;
    await ask(sim, { messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url } }] }] });
    expect(sim.bill()[0]?.promptTokens).toBeLessThan(1100);
  });

  it('stays exact over 500 calls at once', async () => {
    const sim = await start({
      respond: ({ id, candidates }) => ({
        inputTokens: id,
        text: 'x'.repeat(id),
        servedModel: candidates[id % 2] ?? OPUS,
        firstChunkDelayMs: id % 7,
      }),
    });
    const calls = Array.from({ length: 500 }, (_, index) =>
      index % 2 === 0 ? ask(sim, { models: [HAIKU] }) : streamed(sim, { models: [HAIKU] }),
    );
    await Promise.all(calls);
    await sim.idle();
    let expected = 0n;
    for (let id = 1; id <= 500; id += 1) {
      const output = BigInt(Math.ceil(id / 4));
      const onHaiku = BigInt(id) * HAIKU_IN + output * HAIKU_OUT;
      const onOpus = BigInt(id) * OPUS_IN + output * OPUS_OUT;
      expected += id % 2 === 1 ? onHaiku : onOpus;
    }
    expect(sim.billed).toBe(expected);
    expect(sim.bill()).toHaveLength(500);
    expect(sim.requests.reduce((sum, request) => sum + (request.charge ?? 0n), 0n)).toBe(expected);
  });
});

/** 10 tokens in, 40 out, in 10 chunks of 4 tokens each. */
const LONG = { inputTokens: 10, text: 'word'.repeat(40), chunks: 10 };
const PROMPT = 10n * OPUS_IN;
const CHUNK = 4n * OPUS_OUT;

function faulty(fault: Fault): Promise<Simulator> {
  return start({ respond: () => ({ ...LONG, fault }) });
}

describe('faults', () => {
  it('http: an error before anything is generated', async () => {
    const sim = await faulty({ kind: 'http', status: 429, message: 'slow down', retryAfterSeconds: 7 });
    const response = await post(sim, { model: OPUS, messages });
    expect(response.status).toBe(429);
    expect(response.headers.get('retry-after')).toBe('7');
    expect(await response.json()).toMatchObject({ error: { code: 429, message: 'slow down' } });
    expect(sim.billed).toBe(0n);
  });

  it('error-body: 200 with an error, the prompt is billed', async () => {
    const sim = await faulty({ kind: 'error-body' });
    expect((await ask(sim)).error).toMatchObject({ code: 502 });
    expect(sim.billed).toBe(PROMPT);
    const chunks = await streamed(sim);
    expect(chunks).toMatchObject([{ error: { code: 502 } }]);
    expect(sim.billed).toBe(2n * PROMPT);
  });

  it('error-chunk: an error in mid-stream', async () => {
    const sim = await faulty({ kind: 'error-chunk', afterChunks: 3 });
    const chunks = await streamed(sim);
    expect(spoken(chunks)).toBe('word'.repeat(12));
    expect(chunks[3]).toMatchObject({
      error: { code: 'server_error' },
      choices: [{ finish_reason: 'error' }],
    });
    expect(lastUsage(chunks)).toBeUndefined();
    expect(sim.billed).toBe(PROMPT + 3n * CHUNK);
    expect(sim.requests[0]?.outcome).toBe('error');
    expect((await ask(sim)).error).toMatchObject({ code: 502 });
    expect(sim.billed).toBe(2n * (PROMPT + 3n * CHUNK));
  });

  it('drop: a broken socket', async () => {
    const sim = await faulty({ kind: 'drop', afterChunks: 2 });
    const response = await post(sim, { model: OPUS, messages, stream: true });
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    let seen = '';
    await expect(
      (async () => {
        for (let read = await reader?.read(); read && !read.done; read = await reader?.read()) {
          seen += read.value;
        }
      })(),
    ).rejects.toThrow();
    expect(seen.match(/"content":"word/g)).toHaveLength(2);
    expect(sim.billed).toBe(PROMPT + 2n * CHUNK);
    const early = await faulty({ kind: 'drop', afterChunks: 0 });
    await expect(streamed(early)).rejects.toThrow('fetch failed');
    await expect(ask(early)).rejects.toThrow('fetch failed');
    expect(early.billed).toBe(2n * PROMPT);
    await early.idle();
    expect(early.bill().map((line) => line.how)).toEqual(['error', 'error']);
  });

  it.each<Fault>([{ kind: 'no-usage' }, { kind: 'zero-usage' }, { kind: 'bad-usage', usage: { cost: -1 } }])(
    '$kind: the true amount is billed',
    async (fault) => {
      const sim = await faulty(fault);
      const { usage } = await ask(sim);
      const chunks = await streamed(sim);
      expect(chunks.at(-1)).toBe('[DONE]');
      expect(lastUsage(chunks)).toEqual(usage);
      if (fault.kind === 'no-usage') expect(usage).toBeUndefined();
      if (fault.kind === 'zero-usage') expect(usage).toMatchObject({ prompt_tokens: 0, cost: 0 });
      if (fault.kind === 'bad-usage') expect(usage).toEqual({ cost: -1 });
      expect(sim.billed).toBe(2n * (PROMPT + 10n * CHUNK));
    },
  );

  it('usage-without-choices: the usage chunk has no choice', async () => {
    const sim = await faulty({ kind: 'usage-without-choices' });
    const chunks = await streamed(sim);
    expect(chunks.at(-2)).toMatchObject({ choices: [], usage: { prompt_tokens: 10 } });
    expect((await ask(sim)).usage?.prompt_tokens).toBe(10);
  });

  it('hang: headers never come, the abort is billed', async () => {
    const sim = await faulty({ kind: 'hang' });
    const signal = AbortSignal.timeout(50);
    await expect(post(sim, { model: OPUS, messages, stream: true }, { signal })).rejects.toThrow();
    await sim.idle();
    expect(sim.billed).toBe(PROMPT + CHUNK);
    expect(sim.requests[0]?.outcome).toBe('aborted');
  });

  it('truncate: a clean end that comes too early', async () => {
    const sim = await faulty({ kind: 'truncate', afterChunks: 5 });
    const chunks = await streamed(sim);
    expect(spoken(chunks)).toBe('word'.repeat(20));
    expect(chunks).not.toContain('[DONE]');
    expect(lastUsage(chunks)).toBeUndefined();
    expect(sim.billed).toBe(PROMPT + 5n * CHUNK);
    await expect(ask(sim)).rejects.toThrow(SyntaxError);
  });
});

async function abortAfterTwoChunks(sim: Simulator): Promise<void> {
  const controller = new AbortController();
  const { signal } = controller;
  const response = await post(sim, { model: OPUS, messages, stream: true }, { signal });
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  let seen = '';
  while ((seen.match(/"content":"word/g) ?? []).length < 2) seen += (await reader?.read())?.value ?? '';
  controller.abort();
  await reader?.cancel().catch(() => {});
  await sim.idle();
}

const slow: SimulatorOptions['respond'] = () => ({ ...LONG, chunkDelayMs: 300 });

describe('aborts', () => {
  it('bills a stream up to the chunk in flight, or in full', async () => {
    const sim = await start({ respond: slow });
    await abortAfterTwoChunks(sim);
    expect(sim.billed).toBe(PROMPT + 3n * CHUNK);
    expect(sim.bill()).toMatchObject([{ how: 'aborted', promptTokens: 10, completionTokens: 12 }]);
    const id = sim.requests[0]?.generationId;
    const generation = (await (await get(sim, `/generation?id=${id}`)).json()) as object;
    expect(generation).toMatchObject({ data: { cancelled: true, native_tokens_completion: 12 } });
    const full = await start({ respond: slow, abortBilling: 'full' });
    await abortAfterTwoChunks(full);
    expect(full.billed).toBe(PROMPT + 10n * CHUNK);
  });

  it('bills a call that is not streamed in full', async () => {
    const sim = await start({ respond: () => LONG, latencyMs: 10_000 });
    const signal = AbortSignal.timeout(50);
    await expect(post(sim, { model: OPUS, messages }, { signal })).rejects.toThrow();
    await sim.idle();
    expect(sim.billed).toBe(PROMPT + 10n * CHUNK);
    expect(sim.requests[0]?.outcome).toBe('aborted');
  });

  it('closes while calls hang, and forgets on reset', async () => {
    const sim = await start({ respond: () => ({ ...LONG, fault: { kind: 'hang' } }) });
    const call = ask(sim).catch(() => 'broken');
    while (sim.requests.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    sim.reset();
    await sim.close();
    expect(await call).toBe('broken');
    await sim.idle();
    expect(sim.billed).toBe(0n);
    expect(sim.requests).toHaveLength(0);
  });
});

function openrouter(sim: Simulator): ReturnType<typeof createOpenRouter> {
  return createOpenRouter({ apiKey: 'x', baseURL: sim.url });
}

describe('real clients', () => {
  const cacheReply = { text: 'Hello.', reasoning: 'think', inputTokens: 100, cacheReadTokens: 40 };

  it('generateText reads text, usage, cost and the model that served', async () => {
    const sim = await start({ respond: () => ({ ...cacheReply, servedModel: HAIKU }) });
    const result = await generateText({
      model: openrouter(sim)(OPUS, { models: [HAIKU] }),
      prompt: 'Hi',
      maxOutputTokens: 50,
    });
    expect(result.text).toBe('Hello.');
    expect(result.reasoningText).toBe('think');
    expect(result.response.modelId).toBe(HAIKU);
    expect(result.usage).toMatchObject({
      inputTokens: 100,
      outputTokens: 4,
      inputTokenDetails: { cacheReadTokens: 40 },
      outputTokenDetails: { reasoningTokens: 2 },
    });
    const metadata = result.providerMetadata?.['openrouter'] as { provider: string; usage: { cost: number } };
    expect(metadata.provider).toBe('Anthropic');
    expect(nano(metadata.usage.cost)).toBe(sim.billed);
    expect(sim.requests[0]?.body).toMatchObject({ model: OPUS, models: [HAIKU], max_tokens: 50 });
  });

  it('streamText sees the same as generateText', async () => {
    const sim = await start({ respond: () => cacheReply });
    const result = streamText({ model: openrouter(sim)(OPUS), prompt: 'Hi' });
    expect(await result.text).toBe('Hello.');
    expect(await result.reasoningText).toBe('think');
    expect(await result.usage).toMatchObject({ inputTokens: 100, outputTokens: 4 });
    const metadata = (await result.providerMetadata)?.['openrouter'] as { usage: { cost: number } };
    expect(nano(metadata.usage.cost)).toBe(sim.billed);
  });

  it.each([false, true])('runs a tool loop (streamed: %s)', async (inStream) => {
    const sim = await start({
      respond: ({ messages }) =>
        messages.length > 1
          ? { text: 'It rains.' }
          : { toolCalls: [{ name: 'weather', arguments: { city: 'Bern' } }] },
    });
    const weather = tool({
      inputSchema: z.object({ city: z.string() }),
      execute: ({ city }) => `rain in ${city}`,
    });
    const call = {
      model: openrouter(sim)(HAIKU),
      prompt: 'Weather?',
      tools: { weather },
      stopWhen: isStepCount(3),
    };
    const text = inStream ? await streamText(call).text : (await generateText(call)).text;
    expect(text).toBe('It rains.');
    expect(sim.requests).toHaveLength(2);
    expect(sim.requests[1]?.bodyText).toContain('rain in Bern');
    expect(sim.bill()).toHaveLength(2);
  });

  it('answers with JSON where a schema asks for it', async () => {
    const sim = await start({ respond: () => ({ text: '{"cents":100}' }) });
    const result = await generateText({
      model: openrouter(sim)(HAIKU),
      prompt: 'Cents?',
      output: Output.object({ schema: z.object({ cents: z.number() }) }),
    });
    expect(result.output).toEqual({ cents: 100 });
    expect(sim.requests[0]?.body).toHaveProperty('response_format');
  });

  it('turns errors into APICallError, and an error chunk into a failed stream', async () => {
    const refusing = await start({
      respond: () => ({ fault: { kind: 'http', status: 402, message: 'no credits' } }),
    });
    const error: unknown = await generateText({
      model: openrouter(refusing)(OPUS),
      prompt: 'Hi',
      maxRetries: 0,
    }).catch((reason: unknown) => reason);
    expect(APICallError.isInstance(error) && error.statusCode).toBe(402);
    const breaking = await start({
      respond: () => ({ ...LONG, fault: { kind: 'error-chunk', afterChunks: 2 } }),
    });
    const parts: string[] = [];
    const stream = streamText({ model: openrouter(breaking)(OPUS), prompt: 'Hi', onError: () => {} });
    for await (const part of stream.fullStream) parts.push(part.type);
    expect(parts).toContain('error');
    expect(breaking.billed).toBe(PROMPT + 2n * CHUNK);
    const failing = await start({ respond: () => ({ fault: { kind: 'error-body' } }) });
    const bodyError: unknown = await generateText({
      model: openrouter(failing)(OPUS),
      prompt: 'Hi',
      maxRetries: 0,
    }).catch((reason: unknown) => reason);
    expect(APICallError.isInstance(bodyError)).toBe(true);
  });

  it('speaks to the openai-compatible provider too', async () => {
    const sim = await start({ respond: () => LONG });
    const provider = createOpenAICompatible({
      name: 'or',
      apiKey: 'x',
      baseURL: sim.url,
      includeUsage: true,
    });
    const result = await generateText({ model: provider(OPUS), prompt: 'Hi' });
    expect(result.usage).toMatchObject({ inputTokens: 10, outputTokens: 40 });
    const stream = streamText({ model: provider(OPUS), prompt: 'Hi' });
    expect(await stream.text).toBe(LONG.text);
    expect(await stream.usage).toMatchObject({ inputTokens: 10, outputTokens: 40 });
    expect(sim.billed).toBe(2n * (PROMPT + 10n * CHUNK));
  });
});
