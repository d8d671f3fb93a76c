/** The published JSON Schema says of a policy what `parsePolicy` says. */
import { readFile } from 'node:fs/promises';
import { Ajv, type ValidateFunction } from 'ajv';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parsePolicy } from '../../../src/index.ts';
import { policiesIn } from '../../../src/node/policy-file/read.ts';
import { policySchemaText, SCHEMA_FILE } from '../../../tools/policy-schema.ts';

const schema = JSON.parse(await readFile(SCHEMA_FILE, 'utf8')) as object;
const validate: ValidateFunction = new Ajv({ strict: false }).compile(schema);

function isParsed(policy: unknown): boolean {
  try {
    parsePolicy(policy);
    return true;
  } catch {
    return false;
  }
}

const cap = { amountCents: 5000, window: 'per_day', action: 'block' };
const soft = { ...cap, action: 'downgrade', downgradeTo: 'openai/gpt-5-mini' };
const base = { id: 'a', scope: {}, caps: [cap], version: 1, effectiveFrom: '2026-06-01' };
const rule = { when: { task: 'code-review' }, routeTo: 'anthropic/claude-haiku-4-5' };

const withCap = (more: object): object => ({ ...base, caps: [{ ...cap, ...more }] });
const withSoft = (more: object): object => ({ ...base, caps: [{ ...soft, ...more }] });
const withRule = (more: object): object => ({ ...base, rules: [{ ...rule, ...more }] });
const onlyRule = (only: object): object => ({ ...base, rules: [only] });

const GOOD: Record<string, object> = {
  'the least': base,
  'no caps': { ...base, caps: [] },
  'every scope field': {
    ...base,
    scope: { tenantId: 'a', teamId: 'b', userId: 'c', agentId: 'd', taskId: 'e', task: 'f' },
  },
  'every field': {
    ...base,
    name: 'A name',
    rules: [],
    mode: 'shadow',
    timeZone: 'Europe/Berlin',
    weekStart: 'sunday',
    maxOutputTokens: 'model',
    unknownPrice: 'allow',
    clampOutput: { minTokens: 1 },
  },
  'a link of the time-zone database': { ...base, timeZone: 'US/Pacific' },
  'an offset': { ...base, timeZone: '+05:30' },
  'an instant': { ...base, effectiveFrom: '2026-06-01T00:00:00.123+02:00' },
  'minutes alone': { ...base, effectiveFrom: '2026-06-01T09:30Z' },
  'a fraction of a cent': withCap({ amountCents: 0.1 }),
  'the smallest amount': withCap({ amountCents: 0.0000001 }),
  'an amount as text': withCap({ amountCents: '0.0000001' }),
  'zeros behind': withCap({ amountCents: '12.50000000000' }),
  nothing: withCap({ amountCents: 0 }),
  'every window': {
    ...base,
    caps: ['per_call', 'per_minute', 'per_hour', 'per_day', 'per_week', 'per_month', 'per_task', 'total'].map(
      (window) => ({ ...cap, window }),
    ),
  },
  'every action': {
    ...base,
    caps: ['block', 'ask', 'shadow', 'allow'].map((action) => ({ ...cap, action })),
  },
  'a ladder': withSoft({ downgradeTo: ['openai/gpt-5', 'openai/gpt-5-mini'], sticky: 'task' }),
  'per, alerts and models': withCap({
    per: ['userId', 'agentId'],
    alerts: [0.5, 0.8, 1],
    models: ['openai/*'],
  }),
  'one model': withCap({ models: 'openai/*' }),
  'a rule': withRule({}),
  'lists in a rule': withRule({
    when: { task: ['a', 'b*'], models: 'x' },
    requires: ['payment_execute', 'repo:write'],
  }),
  'a ceiling': onlyRule({ maxPrice: '0.20' }),
  'a ceiling as a number': onlyRule({ maxPrice: 0.2 }),
  'a ceiling of parts': onlyRule({ maxPrice: { input: 1, output: '5', request: 0 } }),
  'a signed capability': onlyRule({ requires: 'payment_execute', signed: true }),
  'no signature asked for': onlyRule({ models: 'a', signed: false }),
};

