/** `POST /chat/completions`, in OpenRouter's form or OpenAI's own. */
import type { BillLine } from '../bill.ts';
import type { Refusal } from '../models.ts';
import type { Piece } from '../pieces.ts';
import { tokensOfPrompt } from '../script.ts';
import {
  costOf,
  DONE_EVENT,
  errorBody,
  eventOf,
  fieldOf,
  limitOf,
  listOf,
  modelOf,
  namedModels,
  PROCESSING_COMMENT,
  upstreamErrorBody,
  upstreamMessage,
  usageOf,
  type CallShape,
  type EventWriter,
  type Incoming,
  type Json,
  type Served,
  type Wire,
} from './wire.ts';

/** What an image counts that a chat model draws, where the script says nothing else. */
const TOKENS_PER_IMAGE = 1290;

function read(incoming: Incoming): CallShape | Refusal {
  const { body } = incoming;
  if (!Array.isArray(body['messages'])) {
    return { status: 400, message: 'Input required: specify "prompt" or "messages"' };
  }
  const route = namedModels(incoming);
  if ('status' in route) return route;
  const limit = limitOf(body, ['max_tokens', 'max_completion_tokens']);
  if (typeof limit === 'object') return limit;
  const messages = body['messages'] as unknown[];
  const tools = listOf(body['tools']);
  const parts = messages.flatMap((message) => listOf(fieldOf(message, 'content')));
  const n = body['n'];
  return {
    ...route,
    stream: body['stream'] === true,
    messages,
    tools,
    inputTokens: tokensOfPrompt(messages, tools),
    limit,
    choices: Number.isSafeInteger(n) && (n as number) > 1 ? (n as number) : 1,
    imagesIn: parts.filter((part) => fieldOf(part, 'type') === 'image_url').length,
    imagesOut: { count: 0, tokensEach: TOKENS_PER_IMAGE },
  };
}

function usage(served: Served, line: BillLine): { usage?: unknown } {
  const isOpenai = served.dialect === 'openai';
  return usageOf(served, line, (counts) => ({
    prompt_tokens: counts.promptTokens,
    completion_tokens: counts.completionTokens,
    total_tokens: counts.promptTokens + counts.completionTokens,
    ...costOf(served, line),
    prompt_tokens_details: {
      cached_tokens: counts.cacheReadTokens,
      audio_tokens: counts.inputAudioTokens,
      ...(!isOpenai && { cache_write_tokens: counts.cacheWriteTokens, video_tokens: 0 }),
    },
    completion_tokens_details: {
      reasoning_tokens: counts.reasoningTokens,
      ...(isOpenai
        ? { audio_tokens: 0, accepted_prediction_tokens: 0, rejected_prediction_tokens: 0 }
        : { image_tokens: counts.imageTokens }),
    },
  }));
}

function head(served: Served, object: string): Json {
  const { created, dialect, id, provider } = served;
  return {
    id,
    ...(dialect === 'openrouter' && { provider }),
    ...modelOf(served),
    object,
    created,
    ...(dialect === 'openai' && { service_tier: 'default', system_fingerprint: null }),
  };
}

/** OpenRouter also says the upstream's own word for why it ended. */
function ending(served: Served, reason: string | null): Json {
  return {
    finish_reason: reason,
    ...(served.dialect === 'openrouter' && { native_finish_reason: reason }),
    logprobs: null,
  };
}

function reasoningFields(text: string): Json {
  return {
    reasoning: text,
    reasoning_details: [{ type: 'reasoning.text', text, format: 'unknown', index: 0 }],
  };
}

function imageField(base64: string): Json {
  return { type: 'image_url', image_url: { url: `data:image/png;base64,${base64}` } };
}

