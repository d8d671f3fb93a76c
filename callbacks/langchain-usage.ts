/** What LangChain says of an answer, in this package's words: usage, cost, served model. Pure. */
import { estimateTextTokens } from '../src/estimate.ts';
import type { CallOutcome } from '../src/settlement.ts';
import { soundParts, type ReportedUsage } from '../src/usage.ts';
import { attempt, fieldsOf, isFields, json, listOf, sum, textOf, type Fields } from '../src/wire/fields.ts';
import { hourWritesIn, moneyInUsage, usageInBody } from '../src/wire/reported.ts';

/** Whose answer it is. */
export interface AnsweredBy {
  provider: string | undefined;
  /** Versions of LangChain's packages, as a model's `metadata.versions` has them. */
  versions?: unknown;
  /** True when the call asked for a prompt cache. */
  writesCache?: boolean;
}

/** Before this version, ChatAnthropic's `input_tokens` left cached input out. */
const COUNTS_CACHE_SINCE = [1, 3] as const;

/** True when `input_tokens` of Anthropic's model does not have its cached input in it. A version unknown is old. */
function countsCacheApart({ provider, versions }: AnsweredBy): boolean {
  if (provider !== 'anthropic') return false;
  const version = textOf(fieldsOf(versions)['@langchain/anthropic']) ?? '0';
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [sinceMajor, sinceMinor] = COUNTS_CACHE_SINCE;
  return !(major > sinceMajor || (major === sinceMajor && minor >= sinceMinor));
}

/** LangChain's `usage_metadata` in normal form. `raw` is what came beside it of the provider's own. */
export function usageFromMetadata(
  metadata: unknown,
  from: AnsweredBy,
  raw?: unknown,
): ReportedUsage | undefined {
  if (!isFields(metadata)) return undefined;
  const { input_tokens: input, output_tokens: output } = metadata;
  const { audio, cache_read: read, cache_creation: written } = fieldsOf(metadata['input_token_details']);
  const { reasoning } = fieldsOf(metadata['output_token_details']);
  // LangChain has no count of written tokens for formats like OpenAI's; all that was not read may have been written
  const isUntold = written === undefined && from.writesCache === true && from.provider !== 'anthropic';
  const dearest = isUntold && typeof input === 'number' ? Math.max(0, input - sum(read)) : written;
  const apart = countsCacheApart(from) && typeof input === 'number' ? sum(read, written) : 0;
  const told: ReportedUsage = {
    inputTokens: apart > 0 ? (input as number) + apart : input === 0 ? undefined : input,
    outputTokens: output,
    ...(read !== undefined && { cacheReadTokens: read }),
    ...(dearest !== undefined && { cacheWriteTokens: dearest }),
    ...hourWritesIn(raw),
    ...(reasoning !== undefined && { reasoningTokens: reasoning }),
  };
  return { ...told, ...soundParts(audio, told) };
}

/** `llmOutput.tokenUsage` of completion models. */
function usageFromOutput(tokenUsage: unknown): ReportedUsage | undefined {
  const { promptTokens, completionTokens } = fieldsOf(tokenUsage);
  if (promptTokens === undefined && completionTokens === undefined) return undefined;
  return { inputTokens: promptTokens === 0 ? undefined : promptTokens, outputTokens: completionTokens };
}

/**
 * How often a merged stream has added its raw usage up: twice, where the last chunk of a stream through OpenRouter
 * carries a choice and ChatOpenAI 1.x hands the same usage out again. `undefined` where the two counts don't agree,
 * so that the raw figures mean nothing.
 */
function timesAdded(raw: Fields, metadata: unknown): 1 | 2 | undefined {
  const { input_tokens: input, output_tokens: output } = fieldsOf(metadata);
  const { prompt_tokens: rawInput, completion_tokens: rawOutput } = raw;
  if (input === undefined || rawInput === undefined) return 1;
  // ChatOpenAI leaves a count of 0 out
  if (rawInput === input && rawOutput === (output ?? 0)) return 1;
  const isDouble = rawInput === 2 * (input as number) && rawOutput === 2 * (output as number);
  return isDouble ? 2 : undefined;
}

/** Half of a figure that was added to itself: exact, as doubling was. */
function halved(cost: unknown): unknown {
  return typeof cost === 'number' ? cost / 2 : cost;
}

/**
 * False for the stream of a ChatAnthropic through OpenRouter, of which LangChain keeps the bare cost: with a key of
 * the user's own that is a fee of some percent of the bill.
 */
function saysWhoseKey(raw: Fields): boolean {
  return 'prompt_tokens' in raw || 'is_byok' in raw || 'cost_details' in raw;
}

