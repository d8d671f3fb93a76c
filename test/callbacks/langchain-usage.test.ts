import { describe, expect, it } from 'vitest';
import { asksForCache, readPrompt } from '../../callbacks/langchain-prompt.ts';
import { takeScope } from '../../callbacks/langchain-scope.ts';
import { StreamTally } from '../../callbacks/langchain-tally.ts';
import { resultOutcome } from '../../callbacks/langchain-usage.ts';
import { bodyOf, providerName, readParams, readWire } from '../../callbacks/langchain-wire.ts';

const openai = { provider: 'openai' };
const versions = (version: string) => ({
  provider: 'anthropic',
  versions: { '@langchain/anthropic': version },
});
const answer = (message: object, more: object = {}) => ({ generations: [[{ text: '', message }]], ...more });
const metadata = (input: number, output: number, details: object = {}) => ({
  usage_metadata: {
    input_tokens: input,
    output_tokens: output,
    total_tokens: input + output,
    input_token_details: details,
  },
});

describe('the usage of an answer', () => {
  it.each([
    ['usage_metadata', answer(metadata(10, 5)), openai, { inputTokens: 10, outputTokens: 5 }],
    [
      'several answers, each with the usage of all',
      {
        generations: [
          [{ message: metadata(10, 9) }, { message: metadata(10, 9) }, { message: metadata(10, 9) }],
        ],
      },
      openai,
      { inputTokens: 10, outputTokens: 9 },
    ],
    [
      'what _generate gives',
      { generations: [{ text: 'x', message: metadata(3, 4) }] },
      openai,
      { inputTokens: 3, outputTokens: 4 },
    ],
    [
      'cached input within the count (since 1.3)',
      answer(metadata(200, 5, { cache_read: 60, cache_creation: 40 })),
      versions('1.5.11'),
      { inputTokens: 200, outputTokens: 5, cacheReadTokens: 60, cacheWriteTokens: 40 },
    ],
    [
      'cached input beside the count (before)',
      answer(metadata(100, 5, { cache_read: 60, cache_creation: 40 })),
      versions('1.2.9'),
      { inputTokens: 200, outputTokens: 5, cacheReadTokens: 60, cacheWriteTokens: 40 },
    ],
    [
      'a version that nobody knows',
      answer(metadata(100, 5, { cache_read: 60 })),
      { provider: 'anthropic' },
      { inputTokens: 160, outputTokens: 5, cacheReadTokens: 60 },
    ],
    [
      'the raw usage of Anthropic first',
      answer({
        ...metadata(7, 7),
        response_metadata: {
          usage: {
            input_tokens: 100,
            cache_read_input_tokens: 60,
            cache_creation_input_tokens: 40,
            output_tokens: 5,
          },
        },
      }),
      versions('0.3.34'),
      { inputTokens: 200, outputTokens: 5, cacheReadTokens: 60, cacheWriteTokens: 40 },
    ],
    [
      'the counts of a completion model',
      { generations: [[{ text: 'x' }]], llmOutput: { tokenUsage: { promptTokens: 8, completionTokens: 2 } } },
      openai,
      { inputTokens: 8, outputTokens: 2 },
    ],
    [
      'estimates, which are none',
      answer({}, { llmOutput: { estimatedTokenUsage: { promptTokens: 3 } } }),
      openai,
      undefined,
    ],
    [
      'counts without written tokens, where a cache was asked for',
      answer(metadata(900, 5, { cache_read: 500 })),
      { provider: 'openrouter', writesCache: true },
      { inputTokens: 900, outputTokens: 5, cacheReadTokens: 500, cacheWriteTokens: 400 },
    ],
    ['nothing', undefined, openai, undefined],
    [
      '0 in and 0 out',
      answer({ content: 'hello', ...metadata(0, 0) }),
      openai,
      { inputTokens: undefined, outputTokens: undefined },
    ],
  ])('is read from %s', (_name, result, from, usage) => {
    const outcome = resultOutcome(result, from);
    expect(outcome.outcome).toBe('ok');
    expect(outcome.usage).toEqual(usage);
  });

  it.each([
    ['as it is', 10, 5, 0.00123, 0.00123],
    ['doubled, where a stream has added its last chunk twice', 20, 10, 0.00246, 0.00123],
    ['not at all, where the two counts do not agree', 31, 5, 0.005, undefined],
  ])('has its cost believed %s', (_name, prompt, completion, cost, expected) => {
    const usage = { prompt_tokens: prompt, completion_tokens: completion, cost, is_byok: false };
    const outcome = resultOutcome(answer({ ...metadata(10, 5), response_metadata: { usage } }), openai);
    expect(outcome.cost).toBe(expected);
    expect(outcome.usage).toMatchObject({ inputTokens: 10, outputTokens: 5 });
  });

  it('comes with the model that served and the id of the provider', () => {
    const message = { id: 'gen-1', response_metadata: { model_name: 'a/b', model: 'xx' }, ...metadata(1, 1) };
    expect(resultOutcome(answer(message), openai)).toMatchObject({
      servedModel: 'a/b',
      providerRef: 'gen-1',
    });
    const twice = { id: 'run-7', response_metadata: { model: 'gpt-5gpt-5' } };
    expect(resultOutcome(answer(twice), openai)).toMatchObject({ servedModel: 'gpt-5' });
    expect(resultOutcome(answer(twice), openai).providerRef).toBeUndefined();
  });

  it('never throws', () => {
    const hostile = new Proxy(
      {},
      {
        get: () => {
          throw new Error('no');
        },
      },
    );
    expect(resultOutcome({ generations: [[{ message: hostile }]] }, openai)).toEqual({
      outcome: 'ok',
      seenOutputTokens: 0,
    });
    const tally = new StreamTally(openai);
    tally.see(hostile);
    expect(tally.outcome(undefined)).toEqual({ outcome: 'ok', seenOutputTokens: 0 });
  });
});

