/** What `decide` is given and what it answers. */
import type { CapAccount } from '../accounts.ts';
import type { BlockReason } from '../errors.ts';
import type { NanoUsd } from '../money.ts';
import type { Policy } from '../policy.ts';
import type { Ceiling } from '../policy/types.ts';
import type { ModelFeature, Price } from '../pricing/price.ts';
import type { ScopeField, SpendScope } from '../scope.ts';

/** A signed capability that came with the call, as its verification left it. Never the token itself. */
export interface PresentedCapability {
  /** SHA-256 of the token, as hex. */
  hash: string;
  issuer?: string;
  jti?: string;
  /** What it allows; only names that a matching policy asks for. */
  names: readonly string[];
  /** In milliseconds. */
  expires: number;
  notBefore?: number;
  /** The agent that it was given to. */
  subject?: string;
  /** The most that the call may cost. */
  max?: NanoUsd;
  /** Why it doesn't count; the members above are then not to be trusted. */
  problem?: string;
}

/** What is known of a call before it leaves. */
export interface RequestFacts {
  model: string;
  /** Whose names the models are, where the adapter knows. */
  provider?: string;
  /** Other models that may serve the call without asking again. */
  fallbacks: readonly string[];
  /** Upper bound of the input tokens, or why there is none. */
  input: { tokens: number } | { unbounded: string };
  /** Input tokens that the model's prompt cache is expected to hold; another model would have to be paid for them. */
  cachedTokens?: number;
  /** The call's own output limit. */
  maxOutputTokens?: number;
  /** Answers asked for in one call (`n`). */
  choices: number;
  /** Reasoning budget that the call asks for; an output limit set on it is never lower. */
  reasoningTokens?: number;
  /** True when the adapter can set an output limit on a call that has none. */
  limitCanBeSet: boolean;
  /** True when the adapter can send a price ceiling with the call. */
  ceilingCanBeSet?: boolean;
  /** What the model must be able to do. */
  features?: readonly ModelFeature[];
  /** Capabilities that trusted code claims for the call; only names that a matching policy asks for. */
  claims?: readonly string[];
  capabilities?: readonly PresentedCapability[];
  /** The call asks for a prompt cache that lasts an hour, which has a rate of its own. */
  hourCache?: true;
  /** The prompt has sound in it. */
  audio?: true;
  /** How many pictures the prompt has, where it has any. */
  images?: number;
  /** A cost known beforehand, for what isn't a model call; models, tokens and prices then don't matter. */
  fixedCost?: NanoUsd;
}

/** A cap with the amounts that count for it. `per_call` caps have none. */
export interface CapState {
  ref: CapAccount;
  spent: NanoUsd;
  held: NanoUsd;
  /** When the window ends, in milliseconds; 0 for never. */
  resetsAt: number;
  /** What live grants add to the amount. */
  granted?: NanoUsd;
  /** The rung that the call's task was sent to by this sticky cap. */
  rung?: string;
}

export interface DecideInput {
  /** The ledger's time, in milliseconds. */
  now: number;
  scope: SpendScope;
  /** The field on which two scope layers contradict each other. */
  scopeConflict?: ScopeField;
  requireTenant: boolean;
  /** The frozen scope that the call is in. */
  frozen?: SpendScope;
  /** True when the log's head lies in the future of the ledger's clock. */
  clockWrong: boolean;
  /** The policies that match, with whether each has taken effect. */
  policies: readonly { policy: Policy; effective: boolean }[];
  /** The caps of those policies, in order. */
  caps: readonly CapState[];
  request: RequestFacts;
  /** Indexes into the request's `capabilities` of those that another call has used. */
  replayed?: readonly number[];
  /** Indexes into `caps` of the `ask` caps that may be passed, since somebody approved. */
  approved?: readonly number[];
  /** Prices by the model's name as asked; a model that is missing has no known price. */
  prices: ReadonlyMap<string, Price>;
  /** Downgrade targets that the adapter can't send the call to. */
  uncarried: { has(model: string): boolean };
}

/** Where the call goes. */
export interface Route {
  model: string;
  fallbacks: readonly string[];
  /** The output limit that the cost was bounded with; `undefined` when none was needed. */
  maxOutputTokens?: number;
  /**
   * Where the limit comes from: the call's `own`, `injected` into it, `clamped` to what a cap leaves, the
   * `model`'s own maximum, or `none`. Only `injected` and `clamped` change what is sent.
   */
  limit: 'own' | 'injected' | 'clamped' | 'model' | 'none';
  /** The ceiling that OpenRouter must be told, so that no dearer host or model serves the call. */
  maxPrice?: Ceiling;
}

/** `within_rules`: no cap counts the call, but rules bind it. */
export type AllowReason = 'within_caps' | 'within_rules' | 'no_caps' | 'over_soft_cap' | 'routed' | 'shadow';

export interface Decision {
  /** `downgrade` is every decision that sends the call to another model. */
  decision: 'allow' | 'downgrade' | 'block';
  reason: AllowReason | BlockReason;
  /** Absent when blocked. */
  route?: Route;
  /** The worst-case cost, held on every account of the matching caps. */
  hold: NanoUsd;
  /** Index into the input's `caps` of the cap that decided. */
  cap?: number;
  /** The rule that decided: index into the input's `policies`, and into that policy's rules. */
  rule?: readonly [policy: number, rule: number];
  /** Indexes into the input's `caps` of caps with accounts that don't count this route, for it is none of their models. */
  uncounted?: readonly number[];
  /** When a window resets and the same call may pass, in milliseconds. */
  retryAt?: number;
  /** The model, capability or reason that the decision is about. */
  detail?: string;
  /** What the policies and caps in shadow mode would have decided, where that differs. */
  shadow?: { decision: Decision['decision']; reason: Decision['reason'] };
}
