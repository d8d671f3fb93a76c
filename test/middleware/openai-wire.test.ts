import { describe, expect, it } from 'vitest';
import { endpointOf, providerAt, withDeployment } from '../../middleware/openai-endpoints.ts';
import { bodyOutcome, EventTally } from '../../middleware/openai-usage.ts';
import { carryOut, sendingOf, spendRequest, type Sending } from '../../middleware/openai-wire.ts';
import { boundInputTokens } from '../../src/estimate.ts';

const BASE = 'https://openrouter.ai/api/v1';

describe('endpointOf', () => {
  it.each<[string, string, string]>([
    ['POST', '/chat/completions', 'chat'],
    ['post', '/chat/completions', 'chat'],
    ['POST', '/chat/completions/', 'chat'],
    ['POST', '/chat/completions?x=1', 'chat'],
    ['POST', '/proxy/chat/completions', 'chat'],
    ['POST', '/responses', 'responses'],
    ['POST', '/responses?beta=true', 'responses'],
    ['POST', '/completions', 'completions'],
    ['POST', '/embeddings', 'embeddings'],
    ['POST', '/images/generations', 'images'],
    ['POST', '/images/edits', 'images'],
    // reading, deleting, keeping, stopping
    ['GET', '/models', 'free'],
    ['GET', '/chat/completions', 'free'],
    ['GET', '/responses/resp_1', 'free'],
    ['DELETE', '/chat/completions/c1', 'free'],
    ['POST', '/chat/completions/c1', 'free'],
    ['POST', '/responses/resp_1/cancel', 'free'],
    ['POST', '/responses/input_tokens', 'free'],
    ['POST', '/moderations', 'free'],
    ['POST', '/files', 'free'],
    ['POST', '/uploads', 'free'],
    ['POST', '/uploads/u1/parts', 'free'],
    ['POST', '/batches/b1/cancel', 'free'],
    ['POST', '/conversations', 'free'],
    ['POST', '/conversations/c1/items', 'free'],
    ['POST', '/threads', 'free'],
    ['POST', '/threads/t1/messages', 'free'],
    ['POST', '/threads/t1/runs/r1/cancel', 'free'],
    ['POST', '/organization/projects', 'free'],
    // everything else costs something that has no bound, or isn't known
    ['POST', '/images/variations', 'open'],
    ['POST', '/audio/speech', 'open'],
    ['POST', '/audio/transcriptions', 'open'],
    ['POST', '/audio/translations', 'open'],
    ['POST', '/batches', 'open'],
    ['POST', '/fine_tuning/jobs', 'open'],
    ['POST', '/fine_tuning/jobs/j1/resume', 'open'],
    ['POST', '/realtime/client_secrets', 'open'],
    ['POST', '/realtime/sessions', 'open'],
    ['POST', '/threads/runs', 'open'],
    ['POST', '/threads/t1/runs', 'open'],
    ['POST', '/threads/t1/runs/r1/submit_tool_outputs', 'open'],
    ['POST', '/evals/e1/runs', 'open'],
    ['POST', '/vector_stores', 'open'],
    ['POST', '/containers', 'open'],
    ['POST', '/videos', 'open'],
    ['POST', '/responses/compact', 'open'],
    ['POST', '/responses/resp_1/unheard_of', 'open'],
    ['POST', '//chat//completions', 'chat'],
    ['POST', '/unheard/of', 'open'],
    ['POST', '/proxy/files', 'open'],
    ['PUT', '/files', 'free'],
    ['PUT', '/chat/completions', 'open'],
    ['PATCH', '/unheard/of', 'open'],
    ['POST', '/filesystem', 'open'],
    ['POST', '/chat/completions%2f', 'open'],
  ])('%s %s is %s', (method, path, kind) => {
    expect(endpointOf(method, `${BASE}${path}`, BASE).kind).toBe(kind);
  });

  it('looks at whole addresses, too', () => {
    expect(endpointOf('POST', 'https://elsewhere.example/v1/chat/completions', BASE).kind).toBe('chat');
    expect(endpointOf('POST', 'https://elsewhere.example/v1/files', BASE).kind).toBe('open');
    expect(endpointOf('POST', 'https://elsewhere.example/api/v1/files', BASE).kind).toBe('open');
    expect(endpointOf('POST', 'no address', BASE).kind).toBe('open');
  });

  it("knows Azure's deployments", () => {
    const base = 'https://mine.openai.azure.com/openai';
    const url = `${base}/deployments/my%20gpt/chat/completions?api-version=1`;
    expect(endpointOf('POST', url, base)).toEqual({
      kind: 'chat',
      label: 'POST /chat/completions',
      deployment: 'my gpt',
    });
    expect(endpointOf('POST', url, `${base}/deployments/my%20gpt`)).toMatchObject({
      kind: 'chat',
      deployment: 'my gpt',
    });
    expect(withDeployment(url, 'a/b')).toBe(`${base}/deployments/a%2Fb/chat/completions?api-version=1`);
    expect(endpointOf('POST', `${base}/deployments/w/audio/speech`, base)).toMatchObject({ kind: 'open' });
  });

  it.each<[string, string | undefined]>([
    ['https://openrouter.ai/api/v1', 'openrouter'],
    ['https://eu.openrouter.ai/api/v1', 'openrouter'],
    ['https://notopenrouter.ai/api/v1', undefined],
    ['https://openrouter.ai.evil.example/api/v1', undefined],
    ['https://api.openai.com/v1', 'openai'],
    ['https://mine.openai.azure.com/openai', 'azure'],
    ['https://bedrock-runtime.us-east-1.amazonaws.com/openai/v1', 'bedrock'],
    ['https://api.groq.com/openai/v1', 'groq'],
    ['http://127.0.0.1:4000/v1', undefined],
  ])('%s has the prices of %s', (url, provider) => expect(providerAt(url)).toBe(provider));
});

