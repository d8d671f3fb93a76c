/** The log on disk: one file that only grows, read and written in whole lines. */
import { closeSync, constants, fdatasync, fstatSync, fsyncSync, ftruncateSync } from 'node:fs';
import { openSync, readSync, statSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { AgentGuardError } from '../../errors.ts';
import { syncDirectory } from '../installation-key.ts';
import { makeFolder } from '../make-folder.ts';

/** The system calls that can fail for want of space or of a disk. Tests put failing ones in their place. */
export interface LogIo {
  write(fd: number, bytes: Uint8Array, offset: number, length: number): number;
  sync(fd: number, done: (error: Error | null) => void): void;
}

export const REAL_IO: LogIo = {
  write: (fd, bytes, offset, length) => writeSync(fd, bytes, offset, length),
  sync: fdatasync,
};

function unavailable(path: string, doing: string, error: unknown): AgentGuardError {
  const { code, message } = error as NodeJS.ErrnoException;
  const hints: Record<string, string> = {
    ENOSPC: ' Free some space; nothing that was acknowledged is lost.',
    EDQUOT: ' Free some space; nothing that was acknowledged is lost.',
    EACCES: ' Make the folder writable, or set AGENTGUARD_HOME to one that is.',
    EPERM: ' Make the folder writable, or set AGENTGUARD_HOME to one that is.',
    EROFS: ' Set AGENTGUARD_HOME to a folder that can be written.',
    ENOTDIR: ' Set AGENTGUARD_HOME to a folder that can be written.',
  };
  const hint = hints[code ?? ''] ?? '';
  return new AgentGuardError('ledger_unavailable', `can't ${doing} ${path}: ${message}.${hint}`, {
    cause: error,
  });
}

export class LogFile {
  readonly path: string;
  readonly #io: LogIo;
  readonly #fd: number;
  readonly #inode: number;

  /** Opens the log, and makes it and its folder when missing. Throws `AgentGuardError` (`ledger_unavailable`). */
  constructor(directory: string, name: string, io: LogIo) {
    this.path = join(directory, name);
    this.#io = io;
    try {
      makeFolder(directory);
      this.#fd = openSync(this.path, constants.O_RDWR | constants.O_APPEND | constants.O_CREAT, 0o600);
      this.#inode = fstatSync(this.#fd).ino;
      if (this.size() === 0) syncDirectory(directory);
    } catch (error) {
      throw unavailable(this.path, 'open', error);
    }
  }

  size(): number {
    return fstatSync(this.#fd).size;
  }

  /** False when another file, or none, stands where this one was opened. */
  isInPlace(): boolean {
    try {
      return statSync(this.path).ino === this.#inode;
    } catch {
      return false;
    }
  }

  read(from: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    let done = 0;
    while (done < length) {
      const count = readSync(this.#fd, bytes, done, length - done, from + done);
      if (count === 0) break;
      done += count;
    }
    return bytes.subarray(0, done);
  }

  /**
   * Appends `text`. When that fails part of the way, cuts the file back to `size` and throws `AgentGuardError`
   * (`ledger_unavailable`).
   */
  append(text: string, size: number): number {
    const bytes = Buffer.from(text, 'utf8');
    let done = 0;
    try {
      while (done < bytes.length) done += this.#io.write(this.#fd, bytes, done, bytes.length - done);
    } catch (error) {
      this.#cutBack(size);
      throw unavailable(this.path, 'write to', error);
    }
    return bytes.length;
  }

  /** Cuts the log to `size` and makes that durable. */
  truncate(size: number): void {
    try {
      ftruncateSync(this.#fd, size);
      fsyncSync(this.#fd);
    } catch (error) {
      throw unavailable(this.path, 'truncate', error);
    }
  }

  sync(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#io.sync(this.#fd, (error) => {
      if (error === null) resolve();
      else reject(unavailable(this.path, 'sync', error));
    });
    return promise;
  }

  close(): void {
    closeSync(this.#fd);
  }

  #cutBack(size: number): void {
    try {
      ftruncateSync(this.#fd, size);
    } catch {
      // A torn tail; whoever opens the log next repairs it.
    }
  }
}

/** The folder that holds what was derived from a log: snapshots, the last checkpoint, and quarantined bytes. */
export function derivedFolder(logPath: string, name: 'snapshots' | 'quarantine' | 'checkpoints'): string {
  return join(dirname(logPath), name);
}
