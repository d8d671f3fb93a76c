import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { AgentGuardError, blockedError } from '../../../src/errors.ts';
import type { GuardedCall } from '../../../src/guarded-call.ts';
import type { Ledger } from '../../../src/ledgers/ledger.ts';
import { fileLedger } from '../../../src/node/file-ledger/index.ts';
import { LOG_FILE } from '../../../src/node/home.ts';
import {
  callOf,
  guardOn,
  policyOf,
  range,
  refusal,
  settleAt,
  TOKEN_NANO,
  totalCap,
} from '../../../src/testing/conformance-kit.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { checkLog } from './check-log.ts';
import { faultyIo, type Fault, type FaultyIo } from './faulty-io.ts';
import { makeImage, POLICY } from './images.ts';

const CAP = policyOf([totalCap(100_000)]);

interface Told {
  /** Receipts by seq, as they were acknowledged. */
  receipts: Map<number, string>;
  refused: unknown[];
  open: GuardedCall[];
}

/** Three calls at once, four times over; every third call is left open. Remembers what it was told. */
async function makeCalls(ledger: Ledger, told: Told): Promise<void> {
  const guard = guardOn(ledger, CAP, {
    onEvent: (event) => {
      if ('receipt' in event && event.receipt !== undefined) {
        told.receipts.set(event.receipt.payload.seq, event.receipt.hash);
      }
    },
  });
  const call = async (number: number): Promise<void> => {
    try {
      const begun = await guard.begin(callOf(100));
      if (number === 2) told.open.push(begun);
      else await settleAt(begun, 10);
    } catch (error) {
      told.refused.push(error);
    }
  };
  for (let round = 0; round < 4; round++) await Promise.all(range(3).map(call));
}

function newTold(): Told {
  return { receipts: new Map(), refused: [], open: [] };
}

/** Every acknowledged receipt is there, the log is valid, and what was refused was refused for the ledger's sake. */
async function expectNothingLost(dir: string, told: Told): Promise<void> {
  const { verdict, receipts } = await checkLog(dir);
  expect(verdict).toMatchObject({ integrity: 'valid' });
  const lost = [...told.receipts].filter(([seq, hash]) => receipts[seq]?.hash !== hash);
  expect(lost).toEqual([]);
  for (const error of told.refused) {
    const blocked = blockedError(error);
    expect(blocked?.reason).toBe('ledger_unavailable');
    expect(blocked?.cause).toBeInstanceOf(AgentGuardError);
  }
}

/** Runs the calls with one fault, then more calls on the same ledger, then on a new one. */
async function withFault(arrange: (io: FaultyIo) => void): Promise<{ told: Told; later: Told; dir: string }> {
  const dir = temporaryFolder();
  const io = faultyIo();
  arrange(io);
  const ledger = fileLedger({ dir, io });
  const told = newTold();
  await makeCalls(ledger, told);
  await expectNothingLost(dir, told);
  const later = newTold();
  await makeCalls(ledger, later);
  await expectNothingLost(dir, later);
  await refusal(ledger.close());
  const reopened = fileLedger({ dir });
  const after = newTold();
  await makeCalls(reopened, after);
  expect(after.refused).toEqual([]);
  await reopened.close();
  await expectNothingLost(dir, told);
  await expectNothingLost(dir, later);
  await expectNothingLost(dir, after);
  return { told, later, dir };
}

async function writesOfARun(): Promise<FaultyIo> {
  const io = faultyIo();
  const ledger = fileLedger({ dir: temporaryFolder(), io });
  await makeCalls(ledger, newTold());
  await ledger.flush();
  await ledger.close();
  return io;
}

