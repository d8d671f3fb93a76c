/** What the receipts of a log add up to. */
import type { NanoUsd } from '../money.ts';
import type { Payload } from './payloads.ts';

/** What the receipts that verified add up to. */
export interface LogTotals {
  allowed: number;
  downgraded: number;
  blocked: number;
  /** Calls in flight: decided, neither settled nor expired. */
  open: number;
  /** Calls that were never settled, and count at their full hold. */
  expired: number;
  /** Nano-USD that calls were settled at, late corrections included. */
  settled: NanoUsd;
}

export class Tally {
  readonly #open = new Set<string>();
  readonly #counts = { allow: 0, downgrade: 0, block: 0 };
  #expired = 0;
  #settled: NanoUsd = 0n;

  /** Calls in flight are looked after from the beginning; `counts` says whether the receipt is to be counted. */
  add(payload: Payload, counts = true): void {
    switch (payload.type) {
      case 'decision':
        if (counts) this.#counts[payload.decision] += 1;
        if (payload.decision !== 'block') this.#open.add(payload.call);
        break;
      case 'settlement':
        // A hold ends once; nothing else moves money.
        if (!this.#open.delete(payload.call) || !counts) break;
        if (payload.outcome === 'expired') this.#expired += 1;
        this.#settled += BigInt(payload.cost.amount);
        break;
      case 'adjustment':
        if (counts) this.#settled += BigInt(payload.change);
        break;
    }
  }

  totals(): LogTotals {
    const { allow, downgrade, block } = this.#counts;
    return {
      allowed: allow,
      downgraded: downgrade,
      blocked: block,
      open: this.#open.size,
      expired: this.#expired,
      settled: this.#settled,
    };
  }
}
