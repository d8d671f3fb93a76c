/** Opens a log for `opening.ts`: `open` measures, `worst-tail` leaves as many lines as possible behind a snapshot. */
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileLedger } from '@agentguard-run/spend/ledgers/file';
import { benchPrices } from './policy.ts';
import { cycle, withGuard } from './file-ledger.ts';

const [dir = '', what = 'open'] = process.argv.slice(2);
benchPrices();

/** Lines behind the last snapshot receipt, from the last 256 kB of the log. */
async function tailLength(): Promise<number> {
  const { size } = await import('node:fs').then((fs) => fs.statSync(join(dir, 'decisions.ndjson')));
  const lines = createInterface({
    input: createReadStream(join(dir, 'decisions.ndjson'), { start: Math.max(0, size - 256 * 1024) }),
  });
  let count = 0;
  for await (const line of lines) count = line.includes('"type":"snapshot"') ? 0 : count + 1;
  return count;
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
      console.log(JSON.stringify({ ms, megabytes, tail: await tailLength() }));
      process.exit(0);
    }
    // A snapshot is due every 48 lines; the moment before the next one is the worst to die in.
    for (;;) {
      await cycle(guard)();
      if ((await tailLength()) >= 46) process.kill(process.pid, 'SIGKILL');
    }
  },
);
