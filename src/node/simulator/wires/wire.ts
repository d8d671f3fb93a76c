/** What an API has of its own: how it is asked, and how it answers. All else is the same for all of them. */
import { usdNumber, type BillLine } from '../bill.ts';
import type { Refusal } from '../models.ts';
import type { Piece } from '../pieces.ts';
import type { Answer, Fault, SimulatedRequest, TokenCounts } from '../script.ts';

export type Json = Record<string, unknown>;
export type Body = Readonly<Record<string, unknown>>;

/** Whose service is simulated: OpenRouter, or the makers of the models themselves (bare ids, no cost told). */
export type Dialect = 'openrouter' | 'openai';

/** A request's parts that a wire reads. */
export interface Incoming {
  readonly body: Body;
  readonly headers: Readonly<Record<string, string>>;
  readonly dialect: Dialect;
}

/** Which ids a call may name: `vendor/model`, the model alone, or both. */
export type IdForm = 'vendor' | 'bare' | 'either';

/** A request as every wire can say it. */
export interface CallShape {
  /** Model and fallbacks, in order of preference. */
  named: readonly string[];
  stream: boolean;
  messages: readonly unknown[];
  tools: readonly unknown[];
  inputTokens: number;
  limit: number | undefined;
  /** `provider.max_price` of OpenRouter. */
  maxPrice?: unknown;
  /** How many times the answer is given. Default: 1. */
  choices?: number;
  /** Images in the prompt. Default: none. */
  imagesIn?: number;
  /** Images that are asked for, and what each counts. Default: none. */
  imagesOut?: { count: number; tokensEach: number };
  webSearch?: boolean;
}

/** An answer that is ready for the wire. */
export interface Served {
  readonly dialect: Dialect;
  /** Also the generation id of the bill. */
  readonly id: string;
  readonly provider: string;
  /** As the answer names it; `undefined` where the script lets it name none. */
  readonly model: string | undefined;
  /** Seconds since 1970. */
  readonly created: number;
  readonly request: SimulatedRequest;
  readonly answer: Answer;
  readonly pieces: readonly Piece[];
  readonly fault: Fault | undefined;
}

/** The events of one answer, as text, in the order of the methods. */
export interface EventWriter {
  start(): string;
  piece(piece: Piece): string;
  /** Ends the whole answer. */
  end(line: BillLine): string;
  /** Ends an answer that failed in its middle. */
  failure(): string;
}

export interface Wire {
  readonly name: SimulatedRequest['wire'];
  /** What the models that can serve have to give. */
  readonly gives: 'text' | 'embeddings' | 'image';
  ids(dialect: Dialect): IdForm;
  /** Starts the ids of its answers. */
  idPrefix(dialect: Dialect): string;
  read(incoming: Incoming): CallShape | Refusal;
  refusal(refusal: Refusal, dialect: Dialect): Json;
  /** The body of an answer that is not streamed. */
  whole(served: Served, line: BillLine): Json;
  /** The body of an answer that failed after it was accepted, with HTTP 200. */
  failed(served: Served): Json;
  /** Not on wires that never stream. */
  events?(served: Served): EventWriter;
}

/** The comment that keeps OpenRouter's streams alive while the model is thinking. */
export const PROCESSING_COMMENT = ': OPENROUTER PROCESSING\n\n';

export const DONE_EVENT = 'data: [DONE]\n\n';

/** One server-sent event that is known by its data alone. */
export function eventOf(value: unknown): string {
  return `data: ${JSON.stringify(value)}\n\n`;
}

/** One server-sent event with a name, which is also the `type` of its data. */
export function namedEvent(type: string, value: Json): string {
  return `event: ${type}\ndata: ${JSON.stringify({ type, ...value })}\n\n`;
}

export function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? (value as unknown[]) : [];
}

export function fieldOf(value: unknown, key: string): unknown {
  return (value as Body | undefined | null)?.[key];
}

/** The output limit by its names, or a refusal. Of two limits the larger one counts: a guard must lower both. */
export function limitOf(body: Body, keys: readonly string[]): number | undefined | Refusal {
  let limit: number | undefined;
  for (const key of keys) {
    const value = body[key];
    if (value === undefined || value === null) continue;
    if (!Number.isSafeInteger(value) || (value as number) < 1) {
      return { status: 400, message: `Invalid value for ${key}: expected an integer of at least 1` };
    }
    limit = Math.max(limit ?? 0, value as number);
  }
  return limit;
}

