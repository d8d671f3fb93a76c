/** Which balances a policy's caps are counted on. */
import { sha256 } from '#platform';
import type { Cap, Policy } from './policy.ts';
import { isRuleFor } from './policy/patterns.ts';
import { canonicalJson } from './receipts/canonical-json.ts';
import { base64url } from './receipts/keys.ts';
import { SCOPE_FIELDS, type ScopeField, type SpendScope } from './scope.ts';
import type { Calendar, WindowKind } from './windows.ts';

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
  /** Position of the cap's window in the layout's `windows`; absent without an account. */
  window?: number;
  /** A scope field that the cap counts by and the call doesn't name. */
  missing?: ScopeField;
  /** Names the ladder of a sticky cap for the call's task. */
  task?: string;
}

/** A window that one or more caps follow. */
export interface LayoutWindow {
  kind: WindowKind;
  calendar: Calendar;
}

/** How the caps of a set of policies lie on accounts and windows, for calls of one scope. */
export interface CapLayout {
  /** Every cap, in the order of the policies. A cap's position here is what receipts name it by. */
  caps: readonly CapAccount[];
  /** The distinct accounts, in order of first appearance. */
  accounts: readonly AccountSelector[];
  /** The same, each with the position of its window in `windows`. */
  counted: readonly CountedAccount[];
  /** The distinct windows, in order of first appearance: what a decision's `spans` are for. */
  windows: readonly LayoutWindow[];
  /** Every model that one of the caps or rules may send a call to. */
  ladder: readonly string[];
  /** Keys of the accounts that other calls' holds may make a call wait on, one for each `block` cap. */
  blocking: readonly string[];
}

/** An account that a decision counts on, with the position of its window. */
export interface CountedAccount {
  account: AccountSelector;
  window: number;
}

/** Follows the calendar of a time zone, where minutes and hours roll. */
function isCalendarWindow(window: WindowKind): boolean {
  return window === 'per_day' || window === 'per_week' || window === 'per_month';
}

/**
 * The key of an account: a digest of what is counted – scope values, window, models where the cap is on some only, and
 * zone and week start where the calendar matters. Never of policy id, version, amount or action, so that editing a cap keeps what was spent.
 */
function accountKey(policy: Policy, { models, window }: Cap, values: SpendScope): string {
  const { timeZone, weekStart } = policy.record;
  const counted = {
    ...(models !== undefined && { models }),
    scope: values,
    ...(window === 'per_week' && { weekStart }),
    window,
    ...(isCalendarWindow(window) && { zone: timeZone }),
  };
  return keyOf(counted);
}

function keyOf(counted: unknown): string {
  return base64url(sha256(canonicalJson(counted)).subarray(0, 16));
}

/** What a sticky cap remembers a task by: whose ladder it is, of which models, and the task. */
function taskKey(
  { record }: Policy,
  { downgradeTo, sticky }: Cap,
  { taskId }: SpendScope,
): string | undefined {
  if (sticky === undefined || taskId === undefined) return undefined;
  return keyOf({ ladder: downgradeTo ?? [], scope: { ...record.scope, taskId }, sticky });
}

function windowName({ timeZone, weekStart }: Calendar, window: WindowKind): string {
  if (!isCalendarWindow(window)) return window;
  return window === 'per_week' ? `${window} ${timeZone} ${weekStart}` : `${window} ${timeZone}`;
}

/** The account of one cap, or the scope field that it lacks. */
function capAccount(policy: Policy, index: number, scope: SpendScope): Omit<CapAccount, 'window'> {
  const cap = policy.record.caps[index] as Cap;
  const task = taskKey(policy, cap, scope);
  const base = { policy, index, cap, ...(task !== undefined && { task }) };
  if (cap.window === 'per_call') return base;
  const values: SpendScope = { ...policy.record.scope };
  const countedBy: readonly ScopeField[] =
    cap.window === 'per_task' ? ['taskId', ...(cap.per ?? [])] : (cap.per ?? []);
  for (const field of countedBy) {
    const value = scope[field];
    if (value === undefined) return { ...base, missing: field };
    values[field] = value;
  }
  return { ...base, account: { key: accountKey(policy, cap, values), window: cap.window } };
}

