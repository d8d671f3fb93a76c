/**
 * Late truth: a call that was aborted or broke off is settled at its hold or at an estimate, which errs high. What it
 * really cost, its provider says some moments later; the difference is one signed `adjustment`. Never on a call's way.
 */
import type { SpendEvent } from './events.ts';
import type { AwaitedTruth, Ledger, LedgerView, Transaction, TransactOptions } from './ledgers/ledger.ts';
import { reportedCost, type NanoUsd } from './money.ts';
import type { Receipt } from './receipts/payloads.ts';
import { truthDraft } from './record.ts';
import { upstreamFacts, type CallOutcome, type SettledCost } from './settlement.ts';
import { knownUsage, type ReportedUsage } from './usage.ts';

/** What a provider says about a call that is over. */
export interface LateTruth extends Pick<
  CallOutcome,
  'upstreamCost' | 'isByok' | 'servedModel' | 'servedProvider'
> {
  /** As `CallOutcome.cost`: all that is paid for the call, in US dollars. */
  cost: string | number;
  usage?: ReportedUsage;
}

/** Who knows what calls cost, by the provider's id of the call. */
export interface LateTruthSource {
  /**
   * Resolves with the truth, with `undefined` while it isn't known yet, and with `null` for an id that it will never
   * know. Rejects with `LookUpRefused` when asking again is of no use; any other error is tried again.
   */
  lookUp(providerRef: string, signal: AbortSignal): Promise<LateTruth | undefined | null>;
}

/** The source will not answer, however often it is asked: a wrong key, mostly. */
export class LookUpRefused extends Error {
  override readonly name = 'LookUpRefused';
}

/** What `reconcile` came to. */
export interface Reconciled {
  /** Calls that got their true cost now. */
  adjusted: { callId: string; cost: NanoUsd; change: NanoUsd; receipt: Receipt }[];
  /** Calls whose true cost is still not known, each with the reason. */
  open: { callId: string; providerRef: string; reason: string }[];
}

/** Pauses before each attempt for a call of this guard, in milliseconds. What is open then is left for `reconcile`. */
const PAUSES: readonly number[] = [500, 2000, 8000, 30_000];

interface Surroundings {
  ledger: Ledger;
  signing: TransactOptions;
  tell: (event: SpendEvent) => void;
  /** Told of accounts on which room came free. */
  freed: (accounts: readonly string[]) => void;
  /** For tests. */
  pauses?: readonly number[];
}

/** The cost to record; `undefined` for a figure that is none. */
function costFrom(truth: LateTruth): SettledCost | undefined {
  const amount = reportedCost(truth.cost);
  if (amount === undefined) return undefined;
  const usage = knownUsage(truth.usage);
  return {
    amount,
    source: 'provider',
    reported: amount,
    ...upstreamFacts(truth, amount),
    ...(!('unknown' in usage) && { usage }),
  };
}

/** Waits without keeping the process alive. Rejects when `signal` is aborted. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason as Error);
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop);
      resolve();
    }, ms);
    (timer as unknown as { unref?: () => void }).unref?.();
    signal.addEventListener('abort', stop, { once: true });
  });
}

type Known =
  | { adjusted: Reconciled['adjusted'][number] }
  | { reason: string; isFinal: boolean }
  | { gone: true };

/** Asks for the truth about calls, and records it exactly once, whoever else asks at the same time. */
export class LateTruths {
  readonly #source: LateTruthSource | undefined;
  readonly #around: Surroundings;
  readonly #closing = new AbortController();
  #isRefused = false;

  constructor(source: LateTruthSource | undefined, around: Surroundings) {
    this.#source = source;
    this.#around = around;
  }

  /** Sees to a call that has just been settled. Never rejects; `undefined` where there is nothing to see to. */
  expect(receipt: Receipt | undefined): Promise<void> | undefined {
    const source = this.#source;
    if (source === undefined || this.#isRefused || receipt === undefined) return undefined;
    const { payload } = receipt;
    if (payload.type !== 'settlement' && payload.type !== 'adjustment') return undefined;
    const { call, cost, provider_ref: ref } = payload;
    if (ref === undefined || (cost.source !== 'hold' && cost.source !== 'estimate')) return undefined;
    return this.#pursue(source, call, ref).catch(() => undefined);
  }

  async #pursue(source: LateTruthSource, call: string, ref: string): Promise<void> {
    const { signal } = this.#closing;
    for (const ms of this.#around.pauses ?? PAUSES) {
      await pause(ms, signal);
      const known = await this.#lookUp(source, call, ref, signal);
      if (!('reason' in known)) return;
      if (!known.isFinal) continue;
      // told once: a wrong key is wrong for every call
      if (!this.#isRefused) this.#around.tell({ type: 'warning', code: 'late_truth', message: known.reason });
      this.#isRefused = true;
      return;
    }
  }

  async #lookUp(source: LateTruthSource, call: string, ref: string, signal: AbortSignal): Promise<Known> {
    let truth: LateTruth | undefined | null;
    try {
      truth = await source.lookUp(ref, signal);
    } catch (error) {
      return { reason: (error as Error).message, isFinal: error instanceof LookUpRefused };
    }
    if (truth === null) return { reason: 'the source does not know ids like this one', isFinal: false };
    if (truth === undefined) return { reason: 'its cost is not known yet', isFinal: false };
    const cost = costFrom(truth);
    if (cost === undefined) return { reason: 'the source named a cost that is none', isFinal: false };
    try {
      const receipt = await this.#record(call, cost, truth);
      return receipt === undefined ? { gone: true } : { adjusted: receipt };
    } catch (error) {
      return { reason: (error as Error).message, isFinal: false };
    }
  }

  /** Writes the adjustment, unless the ledger knows the truth by now. */
  async #record(
    call: string,
    cost: SettledCost,
    truth: LateTruth,
  ): Promise<Reconciled['adjusted'][number] | undefined> {
    const { ledger, signing, tell, freed } = this.#around;
    const body = (view: LedgerView): Transaction<AwaitedTruth | undefined> => {
      const awaited = view.awaited(call);
      return { drafts: awaited === undefined ? [] : [truthDraft(awaited, cost, truth)], result: awaited };
    };
    const { result: awaited, receipts } = await ledger.transact([], body, signing);
    const receipt = receipts.at(-1);
    if (awaited === undefined || receipt === undefined) return undefined;
    const change = cost.amount - awaited.amount;
    tell({ type: 'adjustment', callId: call, receipt, cost: cost.amount, change });
    if (change < 0n) freed(awaited.accounts.map(([key]) => key));
    return { callId: call, cost: cost.amount, change, receipt };
  }

  /** Asks once about every call of the ledger whose true cost is still to come. */
  async reconcile(source: LateTruthSource, signal: AbortSignal): Promise<Reconciled> {
    const look = (view: LedgerView): Transaction<AwaitedTruth[]> => ({
      drafts: [],
      result: view.allAwaited(),
    });
    const { result } = await this.#around.ledger.transact([], look);
    const done: Reconciled = { adjusted: [], open: [] };
    for (const { call, providerRef } of result) {
      signal.throwIfAborted();
      const known = await this.#lookUp(source, call, providerRef, signal);
      if ('adjusted' in known) done.adjusted.push(known.adjusted);
      else if ('reason' in known) done.open.push({ callId: call, providerRef, reason: known.reason });
    }
    return done;
  }

  /** The guard's own source, where it has one. */
  get source(): LateTruthSource | undefined {
    return this.#source;
  }

  /** Stops asking; what is open stays for `reconcile`. */
  close(): void {
    this.#closing.abort(new Error('the guard is closed'));
  }
}
