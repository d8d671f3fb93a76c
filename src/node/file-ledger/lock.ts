/**
 * A lock between processes that the operating system frees when its holder dies: the write lock of an empty
 * SQLite database. The database must never be opened through `fs`: closing any descriptor of it would drop the
 * lock (POSIX advisory locks belong to the process, not to the descriptor).
 */
import { statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { AgentGuardError } from '../../errors.ts';
import { makeFolder } from '../make-folder.ts';

const SQLITE_BUSY = 5;
const SQLITE_LOCKED = 6;
/** A waiter that was seen this long ago may still be waiting. */
const WAITER_SEEN_MS = 100;

/** Looked up when it is needed: where it is missing, a plain import would fail without naming the remedy. */
export function sqlite(): { DatabaseSync: typeof DatabaseSync } {
  // a Node too old for the one may be too old for the other
  const found = (process as Partial<NodeJS.Process>).getBuiltinModule?.('node:sqlite');
  if (found !== undefined) return found;
  const message = `the file ledger needs Node.js 22.13 or newer, and this is ${process.version}; update it, or pass another ledger`;
  throw new AgentGuardError('invalid_config', message);
}

function isBusy(error: unknown): boolean {
  const code = (error as { errcode?: number }).errcode;
  // Extended codes carry the primary one in their low byte.
  return code !== undefined && [SQLITE_BUSY, SQLITE_LOCKED].includes(code & 0xff);
}

export class ProcessLock {
  readonly #directory: string;
  readonly #waiting: string;
  #database: DatabaseSync | undefined;
  #begin: StatementSync | undefined;
  #end: StatementSync | undefined;
  #toldAt = 0;

  constructor(directory: string) {
    this.#directory = directory;
    this.#waiting = join(directory, 'waiting');
  }

  /** Takes the lock if it is free. Never waits. Throws when the database can't be opened. */
  tryTake(): boolean {
    try {
      this.#open();
      this.#begin?.run();
      return true;
    } catch (error) {
      if (!isBusy(error)) throw error;
      this.#tellWaiting();
      return false;
    }
  }

  free(): void {
    this.#end?.run();
  }

  /** True when another process asked for the lock a moment ago. */
  isWanted(): boolean {
    try {
      return Date.now() - statSync(this.#waiting).mtimeMs < WAITER_SEEN_MS;
    } catch {
      return false;
    }
  }

  close(): void {
    this.#database?.close();
    this.#database = undefined;
  }

  #open(): void {
    if (this.#database !== undefined) return;
    makeFolder(this.#directory);
    const database = new (sqlite().DatabaseSync)(join(this.#directory, 'lock.sqlite'), { timeout: 0 });
    try {
      // In WAL mode taking and freeing the lock touches shared memory only.
      database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF');
      this.#begin = database.prepare('BEGIN IMMEDIATE');
      this.#end = database.prepare('ROLLBACK');
    } catch (error) {
      database.close();
      throw error;
    }
    this.#database = database;
  }

  /** Leaves a sign for the holder, so that it pauses between two turns. */
  #tellWaiting(): void {
    const now = Date.now();
    if (now - this.#toldAt < WAITER_SEEN_MS / 4) return;
    this.#toldAt = now;
    try {
      utimesSync(this.#waiting, new Date(now), new Date(now));
    } catch {
      try {
        writeFileSync(this.#waiting, '', { mode: 0o600 });
      } catch {
        // Only fairness is lost.
      }
    }
  }
}
