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
    'effectiveFrom: expected an ISO 8601 instant such as "2026-05-28T00:00:00Z", got "tomorrow"',
  ],
  [
    { ...POLICY, timeZone: 'Berlin' },
    'timeZone: expected an IANA time zone such as "Europe/Berlin", got "Berlin"',
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
  [{ action: undefined }, 'action: missing; expected "block" or "downgrade"'],
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
  ])('%o passes', (change) => {
    expect(() => parsePolicy({ ...POLICY, ...change })).not.toThrow();
  });
});