function sending(kind: string, body: unknown, provider?: string): Sending {
  const paths: Record<string, string> = { chat: 'chat/completions', images: 'images/generations' };
  const url = `${BASE}/${paths[kind] ?? kind}`;
  const text = typeof body === 'object' && body?.constructor === Object ? JSON.stringify(body) : body;
  return sendingOf({ endpoint: endpointOf('POST', url, BASE), url, body: text, provider });
}

const asked = (kind: string, body: unknown, provider?: string) => spendRequest(sending(kind, body, provider));
const user = (content: unknown) => [{ role: 'user', content }];

function tokensOf(request: ReturnType<typeof spendRequest>): number {
  if (request.inputTokens !== undefined) return request.inputTokens;
  const bound = boundInputTokens(request.prompt ?? { texts: [], messages: 0 }, { model: request.model });
  return 'tokens' in bound ? bound.tokens : NaN;
}

describe('spendRequest', () => {
  it('names model, fallbacks, limit, answers and reasoning of a chat', () => {
    const body = {
      model: 'a/b',
      models: ['a/b', 'c/d', { model: 'e/f' }],
      messages: user('hi'),
      max_tokens: 100,
      max_completion_tokens: 300,
      n: 3,
      reasoning: { max_tokens: 50 },
    };
    expect(asked('chat', { ...body, models: ['a/b', 'c/d'] })).toMatchObject({
      model: 'a/b',
      fallbacks: ['c/d'],
      maxOutputTokens: 300,
      choices: 3,
      reasoningTokens: 50,
      limitCanBeSet: true,
    });
    expect(asked('chat', body).unbounded).toMatch(/models is not a list/);
    expect(asked('chat', { models: ['c/d', 'e/f'], messages: [] })).toMatchObject({
      model: 'c/d',
      fallbacks: ['e/f'],
    });
  });

  it.each([['9000'], [-1], [0.5], [1e30], [{}]])('counts no limit beside one of %j', (other) => {
    const body = { model: 'a/b', messages: [], max_tokens: 100, max_completion_tokens: other };
    expect(asked('chat', body)).not.toHaveProperty('maxOutputTokens');
  });

  it.each<[string, string, Record<string, unknown>]>([
    ['a plugin', 'chat', { plugins: [{ id: 'web' }] }],
    ['web search', 'chat', { web_search_options: {} }],
    ['a preset', 'chat', { preset: 'mine' }],
    ['sound', 'chat', { modalities: ['text', 'audio'] }],
    ['a dear tier', 'chat', { service_tier: 'priority' }],
    ['fast hosts', 'chat', { provider: { sort: 'throughput' } }],
    ['a prediction', 'chat', { prediction: { type: 'content', content: 'x' } }],
    ['a tool of the provider', 'chat', { tools: [{ type: 'openrouter:web_search' }] }],
    [
      'a day of cache',
      'chat',
      {
        messages: [
          {
            role: 'user',
            content: [{ type: 'text', text: 'x', cache_control: { type: 'ephemeral', ttl: '1d' } }],
          },
        ],
      },
    ],
    ['n that is none', 'chat', { n: 1.5 }],
    ['models in extra_body', 'chat', { extra_body: { models: ['c/d'] } }],
    ['a limit in extra_body', 'chat', { extra_body: { max_completion_tokens: 9 } }],
    ['a plugin in extra_body', 'chat', { extra_body: { plugins: [{ id: 'web' }] } }],
    ['an earlier response', 'responses', { previous_response_id: 'resp_1' }],
    ['a conversation', 'responses', { conversation: 'conv_1' }],
    ['a stored prompt', 'responses', { prompt: { id: 'pmpt_1' } }],
    ['background', 'responses', { background: true }],
    ['a stored item', 'responses', { input: [{ type: 'item_reference', id: 'msg_1' }] }],
    ['web search', 'responses', { tools: [{ type: 'web_search' }] }],
    ['file search', 'responses', { tools: [{ type: 'file_search', vector_store_ids: [] }] }],
    ['code', 'responses', { tools: [{ type: 'code_interpreter' }] }],
    ['MCP', 'responses', { tools: [{ type: 'function', name: 'x' }, { type: 'mcp' }] }],
    [
      'a hosted tool in a namespace',
      'responses',
      { tools: [{ type: 'namespace', tools: [{ type: 'mcp' }] }] },
    ],
    ['a dear tier', 'responses', { service_tier: 'priority' }],
    ['compaction', 'responses', { context_management: [{ type: 'compaction' }] }],
    ['a mode', 'responses', { reasoning: { mode: 'pro' } }],
    ['echo', 'completions', { prompt: 'x', echo: true }],
    ['text and tokens', 'embeddings', { input: ['x', [1, 2]] }],
    ['no input', 'embeddings', { input: null }],
    ['a size of its own', 'images', { model: 'gpt-image-1', prompt: 'x', size: '4096x4096' }],
    ['a picture priced by piece', 'images', { model: 'dall-e-3', prompt: 'x' }],
  ])('has no bound for %s (%s)', (_name, kind, fields) => {
    expect(asked(kind, { model: 'a/b', messages: [], input: 'hi', ...fields }).unbounded).toBeTypeOf(
      'string',
    );
  });

  it.each<[string, Record<string, unknown>]>([
    [
      'chat',
      { messages: user('x'), tools: [{ type: 'function', function: { name: 'f' } }], service_tier: 'flex' },
    ],
    ['chat', { messages: user('a text with "cache_control":{"ttl":"1h"} in it') }],
    ['chat', { messages: user('x'), extra_body: { google: { thinking_config: { thinking_budget: 9 } } } }],
    [
      'responses',
      {
        input: 'x',
        tools: [{ type: 'function', name: 'f' }, { type: 'custom', name: 'g' }, { type: 'local_shell' }],
      },
    ],
    [
      'responses',
      { input: [{ type: 'function_call_output', call_id: 'c', output: 'x' }], previous_response_id: null },
    ],
    ['completions', { prompt: ['x', 'y'] }],
    ['embeddings', { input: [1, 2, 3] }],
  ])('has a bound for %s %j', (kind, fields) => {
    expect(asked(kind, { model: 'a/b', ...fields })).not.toHaveProperty('unbounded');
  });

  it.each<[string, unknown]>([
    ['no JSON', 'hello'],
    ['a list', '[1]'],
    ['bytes', new Uint8Array(3)],
    ['no model', { messages: [] }],
    ['a model that is no name', { model: 7, messages: [] }],
  ])('is open for a body that can not be read: %s', (_name, body) => {
    expect(asked('chat', body)).toMatchObject({
      model: 'POST /chat/completions',
      isModel: false,
      limitCanBeSet: false,
    });
    expect(asked('chat', body).unbounded).toBeTypeOf('string');
  });

  const LONG = 'The quick brown fox jumps over the lazy dog. '.repeat(100);

  it.each<[string, string, Record<string, unknown>]>([
    ['a text', 'chat', { messages: user(LONG) }],
    ['a part', 'chat', { messages: user([{ type: 'text', text: LONG }]) }],
    ['a refusal', 'chat', { messages: [{ role: 'assistant', refusal: LONG }] }],
    ['what a tool gave back', 'chat', { messages: [{ role: 'tool', tool_call_id: 'c', content: LONG }] }],
    [
      'arguments',
      'chat',
      {
        messages: [
          {
            role: 'assistant',
            tool_calls: [{ id: 'c', type: 'function', function: { name: 'f', arguments: LONG } }],
          },
        ],
      },
    ],
    [
      'reasoning',
      'chat',
      {
        messages: [
          { role: 'assistant', content: '', reasoning_details: [{ type: 'reasoning.text', text: LONG }] },
        ],
      },
    ],
    [
      'a tool',
      'chat',
      { messages: [], tools: [{ type: 'function', function: { name: 'f', description: LONG } }] },
    ],
    ['an old function', 'chat', { messages: [], functions: [{ name: 'f', description: LONG }] }],
    [
      'a schema',
      'chat',
      {
        messages: [],
        response_format: { type: 'json_schema', json_schema: { name: 's', schema: { description: LONG } } },
      },
    ],
    ['an unknown part', 'chat', { messages: user([{ type: 'unheard_of', body: LONG }]) }],
    ['instructions', 'responses', { instructions: LONG, input: 'x' }],
    ['a string', 'responses', { input: LONG }],
    ['an item', 'responses', { input: user([{ type: 'input_text', text: LONG }]) }],
    ['an output', 'responses', { input: [{ type: 'function_call_output', call_id: 'c', output: LONG }] }],
    [
      'an output of parts',
      'responses',
      {
        input: [{ type: 'function_call_output', call_id: 'c', output: [{ type: 'input_text', text: LONG }] }],
      },
    ],
    ['a call', 'responses', { input: [{ type: 'function_call', call_id: 'c', name: 'f', arguments: LONG }] }],
    [
      'hidden reasoning',
      'responses',
      { input: [{ type: 'reasoning', id: 'r', summary: [], encrypted_content: LONG }] },
    ],
    [
      'a format',
      'responses',
      { input: 'x', text: { format: { type: 'json_schema', schema: { description: LONG } } } },
    ],
    ['a tool', 'responses', { input: 'x', tools: [{ type: 'function', name: 'f', description: LONG }] }],
    ['an unknown item', 'responses', { input: [{ type: 'unheard_of', body: LONG }] }],
    ['a prompt', 'completions', { prompt: [LONG] }],
    ['a suffix', 'completions', { prompt: 'x', suffix: LONG }],
    ['an input', 'embeddings', { input: ['x', LONG] }],
    ['a picture to draw', 'images', { prompt: LONG }],
  ])('counts %s (%s)', (_name, kind, fields) => {
    const request = asked(kind, { model: 'gpt-image-1', ...fields });
    expect(tokensOf(request)).toBeGreaterThan(1000);
    expect(tokensOf(request)).toBeLessThan(LONG.length);
  });

  it('counts pictures and files by what they are, never base64 as text', () => {
    const data = `data:image/png;base64,${'A'.repeat(400_000)}`;
    const picture = [
      asked('chat', {
        model: 'openai/gpt-5',
        messages: user([{ type: 'image_url', image_url: { url: data } }]),
      }),
      asked('responses', { model: 'openai/gpt-5', input: user([{ type: 'input_image', image_url: data }]) }),
      asked('responses', {
        model: 'openai/gpt-5',
        input: [{ type: 'computer_call_output', output: { type: 'computer_screenshot', image_url: data } }],
      }),
    ];
    for (const request of picture) {
      expect(request.prompt?.images).toHaveLength(1);
      expect(tokensOf(request)).toBeLessThan(20_000);
      expect(tokensOf(request)).toBeGreaterThan(500);
    }
    const file = {
      type: 'file',
      file: { filename: 'a.pdf', file_data: `data:application/pdf;base64,${'A'.repeat(4000)}` },
    };
    expect(asked('chat', { model: 'a/b', messages: user([file]) }).prompt?.files).toMatchObject([
      { mediaType: 'application/pdf' },
    ]);
    const sound = { type: 'input_audio', input_audio: { data: 'A'.repeat(4000), format: 'wav' } };
    expect(asked('chat', { model: 'a/b', messages: user([sound]) }).prompt?.files).toEqual([
      { mediaType: 'audio/wav', byteLength: 3000 },
    ]);
    const kept = { type: 'input_file', file_id: 'file_1' };
    expect(tokensOf(asked('responses', { model: 'a/b', input: user([kept]) }))).toBeGreaterThan(50_000);
  });

  it('counts tokens that are given as numbers', () => {
    expect(
      tokensOf(asked('embeddings', { model: 'x', input: Array.from({ length: 500 }, (_, i) => i) })),
    ).toBe(508);
    expect(tokensOf(asked('embeddings', { model: 'x', input: [[1, 2], [3]] }))).toBe(19);
    expect(asked('completions', { model: 'x', prompt: [[1], [2]], n: 2, best_of: 3 })).toMatchObject({
      choices: 6,
    });
  });

  it("takes OpenAI's own limit of legacy completions for what it is", () => {
    expect(asked('completions', { model: 'x', prompt: 'x' }, 'openai')).toMatchObject({
      maxOutputTokens: 16,
    });
    expect(asked('completions', { model: 'x', prompt: 'x' }, 'openrouter')).not.toHaveProperty(
      'maxOutputTokens',
    );
    expect(asked('completions', { model: 'x', prompt: 'x', max_tokens: 9 }, 'openai')).toMatchObject({
      maxOutputTokens: 9,
    });
  });

  it('reads forms', () => {
    const form = new FormData();
    form.append('model', 'gpt-image-1');
    form.append('prompt', 'a cat');
    form.append('n', '2');
    form.append('image[]', new Blob(['x']), 'a.png');
    form.append('image[]', new Blob(['y']), 'b.png');
    const request = asked('images', form);
    expect(request).toMatchObject({ model: 'gpt-image-1', choices: 2, limitCanBeSet: false });
    expect(request.prompt?.images).toHaveLength(2);
    expect(request.canRoute?.('gpt-image-1-mini')).toBe(false);
  });
});

