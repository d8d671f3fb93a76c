/** The majors of the AI SDK behind one face: what differs between them is said here and nowhere else in the tests. */
import { z } from 'zod';
import { z as z3 } from '../frameworks/ai-4/zod.ts';
import type { ModelLike } from '../../middleware/ai-sdk.ts';
import * as ai4 from '../frameworks/ai-4/index.ts';
import * as ai5 from '../frameworks/ai-5/index.ts';
import * as ai6 from '../frameworks/ai-6/index.ts';
import * as ai7 from './ai-7.ts';

/** Results are looked into without their types: every major has its own. */
// oxlint-disable-next-line typescript/no-explicit-any -- fields are compared, not computed with
export type Any = any;

/** Where a provider is found: the simulator's base URL. */
export interface At {
  url: string;
  /** More of the provider's own options. */
  more?: object;
}

type Make = (at: At, id: string, settings?: object) => ModelLike;

/** What `generateText` and `streamText` are asked for, in words that no major has to itself. */
export interface Ask {
  model: unknown;
  prompt?: string;
  messages?: readonly object[];
  maxOutputTokens?: number;
  maxRetries?: number;
  abortSignal?: AbortSignal;
  providerOptions?: object;
  headers?: Record<string, string>;
  tools?: object;
  /** The most steps; one without. */
  steps?: number;
  /** More of the major's own options. */
  more?: object;
}

interface Providers {
  openrouter: Make;
  openaiChat: Make;
  openaiResponses: Make;
  anthropic: Make;
  compatible: Make;
  openaiEmbedding: (at: At, id: string) => Any;
  openaiImage: (at: At, id: string) => Any;
  openaiProvider: (at: At) => Any;
  openrouterProvider: (at: At) => Any;
  /** `ai` 5 to 7. */
  gateway: Make | undefined;
}

export interface Major extends Providers {
  /** 4 to 7. */
  number: 4 | 5 | 6 | 7;
  /** `ai 7.0.173` as installed. */
  name: string;
  /** The module `ai`, untyped. */
  ai: Any;
  wrap(model: unknown, middleware: object): Any;
  generate(ask: Ask): Promise<Any>;
  /** What `streamText` gives. */
  stream(ask: Ask): Any;
  /** `ask` as this major's own options. */
  options(ask: Ask): object;
  /** A tool `look` of one text parameter. */
  look: object;
  /** A tool of one text parameter `key`, named by its key in `tools`. */
  tool(description: string, execute?: (input: { key: string }) => unknown): object;
  /** The options for an object `{ sky: string }` as output of `generateText` and `streamText`. */
  skyOutput: object;
  /** A schema of `{ sky: string }`. */
  skySchema: object;
  /** The text of a part of `fullStream`, where it is text. */
  textOf(part: Any): string;
}

interface Sdk {
  version: string;
  ai: Any;
  createOpenRouter: Any;
  createOpenAI: Any;
  createAnthropic: Any;
  createOpenAICompatible: Any;
}

function providersOf(sdk: Sdk): Providers {
  const { createOpenRouter, createOpenAI, createAnthropic, createOpenAICompatible, ai } = sdk;
  const at = ({ url, more }: At): object => ({ apiKey: 'sk-test', baseURL: url, ...more });
  return {
    openrouter: (place, id, settings) => createOpenRouter(at(place))(id, settings),
    openaiChat: (place, id, settings) => createOpenAI(at(place)).chat(id, settings),
    openaiResponses: (place, id) => createOpenAI(at(place)).responses(id),
    anthropic: (place, id) => createAnthropic(at(place))(id),
    compatible: (place, id) => createOpenAICompatible({ ...at(place), name: 'mine', includeUsage: true })(id),
    openaiEmbedding: (place, id) => createOpenAI(at(place)).embedding(id),
    openaiImage: (place, id) => createOpenAI(at(place)).image(id),
    openaiProvider: (place) => createOpenAI(at(place)),
    openrouterProvider: (place) => createOpenRouter(at(place)),
    gateway: ai.createGateway && ((place, id) => ai.createGateway(at(place))(id)),
  };
}

function majorOf(sdk: Sdk, number: Major['number']): Major {
  const { ai, version } = sdk;
  const zod: Any = number === 4 ? z3 : z;
  const isFirst = number === 4;
  const stepCount = ai.isStepCount ?? ai.stepCountIs;
  const options: Major['options'] = ({ maxOutputTokens, steps, more, ...rest }) => ({
    ...rest,
    ...(maxOutputTokens !== undefined && { [isFirst ? 'maxTokens' : 'maxOutputTokens']: maxOutputTokens }),
    ...(steps !== undefined && (isFirst ? { maxSteps: steps } : { stopWhen: stepCount(steps) })),
    ...more,
  });
  const tool: Major['tool'] = (description, execute) =>
    ai.tool({
      description,
      [isFirst ? 'parameters' : 'inputSchema']: zod.object({ key: zod.string() }),
      ...(execute !== undefined && { execute }),
    });
  const skySchema = zod.object({ sky: zod.string() });
  const output = ai.Output.object({ schema: skySchema });
  return {
    number,
    name: `ai ${version}`,
    ai,
    ...providersOf(sdk),
    wrap: (model, middleware) => ai.wrapLanguageModel({ model, middleware }),
    generate: (ask) => ai.generateText(options(ask)),
    stream: (ask) => ai.streamText(options(ask)),
    options,
    tool,
    look: tool('Looks something up.', ({ key }) => Promise.resolve(`value of ${key}`)),
    skySchema,
    skyOutput: number < 6 ? { experimental_output: output } : { output },
    textOf: (part) => (part.type === 'text-delta' ? (part.text ?? part.textDelta ?? '') : ''),
  };
}

export const AI_4: Major = majorOf(ai4, 4);
export const AI_5: Major = majorOf(ai5, 5);
export const AI_6: Major = majorOf(ai6, 6);
export const AI_7: Major = majorOf(ai7, 7);
export const MAJORS: readonly Major[] = [AI_4, AI_5, AI_6, AI_7];
