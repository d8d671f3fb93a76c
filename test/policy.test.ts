import { describe, expect, it } from 'vitest';
import { parsePolicy } from '../src/policy.ts';

const CAP = { amountCents: 100, window: 'per_day', action: 'block' };
const POLICY = { id: 'p', scope: {}, caps: [CAP], version: 1, effectiveFrom: '2026-01-01T00:00:00Z' };

function problem(value: unknown): string {
  try {
    parsePolicy(value);
  } catch (error) {
    expect(error).toMatchObject({ code: 'invalid_policy' });
    return (error as Error).message;
  }
  throw new Error('the policy was accepted');
}

function without(field: string): object {
  return Object.fromEntries(Object.entries(POLICY).filter(([name]) => name !== field));
}

const DIGEST_OF_030 = 'sha256:a0ee707c31315166eb9b4d56ad1e751159013fa6f26208a3426a15e083b07407';

const WINDOWS =
  'one of "per_call", "per_minute", "per_hour", "per_day", "per_week", "per_month", "per_task", "total"';

/** What is written, and the line that says what is wrong with it. */
const ROWS: readonly (readonly [value: unknown, line: string])[] = [
  ['{"id":"p"}', '(policy): expected an object, got text; JSON.parse it first'],
  [[POLICY], '(policy): expected an object, got a list; pass one policy'],
  [null, '(policy): expected an object, got null'],
  [undefined, '(policy): expected an object, got undefined'],
  [without('id'), 'id: missing; expected text of 1 to 128 characters'],
  [{ ...POLICY, id: '' }, 'id: expected text of 1 to 128 characters, got ""'],
  [{ ...POLICY, id: 7 }, 'id: expected text of 1 to 128 characters, got 7'],
  [without('scope'), 'scope: missing; expected an object such as { tenantId: "acme" } ({} for every call)'],
  [{ ...POLICY, scope: { userId: '' } }, 'scope.userId: expected text of 1 to 128 characters, got ""'],
  [{ ...POLICY, scope: { user: 'a' } }, 'scope.user: unknown field; did you mean userId?'],
  [without('caps'), 'caps: missing; expected a list of caps ([] for none)'],
  [{ ...POLICY, caps: CAP }, 'caps: expected a list of caps ([] for none), got an object'],
  [{ ...POLICY, caps: Array.from({ length: 40 }, () => CAP) }, 'caps: expected at most 32, got 40'],
  [{ ...POLICY, caps: ['x'] }, 'caps[0]: expected a cap such as { amountCents: 5000, '],
  [without('version'), 'version: missing; expected a whole number of at least 0'],
  [{ ...POLICY, version: 1.5 }, 'version: expected a whole number of at least 0, got 1.5'],
  [{ ...POLICY, mode: 'off' }, 'mode: expected "enforce" or "shadow", got "off"'],
  [{ ...POLICY, timezone: 'UTC' }, 'timezone: unknown field; did you mean timeZone?'],
  [{ ...POLICY, zzzzzz: 1 }, 'zzzzzz: unknown field; expected one of id, name, scope, caps, '],
  [
    { ...POLICY, effectiveFrom: new Date(0) },
    'effectiveFrom: expected text, got a Date; use date.toISOString()',
  ],
  [
    { ...POLICY, effectiveFrom: '2026-01-01T00:00:00' },
    'effectiveFrom: add a time zone, e.g. Z or +02:00, for an ISO 8601 instant; got "2026-01-01T00:00:00"',
  ],
  [
    { ...POLICY, effectiveFrom: 'tomorrow' },
    'effectiveFrom: expected a date such as "2026-05-28", or an ISO 8601 instant such as "2026-05-28T00:00:00Z", got "tomorrow"',
  ],
  [
    { ...POLICY, timeZone: 'Berlin' },
    'timeZone: expected an IANA time zone such as "Europe/Berlin", or an offset such as "+02:00", got "Berlin"; did you mean Europe/Berlin?',
  ],
  [
    { ...POLICY, maxOutputTokens: 0 },
    'maxOutputTokens: expected a whole number of at least 1, or "model", got 0',
  ],
  [
    { ...POLICY, maxOutputTokens: 'all' },
    'maxOutputTokens: expected a whole number of at least 1, or "model", got "all"',
  ],
  [{ ...POLICY, clampOutput: {} }, 'clampOutput.minTokens: missing; expected a whole number of at least 1'],
];