/** What the raw usage of a message says of the provider's own cost. */
export function moneyFromRaw(raw: Fields, metadata: unknown): ReturnType<typeof moneyInUsage> {
  const times = timesAdded(raw, metadata);
  if (times === undefined || !saysWhoseKey(raw)) return {};
  if (times === 1) return moneyInUsage(raw);
  const { cost, cost_details: details } = raw;
  const upstream = halved(fieldsOf(details)['upstream_inference_cost']);
  return moneyInUsage({ ...raw, cost: halved(cost), cost_details: { upstream_inference_cost: upstream } });
}

/** A name that a merged stream has written twice over, once. */
function once(name: string | undefined): string | undefined {
  if (name === undefined || name.length % 2 === 1) return name;
  const half = name.slice(0, name.length / 2);
  return half + half === name ? half : name;
}

/** The model that served, and the provider's id for the call, in a message's `response_metadata`. */
export function servedBy(message: Fields): Pick<CallOutcome, 'servedModel' | 'providerRef'> {
  const { model_name: name, model } = fieldsOf(message['response_metadata']);
  const { model: told } = fieldsOf(message['additional_kwargs']);
  const servedModel = once(textOf(name) ?? textOf(model) ?? textOf(told));
  const id = textOf(message['id']);
  // ids that LangChain makes up start with `run`
  const providerRef = id === undefined || /^(run|lc_run)-/.test(id) ? undefined : id;
  return {
    ...(servedModel !== undefined && { servedModel }),
    ...(providerRef !== undefined && { providerRef }),
  };
}

/** An estimate of the output tokens in a message or a chunk of one. */
export function seenIn(message: Fields, text?: unknown): number {
  const { content, tool_calls: calls, tool_call_chunks: chunks } = message;
  const texts: string[] = [];
  if (typeof content === 'string') texts.push(content);
  for (const part of listOf(content)) {
    const { text: spoken, thinking, reasoning } = fieldsOf(part);
    for (const each of [spoken, thinking, reasoning]) if (typeof each === 'string') texts.push(each);
  }
  if (texts.length === 0 && typeof text === 'string') texts.push(text);
  const asked = listOf(chunks).length > 0 ? listOf(chunks) : listOf(calls);
  for (const call of asked) {
    const { args } = fieldsOf(call);
    texts.push(typeof args === 'string' ? args : json(args));
  }
  const { reasoning_content: hidden } = fieldsOf(message['additional_kwargs']);
  if (typeof hidden === 'string') texts.push(hidden);
  const all = texts.join('');
  return all === '' ? 0 : estimateTextTokens(all);
}

/** A figure of 0 that stands for a missing one counts as missing where text arrived. */
export function believed(
  usage: ReportedUsage | undefined,
  seenOutputTokens: number,
): ReportedUsage | undefined {
  if (usage === undefined || usage.outputTokens !== 0 || seenOutputTokens === 0) return usage;
  return { ...usage, outputTokens: undefined };
}

/** Raw usage counts first where it is whole: it has what `usage_metadata` leaves out. */
function usageOfMessage(message: Fields, llmOutput: Fields, from: AnsweredBy): ReportedUsage | undefined {
  const raw = fieldsOf(fieldsOf(message['response_metadata'])['usage']);
  const metadata = message['usage_metadata'];
  const isWhole =
    typeof raw['input_tokens'] === 'number' ||
    (typeof raw['prompt_tokens'] === 'number' && timesAdded(raw, metadata) === 1);
  if (isWhole) return usageInBody(raw);
  const { tokenUsage } = llmOutput;
  return (
    usageFromMetadata(metadata, from, raw) ??
    usageInBody(rawOutput(tokenUsage)) ??
    usageFromOutput(tokenUsage)
  );
}

function rawOutput(tokenUsage: unknown): unknown {
  return 'prompt_tokens' in fieldsOf(tokenUsage) ? tokenUsage : undefined;
}

/**
 * The end of a call that answered, from LangChain's `LLMResult` or what `_generate` gives: `generations` is a list
 * of answers, or a list of such lists. Every answer of several repeats the usage of all, so the first one counts.
 * Never throws.
 */
export function resultOutcome(result: unknown, from: AnsweredBy): CallOutcome {
  const all = listOf(fieldsOf(result)['generations']);
  const answers = (Array.isArray(all[0]) ? all.flat() : all).map(fieldsOf);
  const seenOutputTokens = attempt(
    () => sum(...answers.map((answer) => seenIn(fieldsOf(answer['message']), answer['text']))),
    0,
  );
  const unread: CallOutcome = { outcome: 'ok', seenOutputTokens };
  return attempt(() => {
    const message = fieldsOf(answers[0]?.['message']);
    const usage = usageOfMessage(message, fieldsOf(fieldsOf(result)['llmOutput']), from);
    const raw = fieldsOf(fieldsOf(message['response_metadata'])['usage']);
    const told = believed(usage, seenOutputTokens);
    return {
      ...unread,
      ...(told !== undefined && { usage: told }),
      ...moneyFromRaw(raw, message['usage_metadata']),
      ...servedBy(message),
    };
  }, unread);
}
