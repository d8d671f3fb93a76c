/** `POST /messages`: the Messages API as Anthropic and OpenRouter speak it. */
import type { BillLine } from '../bill.ts';
import type { Refusal } from '../models.ts';
import { blocksOf, blockwise, type Block } from '../pieces.ts';
import { tokensOfPrompt, type Answer, type TokenCounts } from '../script.ts';
import {
  costOf,
  fieldOf,
  limitOf,
  listOf,
  modelOf,
  namedEvent,
  namedModels,
  PROCESSING_COMMENT,
  upstreamMessage,
  usageOf,
  type CallShape,
  type EventWriter,
  type Incoming,
  type Json,
  type Served,
  type Wire,
} from './wire.ts';

const ERROR_TYPES: Readonly<Record<number, string>> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  402: 'billing_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  529: 'overloaded_error',
};

function errorOf({ message, status }: Refusal): Json {
  const type = ERROR_TYPES[status] ?? (status >= 500 ? 'api_error' : 'invalid_request_error');
  return { type: 'error', error: { type, message }, request_id: null };
}

function read(incoming: Incoming): CallShape | Refusal {
  const { body } = incoming;
  if (!Array.isArray(body['messages'])) return { status: 400, message: 'messages: Field required' };
  const route = namedModels(incoming);
  if ('status' in route) return route;
  const limit = limitOf(body, ['max_tokens']);
  if (typeof limit === 'object') return limit;
  if (limit === undefined) return { status: 400, message: 'max_tokens: Field required' };
  const messages = body['messages'] as unknown[];
  const tools = listOf(body['tools']);
  const { system } = body;
  const contents = messages.flatMap((message) => listOf(fieldOf(message, 'content')));
  const parts = [...contents, ...contents.flatMap((part) => listOf(fieldOf(part, 'content')))];
  return {
    ...route,
    stream: body['stream'] === true,
    messages,
    tools,
    inputTokens: tokensOfPrompt(system === undefined ? messages : [{ system }, ...messages], tools),
    limit,
    imagesIn: parts.filter((part) => fieldOf(part, 'type') === 'image').length,
  };
}

/** In this API the input tokens are those beside the cache. */
function inputUsage(counts: TokenCounts): Json {
  const { cacheReadTokens, cacheWriteHourTokens, cacheWriteTokens, promptTokens } = counts;
  return {
    input_tokens: promptTokens - cacheReadTokens - cacheWriteTokens,
    cache_creation_input_tokens: cacheWriteTokens,
    cache_read_input_tokens: cacheReadTokens,
    cache_creation: {
      ephemeral_5m_input_tokens: cacheWriteTokens - cacheWriteHourTokens,
      ephemeral_1h_input_tokens: cacheWriteHourTokens,
    },
  };
}

function usage(served: Served, line: BillLine): { usage?: unknown } {
  return usageOf(served, line, (counts) => ({
    ...inputUsage(counts),
    output_tokens: counts.completionTokens,
    output_tokens_details: { thinking_tokens: counts.reasoningTokens },
    service_tier: 'standard',
    ...costOf(served, line),
  }));
}

const STOP_REASONS: Readonly<Record<string, string>> = {
  stop: 'end_turn',
  length: 'max_tokens',
  tool_calls: 'tool_use',
  content_filter: 'refusal',
};

function stopReason({ finishReason }: Answer): string {
  return STOP_REASONS[finishReason] ?? finishReason;
}

/** Arguments that the limit cut are no JSON; a whole answer then has none. */
function inputOf(json: string): unknown {
  try {
    return JSON.parse(json) as unknown;
  } catch {
    return {};
  }
}

const SIGNATURE = 'c2ltdWxhdGVk';

/** A content block: as it is announced, or whole. This API draws no images, so it shows none. */
function contentOf(block: Block, isWhole: boolean): Json {
  if (block.kind === 'reasoning') {
    return isWhole
      ? { type: 'thinking', thinking: block.text, signature: SIGNATURE }
      : { type: 'thinking', thinking: '', signature: '' };
  }
  if (block.kind === 'tool') {
    const { id, name } = block;
    return { type: 'tool_use', id, name, input: isWhole ? inputOf(block.text) : {} };
  }
  const text = block.kind === 'image' ? '' : block.text;
  return { type: 'text', text: isWhole ? text : '' };
}

function head(served: Served): Json {
  return { id: served.id, type: 'message', role: 'assistant', ...modelOf(served) };
}

function whole(served: Served, line: BillLine): Json {
  const { answer, dialect, pieces, provider } = served;
  const shown = blocksOf(pieces).filter(({ text, kind }) => text !== '' || kind === 'tool');
  return {
    ...head(served),
    ...(dialect === 'openrouter' && { provider }),
    content: shown.map((block) => contentOf(block, true)),
    stop_reason: stopReason(answer),
    stop_sequence: null,
    container: null,
    ...usage(served, line),
  };
}

const DELTAS = {
  reasoning: (thinking: string) => ({ type: 'thinking_delta', thinking }),
  text: (text: string) => ({ type: 'text_delta', text }),
  tool: (partial_json: string) => ({ type: 'input_json_delta', partial_json }),
  image: () => ({ type: 'text_delta', text: '' }),
};

function events(served: Served): EventWriter {
  const { answer, dialect, fault } = served;
  const delta = (index: number, value: Json): string =>
    namedEvent('content_block_delta', { index, delta: value });
  const blocks = blockwise({
    open: (block, index) =>
      namedEvent('content_block_start', { index, content_block: contentOf(block, false) }),
    part: (block, index, text) => delta(index, DELTAS[block.kind](text)),
    close(block, index) {
      const signed = block.kind === 'reasoning';
      const signature = signed ? delta(index, { type: 'signature_delta', signature: SIGNATURE }) : '';
      return signature + namedEvent('content_block_stop', { index });
    },
  });
  return {
    start() {
      const comment = dialect === 'openrouter' ? PROCESSING_COMMENT : '';
      if (fault?.kind === 'error-body') return comment;
      // The prompt's usage is known before the answer is; the output counts what there is of it, and is no total.
      const told = usageOf(served, answer, (counts) => ({
        ...inputUsage(counts),
        output_tokens: fault?.kind === 'zero-usage' ? 0 : 1,
        service_tier: 'standard',
      }));
      const message = { ...head(served), content: [], stop_reason: null, stop_sequence: null, ...told };
      return comment + namedEvent('message_start', { message }) + namedEvent('ping', {});
    },
    piece: (piece) => blocks.piece(piece),
    end(line) {
      const closed = blocks.end();
      const ended = { delta: { stop_reason: stopReason(answer), stop_sequence: null } };
      return (
        closed +
        namedEvent('message_delta', { ...ended, ...usage(served, line) }) +
        namedEvent('message_stop', {})
      );
    },
    failure: () => namedEvent('error', failed(served)),
  };
}

function failed({ dialect }: Served): Json {
  return { type: 'error', error: { type: 'api_error', message: upstreamMessage(dialect) }, request_id: null };
}

export const MESSAGES: Wire = {
  name: 'messages',
  gives: 'text',
  // OpenRouter knows Anthropic's own names here, so that programs of Anthropic's need only another base URL.
  ids: (dialect) => (dialect === 'openai' ? 'bare' : 'either'),
  idPrefix: (dialect) => (dialect === 'openai' ? 'msg_' : 'gen-'),
  read,
  refusal: errorOf,
  whole,
  failed,
  events,
};
