/** Which balances a policy's caps are counted on. */
import { base64url } from './receipts/keys.ts';
import { canonicalJson } from './receipts/canonical-json.ts';
import { sha256 } from '#platform';
import type { Cap, Policy } from './policy.ts';
import type { ScopeField, SpendScope } from './scope.ts';
import type { WindowKind } from './windows.ts';

/** One account over all its windows: the digest of what is counted. */
export interface AccountSelector {
  key: string;
  window: WindowKind;
}

/** A cap of a matching policy, with the account that it is counted on; `per_call` caps have none. */
export interface CapAccount {
  policy: Policy;
  /** Position of the cap in its policy. */
  index: number;
  cap: Cap;
  account?: AccountSelector;
  /** A scope field that the cap counts by and the call doesn't name. */
  missing?: ScopeField;
}

const KEYS_KEPT = 4096;
const keys = new Map<string, string>();

/**
 * The key of an account: a digest of what is counted – scope values, window, and zone and week start where the
 * calendar matters. Never of policy id, version, amount or action, so that editing a cap keeps what was spent.
 */
function accountKey(counted: Record<string, unknown>): string {
  const text = canonicalJson(counted);
  let key = keys.get(text);
  if (key === undefined) {
    key = base64url(sha256(text).subarray(0, 16));
    // Task ids are unbounded; dropping the cache now and then keeps memory flat.
    if (keys.size >= KEYS_KEPT) keys.clear();
    keys.set(text, key);
  }
  return key;
}

function capAccount(policy: Policy, index: number, scope: SpendScope): CapAccount {
  const cap = policy.record.caps[index] as Cap;
  if (cap.window === 'per_call') return { policy, index, cap };
  const values: SpendScope = { ...policy.record.scope };
  const countedBy: readonly ScopeField[] =
    cap.window === 'per_task' ? ['taskId', ...(cap.per ?? [])] : (cap.per ?? []);
  for (const field of countedBy) {
    const value = scope[field];
    if (value === undefined) return { policy, index, cap, missing: field };
    values[field] = value;
  }
  const { timeZone, weekStart } = policy.record;
  const byCalendar = cap.window === 'per_day' || cap.window === 'per_week' || cap.window === 'per_month';
  const key = accountKey({
    scope: values,
    window: cap.window,
    ...(byCalendar && { zone: timeZone }),
    ...(cap.window === 'per_week' && { weekStart }),
  });
  return { policy, index, cap, account: { key, window: cap.window } };
}

/** Every cap of `policies`, in order, with its account for a call of `scope`. */
export function capAccounts(policies: readonly Policy[], scope: SpendScope): CapAccount[] {
  return policies.flatMap((policy) => policy.record.caps.map((_, index) => capAccount(policy, index, scope)));
}

/** The distinct accounts among `caps`, in order of first appearance. */
export function distinctAccounts(caps: readonly CapAccount[]): AccountSelector[] {
  const found = new Map<string, AccountSelector>();
  for (const { account } of caps) {
    if (account !== undefined && !found.has(account.key)) found.set(account.key, account);
  }
  return [...found.values()];
}
