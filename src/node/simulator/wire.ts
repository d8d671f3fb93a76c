/** OpenRouter's wire format, both ways of answering. Pure: builds JSON values and event texts, sends nothing. */
import { usdNumber, type BillLine } from './bill.ts';
import type { Answer, Fault, Reply } from './script.ts';

type Json = Record<string, unknown>;

/** What every part of one answer repeats. */
export interface Envelope {
  id: string;
  provider: string;
  model: string;
  /** Seconds since 1970. */
  created: number;
}

/** The comment that keeps a stream alive while the model is thinking. */
export const PROCESSING_COMMENT = ': OPENROUTER PROCESSING\n\n';

export const DONE_EVENT = 'data: [DONE]\n\n';

/** One server-sent event. */
export function eventOf(value: unknown): string {
  return `data: ${JSON.stringify(value)}\n\n`;
}

const PROVIDER_ERROR = 'Provider returned error';

/** The error body of a refusal, `{ error: { message, code }, user_id }`. */
export function errorBody(code: number, message: string, metadata?: Json): Json {
  return { error: { message, code, ...(metadata && { metadata }) }, user_id: 'user_simulated' };
}

/** The `error` that is answered with HTTP 200, when the upstream failed after the call was accepted. */
export function upstreamErrorBody(provider: string): Json {
  return errorBody(502, PROVIDER_ERROR, { provider_name: provider, raw: 'the upstream failed' });
}

const DEFAULT_CHUNK_LENGTH = 24;
const MOST_DEFAULT_CHUNKS = 32;

function slices(text: string, parts: number): string[] {
  return Array.from({ length: parts }, (_, part) =>
    text.slice(Math.floor((part * text.length) / parts), Math.floor(((part + 1) * text.length) / parts)),
  );
}

function reasoningDelta(text: string): Json {
  return {
    role: 'assistant',
    content: '',
    reasoning: text,
    reasoning_details: [{ type: 'reasoning.text', text, format: 'unknown', index: 0 }],
  };
}

function toolCallDeltas(answer: Answer): Json[] {
  const delta = (call: Json): Json => ({ role: 'assistant', content: null, tool_calls: [call] });
  return answer.toolCalls.flatMap(({ id, name, arguments: json }, index) => [
    delta({ index, id, type: 'function', function: { name, arguments: '' } }),
    ...slices(json, json.length > 1 ? 2 : 1).map((part) => delta({ index, function: { arguments: part } })),
  ]);
}

/** The content of an answer as `delta`s. Text and reasoning come in `reply.chunks` parts, at least one each. */
export function deltasOf(answer: Answer, reply: Reply): Json[] {
  const { reasoning, text } = answer;
  const spoken = reasoning.length + text.length;
  const usual = Math.min(MOST_DEFAULT_CHUNKS, Math.ceil(spoken / DEFAULT_CHUNK_LENGTH));
  // An answer of tool calls alone has no text chunk, any other has one, even if it is empty.
  const parts = Math.max(reply.chunks ?? usual, spoken > 0 || answer.toolCalls.length === 0 ? 1 : 0);
  const proportional = spoken === 0 ? 0 : Math.round((parts * reasoning.length) / spoken);
  let thinking = 0;
  if (reasoning !== '') thinking = text === '' ? parts : Math.max(1, Math.min(parts - 1, proportional));
  const speaking = Math.max(parts - thinking, text === '' ? 0 : 1);
  return [
    ...slices(reasoning, thinking).map(reasoningDelta),
    ...slices(text, speaking).map((content) => ({ role: 'assistant', content })),
    ...toolCallDeltas(answer),
  ];
}

function choice(index: number, delta: Json, finishReason: string | null): Json {
  return { index, delta, finish_reason: finishReason, native_finish_reason: finishReason, logprobs: null };
}

function chunk(envelope: Envelope, choices: readonly Json[], more: Json = {}): string {
  const { id, provider, model, created } = envelope;
  return eventOf({ id, provider, model, object: 'chat.completion.chunk', created, choices, ...more });
}

/** The events of one delta: one for each choice. */
export function contentEvents(envelope: Envelope, delta: Json, choices: number): string {
  const events = Array.from({ length: choices }, (_, index) => chunk(envelope, [choice(index, delta, null)]));
  return events.join('');
}

const EMPTY_DELTA: Json = { role: 'assistant', content: '' };

/** The events that end the content: `finish_reason` of each choice. */
export function finishEvents(envelope: Envelope, answer: Answer): string {
  const indices = Array.from({ length: answer.choices }, (_, index) => index);
  return indices.map((index) => chunk(envelope, [choice(index, EMPTY_DELTA, answer.finishReason)])).join('');
}