function tallied(parts: readonly object[], from: { provider: string; versions?: unknown } = openai) {
  const tally = new StreamTally(from);
  for (const part of parts) tally.see(part);
  return tally;
}

describe('the chunks of a stream', () => {
  const text = { text: 'hello there', message: { content: 'hello there' } };
  const finish = {
    text: '',
    message: { content: '' },
    generationInfo: { finish_reason: 'stop', model_name: 'a/b' },
  };
  const usage = { prompt_tokens: 10, completion_tokens: 5, cost: 0.25 };
  const last = { text: '', message: { content: '', response_metadata: { usage }, ...metadata(10, 5) } };

  it('count the usage once, with its cost', () => {
    const twice = { text: '', message: { content: '', response_metadata: { usage } } };
    expect(tallied([text, finish, twice, last]).outcome(undefined)).toMatchObject({
      outcome: 'ok',
      cost: 0.25,
      servedModel: 'a/b',
      usage: { inputTokens: 10, outputTokens: 5 },
    });
  });

  it('add counts up where a provider tells them bit by bit', () => {
    const bit = { text: 'x', message: { content: 'x', ...metadata(4, 2) } };
    expect(tallied([bit, bit]).outcome(undefined).usage).toMatchObject({ inputTokens: 8, outputTokens: 4 });
  });

  it('take the last count of Anthropic, and none of a stream that was cut', () => {
    const start = { message: { content: '', ...metadata(100, 1, { cache_read: 40 }) } };
    const end = {
      message: { content: '', ...metadata(0, 50), additional_kwargs: { stop_reason: 'end_turn' } },
    };
    expect(tallied([start, text, end], versions('1.5.11')).outcome(undefined).usage).toEqual({
      inputTokens: 100,
      outputTokens: 50,
      cacheReadTokens: 40,
    });
    expect(tallied([start, text], versions('1.5.11')).outcome(undefined).usage).toBeUndefined();
  });

  it('count whatever the ending once they are whole', () => {
    expect(tallied([text, finish, last]).outcome('aborted')).toMatchObject({ outcome: 'ok', cost: 0.25 });
    expect(tallied([text]).outcome('aborted')).toEqual({ outcome: 'aborted', seenOutputTokens: 2 });
    const unpaid = { text: '', message: { content: '', ...metadata(10, 5) } };
    expect(tallied([text, unpaid]).outcome('error').usage).toBeUndefined();
  });

  it('are read as events, too', () => {
    const events = [
      { event: 'message-start', id: 'msg_1', usage: { input_tokens: 9, output_tokens: 1 } },
      { event: 'provider', name: 'message_start', payload: { model: 'claude-x', id: 'msg_1' } },
      { event: 'content-block-delta', delta: { type: 'text-delta', text: 'hello there' } },
      { event: 'usage', usage: { input_tokens: 9, output_tokens: 8 } },
      { event: 'message-finish', reason: 'stop', usage: { input_tokens: 9, output_tokens: 8 } },
    ];
    expect(tallied(events, versions('1.5.11')).outcome(undefined)).toMatchObject({
      usage: { inputTokens: 9, outputTokens: 7 },
      servedModel: 'claude-x',
      providerRef: 'msg_1',
      seenOutputTokens: 2,
    });
    expect(tallied(events.slice(0, 3), versions('1.5.11')).outcome(undefined).usage).toBeUndefined();
    expect(tallied(events).outcome(undefined).usage).toMatchObject({ outputTokens: 8 });
  });
});

