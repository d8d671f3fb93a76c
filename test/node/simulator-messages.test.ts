/** The simulator's Messages API, by the clients that speak it. */
import { createAnthropic } from '@ai-sdk/anthropic';
import { ChatAnthropic } from '@langchain/anthropic';
import { generateText, streamText } from 'ai';
import { describe, expect, it } from 'vitest';
import type { Simulator } from '../../src/node/simulator/index.ts';
import { aiSdkClient, langChainClient } from './simulator-clients.ts';
import {
  eventsOf,
  HAIKU,
  HAIKU_IN,
  HAIKU_OUT,
  LONG,
  nano,
  OPUS,
  post,
  start,
  wireSuite,
} from './simulator-kit.ts';

const langChain = (sim: Simulator, model: string, maxTokens = 1000): ChatAnthropic =>
  new ChatAnthropic({ model, apiKey: 'x', anthropicApiUrl: `${sim.origin}/api`, maxRetries: 0, maxTokens });

/** It adds the count of `message_start` to the last one, and drops the name of the model. */
const odd = { hidesModel: 'of streams', extraOutput: 1, streamBreaksOn: ['no-usage'] } as const;

wireSuite([
  aiSdkClient(
    {
      name: '@ai-sdk/anthropic',
      cutWord: 'length',
      odd: { breaksOn: ['no-usage', 'bad-usage'], streamBreaksOn: ['no-usage', 'bad-usage'] },
    },
    (sim, id) => createAnthropic({ apiKey: 'x', baseURL: sim.url })(id),
  ),
  langChainClient({ name: '@langchain/anthropic', cutWord: 'max_tokens', odd }, langChain),
  langChainClient(
    {
      name: '@langchain/anthropic at Anthropic',
      cutWord: 'max_tokens',
      odd,
      dialect: 'openai',
      model: 'claude-opus-4-7',
    },
    langChain,
  ),
]);

const ASKED = { model: OPUS, max_tokens: 100, messages: [{ role: 'user', content: 'Hi' }] };

interface Message {
  model?: string;
  stop_reason: string;
  content: Record<string, unknown>[];
  usage: Record<string, unknown>;
}

const thoughtful = {
  reasoning: 'hm',
  text: 'abcdefgh',
  chunks: 3,
  toolCalls: [{ name: 'save', arguments: { x: 1 }, id: 'toolu_a' }],
};

