/**
 * What pictures cost in tokens: by width and height from their first bytes, else by the model family's cap.
 */

/** A picture of a prompt. Without `data`, or with a URL for it, the cap of the model's family is counted. */
export interface PromptImage {
  /** Raw bytes, or base64 text, with or without `data:image/png;base64,` before it. */
  data?: Uint8Array | string;
  mediaType?: string;
}

/** Models that count tokens alike. `claude-4.6` is Claude up to 4.6, `claude-4.7` what came after. */
export type ModelFamily = 'o200k' | 'claude-4.6' | 'claude-4.7' | 'gemini' | 'unknown';

interface Size {
  width: number;
  height: number;
}

/** Where the size stands in a JPEG depends on what comes before it (previews, colour profiles). */
const HEADER_BYTES = 65_536;

/** OpenAI's models with the o200k vocabulary. */
const O200K = /(^|\/)(ft:)?(chatgpt-4o|gpt-4o|gpt-4\.1|gpt-4\.5|gpt-5|gpt-oss|o1|o3|o4)($|[-.:@])/;
const CLAUDE_VERSION = /claude-(?:[a-z]+-)?(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)/;

/** The family of a model id, for counting only: prices never go by likeness. Unknown ids are `unknown`. */
export function modelFamily(model: string | undefined): ModelFamily {
  if (model === undefined || model.length > 200) return 'unknown';
  const id = model.toLowerCase();
  if (id.includes('gemini')) return 'gemini';
  if (id.includes('claude')) {
    const [, major, minor = '0'] = CLAUDE_VERSION.exec(id) ?? [];
    if (major === undefined) return 'claude-4.7';
    const version = Number(major) * 100 + Number(minor);
    return version < 407 ? 'claude-4.6' : 'claude-4.7';
  }
  return O200K.test(id) ? 'o200k' : 'unknown';
}

function base64Value(code: number): number {
  if (code >= 65 && code <= 90) return code - 65;
  if (code >= 97 && code <= 122) return code - 71;
  if (code >= 48 && code <= 57) return code + 4;
  if (code === 43 || code === 45) return 62;
  return code === 47 || code === 95 ? 63 : -1;
}

/**
 * The first bytes of base64 text in either alphabet; stops at the first sign that is neither base64 nor a
 * line end.
 */
function decodeStart(text: string, limit: number): Uint8Array {
  const isDataUrl = text.startsWith('data:');
  const comma = isDataUrl ? text.slice(0, 256).indexOf(',') : -1;
  if (isDataUrl && comma < 0) return new Uint8Array(0);
  const bytes = new Uint8Array(Math.min(limit, Math.ceil((text.length * 3) / 4)));
  let filled = 0;
  let bits = 0;
  let width = 0;
  for (let i = comma + 1; i < text.length && filled < bytes.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 10 || code === 13) continue;
    const value = base64Value(code);
    if (value < 0) break;
    bits = ((bits << 6) | value) & 0xffffff;
    width += 6;
    if (width < 8) continue;
    width -= 8;
    bytes[filled] = (bits >> width) & 0xff;
    filled += 1;
  }
  return bytes.subarray(0, filled);
}

function hasText(bytes: Uint8Array, at: number, text: string): boolean {
  for (let i = 0; i < text.length; i++) if (bytes[at + i] !== text.charCodeAt(i)) return false;
  return true;
}

/**
 * A JPEG is a row of segments; the size stands in the first "start of frame" (C0 to CF but C4, C8 and CC).
 */
function jpegSize(view: DataView): Size | undefined {
  let at = 2;
  while (at + 9 <= view.byteLength) {
    if (view.getUint8(at) !== 0xff) return undefined;
    const marker = view.getUint8(at + 1);
    if (marker === 0xff) {
      at += 1;
      continue;
    }
    const isFrame = marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
    if (isFrame) return { height: view.getUint16(at + 5), width: view.getUint16(at + 7) };
    at += 2 + Math.max(2, view.getUint16(at + 2));
  }
  return undefined;
}

