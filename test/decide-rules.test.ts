/** Model rules and capabilities as tables: which models a pattern means, what a ceiling compares, who may do what. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { capLayout } from '../src/accounts.ts';
import { CAPABILITY_TIERS, hasCapability, relevantCapabilities } from '../src/capability-names.ts';
import { decide, type DecideInput, type RequestFacts } from '../src/decide.ts';
import { allowsModel, concernsModel, fitsPattern } from '../src/policy/patterns.ts';
import { parsePolicy, type ModelRule, type SpendCap, type SpendPolicy } from '../src/policy.ts';
import { compilePrice, type PriceRow } from '../src/pricing/price.ts';
import type { SpendScope } from '../src/scope.ts';

const WIDE: SpendCap = { amountCents: 1e6, window: 'total', action: 'block' };
const AUTO = 'openrouter/auto';

const ROWS: Record<string, Partial<PriceRow>> = {
  'v/dear': { input: '5', output: '25', cacheWrite: '6.25' },
  'v/mid': { input: '1', output: '5' },
  'v/cheap': { input: '0.1', output: '0.2' },
  'v/thinks': { input: '0.1', output: '0.2', reasoning: '0.9' },
  'v/fee': { input: '0.1', output: '0.2', request: '0.01' },
  'v/tiered': { input: '0.1', output: '0.2', tiers: [{ above: 1000, input: '0.3', output: '0.6' }] },
  'v/sees': { input: '0.1', output: '0.2', features: ['tools', 'images'] },
  'v/reads': { input: '0.1', output: '0.2', features: ['tools', 'schema'] },
  'v/short': { input: '0.1', output: '0.2', contextLength: 50 },
};

interface Given {
  rules?: readonly ModelRule[];
  caps?: readonly SpendCap[];
  request?: Partial<RequestFacts>;
  scope?: SpendScope;
  policies?: readonly Partial<SpendPolicy>[];
  uncarried?: string[];
}

function decided({ rules = [], caps = [WIDE], request, scope = {}, policies, uncarried }: Given) {
  const parsed = (policies ?? [{}]).map((more, index) =>
    parsePolicy({
      id: `p${index}`,
      scope: {},
      caps,
      rules,
      version: 1,
      effectiveFrom: '2020-01-01',
      ...more,
    }),
  );
  const prices = Object.entries(ROWS).map(
    ([model, row]) =>
      [
        model,
        compilePrice({ model, source: 'test', version: '1', input: '0', output: '0', ...row }),
      ] as const,
  );
  const input: DecideInput = {
    now: 1000,
    scope,
    requireTenant: false,
    clockWrong: false,
    policies: parsed.map((policy) => ({ policy, effective: true })),
    caps: capLayout(parsed, scope).caps.map((ref) => ({ ref, spent: 0n, held: 0n, resetsAt: 0 })),
    request: {
      model: 'v/mid',
      fallbacks: [],
      input: { tokens: 100 },
      maxOutputTokens: 100,
      choices: 1,
      limitCanBeSet: true,
      ceilingCanBeSet: true,
      ...request,
    },
    prices: new Map(prices),
    uncarried: new Set(uncarried),
  };
  const decision = decide(input);
  return { ...decision, to: decision.route?.model };
}

describe('patterns', () => {
  it.each([
    ['anthropic/*', 'anthropic/claude-opus-4-7', true],
    ['anthropic/*', 'anthropic/claude-opus-4-7:nitro', false],
    ['anthropic/*:free', 'anthropic/claude-opus-4-7:free', true],
    ['*', 'openai/gpt-5', true],
    ['*', 'openai/gpt-5:free', false],
    ['*mini', 'openai/gpt-5-mini', true],
    ['*mini', 'openai/gpt-5-mini-2', false],
    ['openai/gpt-5', 'openai/gpt-5-mini', false],
    ['openai/gpt-?', 'openai/gpt-5', false],
    ['openai/gpt.5', 'openai/gpt-5', false],
    ['OPENAI/gpt-5', 'openai/gpt-5', false],
    ['**', 'a', true],
    ['a*b*c', 'aXbXbXc', true],
    ['a*b*c', 'aXbXbX', false],
    ['', 'a', false],
  ])('%j and %j: %j', (pattern, model, fits) => {
    expect(allowsModel([pattern], model)).toBe(fits);
  });

  it('fit as a regular expression does, however they are made', () => {
    const letters = fc
      .array(fc.constantFrom('a', 'b', ':', '*'), { maxLength: 10 })
      .map((list) => list.join(''));
    const texts = fc.array(fc.constantFrom('a', 'b', ':'), { maxLength: 10 }).map((list) => list.join(''));
    fc.assert(
      fc.property(letters, texts, fc.constantFrom('[^]', '[^:]'), (pattern, text, any) => {
        const expression = new RegExp(`^${pattern.split('*').join(`${any}*`)}$`, 'su');
        expect(fitsPattern(pattern, text, new RegExp(any))).toBe(expression.test(text));
      }),
      { numRuns: 20_000 },
    );
  });

  it('are not slow, whatever the pattern', () => {
    // A backtracking matcher would not come back from this.
    expect(fitsPattern(`${'a*'.repeat(60)}b`, 'a'.repeat(128))).toBe(false);
  });

  it.each([
    // the provider's own id, with the provider's name before it
    ['anthropic/claude-haiku-4-5', 'claude-haiku-4-5', 'anthropic', true],
    ['anthropic/claude-haiku-4-5', 'claude-haiku-4-5', 'openai', false],
    ['anthropic/claude-haiku-4-5', 'claude-haiku-4-5', undefined, false],
    ['anthropic/claude-haiku-4-5', 'claude-haiku-4-5-20251001', 'anthropic', true],
    ['anthropic/claude-haiku-4-5', 'anthropic/claude-haiku-4.5', 'openrouter', true],
    ['anthropic/claude-haiku-4.5', 'anthropic/claude-haiku-4-5', 'openrouter', true],
    ['openai/gpt-4.1', 'openai/gpt-4-1', 'openrouter', false],
    ['openai/gpt-5', 'openai/gpt-5-2026-01-01', 'openrouter', true],
    ['openai/gpt-5-2026-01-01', 'openai/gpt-5', 'openrouter', false],
    ['google/gemini-3', 'models/gemini-3', 'google', true],
    ['x/claude-haiku-4-5', 'claude-haiku-4-5', 'openrouter', false],
    // a star stands for what plain ids are made of, and for nothing else
    ...[' ', '\n', '\u200b', '%20', '@preset/dear', '?x', '#', '\\', 'а', '\ud83d\ude00', '/../v-opus'].map(
      (odd): [string, string, string | undefined, boolean] => [
        'v/small-*',
        `v/small-1${odd}`,
        undefined,
        false,
      ],
    ),
    ['v/small-*', 'v/small-1/x_Y.2~', undefined, true],
    ['v/small-*@latest', 'v/small-1@latest', undefined, true],
    ['*', '~v/small-latest', undefined, true],
  ])('%j means %j of %j: %j', (pattern, model, provider, fits) => {
    expect(allowsModel([pattern], model, provider)).toBe(fits);
  });

  it('a restriction is about variants and the auto router, too; a permission is not', () => {
    for (const model of ['v/dear:nitro', 'v/dear:online:free', AUTO]) {
      expect(concernsModel(['v/dear'], model)).toBe(true);
      expect(allowsModel(['v/dear'], model)).toBe(false);
    }
    expect(concernsModel(['v/dear'], 'v/dearer')).toBe(false);
    for (const odd of ['v/dear-1 ', 'v/dear-1\u200b', 'v/dear-1@preset/x', 'v/dear-1/../small'])
      expect(concernsModel(['v/dear-*'], odd)).toBe(true);
  });
});

describe('rules', () => {
  it.each<[string, Given, string]>([
    ['no rule', {}, 'within_caps'],
    ['one of the models', { rules: [{ models: ['v/cheap', 'v/m*'] }] }, 'within_caps'],
    ['none of the models', { rules: [{ models: ['v/cheap'] }] }, 'model_not_allowed'],
    ['each rule must let it', { rules: [{ models: 'v/*' }, { models: 'v/cheap' }] }, 'model_not_allowed'],
    [
      'a fallback counts',
      { rules: [{ models: 'v/mid' }], request: { fallbacks: ['v/cheap'] } },
      'model_not_allowed',
    ],
    [
      'another task',
      { rules: [{ when: { task: 'pay' }, models: 'v/cheap' }], scope: { task: 'x' } },
      'within_caps',
    ],
    ['no task', { rules: [{ when: { task: 'pay' }, models: 'v/cheap' }] }, 'within_caps'],
    [
      'the task',
      { rules: [{ when: { task: 'pay' }, models: 'v/cheap' }], scope: { task: 'pay' } },
      'model_not_allowed',
    ],
    [
      'one of the tasks',
      { rules: [{ when: { task: ['a', 'pay*'] }, models: 'v/cheap' }], scope: { task: 'pay:in' } },
      'model_not_allowed',
    ],
    [
      'one of two fields',
      { rules: [{ when: { task: 'a', userId: 'u' }, models: 'v/cheap' }], scope: { task: 'a' } },
      'within_caps',
    ],
    ['about these models', { rules: [{ when: { models: 'v/mid' }, requires: 'x' }] }, 'capability_missing'],
    ['about other models', { rules: [{ when: { models: 'v/dear' }, requires: 'x' }] }, 'within_caps'],
    [
      'about a fallback',
      { rules: [{ when: { models: 'v/dear' }, requires: 'x' }], request: { fallbacks: ['v/dear'] } },
      'capability_missing',
    ],
    ['of another policy', { policies: [{}, { rules: [{ models: 'v/cheap' }] }] }, 'model_not_allowed'],
    ['rules without caps', { caps: [], rules: [{ models: 'v/mid' }] }, 'within_rules'],
    ['rules without caps, broken', { caps: [], rules: [{ models: 'v/cheap' }] }, 'model_not_allowed'],
    [
      'a charge is no model',
      {
        rules: [{ models: 'v/cheap', maxPrice: 0 }, { routeTo: 'v/cheap' }],
        request: { fixedCost: 1n, model: 'search' },
      },
      'within_caps',
    ],
    [
      'a charge needs capabilities',
      { rules: [{ requires: 'x' }], request: { fixedCost: 1n, model: 'search' } },
      'capability_missing',
    ],
  ])('%s', (_what, given, reason) => {
    expect(decided(given).reason).toBe(reason);
  });

  it('name the rule that refused', () => {
    const policies = [{ rules: [] }, { rules: [{ models: 'v/*' }, { models: 'v/cheap' }] }];
    expect(decided({ policies })).toMatchObject({ rule: [1, 1], detail: 'v/mid' });
  });
});

describe('price ceilings', () => {
  const under = (maxPrice: NonNullable<ModelRule['maxPrice']>, model: string, tokens = 100) =>
    decided({ rules: [{ maxPrice }], request: { model, input: { tokens } } }).reason;

  it.each<[string, NonNullable<ModelRule['maxPrice']>, string, string, number?]>([
    ['both rates at most the figure', '5', 'v/mid', 'within_caps'],
    ['to the nano-dollar', '4.999999999', 'v/mid', 'price_ceiling'],
    ['input alone', { input: '1' }, 'v/mid', 'within_caps'],
    ['input alone, above', { input: '0.99' }, 'v/mid', 'price_ceiling'],
    ['output alone', { output: 5 }, 'v/mid', 'within_caps'],
    ['output alone, above', { output: 4.99 }, 'v/mid', 'price_ceiling'],
    ['cache rates are not compared', { input: 5, output: 25 }, 'v/dear', 'within_caps'],
    ['reasoning is output', '0.8', 'v/thinks', 'price_ceiling'],
    ['a fee for the request', '9', 'v/fee', 'price_ceiling'],
    ['a fee that is named', { input: 9, output: 9, request: '0.01' }, 'v/fee', 'within_caps'],
    ['a fee above the one named', { request: '0.009' }, 'v/fee', 'price_ceiling'],
    ['a tier out of reach', '0.2', 'v/tiered', 'within_caps', 1000],
    ['a tier in reach', '0.2', 'v/tiered', 'price_ceiling', 1001],
    ['a model without a price', '0.2', 'v/unknown', 'unknown_price'],
  ])('%s', (_what, ceiling, model, reason, tokens) => {
    expect(under(ceiling, model, tokens)).toBe(reason);
  });

  it('are told to the adapter that can send them, and only then', () => {
    const rules: ModelRule[] = [
      { maxPrice: { input: '2' } },
      { maxPrice: { input: '1.5', output: '7', request: 1 } },
    ];
    expect(decided({ rules }).route?.maxPrice).toEqual({ input: '1.50', output: '7.00', request: '0.00' });
    expect(decided({ rules, request: { ceilingCanBeSet: false } }).route).not.toHaveProperty('maxPrice');
    expect(decided({ rules, caps: [] }).route?.maxPrice).toEqual({
      input: '1.50',
      output: '7.00',
      request: '0.00',
    });
  });
});

describe('the auto router', () => {
  const rules: ModelRule[] = [{ maxPrice: { input: '1', output: '5' } }];
  const auto = (more: Partial<RequestFacts> = {}, given: Given = {}) =>
    decided({ rules, ...given, request: { model: AUTO, ...more } });

  it('costs what its ceiling says, with a quarter more for what is written to a cache', () => {
    // 100 × $1.25 + 100 × $5 per million
    expect(auto()).toMatchObject({ decision: 'allow', to: AUTO, hold: 625_000n });
    expect(auto({ fallbacks: ['v/dear'] }).reason).toBe('price_ceiling');
    expect(auto({ model: 'v/cheap', fallbacks: [AUTO] })).toMatchObject({
      decision: 'allow',
      hold: 625_000n,
    });
  });

  it.each<[string, Partial<RequestFacts>, Given, string]>([
    ['without a ceiling', {}, { rules: [] }, 'unknown_price'],
    [
      'without a ceiling or a cap, but under a rule',
      {},
      { caps: [], rules: [{ models: '*' }] },
      'unknown_price',
    ],
    [
      'under a rule, with `unknownPrice: allow`',
      {},
      { policies: [{ unknownPrice: 'allow' }], rules: [{ requires: 'x' }], request: {} },
      'capability_missing',
    ],
    ['with nothing in play', {}, { caps: [], rules: [] }, 'no_caps'],
    ['with half a ceiling', {}, { rules: [{ maxPrice: { input: '1' } }] }, 'unknown_price'],
    ['with a ceiling that can’t be sent', { ceilingCanBeSet: false }, {}, 'price_ceiling'],
    ['with a prompt that may meet dearer tiers', { input: { tokens: 128_001 } }, {}, 'unbounded_cost'],
    ['with images', { features: ['images'] }, {}, 'unbounded_cost'],
    ['with an unbounded prompt', { input: { unbounded: 'x' } }, {}, 'unbounded_cost'],
    ['under an allow-list', {}, { rules: [...rules, { models: 'v/*' }] }, 'model_not_allowed'],
    ['named in the allow-list', {}, { rules: [...rules, { models: AUTO }] }, 'within_caps'],
    [
      'where a model needs a capability',
      {},
      { rules: [...rules, { when: { models: 'v/dear' }, requires: 'x' }] },
      'capability_missing',
    ],
    [
      'with `unknownPrice: allow`, but half a ceiling',
      {},
      { policies: [{ unknownPrice: 'allow' }], rules: [{ maxPrice: { output: '1' } }] },
      'unknown_price',
    ],
  ])('%s: %j', (_what, request, given, reason) => {
    expect(auto(request, given).reason).toBe(reason);
  });

  it('is counted by every cap on some models', () => {
    const onDear = { ...WIDE, models: 'v/dear' };
    expect(auto({}, { caps: [onDear] }).uncounted).toBeUndefined();
    expect(decided({ caps: [onDear] }).uncounted).toEqual([0]);
  });
});

it('a capability with a maximum lets no cost pass that nobody knows', () => {
  const capabilities = [{ hash: 'h', names: [], expires: 1e12, max: 1n }];
  const policies = [{ unknownPrice: 'allow' as const }];
  expect(decided({ policies, request: { model: 'v/none' } }).reason).toBe('within_caps');
  expect(decided({ policies, request: { model: 'v/none', capabilities } }).reason).toBe('unknown_price');
  expect(decided({ caps: [], request: { model: 'v/none', capabilities } }).reason).toBe('unknown_price');
});

describe('sending a call elsewhere', () => {
  it.each<[string, Given, string | undefined, string]>([
    ['to the first', { rules: [{ routeTo: ['v/cheap', 'v/dear'] }] }, 'v/cheap', 'routed'],
    ['not when it is there', { rules: [{ routeTo: ['v/cheap', 'v/mid'] }] }, 'v/mid', 'within_caps'],
    ['also to a dearer one', { rules: [{ routeTo: 'v/dear' }] }, 'v/dear', 'routed'],
    [
      'past one that can’t be reached',
      { rules: [{ routeTo: ['v/cheap', 'v/dear'] }], uncarried: ['v/cheap'] },
      'v/dear',
      'routed',
    ],
    ['past one without a price', { rules: [{ routeTo: ['v/none', 'v/dear'] }] }, 'v/dear', 'routed'],
    [
      'past one that another rule is against',
      { rules: [{ routeTo: ['v/dear', 'v/cheap'] }, { maxPrice: 1 }] },
      'v/cheap',
      'routed',
    ],
    [
      'past one with too little context',
      { rules: [{ routeTo: ['v/short', 'v/cheap'] }] },
      'v/cheap',
      'routed',
    ],
    [
      'where all rules agree',
      { rules: [{ routeTo: ['v/dear', 'v/cheap'] }, { routeTo: ['v/cheap', 'v/mid'] }] },
      'v/cheap',
      'routed',
    ],
    [
      'nowhere when they don’t',
      { rules: [{ routeTo: 'v/dear' }, { routeTo: 'v/cheap' }] },
      undefined,
      'no_route',
    ],
    [
      'where a rule is about its model',
      { rules: [{ when: { models: 'v/m*' }, routeTo: 'v/cheap' }] },
      'v/cheap',
      'routed',
    ],
    [
      'where a rule is about a fallback that it names',
      { rules: [{ when: { models: 'v/dear' }, routeTo: 'v/cheap' }], request: { fallbacks: ['v/dear'] } },
      'v/cheap',
      'routed',
    ],
    [
      'not where a rule is about other models',
      { rules: [{ when: { models: 'v/dear' }, routeTo: 'v/cheap' }] },
      'v/mid',
      'within_caps',
    ],
    [
      'past one whose own calls are sent elsewhere',
      { rules: [{ routeTo: ['v/dear', 'v/cheap'] }, { when: { models: 'v/dear' }, routeTo: 'v/thinks' }] },
      'v/cheap',
      'routed',
    ],
    [
      'nowhere when none can be reached',
      { rules: [{ routeTo: 'v/cheap' }], uncarried: ['v/cheap'] },
      undefined,
      'no_route',
    ],
    [
      'with the fallbacks dropped',
      { rules: [{ routeTo: 'v/mid' }], request: { fallbacks: ['v/dear'] } },
      'v/mid',
      'routed',
    ],
    [
      'with fallbacks that it names, too',
      { rules: [{ routeTo: ['v/mid', 'v/dear'] }], request: { fallbacks: ['v/dear'] } },
      'v/mid',
      'within_caps',
    ],
    [
      'and on down a ladder',
      {
        rules: [{ routeTo: 'v/mid' }],
        request: { model: 'v/dear' },
        caps: [{ amountCents: 0, window: 'per_call', action: 'downgrade', downgradeTo: 'v/cheap' }],
      },
      'v/cheap',
      'over_soft_cap',
    ],
    [
      'but not past a cap',
      { rules: [{ routeTo: 'v/dear' }], caps: [{ amountCents: '0.0001', window: 'total', action: 'block' }] },
      undefined,
      'cap_spent',
    ],
  ])('%s', (_what, given, to, reason) => {
    expect(decided(given)).toMatchObject({ reason, ...(to !== undefined && { to }) });
  });

  const ladder = (...downgradeTo: string[]): SpendCap => ({
    amountCents: 0,
    window: 'per_call',
    action: 'downgrade',
    downgradeTo,
  });

  it.each<[string, RequestFacts['features'], string[], string | undefined]>([
    ['takes a rung with the features', ['images'], ['v/reads', 'v/sees'], 'v/sees'],
    ['all of them', ['tools', 'schema'], ['v/sees', 'v/reads'], 'v/reads'],
    ['or one that nobody knows of', ['images', 'reasoning'], ['v/sees', 'v/cheap'], 'v/cheap'],
    ['none', ['files'], ['v/sees', 'v/reads'], undefined],
    ['any, when nothing is needed', undefined, ['v/sees'], 'v/sees'],
  ])('%s', (_what, features, rungs, to) => {
    const { reason, ...decision } = decided({
      caps: [ladder(...rungs)],
      request: { ...(features && { features }) },
    });
    expect(decision.to).toBe(to);
    if (to === undefined) expect(reason).toBe('no_route');
  });

  it('goes down only to rungs that the rules let it', () => {
    const rules: ModelRule[] = [{ models: ['v/mid', 'v/cheap'] }];
    expect(decided({ caps: [ladder('v/sees', 'v/cheap')], rules }).to).toBe('v/cheap');
    expect(decided({ caps: [ladder('v/sees')], rules }).reason).toBe('no_route');
  });
});

describe('capabilities', () => {
  it('tiers include those below them, and nothing else', () => {
    for (const [place, held] of CAPABILITY_TIERS.entries()) {
      for (const [least, required] of CAPABILITY_TIERS.entries())
        expect(hasCapability([held], required)).toBe(place >= least);
      expect(hasCapability([held], 'repo:write')).toBe(false);
      expect(hasCapability(['repo:write'], held)).toBe(false);
    }
    expect(hasCapability([], 'read_only')).toBe(false);
  });

  it('only what can matter is kept, and it decides the same', () => {
    const names = fc.subarray([...CAPABILITY_TIERS, 'a', 'b', 'c']);
    fc.assert(
      fc.property(names, names, (held, required) => {
        const kept = relevantCapabilities(held, new Set(required));
        for (const name of required) expect(hasCapability(kept, name)).toBe(hasCapability(held, name));
        for (const name of kept) expect(held).toContain(name);
        expect(kept.length).toBeLessThanOrEqual(required.length + 1);
      }),
    );
  });
});
