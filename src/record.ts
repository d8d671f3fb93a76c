/** What the log keeps of a decision and of a settlement. Never a prompt, a completion or a key. */
import type { CapState, DecideInput, Decision, PresentedCapability, Route } from './decide.ts';
import type { AwaitedTruth, Hold, LedgerView } from './ledgers/ledger.ts';
import type { Price, PriceRow } from './pricing/price.ts';
import { digestOf } from './receipts/keys.ts';
import type { AdjustmentPayload, DecisionPayload, Draft, SettlementPayload } from './receipts/payloads.ts';
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

/** The set that was asked for last: a decision asks twice, and the next call mostly for the same. */
let lastSet: PriceSet | undefined;

/** Calls ask for few combinations of models, so their digests are kept. */
function priceSet(prices: ReadonlyMap<string, Price>): PriceSet {
  if (lastSet === undefined || !isOf(lastSet, prices)) lastSet = keptSet(prices);
  return lastSet;
}

function isOf(set: PriceSet, prices: ReadonlyMap<string, Price>): boolean {
  let index = 0;
  for (const [model, price] of prices) {
    if (set.prices[index] !== price || set.rows[index]?.[0] !== model) return false;
    index += 1;
  }
  return index === set.prices.length;
}

function keptSet(prices: ReadonlyMap<string, Price>): PriceSet {
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
 *
 * Here and below members are set one by one, in the order of the receipt, and those that the ledger adds stand empty
 * in their places: then sealing needs neither sorting nor a copy. A literal with a `...(has && { … })` for each member
 * that may be absent takes ten times as long, and a decision has more than a dozen of them.
 */
export function decisionDraft(
  call: string,
  input: DecideInput,
  decision: Decision,
  spans: readonly WindowSpan[],
  leaseUntil: number,
  uncarried: readonly string[],
): Draft {
  const { route, rule, shadow, uncounted } = decision;
  const draft = {} as DecisionPayload;
  if (input.approved !== undefined) draft.approved = [...input.approved];
  draft.call = call;
  draft.caps = [];
  draft.currency = 'USD';
  draft.decision = decision.decision;
  if (decision.cap !== undefined) draft.decisive_cap = decision.cap;
  if (rule !== undefined) draft.decisive_rule = [rule[0], rule[1]];
  if (input.frozen !== undefined) draft.frozen = { ...input.frozen };
  const granted: [number, string][] = [];
  const rungs: [number, string][] = [];
  for (let index = 0; index < input.caps.length; index++) {
    const cap = input.caps[index] as CapState;
    if (cap.ref.account !== undefined) draft.caps.push([index, cap.spent.toString(), cap.held.toString()]);
    if (cap.granted !== undefined) granted.push([index, cap.granted.toString()]);
    if (cap.rung !== undefined) rungs.push([index, cap.rung]);
  }
  if (granted.length > 0) draft.granted = granted;
  draft.hold = decision.hold.toString();
  draft.issued_at = EMPTY;
  draft.issuer_id = EMPTY;
  if (decision.decision !== 'block') draft.lease_until = instantText(leaseUntil);
  draft.log = EMPTY;
  const notEffective = input.policies.flatMap(({ effective }, index) => (effective ? [] : [index]));
  if (notEffective.length > 0) draft.not_effective = notEffective;
  draft.policies = input.policies.map(({ policy }) => policy.digest);
  draft.previousReceiptHash = EMPTY;
  if (input.prices.size > 0) draft.prices = priceSet(input.prices).digest;
  draft.reason = decision.reason;
  draft.request = requestMember(input);
  if (input.requireTenant) draft.require_tenant = true;
  if (route !== undefined) draft.route = routeMember(route);
  draft.rules = RULES_VERSION;
  if (rungs.length > 0) draft.rungs = rungs;
  draft.scale = 9;
  draft.scope = { ...input.scope };
  if (input.scopeConflict !== undefined) draft.scope_conflict = input.scopeConflict;
  draft.seq = 0;
  if (shadow !== undefined) draft.shadow = shadow;
  draft.spans = spans.map(({ start, end }): [number, number] => [start, end]);
  draft.type = 'decision';
  if (uncarried.length > 0) draft.uncarried = [...uncarried];
  if (uncounted !== undefined && uncounted.length > 0) draft.uncounted = [...uncounted];
  draft.v = 1;
  return draft;
}

/** Stands where `seal` will write. */
const EMPTY = '';

function routeMember(route: Route): NonNullable<DecisionPayload['route']> {
  const member = {} as NonNullable<DecisionPayload['route']>;
  if (route.fallbacks.length > 0) member.fallbacks = [...route.fallbacks];
  member.limit = route.limit;
  if (route.maxOutputTokens !== undefined) member.max_output_tokens = route.maxOutputTokens;
  if (route.maxPrice !== undefined) member.max_price = { ...route.maxPrice };
  member.model = route.model;
  return member;
}

function requestMember({ request, replayed }: DecideInput): DecisionPayload['request'] {
  const { capabilities, input } = request;
  const member = {} as DecisionPayload['request'];
  if (request.audio === true) member.audio = true;
  if (request.cachedTokens !== undefined) member.cached_tokens = request.cachedTokens;
  if (capabilities !== undefined)
    member.capabilities = capabilities.map((each, index) =>
      capabilityMember(each, replayed?.includes(index) === true),
    );
  if (request.ceilingCanBeSet === true) member.ceiling_can_be_set = true;
  if (request.choices !== 1) member.choices = request.choices;
  if (request.claims !== undefined) member.claims = [...request.claims];
  if (request.fallbacks.length > 0) member.fallbacks = [...request.fallbacks];
  if (request.features !== undefined) member.features = [...request.features];
  if (request.fixedCost !== undefined) member.fixed_cost = request.fixedCost.toString();
  if (request.hourCache === true) member.hour_cache = true;
  if (request.images !== undefined) member.images = request.images;
  if ('tokens' in input) member.input_tokens = input.tokens;
  if (request.limitCanBeSet) member.limit_can_be_set = true;
  if (request.maxOutputTokens !== undefined) member.max_output_tokens = request.maxOutputTokens;
  member.model = request.model;
  if (request.provider !== undefined) member.provider = request.provider;
  if (request.reasoningTokens !== undefined) member.reasoning_tokens = request.reasoningTokens;
  if ('unbounded' in input) member.unbounded_input = shortText(input.unbounded);
  return member;
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
  const over = cost.amount - hold.amount;
  const draft = {} as EndPayload;
  if (!isOpen) draft.accounts = hold.accounts.map(([key, start]): [string, number] => [key, start]);
  draft.call = hold.call;
  if (!isOpen) draft.change = over.toString();
  draft.cost = costMember(cost);
  draft.currency = 'USD';
  draft.issued_at = EMPTY;
  draft.issuer_id = EMPTY;
  draft.log = EMPTY;
  draft.outcome = outcome;
  if (isOpen && over > 0n) draft.over_hold = over.toString();
  if (!isOpen) draft.previous = hold.amount.toString();
  draft.previousReceiptHash = EMPTY;
  if (providerRef !== undefined) draft.provider_ref = shortText(providerRef);
  draft.scale = 9;
  draft.seq = 0;
  if (served !== undefined) draft.served = served;
  draft.type = isOpen ? 'settlement' : 'adjustment';
  if (cost.unknownUsage !== undefined) draft.unknown_usage = shortText(cost.unknownUsage);
  if (cost.usage !== undefined) draft.usage = usageMember(cost.usage);
  draft.v = 1;
  return draft as unknown as Draft;
}

/** Members of both, for it comes out on the way which of the two it is. */
type EndPayload = Omit<SettlementPayload, 'type'> &
  Omit<AdjustmentPayload, 'type'> & { type: 'settlement' | 'adjustment' };

function costMember(cost: SettledCost): SettlementPayload['cost'] {
  const member = {} as SettlementPayload['cost'];
  member.amount = cost.amount.toString();
  if (cost.byok === true) member.byok = true;
  if (cost.computed !== undefined) member.computed = cost.computed.toString();
  if (cost.fee !== undefined) member.fee = cost.fee.toString();
  if (cost.reported !== undefined) member.reported = cost.reported.toString();
  member.source = cost.source;
  if (cost.upstream !== undefined) member.upstream = cost.upstream.toString();
  return member;
}

function usageMember(usage: TokenUsage): SettlementPayload['usage'] & object {
  const member = {} as SettlementPayload['usage'] & object;
  if (usage.cacheReadAudioTokens !== undefined) member.cache_read_audio_tokens = usage.cacheReadAudioTokens;
  if (usage.cacheReadTokens !== undefined) member.cache_read_tokens = usage.cacheReadTokens;
  if (usage.cacheWriteHourTokens !== undefined) member.cache_write_hour_tokens = usage.cacheWriteHourTokens;
  if (usage.cacheWriteTokens !== undefined) member.cache_write_tokens = usage.cacheWriteTokens;
  if (usage.inputAudioTokens !== undefined) member.input_audio_tokens = usage.inputAudioTokens;
  if (usage.inputImageTokens !== undefined) member.input_image_tokens = usage.inputImageTokens;
  member.input_tokens = usage.inputTokens;
  if (usage.outputAudioTokens !== undefined) member.output_audio_tokens = usage.outputAudioTokens;
  if (usage.outputImageTokens !== undefined) member.output_image_tokens = usage.outputImageTokens;
  member.output_tokens = usage.outputTokens;
  if (usage.reasoningTokens !== undefined) member.reasoning_tokens = usage.reasoningTokens;
  return member;
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
