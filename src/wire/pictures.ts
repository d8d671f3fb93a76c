/** What pictures that a model draws can cost. Pure. */

/** Models whose pictures have a known number of tokens at these sizes. */
const COUNTED_IN_TOKENS = /^(openai\/)?gpt-image-1(-mini|\.5)?(-\d{4}-\d\d-\d\d)?$/;
const SIZES: ReadonlySet<unknown> = new Set([undefined, null, 'auto', '1024x1024', '1024x1536', '1536x1024']);

/** 6240 at high quality and 1024x1536; the rest is room for partial pictures and words. */
export const TOKENS_PER_PICTURE = 8192;

/** Why a picture's tokens can't be bounded, where they can't. Pictures sold by the piece are among those. */
export function pictureUnbounded(model: string, size: unknown): string | undefined {
  if (!COUNTED_IN_TOKENS.test(model)) return `images of ${model} are not priced by token`;
  return SIZES.has(size) ? undefined : 'images of this size have no known bound';
}
