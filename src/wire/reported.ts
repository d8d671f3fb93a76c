/**
 * What an answer in OpenRouter's, OpenAI's or Anthropic's format says of usage, money and who served. Every adapter
 * that sees such an answer reads it here, so that the same answer settles the same everywhere. Pure.
 */
import { reportedCost, usdText } from '../money.ts';
import type { CallOutcome } from '../settlement.ts';
import { soundParts, type ReportedUsage } from '../usage.ts';
import { fieldsOf, isFields, sum, textOf, type Fields } from './fields.ts';

/** OpenRouter's figures for one call. */
interface OpenRouterFigures {
  cost: unknown;
  upstream: unknown;
  isByok: unknown;
}

/** Older clients don't say whose key it was; a cost below the upstream's can only be a fee. */
function isFeeAlone({ cost, upstream, isByok }: OpenRouterFigures): boolean {
  if (isByok !== undefined) return isByok === true;
  const [fee, bill] = [reportedCost(cost), reportedCost(upstream)];
  return fee !== undefined && bill !== undefined && fee < bill;
}

/** What the upstream charged, kept apart from what counts, and whether it bills an own key of the user. */
export function openRouterUpstream(told: OpenRouterFigures): Pick<CallOutcome, 'upstreamCost' | 'isByok'> {
  const { upstream } = told;
  return {
    ...(reportedCost(upstream) !== undefined && { upstreamCost: upstream }),
    ...(isFeeAlone(told) && { isByok: true }),
  };
}

/** OpenRouter's cost in US dollars. With a key of the user's own it is only the fee: the upstream's bill is added. */
export function openRouterCost(told: OpenRouterFigures): unknown {
  const { cost, upstream, isByok } = told;
  const fee = reportedCost(cost);
  const bill = reportedCost(upstream);
  if (isByok === true && bill === undefined) return undefined;
  return isFeeAlone(told) && bill !== undefined ? usdText((fee ?? 0n) + bill) : cost;
}

function figuresInUsage(usage: unknown): OpenRouterFigures {
  const { cost, cost_details: details, is_byok: isByok } = fieldsOf(usage);
  return { cost, upstream: fieldsOf(details)['upstream_inference_cost'], isByok };
}

/** The cost in a usage object as OpenRouter sends it; `undefined` where there is none. */
export function costInUsage(usage: unknown): unknown {
  return openRouterCost(figuresInUsage(usage));
}

/** All that a usage object as OpenRouter sends it says of money. */
export function moneyInUsage(usage: unknown): Pick<CallOutcome, 'cost' | 'upstreamCost' | 'isByok'> {
  const cost = costInUsage(usage);
  return {
    ...(cost !== undefined && cost !== null && { cost }),
    ...openRouterUpstream(figuresInUsage(usage)),
  };
}

/** A count that a client library may have put in place of a missing one: no call has an empty prompt. */
function someInput(tokens: unknown): unknown {
  return tokens === 0 ? undefined : tokens;
}

/**
 * The output of an answer, in which a total may have more than input and output: some (Gemini and Grok behind
 * OpenAI's format) count reasoning apart, and bill it all the same.
 */
export function wholeOutput(input: unknown, output: unknown, total: unknown): unknown {
  if (typeof input !== 'number' || typeof output !== 'number' || typeof total !== 'number') return output;
  return total > input + output ? total - input : output;
}

/** The part of what was written to the cache that is to last an hour, where Anthropic's usage tells it. */
export function hourWritesIn(usage: unknown): { cacheWriteHourTokens?: unknown } {
  const { ephemeral_1h_input_tokens: written } = fieldsOf(fieldsOf(usage)['cache_creation']);
  return written === undefined ? {} : { cacheWriteHourTokens: written };
}

/** Anthropic counts cached input apart from the rest. */
function anthropicUsage(usage: Fields): ReportedUsage {
  const {
    input_tokens: input,
    output_tokens: output,
    cache_read_input_tokens: read,
    cache_creation_input_tokens: written,
  } = usage;
  const inputTokens = typeof input === 'number' ? input + sum(read, written) : input;
  return {
    inputTokens: someInput(inputTokens),
    outputTokens: output,
    ...(read !== undefined && { cacheReadTokens: read }),
    ...(written !== undefined && { cacheWriteTokens: written }),
    ...hourWritesIn(usage),
  };
}

/**
 * A usage object of a body in normal form: chat completions and embeddings (`prompt_tokens`), responses and images
 * (`input_tokens` with `…_details`), Anthropic's messages (`cache_read_input_tokens` beside `input_tokens`).
 */
export function usageInBody(usage: unknown): ReportedUsage | undefined {
  if (!isFields(usage)) return undefined;
  if ('cache_read_input_tokens' in usage || 'cache_creation_input_tokens' in usage)
    return anthropicUsage(usage);
  const isChat = 'prompt_tokens' in usage;
  const input = isChat ? usage['prompt_tokens'] : usage['input_tokens'];
  const output = isChat ? (usage['completion_tokens'] ?? outputOf(usage)) : usage['output_tokens'];
  const inputDetails = fieldsOf(usage['prompt_tokens_details'] ?? usage['input_tokens_details']);
  const outputDetails = fieldsOf(usage['completion_tokens_details'] ?? usage['output_tokens_details']);
  const { cached_tokens: read, cache_write_tokens: written } = inputDetails;
  const { reasoning_tokens: reasoning } = outputDetails;
  // of chats it is not known which of these the cached tokens are
  const [seen, drawn] = isChat ? [] : [inputDetails['image_tokens'], outputDetails['image_tokens']];
  const told: ReportedUsage = {
    inputTokens: someInput(input),
    outputTokens: wholeOutput(input, output, usage['total_tokens']),
    ...(read !== undefined && { cacheReadTokens: read }),
    ...(written !== undefined && { cacheWriteTokens: written }),
    ...(reasoning !== undefined && { reasoningTokens: reasoning }),
    ...(seen !== undefined && { inputImageTokens: seen }),
    ...(drawn !== undefined && { outputImageTokens: drawn }),
  };
  return { ...told, ...soundParts(inputDetails['audio_tokens'], told) };
}

/** Embeddings have no output and don't say so: their total is their prompt. */
function outputOf({ prompt_tokens: prompt, total_tokens: total }: Fields): unknown {
  return prompt === total && typeof total === 'number' ? 0 : undefined;
}

/** All that the body of an answer says about its money. `seenOutputTokens` is what arrived by our own count. */
export function reportedInBody(
  body: unknown,
  seenOutputTokens = 0,
): Omit<CallOutcome, 'outcome' | 'seenOutputTokens'> {
  const { usage, model, provider, id } = fieldsOf(body);
  const told = usageInBody(usage);
  const servedModel = textOf(model);
  const servedProvider = textOf(provider);
  const providerRef = textOf(id);
  // a missing figure is 0 in some converters; what arrived was not nothing
  const believed =
    told !== undefined && told.outputTokens === 0 && seenOutputTokens > 0
      ? { ...told, outputTokens: undefined }
      : told;
  return {
    ...(believed !== undefined && { usage: believed }),
    ...moneyInUsage(usage),
    ...(servedModel !== undefined && { servedModel }),
    ...(servedProvider !== undefined && { servedProvider }),
    ...(providerRef !== undefined && { providerRef }),
  };
}
