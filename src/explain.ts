/** Why a call was refused and what to do about it, in a sentence for the developer. */
import type { DecideInput, Decision } from './decide.ts';
import { capText, type BlockReason, type CapInfo, type RuleInfo } from './errors.ts';
import { formatUsd } from './money.ts';
import { DEFAULT_MAX_OUTPUT_TOKENS } from './policy.ts';
import { isAutoRouter } from './policy/patterns.ts';
import type { Rule } from './policy/types.ts';
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
  const { model, fixedCost } = prepared.request;
  const what = fixedCost === undefined ? model : `the charge ${JSON.stringify(model)}`;
  return `${what} was blocked (${decision.reason}): ${sentence(prepared, input, decision)}`;
}

function sentence(prepared: Prepared, input: DecideInput, decision: Decision): string {
  const { detail = '' } = decision;
  const cap = capInfo(input, decision);
  const named = cap === undefined ? 'a cap' : capText(cap);
  const what = prepared.request.fixedCost === undefined ? 'call' : 'charge';
  switch (decision.reason as BlockReason) {
    case 'scope_conflict':
      return `the ${what} names another ${detail} than the scope around it. Remove one of the two.`;
    case 'scope_required':
      return `${cap === undefined ? 'the guard' : named} needs ${detail}, and the ${what} names none. Pass it in the scope.`;
    case 'frozen':
      return `the scope ${detail} is frozen: nothing in it may be called until somebody unfreezes it.`;
    case 'no_policy':
      return `no policy matches the scope ${JSON.stringify(prepared.scope)}. Add one, or correct the scope.`;
    case 'policy_not_effective':
      return `policy ${detail} takes effect at ${new Date(decision.retryAt ?? 0).toISOString()}. Set an earlier effectiveFrom, or wait.`;
    case 'clock':
      return (
        `the log's last receipt is dated ${new Date(input.now).toISOString()}, which lies in this machine's future. ` +
        'Correct the clock; if the log is what is wrong, accept the present time with `agentguard clock --accept`.'
      );
    case 'capability_invalid':
      return `the signed capability that came with it doesn't count: ${detail}.`;
    case 'capability_missing':
      return `${ruleText(input, decision)} requires the ${isSigned(input, decision) ? 'signed ' : ''}capability ${detail}, and the ${what} doesn't have it.`;
    case 'model_not_allowed':
      return `${ruleText(input, decision)} doesn't let it go to ${detail}. ${allowedText(input, decision)}`;
    case 'price_ceiling':
      return priceSentence(prepared, input, decision);
    case 'capability_exceeded':
      return `the call could cost ${formatUsd(decision.hold)}, more than its signed capability allows. Set a lower output limit.`;
    case 'not_approved':
      return `the call could cost ${formatUsd(decision.hold)}, ${named} has no room for it, and nobody approved it.`;
    case 'unknown_price':
      if (isAutoRouter(detail)) return AUTO_UNBOUND;
      return (prepared.unpriced.get(detail) ?? `${detail} has no known price.`) + besides(prepared);
    case 'unbounded_cost':
      return `its cost has no upper bound: ${detail}.${boundRemedy(prepared)}`;
    case 'cap_per_call':
    case 'cap_spent':
    case 'cap_held':
      return capSentence(prepared, input, decision, named);
    case 'no_route':
      if (decision.rule !== undefined)
        return `${ruleText(input, decision)} sends it to another model, and none of its models can carry this call${uncarried(prepared, input, decision)}.`;
      return `${named} asks for a cheaper model, and none of its models can carry this call${uncarried(prepared, input, decision)}.`;
    case 'ledger_unavailable':
      return 'the ledger is not available.';
  }
}

/** What a price would not help against. */
function besides({ request }: Prepared): string {
  return 'unbounded' in request.input
    ? ` Besides, its cost has no upper bound: ${request.input.unbounded}.`
    : '';
}

