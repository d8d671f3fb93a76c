/**
 * How many input tokens a prompt has at most: `fast` is an estimate with a margin, `strict` a bound that no
 * tokenizer working on bytes can pass. Pure and synchronous; needs nothing but the language.
 */
import { scanText } from './estimate-text.ts';
import { imageTokens, modelFamily, type ModelFamily, type PromptImage } from './estimate-image.ts';

export type { PromptImage } from './estimate-image.ts';

/** A file of a prompt that goes to the model as it is (PDF, sound, plain text). */
export interface PromptFile {
  mediaType: string;
  byteLength?: number;
}

/** What of a prompt costs tokens. Base64 of images belongs to `images`, never to `texts`. */
export interface PromptShape {
  /** Every text that the model reads: messages, tool results, and the JSON of tools and schemas. */
  texts: readonly string[];
  messages: number;
  tools?: number;
  images?: readonly PromptImage[];
  files?: readonly PromptFile[];
}

export type EstimateMode = 'fast' | 'strict';

export interface EstimateOptions {
  /** Decides the family of tokenizer; unknown models are counted on the high side. */
  model?: string;
  /** Other models that may get the same prompt: the bound holds for the one that makes the most tokens of it. */
  otherModels?: readonly string[];
  /** Default `fast`. */
  mode?: EstimateMode;
  /**
   * A real tokenizer. Its answer is taken as it is, without a margin, in both modes; texts over 100 000
   * characters, throws, and answers that are no whole number of at least 0 go to the estimator instead.
   */
  countTokens?: (text: string) => number;
}

/** A little room for what the estimator's weights get wrong. */
const MARGIN = 1.15;

interface Factors {
  plain: number;
  complex: number;
  /** For each digit of a number, on top. */
  digits: number;
}

/**
 * How many tokens the families make of what o200k makes one of: Latin and CJK text, and the scripts of
 * `TextEstimate.complex`. For Claude up to 4.6 measured with its published vocabulary of 2023, for Claude
 * since 4.7 Anthropic's "up to 1.35 times" and third parties' 1.47 on top; a model that isn't known errs
 * high, and may take every digit by itself, as Mistral's and Gemma's vocabularies do.
 */
const FACTORS: Readonly<Record<ModelFamily, Factors>> = {
  o200k: { plain: 1, complex: 1, digits: 0 },
  'claude-4.6': { plain: 1.2, complex: 3.2, digits: 0 },
  'claude-4.7': { plain: 1.75, complex: 3.2, digits: 0 },
  gemini: { plain: 1.5, complex: 3.2, digits: 0.4 },
  unknown: { plain: 1.5, complex: 3.2, digits: 0.4 },
};

/** Role, separators and names around a message: providers' own counts show 3 to 6. */
const TOKENS_PER_MESSAGE = 8;
/** What opens the reply and closes the prompt. */
const TOKENS_PER_CALL = 8;
/** The system prompt for tool use: Anthropic lists up to 530, 549 were measured; others take 24. */
const TOKENS_FOR_TOOL_USE = 600;
/** What is written around each tool's own JSON: 53 measured at Claude, 6 at GPT. */
const TOKENS_PER_TOOL = 60;

/** A tokenizer of the caller's may take more than linear time; beyond this length it isn't asked. */
const LONGEST_COUNTED_TEXT = 100_000;

/**
 * A file of unknown format in `fast` mode: a token for every 8 bytes (sound at 16 kbit/s is one for 60, a
 * page of PDF has a few thousand bytes and about 3000 tokens), at least 8000, and 100 000 where its size is
 * unknown.
 */
const BYTES_PER_FILE_TOKEN = 8;
const LEAST_FILE_TOKENS = 8_000;
const UNSIZED_FILE_TOKENS = 100_000;

/** `text/plain; charset=utf-8` and formats that are text by another name. */
const TEXT_TYPE =
  /^(text\/|application\/(.+\+)?(json|xml|yaml|x-yaml|toml|javascript|typescript|sql|x-sh)\b)/;

/**
 * The likeliest number of tokens in terms of OpenAI's o200k vocabulary, without any margin. One linear pass.
 */
export function estimateTextTokens(text: string): number {
  const { plain, complex } = scanText(text);
  return Math.ceil(plain + complex);
}

