/** RFC 8785 (JCS) for the values that receipts are made of: strings, safe integers, booleans, arrays, objects. */

/** Names of digits alone are out too: JavaScript puts them in an order of its own. */
const ASCII_NAME = /^(?!\d+$)[\x20-\x7e]+$/;

/** Far more levels than any receipt has, and few enough for every reader's stack. */
const MAX_DEPTH = 32;

/** Member names are few, and each is checked once. */
const NAMES_KEPT = 4096;
const checkedNames = new Set<string>();

function checkName(name: string): void {
  if (checkedNames.has(name)) return;
  if (!ASCII_NAME.test(name))
    throw new TypeError(`a receipt may not hold the member ${JSON.stringify(name)}`);
  if (checkedNames.size >= NAMES_KEPT) checkedNames.clear();
  checkedNames.add(name);
}

/**
 * The RFC 8785 form of `value`. Members with the value `undefined` are left out. Throws `TypeError` for what a
 * receipt may not hold: fractions, integers beyond 2^53, null, lone surrogates, member names outside ASCII.
 *
 * For values of this kind the RFC's form is that of `JSON.stringify` with the members in order (sections 3.2.2
 * and 3.2.3: ECMAScript's own rules for strings and numbers), so the native function writes it.
 */
export function canonicalJson(value: unknown): string {
  const text = JSON.stringify(inOrder(value, 0));
  // `JSON.stringify` escapes lone surrogates and nothing else this way; a text may also hold a backslash and "ud".
  if (text.includes('\\ud') && !isWellFormed(value)) {
    throw new TypeError('a receipt may not hold a lone surrogate');
  }
  return text;
}

function isWellFormed(value: unknown): boolean {
  if (typeof value === 'string') return value.isWellFormed();
  return typeof value !== 'object' || value === null || Object.values(value).every(isWellFormed);
}

/** `value` itself where its members are in order already, else a copy in which they are. Checks all of it. */
function inOrder(value: unknown, depth: number): unknown {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return value;
    case 'number':
      if (!Number.isSafeInteger(value) || Object.is(value, -0)) {
        throw new TypeError(`a receipt may hold only safe integers, not ${value}; write amounts as strings`);
      }
      return value;
    case 'object':
      if (depth >= MAX_DEPTH)
        throw new TypeError(`a receipt may not be nested deeper than ${MAX_DEPTH} levels`);
      if (Array.isArray(value)) return arrayInOrder(value, depth + 1);
      if (value !== null) return objectInOrder(value as Record<string, unknown>, depth + 1);
  }
  throw new TypeError(`a receipt may not hold ${value === null ? 'null' : typeof value}`);
}

function arrayInOrder(values: readonly unknown[], depth: number): readonly unknown[] {
  let copy: unknown[] | undefined;
  for (let index = 0; index < values.length; index++) {
    const item = inOrder(values[index], depth);
    if (item !== values[index]) (copy ??= [...values])[index] = item;
  }
  return copy ?? values;
}

function objectInOrder(value: Record<string, unknown>, depth: number): Record<string, unknown> {
  let before = '';
  let isOrdered = true;
  let changed: Map<string, unknown> | undefined;
  // Values come from JSON or from literals, so there is nothing to inherit; `for in` spares the list of names.
  for (const name in value) {
    checkName(name);
    if (before > name) isOrdered = false;
    before = name;
    const member = value[name];
    if (member === undefined) continue;
    const ordered = inOrder(member, depth);
    if (ordered !== member) (changed ??= new Map()).set(name, ordered);
  }
  if (isOrdered && changed === undefined) return value;
  const copy: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
  for (const name of Object.keys(value).sort()) {
    if (value[name] !== undefined) copy[name] = changed?.get(name) ?? value[name];
  }
  return copy;
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Decodes strict UTF-8: no replacement characters, no byte order mark removed. Throws `TypeError`. */
export function strictUtf8(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}
