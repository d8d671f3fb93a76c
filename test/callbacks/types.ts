/** Only compiled: what this package gives has to fit LangChain's own types, in every version. */
import { ChatAnthropic } from '@langchain/anthropic';
import { ChatOpenAI } from '@langchain/openai';
import { ChatOpenRouter } from '@langchain/openrouter';
import { createAgent, createMiddleware, type AgentMiddleware } from 'langchain';
import { guardModel, spendGuardHandler, spendGuardMiddleware } from '../../callbacks/langchain.ts';
import type { SpendGuard, SpendPolicy } from '../../src/index.ts';
import * as old from '../frameworks/langchain-0.3/index.ts';

export async function fits(guard: SpendGuard, policy: SpendPolicy): Promise<void> {
  const handler = spendGuardHandler(policy, { scope: { userId: 'u' } });
  const model = new ChatOpenAI({ model: 'gpt-5-mini', callbacks: [handler] });
  await model.invoke('hi', { callbacks: [handler], metadata: { spendGuard: { userId: 'u' } } });
  const guarded: ChatOpenAI = guardModel(model, guard, { ladder: [model] });
  await guarded.bindTools([]).invoke('hi');
  const router: ChatOpenRouter = guardModel(new ChatOpenRouter({ model: 'x' }), guard);
  const claude: ChatAnthropic = guardModel(new ChatAnthropic({ model: 'claude-haiku-4-5' }), guard, {
    ladder: { 'openai/gpt-5-mini': router },
  });
  const middleware: AgentMiddleware = spendGuardMiddleware(guard, { exitBehavior: 'end' });
  const other = createMiddleware({ name: 'other' });
  const agent = createAgent({ model: claude, tools: [], middleware: [spendGuardMiddleware(guard), other] });
  const { messages } = await agent.invoke({ messages: [] }, { callbacks: [handler] });
  messages.at(-1)?.content satisfies unknown;
  createAgent({ model, tools: [], middleware: [middleware] });

  const before = new old.ChatOpenAI({ model: 'gpt-5-mini', callbacks: [handler] });
  await before.invoke('hi', { callbacks: [handler] });
  old.createReactAgent({ llm: guardModel(before, guard), tools: [] });
  const past: old.ChatAnthropic = guardModel(new old.ChatAnthropic({ model: 'claude-haiku-4-5' }), guard);
  await past.invoke('hi');
}
