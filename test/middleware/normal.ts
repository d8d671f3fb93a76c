/** What two runs of the same call have in common: everything but ids, times and addresses. */

/** Ids, times and addresses differ between two calls without the guard, too. */
export function normal(value: unknown, seen = new Map<unknown, unknown>()): unknown {
  if (typeof value === 'string') {
    return value
      .replaceAll(/gen-\d+-\w+/g, 'gen')
      .replaceAll(/"(created|created_at|completed_at)":\d+/g, '"$1":0')
      .replaceAll(/\b(chatcmpl|resp|msg|gen|req|rs|fc|call|toolu)[_-][0-9a-f]{20,}(_\d+)?/g, '$1$2')
      .replaceAll(/127\.0\.0\.1:\d+/g, 'host')
      .replaceAll(/\b(aitxt|call|msg|aitxn|aiobj)-\w{16,}\b/g, '$1')
      .replace(/^[A-Za-z0-9]{16}$/, 'id');
  }
  if (typeof value !== 'object' || value === null) return typeof value === 'function' ? 'function' : value;
  const known = seen.get(value);
  if (known !== undefined) return known;
  if (value instanceof Date) return 'date';
  if (ArrayBuffer.isView(value)) return `${value.byteLength} bytes`;
  if (Array.isArray(value)) {
    const list: unknown[] = [];
    seen.set(value, list);
    for (const each of value as unknown[]) list.push(normal(each, seen));
    return list;
  }
  const copy: Record<string, unknown> = {};
  seen.set(value, copy);
  if (value instanceof Error)
    Object.assign(copy, {
      name: value.name,
      message: normal(value.message),
      cause: normal(value.cause, seen),
    });
  for (const [key, each] of Object.entries(value)) {
    if (
      /^(created|created_at|completed_at|date|performance|x-generation-id)$|^socket$|Ms$|timestamp/i.test(key)
    )
      copy[key] = typeof each;
    else copy[key] = normal(each, seen);
  }
  return copy;
}

export async function caught(work: () => PromiseLike<unknown>): Promise<unknown> {
  try {
    return await work();
  } catch (error) {
    return { thrown: error };
  }
}
