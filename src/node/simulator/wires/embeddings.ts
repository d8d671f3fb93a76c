/** `POST /embeddings`, in OpenRouter's form or OpenAI's own. */
import type { BillLine } from '../bill.ts';
import type { Refusal } from '../models.ts';
import { tokensOfText } from '../script.ts';
import {
  costOf,
  errorBody,
  modelOf,
  namedModels,
  upstreamErrorBody,
  usageOf,
  type CallShape,
  type Incoming,
  type Json,
  type Served,
  type Wire,
} from './wire.ts';

const DEFAULT_DIMENSIONS = 1536;

/** A list of numbers is one text that is already in tokens. */
function textsOf(input: unknown): unknown[] {
  if (typeof input === 'string') return [input];
  if (!Array.isArray(input)) return [];
  return typeof input[0] === 'number' ? [input] : (input as unknown[]);
}

function tokensOf(text: unknown): number {
  return Array.isArray(text)
    ? text.length
    : tokensOfText(typeof text === 'string' ? text : JSON.stringify(text));
}

/** The texts to embed as a call's shape, or a refusal. */
export function shapeOfTexts(input: unknown): Omit<CallShape, 'named'> | Refusal {
  const texts = textsOf(input);
  if (texts.length === 0) return { status: 400, message: "Missing required parameter: 'input'." };
  return {
    stream: false,
    messages: texts,
    tools: [],
    inputTokens: texts.reduce<number>((sum, text) => sum + tokensOf(text), 0),
    limit: undefined,
  };
}

function read(incoming: Incoming): CallShape | Refusal {
  const shape = shapeOfTexts(incoming.body['input']);
  if ('status' in shape) return shape;
  const route = namedModels(incoming);
  return 'status' in route ? route : { ...route, ...shape };
}

/** A direction of length one that depends on the text alone, so that equal texts are equal. */
function vectorOf(text: unknown, dimensions: number): number[] {
  let seed = 2_166_136_261;
  for (const character of JSON.stringify(text)) {
    seed = Math.imul(seed ^ (character.codePointAt(0) ?? 0), 16_777_619);
  }
  const values = Array.from({ length: dimensions }, () => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) | 0;
    return seed / 2 ** 31;
  });
  const length = Math.hypot(...values) || 1;
  return values.map((value) => Math.fround(value / length));
}

/** A vector for each text of the call, of as many `dimensions` as it asks for. */
export function vectorsOf({ request }: Served): number[][] {
  const { dimensions } = request.body;
  const size = typeof dimensions === 'number' ? dimensions : DEFAULT_DIMENSIONS;
  return request.messages.map((text) => vectorOf(text, size));
}

function asBase64(vector: readonly number[]): string {
  return Buffer.from(new Float32Array(vector).buffer).toString('base64');
}

function whole(served: Served, line: BillLine): Json {
  const isPacked = served.request.body['encoding_format'] === 'base64';
  return {
    object: 'list',
    data: vectorsOf(served).map((vector, index) => {
      return { object: 'embedding', index, embedding: isPacked ? asBase64(vector) : vector };
    }),
    ...modelOf(served),
    ...(served.dialect === 'openrouter' && { id: served.id, provider: served.provider }),
    ...usageOf(served, line, ({ promptTokens }) => ({
      prompt_tokens: promptTokens,
      total_tokens: promptTokens,
      ...costOf(served, line),
    })),
  };
}

export const EMBEDDINGS: Wire = {
  name: 'embeddings',
  gives: 'embeddings',
  ids: (dialect) => (dialect === 'openai' ? 'bare' : 'vendor'),
  idPrefix: () => 'gen-',
  read,
  refusal: errorBody,
  whole,
  failed: upstreamErrorBody,
};
