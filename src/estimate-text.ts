/**
 * Guesses how many tokens a text has: one pass over its UTF-16 units, no regular expression, no vocabulary.
 * An exact tokenizer has no place in the path of a request: 100 kB of one letter keep it busy for seconds.
 *
 * The weights were fitted by hand to the o200k vocabulary on prose, code and data (test/estimate.test.ts
 * holds the error table).
 */

/** A text's tokens in terms of o200k, in two parts, since other vocabularies are much worse at the second. */
export interface TextEstimate {
  /** Latin letters, digits, punctuation, Chinese, Japanese, Korean, emoji. */
  plain: number;
  /** Cyrillic, Greek, Hebrew, Arabic, the Indic scripts, Thai and their neighbours; Latin letters with rarer marks. */
  complex: number;
  /** Digits in numbers, which some vocabularies have one by one; o200k's threes are in `plain`. */
  digits: number;
}

const LOWER = 1;
const UPPER = 2;
const DIGIT = 3;
const SPACE = 4;
const NEWLINE = 5;
const PUNCTUATION = 6;

const ASCII_CLASS: Uint8Array = Uint8Array.from({ length: 128 }, (_, code) => {
  if (code >= 97 && code <= 122) return LOWER;
  if (code >= 65 && code <= 90) return UPPER;
  if (code >= 48 && code <= 57) return DIGIT;
  if (code === 32 || code === 9) return SPACE;
  return code === 10 || code === 13 ? NEWLINE : PUNCTUATION;
});

/** Letters that keep a run pronounceable; a long run with few of them is no word. */
const IS_VOWEL: Uint8Array = Uint8Array.from({ length: 128 }, (_, code) =>
  'aeiouyAEIOUY'.includes(String.fromCharCode(code)) ? 1 : 0,
);

/** Tokens per UTF-16 unit of the scripts beyond ASCII: [last unit, tokens, is complex]. Ascending. */
const SCRIPTS: readonly (readonly [number, number, boolean])[] = [
  [0x009f, 1.5, false], // C1 controls
  [0x00bf, 0.9, false], // Latin-1 signs
  [0x00ff, 0.7, false], // Latin letters with marks, which break the word that they stand in
  [0x024f, 1.35, true], // rarer ones
  [0x036f, 1.3, false], // phonetic letters, combining marks
  [0x03ff, 0.48, true], // Greek
  [0x052f, 0.3, true], // Cyrillic
  [0x058f, 0.45, true], // Armenian
  [0x05ff, 0.5, true], // Hebrew
  [0x06ff, 0.42, true], // Arabic
  [0x08ff, 1.5, true], // Syriac, Thaana, N'Ko and more Arabic
  [0x097f, 0.4, true], // Devanagari
  [0x0dff, 0.45, true], // the other Indic scripts
  [0x0e7f, 0.5, true], // Thai
  [0x0fff, 1.2, true], // Lao, Tibetan
  [0x109f, 0.7, true], // Burmese
  [0x10ff, 0.45, true], // Georgian
  [0x11ff, 2.5, false], // Hangul parts
  [0x137f, 1.8, true], // Ethiopic
  [0x177f, 2.5, true], // Cherokee, Canadian syllabics, ...
  [0x17ff, 0.85, true], // Khmer
  [0x1dff, 2.5, true], // Mongolian, ...
  [0x1eff, 0.3, false], // Vietnamese
  [0x1fff, 2, true], // ancient Greek
  [0x206f, 0.9, false], // dashes, quotation marks, joiners
  [0x2bff, 1.75, false], // arrows, mathematics, boxes, symbols
  [0x2fff, 2.6, false],
  [0x303f, 0.9, false], // Chinese and Japanese punctuation
  [0x30ff, 0.72, false], // kana
  [0x33ff, 2.5, false],
  [0x4dbf, 3, false], // rare ideographs
  [0x9fff, 0.78, false], // ideographs
  [0xabff, 2.8, true],
  [0xd7ff, 0.8, false], // Hangul
  [0xdfff, 1.1, false], // half of a surrogate pair: emoji, rare ideographs
  [0xfdff, 3, true],
  [0xfe0f, 1, false], // variation selectors
  [0xfeff, 2.8, true],
  [0xffff, 1.2, false], // full-width forms
];

