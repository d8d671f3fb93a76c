/** Receipts in words. Texts from the log are handed on as they are; whoever shows them must make them harmless. */
import { formatUsd } from '../../money.ts';
import type {
  AdjustmentPayload,
  DecisionPayload,
  Payload,
  SettlementPayload,
} from '../../receipts/payloads.ts';
import { ANSWERS, DECIDED, LIMITS, OUTCOMES, SOURCES, WHY } from '../../receipts/words.ts';
import type { Foundations } from './foundations.ts';

/** A label and what is to be said. `list` is for several values of one label. */
export type Row = readonly [label: string, text: string | readonly string[]];

export function countText(count: number, noun: string): string {
  return `${count.toLocaleString('en-US')} ${noun}${count === 1 ? '' : 's'}`;
}

/** `2026-11-23 12:01:02.345 UTC` */
export function timeText(text: string): string {
  return `${text.replace('T', ' ').replace('Z', '')} UTC`;
}

const usd = (nano: string): string => formatUsd(BigInt(nano));

function decidedText({ decision, reason }: DecisionPayload): string {
  return reason === 'routed' ? 'sent to another model' : DECIDED[decision];
}

/** One line for a list. */
export function summary(payload: Payload): string {
  switch (payload.type) {
    case 'decision': {
      const { decision, request, route, hold } = payload;
      const to = route !== undefined && route.model !== request.model ? ` → ${route.model}` : '';
      const held = decision === 'block' ? '' : `, holds ${usd(hold)}`;
      return `${decidedText(payload)}: ${request.model}${to}${held}`;
    }
    case 'settlement':
      return `${payload.outcome}: ${usd(payload.cost.amount)}`;
    case 'adjustment':
      return `late ${payload.outcome}: ${usd(payload.cost.amount)}, a change of ${usd(payload.change)}`;
    case 'genesis':
      return `the log of ${payload.ledger} begins`;
    case 'key':
      return payload.replaces === undefined
        ? `admits the key ${payload.kid}`
        : `the key ${payload.kid} replaces ${payload.replaces}`;
    case 'policy':
      return `policy ${policyText(payload.policy)}`;
    case 'prices':
      return `prices of ${countText(payload.rows.length, 'model')}`;
    case 'grant':
      return `${usd(payload.amount)} on top of cap ${payload.cap} of policy ${payload.policy}, until ${timeText(payload.until)}`;
    case 'freeze':
      return `${scopeTexts(payload, 'every call').join(', ')}: ${payload.frozen ? 'frozen' : 'no longer frozen'}`;
    case 'approval':
      return `asked to pass cap ${payload.cap} with up to ${usd(payload.hold)}: ${ANSWERS[payload.outcome]}`;
    case 'alert':
      return `${payload.name}: ${usd(payload.spent)} of ${usd(payload.amount)} ${payload.window} is spent`;
    case 'snapshot':
      return `balances up to #${payload.covers} were saved`;
    case 'recovered':
      return `a crash left ${countText(payload.dropped_bytes, 'byte')}, which were put aside`;
    case 'clock':
      return `the clock was set from ${timeText(payload.from)} to ${timeText(payload.to)}`;
    case 'close':
      return `a writer closed the log, ${countText(payload.open_holds, 'call')} in flight`;
  }
}

/** Everything that a receipt says, in words. */
export function tell(payload: Payload, foundations: Foundations | undefined): Row[] {
  switch (payload.type) {
    case 'decision':
      return decisionRows(payload, foundations);
    case 'settlement':
    case 'adjustment':
      return endingRows(payload);
    case 'genesis':
      return [
        ['ledger', payload.ledger],
        ['key', `${payload.public_key} (information, not a proof of who holds it)`],
        ['written by', payload.sdk],
        ...(payload.certificate === undefined
          ? []
          : [['certified', `by the root ${payload.certificate.root}`] as const]),
      ];
    case 'key':
      return [
        ['admits', payload.kid],
        ...(payload.replaces === undefined
          ? []
          : [['replaces', `${payload.replaces}, which is dead from the next line on`] as const]),
        ['proof', 'the new key’s holder has signed this place in the log'],
      ];
    case 'policy':
      return policyRows(payload.policy);
    case 'prices':
      return payload.rows.map(([name, row]) => [name, priceText(row)]);
    case 'grant':
    case 'freeze':
    case 'approval':
      return [
        ['what', summary(payload)],
        ...('scope' in payload ? [['for', scopeTexts(payload, 'every call')] as const] : []),
        ...(payload.by === undefined ? [] : [['by', payload.by] as const]),
        ...(payload.reason === undefined ? [] : [['reason', payload.reason] as const]),
        ...('call' in payload ? [['call id', payload.call] as const] : []),
      ];
    default:
      return [['what', summary(payload)]];
  }
}

const NOBODY = 'nobody in particular (the call named no scope)';