function whole(served: Served, line: BillLine): Json {
  const { answer, dialect } = served;
  const { images, reasoning, toolCalls } = answer;
  const isOpenai = dialect === 'openai';
  const message = {
    role: 'assistant',
    content: isOpenai && answer.text === '' && toolCalls.length > 0 ? null : answer.text,
    refusal: null,
    // OpenAI's models keep to themselves what they thought.
    ...(!isOpenai && (reasoning === '' ? { reasoning: null } : reasoningFields(reasoning))),
    ...(isOpenai && { annotations: [] }),
    ...(images.length > 0 && { images: images.map(imageField) }),
    ...(toolCalls.length > 0 && {
      tool_calls: toolCalls.map(({ id, name, arguments: json }, index) => ({
        ...(!isOpenai && { index }),
        id,
        type: 'function',
        function: { name, arguments: json },
      })),
    }),
  };
  return {
    ...head(served, 'chat.completion'),
    choices: Array.from({ length: answer.choices }, (_, index) => ({
      index,
      ...ending(served, answer.finishReason),
      message,
    })),
    ...usage(served, line),
  };
}

/** The `delta` of a piece; `undefined` for what OpenAI doesn't show. */
function deltaOf(piece: Piece, served: Served): Json | undefined {
  const { block, first, text } = piece;
  const role = { role: 'assistant' };
  if (block.kind === 'text') return { ...role, content: text };
  if (block.kind === 'image') return { ...role, content: '', images: [imageField(text)] };
  if (block.kind !== 'tool') {
    return served.dialect === 'openai' ? undefined : { ...role, content: '', ...reasoningFields(text) };
  }
  const { id, index, name } = block;
  const named = { index, id, type: 'function', function: { name, arguments: '' } };
  const call = first ? named : { index, function: { arguments: text } };
  return { ...role, content: null, tool_calls: [call] };
}

const EMPTY_DELTA: Json = { role: 'assistant', content: '' };

function events(served: Served): EventWriter {
  const { answer, dialect, fault, request } = served;
  const isOpenai = dialect === 'openai';
  // OpenRouter always tells the usage, OpenAI only where it is asked to.
  const tells = !isOpenai || fieldOf(request.body['stream_options'], 'include_usage') === true;
  const chunk = (choices: readonly Json[], more: Json = {}): string =>
    eventOf({
      ...head(served, 'chat.completion.chunk'),
      choices,
      ...(isOpenai && tells && { usage: null }),
      ...more,
    });
  const choice = (index: number, delta: Json, reason: string | null): Json => ({
    index,
    delta,
    ...ending(served, reason),
  });
  const ofEach = (delta: Json, reason: string | null): string =>
    Array.from({ length: answer.choices }, (_, index) => chunk([choice(index, delta, reason)])).join('');
  return {
    start: () => (isOpenai ? '' : PROCESSING_COMMENT),
    piece(piece) {
      const delta = deltaOf(piece, served);
      return delta ? ofEach(delta, null) : '';
    },
    end(line) {
      const bare = isOpenai || fault?.kind === 'usage-without-choices';
      const told = usage(served, line);
      const last = tells && 'usage' in told ? chunk(bare ? [] : [choice(0, EMPTY_DELTA, null)], told) : '';
      return ofEach(isOpenai ? {} : EMPTY_DELTA, answer.finishReason) + last + DONE_EVENT;
    },
    failure() {
      if (fault?.kind === 'error-body') return eventOf(upstreamErrorBody(served));
      if (isOpenai) return eventOf(upstreamErrorBody(served));
      const error = { code: 'server_error', message: upstreamMessage(dialect) };
      return chunk([choice(0, EMPTY_DELTA, 'error')], { error }) + DONE_EVENT;
    },
  };
}

export const CHAT: Wire = {
  name: 'chat',
  gives: 'text',
  ids: (dialect) => (dialect === 'openai' ? 'bare' : 'vendor'),
  idPrefix: (dialect) => (dialect === 'openai' ? 'chatcmpl-' : 'gen-'),
  read,
  refusal: errorBody,
  whole,
  failed: upstreamErrorBody,
  events,
};
