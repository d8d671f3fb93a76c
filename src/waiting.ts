/** Which accounts a call may have to wait on. */
import type { DecideInput } from './decide.ts';
import type { NanoUsd } from './money.ts';

/** The accounts on which other calls' holds leave no room for `cost`. */
export function accountsInTheWay({ caps }: DecideInput, cost: NanoUsd): string[] {
  return caps.flatMap(({ ref: { account, cap, index, policy }, spent, held, granted = 0n }) => {
    const binds = account !== undefined && cap.action === 'block' && policy.record.mode === 'enforce';
    return binds && spent + held + cost > (policy.amounts[index] as NanoUsd) + granted ? [account.key] : [];
  });
}

/** Resolves after `ms`; keeps no process alive. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    const timer: unknown = setTimeout(resolve, ms);
    (timer as { unref?: () => void }).unref?.();
  });
}
