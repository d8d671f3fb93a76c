/** What the parts of the file ledger pass to each other. */
import type { Committed, LedgerView, Transaction } from '../../ledgers/ledger.ts';
import type { LedgerState } from '../../ledgers/state.ts';
import type { Signer } from '../../receipts/keys.ts';
import type { LogKeys } from '../../receipts/signers.ts';
import type { CheckpointOptions } from './checkpointer.ts';
import type { LogFile, LogIo } from './log-file.ts';

/** Where a log's own keys come from. Asked again when the log has been handed over to another key. */
export type KeySource = (logPath: string, isBegun: boolean) => LogKeys;

export interface FileLedgerSettings {
  directory: string;
  keys: KeySource;
  tenantId: string;
  now: () => number;
  io: LogIo;
  lockTimeoutMs: number;
  checkpoints: CheckpointOptions | undefined;
}

/** A transact that waits for its turn. */
export interface Job {
  body: (view: LedgerView) => Transaction<unknown>;
  signer: Signer | undefined;
  durable: boolean;
  since: number;
  finish: (committed: Committed<unknown>) => void;
  fail: (error: unknown) => void;
}

/** A job whose receipts are written, but maybe not on the disk yet. */
export interface Written {
  job: Job;
  committed: Committed<unknown>;
}

export interface Opened {
  log: LogFile;
  state: LedgerState;
  /** How far the log is read. */
  offset: number;
  /** False until everything that was there at the opening has been verified, under the lock. */
  isVerified: boolean;
}
