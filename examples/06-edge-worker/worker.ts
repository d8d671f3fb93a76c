/**
 * A worker for edge runtimes (Vercel Edge, Cloudflare Workers): only web APIs, no file system. The guard needs a
 * ledger here. `memoryLedger` counts within one isolate and forgets when it ends: good for a burst guard. Budgets
 * that many isolates share need a ledger that they all reach.
 *
 *   npm run example 06
 *
 * runs it offline under Node (`run.ts`); `wrangler`, Vercel and bundlers take this file as it stands.
 */
import { createOpenRouter } from '@openrouter/ai-sdk-provider';
import { generateText, wrapLanguageModel } from 'ai';
import { createSpendGuard, memoryLedger } from '@agentguard-run/spend';
import { spendGuard, spendOptions } from '@agentguard-run/spend/ai-sdk';
import { blockedResponse } from '@agentguard-run/spend/http';

interface Env {
  OPENROUTER_API_KEY: string;
  OPENROUTER_BASE_URL?: string;
}

interface Context {
  waitUntil(work: Promise<unknown>): void;
}

const guard = createSpendGuard({
  policy: {
    id: 'edge-burst-v1',
    scope: {},
    caps: [{ amountCents: 1, window: 'per_minute', action: 'block', per: ['userId'], reason: 'burst guard' }],
    version: 1,
    effectiveFrom: '2026-01-01T00:00:00Z',
  },
  ledger: memoryLedger(),
});

/** Set by your own gateway in front of the worker, which removes it from what clients send. */
const USER_HEADER = 'x-verified-user';

async function answer(request: Request, env: Env): Promise<Response> {
  const userId = request.headers.get(USER_HEADER);
  if (userId === null) return new Response('who are you?', { status: 401 });
  const openrouter = createOpenRouter({
    apiKey: env.OPENROUTER_API_KEY,
    baseURL: env.OPENROUTER_BASE_URL ?? 'https://openrouter.ai/api/v1',
  });
  const model = wrapLanguageModel({
    model: openrouter('anthropic/claude-opus-4-7'),
    middleware: spendGuard(guard),
  });
  try {
    const { text } = await generateText({
      model,
      prompt: await request.text(),
      maxOutputTokens: 200,
      maxRetries: 0,
      // Not every edge runtime has AsyncLocalStorage, which `withSpendScope` and `guardRoute` need: the call itself
      // says who is calling.
      providerOptions: spendOptions({ scope: { userId } }),
    });
    return new Response(text);
  } catch (error) {
    const refused = blockedResponse(error);
    if (refused === undefined) throw error;
    return refused;
  }
}

const worker = {
  fetch(request: Request, env: Env, context: Context): Promise<Response> {
    const response = answer(request, env);
    context.waitUntil(response);
    return response;
  },
};

export default worker;
