import { ChatOpenAI } from '@langchain/openai';
import { ChatOpenRouter } from '@langchain/openrouter';
import { createAgent, tool } from 'langchain';
import { matrixOf } from './cells.ts';
import { guardedDriver, handledDriver, LOOK, textOf, type ChatLike, type Kind } from './langchain.ts';
import { versionOf } from './version-of.ts';

const look = tool((input: unknown) => `value of ${(input as { key: string }).key}`, {
  name: 'look',
  description: 'Looks something up.',
  schema: LOOK,
});

async function agent(model: ChatLike, prompt: string, options: object): Promise<string> {
  const made = createAgent({ model: model as ChatOpenAI, tools: [look] });
  const { messages } = await made.invoke({ messages: [{ role: 'user', content: prompt }] }, options);
  return textOf(messages.at(-1)?.content);
}

const core = `${versionOf('node_modules/@langchain/core')}, ${versionOf('node_modules/langchain')}`;

const openai: Kind = {
  name: `${core}, ${versionOf('node_modules/@langchain/openai')}`,
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

const openrouter: Kind = {
  name: `${core}, ${versionOf('node_modules/@langchain/openrouter')}`,
  agent,
  model: ({ model, baseUrl, maxOutputTokens, fallbacks }) =>
    new ChatOpenRouter({
      model,
      apiKey: 'sk-or-test',
      maxRetries: 0,
      maxTokens: maxOutputTokens,
      baseURL: baseUrl,
      ...(fallbacks && { models: [model, ...fallbacks] }),
    }),
  // a stream of ChatOpenRouter names no model
  differs: { servedModel: ['stream'] },
};

matrixOf(guardedDriver(openai));
matrixOf(guardedDriver(openrouter));
matrixOf(handledDriver(openai));
matrixOf(handledDriver(openrouter));
