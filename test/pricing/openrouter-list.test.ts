import { readFileSync } from 'node:fs';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compilePrice, costOf } from '../../src/pricing/price.ts';
import {
  convertOpenRouterList,
  type ConvertedList,
  type ListedRow,
} from '../../src/pricing/openrouter-list.ts';

const SAMPLE = JSON.parse(
  readFileSync(new URL('../fixtures/openrouter-models-sample.json', import.meta.url), 'utf8'),
) as { data: Record<string, unknown>[] };

function converted(pricing: object, more: object = {}): ConvertedList {
  return convertOpenRouterList({ data: [{ id: 'vendor/model', pricing, ...more }] });
}

/** The row, or the reason why there is none. */
function rowOf(pricing: object, more: object = {}): ListedRow | string {
  const { rows, unknown } = converted(pricing, more);
  return rows[0] ?? (unknown[0]?.[1] as string);
}

const PRICES = { prompt: '0.000001', completion: '0.000002' };

describe('a real list', () => {
  const list = convertOpenRouterList(SAMPLE);

  it('is taken whole: every model has a price, or a reason why not', () => {
    expect(list.rows.length + list.unknown.length).toBe(SAMPLE.data.length);
    expect(list.absurd).toEqual([]);
    expect(list.unknown).toEqual([['openrouter/auto', expect.stringContaining('choice of models')]]);
  });

  it('is said in USD per million tokens, with what else it tells', () => {
    expect(list.rows.find(({ model }) => model === 'anthropic/claude-haiku-4.5')).toEqual({
      model: 'anthropic/claude-haiku-4.5',
      input: '1',
      output: '5',
      cacheRead: '0.1',
      cacheWrite: '1.25',
      contextLength: 200_000,
      maxOutputTokens: 64_000,
      features: ['files', 'images', 'json', 'reasoning', 'schema', 'tool_choice', 'tools'],
      aliases: [expect.stringMatching(/^anthropic\/claude-4\.5-haiku-\d+$/)],
    });
    expect(list.rows.find(({ model }) => model === 'openai/gpt-oss-120b:free')).toMatchObject({
      input: '0',
      output: '0',
    });
  });

  it('gives a variant no share in the slug of its base', () => {
    for (const { model, aliases } of list.rows) if (model.includes(':')) expect(aliases).toBeUndefined();
  });

  it('costs what its decimals say, to the nano-dollar', () => {
    for (const { id, pricing } of SAMPLE.data as { id: string; pricing: Record<string, string> }[]) {
      const row = list.rows.find(({ model }) => model === id);
      if (row === undefined) continue;
      const price = compilePrice({ ...row, source: 'openrouter', version: '1' });
      const usd = (text: string, tokens: number): bigint => {
        const [whole = '0', places = ''] = text.split('.');
        return BigInt(whole + places.padEnd(24, '0')) * BigInt(tokens);
      };
      for (const tokens of [1, 12_345, 1_000_003]) {
        const exact = usd(pricing['prompt']!, tokens) + usd(pricing['completion']!, 777);
        const nano = (exact + 10n ** 15n - 1n) / 10n ** 15n;
        expect(costOf(price, { inputTokens: tokens, outputTokens: 777 }), id).toBe(nano);
      }
    }
  });
});

describe('prices', () => {
  it('of every kind', () => {
    const pricing = {
      ...PRICES,
      input_cache_read: '0.0000001',
      input_cache_write: '0.00000125',
      input_cache_write_1h: '0.000002',
      internal_reasoning: '0.000003',
      audio: '0.000004',
      input_audio_cache: '0.0000004',
      audio_output: '0.000064',
      image: '0.001',
      image_token: '0.000005',
      request: '0.01',
      web_search: '0.01',
      discount: 0.5,
    };
    expect(rowOf(pricing)).toEqual({
      model: 'vendor/model',
      input: '1',
      output: '2',
      cacheRead: '0.1',
      cacheWrite: '1.25',
      cacheWriteHour: '2',
      reasoning: '3',
      inputAudio: '4',
      cacheReadAudio: '0.4',
      outputAudio: '64',
      inputImage: '5',
      image: '0.001',
      request: '0.01',
    });
  });

  it('are rounded up where they are finer than a nano-dollar per million, and added to the input for storage', () => {
    expect(
      rowOf({ prompt: '0.0000003', completion: '1e-6', input_cache_write: '0.00000008333333333333334' }),
    ).toMatchObject({ output: '1', cacheWrite: '0.383333334' });
  });

  it.each([
    ['-1', 'its price varies (prompt is -1)'],
    ['-0.5', 'which is no price'],
    [-1_000_000, 'which is no price'],
    ['NaN', 'which is no price'],
    ['Infinity', 'which is no price'],
    ['', 'which is no price'],
    ['1,5', 'which is no price'],
    [null, 'no price for prompt and completion'],
    [{}, 'which is no price'],
  ])('%j is none', (prompt, reason) => {
    expect(rowOf({ ...PRICES, prompt })).toContain(reason);
  });

  it('are unknown whichever key is bad', () => {
    for (const key of ['input_cache_read', 'input_cache_write_1h', 'audio', 'request', 'image'])
      expect(rowOf({ ...PRICES, [key]: '-1' }), key).toContain(`${key} is -1`);
  });

  it('of zero are for :free models', () => {
    expect(rowOf({ prompt: '0', completion: '0' })).toContain('without being a :free model');
    expect(rowOf({ prompt: '0', completion: '0' }, { id: 'vendor/model:free' })).toMatchObject({
      input: '0',
    });
  });

  it('beyond belief are told apart', () => {
    const { absurd, rows } = converted({ ...PRICES, prompt: '3' });
    expect(rows).toEqual([]);
    expect(absurd).toEqual(['vendor/model: prompt is "3" a token, $3000000 per million']);
    expect(converted({ ...PRICES, request: '500' }).absurd[0]).toContain('request is $500');
  });
});

