import { beforeEach, describe, expect, it, vi } from 'vitest';
import { findPrice } from '../../src/pricing/find-price.ts';
import { clearCostOverrides, setCostOverride, type CostOverride } from '../../src/pricing/overrides.ts';

beforeEach(clearCostOverrides);

function row(model: string): unknown {
  const found = findPrice(model);
  return 'price' in found ? found.price.row : undefined;
}

describe('setCostOverride', () => {
  it.each([
    [2.0, '20.00'],
    [0.1, '1.00'],
    [0.05, '0.50'],
    [1.5, '15.00'],
    ['0.0000000001', '0.000000001'],
    [0, '0.00'],
  ])('reads %s cents per thousand as %s dollars per million', (cents, usd) => {
    setCostOverride('mine', { inputCentsPerKtok: cents, outputCentsPerKtok: cents });
    expect(row('mine')).toMatchObject({ source: 'override', input: usd, output: usd });
  });

  it('takes every field', () => {
    setCostOverride('mine', {
      inputCentsPerKtok: 1,
      outputCentsPerKtok: 2,
      cacheReadCentsPerKtok: 0.1,
      cacheWriteCentsPerKtok: 1.25,
      reasoningCentsPerKtok: 3,
      contextLength: 128_000,
      maxOutputTokens: 8192,
    });
    expect(row('mine')).toMatchObject({
      cacheRead: '1.00',
      cacheWrite: '12.50',
      reasoning: '30.00',
      contextLength: 128_000,
      maxOutputTokens: 8192,
    });
  });

  it('comes before the catalogue, for exactly this id, until it is taken away', () => {
    const listed = row('anthropic/claude-opus-4.7');
    setCostOverride('anthropic/claude-opus-4-7', { inputCentsPerKtok: 2, outputCentsPerKtok: 10 });
    expect(row('anthropic/claude-opus-4-7')).toMatchObject({ source: 'override', input: '20.00' });
    expect(row('anthropic/claude-opus-4.7')).toBe(listed);
    setCostOverride('anthropic/claude-opus-4-7', undefined);
    expect(row('anthropic/claude-opus-4-7')).toBe(listed);
  });

  it('prices what is otherwise unknown, and null takes it away', () => {
    expect(row('openrouter/auto')).toBeUndefined();
    setCostOverride('openrouter/auto', { inputCentsPerKtok: 1, outputCentsPerKtok: 1 });
    expect(row('openrouter/auto')).toBeDefined();
    setCostOverride('openrouter/auto', null);
    expect(row('openrouter/auto')).toBeUndefined();
  });

  it('reaches a second copy of the package', async () => {
    expect(row('mine')).toBeUndefined();
    vi.resetModules();
    const copy = await import('../../src/pricing/overrides.ts');
    expect(copy.setCostOverride).not.toBe(setCostOverride);
    copy.setCostOverride('mine', { inputCentsPerKtok: 1, outputCentsPerKtok: 1 });
    expect(row('mine')).toMatchObject({ input: '10.00' });
  });

  const rates = { inputCentsPerKtok: 1, outputCentsPerKtok: 1 };
  it.each([
    [{ ...rates, inputCentsPerKtok: -1 }, RangeError, /inputCentsPerKtok is -1, expected US cents/],
    [{ ...rates, inputCentsPerKtok: Number.NaN }, RangeError, /inputCentsPerKtok is NaN/],
    [{ ...rates, outputCentsPerKtok: Infinity }, RangeError, /outputCentsPerKtok is Infinity/],
    [{ ...rates, outputCentsPerKtok: '1,5' }, RangeError, /outputCentsPerKtok is "1,5"/],
    [{ ...rates, outputCentsPerKtok: 1e-11 }, RangeError, /outputCentsPerKtok is 1e-11/],
    [{ inputCentsPerKtok: 1 }, TypeError, /outputCentsPerKtok is undefined/],
    [{ ...rates, cacheReadCentsPerKtok: null }, TypeError, /cacheReadCentsPerKtok is null/],
    [
      { ...rates, cacheReadCentsPerToken: 1 },
      TypeError,
      /unknown field cacheReadCentsPerToken, expected input/,
    ],
    [{ ...rates, contextLength: 0 }, RangeError, /contextLength is 0, expected tokens/],
    [{ ...rates, maxOutputTokens: 1.5 }, RangeError, /maxOutputTokens is 1.5/],
    [{ ...rates, maxOutputTokens: '8k' }, TypeError, /maxOutputTokens is "8k"/],
    [5, TypeError, /found 5, expected an object/],
  ])('refuses %j', (override, type, message) => {
    const set = (): void => setCostOverride('mine', override as CostOverride);
    expect(set).toThrow(type);
    expect(set).toThrow(message);
    expect(row('mine')).toBeUndefined();
  });

  it.each(['', undefined, 5])('refuses the model %s', (model) => {
    expect(() => setCostOverride(model as string, rates)).toThrow(TypeError);
  });
});
