/**
 * What prompt cache a call asks for, wherever the options of the AI SDK can say so. Pure.
 */
import { fieldsOf, isFields, listOf, type Fields } from '../src/wire/fields.ts';
import { longCacheOf, longest, type LongCache } from '../src/wire/hour-cache.ts';
import { toolsOf } from './ai-sdk-usage.ts';

/** The providers whose options count; `undefined` for all. */
type Reads = readonly string[] | undefined;

type Asked = LongCache | undefined;

function inOptions(all: unknown, reads: Reads): Asked {
  if (!isFields(all)) return undefined;
  const counted = Object.keys(all).filter((name) => reads?.includes(name) ?? true);
  return longest(...counted.map((name) => longCacheOf(all[name])));
}

/** Options have two names, by the version of `ai`. */
function inOptionsOf(holder: unknown, reads: Reads): Asked {
  if (!isFields(holder)) return undefined;
  return longest(inOptions(holder['providerOptions'], reads), inOptions(holder['providerMetadata'], reads));
}

function inOptionsOfAny(holders: unknown, reads: Reads): Asked {
  return longest(...listOf(holders).map((holder) => inOptionsOf(holder, reads)));
}

function inPart(part: unknown, reads: Reads): Asked {
  // what a tool gave back has options of its own, and may be a list of parts
  const { output, content } = fieldsOf(part);
  const given = isFields(output)
    ? longest(inOptionsOf(output, reads), inOptionsOfAny(output['value'], reads))
    : undefined;
  return longest(inOptionsOf(part, reads), inOptionsOfAny(content, reads), given);
}

function inMessage(message: unknown, reads: Reads): Asked {
  const parts = listOf(fieldsOf(message)['content']).map((part) => inPart(part, reads));
  return longest(inOptionsOf(message, reads), ...parts);
}

/** What the call, a message, a part of one or a tool asks for. Looks at options only, never into texts. */
export function longCacheIn(params: Fields, reads?: readonly string[]): Asked {
  return longest(
    inOptionsOf(params, reads),
    inOptionsOfAny(toolsOf(params), reads),
    ...listOf(params['prompt']).map((message) => inMessage(message, reads)),
  );
}
