/** System calls that fail when they are told to. */
import { fdatasync, writeSync } from 'node:fs';
import type { LogIo } from '../../../src/node/file-ledger/log-file.ts';

export const plainWrite: LogIo['write'] = (fd, bytes, offset, length) => writeSync(fd, bytes, offset, length);

export type Fault = { code: 'ENOSPC' | 'EIO'; afterBytes?: number } | { code: 'short' };

export interface FaultyIo extends LogIo {
  writes: number;
  syncs: number;
  /** Fails this write (from 1), after some of its bytes went through; `short` takes a third of it. */
  failWrites: Map<number, Fault>;
  failSyncs: Map<number, Fault>;
}

function failure(code: string): Error {
  return Object.assign(new Error(`${code}: as the test wants it`), { code });
}

export function faultyIo(): FaultyIo {
  const io: FaultyIo = {
    writes: 0,
    syncs: 0,
    failWrites: new Map(),
    failSyncs: new Map(),
    write(fd, bytes, offset, length) {
      io.writes += 1;
      const fault = io.failWrites.get(io.writes);
      if (fault === undefined) return writeSync(fd, bytes, offset, length);
      if (fault.code === 'short') return writeSync(fd, bytes, offset, Math.max(1, Math.floor(length / 3)));
      const part = Math.min(fault.afterBytes ?? 0, length);
      if (part > 0) writeSync(fd, bytes, offset, part);
      throw failure(fault.code);
    },
    sync(fd, done) {
      io.syncs += 1;
      const fault = io.failSyncs.get(io.syncs);
      if (fault === undefined || fault.code === 'short') fdatasync(fd, done);
      else setImmediate(done, failure(fault.code));
    },
  };
  return io;
}