const BAD: Record<string, unknown> = {
  'a text': 'policy',
  nothing: null,
  'an unknown field': { ...base, cap: [] },
  'no id': { ...base, id: undefined },
  'an empty id': { ...base, id: '' },
  'half a character': { ...base, id: '\ud800' },
  'a long id': { ...base, id: 'x'.repeat(129) },
  'a field that is null': { ...base, name: null },
  'an unknown scope field': { ...base, scope: { team: 'a' } },
  'a number in the scope': { ...base, scope: { userId: 7 } },
  'caps as an object': { ...base, caps: cap },
  'too many caps': { ...base, caps: Array.from({ length: 33 }, () => cap) },
  'an unknown mode': { ...base, mode: 'off' },
  'a version in quotes': { ...base, version: '1' },
  'half a version': { ...base, version: 1.5 },
  'a version below zero': { ...base, version: -1 },
  'no zone': { ...base, effectiveFrom: '2026-06-01T00:00:00' },
  'an odd date': { ...base, effectiveFrom: '1 June 2026' },
  'the 31st of June': { ...base, effectiveFrom: '2026-06-31' },
  'month 13': { ...base, effectiveFrom: '2026-13-01' },
  'hour 25': { ...base, effectiveFrom: '2026-06-01T25:00Z' },
  'a zone that nobody knows': { ...base, timeZone: 'Mars/Olympus' },
  'an abbreviated day': { ...base, weekStart: 'mon' },
  'no tokens': { ...base, maxOutputTokens: 0 },
  'clamping without a least': { ...base, clampOutput: {} },
  'an amount below zero': withCap({ amountCents: -1 }),
  'an amount finer than a nano-dollar': withCap({ amountCents: 0.00000001 }),
  'such an amount as text': withCap({ amountCents: '0.00000001' }),
  'an amount in words': withCap({ amountCents: '$50' }),
  'too much': withCap({ amountCents: 1e18 }),
  dollars: { ...base, caps: [{ amountUsd: 50, window: 'per_day', action: 'block' }] },
  'an unknown window': withCap({ window: 'daily' }),
  'an unknown action': withCap({ action: 'stop' }),
  'downgrade to nothing': withCap({ action: 'downgrade' }),
  'block to something': withCap({ downgradeTo: 'a' }),
  'an empty ladder': withSoft({ downgradeTo: [] }),
  'a long ladder': withSoft({ downgradeTo: Array.from({ length: 17 }, (_, index) => `m${index}`) }),
  'sticky without a ladder': withCap({ sticky: 'task' }),
  'sticky to a user': withSoft({ sticky: 'user' }),
  'per nothing': withCap({ per: [] }),
  'per something odd': withCap({ per: ['user'] }),
  'alerts of per_call': withCap({ window: 'per_call', alerts: [1] }),
  'an alert of nothing': withCap({ alerts: [0] }),
  'an alert in percent': withCap({ alerts: [80] }),
  'a rule that asks for nothing': onlyRule({ when: { task: 'a' } }),
  'an empty filter value': withRule({ when: { task: [] } }),
  'a pattern as a route': withRule({ routeTo: 'anthropic/*' }),
  'a price in words': onlyRule({ maxPrice: '$0.20' }),
  'an empty ceiling': onlyRule({ maxPrice: {} }),
  'an unknown part of a ceiling': onlyRule({ maxPrice: { cache: 1 } }),
  'a price below zero': onlyRule({ maxPrice: -1 }),
  'signed nothing': onlyRule({ models: 'a', signed: true }),
  'an odd capability': onlyRule({ requires: 'pay me' }),
};

