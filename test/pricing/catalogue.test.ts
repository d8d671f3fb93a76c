import { describe, expect, it } from 'vitest';
import {
  CATALOGUE_DATE,
  CATALOGUE_SOURCE_VERSION,
  CATALOGUE_TABLE,
} from '../../src/pricing/catalogue-data.ts';
import { CATALOGUE_VERSION, catalogueIds, catalogueRow } from '../../src/pricing/catalogue.ts';
import { decimalText } from '../../tools/update-prices.ts';
import { pictureUnbounded } from '../../src/wire/pictures.ts';

describe('catalogueRow', () => {
  it('decodes a whole row', () => {
    expect(catalogueRow('google', 'gemini-2.5-pro')).toEqual({
      model: 'gemini-2.5-pro',
      source: 'catalogue',
      version: CATALOGUE_VERSION,
      input: '1.25',
      output: '10',
      cacheRead: '0.125',
      tiers: [{ above: 200_000, input: '2.5', output: '15', cacheRead: '0.25' }],
    });
    expect(catalogueRow('openrouter', 'anthropic/claude-opus-4.7')).toMatchObject({
      input: '5',
      output: '25',
      cacheRead: '0.5',
      cacheWrite: '6.25',
      contextLength: 1_000_000,
    });
    expect(catalogueRow('perplexity', 'sonar')).toMatchObject({ request: '0.012' });
  });

  it('gives the row of the id for an alias that the source lists, and the same object each time', () => {
    expect(catalogueRow('x-ai', 'grok-4')).toMatchObject({ model: 'grok-4-0709' });
    expect(catalogueRow('x-ai', 'grok-4')).toBe(catalogueRow('x-ai', 'grok-4'));
  });

  it.each([
    ['openai', ''],
    ['openai', 'gpt-5 '],
    ['openai', 'GPT-5'],
    ['openai', 'gpt-5-superexpensive'],
    ['openai', 'openai'],
    ['openrouter', 'gpt-5'],
    ['nobody', 'gpt-5'],
    ['', 'gpt-5'],
    ['__proto__', 'constructor'],
  ])('finds nothing for %j %j', (provider, id) => {
    expect(catalogueRow(provider, id)).toBeUndefined();
  });
});

describe('the embedded table', () => {
  const ids = [...catalogueIds()].flatMap(([provider, list]) => list.map((id) => ({ provider, id })));

  it('is small, and says where it comes from', () => {
    expect(ids.length).toBeGreaterThan(800);
    expect(CATALOGUE_TABLE.length).toBeLessThan(60_000);
    expect(CATALOGUE_VERSION).toContain(CATALOGUE_SOURCE_VERSION);
    expect(CATALOGUE_DATE).toMatch(/^\d{4}-\d\d-\d\d$/);
  });

  it('holds no zero rate, since the source states none, and no negative one', () => {
    for (const { provider, id } of ids) {
      const row = catalogueRow(provider, id);
      for (const rates of [row, ...(row?.tiers ?? [])]) {
        expect(rates?.input, id).toMatch(/^\d+(\.\d{1,9})?$/);
        expect(rates?.output, id).toMatch(/^\d+(\.\d{1,9})?$/);
        expect(Number(rates?.input), id).toBeGreaterThan(0);
      }
    }
  });

  it('holds no router, no moving alias, and nothing that always searches or draws pictures of unknown cost', () => {
    const wrong = ids.filter(({ id }) =>
      /^~|^openrouter\/|-image|search-preview|deep-research|realtime/.test(id),
    );
    const drawing = ['gpt-image-1', 'gpt-image-1-mini', 'gpt-image-1.5'];
    expect(wrong.map(({ id }) => id)).toEqual(drawing);
    for (const id of drawing) expect(pictureUnbounded(id, 'auto')).toBeUndefined();
  });

  it('leaves out resold rows that lack a fee or a tier of the vendor', () => {
    expect(catalogueRow('openrouter', 'perplexity/sonar')).toBeUndefined();
    expect(catalogueRow('openrouter', 'google/gemini-3.1-pro-preview')).toBeUndefined();
  });
});

describe('decimalText', () => {
  it.each([
    [0, '0'],
    [10, '10'],
    [0.1 + 0.2, '0.3'],
    [1e-7, '0.0000001'],
    [0.003625, '0.003625'],
    [0.08333333333333334, '0.083333334'],
    [1 / 3, '0.333333334'],
    [2 / 3, '0.666666667'],
  ])('%s', (value, text) => {
    expect(decimalText(value)).toBe(text);
  });

  it.each([-1, Number.NaN, Infinity])('refuses %s', (value) => {
    expect(() => decimalText(value)).toThrow(RangeError);
  });
});
