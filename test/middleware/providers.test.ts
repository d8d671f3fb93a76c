/** Every provider in every major, judged by what the simulator was sent and what it billed. */
import { describe, expect, it } from 'vitest';
import { spendGuard, spendOptions } from '../../middleware/ai-sdk.ts';
import { isBlocked, type SpendCap } from '../../src/index.ts';
import type { Reply, SimulatedRequest, Simulator, SimulatorOptions } from '../../src/node/simulator/index.ts';
import { MAJORS, type Any, type Ask, type Major } from '../majors/major.ts';
import { HAIKU, ladder, openDesk, OPUS, policyOf, WIDE, type Desk } from './ai-sdk-kit.ts';

interface Provider {
  name: string;
  /** The model that is asked for, and the one that a downgrade comes to. */
  big: string;
  small: string;
  dialect?: 'openai';
  make: (major: Major, sim: Simulator, id: string) => unknown;
  /** The model that a recorded request names, and its output limit. */
  sent: (request: Simulator['requests'][number]) => { model: unknown; limit: unknown };
  /** False where a stream's usage comes to the model only by a setting that this provider has off. */
  streamUsage?: (major: Major) => boolean;
}

const bodyOf = (request: Simulator['requests'][number]): Any => request.body;

const PROVIDERS: readonly Provider[] = [
  {
    name: 'openrouter',
    big: OPUS,
    small: HAIKU,
    make: (major, { url }, id) => major.openrouter({ url }, id),
    sent: (request) => ({ model: bodyOf(request).model, limit: bodyOf(request).max_tokens }),
  },
  {
    name: 'openai.chat',
    big: 'gpt-5',
    small: 'gpt-5-mini',
    dialect: 'openai',
    make: (major, { url }, id) => major.openaiChat({ url }, id),
    sent: (request) => {
      const { model, max_tokens, max_completion_tokens } = bodyOf(request);
      return { model, limit: max_completion_tokens ?? max_tokens };
    },
    // in 4 only with `compatibility: 'strict'`
    streamUsage: ({ number }) => number !== 4,
  },
  {
    name: 'openai.responses',
    big: 'gpt-5',
    small: 'gpt-5-mini',
    dialect: 'openai',
    make: (major, { url }, id) => major.openaiResponses({ url }, id),
    sent: (request) => ({ model: bodyOf(request).model, limit: bodyOf(request).max_output_tokens }),
  },
  {
    name: 'anthropic',
    big: 'claude-opus-4-7',
    small: 'claude-haiku-4-5',
    make: (major, { url }, id) => major.anthropic({ url }, id),
    sent: (request) => ({ model: bodyOf(request).model, limit: bodyOf(request).max_tokens }),
  },
  {
    name: 'openai-compatible',
    big: OPUS,
    small: HAIKU,
    make: (major, { url }, id) => major.compatible({ url }, id),
    sent: (request) => ({ model: bodyOf(request).model, limit: bodyOf(request).max_tokens }),
  },
  {
    name: 'gateway',
    big: OPUS,
    small: HAIKU,
    make: (major, { origin }, id) => major.gateway?.({ url: `${origin}/v3/ai` }, id),
    sent: (request) => ({
      model: request.headers['ai-language-model-id'],
      limit: bodyOf(request).maxOutputTokens,
    }),
  },
];

const CELLS = MAJORS.flatMap((major) =>
  PROVIDERS.filter(({ name }) => name !== 'gateway' || major.gateway !== undefined).map((provider) => ({
    at: `${major.name} ${provider.name}`,
    major,
    provider,
  })),
);

const ANSWER: Reply = { text: 'Far, far away.', outputTokens: 30, chunks: 4 };