describe('carryOut', () => {
  const bodyOf = (
    kind: string,
    body: Record<string, unknown>,
    orders: Parameters<typeof carryOut>[1],
    provider?: string,
  ) => JSON.parse(String(carryOut(sending(kind, body, provider), orders)?.body)) as Record<string, unknown>;

  it.each<[string, string | undefined, Record<string, unknown>, Record<string, unknown>]>([
    ['chat', undefined, {}, { max_tokens: 7 }],
    ['chat', 'openrouter', {}, { max_tokens: 7 }],
    ['chat', 'openai', {}, { max_completion_tokens: 7 }],
    ['chat', 'azure', {}, { max_completion_tokens: 7 }],
    ['chat', 'openai', { max_tokens: 9 }, { max_tokens: 7 }],
    ['chat', 'openrouter', { max_completion_tokens: 9 }, { max_completion_tokens: 7 }],
    [
      'chat',
      'openai',
      { max_tokens: 9, max_completion_tokens: 8 },
      { max_tokens: 7, max_completion_tokens: 7 },
    ],
    ['chat', 'openai', { max_tokens: null }, { max_tokens: null, max_completion_tokens: 7 }],
    ['chat', 'openrouter', { max_tokens: 0 }, { max_tokens: 7 }],
    ['chat', undefined, { model: 'o3' }, { max_completion_tokens: 7 }],
    ['chat', undefined, { model: 'gpt-5-mini' }, { max_completion_tokens: 7 }],
    ['chat', undefined, { model: 'openai/gpt-5-mini' }, { max_tokens: 7 }],
    ['chat', undefined, { model: 'gpt-4.1' }, { max_tokens: 7 }],
    ['responses', 'openai', {}, { max_output_tokens: 7 }],
    ['responses', 'openrouter', {}, { max_output_tokens: 7 }],
    ['completions', 'openrouter', {}, { max_tokens: 7 }],
  ])('sets the limit of %s at %s', (kind, provider, given, expected) => {
    expect(bodyOf(kind, { model: 'a', ...given }, { limit: 7 }, provider)).toEqual({
      model: given['model'] ?? 'a',
      ...expected,
    });
  });

  it('changes the model and lets no other be named', () => {
    const given = { model: 'a', models: ['a', 'b'], route: 'fallback', messages: [], temperature: 1 };
    expect(bodyOf('chat', given, { model: 'c' })).toEqual({ model: 'c', messages: [], temperature: 1 });
  });

  it('asks for usage only where it would not come', () => {
    const streamed = { model: 'a', stream: true };
    const usage = { include_usage: true };
    expect(bodyOf('chat', streamed, { usage: true })).toEqual({ ...streamed, stream_options: usage });
    expect(
      bodyOf('chat', { ...streamed, stream_options: { include_usage: false, x: 1 } }, { usage: true }),
    ).toEqual({
      ...streamed,
      stream_options: { include_usage: true, x: 1 },
    });
    expect(bodyOf('chat', streamed, { usage: true }, 'openrouter')).toEqual(streamed);
    expect(bodyOf('chat', { ...streamed, stream_options: usage }, { usage: true })).toEqual({
      ...streamed,
      stream_options: usage,
    });
    expect(bodyOf('chat', { model: 'a' }, { usage: true })).toEqual({ model: 'a' });
    expect(bodyOf('responses', streamed, { usage: true })).toEqual(streamed);
  });

  it('leaves a text as it is where nothing is asked, and refuses what it can not change', () => {
    const text = '{ "model" : "a", "messages": [] }';
    expect(carryOut(sending('chat', text), {})?.body).toBe(text);
    expect(carryOut(sending('chat', text), { usage: true })?.body).toBe(text);
    expect(carryOut(sending('embeddings', { model: 'a', input: 'x' }), { model: 'b' })).toBeUndefined();
    expect(carryOut(sending('images', { model: 'a', prompt: 'x' }), { model: 'b' })).toBeUndefined();
    expect(carryOut(sending('chat', new Uint8Array(2)), { model: 'b' })).toBeUndefined();
  });
});

