/** What rules, capabilities, grants and people had to do with a decision, in words. */
import { formatUsd } from '../../money.ts';
import type { ApprovalPayload, DecisionPayload } from '../../receipts/payloads.ts';
import { ANSWERS } from '../../receipts/words.ts';
import { printable } from './output.ts';

type Row = [label: string, text: string];

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

/** What somebody was asked about the call, and said. */
export function approvalRow({ by, cap, hold, outcome, reason }: ApprovalPayload): Row {
  const who = by === undefined ? '' : `, by ${printable(by)}`;
  const why = reason === undefined ? '' : ` (“${printable(reason)}”)`;
  return [
    'approval',
    `${ANSWERS[outcome]}${who}, to pass cap ${cap} with up to ${formatUsd(BigInt(hold))}${why}`,
  ];
}