function makeLayout(policies: readonly Policy[], scope: SpendScope): CapLayout {
  const windows = new Map<string, { position: number; window: LayoutWindow }>();
  const accounts = new Map<string, CountedAccount>();
  const caps = policies.flatMap((policy) =>
    policy.record.caps.map((_, index): CapAccount => {
      const cap = capAccount(policy, index, scope);
      if (cap.account === undefined) return cap;
      const { calendar } = policy;
      const kind = cap.account.window;
      const name = windowName(calendar, kind);
      let found = windows.get(name);
      if (found === undefined)
        windows.set(name, (found = { position: windows.size, window: { kind, calendar } }));
      const entry = { account: cap.account, window: found.position };
      if (!accounts.has(cap.account.key)) accounts.set(cap.account.key, entry);
      return { ...cap, window: found.position };
    }),
  );
  return {
    caps,
    accounts: Array.from(accounts.values(), ({ account }) => account),
    counted: [...accounts.values()],
    windows: Array.from(windows.values(), ({ window }) => window),
    ladder: [...new Set([...caps.flatMap(({ cap }) => cap.downgradeTo ?? []), ...routes(policies, scope)])],
    blocking: caps.flatMap(({ account, cap, policy }) =>
      account !== undefined && cap.action === 'block' && policy.record.mode === 'enforce'
        ? [account.key]
        : [],
    ),
  };
}

function routes(policies: readonly Policy[], scope: SpendScope): string[] {
  return policies.flatMap(({ record }) =>
    (record.rules ?? []).flatMap((rule) => (isRuleFor(rule, scope) ? (rule.routeTo ?? []) : [])),
  );
}

/** The accounts that a decision counts on; `uncounted` are caps that don't count. */
export function countedAccounts(
  { counted, caps }: CapLayout,
  uncounted: readonly number[] = [],
): readonly CountedAccount[] {
  if (uncounted.length === 0) return counted;
  // Caps on one account are for the same models, so that one of them speaks for all.
  const left = new Set(uncounted.map((index) => caps[index]?.account?.key));
  return counted.filter(({ account }) => !left.has(account.key));
}

// Task and user ids are unbounded; dropping the cache now and then keeps memory flat.
const LAYOUTS_KEPT = 1024;
const layouts = new Map<string, CapLayout>();

const numbers = new WeakMap<Policy, number>();
let lastNumber = 0;

/** A short name for a policy in this process. */
function numberOf(policy: Policy): number {
  let number = numbers.get(policy);
  if (number === undefined) numbers.set(policy, (number = ++lastNumber));
  return number;
}

interface Recent {
  policies: readonly Policy[];
  scope: SpendScope;
  layout: CapLayout;
}

/** The last layout of each first policy: nearly every call is of the same policies and scope as the one before it. */
const recent = new WeakMap<Policy, Recent>();

/** The layout of the caps of `policies` for calls of `scope`. The policies must match the scope. */
export function capLayout(policies: readonly Policy[], scope: SpendScope): CapLayout {
  const [first] = policies;
  const last = first && recent.get(first);
  if (last !== undefined && isSame(last.policies, policies) && isSameScope(last.scope, scope))
    return last.layout;
  const layout = keptLayout(policies, scope);
  if (first !== undefined) recent.set(first, { policies: [...policies], scope: { ...scope }, layout });
  return layout;
}

function isSame(one: readonly Policy[], other: readonly Policy[]): boolean {
  return one.length === other.length && one.every((policy, index) => policy === other[index]);
}

function isSameScope(one: SpendScope, other: SpendScope): boolean {
  for (const field of SCOPE_FIELDS) if (one[field] !== other[field]) return false;
  return true;
}

function keptLayout(policies: readonly Policy[], scope: SpendScope): CapLayout {
  let name = '';
  for (const policy of policies) name += `${numberOf(policy)},`;
  for (const field of SCOPE_FIELDS) {
    const value = scope[field];
    // With its length before it, no value can be mistaken for two.
    name += value === undefined ? ' -' : ` ${value.length}:${value}`;
  }
  let layout = layouts.get(name);
  if (layout === undefined) {
    layout = makeLayout(policies, scope);
    if (layouts.size >= LAYOUTS_KEPT) layouts.clear();
    layouts.set(name, layout);
  }
  return layout;
}
