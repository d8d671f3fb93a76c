/** `ai` 6 and its providers at the versions of this workspace, for tests that run in every major. */
import { createRequire } from 'node:module';

export * as ai from 'ai';
export { createAnthropic } from '@ai-sdk/anthropic';
export { createOpenAI } from '@ai-sdk/openai';
export { createOpenAICompatible } from '@ai-sdk/openai-compatible';
export { createOpenRouter } from '@openrouter/ai-sdk-provider';

const { version } = createRequire(import.meta.url)('ai/package.json') as { version: string };
export { version };