const AUTO_UNBOUND =
  'it lets OpenRouter choose any model, so its cost has no bound. Give it a ceiling with a rule, e.g. ' +
  '{ maxPrice: { input: "1", output: "5" } }, or name a model.';

/** The rule that decided, in the words of an error. */
export function ruleInfo(input: DecideInput, decision: Decision): RuleInfo | undefined {
  const found = ruleOf(input, decision);
  if (found === undefined || decision.rule === undefined) return undefined;
  const [policy, index] = decision.rule;
  const { reason } = found.rule;
  const policyId = input.policies[policy]?.policy.record.id ?? '';
  return { policyId, index, ...(reason !== undefined && { reason }) };
}

function ruleOf({ policies }: DecideInput, { rule }: Decision): { rule: Rule; name: string } | undefined {
  const policy = rule === undefined ? undefined : policies[rule[0]]?.policy.record;
  const found = rule === undefined ? undefined : policy?.rules?.[rule[1]];
  if (policy === undefined || found === undefined) return undefined;
  const words = found.reason === undefined ? '' : ` (${found.reason})`;
  return { rule: found, name: `rule ${rule?.[1]} of policy ${policy.id}${words}` };
}

function ruleText(input: DecideInput, decision: Decision): string {
  return ruleOf(input, decision)?.name ?? 'a rule';
}

function isSigned(input: DecideInput, decision: Decision): boolean {
  return ruleOf(input, decision)?.rule.signed === true;
}

function allowedText(input: DecideInput, decision: Decision): string {
  const allowed = ruleOf(input, decision)?.rule.models ?? [];
  const more = allowed.length > 5 ? ` and ${allowed.length - 5} more` : '';
  return allowed.length === 0 ? '' : `It allows ${allowed.slice(0, 5).join(', ')}${more}.`;
}

function priceSentence({ prices }: Prepared, input: DecideInput, decision: Decision): string {
  const { detail = '' } = decision;
  const ceiling = ruleOf(input, decision)?.rule.maxPrice;
  if (ceiling === undefined)
    return `its price ceiling can't be sent with the call, so ${detail} could cost anything. Name a model.`;
  const row = prices.get(detail)?.row;
  const least = [
    ...(ceiling.input === undefined ? [] : [`$${ceiling.input} per million input tokens`]),
    ...(ceiling.output === undefined ? [] : [`$${ceiling.output} per million output tokens`]),
    `$${ceiling.request ?? '0.00'} per request`,
  ];
  const costs = row === undefined ? '' : ` ($${row.input} in, $${row.output} out)`;
  return `${detail}${costs} is above the ceiling of ${ruleText(input, decision)}: ${least.join(', ')}.`;
}

/** Why a cap has no room for the call. */
function capSentence(prepared: Prepared, input: DecideInput, decision: Decision, named: string): string {
  const state = decision.cap === undefined ? undefined : input.caps[decision.cap];
  const worst = formatUsd(decision.hold);
  const isCharge = prepared.request.fixedCost !== undefined;
  const amount = state?.ref.policy.amounts[state.ref.index];
  if (amount !== undefined && decision.hold > amount) {
    if (isCharge) return `it costs ${worst}, more than the whole of ${named}.`;
    const { basis, remedy } = injected(prepared, input) ?? {
      basis: '',
      remedy: 'Set a lower output limit or shorten the prompt.',
    };
    return `the call alone could cost ${worst}, more than the whole of ${named}${basis}. ${remedy}`;
  }
  const cost = isCharge ? `it costs ${worst}` : `the call could cost ${worst}`;
  if (decision.reason === 'cap_spent') {
    const spent = formatUsd(state?.spent ?? 0n);
    const limit = isCharge ? undefined : injected(prepared, input);
    return limit === undefined
      ? `${spent} of ${named} is spent, and ${cost}.`
      : `${spent} of ${named} is spent, and ${cost}${limit.basis}.`;
  }
  return (
    `${named} has room, but calls in flight hold ${formatUsd(state?.held ?? 0n)} of it and ${cost}. Try again when ` +
    'they have ended, or raise waitForHoldsMs.'
  );
}

