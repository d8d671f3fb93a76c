/** (d) What a decision costs, and how long its receipt is, with 1, 8 and 32 caps. */
import { createSpendGuard, memoryLedger, type SpendCap, type SpendPolicy } from '@agentguard-run/spend';
import { benchPrices } from './policy.ts';
import { cycle } from './file-ledger.ts';
import { median, perCall } from './measure.ts';

const WINDOWS = ['per_minute', 'per_hour', 'per_day', 'per_week', 'per_month', 'total', 'per_task'] as const;
const PER = [undefined, ['userId'], ['agentId'], ['teamId'], ['userId', 'agentId']] as const;

/** A policy of `count` caps, each on an account of its own. */
function policyOf(count: number): SpendPolicy {
  const caps = Array.from({ length: count }, (_, index): SpendCap => {
    const per = PER[Math.floor(index / WINDOWS.length) % PER.length];
    const window = WINDOWS[index % WINDOWS.length]!;
    return { amountCents: 100_000_000 + index, window, action: 'block', ...(per && { per }) };
  });
  return {
    id: `caps-${count}`,
    scope: { tenantId: 'acme' },
    caps,
    version: 1,
    effectiveFrom: '2026-01-01T00:00:00Z',
  };
}

export async function capsCost(): Promise<string[]> {
  benchPrices();
  const scope = { teamId: 'engineering', userId: 'alice', agentId: 'reviewer', taskId: 'task-1' };
  const measured: Record<number, { times: number[]; bytes: number }> = {};
  for (let round = 0; round < 7; round++) {
    for (const count of [1, 8, 32]) {
      const ledger = memoryLedger();
      const guard = createSpendGuard({ policy: policyOf(count), scope, ledger });
      await perCall(500, cycle(guard));
      const time = await perCall(1500, cycle(guard));
      let bytes = 0;
      for await (const { payload, line } of ledger.read()) {
        // The envelope around a payload is 206 bytes long.
        if (payload.type === 'decision') bytes = Math.max(bytes, Buffer.byteLength(line) - 206);
      }
      (measured[count] ??= { times: [], bytes }).times.push(time);
      await guard.close();
    }
  }
  const base = measured[1]!.times;
  return [
    '(d) decide + settle on the memory ledger, and the largest decision payload',
    ...Object.entries(measured).map(([count, { times, bytes }]) => {
      const ratio = median(times.map((time, round) => time / base[round]!));
      return `    ${count.padStart(2)} caps: ${median(times).toFixed(0)} µs (${ratio.toFixed(2)} × 1 cap), ${bytes} bytes (limit 4096)`;
    }),
  ];
}
