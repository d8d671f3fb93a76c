/** One normal form of token usage, whatever the framework or provider called it. */

/**
 * Tokens of one call. Cache tokens, and the sound and pictures that did not come from the cache, are parts of
 * `inputTokens` without overlap; reasoning, sound and pictures in the answer are such parts of `outputTokens`.
 */
export interface TokenUsage {
  inputTokens: number;
  outputTokens: number;
  cacheReadTokens?: number;
  cacheWriteTokens?: number;
  reasoningTokens?: number;
  /** The part of `cacheWriteTokens` that was written to last an hour. */
  cacheWriteHourTokens?: number;
  /** The part of `cacheReadTokens` that is sound. */
  cacheReadAudioTokens?: number;
  inputAudioTokens?: number;
  inputImageTokens?: number;
  outputAudioTokens?: number;
  outputImageTokens?: number;
}

/** What a framework handed over: any field may be missing, negative, NaN or not a number at all. */
export type ReportedUsage = { readonly [K in keyof TokenUsage]?: unknown };

/** Far beyond any model: more than this is a mistake, and would not fit into a receipt as money. */
const MAX_TOKENS = 1e9;

/** A token count that can be trusted: a whole number from 0 to a billion. */
function count(value: unknown): number | undefined {
  const isSound =
    typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= MAX_TOKENS;
  // Minus zero is zero to everyone but JSON.
  return isSound ? value || 0 : undefined;
}

/** A provider's words stay out of the log; only numbers and the kind of anything else are told. */
function shown(value: unknown): string {
  return typeof value === 'number' ? String(value) : typeof value;
}

/** What a call has or asks for whose tokens cost more than others, so that they must not be missed. */
export interface AskedUsage {
  hourCache?: boolean;
  audio?: boolean;
  images?: boolean;
}

/**
 * The parts of an input that are sound. Providers count what came from the cache, too, and don't say how much that
 * is: as little as can be, for it is cheaper.
 */
export function soundParts(
  sound: unknown,
  { inputTokens, cacheReadTokens, cacheWriteTokens }: ReportedUsage,
): Pick<ReportedUsage, 'inputAudioTokens' | 'cacheReadAudioTokens'> {
  const heard = count(sound);
  if (heard === undefined) return {};
  const read = count(cacheReadTokens) ?? 0;
  const fresh = Math.max(0, (count(inputTokens) ?? 0) - read - (count(cacheWriteTokens) ?? 0));
  const inputAudioTokens = Math.min(heard, fresh);
  const cached = Math.min(heard - inputAudioTokens, read);
  return { inputAudioTokens, ...(cached > 0 && { cacheReadAudioTokens: cached }) };
}

/** Where an answer doesn't tell which part of a prompt was sound or pictures, all of it counts as that. */
function withMedia(reported: ReportedUsage, { audio, images }: AskedUsage): ReportedUsage {
  const { inputTokens, cacheReadTokens, cacheWriteTokens, inputAudioTokens, inputImageTokens } = reported;
  const missesSound = audio === true && count(inputAudioTokens) === undefined;
  if (!missesSound && (images !== true || count(inputImageTokens) !== undefined)) return reported;
  const others = [cacheReadTokens, cacheWriteTokens, inputAudioTokens, inputImageTokens];
  const rest = others.reduce<number>((left, part) => left - (count(part) ?? 0), count(inputTokens) ?? 0);
  return { ...reported, [missesSound ? 'inputAudioTokens' : 'inputImageTokens']: Math.max(0, rest) };
}

/**
 * The reported usage in normal form, or the reason why it can't be believed. A provider that omits usage is
 * often turned into 0 in and 0 out by its client library, so that pair is unknown, never free. `asked` is what the call
 * asked for.
 */
export function knownUsage(
  given: ReportedUsage | undefined,
  asked: AskedUsage = {},
): TokenUsage | { unknown: string } {
  if (given === undefined) return { unknown: 'no usage was reported' };
  const heard = withMedia(given, asked);
  const reported = asked.hourCache === true ? withHourWrites(heard) : heard;
  const inputTokens = count(reported.inputTokens);
  const outputTokens = count(reported.outputTokens);
  if (inputTokens === undefined || outputTokens === undefined) {
    const field = inputTokens === undefined ? 'inputTokens' : 'outputTokens';
    return { unknown: `${field} is ${shown(reported[field])}` };
  }
  if (inputTokens === 0 && outputTokens === 0) return { unknown: 'usage is 0 in and 0 out' };
  const usage: TokenUsage = { inputTokens, outputTokens };
  for (const part of PARTS) {
    if (reported[part] === undefined || reported[part] === null) continue;
    const tokens = count(reported[part]);
    if (tokens === undefined) return { unknown: `${part} is ${shown(reported[part])}` };
    if (tokens > 0) usage[part] = tokens;
  }
  const unknown = overfull(usage);
  return unknown === undefined ? usage : { unknown };
}

/**
 * Where an answer doesn't tell which part of what was written is to last the hour that the call asked for
 * (OpenRouter's doesn't), all of it counts as that; and where nothing tells what was written, all that was not read.
 */
function withHourWrites(reported: ReportedUsage): ReportedUsage {
  if (count(reported.cacheWriteHourTokens) !== undefined) return reported;
  const { inputTokens, cacheReadTokens, inputAudioTokens, inputImageTokens } = reported;
  const known = [cacheReadTokens, inputAudioTokens, inputImageTokens];
  const unread = known.reduce<number>((left, part) => left - (count(part) ?? 0), count(inputTokens) ?? 0);
  const written = reported.cacheWriteTokens ?? Math.max(0, unread);
  return { ...reported, cacheWriteTokens: written, cacheWriteHourTokens: written };
}

const PARTS = [
  'cacheReadTokens',
  'cacheWriteTokens',
  'reasoningTokens',
  'cacheWriteHourTokens',
  'cacheReadAudioTokens',
  'inputAudioTokens',
  'inputImageTokens',
  'outputAudioTokens',
  'outputImageTokens',
] as const satisfies readonly (keyof TokenUsage)[];

/** Says which parts come to more than what they are parts of. */
function overfull(usage: TokenUsage): string | undefined {
  const { inputTokens, outputTokens, cacheReadTokens = 0, cacheWriteTokens = 0, reasoningTokens = 0 } = usage;
  const cached = cacheReadTokens + cacheWriteTokens;
  if (cached > inputTokens) return `${cached} cache tokens of ${inputTokens} input tokens`;
  if (reasoningTokens > outputTokens)
    return `${reasoningTokens} reasoning tokens of ${outputTokens} output tokens`;
  const {
    cacheWriteHourTokens = 0,
    cacheReadAudioTokens = 0,
    inputAudioTokens = 0,
    inputImageTokens = 0,
  } = usage;
  const { outputAudioTokens = 0, outputImageTokens = 0 } = usage;
  const media = inputAudioTokens + inputImageTokens;
  if (cached + media > inputTokens)
    return `${cached} cache, ${media} sound and picture tokens of ${inputTokens} input tokens`;
  if (cacheWriteHourTokens > cacheWriteTokens)
    return `${cacheWriteHourTokens} one-hour tokens of ${cacheWriteTokens} cache write tokens`;
  if (cacheReadAudioTokens > cacheReadTokens)
    return `${cacheReadAudioTokens} sound tokens of ${cacheReadTokens} cache read tokens`;
  const spoken = reasoningTokens + outputAudioTokens + outputImageTokens;
  if (spoken > outputTokens)
    return `${spoken} reasoning, sound and picture tokens of ${outputTokens} output tokens`;
  return undefined;
}