describe('a body', () => {
  it.each([
    [
      'a web search',
      { tools: [{ type: 'web_search_20250305', name: 'web_search' }] },
      'anthropic',
      /web_search/,
    ],
    ['MCP servers', { mcp_servers: [{ url: 'https://x' }] }, 'anthropic', /mcp_servers/],
    ['skills', { container: { skills: [{ id: 'x' }] } }, 'anthropic', /skills/],
    ['a region', { inference_geo: 'us' }, 'anthropic', /inference_geo/],
    ['a cache of a day', { cache_control: { type: 'ephemeral', ttl: '1d' } }, 'anthropic', /a ttl that/],
    ['a day in a tool', { tools: [{ name: 'x', cache_control: { ttl: '1d' } }] }, 'anthropic', /a ttl that/],
    ['stored input', { previous_response_id: 'r' }, 'openai', /previous_response_id/],
    ['a conversation', { conversation: 'c' }, 'openai', /conversation/],
    ['a stored prompt', { prompt: { id: 'p' } }, 'openai', /prompt/],
    ["a provider's tool", { tools: [{ type: 'web_search_preview' }] }, 'openai', /tool/],
    ['a priority tier', { service_tier: 'priority' }, 'openai', /tier/],
    [
      'a summary of what was said',
      { context_management: { edits: [{ type: 'compact_20260112' }] } },
      'anthropic',
      /summing up/,
    ],
    ['background', { truncation: undefined, background: true }, 'openai', /background/],
    ['a mode', { truncation: undefined, reasoning: { mode: 'pro' } }, 'openai', /mode/],
    [
      'compaction',
      { truncation: undefined, context_management: [{ type: 'compaction' }] },
      'openai',
      /context_management/,
    ],
    ['a tool of responses', { truncation: undefined, tools: [{ type: 'mcp' }] }, 'openai', /tool/],
  ])('has no bound with %s', (_name, body, provider, reason) => {
    expect(readParams({ model: 'm', max_tokens: 5, ...body }, provider).unbounded).toMatch(reason);
  });

  it.each([
    [
      "the caller's tools",
      {
        tools: [
          { name: 'x', input_schema: {} },
          { type: 'bash_20250124', name: 'bash' },
        ],
      },
      'anthropic',
    ],
    ['functions', { tools: [{ type: 'function', function: { name: 'x' } }] }, 'openai'],
    ['thinking', { thinking: { type: 'enabled', budget_tokens: 1024 } }, 'anthropic'],
    [
      'edits that leave things out',
      { context_management: { edits: [{ type: 'clear_tool_uses_20250919' }] } },
      'anthropic',
    ],
  ])('has a bound with %s', (_name, body, provider) => {
    expect(readParams({ model: 'm', max_tokens: 5000, ...body }, provider)).toMatchObject({ limit: 5000 });
    expect(readParams({ model: 'm', max_tokens: 5000, ...body }, provider).unbounded).toBeUndefined();
  });

  it('has a bound in responses with tools that the caller runs', () => {
    const body = {
      model: 'm',
      truncation: undefined,
      max_output_tokens: 9,
      tools: [{ type: 'local_shell' }],
    };
    expect(readParams(body, 'openai')).toMatchObject({ limit: 9, tools: 1 });
    expect(readParams(body, 'openai').unbounded).toBeUndefined();
  });

  it('has the largest of several limits, all answers, and the fallbacks', () => {
    const body = {
      model: 'm',
      max_tokens: 5,
      max_completion_tokens: 9,
      n: 2,
      best_of: 4,
      models: ['m', 'o'],
    };
    expect(readParams(body, 'openai')).toMatchObject({ limit: 9, choices: 4, fallbacks: ['o'] });
  });

  it.each([
    ['a chat', {}, 'max_output_tokens'],
    ['a response', { truncation: undefined }, 'max_tokens'],
  ])("has no limit by the other API's name in %s", (_name, body, limit) => {
    expect(readParams({ model: 'm', ...body, [limit]: 5 }, 'openai').limit).toBeUndefined();
  });

  it('has the limit of the Responses API in a response', () => {
    expect(readParams({ model: 'm', truncation: undefined, max_output_tokens: 5 }, 'openai').limit).toBe(5);
  });

  it('is what ChatAnthropic writes over it in the end', () => {
    const model = {
      model: 'a',
      invocationParams: () => ({ model: 'a', max_tokens: 5 }),
      invocationKwargs: { max_tokens: 99 },
    };
    expect(bodyOf({ model, options: {} })).toEqual({ body: { model: 'a', max_tokens: 99 }, isSeen: true });
  });

  it('is not relied on where it can not be seen', () => {
    const broken = {
      model: 'a',
      maxTokens: 7,
      invocationParams: () => {
        throw new Error('no');
      },
    };
    const silent = { modelName: 'a', maxOutputTokens: 7, invocationParams: () => ({ tools: [] }) };
    expect(readWire({ model: broken, options: {} })).toMatchObject({
      model: 'a',
      limit: 7,
      isSeen: false,
      unbounded: /./,
    });
    expect(readWire({ model: silent, options: {} })).toMatchObject({ model: 'a', limit: 7, isSeen: false });
    expect(readWire({ model: { model: 'a' }, options: {} })).toMatchObject({ model: 'a', isSeen: false });
  });
});