function scopeTexts({ scope }: Pick<DecisionPayload, 'scope'>, otherwise = NOBODY): string[] {
  const named = Object.entries(scope).map(([field, value]) => `${field.replace(/Id$/, '')} ${value}`);
  return named.length === 0 ? [otherwise] : named;
}

function modelsText(model: string, fallbacks: readonly string[] = []): string {
  return fallbacks.length === 0 ? model : `${model}, or else ${fallbacks.join(', ')}`;
}

function askedText({ request }: DecisionPayload): string {
  const models = modelsText(request.model, request.fallbacks);
  if (request.fixed_cost !== undefined) return `${models}, a charge of ${usd(request.fixed_cost)}`;
  const parts = [models];
  if (request.input_tokens !== undefined)
    parts.push(`up to ${countText(request.input_tokens, 'input token')}`);
  if (request.unbounded_input !== undefined) parts.push(`no bound: ${request.unbounded_input}`);
  parts.push(
    request.max_output_tokens === undefined
      ? 'no output limit of its own'
      : `up to ${countText(request.max_output_tokens, 'output token')}`,
  );
  if (request.choices !== undefined) parts.push(countText(request.choices, 'answer'));
  return parts.join('; ');
}

interface ShownCap {
  limit: string;
  window: string;
  action: string;
  reason: string | undefined;
}

/** Policies in receipts are anybody's JSON, so nothing about them is taken for granted. */
function capsOf(policies: readonly (Record<string, unknown> | undefined)[]): ShownCap[] {
  return policies.flatMap((policy) => {
    const caps = policy?.['caps'];
    if (!Array.isArray(caps)) return [];
    return caps.map((each: unknown) => {
      const cap = (typeof each === 'object' && each !== null ? each : {}) as Record<string, unknown>;
      const amount = textOf(cap['amount']);
      const { reason } = cap;
      return {
        limit: /^\d{1,31}$/.test(amount) ? usd(amount) : amount,
        window: textOf(cap['window']),
        action: textOf(cap['action']),
        reason: typeof reason === 'string' ? reason : undefined,
      };
    });
  });
}

function textOf(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number'
    ? String(value)
    : (JSON.stringify(value) ?? '');
}

function decisionRows(payload: DecisionPayload, foundations: Foundations | undefined): Row[] {
  const policies = foundations?.policiesOf(payload) ?? payload.policies.map(() => undefined);
  const caps = capsOf(policies);
  const { reason, shadow, route, request, decisive_cap: decisive } = payload;
  const cap = decisive === undefined ? undefined : caps[decisive];
  const by = cap === undefined ? '' : `: the ${cap.limit} ${cap.window} cap`;
  const own = cap?.reason === undefined ? '' : ` (“${cap.reason}”)`;
  const would =
    shadow === undefined
      ? []
      : [['shadow', `policies in shadow mode say ${DECIDED[shadow.decision]} (${shadow.reason})`] as const];
  return [
    ['who', scopeTexts(payload)],
    ['asked for', askedText(payload)],
    ['decided', `${decidedText(payload)} (${reason})`],
    ['why', `${WHY[reason] ?? 'a reason that this version does not know'}${by}${own}`],
    ...would,
    ...ruleRows(payload, policies),
    ...(request.fixed_cost === undefined ? [['went to', routeText(route)] as const] : []),
    ['caps', capTexts(payload, caps)],
    ['policies', policies.map(policyText)],
    ...(foundations?.pricesOf(payload) ?? [])
      .filter(([name]) => name === (route?.model ?? request.model))
      .map(([name, row]) => ['price', `${name}: ${priceText(row)}`] as const),
    ['hold', holdText(payload)],
    ['call id', payload.call],
  ];
}

/** What rules, grants, freezes and people had to do with it. */
function ruleRows(
  { decisive_rule: rule, frozen, granted = [], approved = [], rungs = [], request }: DecisionPayload,
  policies: readonly (Record<string, unknown> | undefined)[],
): Row[] {
  const claims = [
    ...(request.claims ?? []),
    ...(request.capabilities ?? []).map(
      ({ iss, caps, problem, sha256 }) =>
        `signed by ${iss ?? '?'}: ${caps.join(', ')}${problem === undefined ? '' : ` – does not count: ${problem}`} (token ${sha256})`,
    ),
  ];
  return [
    ...(claims.length === 0 ? [] : [['claims', claims] as const]),
    ...(rule === undefined
      ? []
      : [['rule', `rule ${rule[1]} of policy ${policyText(policies[rule[0]])}`] as const]),
    ...(frozen === undefined ? [] : [['frozen', scopeTexts({ scope: frozen }, 'everything')] as const]),
    ...granted.map(([cap, amount]) => ['granted', `${usd(amount)} on top of cap ${cap}`] as const),
    ...approved.map((cap) => ['approved', `it may pass cap ${cap}`] as const),
    ...rungs.map(([cap, model]) => ['rung', `the task was sent to ${model} before, by cap ${cap}`] as const),
  ];
}

