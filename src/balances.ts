/** What is spent and held on the caps that count for a scope. */
import { capAccounts, distinctAccounts } from './accounts.ts';
import type { Ledger } from './ledgers/ledger.ts';
import type { NanoUsd } from './money.ts';
import type { Policy } from './policy.ts';
import { scopeMatches, type SpendScope } from './scope.ts';
import { spanAt, type WindowKind, type WindowSpan } from './windows.ts';

/** A cap with what counts for it now, in nano-USD. */
export interface CapBalance {
  policyId: string;
  /** Position in the policy's `caps`. */
  index: number;
  window: WindowKind;
  action: 'block' | 'downgrade';
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
  const matching = policies.filter((policy) => scopeMatches(policy.record.scope, scope));
  const caps = capAccounts(matching, scope).filter((cap) => cap.account !== undefined);
  const spans = new Map<string, WindowSpan>();
  const selectors = distinctAccounts(caps).map((account) => {
    const { calendar } = (caps.find((cap) => cap.account?.key === account.key) as (typeof caps)[number])
      .policy;
    return {
      ...account,
      span: (now: number) => remember(spans, account.key, spanAt(account.window, calendar, now)),
    };
  });
  const balances = await ledger.balances(selectors);
  const found = new Map(balances.map((balance) => [balance.account.key, balance]));
  return caps.map(({ policy, index, cap, account }) => {
    const key = account?.key ?? '';
    const end = spans.get(key)?.end ?? 0;
    return {
      policyId: policy.record.id,
      index,
      window: cap.window,
      action: cap.action,
      amount: policy.amounts[index] as NanoUsd,
      spent: found.get(key)?.spent ?? 0n,
      held: found.get(key)?.held ?? 0n,
      ...(end !== 0 && { resetsAt: new Date(end) }),
    };
  });
}

function remember(spans: Map<string, WindowSpan>, key: string, span: WindowSpan): WindowSpan {
  spans.set(key, span);
  return span;
}
