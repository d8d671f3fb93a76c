/** What a call through OpenRouter really cost, by the id of its generation (`GET /generation?id=`). */
import { AgentGuardError } from './errors.ts';
import { LookUpRefused, type LateTruth, type LateTruthSource } from './late-truth.ts';
import { reportedCost, usdText } from './money.ts';
import type { ReportedUsage } from './usage.ts';

export interface OpenRouterGenerationsOptions {
  /** Used for these requests alone; never stored, logged or put into an error. */
  apiKey: string | (() => string | Promise<string>);
  /** Default `https://openrouter.ai/api/v1`. */
  baseURL?: string;
  /** Default: the runtime's own. */
  fetch?: typeof fetch;
  /** How long one request may take, in milliseconds. Default 10 000. */
  timeoutMs?: number;
}

const DEFAULT_BASE = 'https://openrouter.ai/api/v1';
const GENERATION = /^gen-[\w-]{1,120}$/;

/** Answers that asking again can't change. */
const FINAL: ReadonlySet<number> = new Set([400, 401, 402, 403, 405, 410]);

function tokensIn(data: Record<string, unknown>): ReportedUsage {
  const reported: Record<string, unknown> = {
    inputTokens: data['native_tokens_prompt'],
    outputTokens: data['native_tokens_completion'],
    reasoningTokens: data['native_tokens_reasoning'],
    cacheReadTokens: data['native_tokens_cached'],
  };
  return reported;
}

/**
 * The truth in an answer, or `undefined` while it has none: another call's, no cost, or a cost of zero for tokens that
 * aren't free, as a record has it that isn't finished.
 */
export function truthIn(document: unknown, providerRef: string): LateTruth | undefined {
  const { data } = (document ?? {}) as { data?: unknown };
  if (typeof data !== 'object' || data === null) return undefined;
  const fields = data as Record<string, unknown>;
  const {
    id,
    total_cost: total,
    is_byok: isByok,
    upstream_inference_cost: upstreamCost,
    model,
    provider_name: host,
  } = fields;
  const charged = reportedCost(total);
  if (id !== providerRef || charged === undefined) return undefined;
  const upstream = reportedCost(upstreamCost);
  if (isByok === true && upstream === undefined) return undefined;
  const cost = isByok === true ? charged + (upstream ?? 0n) : charged;
  const written = fields['native_tokens_completion'];
  const isFree = typeof model === 'string' && model.endsWith(':free');
  if (cost === 0n && !isFree && written !== 0 && written !== null) return undefined;
  return {
    cost: usdText(cost),
    ...(upstream !== undefined && { upstreamCost: usdText(upstream) }),
    ...(isByok === true && { isByok: true }),
    usage: tokensIn(fields),
    ...(typeof model === 'string' && { servedModel: model }),
    ...(typeof host === 'string' && { servedProvider: host }),
  };
}

/**
 * Asks OpenRouter what calls cost that were aborted or broke off: `createSpendGuard({ lateTruth:
 * openRouterGenerations({ apiKey }) })`. Ids that aren't OpenRouter's are not asked about. Throws `AgentGuardError`
 * (`invalid_config`) for a missing key or a `baseURL` that is none.
 */
export function openRouterGenerations(options: OpenRouterGenerationsOptions): LateTruthSource {
  const { apiKey, baseURL = DEFAULT_BASE, fetch: send = fetch, timeoutMs = 10_000 } = options ?? {};
  if (typeof apiKey !== 'function' && (typeof apiKey !== 'string' || apiKey === '')) {
    throw new AgentGuardError(
      'invalid_config',
      'openRouterGenerations: apiKey: expected your OpenRouter key',
    );
  }
  let base: URL;
  try {
    base = new URL(`${baseURL.replace(/\/+$/, '')}/generation`);
  } catch (cause) {
    const message =
      'openRouterGenerations: baseURL: expected an address such as https://openrouter.ai/api/v1';
    throw new AgentGuardError('invalid_config', message, { cause });
  }
  return {
    async lookUp(providerRef, signal) {
      if (!GENERATION.test(providerRef)) return null;
      const url = new URL(base);
      url.searchParams.set('id', providerRef);
      const key = typeof apiKey === 'function' ? await apiKey() : apiKey;
      const response = await send(url, {
        headers: { authorization: `Bearer ${key}`, accept: 'application/json' },
        // a key belongs to the address that was configured, and to no other
        redirect: 'error',
        signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
      });
      if (response.ok) return truthIn(await response.json(), providerRef);
      await response.body?.cancel();
      // the record of a generation appears some moments after it has ended
      if (response.status === 404) return undefined;
      const message = `OpenRouter answered ${response.status} when asked for the cost of a call`;
      throw FINAL.has(response.status) ? new LookUpRefused(message) : new Error(message);
    },
  };
}
