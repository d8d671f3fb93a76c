/** What a guard can do. */
import type { CapBalance } from './balances.ts';
import type { ControlNote, GrantRequest } from './control.ts';
import type { Decision } from './decide.ts';
import type { GuardedCall, Settlement } from './guarded-call.ts';
import type { LateTruthSource, Reconciled } from './late-truth.ts';
import type { Receipt } from './receipts/payloads.ts';
import type { SpendRequest } from './request.ts';
import type { SpendScope } from './scope.ts';

/** A charge for something that isn't a model call, whose cost is known beforehand: a paid tool, a search. */
export interface SpendCharge {
  /** Names the thing in the log. */
  label: string;
  /** US dollars, as a decimal string or number; finer than a nano-dollar is refused. */
  usd: string | number;
  scope?: SpendScope;
  /** Capabilities, where a rule asks for some. */
  claims?: readonly string[];
  signal?: AbortSignal;
}

export interface ReconcileOptions {
  /** Default: the guard's own. */
  lateTruth?: LateTruthSource;
  signal?: AbortSignal;
}

/** Puts calls under policies. Adapters that share a guard share ledger, keys and log. */
export interface SpendGuard extends AsyncDisposable {
  /**
   * Decides a call and holds its worst case. Resolves once the signed decision has the ledger's durability; then
   * the call may leave. Rejects with `AgentGuardBlockedError` when it may not, with the signal's reason when the
   * caller gave up waiting, and with `AgentGuardError` (`invalid_config`) for a request that makes no sense.
   */
  begin(request: SpendRequest): Promise<GuardedCall>;
  /** What `begin` would decide now. Writes nothing and holds nothing. */
  preview(request: SpendRequest): Promise<Decision>;
  /** Decides and settles a known cost at once. Rejects as `begin` does. */
  charge(charge: SpendCharge): Promise<Settlement>;
  /** Every cap that counts for a scope, with what is spent and held. `per_call` caps are left out. */
  balances(scope?: SpendScope): Promise<CapBalance[]>;
  /** Raises one cap for a while, on the record; binds every process at its next decision. Resolves with the receipt. */
  grant(grant: GrantRequest): Promise<Receipt>;
  /**
   * Stops every call of a scope (`{}`: of all) in every process, from its next decision on. Calls in flight go on.
   * Resolves with the receipt, or with `undefined` when the scope is frozen already.
   */
  freeze(scope: SpendScope, note?: ControlNote): Promise<Receipt | undefined>;
  /** Lifts the freeze of exactly this scope. `undefined` when it isn't frozen. */
  unfreeze(scope: SpendScope, note?: ControlNote): Promise<Receipt | undefined>;
  /**
   * Asks once about every call of the ledger, whichever process made it, that was settled at its hold or an estimate
   * and has a provider's id, and records what it really cost. For what `lateTruth` did not get to: run it now and then.
   */
  reconcile(options?: ReconcileOptions): Promise<Reconciled>;
  /** Resolves when every receipt written so far is durable, and every alert so far has been told. */
  flush(): Promise<void>;
  /** Closes the ledger, for every guard that shares it. */
  close(): Promise<void>;
}

/** Marks a guard, across copies of this package. */
export const GUARD: unique symbol = Symbol.for('agentguard.spend/guard@1');

/** True for what `createSpendGuard` returns, also from another copy of this package. */
export function isSpendGuard(value: unknown): value is SpendGuard {
  return typeof value === 'object' && value !== null && GUARD in value;
}
