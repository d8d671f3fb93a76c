/**
 * Whether a request asks for a prompt cache that lasts an hour. Anthropic charges twice the input price for writing
 * it, and answers don't tell every adapter how much of what was written is of that kind. Pure.
 */
import { fieldsOf, isFields } from './fields.ts';

export const HOUR_CACHE =
  'a one-hour cache write, whose tokens are not told apart from those of the five-minute cache; use that one';

/** Five minutes is also what no `ttl` means. Whatever else there is lasts longer. */
function lastsLonger(control: unknown): boolean {
  if (!isFields(control)) return false;
  const { ttl } = control;
  return ttl !== undefined && ttl !== null && ttl !== '5m';
}

/** True for the options of one provider, or the fields of a request, that ask for it. */
export function asksForHour(options: unknown): boolean {
  const { cacheControl, cache_control, cachePoint } = fieldsOf(options);
  return lastsLonger(cacheControl) || lastsLonger(cache_control) || lastsLonger(cachePoint);
}

/** The same in JSON of messages or tools. Quotes in their texts are escaped, so no text passes for it. */
const IN_JSON = /"(cacheControl|cache_control|cachePoint)":\{[^{}]*"ttl":(?!"5m"|null)/;

export function asksForHourInJson(json: string): boolean {
  return IN_JSON.test(json);
}
