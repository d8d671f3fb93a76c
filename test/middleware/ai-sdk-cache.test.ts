/** A prompt cache of an hour, wherever a call may ask for it. */
import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenRouter } from '@openrouter/ai-sdk-provider';
import { generateText, jsonSchema, tool, type ModelMessage } from 'ai';
import { describe, expect, it } from 'vitest';
import { carryOut, spendRequest } from '../../middleware/ai-sdk-route.ts';
import type { ModelLike } from '../../middleware/ai-sdk-wire.ts';
import { HAIKU, openDesk, OPUS } from './ai-sdk-kit.ts';

const REASON =
  'a prompt cache with a ttl that has no known price; ask for "1h" or for "5m", which is also what no ttl means';

const nothing = () => Promise.reject(new Error('not called'));

const model = (provider: string, more: object = {}): ModelLike => ({
  provider,
  modelId: 'm',
  doGenerate: nothing,
  doStream: nothing,
  ...more,
});

/** What a request says of caches: none, the hour, or why there is no bound. */
const askedOf = (of: ModelLike, params: object) => {
  const { hourCache, unbounded } = spendRequest({ model: of, params: params as never }, undefined);
  return unbounded ?? (hourCache === true ? 'hour' : 'none');
};

type Place = [where: string, of: ModelLike, params: (control: object) => object];

const user = (content: unknown, more: object = {}) => ({ prompt: [{ role: 'user', content, ...more }] });
const text = (more: object) => user([{ type: 'text', text: 'Hi', ...more }]);
const result = (more: object) => ({
  prompt: [{ role: 'tool', content: [{ type: 'tool-result', toolName: 't', toolCallId: 'c', ...more }] }],
});
const anthropic = (cacheControl: object) => ({ providerOptions: { anthropic: { cacheControl } } });
const claude = model('anthropic.messages');
const router = model('openrouter', { settings: {} });

const PLACES: Place[] = [
  ['the call', claude, anthropic],
  ['a message', claude, (control) => user('Hi', anthropic(control))],
  [
    'a system message',
    claude,
    (control) => ({ prompt: [{ role: 'system', content: 'x', ...anthropic(control) }] }),
  ],
  ['a part', claude, (control) => text(anthropic(control))],
  ['a tool', claude, (control) => ({ tools: [{ type: 'function', name: 't', ...anthropic(control) }] })],
  ['a tool result', claude, (control) => result(anthropic(control))],
  [
    'the output of a tool result',
    claude,
    (control) => result({ output: { type: 'text', value: 'x', ...anthropic(control) } }),
  ],
  [
    'a part of a tool result',
    claude,
    (control) =>
      result({
        output: {
          type: 'content',
          value: [
            { type: 'text', text: 'x' },
            { type: 'text', ...anthropic(control) },
          ],
        },
      }),
  ],
  [
    'ai 4',
    claude,
    (cacheControl) => ({ mode: {}, ...text({ providerMetadata: { anthropic: { cacheControl } } }) }),
  ],
  [
    'the call in ai 4',
    claude,
    (cacheControl) => ({ mode: {}, providerMetadata: { anthropic: { cacheControl } } }),
  ],
  ['snake case', claude, (cache_control) => text({ providerOptions: { anthropic: { cache_control } } })],
  [
    'a name of its own',
    model('my-proxy'),
    (cacheControl) => text({ providerOptions: { 'my-proxy': { cacheControl } } }),
  ],
  [
    'OpenRouter, a part',
    router,
    (cacheControl) => text({ providerOptions: { openrouter: { cacheControl } } }),
  ],
  ['OpenRouter, for Anthropic', router, (control) => text(anthropic(control))],
  [
    'OpenRouter, the call',
    router,
    (cache_control) => ({ providerOptions: { openrouter: { cache_control } } }),
  ],
  [
    'OpenRouter, the call in camel case',
    router,
    (cacheControl) => ({ providerOptions: { openrouter: { cacheControl } } }),
  ],
  [
    'OpenRouter, messages of its own',
    router,
    (cache_control) => ({
      providerOptions: {
        openrouter: { messages: [{ role: 'user', content: [{ type: 'text', text: 'x', cache_control }] }] },
      },
    }),
  ],
  [
    'Bedrock',
    model('amazon-bedrock'),
    (cachePoint) => user('Hi', { providerOptions: { bedrock: { cachePoint } } }),
  ],
  ['Bedrock, for Anthropic', model('bedrock.anthropic.messages'), (control) => text(anthropic(control))],
  ['Vertex', model('google.vertex.anthropic.messages'), (control) => text(anthropic(control))],
  [
    'the gateway',
    model('gateway'),
    (cacheControl) => text({ providerOptions: { gateway: { cacheControl } } }),
  ],
  ['the gateway, for Anthropic', model('gateway'), anthropic],
  [
    'a compatible provider',
    model('mine.chat', { providerOptionsName: 'mine', failedResponseHandler: true }),
    (cache_control) => text({ providerOptions: { openaiCompatible: { cache_control } } }),
  ],
];

