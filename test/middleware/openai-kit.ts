/** The two majors of `openai`, the newest by the types of both, in front of a desk. */
import { AzureOpenAI, OpenAI } from 'openai';
import * as previous from '../frameworks/openai-6/index.ts';
import { withSpendGuard, type OpenAIGuardOptions } from '../../src/index.ts';
import { versionOf } from '../matrix/version-of.ts';
import type { Desk } from './ai-sdk-kit.ts';

export type Client = OpenAI;
type Options = NonNullable<ConstructorParameters<typeof OpenAI>[0]>;

export interface Major {
  name: string;
  OpenAI: typeof OpenAI;
  AzureOpenAI: typeof AzureOpenAI;
}

export const OPENAI_7: Major = { name: versionOf('node_modules/openai'), OpenAI, AzureOpenAI };
export const OPENAI_6: Major = {
  name: versionOf('test/frameworks/openai-6/node_modules/openai'),
  OpenAI: previous.OpenAI as unknown as typeof OpenAI,
  AzureOpenAI: previous.AzureOpenAI as unknown as typeof AzureOpenAI,
};
export const MAJORS: readonly Major[] = [OPENAI_7, OPENAI_6];

/** A client without the guard. Never retries, unless told to. */
export function bareClient({ OpenAI }: Major, baseURL: string, more: Options = {}): Client {
  return new OpenAI({ apiKey: 'sk-or-test', baseURL, maxRetries: 0, ...more });
}

/** The client of a desk under its guard. By default it is told that the simulator is OpenRouter. */
export function guardedClient(
  major: Major,
  desk: Pick<Desk, 'guard' | 'sim'>,
  more: Options = {},
  options: Partial<OpenAIGuardOptions> = { provider: 'openrouter' },
): Client {
  return withSpendGuard(bareClient(major, desk.sim.url, more), {
    guard: desk.guard,
    ...options,
  } as OpenAIGuardOptions);
}
