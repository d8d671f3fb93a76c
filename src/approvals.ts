/** Asking somebody whether a call may pass a cap. */
import { decide, type DecideInput, type Decision } from './decide.ts';
import type { CapInfo } from './errors.ts';
import type { NanoUsd } from './money.ts';
import type { Draft } from './receipts/payloads.ts';
import type { SpendScope } from './scope.ts';

/** What somebody is asked: may this call pass this cap? */
export interface ApprovalQuestion {
  callId: string;
  model: string;
  scope: SpendScope;
  cap: CapInfo;
  /** The most that the call can cost. */
  worstCase: NanoUsd;
  spent: NanoUsd;
  held: NanoUsd;
  /** Aborted when the answer comes too late to count. */
  signal: AbortSignal;
}

/** True or false, or the same with who said so and why; both are kept in the receipt. */
export type ApprovalAnswer = boolean | { approved: boolean; by?: string; reason?: string };

export type OnAsk = (question: ApprovalQuestion) => ApprovalAnswer | PromiseLike<ApprovalAnswer>;

/** An answer about one cap of one call. */
export interface Approval {
  /** Index into the decision's caps. */
  cap: number;
  /** The most that the call may cost by it. */
  hold: NanoUsd;
  outcome: 'approved' | 'denied' | 'timeout' | 'failed';
  by?: string;
  reason?: string;
}

/** Asks, and waits for `timeoutMs` at most. Never rejects: no answer is a no. */
export async function ask(
  onAsk: OnAsk,
  question: Omit<ApprovalQuestion, 'signal'>,
  timeoutMs: number,
  caller: AbortSignal | undefined,
): Promise<Pick<Approval, 'outcome' | 'by' | 'reason'>> {
  const over = new AbortController();
  const { promise: end, resolve } = Promise.withResolvers<'timeout'>();
  const giveUp = (): void => resolve('timeout');
  const timer = setTimeout(giveUp, timeoutMs);
  caller?.addEventListener('abort', giveUp, { once: true });
  if (caller?.aborted === true) giveUp();
  try {
    const asked = Promise.resolve().then(() => onAsk({ ...question, signal: over.signal }));
    const answer: unknown = await Promise.race([asked, end]);
    if (answer === 'timeout') return { outcome: 'timeout' };
    // Only a plain yes is a yes.
    if (typeof answer === 'boolean') return { outcome: answer ? 'approved' : 'denied' };
    const { approved, by, reason } = (answer ?? {}) as { approved?: unknown; by?: unknown; reason?: unknown };
    const words = { ...textOf('by', by), ...textOf('reason', reason) };
    return { outcome: approved === true ? 'approved' : 'denied', ...words };
  } catch {
    return { outcome: 'failed' };
  } finally {
    clearTimeout(timer);
    caller?.removeEventListener('abort', giveUp);
    over.abort();
  }
}

function textOf<K extends string>(field: K, value: unknown): { [P in K]?: string } {
  if (typeof value !== 'string' || value === '') return {};
  return { [field]: value.slice(0, 256).toWellFormed() } as { [P in K]?: string };
}

/** The receipts of what was answered about a call, which stand before its decision. */
export function approvalDrafts(call: string, approvals: readonly Approval[]): Draft[] {
  return approvals.map(({ by, cap, hold, outcome, reason }) => ({
    ...(by !== undefined && { by }),
    call,
    cap,
    currency: 'USD',
    hold: hold.toString(),
    outcome,
    ...(reason !== undefined && { reason }),
    scale: 9,
    type: 'approval',
  }));
}

/**
 * Decides with the caps passed that somebody said yes to. A yes is for what was asked: when the call may cost more by
 * now, that cap must be asked about again.
 */
export function decideWith<J extends { input: DecideInput }>(
  approvals: readonly Approval[],
  inputFor: (approved: readonly number[]) => J,
): J & { decision: Decision } {
  const given = approvals.filter(({ outcome }) => outcome === 'approved');
  const judged = inputFor(given.map(({ cap }) => cap));
  const decision = decide(judged.input);
  if (given.every(({ hold }) => decision.hold <= hold)) return { ...judged, decision };
  const enough = given.filter(({ hold }) => decision.hold <= hold);
  const again = inputFor(enough.map(({ cap }) => cap));
  return { ...again, decision: decide(again.input) };
}

/** A question is asked this often about one call at most. */
const MOST_QUESTIONS = 8;

/** True when somebody may still be asked about the cap that a decision stopped at. */
export function isUnasked(decision: Decision, approvals: readonly Approval[]): boolean {
  if (decision.reason !== 'not_approved' || approvals.length >= MOST_QUESTIONS) return false;
  return approvals.every(({ cap, outcome }) => cap !== decision.cap || outcome === 'approved');
}
