/** What a simulated model is asked, what the script lets it answer, and how its tokens are counted. */

/** One call as the script sees it. */
export interface SimulatedRequest {
  /** Number of the request, from 1. */
  readonly id: number;
  /** The API that was called. */
  readonly wire: 'chat' | 'responses' | 'messages' | 'embeddings' | 'images' | 'gateway';
  /** The model that the call names first, as it was spelled. */
  readonly model: string;
  /** Ids of the listed models that may serve, in order of preference; never empty. */
  readonly candidates: readonly string[];
  readonly stream: boolean;
  /**
   * As the wire had them: messages, or the input items of the Responses API, or the texts to embed. A prompt that is
   * a string is one message of the user.
   */
  readonly messages: readonly unknown[];
  readonly tools: readonly unknown[];
  /** Prompt tokens by the simulator's own count, before any override. */
  readonly inputTokens: number;
  /** The call's own output limit, where it has one. */
  readonly maxOutputTokens?: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Readonly<Record<string, unknown>>;
}

/** How a call goes wrong. `afterChunks` counts chunks with content; more than there are means all of them. */
export type Fault =
  /** A JSON error before anything was generated. Bills nothing. */
  | { kind: 'http'; status: number; message?: string; retryAfterSeconds?: number }
  /** HTTP 200 with an `error` in the body (in a stream: as its only event). Bills the prompt. */
  | { kind: 'error-body' }
  /** An error in mid-stream. Bills the prompt and what was generated. Not streamed: as `error-body`, same bill. */
  | { kind: 'error-chunk'; afterChunks: number }
  /** The socket breaks; 0, or a call that isn't streamed: before the headers. Bills as `error-chunk`. */
  | { kind: 'drop'; afterChunks: number }
  /** The answer is whole and billed, but its usage is missing, all zero (with cost 0), or what the script says. */
  | { kind: 'no-usage' }
  | { kind: 'zero-usage' }
  | { kind: 'bad-usage'; usage: unknown }
  /** Chat completions: the last chunk, which has the usage, has `choices: []` (as OpenAI's always has). */
  | { kind: 'usage-without-choices' }
  /** Headers never come. Billed as an abort once the client has left. */
  | { kind: 'hang' }
  /** A clean end without usage or `[DONE]` (not streamed: half of the JSON). Bills as `error-chunk`. */
  | { kind: 'truncate'; afterChunks: number };

/** What the model does. Every field has a default; an empty reply is an answer without text. */
export interface Reply {
  /** Default: nothing, or filler as long as an `outputTokens` that is given. */
  text?: string;
  reasoning?: string;
  /** `arguments` is sent as JSON, a string as it is. */
  toolCalls?: readonly { name: string; arguments: unknown; id?: string }[];
  /** All input tokens, cache tokens included. Default: JSON length of messages and tools / 4, rounded up. */
  inputTokens?: number;
  /** All output tokens, reasoning included, before the cut to the call's limit. Default: from the texts. */
  outputTokens?: number;
  /** Default: from the reasoning text. */
  reasoningTokens?: number;
  cacheReadTokens?: number;
  cacheWriteTokens?: number;
  /**
   * The part of `cacheWriteTokens` that is to last an hour. Default: all of it where the request asks for such a cache
   * anywhere, else none.
   */
  cacheWriteHourTokens?: number;
  /** Sound and pictures in the prompt, as far as they did not come from the cache. Default: none. */
  inputAudioTokens?: number;
  inputImageTokens?: number;
  /** Base64 of PNGs that the model draws, or how many. Default: as many as the images API is asked for. */
  images?: readonly string[] | number;
  /** Part of the output tokens. Default: by size and quality on the images API, else 1,290 an image. */
  imageTokens?: number;
  /** In the words of chat completions; each wire has its own for it. Default: `length` when the limit cut the answer, else `tool_calls` or `stop`. */
  finishReason?: string;
  /** How many chunks the text and reasoning come in. Default: one for each 24 characters, at most 32. */
  chunks?: number;
  chunkDelayMs?: number;
  firstChunkDelayMs?: number;
  /**
   * The listed model that serves and is billed, by any of its names, a date at the end included: a dated name is
   * also what the answer says. Default: the first candidate.
   */
  servedModel?: string;
  /** The answer doesn't say which model served. */
  unnamedModel?: boolean;
  /** Name of the host that serves. Default: the vendor of the model. */
  provider?: string;
  /** The call runs on the user's own key: the upstream bills the tokens, OpenRouter a fee of 5 %. */
  isByok?: boolean;
  /** USD as a decimal; default with `isByok`: tokens × list price, else not told. */
  upstreamCost?: string;
  fault?: Fault;
}

