import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import type { Simulator } from '../../../src/node/simulator/index.ts';
import type { Receipt } from '../../../src/receipts/payloads.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { checkLog } from './check-log.ts';
import { startWorker } from './children.ts';
import { callOnce, loadGuard, loadSimulator, newTally, TOKEN_NANO, type Load } from './load.ts';

const LIMIT = 100;
const LEASE_MS = 400;
const LOGS = 10;
/** Writers that run at once in each round on a log: 7 rounds, 10 kills. */
const ROUNDS = [1, 2, 1, 2, 1, 2, 1];

interface Run {
  kills: number;
  acknowledged: number;
  orphans: number;
  /** Calls that the cap refused. */
  refused: number;
  recovered: number;
}

interface Writer {
  child: ChildProcess;
  /** What it was told is safe: seq and hash of receipts. */
  acknowledged: Map<number, string>;
}

async function startWriter(load: Load): Promise<Writer> {
  const child = await startWorker();
  const acknowledged = new Map<number, string>();
  if (child.stdout === null) throw new Error('the worker has no stdout');
  createInterface({ input: child.stdout }).on('line', (line) => {
    const [seq = '', hash] = line.split(' ');
    // A line that was cut by the kill was never told.
    if (hash?.length === 'sha256:'.length + 64) acknowledged.set(Number(seq), hash);
  });
  child.send({ kind: 'until-killed', agents: 8, ...load });
  return { child, acknowledged };
}

/** Kills a writer at a random moment: while it opens the log, or under load. */
async function killLater({ child, acknowledged }: Writer): Promise<void> {
  const waitForWork = Math.random() < 0.8;
  while (waitForWork && acknowledged.size === 0) await sleep(2);
  await sleep(Math.random() * 150);
  const exited = once(child, 'exit');
  const closed = once(child.stdout as NonNullable<typeof child.stdout>, 'close');
  child.kill('SIGKILL');
  expect((await exited)[1]).toBe('SIGKILL');
  await closed;
}

/** The holds that no settlement has ended. */
function openHolds(receipts: readonly Receipt[]): Map<string, bigint> {
  const holds = new Map<string, bigint>();
  for (const { payload } of receipts) {
    if (payload.type === 'decision' && payload.decision === 'allow')
      holds.set(payload.call, BigInt(payload.hold));
    if (payload.type === 'settlement') holds.delete(payload.call);
  }
  return holds;
}

/** Lets every lease run out and says which holds expired, with what they were settled at. */
async function expireAll(load: Load): Promise<Map<string, bigint>> {
  const guard = loadGuard(load);
  while (openHolds((await checkLog(load.dir)).receipts).size > 0) {
    await sleep(20);
    // Whoever comes next expires what is due; this call itself can't pass.
    await callOnce(guard, { ...load, limit: load.capTokens + 1 }, newTally());
  }
  await guard.close();
  const { receipts } = await checkLog(load.dir);
  return new Map(
    receipts.flatMap(({ payload }): [string, bigint][] =>
      payload.type === 'settlement' && payload.outcome === 'expired'
        ? [[payload.call, BigInt(payload.cost.amount)]]
        : [],
    ),
  );
}

async function tortureOneLog(simulator: Simulator, run: Run, room: number): Promise<void> {
  const load: Load = {
    dir: temporaryFolder(),
    url: simulator.url,
    capTokens: room * LIMIT,
    limit: LIMIT,
    leaseMs: LEASE_MS,
  };
  const told = new Map<number, string>();
  for (const count of ROUNDS) {
    const writers = await Promise.all(Array.from({ length: count }, () => startWriter(load)));
    await Promise.all(writers.map(killLater));
    run.kills += count;
    for (const { acknowledged } of writers) for (const [seq, hash] of acknowledged) told.set(seq, hash);
    // The next round opens a log whose tail nobody has repaired yet.
  }
  run.acknowledged += told.size;
  const guard = loadGuard(load);
  await guard.balances();
  const { verdict, receipts } = await checkLog(load.dir);
  expect(verdict).toMatchObject({ integrity: 'valid' });
  const lost = [...told].filter(([seq, hash]) => receipts[seq]?.hash !== hash);
  expect(lost).toEqual([]);
  const orphans = openHolds(receipts);
  run.orphans += orphans.size;
  await guard.close();
  const expired = await expireAll(load);
  for (const [call, amount] of orphans) expect(expired.get(call)).toBe(amount);
  await simulator.idle();
  await expectTruth(load, simulator.billed, run);
}

async function expectTruth(load: Load, billed: bigint, run: Run): Promise<void> {
  const { verdict, receipts } = await checkLog(load.dir);
  expect(verdict).toMatchObject({ integrity: 'valid' });
  const ended = receipts.flatMap(({ payload }) => (payload.type === 'settlement' ? [payload.call] : []));
  expect(new Set(ended).size).toBe(ended.length);
  const holds = new Map<string, string>();
  for (const { payload } of receipts) {
    if (payload.type === 'decision') {
      holds.set(payload.call, payload.hold);
      if (payload.reason === 'cap_spent' || payload.reason === 'cap_held') run.refused += 1;
    }
    if (payload.type !== 'settlement' || payload.outcome !== 'expired') continue;
    expect(payload.cost).toEqual({ amount: holds.get(payload.call), source: 'hold' });
  }
  run.recovered += receipts.filter(({ payload }) => payload.type === 'recovered').length;
  const guard = loadGuard(load);
  const [cap] = await guard.balances();
  await guard.close();
  expect(cap?.held).toBe(0n);
  // A call whose process died may have been billed or not; it never counts for less than it cost.
  expect(billed).toBeLessThanOrEqual(cap?.spent ?? 0n);
  expect(cap?.spent).toBeLessThanOrEqual(BigInt(load.capTokens) * TOKEN_NANO);
}

it('loses nothing and passes no cap in 100 kills at random moments', { timeout: 300_000 }, async () => {
  const run: Run = { kills: 0, acknowledged: 0, orphans: 0, refused: 0, recovered: 0 };
  await using simulator = await loadSimulator(1, 2);
  for (let log = 0; log < LOGS; log++) {
    simulator.reset();
    // A cap that is soon reached shows that it holds; one that is far shows calls that die in flight.
    await tortureOneLog(simulator, run, log % 2 === 0 ? 20 : 20_000);
  }
  console.log('kills', JSON.stringify(run));
  expect(run.kills).toBe(100);
  // Without these the run would show nothing.
  expect(run.acknowledged).toBeGreaterThan(200);
  expect(run.orphans).toBeGreaterThan(5);
  expect(run.refused).toBeGreaterThan(5);
});
