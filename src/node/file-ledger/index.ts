/** `fileLedger`: one machine, several processes, one log. */
import { createReadStream, existsSync, realpathSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { AccountSelector } from '../../accounts.ts';
import { AgentGuardError } from '../../errors.ts';
import type {
  Balance,
  Committed,
  Ledger,
  LedgerView,
  TransactOptions,
  Transaction,
} from '../../ledgers/ledger.ts';
import type { Checkpoint } from '../../receipts/checkpoint.ts';
import type { KeyCertificate } from '../../receipts/key-certificate.ts';
import { sha256Text, type Signer } from '../../receipts/keys.ts';
import type { Receipt } from '../../receipts/payloads.ts';
import { checkedSigner } from '../../receipts/signers.ts';
import { parseLine } from '../../receipts/verify.ts';
import type { WindowSpan } from '../../windows.ts';
import { KEY_FILE, LOG_FILE } from '../home.ts';
import { existingKey, installationKey, keyOfEnvironment } from '../installation-key.ts';
import { makeFolder } from '../make-folder.ts';
import { checkCheckpointOptions, type CheckpointOptions } from './checkpointer.ts';
import { FileLedgerCore } from './file-ledger.ts';
import { sqlite } from './lock.ts';
import { REAL_IO, type LogIo } from './log-file.ts';
import type { KeySource } from './types.ts';

export type { CheckpointOptions } from './checkpointer.ts';
export type { CheckpointSink } from './delivery.ts';
export { fileSink, gitSink, putSink, webhookSink } from './sinks.ts';

export interface FileLedgerOptions {
  /** The folder of the log. Made when it is missing, at the first call. */
  dir: string;
  /**
   * The file of the installation key. Default: `installation-key.json` in `dir`. Where `AGENTGUARD_SIGNING_KEY` is set
   * when the ledger is made, that is the installation key.
   */
  keyFile?: string;
  /** A signer of your own in place of the installation key. */
  signer?: Signer;
  /** A root's word for `signer`, for the genesis receipt of a new log. */
  certificate?: KeyCertificate;
  /** Makes checkpoints on a schedule and on close. Default: only when they are asked for. */
  checkpoints?: CheckpointOptions;
  /**
   * What a receipt has survived when it is acknowledged: `sync` (default) the loss of power, `os` the death of
   * the process.
   */
  durability?: 'sync' | 'os';
  /** The tenant that the log is for, as its genesis receipt names it. Default `default`. */
  tenantId?: string;
  /** Milliseconds since 1970. Default: `Date.now`. */
  now?: () => number;
  /** How long a turn of the lock is waited for. Default 10 000. */
  lockTimeoutMs?: number;
  /** The system calls that write; tests put failing ones in their place. */
  io?: LogIo;
}

/** A file ledger is a ledger that can make checkpoints of itself. */
export interface FileLedger extends Ledger {
  /**
   * Makes everything written so far durable and signs a checkpoint of it, which goes to the sinks as well; `undefined`
   * for an empty log. Rejects with `AgentGuardError` when that can't be done.
   */
  checkpoint(): Promise<Checkpoint | undefined>;
}

interface Shared {
  core: FileLedgerCore;
  users: number;
}

// Two copies of this package in one process must share a log: a lock of one process doesn't keep itself out.
const OPEN = Symbol.for('agentguard.spend/file-ledgers@1');

function openLedgers(): Map<string, Shared> {
  const shared = globalThis as { [OPEN]?: Map<string, Shared> };
  return (shared[OPEN] ??= new Map());
}

/** The same folder has one name, whatever links lead to it. */
function realPath(directory: string): string {
  const absolute = resolve(directory);
  return existsSync(absolute) ? realpathSync(absolute) : absolute;
}

/**
 * A ledger in `dir/decisions.ndjson`, which is the only truth: everything else in the folder is derived from it.
 * Several processes may use the folder at once. Does no I/O until the first call.
 */
export function fileLedger(options: FileLedgerOptions): FileLedger {
  const { dir, durability = 'sync' } = options;
  if (typeof dir !== 'string' || dir === '') {
    throw new AgentGuardError('invalid_config', 'fileLedger: dir: expected the path of a folder');
  }
  if (durability !== 'sync' && durability !== 'os') {
    throw new AgentGuardError(
      'invalid_config',
      `fileLedger: durability: expected "sync" or "os", got ${String(durability)}`,
    );
  }
  if (options.checkpoints !== undefined) checkCheckpointOptions(options.checkpoints);
  sqlite();
  const keys = keySource(options);
  let shared: Shared | undefined;
  let closed = false;
  const core = (): FileLedgerCore => {
    if (closed)
      throw new AgentGuardError('ledger_unavailable', `the ledger ${dir} is closed; make a new guard`);
    shared ??= joinLedger(options, keys);
    return shared.core;
  };
  return {
    name: resolve(dir),
    async transact<T>(
      _accounts: readonly AccountSelector[],
      body: (view: LedgerView) => Transaction<T>,
      { signer }: TransactOptions = {},
    ): Promise<Committed<T>> {
      return core().transact(body, signer, durability === 'sync');
    },
    read: (from = 0) => readReceipts(join(resolve(dir), LOG_FILE), from),
    async balances(
      accounts: readonly (AccountSelector & { span(now: number): WindowSpan })[],
    ): Promise<Balance[]> {
      return core().balances(accounts);
    },
    async checkpoint(): Promise<Checkpoint | undefined> {
      return core().checkpoint();
    },
    async flush(): Promise<void> {
      await shared?.core.flush();
    },
    async close(): Promise<void> {
      if (closed) return;
      closed = true;
      if (shared !== undefined) await leave(shared);
    },
  };
}

/** Where the log's own key comes from. The environment is read now, so that it may be cleared afterwards. */
function keySource({ dir, keyFile, signer, certificate }: FileLedgerOptions): KeySource {
  if (signer !== undefined) {
    const own = checkedSigner('fileLedger: signer', signer);
    return () => ({ signer: own, former: [], ...(certificate && { certificate }) });
  }
  const given = keyOfEnvironment();
  if (given !== undefined) return () => given;
  return (logPath, isBegun) => {
    const path = keyFile ?? join(realPath(dir), KEY_FILE);
    return isBegun ? existingKey(path, logPath) : installationKey(path);
  };
}

function joinLedger(options: FileLedgerOptions, keys: KeySource): Shared {
  const directory = resolve(options.dir);
  try {
    makeFolder(directory);
  } catch {
    // Opening the log fails next, with an error that says what to do.
  }
  const path = realPath(directory);
  let shared = openLedgers().get(path);
  if (shared === undefined) {
    const core = new FileLedgerCore({
      directory: path,
      keys,
      tenantId: options.tenantId ?? 'default',
      now: options.now ?? Date.now,
      io: options.io ?? REAL_IO,
      lockTimeoutMs: options.lockTimeoutMs ?? 10_000,
      checkpoints: options.checkpoints,
    });
    shared = { core, users: 0 };
    openLedgers().set(path, shared);
  }
  shared.users += 1;
  return shared;
}

/** The last user closes the log. */
async function leave(shared: Shared): Promise<void> {
  shared.users -= 1;
  if (shared.users > 0) return shared.core.flush();
  openLedgers().delete(shared.core.directory);
  await shared.core.close();
}

async function* readReceipts(path: string, from: number): AsyncIterable<Receipt> {
  if (!existsSync(path)) return;
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let start = 0;
    for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10, start)) {
      const line = rest.subarray(start, end);
      start = end + 1;
      const parsed = parseLine(line);
      // Reading shows what is there; telling what is wrong with it is for `verifyLog`.
      if ('problem' in parsed) return;
      if (parsed.payload.seq >= from)
        yield { line: parsed.text, payload: parsed.payload, hash: sha256Text(line) };
    }
    rest = rest.subarray(start);
  }
}
