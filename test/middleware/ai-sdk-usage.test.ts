import { describe, expect, it } from 'vitest';
import { resultOutcome, StreamTally } from '../../middleware/ai-sdk-outcome.ts';
import {
  promptShape,
  providerRunTool,
  reportedMetadata,
  reportedResponse,
  reportedUsage,
  sentModel,
} from '../../middleware/ai-sdk-usage.ts';
import { takeScope } from '../../middleware/ai-sdk-scope.ts';
import { readWire, type ModelLike, type OptionsWire } from '../../middleware/ai-sdk-wire.ts';
import { AgentGuardBlockedError } from '../../src/index.ts';
import { knownUsage } from '../../src/usage.ts';
import { failureOutcome } from '../../src/wire/failure.ts';

const NONE = undefined;

const withCause = (cause: object) => Object.assign(new Error('x'), { cause });
const unreadable = (field: string) =>
  Object.defineProperty({}, field, {
    enumerable: true,
    get: () => {
      throw new Error('unreadable');
    },
  });
const marked = (name: string) =>
  Object.assign(new Error(name), { [Symbol.for(`vercel.ai.error.AI_${name}`)]: true });

describe('reportedUsage', () => {
  const v3 = (
    total: unknown,
    cacheRead: unknown,
    cacheWrite: unknown,
    output: unknown,
    more: object = {},
  ) => ({
    inputTokens: { total, noCache: 0, cacheRead, cacheWrite, ...more },
    outputTokens: { total: output, text: 1, reasoning: NONE },
  });

  it.each<[string, object, Parameters<typeof reportedUsage>[1], object]>([
    ['V1', { promptTokens: 10, completionTokens: 5 }, {}, { inputTokens: 10, outputTokens: 5 }],
    [
      'V1, Anthropic, cached',
      { promptTokens: 10, completionTokens: 5 },
      {
        provider: 'anthropic',
        metadata: { anthropic: { cacheReadInputTokens: 100, cacheCreationInputTokens: 30 } },
      },
      { inputTokens: 140, outputTokens: 5, cacheReadTokens: 100, cacheWriteTokens: 30 },
    ],
    [
      'V1, OpenAI, cached and reasoning',
      { promptTokens: 100, completionTokens: 50 },
      { provider: 'openai.chat', metadata: { openai: { cachedPromptTokens: 60, reasoningTokens: 20 } } },
      { inputTokens: 100, outputTokens: 50, cacheReadTokens: 60, reasoningTokens: 20 },
    ],
    [
      'V2',
      { inputTokens: 100, outputTokens: 50, totalTokens: 150, cachedInputTokens: 60, reasoningTokens: 20 },
      { provider: 'openai.responses' },
      { inputTokens: 100, outputTokens: 50, cacheReadTokens: 60, reasoningTokens: 20 },
    ],
    [
      'V2, Anthropic, cached',
      { inputTokens: 10, outputTokens: 5, totalTokens: 15, cachedInputTokens: 100 },
      { provider: 'anthropic.messages', metadata: { anthropic: { cacheCreationInputTokens: 30 } } },
      { inputTokens: 140, outputTokens: 5, cacheReadTokens: 100, cacheWriteTokens: 30 },
    ],
    [
      'V2, Gemini, reasoning apart',
      { inputTokens: 100, outputTokens: 5, totalTokens: 125, reasoningTokens: 20 },
      { provider: 'google.generative-ai' },
      { inputTokens: 100, outputTokens: 25, reasoningTokens: 20 },
    ],
    [
      'V3, OpenAI',
      v3(100, 60, NONE, 50, { noCache: 40 }),
      {},
      { inputTokens: 100, outputTokens: 50, cacheReadTokens: 60 },
    ],
    [
      'V3, OpenRouter, whose noCache holds the writes',
      v3(1000, 400, 300, 50, { noCache: 600 }),
      { provider: 'openrouter' },
      { inputTokens: 1000, outputTokens: 50, cacheReadTokens: 400, cacheWriteTokens: 300 },
    ],
    [
      'V3, Anthropic, whose total has everything',
      v3(140, 100, 30, 5, { noCache: 10 }),
      { provider: 'anthropic.messages' },
      { inputTokens: 140, outputTokens: 5, cacheReadTokens: 100, cacheWriteTokens: 30 },
    ],
    [
      'a V2 model of Anthropic inside ai 7',
      v3(10, 100, NONE, 5, { noCache: NONE }),
      { provider: 'anthropic.messages', metadata: { anthropic: { cacheCreationInputTokens: 30 } } },
      { inputTokens: 140, outputTokens: 5, cacheReadTokens: 100, cacheWriteTokens: 30 },
    ],
    [
      'no total',
      v3(NONE, 100, 30, 5, { noCache: 10 }),
      {},
      { inputTokens: 140, outputTokens: 5, cacheReadTokens: 100, cacheWriteTokens: 30 },
    ],
  ])('%s', (_name, usage, from, expected) => {
    expect(knownUsage(reportedUsage(usage, from))).toEqual(expected);
  });

  it.each<[string, unknown, number]>([
    ['V1 in a stream without usage', { promptTokens: Number.NaN, completionTokens: Number.NaN }, 0],
    ['V1 made up', { promptTokens: 0, completionTokens: 0 }, 0],
    ['V2 without figures', { inputTokens: NONE, outputTokens: NONE, totalTokens: NONE }, 0],
    ['V3 made up', v3(0, NONE, NONE, 0), 0],
    ['V3 without figures', v3(NONE, NONE, NONE, NONE, { noCache: NONE }), 0],
    ['no input', v3(0, 0, 0, 5), 0],
    ['no output, though text was seen', v3(10, 0, 0, 0), 3],
    ['more cached than read', v3(10, 99, 0, 5), 0],
    ['a negative', v3(-10, 0, 0, 5), 0],
    ['a fraction', v3(10.5, 0, 0, 5), 0],
    ['nothing', NONE, 0],
    ['a string', 'lots', 0],
  ])('is not known: %s', (_name, usage, seenOutputTokens) => {
    expect(knownUsage(reportedUsage(usage, { seenOutputTokens }))).toHaveProperty('unknown');
  });
});

