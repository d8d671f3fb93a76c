/** What the bare client gives, the guarded one gives: results, streams, helpers, errors, retries, requests. */
import { zodResponseFormat, zodTextFormat } from 'openai/helpers/zod';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { clearCostOverrides, setCostOverride } from '../../src/index.ts';
import type { Fault, Reply, SimulatedRequest } from '../../src/node/simulator/index.ts';
import { HAIKU, openDesk, OPUS, policyOf, WIDE } from './ai-sdk-kit.ts';
import { normal } from './normal.ts';
import { bareClient, guardedClient, MAJORS, type Client, type Major } from './openai-kit.ts';

type Call = (client: Client) => Promise<unknown>;

const EMBEDDER = 'openai/text-embedding-3-small';
const TEXT = '{"sky":"clear, and rather blue, with a cloud of no importance over the lake"}';
const messages = [
  { role: 'system' as const, content: 'Be brief.' },
  { role: 'user' as const, content: [{ type: 'text' as const, text: 'What is the weather in Berlin?' }] },
];
const base = { model: OPUS, models: [OPUS, HAIKU], messages, max_tokens: 500, usage: { include: true } };
const respond = { model: OPUS, instructions: 'Be brief.', input: 'The weather?', max_output_tokens: 500 };
const schema = z.object({ sky: z.string() });

const weather = {
  type: 'function' as const,
  function: {
    name: 'weather',
    description: 'Looks the weather up',
    parameters: { type: 'object', properties: { city: { type: 'string' } } },
    parse: (text: string) => JSON.parse(text) as { city: string },
    function: ({ city }: { city: string }) => ({ city, sky: 'clear' }),
  },
};

/** An error as a caller sees it. */
function shown(error: unknown): unknown {
  const { status, code, type, headers, requestID, error: body } = error as Record<string, unknown>;
  const all = headers instanceof Headers ? [...headers.keys()] : headers;
  const names: string[] = [];
  for (
    let proto = error as object | null;
    proto !== null;
    proto = Object.getPrototypeOf(proto) as object | null
  ) {
    names.push(proto.constructor.name);
  }
  return { thrown: error, names, status, code, type, headers: all, requestID, body };
}

async function caught(work: () => PromiseLike<unknown>): Promise<unknown> {
  try {
    return await work();
  } catch (error) {
    return shown(error);
  }
}

async function all(items: AsyncIterable<unknown>): Promise<unknown> {
  const found: unknown[] = [];
  const failure = await caught(async () => {
    for await (const item of items) found.push(item);
  });
  return { found, failure };
}

function factsOf(response: Response): unknown {
  const { status, statusText, ok, url, redirected, type, headers } = response;
  return { status, statusText, ok, url, redirected, type, headers: [...headers.keys()] };
}

interface Runner {
  on(event: string, listener: (...args: unknown[]) => void): unknown;
  done(): Promise<void>;
}

/** Everything that a runner or a stream of the helpers tells. */
async function events(runner: unknown, ...names: string[]): Promise<unknown> {
  const told: unknown[] = [];
  for (const name of ['connect', 'abort', 'error', 'end', ...names]) {
    (runner as Runner).on(name, (...args) => void told.push([name, ...args]));
  }
  const failure = await caught(() => (runner as Runner).done());
  return { told, failure };
}

const RUNNING = [
  'message',
  'content',
  'functionToolCall',
  'functionToolCallResult',
  'finalContent',
  'totalUsage',
];

const CALLS: Readonly<Record<string, Call>> = {
  create: (client) =>
    caught(async () => {
      const answer = await client.chat.completions.create(base);
      return { answer, id: answer._request_id };
    }),
  'create with tools': (client) =>
    caught(() => client.chat.completions.create({ ...base, tools: [weather] })),
  parse: (client) =>
    caught(() =>
      client.chat.completions.parse({ ...base, response_format: zodResponseFormat(schema, 'sky') }),
    ),
  asResponse: (client) =>
    caught(async () => {
      const response = await client.chat.completions.create(base).asResponse();
      const copy = response.clone();
      return [factsOf(response), factsOf(copy), await response.json(), await copy.text(), response.bodyUsed];
    }),
  withResponse: (client) =>
    caught(async () => {
      const { data, response, request_id } = await client.chat.completions.create(base).withResponse();
      return { data, facts: factsOf(response), request_id };
    }),
  'post by hand': (client) => caught(() => client.post('/chat/completions', { body: base })),
  'create, streamed': (client) =>
    caught(async () => all(await client.chat.completions.create({ ...base, stream: true }))),
  'streamed, withResponse': (client) =>
    caught(async () => {
      const call = client.chat.completions.create({ ...base, stream: true });
      const { data, response, request_id } = await call.withResponse();
      return { parts: await all(data), facts: factsOf(response), request_id };
    }),
  'streamed, asResponse': (client) =>
    caught(async () => {
      const response = await client.chat.completions.create({ ...base, stream: true }).asResponse();
      return [factsOf(response), await response.text()];
    }),
  'streamed, toReadableStream': (client) =>
    caught(async () => {
      const stream = await client.chat.completions.create({ ...base, stream: true });
      return new Response(stream.toReadableStream()).text();
    }),
  'streamed, tee': (client) =>
    caught(async () => {
      const stream = await client.chat.completions.create({ ...base, stream: true });
      return Promise.all(stream.tee().map(all));
    }),
  'stream helper': (client) =>
    caught(async () => {
      const runner = client.chat.completions.stream(base);
      return [await events(runner, 'chunk', ...RUNNING), await runner.finalChatCompletion()];
    }),
  runTools: (client) => events(client.chat.completions.runTools({ ...base, tools: [weather] }), ...RUNNING),
  'runTools, streamed': (client) =>
    events(
      client.chat.completions.runTools({ ...base, stream: true, tools: [weather] }),
      'chunk',
      ...RUNNING,
    ),
  responses: (client) => caught(() => client.responses.create(respond)),
  'responses.parse': (client) =>
    caught(() => client.responses.parse({ ...respond, text: { format: zodTextFormat(schema, 'sky') } })),
  'responses, streamed': (client) =>
    caught(async () => all(await client.responses.create({ ...respond, stream: true }))),
  'responses.stream': (client) =>
    caught(async () => {
      const runner = client.responses.stream(respond);
      return [await events(runner, 'event', 'response.output_text.delta'), await runner.finalResponse()];
    }),
};

