import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { generateText, streamText } from 'ai';
import { describe, expect, it, vi } from 'vitest';
import { guardedStream, type StreamEnd } from '../../src/wire/guarded-stream.ts';
import { startSimulator, type Fault, type Reply } from '../../src/node/simulator/index.ts';
import { openDesk, OPUS, policyOf, type Desk } from './ai-sdk-kit.ts';

const prompt = 'Tell me a story.';
const TEXT = 'Once upon a time there was a very small bank. '.repeat(8);

interface Ending {
  name: string;
  reply?: Reply;
  fault?: Fault;
  latencyMs?: number;
  /** Ends the call in its way; what it rejects with doesn't matter here. */
  run(desk: Desk, model: ReturnType<Desk['model']>): Promise<unknown>;
  /** Outcomes that the settlement may name; none where the call is never decided. */
  outcome: string | undefined;
  source?: string;
}

type Model = ReturnType<Desk['model']>;
type Stream = Awaited<ReturnType<Model['doStream']>>['stream'];

async function readAll(_desk: Desk, model: Model): Promise<void> {
  const result = streamText({ model, prompt, maxRetries: 0, onError: () => undefined });
  await result.consumeStream();
}

async function open(model: Model, abortSignal?: AbortSignal): Promise<ReadableStreamDefaultReader<unknown>> {
  const { stream } = await model.doStream({
    prompt: [{ role: 'user', content: [{ type: 'text', text: prompt }] }],
    ...(abortSignal && { abortSignal }),
  });
  return (stream as Stream).getReader();
}

async function readSome(reader: ReadableStreamDefaultReader<unknown>): Promise<void> {
  for (let parts = 0; parts < 6; parts++) await reader.read();
}

async function abortAfter(ms: number, model: Model): Promise<void> {
  const abort = new AbortController();
  const result = streamText({
    model,
    prompt,
    abortSignal: abort.signal,
    maxRetries: 0,
    onError: () => undefined,
  });
  setTimeout(() => abort.abort(), ms);
  await result.consumeStream();
}

const slow: Reply = { text: TEXT, chunks: 12, chunkDelayMs: 4 };

