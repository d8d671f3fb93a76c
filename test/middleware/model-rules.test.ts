/** Model rules, judged by what arrives at OpenRouter: which model, which fallbacks, which price ceiling. */
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { generateText, wrapLanguageModel } from 'ai';
import { afterEach, describe, expect, it } from 'vitest';
import { spendOptions } from '../../middleware/ai-sdk.ts';
import { blockedError, setCostOverride, type ModelRule, type SpendPolicy } from '../../src/index.ts';
import { clearCostOverrides } from '../../src/pricing/overrides.ts';
import { expectRecomputed } from '../recompute.ts';
import { HAIKU, openDesk, OPUS, policyOf, SONNET, WIDE, type Desk } from './ai-sdk-kit.ts';

const NANO = 'openai/gpt-5-nano';
const MINI = 'openai/gpt-5-mini';
const CHEAP = 'openai/gpt-oss-120b';
const GPT_55 = 'openai/gpt-5.5';
const AUTO = 'openrouter/auto';

afterEach(clearCostOverrides);

function ruled(rules: readonly ModelRule[], more: Partial<SpendPolicy> = {}): SpendPolicy {
  return policyOf([WIDE], { rules, ...more });
}

interface Ask {
  model?: string;
  task?: string;
  claims?: string[];
  settings?: Parameters<Desk['model']>[1];
}

/** The body that the provider got, or the reason why it got none. */
async function sent(desk: Desk, { model = OPUS, task, claims, settings }: Ask = {}): Promise<unknown> {
  const before = desk.bodies().length;
  try {
    await generateText({
      model: desk.model(model, settings),
      prompt: 'How many cents are in a dollar?',
      maxOutputTokens: 100,
      maxRetries: 0,
      providerOptions: spendOptions({ ...(task && { scope: { task } }), ...(claims && { claims }) }),
    });
  } catch (error) {
    const blocked = blockedError(error);
    if (blocked === undefined) throw error;
    expect(desk.bodies()).toHaveLength(before);
    expectRecomputed(await desk.log());
    expect((await desk.receipts('decision')).at(-1)).toMatchObject({
      decision: 'block',
      reason: blocked.reason,
    });
    return blocked.reason;
  }
  expect(desk.bodies()).toHaveLength(before + 1);
  expectRecomputed(await desk.log());
  return desk.bodies().at(-1);
}

describe('the sentences of the quick start', () => {
  it('"Code reviews go to haiku"', async () => {
    const rule: ModelRule = { when: { task: 'code-review' }, routeTo: HAIKU };
    await using desk = await openDesk(ruled([rule]));
    expect(await sent(desk, { task: 'code-review' })).toMatchObject({ model: HAIKU });
    expect(await sent(desk, { task: 'code-review', model: HAIKU })).toMatchObject({ model: HAIKU });
    expect(
      await sent(desk, { task: 'code-review', model: HAIKU, settings: { models: [OPUS] } }),
    ).not.toHaveProperty('models');
    expect(await sent(desk, { task: 'risk-analysis' })).toMatchObject({ model: OPUS });
    expect((await desk.receipts('decision')).map(({ reason }) => reason)).toEqual([
      'routed',
      'within_caps',
      'routed',
      'within_caps',
    ]);
  });

  it('"Payment approvals require gpt-5.5 with a payment-execute capability claim"', async () => {
    setCostOverride(GPT_55, { inputCentsPerKtok: 0.5, outputCentsPerKtok: 3 });
    const rule: ModelRule = {
      when: { task: 'payment-approval' },
      models: GPT_55,
      requires: 'payment-execute',
    };
    const models = [
      {
        id: GPT_55,
        pricing: { prompt: '0.000005', completion: '0.00003' },
      },
    ];
    await using desk = await openDesk(ruled([rule]), { models });
    const task = 'payment-approval';
    const claims = ['payment_execute'];
    expect(await sent(desk, { task, model: GPT_55, claims })).toMatchObject({ model: GPT_55 });
    expect(await sent(desk, { task, model: GPT_55 })).toBe('capability_missing');
    expect(await sent(desk, { task, model: GPT_55, claims: ['payment_initiate'] })).toBe(
      'capability_missing',
    );
    expect(await sent(desk, { task, model: OPUS, claims })).toBe('model_not_allowed');
  });

  it('"Read-only research allows any model under $0.20/1M"', async () => {
    const rule: ModelRule = { when: { task: 'research' }, maxPrice: '0.20', requires: 'read_only' };
    await using desk = await openDesk(ruled([rule]));
    const task = 'research';
    const claims = ['read-only'];
    // $0.039 in, $0.18 out
    expect(await sent(desk, { task, model: CHEAP, claims })).toMatchObject({
      model: CHEAP,
      provider: { max_price: { prompt: 0.2, completion: 0.2, request: 0 } },
    });
    // $0.05 in, but $0.40 out
    expect(await sent(desk, { task, model: NANO, claims })).toBe('price_ceiling');
    expect(await sent(desk, { task, model: CHEAP })).toBe('capability_missing');
    expect(await sent(desk, { model: OPUS })).not.toHaveProperty('provider');
  });
});

