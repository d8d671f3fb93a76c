/** Whether an alert that a log holds was due: by a policy of the log, and by what had been spent when it was written. */
import { EXPIRED_AT_ONCE, type LedgerState } from './ledgers/state.ts';
import { formatUsd } from './money.ts';
import type { PolicyRecord } from './policy.ts';
import type { AlertPayload } from './receipts/payloads.ts';
import { instantOf } from './receipts/seal.ts';
import { ROLLING, type WindowKind } from './windows.ts';

type Alert = Pick<AlertPayload, 'policy' | 'cap' | 'window' | 'amount' | 'share'>;

/** The alerts that policies of the log ask for. */
export class AlertRules {
  readonly #asked = new Set<string>();

  add({ id, caps }: PolicyRecord): void {
    for (const [cap, { alerts = [], amount, window }] of caps.entries()) {
      for (const share of alerts) this.#asked.add(ruleText({ policy: id, cap, window, amount, share }));
    }
  }

  problem(payload: AlertPayload, state: LedgerState): string | undefined {
    const { policy, cap, amount, share, name, spent } = payload;
    const now = instantOf(payload.issued_at);
    if (!this.#asked.has(ruleText(payload))) {
      return `no policy of the log asks for an alert at ${share / 100}% of ${formatUsd(BigInt(amount))} on cap ${cap} of policy ${policy}`;
    }
    const [key = '', start = ''] = name.split(' ', 2);
    if (name !== [key, start, policy, cap, amount, share].join(' ')) return 'the alert’s name is not its own';
    if (state.marks.wasGiven(name, now)) return 'this alert had been given before';
    const right = spentAt(state, key, payload.window as WindowKind, Number(start), now);
    if (right !== undefined && right !== BigInt(spent)) {
      return `${formatUsd(right)} is spent, and the alert has ${formatUsd(BigInt(spent))}`;
    }
    if (BigInt(spent) * 10_000n >= BigInt(amount) * BigInt(share)) return undefined;
    return `${formatUsd(BigInt(spent))} of ${formatUsd(BigInt(amount))} is spent, which is less than ${share / 100}%`;
  }
}

function ruleText({ policy, cap, window, amount, share }: Alert): string {
  return JSON.stringify([policy, cap, window, amount, share]);
}

/** What was spent on an account when its writer looked, holds that were due included. */
function spentAt(
  state: LedgerState,
  key: string,
  window: WindowKind,
  start: number,
  now: number,
): bigint | undefined {
  const rolling = ROLLING[window];
  const from = rolling === undefined ? start : Math.floor(now / rolling.bucket) * rolling.bucket;
  const counts = (at: number): boolean =>
    rolling === undefined ? at === start : at >= from - rolling.length;
  const due = state.dueHolds(now);
  // More than one transaction ends: which of them the writer counted isn't known.
  if (due.length >= EXPIRED_AT_ONCE) return undefined;
  let spent =
    rolling === undefined
      ? (state.bucket(key, start)?.spent ?? 0n)
      : state.amounts({ key, window }, { start: from, end: 0 }, now).spent;
  for (const { accounts, amount } of due) {
    for (const [account, at] of accounts) if (account === key && counts(at)) spent += amount;
  }
  return spent;
}
