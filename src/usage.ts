/** One normal form of token usage, whatever the framework or provider called it. */

/** Tokens of one call. Cache tokens are parts of `inputTokens`; reasoning tokens are part of `outputTokens`. */
export interface TokenUsage {
  inputTokens: number;
  outputTokens: number;
  cacheReadTokens?: number;
  cacheWriteTokens?: number;
  reasoningTokens?: number;
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

/**
 * The reported usage in normal form, or the reason why it can't be believed. A provider that omits usage is
 * often turned into 0 in and 0 out by its client library, so that pair is unknown, never free.
 */
export function knownUsage(reported: ReportedUsage | undefined): TokenUsage | { unknown: string } {
  if (reported === undefined) return { unknown: 'no usage was reported' };
  const inputTokens = count(reported.inputTokens);
  const outputTokens = count(reported.outputTokens);
  if (inputTokens === undefined || outputTokens === undefined) {
    const field = inputTokens === undefined ? 'inputTokens' : 'outputTokens';
    return { unknown: `${field} is ${shown(reported[field])}` };
  }
  if (inputTokens === 0 && outputTokens === 0) return { unknown: 'usage is 0 in and 0 out' };
  const usage: TokenUsage = { inputTokens, outputTokens };
  for (const part of ['cacheReadTokens', 'cacheWriteTokens', 'reasoningTokens'] as const) {
    if (reported[part] === undefined || reported[part] === null) continue;
    const tokens = count(reported[part]);
    if (tokens === undefined) return { unknown: `${part} is ${shown(reported[part])}` };
    if (tokens > 0) usage[part] = tokens;
  }
  const cached = (usage.cacheReadTokens ?? 0) + (usage.cacheWriteTokens ?? 0);
  if (cached > inputTokens) return { unknown: `${cached} cache tokens of ${inputTokens} input tokens` };
  if ((usage.reasoningTokens ?? 0) > outputTokens) {
    return { unknown: `${usage.reasoningTokens} reasoning tokens of ${outputTokens} output tokens` };
  }
  return usage;
}