describe('price ceilings', () => {
  const CEILING: ModelRule = { maxPrice: { input: '1', output: '2' } };

  it('let the auto router choose below them, and tell it so', async () => {
    await using desk = await openDesk(ruled([CEILING]));
    const body = await sent(desk, { model: AUTO });
    expect(body).toMatchObject({
      model: AUTO,
      provider: { max_price: { prompt: 1, completion: 2, request: 0 } },
    });
    const [decision] = await desk.receipts('decision');
    expect(decision?.route).toMatchObject({
      model: AUTO,
      max_price: { input: '1.00', output: '2.00', request: '0.00' },
    });
    // The router of the simulator takes the dearest model that the ceiling lets it: what it billed was held.
    expect(desk.sim.billed).toBeGreaterThan(0n);
    expect(desk.sim.billed).toBeLessThanOrEqual(BigInt(decision?.hold ?? 0));
    expect(await desk.spent()).toBe(desk.sim.billed);
    expect(desk.warnings()).toEqual([]);
  });

  it('keep what the call says itself where that is lower, and everything else of its routing', async () => {
    await using desk = await openDesk(ruled([CEILING]));
    const provider = { max_price: { prompt: 0.5, completion: 9, image: 3 }, order: ['openai'] };
    expect(await sent(desk, { model: MINI, settings: { provider } })).toMatchObject({
      provider: { order: ['openai'], max_price: { prompt: 0.5, completion: 2, request: 0, image: 3 } },
    });
  });

  it('are the strictest of all rules that fit, also of several policies', async () => {
    const second = ruled([{ maxPrice: { input: '0.30' } }], { id: 'second' });
    await using desk = await openDesk([ruled([CEILING]), second]);
    expect(await sent(desk, { model: MINI })).toMatchObject({
      provider: { max_price: { prompt: 0.3, completion: 2, request: 0 } },
    });
  });

  it('pass over a rung that is above them', async () => {
    const cap = {
      amountCents: 0,
      window: 'per_call',
      action: 'downgrade',
      downgradeTo: [SONNET, MINI],
    } as const;
    const policy = policyOf([WIDE, cap], {
      rules: [{ when: { task: 'x', models: ['anthropic/claude-sonnet-*', '*mini'] }, maxPrice: '2' }],
    });
    await using desk = await openDesk(policy);
    expect(await sent(desk, { task: 'x' })).toMatchObject({ model: MINI });
    expect(await sent(desk)).toMatchObject({ model: SONNET });
  });

  it('block a call whose request can not be told of them', async () => {
    await using desk = await openDesk(ruled([CEILING]));
    const provider = createOpenAICompatible({
      name: 'openrouter',
      apiKey: 'sk-or-test',
      baseURL: desk.sim.url,
      transformRequestBody: (body) => ({ ...body, provider: undefined }),
    });
    const call = generateText({ model: desk.wrap(provider(MINI)), prompt: 'x', maxOutputTokens: 9 });
    const error = blockedError(await call.catch((reason: unknown) => reason));
    expect(error?.reason).toBe('no_route');
    expect(desk.bodies()).toEqual([]);
    expect(await desk.held()).toBe(0n);
  });
});