/** Calls that are the same for every answer. */
const OTHERS: Readonly<Record<string, Call>> = {
  embeddings: (client) => caught(() => client.embeddings.create({ model: EMBEDDER, input: ['a', 'b'] })),
  'list of models': (client) => caught(async () => all(await client.models.list())),
  'a signal that was aborted before': (client) =>
    caught(() => client.chat.completions.create(base, { signal: AbortSignal.abort(new Error('mine')) })),
  'headers of a call': (client) =>
    caught(() => client.chat.completions.create(base, { headers: { 'X-Mine': '1' }, query: { a: 'b' } })),
  'a break': (client) =>
    caught(async () => {
      const stream = await client.chat.completions.create({ ...base, stream: true });
      for await (const part of stream) return [part, stream.controller.signal.aborted];
      return undefined;
    }),
  'an abort by the stream itself': (client) =>
    caught(async () => {
      const stream = await client.chat.completions.create({ ...base, stream: true });
      let hasParts = false;
      const failure = await caught(async () => {
        for await (const _ of stream) {
          hasParts = true;
          stream.controller.abort();
        }
      });
      // how many come after it is a matter of how the network cut the bytes
      return { hasParts, failure };
    }),
  'another client by withOptions': (client) =>
    caught(() => client.withOptions({ defaultHeaders: { 'X-Other': 'yes' } }).chat.completions.create(base)),
  'a body that is refused': (client) =>
    caught(() => client.chat.completions.create({ model: OPUS, max_tokens: 5 } as never)),
};

function script(reply: Reply): (request: SimulatedRequest) => Reply {
  return ({ messages, tools }) =>
    tools.length > 0 && messages.length < 4
      ? {
          ...reply,
          text: 'Let me see.',
          toolCalls: [{ id: 'call_1', name: 'weather', arguments: { city: 'Berlin' } }],
        }
      : reply;
}

async function compare(
  major: Major,
  call: Call,
  reply: Reply,
  more: { maxRetries?: number } = {},
): Promise<void> {
  for (const policy of [policyOf([]), policyOf([WIDE])]) {
    await using bare = await openDesk(policy, { respond: script(reply) });
    await using guarded = await openDesk(policy, { respond: script(reply) });
    const app = { defaultHeaders: { 'HTTP-Referer': 'https://app.example', 'X-Title': 'Mine' }, ...more };
    const expected = normal(await call(bareClient(major, bare.sim.url, app)));
    const actual = normal(await call(guardedClient(major, guarded, app)));
    expect(actual).toEqual(expected);
    const sent = (desk: typeof bare) =>
      desk.sim.requests.map(({ method, path, bodyText, headers }) => ({
        method,
        path,
        bodyText,
        headers: normal(headers),
      }));
    expect(sent(guarded)).toEqual(sent(bare));
    await guarded.sim.idle();
    await expect.poll(() => guarded.held(), { timeout: 20_000 }).toBe(0n);
  }
}

const REPLIES: Readonly<Record<string, Reply>> = {
  text: { text: TEXT, chunks: 5 },
  reasoning: { text: TEXT, reasoning: 'The user wants to know about the sky.', chunks: 6 },
  'cached input': { text: TEXT, inputTokens: 900, cacheReadTokens: 500, cacheWriteTokens: 100 },
  'an answer cut short': { outputTokens: 900 },
  silence: { text: '' },
  'a script with every kind of letter': { text: '{"sky":"Łódź 空 🌧 \u2028 ﷺ"}', chunks: 9 },
};

const FAULTS: readonly Fault[] = [
  { kind: 'http', status: 402, message: 'Insufficient credits' },
  { kind: 'http', status: 429 },
  { kind: 'http', status: 500 },
  { kind: 'error-body' },
  { kind: 'error-chunk', afterChunks: 2 },
  { kind: 'drop', afterChunks: 0 },
  { kind: 'truncate', afterChunks: 2 },
  { kind: 'no-usage' },
  { kind: 'zero-usage' },
  { kind: 'bad-usage', usage: { prompt_tokens: 'x' } },
  { kind: 'usage-without-choices' },
];