describe('a cache of an hour', () => {
  it.each(PLACES)('is seen: %s', (_where, of, params) => {
    expect(askedOf(of, params({ type: 'ephemeral', ttl: '1h' }))).toBe('hour');
    expect(askedOf(of, params({ type: 'ephemeral', ttl: 'a day' }))).toBe(REASON);
    expect(askedOf(of, params({ type: 'ephemeral', ttl: '5m' }))).toBe('none');
    expect(askedOf(of, params({ type: 'ephemeral' }))).toBe('none');
  });

  it('of another time beside it has no bound', () => {
    const parts = ['1h', '2h', '5m'].map((ttl) => ({ type: 'text', text: 'x', ...anthropic({ ttl }) }));
    expect(askedOf(claude, user(parts))).toBe(REASON);
  });

  it.each<[string, object]>([
    ['settings', { settings: { cache_control: { type: 'ephemeral', ttl: '1h' } } }],
    ["the settings' extraBody", { settings: { extraBody: { cache_control: { ttl: '1h' } } } }],
    [
      "the provider's extraBody",
      { config: { extraBody: { cache_control: { ttl: '1h', type: 'ephemeral' } } } },
    ],
    [
      'tools in extraBody',
      { config: { extraBody: { tools: [{ type: 'function', cache_control: { ttl: '1h' } }] } } },
    ],
  ])('is seen: OpenRouter, %s', (_where, more) => {
    expect(askedOf(model('openrouter', more), {})).toBe('hour');
  });

  it('is not seen in texts, nor in options of others', () => {
    const control = '{"cache_control":{"ttl":"1h"}}';
    expect(askedOf(claude, user(control))).toBe('none');
    const messages = [{ role: 'user', content: control }];
    expect(askedOf(router, { providerOptions: { openrouter: { messages, prompt: control } } })).toBe('none');
    expect(askedOf(model('openai.responses'), text(anthropic({ ttl: '1h' })))).toBe('none');
    for (const odd of [null, 'ttl', 7, ['1h']])
      expect(askedOf(claude, text(anthropic(odd as never)))).toBe('none');
  });

  it('is not taken on by a call that is sent to another model', () => {
    const sending = { model: model('openai.chat'), params: text(anthropic({ ttl: '1h' })) as never };
    expect(carryOut(sending, { model: 'small' }, () => model('openai.chat'))).toBeDefined();
    expect(carryOut(sending, { model: 'small' }, () => claude)).toBeUndefined();
    const asked = { model: claude, params: text(anthropic({ ttl: '1h' })) as never };
    expect(carryOut(asked, { model: 'small' }, () => claude)).toBeDefined();
    const odd = { model: claude, params: text(anthropic({ ttl: '2h' })) as never };
    expect(carryOut(odd, { model: 'small' }, () => claude)).toBeUndefined();
  });
});

const hour = { anthropic: { cacheControl: { type: 'ephemeral', ttl: '1h' } } };
const ask = (content: string, providerOptions?: object) =>
  ({ role: 'user', content, providerOptions }) as ModelMessage;

describe('a request that has it', () => {
  const CALLS: [
    string,
    Omit<Parameters<typeof generateText>[0], 'model' | 'prompt'> & { messages: ModelMessage[] },
  ][] = [
    ['no cache', { messages: [ask('Hi')] }],
    ['the call', { messages: [ask('Hi')], providerOptions: hour }],
    ['a message', { messages: [ask('Hi', hour)] }],
    [
      'a part',
      { messages: [{ role: 'user', content: [{ type: 'text', text: 'Hi', providerOptions: hour }] }] },
    ],
    [
      'a tool',
      {
        messages: [ask('Hi')],
        tools: { t: tool({ inputSchema: jsonSchema({ type: 'object' }), providerOptions: hour }) },
      },
    ],
    [
      'a tool result',
      {
        messages: [
          ask('Hi'),
          { role: 'assistant', content: [{ type: 'tool-call', toolCallId: 'c', toolName: 't', input: {} }] },
          {
            role: 'tool',
            content: [
              {
                type: 'tool-result',
                toolCallId: 'c',
                toolName: 't',
                output: { type: 'text', value: 'x', providerOptions: hour },
              },
            ],
          },
        ],
      },
    ],
  ];

  it.each(CALLS)('is held at the rate of the hour: %s', async (_where, call) => {
    await using desk = await openDesk();
    let sent: string[] = [];
    const fetch = (_url: unknown, init?: { body?: unknown }) => {
      sent.push(String(init?.body));
      return Promise.reject(new Error('enough'));
    };
    for (const model of [
      createAnthropic({ apiKey: 'k', fetch: fetch as never })('claude-haiku-4-5'),
      createOpenRouter({ apiKey: 'k', fetch: fetch as never })(HAIKU),
      createOpenRouter({ apiKey: 'k', fetch: fetch as never })(OPUS),
    ]) {
      sent = [];
      const failed = (error: unknown) => error;
      await generateText({ ...call, model, maxOutputTokens: 1, maxRetries: 0 }).catch(failed);
      await generateText({ ...call, model: desk.wrap(model), maxOutputTokens: 1, maxRetries: 0 }).catch(
        failed,
      );
      // the guard changes nothing of it
      expect(sent[1]).toBe(sent[0]);
      const isAsked = sent[0]?.includes('"ttl":"1h"') === true;
      const decision = (await desk.receipts('decision')).at(-1);
      if (isAsked) expect(decision?.request).toMatchObject({ hour_cache: true });
      if (call === CALLS[0]?.[1]) expect(decision?.request).not.toHaveProperty('hour_cache');
      const [input, output] = model.modelId === OPUS ? [5000n, 25_000n] : [1000n, 5000n];
      const writes = decision?.request.hour_cache === true ? 2n * input : (input * 5n) / 4n;
      expect(BigInt(decision?.hold ?? 0)).toBe(BigInt(decision?.request.input_tokens ?? 0) * writes + output);
    }
  });

  it('leaves with the cache of five minutes', async () => {
    await using desk = await openDesk();
    const providerOptions = { openrouter: { cacheControl: { type: 'ephemeral', ttl: '5m' } } };
    await generateText({ model: desk.model(), prompt: 'Hi', providerOptions });
    expect(desk.bodies()[0]?.['cache_control']).toEqual({ type: 'ephemeral', ttl: '5m' });
  });
});
