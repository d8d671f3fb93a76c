/** What the log keeps of a decision and of a settlement. Never a prompt, a completion or a key. */
import type { DecideInput, Decision, PresentedCapability, Route } from './decide.ts';
import type { AwaitedTruth, Hold, LedgerView } from './ledgers/ledger.ts';
import type { Price, PriceRow } from './pricing/price.ts';
import { digestOf } from './receipts/keys.ts';
import type { DecisionPayload, Draft, SettlementPayload } from './receipts/payloads.ts';
import { instantText } from './receipts/seal.ts';
import type { CallOutcome, SettledCost } from './settlement.ts';
import type { TokenUsage } from './usage.ts';
import { RULES_VERSION } from './version.ts';
import type { WindowSpan } from './windows.ts';

/** The prices that a decision rests on, by the names that models were asked for by. */
interface PriceSet {
  prices: readonly Price[];
  rows: [string, PriceRow][];
  digest: string;
}

const SETS_KEPT = 1024;
const priceSets = new Map<string, PriceSet>();

/** Calls ask for few combinations of models, so their digests are kept. */
function priceSet(prices: ReadonlyMap<string, Price>): PriceSet {
  const key = JSON.stringify([...prices.keys()]);
  const kept = priceSets.get(key);
  const current = [...prices.values()];
  if (kept !== undefined && kept.prices.every((price, index) => price === current[index])) return kept;
  const rows = Array.from(prices, ([model, price]): [string, PriceRow] => [model, price.row]);
  const set = { prices: current, rows, digest: digestOf(rows) };
  if (priceSets.size >= SETS_KEPT) priceSets.clear();
  priceSets.set(key, set);
  return set;
}

/** `policy` and `prices` receipts for what a decision rests on and the log doesn't know yet. */
export function foundationDrafts(view: LedgerView, { policies, prices }: DecideInput): Draft[] {
  const drafts: Draft[] = [];
  for (const { policy } of policies) {
    const { digest, record } = policy;
    if (!view.knows(digest)) drafts.push({ type: 'policy', digest, policy: { ...record } });
  }
  const set = priceSet(prices);
  if (prices.size > 0 && !view.knows(set.digest)) {
    drafts.push({
      type: 'prices',
      digest: set.digest,
      rows: set.rows.map(([model, row]) => [model, { ...row }]),
    });
  }
  return drafts;
}

/**
 * The decision with all that `decide` was given, so that it can be computed again from the log.
 * Members stand in the order of the receipt, here and below: then sealing needs no sorting.
 */
export function decisionDraft(
  call: string,
  input: DecideInput,
  decision: Decision,
  spans: readonly WindowSpan[],
  leaseUntil: number,
  uncarried: readonly string[],
): Draft {
  const { route, shadow } = decision;
  const notEffective = input.policies.flatMap(({ effective }, index) => (effective ? [] : [index]));
  const { rule, uncounted = [] } = decision;
  const granted = input.caps.flatMap((cap, index): [number, string][] =>
    cap.granted === undefined ? [] : [[index, cap.granted.toString()]],
  );
  const rungs = input.caps.flatMap(({ rung }, index): [number, string][] =>
    rung === undefined ? [] : [[index, rung]],
  );
  return {
    ...(input.approved !== undefined && { approved: [...input.approved] }),
    call,
    caps: input.caps.flatMap((cap, index): DecisionPayload['caps'] =>
      cap.ref.account === undefined ? [] : [[index, cap.spent.toString(), cap.held.toString()]],
    ),
    currency: 'USD',
    decision: decision.decision,
    ...(decision.cap !== undefined && { decisive_cap: decision.cap }),
    ...(rule !== undefined && { decisive_rule: [rule[0], rule[1]] }),
    ...(input.frozen !== undefined && { frozen: { ...input.frozen } }),
    ...(granted.length > 0 && { granted }),
    hold: decision.hold.toString(),
    ...(decision.decision !== 'block' && { lease_until: instantText(leaseUntil) }),
    ...(notEffective.length > 0 && { not_effective: notEffective }),
    policies: input.policies.map(({ policy }) => policy.digest),
    ...(input.prices.size > 0 && { prices: priceSet(input.prices).digest }),
    reason: decision.reason,
    request: requestMember(input),
    ...(input.requireTenant && { require_tenant: true }),
    ...(route && { route: routeMember(route) }),
    rules: RULES_VERSION,
    ...(rungs.length > 0 && { rungs }),
    scale: 9,
    scope: { ...input.scope },
    ...(input.scopeConflict !== undefined && { scope_conflict: input.scopeConflict }),
    ...(shadow && { shadow }),
    spans: spans.map(({ start, end }): [number, number] => [start, end]),
    type: 'decision',
    ...(uncarried.length > 0 && { uncarried: [...uncarried] }),
    ...(uncounted.length > 0 && { uncounted: [...uncounted] }),
  };
}

