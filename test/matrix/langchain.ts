/** LangChain as the matrix drives it: one driver for each way of guarding, whatever the version. */
import { guardModel, spendGuardHandler } from '../../callbacks/langchain.ts';
import type { SpendGuard } from '../../src/index.ts';
import type { Drive, Driver } from './driver.ts';

/** What of a chat model the matrix needs, in any version. */
export interface ChatLike {
  invoke(input: string, options?: object): Promise<{ content: unknown }>;
  stream(input: string, options?: object): Promise<AsyncIterable<{ content: unknown }>>;
}

/** How a version and a provider's package do it. */
export interface Kind {
  name: string;
  model(drive: Drive): ChatLike;
  /** Runs an agent with the tool `look` on a model; resolves with the text of its last message. */
  agent(model: ChatLike, prompt: string, options: object): Promise<string>;
  differs?: Driver['differs'];
}

/** The parameters of the tool `look`, as JSON schema: the versions don't agree on anything else. */
export const LOOK = {
  type: 'object' as const,
  properties: { key: { type: 'string' as const } },
  required: ['key'],
};

/** The text of a message. */
export function textOf(content: unknown): string {
  if (typeof content === 'string') return content;
  return (content as { text?: string }[]).map(({ text = '' }) => text).join('');
}

type Guarding = (model: ChatLike, guard: SpendGuard) => { model: ChatLike; options: object };

function driverOf(
  kind: Kind,
  guarding: Guarding,
): Pick<Driver, 'generate' | 'stream' | 'abortStream' | 'agent'> {
  const open = (drive: Drive): ReturnType<Guarding> => guarding(kind.model(drive), drive.guard);
  return {
    async generate(drive) {
      const { model, options } = open(drive);
      return textOf((await model.invoke(drive.prompt, options)).content);
    },
    async stream(drive) {
      const { model, options } = open(drive);
      let text = '';
      for await (const { content } of await model.stream(drive.prompt, options)) text += textOf(content);
      return text;
    },
    async abortStream(drive) {
      const { model, options } = open(drive);
      const abort = new AbortController();
      try {
        const stream = await model.stream(drive.prompt, { ...options, signal: abort.signal });
        for await (const { content } of stream) if (textOf(content) !== '') abort.abort();
      } catch {
        // LangChain throws what the abort comes to
      }
    },
    agent(drive) {
      const { model, options } = open(drive);
      return kind.agent(model, drive.prompt, options);
    },
  };
}

/** With `guardModel`: every cell is possible. */
export function guardedDriver(kind: Kind): Driver {
  const driver = driverOf(kind, (model, guard) => ({ model: guardModel(model, guard), options: {} }));
  return { name: `${kind.name}, guardModel`, ...driver, ...(kind.differs && { differs: kind.differs }) };
}

/** With the bare callback handler, passed at the call. */
export function handledDriver(kind: Kind, more: Driver['differs'] = {}): Driver {
  const driver = driverOf(kind, (model, guard) => ({
    model,
    options: { callbacks: [spendGuardHandler(guard)] },
  }));
  const differs = { ...kind.differs, ...more, downgrade: 'block' as const };
  return { name: `${kind.name}, bare handler`, ...driver, differs };
}