describe.each(CELLS)('$at', ({ major, provider }) => {
  const { big, small, make, sent } = provider;
  let desk: Desk;

  async function open(
    caps: readonly SpendCap[],
    reply: Reply | ((request: SimulatedRequest) => Reply) = ANSWER,
  ): Promise<Desk> {
    const respond = typeof reply === 'function' ? reply : (): Reply => reply;
    const options: SimulatorOptions = { respond, ...(provider.dialect && { dialect: provider.dialect }) };
    desk = await openDesk(policyOf(caps, { maxOutputTokens: 777 }), options);
    return desk;
  }

  const ask = (more: Partial<Ask> = {}): Ask => ({
    model: major.wrap(make(major, desk.sim, big), spendGuard(desk.guard)),
    prompt: 'How far is the moon?',
    maxOutputTokens: 200,
    maxRetries: 0,
    ...more,
  });

  async function read(more: Partial<Ask> = {}): Promise<string> {
    let text = '';
    let failure: unknown;
    const onError = ({ error }: Any): unknown => (failure = error);
    for await (const part of major.stream(ask({ more: { onError }, ...more })).fullStream)
      text += major.textOf(part);
    if (failure !== undefined) throw failure;
    return text;
  }

  async function balanced(): Promise<void> {
    await desk.sim.idle();
    expect(desk.sim.billed).toBeGreaterThan(0n);
    expect(await desk.held()).toBe(0n);
    expect(await desk.spent()).toBe(desk.sim.billed);
  }

  it('allow', async () => {
    await using _ = await open([WIDE]);
    expect((await major.generate(ask())).text).toBe('Far, far away.');
    expect(desk.sim.requests.map(sent)).toEqual([{ model: big, limit: 200 }]);
    await balanced();
  });

  it('allow with cached input and reasoning', async () => {
    const cached = { inputTokens: 900, cacheReadTokens: 500 };
    await using _ = await open([WIDE], { ...ANSWER, ...cached, outputTokens: 90 });
    await major.generate(ask());
    await balanced();
  });

  it('downgrade', async () => {
    await using _ = await open([WIDE, ladder(small)]);
    expect((await major.generate(ask())).text).toBe('Far, far away.');
    expect(await read()).toBe('Far, far away.');
    expect(desk.sim.requests.map(sent)).toEqual([
      { model: small, limit: 200 },
      { model: small, limit: 200 },
    ]);
    expect(new Set(desk.sim.bill().map(({ model }) => model)).size).toBe(1);
    expect(desk.sim.bill()[0]?.model).toContain(small);
    expect(await desk.receipts('decision')).toMatchObject([
      { decision: 'downgrade', route: { model: small } },
      { decision: 'downgrade', route: { model: small } },
    ]);
    await desk.sim.idle();
    expect(await desk.spent()).toBeGreaterThanOrEqual(desk.sim.billed);
  });

  it('limit injected', async () => {
    await using _ = await open([WIDE]);
    await major.generate({ ...ask(), maxOutputTokens: undefined as never });
    expect(desk.sim.requests.map(sent)).toEqual([{ model: big, limit: 777 }]);
    expect(await desk.receipts('decision')).toMatchObject([{ route: { limit: 'injected' } }]);
    await balanced();
  });

  it('block', async () => {
    await using _ = await open([{ amountCents: 0, window: 'total', action: 'block' }]);
    await expect(major.generate(ask())).rejects.toSatisfy(isBlocked);
    await expect(read()).rejects.toSatisfy(isBlocked);
    expect(desk.sim.requests).toHaveLength(0);
  });

  it('stream', async () => {
    await using _ = await open([WIDE]);
    expect(await read()).toBe('Far, far away.');
    expect(desk.sim.requests.map(sent)).toEqual([{ model: big, limit: 200 }]);
    if (provider.streamUsage?.(major) ?? true) return balanced();
    // nothing was reported, so the whole hold is taken
    await desk.sim.idle();
    expect(await desk.spent()).toBeGreaterThan(desk.sim.billed);
    expect(await desk.receipts('settlement')).toMatchObject([{ cost: { source: 'hold' } }]);
  });

  it('abort', async () => {
    await using _ = await open([WIDE], { outputTokens: 200, chunks: 100, chunkDelayMs: 2 });
    const controller = new AbortController();
    const more = { onError: () => {} };
    try {
      for await (const part of major.stream(ask({ abortSignal: controller.signal, more })).fullStream)
        if (major.textOf(part) !== '') controller.abort();
    } catch (error) {
      if (!controller.signal.aborted) throw error;
    }
    await desk.sim.idle();
    await expect.poll(() => desk.receipts('settlement'), { timeout: 20_000 }).toHaveLength(1);
    expect(await desk.held()).toBe(0n);
    expect(desk.sim.bill()).toHaveLength(1);
    expect(await desk.spent()).toBeGreaterThanOrEqual(desk.sim.billed);
  });

  it('sends nothing of ours', async () => {
    await using _ = await open([WIDE, ladder(small)]);
    const scope = { tenantId: 'tenant-secret-7', userId: 'user-secret-7' };
    const ours = { ...spendOptions({ scope }), other: { mark: 'theirs' } };
    const text = { type: 'text', text: 'How far?', providerOptions: ours };
    const call = {
      type: 'tool-call',
      toolCallId: 'c1',
      toolName: 'look',
      input: { key: 'a' },
      args: { key: 'a' },
    };
    const output = { type: 'text', value: 'far' };
    const answer = { type: 'tool-result', toolCallId: 'c1', toolName: 'look', output, result: 'far' };
    const messages = [
      { role: 'user', content: [text], providerOptions: ours },
      { role: 'assistant', content: [{ ...call, providerOptions: ours }], providerOptions: ours },
      { role: 'tool', content: [{ ...answer, providerOptions: ours }], providerOptions: ours },
      { role: 'user', content: 'And now?' },
    ];
    const tools = { look: { ...major.look, providerOptions: ours } };
    const more = { prompt: undefined as never, messages, providerOptions: ours, tools };
    await major.generate(ask(more));
    await read(more);
    expect(desk.sim.requests.length).toBe(2);
    for (const { bodyText, headers, path } of desk.sim.requests) {
      const wire = `${path}${bodyText}${JSON.stringify(headers)}`;
      expect(wire).not.toMatch(/secret-7|spendGuard|tenantId|agentguard/i);
      // whatever else the caller passes is passed on where it was
      if (provider.name === 'gateway') expect(wire).toContain('theirs');
    }
    expect(await desk.receipts('decision')).toMatchObject([{ scope }, { scope }]);
  });
});
