/** The balances that follow from a log: a reducer over receipts, the same for every ledger and for replay. */
import { capLayout, countedAccounts, type AccountSelector } from '../accounts.ts';
import { AgentGuardError } from '../errors.ts';
import { policyFromRecord, type Policy, type PolicyRecord } from '../policy.ts';
import type { AdjustmentPayload, DecisionPayload, Receipt, SettlementPayload } from '../receipts/payloads.ts';
import { headAfter, type Head } from '../receipts/seal.ts';
import { ROLLING, TASK_IDLE_DAYS, type WindowKind, type WindowSpan } from '../windows.ts';
import type { Amounts, AwaitedTruth, Hold, LedgerView } from './ledger.ts';
import { Marks } from './marks.ts';
import { RecentMap } from './recent-map.ts';
import { View } from './view.ts';

/** One window, or sub-bucket of a rolling window, of one account. */
export interface Bucket extends Amounts {
  window: WindowKind;
  start: number;
  /** When it stops counting; 0 for never. */
  end: number;
}

const DAY = 86_400_000;
/** What restarts and deployments leave behind is bounded: the least used leave, and are recorded anew if needed. */
const POLICIES_KEPT = 64;
const PRICES_KEPT = 256;
const KEYS_KEPT = 64;
/** Calls that are remembered after their end, for a settlement that comes late or again. */
const ENDED_KEPT = 1024;
/** Calls whose true cost is still to come. Beyond these, what was settled high stays high. */
const AWAITED_KEPT = 128;
/** Holds that one transaction expires at most; the others count as held until their turn comes. */
export const EXPIRED_AT_ONCE = 64;
/** How often closed windows are looked for. */
const PRUNE_EVERY = 256;

/** True for a task that has been forgotten, whether or not it has left memory yet. */
function isIdleTask({ window, end, held }: Bucket, now: number): boolean {
  return window === 'per_task' && end !== 0 && end <= now && held === 0n;
}

/** What a log says up to its head. */
export class LedgerState {
  head: Head;
  readonly policies: RecentMap<Policy> = new RecentMap(POLICIES_KEPT);
  /** Digests of recorded price rows. */
  readonly prices: RecentMap<true> = new RecentMap(PRICES_KEPT);
  /** Admitted keys by `kid`: the public key as base64url. */
  readonly keys: RecentMap<string> = new RecentMap(KEYS_KEPT);
  /** `kid` of the log's own key. Unknown behind a snapshot that didn't say. */
  own: string | undefined;
  /** Keys whose place others have taken, by `kid`. */
  readonly replaced: Set<string> = new Set();
  readonly holds: Map<string, Hold> = new Map();
  readonly accounts: Map<string, Map<number, Bucket>> = new Map();
  readonly marks: Marks = new Marks();
  /** No hold is due before this instant. */
  #nextDue = 0;
  #sincePrune = 0;
  /** False while a log is replayed from its start, when nothing is known yet of clocks that were set back later. */
  forgets = true;
  #hasForgotten = false;
  /**
   * Closed windows that left memory, where whoever replays a log keeps them: they count again when its time is set
   * back, and until then they cost no time.
   */
  #attic: Map<string, Map<number, Bucket>> | undefined;
  #needsReplay = false;
  readonly awaited: RecentMap<AwaitedTruth> = new RecentMap(AWAITED_KEPT);
  readonly #ended: RecentMap<'settled' | 'expired'> = new RecentMap(ENDED_KEPT);

  constructor(head: Head) {
    this.head = head;
  }

  /** Forgets nothing for good, so that this state never needs another replay. For a log that is read from its start. */
  keepEverything(): void {
    this.#attic = new Map();
  }

