/** A response whose body may be made while it is read: by whoever reads it, it is made in the scope of its handler. */
import { scopeHere, type InScope } from '../src/scope.ts';
import { fieldsOf } from '../src/wire/fields.ts';

/** What reads a body whole, as far as a runtime has it. */
const READERS = ['arrayBuffer', 'blob', 'bytes', 'formData', 'json', 'text'] as const;

/** The stream that `open` gives, opened at the first read; every read of it runs in the scope. */
function readWithin(open: () => ReadableStream<unknown>, within: InScope): ReadableStream<unknown> {
  let reader: ReadableStreamDefaultReader<unknown> | undefined;
  const source = (): ReadableStreamDefaultReader<unknown> => (reader ??= open().getReader());
  return new ReadableStream<unknown>(
    {
      async pull(controller) {
        const { done, value } = await within(() => source().read());
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel: (reason) => within(() => source().cancel(reason)),
    },
    // nothing is made before it is asked for
    { highWaterMark: 0 },
  );
}

/** Replaces members of a response, which stays the object that it is: frameworks' classes have more than a body. */
function bound(response: Response, within: InScope): Response {
  const own: Record<string, unknown> = response as never;
  const prototype = Object.getPrototypeOf(response) as object;
  // asked for at the first read: `clone` puts another stream in its place
  const original = (): ReadableStream<unknown> => Reflect.get(prototype, 'body', response) as ReadableStream;
  let body: ReadableStream<unknown> | undefined;
  Object.defineProperty(response, 'body', {
    get: () => (body ??= readWithin(original, within)),
    configurable: true,
  });
  for (const name of READERS) {
    const read = own[name];
    if (typeof read !== 'function') continue;
    const value = (): unknown => within(() => (read as () => unknown).call(response));
    Object.defineProperty(response, name, { value, configurable: true, writable: true });
  }
  const clone = own['clone'] as () => Response;
  // copying begins to read
  const value = (): Response =>
    bound(
      within(() => clone.call(response)),
      within,
    );
  Object.defineProperty(response, 'clone', { value, configurable: true, writable: true });
  return response;
}

/**
 * The same response, its body read in the scope of now: a `pull`, or the generator behind `ReadableStream.from`, runs
 * in the surroundings of whoever reads, and that is the server. Runtimes that read past the members of a `Response`
 * (Bun, Deno, workerd) make such bodies without the scope as before.
 */
export function bodyWithinScope(response: Response): Response {
  // the classes of polyfills have bodies of another kind, or no getter
  if (!Object.isExtensible(response) || Object.hasOwn(response, 'body')) return response;
  const isStream = typeof fieldsOf(response.body)['getReader'] === 'function';
  return isStream ? bound(response, scopeHere()) : response;
}