describe('embeddings', () => {
  it('cost their prompt', () => {
    const architecture = { input_modalities: ['text'], output_modalities: ['embeddings'] };
    expect(rowOf({ prompt: '0.00000002', completion: '0' }, { architecture })).toMatchObject({
      input: '0.02',
      output: '0',
    });
  });
});

describe('overrides', () => {
  it('keep their conditions', () => {
    const overrides = [
      { min_prompt_tokens: 200_000, prompt: '0.000002', completion: '0.000004' },
      {
        utc_start: 2230,
        utc_end: 130,
        utc_days: ['saturday', 'Sunday'],
        completion: '0.000001',
        web_search: '1',
      },
    ];
    expect(rowOf({ ...PRICES, overrides })).toMatchObject({
      overrides: [
        { above: 200_000, input: '2', output: '4' },
        { between: [1350, 90], days: [0, 6], output: '1' },
      ],
    });
  });

  it.each([
    [{ utc_start: 100, prompt: '1e-6' }, 'only one end'],
    [{ utc_start: 2561, utc_end: 100 }, 'no time of day'],
    [{ utc_start: '01:00', utc_end: 100 }, 'no time of day'],
    [{ utc_days: ['someday'] }, 'utc_days'],
    [{ min_prompt_tokens: -1 }, 'min_prompt_tokens'],
    [{ region: 'eu', prompt: '1e-6' }, 'unknown field "region"'],
    [{ prompt: '-1' }, 'prompt is -1'],
    [null, 'no object'],
  ])('%j make the price unknown', (override, reason) => {
    expect(rowOf({ ...PRICES, overrides: [override] })).toContain(reason);
  });
});

describe('models', () => {
  it.each([
    [{ id: 'openrouter/auto' }, 'choice of models'],
    [{ id: '~vendor/latest' }, 'choice of models'],
    [{ id: 'openai/gpt-4o-search-preview' }, 'more than text'],
    [{ id: 'openai/o3-deep-research' }, 'more than text'],
    [{ architecture: { output_modalities: ['text', 'image'] } }, 'also answers with image'],
    [{ architecture: { output_modalities: ['text', 'audio'] } }, 'also answers with audio'],
  ])('%j have no price', (more, reason) => {
    expect(rowOf(PRICES, more)).toContain(reason);
  });

  it('that are listed twice, or lack an id, are told', () => {
    const row = { id: 'a/b', pricing: PRICES };
    expect(convertOpenRouterList({ data: [row, row] }).absurd).toEqual(['a/b is listed twice']);
    expect(
      convertOpenRouterList({
        data: [row, { pricing: PRICES }, { ...row, id: 'a/b\u200b' }, { ...row, id: '\u001b[2J' }, 5, null],
      }).absurd,
    ).toEqual(['5 of its models lack a sound id or prices']);
  });

  it.each([undefined, null, 5, 'x', [], {}, { data: {} }, { data: [] }, { error: { code: 500 } }])(
    'are no list in %j',
    (document) => {
      expect(() => convertOpenRouterList(document)).toThrow(RangeError);
    },
  );

  it('of any shape never throw, and never get a rate that is no price', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            id: fc.stringMatching(/^[a-z/:~.-]{0,12}$/),
            pricing: fc.dictionary(fc.string(), fc.anything()),
          }),
          {
            minLength: 1,
          },
        ),
        (data) => {
          for (const row of convertOpenRouterList({ data }).rows)
            compilePrice({ ...row, source: 'x', version: '1' });
        },
      ),
    );
  });
});
