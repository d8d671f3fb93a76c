/** A decision has room in 4096 bytes, with 32 caps on as many accounts and everything that it may have to say. */
import { describe, expect, it } from 'vitest';
import type { SpendCap, SpendPolicy } from '../src/index.ts';
import { ofType, receiptsOf } from '../src/testing/conformance-kit.ts';
import { testGuard } from '../src/testing/test-guard.ts';

const WINDOWS = ['per_minute', 'per_hour', 'per_day', 'per_week', 'per_month', 'total', 'per_task'] as const;
const PER = [undefined, ['userId'], ['agentId'], ['teamId'], ['userId', 'agentId']] as const;

function caps(count: number, more: Partial<SpendCap> = {}): SpendCap[] {
  return Array.from({ length: count }, (_, index) => {
    const per = PER[Math.floor(index / WINDOWS.length) % PER.length];
    const window = WINDOWS[index % WINDOWS.length] as SpendCap['window'];
    return { amountCents: 100_000_000 + index, window, action: 'block', ...(per && { per }), ...more };
  });
}

const scope = { teamId: 'engineering', userId: 'alice', agentId: 'reviewer', taskId: 'task-1' };

async function largest(policy: Partial<SpendPolicy>, spent: string): Promise<number> {
  const capabilities = {
    verify: (jti: string) =>
      Promise.resolve({
        issuer: 'https://issuer.acme.example/agentguard',
        jti,
        names: ['payment_execute', 'repo:write'],
        expires: 1_790_000_000_000,
        notBefore: 1_779_999_000_000,
        subject: 'reviewer',
        max: 500_000_000_000n,
      }),
  };
  const { guard, ledger } = testGuard({
    policy: {
      id: 'caps',
      scope: { tenantId: 'acme' },
      caps: [],
      version: 1,
      effectiveFrom: '2026-01-01T00:00:00Z',
      ...policy,
    },
    scope,
    capabilities,
    claims: ['payment_execute', 'repo:write'],
  });
  await guard.charge({ label: 'x', usd: spent });
  for (const cap of policy.caps?.keys() ?? []) {
    if (cap % 4 === 0) await guard.grant({ policyId: 'caps', cap, usd: '1000', forMs: 60_000 });
  }
  await guard.begin({
    model: 'anthropic/claude-opus-4-7',
    provider: 'openrouter',
    fallbacks: ['anthropic/claude-sonnet-4-6', 'openai/gpt-5'],
    inputTokens: 12_345,
    maxOutputTokens: 8192,
    reasoningTokens: 4096,
    cachedTokens: 10_000,
    features: ['tools', 'images', 'schema', 'reasoning'],
    ceilingCanBeSet: true,
    capability: '0190d7c2-6f1b-7c3a-9e55-2f4b8a1c3d6e',
  });
  const [, last] = ofType(await receiptsOf(ledger), 'decision');
  return Buffer.byteLength(JSON.stringify(last));
}

describe('the largest decision payload', () => {
  it('of 32 caps is as long as it was, when it says nothing new', async () => {
    const bytes = await largest({ caps: caps(32) }, '123456.789');
    console.log(`${bytes} bytes with 32 caps`);
    expect(bytes).toBeLessThanOrEqual(2800);
  });

  it('of 32 caps, some on some models and some raised, with rules, claims and a signed capability', async () => {
    const rules: SpendPolicy['rules'] = [
      { requires: ['payment_execute', 'repo:write'] },
      { maxPrice: { input: '12.345678901', output: '98.765432109' } },
    ];
    const some = caps(32).map((cap, index) => (index % 2 === 0 ? { ...cap, models: 'openai/o*' } : cap));
    const bytes = await largest({ caps: some, rules }, '123456.789');
    console.log(`${bytes} bytes with everything`);
    expect(bytes).toBeLessThanOrEqual(4096);
  });
});
