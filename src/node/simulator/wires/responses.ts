/** `POST /responses`: the Responses API as OpenAI and OpenRouter speak it. */
import type { BillLine } from '../bill.ts';
import type { Refusal } from '../models.ts';
import { blocksOf, blockwise, type Block } from '../pieces.ts';
import { tokensOfPrompt } from '../script.ts';
import {
  costOf,
  errorBody,
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

function read(incoming: Incoming): CallShape | Refusal {
  const { body } = incoming;
  const { input, instructions } = body;
  if (typeof input !== 'string' && !Array.isArray(input)) {
    return { status: 400, message: "Missing required parameter: 'input'." };
  }
  const route = namedModels(incoming);
  if ('status' in route) return route;
  const limit = limitOf(body, ['max_output_tokens']);
  if (typeof limit === 'object') return limit;
  const messages = typeof input === 'string' ? [{ role: 'user', content: input }] : (input as unknown[]);
  const tools = listOf(body['tools']);
  const parts = messages.flatMap((item) => [
    ...listOf(fieldOf(item, 'content')),
    ...listOf(fieldOf(item, 'output')),
  ]);
  const prompt = typeof instructions === 'string' ? [{ instructions }, ...messages] : messages;
  return {
    ...route,
    stream: body['stream'] === true,
    messages,
    tools,
    inputTokens: tokensOfPrompt(prompt, tools),
    limit,
    imagesIn: parts.filter((part) => fieldOf(part, 'type') === 'input_image').length,
  };
}

function usage(served: Served, line: BillLine): { usage?: unknown } {
  return usageOf(served, line, (counts) => ({
    input_tokens: counts.promptTokens,
    input_tokens_details: {
      cached_tokens: counts.cacheReadTokens,
      ...(served.dialect === 'openrouter' && { cache_write_tokens: counts.cacheWriteTokens }),
    },
    output_tokens: counts.completionTokens,
    output_tokens_details: { reasoning_tokens: counts.reasoningTokens },
    total_tokens: counts.promptTokens + counts.completionTokens,
    ...costOf(served, line),
  }));
}

/** Why an answer is not whole, as the API says it; `undefined` where it is. */
function gapOf({ answer }: Served): string | undefined {
  if (answer.finishReason === 'length') return 'max_output_tokens';
  return answer.finishReason === 'content_filter' ? 'content_filter' : undefined;
}

const ITEM_PREFIX = { reasoning: 'rs', text: 'msg', image: 'ig', tool: 'fc' } as const;

function itemId(served: Served, block: Block, index: number): string {
  return `${ITEM_PREFIX[block.kind]}_${served.request.id}_${index}`;
}

function textPart(text: string): Json {
  return { type: 'output_text', text, annotations: [], logprobs: [] };
}

function summaryPart(text: string): Json {
  return { type: 'summary_text', text };
}

/** An output item: as it is announced, or whole. */
function itemOf(served: Served, block: Block, index: number, isWhole: boolean): Json {
  const id = itemId(served, block, index);
  const ended = gapOf(served) !== undefined && block === served.pieces.at(-1)?.block;
  const done = ended ? 'incomplete' : 'completed';
  const status = isWhole ? done : 'in_progress';
  if (block.kind === 'reasoning') {
    return { id, type: 'reasoning', summary: isWhole ? [summaryPart(block.text)] : [] };
  }
  if (block.kind === 'tool') {
    const { id: call_id, name } = block;
    return { id, type: 'function_call', status, call_id, name, arguments: isWhole ? block.text : '' };
  }
  if (block.kind === 'image') {
    return { id, type: 'image_generation_call', status, result: isWhole ? block.text : null };
  }
  return { id, type: 'message', status, role: 'assistant', content: isWhole ? [textPart(block.text)] : [] };
}

/** The response object; `more` has its status and what depends on it. */
function responseOf(served: Served, more: Json): Json {
  const { body } = served.request;
  return {
    id: served.id,
    object: 'response',
    created_at: served.created,
    error: null,
    incomplete_details: null,
    instructions: body['instructions'] ?? null,
    max_output_tokens: body['max_output_tokens'] ?? null,
    metadata: body['metadata'] ?? {},
    ...modelOf(served),
    output: [],
    parallel_tool_calls: body['parallel_tool_calls'] ?? true,
    previous_response_id: null,
    reasoning: { effort: null, summary: null },
    service_tier: 'default',
    store: body['store'] ?? true,
    temperature: body['temperature'] ?? 1,
    text: body['text'] ?? { format: { type: 'text' } },
    tool_choice: body['tool_choice'] ?? 'auto',
    tools: body['tools'] ?? [],
    top_p: body['top_p'] ?? 1,
    truncation: 'disabled',
    usage: null,
    user: null,
    ...more,
  };
}

function outputOf(served: Served): Json[] {
  return blocksOf(served.pieces).map((block, index) => itemOf(served, block, index, true));
}

function whole(served: Served, line: BillLine): Json {
  const reason = gapOf(served);
  const told = usage(served, line);
  const response = responseOf(served, {
    status: reason === undefined ? 'completed' : 'incomplete',
    ...(reason !== undefined && { incomplete_details: { reason } }),
    output: outputOf(served),
    ...told,
  });
  if (!('usage' in told)) delete response['usage'];
  return response;
}

function failureOf(served: Served): Json {
  const error = { code: 'server_error', message: upstreamMessage(served.dialect) };
  return responseOf(served, { status: 'failed', error });
}

/** Names of the events of a block; images have none of their own here. */
const PART_EVENTS = {
  reasoning: { part: 'response.reasoning_summary_part', text: 'response.reasoning_summary_text' },
  text: { part: 'response.content_part', text: 'response.output_text' },
  tool: { part: undefined, text: 'response.function_call_arguments' },
  image: { part: undefined, text: undefined },
} as const;

function partOf(block: Block, text: string): Json {
  return block.kind === 'reasoning' ? summaryPart(text) : textPart(text);
}

/** What the last event of a block's text says: all of it. */
function doneOf(block: Block): Json {
  if (block.kind === 'tool') return { name: block.name, arguments: block.text };
  return { text: block.text, ...(block.kind === 'text' && { logprobs: [] }) };
}

function events(served: Served): EventWriter {
  const { dialect, fault } = served;
  let number = 0;
  const event = (type: string, value: Json): string => {
    number += 1;
    return namedEvent(type, { sequence_number: number - 1, ...value });
  };
  const at = (block: Block, index: number): Json => ({
    item_id: itemId(served, block, index),
    output_index: index,
    ...(block.kind === 'reasoning' && { summary_index: 0 }),
    ...(block.kind === 'text' && { content_index: 0 }),
  });
  const blocks = blockwise({
    open(block, index) {
      const item = itemOf(served, block, index, false);
      const opened = event('response.output_item.added', { output_index: index, item });
      const { part } = PART_EVENTS[block.kind];
      if (part === undefined) return opened;
      return opened + event(`${part}.added`, { ...at(block, index), part: partOf(block, '') });
    },
    part(block, index, delta) {
      const { text } = PART_EVENTS[block.kind];
      if (text === undefined) return '';
      const logprobs = block.kind === 'text' && { logprobs: [] };
      return event(`${text}.delta`, { ...at(block, index), delta, ...logprobs });
    },
    close(block, index) {
      const { part, text } = PART_EVENTS[block.kind];
      let closed = '';
      if (text !== undefined) closed += event(`${text}.done`, { ...at(block, index), ...doneOf(block) });
      if (part !== undefined) {
        closed += event(`${part}.done`, { ...at(block, index), part: partOf(block, block.text) });
      }
      const item = itemOf(served, block, index, true);
      return closed + event('response.output_item.done', { output_index: index, item });
    },
  });
  return {
    start() {
      const comment = dialect === 'openrouter' ? PROCESSING_COMMENT : '';
      if (fault?.kind === 'error-body') return comment;
      const response = responseOf(served, { status: 'in_progress' });
      return comment + event('response.created', { response }) + event('response.in_progress', { response });
    },
    piece: (piece) => blocks.piece(piece),
    end(line) {
      const closed = blocks.end();
      const type = gapOf(served) === undefined ? 'response.completed' : 'response.incomplete';
      return closed + event(type, { response: whole(served, line) });
    },
    failure() {
      if (fault?.kind !== 'error-body') return event('response.failed', { response: failureOf(served) });
      return event('error', { code: 'server_error', message: upstreamMessage(dialect), param: null });
    },
  };
}

export const RESPONSES: Wire = {
  name: 'responses',
  gives: 'text',
  ids: (dialect) => (dialect === 'openai' ? 'bare' : 'vendor'),
  idPrefix: (dialect) => (dialect === 'openai' ? 'resp_' : 'gen-'),
  read,
  refusal: errorBody,
  whole,
  failed: failureOf,
  events,
};