describe('reportedMetadata', () => {
  it.each<[string, unknown, unknown, string, object]>([
    [
      'OpenRouter',
      { openrouter: { provider: 'Anthropic', usage: { cost: 0.5 } } },
      NONE,
      'openrouter',
      { cost: 0.5, servedProvider: 'Anthropic' },
    ],
    ['OpenRouter in raw usage', {}, { raw: { cost: 0.5, is_byok: false } }, 'mine.chat', { cost: 0.5 }],
    ['another provider with a cost of its own', {}, { raw: { cost: 0.5 } }, 'mine.chat', {}],
    [
      'the key of the user',
      { openrouter: { usage: { cost: 0.05, costDetails: { upstreamInferenceCost: 1 } } } },
      { raw: { is_byok: true } },
      'openrouter',
      { cost: '1.05', upstreamCost: 1, isByok: true },
    ],
    [
      'the key of the user, upstream untold',
      { openrouter: { usage: { cost: 0.05 } } },
      { raw: { is_byok: true } },
      'openrouter',
      { isByok: true },
    ],
    [
      'a fee below the upstream, as old versions tell it',
      { openrouter: { usage: { cost: 0.05, costDetails: { upstreamInferenceCost: 1 } } } },
      NONE,
      'openrouter.chat',
      { cost: '1.05', upstreamCost: 1, isByok: true },
    ],
    [
      'upstream told, key of OpenRouter',
      { openrouter: { usage: { cost: 1.1, costDetails: { upstreamInferenceCost: 1 } } } },
      { raw: { is_byok: false } },
      'openrouter',
      { cost: 1.1, upstreamCost: 1 },
    ],
    [
      'the gateway',
      { gateway: { cost: '0.0012', generationId: 'gen_1' } },
      NONE,
      'gateway',
      { cost: '0.0012', providerRef: 'gen_1' },
    ],
    ['Perplexity', { perplexity: { cost: { totalCost: 0.006 } } }, NONE, 'perplexity', { cost: 0.006 }],
    ['nothing', NONE, NONE, 'openai.chat', {}],
  ])('%s', (_name, metadata, usage, provider, expected) => {
    expect(reportedMetadata(metadata, usage, provider)).toEqual(expected);
  });

  it('reads the response, and the request', () => {
    expect(reportedResponse({ id: 'gen-1', modelId: 'a/b' })).toEqual({
      providerRef: 'gen-1',
      servedModel: 'a/b',
    });
    expect(reportedResponse({ id: '' })).toEqual({});
    expect(sentModel({ request: { body: '{"model":"a"}' } })).toBe('a');
    expect(sentModel({ request: { body: { model: 'a' } } })).toBe('a');
    const messages = [{ role: 'user', content: '{"model":"z"}', model: 'z' }];
    for (const model of ['a', 'a"b', 'a\\', 'a\u00fc']) {
      expect(sentModel({ request: { body: JSON.stringify({ model, messages }) } })).toBe(model);
      expect(sentModel({ request: { body: JSON.stringify({ messages, model }) } })).toBe(model);
    }
    expect(sentModel({ request: { body: '{' }, rawCall: { rawSettings: { model: 'b' } } })).toBe('b');
    expect(sentModel({})).toBeUndefined();
  });
});