describe('bodyOutcome', () => {
  it.each<[string, unknown, Record<string, unknown>]>([
    [
      'a chat',
      {
        id: 'gen-1',
        model: 'a/b',
        provider: 'P',
        choices: [{ message: { content: 'hi' }, finish_reason: 'stop' }],
        usage: { prompt_tokens: 5, completion_tokens: 2, cost: 0.5 },
      },
      {
        outcome: 'ok',
        usage: { inputTokens: 5, outputTokens: 2 },
        cost: 0.5,
        servedModel: 'a/b',
        servedProvider: 'P',
        providerRef: 'gen-1',
      },
    ],
    [
      'a response',
      {
        id: 'resp_1',
        model: 'a',
        error: null,
        output: [],
        usage: { input_tokens: 5, output_tokens: 2, output_tokens_details: { reasoning_tokens: 1 } },
      },
      { outcome: 'ok', usage: { inputTokens: 5, outputTokens: 2, reasoningTokens: 1 } },
    ],
    ['an error', { error: { message: 'no' } }, { outcome: 'error' }],
    ['a choice that failed', { choices: [{ finish_reason: 'error', message: {} }] }, { outcome: 'error' }],
    [
      'text without a count',
      {
        choices: [{ message: { content: 'hello there' } }],
        usage: { prompt_tokens: 5, completion_tokens: 0 },
      },
      { outcome: 'ok', usage: { inputTokens: 5, outputTokens: undefined } },
    ],
    [
      'arguments without a count',
      {
        choices: [{ message: { tool_calls: [{ function: { arguments: '{"a":1}' } }] } }],
        usage: { prompt_tokens: 5, completion_tokens: 0 },
      },
      { usage: { outputTokens: undefined } },
    ],
    [
      'pictures',
      { created: 1, data: [], usage: { input_tokens: 9, output_tokens: 4160, total_tokens: 4169 } },
      { outcome: 'ok', usage: { inputTokens: 9, outputTokens: 4160 } },
    ],
    [
      'vectors',
      { data: [], model: 'e', usage: { prompt_tokens: 9, total_tokens: 9 } },
      { outcome: 'ok', usage: { inputTokens: 9, outputTokens: 0 } },
    ],
  ])('%s', (_name, body, expected) => expect(bodyOutcome(JSON.stringify(body))).toMatchObject(expected));

  it.each(['', 'no JSON', '{"a":', 'null', '[]'])('never throws: %j', (text) => {
    expect(['ok', 'error']).toContain(bodyOutcome(text).outcome);
  });
});