describe('policy.schema.json', () => {
  it('is what tools/policy-schema.ts writes', async () => {
    expect(await readFile(SCHEMA_FILE, 'utf8')).toBe(policySchemaText());
  });

  it.each(Object.entries(GOOD))('accepts %s', (_name, policy) => {
    expect(isParsed(policy)).toBe(true);
    expect(validate(policy), JSON.stringify(validate.errors)).toBe(true);
  });

  it.each(Object.entries(BAD))('refuses %s', (_name, given) => {
    const policy: unknown = given === undefined ? given : JSON.parse(JSON.stringify(given));
    expect(isParsed(policy)).toBe(false);
    expect(validate(policy)).toBe(false);
  });

  it('knows the three forms of a file', () => {
    const forms: [unknown, boolean][] = [
      [[base, base], true],
      [{ policies: [base] }, true],
      [{ $schema: './policy.schema.json', policies: [base] }, true],
      [{ $schema: './policy.schema.json', ...base }, true],
      [[], false],
      [{ policies: [] }, false],
      [{ policies: base }, false],
      [{ policies: [base], id: 'a' }, false],
      [[base, { ...base, version: 'x' }], false],
    ];
    for (const [value, isGood] of forms) {
      const text = JSON.stringify(value);
      expect(validate(value), text).toBe(isGood);
      expect(policiesIn(text, 'file').problems.length === 0, text).toBe(isGood);
    }
  });

  it('agrees with parsePolicy on policies that are put together at random', () => {
    const text = fc.constantFrom(
      'a',
      '',
      'openai/*',
      'openai/gpt-5',
      'payment_execute',
      'a b',
      'per_day',
      'x'.repeat(300),
    );
    const amount = fc.oneof(
      fc.constantFrom<unknown>(
        0,
        1,
        -1,
        0.5,
        1e17,
        1e18,
        '1',
        '1.5',
        '-1',
        '',
        'x',
        null,
        true,
        '1e3.',
        [1],
        12.3456789,
      ),
      fc.integer(),
    );
    const some = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
      fc.option(value, { nil: undefined, freq: 2 });
    const texts = fc.oneof(text, fc.array(text, { maxLength: 3 }), fc.constant(null));
    const anyCap = fc.record({
      amountCents: amount,
      window: fc.constantFrom('per_day', 'per_call', 'total', 'day'),
      action: fc.constantFrom('block', 'downgrade', 'ask', 'stop'),
      downgradeTo: some(texts),
      sticky: some(fc.constantFrom('task', 'user')),
      models: some(texts),
      alerts: some(fc.array(fc.constantFrom<unknown>(0.5, 1, 0, 11, 'x'), { maxLength: 2 })),
      per: some(fc.array(fc.constantFrom('userId', 'user'), { maxLength: 2 })),
    });
    const price = fc.oneof(
      amount,
      fc.record({ input: some(amount), output: some(amount), request: some(amount) }),
    );
    const anyRule = fc.record({
      when: some(fc.record({ task: some(texts), models: some(texts), taskId: some(text) })),
      models: some(texts),
      maxPrice: some(price),
      requires: some(texts),
      signed: some(fc.boolean()),
      routeTo: some(texts),
    });
    const anyPolicy = fc.record({
      id: fc.constantFrom<unknown>('a', 'a', 'a', '', 1),
      scope: fc.constantFrom<unknown>({}, {}, { userId: 'a' }, { user: 'a' }),
      caps: fc.array(anyCap, { maxLength: 2 }),
      rules: some(fc.array(anyRule, { maxLength: 2 })),
      version: fc.constantFrom<unknown>(1, 1, 0, -1, 1.5, '1'),
      effectiveFrom: fc.oneof(
        fc.constantFrom(
          '2026-06-01',
          '2026-02-31',
          '2026-01-01T24:00Z',
          '2026-01-01T10:00:60Z',
          '2026-1-1',
          '2026-01-01T10:00+25:00',
        ),
        fc
          .date({ noInvalidDate: true, min: new Date(0), max: new Date(4e12) })
          .map((date) => date.toISOString()),
      ),
    });
    fc.assert(
      fc.property(anyPolicy, (given) => {
        const policy: unknown = JSON.parse(JSON.stringify(given));
        expect(validate(policy), `${JSON.stringify(policy)} ${JSON.stringify(validate.errors)}`).toBe(
          isParsed(policy),
        );
      }),
      { numRuns: 3000 },
    );
  });
});
