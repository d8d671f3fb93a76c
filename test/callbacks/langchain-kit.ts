/** LangChain's models of both versions, bare, in front of a simulator. */
import { ChatAnthropic } from '@langchain/anthropic';
import { ChatOpenAI } from '@langchain/openai';
import { ChatOpenRouter } from '@langchain/openrouter';
import * as old from '../frameworks/langchain-0.3/index.ts';
import { OPUS } from '../middleware/ai-sdk-kit.ts';

export {
  HAIKU,
  ladder,
  OPUS,
  openDesk,
  policyOf,
  SONNET,
  WIDE,
  type Desk,
} from '../middleware/ai-sdk-kit.ts';

/** A chat model of either version; the types of 1.x stand for both. */
export type Chat = ChatOpenAI;

/** How a test makes a bare model. `more` goes to its constructor. */
export type Make = (url: string, more?: object) => Chat;

const common = { model: OPUS, apiKey: 'sk-or-test', maxRetries: 0, maxTokens: 500 };

export const openai: Make = (url, more) =>
  new ChatOpenAI({ ...common, configuration: { baseURL: url }, ...more });

export const openrouter: Make = (url, more) =>
  new ChatOpenRouter({ ...common, baseURL: url, ...more }) as unknown as Chat;

export const oldOpenai: Make = (url, more) =>
  new old.ChatOpenAI({ ...common, configuration: { baseURL: url }, ...more }) as unknown as Chat;

const messagesUrl = (url: string): string => url.replace(/\/v1$/, '');

export const anthropic: Make = (url, more) =>
  new ChatAnthropic({ ...common, anthropicApiUrl: messagesUrl(url), ...more }) as unknown as Chat;

export const oldAnthropic: Make = (url, more) =>
  new old.ChatAnthropic({ ...common, anthropicApiUrl: messagesUrl(url), ...more }) as unknown as Chat;

export const responses: Make = (url, more) => openai(url, { useResponsesApi: true, ...more });

export const oldResponses: Make = (url, more) => oldOpenai(url, { useResponsesApi: true, ...more });

/** Every model, by its name and version. */
export const MODELS: readonly (readonly [string, Make])[] = [
  ['ChatOpenAI 1.x', openai],
  ['ChatOpenRouter 1.x', openrouter],
  ['ChatAnthropic 1.x', anthropic],
  ['Responses of ChatOpenAI 1.x', responses],
  ['ChatOpenAI 0.3', oldOpenai],
  ['ChatAnthropic 0.3', oldAnthropic],
  ['Responses of ChatOpenAI 0.3', oldResponses],
];

/** What a promise rejects with. */
export async function caught(work: () => PromiseLike<unknown>): Promise<unknown> {
  try {
    return await work();
  } catch (error) {
    return { thrown: error };
  }
}

/** The parts of a stream, or of what resolves to one. A stream of 1.x can be awaited for its last message. */
export async function readAll<T>(stream: AsyncIterable<T> | PromiseLike<AsyncIterable<T>>): Promise<T[]> {
  const parts: T[] = [];
  for await (const part of Symbol.asyncIterator in stream ? stream : await stream) parts.push(part);
  return parts;
}
