/**
 * Our own option of a call: the scope that it names. It never leaves the process, wherever it stands, for some
 * providers send all options as they are. Pure.
 */
import { AgentGuardError } from '../src/errors.ts';
import type { SpendRequest } from '../src/request.ts';
import { checkScope, type SpendScope } from '../src/scope.ts';
import { fieldsOf, isFields, type Fields } from '../src/wire/fields.ts';
import { optionsKey } from './ai-sdk-wire.ts';

const OWN = 'spendGuard';

/** The same object without our option; the very same where it has none. */
function bare(holder: unknown): unknown {
  if (!isFields(holder)) return holder;
  let copy = holder;
  for (const key of ['providerOptions', 'providerMetadata'] as const) {
    const options = holder[key];
    if (!isFields(options) || !(OWN in options)) continue;
    const { [OWN]: _, ...others } = options;
    const { [key]: __, ...rest } = copy;
    copy = Object.keys(others).length === 0 ? rest : { ...rest, [key]: others };
  }
  return copy;
}

/** A list with each item changed; the very same where nothing changes. */
function each(list: unknown, change: (item: unknown) => unknown): unknown {
  if (!Array.isArray(list)) return list;
  let copy: unknown[] | undefined;
  for (let at = 0; at < list.length; at++) {
    const changed = change(list[at]);
    if (changed === list[at]) continue;
    copy ??= [...(list as unknown[])];
    copy[at] = changed;
  }
  return copy ?? list;
}

/** The same object with a field changed; the very same where it doesn't change. */
function inside(holder: unknown, field: string, change: (value: unknown) => unknown): unknown {
  if (!isFields(holder) || !(field in holder)) return holder;
  const changed = change(holder[field]);
  return changed === holder[field] ? holder : { ...holder, [field]: changed };
}

/** What a tool gave back has options of its own, and may be a list of parts. */
function barePart(part: unknown): unknown {
  const output = (value: unknown): unknown => inside(bare(value), 'value', (parts) => each(parts, bare));
  return inside(inside(bare(part), 'output', output), 'content', (parts) => each(parts, bare));
}

function bareMessage(message: unknown): unknown {
  return inside(bare(message), 'content', (parts) => each(parts, barePart));
}

/** The call without our option on messages, their parts and tools, where nothing reads it. */
function withoutStray(params: Fields): Fields {
  const inTools = (holder: unknown): unknown => inside(holder, 'tools', (tools) => each(tools, bare));
  const inMode = inside(inTools(params), 'mode', (mode) => inside(inTools(mode), 'tool', bare));
  return inside(inMode, 'prompt', (prompt) => each(prompt, bareMessage)) as Fields;
}

/** What a call says of itself in its options: its scope and its capabilities. */
type OwnWords = { scope: SpendScope | undefined } & Pick<SpendRequest, 'claims' | 'capability'>;

/** What the call says of itself, and the call without it. Throws `AgentGuardError` for a scope that isn't valid. */
export function takeScope(given: Fields): { params: Fields } & OwnWords {
  const key = optionsKey(given);
  const options = fieldsOf(given[key]);
  const params = withoutStray(bare(given) as Fields);
  const own = options[OWN];
  if (own === undefined || own === null) return { params, scope: undefined };
  if (!isFields(own) || Array.isArray(own)) {
    throw new AgentGuardError('invalid_config', `${key}.${OWN}: expected the fields of a scope`);
  }
  const { claims, capability, ...scope } = own as SpendScope & Omit<OwnWords, 'scope'>;
  return {
    params,
    scope: checkScope(`${key}.${OWN}`, scope),
    ...(claims !== undefined && { claims }),
    ...(capability !== undefined && { capability }),
  };
}
