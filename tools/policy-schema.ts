/**
 * Writes `policy.schema.json`, with which editors complete and check policy files: `npm exec node
 * tools/policy-schema.ts`. The shape comes from the schema that `parsePolicy` checks with; what that says in code
 * (amounts, instants, which fields go together) is said again here in JSON Schema, and held against it by a test.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { toJsonSchema } from '@valibot/to-json-schema';
import { policyFields } from '../src/policy/schema.ts';
import { DESCRIPTIONS } from './policy-schema-words.ts';

export interface Schema {
  [keyword: string]: unknown;
  properties?: Record<string, Schema>;
  items?: Schema;
  anyOf?: Schema[];
}

export const SCHEMA_FILE: URL = new URL('../policy.schema.json', import.meta.url);

/** Of the time-zone database and this runtime, in all their spellings but for upper and lower case. */
const ZONES = readFileSync(new URL('time-zones.txt', import.meta.url), 'utf8')
  .trim()
  .split('\n');

const DATE = String.raw`\d{4}-((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|[12]\d))`;
const TIME = String.raw`(([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d+)?)?|24:00(:00(\.0+)?)?)`;
const OFFSET = String.raw`^[+-]([01]\d|2[0-3])(:?[0-5]\d)?$`;
const ZONE = String.raw`(Z|[+-]([01]\d|2[0-3]):[0-5]\d)`;

/** A decimal from 0 to `10^digits` with at most `places` places, as a number or as text. */
function decimal(digits: number, places: number): Schema {
  const text = String.raw`0*(\d{1,${digits}}|10{${digits}})(\.\d{1,${places}}0*)?`;
  return {
    anyOf: [
      { type: 'number', anyOf: [{ const: 0 }, { minimum: 10 ** -places, maximum: 10 ** digits }] },
      { type: 'string', maxLength: 64, pattern: String.raw`^\s*${text}\s*$` },
    ],
  };
}

const AMOUNT = decimal(17, 7);
const PRICE = decimal(9, 9);

/** Text that `isWellFormed`. */
const SOUND = String.raw`^[^\uD800-\uDFFF]+$`;

const NO_STAR = String.raw`^[^*\uD800-\uDFFF]+$`;

const CAPABILITY = String.raw`^[A-Za-z0-9][A-Za-z0-9_.:/-]{0,63}$`;

function withPattern(schema: Schema, pattern: string): Schema {
  if (schema.anyOf !== undefined)
    return { ...schema, anyOf: schema.anyOf.map((each) => withPattern(each, pattern)) };
  if (schema.items !== undefined) return { ...schema, items: withPattern(schema.items, pattern) };
  return schema['type'] === 'string' && schema['enum'] === undefined ? { ...schema, pattern } : schema;
}

/** What the checks of a field say that is code, by the path of the field. */
const IN_WORDS_OF_JSON: Readonly<Record<string, (schema: Schema) => Schema>> = {
  'caps.amountCents': () => AMOUNT,
  'caps.alerts': (schema) => ({ ...schema, items: { type: 'number', minimum: 0.0001, maximum: 10 } }),
  'rules.routeTo': (schema) => withPattern(schema, NO_STAR),
  'rules.requires': (schema) => withPattern(schema, CAPABILITY),
  'rules.maxPrice': ({ anyOf = [] }) => {
    const object = anyOf.find(({ properties }) => properties !== undefined) as Schema;
    return { anyOf: [...(PRICE.anyOf ?? []), { ...object, minProperties: 1 }] };
  },
  'rules.maxPrice.input': () => PRICE,
  'rules.maxPrice.output': () => PRICE,
  'rules.maxPrice.request': () => PRICE,
  effectiveFrom: () => ({ type: 'string', pattern: `^${DATE}(T${TIME}${ZONE})?$` }),
  timeZone: () => ({ $ref: '#/definitions/timeZone' }),
};

const DEFAULTS: Readonly<Record<string, unknown>> = {
  mode: 'enforce',
  timeZone: 'UTC',
  weekStart: 'monday',
  maxOutputTokens: 8192,
  unknownPrice: 'block',
};

function withoutEmpty({ required, ...schema }: Schema): Schema {
  return Array.isArray(required) && required.length === 0
    ? schema
    : { ...schema, ...(required !== undefined && { required }) };
}

