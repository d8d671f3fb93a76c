/** What pictures that a model draws can cost. Pure. */
import type { ReportedUsage } from '../usage.ts';

/** Models whose pictures have a known number of tokens at these sizes. */
export const COUNTED_IN_TOKENS = /^(openai\/)?gpt-image-1(-mini|\.5)?(-\d{4}-\d\d-\d\d)?$/;
const SIZES: ReadonlySet<unknown> = new Set([undefined, null, 'auto', '1024x1024', '1024x1536', '1536x1024']);

/** 6240 at high quality and 1024x1536; the rest is room for partial pictures and words. */
export const TOKENS_PER_PICTURE = 8192;

/** Why a picture's tokens can't be bounded, where they can't. Pictures sold by the piece are among those. */
export function pictureUnbounded(model: string, size: unknown): string | undefined {
  const isCounted = COUNTED_IN_TOKENS.test(model);
  if (isCounted && SIZES.has(size)) return undefined;
  const what = isCounted ? 'pictures of this size' : `pictures of ${model}`;
  return `nobody says how many tokens ${what} have at most. Draw them without the guard, and put their cost on its caps with guard.charge({ label, usd })`;
}

/**
 * The usage of a drawing. What its answer doesn't tell apart counts as pictures, which cost more than words: all of
 * the answer, and all of the prompt where that `hasPictures`.
 */
export function drawnUsage(usage: ReportedUsage, hasPictures: boolean): ReportedUsage {
  const { inputTokens, outputTokens, inputImageTokens, outputImageTokens } = usage;
  return {
    ...usage,
    inputImageTokens: inputImageTokens ?? (hasPictures ? inputTokens : 0),
    outputImageTokens: outputImageTokens ?? outputTokens,
  };
}