const run = (id: string, type = 'provider') =>
  providerRunTool({ tools: [{ type, id, name: 'x', args: {} }] });

describe('promptShape', () => {
  const base64 = 'QUJD'.repeat(5000);

  it('collects every text of V2 to V4', () => {
    const shape = promptShape({
      prompt: [
        { role: 'system', content: 'T1' },
        { role: 'user', content: [{ type: 'text', text: 'T2' }] },
        {
          role: 'assistant',
          content: [
            {
              type: 'reasoning',
              text: 'T3',
              providerOptions: { openrouter: { reasoning_details: [{ text: 'T3' }, { data: 'T4' }] } },
            },
            { type: 'tool-call', toolName: 'T5', toolCallId: 'x', input: { a: 'T6' } },
            { type: 'custom', kind: 'x.y', providerOptions: { x: { body: 'T7' } } },
          ],
        },
        {
          role: 'tool',
          content: [
            {
              type: 'tool-result',
              toolName: 'n',
              toolCallId: 'x',
              output: { type: 'json', value: { b: 'T8' } },
            },
            { type: 'tool-result', toolName: 'n', toolCallId: 'x', output: { type: 'text', value: 'T9' } },
            {
              type: 'tool-result',
              toolName: 'n',
              toolCallId: 'x',
              output: {
                type: 'content',
                value: [
                  { type: 'text', text: 'T10' },
                  { type: 'media', data: base64, mediaType: 'image/png' },
                  { type: 'image-data', data: base64, mediaType: 'image/png' },
                  { type: 'file', data: { type: 'data', data: base64 }, mediaType: 'application/pdf' },
                ],
              },
            },
            {
              type: 'tool-result',
              toolName: 'n',
              toolCallId: 'x',
              output: { type: 'execution-denied', reason: 'T11' },
            },
          ],
        },
      ],
      tools: [{ type: 'function', name: 'T12', description: 'T13', inputSchema: { title: 'T14' } }],
      responseFormat: { type: 'json', schema: { title: 'T15' }, name: 'T16' },
    });
    const text = shape.texts.join('\n');
    for (let n = 1; n <= 16; n++) expect(text).toMatch(new RegExp(`\\bT${n}\\b`));
    expect(text.match(/\bT3\b/g)).toHaveLength(1);
    expect(text).not.toContain('QUJD');
    expect(shape).toMatchObject({
      messages: 4,
      tools: 1,
      files: [{ mediaType: 'application/pdf', byteLength: 15_000 }],
    });
    expect(shape.images).toHaveLength(2);
  });

  it('collects every text of V1', () => {
    const shape = promptShape({
      inputFormat: 'messages',
      mode: { type: 'regular', tools: [{ type: 'function', name: 'T1', parameters: { title: 'T2' } }] },
      prompt: [
        { role: 'user', content: [{ type: 'image', image: new Uint8Array(9), mimeType: 'image/png' }] },
        {
          role: 'assistant',
          content: [
            { type: 'tool-call', toolName: 'n', args: { a: 'T3' } },
            { type: 'redacted-reasoning', data: 'T4' },
          ],
        },
        { role: 'tool', content: [{ type: 'tool-result', toolName: 'n', result: { b: 'T5' } }] },
      ],
    });
    for (let n = 1; n <= 5; n++) expect(shape.texts.join('\n')).toContain(`T${n}`);
    expect(shape.images).toEqual([{ data: new Uint8Array(9), mediaType: 'image/png' }]);
    const object = promptShape({
      prompt: [],
      mode: { type: 'object-tool', tool: { name: 'o', parameters: { title: 'T6' } } },
    });
    expect(object).toMatchObject({ tools: 1 });
    expect(object.texts.join('')).toContain('T6');
    expect(
      promptShape({ prompt: [], mode: { type: 'object-json', schema: { title: 'T7' } } }).texts.join(''),
    ).toContain('T7');
  });

  it.each<[string, object, object]>([
    [
      'bytes',
      { data: new Uint8Array(12), mediaType: 'image/png' },
      { images: [{ data: new Uint8Array(12), mediaType: 'image/png' }] },
    ],
    [
      'a URL',
      { data: new URL('https://x.y/a.png'), mediaType: 'image/*' },
      { images: [{ mediaType: 'image/*' }] },
    ],
    [
      'a tagged URL',
      { data: { type: 'url', url: new URL('https://x.y/a') }, mediaType: 'image' },
      { images: [{ mediaType: 'image' }] },
    ],
    [
      'a data URL',
      { data: new URL('data:image/png;base64,QUJD'), mediaType: 'image/png' },
      { images: [{ data: 'data:image/png;base64,QUJD', mediaType: 'image/png' }] },
    ],
    [
      'a PDF',
      { data: 'QUJD', mediaType: 'application/pdf' },
      { files: [{ mediaType: 'application/pdf', byteLength: 3 }] },
    ],
    [
      'a PDF elsewhere',
      { data: 'https://x.y/a.pdf', mediaType: 'application/pdf' },
      { files: [{ mediaType: 'application/pdf' }] },
    ],
    [
      'a reference',
      { data: { type: 'reference', reference: { openai: 'f1' } }, mediaType: 'application/pdf' },
      { files: [{ mediaType: 'application/pdf' }] },
    ],
    ['text as a file', { data: { type: 'text', text: 'Hi' }, mediaType: 'text/plain' }, { texts: ['Hi'] }],
  ])('takes a file: %s', (_name, part, expected) => {
    const shape = promptShape({ prompt: [{ role: 'user', content: [{ type: 'file', ...part }] }] });
    expect(shape).toEqual({ texts: [], messages: 1, ...expected });
  });

  it('knows the tools that a provider runs itself', () => {
    expect(run('openai.web_search')).toBe('openai.web_search');
    expect(run('anthropic.code_execution_20250522', 'provider-defined')).toBe(
      'anthropic.code_execution_20250522',
    );
    expect(run('anthropic.bash_20250124')).toBeUndefined();
    expect(run('openai.x', 'function')).toBeUndefined();
    expect(providerRunTool({})).toBeUndefined();
  });
});

