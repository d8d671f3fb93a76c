/** What rules, capabilities, grants and people had to do with a decision, in words. */
import { formatUsd } from '../../money.ts';
import type { ApprovalPayload, DecisionPayload } from '../../receipts/payloads.ts';
import { printable } from './output.ts';

type Row = [label: string, text: string];

/** Why a call was decided as it was, by the reason's name. */
export const WHY: Readonly<Record<string, string>> = {
  within_caps: 'its worst case fits every cap',
  within_rules: 'the rules let it, and no cap counts it',
  no_caps: 'no cap applies to it',
  over_soft_cap: 'a soft cap is spent, so the call goes to a cheaper model',
  routed: 'a rule says which model such calls go to',
  shadow: 'the policies only record what they would have decided',
  scope_conflict: 'the call names another scope than the code around it',
  scope_required: 'a scope field is needed that the call does not name',
  frozen: 'its scope is frozen',
  no_policy: 'no policy matches its scope',
  policy_not_effective: 'a matching policy has not taken effect yet',
  clock: 'the log’s last receipt lies in the future of the clock',
  capability_invalid: 'a signed capability came with it that does not count',
  capability_missing: 'a rule requires a capability that it does not have',
  model_not_allowed: 'a rule does not let it go to that model',
  unknown_price: 'a model of the call has no known price',
  price_ceiling: 'the model costs more than a rule allows, or the ceiling could not be sent',
  unbounded_cost: 'its cost has no upper bound',
  capability_exceeded: 'it could cost more than its signed capability allows',
  cap_per_call: 'the call alone could cost more than a cap',
  cap_spent: 'what is spent leaves no room for its worst case',
  cap_held: 'calls in flight hold the room that is left',
  no_route: 'no model that a cap or a rule names can carry the call',
  not_approved: 'a cap asks for approval, and nobody gave it',
};

function listed(values: readonly string[]): string {
  return values.map(printable).join(', ');
}

function capabilityText(given: NonNullable<DecisionPayload['request']['capabilities']>[number]): string {
  const token = `token ${given.sha256.slice(0, 12)}…`;
  if (given.problem !== undefined) return `does not count: ${printable(given.problem)} (${token})`;
  const used = given.replayed === true ? ', used before' : '';
  const most = given.max === undefined ? '' : `, for at most ${formatUsd(BigInt(given.max))}`;
  const what = given.caps.length === 0 ? 'nothing that a rule asks for' : listed(given.caps);
  return `by ${printable(given.iss ?? '?')}: ${what}${most}${used} (${token}, jti ${printable(given.jti ?? '?')})`;
}

/** What the call could show: claims of trusted code, and signed capabilities. */
export function capabilityRows({ request }: DecisionPayload): Row[] {
  return [
    ...(request.claims === undefined ? [] : [['claims', listed(request.claims)] satisfies Row]),
    ...(request.capabilities ?? []).map((given): Row => ['signed', capabilityText(given)]),
  ];
}

/** The rule that decided, what was frozen or raised, and where a task was sent before. */
export function ruleRows(
  { decisive_rule: rule, frozen, granted = [], rungs = [], route }: DecisionPayload,
  policies: readonly (Record<string, unknown> | undefined)[],
): Row[] {
  const rows: Row[] = [];
  if (rule !== undefined) {
    const policy = policies[rule[0]];
    const rules = Array.isArray(policy?.['rules']) ? (policy['rules'] as unknown[]) : [];
    const { reason } = (rules[rule[1]] ?? {}) as { reason?: unknown };
    const own = typeof reason === 'string' ? ` (“${printable(reason)}”)` : '';
    const id = typeof policy?.['id'] === 'string' ? policy['id'] : '?';
    rows.push(['rule', `rule ${rule[1]} of policy ${printable(id)}${own}`]);
  }
  if (frozen !== undefined) {
    const fields = Object.entries(frozen).map(([field, value]) => `${field} ${value}`);
    rows.push(['frozen', fields.length === 0 ? 'everything' : listed(fields)]);
  }
  for (const [index, amount] of granted)
    rows.push(['granted', `${formatUsd(BigInt(amount))} on top of cap ${index}`]);
  for (const [index, model] of rungs)
    rows.push(['rung', `the task was sent to ${printable(model)} before, by cap ${index}`]);
  const { input, output, request } = route?.max_price ?? {};
  const parts = [
    ...(input === undefined ? [] : [`$${input} in`]),
    ...(output === undefined ? [] : [`$${output} out`]),
    ...(request === undefined ? [] : [`$${request} per request`]),
  ];
  if (parts.length > 0) rows.push(['ceiling', `${listed(parts)} (USD per million tokens)`]);
  return rows;
}

const ANSWERS = {
  approved: 'yes',
  denied: 'no',
  timeout: 'no answer in time',
  failed: 'asking failed',
} as const;

/** What somebody was asked about the call, and said. */
export function approvalRow({ by, cap, hold, outcome, reason }: ApprovalPayload): Row {
  const who = by === undefined ? '' : `, by ${printable(by)}`;
  const why = reason === undefined ? '' : ` (“${printable(reason)}”)`;
  return [
    'approval',
    `${ANSWERS[outcome]}${who}, to pass cap ${cap} with up to ${formatUsd(BigInt(hold))}${why}`,
  ];
}