function scriptOf(unit: number): readonly [number, number, boolean] {
  let low = 0;
  let high = SCRIPTS.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (unit <= (SCRIPTS[middle] as readonly [number, number, boolean])[0]) high = middle;
    else low = middle + 1;
  }
  return SCRIPTS[low] as readonly [number, number, boolean];
}

/** Tokens of one part of an identifier or of a word: letters of one case, or a capital and small letters. */
function wordTokens(length: number, vowels: number, isCapitals: boolean): number {
  if (length >= 7 && vowels * 6 < length) return length / 1.8;
  if (isCapitals) return length <= 3 ? 1 : length <= 12 ? 1 + (length - 3) / 3.5 : length / 1.7;
  if (length <= 7) return 1;
  return length <= 20 ? 1 + (length - 7) / 9 : length / 1.95;
}

function partTokens(kind: number, length: number, vowels: number): number {
  return kind === DIGIT ? Math.ceil(length / 3) : wordTokens(length, vowels, kind === UPPER);
}

/**
 * Tokens of a run of ASCII letters and digits that begins at `start`: words and camelCase by their parts,
 * numbers by threes, and what changes its kind too often (base64, hex, UUIDs, keys) by its length.
 */
function runTokens(text: string, start: number, end: number): number {
  let tokens = 0;
  let parts = 0;
  let partStart = start;
  let vowels = 0;
  let digits = 0;
  let previous = ASCII_CLASS[text.charCodeAt(start)] as number;
  for (let i = start; i < end; i++) {
    const unit = text.charCodeAt(i);
    const kind = ASCII_CLASS[unit] as number;
    const isSamePart = kind === previous || (previous === UPPER && kind === LOWER && i - partStart === 1);
    if (!isSamePart) {
      tokens += partTokens(previous, i - partStart, vowels);
      parts += 1;
      partStart = i;
      vowels = 0;
    }
    previous = kind;
    vowels += IS_VOWEL[unit] as number;
    if (kind === DIGIT) digits += 1;
  }
  tokens += partTokens(previous, end - partStart, vowels);
  parts += 1;
  const length = end - start;
  if (length < 8 || parts < 3 || length >= parts * 4.5) return tokens;
  const isCamel = digits === 0 && length >= parts * 3;
  return isCamel ? Math.max(tokens, length / 2.6) : Math.max(tokens, length / 1.5);
}

/** Estimates one text. Linear in its length, whatever it holds. */
export function scanText(text: string): TextEstimate {
  let plain = 0;
  let complex = 0;
  let digits = 0;
  let i = 0;
  while (i < text.length) {
    const unit = text.charCodeAt(i);
    if (unit >= 128) {
      const [, tokens, isComplex] = scriptOf(unit);
      if (isComplex) complex += tokens;
      else plain += tokens;
      i += 1;
      continue;
    }
    const kind = ASCII_CLASS[unit] as number;
    const start = i;
    if (kind <= DIGIT) {
      let others = 0;
      while (i < text.length) {
        const next = (ASCII_CLASS[text.charCodeAt(i)] as number | undefined) ?? 9;
        if (next > DIGIT) break;
        if (next !== DIGIT) others += 1;
        i += 1;
      }
      if (others === 0) digits += i - start;
      plain += runTokens(text, start, i);
      continue;
    }
    while (i < text.length && ASCII_CLASS[text.charCodeAt(i)] === kind) i += 1;
    plain += gapTokens(text, kind, start, i);
  }
  return { plain, complex, digits };
}

/**
 * Tokens of a run of spaces, line ends or punctuation. One space, and often one sign, belong to the next
 * word.
 */
function gapTokens(text: string, kind: number, start: number, end: number): number {
  const length = end - start;
  if (kind === SPACE) return length === 1 ? 0 : 0.9 + length / 80;
  if (kind === NEWLINE) return 0.65 + length / 15;
  if (length === 1) return 0.92;
  let changes = 0;
  for (let i = start + 1; i < end; i++) if (text.charCodeAt(i) !== text.charCodeAt(i - 1)) changes += 1;
  return 0.95 + changes * (length > 6 ? 0.68 : 0.44) + (length - 1 - changes) * 0.09;
}