const nothing = () => Promise.reject(new Error('not called'));

const model = (provider: string, modelId: string, more: object = {}): ModelLike => ({
  provider,
  modelId,
  doGenerate: nothing,
  doStream: nothing,
  ...more,
});

const wire = (more: object): OptionsWire => ({ model: 'm', fallbacks: [], choices: 1, ...more });

describe('readWire', () => {
  it.each<[string, ModelLike, object, OptionsWire]>([
    [
      'OpenRouter, ai 4',
      model('openrouter.chat', 'm', { settings: { models: ['f'] } }),
      { mode: {}, maxTokens: 9 },
      wire({ fallbacks: ['f'], limit: 9 }),
    ],
    [
      'options of ai 4',
      model('openrouter.chat', 'm'),
      { mode: {}, providerMetadata: { openrouter: { model: 'n' } } },
      wire({ model: 'n' }),
    ],
    [
      'the model among its fallbacks',
      model('openrouter', 'm', { settings: { models: ['m', 'f', 'f'] } }),
      {},
      wire({ fallbacks: ['f'] }),
    ],
    [
      'fallbacks taken out',
      model('openrouter', 'm', { settings: { models: ['f'] } }),
      { providerOptions: { openrouter: { models: undefined } } },
      wire({}),
    ],
    [
      'the larger of two limits',
      model('openrouter', 'm', { config: { extraBody: { max_completion_tokens: 9 } } }),
      { maxOutputTokens: 5 },
      wire({ limit: 9 }),
    ],
    [
      'a budget',
      model('openrouter', 'm', { settings: { reasoning: { max_tokens: 7 } } }),
      {},
      wire({ reasoningTokens: 7 }),
    ],
    [
      'a prompt of its own',
      model('openrouter', 'm', { settings: { extraBody: { prompt: 'Say "hi"', messages: null } } }),
      { providerOptions: { openrouter: { system: ['a'], tools: 0 } } },
      wire({ extraText: 'Say "hi"\n["a"]\n0' }),
    ],
    [
      'OpenAI',
      model('openai.chat', 'm'),
      { maxOutputTokens: 5, providerOptions: { openai: { maxCompletionTokens: 9 } } },
      wire({ limit: 9 }),
    ],
    [
      'OpenAI under another name',
      model('openai.chat', 'a', { config: { requestModelId: 'm' } }),
      {},
      wire({}),
    ],
    [
      'Anthropic adds its budget',
      model('anthropic.messages', 'm'),
      {
        maxOutputTokens: 5,
        providerOptions: { anthropic: { thinking: { type: 'enabled', budgetTokens: 2000 } } },
      },
      wire({ limit: 2005, reasoningTokens: 2001 }),
    ],
    [
      'Anthropic works its budget out',
      model('anthropic.messages', 'm'),
      { maxOutputTokens: 5, reasoning: 'high' },
      wire({}),
    ],
    [
      'Anthropic fallbacks',
      model('anthropic.messages', 'm'),
      { providerOptions: { anthropic: { fallbacks: [{ model: 'f' }] } } },
      wire({ fallbacks: ['f'] }),
    ],
    [
      'options of others',
      model('openai.chat', 'm'),
      { providerOptions: { anthropic: { fallbacks: 'default', speed: 'fast' } } },
      wire({}),
    ],
    [
      'Gemini',
      model('google.generative-ai', 'm'),
      { providerOptions: { google: { thinkingConfig: { thinkingBudget: 9 } } } },
      wire({ reasoningTokens: 9 }),
    ],
    [
      'the gateway',
      model('gateway', 'm'),
      { providerOptions: { gateway: { models: ['f'] } } },
      wire({ fallbacks: ['f'] }),
    ],
  ])('%s', (_name, of, params, expected) => {
    expect(readWire({ model: of, params: params as never })).toEqual(expected);
  });

  it.each<[string, string, object]>([
    ['openai.responses', 'openai', { previousResponseId: 'r' }],
    ['openai.responses', 'openai', { serviceTier: 'priority' }],
    ['anthropic.messages', 'anthropic', { speed: 'fast' }],
    ['anthropic.messages', 'anthropic', { mcpServers: [{}] }],
    ['anthropic.messages', 'anthropic', { fallbacks: 'default' }],
    ['google.generative-ai', 'google', { cachedContent: 'c' }],
    ['xai.chat', 'xai', { searchParameters: { mode: 'on' } }],
    ['openrouter', 'openrouter', { models: 'not a list' }],
  ])('has no bound: %s %s %j', (provider, name, options) => {
    const params = { providerOptions: { [name]: options } };
    expect(readWire({ model: model(provider, 'm'), params }).unbounded).toBeTypeOf('string');
  });

  it('takes the scope out of the options', () => {
    const other = { a: 1 };
    const given = { prompt: [], providerOptions: { spendGuard: { userId: 'u' }, other } };
    expect(takeScope(given)).toEqual({
      params: { prompt: [], providerOptions: { other } },
      scope: { userId: 'u' },
    });
    expect(given.providerOptions.spendGuard).toEqual({ userId: 'u' });
    const v1 = { mode: {}, providerMetadata: { spendGuard: { userId: 'u' } } };
    expect(takeScope(v1)).toEqual({ params: { mode: {} }, scope: { userId: 'u' } });
    const without = { prompt: [] };
    expect(takeScope(without).params).toBe(without);
  });
});