const ENDINGS: readonly Ending[] = [
  { name: 'finish', run: readAll, outcome: 'ok', source: 'provider' },
  {
    name: 'a consumer that breaks',
    reply: slow,
    run: async (_desk, model) => {
      for await (const _ of streamText({ model, prompt }).textStream) break;
    },
    outcome: 'ok',
    source: 'provider',
  },
  {
    name: 'a stream that is never read',
    reply: slow,
    run: (_desk, model) => open(model),
    outcome: 'ok',
    source: 'provider',
  },
  {
    name: 'a consumer that stalls',
    reply: slow,
    run: async (_desk, model) => readSome(await open(model)),
    outcome: 'ok',
    source: 'provider',
  },
  {
    name: 'a reader that cancels',
    reply: slow,
    run: async (_desk, model) => {
      const reader = await open(model);
      await readSome(reader);
      await reader.cancel('enough');
    },
    outcome: 'aborted',
    source: 'hold',
  },
  {
    name: 'a reader that cancels after the end',
    run: async (_desk, model) => {
      const reader = await open(model);
      for (;;) {
        const { value } = (await reader.read()) as { value: { type: string } };
        if (value.type === 'finish') break;
      }
      await reader.cancel();
    },
    outcome: 'ok',
    source: 'provider',
  },
  {
    name: 'abort before headers',
    fault: { kind: 'hang' },
    run: (_desk, model) => abortAfter(30, model),
    outcome: 'aborted',
  },
  {
    name: 'abort mid-stream',
    reply: slow,
    run: (_desk, model) => abortAfter(30, model),
    outcome: 'aborted',
    source: 'hold',
  },
  {
    name: 'abort of a reader',
    reply: slow,
    run: async (_desk, model) => {
      const abort = new AbortController();
      const reader = await open(model, abort.signal);
      await readSome(reader);
      abort.abort();
      while (!(await reader.read()).done);
    },
    outcome: 'aborted',
    source: 'hold',
  },
  {
    name: 'abort in one piece',
    latencyMs: 200,
    run: (_desk, model) =>
      generateText({ model, prompt, abortSignal: AbortSignal.timeout(30), maxRetries: 0 }),
    outcome: 'aborted',
    source: 'hold',
  },
  {
    name: 'a refusal',
    fault: { kind: 'http', status: 503 },
    run: readAll,
    outcome: 'refused',
    source: 'estimate',
  },
  {
    name: 'an HTTP error that may come after an answer',
    fault: { kind: 'http', status: 502 },
    run: readAll,
    outcome: 'error',
    source: 'hold',
  },
  {
    name: 'an error with status 200',
    fault: { kind: 'error-body' },
    run: readAll,
    outcome: 'error',
    source: 'hold',
  },
  {
    name: 'an error with status 200 in one piece',
    fault: { kind: 'error-body' },
    run: (_desk, model) => generateText({ model, prompt, maxRetries: 0 }),
    outcome: 'error',
    source: 'hold',
  },
  {
    name: 'an error chunk',
    fault: { kind: 'error-chunk', afterChunks: 3 },
    run: readAll,
    outcome: 'error',
    source: 'hold',
  },
  {
    name: 'a dropped socket before chunks',
    fault: { kind: 'drop', afterChunks: 0 },
    run: readAll,
    outcome: 'error',
    source: 'hold',
  },
  {
    name: 'a dropped socket after chunks',
    fault: { kind: 'drop', afterChunks: 3 },
    run: readAll,
    outcome: 'error',
    source: 'hold',
  },
  {
    name: 'a truncated stream',
    fault: { kind: 'truncate', afterChunks: 3 },
    run: readAll,
    outcome: 'ok',
    source: 'hold',
  },
  {
    name: 'a truncated answer in one piece',
    fault: { kind: 'truncate', afterChunks: 3 },
    run: (_desk, model) => generateText({ model, prompt, maxRetries: 0 }),
    outcome: 'error',
    source: 'hold',
  },
  { name: 'no usage', fault: { kind: 'no-usage' }, run: readAll, outcome: 'ok', source: 'hold' },
  {
    name: 'no usage in one piece',
    fault: { kind: 'no-usage' },
    run: (_desk, model) => generateText({ model, prompt }),
    outcome: 'ok',
    source: 'hold',
  },
  { name: 'zero usage', fault: { kind: 'zero-usage' }, run: readAll, outcome: 'ok', source: 'hold' },
  {
    name: 'zero usage in one piece',
    fault: { kind: 'zero-usage' },
    run: (_desk, model) => generateText({ model, prompt }),
    outcome: 'ok',
    source: 'hold',
  },
  ...[
    { prompt_tokens: -5, completion_tokens: -1, total_tokens: -6 },
    { prompt_tokens: 'many', completion_tokens: 3, total_tokens: 3 },
    { prompt_tokens: null, completion_tokens: 3, total_tokens: 3 },
    { prompt_tokens: 12.5, completion_tokens: 3, total_tokens: 15.5 },
    { prompt_tokens: 900, completion_tokens: 0, total_tokens: 900 },
    {
      prompt_tokens: 10,
      completion_tokens: 3,
      total_tokens: 13,
      prompt_tokens_details: { cached_tokens: 99 },
    },
    {},
  ].flatMap((usage): Ending[] => [
    {
      name: `usage ${JSON.stringify(usage)}`,
      fault: { kind: 'bad-usage', usage },
      run: readAll,
      outcome: 'ok|error',
      source: 'hold',
    },
    {
      name: `usage ${JSON.stringify(usage)} in one piece`,
      fault: { kind: 'bad-usage', usage },
      run: (_desk, model) => generateText({ model, prompt, maxRetries: 0 }),
      outcome: 'ok|error',
      source: 'hold',
    },
  ]),
  {
    name: 'a usage chunk without choices',
    fault: { kind: 'usage-without-choices' },
    run: readAll,
    outcome: 'ok',
    source: 'provider',
  },
  {
    name: 'a signal that was aborted before',
    run: (_desk, model) => generateText({ model, prompt, abortSignal: AbortSignal.abort() }),
    outcome: undefined,
  },
  {
    name: 'a refused connection',
    run: async (desk) => {
      const closed = await startSimulator();
      await closed.close();
      const gone = desk.openrouter({ baseURL: closed.url })(OPUS);
      await generateText({ model: desk.wrap(gone), prompt, maxRetries: 0 });
    },
    outcome: 'not_sent',
    source: 'none',
  },
  {
    name: 'a host that does not exist',
    run: async (desk) => {
      const gone = desk.openrouter({ baseURL: 'http://no-such-host.invalid/api/v1' })(OPUS);
      await streamText({
        model: desk.wrap(gone),
        prompt,
        maxRetries: 0,
        onError: () => undefined,
      }).consumeStream();
    },
    outcome: 'not_sent',
    source: 'none',
  },
  {
    name: 'a missing key',
    run: async (desk) => {
      const keyless = desk.openrouter({ apiKey: undefined as never })(OPUS);
      await generateText({ model: desk.wrap(keyless), prompt, maxRetries: 0 });
    },
    outcome: 'not_sent',
    source: 'none',
  },
];

/** Resolves when every decided call is settled. */
async function settled(desk: Desk): Promise<void> {
  await vi.waitFor(
    async () => {
      const decided = await desk.receipts('decision');
      expect(await desk.receipts('settlement')).toHaveLength(decided.length);
    },
    { timeout: 5000, interval: 5 },
  );
  await desk.sim.idle();
}