const OPENROUTER_FIELDS = ['models', 'provider', 'plugins', 'route', 'transforms'] as const;

/** What every JSON body of OpenRouter says beside the question, or a refusal. */
export function namedModels({
  body,
  dialect,
}: Incoming): Pick<CallShape, 'named' | 'maxPrice' | 'webSearch'> | Refusal {
  const model = body['model'];
  if (dialect === 'openai') {
    const stray = OPENROUTER_FIELDS.find((key) => body[key] !== undefined);
    if (stray) return { status: 400, message: `Unrecognized request argument supplied: ${stray}` };
    if (typeof model !== 'string') return { status: 400, message: 'you must provide a model parameter' };
    return { named: [model] };
  }
  const named = [model, ...listOf(body['models'])].filter((id) => typeof id === 'string');
  if (named.length === 0) return { status: 400, message: 'No models provided' };
  return {
    named,
    maxPrice: fieldOf(body['provider'], 'max_price'),
    webSearch: listOf(body['plugins']).some((plugin) => fieldOf(plugin, 'id') === 'web'),
  };
}

const PROVIDER_ERROR = 'Provider returned error';

/** The words of an upstream that failed after the call was accepted. */
export function upstreamMessage(dialect: Dialect): string {
  return dialect === 'openai' ? 'The server had an error while processing your request.' : PROVIDER_ERROR;
}

function openaiErrorType(status: number): string {
  if (status === 429) return 'rate_limit_error';
  return status >= 500 ? 'server_error' : 'invalid_request_error';
}

/** The error body of the OpenAI-shaped wires: in OpenRouter's form with a numeric code, or in OpenAI's own. */
export function errorBody({ status, message }: Refusal, dialect: Dialect, metadata?: Json): Json {
  if (dialect === 'openai') {
    const code = status === 404 ? 'model_not_found' : null;
    return { error: { message, type: openaiErrorType(status), param: null, code } };
  }
  const error = { message, code: status, ...(metadata && { metadata }) };
  return { error, user_id: 'user_simulated' };
}

/** The `error` that the OpenAI-shaped wires answer with HTTP 200. */
export function upstreamErrorBody({ dialect, provider }: Served): Json {
  const metadata = { provider_name: provider, raw: 'the upstream failed' };
  return errorBody({ status: 502, message: upstreamMessage(dialect) }, dialect, metadata);
}

/** OpenRouter's own part of a usage; nothing in the dialect that tells no cost. */
export function costOf({ dialect, fault }: Served, line: BillLine): Json {
  if (dialect === 'openai') return {};
  const zero = fault?.kind === 'zero-usage';
  const upstream = zero || line.upstreamNanoUsd === undefined ? null : usdNumber(line.upstreamNanoUsd);
  return {
    cost: zero ? 0 : usdNumber(line.creditsNanoUsd),
    is_byok: line.isByok,
    cost_details: { upstream_inference_cost: upstream },
  };
}

const NO_TOKENS: TokenCounts = {
  promptTokens: 0,
  completionTokens: 0,
  reasoningTokens: 0,
  imageTokens: 0,
  cacheReadTokens: 0,
  cacheWriteTokens: 0,
  cacheWriteHourTokens: 0,
  inputAudioTokens: 0,
  inputImageTokens: 0,
};

/**
 * The usage that an answer tells, as an object to spread: nothing, zeroes or the script's own where the fault says
 * so. `build` gets the true counts or zeroes.
 */
export function usageOf(
  { fault }: Served,
  counts: TokenCounts,
  build: (counts: TokenCounts) => unknown,
): { usage?: unknown } {
  if (fault?.kind === 'no-usage') return {};
  if (fault?.kind === 'bad-usage') return { usage: fault.usage };
  if (fault?.kind !== 'zero-usage') return { usage: build(counts) };
  return { usage: build(NO_TOKENS) };
}

/** The name of the model, or nothing where the answer names none. */
export function modelOf({ model }: Served): { model?: string } {
  return model === undefined ? {} : { model };
}
