/** The price ceiling that OpenRouter is told in a request's `provider` field. Pure. */
import type { GuardedCall } from '../guarded-call.ts';
import { scaleExactly } from '../money.ts';
import { fieldsOf, type Fields } from './fields.ts';

type MaxPrice = NonNullable<GuardedCall['maxPrice']>;

/** Our words for the parts of a ceiling, and OpenRouter's. */
const PARTS = [
  ['input', 'prompt'],
  ['output', 'completion'],
  ['request', 'request'],
] as const;

function isAtMost(value: unknown, most: string): boolean {
  if (typeof value !== 'number' && typeof value !== 'string') return false;
  try {
    const own = scaleExactly(value, 9);
    return own >= 0n && own <= scaleExactly(most, 9);
  } catch {
    return false;
  }
}

/** The `provider` field of a request with the ceiling in it. A lower one that the caller has set stays. */
export function toldCeiling(provider: unknown, ceiling: MaxPrice): Fields {
  const own = fieldsOf(fieldsOf(provider)['max_price']);
  const limits: Record<string, unknown> = { ...own };
  for (const [part, name] of PARTS) {
    const most = ceiling[part];
    if (most !== undefined && !isAtMost(own[name], most)) limits[name] = Number(most);
  }
  return { ...fieldsOf(provider), max_price: limits };
}

/** True when the `provider` field of a request holds it to the ceiling. */
export function isTold(provider: unknown, ceiling: MaxPrice): boolean {
  const sent = fieldsOf(fieldsOf(provider)['max_price']);
  return PARTS.every(([part, name]) => {
    const most = ceiling[part];
    return most === undefined || isAtMost(sent[name], most);
  });
}