  /** Takes in the next receipt. Receipts are trusted here: verify them first where they come from outside. */
  apply(receipt: Receipt): void {
    const { payload } = receipt;
    const before = this.head.time;
    this.head = headAfter(receipt);
    switch (payload.type) {
      case 'genesis':
        this.keys.set(payload.issuer_id, payload.public_key);
        this.own = payload.issuer_id;
        break;
      case 'key':
        this.keys.set(payload.kid, payload.public_key);
        if (payload.replaces !== undefined) this.#replace(payload.replaces, payload.kid);
        break;
      case 'policy':
        this.policies.set(payload.digest, policyFromRecord(payload.policy as unknown as PolicyRecord));
        break;
      case 'prices':
        this.prices.set(payload.digest, true);
        break;
      case 'decision':
        this.#hold(payload);
        break;
      case 'settlement':
        this.#settle(payload);
        break;
      case 'adjustment':
        this.#adjust(payload);
        break;
      case 'clock':
        this.#emptyAttic();
        if (this.head.time < before) this.#setBack(this.head.time - before);
        this.#needsReplay = this.#hasForgotten;
        break;
      case 'grant':
      case 'freeze':
      case 'alert':
        this.marks.apply(payload, this.head.time, []);
        break;
    }
    this.keys.touch(payload.issuer_id);
    if (this.own !== undefined) this.keys.touch(this.own);
    if (payload.type === 'decision') this.#dropLeastUsed();
    this.#sincePrune += 1;
    if (this.forgets && this.#sincePrune >= PRUNE_EVERY) this.#prune();
  }

  /**
   * True after a `clock` receipt, when windows that had been over by the wrong clock are gone from memory and may be
   * open again: the balances must be worked out anew from the whole log.
   */
  get needsReplay(): boolean {
    return this.#needsReplay;
  }

  amounts(account: AccountSelector, span: WindowSpan, now: number = this.head.time): Amounts {
    const buckets = this.accounts.get(account.key);
    if (buckets === undefined) return { spent: 0n, held: 0n };
    const rolling = ROLLING[account.window];
    if (rolling === undefined) {
      const bucket = buckets.get(span.start);
      if (bucket === undefined || isIdleTask(bucket, now)) return { spent: 0n, held: 0n };
      return { spent: bucket.spent, held: bucket.held };
    }
    const sum = { spent: 0n, held: 0n };
    for (const bucket of buckets.values()) {
      // A later bucket can only be there after a clock was set back; it counts, so that no cap is passed.
      if (bucket.start < span.start - rolling.length) continue;
      sum.spent += bucket.spent;
      sum.held += bucket.held;
    }
    return sum;
  }

  /** A window of an account, also one that is over, where these are kept. */
  bucket(key: string, start: number): Bucket | undefined {
    return this.accounts.get(key)?.get(start) ?? this.#attic?.get(key)?.get(start);
  }

  dueHolds(now: number): Hold[] {
    if (now < this.#nextDue) return [];
    const due: Hold[] = [];
    let next = Number.POSITIVE_INFINITY;
    for (const hold of this.holds.values()) {
      if (hold.until <= now) due.push(hold);
      else next = Math.min(next, hold.until);
      if (due.length === EXPIRED_AT_ONCE) break;
    }
    // Holds that are due stay until their receipt is applied, so look again as long as there are any.
    this.#nextDue = due.length > 0 ? 0 : next;
    return due;
  }

  /** The amounts as they will be when the receipts of `due` holds are written: their amounts are spent. */
  amountsAfter(due: readonly Hold[], account: AccountSelector, span: WindowSpan, now: number): Amounts {
    const amounts = this.amounts(account, span, now);
    const length = ROLLING[account.window]?.length;
    for (const hold of due) {
      for (const [key, start] of hold.accounts) {
        if (key !== account.key) continue;
        if (length === undefined ? start !== span.start : start < span.start - length) continue;
        amounts.held -= hold.amount;
        amounts.spent += hold.amount;
      }
    }
    return amounts;
  }

  ended(call: string): 'settled' | 'expired' | undefined {
    return this.#ended.get(call);
  }

  knows(digest: string): boolean {
    return this.policies.has(digest) || this.prices.has(digest);
  }

  /** The state as a transaction sees it. */
  view(wall: number): LedgerView {
    return new View(this, wall);
  }

  #replace(old: string, kid: string): void {
    this.keys.delete(old);
    this.replaced.add(old);
    if (this.own === undefined || this.own === old) this.own = kid;
  }

  /** Puts a bucket back that a snapshot remembered. */
  restoreBucket(key: string, bucket: Bucket): void {
    let buckets = this.accounts.get(key);
    if (buckets === undefined) this.accounts.set(key, (buckets = new Map()));
    buckets.set(bucket.start, bucket);
  }

  /** Says that this state began from a snapshot, which holds open windows only. */
  restoredFromSnapshot(): void {
    this.#hasForgotten = true;
  }

  /** Puts a hold back that a snapshot remembered. */
  restoreHold(hold: Hold): void {
    this.holds.set(hold.call, hold);
    this.#nextDue = Math.min(this.#nextDue, hold.until);
  }

  #hold(payload: DecisionPayload): void {
    for (const digest of payload.policies) this.policies.touch(digest);
    if (payload.prices !== undefined) this.prices.touch(payload.prices);
    if (payload.decision === 'block') return;
    const policies = payload.policies.map((digest) => {
      const policy = this.policies.get(digest);
      // Holding nothing would let every cap of that policy be passed.
      if (policy === undefined)
        throw new AgentGuardError('log_damaged', `a decision rests on ${digest}, which the log lacks`);
      return policy;
    });
    this.marks.apply(payload, this.head.time, policies);
    const counted = countedAccounts(capLayout(policies, payload.scope), payload.uncounted);
    const amount = BigInt(payload.hold);
    const accounts: [string, number][] = [];
    for (const { account, window } of counted) {
      const recorded = payload.spans[window];
      if (recorded === undefined) continue;
      const span = { start: recorded[0], end: recorded[1] };
      const bucket = this.#bucket(account, span);
      bucket.held += amount;
      if (account.window === 'per_task') bucket.end = this.head.time + TASK_IDLE_DAYS * DAY;
      accounts.push([account.key, bucket.start]);
    }
    const until = payload.lease_until === undefined ? 0 : Date.parse(payload.lease_until);
    this.restoreHold({ call: payload.call, amount, until, accounts });
  }

