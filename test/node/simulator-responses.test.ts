/** The simulator's Responses API, by the clients that speak it. */
import { createOpenAI } from '@ai-sdk/openai';
import { ChatOpenAI } from '@langchain/openai';
import OpenAI from 'openai';
import { describe, expect, it } from 'vitest';
import type { Simulator } from '../../src/node/simulator/index.ts';
import { OpenAI as OpenAI6 } from '../frameworks/openai-6/index.ts';
import { aiSdkClient, langChainClient, responsesClient } from './simulator-clients.ts';
import { eventsOf, HAIKU, LONG, nano, OPUS, post, start, wireSuite } from './simulator-kit.ts';

const openai = (sim: Simulator): OpenAI => new OpenAI({ apiKey: 'x', baseURL: sim.url, maxRetries: 0 });
const openai6 = (sim: Simulator): OpenAI =>
  new OpenAI6({ apiKey: 'x', baseURL: sim.url, maxRetries: 0 }) as unknown as OpenAI;

wireSuite([
  responsesClient({ name: 'openai 7', cutWord: 'max_output_tokens' }, openai),
  responsesClient({ name: 'openai 6', cutWord: 'max_output_tokens' }, openai6),
  responsesClient(
    { name: 'openai 7 at OpenAI', cutWord: 'max_output_tokens', dialect: 'openai', model: 'claude-opus-4-7' },
    openai,
  ),
  aiSdkClient(
    {
      name: '@ai-sdk/openai',
      cutWord: 'length',
      odd: { breaksOn: ['bad-usage'], streamBreaksOn: ['bad-usage'], needsModel: true },
    },
    (sim, id) => createOpenAI({ apiKey: 'x', baseURL: sim.url }).responses(id),
  ),
  langChainClient(
    { name: '@langchain/openai', cutWord: 'max_output_tokens', odd: { missesErrorChunk: true } },
    (sim, model, maxTokens) =>
      new ChatOpenAI({
        model,
        apiKey: 'x',
        maxRetries: 0,
        useResponsesApi: true,
        configuration: { baseURL: sim.url },
        ...(maxTokens !== undefined && { maxTokens }),
      }),
  ),
]);

const ASKED = { model: OPUS, input: 'Hi' };

interface Answer {
  status: string;
  model?: string;
  usage?: Record<string, unknown>;
  output: { type: string; status?: string; summary?: { text: string }[] }[];
}

describe('the wire', () => {
  it('streams the events of each output item in their order', async () => {
    const sim = await start({
      respond: () => ({
        reasoning: 'hm',
        text: 'abcdefgh',
        chunks: 3,
        toolCalls: [{ name: 'save', arguments: { x: 1 }, id: 'call_a' }],
      }),
    });
    const events = await eventsOf(await post(sim, '/responses', { ...ASKED, stream: true }));
    expect(events.map(({ event }) => event?.slice('response.'.length))).toEqual([
      'created',
      'in_progress',
      'output_item.added',
      'reasoning_summary_part.added',
      'reasoning_summary_text.delta',
      'reasoning_summary_text.done',
      'reasoning_summary_part.done',
      'output_item.done',
      'output_item.added',
      'content_part.added',
      'output_text.delta',
      'output_text.delta',
      'output_text.done',
      'content_part.done',
      'output_item.done',
      'output_item.added',
      'function_call_arguments.delta',
      'function_call_arguments.delta',
      'function_call_arguments.done',
      'output_item.done',
      'completed',
    ]);
    expect(events.map(({ data }) => data['sequence_number'])).toEqual(events.map((_, index) => index));
    expect(events.every(({ event, data }) => event === data['type'])).toBe(true);
    const last = events.at(-1)?.data['response'] as Answer;
    const whole = (await (await post(sim, '/responses', ASKED)).json()) as Answer;
    expect(last.output.map(({ type }) => type)).toEqual(['reasoning', 'message', 'function_call']);
    expect(last.output[0]?.summary).toEqual([{ type: 'summary_text', text: 'hm' }]);
    expect(whole.output.map(({ type }) => type)).toEqual(['reasoning', 'message', 'function_call']);
    expect(last.usage).toEqual(whole.usage);
  });

  it('tells the cost as OpenRouter does, and none as OpenAI', async () => {
    const sim = await start({ respond: () => ({ ...LONG, reasoning: 'r'.repeat(8), cacheReadTokens: 5 }) });
    const { usage } = (await (await post(sim, '/responses', ASKED)).json()) as Answer;
    expect(usage).toMatchObject({
      input_tokens: 10,
      input_tokens_details: { cached_tokens: 5 },
      output_tokens: 42,
      output_tokens_details: { reasoning_tokens: 2 },
      total_tokens: 52,
      is_byok: false,
      cost_details: { upstream_inference_cost: null },
    });
    expect(nano(usage?.['cost'])).toBe(5n * 5000n + 5n * 500n + 42n * 25_000n);
    expect(nano(usage?.['cost'])).toBe(sim.billed);
    const bare = await start({ respond: () => LONG, dialect: 'openai' });
    const asked = { model: 'gpt-5-mini', input: 'Hi' };
    const answer = (await (await post(bare, '/responses', asked)).json()) as Answer;
    expect(answer).toMatchObject({ model: 'gpt-5-mini', id: expect.stringMatching(/^resp_/) });
    expect(answer.usage).not.toHaveProperty('cost');
  });

  it('falls back, and shows the script the input items', async () => {
    const seen: unknown[] = [];
    const sim = await start({
      respond: ({ candidates, maxOutputTokens, messages, tools, wire }) => {
        seen.push({ maxOutputTokens, messages, tools, wire });
        return { ...LONG, servedModel: candidates.at(-1) ?? '' };
      },
    });
    const input = [
      { role: 'user', content: 'Weather?' },
      { type: 'function_call', call_id: 'a', name: 'weather', arguments: '{}' },
      { type: 'function_call_output', call_id: 'a', output: 'rain' },
    ];
    const tools = [{ type: 'function', name: 'weather', parameters: {} }];
    const asked = { model: OPUS, models: [HAIKU], input, tools, max_output_tokens: 9 };
    const answer = (await (await post(sim, '/responses', asked)).json()) as Answer;
    expect(answer).toMatchObject({ model: HAIKU, status: 'incomplete' });
    expect(seen).toEqual([{ maxOutputTokens: 9, messages: input, tools, wire: 'responses' }]);
    expect(sim.requests[0]).toMatchObject({ path: '/api/v1/responses', body: asked });
    expect(sim.bill()).toMatchObject([{ model: HAIKU, requestedModel: OPUS, completionTokens: 9 }]);
  });

  it('refuses what it can not read', async () => {
    const sim = await start();
    expect((await post(sim, '/responses', { model: OPUS })).status).toBe(400);
    expect((await post(sim, '/responses', { ...ASKED, max_output_tokens: 0 })).status).toBe(400);
    expect((await post(sim, '/responses', { ...ASKED, model: 'gpt-5-mini' })).status).toBe(400);
    expect((await post(sim, '/responses', ASKED, { authorization: '' })).status).toBe(401);
    expect(sim.billed).toBe(0n);
  });
});
