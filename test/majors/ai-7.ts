/** `ai` 7 and its providers, beside those of `test/frameworks`. */
import { createRequire } from 'node:module';

export * as ai from 'ai';
export { createAnthropic } from '@ai-sdk/anthropic';
export { createOpenAI } from '@ai-sdk/openai';
export { createOpenAICompatible } from '@ai-sdk/openai-compatible';
export { createOpenRouter } from '@openrouter/ai-sdk-provider';

const { version } = createRequire(import.meta.url)('ai/package.json') as { version: string };
export { version };