function refined(given: Schema, path: string): Schema {
  let schema = withoutEmpty(given);
  const { properties, items, anyOf } = schema;
  if (properties !== undefined) {
    const named = Object.entries(properties).map(([name, each]): [string, Schema] => {
      const at = path === '' ? name : `${path}.${name}`;
      return [name, described(refined(each, at), at)];
    });
    schema = { ...schema, properties: Object.fromEntries(named) };
  }
  if (items !== undefined) schema = { ...schema, items: refined(items, path) };
  if (anyOf !== undefined) schema = { ...schema, anyOf: anyOf.map((each) => refined(each, path)) };
  if (schema['type'] === 'string' && schema['enum'] === undefined) schema = { ...schema, pattern: SOUND };
  return schema;
}

function described(schema: Schema, path: string): Schema {
  const given = IN_WORDS_OF_JSON[path]?.(schema) ?? schema;
  // In draft 7 nothing beside a $ref counts.
  const inJson = given['$ref'] === undefined ? given : { allOf: [given] };
  const description = DESCRIPTIONS[path];
  if (description === undefined)
    throw new Error(`${path} has no description in tools/policy-schema-words.ts`);
  return { description, ...(path in DEFAULTS && { default: DEFAULTS[path] }), ...inJson };
}

const CAP_CONDITIONS: Schema[] = [
  {
    if: { properties: { action: { const: 'downgrade' } }, required: ['action'] },
    // oxlint-disable-next-line unicorn/no-thenable -- a keyword of JSON Schema
    then: { required: ['downgradeTo'] },
    else: { properties: { downgradeTo: false, sticky: false } },
  },
  {
    if: { properties: { window: { const: 'per_call' } }, required: ['window'] },
    // oxlint-disable-next-line unicorn/no-thenable -- a keyword of JSON Schema
    then: { properties: { alerts: false } },
  },
];

const RULE_CONDITIONS: Schema[] = [
  { anyOf: ['models', 'maxPrice', 'requires', 'routeTo'].map((field) => ({ required: [field] })) },
  {
    if: { properties: { signed: { const: true } }, required: ['signed'] },
    // oxlint-disable-next-line unicorn/no-thenable -- a keyword of JSON Schema
    then: { required: ['requires'] },
  },
];

/** The JSON Schema of a policy file. */
export function policySchema(): Schema {
  const converted = toJsonSchema(policyFields, { errorMode: 'ignore', typeMode: 'input' }) as Schema;
  const { $schema: _, ...shape } = converted;
  const policy = refined(shape, '');
  const { scope, caps, rules, ...others } = policy.properties as Record<string, Schema>;
  const { items: cap, ...capList } = caps as Schema;
  const { items: rule, ...ruleList } = rules as Schema;
  const ref = (name: string): Schema => ({ $ref: `#/definitions/${name}` });
  const properties = {
    ...others,
    scope: scope as Schema,
    caps: { ...capList, items: ref('cap') },
    rules: { ...ruleList, items: ref('rule') },
  };
  const list: Schema = { type: 'array', minItems: 1, items: ref('policy') };
  const editor: Schema = { type: 'string', description: 'Where this schema is, for the editor.' };
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'AgentGuard Spend policy file',
    description: 'One policy, a list of policies, or a list under "policies". All that match a call apply.',
    if: { type: 'array' },
    // oxlint-disable-next-line unicorn/no-thenable -- a keyword of JSON Schema
    then: list,
    else: {
      if: { required: ['policies'] },
      // oxlint-disable-next-line unicorn/no-thenable -- a keyword of JSON Schema
      then: {
        type: 'object',
        properties: { $schema: editor, policies: { description: 'The policies of this file.', ...list } },
        additionalProperties: false,
      },
      else: { ...policy, properties: { $schema: editor, ...properties } },
    },
    definitions: {
      policy: { ...policy, properties },
      cap: { ...cap, allOf: CAP_CONDITIONS },
      rule: { ...rule, allOf: RULE_CONDITIONS },
      timeZone: { anyOf: [{ enum: ZONES }, { type: 'string', pattern: OFFSET }] },
    },
  };
}

export function policySchemaText(): string {
  return `${JSON.stringify(policySchema(), undefined, 2)}\n`;
}

if (import.meta.main) writeFileSync(SCHEMA_FILE, policySchemaText());