describe('ways around a rule', () => {
  const ONLY_CHEAP: ModelRule = { models: ['openai/gpt-5-*', HAIKU], maxPrice: { input: '1', output: '5' } };

  it('a dear model among the fallbacks', async () => {
    await using desk = await openDesk(ruled([ONLY_CHEAP]));
    expect(await sent(desk, { model: MINI, settings: { models: [OPUS] } })).toBe('model_not_allowed');
    await using priced = await openDesk(ruled([{ maxPrice: { input: '1', output: '5' } }]));
    expect(await sent(priced, { model: MINI, settings: { models: [OPUS] } })).toBe('price_ceiling');
    expect(await sent(priced, { model: MINI, settings: { extraBody: { models: [OPUS] } } })).toBe(
      'price_ceiling',
    );
    expect(await sent(priced, { model: MINI, settings: { models: [NANO] } })).toMatchObject({
      models: [NANO],
    });
  });

  it('openrouter/auto without a ceiling, alone and as a fallback', async () => {
    await using desk = await openDesk(ruled([]));
    expect(await sent(desk, { model: AUTO })).toBe('unknown_price');
    expect(await sent(desk, { model: MINI, settings: { models: [AUTO] } })).toBe('unknown_price');
    await using half = await openDesk(ruled([{ maxPrice: { input: '1' } }]));
    expect(await sent(half, { model: AUTO })).toBe('unknown_price');
    setCostOverride(AUTO, { inputCentsPerKtok: 0, outputCentsPerKtok: 0 });
    expect(await sent(desk, { model: AUTO })).toBe('unknown_price');
  });

  it('openrouter/auto where only some models are allowed', async () => {
    await using desk = await openDesk(ruled([ONLY_CHEAP]));
    expect(await sent(desk, { model: AUTO })).toBe('model_not_allowed');
  });

  it.each([
    ['a variant that may cost more', `${HAIKU}:nitro`],
    ['a variant of a pattern', `${MINI}:nitro`],
    ['a variant with a fee', `${MINI}:online`],
    ['an unknown id', 'openai/gpt-9'],
    ['odd case', 'Anthropic/Claude-Haiku-4-5'],
    ['odd case', 'openai/GPT-5-mini'],
    ['a space before', ` ${HAIKU}`],
    ['a space behind', `${MINI} `],
    ['a line feed', `${MINI}\n`],
    ['a no-break space', `${MINI}\u00a0`],
    ['a zero-width space', `openai/gpt-5-\u200bmini`],
    ['a look-alike letter (Cyrillic о)', 'оpenai/gpt-5-mini'],
    ['a look-alike letter (full width)', 'openai/gpt-5-ｍini'],
    ['a percent sign', 'openai%2Fgpt-5-mini'],
    ['whichever is the latest', '~openai/gpt-latest'],
    ['another router', 'openrouter/free'],
  ])('%s: %j', async (_what, model) => {
    await using desk = await openDesk(ruled([ONLY_CHEAP]));
    expect(['model_not_allowed', 'unknown_price']).toContain(await sent(desk, { model }));
    await using priced = await openDesk(ruled([{ maxPrice: { input: '1', output: '5' } }]));
    expect(await sent(priced, { model })).toBe('unknown_price');
    // No policy that says "unknown prices may pass" lets the ceiling be passed.
    await using lax = await openDesk(
      ruled([{ maxPrice: { input: '1', output: '5' } }], { unknownPrice: 'allow' }),
    );
    expect(await sent(lax, { model })).toBe('unknown_price');
    await using uncapped = await openDesk(policyOf([], { rules: [ONLY_CHEAP] }));
    expect(['model_not_allowed', 'unknown_price']).toContain(await sent(uncapped, { model }));
    // A cap on the dear models counts what nobody knows, and so refuses it.
    await using filtered = await openDesk(policyOf([{ ...WIDE, models: ['anthropic/claude-opus-*'] }]));
    expect(await sent(filtered, { model })).toBe('unknown_price');
  });

  it('a wrapper that hides the model', async () => {
    await using desk = await openDesk(policyOf([], { rules: [{ models: MINI }] }));
    const inner = desk.openrouter()(MINI, { models: [OPUS] });
    const hidden = wrapLanguageModel({ model: inner, middleware: { specificationVersion: 'v3' } });
    await generateText({ model: desk.wrap(hidden), prompt: 'x', maxOutputTokens: 9 });
    expect(desk.bodies()).toMatchObject([{ model: MINI }]);
    expect(desk.bodies()[0]).not.toHaveProperty('models');
  });
});

describe('rules in shadow', () => {
  it('only record what they would have done', async () => {
    await using desk = await openDesk([
      policyOf([WIDE]),
      ruled([{ routeTo: HAIKU }], { id: 'later', mode: 'shadow' }),
    ]);
    expect(await sent(desk)).toMatchObject({ model: OPUS });
    expect(await desk.receipts('decision')).toMatchObject([
      { decision: 'allow', shadow: { decision: 'downgrade', reason: 'routed' } },
    ]);
  });
});
