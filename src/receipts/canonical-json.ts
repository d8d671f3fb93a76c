/** RFC 8785 (JCS) for the values that receipts are made of: strings, safe integers, booleans, arrays, objects. */

const ASCII_NAME = /^[\x20-\x7e]+$/;

/**
 * The RFC 8785 form of `value`. Members with the value `undefined` are left out. Throws `TypeError` for what a
 * receipt may not hold: fractions, integers beyond 2^53, null, lone surrogates, member names outside ASCII.
 */
export function canonicalJson(value: unknown): string {
  switch (typeof value) {
    case 'string':
      if (!value.isWellFormed()) throw new TypeError('a receipt may not hold a lone surrogate');
      return JSON.stringify(value);
    case 'number':
      if (!Number.isSafeInteger(value) || Object.is(value, -0)) {
        throw new TypeError(`a receipt may hold only safe integers, not ${value}; write amounts as strings`);
      }
      return String(value);
    case 'boolean':
      return value ? 'true' : 'false';
    case 'object':
      if (Array.isArray(value)) return canonicalArray(value);
      if (value !== null) return canonicalObject(value as Record<string, unknown>);
  }
  throw new TypeError(`a receipt may not hold ${value === null ? 'null' : typeof value}`);
}

function canonicalArray(values: readonly unknown[]): string {
  let text = '[';
  for (let index = 0; index < values.length; index++) {
    text += (index === 0 ? '' : ',') + canonicalJson(values[index]);
  }
  return `${text}]`;
}

function canonicalObject(value: Record<string, unknown>): string {
  const names = Object.keys(value);
  for (let index = 1; index < names.length; index++) {
    // Most objects are built in order; sorting only those that are not saves a third of the time.
    if ((names[index - 1] as string) > (names[index] as string)) {
      names.sort();
      break;
    }
  }
  let text = '{';
  for (const name of names) {
    const member = value[name];
    if (member === undefined) continue;
    if (!ASCII_NAME.test(name))
      throw new TypeError(`a receipt may not hold the member ${JSON.stringify(name)}`);
    text += `${text === '{' ? '' : ','}${JSON.stringify(name)}:${canonicalJson(member)}`;
  }
  return `${text}}`;
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Decodes strict UTF-8: no replacement characters, no byte order mark removed. Throws `TypeError`. */
export function strictUtf8(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}
