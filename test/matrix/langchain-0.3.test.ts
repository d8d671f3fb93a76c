import { ChatOpenAI, createReactAgent, tool } from '../frameworks/langchain-0.3/index.ts';
import { matrixOf } from './cells.ts';
import { guardedDriver, handledDriver, LOOK, textOf, type ChatLike, type Kind } from './langchain.ts';
import { versionOf } from './version-of.ts';

const look = tool((input: unknown) => `value of ${(input as { key: string }).key}`, {
  name: 'look',
  description: 'Looks something up.',
  schema: LOOK,
});

async function agent(model: ChatLike, prompt: string, options: object): Promise<string> {
  const made = createReactAgent({ llm: model as ChatOpenAI, tools: [look] });
  const { messages } = await made.invoke({ messages: [{ role: 'user', content: prompt }] }, options);
  return textOf(messages.at(-1)?.content);
}

const root = 'test/frameworks/langchain-0.3/node_modules';

const openai: Kind = {
  name: ['@langchain/core', '@langchain/langgraph', '@langchain/openai']
    .map((name) => versionOf(`${root}/${name}`))
    .join(', '),
  agent,
  model: ({ model, baseUrl, maxOutputTokens, fallbacks }) =>
    new ChatOpenAI({
      model,
      apiKey: 'sk-or-test',
      maxRetries: 0,
      maxTokens: maxOutputTokens,
      configuration: { baseURL: baseUrl },
      ...(fallbacks && { modelKwargs: { models: [model, ...fallbacks] } }),
    }),
};

matrixOf(guardedDriver(openai));
// without the model in hand there is only what LangChain tells: before 1.0 it drops OpenRouter's cost
matrixOf(handledDriver(openai, { cost: ['generate'] }));
