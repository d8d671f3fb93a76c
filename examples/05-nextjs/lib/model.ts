import { wrapLanguageModel, type LanguageModel } from 'ai';
import { createOpenRouter } from '@openrouter/ai-sdk-provider';
import { spendGuard } from '@agentguard-run/spend/ai-sdk';
import { guard } from './guard';

/** The guarded model. Read at each request: the key and the base URL are settings of the server, not of the build. */
export function model(): LanguageModel {
  const openrouter = createOpenRouter({
    apiKey: process.env.OPENROUTER_API_KEY,
    baseURL: process.env.OPENROUTER_BASE_URL ?? 'https://openrouter.ai/api/v1',
  });
  return wrapLanguageModel({ model: openrouter('anthropic/claude-opus-4-7'), middleware: spendGuard(guard) });
}
