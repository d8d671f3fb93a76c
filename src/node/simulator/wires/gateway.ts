/** What the AI SDK and Vercel's AI Gateway say to each other: `POST …/ai/language-model`, specification 2 to 4. */
import { usdText, type BillLine } from '../bill.ts';
import type { Refusal } from '../models.ts';
import { blocksOf, blockwise, type Block } from '../pieces.ts';
import { tokensOfPrompt, type Answer } from '../script.ts';
import { shapeOfTexts, vectorsOf } from './embeddings.ts';
import { shapeOfDrawing } from './images.ts';
import {
  DONE_EVENT,
  eventOf,
  fieldOf,
  limitOf,
  listOf,
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
  403: 'forbidden',
  404: 'model_not_found',
  424: 'failed_dependency',
  429: 'rate_limit_exceeded',
};

function errorOf({ message, status }: Refusal): Json {
  const type = ERROR_TYPES[status] ?? (status >= 500 ? 'internal_server_error' : 'invalid_request_error');
  return { error: { message, type, param: null, code: type } };
}

/** The models of a call: one in a header, fallbacks in the options of the gateway. */
function namedBy({ body, headers }: Incoming, header: string): readonly string[] | Refusal {
  const model = headers[header];
  if (!model) return { status: 400, message: `Missing header: ${header}` };
  const fallbacks = listOf(fieldOf(fieldOf(body['providerOptions'], 'gateway'), 'models'));
  return [model, ...fallbacks.filter((id) => typeof id === 'string')];
}

function read(incoming: Incoming): CallShape | Refusal {
  const { body, headers } = incoming;
  const named = namedBy(incoming, 'ai-language-model-id');
  if ('status' in named) return named;
  if (!Array.isArray(body['prompt'])) return { status: 400, message: 'Invalid input: prompt' };
  const limit = limitOf(body, ['maxOutputTokens']);
  if (typeof limit === 'object') return limit;
  const messages = body['prompt'] as unknown[];
  const tools = listOf(body['tools']);
  const parts = messages.flatMap((message) => listOf(fieldOf(message, 'content')));
  return {
    named,
    stream: headers['ai-language-model-streaming'] === 'true',
    messages,
    tools,
    inputTokens: tokensOfPrompt(messages, tools),
    limit,
    imagesIn: parts.filter((part) => String(fieldOf(part, 'mediaType')).startsWith('image/')).length,
    imagesOut: { count: 0, tokensEach: 1290 },
  };
}

/** Results of specification 2 count in plain numbers, later ones by kind. */
function isSecond({ request }: Served): boolean {
  return request.headers['ai-language-model-specification-version'] === '2';
}

function usage(served: Served, line: BillLine): { usage?: unknown } {
  return usageOf(served, line, (counts) => {
    const { cacheReadTokens, cacheWriteTokens, completionTokens, promptTokens, reasoningTokens } = counts;
    if (isSecond(served)) {
      return {
        inputTokens: promptTokens,
        outputTokens: completionTokens,
        totalTokens: promptTokens + completionTokens,
        reasoningTokens,
        cachedInputTokens: cacheReadTokens,
      };
    }
    return {
      inputTokens: {
        total: promptTokens,
        noCache: promptTokens - cacheReadTokens - cacheWriteTokens,
        cacheRead: cacheReadTokens,
        cacheWrite: cacheWriteTokens,
      },
      outputTokens: {
        total: completionTokens,
        text: completionTokens - reasoningTokens,
        reasoning: reasoningTokens,
      },
    };
  });
}

const FINISH_REASONS: Readonly<Record<string, string>> = {
  stop: 'stop',
  length: 'length',
  tool_calls: 'tool-calls',
  content_filter: 'content-filter',
};

function finishOf({ finishReason }: Answer, second: boolean): unknown {
  const unified = FINISH_REASONS[finishReason] ?? 'other';
  return second ? unified : { unified, raw: finishReason };
}

/** What the gateway says of the route and the price. The cost is a decimal string, and zero with an own key. */
function metadata(served: Served, line: BillLine): Json {
  const { fault, id, model, provider, request } = served;
  const name = provider.toLowerCase();
  const cost = fault?.kind === 'zero-usage' ? '0' : usdText(line.creditsNanoUsd);
  const attempt = { provider: name, credentialType: line.isByok ? 'byok' : 'system', success: true };
  return {
    gateway: {
      routing: {
        originalModelId: request.model,
        ...(model !== undefined && { resolvedProviderApiModelId: model.slice(model.indexOf('/') + 1) }),
        ...(model !== undefined && { canonicalSlug: model }),
        resolvedProvider: name,
        finalProvider: name,
        attempts: [attempt],
        modelAttemptCount: 1,
      },
      ...(fault?.kind !== 'no-usage' && { cost, marketCost: cost }),
      generationId: id,
    },
  };
}