function routeText(route: DecisionPayload['route']): string {
  if (route === undefined) return 'nowhere: no request was sent';
  const { max_output_tokens: limit } = route;
  const output =
    limit === undefined ? '' : `; up to ${countText(limit, 'output token')} (${LIMITS[route.limit]})`;
  return modelsText(route.model, route.fallbacks) + output;
}

function capTexts(
  { caps: amounts, decisive_cap: decisive }: DecisionPayload,
  caps: readonly ShownCap[],
): string[] {
  if (caps.length === 0) {
    return amounts.length === 0
      ? ['none is counted']
      : amounts.map(([index, spent, held]) => `cap ${index}: ${usd(spent)} spent, ${usd(held)} held`);
  }
  const counted = new Map(amounts.map(([index, spent, held]) => [index, { spent, held }]));
  return caps.map((cap, index) => {
    const at = counted.get(index);
    const balance =
      at === undefined
        ? 'counted for each call by itself'
        : `${usd(at.spent)} spent, ${usd(at.held)} held before`;
    return `${cap.limit} ${cap.window}, ${cap.action}: ${balance}${index === decisive ? ' ← decided' : ''}`;
  });
}

function policyText(policy: Record<string, unknown> | undefined): string {
  if (policy === undefined) return 'known here by its digest alone';
  const shadow = policy['mode'] === 'shadow' ? ', shadow' : '';
  return `${textOf(policy['id'])}, version ${textOf(policy['version'])}${shadow}`;
}

function policyRows(policy: Record<string, unknown>): Row[] {
  const scope = policy['scope'];
  return [
    ['id', `${textOf(policy['id'])}, version ${textOf(policy['version'])}`],
    ['mode', textOf(policy['mode'])],
    ['scope', JSON.stringify(scope) ?? ''],
    [
      'caps',
      capsOf([policy]).map(
        ({ limit, window, action, reason }) =>
          `${limit} ${window}, ${action}${reason === undefined ? '' : ` (“${reason}”)`}`,
      ),
    ],
    ['from', textOf(policy['effectiveFrom'])],
  ];
}

const RATES: readonly (readonly [member: string, words: string])[] = [
  ['input', 'in'],
  ['output', 'out'],
];

function priceText(row: Record<string, unknown>): string {
  const rates = RATES.flatMap(([member, words]) =>
    row[member] === undefined ? [] : [`$${textOf(row[member])} per million tokens ${words}`],
  );
  return [...rates, `from ${textOf(row['source'])} ${textOf(row['version'])}`].join(', ');
}

function holdText(payload: DecisionPayload): string {
  const amount = usd(payload.hold);
  if (payload.decision === 'block') return `none; the call could have cost ${amount}`;
  const { lease_until: until } = payload;
  return until === undefined ? amount : `${amount}, until ${timeText(until)} at most`;
}

function endingRows(payload: SettlementPayload | AdjustmentPayload): Row[] {
  const { cost, usage, served, outcome, provider_ref: reference, unknown_usage: unknown } = payload;
  const rows: Row[] = [
    ['cost', `${usd(cost.amount)}, ${outcome === 'expired' ? 'the full hold' : SOURCES[cost.source]}`],
  ];
  if (cost.reported !== undefined) rows.push(['reported', `${usd(cost.reported)} by the provider`]);
  if (cost.computed !== undefined) rows.push(['computed', `${usd(cost.computed)} as tokens × price`]);
  if (payload.type === 'adjustment')
    rows.push([
      'late',
      `${usd(payload.previous)} had counted before; this changes it by ${usd(payload.change)}`,
    ]);
  else if (payload.over_hold !== undefined)
    rows.push(['over', `${usd(payload.over_hold)} more than the hold`]);
  rows.push(['ended', OUTCOMES[outcome]]);
  if (usage !== undefined) {
    const cached = usage.cache_read_tokens
      ? ` (${countText(usage.cache_read_tokens, 'token')} from the cache)`
      : '';
    rows.push([
      'usage',
      `${countText(usage.input_tokens, 'input token')}${cached}, ${countText(usage.output_tokens, 'output token')}`,
    ]);
  }
  if (unknown !== undefined) rows.push(['usage', `not believed: ${unknown}`]);
  if (served !== undefined) {
    const by = served.provider === undefined ? '' : ` by ${served.provider}`;
    const fallback = served.fallback === true ? ', a fallback' : '';
    rows.push(['served', `${served.model ?? 'a model that was not named'}${by}${fallback}`]);
  }
  if (reference !== undefined) rows.push(['reference', `${reference} (the provider’s id of this call)`]);
  rows.push(['call id', payload.call]);
  return rows;
}
