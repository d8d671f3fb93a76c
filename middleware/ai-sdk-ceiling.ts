/** What a call needs of a model, and the price ceiling that OpenRouter is told with it. Pure. */
import type { GuardedCall } from '../src/guarded-call.ts';
import type { ModelFeature } from '../src/pricing/price.ts';
import type { PromptShape } from '../src/estimate.ts';
import { isTold, toldCeiling } from '../src/wire/ceiling.ts';
import { neededFeatures, wantsReasoning } from '../src/wire/features.ts';
import { fieldsOf, type Fields } from '../src/wire/fields.ts';
import type { Wire } from '../src/wire/request-body.ts';
import { namespaceOf, toolsOf } from './ai-sdk-usage.ts';
import { bodyOf, optionsKey, otherSpelling, writesOptions, type Sending } from './ai-sdk-wire.ts';

/** The same call with fields of the provider's own options replaced, in every place that the provider reads. */
export function withOptions({ model, params }: Sending, changes: Fields, names?: readonly string[]): Sending {
  const key = optionsKey(params);
  const options = fieldsOf(params[key]);
  const name = namespaceOf(model.provider);
  const other = otherSpelling(model);
  // the other spelling wins where it is read
  const places = names ?? (other !== undefined && other in options ? [name, other] : [name]);
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
  return neededFeatures(prompt, {
    tools: toolsOf(params).length > 0,
    schema: format['schema'] !== undefined || mode['schema'] !== undefined,
    reasoning: wire.reasoningTokens !== undefined || wantsReasoning(reasoning),
  });
}

/**
 * The same call with the ceiling in its request, or `undefined` where it would not be there. Providers other than
 * OpenRouter have one price for each model, and nothing to be told.
 */
export function withCeiling(
  sending: Sending,
  ceiling: NonNullable<GuardedCall['maxPrice']>,
): Sending | undefined {
  if (namespaceOf(sending.model.provider) !== 'openrouter') return sending;
  const told = withOptions(sending, { provider: toldCeiling(bodyOf(sending)['provider'], ceiling) });
  return isTold(bodyOf(told)['provider'], ceiling) ? told : undefined;
}
