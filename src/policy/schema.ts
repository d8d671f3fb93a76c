/** The policy's schema: what a user may write, and how it becomes the normal form. */
import * as v from 'valibot';
import { nanoUsdFromCents, scaleExactly, usdText } from '../money.ts';
import { SCOPE_FIELDS, type ScopeField } from '../scope.ts';
import { isTimeZone, WEEKDAYS, WINDOW_KINDS } from '../windows.ts';
import { capabilityName, isCapabilityName } from '../capability-names.ts';
import { EXPECTED, instantProblem, shown } from './problems.ts';
import {
  CAP_ACTIONS,
  DEFAULT_MAX_OUTPUT_TOKENS,
  MAX_CAPS,
  MAX_RULES,
  type Cap,
  type Ceiling,
  type Rule,
} from './types.ts';

const shortText = (limit: number) =>
  v.pipe(v.string(), v.nonEmpty(), v.maxLength(limit), v.check(isSound, UNSOUND));
const UNSOUND = 'expected text without lone surrogates';
function isSound(text: string): boolean {
  return text.isWellFormed();
}

const scopeEntries = Object.fromEntries(
  SCOPE_FIELDS.map((field) => [field, v.optional(shortText(128))]),
) as Record<ScopeField, v.OptionalSchema<ReturnType<typeof shortText>, undefined>>;

const scopeFields = v.strictObject(scopeEntries);

const amountCents = v.pipe(
  v.union([v.number(), v.string()]),
  v.rawTransform<number | string, string>(({ dataset, addIssue, NEVER }) => {
    try {
      const amount = nanoUsdFromCents(dataset.value);
      if (amount >= 0n) return amount.toString();
    } catch {
      // reported below
    }
    addIssue({ message: `expected ${EXPECTED['amountCents']}; got ${shown(dataset.value)}` });
    return NEVER;
  }),
);

const tokens = v.pipe(v.number(), v.safeInteger('expected a whole number'), v.minValue(1));

/** One text, or a list of them; in normal form always a list without repetitions. */
const oneOrMore = (text: v.GenericSchema<string>, most: number) =>
  v.pipe(
    v.union([text, v.pipe(v.array(text), v.minLength(1), v.maxLength(most))]),
    v.transform((value): readonly string[] => [...new Set([value].flat())]),
  );

const MOST_MODELS = 32;
const modelPatterns = oneOrMore(shortText(256), MOST_MODELS);
const modelIds = oneOrMore(
  v.pipe(
    shortText(256),
    v.check(
      (id) => !id.includes('*'),
      'expected the id of one model; a pattern with * names none to send a call to',
    ),
  ),
  16,
);

/** An alert is recorded in ten-thousandths, for receipts hold whole numbers only. */
const alertShare = v.pipe(
  v.number(),
  v.rawTransform<number, number>(({ dataset, addIssue, NEVER }) => {
    try {
      const share = Number(scaleExactly(dataset.value, 4));
      if (share >= 1 && share <= 100_000) return share;
    } catch {
      // reported below
    }
    addIssue({ message: `expected ${EXPECTED['alert']}; got ${shown(dataset.value)}` });
    return NEVER;
  }),
);

const capFields = v.pipe(
  v.strictObject({
    amountCents,
    window: v.picklist(WINDOW_KINDS),
    action: v.picklist(CAP_ACTIONS),
    downgradeTo: v.optional(
      v.union([shortText(256), v.pipe(v.array(shortText(256)), v.minLength(1), v.maxLength(16))]),
    ),
    sticky: v.optional(v.literal('task')),
    models: v.optional(modelPatterns),
    per: v.optional(v.pipe(v.array(v.picklist(SCOPE_FIELDS)), v.minLength(1))),
    alerts: v.optional(v.pipe(v.array(alertShare), v.minLength(1), v.maxLength(8))),
    reason: v.optional(shortText(256)),
  }),
  v.forward(
    v.check(
      ({ action, downgradeTo }) => action !== 'downgrade' || downgradeTo !== undefined,
      'missing; action "downgrade" needs the cheaper model, e.g. "openai/gpt-5-mini"',
    ),
    ['downgradeTo'],
  ),
  v.forward(
    v.check(
      ({ action, downgradeTo }) => action === 'downgrade' || downgradeTo === undefined,
      'remove it, or set action to "downgrade"',
    ),
    ['downgradeTo'],
  ),
  v.forward(
    v.check(
      ({ action, sticky }) => action === 'downgrade' || sticky === undefined,
      'remove it, or set action to "downgrade"',
    ),
    ['sticky'],
  ),
  v.forward(
    v.check(
      ({ window, alerts }) => window !== 'per_call' || alerts === undefined,
      'remove it; a per_call cap has no balance that could reach a part of it',
    ),
    ['alerts'],
  ),
  v.transform(
    ({ amountCents: amount, downgradeTo, models, per, alerts, ...cap }): Cap =>
      ({
        amount,
        ...cap,
        ...(downgradeTo !== undefined && { downgradeTo: [downgradeTo].flat() }),
        ...(models !== undefined && { models: models.toSorted() }),
        ...(per !== undefined && { per: SCOPE_FIELDS.filter((field) => per.includes(field)) }),
        ...(alerts !== undefined && { alerts: [...new Set(alerts)].toSorted((a, b) => a - b) }),
      }) as Cap,
  ),
);

