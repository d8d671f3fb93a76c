/** What of LangChain's messages costs tokens: texts, images and files, never base64 as text. Pure. */
import type { PromptFile, PromptImage, PromptShape } from '../src/estimate.ts';
import { fieldsOf, isFields, json, listOf, textOf, type Fields } from '../src/wire/fields.ts';
import { longCacheOf, longest, type LongCache } from '../src/wire/hour-cache.ts';

interface Collected {
  texts: string[];
  images: PromptImage[];
  files: PromptFile[];
  longCache: LongCache | undefined;
}

/** A prompt in this package's words, and what cache it asks for. */
export interface ReadPrompt {
  shape: PromptShape;
  longCache: LongCache | undefined;
}

const IMAGE_TYPES: ReadonlySet<unknown> = new Set(['image', 'image_url', 'input_image']);
const FILE_TYPES: ReadonlySet<unknown> = new Set([
  'file',
  'input_file',
  'document',
  'audio',
  'input_audio',
  'video',
]);

/** What a part without a media type is: sound has rates of its own. */
const KINDS: Readonly<Record<string, string>> = {
  audio: 'audio/*',
  input_audio: 'audio/*',
  video: 'video/*',
};

/** Where the formats of providers and of LangChain keep the bytes of an image or a file, or their address. */
function payloadOf(part: Fields): { data: unknown; mediaType: string | undefined } {
  const { image_url: imageUrl, source, file, input_audio: audio } = part;
  const inner = [source, file, audio].find(isFields) ?? {};
  const url = isFields(imageUrl) ? imageUrl['url'] : imageUrl;
  const data =
    part['data'] ??
    url ??
    part['url'] ??
    inner['data'] ??
    inner['file_data'] ??
    part['file_data'] ??
    inner['url'];
  const mediaType = part['mimeType'] ?? part['mime_type'] ?? inner['media_type'] ?? part['media_type'];
  const [, named] = /^data:([^;,]+)/.exec(typeof data === 'string' ? data.slice(0, 200) : '') ?? [];
  return { data, mediaType: textOf(mediaType) ?? named };
}

function addImage(into: Collected, part: Fields): void {
  const { data, mediaType } = payloadOf(part);
  const isAddress = typeof data === 'string' && /^(https?|gs|s3|file):/.test(data);
  const bytes = data instanceof Uint8Array || (typeof data === 'string' && !isAddress) ? data : undefined;
  into.images.push({
    ...(bytes !== undefined && { data: bytes }),
    ...(mediaType !== undefined && { mediaType }),
  });
}

function addFile(into: Collected, part: Fields): void {
  const { data, mediaType } = payloadOf(part);
  const source = fieldsOf(part['source']);
  const plain = source['type'] === 'text' ? textOf(source['data']) : textOf(part['text']);
  if (plain !== undefined) {
    into.texts.push(plain);
    return;
  }
  if (Array.isArray(source['content'])) {
    for (const each of source['content']) addPart(into, each);
    return;
  }
  const isAddress = typeof data === 'string' && /^(https?|gs|s3|file):/.test(data);
  const byteLength =
    typeof data === 'string' && !isAddress
      ? Math.ceil((data.length * 3) / 4)
      : data instanceof Uint8Array
        ? data.byteLength
        : undefined;
  into.files.push({
    mediaType: mediaType ?? KINDS[String(part['type'])] ?? 'application/octet-stream',
    ...(byteLength !== undefined && { byteLength }),
  });
}

function addPart(into: Collected, part: unknown): void {
  if (typeof part === 'string') into.texts.push(part);
  if (!isFields(part)) return;
  into.longCache = longest(into.longCache, longCacheOf(part));
  const { type, text, content } = part;
  if (IMAGE_TYPES.has(type)) addImage(into, part);
  else if (FILE_TYPES.has(type)) addFile(into, part);
  else if (type === 'tool_result' && Array.isArray(content)) for (const each of content) addPart(into, each);
  else if (typeof text === 'string' && type !== 'reasoning') into.texts.push(text);
  else into.texts.push(json(part));
}

/** Tool calls, and what providers put beside the content: reasoning that goes back to the model. */
function addCalls(into: Collected, message: Fields): void {
  for (const call of listOf(message['tool_calls'])) {
    const { name, args, id } = fieldsOf(call);
    into.texts.push(json({ id, name, args }));
  }
  const {
    tool_calls: raw,
    function_call: single,
    reasoning_content: reasoning,
  } = fieldsOf(message['additional_kwargs']);
  if (listOf(message['tool_calls']).length === 0 && raw !== undefined) into.texts.push(json(raw));
  if (single !== undefined) into.texts.push(json(single));
  if (typeof reasoning === 'string') into.texts.push(reasoning);
  const { name, tool_call_id: answered } = message;
  for (const text of [name, answered]) if (typeof text === 'string') into.texts.push(text);
}

/** The messages of one call, or the prompts of a completion model. `extra` goes to the model beside them. */
export function readPrompt(messages: unknown, extra: { text?: string; tools?: number } = {}): ReadPrompt {
  const into: Collected = { texts: [], images: [], files: [], longCache: undefined };
  // a completion model streams one prompt, by itself
  const list = typeof messages === 'string' ? [messages] : listOf(messages);
  for (const message of list) {
    if (typeof message === 'string') into.texts.push(message);
    if (!isFields(message)) continue;
    const { content } = message;
    if (typeof content === 'string') into.texts.push(content);
    else for (const part of listOf(content)) addPart(into, part);
    addCalls(into, message);
  }
  if (extra.text !== undefined) into.texts.push(extra.text);
  const { tools = 0 } = extra;
  const shape: PromptShape = {
    texts: into.texts,
    messages: list.length,
    ...(tools > 0 && { tools }),
    ...(into.images.length > 0 && { images: into.images }),
    ...(into.files.length > 0 && { files: into.files }),
  };
  return { shape, longCache: into.longCache };
}

function hasMark(value: unknown): boolean {
  const { cache_control: snake, cacheControl: camel } = fieldsOf(value);
  return snake != null || camel != null;
}

/** True when a call asks for a prompt cache, whose writes cost more than other input: in its body, a tool or a message. */
export function asksForCache(messages: unknown, body: Fields): boolean {
  if (hasMark(body) || listOf(body['tools']).some(hasMark)) return true;
  return listOf(messages).some((message) => listOf(fieldsOf(message)['content']).some(hasMark));
}