/** The event of an error in mid-stream. */
export function errorEvent(envelope: Envelope): string {
  const error = { code: 'server_error', message: PROVIDER_ERROR };
  return chunk(envelope, [choice(0, EMPTY_DELTA, 'error')], { error });
}

/** The event with the usage, or nothing where the fault leaves it out. */
export function usageEvent(envelope: Envelope, line: BillLine, fault: Fault | undefined): string {
  if (fault?.kind === 'no-usage') return '';
  const choices = fault?.kind === 'usage-without-choices' ? [] : [choice(0, EMPTY_DELTA, null)];
  return chunk(envelope, choices, { usage: usageOf(line, fault) });
}

function usageOf(line: BillLine, fault: Fault | undefined): unknown {
  if (fault?.kind === 'bad-usage') return fault.usage;
  const zero = fault?.kind === 'zero-usage';
  const count = (tokens: number): number => (zero ? 0 : tokens);
  const upstream = zero || line.upstreamNanoUsd === undefined ? null : usdNumber(line.upstreamNanoUsd);
  return {
    prompt_tokens: count(line.promptTokens),
    completion_tokens: count(line.completionTokens),
    total_tokens: count(line.promptTokens + line.completionTokens),
    cost: zero ? 0 : usdNumber(line.creditsNanoUsd),
    is_byok: line.isByok,
    prompt_tokens_details: {
      cached_tokens: count(line.cacheReadTokens),
      cache_write_tokens: count(line.cacheWriteTokens),
      audio_tokens: 0,
      video_tokens: 0,
    },
    cost_details: { upstream_inference_cost: upstream },
    completion_tokens_details: { reasoning_tokens: count(line.reasoningTokens), image_tokens: 0 },
  };
}

/** The body of an answer that is not streamed. */
export function completionBody(
  envelope: Envelope,
  answer: Answer,
  line: BillLine,
  fault: Fault | undefined,
): Json {
  const { reasoning, toolCalls, finishReason } = answer;
  const message = {
    role: 'assistant',
    content: answer.text,
    refusal: null,
    reasoning: reasoning === '' ? null : reasoning,
    ...(reasoning !== '' && { reasoning_details: reasoningDelta(reasoning).reasoning_details }),
    ...(toolCalls.length > 0 && {
      tool_calls: toolCalls.map(({ id, name, arguments: json }, index) => ({
        index,
        id,
        type: 'function',
        function: { name, arguments: json },
      })),
    }),
  };
  const { id, provider, model, created } = envelope;
  return {
    id,
    provider,
    model,
    object: 'chat.completion',
    created,
    choices: Array.from({ length: answer.choices }, (_, index) => ({
      index,
      logprobs: null,
      finish_reason: finishReason,
      native_finish_reason: finishReason,
      message,
    })),
    ...(fault?.kind !== 'no-usage' && { usage: usageOf(line, fault) }),
  };
}

/** The body of `GET /generation`: what was charged, known even where the client has never seen the usage. */
export function generationBody(line: BillLine): Json {
  const cost = usdNumber(line.creditsNanoUsd);
  return {
    data: {
      id: line.generationId,
      upstream_id: null,
      total_cost: cost,
      usage: cost,
      cache_discount: null,
      upstream_inference_cost: line.upstreamNanoUsd === undefined ? null : usdNumber(line.upstreamNanoUsd),
      created_at: new Date(line.at).toISOString(),
      model: line.model,
      app_id: null,
      api_type: 'completions',
      router: null,
      streamed: line.streamed,
      cancelled: line.how === 'aborted',
      provider_name: line.provider,
      is_byok: line.isByok,
      latency: 0,
      generation_time: 0,
      moderation_latency: null,
      finish_reason: line.finishReason,
      native_finish_reason: line.finishReason,
      tokens_prompt: line.promptTokens,
      tokens_completion: line.completionTokens,
      native_tokens_prompt: line.promptTokens,
      native_tokens_completion: line.completionTokens,
      native_tokens_reasoning: line.reasoningTokens,
      native_tokens_cached: line.cacheReadTokens,
      native_tokens_completion_images: 0,
      num_media_prompt: null,
      num_media_completion: null,
      num_input_audio_prompt: null,
      num_search_results: null,
      origin: '',
      external_user: null,
    },
  };
}

/** The body of `GET /key`. */
export function keyBody(billedCredits: bigint): Json {
  return {
    data: {
      label: 'simulated',
      usage: usdNumber(billedCredits),
      limit: null,
      limit_remaining: null,
      is_free_tier: false,
      is_provisioning_key: false,
      rate_limit: { requests: -1, interval: '10s' },
    },
  };
}
