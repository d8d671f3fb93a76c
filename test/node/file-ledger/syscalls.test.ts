/**
 * Every call that writes to the disk fails once, wherever it is made: log, recovery, quarantine, snapshots, keys. What
 * was acknowledged is there, the log is valid, and what a crash had left is recorded.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import type * as fs from 'node:fs';
import { cpSync, writeFileSync } from 'node:fs';
import type * as promises from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { blockedError } from '../../../src/errors.ts';
import { fileLedger } from '../../../src/node/file-ledger/index.ts';
import { KEY_FILE, LOG_FILE } from '../../../src/node/home.ts';
import { callOf, guardOn, range, refusal, settleAt } from '../../../src/testing/conformance-kit.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { checkLog } from './check-log.ts';
import { lineOf, makeImage, POLICY, sha256Of, type Image } from './images.ts';

interface Faults {
  /** The calls so far, by name. */
  calls: string[];
  /** Fails this one, from 0. */
  failAt: number;
  code: string;
}

const faults = vi.hoisted((): Faults => ({ calls: [], failAt: -1, code: 'EIO' }));

/** Counts a call, and says whether it is the one that fails. */
const strike = vi.hoisted(() => (name: string): Error | undefined => {
  const isIt = faults.calls.length === faults.failAt;
  faults.calls.push(name);
  return isIt
    ? Object.assign(new Error(`${faults.code}: as the test wants it, ${name}`), { code: faults.code })
    : undefined;
});

vi.mock('node:fs', async (importOriginal) => {
  const real = await importOriginal<typeof fs>();
  const failing =
    (name: string): unknown =>
    (...args: unknown[]) => {
      const error = strike(name);
      if (error === undefined)
        return (real as unknown as Record<string, (...args: unknown[]) => unknown>)[name]?.(...args);
      // A write that fails may have written some of it.
      if (name === 'writeSync')
        real.writeSync(
          args[0] as number,
          args[1] as Uint8Array,
          args[2] as number,
          Math.floor((args[3] as number) / 2),
        );
      throw error;
    };
  const names = ['writeSync', 'fsyncSync', 'ftruncateSync', 'writeFileSync', 'linkSync', 'renameSync'];
  const fdatasync = (fd: number, done: (error: Error | null) => void): void => {
    const error = strike('fdatasync');
    if (error === undefined) real.fdatasync(fd, done);
    else setImmediate(done, error);
  };
  return { ...real, ...Object.fromEntries(names.map((name) => [name, failing(name)])), fdatasync };
});

vi.mock('node:fs/promises', async (importOriginal) => {
  const real = await importOriginal<typeof promises>();
  const maybe = async <T>(name: string, go: () => Promise<T>): Promise<T> => {
    const error = strike(name);
    if (error !== undefined) throw error;
    return go();
  };
  const open: typeof real.open = async (...args) => {
    const file = await real.open(...args);
    return new Proxy(file, {
      get(target, name) {
        const member: unknown = Reflect.get(target, name, target);
        if (typeof member !== 'function') return member;
        const call = (...given: unknown[]): unknown => Reflect.apply(member, target, given);
        if (!['writeFile', 'write', 'datasync', 'sync'].includes(String(name))) return call;
        return (...given: unknown[]) => maybe(`handle.${String(name)}`, async () => call(...given));
      },
    });
  };
  return {
    ...real,
    open,
    rename: (from: string, to: string) => maybe('rename', () => real.rename(from, to)),
  };
});

interface Told {
  receipts: Map<number, string>;
  refused: unknown[];
}

/** Calls one after another, enough for a snapshot on the way. Remembers what was acknowledged. */
async function makeCalls(dir: string, count: number): Promise<Told> {
  const told: Told = { receipts: new Map(), refused: [] };
  const ledger = fileLedger({ dir });
  const guard = guardOn(ledger, POLICY, {
    onEvent: (event) => {
      if ('receipt' in event && event.receipt !== undefined)
        told.receipts.set(event.receipt.payload.seq, event.receipt.hash);
    },
  });
  for (const number of range(count)) {
    try {
      await settleAt(await guard.begin(callOf(1, { userId: `u${number}` })), 1);
    } catch (error) {
      told.refused.push(error);
    }
  }
  await refusal(ledger.close());
  return told;
}

const CALLS = 16;

interface Start {
  dir: () => string;
  /** What was there and acknowledged before. */
  kept: readonly string[];
  /** The digest of what a crash had left at its end. */
  torn?: string;
}

