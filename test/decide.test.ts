/** The decision function as a table, wrong inputs and the order of reasons included. */
import { describe, expect, it } from 'vitest';
import { capLayout } from '../src/accounts.ts';
import { decide, type DecideInput, type PresentedCapability, type RequestFacts } from '../src/decide.ts';
import { BLOCK_REASONS } from '../src/errors.ts';
import { parsePolicy, type SpendCap, type SpendPolicy } from '../src/policy.ts';
import { compilePrice, type Price } from '../src/pricing/price.ts';
import type { SpendScope } from '../src/scope.ts';

const usd = (amount: number): bigint => BigInt(Math.round(amount * 1e9));

/** USD per million tokens: 1000 tokens of `big` cost $0.01 in and $0.05 out. */
const PRICES = {
  big: ['10', '50'],
  mid: ['3', '15'],
  small: ['1', '5'],
  free: ['0', '0'],
} as const;

function price(
  name: keyof typeof PRICES,
  more: { contextLength?: number; maxOutputTokens?: number } = {},
): Price {
  const [input, output] = PRICES[name];
  return compilePrice({ model: name, source: 'test', version: '1', input, output, ...more });
}

const DAY_BLOCK: SpendCap = { amountCents: 1000, window: 'per_day', action: 'block' };
const DAY_SOFT: SpendCap = { amountCents: 500, window: 'per_day', action: 'downgrade', downgradeTo: 'small' };

const ASK: SpendCap = { amountCents: 0, window: 'total', action: 'ask' };

function policy(caps: readonly SpendCap[], more: Partial<SpendPolicy> = {}): SpendPolicy {
  return { id: 'p', scope: {}, caps, version: 1, effectiveFrom: '2026-01-01T00:00:00Z', ...more };
}

interface Row {
  policies?: SpendPolicy[];
  /** spent and held in USD, for each cap in order */
  amounts?: [number, number][];
  request?: Partial<RequestFacts>;
  prices?: Record<string, Price>;
  uncarried?: string[];
  scope?: SpendScope;
  more?: Partial<DecideInput>;
  notEffective?: boolean;
}

function inputOf(row: Row): DecideInput {
  const policies = (row.policies ?? [policy([DAY_BLOCK])]).map(parsePolicy);
  const scope = row.scope ?? {};
  const prices = row.prices ?? {
    big: price('big'),
    mid: price('mid'),
    small: price('small'),
    free: price('free'),
  };
  return {
    now: 1000,
    scope,
    requireTenant: false,
    clockWrong: false,
    policies: policies.map((each) => ({ policy: each, effective: row.notEffective !== true })),
    caps: capLayout(policies, scope).caps.map((ref, index) => {
      const [spent, held] = row.amounts?.[index] ?? [0, 0];
      return { ref, spent: usd(spent), held: usd(held), resetsAt: 5000 };
    }),
    request: {
      model: 'big',
      fallbacks: [],
      input: { tokens: 1000 },
      maxOutputTokens: 1000,
      choices: 1,
      limitCanBeSet: true,
      ...row.request,
    },
    prices: new Map(Object.entries(prices)),
    uncarried: new Set(row.uncarried),
    ...row.more,
  };
}

const noLimit = { maxOutputTokens: undefined } as unknown as Partial<RequestFacts>;

