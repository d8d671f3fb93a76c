/** The embedded default: a log file shared by the processes of one machine. */
import { join } from 'node:path';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import type { AccountSelector } from '../../accounts.ts';
import { AgentGuardError } from '../../errors.ts';
import type { Balance, Committed, LedgerView, Transaction } from '../../ledgers/ledger.ts';
import { sealInto, sealPreamble, type PreambleOptions } from '../../ledgers/sealing.ts';
import type { LedgerState } from '../../ledgers/state.ts';
import { snapshotText } from '../../ledgers/snapshot.ts';
import type { Checkpoint } from '../../receipts/checkpoint.ts';
import type { Signer } from '../../receipts/keys.ts';
import type { Draft, Receipt } from '../../receipts/payloads.ts';
import type { LogKeys } from '../../receipts/signers.ts';
import type { LineProblem } from '../../receipts/verify.ts';
import type { WindowSpan } from '../../windows.ts';
import { LOG_FILE } from '../home.ts';
import { Checkpointer, type DurableLog } from './checkpointer.ts';
import { ProcessLock } from './lock.ts';
import { LogFile } from './log-file.ts';
import { damaged, isCrashDamage, linkedReceipt, openLog, verifierAt, wholeLines } from './open-log.ts';
import { putAside, unrecorded } from './quarantine.ts';
import { forgetOldSnapshots, writeSnapshot } from './snapshots.ts';
import { coveredLines } from './tree-file.ts';
import type { FileLedgerSettings, Job, Opened, Written } from './types.ts';

const BATCH = 64;
/** While another process waits, turns are short, so that a cap's last room is shared among all who ask for it. */
const CONTENDED_BATCH = 8;
/** Lines between two snapshots, as long as the state is small; a large state makes them rarer. */
const SNAPSHOT_EVERY = 48;
/** How long others are let in after a turn, and how long a busy lock is left alone. */
const PAUSE_MS = 1;

/** One log in this process. Everything that uses the same folder shares it. */
export class FileLedgerCore {
  readonly directory: string;
  readonly #settings: FileLedgerSettings;
  readonly #lock: ProcessLock;
  #keys: LogKeys | undefined;
  #opened: Opened | undefined;
  /** Set for good when going on could fork the log or lose receipts. */
  #broken: AgentGuardError | undefined;
  #jobs: Job[] = [];
  #pumping: Promise<void> | undefined;
  #unsynced: Written[] = [];
  #syncing: Promise<void> | undefined;
  #durableSeq = -1;
  #wroteAnything = false;
  #sinceSnapshot = 0;
  #snapshotting: Promise<void> | undefined;
  readonly #checkpointer: Checkpointer;

  constructor(settings: FileLedgerSettings) {
    this.directory = settings.directory;
    this.#settings = settings;
    // Beside the log, so that whoever shares the log shares the lock, wherever the folder is mounted.
    this.#lock = new ProcessLock(join(settings.directory, '.lock'));
    this.#checkpointer = new Checkpointer(settings.checkpoints, () => this.#durableLog());
  }

  get path(): string {
    return join(this.directory, LOG_FILE);
  }

  transact<T>(
    body: (view: LedgerView) => Transaction<T>,
    signer: Signer | undefined,
    durable: boolean,
  ): Promise<Committed<T>> {
    const { promise, resolve, reject } = Promise.withResolvers<Committed<T>>();
    const finish = resolve as (committed: Committed<unknown>) => void;
    this.#jobs.push({ body, signer, durable, since: performance.now(), finish, fail: reject });
    this.#pumping ??= this.#pump();
    return promise;
  }

  async balances(
    accounts: readonly (AccountSelector & { span(now: number): WindowSpan })[],
  ): Promise<Balance[]> {
    const look = (view: LedgerView): Transaction<Balance[]> => ({
      drafts: [],
      result: accounts.map((account) => ({ account, ...view.amounts(account, account.span(view.now)) })),
    });
    return (await this.transact(look, undefined, false)).result;
  }

  /** A checkpoint of everything written so far; `undefined` for an empty log. */
  checkpoint(): Promise<Checkpoint | undefined> {
    return this.#checkpointer.make();
  }