function routeMember(route: Route): NonNullable<DecisionPayload['route']> {
  return {
    ...(route.fallbacks.length > 0 && { fallbacks: [...route.fallbacks] }),
    limit: route.limit,
    ...(route.maxOutputTokens !== undefined && { max_output_tokens: route.maxOutputTokens }),
    ...(route.maxPrice !== undefined && { max_price: { ...route.maxPrice } }),
    model: route.model,
  };
}

function requestMember({ request, replayed }: DecideInput): DecisionPayload['request'] {
  const { capabilities } = request;
  return {
    ...(request.audio && { audio: true as const }),
    ...(request.cachedTokens !== undefined && { cached_tokens: request.cachedTokens }),
    ...(capabilities !== undefined && {
      capabilities: capabilities.map((each, index) =>
        capabilityMember(each, replayed?.includes(index) === true),
      ),
    }),
    ...(request.ceilingCanBeSet === true && { ceiling_can_be_set: true as const }),
    ...(request.choices !== 1 && { choices: request.choices }),
    ...(request.claims !== undefined && { claims: [...request.claims] }),
    ...(request.fallbacks.length > 0 && { fallbacks: [...request.fallbacks] }),
    ...(request.features !== undefined && { features: [...request.features] }),
    ...(request.fixedCost !== undefined && { fixed_cost: request.fixedCost.toString() }),
    ...(request.hourCache && { hour_cache: true as const }),
    ...(request.images !== undefined && { images: request.images }),
    ...('tokens' in request.input
      ? { input_tokens: request.input.tokens }
      : { unbounded_input: shortText(request.input.unbounded) }),
    ...(request.limitCanBeSet && { limit_can_be_set: true as const }),
    ...(request.maxOutputTokens !== undefined && { max_output_tokens: request.maxOutputTokens }),
    model: request.model,
    ...(request.provider !== undefined && { provider: request.provider }),
    ...(request.reasoningTokens !== undefined && { reasoning_tokens: request.reasoningTokens }),
  };
}

type CapabilityMember = NonNullable<DecisionPayload['request']['capabilities']>[number];

/** What is kept of a signed capability: who said what, and the token's digest. Never the token. */
function capabilityMember(given: PresentedCapability, isReplayed: boolean): CapabilityMember {
  const { problem } = given;
  // Of one that doesn't count, nothing that it says is believed.
  if (problem !== undefined) return { caps: [], exp: 0, problem: shortText(problem), sha256: given.hash };
  return {
    caps: [...given.names],
    exp: given.expires,
    ...(given.issuer !== undefined && { iss: given.issuer }),
    ...(given.jti !== undefined && { jti: given.jti }),
    ...(given.max !== undefined && { max: given.max.toString() }),
    ...(given.notBefore !== undefined && { nbf: given.notBefore }),
    ...(isReplayed && { replayed: true as const }),
    sha256: given.hash,
    ...(given.subject !== undefined && { sub: given.subject }),
  };
}

/** Provider's words are not ours: they are cut, and lone surrogates replaced. */
function shortText(text: string): string {
  return text.slice(0, 256).toWellFormed();
}

interface Ending {
  hold: Hold;
  outcome: CallOutcome['outcome'] | 'expired';
  cost: SettledCost;
  served?: SettlementPayload['served'];
  providerRef?: string | undefined;
}

