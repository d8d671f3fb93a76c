/** Sending a call to another model: down a ladder when a cap asks for it, or where a rule says. */
import type { NanoUsd } from '../money.ts';
import { fit, type Verdict } from './caps.ts';
import { actionOf, amountOf, block, capAt, capsOn, modelsOf, type Case, type Target } from './case.ts';
import { boundCost, canServe, costWithCache, type Bound } from './cost.ts';
import { refusePrice, refuseTarget, rulesOn } from './rules.ts';
import type { CapState, Decision } from './types.ts';

/** The call as it stands before a cap asks for a cheaper model. */
export interface Standing {
  target: Target;
  bound: Exclude<Bound, { reason: string }>;
}

/** A downgrade cap is triggered by what is spent; `per_call` by what the call alone could cost. */
function isTriggered(cap: CapState, cost: NanoUsd): boolean {
  if (cap.rung !== undefined) return true;
  return cap.ref.cap.window === 'per_call' ? cost > amountOf(cap) : cap.spent >= amountOf(cap);
}

/** The part of a cap's ladder that is left: a task that was sent to a rung doesn't climb again. */
function ladderOf({ ref, rung }: CapState): readonly string[] {
  const ladder = ref.cap.downgradeTo ?? [];
  return rung === undefined ? ladder : ladder.slice(Math.max(0, ladder.indexOf(rung)));
}

/** The caps that ask for a cheaper model. */
export function demandsOn(kase: Case, standing: Standing): number[] {
  return capsOn(kase, standing.target).filter(
    (index) =>
      actionOf(kase, index) === 'downgrade' &&
      isTriggered(capAt(kase.input, index), standing.bound.cost) &&
      demandsCheaper(kase, index, standing),
  );
}

/** False when the call already goes to one of the cap's models, or costs no more than the first of them. */
function demandsCheaper(kase: Case, index: number, { target, bound }: Standing): boolean {
  const cap = capAt(kase.input, index);
  const ladder = ladderOf(cap);
  if (kase.input.request.fixedCost !== undefined) return false;
  if (target.fallbacks.length === 0 && ladder.includes(target.model)) return false;
  if (cap.rung !== undefined) return true;
  const first = boundCost(kase, { model: ladder[0] as string, fallbacks: [] });
  return 'reason' in first || first.cost < costWithCache(kase.input, target.model, bound.cost);
}

/** Of several refusals the one that is worth waiting on, when every one of them is. */
function worse(kept: Decision | undefined, next: Decision): Decision {
  // Waiting for holds can't help where another cap refuses for good.
  return kept === undefined || kept.reason === 'cap_held' ? next : kept;
}

/** Of several ways that are refused, one that only waits for holds is enough to wait for. */
function better(kept: Decision | undefined, next: Decision): Decision {
  return kept === undefined || kept.reason !== 'cap_held' ? next : kept;
}

/**
 * Sends the call to the cheapest of the models that the triggered caps name, taking from each cap's ladder the
 * first one that can carry the call and passes every block cap. Fallbacks named in the call are dropped.
 * `undefined` when the call costs less where it is.
 */
export function downgrade(kase: Case, demands: readonly number[], standing: Standing): Decision | undefined {
  let best: Decision | undefined;
  let refusal: Decision | undefined;
  for (const index of demands) {
    const outcome = firstRung(kase, index, standing);
    if (outcome === undefined) continue;
    if (outcome.decision === 'block') refusal = worse(refusal, outcome);
    else if (best === undefined || outcome.hold < best.hold) best = outcome;
  }
  // Every cap that asks for a cheaper model must get one.
  return refusal ?? best;
}

function firstRung(kase: Case, index: number, { target, bound }: Standing): Decision | undefined {
  const cap = capAt(kase.input, index);
  const own = costWithCache(kase.input, target.model, bound.cost);
  const mayStay = cap.rung === undefined && own < bound.cost;
  let refusal: Decision | undefined;
  let isDearer = false;
  for (const model of ladderOf(cap)) {
    const rung = reach(kase, model);
    if (rung === undefined) continue;
    if (mayStay && rung.cost >= own) {
      isDearer = true;
      continue;
    }
    const outcome = fit(kase, rung, { decision: 'downgrade', reason: 'over_soft_cap', cap: index });
    if (outcome.decision !== 'block') return outcome;
    refusal = better(refusal, outcome);
  }
  return refusal ?? (isDearer ? undefined : block('no_route', { cap: index }));
}

/** The bounded way to another model, when the call can be sent there and every rule lets it. */
function reach(kase: Case, model: string): Exclude<Bound, { reason: string }> | undefined {
  const { input } = kase;
  if (input.uncarried.has(model) || !canServe(input, model)) return undefined;
  const target: Target = { model, fallbacks: [] };
  if (capsOn(kase, target).some((index) => capAt(input, index).ref.missing !== undefined)) return undefined;
  if ((refuseTarget(kase, target) ?? refusePrice(kase, target)) !== undefined) return undefined;
  const bound = boundCost(kase, target);
  return 'reason' in bound ? undefined : bound;
}

/** The models that rules about the call's own models send it to, with the rule that says so; `undefined` where none does. */
export function routedTo(
  kase: Case,
): { models: readonly string[]; rule: readonly [number, number] } | undefined {
  const { request } = kase.input;
  if (request.fixedCost !== undefined) return undefined;
  const rules = rulesOn(kase, modelsOf(request));
  const [first, ...others] = rules.filter(({ rule }) => rule.routeTo !== undefined);
  if (first === undefined) return undefined;
  // Where several rules send the call somewhere, it goes where all of them agree on.
  const models = (first.rule.routeTo ?? []).filter((model) =>
    others.every(({ rule }) => rule.routeTo?.includes(model)),
  );
  return { models, rule: first.place };
}

/** True when a rule about the model sends its calls to others. */
function isSentOn(kase: Case, model: string): boolean {
  return rulesOn(kase, [model]).some(
    ({ rule: { when, routeTo } }) => when?.models !== undefined && routeTo?.includes(model) === false,
  );
}

/** Sends the call to the first of the models that can carry it and that `judge` lets through. */
export function route(
  kase: Case,
  { models, rule }: { models: readonly string[]; rule: readonly [number, number] },
  judge: (target: Target, verdict: Verdict) => Decision,
): Decision {
  let refusal: Decision | undefined;
  for (const model of models) {
    if (kase.input.uncarried.has(model) || !canServe(kase.input, model) || isSentOn(kase, model)) continue;
    const outcome = judge({ model, fallbacks: [] }, { decision: 'downgrade', reason: 'routed', rule });
    if (outcome.decision !== 'block') return outcome;
    refusal = better(refusal, outcome);
  }
  return refusal ?? block('no_route', { rule });
}
