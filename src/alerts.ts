/** Alerts: told once in each window when a part of a cap's amount is spent, whichever process spends it. */
import type { CapAccount } from './accounts.ts';
import type { Ledger, LedgerView, TransactOptions, Transaction } from './ledgers/ledger.ts';
import type { NanoUsd } from './money.ts';
import type { Prepared } from './prepare.ts';
import type { AlertPayload, Draft, Receipt } from './receipts/payloads.ts';
import { ROLLING, spanAt, TASK_IDLE_DAYS, type WindowSpan } from './windows.ts';

/** A part of a cap's amount has been spent. */
export interface SpendAlert {
  /** Hash of the alert's receipt; the same for everyone who is told. */
  id: string;
  policyId: string;
  /** Position of the cap in the policy. */
  cap: number;
  window: string;
  /** The part that was reached, e.g. 0.8. */
  share: number;
  spent: NanoUsd;
  amount: NanoUsd;
  /** The cap's own words. */
  reason?: string;
  at: Date;
}

const DAY = 86_400_000;

interface Watched {
  ref: CapAccount;
  span: WindowSpan;
}

/**
 * Until when an alert isn't given again: a day after the end of its window, for calls that are settled late; of a
 * rolling one, when all that counts now has left it.
 */
function quietUntil({ account }: CapAccount, span: WindowSpan, now: number): number {
  const rolling = account === undefined ? undefined : ROLLING[account.window];
  if (rolling !== undefined) return now + rolling.length + rolling.bucket;
  if (account?.window === 'per_task') return now + TASK_IDLE_DAYS * DAY;
  return span.end === 0 ? 0 : span.end + DAY;
}

/** Windows that begin anew have a name each; a rolling one never does. */
function alertName({ account, policy, index, cap }: CapAccount, span: WindowSpan, share: number): string {
  const isRolling = account !== undefined && ROLLING[account.window] !== undefined;
  const parts = [
    account?.key,
    isRolling ? 'rolling' : span.start,
    policy.record.id,
    index,
    cap.amount,
    share,
  ];
  return parts.join(' ');
}

function alertDrafts({ ref, span }: Watched, view: LedgerView): Draft[] {
  const { account, cap, policy, index } = ref;
  if (account === undefined) return [];
  const until = quietUntil(ref, span, view.now);
  // Nobody remembers what was said of a window that is long over.
  if (until !== 0 && until <= view.now) return [];
  const amount = policy.amounts[index] as NanoUsd;
  const { spent } = view.amounts(account, span);
  return (cap.alerts ?? []).flatMap((share): Draft[] => {
    const name = alertName(ref, span, share);
    const isReached = spent > 0n && spent * 10_000n >= amount * BigInt(share);
    if (!isReached || view.marks.wasGiven(name, view.now)) return [];
    return [
      {
        amount: amount.toString(),
        cap: index,
        currency: 'USD',
        name,
        policy: policy.record.id,
        scale: 9,
        share,
        spent: spent.toString(),
        type: 'alert',
        until,
        window: cap.window,
      },
    ];
  });
}

/** True when a cap of the call has alerts at all. */
export function hasAlerts({ layout }: Prepared): boolean {
  return layout.caps.some(({ cap }) => cap.alerts !== undefined);
}

/**
 * Writes the alerts that are due on a call's caps and returns them. The ledger remembers what was given, so whoever
 * comes first gives it, and nobody after: one that a process died before giving is given by the next that looks.
 */
export async function dueAlerts(
  { layout }: Prepared,
  decided: readonly WindowSpan[],
  ledger: Ledger,
  signing: TransactOptions,
): Promise<SpendAlert[]> {
  const watched = layout.caps.filter(({ account, cap }) => account !== undefined && cap.alerts !== undefined);
  const body = (view: LedgerView): Transaction<undefined> => {
    const drafts = watched.flatMap((ref) => {
      const window = layout.windows[ref.window as number];
      const then = decided[ref.window as number];
      if (window === undefined || then === undefined) return [];
      const current = spanAt(window.kind, window.calendar, view.now);
      // What is settled after midnight still belongs to the day before.
      const spans =
        then.start === current.start || ROLLING[window.kind] !== undefined ? [current] : [then, current];
      return spans.flatMap((span) => alertDrafts({ ref, span }, view));
    });
    return { drafts, result: undefined };
  };
  const { receipts } = await ledger.transact(layout.accounts, body, signing);
  return receipts.flatMap((receipt) => (receipt.payload.type === 'alert' ? [alertOf(receipt, watched)] : []));
}

function alertOf(receipt: Receipt, watched: readonly CapAccount[]): SpendAlert {
  const payload = receipt.payload as AlertPayload;
  const { policy: policyId, cap, window, share, spent, amount, issued_at: at } = payload;
  const ref = watched.find(({ policy, index }) => policy.record.id === policyId && index === cap);
  return {
    id: receipt.hash,
    policyId,
    cap,
    window,
    share: share / 10_000,
    spent: BigInt(spent),
    amount: BigInt(amount),
    ...(ref?.cap.reason !== undefined && { reason: ref.cap.reason }),
    at: new Date(at),
  };
}
