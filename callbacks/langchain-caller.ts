/**
 * Retries of LangChain's models happen deep inside: the model's `AsyncCaller` sends a request again, and callbacks
 * see one call. Here each attempt becomes a call of its own, decided and settled, under the same caller: its queue,
 * its rules for what is tried again, and its waits.
 */
import { withinThis } from '../src/scope.ts';
import { fieldsOf, isFields, type Fields } from '../src/wire/fields.ts';

type Callable = (...args: unknown[]) => unknown;
type Queue = { add(work: () => unknown): unknown };
interface Caller {
  call(callable: Callable, ...args: unknown[]): Promise<unknown>;
  callWithOptions(options: Fields, callable: Callable, ...args: unknown[]): Promise<unknown>;
  queue: Queue;
}

function isCaller(value: unknown): value is Caller {
  if (!isFields(value)) return false;
  const { call, callWithOptions, queue } = value;
  if (typeof call !== 'function') return false;
  return typeof callWithOptions === 'function' && typeof fieldsOf(queue)['add'] === 'function';
}

/** The caller that one attempt sees: it tries once, at once, and remembers whether that failed. */
export interface SingleCaller {
  /** In place of the model's own; `undefined` where the model has none that is known. */
  caller: object | undefined;
  hasFailed(): boolean;
}

function singleCaller(real: Caller): SingleCaller {
  let failed = false;
  const watched =
    (callable: Callable): Callable =>
    async (...args) => {
      failed = false;
      try {
        return await callable(...args);
      } catch (error) {
        failed = true;
        throw error;
      }
    };
  const caller = Object.create(real) as Caller;
  Object.assign(caller, {
    maxRetries: 0,
    // what failed is looked at by the real caller, whose place in the queue this is
    onFailedAttempt: () => undefined,
    queue: { add: (work: () => unknown) => work() },
    call: (callable: Callable, ...args: unknown[]) => real.call.call(caller, watched(callable), ...args),
    callWithOptions: (options: Fields, callable: Callable, ...args: unknown[]) =>
      real.callWithOptions.call(caller, { ...options, maxRetries: 0 }, watched(callable), ...args),
  });
  return { caller, hasFailed: () => failed };
}

type Answer<T> = { value: T; error?: never } | { error: unknown; value?: never };

/**
 * Runs `attempt` under a model's own caller. Only a request that failed is handed to the caller, to be tried again
 * or not; every other error ends the call, a refusal of ours above all.
 */
export async function underCaller<T>(
  model: object,
  options: Fields,
  attempt: (single: SingleCaller) => Promise<T>,
): Promise<T> {
  const { caller: real } = model as Fields;
  if (!isCaller(real)) return attempt({ caller: undefined, hasFailed: () => false });
  const once = async (): Promise<Answer<T>> => {
    const single = singleCaller(real);
    try {
      return { value: await attempt(single) };
    } catch (error) {
      if (single.hasFailed()) throw error;
      return { error };
    }
  };
  const { maxRetries } = options;
  const answer = (await real.callWithOptions(
    typeof maxRetries === 'number' ? { maxRetries } : {},
    withinThis(once),
  )) as Answer<T>;
  if ('error' in answer) throw answer.error;
  return answer.value;
}
