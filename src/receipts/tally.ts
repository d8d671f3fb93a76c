/** What the receipts of a log add up to. */
import type { NanoUsd } from '../money.ts';
import type { DecisionPayload, Payload } from './payloads.ts';

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

/** What one receipt adds. */
export type TallyEntry =
  | { kind: 'allow' | 'downgrade'; call: string }
  | { kind: 'settled' | 'expired'; call: string; amount: string }
  | { kind: 'changed'; amount: string }
  | { kind: 'block' }
  | { kind: 'nothing' };

export function decisionEntry(call: string, decision: DecisionPayload['decision']): TallyEntry {
  return decision === 'block' ? { kind: 'block' } : { kind: decision, call };
}

export function settlementEntry(call: string, outcome: string, amount: string): TallyEntry {
  return { kind: outcome === 'expired' ? 'expired' : 'settled', call, amount };
}

export function adjustmentEntry(amount: string): TallyEntry {
  return { kind: 'changed', amount };
}

const NOTHING: TallyEntry = { kind: 'nothing' };

export function entryOf(payload: Payload): TallyEntry {
  switch (payload.type) {
    case 'decision':
      return decisionEntry(payload.call, payload.decision);
    case 'settlement':
      return settlementEntry(payload.call, payload.outcome, payload.cost.amount);
    case 'adjustment':
      return adjustmentEntry(payload.change);
    default:
      return NOTHING;
  }
}

const KINDS = ['nothing', 'allow', 'downgrade', 'block', 'settled', 'expired', 'changed'] as const;

/** The entries of many receipts in their order, as few things as a thread can hand over. */
export interface TallySheet {
  /** Indexes into `KINDS`. */
  kinds: Uint8Array;
  /** The ids of those that have one, one after another. */
  calls: string;
  /** Of those that have one. */
  amounts: string;
}

/** All ids are as long. */
const ID_LENGTH = 22;

export function sheetOf(entries: readonly TallyEntry[]): TallySheet {
  const kinds = Uint8Array.from(entries, ({ kind }) => KINDS.indexOf(kind));
  const calls = entries.flatMap((entry) => ('call' in entry ? [entry.call] : []));
  const amounts = entries.flatMap((entry) => ('amount' in entry ? [entry.amount] : []));
  return { kinds, calls: calls.join(''), amounts: amounts.join() };
}

function* entriesOf({ kinds, calls, amounts }: TallySheet): Generator<TallyEntry> {
  const each = amounts.split(',').values();
  let place = 0;
  const call = (): string => calls.slice(place, (place += ID_LENGTH));
  for (const index of kinds) {
    const kind = KINDS[index] as TallyEntry['kind'];
    if (kind === 'allow' || kind === 'downgrade') yield { kind, call: call() };
    else if (kind === 'settled' || kind === 'expired')
      yield { kind, call: call(), amount: each.next().value as string };
    else if (kind === 'changed') yield { kind, amount: each.next().value as string };
    else yield { kind };
  }
}

export class Tally {
  readonly #open = new Set<string>();
  readonly #counts = { allow: 0, downgrade: 0, block: 0 };
  #expired = 0;
  #settled: NanoUsd = 0n;

  /** Calls in flight are looked after from the beginning; `counts` says whether the receipt is to be counted. */
  add(payload: Payload, counts = true): void {
    this.enter(entryOf(payload), counts);
  }

  addSheet(sheet: TallySheet): void {
    for (const entry of entriesOf(sheet)) this.enter(entry);
  }

  enter(entry: TallyEntry, counts = true): void {
    switch (entry.kind) {
      case 'allow':
      case 'downgrade':
      case 'block':
        if (counts) this.#counts[entry.kind] += 1;
        if (entry.kind !== 'block') this.#open.add(entry.call);
        break;
      case 'settled':
      case 'expired':
        // A hold ends once; nothing else moves money.
        if (!this.#open.delete(entry.call) || !counts) break;
        if (entry.kind === 'expired') this.#expired += 1;
        this.#settled += BigInt(entry.amount);
        break;
      case 'changed':
        if (counts) this.#settled += BigInt(entry.amount);
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