describe('decide', () => {
  it.each<[string, Row, string, string, Record<string, unknown>?]>([
    ['room for it', {}, 'allow', 'within_caps', { hold: usd(0.06) }],
    ['to the nano-dollar', { amounts: [[9.94, 0]] }, 'allow', 'within_caps'],
    [
      'one nano-dollar short',
      { amounts: [[9.940000001, 0]] },
      'block',
      'cap_spent',
      { retryAt: 5000, cap: 0 },
    ],
    ['only holds in the way', { amounts: [[9, 0.95]] }, 'block', 'cap_held', { cap: 0 }],
    [
      'spent before held',
      {
        policies: [policy([DAY_BLOCK, DAY_BLOCK])],
        amounts: [
          [9, 0.95],
          [10, 0],
        ],
      },
      'block',
      'cap_spent',
      { cap: 1 },
    ],
    ['no caps', { policies: [policy([])] }, 'allow', 'no_caps'],
    ['no policy', { policies: [] }, 'block', 'no_policy'],
    [
      'not effective yet',
      { notEffective: true },
      'block',
      'policy_not_effective',
      { retryAt: Date.parse('2026-01-01') },
    ],
    ['clock', { more: { clockWrong: true } }, 'block', 'clock'],
    [
      'scope conflict first',
      { policies: [], more: { scopeConflict: 'tenantId' } },
      'block',
      'scope_conflict',
    ],
    ['tenant required', { more: { requireTenant: true } }, 'block', 'scope_required', { detail: 'tenantId' }],
    ['tenant given', { scope: { tenantId: 'acme' }, more: { requireTenant: true } }, 'allow', 'within_caps'],
    [
      'per_task without task',
      { policies: [policy([{ ...DAY_BLOCK, window: 'per_task' }])] },
      'block',
      'scope_required',
      { detail: 'taskId' },
    ],
    [
      'per user without user',
      { policies: [policy([{ ...DAY_BLOCK, per: ['userId'] }])] },
      'block',
      'scope_required',
      { detail: 'userId' },
    ],
    ['unknown price', { request: { model: 'nameless' } }, 'block', 'unknown_price', { detail: 'nameless' }],
    [
      'unknown price of a fallback',
      { request: { fallbacks: ['nameless'] } },
      'block',
      'unknown_price',
      { detail: 'nameless' },
    ],
    [
      'unknown price allowed',
      { policies: [policy([DAY_BLOCK], { unknownPrice: 'allow' })], request: { model: 'nameless' } },
      'allow',
      'within_caps',
      { hold: 0n },
    ],
    [
      'unknown price, one policy strict',
      {
        policies: [policy([DAY_BLOCK], { unknownPrice: 'allow' }), policy([])],
        request: { model: 'nameless' },
      },
      'block',
      'unknown_price',
    ],
    ['unknown price, no cap', { policies: [policy([])], request: { model: 'nameless' } }, 'allow', 'no_caps'],
    [
      'unbounded input',
      { request: { input: { unbounded: 'a file' } } },
      'block',
      'unbounded_cost',
      { detail: 'a file' },
    ],
    [
      'dearest fallback is held',
      { request: { model: 'small', fallbacks: ['big'] } },
      'allow',
      'within_caps',
      { hold: usd(0.06) },
    ],
    ['choices multiply the output', { request: { choices: 3 } }, 'allow', 'within_caps', { hold: usd(0.16) }],
    [
      'per_call block',
      { policies: [policy([{ amountCents: 5, window: 'per_call', action: 'block' }])] },
      'block',
      'cap_per_call',
      { cap: 0 },
    ],
    [
      'per_call before spent',
      {
        policies: [policy([DAY_BLOCK, { amountCents: 5, window: 'per_call', action: 'block' }])],
        amounts: [[10, 0]],
      },
      'block',
      'cap_per_call',
    ],
    [
      'soft cap not reached',
      { policies: [policy([DAY_SOFT])], amounts: [[4.99, 100]] },
      'allow',
      'within_caps',
    ],
    [
      'soft cap reached',
      { policies: [policy([DAY_SOFT])], amounts: [[5, 0]] },
      'downgrade',
      'over_soft_cap',
      { hold: usd(0.006), cap: 0 },
    ],
    [
      'soft cap, already on its model',
      { policies: [policy([DAY_SOFT])], amounts: [[5, 0]], request: { model: 'small' } },
      'allow',
      'within_caps',
    ],
    [
      'soft cap, its model with a dear fallback',
      { policies: [policy([DAY_SOFT])], amounts: [[5, 0]], request: { model: 'small', fallbacks: ['big'] } },
      'downgrade',
      'over_soft_cap',
    ],
    [
      'soft cap, cheaper than its model',
      {
        policies: [policy([{ ...DAY_SOFT, downgradeTo: 'mid' }])],
        amounts: [[5, 0]],
        request: { model: 'small' },
      },
      'allow',
      'within_caps',
    ],
    [
      'soft per_call',
      { policies: [policy([{ ...DAY_SOFT, window: 'per_call', amountCents: 5 }])] },
      'downgrade',
      'over_soft_cap',
    ],
    [
      'soft and hard: the rung fits',
      {
        policies: [policy([DAY_SOFT, DAY_BLOCK])],
        amounts: [
          [9.99, 0],
          [9.99, 0],
        ],
      },
      'downgrade',
      'over_soft_cap',
    ],
    [
      'soft and hard: nothing fits',
      {
        policies: [policy([DAY_SOFT, DAY_BLOCK])],
        amounts: [
          [10, 0],
          [10, 0],
        ],
      },
      'block',
      'cap_spent',
      { cap: 1 },
    ],
    [
      'ladder: second rung fits',
      {
        policies: [policy([{ ...DAY_SOFT, downgradeTo: ['mid', 'small'] }, DAY_BLOCK])],
        amounts: [
          [9.99, 0],
          [9.99, 0],
        ],
      },
      'downgrade',
      'over_soft_cap',
      { hold: usd(0.006) },
    ],
    [
      'ladder: first rung too short',
      {
        policies: [policy([{ ...DAY_SOFT, downgradeTo: ['mid', 'small'] }])],
        amounts: [[5, 0]],
        prices: { big: price('big'), mid: price('mid', { contextLength: 500 }), small: price('small') },
      },
      'downgrade',
      'over_soft_cap',
      { hold: usd(0.006) },
    ],
    [
      'two soft caps: the cheapest wins',
      {
        policies: [policy([{ ...DAY_SOFT, downgradeTo: 'mid' }, DAY_SOFT])],
        amounts: [
          [5, 0],
          [5, 0],
        ],
      },
      'downgrade',
      'over_soft_cap',
      { cap: 1, hold: usd(0.006) },
    ],
    [
      'no rung can be carried',
      { policies: [policy([DAY_SOFT])], amounts: [[5, 0]], uncarried: ['small'] },
      'block',
      'no_route',
      { cap: 0 },
    ],
    [
      'rung without price',
      { policies: [policy([{ ...DAY_SOFT, downgradeTo: 'nameless' }])], amounts: [[5, 0]] },
      'block',
      'no_route',
    ],
    [
      'shadow changes nothing',
      { policies: [policy([DAY_BLOCK], { mode: 'shadow' })], amounts: [[10, 0]] },
      'allow',
      'shadow',
      { shadow: { decision: 'block', reason: 'cap_spent' } },
    ],
    [
      'shadow beside enforce',
      {
        policies: [
          policy([DAY_BLOCK]),
          policy([{ ...DAY_BLOCK, amountCents: 1 }], { id: 's', mode: 'shadow' }),
        ],
      },
      'allow',
      'within_caps',
      { shadow: { decision: 'block', reason: 'cap_spent' } },
    ],
    [
      'free model over a full cap',
      { amounts: [[10, 0]], request: { model: 'free' } },
      'allow',
      'within_caps',
      { hold: 0n },
    ],
    ['a cap of zero', { policies: [policy([{ ...DAY_BLOCK, amountCents: 0 }])] }, 'block', 'cap_spent'],
    ['a fixed cost', { request: { fixedCost: usd(11), model: 'search' } }, 'block', 'cap_spent'],
  ])('%s', (_name, row, decision, reason, more = {}) => {
    const input = inputOf(row);
    expect(decide(input)).toMatchObject({ decision, reason, ...more });
    expect(decide(input)).toEqual(decide(input));
  });

  it.each<[string, Row, Record<string, unknown>]>([
    ['own limit', {}, { limit: 'own', maxOutputTokens: 1000 }],
    ['default', { request: noLimit }, { limit: 'injected', maxOutputTokens: 8192 }],
    [
      'smallest of the policies',
      { policies: [policy([DAY_BLOCK], { maxOutputTokens: 500 }), policy([DAY_BLOCK])], request: noLimit },
      { limit: 'injected', maxOutputTokens: 500 },
    ],
    [
      'never below the reasoning budget',
      { request: { ...noLimit, reasoningTokens: 20_000 } },
      { limit: 'injected', maxOutputTokens: 21_024 },
    ],
    [
      'never above the model',
      { request: noLimit, prices: { big: price('big', { maxOutputTokens: 4096 }) } },
      { limit: 'injected', maxOutputTokens: 4096 },
    ],
    [
      'the model’s own',
      {
        policies: [policy([DAY_BLOCK], { maxOutputTokens: 'model' })],
        request: noLimit,
        prices: { big: price('big', { maxOutputTokens: 32_000 }) },
      },
      { limit: 'injected', maxOutputTokens: 32_000 },
    ],
    [
      'where none can be set',
      {
        request: { ...noLimit, limitCanBeSet: false },
        prices: { big: price('big', { maxOutputTokens: 4096 }) },
      },
      { limit: 'model', maxOutputTokens: 4096 },
    ],
    ['no cap in play', { policies: [policy([])], request: noLimit }, { limit: 'none' }],
    [
      'clamped',
      { policies: [policy([DAY_BLOCK], { clampOutput: { minTokens: 100 } })], amounts: [[9.96, 0]] },
      { limit: 'clamped', maxOutputTokens: 600 },
    ],
    [
      'clamped to what holds leave',
      { policies: [policy([DAY_BLOCK], { clampOutput: { minTokens: 100 } })], amounts: [[5, 4.96]] },
      { limit: 'clamped', maxOutputTokens: 600 },
    ],
  ])('limits the output: %s', (_name, row, route) => {
    const decision = decide(inputOf(row));
    expect(decision.route).toMatchObject(route);
    expect('maxOutputTokens' in (decision.route ?? {})).toBe('maxOutputTokens' in route);
  });

  it('blocks when the clamp would go below its least', () => {
    const row = {
      policies: [policy([DAY_BLOCK], { clampOutput: { minTokens: 601 } })],
      amounts: [[9.96, 0]] as [number, number][],
    };
    expect(decide(inputOf(row))).toMatchObject({ decision: 'block', reason: 'cap_spent' });
  });

  it('blocks what has no limit and no known maximum', () => {
    expect(decide(inputOf({ request: { ...noLimit, limitCanBeSet: false } }))).toMatchObject({
      reason: 'unbounded_cost',
    });
  });

  it('drops the fallbacks of a downgraded call', () => {
    const row: Row = {
      policies: [policy([DAY_SOFT])],
      amounts: [[5, 0]],
      request: { fallbacks: ['mid', 'big'] },
    };
    expect(decide(inputOf(row)).route).toMatchObject({ model: 'small', fallbacks: [] });
  });

  it('counts two caps of one scope and window on one account', () => {
    const { accounts } = capLayout([parsePolicy(policy([DAY_SOFT, DAY_BLOCK]))], {});
    expect(accounts).toHaveLength(1);
  });

  it('leaves its input as it was', () => {
    const input = inputOf({
      policies: [policy([DAY_SOFT, DAY_BLOCK])],
      amounts: [
        [5, 0],
        [5, 0],
      ],
    });
    const before = structuredClone({
      ...input,
      policies: [],
      caps: input.caps.map(({ spent, held }) => [spent, held]),
    });
    decide(input);
    expect({ ...input, policies: [], caps: input.caps.map(({ spent, held }) => [spent, held]) }).toEqual(
      before,
    );
  });

  it('gives every block reason that it can give, in their documented order', () => {
    // Each step mends the reason before it; `ledger_unavailable` is the guard's own, for what never got here.
    const frozen = { frozen: { teamId: 'x' } };
    const strict = [
      { models: 'small', requires: 'payment_execute', maxPrice: { input: '5' } },
      { models: '*', maxPrice: { output: '1' } },
    ];
    const bad: PresentedCapability = { hash: 'h', names: [], expires: 0, problem: 'it has expired' };
    const good: PresentedCapability = {
      hash: 'h',
      names: ['payment_execute'],
      expires: 1e12,
      max: usd(0.001),
    };
    const full = [{ ...DAY_BLOCK, window: 'per_call' as const, amountCents: 0 }, DAY_BLOCK, DAY_BLOCK];
    const amounts: [number, number][] = [
      [0, 0],
      [10, 0],
      [0, 10],
    ];
    const unbounded = { input: { unbounded: 'x' } };
    const steps: Row[] = [
      { policies: [], more: { scopeConflict: 'tenantId', requireTenant: true, ...frozen } },
      { policies: [], more: { requireTenant: true, ...frozen } },
      { policies: [], more: frozen },
      { policies: [] },
      { notEffective: true, more: { clockWrong: true }, request: { model: 'nameless', capabilities: [bad] } },
      { more: { clockWrong: true }, request: { model: 'nameless', capabilities: [bad] } },
      {
        policies: [policy([DAY_BLOCK], { rules: strict })],
        request: { model: 'nameless', capabilities: [bad] },
      },
      { policies: [policy([DAY_BLOCK], { rules: strict })], request: { model: 'nameless' } },
      {
        policies: [policy([DAY_BLOCK], { rules: strict })],
        request: { model: 'nameless', claims: ['payment_execute'] },
      },
      {
        policies: [policy([DAY_BLOCK], { rules: strict.slice(1) })],
        request: { model: 'nameless', ...unbounded },
      },
      { policies: [policy([DAY_BLOCK], { rules: strict.slice(1) })], request: unbounded },
      { request: { ...unbounded, capabilities: [good] } },
      { policies: [policy(full)], amounts, request: { capabilities: [good] } },
      { policies: [policy(full)], amounts },
      { policies: [policy(full.slice(1))], amounts: amounts.slice(1) },
      { amounts: [[0, 10]] },
      { policies: [policy([DAY_SOFT, ASK])], amounts: [[5, 0]], uncarried: ['small'] },
      { policies: [policy([ASK])] },
    ];
    const reasons = steps.map((step) => decide(inputOf(step)).reason);
    expect(reasons).toEqual(BLOCK_REASONS.filter((reason) => reason !== 'ledger_unavailable'));
  });
});