  async flush(): Promise<void> {
    await this.#idle();
    if (this.#opened !== undefined && this.#wroteAnything) await this.#syncNow(this.#opened.log);
  }

  /** Rejects when the last receipts can't be written, and lets go of everything all the same. */
  async close(): Promise<void> {
    try {
      await this.#idle();
      if (this.#opened !== undefined && this.#wroteAnything && this.#broken === undefined)
        await this.#writeClose();
      if (this.#opened !== undefined && this.#broken === undefined) await this.#checkpointer.close();
    } finally {
      this.#broken ??= new AgentGuardError('ledger_unavailable', `the ledger ${this.directory} is closed`);
      this.#opened?.log.close();
      this.#opened = undefined;
      this.#lock.close();
    }
  }

  async #idle(): Promise<void> {
    await this.#pumping;
    await this.#snapshotting;
    await this.#syncing;
  }

  async #writeClose(): Promise<void> {
    await this.#snapshot().catch(() => undefined);
    const close = (view: LedgerView): Transaction<undefined> => {
      const drafts: Draft[] = view.head.seq < 0 ? [] : [{ type: 'close', open_holds: this.#openHolds() }];
      return { drafts, result: undefined };
    };
    await this.transact(close, undefined, true);
    await this.flush();
  }

  #openHolds(): number {
    return this.#opened?.state.holds.size ?? 0;
  }

  async #pump(): Promise<void> {
    // Calls made in the same turn of the event loop become one batch.
    await nextTurn();
    while (this.#jobs.length > 0) {
      try {
        if (this.#broken !== undefined) throw this.#broken;
        if (this.#opened?.state.needsReplay === true) this.#forget(this.#opened);
        this.#opened ??= await this.#open();
        if (!this.#turn(this.#opened)) {
          this.#failOverdue();
          await sleep(PAUSE_MS * (0.5 + Math.random()));
          continue;
        }
      } catch (error) {
        this.#failAll(asUnavailable(this.path, error));
      }
      if (this.#jobs.length === 0) break;
      if (this.#lock.isWanted()) await sleep(PAUSE_MS);
      else await nextTurn();
    }
    // In the same step as the last look at the queue: a job that comes later starts a new pump.
    this.#pumping = undefined;
  }

  async #open(): Promise<Opened> {
    const { directory, keys, io } = this.#settings;
    const log = new LogFile(directory, LOG_FILE, io);
    try {
      // A log that was begun has a key; another one in its place could never verify what is there.
      this.#keys ??= keys(log.path, log.size() > 0);
      const { state, offset } = await openLog(log, this.#keys);
      this.#sinceSnapshot = SNAPSHOT_EVERY / 2;
      return { log, state, offset, isVerified: false };
    } catch (error) {
      log.close();
      throw error;
    }
  }

  /** One turn under the lock, without waiting: read what others wrote, run a batch, write. False when busy. */
  #turn(opened: Opened): boolean {
    let isMine = false;
    try {
      isMine = this.#lock.tryTake();
    } catch (error) {
      const message = `can't lock ${this.directory}: ${(error as Error).message}`;
      throw new AgentGuardError('ledger_unavailable', message, { cause: error });
    }
    if (!isMine) return false;
    let written: Written[];
    try {
      this.#catchUp(opened);
      // A `clock` receipt of another process: what to decide on must be worked out anew first.
      if (opened.state.needsReplay) return true;
      written = this.#runBatch(opened);
    } catch (error) {
      this.#forget(opened);
      if (error instanceof AgentGuardError && error.code !== 'ledger_unavailable') this.#broken = error;
      throw error;
    } finally {
      this.#lock.free();
    }
    this.#acknowledge(opened, written);
    return true;
  }

  /** Reads and links what other processes appended; repairs what a dying one left. */
  #catchUp(opened: Opened): void {
    const { log, state } = opened;
    const size = log.size();
    if (size < opened.offset || !log.isInPlace()) {
      throw new AgentGuardError(
        'log_replaced',
        `${log.path} was cut or replaced while this process was using it. Restore it, or restart the process to go ` +
          'on with what is there now.',
      );
    }
    const { isVerified } = opened;
    opened.isVerified = true;
    // What stood there at the opening could have been written by anyone; later lines come from our own processes.
    const keys = this.#keys as LogKeys;
    const verifier = isVerified ? undefined : verifierAt(state, keys);
    const bytes = log.read(opened.offset, size - opened.offset);
    let done = 0;
    let problem: LineProblem | undefined;
    for (const { line } of wholeLines(bytes)) {
      const next = verifier?.next(line) ?? linkedReceipt(line, state);
      if ('verdict' in next) {
        problem = next;
        break;
      }
      state.apply(next);
      this.#countLine(next);
      done += line.length + 1;
    }
    opened.offset += done;
    if (opened.offset < size) this.#repair(opened, bytes.subarray(done), problem);
    if (isVerified) return;
    this.#checkpointer.begin(coveredLines(log.path, state.head, keys));
    const owed = unrecorded(log.path, state.head.seq + 1);
    const isHandedOver = state.own === undefined || state.own === keys.signer.kid;
    if (owed !== undefined || !isHandedOver) this.#writeOwn(opened, owed);
  }

  /** Moves the bytes that a crash left into quarantine and says so in the log. Throws when it was no crash. */
  #repair(opened: Opened, bad: Uint8Array, problem: LineProblem | undefined): void {
    const { log, state } = opened;
    if (problem !== undefined && !isCrashDamage(bad, state, this.#keys as LogKeys)) {
      throw damaged(log.path, problem);
    }
    const draft = putAside(log.path, state.head.seq + 1, bad);
    log.truncate(opened.offset);
    this.#writeOwn(opened, draft);
  }

  /** Writes a receipt of the ledger's own, outside of any transaction, behind what must come before it. */
  #writeOwn(opened: Opened, draft: Draft | undefined): void {
    const sealing = this.#sealing(opened.state, this.#settings.now());
    const receipts: Receipt[] = [];
    sealPreamble(receipts, opened.state, sealing);
    if (draft !== undefined) sealInto(receipts, [draft], opened.state, sealing);
    this.#write(opened, receipts);
  }

  #runBatch(opened: Opened): Written[] {
    const { state } = opened;
    const now = this.#settings.now();
    const receipts: Receipt[] = [];
    const written: Written[] = [];
    for (const job of this.#jobs.splice(0, this.#lock.isWanted() ? CONTENDED_BATCH : BATCH)) {
      try {
        const { drafts, result } = job.body(state.view(now));
        const sealing = this.#sealing(state, now, job.signer);
        if (drafts.length > 0) sealPreamble(receipts, state, sealing);
        const durableSeq =
          receipts.length === 0 && this.#durableSeq >= 0 ? { durableSeq: this.#durableSeq } : {};
        const sealed = sealInto(receipts, drafts, state, { ...sealing, ...durableSeq });
        written.push({ job, committed: { result, receipts: sealed } });
      } catch (error) {
        job.fail(error);
      }
    }
    try {
      this.#write(opened, receipts);
    } catch (error) {
      for (const { job } of written) job.fail(error);
      throw error;
    }
    return written;
  }

  #sealing(state: LedgerState, now: number, signer?: Signer): PreambleOptions {
    this.#refreshKeys(state);
    const { signer: own, ...ledgerKeys } = this.#keys as LogKeys;
    return { signer: signer ?? own, now, ledgerName: this.#settings.tenantId, ledgerSigner: own, ledgerKeys };
  }

  /** When another process has handed the log over to a new key, that is where the old one was. */
  #refreshKeys(state: LedgerState): void {
    const { signer } = this.#keys as LogKeys;
    if (state.replaced.has(signer.kid)) this.#keys = this.#settings.keys(this.path, true);
  }