/** The same for a cap. */
const CAP_ROWS: readonly (readonly [cap: Record<string, unknown>, line: string])[] = [
  [{ window: undefined }, `window: missing; expected ${WINDOWS}`],
  [{ window: 'daily' }, `window: expected ${WINDOWS}, got "daily"`],
  [{ action: undefined }, 'action: missing; expected one of "block", "downgrade", "ask", "shadow", "allow"'],
  [{ amountCents: undefined }, 'amountCents: missing; expected US cents of at least 0'],
  [{ amountCents: Infinity }, 'for $50; got Infinity'],
  [{ amountCents: NaN }, 'for $50; got NaN'],
  [{ amountCents: -1 }, 'for $50; got -1'],
  [{ amountCents: '$5' }, 'for $50; got "$5"'],
  [{ amountCents: 5n }, 'for $50; got 5n'],
  [{ amountUsd: 5 }, 'amountUsd: unknown field; did you mean amountCents? Amounts are US cents: 5000 is $50'],
  [{ amountCent: 5 }, 'amountCent: unknown field; did you mean amountCents? '],
  [{ windw: 'per_day' }, 'windw: unknown field; did you mean window?'],
  [
    { action: 'downgrade' },
    'downgradeTo: missing; action "downgrade" needs the cheaper model, e.g. "openai/gpt-5-mini"',
  ],
  [{ downgradeTo: 'a/b' }, 'downgradeTo: remove it, or set action to "downgrade"'],
  [{ action: 'downgrade', downgradeTo: [] }, 'downgradeTo: expected at least one model id'],
  [
    { action: 'downgrade', downgradeTo: '' },
    'downgradeTo: expected a model id, or a list of up to 16 of them, got ""',
  ],
  [
    { action: 'downgrade', downgradeTo: [''] },
    'downgradeTo[0]: expected text of 1 to 256 characters, got ""',
  ],
  [{ per: [] }, 'per: expected at least one scope field'],
  [{ per: ['user'] }, 'per[0]: expected one of "agentId", '],
  [{ reason: '' }, 'reason: expected text of 1 to 256 characters, got ""'],
  [{ sticky: 'task' }, 'sticky: remove it, or set action to "downgrade"'],
  [{ action: 'downgrade', downgradeTo: 'a/b', sticky: true }, 'sticky: expected "task", got true'],
  [{ models: [] }, 'models: expected at least one model'],
  [{ models: [''] }, 'models[0]: expected text of 1 to 256 characters, got ""'],
  [{ alerts: [] }, 'alerts: expected at least one part of the amount'],
  [{ alerts: [0.5, 80] }, 'alerts[1]: expected a part of the amount from 0.0001 to 10'],
  [{ alerts: [0.00001] }, 'alerts[0]: expected a part of the amount from 0.0001 to 10'],
  [{ alerts: ['80%'] }, 'alerts[0]: expected a part of the amount such as 0.8, got "80%"'],
  [{ window: 'per_call', alerts: [1] }, 'alerts: remove it; a per_call cap has no balance'],
];

