/** One middleware object under the types of `ai` 4. Compiled by `npm run typecheck`; never run. */
import {
  guardEmbeddingModel,
  spendErrorText,
  spendGuard,
  spendOptions,
  toGuardedResponse,
} from '../../middleware/ai-sdk.ts';
import type { SpendGuard } from '../../src/index.ts';
import { ai, createOpenAI, createOpenRouter } from '../frameworks/ai-4/index.ts';

declare const guard: SpendGuard;
const middleware = spendGuard(guard, { resolveModel: (id) => createOpenRouter()(id) });

const model: ai.LanguageModel = ai.wrapLanguageModel({ model: createOpenRouter()('a/b'), middleware });
ai.wrapLanguageModel({ model: createOpenAI()('gpt-5'), middleware: [middleware] });
const providerOptions = spendOptions({ scope: { userId: 'ada' } });
void ai.generateText({ model, prompt: 'x', providerOptions });

const streamed = ai.streamText({ model, prompt: 'x', providerOptions });
export const response: Promise<Response> = toGuardedResponse(streamed);
void toGuardedResponse(streamed, {
  sendReasoning: true,
  headers: { a: 'b' },
  getErrorMessage: spendErrorText,
});
// @ts-expect-error -- the options are those of the result's own method
void toGuardedResponse(streamed, { sendReasoning: 'yes' });
// @ts-expect-error -- a policy is checked
spendGuard({ id: 'x' });

const embedder = guardEmbeddingModel(createOpenAI().embedding('text-embedding-3-small'), guard);
void ai.embed({ model: embedder, value: 'x' });