describe('a prompt', () => {
  const image =
    'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
  const read = (...content: unknown[]) => readPrompt([{ content }]).shape;

  it.each([
    ['image_url', { type: 'image_url', image_url: { url: `data:image/png;base64,${image}` } }],
    ['image_url as text', { type: 'image_url', image_url: `data:image/png;base64,${image}` }],
    ['image of 0.3', { type: 'image', source_type: 'base64', data: image, mime_type: 'image/png' }],
    ['image of 1.x', { type: 'image', data: image, mimeType: 'image/png' }],
    [
      'image of Anthropic',
      { type: 'image', source: { type: 'base64', media_type: 'image/png', data: image } },
    ],
    ['image by address', { type: 'image', url: 'https://example.com/a.png' }],
    ['image in a tool result', { type: 'tool_result', content: [{ type: 'image', data: image }] }],
  ])('has an image, never its base64 as text: %s', (_name, part) => {
    const shape = read({ type: 'text', text: 'Look:' }, part);
    expect(shape.images).toHaveLength(1);
    expect(shape.texts.join('')).toBe('Look:');
  });

  it.each([
    ['file', { type: 'file', data: image, mimeType: 'application/pdf' }, 'application/pdf'],
    ['file of OpenAI', { type: 'file', file: { file_data: image } }, 'application/octet-stream'],
    [
      'document',
      { type: 'document', source: { type: 'base64', media_type: 'application/pdf', data: image } },
      'application/pdf',
    ],
    ['sound', { type: 'input_audio', input_audio: { data: image, format: 'wav' } }, 'audio/*'],
  ])('has a %s with its length', (_name, part, mediaType) => {
    expect(read(part).files).toEqual([{ mediaType, byteLength: Math.ceil((image.length * 3) / 4) }]);
  });

  it('has everything that the model reads as text', () => {
    const messages = [
      { content: 'one' },
      {
        content: [
          { type: 'document', source: { type: 'text', data: 'two' } },
          { type: 'thinking', thinking: 'three' },
        ],
      },
      { content: '', tool_calls: [{ id: 'c1', name: 'look', args: { key: 'four' } }] },
      { content: 'five', name: 'six', tool_call_id: 'c1' },
      { content: '', additional_kwargs: { reasoning_content: 'seven', function_call: { name: 'eight' } } },
    ];
    const { shape } = readPrompt(messages, { text: 'nine', tools: 2 });
    const all = shape.texts.join(' ');
    for (const word of ['one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine'])
      expect(all).toContain(word);
    expect(shape).toMatchObject({ messages: 5, tools: 2 });
  });

  it('asks for a cache in its body, a tool or a message', () => {
    const control = { cache_control: { type: 'ephemeral' } };
    expect(asksForCache([], control)).toBe(true);
    expect(asksForCache([], { tools: [{ name: 'x', ...control }] })).toBe(true);
    expect(asksForCache([{ content: [{ type: 'text', text: 'x', ...control }] }], {})).toBe(true);
    expect(asksForCache([{ content: '"cache_control":{}' }, { content: [{ type: 'text' }] }], {})).toBe(
      false,
    );
  });

  it('shows a one-hour cache, whatever the texts say', () => {
    const control = { type: 'ephemeral', ttl: '1h' };
    const asked = (content: unknown) => readPrompt([{ content }]).longCache;
    const part = { type: 'text', text: 'x' };
    expect(asked([{ ...part, cache_control: control }])).toBe('hour');
    expect(asked([{ ...part, cache_control: { ...control, ttl: '2h' } }, part])).toBe('other');
    expect(asked('"cache_control":{"ttl":"1h"}')).toBeUndefined();
    const result = { type: 'tool_result', content: [{ ...part, cache_control: control }] };
    expect(asked([result])).toBe('hour');
    for (const body of [{ cache_control: control }, { extra_body: { cache_control: control } }])
      expect(readParams({ model: 'm', ...body }, 'anthropic').longCache).toBe('hour');
  });
});

describe('metadata', () => {
  it('has a scope, or none', () => {
    expect(takeScope({ spendGuard: { userId: 'a' } })).toEqual({ userId: 'a' });
    for (const none of [undefined, {}, { spendGuard: null }]) expect(takeScope(none)).toBeUndefined();
  });

  it.each([['text'], [['a']], [7]])('is refused where the scope is none: %j', (spendGuard) => {
    expect(() => takeScope({ spendGuard })).toThrow(/metadata\.spendGuard: expected/);
    expect(() => takeScope({ spendGuard: { user: 'x' } })).toThrow(/metadata\.spendGuard\.user: unknown/);
  });
});

describe('providers', () => {
  it.each([
    ['openai', 'openai'],
    ['google_genai', 'google'],
    ['amazon_bedrock', 'amazon-bedrock'],
    ['Somebody_New', 'somebody-new'],
    ['', undefined],
    [undefined, undefined],
  ])('%s is %s', (given, name) => expect(providerName(given)).toBe(name));
});
