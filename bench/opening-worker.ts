/** Opens a log for `opening.ts`: `open` measures, `worst-tail` leaves as many lines as possible behind a snapshot. */
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileLedger } from '@agentguard-run/spend/ledgers/file';
import { benchPrices } from './policy.ts';
import { cycle, withGuard } from './file-ledger.ts';

const [dir = '', what = 'open'] = process.argv.slice(2);
benchPrices();

/** Lines behind the last snapshot receipt, and receipts in all, from the last 256 kB of the log. */
async function tailOf(): Promise<{ tail: number; receipts: number }> {
  const { size } = await import('node:fs').then((fs) => fs.statSync(join(dir, 'decisions.ndjson')));
  const lines = createInterface({
    input: createReadStream(join(dir, 'decisions.ndjson'), { start: Math.max(0, size - 256 * 1024) }),
  });
  let tail = 0;
  let receipts = 0;
  for await (const line of lines) {
    tail = line.includes('"type":"snapshot"') ? 0 : tail + 1;
    receipts = Number(/"seq":(\d+)/.exec(line)?.[1] ?? 0) + 1;
  }
  return { tail, receipts };
}

await withGuard(
  () => fileLedger({ dir, durability: 'os' }),
  async (guard) => {
    if (what === 'open') {
      globalThis.gc?.();
      const before = process.memoryUsage().rss;
      const start = performance.now();
      await guard.preview({ model: 'bench/big', inputTokens: 1000, maxOutputTokens: 1000 });
      const ms = performance.now() - start;
      const megabytes = (process.memoryUsage().rss - before) / 1024 / 1024;
      console.log(JSON.stringify({ ms, megabytes, ...(await tailOf()) }));
      process.exit(0);
    }
    // A snapshot is due every 48 lines; the moment before the next one is the worst to die in.
    for (;;) {
      await cycle(guard)();
      if ((await tailOf()).tail >= 46) process.kill(process.pid, 'SIGKILL');
    }
  },
);
