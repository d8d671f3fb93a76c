/** What is spent and held on the caps that count for a scope. */
import { capLayout, type LayoutWindow } from './accounts.ts';
import type { Ledger } from './ledgers/ledger.ts';
import type { NanoUsd } from './money.ts';
import type { CapAction, Policy } from './policy.ts';
import { scopeMatches, type SpendScope } from './scope.ts';
import { spanAt, type WindowKind, type WindowSpan } from './windows.ts';

/** A cap with what counts for it now, in nano-USD. */
export interface CapBalance {
  policyId: string;
  /** Position in the policy's `caps`. */
  index: number;
  window: WindowKind;
  action: CapAction;
  amount: NanoUsd;
  spent: NanoUsd;
  held: NanoUsd;
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
  const ends = new Map<string, number>();
  const selectors = layout.counted.map(({ account, window }) => {
    const { kind, calendar } = layout.windows[window] as LayoutWindow;
    const span = (now: number): WindowSpan => {
      const found = spanAt(kind, calendar, now);
      ends.set(account.key, found.end);
      return found;
    };
    return { ...account, span };
  });
  const balances = await ledger.balances(selectors);
  const found = new Map(balances.map((balance) => [balance.account.key, balance]));
  return layout.caps.flatMap(({ policy, index, cap, account }) => {
    const balance = account && found.get(account.key);
    if (account === undefined || balance === undefined) return [];
    const end = ends.get(account.key) ?? 0;
    return {
      policyId: policy.record.id,
      index,
      window: cap.window,
      action: cap.action,
      amount: policy.amounts[index] as NanoUsd,
      spent: balance.spent,
      held: balance.held,
      ...(end !== 0 && { resetsAt: new Date(end) }),
    };
  });
}