/** A file's data has a type of its own since specification 4. */
function contentOf(served: Served, block: Block): Json {
  if (block.kind === 'image') {
    const isFourth = served.request.headers['ai-language-model-specification-version'] === '4';
    const data = isFourth ? { type: 'data', data: block.text } : block.text;
    return { type: 'file', mediaType: 'image/png', data };
  }
  if (block.kind !== 'tool') return { type: block.kind, text: block.text };
  return { type: 'tool-call', toolCallId: block.id, toolName: block.name, input: block.text };
}

function responseOf({ created, id, model }: Served): Json {
  return {
    id,
    timestamp: new Date(created * 1000).toISOString(),
    ...(model !== undefined && { modelId: model }),
  };
}

/** The gateway always sends a usage; one that is missing upstream has no figures. */
function toldUsage(served: Served, line: BillLine): unknown {
  const told = usage(served, line);
  if ('usage' in told) return told.usage;
  return isSecond(served) ? {} : { inputTokens: {}, outputTokens: {} };
}

function whole(served: Served, line: BillLine): Json {
  const { answer, pieces } = served;
  const blocks = blocksOf(pieces).filter(({ kind, text }) => text !== '' || kind === 'tool');
  return {
    content: blocks.map((block) => contentOf(served, block)),
    finishReason: finishOf(answer, isSecond(served)),
    usage: toldUsage(served, line),
    providerMetadata: metadata(served, line),
    response: responseOf(served),
    warnings: [],
  };
}

const FAILURE: Refusal = { status: 502, message: 'The provider returned an error' };

function events(served: Served): EventWriter {
  const { answer, fault } = served;
  const idOf = (block: Block, index: number): string => (block.kind === 'tool' ? block.id : String(index));
  const named = { reasoning: 'reasoning', text: 'text', tool: 'tool-input', image: 'file' } as const;
  const blocks = blockwise({
    open(block, index) {
      if (block.kind === 'image') return eventOf(contentOf(served, block));
      const toolName = block.kind === 'tool' && { toolName: block.name };
      return eventOf({ type: `${named[block.kind]}-start`, id: idOf(block, index), ...toolName });
    },
    part(block, index, delta) {
      if (block.kind === 'image') return '';
      return eventOf({ type: `${named[block.kind]}-delta`, id: idOf(block, index), delta });
    },
    close(block, index) {
      if (block.kind === 'image') return '';
      const ended = eventOf({ type: `${named[block.kind]}-end`, id: idOf(block, index) });
      return block.kind === 'tool' ? ended + eventOf(contentOf(served, block)) : ended;
    },
  });
  return {
    start() {
      if (fault?.kind === 'error-body') return '';
      return (
        eventOf({ type: 'stream-start', warnings: [] }) +
        eventOf({ type: 'response-metadata', ...responseOf(served) })
      );
    },
    piece: (piece) => blocks.piece(piece),
    end(line) {
      const closed = blocks.end();
      const finish = {
        type: 'finish',
        finishReason: finishOf(answer, isSecond(served)),
        usage: toldUsage(served, line),
        providerMetadata: metadata(served, line),
      };
      return closed + eventOf(finish) + DONE_EVENT;
    },
    failure: () => eventOf({ type: 'error', ...errorOf(FAILURE) }) + DONE_EVENT,
  };
}

const SHARED = {
  ids: () => 'vendor' as const,
  idPrefix: () => 'gen_',
  refusal: errorOf,
  failed: () => errorOf(FAILURE),
};

export const GATEWAY: Wire = { ...SHARED, name: 'gateway', gives: 'text', read, whole, events };

/** `…/ai/embedding-model`. */
export const GATEWAY_EMBEDDINGS: Wire = {
  ...SHARED,
  name: 'embeddings',
  gives: 'embeddings',
  read(incoming) {
    const named = namedBy(incoming, 'ai-model-id');
    if ('status' in named) return named;
    // The first versions say `input`, the later ones `values`.
    const shape = shapeOfTexts(incoming.body['values'] ?? incoming.body['input']);
    return 'status' in shape ? shape : { ...shape, named };
  },
  whole: (served, line) => ({
    embeddings: vectorsOf(served),
    ...usageOf(served, line, ({ promptTokens }) => ({ tokens: promptTokens })),
    providerMetadata: metadata(served, line),
  }),
};

/** `…/ai/image-model`. */
export const GATEWAY_IMAGES: Wire = {
  ...SHARED,
  name: 'images',
  gives: 'image',
  read(incoming) {
    const named = namedBy(incoming, 'ai-model-id');
    if ('status' in named) return named;
    const shape = shapeOfDrawing(incoming.body, listOf(incoming.body['files']).length);
    return 'status' in shape ? shape : { ...shape, named, stream: false };
  },
  whole: (served, line) => ({
    images: served.answer.images,
    ...usageOf(served, line, ({ completionTokens, promptTokens }) => ({
      inputTokens: promptTokens,
      outputTokens: completionTokens,
      totalTokens: promptTokens + completionTokens,
    })),
    providerMetadata: metadata(served, line),
  }),
};
