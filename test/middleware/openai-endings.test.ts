/** Every way in which a call of the OpenAI client ends: one settlement, never below the bill, nothing left held. */
import { describe, expect, it, vi } from 'vitest';
import { startSimulator, type Fault, type Reply } from '../../src/node/simulator/index.ts';
import { openDesk, OPUS, type Desk } from './ai-sdk-kit.ts';
import { guardedClient, MAJORS, type Client, type Major } from './openai-kit.ts';

const TEXT = 'Once upon a time there was a very small bank. '.repeat(8);
const messages = [{ role: 'user' as const, content: 'Tell me a story.' }];
const call = { model: OPUS, messages };
const streamed = { ...call, stream: true as const };
const slow: Reply = { text: TEXT, chunks: 30, chunkDelayMs: 5 };

interface Ending {
  name: string;
  reply?: Reply;
  fault?: Fault;
  /** Ends the call in its way; what it rejects with doesn't matter here. */
  run(client: Client, desk: Desk, major: Major): Promise<unknown>;
  /** Outcomes that the settlement may name; none where the call is never decided. */
  outcome: string | undefined;
  source?: string;
}

async function readAll(client: Client): Promise<void> {
  for await (const _ of await client.chat.completions.create(streamed));
}

async function respondAll(client: Client): Promise<void> {
  const request = { model: OPUS, input: 'Tell me a story.', stream: true as const };
  for await (const _ of await client.responses.create(request));
}

/** Aborts a call when its request has reached the simulator. */
async function abortOnArrival(
  desk: Desk,
  work: (signal: AbortSignal) => PromiseLike<unknown>,
): Promise<void> {
  const abort = new AbortController();
  const waiting = Promise.resolve(work(abort.signal));
  await Promise.race([
    waiting,
    vi.waitFor(() => expect(desk.sim.requests).toHaveLength(1), { timeout: 20_000 }),
  ]);
  abort.abort();
  await waiting;
}

const readWhole = (client: Client): Promise<unknown> => client.chat.completions.create(call);