describe('a disk that fails', () => {
  it.each<[string, Fault]>([
    ['is full', { code: 'ENOSPC' }],
    ['is full in the middle of a line', { code: 'ENOSPC', afterBytes: 777 }],
    ['has a fault', { code: 'EIO', afterBytes: 1500 }],
  ])('loses nothing when it %s at any write, and goes on when that is over', async (_, fault) => {
    const { writes } = await writesOfARun();
    expect(writes).toBeGreaterThan(5);
    let refused = 0;
    for (const write of range(writes)) {
      const { told, later } = await withFault((io) => io.failWrites.set(write + 1, fault));
      refused += told.refused.length;
      // A settlement that could not be written at once was written at the second try, or its hold stays.
      if (write < 8) expect(later.refused).toEqual([]);
    }
    expect(refused).toBeGreaterThan(0);
  });

  it('writes whole lines though the system takes only parts of them', async () => {
    const { told, later } = await withFault((io) => {
      for (const write of range(400)) io.failWrites.set(write + 1, { code: 'short' });
    });
    expect(told.refused).toEqual([]);
    expect(later.refused).toEqual([]);
  });

  it.each(['ENOSPC', 'EIO'] as const)(
    'stops for good when a sync fails with %s, at any sync',
    async (code) => {
      const { syncs } = await writesOfARun();
      expect(syncs).toBeGreaterThan(5);
      let stopped = 0;
      for (const sync of range(syncs)) {
        const { told, later } = await withFault((io) => io.failSyncs.set(sync + 1, { code }));
        if (told.refused.length === 0) continue;
        stopped += 1;
        // The next sync would say that all is well; it must not be believed.
        expect(later.refused.length).toBe(12);
        expect(later.receipts.size).toBe(0);
      }
      expect(stopped).toBeGreaterThan(4);
    },
  );

  it('acknowledges nothing after a failed sync, also not what was already on its way', async () => {
    const dir = temporaryFolder();
    const io = faultyIo();
    const ledger = fileLedger({ dir, io });
    const guard = guardOn(ledger, CAP);
    await guard.begin(callOf(1));
    const sync = io.sync.bind(io);
    const waiting: (() => void)[] = [];
    io.sync = (fd, done) => waiting.push(() => sync(fd, done));
    io.failSyncs.set(io.syncs + 1, { code: 'EIO' });
    const first = refusal(guard.begin(callOf(1)));
    while (waiting.length === 0) await new Promise(setImmediate);
    // Written while the sync of the first is under way.
    const second = refusal(guard.begin(callOf(1)));
    while ((await checkLog(dir)).receipts.filter(({ payload }) => payload.type === 'decision').length < 3) {
      await new Promise(setImmediate);
    }
    io.sync = sync;
    waiting.shift()?.();
    const reasons = [blockedError(await first)?.reason, blockedError(await second)?.reason];
    expect(reasons).toEqual(['ledger_unavailable', 'ledger_unavailable']);
    await refusal(ledger.close());
  });

  it('keeps the descriptor of a sync that is under way when a write fails meanwhile', async () => {
    const dir = temporaryFolder();
    const io = faultyIo();
    const ledger = fileLedger({ dir, io });
    const guard = guardOn(ledger, CAP);
    await guard.begin(callOf(1));
    const sync = io.sync.bind(io);
    const waiting: (() => void)[] = [];
    io.sync = (fd, done) => waiting.push(() => sync(fd, done));
    const first = guard.begin(callOf(1));
    while (waiting.length === 0) await new Promise(setImmediate);
    io.failWrites.set(io.writes + 1, { code: 'ENOSPC' });
    expect(blockedError(await refusal(guard.begin(callOf(1))))?.reason).toBe('ledger_unavailable');
    io.sync = sync;
    for (const go of waiting.splice(0)) go();
    const call = await first;
    await settleAt(call, 1);
    await ledger.close();
    expect((await checkLog(dir)).verdict.integrity).toBe('valid');
  });

  it('expires a hold at its full amount when its settlement could not be written', async () => {
    const dir = temporaryFolder();
    const io = faultyIo();
    let now = Date.now();
    const ledger = fileLedger({ dir, io, now: () => now });
    const guard = guardOn(ledger, CAP, { leaseMs: 1000 });
    const call = await guard.begin(callOf(100));
    for (const more of [1, 2]) io.failWrites.set(io.writes + more, { code: 'ENOSPC' });
    expect(await settleAt(call, 10)).toMatchObject({ amount: 10n * TOKEN_NANO, receipt: undefined });
    expect(await guard.balances()).toMatchObject([{ spent: 0n, held: 100n * TOKEN_NANO }]);
    now += 1001;
    await settleAt(await guard.begin(callOf(1)), 1);
    expect(await guard.balances()).toMatchObject([{ spent: 101n * TOKEN_NANO, held: 0n }]);
    await ledger.close();
  });

  it('says what it put into quarantine once there is room for it', async () => {
    const image = await makeImage(3, 1);
    const path = join(image.dir, LOG_FILE);
    writeFileSync(path, image.bytes.subarray(0, image.bytes.length - 9));
    const io = faultyIo();
    io.failWrites.set(1, { code: 'ENOSPC', afterBytes: 100 });
    const ledger = fileLedger({ dir: image.dir, io });
    expect(
      blockedError(await refusal(guardOn(ledger, POLICY).begin(callOf(1, { userId: 'a' }))))?.reason,
    ).toBe('ledger_unavailable');
    await guardOn(ledger, POLICY).begin(callOf(1, { userId: 'a' }));
    await ledger.close();
    const { verdict, receipts } = await checkLog(image.dir);
    expect(verdict.integrity).toBe('valid');
    expect(receipts.filter(({ payload }) => payload.type === 'recovered').length).toBe(1);
  });
});
