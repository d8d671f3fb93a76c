/** Reading values whose shape nobody promised: what frameworks hand over, and what came over the wire. Pure. */

export type Fields = Readonly<Record<string, unknown>>;

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null;
}

/** The fields of an object; none for everything else. */
export function fieldsOf(value: unknown): Fields {
  return isFields(value) ? value : {};
}

export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? (value as unknown[]) : [];
}

export function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/** A whole number of at least 1. */
export function positive(value: unknown): number | undefined {
  return Number.isSafeInteger(value) && (value as number) > 0 ? (value as number) : undefined;
}

/** JSON as a client will write it; what can't be written can't be sent either. */
export function json(value: unknown): string {
  try {
    return JSON.stringify(value) ?? '';
  } catch {
    return '';
  }
}

/** The sum of the counts that were reported. */
export function sum(...counts: unknown[]): number {
  let total = 0;
  for (const count of counts) if (typeof count === 'number' && count > 0) total += count;
  return total;
}

/**
 * What `read` finds in a provider's answer, or `otherwise` where reading it throws: an answer that is paid for never
 * fails for what is said about it, and usage that can't be read is unknown.
 */
export function attempt<T>(read: () => T, otherwise: T): T {
  try {
    return read();
  } catch {
    return otherwise;
  }
}
