/** What pictures of a prompt and of an answer count, as far as answers tell it. */
import { expect, it } from 'vitest';
import { drawnUsage } from '../../src/wire/pictures.ts';
import { usageInBody } from '../../src/wire/reported.ts';

const told = {
  input_tokens: 100,
  input_tokens_details: { text_tokens: 20, image_tokens: 80 },
  output_tokens: 50,
  output_tokens_details: { text_tokens: 10, image_tokens: 40 },
};

it('is what the answer tells', () => {
  const usage = { inputTokens: 100, inputImageTokens: 80, outputTokens: 50, outputImageTokens: 40 };
  expect(drawnUsage(usageInBody(told) ?? {}, true)).toEqual(usage);
});

it('is all of it where nothing is told, of the prompt only where that has pictures', () => {
  const { input_tokens, output_tokens } = told;
  const bare = usageInBody({ input_tokens, output_tokens }) ?? {};
  expect(drawnUsage(bare, true)).toMatchObject({ inputImageTokens: 100, outputImageTokens: 50 });
  expect(drawnUsage(bare, false)).toMatchObject({ inputImageTokens: 0, outputImageTokens: 50 });
});

it('is not read from chats, where pictures may be among the cached tokens', () => {
  const chat = {
    prompt_tokens: 100,
    prompt_tokens_details: { cached_tokens: 90, image_tokens: 80 },
    completion_tokens: 50,
    completion_tokens_details: { image_tokens: 40 },
  };
  expect(usageInBody(chat)).toEqual({ inputTokens: 100, outputTokens: 50, cacheReadTokens: 90 });
});
