/** What a scope may do: the policy as a user writes it, and the one normal form that is recorded. */
import type { NanoUsd } from '../money.ts';
import type { ScopeField, SpendScope } from '../scope.ts';
import type { Calendar, Weekday, WindowKind } from '../windows.ts';

/** What happens when a cap would be passed. */
export const CAP_ACTIONS = ['block', 'downgrade', 'ask', 'shadow', 'allow'] as const;

export type CapAction = (typeof CAP_ACTIONS)[number];

/** An amount in a window, with what happens when it would be passed. */
export interface SpendCap {
  /** US cents; fractions down to 1e-7 are exact. `5000` is $50. */
  amountCents: number | string;
  window: WindowKind;
  /**
   * `block` refuses a call whose worst case doesn't fit. `downgrade` sends calls to `downgradeTo` once the amount
   * is spent (`per_call`: when the call alone could cost more). `ask` asks the guard's `onAsk` where `block` would
   * refuse. `shadow` only records that it would have refused. `allow` counts, and never refuses.
   */
  action: CapAction;
  /** The cheaper model, or a ladder of them tried in order. Only with `action: 'downgrade'`. */
  downgradeTo?: string | readonly string[];
  /** `task` keeps a task on the rung that it was sent to, also in the next window. Only with `downgrade`. */
  sticky?: 'task';
  /** Counts only the calls that may go to one of these models: ids, or patterns with `*`. Default: every call. */
  models?: string | readonly string[];
  /** A separate balance for each value of these scope fields, e.g. `['userId']`. */
  per?: readonly ScopeField[];
  /** Parts of the amount at which an alert is given, once in each window: `[0.5, 0.8, 1]`. */
  alerts?: readonly number[];
  /** Your words; they appear in errors and receipts. */
  reason?: string;
}

/** Which of a policy's calls a rule is for. A list fits when one of its values does; `*` stands for any text. */
export type RuleFilter = { [F in ScopeField]?: string | readonly string[] } & {
  /** The rule is about these models only: ids, or patterns with `*`. */
  models?: string | readonly string[];
};

/** A ceiling in USD per million tokens (`request`: in USD for each request), as decimals. */
export interface PriceCeiling {
  input?: number | string;
  output?: number | string;
  /** Absent: no fee for each request. */
  request?: number | string;
}

/** What calls may do besides spending. Every rule that fits a call binds it. */
export interface ModelRule {
  /** The calls that the rule is for. Default: every call of the policy. */
  when?: RuleFilter;
  /** The only models that these calls may go to: ids, or patterns with `*`. */
  models?: string | readonly string[];
  /** The dearest list price that they may go to. One figure is for input and output alike: `'0.20'`. */
  maxPrice?: number | string | PriceCeiling;
  /** Capabilities that the call must have, all of them. */
  requires?: string | readonly string[];
  /** True when only signed capabilities count. */
  signed?: boolean;
  /** Sends these calls to the first of these models that can carry them. */
  routeTo?: string | readonly string[];
  /** Your words; they appear in errors. */
  reason?: string;
}

/** What a scope may do. All policies whose scope fits a call apply; the strictest wins. */
export interface SpendPolicy {
  id: string;
  name?: string;
  /** The calls that this policy is for: those whose scope has the same value in every field named here. */
  scope: SpendScope;
  caps: readonly SpendCap[];
  /** Which models and capabilities the calls may use. */
  rules?: readonly ModelRule[];
  /** `shadow` records what would have been decided and changes nothing. Default `enforce`. */
  mode?: 'enforce' | 'shadow';
  version: number;
  /** ISO 8601 instant. Calls before it are blocked. */
  effectiveFrom: string;
  /** IANA time zone of day, week and month windows. Default `UTC`. */
  timeZone?: string;
  /** First day of `per_week` windows. Default `monday`. */
  weekStart?: Weekday;
  /**
   * Output limit set on calls that have none of their own, where a cap depends on it. A number of tokens, or
   * `model` for the model's own maximum. Default 8192.
   */
  maxOutputTokens?: number | 'model';
  /** What to do with a model without a known price while a cap is in play. Default `block`. */
  unknownPrice?: 'block' | 'allow';
  /** Shrinks the output limit to what a block cap leaves, down to `minTokens`, instead of refusing. Default off. */
  clampOutput?: { minTokens: number };
}

/** A cap in normal form, as it is recorded. */
export interface Cap {
  /** Nano-USD as a decimal string. */
  amount: string;
  window: WindowKind;
  action: CapAction;
  downgradeTo?: readonly string[];
  sticky?: 'task';
  models?: readonly string[];
  per?: readonly ScopeField[];
  /** In ten-thousandths of the amount, ascending. */
  alerts?: readonly number[];
  reason?: string;
}

/** A price ceiling in normal form: USD per million tokens, and per request, as decimal strings. */
export interface Ceiling {
  input?: string;
  output?: string;
  request?: string;
}

/** A rule in normal form: every list written as one. */
export interface Rule {
  when?: { [F in ScopeField | 'models']?: readonly string[] };
  models?: readonly string[];
  maxPrice?: Ceiling;
  requires?: readonly string[];
  signed?: true;
  routeTo?: readonly string[];
  reason?: string;
}

/** A policy in normal form: every default written out, amounts in nano-USD. This is what receipts carry. */
export interface PolicyRecord {
  id: string;
  name?: string;
  scope: SpendScope;
  caps: readonly Cap[];
  rules?: readonly Rule[];
  mode: 'enforce' | 'shadow';
  version: number;
  effectiveFrom: string;
  timeZone: string;
  weekStart: Weekday;
  maxOutputTokens: number | 'model';
  unknownPrice: 'block' | 'allow';
  clampOutput?: { minTokens: number };
}

/** A policy record made ready for decisions. */
export interface Policy {
  readonly record: PolicyRecord;
  /** Names the record in receipts. */
  readonly digest: string;
  readonly effectiveFrom: number;
  readonly calendar: Calendar;
  readonly amounts: readonly NanoUsd[];
}

export const DEFAULT_MAX_OUTPUT_TOKENS = 8192;
export const MAX_CAPS = 32;
export const MAX_RULES = 32;
