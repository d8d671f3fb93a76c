/**
 * Whether a call asks for a prompt cache that lasts an hour, wherever the options of the AI SDK can say so. Pure.
 */
import { fieldsOf, isFields, listOf, type Fields } from '../src/wire/fields.ts';
import { asksForHour } from '../src/wire/hour-cache.ts';
import { toolsOf } from './ai-sdk-usage.ts';

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
