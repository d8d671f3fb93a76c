/** The receipts of one call, told in words. */
import { formatUsd } from '../../money.ts';
import type { ApprovalPayload, DecisionPayload, PricesPayload, Receipt } from '../../receipts/payloads.ts';
import { DECIDED, LIMITS, OUTCOMES, SOURCES, WHY } from '../../receipts/words.ts';
import { countText, durationText, labelled, printable, styled, timeText } from './output.ts';
import { approvalRow, capabilityRows, ruleRows } from './trace-rules.ts';

/** More policies than any writer keeps; a log that changes them all the time must not fill memory. */
const POLICIES_KEPT = 1024;

/** Collects the receipts of a call while a log streams past: those of one id, or of the latest call. */
export class CallTrace {
  readonly #wanted: string;
  readonly #policies = new Map<string, Record<string, unknown>>();
  readonly #prices = new Map<string, PricesPayload['rows']>();
  #receipts: Receipt[] = [];
  /** Answers about a call stand before its decision. */
  #approvals: ApprovalPayload[] = [];

  constructor(wanted: string) {
    this.#wanted = wanted;
  }

  add(receipt: Receipt): void {
    const { payload } = receipt;
    switch (payload.type) {
      case 'policy':
        keep(this.#policies, payload.digest, payload.policy);
        break;
      case 'prices':
        keep(this.#prices, payload.digest, payload.rows);
        break;
      case 'approval':
        if (this.#wanted === 'latest' || payload.call === this.#wanted) this.#approvals.push(payload);
        break;
      case 'decision':
        if (this.#wanted === 'latest')
          this.#approvals = this.#approvals.filter(({ call }) => call === payload.call);
        // The latest call is the one decided last; what ends it can only come behind its decision.
        if (this.#wanted === 'latest') this.#receipts = [receipt];
        else if (payload.call === this.#wanted) this.#receipts.push(receipt);
        break;
      case 'settlement':
      case 'adjustment':
        if (payload.call === this.call) this.#receipts.push(receipt);
        break;
    }
  }

  /** The id of the call; `undefined` while no receipt of it has come. */
  get call(): string | undefined {
    return this.decision?.call;
  }

  /** The call's receipts, in order. */
  get receipts(): readonly Receipt[] {
    return this.#receipts;
  }

  /** What the call's decision rests on, as far as it was kept. */
  get policies(): readonly (Record<string, unknown> | undefined)[] {
    return this.decision?.policies.map((digest) => this.#policies.get(digest)) ?? [];
  }

  /** The price rows that were looked up for the call, by the names that models were asked for by. */
  get prices(): PricesPayload['rows'] {
    return this.#prices.get(this.decision?.prices ?? '') ?? [];
  }

  get decision(): DecisionPayload | undefined {
    const payload = this.#receipts[0]?.payload;
    return payload?.type === 'decision' ? payload : undefined;
  }

  /** The call in words, as labelled lines. */
  lines(): string[] {
    const decision = this.decision;
    if (decision === undefined) return [];
    const { policies } = this;
    const caps = capsOf(policies);
    const rows: Row[] = [
      ['when', timeText(decision.issued_at)],
      ['who', scopeText(decision)],
      ['asked', askedText(decision)],
      ...capabilityRows(decision),
      ...this.#approvals.map(approvalRow),
      ['decided', decisionText(decision), STYLES[decision.decision]],
      ['why', whyText(decision, caps)],
      ...ruleRows(decision, policies),
      ...routeRows(decision),
      ...capRows(decision, caps),
      ...policyRows(policies),
      ...priceRows(decision, this.prices),
      ['hold', holdText(decision)],
      ...this.#receipts.slice(1).flatMap((receipt, index, endings) => {
        const before = endings[index - 1]?.payload;
        const isTruth =
          before !== undefined && (before.type !== 'settlement' || before.outcome !== 'expired');
        return endingRows(receipt, decision, isTruth);
      }),
    ];
    if (this.#receipts.length === 1 && decision.decision !== 'block') {
      rows.push(['cost', 'not settled in this log: the call is in flight, or its hold is still to expire']);
    }
    const receipts = this.#receipts.map(({ payload, hash }): Row => ['receipt', receiptText(payload, hash)]);
    return [...rows, ...receipts].map(([label, text, style]) => labelled(label, text, LABEL, style));
  }
}

/** A map that forgets what came first. */
function keep<V>(map: Map<string, V>, key: string, value: V): void {
  map.delete(key);
  if (map.size >= POLICIES_KEPT) map.delete(map.keys().next().value as string);
  map.set(key, value);
}

const LABEL = 10;

const STYLES = { allow: 'green', downgrade: 'yellow', block: 'red' } as const;

type Row = [label: string, text: string, style?: 'green' | 'yellow' | 'red'];

/** What is shown of a cap. Policies in receipts are anybody's JSON, so nothing about them is taken for granted. */
export interface ShownCap {
  limit: string;
  window: string;
  action: string;
  reason?: string;
}

export function capsOf(policies: readonly (Record<string, unknown> | undefined)[]): ShownCap[] {
  return policies.flatMap((policy) => {
    const caps = Array.isArray(policy?.['caps']) ? (policy['caps'] as unknown[]) : [];
    return caps.map((each) => {
      const cap = (each ?? {}) as Record<string, unknown>;
      const amount = String(cap['amount']);
      const { reason } = cap;
      return {
        limit: /^\d{1,31}$/.test(amount) ? formatUsd(BigInt(amount)) : printable(amount),
        window: printable(String(cap['window'])),
        action: printable(String(cap['action'])),
        ...(typeof reason === 'string' && { reason: printable(reason) }),
      };
    });
  });
}

export function scopeText({ scope }: DecisionPayload): string {
  const named = Object.entries(scope).map(
    ([field, value]) => `${field.replace(/Id$/, '')} ${printable(value)}`,
  );
  return named.length === 0 ? 'nobody in particular (the call named no scope)' : named.join(', ');
}

function modelsText(model: string, fallbacks: readonly string[] = []): string {
  const others = fallbacks.length === 0 ? '' : `, or else ${fallbacks.map(printable).join(', ')}`;
  return printable(model) + others;
}

export function askedText({ request }: DecisionPayload): string {
  const parts = [modelsText(request.model, request.fallbacks)];
  if (request.fixed_cost !== undefined)
    return `${parts[0]}, a charge of ${formatUsd(BigInt(request.fixed_cost))}`;
  if (request.input_tokens !== undefined)
    parts.push(`up to ${countText(request.input_tokens, 'input token')}`);
  if (request.unbounded_input !== undefined) parts.push(`no bound: ${printable(request.unbounded_input)}`);
  parts.push(
    request.max_output_tokens === undefined
      ? 'no output limit of its own'
      : `up to ${countText(request.max_output_tokens, 'output token')}`,
  );
  if (request.choices !== undefined) parts.push(countText(request.choices, 'answer'));
  return parts.join('; ');
}

function decisionText({ decision, reason, shadow }: DecisionPayload): string {
  const would =
    shadow === undefined
      ? ''
      : `; shadow policies say ${DECIDED[shadow.decision]} (${printable(shadow.reason)})`;
  const what = reason === 'routed' ? 'sent to another model' : DECIDED[decision];
  return `${what} (${printable(reason)})${would}`;
}

export function whyText({ reason, decisive_cap: index }: DecisionPayload, caps: readonly ShownCap[]): string {
  const words = WHY[reason] ?? 'a reason that this version does not know';
  const cap = index === undefined ? undefined : caps[index];
  if (cap === undefined) return words;
  const own = cap.reason === undefined ? '' : ` (“${cap.reason}”)`;
  return `${words}: the ${cap.limit} ${cap.window} cap${own}`;
}

function routeRows({ route, decision, request }: DecisionPayload): Row[] {
  if (request.fixed_cost !== undefined) return [];
  if (route === undefined) return decision === 'block' ? [['routed', 'nowhere: no request was sent']] : [];
  const { max_output_tokens: limit } = route;
  const output =
    limit === undefined ? '' : `; up to ${countText(limit, 'output token')} (${LIMITS[route.limit]})`;
  return [['routed', modelsText(route.model, route.fallbacks) + output]];
}

function capRows(
  { caps: amounts, decisive_cap: decisive }: DecisionPayload,
  caps: readonly ShownCap[],
): Row[] {
  const counted = new Map(amounts.map(([index, spent, held]) => [index, { spent, held }]));
  return caps.map((cap, index): Row => {
    const at = counted.get(index);
    const balance =
      at === undefined
        ? 'counted for each call by itself'
        : `${formatUsd(BigInt(at.spent))} spent, ${formatUsd(BigInt(at.held))} held`;
    return [
      'cap',
      `${cap.limit} ${cap.window}, ${cap.action}: ${balance}${index === decisive ? ' ← decided' : ''}`,
    ];
  });
}

function policyRows(policies: readonly (Record<string, unknown> | undefined)[]): Row[] {
  return policies.map((policy): Row => {
    if (policy === undefined)
      return ['policy', 'its receipt lies before what was kept; see the digest in the log'];
    const { id, version, mode } = policy;
    const shadow = mode === 'shadow' ? ', shadow' : '';
    return ['policy', `${printable(String(id))}, version ${printable(String(version))}${shadow}`];
  });
}

/** The price of the model that the call went to, or was asked for. */
function priceRows(decision: DecisionPayload, rows: PricesPayload['rows']): Row[] {
  const { request, route } = decision;
  if (request.fixed_cost !== undefined) return [];
  const model = route?.model ?? request.model;
  const row = rows.find(([name]) => name === model)?.[1];
  return [['price', row === undefined ? 'none was known' : priceText(row)]];
}

/** Price rows in receipts are anybody's JSON, like policies. */
function priceText(row: Record<string, unknown>): string {
  const text = (member: string): string => printable(String(row[member]));
  const rates = [`$${text('input')} in`, `$${text('output')} out`];
  if (row['cacheRead'] !== undefined) rates.push(`$${text('cacheRead')} read from the cache`);
  if (row['cacheWrite'] !== undefined) rates.push(`$${text('cacheWrite')} written to it`);
  if (row['reasoning'] !== undefined) rates.push(`$${text('reasoning')} of reasoning`);
  const request = row['request'] === undefined ? '' : `, and $${text('request')} for the request`;
  const tiers = Array.isArray(row['tiers']) ? ', more for long inputs' : '';
  return `${text('model')}: ${rates.join(', ')} per million tokens${request}${tiers} (${text('source')} ${text('version')})`;
}

function holdText(payload: DecisionPayload): string {
  const { hold, lease_until: until, issued_at: from, decision, request } = payload;
  const amount = formatUsd(BigInt(hold));
  if (decision === 'block' && request.fixed_cost !== undefined) return 'none: nothing was charged';
  if (decision === 'block') return `none; the call could have cost ${amount}`;
  const lease =
    until === undefined ? '' : `, for at most ${durationText(Date.parse(until) - Date.parse(from))}`;
  return `${amount}${lease}`;
}

/** `isTruth` for an adjustment of a call that had been settled before. */
function endingRows({ payload }: Receipt, { request }: DecisionPayload, isTruth: boolean): Row[] {
  if (payload.type !== 'settlement' && payload.type !== 'adjustment') return [];
  const { cost, usage, served, provider_ref: reference, unknown_usage: unknown } = payload;
  const amount = formatUsd(BigInt(cost.amount));
  const isCharge = request.fixed_cost !== undefined;
  if (isCharge && payload.type === 'settlement' && payload.outcome === 'ok')
    return [['cost', `${amount}, fixed`]];
  const rows: Row[] = [];
  if (payload.type === 'adjustment') {
    const change = formatUsd(BigInt(payload.change));
    const why = isTruth ? 'so much the provider says that it charged' : 'the hold had expired before';
    rows.push(['late', `${amount} in the end, a change of ${change}; ${why}`]);
  } else {
    const expired = payload.outcome === 'expired';
    rows.push(['cost', `${amount}, ${expired ? 'the full hold' : SOURCES[cost.source]}${otherFigure(cost)}`]);
    if (payload.over_hold !== undefined) {
      rows.push(['over', `${formatUsd(BigInt(payload.over_hold))} more than the hold`]);
    }
  }
  rows.push(['ended', OUTCOMES[payload.outcome]]);
  if (unknown !== undefined) rows.push(['usage', `not believed: ${printable(unknown)}`]);
  if (usage !== undefined) {
    const cached = usage.cache_read_tokens
      ? ` (${usage.cache_read_tokens.toLocaleString('en-US')} from the cache)`
      : '';
    const thought = usage.reasoning_tokens
      ? ` (${usage.reasoning_tokens.toLocaleString('en-US')} of reasoning)`
      : '';
    rows.push([
      'usage',
      `${countText(usage.input_tokens, 'input token')}${cached}, ${countText(usage.output_tokens, 'output token')}${thought}`,
    ]);
  }
  if (served !== undefined) {
    const by = served.provider === undefined ? '' : ` by ${printable(served.provider)}`;
    const fallback = served.fallback === true ? ', a fallback' : '';
    rows.push(['served', `${printable(served.model ?? 'a model that was not named')}${by}${fallback}`]);
  }
  if (reference !== undefined)
    rows.push(['reference', `${printable(reference)} (the provider’s id of this call)`]);
  return rows;
}

function otherFigure({
  source,
  computed,
  amount,
}: {
  source: string;
  computed?: string;
  amount: string;
}): string {
  if (source !== 'provider' || computed === undefined) return '';
  return computed === amount
    ? '; tokens × price agrees'
    : `; tokens × price is ${formatUsd(BigInt(computed))}`;
}

function receiptText({ seq, type, issued_at: at }: Receipt['payload'], hash: string): string {
  return `#${seq} ${type}, ${timeText(at)} ${hash}`;
}

/** Headline of a trace. */
export function traceTitle(trace: CallTrace, wanted: string): string {
  return styled('bold', `Call ${trace.call ?? ''}${wanted === 'latest' ? ', the latest' : ''}`);
}
