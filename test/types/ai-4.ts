/** One middleware object under the types of `ai` 4. Compiled by `npm run typecheck`; never run. */
import { spendGuard, spendOptions } from '../../middleware/ai-sdk.ts';
import type { SpendGuard } from '../../src/index.ts';
import { ai, createOpenAI, createOpenRouter } from '../frameworks/ai-4/index.ts';

declare const guard: SpendGuard;
const middleware = spendGuard(guard, { resolveModel: (id) => createOpenRouter()(id) });

const model: ai.LanguageModel = ai.wrapLanguageModel({ model: createOpenRouter()('a/b'), middleware });
ai.wrapLanguageModel({ model: createOpenAI()('gpt-5'), middleware: [middleware] });
const providerOptions = spendOptions({ scope: { userId: 'ada' } });
void ai.generateText({ model, prompt: 'x', providerOptions });