beforeAll(() => {
  setCostOverride(EMBEDDER, { inputCentsPerKtok: '0.002', outputCentsPerKtok: 0 });
});
afterAll(clearCostOverrides);

describe.each(MAJORS)('$name', (major) => {
  describe.each(Object.entries(CALLS))('%s', (_name, call) => {
    it.each(Object.entries(REPLIES))('gives what it gives without the guard: %s', (_reply, reply) =>
      compare(major, call, reply),
    );

    it.each(FAULTS)('fails as it fails without the guard: $kind $status $afterChunks', (fault) =>
      compare(major, call, { text: TEXT, chunks: 5, fault }),
    );
  });

  it.each(Object.entries(OTHERS))('%s', (_name, call) =>
    // slowly, so that an abort comes before the end
    compare(major, call, { text: TEXT, chunks: 5, chunkDelayMs: 10 }),
  );

  it('retries as it does without the guard, and each attempt is decided and settled before the next', async () => {
    const faults: (Fault | undefined)[] = [
      { kind: 'http', status: 429, retryAfterSeconds: 0 },
      { kind: 'http', status: 500, retryAfterSeconds: 0 },
      undefined,
    ];
    const failing = () => {
      let attempt = 0;
      return (): Reply => {
        const fault = faults[attempt++];
        return { text: TEXT, ...(fault && { fault }) };
      };
    };
    await using bare = await openDesk(undefined, { respond: failing() });
    await using guarded = await openDesk(undefined, { respond: failing() });
    const expected = await bareClient(major, bare.sim.url, { maxRetries: 2 }).chat.completions.create(base);
    const actual = await guardedClient(major, guarded, { maxRetries: 2 }).chat.completions.create(base);
    expect(normal(actual)).toEqual(normal(expected));
    const retries = (desk: typeof bare) =>
      desk.sim.requests.map(({ headers }) => headers['x-stainless-retry-count']);
    expect(retries(guarded)).toEqual(['0', '1', '2']);
    expect(retries(bare)).toEqual(['0', '1', '2']);
    const kinds: string[] = [];
    for (const type of ['decision', 'settlement'] as const) {
      for (const { seq } of await guarded.receipts(type)) kinds[seq] = type;
    }
    expect(kinds.filter(Boolean)).toEqual(Array.from({ length: 3 }, () => ['decision', 'settlement']).flat());
    expect((await guarded.receipts('settlement')).map(({ outcome }) => outcome)).toEqual([
      'refused',
      'error',
      'ok',
    ]);
    expect(await guarded.held()).toBe(0n);
  });

  it('keeps class, members and settings; the client it was made of stays as it was', async () => {
    await using desk = await openDesk();
    const fetched: string[] = [];
    const fetch: typeof globalThis.fetch = (url, init) => {
      fetched.push(url as string);
      return globalThis.fetch(url, init);
    };
    const options = { timeout: 4321, maxRetries: 1, defaultHeaders: { 'X-Title': 'Mine' }, fetch };
    const bare = bareClient(major, desk.sim.url, { organization: 'org', ...options });
    const guarded = guardedClient(major, desk, { organization: 'org', ...options });
    expect(guarded).toBeInstanceOf(major.OpenAI);
    for (const name of [
      'apiKey',
      'baseURL',
      'organization',
      'project',
      'timeout',
      'maxRetries',
      'logLevel',
    ] as const) {
      expect(guarded[name]).toEqual(bare[name]);
    }
    expect(Object.keys(guarded)).toEqual(Object.keys(bare));
    await guarded.chat.completions.create(base);
    expect(fetched).toEqual([`${desk.sim.url}/chat/completions`]);
    expect(await desk.receipts('decision')).toHaveLength(1);
    await bare.chat.completions.create(base);
    expect(desk.sim.requests).toHaveLength(2);
    expect(await desk.receipts('decision')).toHaveLength(1);
    await guarded.withOptions({ timeout: 5000 }).withOptions({}).chat.completions.create(base);
    expect(await desk.receipts('decision')).toHaveLength(2);
  });

  it('takes a key that is a function, which the client itself forgets in some versions', async () => {
    await using desk = await openDesk();
    const client = guardedClient(major, desk, { apiKey: () => Promise.resolve('sk-fresh') });
    await client.chat.completions.create(base);
    expect(desk.sim.requests[0]?.headers['authorization']).toBe('Bearer sk-fresh');
  });

  it('does nothing where the guard is off', async () => {
    await using desk = await openDesk(
      policyOf([{ amountCents: 0, window: 'total', action: 'block' }]),
      {},
      { enabled: false },
    );
    const client = guardedClient(major, desk, {}, {});
    const stream = await client.chat.completions.create({ model: OPUS, messages, stream: true });
    await all(stream);
    expect(desk.bodies()).toEqual([{ model: OPUS, messages, stream: true }]);
    expect(await desk.receipts('decision')).toEqual([]);
  });
});
