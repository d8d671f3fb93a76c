/** Prompt caches of an hour through every adapter: held at their own rate, settled at what the simulator bills. */
import { HumanMessage } from '@langchain/core/messages';
import { describe, expect, it, onTestFinished } from 'vitest';
import { guardModel, spendGuardHandler } from '../callbacks/langchain.ts';
import { spendGuard } from '../middleware/ai-sdk.ts';
import { blockedError, setCostOverride } from '../src/index.ts';
import type { Reply, SimulatedRequest, SimulatorOptions } from '../src/node/simulator/index.ts';
import {
  anthropic,
  caught,
  oldAnthropic,
  openai,
  openrouter,
  readAll,
  type Chat,
  type Make,
} from './callbacks/langchain-kit.ts';
import { MAJORS, type Major } from './majors/major.ts';
import { HAIKU, ladder, openDesk, OPUS, policyOf, WIDE, type Desk } from './middleware/ai-sdk-kit.ts';
import { MAJORS as CLIENTS, guardedClient, type Major as ClientMajor } from './middleware/openai-kit.ts';

const HOUR = { type: 'ephemeral', ttl: '1h' } as const;
const LIMIT = 50;
const TEXT = 'The sky over the port was the colour of television, tuned to a dead channel. '.repeat(60);

interface Ask {
  model?: string;
  fallbacks?: readonly string[];
  stream?: boolean;
}

interface Way {
  name: string;
  /** `cost`: the answer says what it cost; `parts`: how much was written for the hour; `nothing`: neither. */
  tells: 'cost' | 'parts' | 'nothing';
  /** By the maker's own names and prices. */
  isDirect?: true;
  /** Has no downgrade of its own. */
  isBare?: true;
  call(desk: Desk, ask: Ask): Promise<unknown>;
}

const modelsOf = (first: string, { fallbacks }: Ask): object =>
  fallbacks === undefined ? {} : { models: [first, ...fallbacks] };

type Maker = (major: Major, desk: Desk, ask: Ask) => unknown;

function aiSdk(major: Major, name: string, options: object, make: Maker, more: Partial<Way>): Way {
  return {
    name: `${major.name}, ${name}`,
    tells: 'cost',
    ...more,
    async call(desk, ask) {
      const model = major.wrap(make(major, desk, ask), spendGuard(desk.guard));
      const part = { type: 'text', text: TEXT, providerOptions: options };
      const messages = [{ role: 'user', content: [part] }];
      const call = { model, messages, maxOutputTokens: LIMIT, maxRetries: 0 };
      if (ask.stream !== true) return major.generate(call);
      let failure: unknown;
      const onError = ({ error }: { error: unknown }): void => void (failure = error);
      const { fullStream } = major.stream({ ...call, more: { onError } });
      await readAll(fullStream as AsyncIterable<unknown>);
      if (failure !== undefined) throw failure;
    },
  };
}

const router: Maker = (major, { sim: { url } }, ask) => {
  const { model = OPUS } = ask;
  return major.openrouter({ url }, model, modelsOf(model, ask));
};
const direct: Maker = (major, { sim: { url } }, { model = 'claude-opus-4-7' }) =>
  major.anthropic({ url }, model);
const gateway: Maker = (major, { sim: { origin } }, { model = OPUS }) =>
  major.gateway?.({ url: `${origin}/v3/ai` }, model);

const AI_SDK: Way[] = MAJORS.flatMap((major) => [
  aiSdk(major, 'OpenRouter', { openrouter: { cacheControl: HOUR } }, router, {}),
  aiSdk(major, 'OpenRouter for Anthropic', { anthropic: { cacheControl: HOUR } }, router, {}),
  aiSdk(major, 'Anthropic', { anthropic: { cacheControl: HOUR } }, direct, {
    // the provider of `ai` 4 hands on nothing of it
    tells: major.number === 4 ? 'nothing' : 'parts',
    isDirect: true,
  }),
  ...(major.gateway === undefined
    ? []
    : [aiSdk(major, 'the gateway', { anthropic: { cacheControl: HOUR } }, gateway, {})]),
]);

