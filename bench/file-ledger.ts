/** (b) The file ledger beside the memory ledger: calls per second at 64 in flight, and one call alone. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSpendGuard, memoryLedger, type Ledger, type SpendGuard } from '@agentguard-run/spend';
import { fileLedger } from '@agentguard-run/spend/ledgers/file';
import { BENCH_POLICY, benchPrices } from './policy.ts';
import { median, perCall, perSecond, range } from './measure.ts';

const REQUEST = { model: 'bench/big', inputTokens: 1000, maxOutputTokens: 1000 };
const ENDING = { outcome: 'ok', usage: { inputTokens: 900, outputTokens: 200 } } as const;

/** Decide, hold, settle: two receipts, both acknowledged. */
export function cycle(guard: SpendGuard): () => Promise<unknown> {
  return async () => (await guard.begin(REQUEST)).settle(ENDING);
}

export async function withGuard<T>(ledger: () => Ledger, use: (guard: SpendGuard) => Promise<T>): Promise<T> {
  const guard = createSpendGuard({ policy: BENCH_POLICY, ledger: ledger() });
  try {
    return await use(guard);
  } finally {
    await guard.close();
  }
}

export async function fileLedgerThroughput(): Promise<string[]> {
  benchPrices();
  const folder = mkdtempSync(join(tmpdir(), 'agentguard-bench-'));
  let runs = 0;
  const file = (durability: 'sync' | 'os') => () =>
    fileLedger({ dir: join(folder, String(runs++)), durability });
  const calls = 6000;
  const busy = (ledger: () => Ledger): Promise<number> =>
    withGuard(ledger, async (guard) => {
      await perSecond(500, 64, cycle(guard));
      return perSecond(calls, 64, cycle(guard));
    });
  const alone = (ledger: () => Ledger): Promise<number> =>
    withGuard(ledger, async (guard) => {
      await perCall(50, cycle(guard));
      return perCall(300, cycle(guard));
    });
  const memory: number[] = [];
  const durable: number[] = [];
  const single = { memory: [] as number[], os: [] as number[], sync: [] as number[] };
  await busy(() => memoryLedger());
  for (let round = 0; round < 7; round++) {
    memory.push(await busy(() => memoryLedger()));
    durable.push(await busy(file('sync')));
    single.memory.push(await alone(() => memoryLedger()));
    single.os.push(await alone(file('os')));
    single.sync.push(await alone(file('sync')));
  }
  rmSync(folder, { recursive: true, force: true });
  const ratios = durable.map((rate, round) => rate / memory[round]!);
  const beside = (times: number[]): string =>
    `${median(times).toFixed(0)} µs (${median(times.map((time, round) => time / single.memory[round]!)).toFixed(1)} × memory)`;
  return [
    '(b) decide + settle, 64 in flight, every receipt durable (fdatasync) before it is acknowledged',
    `    memory ${median(memory).toFixed(0)} calls/s · file ${median(durable).toFixed(0)} calls/s`,
    `    file / memory: ${median(ratios).toFixed(2)} (${range(ratios)} over 7 rounds of ${calls}); aim ≥ 0.70`,
    `    one call alone: memory ${median(single.memory).toFixed(0)} µs · os ${beside(single.os)} · sync ${beside(single.sync)}`,
  ];
}
