/** `POST /images/generations`, in OpenRouter's form or OpenAI's own. */
import type { BillLine } from '../bill.ts';
import type { Refusal } from '../models.ts';
import { tokensOfText } from '../script.ts';
import {
  costOf,
  errorBody,
  namedEvent,
  namedModels,
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

function read(incoming: Incoming): CallShape | Refusal {
  const { n = 1, prompt, quality, size, stream } = incoming.body;
  if (typeof prompt !== 'string') return { status: 400, message: "Missing required parameter: 'prompt'." };
  const count = n ?? 1;
  if (!Number.isSafeInteger(count) || (count as number) < 1 || (count as number) > MOST_IMAGES) {
    return { status: 400, message: `Invalid 'n': expected an integer from 1 to ${MOST_IMAGES}` };
  }
  const route = namedModels(incoming);
  if ('status' in route) return route;
  return {
    ...route,
    stream: stream === true,
    messages: [{ role: 'user', content: prompt }],
    tools: [],
    inputTokens: tokensOfText(prompt),
    limit: undefined,
    imagesOut: { count: count as number, tokensEach: tokensEach(size, quality) },
  };
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

function whole(served: Served, line: BillLine): Json {
  return {
    created: served.created,
    ...look(served),
    data: served.answer.images.map((b64_json) => ({ b64_json })),
    ...usage(served, line),
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

/** This API never names the model that served. */
export const IMAGES: Wire = {
  name: 'images',
  gives: 'image',
  ids: (dialect) => (dialect === 'openai' ? 'bare' : 'vendor'),
  idPrefix: () => 'gen-',
  read,
  refusal: errorBody,
  whole,
  failed: upstreamErrorBody,
  events,
};
