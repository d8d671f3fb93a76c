/** What a model must be able to do for a call. Pure. */
import type { PromptShape } from '../estimate.ts';
import type { ModelFeature } from '../pricing/price.ts';
import { fieldsOf } from './fields.ts';

/** True for a `reasoning` field that asks for some: a word for the effort, or an object with one. */
export function wantsReasoning(reasoning: unknown): boolean {
  if (typeof reasoning === 'string') return reasoning !== 'none' && reasoning !== 'provider-default';
  const { enabled, effort } = fieldsOf(reasoning);
  return enabled === true || (typeof effort === 'string' && effort !== 'none');
}

/** The features that a call needs, by its prompt and by what it asks of the answer. */
export function neededFeatures(
  prompt: PromptShape | undefined,
  { tools, schema, reasoning }: { tools: boolean; schema: boolean; reasoning: boolean },
): ModelFeature[] {
  const asked: [ModelFeature, boolean][] = [
    ['tools', tools],
    ['images', (prompt?.images ?? []).length > 0],
    ['files', (prompt?.files ?? []).length > 0],
    ['schema', schema],
    ['reasoning', reasoning],
  ];
  return asked.flatMap(([feature, isNeeded]) => (isNeeded ? [feature] : []));
}
