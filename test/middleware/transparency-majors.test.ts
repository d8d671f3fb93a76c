/**
 * What the AI SDK promises of a model, in every major: each behaviour runs on the bare model and on the guarded one,
 * and everything that can be seen of it – results, parts, callbacks, errors, what went over the wire – is the same.
 */
import { describe, expect, it } from 'vitest';
import { spendGuard } from '../../middleware/ai-sdk.ts';
import type { Reply, SimulatedRequest, Simulator, SimulatorOptions } from '../../src/node/simulator/index.ts';
import { MAJORS, type Any, type Ask, type Major } from '../majors/major.ts';
import { openDesk, OPUS, policyOf, SONNET, WIDE } from './ai-sdk-kit.ts';
import { caught, normal } from './normal.ts';

const TEXT = '{"sky":"clear, and rather blue, with a cloud of no importance over the lake"}';
const base = { prompt: 'What is the weather?', maxOutputTokens: 500, maxRetries: 0 };

/** Fields of a result that are getters or promises, in any major. */
const FIELDS = [
  'text',
  'content',
  'reasoning',
  'reasoningText',
  'files',
  'sources',
  'toolCalls',
  'toolResults',
  'finishReason',
  'rawFinishReason',
  'usage',
  'totalUsage',
  'warnings',
  'request',
  'response',
  'providerMetadata',
  'experimental_providerMetadata',
  'steps',
  'object',
  'output',
  'experimental_output',
  'finalStep',
];

async function fieldsOf(result: Any, but: readonly string[] = []): Promise<Record<string, unknown>> {
  const seen: Record<string, unknown> = {};
  for (const name of FIELDS) if (!but.includes(name)) seen[name] = await caught(async () => result[name]);
  return seen;
}

async function partsOf(stream: AsyncIterable<unknown>): Promise<{ parts: unknown[]; failure: unknown }> {
  const parts: unknown[] = [];
  const failure = await caught(async () => {
    for await (const part of stream) parts.push(part);
  });
  return { parts, failure };
}

/** `generateObject` of 4 chooses a tool, unless it is told not to. */
const objectOptions = (major: Major, model: Any, more: object = {}): object =>
  major.options({
    ...base,
    model,
    more: { schema: major.skySchema, ...(major.number === 4 && { mode: 'json' }), ...more },
  });

interface Behaviour {
  reply?: Reply | ((request: SimulatedRequest) => Reply);
  run: (major: Major, model: Any) => Promise<unknown>;
  /** The majors that have it. */
  in?: readonly number[];
  /** Requests at the least. Default 1. */
  requests?: number;
}

const generate =
  (more: (major: Major) => Partial<Ask>): Behaviour['run'] =>
  (major, model) =>
    caught(async () => fieldsOf(await major.generate({ ...base, model, ...more(major) })));

/** Parts, callbacks and promises of a stream. */
const stream =
  (more: (major: Major) => Partial<Ask>): Behaviour['run'] =>
  async (major, model) => {
    const told: unknown[] = [];
    const tell =
      (name: string) =>
      (event: Any): void => {
        told.push([name, name === 'onError' ? event.error : Object.keys(event).toSorted()]);
      };
    const asked = more(major);
    const callbacks = {
      onError: tell('onError'),
      onFinish: tell('onFinish'),
      onStepFinish: tell('onStepFinish'),
    };
    const result = major.stream({ ...base, model, ...asked, more: { ...callbacks, ...asked.more } });
    const seen = await partsOf(result.fullStream);
    // the promises of a stream that broke off never settle in 4 and 5
    const failed = seen.failure !== undefined || told.some((each) => (each as unknown[])[0] === 'onError');
    const fields = failed && major.number < 6 ? undefined : await fieldsOf(result);
    return { seen, fields, told };
  };

const both = (
  name: string,
  behaviour: Omit<Behaviour, 'run'>,
  more: (major: Major) => Partial<Ask>,
): Record<string, Behaviour> => ({
  [`generateText: ${name}`]: { ...behaviour, run: generate(more) },
  [`streamText: ${name}`]: { ...behaviour, run: stream(more) },
});

const call = { id: 'call_1', name: 'look', arguments: { key: 'sky' } };
/** A tool call first, then an answer. */
const looksOnce = ({ messages }: SimulatedRequest): Reply =>
  messages.some((message) => (message as { role?: string }).role === 'tool')
    ? { text: TEXT, chunks: 4 }
    : { text: 'Let me see.', toolCalls: [call] };

