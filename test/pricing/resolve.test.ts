import * as fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { catalogueIds } from '../../src/pricing/catalogue.ts';
import { findPrice } from '../../src/pricing/find-price.ts';
import { clearCostOverrides } from '../../src/pricing/overrides.ts';
import { resolveModelId } from '../../src/pricing/resolve.ts';
import { suggestModels } from '../../src/pricing/suggest.ts';

beforeEach(clearCostOverrides);

/** `model input/output`, or the reason why the price is unknown. */
function found(model: string, provider?: string): string {
  const answer = findPrice(model, provider);
  if ('unknown' in answer) return answer.unknown;
  const { row } = answer.price;
  return `${row.model} ${row.input}/${row.output}`;
}

describe('ids that have a price', () => {
  it.each([
    ['anthropic/claude-opus-4-7', undefined, 'anthropic/claude-opus-4.7 5/25'],
    ['anthropic/claude-opus-4.7', undefined, 'anthropic/claude-opus-4.7 5/25'],
    ['anthropic/claude-opus-4.7', 'openai', 'anthropic/claude-opus-4.7 5/25'],
    ['anthropic/claude-opus-4.7', 'gateway', 'claude-opus-4-7 5/25'],
    ['anthropic/claude-opus-4.7:floor', undefined, 'anthropic/claude-opus-4.7 5/25'],
    ['anthropic/claude-sonnet-4-6', undefined, 'anthropic/claude-sonnet-4.6 3/15'],
    ['anthropic/claude-haiku-4.5-20251001', undefined, 'anthropic/claude-haiku-4.5 1/5'],
    ['anthropic/claude-3-5-sonnet-20241022', undefined, 'anthropic/claude-3.5-sonnet 3/15'],
    ['openai/gpt-5-mini', 'openrouter', 'openai/gpt-5-mini 0.25/2'],
    ['openai/gpt-6-sol:batch', undefined, 'openai/gpt-6-sol:batch 1/5'],
    ['perplexity/sonar', 'openrouter', 'sonar 1/1'],
    ['claude-opus-4.7', 'anthropic', 'claude-opus-4-7 5/25'],
    ['claude-sonnet-4-5-20250929', 'anthropic.messages', 'claude-sonnet-4-5 3/15'],
    ['claude-sonnet-4-5@20250929', 'google-vertex', 'claude-sonnet-4-5 3/15'],
    ['claude-haiku-4-5-20251001', undefined, 'claude-haiku-4-5 1/5'],
    ['gpt-4o-2024-08-06', 'openai.chat', 'gpt-4o 2.5/10'],
    ['gpt-4o-2024-05-13', 'openai', 'gpt-4o-2024-05-13 5/15'],
    ['gpt-5.5', 'azure', 'gpt-5.5 5/30'],
    ['models/gemini-2.5-pro', undefined, 'gemini-2.5-pro 1.25/10'],
    ['models/gemini-2.5-pro', 'google.generative-ai', 'gemini-2.5-pro 1.25/10'],
    ['openai/gpt-oss-120b', 'groq', 'openai/gpt-oss-120b 0.15/0.6'],
    ['accounts/fireworks/models/kimi-k3', 'fireworks', 'kimi-k3 3/15'],
    ['anthropic.claude-opus-4-7', 'amazon-bedrock', 'regional.anthropic.claude-opus-4-7-v1:0 5.5/27.5'],
    ['us.anthropic.claude-opus-4-7-v1:0', 'bedrock', 'regional.anthropic.claude-opus-4-7-v1:0 5.5/27.5'],
    ['global.anthropic.claude-opus-4-7-v1:0', undefined, 'global.anthropic.claude-opus-4-7-v1:0 5/25'],
    ['anthropic.claude-opus-4-5-20251101-v1:0', 'aws', 'regional.anthropic.claude-opus-4-5-v1:0 5.5/27.5'],
    [
      'arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-haiku-4-5-20251001-v1:0',
      'amazon-bedrock',
      'regional.anthropic.claude-haiku-4-5-20251001-v1:0 1.1/5.5',
    ],
  ])('%s at %s', (model, provider, price) => {
    expect(found(model, provider)).toBe(price);
  });
});

