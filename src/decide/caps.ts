/** Caps: whether a bounded call fits, and what is in its way. */
import { maxOf, type NanoUsd } from '../money.ts';
import { outputThatFits, worstCaseCost } from '../pricing/price.ts';
import { actionOf, amountOf, block, capAt, capsOn, type Case } from './case.ts';
import { boundedPrices } from './cost.ts';
import type { Decision, Route } from './types.ts';

export type Verdict = Pick<Decision, 'decision' | 'reason' | 'cap' | 'rule'>;

/** Allows a bounded route when it fits every block cap, clamped if the policies say so; else says what is full. */
export function fit(kase: Case, bound: { route: Route; cost: NanoUsd }, verdict: Verdict): Decision {
  const beyond = refuseMaximum(kase, bound.cost);
  if (beyond !== undefined) return { ...beyond, hold: bound.cost };
  const refusal = refusalBy(kase, bound.route, bound.cost);
  const placed =
    refusal === undefined ? { route: bound.route, hold: bound.cost } : clampRoute(kase, bound.route);
  if (placed === undefined) return { ...(refusal as Decision), hold: bound.cost };
  const asked = askedBy(kase, placed.route, placed.hold);
  return asked === undefined ? { ...verdict, ...placed } : { ...asked, hold: placed.hold };
}

/** A signed capability may say what the call may cost at most. */
function refuseMaximum({ input, policies }: Case, cost: NanoUsd): Decision | undefined {
  if (policies.length === 0) return undefined;
  const isBeyond = input.request.capabilities?.some(({ max }) => max !== undefined && cost > max);
  return isBeyond === true ? block('capability_exceeded') : undefined;
}

function refusalBy(kase: Case, route: Route, cost: NanoUsd): Decision | undefined {
  let held: Decision | undefined;
  let spent: Decision | undefined;
  for (const index of capsOn(kase, route)) {
    if (actionOf(kase, index) !== 'block') continue;
    const cap = capAt(kase.input, index);
    const amount = amountOf(cap);
    if (cap.ref.cap.window === 'per_call') {
      if (cost > amount) return block('cap_per_call', { cap: index });
      continue;
    }
    // A new window helps only a call that fits into an empty one.
    const retryAt = cap.resetsAt === 0 || cost > amount ? {} : { retryAt: cap.resetsAt };
    if (cap.spent + cost > amount) spent ??= block('cap_spent', { cap: index, ...retryAt });
    else if (cap.spent + cap.held + cost > amount) held ??= block('cap_held', { cap: index });
  }
  return spent ?? held;
}

/** The first `ask` cap that the call would pass and that nobody has said yes to. */
function askedBy(kase: Case, route: Route, cost: NanoUsd): Decision | undefined {
  for (const index of capsOn(kase, route)) {
    if (actionOf(kase, index) !== 'ask' || kase.input.approved?.includes(index) === true) continue;
    const cap = capAt(kase.input, index);
    const before = cap.ref.cap.window === 'per_call' ? 0n : cap.spent + cap.held;
    if (before + cost > amountOf(cap)) return block('not_approved', { cap: index });
  }
  return undefined;
}

/** The route with the largest output limit that every block cap has room for, where the policies allow that. */
function clampRoute(
  kase: Case,
  route: Route,
): (Pick<Decision, 'route' | 'hold'> & { route: Route }) | undefined {
  const { input, policies } = kase;
  const { request } = input;
  if (policies.some(({ clampOutput }) => clampOutput === undefined)) return undefined;
  if (request.fixedCost !== undefined || !request.limitCanBeSet || 'unbounded' in request.input)
    return undefined;
  const { tokens } = request.input;
  const prices = boundedPrices(kase, route);
  let limit = route.maxOutputTokens ?? 0;
  for (const index of capsOn(kase, route)) {
    if (actionOf(kase, index) !== 'block') continue;
    const cap = capAt(input, index);
    const room = amountOf(cap) - cap.spent - cap.held;
    for (const price of prices) {
      limit = Math.min(limit, outputThatFits(price, tokens, room, request.choices, request));
    }
  }
  const least = Math.max(
    ...policies.map(({ clampOutput }) => clampOutput?.minTokens ?? 1),
    request.reasoningTokens ?? 0,
  );
  if (limit < least) return undefined;
  let hold = 0n;
  for (const price of prices)
    hold = maxOf(hold, worstCaseCost(price, tokens, limit, request.choices, request));
  return { route: { ...route, maxOutputTokens: limit, limit: 'clamped' }, hold };
}
