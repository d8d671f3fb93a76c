/** What a call needs of a model, and the price ceiling that OpenRouter is told with it. Pure. */
import type { GuardedCall } from '../src/guarded-call.ts';
import { scaleExactly } from '../src/money.ts';
import type { ModelFeature } from '../src/pricing/price.ts';
import type { PromptShape } from '../src/estimate.ts';
import { fieldsOf, type Fields } from '../src/wire/fields.ts';
import type { Wire } from '../src/wire/request-body.ts';
import { namespaceOf, toolsOf } from './ai-sdk-usage.ts';
import { bodyOf, camelCase, optionsKey, writesOptions, type Sending } from './ai-sdk-wire.ts';

/** The same call with fields of the provider's own options replaced, in every place that the provider reads. */
export function withOptions({ model, params }: Sending, changes: Fields, names?: readonly string[]): Sending {
  const key = optionsKey(params);
  const options = fieldsOf(params[key]);
  const name = namespaceOf(model.provider);
  // the spelling in camel case wins, but versions before 7 don't read it
  const places = names ?? (camelCase(name) in options ? [name, camelCase(name)] : [name]);
  const changed: Record<string, unknown> = { ...options };
  for (const place of places) changed[place] = { ...fieldsOf(options[place]), ...changes };
  return { model, params: { ...params, [key]: changed } };
}

/** What the model must be able to do for this call. */
export function featuresOf({ model, params }: Sending, prompt: PromptShape, wire: Wire): ModelFeature[] {
  const format = fieldsOf(params['responseFormat']);
  const mode = fieldsOf(params['mode']);
  const body = writesOptions(model) ? bodyOf({ model, params }) : {};
  const reasoning = params['reasoning'] ?? fieldsOf(body)['reasoning'];
  const asked: [ModelFeature, boolean][] = [
    ['tools', toolsOf(params).length > 0],
    ['images', (prompt.images ?? []).length > 0],
    ['files', (prompt.files ?? []).length > 0],
    ['schema', format['schema'] !== undefined || mode['schema'] !== undefined],
    ['reasoning', wire.reasoningTokens !== undefined || isWanted(reasoning)],
  ];
  return asked.flatMap(([feature, isNeeded]) => (isNeeded ? [feature] : []));
}

function isWanted(reasoning: unknown): boolean {
  if (typeof reasoning === 'string') return reasoning !== 'none' && reasoning !== 'provider-default';
  const { enabled, effort } = fieldsOf(reasoning);
  return enabled === true || (typeof effort === 'string' && effort !== 'none');
}

/** Our words for the parts of a ceiling, and OpenRouter's. */
const PARTS = [
  ['input', 'prompt'],
  ['output', 'completion'],
  ['request', 'request'],
] as const;

/**
 * The same call with the ceiling in its request, or `undefined` where it would not be there. A lower one that the
 * caller has set stays. Providers other than OpenRouter have one price for each model, and nothing to be told.
 */
export function withCeiling(
  sending: Sending,
  ceiling: NonNullable<GuardedCall['maxPrice']>,
): Sending | undefined {
  if (namespaceOf(sending.model.provider) !== 'openrouter') return sending;
  const provider = fieldsOf(bodyOf(sending)['provider']);
  const own = fieldsOf(provider['max_price']);
  const limits: Record<string, unknown> = { ...own };
  for (const [part, name] of PARTS) {
    const most = ceiling[part];
    if (most !== undefined && !isAtMost(own[name], most)) limits[name] = Number(most);
  }
  const told = withOptions(sending, { provider: { ...provider, max_price: limits } });
  const sent = fieldsOf(fieldsOf(bodyOf(told)['provider'])['max_price']);
  const isSent = PARTS.every(([part, name]) => {
    const most = ceiling[part];
    return most === undefined || isAtMost(sent[name], most);
  });
  return isSent ? told : undefined;
}

function isAtMost(value: unknown, most: string): boolean {
  if (typeof value !== 'number' && typeof value !== 'string') return false;
  try {
    const own = scaleExactly(value, 9);
    return own >= 0n && own <= scaleExactly(most, 9);
  } catch {
    return false;
  }
}
