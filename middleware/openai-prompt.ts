/** What of a request's body costs input tokens: messages, items, tools, schemas, pictures, files. Pure. */
import type { PromptFile, PromptImage, PromptShape } from '../src/estimate.ts';
import { fieldsOf, isFields, json, listOf, textOf, type Fields } from '../src/wire/fields.ts';
import { BESIDE_MESSAGES } from '../src/wire/request-body.ts';

interface Collected {
  texts: string[];
  images: PromptImage[];
  files: PromptFile[];
}

function shapeOf({ texts, images, files }: Collected, messages: number, tools = 0): PromptShape {
  return {
    texts,
    messages,
    ...(tools > 0 && { tools }),
    ...(images.length > 0 && { images }),
    ...(files.length > 0 && { files }),
  };
}

function addImage(into: Collected, source: unknown): void {
  const url = isFields(source) ? source['url'] : source;
  into.images.push(typeof url === 'string' && url.startsWith('data:') ? { data: url } : {});
}

/** `data` is base64, with or without `data:…,` before it; without it the size isn't known. */
function addFile(into: Collected, data: unknown, otherwise = 'application/octet-stream'): void {
  const [, named] = /^data:([^;,]+)/.exec(typeof data === 'string' ? data.slice(0, 200) : '') ?? [];
  const mediaType = named ?? otherwise;
  if (typeof data !== 'string' || /^https?:/.test(data)) into.files.push({ mediaType });
  else into.files.push({ mediaType, byteLength: Math.ceil((data.length * 3) / 4) });
}

/** A part of a message, in chat completions or in responses. */
function addPart(into: Collected, part: unknown): void {
  if (typeof part === 'string') return void into.texts.push(part);
  const { type, text, refusal, image_url: image, ...rest } = fieldsOf(part);
  const words = textOf(text) ?? textOf(refusal);
  if (words !== undefined) return void into.texts.push(words);
  if (type === 'image_url' || type === 'input_image' || type === 'computer_screenshot')
    return addImage(into, image);
  if (type === 'input_audio') {
    const { data, format } = fieldsOf(rest['input_audio'] ?? rest);
    return addFile(into, data, `audio/${String(format)}`);
  }
  if (type === 'file' || type === 'input_file') {
    const { file_data: data, file_url: url, filename } = fieldsOf(rest['file'] ?? rest);
    into.texts.push(textOf(filename) ?? '');
    return addFile(into, data ?? url);
  }
  if (type === 'video_url' || type === 'input_video') return addFile(into, undefined, 'video/*');
  into.texts.push(json(part));
}

function addContent(into: Collected, content: unknown): void {
  if (typeof content === 'string') into.texts.push(content);
  else for (const part of listOf(content)) addPart(into, part);
}

/** What comes with every kind of prompt, each written out as the JSON that it is. */
function addJson(into: Collected, ...values: readonly unknown[]): void {
  for (const value of values) {
    if (value === undefined || value === null) continue;
    const text = json(value);
    if (text !== '{}' && text !== '[]') into.texts.push(text);
  }
}

/** A body of chat completions. */
export function chatShape(body: Fields): PromptShape {
  const into: Collected = { texts: [], images: [], files: [] };
  const messages = listOf(body['messages']);
  for (const message of messages) {
    const { role: _, content, audio, ...rest } = fieldsOf(message);
    addContent(into, content);
    // an answer in sound that the provider has kept
    if (isFields(audio)) into.files.push({ mediaType: 'audio/*' });
    addJson(into, rest);
  }
  const { tools, functions, response_format: format } = body;
  const own = [...listOf(tools), ...listOf(functions)];
  addJson(into, ...BESIDE_MESSAGES.map((name) => body[name]));
  addJson(into, ...own, fieldsOf(format)['json_schema']);
  return shapeOf(into, messages.length, own.length);
}

/** An item of the input of responses: a message, a call of a tool or what it gave back, reasoning. */
function addItem(into: Collected, item: unknown): void {
  if (!isFields(item)) return addContent(into, item);
  const { type, role, content, output, ...rest } = item;
  if (role !== undefined || type === 'message') return addContent(into, content);
  if (typeof type === 'string' && type.endsWith('_output')) {
    if (typeof output === 'string') into.texts.push(output);
    else if (Array.isArray(output)) addContent(into, output);
    else addPart(into, output);
    return addJson(into, rest);
  }
  addContent(into, content);
  addJson(into, rest, output);
}

/** A body of responses. */
export function responsesShape(body: Fields): PromptShape {
  const into: Collected = { texts: [], images: [], files: [] };
  const { input, instructions, tools, text } = body;
  addContent(into, instructions);
  if (typeof input === 'string') into.texts.push(input);
  const items = listOf(input);
  for (const item of items) addItem(into, item);
  const own = listOf(tools);
  addJson(into, ...own, fieldsOf(text)['format']);
  return shapeOf(into, Math.max(1, items.length) + (instructions == null ? 0 : 1), own.length);
}

/** One input of embeddings or legacy completions, or several: texts, or tokens as numbers. */
export interface Inputs {
  texts: string[];
  tokens: number;
  /** How many there are. */
  count: number;
}

/** What stands in `input` or `prompt`; `undefined` for what is neither text nor tokens. */
export function inputsIn(value: unknown): Inputs | undefined {
  if (typeof value === 'string') return { texts: [value], tokens: 0, count: 1 };
  const list = listOf(value);
  if (list.length === 0) return undefined;
  if (list.every((each) => typeof each === 'number')) return { texts: [], tokens: list.length, count: 1 };
  const inputs: Inputs = { texts: [], tokens: 0, count: list.length };
  for (const each of list) {
    if (typeof each === 'string') inputs.texts.push(each);
    else if (Array.isArray(each) && each.every((one) => typeof one === 'number'))
      inputs.tokens += each.length;
    else return undefined;
  }
  return inputs;
}

/** A body of the images API, where every picture has the size that costs most. */
export function imagesShape({ prompt, image, images, mask }: Fields): PromptShape {
  const into: Collected = { texts: [], images: [], files: [] };
  addContent(into, prompt);
  for (const each of [image, images, mask].flat()) if (each != null) into.images.push({});
  return shapeOf(into, 1);
}
