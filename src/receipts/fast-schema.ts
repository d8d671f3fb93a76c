/**
 * A schema as one function that answers yes or no. Schemas themselves say what is wrong and where, which takes several
 * times as long; nearly every receipt that is read is right. A test holds the two against each other.
 */
import type * as v from 'valibot';

/** True for a value that fits. */
export type Fits = (value: unknown) => boolean;

type AnySchema = v.GenericSchema & {
  entries?: Readonly<Record<string, AnySchema>>;
  items?: readonly AnySchema[];
  item?: AnySchema;
  key?: AnySchema;
  value?: AnySchema;
  wrapped?: AnySchema;
  literal?: unknown;
  options?: readonly unknown[];
  pipe?: readonly (AnySchema | Action)[];
};

interface Action {
  kind: 'validation';
  type: string;
  requirement: unknown;
}

/** Throws `TypeError` for a kind of schema that receipts don't use. */
export function compileSchema(schema: v.GenericSchema): Fits {
  const { pipe } = schema as AnySchema;
  if (pipe === undefined) return compileBare(schema as AnySchema);
  const steps = pipe.map((step) =>
    step.kind === 'schema' ? compileBare(step) : compileAction(step as Action),
  );
  return (value) => steps.every((fits) => fits(value));
}

function compileBare(schema: AnySchema): Fits {
  switch (schema.type) {
    case 'string':
      return (value) => typeof value === 'string';
    case 'number':
      return (value) => typeof value === 'number';
    case 'boolean':
      return (value) => typeof value === 'boolean';
    case 'unknown':
      return () => true;
    case 'literal':
      return (value) => value === schema.literal;
    case 'picklist': {
      const options = new Set(schema.options);
      return (value) => options.has(value);
    }
    case 'array': {
      const fits = compileSchema(schema.item as AnySchema);
      return (value) => Array.isArray(value) && value.every(fits);
    }
    case 'strict_tuple': {
      const items = (schema.items ?? []).map(compileSchema);
      return (value) =>
        Array.isArray(value) &&
        value.length === items.length &&
        items.every((fits, index) => fits(value[index]));
    }
    case 'record': {
      const fits = compileSchema(schema.value as AnySchema);
      return (value) => isObject(value) && Object.values(value).every(fits);
    }
    case 'strict_object':
      return compileObject(schema.entries ?? {});
  }
  throw new TypeError(`receipts have no schema of type ${schema.type}`);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function compileObject(entries: Readonly<Record<string, AnySchema>>): Fits {
  const members = new Map<string, { fits: Fits; isNeeded: boolean }>();
  let needed = 0;
  for (const [name, entry] of Object.entries(entries)) {
    const isNeeded = entry.type !== 'exact_optional';
    members.set(name, { fits: compileSchema(isNeeded ? entry : (entry.wrapped as AnySchema)), isNeeded });
    if (isNeeded) needed += 1;
  }
  return (value) => {
    if (!isObject(value)) return false;
    let found = 0;
    for (const name in value) {
      const member = members.get(name);
      if (member === undefined || !member.fits(value[name])) return false;
      if (member.isNeeded) found += 1;
    }
    return found === needed;
  };
}

function compileAction({ type, requirement }: Action): Fits {
  switch (type) {
    case 'regex':
      return (value) => (requirement as RegExp).test(value as string);
    case 'max_length':
      return (value) => (value as string).length <= (requirement as number);
    case 'safe_integer':
      return Number.isSafeInteger;
    case 'min_value':
      return (value) => (value as number) >= (requirement as number);
    case 'check':
      return requirement as Fits;
  }
  throw new TypeError(`receipts have no check of type ${type}`);
}
