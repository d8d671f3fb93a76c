/**
 * Whether a request asks for a prompt cache that lasts longer than the usual five minutes. Anthropic charges twice the
 * input price for writing one that lasts an hour. Pure.
 */
import { fieldsOf, isFields } from './fields.ts';

/** A cache of an hour, which has a rate of its own, or of any other time, which nobody has a rate for. */
export type LongCache = 'hour' | 'other';

/** Five minutes is also what no `ttl` means. Whatever else there is lasts longer, for all that is known. */
function lifeOf(control: unknown): LongCache | undefined {
  const ttl = isFields(control) ? (control['ttl'] ?? '5m') : '5m';
  if (ttl === '5m') return undefined;
  return ttl === '1h' ? 'hour' : 'other';
}

/** What several parts of one request ask for together. */
export function longest(...asked: readonly (LongCache | undefined)[]): LongCache | undefined {
  return asked.includes('other') ? 'other' : asked.find((each) => each !== undefined);
}

const NAMES = ['cacheControl', 'cache_control', 'cachePoint'] as const;

/** What the options of one provider, or the fields of a request, ask for. */
export function longCacheOf(options: unknown): LongCache | undefined {
  const fields = fieldsOf(options);
  return longest(...NAMES.map((name) => lifeOf(fields[name])));
}

/** What a request, or messages or tools in one, ask for anywhere inside. Texts are not looked into. */
export function longCacheWithin(value: unknown, seen = new Set<unknown>()): LongCache | undefined {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value) || seen.has(value))
    return undefined;
  seen.add(value);
  let asked = longCacheOf(value);
  for (const each of Object.values(value)) asked = longest(asked, longCacheWithin(each, seen));
  return asked;
}

/** Why a call that asks for such a cache has no bound, where it has none whatever its model. */
export function longCacheFee(asked: LongCache | undefined): string | undefined {
  if (asked !== 'other') return undefined;
  return 'a prompt cache with a ttl that has no known price; ask for "1h" or for "5m", which is also what no ttl means';
}

/** The member of a request to the guard that says so. */
export function hourCacheOf(asked: LongCache | undefined): { hourCache?: true } {
  return asked === 'hour' ? { hourCache: true } : {};
}
