/** One middleware object under the types of `ai` 5. Compiled by `npm run typecheck`; never run. */
import {
  guardEmbeddingModel,
  spendErrorText,
  spendGuard,
  spendOptions,
  toGuardedResponse,
} from '../../middleware/ai-sdk.ts';
import type { SpendGuard } from '../../src/index.ts';
import { ai, createAnthropic, createOpenAI, createOpenRouter } from '../frameworks/ai-5/index.ts';

declare const guard: SpendGuard;
const middleware = spendGuard(guard, { resolveModel: (id) => createOpenRouter()(id) });

const model: ai.LanguageModel = ai.wrapLanguageModel({ model: createOpenRouter()('a/b'), middleware });
ai.wrapLanguageModel({ model: createAnthropic()('claude-opus-4-7'), middleware: [middleware] });
const provider = ai.wrapProvider({ provider: createOpenAI(), languageModelMiddleware: middleware });
const byName: ai.LanguageModel = provider.languageModel('gpt-5');
const registry = ai.createProviderRegistry({ openai: provider });
const registered: ai.LanguageModel = registry.languageModel('openai:gpt-5');
ai.createProviderRegistry({ openai: provider }, { languageModelMiddleware: middleware });
const providerOptions = spendOptions({ scope: { userId: 'ada' } });
void ai.generateText({ model, prompt: 'x', providerOptions });
void ai.streamText({ model: byName, prompt: 'x', providerOptions });
// its settings have no providerOptions: an agent of 5 gets its scope from `withSpendScope`
export const agent = new ai.Experimental_Agent({ model: registered });

const streamed = ai.streamText({ model, prompt: 'x', providerOptions });
export const response: Promise<Response> = toGuardedResponse(streamed);
void toGuardedResponse(streamed, { sendReasoning: true, headers: { a: 'b' }, onError: spendErrorText });
// @ts-expect-error -- the options are those of the result's own method
void toGuardedResponse(streamed, { sendReasoning: 'yes' });
// @ts-expect-error -- a policy is checked
spendGuard({ id: 'x' });

const embedder = guardEmbeddingModel(createOpenAI().embedding('text-embedding-3-small'), guard);
void ai.embed({ model: embedder, value: 'x' });
