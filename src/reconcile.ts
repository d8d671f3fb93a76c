/** Holding a log against the provider's bill, by the provider's own id of each call. Pure. */
import type { NanoUsd } from './money.ts';
import type { Payload } from './receipts/payloads.ts';

/** One call on the bill. */
export interface BillRow {
  id: string;
  amount: NanoUsd;
  /** What the upstream took from an own key of the caller's on top of it; absent where the bill doesn't say. */
  upstream?: NanoUsd;
  /** When the provider says that it was, in milliseconds; absent where the bill doesn't say. */
  at?: number;
}

/** A call on one side, or on both. */
export interface ReconciledCall {
  /** The provider's id. */
  id: string;
  billed?: NanoUsd;
  /** What the receipts say in the end, late corrections included. */
  settled?: NanoUsd;
  /** Our ids. */
  calls?: readonly string[];
}

export interface Category {
  count: number;
  billed: NanoUsd;
  settled: NanoUsd;
  calls: readonly ReconciledCall[];
}

export interface Reconciliation {
  agree: boolean;
  matched: { count: number; amount: NanoUsd };
  /** Calls that went past the library, or that it never settled. */
  billedWithoutReceipt: Category;
  /** Calls that the provider doesn't know. */
  receiptWithoutBill: Category;
  amountsDiffer: Category;
  /** Receipts whose time lies outside of the bill's; nothing can be said of them. */
  outsidePeriod: { count: number; settled: NanoUsd };
  /** Ended calls that cost something and name no id of the provider's, so that they can't be matched. */
  withoutId: { count: number; settled: NanoUsd };
}

/** A call's time is ours when it was decided and the provider's when it was served. */
const SLACK_MS = 15 * 60_000;

interface Settled {
  id: string | undefined;
  amount: NanoUsd;
  /** What the provider itself charged: of a call on the caller's own key its fee alone, where that is known. */
  charged: NanoUsd;
  at: number;
  counts: boolean;
}

/** What the receipts say of one id. */
interface Receipts extends Pick<Settled, 'amount' | 'charged'> {
  calls: string[];
  entries: Settled[];
}

/** Collects what the receipts say, then holds it against a bill. */
export class Reconciler {
  readonly #calls = new Map<string, Settled>();
  readonly #charges = new Set<string>();
  /** When calls in flight were decided. */
  readonly #decidedAt = new Map<string, number>();

  /** Takes a receipt that verified. What doesn't count is known, but not held against the bill. */
  add(payload: Payload, counts = true): void {
    switch (payload.type) {
      case 'decision':
        // What isn't a model call is on nobody's bill of model calls.
        if (payload.request.fixed_cost !== undefined) this.#charges.add(payload.call);
        else if (payload.decision !== 'block')
          this.#decidedAt.set(payload.call, Date.parse(payload.issued_at));
        break;
      case 'settlement':
      case 'adjustment': {
        const { call, cost, provider_ref: id, issued_at: issuedAt } = payload;
        if (this.#charges.delete(call)) break;
        const before = this.#calls.get(call);
        // The first settlement counts, and a late one says what it came to in the end.
        if (before !== undefined && payload.type === 'settlement') break;
        this.#calls.set(call, {
          id: id ?? before?.id,
          amount: BigInt(cost.amount),
          charged: BigInt(cost.fee ?? cost.amount),
          at: before?.at ?? this.#decidedAt.get(call) ?? Date.parse(issuedAt),
          counts: before?.counts ?? counts,
        });
        this.#decidedAt.delete(call);
        break;
      }
    }
  }

  against(bill: Iterable<BillRow>): Reconciliation {
    const billed = new Map<string, NanoUsd>();
    // Bills of before the column, and of calls that ran on no own key, say nothing of an upstream.
    const hasUpstream = new Set<string>();
    let from = Number.POSITIVE_INFINITY;
    let to = Number.NEGATIVE_INFINITY;
    for (const { id, amount, upstream = 0n, at } of bill) {
      billed.set(id, (billed.get(id) ?? 0n) + amount + upstream);
      if (upstream > 0n) hasUpstream.add(id);
      from = Math.min(from, at ?? Number.NEGATIVE_INFINITY);
      to = Math.max(to, at ?? Number.POSITIVE_INFINITY);
    }
    const isInPeriod = ({ at }: Settled): boolean => at >= from - SLACK_MS && at <= to + SLACK_MS;
    const receipts = this.#byId();
    const found = {
      matched: { count: 0, amount: 0n },
      differ: [] as ReconciledCall[],
      phantom: [] as ReconciledCall[],
    };
    const outsidePeriod = { count: 0, settled: 0n };
    for (const [id, { amount: settled, charged, calls, entries }] of receipts.byId) {
      const bill = billed.get(id);
      if (bill === undefined) {
        // Without a single row nothing is known of the period, and everything is in it.
        if (billed.size === 0 || entries.some(isInPeriod)) found.phantom.push({ id, settled, calls });
        else {
          outsidePeriod.count += calls.length;
          outsidePeriod.settled += settled;
        }
      } else if (bill === settled || (bill === charged && !hasUpstream.has(id))) {
        found.matched.count += 1;
        found.matched.amount += bill;
      } else found.differ.push({ id, billed: bill, settled, calls });
    }
    const unknown = [...billed].flatMap(([id, amount]) =>
      receipts.byId.has(id) ? [] : [{ id, billed: amount }],
    );
    return {
      agree: found.differ.length + found.phantom.length + unknown.length === 0,
      matched: found.matched,
      billedWithoutReceipt: category(unknown),
      receiptWithoutBill: category(found.phantom),
      amountsDiffer: category(found.differ),
      outsidePeriod,
      withoutId: receipts.withoutId,
    };
  }

  #byId(): {
    byId: Map<string, Receipts>;
    withoutId: { count: number; settled: NanoUsd };
  } {
    const byId = new Map<string, Receipts>();
    const withoutId = { count: 0, settled: 0n };
    for (const [call, entry] of this.#calls) {
      if (!entry.counts) continue;
      if (entry.id === undefined) {
        if (entry.amount === 0n) continue;
        withoutId.count += 1;
        withoutId.settled += entry.amount;
        continue;
      }
      const same = byId.get(entry.id) ?? { amount: 0n, charged: 0n, calls: [], entries: [] };
      same.amount += entry.amount;
      same.charged += entry.charged;
      same.calls.push(call);
      same.entries.push(entry);
      byId.set(entry.id, same);
    }
    return { byId, withoutId };
  }
}

function category(calls: readonly ReconciledCall[]): Category {
  const sum = (of: (call: ReconciledCall) => NanoUsd | undefined): NanoUsd =>
    calls.reduce((total, call) => total + (of(call) ?? 0n), 0n);
  return {
    count: calls.length,
    billed: sum(({ billed }) => billed),
    settled: sum(({ settled }) => settled),
    calls,
  };
}
