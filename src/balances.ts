/** What is spent and held on the caps that count for a scope. */
import { capLayout, type CapAccount, type CapLayout, type LayoutWindow } from './accounts.ts';
import type { Ledger, LedgerView, Transaction } from './ledgers/ledger.ts';
import type { Grant } from './ledgers/marks.ts';
import type { NanoUsd } from './money.ts';
import type { CapAction, Policy } from './policy.ts';
import { scopeMatches, type SpendScope } from './scope.ts';
import { spanAt, type WindowKind } from './windows.ts';

/** What raises a cap for a while. */
export interface CapGrant {
  amount: NanoUsd;
  until: Date;
  /** Which calls it is for. */
  scope: SpendScope;
}

/** A cap with what counts for it now, in nano-USD. */
export interface CapBalance {
  policyId: string;
  /** Position in the policy's `caps`. */
  index: number;
  window: WindowKind;
  action: CapAction;
  /** As the policy has it. */
  amount: NanoUsd;
  /** What was settled, and what was held by calls whose lease has run out. */
  spent: NanoUsd;
  held: NanoUsd;
  /** What grants add to the amount for calls of this scope, each until its time is over. */
  granted?: NanoUsd;
  grants?: readonly CapGrant[];
  /** The frozen scope that calls of this scope are in: none of them passes until somebody unfreezes it. */
  frozen?: SpendScope;
  /** When the window ends; absent where it never does. */
  resetsAt?: Date;
}

/** Every cap of the policies that match `scope`, but for `per_call` caps and those that count by a missing field. */
export async function capBalances(
  ledger: Ledger,
  policies: readonly Policy[],
  scope: SpendScope,
): Promise<CapBalance[]> {
  const layout = capLayout(
    policies.filter((policy) => scopeMatches(policy.record.scope, scope)),
    scope,
  );
  const look = (view: LedgerView): Transaction<CapBalance[]> => ({
    drafts: [],
    result: layout.caps.flatMap((cap) => balanceOf(view, layout, cap, scope) ?? []),
  });
  return (await ledger.transact(layout.accounts, look)).result;
}

function balanceOf(
  view: LedgerView,
  { windows }: CapLayout,
  { policy, index, cap, account, window }: CapAccount,
  scope: SpendScope,
): CapBalance | undefined {
  if (account === undefined || window === undefined) return undefined;
  const { marks, now } = view;
  const { kind, calendar } = windows[window] as LayoutWindow;
  const span = spanAt(kind, calendar, now);
  const { id } = policy.record;
  const granted = marks.granted({ policy: id, cap: index, window: kind, scope }, now);
  const grants = marks.grants(now, { policy: id, cap: index, window: kind, scope });
  const frozen = marks.frozen(scope);
  return {
    policyId: id,
    index,
    window: cap.window,
    action: cap.action,
    amount: policy.amounts[index] as NanoUsd,
    ...view.amounts(account, span),
    ...(granted > 0n && { granted, grants: grants.map(shown) }),
    ...(frozen !== undefined && { frozen: { ...frozen } }),
    ...(span.end !== 0 && { resetsAt: new Date(span.end) }),
  };
}

function shown({ amount, until, scope }: Grant): CapGrant {
  return { amount, until: new Date(until), scope: { ...scope } };
}