/** `isCompatible`: Anthropic's own endpoint in OpenAI's format, which doesn't tell what was written. */
function openaiClient(major: ClientMajor, isCompatible: boolean): Way {
  return {
    name: `${major.name}, ${isCompatible ? 'Anthropic' : 'OpenRouter'}`,
    tells: isCompatible ? 'nothing' : 'cost',
    ...(isCompatible && { isDirect: true }),
    async call(desk, ask) {
      const provider = isCompatible ? 'anthropic' : 'openrouter';
      const { chat } = guardedClient(major, desk, {}, { provider });
      const { model = isCompatible ? 'claude-opus-4-7' : OPUS } = ask;
      const part = { type: 'text' as const, text: TEXT, cache_control: HOUR };
      const body = {
        model,
        ...modelsOf(model, ask),
        messages: [{ role: 'user' as const, content: [part] }],
        max_tokens: LIMIT,
      };
      if (ask.stream !== true) return chat.completions.create(body);
      await readAll(await chat.completions.create({ ...body, stream: true }));
    },
  };
}

function langchain(name: string, make: Make, more: Partial<Way>): Way {
  const { isDirect, isBare } = more;
  return {
    name,
    tells: 'cost',
    ...more,
    async call({ sim, guard }, ask) {
      const { model = isDirect ? 'claude-opus-4-7' : OPUS } = ask;
      const kwargs = ask.fallbacks === undefined ? {} : { modelKwargs: modelsOf(model, ask) };
      const bare = make(sim.url, { model, maxTokens: LIMIT, ...kwargs, ...modelsOf(model, ask) });
      const guarded = isBare === true ? bare : (guardModel(bare, guard) as Chat);
      const callbacks = isBare === true ? [spendGuardHandler(guard)] : [];
      const part = { type: 'text', text: TEXT, cache_control: HOUR };
      const messages = [new HumanMessage({ content: [part] })];
      if (ask.stream !== true) return guarded.invoke(messages, { callbacks } as object);
      await readAll(guarded.stream(messages, { callbacks } as object));
    },
  };
}

const LANGCHAIN: Way[] = [
  langchain('ChatOpenAI', openai, {}),
  langchain('ChatOpenRouter', openrouter, {}),
  langchain('ChatAnthropic 1.x', anthropic, { tells: 'parts', isDirect: true }),
  langchain('ChatAnthropic 0.3', oldAnthropic, { tells: 'parts', isDirect: true }),
  langchain('a handler at ChatAnthropic 1.x', anthropic, { tells: 'parts', isDirect: true, isBare: true }),
  langchain('a handler at ChatOpenAI', openai, { isBare: true }),
];

const WAYS: readonly Way[] = [
  ...AI_SDK,
  ...CLIENTS.flatMap((major) => [openaiClient(major, false), openaiClient(major, true)]),
  ...LANGCHAIN,
];

function open({ isDirect }: Way, respond: (request: SimulatedRequest) => Reply, cap = WIDE): Promise<Desk> {
  const simulator: SimulatorOptions = { respond, ...(isDirect && { dialect: 'openai' as const }) };
  return openDesk(policyOf([WIDE, cap]), simulator);
}

/** All of the prompt is written to the cache of an hour: the dearest that a call can be. */
const dearest = ({ inputTokens }: SimulatedRequest): Reply => ({
  outputTokens: LIMIT,
  cacheWriteTokens: inputTokens,
});

/** Some is read, some written for five minutes, some for an hour. */
const mixed = (): Reply => ({
  inputTokens: 1000,
  outputTokens: 20,
  cacheReadTokens: 100,
  cacheWriteTokens: 700,
  cacheWriteHourTokens: 400,
});

/** What LangChain tells a handler of a stream of Anthropic's has the first token of the answer in it twice. */
const surplus = ({ isBare, isDirect }: Way, stream: boolean): bigint =>
  isBare === true && isDirect === true && stream ? 25_000n : 0n;

