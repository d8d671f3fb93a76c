/** (g) Verifying a long log on all cores, beside what OpenSSL says that the cores can do. */
import { execFileSync } from 'node:child_process';
import { createReadStream, existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileLedger } from '@agentguard-run/spend/ledgers/file';
import { verifyLogOnAllCores } from '../dist/src/node/parallel-verify.js';
import { installationPublicKey } from '../dist/src/node/installation-key.js';
import type { Anchor, SignaturePolicy } from '@agentguard-run/spend/receipts';
import { benchPrices } from './policy.ts';
import { cycle, withGuard } from './file-ledger.ts';
import { median, perSecond, range } from './measure.ts';

const ROUNDS = 3;

/** Verifies per second of one core, by OpenSSL's own measurement. */
function opensslRate(): number {
  const output = execFileSync('openssl', ['speed', '-seconds', '3', 'ed25519'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const rate = Number(/ed25519.*\s([\d.]+)\s*$/im.exec(output.trim().split('\n').at(-1) ?? '')?.[1]);
  if (!(rate > 0)) throw new Error(`openssl speed said nothing that is understood:\n${output}`);
  return rate;
}

/** A log of real calls, kept between runs where BENCH_LOG names a folder. */
async function logOf(receipts: number): Promise<{ dir: string; remove: () => void }> {
  const kept = process.env['BENCH_LOG'];
  const dir = kept ?? mkdtempSync(join(tmpdir(), 'agentguard-bench-'));
  const remove = (): void => {
    if (kept === undefined) rmSync(dir, { recursive: true, force: true });
  };
  if (existsSync(join(dir, 'decisions.ndjson'))) return { dir, remove };
  benchPrices();
  await withGuard(
    () => fileLedger({ dir, durability: 'os' }),
    (guard) => perSecond(receipts / 2, 64, cycle(guard)),
  );
  return { dir, remove };
}

/** What a checkpoint needs of every line: its Merkle leaf, folded into the root of RFC 6962. */
async function rootAnchor(): Promise<Anchor> {
  const { createHash } = await import('node:crypto');
  const levels: (Uint8Array | undefined)[] = [];
  let last = -1;
  const prefix = Uint8Array.of(1);
  return {
    name: 'the checkpoint of the benchmark',
    wantsLeaves: true,
    see({ seq, leaf }) {
      last = seq;
      let node = leaf as Uint8Array;
      let level = 0;
      for (let left = levels[0]; left !== undefined; left = levels[++level]) {
        levels[level] = undefined;
        node = createHash('sha256').update(prefix).update(left).update(node).digest();
      }
      levels[level] = node;
    },
    proved: () => ({ upTo: last }),
  };
}

export async function verifyThroughput(): Promise<string[]> {
  const receipts = Number(process.env['BENCH_RECEIPTS'] ?? 1_000_000);
  const { dir, remove } = await logOf(receipts);
  const file = join(dir, 'decisions.ndjson');
  const trust = { keys: [installationPublicKey(join(dir, 'installation-key.json')) as Uint8Array] };
  const cores = availableParallelism();
  let count = 0;
  const run = async (signatures: SignaturePolicy, anchor?: Anchor): Promise<number> => {
    const start = performance.now();
    const chunks = createReadStream(file, { highWaterMark: 256 * 1024 });
    const verdict = await verifyLogOnAllCores(chunks, trust, { signatures, ...(anchor && { anchor }) });
    if (verdict.integrity !== 'valid') throw new Error(`the log is ${verdict.integrity}: ${verdict.cause}`);
    count = verdict.receipts;
    return (verdict.receipts / (performance.now() - start)) * 1000;
  };
  const cpus: number[] = [];
  const limits: number[] = [];
  const alls: number[] = [];
  const checkpoints: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const openssl = opensslRate();
    limits.push(openssl * cores);
    const before = process.cpuUsage();
    alls.push(await run('all'));
    const { user, system } = process.cpuUsage(before);
    // What a receipt takes of a core, beside what OpenSSL takes: other work on the machine matters less here.
    cpus.push(1e6 / openssl / ((user + system) / count));
    checkpoints.push(await run('heads', await rootAnchor()));
  }
  const megabytes = statSync(file).size / 1e6;
  remove();
  const ratios = alls.map((rate, round) => rate / limits[round]!);
  const gains = checkpoints.map((rate, round) => rate / alls[round]!);
  const rate = (rates: number[]): string => Math.round(median(rates)).toLocaleString('en');
  return [
    `(g) verifying ${count.toLocaleString('en')} receipts (${megabytes.toFixed(0)} MB) on ${cores} cores`,
    `    openssl speed × cores ${rate(limits)}/s · every signature ${rate(alls)}/s · by checkpoint ${rate(checkpoints)}/s`,
    `    every signature / openssl: ${median(ratios).toFixed(2)} (${range(ratios)} over ${ROUNDS} rounds); aim ≥ 0.85`,
    `    openssl's CPU time / ours, for each: ${median(cpus).toFixed(2)} (${range(cpus)})`,
    `    by checkpoint / every signature: ${median(gains).toFixed(1)} (${range(gains)}); aim ≥ 4`,
  ];
}
