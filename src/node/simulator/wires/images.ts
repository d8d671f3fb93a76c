/** `POST /images/generations`, which is OpenAI's, and `POST /images`, which is OpenRouter's and counts in its words. */
import type { BillLine } from '../bill.ts';
import type { Refusal } from '../models.ts';
import { tokensOfText } from '../script.ts';
import {
  costOf,
  errorBody,
  listOf,
  namedEvent,
  namedModels,
  upstreamErrorBody,
  upstreamMessage,
  usageOf,
  type Body,
  type CallShape,
  type Dialect,
  type EventWriter,
  type Incoming,
  type Json,
  type Served,
  type Wire,
} from './wire.ts';

/** Output tokens of an image by quality: square, upright, wide. OpenAI's table for gpt-image-1. */
const TOKENS: Readonly<Record<string, readonly [number, number, number]>> = {
  low: [272, 408, 400],
  medium: [1056, 1584, 1568],
  high: [4160, 6240, 6208],
};

function tokensEach(size: unknown, quality: unknown): number {
  const shapes = TOKENS[String(quality)] ?? [4160, 6240, 6208];
  const [, width, height] = /^(\d+)x(\d+)$/.exec(String(size)) ?? [];
  if (Number(width) === Number(height) || width === undefined) return shapes[0];
  return Number(height) > Number(width) ? shapes[1] : shapes[2];
}

const MOST_IMAGES = 10;

/** What is to be drawn as a call's shape, or a refusal. */
export function shapeOfDrawing(body: Body, imagesIn: number): Omit<CallShape, 'named'> | Refusal {
  const { prompt, quality, size, stream } = body;
  if (typeof prompt !== 'string') return { status: 400, message: "Missing required parameter: 'prompt'." };
  const count = body['n'] ?? 1;
  if (!Number.isSafeInteger(count) || (count as number) < 1 || (count as number) > MOST_IMAGES) {
    return { status: 400, message: `Invalid 'n': expected an integer from 1 to ${MOST_IMAGES}` };
  }
  return {
    stream: stream === true,
    messages: [{ role: 'user', content: prompt }],
    tools: [],
    inputTokens: tokensOfText(prompt),
    limit: undefined,
    imagesIn,
    imagesOut: { count: count as number, tokensEach: tokensEach(size, quality) },
  };
}

function read(incoming: Incoming): CallShape | Refusal {
  const { body } = incoming;
  const shape = shapeOfDrawing(body, listOf(body['input_references']).length);
  if ('status' in shape) return shape;
  const route = namedModels(incoming);
  return 'status' in route ? route : { ...route, ...shape };
}

function routedUsage(served: Served, line: BillLine): { usage?: unknown } {
  return usageOf(served, line, (counts) => ({
    prompt_tokens: counts.promptTokens,
    completion_tokens: counts.completionTokens,
    total_tokens: counts.promptTokens + counts.completionTokens,
    ...costOf(served, line),
  }));
}

function usage(served: Served, line: BillLine): { usage?: unknown } {
  return usageOf(served, line, (counts) => ({
    input_tokens: counts.promptTokens,
    input_tokens_details: { text_tokens: counts.promptTokens, image_tokens: 0 },
    output_tokens: counts.completionTokens,
    total_tokens: counts.promptTokens + counts.completionTokens,
    ...costOf(served, line),
  }));
}

function look({ request }: Served): Json {
  const { background = 'auto', output_format = 'png', quality = 'auto', size = '1024x1024' } = request.body;
  return { background, output_format, quality, size };
}

function drawn(served: Served): Json {
  return {
    created: served.created,
    ...look(served),
    data: served.answer.images.map((b64_json) => ({ b64_json })),
  };
}

function events(served: Served): EventWriter {
  const image = { created_at: served.created, ...look(served) };
  const last = served.answer.images.at(-1) ?? '';
  let index = 0;
  return {
    start: () => '',
    piece({ block, text }) {
      if (block.kind !== 'image') return '';
      index += 1;
      const partial = { b64_json: text, partial_image_index: index - 1, ...image };
      return namedEvent('image_generation.partial_image', partial);
    },
    end: (line) =>
      namedEvent('image_generation.completed', { b64_json: last, ...image, ...usage(served, line) }),
    failure: () =>
      namedEvent('error', { error: { code: 'server_error', message: upstreamMessage(served.dialect) } }),
  };
}

/** These APIs never name the model that served. */
const SHARED = {
  name: 'images' as const,
  gives: 'image' as const,
  ids: (dialect: Dialect) => (dialect === 'openai' ? ('bare' as const) : ('vendor' as const)),
  idPrefix: () => 'gen-',
  read,
  refusal: errorBody,
  failed: upstreamErrorBody,
};

export const IMAGES: Wire = {
  ...SHARED,
  whole: (served, line) => ({ ...drawn(served), ...usage(served, line) }),
  events,
};

/** OpenRouter's own, which doesn't stream here. */
export const ROUTED_IMAGES: Wire = {
  ...SHARED,
  whole: (served, line) => ({ ...drawn(served), ...routedUsage(served, line) }),
};
