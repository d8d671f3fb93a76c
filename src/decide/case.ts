/** One judgement: a call under a set of policies. Pure, like all of `decide`. */
import type { BlockReason } from '../errors.ts';
import type { NanoUsd } from '../money.ts';
import { concernsModel } from '../policy/patterns.ts';
import type { CapAction, PolicyRecord, Rule } from '../policy/types.ts';
import type { CapState, Decision, DecideInput, Route } from './types.ts';

/** A rule that is for the call. */
export interface BindingRule {
  rule: Rule;
  /** Index into the input's `policies`, and into that policy's rules. */
  place: readonly [policy: number, rule: number];
}

export interface Case {
  input: DecideInput;
  policies: readonly PolicyRecord[];
  /** Indexes into `input.caps` of the caps that bind. */
  caps: readonly number[];
  rules: readonly BindingRule[];
  /** True when one of the caps is on some models only. */
  isFiltered: boolean;
  /** True when shadow caps are judged as if they blocked. */
  isShadow: boolean;
}

/** Where a call may go: the model, and those that may serve in its place. */
export type Target = Pick<Route, 'model' | 'fallbacks'>;

export function modelsOf({ model, fallbacks }: Target): string[] {
  return [model, ...fallbacks];
}

export function block(
  reason: BlockReason,
  more: Omit<Partial<Decision>, 'decision' | 'reason'> = {},
): Decision {
  return { decision: 'block', reason, hold: 0n, ...more };
}

export function capAt(input: DecideInput, index: number): CapState {
  return input.caps[index] as CapState;
}

/** What may be spent: the cap's own amount and what was granted on top. */
export function amountOf({ ref, granted }: CapState): NanoUsd {
  const amount = ref.policy.amounts[ref.index] as NanoUsd;
  return granted === undefined ? amount : amount + granted;
}

/** What a cap does in this judgement. */
export function actionOf({ input, isShadow }: Case, index: number): Exclude<CapAction, 'shadow'> {
  const { action } = capAt(input, index).ref.cap;
  if (action !== 'shadow') return action;
  return isShadow ? 'block' : 'allow';
}

/**
 * True when a restriction on some models is about one of `models`. One without a known price may be any of them under
 * another name, and the auto router may choose any.
 */
export function concernsAny(
  { prices, request }: DecideInput,
  patterns: readonly string[] | undefined,
  models: readonly string[],
): boolean {
  if (patterns === undefined) return true;
  if (request.fixedCost !== undefined) return false;
  return models.some((model) => !prices.has(model) || concernsModel(patterns, model, request.provider));
}

/** True when a cap counts calls to one of `models`. */
export function countsModels(input: DecideInput, index: number, models: readonly string[]): boolean {
  return concernsAny(input, capAt(input, index).ref.cap.models, models);
}

/** The caps that bind a call which may go to `target`. */
export function capsOn({ input, caps, isFiltered }: Case, target: Target): readonly number[] {
  if (!isFiltered) return caps;
  const models = modelsOf(target);
  return caps.filter((index) => countsModels(input, index, models));
}

/** True when a signed capability says what the call may cost at most. */
export function hasMaximum({ input, policies }: Case): boolean {
  return policies.length > 0 && input.request.capabilities?.some(({ max }) => max !== undefined) === true;
}

/** True when something depends on what a call to `target` costs: a cap that can refuse it, or a capability's maximum. */
export function isCostInPlay(kase: Case, target: Target): boolean {
  if (hasMaximum(kase)) return true;
  return capsOn(kase, target).some((index) => actionOf(kase, index) !== 'allow');
}