/** The three kinds of WebP: lossy (VP8), lossless (VP8L) and extended (VP8X). */
function webpSize(bytes: Uint8Array, view: DataView): Size | undefined {
  if (view.byteLength < 30) return undefined;
  if (hasText(bytes, 12, 'VP8X')) {
    const width = view.getUint16(24, true) + view.getUint8(26) * 65_536 + 1;
    return { width, height: view.getUint16(27, true) + view.getUint8(29) * 65_536 + 1 };
  }
  if (hasText(bytes, 12, 'VP8L') && view.getUint8(20) === 0x2f) {
    const packed = view.getUint32(21, true);
    return { width: (packed & 0x3fff) + 1, height: ((packed >>> 14) & 0x3fff) + 1 };
  }
  if (!hasText(bytes, 12, 'VP8 ') || view.getUint8(23) !== 0x9d) return undefined;
  return { width: view.getUint16(26, true) & 0x3fff, height: view.getUint16(28, true) & 0x3fff };
}

/** Width and height in pixels, if the first bytes are those of a PNG, JPEG, GIF or WebP. */
export function imageSize(data: Uint8Array | string): Size | undefined {
  const bytes = typeof data === 'string' ? decodeStart(data, HEADER_BYTES) : data;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let size: Size | undefined;
  if (view.byteLength >= 24 && hasText(bytes, 1, 'PNG\r\n')) {
    size = { width: view.getUint32(16), height: view.getUint32(20) };
  } else if (view.byteLength >= 10 && hasText(bytes, 0, 'GIF8')) {
    size = { width: view.getUint16(6, true), height: view.getUint16(8, true) };
  } else if (view.byteLength >= 12 && hasText(bytes, 0, 'RIFF') && hasText(bytes, 8, 'WEBP')) {
    size = webpSize(bytes, view);
  } else if (view.byteLength >= 4 && bytes[0] === 0xff && bytes[1] === 0xd8) {
    size = jpegSize(view);
  }
  return size !== undefined && size.width > 0 && size.height > 0 ? size : undefined;
}

/**
 * Tiles of 512 pixels after OpenAI's scaling (inside 2048 x 2048, then the short side to 768), at high
 * detail.
 */
function tiles512({ width, height }: Size): number {
  const fit = Math.min(1, 2048 / Math.max(width, height));
  const scale = fit * Math.max(1, 768 / (Math.min(width, height) * fit));
  const within = (side: number): number => Math.ceil(Math.min(2048, side * scale) / 512);
  return Math.min(8, within(width) * within(height));
}

/** Squares of so many pixels that cover the picture. */
function squares({ width, height }: Size, side: number): number {
  return Math.ceil(width / side) * Math.ceil(height / side);
}

/** GPT at high detail: by tiles (85 + 170 each) or by squares of 32 pixels, at up to 1.72 tokens each. */
function gptImage(size: Size): number {
  return Math.max(85 + 170 * tiles512(size), 100 + Math.ceil(squares(size, 32) * 1.72));
}

/**
 * Tokens of one picture, per family: its formula, and the most that it charges for any picture. Claude scales
 * a picture down until it has no more than its cap; GPT-6's cap was seen at 12 megapixels. Secondary sources,
 * so each formula rounds up.
 */
const IMAGE_RULES: Readonly<Record<ModelFamily, { cap: number; tokens: (size: Size) => number }>> = {
  o200k: { cap: 12_000, tokens: gptImage },
  'claude-4.6': { cap: 1_660, tokens: (size) => squares(size, 27) },
  'claude-4.7': { cap: 4_784, tokens: (size) => squares(size, 27) },
  gemini: { cap: 4_200, tokens: (size) => Math.max(2_240, 258 * squares(size, 768)) },
  unknown: { cap: 16_000, tokens: (size) => Math.max(gptImage(size), 2_240, squares(size, 27)) },
};

/**
 * GPT-4o mini charges 2833 tokens and 5667 per tile, 33 times as many as GPT-4o, for the same amount of
 * money.
 */
const GPT_4O_MINI = /(^|\/)gpt-4o-mini/;

/** The most tokens that one picture takes from this model. */
export function imageTokens(image: PromptImage, model: string | undefined): number {
  const size = image.data === undefined ? undefined : imageSize(image.data);
  if (model !== undefined && GPT_4O_MINI.test(model)) {
    return 2_833 + 5_667 * (size === undefined ? 8 : tiles512(size));
  }
  const { cap, tokens } = IMAGE_RULES[modelFamily(model)];
  return size === undefined ? cap : Math.min(cap, tokens(size));
}
