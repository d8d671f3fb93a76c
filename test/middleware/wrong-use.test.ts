/** Mistakes that types would find, in code that has none: said at once, and by name. */
import { createOpenAI } from '@ai-sdk/openai';
import { expect, it } from 'vitest';
import {
  guardEmbeddingModel,
  spendGuard,
  spendGuardEmbedding,
  spendGuardImage,
  spendOptions,
} from '../../middleware/ai-sdk.ts';
import { AgentGuardError } from '../../src/index.ts';
import { policyOf, WIDE } from './ai-sdk-kit.ts';

const policy = policyOf([WIDE]);
const flat = { userId: 'ann' } as never;
const embedding = createOpenAI({ apiKey: 'k' }).embedding('text-embedding-3-small');

it.each<[string, () => unknown, string]>([
  // without the error these calls would count for nobody
  [
    'a scope beside `scope`',
    () => spendGuard(policy, flat),
    'spendGuard: options: userId: unknown; expected { scope,',
  ],
  ['a scope of a call', () => spendOptions(flat), 'spendOptions: userId: unknown; expected { scope, claims,'],
  [
    'a scope for embeddings',
    () => spendGuardEmbedding(policy, flat),
    'spendGuardEmbedding: options: userId: unknown',
  ],
  [
    'a scope of a model',
    () => guardEmbeddingModel(embedding, policy, flat),
    'guardEmbeddingModel: options: userId',
  ],
  ['a scope for images', () => spendGuardImage(policy, flat), 'spendGuardImage: options: userId: unknown'],
  ['no options of a call', () => spendOptions(undefined as never), 'spendOptions: expected { scope, claims,'],
  [
    'no options',
    () => spendGuard(policy, null as never),
    'spendGuard: options: expected { scope, resolveModel }',
  ],
  [
    'a model for a function',
    () => spendGuard(policy, { resolveModel: 'gpt-5' as never }),
    'resolveModel: expected (id)',
  ],
  [
    'the name of a model',
    () => guardEmbeddingModel('ada' as never, policy),
    'expected (model, policy or guard)',
  ],
  [
    'the wrong order',
    () => guardEmbeddingModel(policy as never, embedding as never),
    'expected (model, policy or guard)',
  ],
])('%s', (_what, run, message) => {
  expect(run).toThrow(AgentGuardError);
  expect(run).toThrow(message);
});