/** Token counts of an answer, each choice counted; reasoning is part of the completion, cache of the prompt. */
export interface TokenCounts {
  promptTokens: number;
  completionTokens: number;
  reasoningTokens: number;
  /** Part of the completion too. */
  imageTokens: number;
  cacheReadTokens: number;
  cacheWriteTokens: number;
  /** Part of those written. */
  cacheWriteHourTokens: number;
  /** Parts of the prompt that did not come from the cache. */
  inputAudioTokens: number;
  inputImageTokens: number;
}

/** An answer that is ready for the wire: cut to the limit and counted. */
export interface Answer extends TokenCounts {
  reasoning: string;
  text: string;
  images: readonly string[];
  toolCalls: readonly { id: string; name: string; arguments: string }[];
  finishReason: string;
  /** How many times the answer is given (`n` of the call). */
  choices: number;
}

const CHARACTERS_PER_TOKEN = 4;

/** What an inline image or file counts, since its base64 is no text. */
const TOKENS_PER_DATA_URL = 1000;

/** The simulator's tokenizer: length in UTF-16 units / 4, rounded up. Deterministic and simple on purpose. */
export function tokensOfText(text: string): number {
  return Math.ceil(text.length / CHARACTERS_PER_TOKEN);
}

/** Prompt tokens of a call: the JSON of its messages and tools; inline data counts as a flat figure each. */
export function tokensOfPrompt(messages: readonly unknown[], tools: readonly unknown[]): number {
  let inline = 0;
  const withoutData = (_key: string, value: unknown): unknown => {
    if (typeof value !== 'string' || value.length < 256 || !value.startsWith('data:')) return value;
    inline += 1;
    return '';
  };
  const text = JSON.stringify(messages, withoutData) + (tools.length > 0 ? JSON.stringify(tools) : '');
  return tokensOfText(text) + inline * TOKENS_PER_DATA_URL;
}

/** Takes what fits from a budget of tokens that the parts of one answer share. */
interface Budget {
  left: number;
  cut: boolean;
}

function takeText(text: string, budget: Budget): string {
  const wanted = tokensOfText(text);
  if (wanted <= budget.left) {
    budget.left -= wanted;
    return text;
  }
  const taken = text.slice(0, budget.left * CHARACTERS_PER_TOKEN);
  budget.left = 0;
  budget.cut = true;
  return taken;
}

function takeToolCalls(reply: Reply, requestId: number, budget: Budget): Answer['toolCalls'] {
  const taken: { id: string; name: string; arguments: string }[] = [];
  for (const [index, call] of (reply.toolCalls ?? []).entries()) {
    if (budget.left === 0) {
      budget.cut = true;
      break;
    }
    const json = typeof call.arguments === 'string' ? call.arguments : JSON.stringify(call.arguments ?? {});
    // Name and arguments are generated in one go; a limit that bites leaves arguments that are not valid JSON.
    const spoken = takeText(call.name + json, budget);
    const id = call.id ?? `call_${requestId}_${index}`;
    taken.push({ id, name: call.name, arguments: spoken.slice(call.name.length) });
  }
  return taken;
}

/** The smallest PNG: one pixel. */
const PIXEL =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';

/** What a call says of how it may be answered. */
export interface AnswerTerms {
  /** Output tokens for each choice. */
  limit: number;
  choices: number;
  imagesOut: { count: number; tokensEach: number };
}

/** Images that fit into the budget, whole ones only, and their tokens. */
function takeImages(
  reply: Reply,
  { count, tokensEach }: AnswerTerms['imagesOut'],
  budget: Budget,
): { images: readonly string[]; imageTokens: number } {
  const given = reply.images ?? count;
  const drawn = typeof given === 'number' ? Array.from({ length: given }, () => PIXEL) : given;
  if (drawn.length === 0) return { images: [], imageTokens: 0 };
  const each = reply.imageTokens === undefined ? tokensEach : Math.ceil(reply.imageTokens / drawn.length);
  const images = drawn.slice(0, each === 0 ? drawn.length : Math.floor(budget.left / each));
  const isWhole = images.length === drawn.length;
  const imageTokens = isWhole ? (reply.imageTokens ?? each * images.length) : each * images.length;
  budget.left -= imageTokens;
  if (!isWhole) budget.cut = true;
  return { images, imageTokens };
}