const tally = (parts: unknown[], broken?: 'aborted' | 'error') => {
  const counted = new StreamTally({}, { provider: 'openrouter', model: 'm' });
  for (const part of parts) counted.see(part);
  const { outcome, usage: told, seenOutputTokens = 0 } = counted.outcome(broken);
  return { outcome, known: told !== undefined, seen: seenOutputTokens > 0 };
};

describe('outcomes', () => {
  const usage = { inputTokens: { total: 10 }, outputTokens: { total: 5 } };
  const finish = (reason: unknown, more: object = {}) => ({
    type: 'finish',
    usage,
    finishReason: { unified: reason },
    ...more,
  });
  const text = { type: 'text-delta', delta: 'Hello there' };

  it.each<[string, unknown[], 'aborted' | 'error' | undefined, object]>([
    ['an end', [text, finish('stop')], NONE, { outcome: 'ok', known: true, seen: true }],
    [
      'V1',
      [
        { type: 'text-delta', textDelta: 'Hi' },
        { ...finish(''), finishReason: 'stop' },
      ],
      NONE,
      { outcome: 'ok', known: true, seen: true },
    ],
    ['a cancel after the end', [finish('stop')], 'aborted', { outcome: 'ok', known: true, seen: false }],
    ['a cancel before it', [text], 'aborted', { outcome: 'aborted', known: false, seen: true }],
    ['a failure', [text], 'error', { outcome: 'error', known: false, seen: true }],
    ['an interruption', [text, finish('interrupted')], NONE, { outcome: 'ok', known: false, seen: true }],
    [
      'an error part',
      [text, { type: 'error' }, finish('error')],
      NONE,
      { outcome: 'error', known: false, seen: true },
    ],
    [
      'an error part with the cost',
      [{ type: 'error' }, finish('error', { providerMetadata: { openrouter: { usage: { cost: 1 } } } })],
      NONE,
      { outcome: 'error', known: true, seen: false },
    ],
    ['a reason that is not known', [finish('other')], NONE, { outcome: 'ok', known: true, seen: false }],
    [
      'a tool call in one piece',
      [{ type: 'tool-call', input: '{"a":1}' }],
      'error',
      { outcome: 'error', known: false, seen: true },
    ],
  ])('of a stream: %s', (_name, parts, broken, expected) => {
    expect(tally(parts, broken)).toEqual(expected);
  });

  it('names the model of the request where that is another than was decided on', () => {
    const to = { provider: 'openai', model: 'small' };
    const request = { body: { model: 'big' } };
    expect(resultOutcome({ usage, request }, to)).toMatchObject({ outcome: 'ok', servedModel: 'big' });
    expect(resultOutcome({ usage, request: { body: { model: 'small' } } }, to)).not.toHaveProperty(
      'servedModel',
    );
    expect(resultOutcome({ usage, request, response: { modelId: 'b' } }, to)).toMatchObject({
      servedModel: 'b',
    });
    expect(new StreamTally({ request }, to).outcome('aborted')).toMatchObject({ servedModel: 'big' });
  });

  it.each<[string, unknown, string]>([
    ...[400, 401, 402, 403, 404, 405, 413, 415, 422, 429, 503].map(
      (statusCode): [string, unknown, string] => [`a refusal, ${statusCode}`, { statusCode }, 'refused'],
    ),
    ...[302, 406, 408, 409, 418, 425, 451, 499, 500, 501, 502, 504, 520, 522, 524, 529, 599, NaN, '429'].map(
      (statusCode): [string, unknown, string] => [
        `what may be billed, ${statusCode}`,
        { statusCode },
        'error',
      ],
    ),
    ['an error that can not be read', unreadable('statusCode'), 'error'],
    ['a cause that can not be read', unreadable('cause'), 'error'],
    ['an error with status 200', { statusCode: 200 }, 'error'],
    ['a refused connection', withCause({ cause: { code: 'ECONNREFUSED' } }), 'not_sent'],
    [
      'two refused addresses',
      withCause({ errors: [{ code: 'ECONNREFUSED' }, { code: 'ENETUNREACH', syscall: 'connect' }] }),
      'not_sent',
    ],
    [
      'one refused address',
      withCause({ errors: [{ code: 'ECONNREFUSED' }, { code: 'ECONNRESET' }] }),
      'error',
    ],
    ['no name', withCause({ code: 'ENOTFOUND', syscall: 'getaddrinfo' }), 'not_sent'],
    ['no route to the host', withCause({ code: 'EHOSTUNREACH', syscall: 'connect' }), 'not_sent'],
    ['a route that was lost', withCause({ code: 'EHOSTUNREACH', syscall: 'read' }), 'error'],
    ['a reset', withCause({ code: 'ECONNRESET' }), 'error'],
    ['a timeout of the headers', withCause({ code: 'UND_ERR_HEADERS_TIMEOUT' }), 'error'],
    ['a missing key', marked('LoadAPIKeyError'), 'not_sent'],
    ['options that are wrong', marked('InvalidArgumentError'), 'not_sent'],
    ['an answer that could not be read', marked('TypeValidationError'), 'error'],
    [
      'an inner guard',
      new AgentGuardBlockedError({ reason: 'cap_spent', message: 'x', model: 'm' }),
      'not_sent',
    ],
    [
      'an inner guard at a retry',
      withCause(new AgentGuardBlockedError({ reason: 'cap_spent', message: 'x', model: 'm' })),
      'error',
    ],
    ['anything', 'thrown', 'error'],
  ])('of a failure: %s', (_name, error, outcome) => {
    expect(failureOutcome(error, NONE)).toEqual({ outcome });
    if (outcome === 'error')
      expect(failureOutcome(error, AbortSignal.abort())).toEqual({ outcome: 'aborted' });
  });
});
