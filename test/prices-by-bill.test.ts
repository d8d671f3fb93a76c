/**
 * Odd price lists through real clients: what a call is settled at by its tokens is what the simulator bills by the same
 * list, to the nano-dollar, and no bill is above its hold.
 */
import { HumanMessage } from '@langchain/core/messages';
import { ChatOpenAI } from '@langchain/openai';
import { createOpenRouter } from '@openrouter/ai-sdk-provider';
import { generateText, streamText } from 'ai';
import { OpenAI } from 'openai';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { guardModel } from '../callbacks/langchain.ts';
import { blockedError, loadPrices, withSpendGuard } from '../src/index.ts';
import type { Reply, SimulatorModel } from '../src/node/simulator/index.ts';
import { convertOpenRouterList } from '../src/pricing/openrouter-list.ts';
import { openDesk, policyOf, WIDE, type Desk } from './middleware/ai-sdk-kit.ts';
import { caught, readAll } from './callbacks/langchain-kit.ts';

const NEW_YEAR = '2026-12-31T23:45:00Z';

beforeEach(() => void vi.useFakeTimers({ toFake: ['Date'], now: Date.parse(NEW_YEAR) }));
afterEach(() => {
  vi.useRealTimers();
  loadPrices(null);
});

const ID = 'acme/odd';
const PIXEL = `data:image/png;base64,${'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ'.repeat(4)}`;
const LIMIT = 100;

interface Ask {
  model: string;
  stream: boolean;
  /** Pictures, or sound, in the prompt. */
  images?: number;
  sound?: true;
  /** About so many tokens of text. */
  long?: number;
}

type Way = [name: string, call: (desk: Desk, ask: Ask) => Promise<unknown>];

const textOf = ({ long = 10 }: Ask): string => 'word '.repeat(long);

function partsOf(ask: Ask): object[] {
  const image = { type: 'image_url', image_url: { url: PIXEL } };
  const sound = { type: 'input_audio', input_audio: { data: 'UklGRg==', format: 'wav' } };
  const { images = 0 } = ask;
  return [
    { type: 'text', text: textOf(ask) },
    ...Array.from({ length: images }, () => image),
    ...(ask.sound ? [sound] : []),
  ];
}

const WAYS: Way[] = [
  [
    'AI SDK',
    async (desk, ask) => {
      const model = desk.wrap(createOpenRouter({ apiKey: 'k', baseURL: desk.sim.url })(ask.model));
      const { images = 0 } = ask;
      const files = [
        ...Array.from({ length: images }, () => ({ mediaType: 'image/png', data: PIXEL })),
        ...(ask.sound ? [{ mediaType: 'audio/wav', data: 'UklGRg==' }] : []),
      ].map((file) => ({ type: 'file' as const, ...file }));
      const content = [{ type: 'text' as const, text: textOf(ask) }, ...files];
      const call = { model, messages: [{ role: 'user' as const, content }], maxOutputTokens: LIMIT };
      if (!ask.stream) return generateText({ ...call, maxRetries: 0 });
      let failure: unknown;
      await streamText({ ...call, maxRetries: 0, onError: ({ error }) => (failure = error) }).consumeStream();
      if (failure !== undefined) throw failure;
    },
  ],
  [
    'OpenAI client',
    async ({ guard, sim }, ask) => {
      const client = new OpenAI({ apiKey: 'k', baseURL: sim.url, maxRetries: 0 });
      const { chat } = withSpendGuard(client, { guard, provider: 'openrouter' });
      const messages = [{ role: 'user' as const, content: partsOf(ask) as never }];
      const body = { model: ask.model, messages, max_tokens: LIMIT };
      if (!ask.stream) return chat.completions.create(body);
      await readAll(await chat.completions.create({ ...body, stream: true }));
    },
  ],
  [
    'LangChain',
    async ({ guard, sim }, ask) => {
      const configuration = { baseURL: sim.url };
      const { model } = ask;
      const bare = new ChatOpenAI({ model, apiKey: 'k', configuration, maxRetries: 0, maxTokens: LIMIT });
      const guarded = guardModel(bare, guard);
      const messages = [new HumanMessage({ content: partsOf(ask) as never })];
      if (!ask.stream) return guarded.invoke(messages);
      await readAll(guarded.stream(messages));
    },
  ],
];

interface Odd {
  name: string;
  pricing: Omit<SimulatorModel['pricing'], 'prompt' | 'completion'> &
    Partial<Pick<SimulatorModel['pricing'], 'prompt' | 'completion'>>;
  reply: Reply;
  model?: string;
  at?: string;
  ask?: Partial<Ask>;
  /** What it costs, where that is easier to say than to trust. */
  nanoUsd?: bigint;
}

/** A list rate of 3 and 15 dollars per million tokens. */
const BASE = { prompt: '0.000003', completion: '0.000015' };
const DEARER = { prompt: '0.000006', completion: '0.0000225', input_cache_read: '0.0000006' };
const NIGHT = { utc_start: 2230, utc_end: 130, prompt: '0.000001', completion: '0.000002' };
const small = { inputTokens: 50, outputTokens: 20 };

