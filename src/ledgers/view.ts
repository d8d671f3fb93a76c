/** The state of a ledger as one transaction sees it. */
import type { AccountSelector } from '../accounts.ts';
import type { Head } from '../receipts/seal.ts';
import type { WindowSpan } from '../windows.ts';
import type { Amounts, AwaitedTruth, Hold, LedgerView } from './ledger.ts';
import type { LedgerState } from './state.ts';

/** A class, since every transaction makes one: methods cost it nothing, where closures would be made anew. */
export class View implements LedgerView {
  readonly now: number;
  readonly wall: number;
  readonly head: Head;
  readonly signers: LedgerView['signers'];
  readonly marks: LedgerView['marks'];
  readonly #state: LedgerState;

  constructor(state: LedgerState, wall: number) {
    this.now = Math.max(Math.floor(wall), state.head.time);
    this.wall = wall;
    this.head = state.head;
    this.signers = state.keys;
    this.marks = state.marks;
    this.#state = state;
  }

  amounts(account: AccountSelector, span: WindowSpan): Amounts {
    return this.#state.amountsAfter(this.dueHolds(), account, span, this.now);
  }

  hold(call: string): Hold | undefined {
    return this.#state.holds.get(call);
  }

  ended(call: string): 'settled' | 'expired' | undefined {
    return this.#state.ended(call);
  }

  awaited(call: string): AwaitedTruth | undefined {
    return this.#state.awaited.get(call);
  }

  allAwaited(): AwaitedTruth[] {
    return [...this.#state.awaited.values()];
  }

  dueHolds(): Hold[] {
    return this.#state.dueHolds(this.now);
  }

  knows(digest: string): boolean {
    return this.#state.knows(digest);
  }
}