/** A settlement while the hold is open; an adjustment of the difference after the call has ended. */
function endDraft({ hold, outcome, cost, served, providerRef }: Ending, isOpen: boolean): Draft {
  const { usage } = cost;
  const over = cost.amount - hold.amount;
  return {
    ...(!isOpen && { accounts: hold.accounts.map(([key, start]): [string, number] => [key, start]) }),
    call: hold.call,
    ...(!isOpen && { change: over.toString() }),
    cost: {
      amount: cost.amount.toString(),
      ...(cost.byok && { byok: true as const }),
      ...(cost.computed !== undefined && { computed: cost.computed.toString() }),
      ...(cost.fee !== undefined && { fee: cost.fee.toString() }),
      ...(cost.reported !== undefined && { reported: cost.reported.toString() }),
      source: cost.source,
      ...(cost.upstream !== undefined && { upstream: cost.upstream.toString() }),
    },
    currency: 'USD',
    outcome,
    ...(isOpen && over > 0n && { over_hold: over.toString() }),
    ...(!isOpen && { previous: hold.amount.toString() }),
    ...(providerRef !== undefined && { provider_ref: shortText(providerRef) }),
    scale: 9,
    ...(served && { served }),
    type: isOpen ? 'settlement' : 'adjustment',
    ...(cost.unknownUsage !== undefined && { unknown_usage: shortText(cost.unknownUsage) }),
    ...(usage && { usage: usageMember(usage) }),
  } as Draft;
}

function usageMember(usage: TokenUsage): SettlementPayload['usage'] & object {
  const tokens = <N extends string>(name: N, value: number | undefined): { [K in N]?: number } =>
    (value === undefined ? {} : { [name]: value }) as { [K in N]?: number };
  return {
    ...tokens('cache_read_audio_tokens', usage.cacheReadAudioTokens),
    ...tokens('cache_read_tokens', usage.cacheReadTokens),
    ...tokens('cache_write_hour_tokens', usage.cacheWriteHourTokens),
    ...tokens('cache_write_tokens', usage.cacheWriteTokens),
    ...tokens('input_audio_tokens', usage.inputAudioTokens),
    ...tokens('input_image_tokens', usage.inputImageTokens),
    input_tokens: usage.inputTokens,
    ...tokens('output_audio_tokens', usage.outputAudioTokens),
    ...tokens('output_image_tokens', usage.outputImageTokens),
    output_tokens: usage.outputTokens,
    ...tokens('reasoning_tokens', usage.reasoningTokens),
  };
}

/** The receipt that ends a call whose hold is still open, or has expired meanwhile. */
export function endingDraft(
  hold: Hold,
  isOpen: boolean,
  outcome: CallOutcome,
  cost: SettledCost,
  isFallback: boolean,
): Draft {
  const { servedModel, servedProvider, providerRef } = outcome;
  const ending: Ending = { hold, outcome: outcome.outcome, cost, providerRef };
  if (servedModel !== undefined || servedProvider !== undefined) {
    ending.served = {
      ...(isFallback && { fallback: true as const }),
      ...(servedModel !== undefined && { model: shortText(servedModel) }),
      ...(servedProvider !== undefined && { provider: shortText(servedProvider) }),
    };
  }
  return endDraft(ending, isOpen);
}

/** The receipt that puts a call's true cost in the place of what it was settled at. */
export function truthDraft(
  awaited: AwaitedTruth,
  cost: SettledCost,
  served: Pick<CallOutcome, 'servedModel' | 'servedProvider'>,
): Draft {
  const { call, amount, accounts, outcome, providerRef } = awaited;
  const { servedModel, servedProvider } = served;
  const ending: Ending = { hold: { call, amount, until: 0, accounts }, outcome, cost, providerRef };
  if (servedModel !== undefined || servedProvider !== undefined) {
    ending.served = {
      ...(servedModel !== undefined && { model: shortText(servedModel) }),
      ...(servedProvider !== undefined && { provider: shortText(servedProvider) }),
    };
  }
  return endDraft(ending, false);
}

/** Ends the holds whose lease has run out, each at its full amount. */
export function expiryDrafts(view: LedgerView): Draft[] {
  return view
    .dueHolds()
    .map((hold) =>
      endDraft({ hold, outcome: 'expired', cost: { amount: hold.amount, source: 'hold' } }, true),
    );
}