const image = new Uint8Array([
  137, 80, 78, 71, 13, 10, 26, 10, 0, 0, 0, 13, 73, 72, 68, 82, 0, 0, 0, 16, 0, 0, 0, 16,
]);

const withImage = [
  {
    role: 'user',
    content: [
      { type: 'text', text: 'What is this?' },
      { type: 'image', image },
    ],
  },
];

const settings = {
  temperature: 0.5,
  topP: 0.9,
  topK: 7,
  seed: 3,
  stopSequences: ['END'],
  presencePenalty: 0.1,
  frequencyPenalty: 0.2,
  system: 'Be brief.',
};

const BEHAVIOURS: Record<string, Behaviour> = {
  ...both('text, usage, metadata, warnings', { reply: { text: TEXT, chunks: 5 } }, () => ({})),
  ...both('every setting', { reply: { text: TEXT } }, () => ({ more: settings })),
  ...both('reasoning', { reply: { text: TEXT, reasoning: 'The sky.', chunks: 5 } }, () => ({})),
  ...both(
    'cached input',
    { reply: { text: TEXT, inputTokens: 900, cacheReadTokens: 500, cacheWriteTokens: 100 } },
    () => ({}),
  ),
  ...both('an answer cut short', { reply: { outputTokens: 900 } }, () => ({})),
  ...both('a content filter', { reply: { text: 'No.', finishReason: 'content_filter' } }, () => ({})),
  ...both('an empty answer', { reply: { text: '' } }, () => ({})),
  ...both('headers and options of the provider', { reply: { text: TEXT } }, () => ({
    headers: { 'x-mine': 'yes' },
    providerOptions: { openrouter: { user: 'u1', reasoning: { effort: 'low' } }, other: { a: 1 } },
  })),
  ...both('an image in the prompt', { reply: { text: TEXT } }, () => ({
    prompt: undefined as never,
    messages: withImage,
  })),
  ...both(
    'a tool call for the caller',
    { reply: { toolCalls: [call, { ...call, id: 'call_2' }] } },
    (major) => ({
      tools: { look: major.tool('Looks.') },
      more: { toolChoice: 'required' },
    }),
  ),
  ...both(
    'tool arguments that are no JSON',
    { reply: { toolCalls: [{ ...call, arguments: '{"key":' }] } },
    (major) => ({
      tools: { look: major.look },
    }),
  ),
  ...both('a tool that fails', { reply: looksOnce, requests: 1 }, (major) => ({
    tools: { look: major.tool('Looks.', () => Promise.reject(new Error('no light'))) },
    steps: 3,
  })),
  ...both('several steps', { reply: looksOnce, requests: 2 }, (major) => ({
    tools: { look: major.look },
    steps: 3,
  })),
  ...both('an object', { reply: { text: TEXT, chunks: 6 } }, (major) => ({ more: major.skyOutput })),
  ...both('an object that is none', { reply: { text: '{"sky":', chunks: 2 } }, (major) => ({
    more: major.skyOutput,
  })),
  ...both(
    'a refused request',
    { reply: { fault: { kind: 'http', status: 400, message: 'bad' } } },
    () => ({}),
  ),
  ...both(
    'retries that fail',
    { reply: { fault: { kind: 'http', status: 500, retryAfterSeconds: 0 } }, requests: 2 },
    () => ({
      maxRetries: 1,
    }),
  ),
  ...both(
    'an error in the answer',
    { reply: { fault: { kind: 'error-chunk', afterChunks: 2 }, text: TEXT, chunks: 5 } },
    () => ({}),
  ),
  ...both(
    'a lost connection',
    { reply: { fault: { kind: 'drop', afterChunks: 2 }, text: TEXT, chunks: 5 } },
    () => ({}),
  ),
  ...both('no usage', { reply: { fault: { kind: 'no-usage' }, text: TEXT } }, () => ({})),
  'generateText: an abort': {
    reply: { text: TEXT, firstChunkDelayMs: 60_000 },
    run: (major, model) =>
      caught(() => major.generate({ ...base, model, abortSignal: AbortSignal.timeout(300) })),
  },
  'streamText: an abort in the middle': {
    reply: { outputTokens: 400, chunks: 100, chunkDelayMs: 5 },
    async run(major, model) {
      const controller = new AbortController();
      const told: string[] = [];
      const more = { onError: ({ error }: Any) => told.push(error.name) };
      const result = major.stream({ ...base, model, abortSignal: controller.signal, more });
      const kinds = new Set<string>();
      const failure = await caught(async () => {
        for await (const part of result.fullStream) {
          kinds.add(part.type);
          if (part.type === 'text-delta') controller.abort();
        }
      });
      return { kinds: [...kinds], failure, told };
    },
  },
  'streamText: tool calls in deltas': {
    reply: { toolCalls: [{ ...call, arguments: { key: 'a rather long argument for a tool' } }], chunks: 4 },
    run: stream((major) => ({
      tools: { look: major.tool('Looks.') },
      more: major.number === 4 ? { toolCallStreaming: true } : {},
    })),
  },
  'streamText: raw chunks': {
    reply: { text: TEXT, chunks: 3 },
    in: [5, 6, 7],
    run: stream((major) => ({
      more:
        major.number === 7
          ? { include: { rawChunks: true }, includeRawChunks: true }
          : { includeRawChunks: true },
    })),
  },
  'streamText: smoothStream': {
    reply: { text: 'one two three four five', chunks: 3 },
    run: stream((major) => ({
      more: { experimental_transform: major.ai.smoothStream({ delayInMs: null }) },
    })),
  },
  'streamText: consumeStream': {
    reply: { text: TEXT, chunks: 5 },
    async run(major, model) {
      const finished: unknown[] = [];
      const more = { onFinish: ({ text }: Any) => void finished.push(text) };
      const result = major.stream({ ...base, model, more });
      await result.consumeStream();
      return { finished, fields: await fieldsOf(result) };
    },
  },
  'streamText: textStream and its response': {
    reply: { text: TEXT, chunks: 5 },
    async run(major, model) {
      const parts = await partsOf(major.stream({ ...base, model }).textStream);
      const text = await major
        .stream({ ...base, model })
        .toTextStreamResponse()
        .text();
      return { parts, text };
    },
  },
  'streamText: the message stream': {
    reply: looksOnce,
    requests: 2,
    async run(major, model) {
      const result = major.stream({ ...base, model, tools: { look: major.look }, steps: 3 });
      const response =
        major.number === 4 ? result.toDataStreamResponse() : result.toUIMessageStreamResponse();
      const text = (await response.text()) as string;
      return [[...response.headers], text.replaceAll(/"messageId":"[^"]*"/g, '"messageId":"id"')];
    },
  },
  generateObject: {
    reply: { text: TEXT },
    run: (major, model) =>
      caught(async () => fieldsOf(await major.ai.generateObject(objectOptions(major, model)))),
  },
  'generateObject that fails': {
    reply: { text: '{"moon":1}' },
    run: (major, model) => caught(() => major.ai.generateObject(objectOptions(major, model))),
  },
  streamObject: {
    reply: { text: TEXT, chunks: 6 },
    async run(major, model) {
      const result = major.ai.streamObject(objectOptions(major, model, { onError: () => {} }));
      const parts = await partsOf(result.partialObjectStream);
      // in 4 nothing ever settles the promise of its warnings
      return { parts, fields: await fieldsOf(result, major.number === 4 ? ['warnings'] : []) };
    },
  },
  'an agent': {
    reply: looksOnce,
    requests: 2,
    in: [5, 6, 7],
    run: (major, model) =>
      caught(async () => {
        const Agent = major.ai.ToolLoopAgent ?? major.ai.Experimental_Agent;
        const { prompt, ...rest } = base;
        const agent = new Agent(major.options({ ...rest, model, tools: { look: major.look }, steps: 3 }));
        return fieldsOf(await agent.generate({ prompt }));
      }),
  },
  'other middleware around it': {
    reply: { text: '<think>The sky.</think>Blue.', chunks: 5 },
    async run(major, model) {
      const middleware = [
        major.ai.defaultSettingsMiddleware({ settings: { temperature: 0.3 } }),
        major.ai.extractReasoningMiddleware({ tagName: 'think' }),
      ];
      const outer = major.ai.wrapLanguageModel({ model, middleware });
      return [await generate(() => ({}))(major, outer), await stream(() => ({}))(major, outer)];
    },
  },
};

const HAVE = (major: Major): [string, Behaviour][] =>
  Object.entries(BEHAVIOURS).filter(([, behaviour]) => behaviour.in?.includes(major.number) ?? true);

/** Runs a behaviour on the bare model and on the guarded one, under a policy without caps and under a wide one. */
async function compare(
  major: Major,
  { reply = {}, run, requests = 1 }: Behaviour,
  make: (sim: Simulator) => unknown,
  dialect: SimulatorOptions['dialect'] = 'openrouter',
): Promise<void> {
  const respond = typeof reply === 'function' ? reply : (): Reply => reply;
  for (const policy of [policyOf([]), policyOf([WIDE])]) {
    await using bare = await openDesk(policy, { respond, dialect });
    await using guarded = await openDesk(policy, { respond, dialect });
    const expected = normal(await run(major, make(bare.sim)));
    const actual = normal(await run(major, major.wrap(make(guarded.sim), spendGuard(guarded.guard))));
    expect(actual).toEqual(expected);
    const wire = ({ sim }: typeof bare): unknown =>
      sim.requests.map(({ bodyText, headers, path }) => [path, normal(bodyText), normal(headers)]);
    expect(wire(guarded)).toEqual(wire(bare));
    expect(guarded.sim.requests.length).toBeGreaterThanOrEqual(requests);
    await expect.poll(() => guarded.held()).toBe(0n);
    expect(await guarded.receipts('decision')).toHaveLength(guarded.sim.requests.length);
  }
}

describe.each(MAJORS)('$name', (major) => {
  // with 4, OpenRouter's client tells its cost only where it is asked to: the last test
  const settings = { models: [SONNET], ...(major.number === 4 && { usage: { include: true } }) };

  it.each(HAVE(major))('%s', (_name, behaviour) =>
    compare(major, behaviour, ({ url }) => major.openrouter({ url }, OPUS, settings)),
  );
});

interface Other {
  name: string;
  dialect?: SimulatorOptions['dialect'];
  make: (major: Major, sim: Simulator) => unknown;
}

const OTHERS: readonly Other[] = [
  {
    name: 'openai chat',
    dialect: 'openai',
    make: (major, { url }) => major.openaiChat({ url }, 'gpt-5-mini'),
  },
  {
    name: 'openai responses',
    dialect: 'openai',
    make: (major, { url }) => major.openaiResponses({ url }, 'gpt-5-mini'),
  },
  { name: 'anthropic', make: (major, { url }) => major.anthropic({ url }, 'claude-haiku-4-5') },
  { name: 'openai-compatible', make: (major, { url }) => major.compatible({ url }, OPUS) },
  { name: 'gateway', make: (major, { origin }) => major.gateway?.({ url: `${origin}/v3/ai` }, OPUS) },
];

/** What is OpenRouter's own, and what needs no other provider to be seen. */
const ONLY_OPENROUTER =
  /retries|headers and options|smoothStream|consumeStream|textStream|other middleware|an agent/;

describe.each(
  MAJORS.flatMap((major) =>
    OTHERS.filter(({ name }) => name !== 'gateway' || major.gateway !== undefined).map((other) => ({
      at: `${major.name} ${other.name}`,
      major,
      other,
    })),
  ),
)('$at', ({ major, other }) => {
  // with 4, Anthropic's models give objects by a tool alone
  const skipped = (name: string): boolean =>
    ONLY_OPENROUTER.test(name) || (major.number === 4 && other.name === 'anthropic' && /Object/.test(name));

  it.each(HAVE(major).filter(([name]) => !skipped(name)))('%s', (_name, behaviour) =>
    compare(major, { ...behaviour, requests: 0 }, (sim) => other.make(major, sim), other.dialect),
  );
});

it('asks OpenRouter for the cost in ai 4, where a cap is in play, and changes nothing else', async () => {
  const [major] = MAJORS as [Major];
  const bodyUnder = async (...caps: Parameters<typeof policyOf>[0]): Promise<unknown> => {
    await using desk = await openDesk(policyOf(caps));
    const model = major.openrouter({ url: desk.sim.url }, OPUS, { models: [SONNET] });
    await major.generate({ ...base, model: major.wrap(model, spendGuard(desk.guard)) });
    return desk.bodies()[0];
  };
  const plain = await bodyUnder();
  expect(plain).not.toHaveProperty('usage');
  expect(await bodyUnder(WIDE)).toEqual({ ...(plain as object), usage: { include: true } });
});