describe('a cache of an hour', () => {
  it.each(WAYS)('is held at its own rate, whatever is written: $name', async (way) => {
    for (const stream of [false, true]) {
      await using desk = await open(way, dearest);
      await way.call(desk, { stream });
      await desk.sim.idle();
      const [decision] = await desk.receipts('decision');
      expect(JSON.stringify(desk.bodies()[0])).toContain('"ttl":"1h"');
      expect(decision?.request).toMatchObject({ hour_cache: true, model: expect.stringMatching(/opus/) });
      const hold = BigInt(decision?.hold ?? 0);
      expect(hold).toBe(BigInt(decision?.request.input_tokens ?? 0) * 10_000n + BigInt(LIMIT) * 25_000n);
      expect(desk.sim.bill()).toMatchObject([{ cacheWriteHourTokens: expect.any(Number) as number }]);
      expect(desk.sim.bill()[0]?.cacheWriteHourTokens).toBeGreaterThan(1000);
      expect(desk.sim.billed).toBeLessThanOrEqual(hold);
      expect((await desk.spent()) - desk.sim.billed).toBe(surplus(way, stream));
      expect(await desk.held()).toBe(0n);
    }
  });

  it.each(WAYS)('is settled at the bill, or above it where it is not told: $name', async (way) => {
    for (const stream of [false, true]) {
      await using desk = await open(way, mixed);
      await way.call(desk, { stream });
      await desk.sim.idle();
      const [settlement] = await desk.receipts('settlement');
      // 200 tokens, 100 read, 300 for five minutes, 400 for an hour, 20 written
      expect(desk.sim.billed).toBe(
        200n * 5000n + 100n * 500n + 300n * 6250n + 400n * 10_000n + 20n * 25_000n,
      );
      if (way.tells !== 'nothing') expect((await desk.spent()) - desk.sim.billed).toBe(surplus(way, stream));
      if (way.tells !== 'cost') {
        const { cost, usage } = settlement ?? {};
        expect(cost?.source).toBe('tokens');
        if (way.tells === 'parts')
          expect(usage).toMatchObject({ cache_write_hour_tokens: 400, cache_write_tokens: 700 });
        else expect(await desk.spent()).toBeGreaterThan(desk.sim.billed);
      }
    }
  });

  it.each(WAYS)('does not pass a cap that only the cache of five minutes would keep: $name', async (way) => {
    await using free = await open(way, dearest);
    await way.call(free, {});
    const [seen] = await free.receipts('decision');
    const hold = Number(BigInt(seen?.hold ?? 0) / 10_000n) / 1000;
    const cap = { amountCents: Math.floor(hold * 800) / 1000, window: 'per_call', action: 'block' } as const;
    await using desk = await open(way, dearest, cap);
    const error = blockedError(((await caught(() => way.call(desk, {}))) as { thrown?: unknown }).thrown);
    expect(error?.reason).toBe('cap_per_call');
    expect(desk.sim.requests).toHaveLength(0);
  });

  const ROUTERS = WAYS.filter(({ isDirect, name }) => isDirect !== true && !name.includes('gateway'));

  it.each(ROUTERS)('of a model without a rate for it is refused, and the error helps: $name', async (way) => {
    await using desk = await open(way, dearest);
    for (const ask of [{ model: 'openai/gpt-5' }, { fallbacks: ['openai/gpt-5'] }]) {
      const thrown = (await caught(() => way.call(desk, ask))) as { thrown?: unknown };
      const error = blockedError(thrown.thrown);
      expect(error?.reason).toBe('unbounded_cost');
      expect(error?.message).toContain('a one-hour cache write, whose rate the price of openai/gpt-5 lacks.');
      expect(error?.message).toContain('Ask for the cache of five minutes (no ttl)');
      expect(error?.message).toContain('setCostOverride("openai/gpt-5", {');
    }
    expect(desk.sim.requests).toHaveLength(0);
    // as the message says
    setCostOverride('openai/gpt-5', {
      inputCentsPerKtok: '0.125',
      outputCentsPerKtok: '1',
      cacheWriteHourCentsPerKtok: '0.25',
    });
    onTestFinished(() => setCostOverride('openai/gpt-5', null));
    await way.call(desk, { model: 'openai/gpt-5' });
    await desk.sim.idle();
    expect(await desk.spent()).toBe(desk.sim.billed);
  });

  it.each(ROUTERS.filter(({ isBare }) => isBare !== true))('goes down a ladder: $name', async (way) => {
    await using desk = await open(way, dearest, ladder('openai/gpt-5-mini', HAIKU));
    await way.call(desk, {});
    await desk.sim.idle();
    const [decision] = await desk.receipts('decision');
    // the first rung has no rate for the hour
    expect(desk.bodies()[0]?.['model']).toBe(HAIKU);
    expect(JSON.stringify(desk.bodies()[0])).toContain('"ttl":"1h"');
    const input = BigInt(decision?.request.input_tokens ?? 0);
    expect(BigInt(decision?.hold ?? 0)).toBe(input * 2000n + BigInt(LIMIT) * 5000n);
    expect(await desk.spent()).toBe(desk.sim.billed);
  });
});