async function expectSound(
  { kept, torn }: Start,
  dir: string,
  told: readonly Told[],
  what: string,
): Promise<void> {
  const { verdict, receipts } = await checkLog(dir);
  expect({ what, integrity: verdict.integrity, cause: verdict.cause }).toEqual({
    what,
    integrity: 'valid',
    cause: undefined,
  });
  for (const [seq, hash] of kept.entries()) expect(receipts[seq]?.hash, `${what}: receipt ${seq}`).toBe(hash);
  const lost = told.flatMap((each) =>
    [...each.receipts].filter(([seq, hash]) => receipts[seq]?.hash !== hash),
  );
  expect({ what, lost }).toEqual({ what, lost: [] });
  const dropped = receipts.flatMap(({ payload }) =>
    payload.type === 'recovered' ? [payload.dropped_sha256] : [],
  );
  if (torn === undefined) return;
  expect({ what, times: dropped.filter((digest) => digest === torn).length }).toEqual({ what, times: 1 });
}

/** Runs the calls with each disk call failing in turn, and then once more without a fault. */
async function sweep(start: Start, code: string): Promise<{ failed: Set<string>; refused: number }> {
  faults.failAt = -1;
  faults.calls = [];
  await makeCalls(start.dir(), CALLS);
  const names = [...faults.calls];
  let refused = 0;
  for (const failAt of names.keys()) {
    const dir = start.dir();
    Object.assign(faults, { calls: [], failAt, code });
    const first = await makeCalls(dir, CALLS);
    faults.failAt = -1;
    const what = `${code} at call ${failAt} (${names[failAt]})`;
    for (const error of first.refused) expect(blockedError(error)?.reason, what).toBe('ledger_unavailable');
    refused += first.refused.length;
    const again = await makeCalls(dir, 2);
    expect({ what, refused: again.refused }).toEqual({ what, refused: [] });
    await expectSound(start, dir, [first, again], what);
  }
  return { failed: new Set(names), refused };
}

function hashesOf(image: Image, count: number): string[] {
  return range(count).map((index) => sha256Of(lineOf(image, index).subarray(0, -1)));
}

beforeEach(() => {
  faults.failAt = -1;
  faults.calls = [];
});

describe('every call that writes to the disk', () => {
  it.each(['ENOSPC', 'EIO'])('may fail once with %s on a new log', { timeout: 240_000 }, async (code) => {
    const { failed, refused } = await sweep({ dir: temporaryFolder, kept: [] }, code);
    for (const name of [
      'writeSync',
      'fdatasync',
      'fsyncSync',
      'writeFileSync',
      'linkSync',
      'handle.writeFile',
      'handle.datasync',
      'rename',
    ])
      expect([...failed], name).toContain(name);
    expect(refused).toBeGreaterThan(10);
  });

  it.each(['ENOSPC', 'EIO'])(
    'may fail once with %s while what a crash left is put aside',
    { timeout: 240_000 },
    async (code) => {
      const image = await makeImage(3, 2);
      const torn = image.bytes.subarray(0, image.bytes.length - 9);
      const whole = image.starts.length - 2;
      const dir = (): string => {
        const copy = temporaryFolder();
        cpSync(image.dir, copy, { recursive: true });
        // The mocked one counts; this is the test's own.
        const { failAt } = faults;
        faults.failAt = -1;
        writeFileSync(join(copy, LOG_FILE), torn);
        Object.assign(faults, { calls: [], failAt });
        return copy;
      };
      const start = { dir, kept: hashesOf(image, whole), torn: sha256Of(torn.subarray(image.starts[whole])) };
      const { failed, refused } = await sweep(start, code);
      for (const name of ['ftruncateSync', 'fsyncSync', 'writeFileSync', 'writeSync'])
        expect([...failed]).toContain(name);
      expect(refused).toBeGreaterThan(10);
    },
  );
});

it('a lock whose holder is gone is free, and one whose holder lives is not', async () => {
  const dir = temporaryFolder();
  await makeCalls(dir, 1);
  const holder = fork(fileURLToPath(new URL('./lock-holder.ts', import.meta.url)), [join(dir, '.lock')], {
    execPath: process.execPath,
    execArgv: ['--conditions=agentguard-source', '--disable-warning=ExperimentalWarning'],
  });
  expect(await once(holder, 'message')).toContain('holding');
  const busy = fileLedger({ dir, keyFile: join(dir, KEY_FILE), lockTimeoutMs: 100 });
  const error = await refusal(guardOn(busy, POLICY).begin(callOf(1, { userId: 'a' })));
  expect(blockedError(error)?.reason).toBe('ledger_unavailable');
  await refusal(busy.close());
  const gone = once(holder, 'exit');
  holder.kill('SIGKILL');
  await gone;
  const told = await makeCalls(dir, 1);
  expect(told.refused).toEqual([]);
  await expectSound({ dir: () => dir, kept: [] }, dir, [told], 'after the kill');
});
