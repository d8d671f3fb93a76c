/** How the matrix drives the OpenAI client. */
import { withSpendGuard } from '../../src/index.ts';
import { bareClient, type Client, type Major } from '../middleware/openai-kit.ts';
import type { Drive, Driver } from './driver.ts';

type Body = Parameters<Client['chat']['completions']['create']>[0];

/** The body of a call. `models` is OpenRouter's, and in no type of the client. */
function bodyOf({ model, fallbacks, prompt, maxOutputTokens }: Drive): Omit<Body, 'stream'> {
  const named = fallbacks === undefined ? {} : { models: [model, ...fallbacks] };
  return { model, ...named, messages: [{ role: 'user', content: prompt }], max_tokens: maxOutputTokens };
}

const look = {
  type: 'function' as const,
  function: {
    name: 'look',
    description: 'Looks something up.',
    parameters: { type: 'object', properties: { key: { type: 'string' } }, required: ['key'] },
    parse: (text: string) => JSON.parse(text) as { key: string },
    function: ({ key }: { key: string }) => `value of ${key}`,
  },
};

export function driverOf(major: Major): Driver {
  const clientOf = ({ baseUrl, guard }: Drive): Client => withSpendGuard(bareClient(major, baseUrl), guard);
  return {
    name: major.name,
    async generate(drive) {
      const { choices } = await clientOf(drive).chat.completions.create({ ...bodyOf(drive) });
      return choices[0]?.message.content ?? '';
    },
    async stream(drive) {
      const stream = await clientOf(drive).chat.completions.create({ ...bodyOf(drive), stream: true });
      let text = '';
      for await (const { choices } of stream) text += choices[0]?.delta.content ?? '';
      return text;
    },
    async abortStream(drive) {
      const controller = new AbortController();
      const { signal } = controller;
      const stream = await clientOf(drive).chat.completions.create(
        { ...bodyOf(drive), stream: true },
        { signal },
      );
      for await (const { choices } of stream) if (choices[0]?.delta.content) controller.abort();
    },
    async agent(drive) {
      const runner = clientOf(drive).chat.completions.runTools({ ...bodyOf(drive), tools: [look] });
      return (await runner.finalContent()) ?? '';
    },
  };
}
