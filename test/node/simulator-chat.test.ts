/** The simulator's chat completions, by the clients that speak them. */
import { createOpenAI } from '@ai-sdk/openai';
import { ChatOpenAI } from '@langchain/openai';
import { ChatOpenRouter } from '@langchain/openrouter';
import OpenAI from 'openai';
import type { Simulator } from '../../src/node/simulator/index.ts';
import { OpenAI as OpenAI6 } from '../frameworks/openai-6/index.ts';
import { aiSdkClient, chatClient, langChainClient } from './simulator-clients.ts';
import { wireSuite } from './simulator-kit.ts';

const openai = (sim: Simulator): OpenAI => new OpenAI({ apiKey: 'x', baseURL: sim.url, maxRetries: 0 });
const openai6 = (sim: Simulator): OpenAI =>
  new OpenAI6({ apiKey: 'x', baseURL: sim.url, maxRetries: 0 }) as unknown as OpenAI;

const limit = (maxTokens: number | undefined): object => (maxTokens === undefined ? {} : { maxTokens });

const langChain = (sim: Simulator, model: string, maxTokens: number | undefined): ChatOpenAI =>
  new ChatOpenAI({
    model,
    apiKey: 'x',
    maxRetries: 0,
    configuration: { baseURL: sim.url },
    ...limit(maxTokens),
  });
const atOpenai = { cutWord: 'length', dialect: 'openai', model: 'claude-opus-4-7' } as const;
const aiSdk = (sim: Simulator, id: string): ReturnType<ReturnType<typeof createOpenAI>['chat']> =>
  createOpenAI({ apiKey: 'x', baseURL: sim.url }).chat(id);

wireSuite([
  chatClient({ name: 'openai 7', cutWord: 'length' }, openai),
  chatClient({ name: 'openai 6', cutWord: 'length' }, openai6),
  chatClient({ ...atOpenai, name: 'openai 7 at OpenAI' }, openai),
  aiSdkClient({ name: '@ai-sdk/openai', cutWord: 'length', odd: { missesErrorChunk: true } }, aiSdk),
  aiSdkClient({ ...atOpenai, name: '@ai-sdk/openai at OpenAI' }, aiSdk),
  langChainClient({ name: '@langchain/openai', cutWord: 'length' }, langChain),
  langChainClient({ ...atOpenai, name: '@langchain/openai at OpenAI' }, langChain),
  langChainClient(
    {
      name: '@langchain/openrouter',
      cutWord: 'length',
      odd: { hidesModel: 'of streams', missesErrorEvent: true, missesErrorChunk: true },
    },
    (sim, model, maxTokens) =>
      new ChatOpenRouter({ model, apiKey: 'x', maxRetries: 0, baseURL: sim.url, ...limit(maxTokens) }),
  ),
]);