const ODD: Odd[] = [
  ...[200_000, 200_001].map((inputTokens): Odd => {
    const isAbove = inputTokens > 200_000;
    const fresh = BigInt(inputTokens - 190_000);
    return {
      name: `a tier that the cache alone reaches, at ${inputTokens}`,
      pricing: { input_cache_read: '0.0000003', overrides: [{ min_prompt_tokens: 200_000, ...DEARER }] },
      reply: { inputTokens, cacheReadTokens: 190_000, outputTokens: 20 },
      ask: { long: 230_000 },
      nanoUsd: isAbove
        ? 190_000n * 600n + fresh * 6000n + 20n * 22_500n
        : 190_000n * 300n + fresh * 3000n + 20n * 15_000n,
    };
  }),
  ...(
    [
      // 04:00 to 06:59 of the next day in Kolkata
      ['2026-12-31T22:29:59.999Z', false],
      ['2026-12-31T22:30:00Z', true],
      ['2026-12-31T23:59:59.999Z', true],
      ['2027-01-01T00:00:00Z', true],
      ['2027-01-01T01:29:59Z', true],
      ['2027-01-01T01:30:00Z', false],
    ] as const
  ).map(([at, isNight]): Odd => ({
    name: `a night rate over midnight and the new year, at ${at}`,
    pricing: { overrides: [NIGHT] },
    reply: small,
    at,
    nanoUsd: isNight ? 50n * 1000n + 20n * 2000n : 50n * 3000n + 20n * 15_000n,
  })),
  {
    name: 'a weekday of UTC, which is another in the policy’s zone',
    pricing: { overrides: [{ ...NIGHT, utc_days: ['thursday'] }] },
    reply: small,
    nanoUsd: 50n * 1000n + 20n * 2000n,
  },
  {
    name: 'a weekday that is over after midnight',
    pricing: { overrides: [{ ...NIGHT, utc_days: ['thursday'] }] },
    reply: small,
    at: '2027-01-01T00:10:00Z',
    nanoUsd: 50n * 3000n + 20n * 15_000n,
  },
  {
    name: 'two overrides at once, of which the later wins rate by rate',
    pricing: { overrides: [NIGHT, { min_prompt_tokens: 10, completion: '0.000009' }] },
    reply: small,
    nanoUsd: 50n * 1000n + 20n * 9000n,
  },
  {
    name: 'reasoning that costs more than the answer',
    pricing: { internal_reasoning: '0.00006' },
    reply: { inputTokens: 50, outputTokens: 90, reasoningTokens: 70 },
    nanoUsd: 50n * 3000n + 20n * 15_000n + 70n * 60_000n,
  },
  {
    name: 'reasoning that costs nothing',
    pricing: { internal_reasoning: '0' },
    reply: { inputTokens: 50, outputTokens: 90, reasoningTokens: 70 },
    nanoUsd: 50n * 3000n + 20n * 15_000n,
  },
  {
    name: 'a free model with a fee for each request',
    model: 'acme/odd:free',
    pricing: { prompt: '0', completion: '0', request: '0.0123' },
    reply: small,
    nanoUsd: 12_300_000n,
  },
  {
    name: 'a row of its own for :batch',
    model: 'acme/odd:batch',
    pricing: { prompt: '0.0000015', completion: '0.0000075' },
    reply: small,
    nanoUsd: 50n * 1500n + 20n * 7500n,
  },
  {
    name: 'pictures by the piece',
    pricing: { image: '0.0048' },
    reply: small,
    ask: { images: 3 },
    nanoUsd: 50n * 3000n + 20n * 15_000n + 3n * 4_800_000n,
  },
  {
    name: 'rates finer than a nano-dollar for a token',
    pricing: { prompt: '0.00000000033', completion: '0.0000000007', request: '0.000000001' },
    reply: { inputTokens: 51, outputTokens: 19 },
  },
  {
    name: 'cache writes that cost more than anything else',
    pricing: { input_cache_read: '0.0000003', input_cache_write: '0.00003' },
    reply: { inputTokens: 50, cacheReadTokens: 10, cacheWriteTokens: 35, outputTokens: 20 },
    nanoUsd: 5n * 3000n + 10n * 300n + 35n * 30_000n + 20n * 15_000n,
  },
];

/** The usage that a chat tells, without OpenRouter's cost: the tokens must do. */
function withoutCost(reply: Reply): Reply {
  const { inputTokens = 0, outputTokens = 0, reasoningTokens = 0 } = reply;
  const { cacheReadTokens = 0, cacheWriteTokens = 0, inputAudioTokens } = reply;
  const usage = {
    prompt_tokens: inputTokens,
    completion_tokens: outputTokens,
    total_tokens: inputTokens + outputTokens,
    prompt_tokens_details: {
      cached_tokens: cacheReadTokens,
      cache_write_tokens: cacheWriteTokens,
      ...(inputAudioTokens !== undefined && { audio_tokens: inputAudioTokens }),
    },
    completion_tokens_details: { reasoning_tokens: reasoningTokens },
  };
  return { ...reply, fault: { kind: 'bad-usage', usage } };
}