describe('EventTally', () => {
  function tally(
    events: readonly unknown[],
    how?: 'aborted' | 'error',
    choices = 1,
  ): ReturnType<EventTally['outcome']> {
    const seen = new EventTally(choices);
    for (const event of events) seen.see(typeof event === 'string' ? event : JSON.stringify(event));
    return seen.outcome(how);
  }

  const delta = (content: string, more: object = {}, index = 0) => ({
    id: 'c',
    model: 'm',
    choices: [{ index, delta: { content }, ...more }],
  });
  const usage = { prompt_tokens: 5, completion_tokens: 2 };
  const last = { id: 'c', model: 'm', choices: [], usage };

  it('takes the usage at the end', () => {
    expect(tally([delta('hi'), delta('', { finish_reason: 'stop' }), last, '[DONE]'])).toMatchObject({
      outcome: 'ok',
      usage: { inputTokens: 5, outputTokens: 2 },
      servedModel: 'm',
      providerRef: 'c',
    });
  });

  it('does not take a count from before a break', () => {
    const running = { ...delta('hi'), usage: { prompt_tokens: 5, completion_tokens: 1 } };
    expect(tally([running], 'aborted')).not.toHaveProperty('usage');
    expect(tally([running], 'error')).not.toHaveProperty('usage');
    expect(tally([running])).not.toHaveProperty('usage');
    const half = { ...delta('hi', { finish_reason: 'stop' }), usage };
    expect(tally([half], 'aborted', 2)).not.toHaveProperty('usage');
    const ended = [
      half,
      { ...delta('x', { finish_reason: 'stop' }, 1), usage: { prompt_tokens: 5, completion_tokens: 4 } },
    ];
    expect(tally(ended, 'aborted', 2)).toMatchObject({ outcome: 'ok', usage: { outputTokens: 4 } });
  });

  it('takes running counts of a stream that ended whole', () => {
    const running = { ...delta('hi'), usage: { prompt_tokens: 5, completion_tokens: 1 } };
    const ended = { ...delta('', { finish_reason: 'stop' }), usage };
    expect(tally([running, ended, '[DONE]'])).toMatchObject({ outcome: 'ok', usage: { outputTokens: 2 } });
  });

  it('knows failures', () => {
    expect(tally([delta('hi'), { error: { message: 'no' } }, '[DONE]'])).toMatchObject({ outcome: 'error' });
    expect(tally([delta('hi'), { type: 'error', message: 'no' }], 'aborted')).toMatchObject({
      outcome: 'error',
    });
    const failed = { type: 'response.failed', response: { id: 'r', error: { code: 'x' }, usage: null } };
    expect(tally([failed])).toMatchObject({ outcome: 'error', providerRef: 'r' });
  });

  it('takes the last event of responses, and of pictures', () => {
    const response = { id: 'resp_1', model: 'm', usage: { input_tokens: 5, output_tokens: 2 } };
    for (const type of ['response.completed', 'response.incomplete']) {
      const outcome = tally(
        [
          { type: 'response.output_text.delta', delta: 'hi' },
          { type, response },
        ],
        'aborted',
      );
      expect(outcome).toMatchObject({
        outcome: 'ok',
        usage: { inputTokens: 5 },
        providerRef: 'resp_1',
        servedModel: 'm',
      });
    }
    const picture = {
      type: 'image_generation.completed',
      b64_json: '',
      usage: { input_tokens: 5, output_tokens: 2 },
    };
    expect(tally([picture])).toMatchObject({ outcome: 'ok', usage: { outputTokens: 2 } });
  });

  it('says which event has only the usage', () => {
    const seen = new EventTally(1);
    expect(seen.see(JSON.stringify(delta('hi')))).toBe(false);
    expect(seen.see(JSON.stringify({ ...delta('hi'), usage }))).toBe(false);
    expect(seen.see(JSON.stringify({ choices: [], prompt_filter_results: [] }))).toBe(false);
    expect(seen.see(JSON.stringify({ choices: [], usage: null }))).toBe(false);
    expect(seen.see(JSON.stringify(last))).toBe(true);
    for (const odd of [undefined, '', '[DONE]', 'x', 'null', '[]', '7']) expect(seen.see(odd)).toBe(false);
  });

  it('counts what arrived, for a usage that is missing', () => {
    const silent = { choices: [], usage: { prompt_tokens: 5, completion_tokens: 0 } };
    expect(tally([delta('hello there'), silent])).toMatchObject({ usage: { outputTokens: undefined } });
    expect(tally([delta('hello there')]).seenOutputTokens).toBeGreaterThan(1);
  });
});