describe('the wire', () => {
  it('streams blocks of thinking, text and tool use', async () => {
    const sim = await start({ respond: () => thoughtful });
    const events = await eventsOf(await post(sim, '/messages', { ...ASKED, stream: true }));
    const names = events.map(({ data }) => {
      const part = (data['delta'] ?? data['content_block']) as { type?: string } | undefined;
      return part?.type ? `${String(data['type'])} ${part.type}` : data['type'];
    });
    expect(names).toEqual([
      'message_start',
      'ping',
      'content_block_start thinking',
      'content_block_delta thinking_delta',
      'content_block_delta signature_delta',
      'content_block_stop',
      'content_block_start text',
      'content_block_delta text_delta',
      'content_block_delta text_delta',
      'content_block_stop',
      'content_block_start tool_use',
      'content_block_delta input_json_delta',
      'content_block_delta input_json_delta',
      'content_block_stop',
      'message_delta',
      'message_stop',
    ]);
    expect(events.every(({ event, data }) => event === data['type'])).toBe(true);
    expect(events.at(-2)?.data).toMatchObject({ delta: { stop_reason: 'tool_use' } });
    const whole = (await (await post(sim, '/messages', ASKED)).json()) as Message;
    expect(whole.content).toMatchObject([
      { type: 'thinking', thinking: 'hm' },
      { type: 'text', text: 'abcdefgh' },
      { type: 'tool_use', id: 'toolu_a', name: 'save', input: { x: 1 } },
    ]);
    expect(whole.usage).toEqual(events.at(-2)?.data['usage']);
  });

  it('counts the input beside the cache', async () => {
    const reply = { inputTokens: 100, cacheReadTokens: 40, cacheWriteTokens: 20, text: 'abcd' };
    const sim = await start({ respond: () => reply });
    const { usage } = (await (await post(sim, '/messages', ASKED)).json()) as Message;
    expect(usage).toMatchObject({
      input_tokens: 40,
      cache_read_input_tokens: 40,
      cache_creation_input_tokens: 20,
      output_tokens: 1,
    });
    expect(sim.billed).toBe(40n * 5000n + 40n * 500n + 20n * 6250n + 25_000n);
    expect(nano(usage['cost'])).toBe(sim.billed);
    const streamed = await eventsOf(await post(sim, '/messages', { ...ASKED, stream: true }));
    const started = streamed[0]?.data['message'] as Message;
    expect(started.usage).toMatchObject({ input_tokens: 40, cache_read_input_tokens: 40, output_tokens: 1 });
  });

  it('takes both kinds of keys, and the names that Anthropic gives its models', async () => {
    const sim = await start({ respond: () => LONG });
    const key = { authorization: '', 'x-api-key': 'k' };
    const dated = { ...ASKED, model: 'claude-haiku-4-5-20251001' };
    const answer = (await (await post(sim, '/messages', dated, key)).json()) as Message;
    expect(answer.model).toBe(HAIKU);
    expect(sim.requests[0]?.headers['x-api-key']).toBe('k');
    expect((await post(sim, '/messages', ASKED, { authorization: '' })).status).toBe(401);
    expect((await post(sim, '/responses', ASKED, key)).status).toBe(401);
    const own = await start({ respond: () => LONG, dialect: 'openai' });
    const bare = (await (await post(own, '/messages', dated, key)).json()) as Message;
    expect(bare).toMatchObject({ model: 'claude-haiku-4-5', id: expect.stringMatching(/^msg_/) });
    expect(bare.usage).not.toHaveProperty('cost');
    expect(own.billed).toBe(10n * HAIKU_IN + 40n * HAIKU_OUT);
  });

  it('refuses in the words of this API', async () => {
    const sim = await start();
    const refused = await post(sim, '/messages', { ...ASKED, max_tokens: undefined });
    expect(refused.status).toBe(400);
    expect(await refused.json()).toMatchObject({
      type: 'error',
      error: { type: 'invalid_request_error', message: 'max_tokens: Field required' },
    });
    const full = await start({ respond: () => ({ fault: { kind: 'http', status: 529 } }) });
    expect(await (await post(full, '/messages', ASKED)).json()).toMatchObject({
      error: { type: 'overloaded_error' },
    });
  });

  it('falls back to the models that the call names', async () => {
    const sim = await start({ respond: ({ candidates }) => ({ ...LONG, servedModel: candidates[1] ?? '' }) });
    const asked = { ...ASKED, models: [HAIKU], system: 'Be brief.' };
    expect(await (await post(sim, '/messages', asked)).json()).toMatchObject({ model: HAIKU });
    expect(sim.bill()).toMatchObject([{ model: HAIKU, requestedModel: OPUS }]);
  });
});

describe('what the clients make of it', () => {
  const modelOf = (sim: Simulator): ReturnType<ReturnType<typeof createAnthropic>> =>
    createAnthropic({ apiKey: 'x', baseURL: sim.url })(OPUS);

  it('the AI SDK sees thinking, cache and cost', async () => {
    const sim = await start({
      respond: () => ({
        ...thoughtful,
        toolCalls: [],
        inputTokens: 100,
        cacheReadTokens: 40,
        cacheWriteTokens: 20,
      }),
    });
    for (const result of [
      await generateText({ model: modelOf(sim), prompt: 'Hi' }),
      await streamText({ model: modelOf(sim), prompt: 'Hi' }).steps.then((steps) => steps[0]!),
    ]) {
      expect(result.reasoningText).toBe('hm');
      expect(result.text).toBe('abcdefgh');
      expect(result.usage).toMatchObject({
        inputTokens: 100,
        outputTokens: 3,
        inputTokenDetails: { noCacheTokens: 40, cacheReadTokens: 40, cacheWriteTokens: 20 },
        outputTokenDetails: { reasoningTokens: 1 },
      });
    }
    expect(sim.bill()).toMatchObject([{ streamed: false }, { streamed: true }]);
  });
});