/** Where the worst case rests on an output limit that the call does not set itself. */
function injected(
  { request, prices }: Prepared,
  { policies }: DecideInput,
): { basis: string; remedy: string } | undefined {
  if (request.fixedCost !== undefined || request.maxOutputTokens !== undefined) return undefined;
  if (!request.limitCanBeSet) {
    return {
      basis: " at the model's own maximum of output tokens, since no limit can be set on the call",
      remedy: 'Set maxOutputTokens on the call.',
    };
  }
  const remedy = 'Set maxOutputTokens on the call or in the policy.';
  const limits = policies.flatMap(({ policy: { record } }) =>
    record.mode === 'enforce' ? [record.maxOutputTokens] : [],
  );
  const numbers = limits.filter((limit) => limit !== 'model');
  const least = Math.min(...numbers);
  // Where a reasoning budget or a model's own maximum may have moved the limit, its number is not said.
  const isPlain =
    numbers.length === limits.length &&
    request.reasoningTokens === undefined &&
    [...prices.values()].every(({ row }) => (row.maxOutputTokens ?? least) >= least);
  if (!isPlain)
    return { basis: ' at the output limit that the guard sets, since the call sets none', remedy };
  const whose = least === DEFAULT_MAX_OUTPUT_TOKENS ? "the policy's default" : "the policy's limit";
  const tokens = `${least.toLocaleString('en-US')} output tokens`;
  return { basis: ` at ${whose} of ${tokens}, since the call sets none`, remedy };
}

function boundRemedy({ request, prices }: Prepared): string {
  if (!('unbounded' in request.input)) {
    const named = [request.model, ...request.fallbacks];
    const lacking = named.find((model) => prices.get(model)?.cacheWriteHour === undefined);
    return request.hourCache === true && lacking !== undefined
      ? ` Ask for the cache of five minutes (no ttl), or set all rates with setCostOverride(${JSON.stringify(lacking)}, ` +
          '{ inputCentsPerKtok, outputCentsPerKtok, cacheWriteHourCentsPerKtok }); Anthropic takes twice the input.'
      : ' Set an output limit on the call.';
  }
  const { unbounded } = request.input;
  if (unbounded === NO_INPUT) return ' Pass inputTokens or prompt.';
  // Only strict estimates say this; every other reason is an adapter's, and says what to do itself.
  return unbounded.includes(' has no bound: ') ? " Pass inputTokens, or use estimate: 'fast'." : '';
}

const NO_INPUT = 'neither inputTokens nor a prompt was given';

/** Each model of the cap that decided, and what keeps the call from it. */
function uncarried(prepared: Prepared, input: DecideInput, decision: Decision): string {
  const capped = decision.cap === undefined ? undefined : input.caps[decision.cap];
  const ladder = ruleOf(input, decision)?.rule.routeTo ?? capped?.ref.cap.downgradeTo ?? [];
  const { found } = prepared.uncarried;
  const reasons = ladder.map((model) => `${model}: ${obstacle(model, prepared)}`);
  const remedy = found.some((model) => ladder.includes(model))
    ? "; for those it can't be sent to, pass resolveModel (AI SDK), or guardModel a ladder (LangChain)"
    : '';
  return reasons.length === 0 ? '' : ` (${reasons.join(', ')}${remedy})`;
}

function obstacle(model: string, { uncarried: { found }, prices, request }: Prepared): string {
  if (found.includes(model)) return "the call can't be sent to it";
  const price = prices.get(model);
  if (price === undefined) return 'no known price';
  const { contextLength } = price.row;
  const { input } = request;
  if (contextLength !== undefined && 'tokens' in input && input.tokens > contextLength) {
    return `its context of ${contextLength.toLocaleString('en-US')} tokens is too short`;
  }
  const { features } = price.row;
  const lacking = request.features?.find((feature) => features?.includes(feature) === false);
  return lacking === undefined
    ? 'its cost has no upper bound, or a rule is against it'
    : `it lacks ${lacking}`;
}
