import { createOpenRouter } from '@openrouter/ai-sdk-provider';
import { generateText, isStepCount, jsonSchema, streamText, tool, wrapLanguageModel } from 'ai';
import { spendGuard } from '../../middleware/ai-sdk.ts';
import { matrixOf } from './cells.ts';
import type { Drive } from './driver.ts';

function modelOf({ guard, baseUrl, model, fallbacks }: Drive): ReturnType<typeof wrapLanguageModel> {
  const openrouter = createOpenRouter({ apiKey: 'sk-or-test', baseURL: baseUrl });
  const inner = openrouter(model, fallbacks === undefined ? {} : { models: [model, ...fallbacks] });
  return wrapLanguageModel({ model: inner, middleware: spendGuard(guard) });
}

const look = tool({
  description: 'Looks something up.',
  inputSchema: jsonSchema<{ key: string }>({
    type: 'object',
    properties: { key: { type: 'string' } },
    required: ['key'],
  }),
  execute: ({ key }) => Promise.resolve(`value of ${key}`),
});

function callOf(drive: Drive): {
  model: ReturnType<typeof modelOf>;
  prompt: string;
  maxOutputTokens: number;
  maxRetries: 0;
} {
  const { prompt, maxOutputTokens } = drive;
  return { model: modelOf(drive), prompt, maxOutputTokens, maxRetries: 0 };
}

matrixOf({
  name: 'ai 7.0.173',
  generate: async (drive) => (await generateText(callOf(drive))).text,
  async stream(drive) {
    let text = '';
    let failure: unknown;
    const { fullStream } = streamText({ ...callOf(drive), onError: ({ error }) => (failure = error) });
    for await (const part of fullStream) if (part.type === 'text-delta') text += part.text;
    if (failure !== undefined) throw failure;
    return text;
  },
  async abortStream(drive) {
    const controller = new AbortController();
    const { fullStream } = streamText({
      ...callOf(drive),
      abortSignal: controller.signal,
      onError: () => {},
    });
    for await (const part of fullStream) if (part.type === 'text-delta') controller.abort();
  },
  agent: async (drive) =>
    (await generateText({ ...callOf(drive), tools: { look }, stopWhen: isStepCount(5) })).text,
});
