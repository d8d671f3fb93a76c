/** One of the processes of `fairness.ts`. */
import { fileLedger } from '@agentguard-run/spend/ledgers/file';
import { benchPrices } from './policy.ts';
import { cycle, withGuard } from './file-ledger.ts';
import { median } from './measure.ts';

const [folder = '', startAt = '0', seconds = '1'] = process.argv.slice(2);
benchPrices();
const waits: number[] = [];
await withGuard(
  () => fileLedger({ dir: folder }),
  async (guard) => {
    const once = cycle(guard);
    await new Promise((resolve) => setTimeout(resolve, Number(startAt) - Date.now()));
    const end = performance.now() + Number(seconds) * 1000;
    const worker = async (): Promise<void> => {
      while (performance.now() < end) {
        const start = performance.now();
        await once();
        waits.push(performance.now() - start);
      }
    };
    await Promise.all(Array.from({ length: 16 }, worker));
  },
);
console.log(JSON.stringify({ calls: waits.length, longestMs: Math.max(...waits), p50Ms: median(waits) }));
