/** What the simulator tells about itself and its bill. Pure, as the wires are. */
import { usdNumber, type BillLine } from './bill.ts';
import type { SimulatorModel } from './models.ts';

type Json = Record<string, unknown>;

/** The body of `GET /models`: OpenRouter's list, or OpenAI's, which tells no prices. */
export function modelsBody(models: readonly SimulatorModel[], dialect: 'openrouter' | 'openai'): Json {
  if (dialect === 'openrouter') return { data: models };
  const data = models.map(({ id }) => {
    const [vendor = '', name = id] = id.split('/');
    return { id: name, object: 'model', created: 1_770_000_000, owned_by: vendor };
  });
  return { object: 'list', data };
}

/** The body of `GET /generation`, OpenRouter's and the AI Gateway's in one: what was charged, known even where the client has never seen the usage. */
export function generationBody(line: BillLine): Json {
  const cost = usdNumber(line.creditsNanoUsd);
  // What is not told is null to the one and zero to the other.
  const upstream = line.upstreamNanoUsd ?? (line.generationId.startsWith('gen_') ? 0n : undefined);
  return {
    data: {
      id: line.generationId,
      upstream_id: null,
      total_cost: cost,
      usage: cost,
      cache_discount: null,
      upstream_inference_cost: upstream === undefined ? null : usdNumber(upstream),
      created_at: new Date(line.at).toISOString(),
      model: line.model,
      app_id: null,
      api_type: 'completions',
      router: null,
      streamed: line.streamed,
      cancelled: line.how === 'aborted',
      provider_name: line.provider,
      is_byok: line.isByok,
      latency: 0,
      generation_time: 0,
      moderation_latency: null,
      finish_reason: line.finishReason,
      native_finish_reason: line.finishReason,
      tokens_prompt: line.promptTokens,
      tokens_completion: line.completionTokens,
      native_tokens_prompt: line.promptTokens,
      native_tokens_completion: line.completionTokens,
      native_tokens_reasoning: line.reasoningTokens,
      native_tokens_cached: line.cacheReadTokens,
      native_tokens_cache_creation: line.cacheWriteTokens,
      native_tokens_completion_images: line.imageTokens,
      num_media_prompt: null,
      num_media_completion: null,
      num_input_audio_prompt: null,
      num_search_results: null,
      billable_web_search_calls: 0,
      origin: '',
      external_user: null,
    },
  };
}

/** The body of `GET /key`. */
export function keyBody(billedCredits: bigint): Json {
  return {
    data: {
      label: 'simulated',
      usage: usdNumber(billedCredits),
      limit: null,
      limit_remaining: null,
      is_free_tier: false,
      is_provisioning_key: false,
      rate_limit: { requests: -1, interval: '10s' },
    },
  };
}