async function open({ pricing, model = ID, at }: Partial<Odd>, reply: Reply): Promise<Desk> {
  if (at !== undefined) vi.setSystemTime(new Date(at));
  const row = {
    id: model,
    context_length: 1_000_000,
    pricing: { ...BASE, ...pricing },
    top_provider: { max_completion_tokens: 8000 },
  };
  const list = convertOpenRouterList({ data: [row] });
  loadPrices(list.rows.map((each) => ({ ...each, source: 'openrouter', version: 'test' })));
  const zone = policyOf([WIDE, { ...WIDE, window: 'per_day' }], { timeZone: 'Asia/Kolkata' });
  return openDesk(zone, { models: [row], respond: () => reply });
}

const CELLS = WAYS.flatMap(([way, call]) => [false, true].map((stream) => ({ way, call, stream })));

describe.each(CELLS)('$way, stream $stream', ({ call, stream }) => {
  it.each(ODD)('$name', async (odd) => {
    const { model = ID, reply, ask } = odd;
    for (const isTold of [true, false]) {
      await using desk = await open(odd, isTold ? reply : withoutCost(reply));
      await call(desk, { model, stream, ...ask });
      await desk.sim.idle();
      if (odd.nanoUsd !== undefined) expect(desk.sim.billed).toBe(odd.nanoUsd);
      expect(await desk.spent()).toBe(desk.sim.billed);
      const [settlement] = await desk.receipts('settlement');
      expect(settlement?.cost.source).toBe(isTold ? 'provider' : 'tokens');
      expect(settlement?.cost.computed).toBe(String(desk.sim.billed));
      const [decision] = await desk.receipts('decision');
      expect(BigInt(decision?.hold ?? 0)).toBeGreaterThanOrEqual(desk.sim.billed);
    }
  });

  it('a key of one’s own: the fee and the upstream’s bill, each as it is', async () => {
    for (const upstreamCost of [undefined, '0.0000333']) {
      const more = upstreamCost === undefined ? {} : { upstreamCost };
      await using desk = await open({}, { ...small, isByok: true, ...more });
      await call(desk, { model: ID, stream });
      await desk.sim.idle();
      const [{ creditsNanoUsd, upstreamNanoUsd } = {}] = desk.sim.bill();
      const [settlement] = await desk.receipts('settlement');
      expect(await desk.spent()).toBe(desk.sim.billed);
      expect(settlement?.cost).toMatchObject({
        byok: true,
        fee: String(creditsNanoUsd),
        upstream: String(upstreamNanoUsd),
      });
    }
  });

  it.each([
    ['-1', { completion: '-1' }, ID, ID],
    ['a variant without a row', {}, ID, `${ID}:batch`],
    ['nothing at all without :free', { prompt: '0', completion: '0', request: '0.01' }, ID, ID],
    ['a price that is none', { input_cache_read: 'cheap' }, ID, ID],
  ])('%s is unknown, so that nothing leaves', async (_name, pricing, model, asked) => {
    await using desk = await open({ pricing, model }, small);
    const { thrown } = (await caught(() => call(desk, { model: asked, stream }))) as { thrown?: unknown };
    expect(blockedError(thrown)?.reason).toBe('unknown_price');
    expect(desk.sim.requests).toHaveLength(0);
  });

  it('sound that costs more is never charged as text, told or not', async () => {
    const pricing = { audio: '0.00003' };
    const told = { inputTokens: 80, inputAudioTokens: 60, outputTokens: 20 };
    await using desk = await open({ pricing }, withoutCost(told));
    await call(desk, { model: ID, stream, sound: true });
    await desk.sim.idle();
    expect(desk.sim.billed).toBe(20n * 3000n + 60n * 30_000n + 20n * 15_000n);
    expect(await desk.spent()).toBe(desk.sim.billed);
    const { fault } = withoutCost({ inputTokens: 80, outputTokens: 20 });
    await using silent = await open({ pricing }, { ...told, ...(fault && { fault }) });
    await call(silent, { model: ID, stream, sound: true });
    await silent.sim.idle();
    expect(await silent.spent()).toBe(80n * 30_000n + 20n * 15_000n);
    const [{ hold } = {}] = await silent.receipts('decision');
    expect(BigInt(hold ?? 0)).toBeGreaterThan(await silent.spent());
  });

  it('tokens of pictures that cost more are never charged as text', async () => {
    const reply = { inputTokens: 80, inputImageTokens: 60, outputTokens: 20 };
    await using desk = await open({ pricing: { image_token: '0.00003' } }, withoutCost(reply));
    await call(desk, { model: ID, stream, images: 1 });
    await desk.sim.idle();
    expect(desk.sim.billed).toBe(20n * 3000n + 60n * 30_000n + 20n * 15_000n);
    // no chat tells how many they were
    expect(await desk.spent()).toBe(80n * 30_000n + 20n * 15_000n);
    await using plain = await open({ pricing: { image_token: '0.00003' } }, withoutCost(small));
    await call(plain, { model: ID, stream });
    await plain.sim.idle();
    expect(await plain.spent()).toBe(plain.sim.billed);
  });
});
