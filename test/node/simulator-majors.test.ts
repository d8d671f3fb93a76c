/** The wires of the simulator, read by the AI SDK's older majors and their providers. */
import { describe, expect, it } from 'vitest';
import * as ai4 from '../frameworks/ai-4/index.ts';
import * as ai5 from '../frameworks/ai-5/index.ts';
import * as ai6 from '../frameworks/ai-6/index.ts';
import { LONG, OPUS, start, WHOLE } from './simulator-kit.ts';

interface Usage {
  promptTokens?: number;
  completionTokens?: number;
  inputTokens?: number;
  outputTokens?: number;
}

/** What the majors have in common. */
interface Major {
  ai: {
    generateText(call: object): Promise<{ text: string; usage: Usage; response: { modelId: string } }>;
    streamText(call: object): {
      fullStream: AsyncIterable<unknown>;
      text: Promise<string>;
      usage: Promise<Usage>;
      response: Promise<{ modelId: string }>;
    };
  };
  createAnthropic(settings: object): (id: string) => object;
  createOpenAI(settings: object): { chat(id: string): object; responses(id: string): object };
}

const MAJORS = [ai4, ai5, ai6] as unknown as readonly Major[];

describe.each([4, 5, 6])('ai %d', (number) => {
  const major = MAJORS[number - 4]!;

  it.each<[string, (settings: object) => object]>([
    ['messages', (settings) => major.createAnthropic(settings)(OPUS)],
    ['responses', (settings) => major.createOpenAI(settings).responses(OPUS)],
    ['chat', (settings) => major.createOpenAI(settings).chat(OPUS)],
  ])('%s', async (wire, modelOf) => {
    const sim = await start({ respond: () => LONG });
    const call = {
      model: modelOf({ apiKey: 'x', baseURL: sim.url, compatibility: 'strict' }),
      prompt: 'Hi',
      maxRetries: 0,
    };
    const whole = await major.ai.generateText(call);
    const stream = major.ai.streamText(call);
    for await (const part of stream.fullStream) void part;
    for (const [text, usage, { modelId }] of [
      [whole.text, whole.usage, whole.response],
      [await stream.text, await stream.usage, await stream.response],
    ] as const) {
      expect(text).toBe(LONG.text);
      expect(modelId).toBe(OPUS);
      expect(usage.inputTokens ?? usage.promptTokens).toBe(10);
      expect(usage.outputTokens ?? usage.completionTokens).toBe(40);
    }
    expect(sim.billed).toBe(2n * WHOLE);
    expect(sim.requests.map(({ path }) => path.split('/')[3])).toEqual([wire, wire]);
  });
});
