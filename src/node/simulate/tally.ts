/** What a simulation adds up to: by team, task and model, by what decided, and what had to be assumed. */
import type { NanoUsd } from '../../money.ts';

/** What became of a call, compared with what became of it in the log. */
export type Change = 'same' | 'blocked' | 'rerouted' | 'let_through' | 'still_blocked';

/** Whose call it is. */
export interface CallKeys {
  team: string | undefined;
  task: string | undefined;
  model: string;
}

export type Dimension = keyof CallKeys;

export interface Sums {
  calls: number;
  blocked: number;
  rerouted: number;
  letThrough: number;
  /** What the calls cost, and what they would have cost. */
  before: NanoUsd;
  after: NanoUsd;
}

/** What decided otherwise than before: a cap or a rule of a policy, or a reason without either. */
export interface Decider {
  reason: string;
  policy?: string;
  cap?: number;
  rule?: number;
  change: Change;
  calls: number;
}

/** What the log doesn't tell, each with the number of calls that it matters for. */
export const ASSUMPTIONS = [
  'no_policy',
  'estimated',
  'capability',
  'ceiling',
  'asked',
  'held',
  'features',
  'cut',
  'frozen',
] as const;

export type Assumption = (typeof ASSUMPTIONS)[number];

function noSums(): Sums {
  return { calls: 0, blocked: 0, rerouted: 0, letThrough: 0, before: 0n, after: 0n };
}

/** A call that is counted; its cost comes later, and may be corrected. */
export class CountedCall {
  before: NanoUsd = 0n;
  after: NanoUsd = 0n;
  /** True once its cost is known. */
  isEnded = false;
  readonly #sums: readonly Sums[];

  constructor(sums: readonly Sums[]) {
    this.#sums = sums;
  }

  /** Sets what the call cost, and what it would have cost. */
  cost(before: NanoUsd, after: NanoUsd): void {
    for (const sums of this.#sums) {
      sums.before += before - this.before;
      sums.after += after - this.after;
    }
    this.before = before;
    this.after = after;
    this.isEnded = true;
  }
}

export class Tally {
  readonly total: Sums = noSums();
  readonly groups: Record<Dimension, Map<string | undefined, Sums>> = {
    team: new Map(),
    task: new Map(),
    model: new Map(),
  };
  readonly deciders: Map<string, Decider> = new Map();
  readonly assumed: Map<Assumption, number> = new Map();
  stillBlocked = 0;
  /** The part of `total.after` that is an estimate, for calls that were never made. */
  estimated: NanoUsd = 0n;

  count(keys: CallKeys, change: Change): CountedCall {
    const sums = [
      this.total,
      ...(['team', 'task', 'model'] as const).map((name) => this.#group(name, keys[name])),
    ];
    for (const each of sums) {
      each.calls += 1;
      if (change === 'blocked') each.blocked += 1;
      else if (change === 'rerouted') each.rerouted += 1;
      else if (change === 'let_through') each.letThrough += 1;
    }
    if (change === 'still_blocked') this.stillBlocked += 1;
    return new CountedCall(sums);
  }

  #group(name: Dimension, value: string | undefined): Sums {
    let sums = this.groups[name].get(value);
    if (sums === undefined) this.groups[name].set(value, (sums = noSums()));
    return sums;
  }

  decided(decider: Omit<Decider, 'calls'>): void {
    const key = JSON.stringify(decider);
    const known = this.deciders.get(key);
    if (known === undefined) this.deciders.set(key, { ...decider, calls: 1 });
    else known.calls += 1;
  }

  assume(what: Assumption): void {
    this.assumed.set(what, (this.assumed.get(what) ?? 0) + 1);
  }
}
