/** The words for what receipts say by a name. The command line and the page share them. */

/** Why a call was decided as it was, by the reason's name. */
export const WHY: Readonly<Record<string, string>> = {
  within_caps: 'its worst case fits every cap',
  within_rules: 'the rules let it, and no cap counts it',
  no_caps: 'no cap applies to it',
  over_soft_cap: 'a soft cap is spent, so the call goes to a cheaper model',
  routed: 'a rule says which model such calls go to',
  shadow: 'the policies only record what they would have decided',
  scope_conflict: 'the call names another scope than the code around it',
  scope_required: 'a scope field is needed that the call does not name',
  frozen: 'its scope is frozen',
  no_policy: 'no policy matches its scope',
  policy_not_effective: 'a matching policy has not taken effect yet',
  clock: 'the log’s last receipt lies in the future of the clock',
  capability_invalid: 'a signed capability came with it that does not count',
  capability_missing: 'a rule requires a capability that it does not have',
  model_not_allowed: 'a rule does not let it go to that model',
  unknown_price: 'a model of the call has no known price',
  price_ceiling: 'the model costs more than a rule allows, or the ceiling could not be sent',
  unbounded_cost: 'its cost has no upper bound',
  capability_exceeded: 'it could cost more than its signed capability allows',
  cap_per_call: 'the call alone could cost more than a cap',
  cap_spent: 'what is spent leaves no room for its worst case',
  cap_held: 'calls in flight hold the room that is left',
  no_route: 'no model that a cap or a rule names can carry the call',
  not_approved: 'a cap asks for approval, and nobody gave it',
};

export const DECIDED = { allow: 'allowed', downgrade: 'downgraded', block: 'blocked' } as const;

export const LIMITS = {
  own: 'the call’s own limit',
  injected: 'limit set by the guard',
  clamped: 'limit cut to what a cap leaves',
  model: 'the model’s own maximum',
  none: 'no limit needed',
} as const;

export const SOURCES = {
  provider: 'as the provider reported it',
  tokens: 'tokens × price',
  estimate: 'an estimate that errs high, since the usage is unknown',
  hold: 'the full hold, since the usage is unknown',
  none: 'nothing was sent',
} as const;

export const OUTCOMES = {
  ok: 'the answer arrived whole',
  error: 'the call failed after it may have been served',
  refused: 'the provider refused the call',
  aborted: 'the caller gave up',
  abandoned: 'nobody read the answer to its end',
  not_sent: 'the request never left',
  expired: 'never settled: the lease ran out',
} as const;

export const ANSWERS = {
  approved: 'yes',
  denied: 'no',
  timeout: 'no answer in time',
  failed: 'asking failed',
} as const;