const price = v.pipe(
  v.union([v.number(), v.string()]),
  v.rawTransform<number | string, string>(({ dataset, addIssue, NEVER }) => {
    try {
      const rate = scaleExactly(dataset.value, 9);
      if (rate >= 0n && rate <= 10n ** 18n) return usdText(rate);
    } catch {
      // reported below
    }
    addIssue({ message: `expected ${EXPECTED['price']}; got ${shown(dataset.value)}` });
    return NEVER;
  }),
);

const ceiling = v.union([
  v.pipe(
    price,
    v.transform((both): Ceiling => ({ input: both, output: both })),
  ),
  v.pipe(
    v.strictObject({ input: v.optional(price), output: v.optional(price), request: v.optional(price) }),
    v.check(
      ({ input, output, request }) => (input ?? output ?? request) !== undefined,
      'expected at least one of input, output, request',
    ),
  ),
]);

const capabilities = oneOrMore(
  v.pipe(
    v.string(),
    v.check(
      (name) => isCapabilityName(name),
      ({ input }) => `expected ${EXPECTED['capability']}; got ${shown(input)}`,
    ),
    v.transform(capabilityName),
  ),
  8,
);

const filterFields = v.strictObject({
  ...(Object.fromEntries(
    SCOPE_FIELDS.map((field) => [field, v.optional(oneOrMore(shortText(128), MOST_MODELS))]),
  ) as Record<ScopeField, v.OptionalSchema<ReturnType<typeof oneOrMore>, undefined>>),
  models: v.optional(modelPatterns),
});

const ruleFields = v.pipe(
  v.strictObject({
    when: v.optional(filterFields),
    models: v.optional(modelPatterns),
    maxPrice: v.optional(ceiling),
    requires: v.optional(capabilities),
    signed: v.optional(v.boolean()),
    routeTo: v.optional(modelIds),
    reason: v.optional(shortText(256)),
  }),
  v.check(
    ({ models, maxPrice, requires, routeTo }) => (models ?? maxPrice ?? requires ?? routeTo) !== undefined,
    'asks for nothing; expected at least one of models, maxPrice, requires, routeTo',
  ),
  v.forward(
    v.check(
      ({ signed, requires }) => signed !== true || requires !== undefined,
      'remove it, or name the capabilities in requires',
    ),
    ['signed'],
  ),
  v.transform(({ signed, ...rule }): Rule => ({ ...rule, ...(signed === true && { signed }) }) as Rule),
);

export const policyFields = v.strictObject({
  id: shortText(128),
  name: v.optional(shortText(256)),
  scope: scopeFields,
  caps: v.pipe(v.array(capFields), v.maxLength(MAX_CAPS)),
  rules: v.optional(v.pipe(v.array(ruleFields), v.maxLength(MAX_RULES))),
  mode: v.optional(v.picklist(['enforce', 'shadow']), 'enforce'),
  version: v.pipe(
    v.number(),
    v.safeInteger('expected a whole number'),
    v.minValue(0),
    // A receipt has no minus zero.
    v.transform((version) => version + 0),
  ),
  effectiveFrom: v.pipe(
    v.string(),
    v.check(
      (text) => isIsoInstant(text),
      ({ input }) => instantProblem(input),
    ),
  ),
  timeZone: v.optional(v.pipe(v.string(), v.check(isTimeZone)), 'UTC'),
  weekStart: v.optional(v.picklist(WEEKDAYS), 'monday'),
  maxOutputTokens: v.optional(v.union([tokens, v.literal('model')]), DEFAULT_MAX_OUTPUT_TOKENS),
  unknownPrice: v.optional(v.picklist(['block', 'allow']), 'block'),
  clampOutput: v.optional(v.strictObject({ minTokens: tokens })),
});

const ISO_INSTANT = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2}))?$/;

export function isIsoInstant(text: string): boolean {
  return ISO_INSTANT.test(text) && Number.isFinite(Date.parse(text)) && isRealDate(text.slice(0, 10));
}

/** Rules out the 30th of February, which is read as the 2nd of March. */
function isRealDate(date: string): boolean {
  const time = Date.parse(date);
  return Number.isFinite(time) && new Date(time).toISOString().startsWith(date);
}

/** The names of the fields of the object at a path in a policy. */
export function fieldsAt(keys: readonly unknown[]): readonly string[] {
  const [list, , inside] = keys;
  if (list === undefined) return Object.keys(policyFields.entries);
  if (list === 'caps') return Object.keys(capFields.pipe[0].entries);
  if (list === 'scope') return Object.keys(scopeFields.entries);
  if (list === 'clampOutput') return ['minTokens'];
  if (inside === 'when') return Object.keys(filterFields.entries);
  if (inside === 'maxPrice') return ['input', 'output', 'request'];
  return Object.keys(ruleFields.pipe[0].entries);
}