describe('ids that have none', () => {
  it.each([
    ['', undefined, 'the id is empty'],
    ['x'.repeat(201), undefined, 'longer than 200'],
    ['openrouter/auto', undefined, 'lets OpenRouter choose'],
    ['openrouter/free', 'openrouter', 'lets OpenRouter choose'],
    ['~anthropic/claude-opus-latest', undefined, 'no fixed price'],
    ['openai/gpt-5:nitro', undefined, 'suffix :nitro'],
    ['openai/gpt-5:exacto', undefined, 'suffix :exacto'],
    ['openai/gpt-5:online', undefined, 'suffix :online'],
    ['openai/gpt-5:whatever', undefined, 'suffix :whatever'],
    ['anthropic/claude-opus-4.7:thinking', undefined, 'exactly this id'],
    ['meta-llama/llama-3.3-70b-instruct:free', undefined, 'exactly this id'],
    ['openai/gpt-5:batch', undefined, 'exactly this id'],
    ['google/gemini-3.1-pro', undefined, 'Did you mean google/gemini-3.1-pro-preview'],
    ['GPT-5', undefined, 'Did you mean gpt-5'],
    ['openai/GPT-5', undefined, 'Did you mean openai/gpt-5'],
    [' gpt-5', undefined, 'contains " "'],
    ['gpt-5\n', 'openai', 'contains "\\n"'],
    ['gpt‑5', undefined, 'contains "‑"'],
    ['gpt-5\u200b', 'openai', 'which no model id does'],
    ['сlaude-opus-4-7', 'anthropic', 'contains "с"'],
    ['gpt-5-superexpensive', undefined, 'exactly this id'],
    ['gpt-5.9', 'openai', 'exactly this id'],
    ['claude-opus-9', 'anthropic', 'exactly this id'],
    ['claude-opus-4-7-fast-9', 'anthropic', 'exactly this id'],
    ['claude', 'anthropic', 'exactly this id'],
    ['gpt-5-2025-13-01', 'openai', 'exactly this id'],
    ['gpt-5', 'my-proxy', 'exactly this id'],
    ['o4-mini', undefined, 'openai and azure charge different prices for it, name the provider'],
    ['us-gov.anthropic.claude-opus-4-7-v1:0', 'aws', 'exactly this id'],
    ['arn:aws:bedrock:us-east-1:1:application-inference-profile/abc', 'aws', 'exactly this id'],
    ['__proto__', '__proto__', 'exactly this id'],
  ])('%j at %s', (model, provider, reason) => {
    const sentence = found(model, provider);
    expect(sentence).toContain(reason);
    expect(sentence).toContain('setCostOverride(');
  });
});

describe('resolveModelId', () => {
  it('gives the steps in order: OpenRouter before the vendor, the dated id before the undated one', () => {
    const resolved = resolveModelId('anthropic/claude-opus-4-7-20260101');
    expect(resolved).toEqual({
      steps: [
        'openrouter anthropic/claude-opus-4-7-20260101',
        'openrouter anthropic/claude-opus-4.7-20260101',
        'anthropic claude-opus-4-7-20260101',
        'anthropic claude-opus-4.7-20260101',
        'openrouter anthropic/claude-opus-4-7',
        'openrouter anthropic/claude-opus-4.7',
        'anthropic claude-opus-4-7',
        'anthropic claude-opus-4.7',
      ].map((key) => [{ provider: key.split(' ')[0], id: key.split(' ')[1] }]),
    });
  });

  it('is finite, never throws, and finds every listed id at its provider', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary' }),
        fc.option(fc.string(), { nil: undefined }),
        (id, provider) => {
          const resolved = resolveModelId(id, provider);
          if ('steps' in resolved) expect(resolved.steps.length).toBeLessThan(64);
          findPrice(id, provider);
        },
      ),
    );
    for (const [provider, ids] of catalogueIds()) {
      for (const id of ids) expect('price' in findPrice(id, provider), `${provider} ${id}`).toBe(true);
    }
  });

  it('never prices an id that merely resembles a listed one', () => {
    const listed = [...catalogueIds()].flatMap(([provider, ids]) => ids.map((id) => [provider, id] as const));
    fc.assert(
      fc.property(
        fc.constantFrom(...listed),
        fc.stringMatching(/^-[a-z]{4,9}$/),
        ([provider, id], ending) => {
          expect(found(`${id}${ending}x9`, provider)).toContain('unknown');
          expect(found(`q${id}`, provider)).toContain('unknown');
        },
      ),
    );
  });
});

describe('suggestModels', () => {
  it('says nothing about ids that resemble none, and is bounded for hostile ones', () => {
    expect(suggestModels('my-own-finetune')).toEqual([]);
    expect(suggestModels('a'.repeat(100_000))).toEqual([]);
    expect(suggestModels('claud-opus-4-7', 'anthropic')[0]).toBe('claude-opus-4-7');
  });
});
