/** (c) Opening a long log: time and memory to the first decision, beside a log of 1,000 receipts. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fileLedger } from '@agentguard-run/spend/ledgers/file';
import { benchPrices } from './policy.ts';
import { cycle, withGuard } from './file-ledger.ts';
import { median, perSecond, range } from './measure.ts';

const WORKER = fileURLToPath(new URL('./opening-worker.ts', import.meta.url));

interface Opening {
  ms: number;
  megabytes: number;
  tail: number;
  receipts: number;
}

/** Fills a log with `receipts` receipts and leaves it as a crash would: as far from its last snapshot as it gets. */
async function fill(dir: string, receipts: number): Promise<void> {
  await withGuard(
    () => fileLedger({ dir, durability: 'os' }),
    (guard) => perSecond(receipts / 2 - 60, 64, cycle(guard)),
  );
  const filled = spawnSync(process.execPath, [WORKER, dir, 'worst-tail'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (filled.signal !== 'SIGKILL')
    throw new Error(`the writer should have died, but ended with ${filled.status}`);
}

function open(dir: string): Opening {
  const { stdout } = spawnSync(process.execPath, ['--expose-gc', WORKER, dir, 'open'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return JSON.parse(String(stdout)) as Opening;
}

export async function openingTime(): Promise<string[]> {
  benchPrices();
  const folder = mkdtempSync(join(tmpdir(), 'agentguard-bench-'));
  const short = join(folder, 'short');
  const long = join(folder, 'long');
  await fill(short, 1_000);
  await fill(long, 1_000_000);
  const times: number[] = [];
  const memory: number[] = [];
  const shorts: Opening[] = [];
  const longs: Opening[] = [];
  for (let round = 0; round < 11; round++) {
    const a = open(short);
    const b = open(long);
    shorts.push(a);
    longs.push(b);
    times.push(b.ms / a.ms);
    memory.push(b.megabytes / a.megabytes);
  }
  rmSync(folder, { recursive: true, force: true });
  const ms = (openings: Opening[]): string => median(openings.map((opening) => opening.ms)).toFixed(1);
  const megabytes = (openings: Opening[]): string =>
    median(openings.map((opening) => opening.megabytes)).toFixed(1);
  const count = (openings: Opening[]): string => openings[0]!.receipts.toLocaleString('en');
  return [
    `(c) opening to the first decision, in a new process, ${longs[0]!.tail} lines behind the last snapshot`,
    `    ${count(shorts)} receipts: ${ms(shorts)} ms, ${megabytes(shorts)} MB · ${count(longs)} receipts: ${ms(longs)} ms, ${megabytes(longs)} MB`,
    `    time ${median(times).toFixed(2)} × (${range(times)}), memory ${median(memory).toFixed(2)} × over 11 rounds; aim ≤ 1.20`,
  ];
}
