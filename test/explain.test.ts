import { describe, expect, it } from 'vitest';
import { blockedError, type SpendCap, type SpendPolicy, type SpendRequest } from '../src/index.ts';
import { testGuard, type TestGuardOptions } from '../src/testing/index.ts';

function policy(cap: SpendCap, more: Partial<SpendPolicy> = {}): SpendPolicy {
  return { id: 'p', scope: {}, caps: [cap], version: 1, effectiveFrom: '2020-01-01T00:00:00Z', ...more };
}

async function refusal(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  const blocked = blockedError(error);
  if (blocked === undefined) throw new Error('the call was not blocked', { cause: error });
  return blocked.message;
}

function refused(options: TestGuardOptions, request: Partial<SpendRequest>): Promise<string> {
  return refusal(testGuard(options).guard.begin({ model: 'a/b', ...request }));
}

const DAY: SpendCap = { amountCents: 1, window: 'per_day', action: 'block' };
const CALL: SpendCap = { amountCents: 1, window: 'per_call', action: 'block' };
const SOFT: SpendCap = {
  amountCents: 0,
  window: 'per_day',
  action: 'downgrade',
  downgradeTo: ['x/far', 'x/short'],
};

describe('the message of a refused call', () => {
  it('says that the call alone is more than the whole cap', async () => {
    for (const cap of [DAY, CALL]) {
      const message = await refused({ policy: policy(cap) }, { inputTokens: 0, maxOutputTokens: 100_000 });
      expect(message).toContain('the call alone could cost $0.20, more than the whole of the $0.01 per_');
      expect(message).toContain('Set a lower output limit or shorten the prompt.');
    }
  });

  it('names the output limit that the call does not set itself', async () => {
    const plain = await refused({ policy: policy(DAY) }, { inputTokens: 0 });
    expect(plain).toContain(
      "more than the whole of the $0.01 per_day cap of policy p at the policy's default of 8,192 output tokens, since " +
        'the call sets none. Set maxOutputTokens on the call or in the policy.',
    );
    const own = await refused({ policy: policy(CALL, { maxOutputTokens: 9000 }) }, { inputTokens: 0 });
    expect(own).toContain("at the policy's limit of 9,000 output tokens");
    const model = await refused(
      { policy: policy(DAY, { maxOutputTokens: 'model' }) },
      { model: 'anthropic/claude-opus-4-7', inputTokens: 0 },
    );
    expect(model).toContain('at the output limit that the guard sets, since the call sets none');
  });

  it('says what to pass for a bound', async () => {
    const nothing = await refused({ policy: policy(DAY) }, {});
    expect(nothing).toContain('Pass inputTokens or prompt.');
    expect(nothing).not.toContain('output limit');
    const output = await refused({ policy: policy(DAY) }, { inputTokens: 1, limitCanBeSet: false });
    expect(output).toContain('Set an output limit on the call.');
    const adapters = await refused({ policy: policy(DAY) }, { unbounded: 'a plugin has a fee of its own' });
    expect(adapters).toMatch(/has no upper bound: a plugin has a fee of its own\.$/);
  });

  it('names each model of a ladder with what keeps the call from it', async () => {
    const message = await refused(
      { policy: policy(SOFT), prices: { 'a/b': { inputCentsPerKtok: 1, outputCentsPerKtok: 1 } } },
      { inputTokens: 1, maxOutputTokens: 1, canRoute: () => false },
    );
    expect(message).toContain(
      "(x/far: the call can't be sent to it, x/short: the call can't be sent to it; for those it can't be sent to, pass resolveModel",
    );
    const long = await refused(
      {
        policy: policy({ ...SOFT, downgradeTo: 'openai/gpt-4o-mini' }),
        prices: { 'a/b': { inputCentsPerKtok: 1, outputCentsPerKtok: 1 } },
      },
      { inputTokens: 10_000_000, maxOutputTokens: 1 },
    );
    expect(long).toContain('(openai/gpt-4o-mini: its context of 128,000 tokens is too short)');
  });

  it('calls a charge a charge', async () => {
    const { guard } = testGuard({ policy: policy(DAY) });
    expect(await refusal(guard.charge({ label: 'search', usd: '5' }))).toMatch(
      /^the charge "search" was blocked \(cap_spent\): it costs \$5\.00, more than the whole of the \$0\.01 per_day cap/,
    );
    await guard.charge({ label: 'search', usd: '0.006' });
    expect(await refusal(guard.charge({ label: 'search', usd: '0.006' }))).toContain(
      '$0.006 of the $0.01 per_day cap of policy p is spent, and it costs $0.006.',
    );
  });
});
