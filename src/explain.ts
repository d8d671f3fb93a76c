/** Why a call was refused and what to do about it, in a sentence for the developer. */
import type { DecideInput, Decision } from './decide.ts';
import { capText, type BlockReason, type CapInfo } from './errors.ts';
import { formatUsd } from './money.ts';
import type { Prepared } from './prepare.ts';

/** The cap that decided, in the words of an error. */
export function capInfo(input: DecideInput, decision: Decision): CapInfo | undefined {
  const state = decision.cap === undefined ? undefined : input.caps[decision.cap];
  if (state === undefined) return undefined;
  const { policy, index, cap } = state.ref;
  return {
    policyId: policy.record.id,
    index,
    window: cap.window,
    amount: BigInt(cap.amount),
    ...(cap.reason !== undefined && { reason: cap.reason }),
  };
}

/** The message of a refused call. May name models, scopes and balances: it is for the developer's log. */
export function blockMessage(prepared: Prepared, input: DecideInput, decision: Decision): string {
  return `${prepared.request.model} was blocked (${decision.reason}): ${sentence(prepared, input, decision)}`;
}

function sentence(prepared: Prepared, input: DecideInput, decision: Decision): string {
  const { detail = '' } = decision;
  const cap = capInfo(input, decision);
  const named = cap === undefined ? 'a cap' : capText(cap);
  const state = decision.cap === undefined ? undefined : input.caps[decision.cap];
  const worst = formatUsd(decision.hold);
  switch (decision.reason as BlockReason) {
    case 'scope_conflict':
      return `the call names another ${detail} than the scope around it. Remove one of the two.`;
    case 'scope_required':
      return `${cap === undefined ? 'the guard' : named} needs ${detail}, and the call names none. Pass it in the scope.`;
    case 'no_policy':
      return `no policy matches the scope ${JSON.stringify(prepared.scope)}. Add one, or correct the scope.`;
    case 'policy_not_effective':
      return `policy ${detail} takes effect at ${new Date(decision.retryAt ?? 0).toISOString()}.`;
    case 'clock':
      return (
        `the log's last receipt is dated ${new Date(input.now).toISOString()}, which lies in this machine's future. ` +
        'Correct the clock; if the log is what is wrong, accept the present time with `agentguard clock --accept`.'
      );
    case 'unknown_price':
      return prepared.unpriced.get(detail) ?? `${detail} has no known price.`;
    case 'unbounded_cost':
      return `its cost has no upper bound: ${detail}. Set an output limit on the call.`;
    case 'cap_per_call':
      return `it could cost ${worst}, more than ${named}. Set a lower output limit or shorten the prompt.`;
    case 'cap_spent':
      return `${formatUsd(state?.spent ?? 0n)} of ${named} is spent, and the call could cost ${worst}.`;
    case 'cap_held':
      return (
        `${named} has room, but calls in flight hold ${formatUsd(state?.held ?? 0n)} of it and this one could cost ` +
        `${worst}. Try again when they have ended, or raise waitForHoldsMs.`
      );
    case 'no_route':
      return `${named} asks for a cheaper model, and none of its models can carry this call${uncarried(prepared)}.`;
    case 'ledger_unavailable':
      return 'the ledger is not available.';
  }
}

function uncarried({ uncarried: { found } }: Prepared): string {
  if (found.length === 0) return '';
  return ` (the adapter can't send it to ${found.join(', ')}; pass resolveModel)`;
}
