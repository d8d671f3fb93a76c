/** The public vocabularies that the estimator is held against. */
import { countTokens as countClaude2 } from '@anthropic-ai/tokenizer';
import { encode as cl100k } from 'gpt-tokenizer/encoding/cl100k_base';
import { encode as o200k } from 'gpt-tokenizer/encoding/o200k_base';
import llama3 from 'llama3-tokenizer-js';
// the package has no types
// @ts-expect-error
import mistral from 'mistral-tokenizer-js';

export interface Vocabulary {
  name: string;
  /** Package and version that it comes from. */
  source: string;
  /** A model that counts with it, whose family the fast bound is asked for. */
  model: string;
  count: (text: string) => number;
}

const ordinary = { disallowedSpecial: new Set<string>() };

export const VOCABULARIES: readonly Vocabulary[] = [
  {
    name: 'o200k',
    source: 'gpt-tokenizer 4.0.0',
    model: 'openai/gpt-5',
    count: (text) => o200k(text, ordinary).length,
  },
  {
    name: 'cl100k',
    source: 'gpt-tokenizer 4.0.0',
    model: 'openai/gpt-4',
    count: (text) => cl100k(text, ordinary).length,
  },
  {
    name: 'Claude 2',
    source: '@anthropic-ai/tokenizer 0.0.4',
    model: 'anthropic/claude-opus-4.6',
    count: countClaude2,
  },
  {
    name: 'Llama 3',
    source: 'llama3-tokenizer-js 1.2.0',
    model: 'meta-llama/llama-3.3-70b-instruct',
    count: (text) => llama3.encode(text, { bos: false, eos: false }).length,
  },
  {
    name: 'Mistral 7B',
    source: 'mistral-tokenizer-js 1.0.0',
    model: 'mistralai/mistral-small-3.2-24b-instruct',
    count: (text) =>
      (mistral as { encode(text: string, bos: boolean, space: boolean): number[] }).encode(text, false, true)
        .length,
  },
];
