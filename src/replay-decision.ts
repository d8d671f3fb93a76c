/** What a decision's receipt says, held against what its log and its policies lead to. */
import type { Decision } from './decide.ts';
import type { Marks } from './ledgers/marks.ts';
import { formatUsd } from './money.ts';
import { canonicalJson } from './receipts/canonical-json.ts';
import type { DecisionPayload } from './receipts/payloads.ts';
import { instantOf } from './receipts/seal.ts';
import type { Foundation } from './rehydrate.ts';
import type { SpendScope } from './scope.ts';

/** Grants, rungs and freezes that a decision names must be those that the log leads to. */
export function markProblem(
  payload: DecisionPayload,
  amounts: Foundation['amounts'],
  frozen: SpendScope | undefined,
): string | undefined {
  const granted = amounts.flatMap((cap, index) =>
    cap.granted === undefined ? [] : [[index, String(cap.granted)]],
  );
  const rungs = amounts.flatMap(({ rung }, index) => (rung === undefined ? [] : [[index, rung]]));
  for (const [what, right, told] of [
    ['grants', granted, payload.granted ?? []],
    ['rungs', rungs, payload.rungs ?? []],
    ['freeze', frozen ?? {}, payload.frozen ?? {}],
  ] as const) {
    // Most decisions have none of these, and writing them down for each leaves a lot to clear away.
    if ((isEmpty(right) && isEmpty(told)) || isSame(right, told)) continue;
    return `the ${what} of the log are ${JSON.stringify(right)}, and the decision has ${JSON.stringify(told)}`;
  }
  return undefined;
}

/** A capability counts for one call: which ones had been used before follows from the log. */
export function capabilityProblem(
  { request, issued_at: issuedAt }: DecisionPayload,
  marks: Pick<Marks, 'usedUntil'>,
): string | undefined {
  for (const { iss, jti, problem, replayed = false } of request.capabilities ?? []) {
    const until = iss === undefined || jti === undefined ? undefined : marks.usedUntil(iss, jti);
    if (replayed && until === undefined)
      return `capability ${jti ?? ''} is said to have been used before, and was not`;
    // Writers forget tokens that have run out, which count for nothing anyway.
    const isRemembered = until !== undefined && until > instantOf(issuedAt);
    if (!replayed && problem === undefined && isRemembered)
      return `capability ${jti} of ${iss} had been used by a call before, and counts again`;
  }
  return undefined;
}

type Told = Omit<Decision, 'retryAt' | 'detail'>;

export function decisionProblem(computed: Decision, recorded: Told): string | undefined {
  const words = ({ decision, reason, cap }: Told): string =>
    `${decision} (${reason}${cap === undefined ? '' : `, cap ${cap}`})`;
  if (words(computed) !== words(recorded))
    return `the policies lead to ${words(computed)}, and the decision is ${words(recorded)}`;
  if (computed.hold !== recorded.hold)
    return `the worst case is ${formatUsd(computed.hold)}, and the hold is ${formatUsd(recorded.hold)}`;
  if (!isSame(computed.route, recorded.route)) {
    return `the route is ${JSON.stringify(computed.route ?? null)}, and the decision has ${JSON.stringify(recorded.route ?? null)}`;
  }
  if (!isSame(computed.rule, recorded.rule) || !isSame(computed.uncounted, recorded.uncounted)) {
    const text = ({ rule, uncounted = [] }: Told): string =>
      `rule ${rule?.join() ?? 'none'} decides, and caps ${uncounted.join() || 'none'} don't count`;
    return `by the policies ${text(computed)}, and the decision has: ${text(recorded)}`;
  }
  if (!isSame(computed.shadow, recorded.shadow)) {
    return `shadow policies say ${JSON.stringify(computed.shadow ?? null)}, and the decision has ${JSON.stringify(recorded.shadow ?? null)}`;
  }
  return undefined;
}

function isEmpty(value: object): boolean {
  for (const _ in value) return false;
  return true;
}

/** For plain values, whatever order their members have. */
function isSame(a: object | undefined, b: object | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return canonicalJson(a) === canonicalJson(b);
}