  #write(opened: Opened, receipts: readonly Receipt[]): void {
    if (receipts.length === 0) return;
    let text = '';
    for (const receipt of receipts) {
      text += `${receipt.line}\n`;
      this.#countLine(receipt);
    }
    opened.offset += opened.log.append(text, opened.offset);
    this.#wroteAnything = true;
  }

  #countLine({ payload }: Receipt): void {
    this.#sinceSnapshot = payload.type === 'snapshot' ? 0 : this.#sinceSnapshot + 1;
  }

  /** Answers those who wrote nothing or asked for no more; the others when the disk has their receipts. */
  #acknowledge(opened: Opened, written: readonly Written[]): void {
    for (const entry of written) {
      if (entry.committed.receipts.length > 0 && entry.job.durable) this.#unsynced.push(entry);
      else entry.job.finish(entry.committed);
    }
    if (this.#unsynced.length > 0) this.#syncing ??= this.#sync(opened);
    this.#checkpointer.sees(opened.state.head.seq + 1);
    const { accounts, holds } = opened.state;
    const every = Math.max(SNAPSHOT_EVERY, (accounts.size + holds.size) / 4);
    if (this.#sinceSnapshot >= every && this.#snapshotting === undefined) {
      this.#snapshotting = this.#snapshot()
        .catch(() => undefined)
        .finally(() => (this.#snapshotting = undefined));
    }
  }

  async #sync(opened: Opened): Promise<void> {
    while (this.#unsynced.length > 0) {
      const covered = this.#unsynced.splice(0);
      try {
        await this.#syncNow(opened.log);
      } catch (error) {
        for (const { job } of covered) job.fail(error);
        continue;
      }
      for (const { job, committed } of covered) {
        this.#durableSeq = Math.max(this.#durableSeq, committed.receipts.at(-1)?.payload.seq ?? -1);
        job.finish(committed);
      }
    }
    // In the same step as the last look: receipts that come later start a new sync.
    this.#syncing = undefined;
  }

  async #syncNow(log: LogFile): Promise<void> {
    // After one that failed the next may succeed, and would cover what is lost.
    if (this.#broken !== undefined) throw this.#broken;
    try {
      await log.sync();
    } catch (error) {
      // After a failed sync nobody knows what the disk has (PostgreSQL stops here too): no more from this process.
      this.#broken ??= error as AgentGuardError;
      throw error;
    }
  }

  /** Everything that the log has, made durable first: a checkpoint may cover nothing that a crash could take back. */
  async #durableLog(): Promise<DurableLog | undefined> {
    // An empty transaction reads what others appended, up to a place that nobody will cut back.
    await this.transact(() => ({ drafts: [], result: undefined }), undefined, false);
    const opened = this.#opened;
    if (opened === undefined || opened.state.head.seq < 0) return undefined;
    const { log, state, offset } = opened;
    this.#refreshKeys(state);
    const place = { path: log.path, head: state.head, offset, keys: this.#keys as LogKeys };
    await this.#syncNow(log);
    return place;
  }

  /** Writes the state beside the log, off the lock, then a receipt that signs it. */
  async #snapshot(): Promise<void> {
    if (this.#opened === undefined || this.#opened.state.head.seq < 0) return;
    const { log, state, offset } = this.#opened;
    if (state.needsReplay) return;
    const { seq, hash } = state.head;
    const body = snapshotText(state, offset);
    this.#sinceSnapshot = 0;
    // A snapshot says that the disk has everything up to here, so that must be true first.
    await this.#syncNow(log);
    const digest = await writeSnapshot(log.path, seq, body);
    const draft: Draft = { type: 'snapshot', body: digest, covers: seq, covers_hash: hash };
    await this.transact(() => ({ drafts: [draft], result: undefined }), undefined, false);
    forgetOldSnapshots(log.path);
  }

  /** Reads the log anew at the next turn: the state in memory is not what the disk says. */
  #forget(opened: Opened): void {
    this.#opened = undefined;
    // A sync that is under way still needs the descriptor, and must not meet another file under its number.
    void Promise.allSettled([this.#syncing, this.#snapshotting]).then(() => opened.log.close());
  }

  #failOverdue(): void {
    const oldest = this.#jobs[0];
    if (oldest === undefined || performance.now() - oldest.since < this.#settings.lockTimeoutMs) return;
    throw new AgentGuardError(
      'ledger_unavailable',
      `another process held the lock of ${this.directory} for ${this.#settings.lockTimeoutMs} ms`,
    );
  }

  #failAll(error: unknown): void {
    for (const job of this.#jobs.splice(0)) job.fail(error);
  }
}

/** What the file system says, as an error of this package. */
function asUnavailable(path: string, error: unknown): AgentGuardError {
  if (error instanceof AgentGuardError) return error;
  const message = `can't use ${path}: ${(error as Error).message}`;
  return new AgentGuardError('ledger_unavailable', message, { cause: error });
}
