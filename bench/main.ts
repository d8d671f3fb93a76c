/** `npm run bench [a b c d e f g]`: every figure is a ratio from one run, beside its reference. */
import { cpus } from 'node:os';

const sections: Record<string, () => Promise<string[]>> = {
  a: async () => (await import('./guarded-call.ts')).guardedCallOverhead(),
  b: async () => (await import('./file-ledger.ts')).fileLedgerThroughput(),
  c: async () => (await import('./opening.ts')).openingTime(),
  d: async () => (await import('./caps.ts')).capsCost(),
  e: async () => (await import('./fairness.ts')).fairness(),
  f: async () => (await import('./estimate.ts')).estimates(),
  g: async () => (await import('./verify.ts')).verifyThroughput(),
};

const wanted = process.argv.slice(2);
console.log(`node ${process.version}, ${process.platform}/${process.arch}, ${cpus().length} cores\n`);
for (const [name, run] of Object.entries(sections)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  for (const line of await run()) console.log(line);
  console.log();
}