/** The same for a rule. */
const RULE_ROWS: readonly (readonly [rule: unknown, line: string])[] = [
  ['cheap', 'rules[0]: expected a rule such as { when: { task: "code-review" }, '],
  [{}, 'rules[0]: asks for nothing; expected at least one of models, maxPrice, requires, routeTo'],
  [{ model: 'a/b' }, 'rules[0].model: unknown field; did you mean models?'],
  [{ models: 'a/b', when: { tasks: 'x' } }, 'rules[0].when.tasks: unknown field; did you mean task?'],
  [{ models: 'a/b', when: { task: [] } }, 'rules[0].when.task: expected at least one value'],
  [{ maxPrice: -1 }, 'rules[0].maxPrice: expected US dollars of at least 0 with at most 9 decimal places'],
  [{ maxPrice: 'cheap' }, 'rules[0].maxPrice: expected US dollars of at least 0'],
  [{ maxPrice: {} }, 'rules[0].maxPrice: expected at least one of input, output, request'],
  [
    { maxPrice: { prompt: 1 } },
    'rules[0].maxPrice.prompt: unknown field; expected one of input, output, request',
  ],
  [{ maxPrice: { input: '$1' } }, 'rules[0].maxPrice.input: expected US dollars of at least 0'],
  [{ requires: 'pay now' }, 'rules[0].requires: expected a capability: 1 to 64 letters'],
  [{ models: 'a/b', signed: true }, 'rules[0].signed: remove it, or name the capabilities in requires'],
  [{ routeTo: 'anthropic/*' }, 'rules[0].routeTo: expected the id of one model; a pattern with *'],
];

describe('a policy that is not valid', () => {
  it.each(ROWS)('%o is told what is wrong', (value, line) => {
    expect(problem(value)).toContain(`\n  ${line}`);
  });

  it.each(CAP_ROWS)('a cap with %o is told what is wrong', (change, line) => {
    const text = problem({ ...POLICY, caps: [{ ...CAP, ...change }] });
    expect(text).toMatch(/^policy "p" is not valid:\n {2}caps\[0\]\./);
    expect(text).toContain(line);
  });

  it.each(RULE_ROWS)('a rule %o is told what is wrong', (rule, line) => {
    expect(problem({ ...POLICY, rules: [rule] })).toContain(`\n  ${line}`);
  });

  it('is told of every problem at once', () => {
    const text = problem({ ...POLICY, id: '', caps: [{ amountUsd: 5, window: 'daily', action: 'stop' }] });
    expect(text.split('\n')).toHaveLength(6);
  });
});

describe('a policy that is valid', () => {
  it.each([
    { effectiveFrom: '2026-01-01' },
    { effectiveFrom: '2026-01-01T00:00+02:00' },
    { timeZone: '+02:00' },
    { timeZone: 'Europe/Berlin' },
    { caps: [] },
    { caps: [{ ...CAP, amountCents: '0.0000001' }] },
    { caps: [{ ...CAP, action: 'downgrade', downgradeTo: ['a/b', 'c/d'] }] },
    { caps: [{ ...CAP, action: 'ask', models: 'anthropic/*', alerts: [0.5] }] },
    { rules: [] },
  ])('%o passes', (change) => {
    expect(() => parsePolicy({ ...POLICY, ...change })).not.toThrow();
  });

  it('has no minus zero, which no receipt could hold', () => {
    expect(parsePolicy({ ...POLICY, version: -0 }).record.version).toBe(0);
    expect(parsePolicy({ ...POLICY, version: -0 }).digest).toBe(
      parsePolicy({ ...POLICY, version: 0 }).digest,
    );
  });

  it('has one normal form, however it is written', () => {
    const { record } = parsePolicy({
      ...POLICY,
      caps: [{ ...CAP, models: ['b/*', 'a/b', 'b/*'], alerts: [1, 0.5, 0.5, 0.0001] }],
      rules: [
        {
          when: { task: 'review' },
          models: 'a/b',
          maxPrice: 0.2,
          requires: 'payment-execute',
          signed: false,
        },
        { maxPrice: { output: '1.50' }, requires: ['a', 'repo-write'], signed: true, routeTo: 'a/b' },
      ],
    });
    expect(record.caps[0]).toMatchObject({ models: ['a/b', 'b/*'], alerts: [1, 5000, 10_000] });
    expect(record.rules).toEqual([
      {
        when: { task: ['review'] },
        models: ['a/b'],
        maxPrice: { input: '0.20', output: '0.20' },
        requires: ['payment_execute'],
      },
      { maxPrice: { output: '1.50' }, requires: ['a', 'repo-write'], signed: true, routeTo: ['a/b'] },
    ]);
  });

  it('without new fields has the digest that it always had', () => {
    // Logs that were begun by an earlier version go on without a second record of the same policy.
    expect(parsePolicy(POLICY).digest).toBe(DIGEST_OF_030);
  });
});