const ENDINGS: readonly Ending[] = [
  { name: 'finish', run: readAll, outcome: 'ok', source: 'provider' },
  { name: 'finish in one piece', run: readWhole, outcome: 'ok', source: 'provider' },
  { name: 'finish of responses', run: respondAll, outcome: 'ok', source: 'provider' },
  {
    name: 'finish of responses in one piece',
    run: (client) => client.responses.create({ model: OPUS, input: 'A story.' }),
    outcome: 'ok',
    source: 'provider',
  },
  {
    name: 'an answer of responses that is cut short',
    reply: { outputTokens: 900 },
    run: (client) => client.responses.create({ model: OPUS, input: 'A story.', max_output_tokens: 30 }),
    outcome: 'ok',
    source: 'provider',
  },
  {
    name: 'the same, streamed',
    reply: { outputTokens: 900 },
    async run(client) {
      const request = { model: OPUS, input: 'A story.', max_output_tokens: 30, stream: true as const };
      for await (const _ of await client.responses.create(request));
    },
    outcome: 'ok',
    source: 'provider',
  },
  {
    name: 'a consumer that breaks',
    reply: slow,
    async run(client) {
      for await (const _ of await client.chat.completions.create(streamed)) break;
    },
    outcome: 'aborted',
    source: 'hold',
  },
  {
    name: 'a consumer of responses that breaks',
    reply: slow,
    async run(client) {
      for await (const _ of await client.responses.create({ model: OPUS, input: 'A story.', stream: true }))
        break;
    },
    outcome: 'aborted',
    source: 'hold',
  },
  {
    name: 'a stream that is never read',
    reply: slow,
    run: (client) => client.chat.completions.create(streamed),
    outcome: 'ok',
    source: 'provider',
  },
  {
    name: 'an answer that is never read',
    run: (client) => client.chat.completions.create(call).asResponse(),
    outcome: 'ok',
    source: 'provider',
  },
  {
    name: 'a consumer that stalls',
    reply: slow,
    async run(client) {
      const stream = await client.chat.completions.create(streamed);
      await stream[Symbol.asyncIterator]().next();
    },
    outcome: 'ok',
    source: 'provider',
  },
  {
    name: 'a body that is cancelled',
    reply: slow,
    async run(client) {
      const { body } = await client.chat.completions.create(streamed).asResponse();
      await body?.cancel('enough');
    },
    outcome: 'aborted',
    source: 'hold',
  },
  {
    name: 'two readers, both gone',
    reply: slow,
    async run(client) {
      const stream = await client.chat.completions.create(streamed);
      await Promise.all(
        stream.tee().map(async (branch) => {
          for await (const _ of branch) break;
        }),
      );
      stream.controller.abort();
    },
    outcome: 'aborted',
    source: 'hold',
  },
  {
    name: 'a reader that leaves after the end',
    async run(client) {
      for await (const { usage } of await client.chat.completions.create(streamed)) if (usage) break;
    },
    outcome: 'ok',
    source: 'provider',
  },
  {
    name: 'abort before headers',
    fault: { kind: 'hang' },
    run: (client, desk) =>
      abortOnArrival(desk, (signal) => client.chat.completions.create(streamed, { signal })),
    outcome: 'aborted',
    source: 'hold',
  },
  {
    name: 'abort mid-stream, by signal',
    reply: slow,
    async run(client) {
      const abort = new AbortController();
      const stream = await client.chat.completions.create(streamed, { signal: abort.signal });
      for await (const _ of stream) abort.abort();
    },
    outcome: 'aborted',
    source: 'hold',
  },
  {
    name: 'abort mid-stream, by the stream',
    reply: slow,
    async run(client) {
      const stream = await client.chat.completions.create(streamed);
      for await (const _ of stream) stream.controller.abort();
    },
    outcome: 'aborted',
    source: 'hold',
  },
  {
    name: 'abort of the helper',
    reply: slow,
    async run(client) {
      const runner = client.chat.completions.stream(call);
      runner.on('content', () => runner.abort());
      await runner.done();
    },
    outcome: 'aborted',
    source: 'hold',
  },
  {
    name: 'abort in one piece',
    fault: { kind: 'hang' },
    run: (client, desk) => abortOnArrival(desk, (signal) => client.chat.completions.create(call, { signal })),
    outcome: 'aborted',
    source: 'hold',
  },
  {
    name: 'a timeout of the client',
    fault: { kind: 'hang' },
    run: (client) => client.chat.completions.create(call, { timeout: 30 }),
    outcome: 'error',
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
    run: readWhole,
    outcome: 'error',
    source: 'hold',
  },
  ...(['error-body', 'error-chunk', 'drop'] as const).flatMap((kind): Ending[] =>
    [readAll, readWhole, respondAll].map((run, which) => ({
      name: `${kind}, ${['streamed', 'in one piece', 'of responses'][which]}`,
      fault: { kind, afterChunks: 3 },
      run,
      outcome: 'error',
      source: 'hold',
    })),
  ),
  {
    name: 'a dropped socket before chunks',
    fault: { kind: 'drop', afterChunks: 0 },
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
    name: 'a truncated stream of responses',
    fault: { kind: 'truncate', afterChunks: 3 },
    run: respondAll,
    outcome: 'ok',
    source: 'hold',
  },
  {
    name: 'a truncated answer in one piece',
    fault: { kind: 'truncate', afterChunks: 3 },
    run: readWhole,
    outcome: 'error',
    source: 'hold',
  },
  ...(['no-usage', 'zero-usage'] as const).flatMap((kind): Ending[] => [
    { name: kind, fault: { kind }, run: readAll, outcome: 'ok', source: 'hold' },
    { name: `${kind} in one piece`, fault: { kind }, run: readWhole, outcome: 'ok', source: 'hold' },
    { name: `${kind} of responses`, fault: { kind }, run: respondAll, outcome: 'ok', source: 'hold' },
  ]),
  ...[
    { prompt_tokens: -5, completion_tokens: -1, total_tokens: -6 },
    { prompt_tokens: 'many', completion_tokens: 3, total_tokens: 3 },
    { prompt_tokens: null, completion_tokens: 3, total_tokens: 3 },
    { prompt_tokens: 900, completion_tokens: 0, total_tokens: 900 },
    {
      prompt_tokens: 10,
      completion_tokens: 3,
      total_tokens: 13,
      prompt_tokens_details: { cached_tokens: 99 },
    },
    { prompt_tokens: 0, completion_tokens: 3, total_tokens: 3 },
    'none',
    {},
  ].flatMap((usage): Ending[] => [
    {
      name: `usage ${JSON.stringify(usage)}`,
      fault: { kind: 'bad-usage', usage },
      run: readAll,
      outcome: 'ok',
      source: 'hold',
    },
    {
      name: `usage ${JSON.stringify(usage)} in one piece`,
      fault: { kind: 'bad-usage', usage },
      run: readWhole,
      outcome: 'ok',
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
    run: (client) => client.chat.completions.create(call, { signal: AbortSignal.abort() }),
    outcome: undefined,
  },
  {
    name: 'a refused connection',
    async run(_client, desk, major) {
      const closed = await startSimulator();
      await closed.close();
      await guardedClient(major, desk, { baseURL: closed.url }).chat.completions.create(call);
    },
    outcome: 'not_sent',
    source: 'none',
  },
  {
    name: 'a host that does not exist',
    run: (_client, desk, major) =>
      guardedClient(major, desk, { baseURL: 'http://no-such-host.invalid/api/v1' }).chat.completions.create(
        streamed,
      ),
    outcome: 'not_sent',
    source: 'none',
  },
  {
    name: 'a fetch that throws',
    run: (_client, desk, major) =>
      guardedClient(major, desk, { fetch: () => Promise.reject(new Error('mine')) }).chat.completions.create(
        call,
      ),
    outcome: 'error',
    source: 'hold',
  },
];

/** Resolves when every decided call is settled. */
async function settled(desk: Desk): Promise<void> {
  await vi.waitFor(
    async () => {
      const decided = await desk.receipts('decision');
      expect(await desk.receipts('settlement')).toHaveLength(decided.length);
    },
    { timeout: 20_000, interval: 5 },
  );
  await desk.sim.idle();
}

const ways = MAJORS.flatMap((major) =>
  (['generated', 'full'] as const).map((abortBilling) => ({ major, abortBilling, name: major.name })),
);

describe.each(ways)(
  'endings in $name, where an abort bills what was $abortBilling',
  ({ major, abortBilling }) => {
    it.each(ENDINGS)('$name', async (ending) => {
      const reply = { text: TEXT, chunks: 6, ...ending.reply, ...(ending.fault && { fault: ending.fault }) };
      await using desk = await openDesk(undefined, { respond: () => reply, abortBilling });
      await ending.run(guardedClient(major, desk), desk, major).catch(() => undefined);
      await settled(desk);
      const settlements = await desk.receipts('settlement');
      expect(settlements).toHaveLength(ending.outcome === undefined ? 0 : 1);
      expect(await desk.held()).toBe(0n);
      expect(await desk.spent()).toBeGreaterThanOrEqual(desk.sim.billed);
      const [settlement] = settlements;
      if (settlement === undefined) return;
      expect(settlement.outcome).toBe(ending.outcome);
      if (ending.source !== undefined) expect(settlement.cost.source).toBe(ending.source);
      if (settlement.outcome !== 'not_sent') expect(await desk.spent()).toBeGreaterThan(0n);
      if (ending.source === 'provider') expect(await desk.spent()).toBe(desk.sim.billed);
    });

    it('is settled before the caller has the answer', async () => {
      await using desk = await openDesk(undefined, { respond: () => ({ text: TEXT }), abortBilling });
      const client = guardedClient(major, desk);
      await readWhole(client);
      expect(await desk.spent()).toBe(desk.sim.billed);
      await readAll(client);
      expect(await desk.spent()).toBe(desk.sim.billed);
    });

    it('that come between a decision and its request: nothing was sent, and nothing is held', async () => {
      await using desk = await openDesk(undefined, { abortBilling });
      const abort = new AbortController();
      const client = guardedClient(major, desk);
      const waiting = client.chat.completions.create(call, { signal: abort.signal });
      // the decision is being written
      await vi.waitFor(async () => expect(await desk.receipts('decision')).toHaveLength(1), { interval: 0 });
      abort.abort();
      await waiting.catch(() => undefined);
      await settled(desk);
      expect(await desk.held()).toBe(0n);
      expect(await desk.spent()).toBeGreaterThanOrEqual(desk.sim.billed);
    });
  },
);