/** Length in UTF-8; half a surrogate pair counts as the three bytes of the replacement character. */
function utf8Length(text: string): number {
  let bytes = text.length;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x80) continue;
    bytes += unit < 0x800 ? 1 : 2;
    const isPair = unit >= 0xd800 && unit <= 0xdbff && (text.charCodeAt(i + 1) & 0xfc00) === 0xdc00;
    if (isPair) i += 1;
  }
  // a pair is two units and four bytes: 2 + 2 above, and its second unit was passed over
  return bytes;
}

/**
 * A token stands for at least one byte, so the UTF-8 length is a bound; some tokenizers normalise first, and
 * NFKC can make a text longer (one ligature of 3 bytes becomes 33).
 */
function byteBound(text: string): number {
  const bytes = utf8Length(text);
  return bytes === text.length ? bytes : Math.max(bytes, utf8Length(text.normalize('NFKC')));
}

function pluggedCount(text: string, countTokens: EstimateOptions['countTokens']): number | undefined {
  if (countTokens === undefined || text.length > LONGEST_COUNTED_TEXT) return undefined;
  try {
    const count = countTokens(text);
    return Number.isSafeInteger(count) && count >= 0 ? count : undefined;
  } catch {
    return undefined;
  }
}

function dearestFactors(models: readonly (string | undefined)[]): Factors {
  const dearest = { plain: 0, complex: 0, digits: 0 };
  for (const model of models) {
    const factors = FACTORS[modelFamily(model)];
    for (const part of ['plain', 'complex', 'digits'] as const)
      dearest[part] = Math.max(dearest[part], factors[part]);
  }
  return dearest;
}

function boundText(text: string, factors: Factors, options: EstimateOptions): number {
  const counted = pluggedCount(text, options.countTokens);
  if (counted !== undefined) return counted;
  if (options.mode === 'strict') return byteBound(text);
  const { plain, complex, digits } = scanText(text);
  const sum = plain * factors.plain + complex * factors.complex + digits * factors.digits;
  const guess = Math.ceil(sum * MARGIN);
  // the estimate is below the length of most texts, and then the dearer byte count isn't needed
  return guess <= text.length ? guess : Math.min(guess, byteBound(text));
}

function boundFile(file: PromptFile, mode: EstimateMode): number | { unbounded: string } {
  const { mediaType, byteLength } = file;
  const isSized = byteLength !== undefined && Number.isSafeInteger(byteLength) && byteLength >= 0;
  const isText = TEXT_TYPE.test(mediaType.toLowerCase());
  if (isText && isSized) return byteLength;
  if (mode === 'fast') {
    if (!isSized) return UNSIZED_FILE_TOKENS;
    return Math.max(LEAST_FILE_TOKENS, Math.ceil(byteLength / BYTES_PER_FILE_TOKEN));
  }
  const reason = isText ? 'its length is unknown' : 'its tokens depend on its contents';
  return { unbounded: `a file of type ${JSON.stringify(mediaType.slice(0, 80))} has no bound: ${reason}` };
}

/**
 * The most input tokens that this prompt can have. `fast` (the default) is the estimate times the factor of
 * the model's family and a margin, never above the byte bound; `strict` is the byte bound. Both add images by
 * their size, else by the family's cap, and what providers write around messages and tools.
 *
 * `unbounded` says in words why there is no bound; only `strict` mode gives it, for files whose tokens can't
 * be known from outside. Never throws.
 */
export function boundInputTokens(
  shape: PromptShape,
  options: EstimateOptions = {},
): { tokens: number } | { unbounded: string } {
  const models = [options.model, ...(options.otherModels ?? [])];
  const factors = dearestFactors(models);
  const tools = shape.tools ?? 0;
  let tokens = TOKENS_PER_CALL + TOKENS_PER_MESSAGE * shape.messages;
  if (tools > 0) tokens += TOKENS_FOR_TOOL_USE + TOKENS_PER_TOOL * tools;
  for (const text of shape.texts) tokens += boundText(text, factors, options);
  for (const image of shape.images ?? []) {
    tokens += Math.max(...models.map((model) => imageTokens(image, model)));
  }
  for (const file of shape.files ?? []) {
    const bound = boundFile(file, options.mode ?? 'fast');
    if (typeof bound !== 'number') return bound;
    tokens += bound;
  }
  return { tokens };
}