/** Whether a request has a mark for a prompt cache of an hour, wherever it may stand. */
function asksForHour(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const { cache_control: snake, cacheControl: camel } = value as Record<string, { ttl?: unknown } | null>;
  return snake?.ttl === '1h' || camel?.ttl === '1h' || Object.values(value).some(asksForHour);
}

/** Text for a reply that only says how many tokens it has. */
function filler(tokens: number): string {
  return 'all work and no play '.repeat(Math.ceil(Math.max(0, tokens) / 5)).slice(0, Math.max(0, tokens) * 4);
}

/**
 * The answer to a call: the reply cut to `limit` output tokens for each choice, and its token counts.
 * Reasoning comes first, then text, then images and tool calls, as models do it.
 */
export function answerTo(request: SimulatedRequest, reply: Reply, terms: AnswerTerms): Answer {
  const { choices, imagesOut, limit } = terms;
  const hidden = reply.reasoningTokens ?? tokensOfText(reply.reasoning ?? '');
  const budget: Budget = { left: limit, cut: false };
  const reasoning = takeText(reply.reasoning ?? '', budget);
  const reasoningTokens = Math.min(hidden, limit);
  if (hidden > limit) budget.cut = true;
  budget.left = Math.min(budget.left, limit - reasoningTokens);
  const draws = reply.images !== undefined || imagesOut.count > 0;
  const silent =
    reply.text === undefined && reply.toolCalls === undefined && reply.outputTokens !== undefined && !draws;
  const text = takeText(silent ? filler((reply.outputTokens ?? 0) - hidden) : (reply.text ?? ''), budget);
  const beforeRest = budget.left;
  const { images, imageTokens } = takeImages(reply, imagesOut, budget);
  const toolCalls = takeToolCalls(reply, request.id, budget);
  const spoken = reasoningTokens + tokensOfText(text) + (beforeRest - budget.left);
  const wanted = reply.outputTokens ?? spoken;
  const output = Math.min(wanted, limit);
  const cut = budget.cut || wanted > limit;
  const cacheReadTokens = reply.cacheReadTokens ?? 0;
  const cacheWriteTokens = reply.cacheWriteTokens ?? 0;
  const hourTokens = reply.cacheWriteHourTokens ?? (asksForHour(request.body) ? cacheWriteTokens : 0);
  return {
    reasoning,
    text,
    images,
    toolCalls,
    choices,
    promptTokens: Math.max(reply.inputTokens ?? request.inputTokens, cacheReadTokens + cacheWriteTokens),
    completionTokens: output * choices,
    reasoningTokens: Math.min(reasoningTokens, output) * choices,
    imageTokens: Math.min(imageTokens, Math.max(0, output - reasoningTokens)) * choices,
    cacheReadTokens,
    cacheWriteTokens,
    cacheWriteHourTokens: Math.min(hourTokens, cacheWriteTokens),
    inputAudioTokens: reply.inputAudioTokens ?? 0,
    inputImageTokens: reply.inputImageTokens ?? 0,
    finishReason: cut ? 'length' : (reply.finishReason ?? (toolCalls.length > 0 ? 'tool_calls' : 'stop')),
  };
}

/** Counts of an answer of which only `sent` of `total` chunks were generated: output in proportion, rounded up. */
export function countsAfter(answer: Answer, sent: number, total: number): TokenCounts {
  const completionTokens =
    sent >= total ? answer.completionTokens : share(answer.completionTokens, sent, total);
  const beforeImages = answer.completionTokens - answer.imageTokens;
  return {
    promptTokens: answer.promptTokens,
    completionTokens,
    // Reasoning comes before the text, so it is generated first.
    reasoningTokens: Math.min(answer.reasoningTokens, completionTokens),
    imageTokens: Math.max(0, completionTokens - beforeImages),
    cacheReadTokens: answer.cacheReadTokens,
    cacheWriteTokens: answer.cacheWriteTokens,
    cacheWriteHourTokens: answer.cacheWriteHourTokens,
    inputAudioTokens: answer.inputAudioTokens,
    inputImageTokens: answer.inputImageTokens,
  };
}

function share(tokens: number, sent: number, total: number): number {
  return Math.ceil((tokens * sent) / total);
}

/** The script that is used when there is none: says back the last words of the user. */
export function echo(request: SimulatedRequest): Reply {
  const last = request.messages.at(-1) as { content?: unknown; output?: unknown } | undefined;
  const content = last?.content ?? last?.output;
  const text = typeof content === 'string' ? content : JSON.stringify(content ?? '');
  return { text: `You said: ${text.slice(-60)}` };
}
