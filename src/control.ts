/** Changing one's mind, on the record: raising a cap for a while, stopping a scope, letting it go on. */
import { AgentGuardError } from './errors.ts';
import type { Ledger, LedgerView, Transaction } from './ledgers/ledger.ts';
import { nanoUsdFromUsd, type NanoUsd } from './money.ts';
import type { PolicyRecord } from './policy.ts';
import { instantProblem } from './policy/problems.ts';
import { isIsoInstant } from './policy/schema.ts';
import type { Draft, Receipt } from './receipts/payloads.ts';
import { instantText } from './receipts/seal.ts';
import { checkScope, type SpendScope } from './scope.ts';

/** Who does it and why, for the receipt. */
export interface ControlNote {
  by?: string;
  reason?: string;
}

export interface GrantRequest extends ControlNote {
  /** Id of the policy, and the position of the cap in it. */
  policyId: string;
  cap: number;
  /** What may be spent on top of the cap's amount, in US dollars. */
  usd: number | string;
  /** For how long, in milliseconds; or `until` when. One of the two. */
  forMs?: number;
  until?: Date | string;
  /** Only for calls of this scope, e.g. one user. Default: every call that the cap counts. */
  scope?: SpendScope;
}

function invalid(message: string): AgentGuardError {
  return new AgentGuardError('invalid_config', message);
}

function noteOf({ by, reason }: ControlNote): ControlNote {
  for (const [field, value] of Object.entries({ by, reason })) {
    const isSound =
      value === undefined || (typeof value === 'string' && value.length <= 256 && value.isWellFormed());
    if (!isSound) throw invalid(`${field}: expected text of at most 256 characters`);
  }
  return {
    ...(by !== undefined && by !== '' && { by }),
    ...(reason !== undefined && reason !== '' && { reason }),
  };
}

function grantedAmount(usd: number | string): NanoUsd {
  try {
    const amount = nanoUsdFromUsd(usd);
    if (amount > 0n) return amount;
  } catch {
    // reported below
  }
  throw invalid(`grant: usd: expected US dollars above 0, got ${String(usd)}`);
}

/** The longest that a grant may last: after that it is time to edit the policy. */
const LONGEST_GRANT_MS = 366 * 86_400_000;

function endOf({ forMs, until }: GrantRequest, now: number): number {
  if ((forMs === undefined) === (until === undefined))
    throw invalid('grant: expected either forMs or until, e.g. forMs: 3_600_000 for an hour');
  if (typeof until === 'string' && !isIsoInstant(until))
    throw invalid(`grant: until: ${instantProblem(until)}`);
  const end = forMs === undefined ? new Date(until as Date | string).getTime() : now + forMs;
  if (!Number.isFinite(end)) throw invalid(`grant: until: expected an instant, got ${String(until)}`);
  if (end <= now) throw invalid('grant: until lies in the past');
  if (end > now + LONGEST_GRANT_MS) throw invalid('grant: at most a year; edit the policy for longer');
  return end;
}

/**
 * Raises one cap for a while, by a signed receipt that binds every process at its next decision. Throws
 * `AgentGuardError` (`invalid_config`) when there is no such cap among `policies`.
 */
export async function writeGrant(
  ledger: Ledger,
  policies: readonly PolicyRecord[],
  request: GrantRequest,
): Promise<Receipt> {
  const { policyId, cap: index } = request;
  const policy = policies.find(({ id }) => id === policyId);
  if (policy === undefined) {
    const known = [...new Set(policies.map(({ id }) => id))].join(', ');
    throw invalid(`grant: there is no policy ${JSON.stringify(policyId)}; expected one of ${known}`);
  }
  const cap = policy.caps[index];
  if (cap === undefined) {
    throw invalid(`grant: policy ${policyId} has no cap ${index}; expected 0 to ${policy.caps.length - 1}`);
  }
  const amount = grantedAmount(request.usd);
  const scope = { ...checkScope('grant: scope', request.scope) };
  const note = noteOf(request);
  return write(ledger, ({ now }) => ({
    amount: amount.toString(),
    cap: index,
    currency: 'USD',
    policy: policyId,
    scale: 9,
    scope,
    type: 'grant',
    until: instantText(endOf(request, now)),
    window: cap.window,
    ...note,
  }));
}

/** Stops every call of a scope, or lets them go on, by a signed receipt that binds every process at its next decision. */
export async function writeFreeze(
  ledger: Ledger,
  scope: SpendScope,
  frozen: boolean,
  note: ControlNote = {},
): Promise<Receipt | undefined> {
  const checked = Object.fromEntries(
    Object.entries(checkScope(frozen ? 'freeze' : 'unfreeze', scope)).filter(
      ([, value]) => value !== undefined,
    ),
  ) as SpendScope;
  const words = noteOf(note);
  return write(ledger, ({ marks }) => {
    const isFrozen = marks.freezes().some((each) => isSameScope(each, checked));
    return isFrozen === frozen ? undefined : { frozen, scope: checked, type: 'freeze', ...words };
  });
}

function isSameScope(a: SpendScope, b: SpendScope): boolean {
  const fields = new Set([...Object.keys(a), ...Object.keys(b)]) as Set<keyof SpendScope>;
  return [...fields].every((field) => a[field] === b[field]);
}

/** Only the ledger's own key may sign these, so no signer is passed. */
async function write<D extends Draft | undefined>(
  ledger: Ledger,
  draft: (view: LedgerView) => D,
): Promise<D extends Draft ? Receipt : Receipt | undefined> {
  const body = (view: LedgerView): Transaction<undefined> => {
    const made = draft(view);
    return { drafts: made === undefined ? [] : [made], result: undefined };
  };
  const { receipts } = await ledger.transact([], body);
  return receipts.at(-1) as D extends Draft ? Receipt : Receipt | undefined;
}