  #bucket(account: AccountSelector, span: WindowSpan): Bucket {
    const found = this.accounts.get(account.key)?.get(span.start);
    if (found !== undefined && !isIdleTask(found, this.head.time)) return found;
    const bucket: Bucket = { window: account.window, ...span, spent: 0n, held: 0n };
    this.restoreBucket(account.key, bucket);
    return bucket;
  }

  #settle(payload: SettlementPayload): void {
    const hold = this.holds.get(payload.call);
    if (hold === undefined) return;
    this.holds.delete(payload.call);
    this.#ended.set(payload.call, payload.outcome === 'expired' ? 'expired' : 'settled');
    this.#ended.prune();
    const spent = BigInt(payload.cost.amount);
    this.#awaitTruth(payload, hold.accounts);
    for (const [key, start] of hold.accounts) {
      const bucket = this.accounts.get(key)?.get(start);
      if (bucket === undefined) continue;
      bucket.held -= hold.amount;
      bucket.spent += spent;
    }
  }

  /** Remembers a call that did not end at a known cost, and forgets it once it has one. */
  #awaitTruth(
    { call, cost, outcome, provider_ref: providerRef }: SettlementPayload | AdjustmentPayload,
    accounts: Hold['accounts'],
  ): void {
    this.awaited.delete(call);
    if (providerRef === undefined || (cost.source !== 'hold' && cost.source !== 'estimate')) return;
    this.awaited.set(call, { call, amount: BigInt(cost.amount), providerRef, outcome, accounts });
    this.awaited.prune();
  }

  #adjust(payload: AdjustmentPayload): void {
    const change = BigInt(payload.change);
    this.#awaitTruth(payload, payload.accounts);
    for (const [key, start] of payload.accounts) {
      const bucket = this.bucket(key, start);
      // A window that has closed since needs no correction: nothing will be decided on it again.
      if (bucket !== undefined) bucket.spent += change;
    }
  }

  /**
   * When the log's time is set back, what is measured from the head moves with it: leases and the sub-buckets of
   * rolling windows. Left where they are, both would count until the wrong time comes.
   */
  #setBack(change: number): void {
    const moved = new Map<string, number>();
    for (const [key, buckets] of this.accounts) {
      const later = Array.from(buckets.values()).filter(({ start }) => start > this.head.time);
      for (const bucket of later) {
        const rolling = ROLLING[bucket.window];
        if (rolling === undefined) continue;
        const start = Math.floor((bucket.start + change) / rolling.bucket) * rolling.bucket;
        const end = start + rolling.bucket + rolling.length;
        buckets.delete(bucket.start);
        const target = this.#bucket({ key, window: bucket.window }, { start, end });
        target.spent += bucket.spent;
        target.held += bucket.held;
        moved.set(`${key} ${bucket.start}`, start);
      }
    }
    const following = (accounts: Hold['accounts']): Hold['accounts'] =>
      accounts.map(([key, start]) => [key, moved.get(`${key} ${start}`) ?? start] as const);
    for (const [call, hold] of this.holds) {
      this.holds.set(call, { ...hold, until: hold.until + change, accounts: following(hold.accounts) });
    }
    for (const [call, entry] of this.awaited) {
      this.awaited.set(call, { ...entry, accounts: following(entry.accounts) });
    }
    this.#nextDue = 0;
  }

  /** Closed windows leave memory, unless a call that began in them is still in flight. */
  #prune(): void {
    this.#sincePrune = 0;
    if (this.#attic === undefined && this.marks.prune(this.head.time)) this.#hasForgotten = true;
    for (const [key, buckets] of this.accounts) {
      for (const [start, bucket] of buckets) {
        if (bucket.end === 0 || bucket.end > this.head.time || bucket.held > 0n) continue;
        buckets.delete(start);
        if (this.#attic === undefined) this.#hasForgotten = true;
        else this.#putAway(key, bucket);
      }
      if (buckets.size === 0) this.accounts.delete(key);
    }
  }

  #putAway(key: string, bucket: Bucket): void {
    const buckets = this.#attic?.get(key) ?? new Map<number, Bucket>();
    this.#attic?.set(key, buckets.set(bucket.start, bucket));
  }

  #emptyAttic(): void {
    for (const [key, buckets] of this.#attic ?? []) {
      for (const bucket of buckets.values()) this.restoreBucket(key, bucket);
    }
    this.#attic?.clear();
  }

  /** Only behind a decision, so that nothing is dropped between what a transaction records and what relies on it. */
  #dropLeastUsed(): void {
    this.policies.prune();
    this.prices.prune();
    this.keys.prune();
  }
}
