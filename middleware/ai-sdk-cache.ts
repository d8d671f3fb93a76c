/**
 * Whether a call asks for a prompt cache that lasts an hour. Anthropic charges twice the input price for writing it;
 * the price list has only the rate of the five-minute cache. Pure.
 */
import { fieldsOf, isFields, listOf, toolsOf, type Fields } from './ai-sdk-usage.ts';

export const HOUR_CACHE =
  'a one-hour cache write, whose rate the price list does not have; use the five-minute cache';

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

/** The providers whose options count; `undefined` for all. */
type Reads = readonly string[] | undefined;

function inOptions(all: unknown, reads: Reads): boolean {
  if (!isFields(all)) return false;
  return Object.keys(all).some((name) => (reads?.includes(name) ?? true) && asksForHour(all[name]));
}

/** Options have two names, by the version of `ai`. */
function inOptionsOf(holder: unknown, reads: Reads): boolean {
  if (!isFields(holder)) return false;
  return inOptions(holder['providerOptions'], reads) || inOptions(holder['providerMetadata'], reads);
}

function inOptionsOfAny(holders: unknown, reads: Reads): boolean {
  return Array.isArray(holders) && holders.some((holder) => inOptionsOf(holder, reads));
}

function inPart(part: unknown, reads: Reads): boolean {
  if (inOptionsOf(part, reads)) return true;
  // what a tool gave back has options of its own, and may be a list of parts
  const { output, content } = fieldsOf(part);
  if (inOptionsOfAny(content, reads)) return true;
  return isFields(output) && (inOptionsOf(output, reads) || inOptionsOfAny(output['value'], reads));
}

function inMessage(message: unknown, reads: Reads): boolean {
  if (inOptionsOf(message, reads)) return true;
  return listOf(fieldsOf(message)['content']).some((part) => inPart(part, reads));
}

/** True when the call, a message, a part of one or a tool asks for it. Looks at options only, never into texts. */
export function hourCacheIn(params: Fields, reads?: readonly string[]): boolean {
  if (inOptionsOf(params, reads) || inOptionsOfAny(toolsOf(params), reads)) return true;
  return listOf(params['prompt']).some((message) => inMessage(message, reads));
}
