/** The policy and the prices of the benchmarks. */
import { setCostOverride, type SpendPolicy } from '@agentguard-run/spend';

export const BENCH_POLICY: SpendPolicy = {
  id: 'bench',
  scope: { tenantId: 'acme' },
  caps: [
    { amountCents: 100_000_000, window: 'per_day', action: 'downgrade', downgradeTo: 'bench/small' },
    { amountCents: 200_000_000, window: 'per_day', action: 'block' },
    { amountCents: 500_000_000, window: 'per_minute', action: 'block' },
  ],
  version: 1,
  effectiveFrom: '2026-01-01T00:00:00Z',
};

export function benchPrices(): void {
  setCostOverride('bench/big', { inputCentsPerKtok: 1, outputCentsPerKtok: 5 });
  setCostOverride('bench/small', { inputCentsPerKtok: 0.1, outputCentsPerKtok: 0.5 });
}
