import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { knownUsage } from '../src/usage.ts';

const known = { inputTokens: 10, outputTokens: 5 };

describe('knownUsage', () => {
  it.each([
    [known, known],
    [
      { inputTokens: 0, outputTokens: 5 },
      { inputTokens: 0, outputTokens: 5 },
    ],
    [
      { inputTokens: 10, outputTokens: 0 },
      { inputTokens: 10, outputTokens: 0 },
    ],
    [
      { inputTokens: 10, outputTokens: -0 },
      { inputTokens: 10, outputTokens: 0 },
    ],
    [{ ...known, cacheReadTokens: 0, reasoningTokens: null }, known],
    [
      { ...known, cacheReadTokens: 4, cacheWriteTokens: 6 },
      { ...known, cacheReadTokens: 4, cacheWriteTokens: 6 },
    ],
    [
      { ...known, reasoningTokens: 5 },
      { ...known, reasoningTokens: 5 },
    ],
  ])('%j', (reported, usage) => {
    expect(knownUsage(reported)).toEqual(usage);
  });

  it.each([
    [undefined, 'no usage was reported'],
    [{}, 'inputTokens is undefined'],
    [{ inputTokens: 0, outputTokens: 0 }, 'usage is 0 in and 0 out'],
    [{ ...known, inputTokens: -1 }, 'inputTokens is -1'],
    [{ ...known, inputTokens: Number.NaN }, 'inputTokens is NaN'],
    [{ ...known, inputTokens: '10' }, 'inputTokens is string'],
    [{ ...known, outputTokens: 1.5 }, 'outputTokens is 1.5'],
    [{ ...known, outputTokens: Infinity }, 'outputTokens is Infinity'],
    [{ ...known, outputTokens: 2 ** 53 }, 'outputTokens is 9007199254740992'],
    [{ ...known, cacheReadTokens: -1 }, 'cacheReadTokens is -1'],
    [{ ...known, cacheReadTokens: 6, cacheWriteTokens: 5 }, '11 cache tokens of 10 input tokens'],
    [{ ...known, reasoningTokens: 6 }, '6 reasoning tokens of 5 output tokens'],
  ])('doubts %j', (reported, unknown) => {
    expect(knownUsage(reported)).toEqual({ unknown });
  });

  it('never throws and never makes usage up', () => {
    const value = fc.oneof(
      fc.constantFrom(0, -0, 1),
      fc.integer(),
      fc.double(),
      fc.string(),
      fc.constant(undefined),
      fc.constant(null),
    );
    const fields = {
      inputTokens: value,
      outputTokens: value,
      cacheReadTokens: value,
      reasoningTokens: value,
    };
    fc.assert(
      fc.property(fc.record(fields), (reported) => {
        const usage = knownUsage(reported);
        if ('unknown' in usage) return;
        // Minus zero, which fast-check likes, is zero to everyone but JSON and `Object.is`.
        const plain = (tokens: unknown): unknown => (tokens === 0 ? 0 : tokens);
        expect(usage).toMatchObject({
          inputTokens: plain(reported.inputTokens),
          outputTokens: plain(reported.outputTokens),
        });
        expect(Object.values(usage).some((tokens) => Object.is(tokens, -0))).toBe(false);
      }),
    );
  });
});