describe.each(['generated', 'full'] as const)('endings, where an abort bills what was %s', (abortBilling) => {
  it.each(ENDINGS)('$name', async (ending) => {
    const reply = { text: TEXT, chunks: 6, ...ending.reply, ...(ending.fault && { fault: ending.fault }) };
    const { latencyMs = 0 } = ending;
    await using desk = await openDesk(undefined, { respond: () => reply, abortBilling, latencyMs });
    await ending.run(desk, desk.model()).catch(() => undefined);
    await settled(desk);
    const settlements = await desk.receipts('settlement');
    expect(settlements).toHaveLength(ending.outcome === undefined ? 0 : 1);
    expect(await desk.held()).toBe(0n);
    expect(await desk.spent()).toBeGreaterThanOrEqual(desk.sim.billed);
    const [settlement] = settlements;
    if (settlement === undefined) return;
    expect(ending.outcome?.split('|')).toContain(settlement.outcome);
    if (ending.source !== undefined) expect(settlement.cost.source).toBe(ending.source);
    if (settlement.outcome !== 'not_sent') expect(await desk.spent()).toBeGreaterThan(0n);
    if (ending.source === 'provider') expect(await desk.spent()).toBe(desk.sim.billed);
  });
});

describe('streams of an OpenAI-compatible client', () => {
  it.each(['no-usage', 'zero-usage', undefined] as const)('settle high without usage (%s)', async (kind) => {
    const respond = () => ({ text: TEXT, ...(kind && { fault: { kind } }) });
    await using desk = await openDesk(undefined, { respond });
    const client = createOpenAICompatible({ name: 'mine', baseURL: desk.sim.url, apiKey: 'k' });
    await readAll(desk, desk.wrap(client(OPUS)));
    await settled(desk);
    expect(await desk.spent()).toBeGreaterThanOrEqual(desk.sim.billed);
    expect(await desk.receipts('settlement')).toHaveLength(1);
  });
});

const untold = () => ({ text: TEXT, fault: { kind: 'no-usage' } as const });

describe('a call without caps', () => {
  it('settles at an estimate of what was seen when its usage is unknown', async () => {
    await using desk = await openDesk(policyOf([]), { respond: untold });
    await readAll(desk, desk.model());
    await generateText({ model: desk.model(), prompt });
    await settled(desk);
    const costs = (await desk.receipts('settlement')).map(({ cost }) => cost);
    expect(costs.map(({ source }) => source)).toEqual(['estimate', 'estimate']);
    for (const { amount } of costs) expect(BigInt(amount)).toBeGreaterThan(2_000_000n);
  });
});

const source = (parts: number, fail?: Error, onCancel?: (reason: unknown) => void) => {
  let sent = 0;
  const underlying: UnderlyingDefaultSource<number> = {
    pull(controller) {
      if (sent < parts) controller.enqueue(sent++);
      else if (fail) controller.error(fail);
      else controller.close();
    },
    ...(onCancel && { cancel: onCancel }),
  };
  return new ReadableStream<number>(underlying);
};

describe('guardedStream', () => {
  it('passes parts on in order and closes after the end is handled', async () => {
    const log: string[] = [];
    const stream = guardedStream(source(3), {
      onPart: (part) => log.push(`see ${part}`),
      onEnd: async ({ how }) => {
        await new Promise((resolve) => setTimeout(resolve, 10));
        log.push(how);
      },
    });
    for await (const part of stream) log.push(`read ${part}`);
    log.push('closed');
    expect(log.filter((line) => !line.startsWith('see'))).toEqual([
      'read 0',
      'read 1',
      'read 2',
      'done',
      'closed',
    ]);
  });

  it('hands over every part before it fails with the same error', async () => {
    const failure = new Error('broken');
    const ends: StreamEnd[] = [];
    const stream = guardedStream(source(100, failure), {
      onPart: () => undefined,
      onEnd: (end) => Promise.resolve(ends.push(end)),
    });
    await new Promise((resolve) => setTimeout(resolve, 20));
    const read: number[] = [];
    const error = await (async () => {
      for await (const part of stream) read.push(part);
    })().catch((e: unknown) => e);
    expect(error).toBe(failure);
    expect(read).toHaveLength(100);
    expect(ends).toEqual([{ how: 'failed', error: failure }]);
  });

  it('cancels its source with the reason, once', async () => {
    const reasons: unknown[] = [];
    const ends: StreamEnd[] = [];
    const endless = source(Infinity, undefined, (reason) => reasons.push(reason));
    const slowly = endless.pipeThrough(
      new TransformStream<number, number>({
        async transform(part, controller) {
          await new Promise((resolve) => setTimeout(resolve, 2));
          controller.enqueue(part);
        },
      }),
    );
    const stream = guardedStream(slowly, {
      onPart: () => undefined,
      onEnd: (end) => Promise.resolve(ends.push(end)),
    });
    const reader = stream.getReader();
    await reader.read();
    await reader.cancel('enough');
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(reasons).toEqual(['enough']);
    expect(ends).toEqual([{ how: 'cancelled' }]);
  });
});
