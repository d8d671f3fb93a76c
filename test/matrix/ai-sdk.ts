/** The AI SDK as the matrix drives it: one driver for each major. */
import { spendGuard } from '../../middleware/ai-sdk.ts';
import type { Ask, Major } from '../majors/major.ts';
import type { Drive, Driver } from './driver.ts';

export function driverOf(major: Major): Driver {
  const asked = ({ guard, baseUrl, model, fallbacks, prompt, maxOutputTokens }: Drive): Ask => {
    const settings = fallbacks === undefined ? {} : { models: [model, ...fallbacks] };
    const inner = major.openrouter({ url: baseUrl }, model, settings);
    return { model: major.wrap(inner, spendGuard(guard)), prompt, maxOutputTokens, maxRetries: 0 };
  };
  return {
    name: major.name,
    generate: async (drive) => (await major.generate(asked(drive))).text as string,
    async stream(drive) {
      let text = '';
      let failure: unknown;
      const onError = ({ error }: { error: unknown }): unknown => (failure = error);
      const { fullStream } = major.stream({ ...asked(drive), more: { onError } });
      for await (const part of fullStream) text += major.textOf(part);
      if (failure !== undefined) throw failure;
      return text;
    },
    async abortStream(drive) {
      const controller = new AbortController();
      const ask = { ...asked(drive), abortSignal: controller.signal, more: { onError: () => {} } };
      try {
        for await (const part of major.stream(ask).fullStream)
          if (major.textOf(part) !== '') controller.abort();
      } catch (error) {
        // 4 throws what aborted it; the others end the stream
        if (!controller.signal.aborted) throw error;
      }
    },
    agent: async (drive) =>
      (await major.generate({ ...asked(drive), tools: { look: major.look }, steps: 5 })).text as string,
  };
}
