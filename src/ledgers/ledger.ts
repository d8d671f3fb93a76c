/** The one primitive that every backend offers: a serialised transaction over a signed log and its balances. */
import type { AccountSelector } from '../accounts.ts';
import type { NanoUsd } from '../money.ts';
import type { Signer } from '../receipts/keys.ts';
import type { Draft, Receipt, SettlementPayload } from '../receipts/payloads.ts';
import type { Head } from '../receipts/seal.ts';
import type { WindowSpan } from '../windows.ts';
import type { Marks } from './marks.ts';

/** What is spent and what is held by calls in flight, in nano-USD. */
export interface Amounts {
  spent: NanoUsd;
  held: NanoUsd;
}

/** The amounts of one account in its live window. */
export interface Balance extends Amounts {
  account: AccountSelector;
}

/** The worst-case cost of a call in flight. */
export interface Hold {
  call: string;
  amount: NanoUsd;
  /** When the lease ends, in milliseconds; then anyone may expire the hold. */
  until: number;
  /** Account keys, each with the start of the window that the decision fell in. */
  accounts: readonly (readonly [key: string, start: number])[];
}

/** A call that was settled at its hold or at an estimate, and whose true cost its provider can still tell. */
export interface AwaitedTruth {
  call: string;
  /** What is recorded as its cost so far. */
  amount: NanoUsd;
  /** The provider's id of the call. */
  providerRef: string;
  outcome: SettlementPayload['outcome'];
  /** As those of its hold. */
  accounts: Hold['accounts'];
}

/** What a log says besides balances. */
export type LedgerMarks = Pick<
  Marks,
  'frozen' | 'freezes' | 'grants' | 'granted' | 'rung' | 'isUsed' | 'wasGiven'
>;

/** A consistent look at the ledger, inside a transaction. */
export interface LedgerView {
  /** The ledger's own time in milliseconds: never before the head's. */
  readonly now: number;
  /** The wall clock behind it. More than a few minutes before `now` means that some clock was wrong. */
  readonly wall: number;
  readonly head: Head;
  /** The amounts of `account` that count at `now`, in the window `span`. */
  amounts(account: AccountSelector, span: WindowSpan): Amounts;
  /** The open hold of a call, when it is still open. */
  hold(call: string): Hold | undefined;
  /** How a call ended, where the ledger still remembers it. */
  ended(call: string): 'settled' | 'expired' | undefined;
  /** The call, if its true cost is still to come. Of the latest such calls only. */
  awaited(call: string): AwaitedTruth | undefined;
  /** All such calls, the oldest first. */
  allAwaited(): AwaitedTruth[];
  /** Open holds whose lease has run out: the first of them, as many as one transaction may end. */
  dueHolds(): Hold[];
  /** True when the log has a `policy` or `prices` receipt with this digest. */
  knows(digest: string): boolean;
  /** The keys that the log has admitted, its own among them, as base64url by `kid`. */
  readonly signers: { readonly size: number; has(kid: string): boolean };
  /** Freezes, grants, rungs of tasks, capabilities that were used, alerts that were given. */
  readonly marks: LedgerMarks;
}

/** What a transaction wants written, and what it answers. */
export interface Transaction<T> {
  drafts: readonly Draft[];
  result: T;
}

export interface Committed<T> {
  result: T;
  /** The sealed drafts, in order. */
  receipts: readonly Receipt[];
}

export interface TransactOptions {
  /** Signs this transaction's receipts; admitted to the log when it is new. Default: the ledger's own key. */
  signer?: Signer;
}

/** A log plus the balances that follow from it. */
export interface Ledger {
  /** Names the ledger in messages: a directory, a key prefix, `memory`. */
  readonly name: string;
  /**
   * Runs `body` on a consistent view, seals the drafts that it returns and appends them with the balance changes
   * that they imply, atomically. No two transacts of one ledger, in any process, see the same head. `body` is
   * synchronous and may run again. Resolves when the receipts have the ledger's stated durability; with no
   * drafts, nothing is written. Rejects with `AgentGuardError` when the ledger can't be read or written.
   */
  transact<T>(
    accounts: readonly AccountSelector[],
    body: (view: LedgerView) => Transaction<T>,
    options?: TransactOptions,
  ): Promise<Committed<T>>;
  /** The receipts from `seq` on, oldest first. */
  read(from?: number): AsyncIterable<Receipt>;
  /** What is spent and held on each account in the window that is open now. */
  balances(accounts: readonly (AccountSelector & { span(now: number): WindowSpan })[]): Promise<Balance[]>;
  /** Resolves when everything written so far is durable. */
  flush(): Promise<void>;
  /** Writes a snapshot and a `close` receipt, and lets go of all resources. */
  close(): Promise<void>;
}
