/** Spend control for LLM calls, inside your process. */
export {
  createSpendGuard,
  isSpendGuard,
  type ReconcileOptions,
  type SpendCharge,
  type SpendGuard,
} from './guard.ts';
export type { SpendGuardOptions } from './options.ts';
export type { CapBalance, CapGrant } from './balances.ts';
export type { SpendRequest } from './request.ts';
export type { ControlNote, GrantRequest } from './control.ts';
export type { SpendAlert } from './alerts.ts';
export type { WebhookOptions } from './webhook.ts';
export type { ApprovalAnswer, ApprovalQuestion } from './approvals.ts';
export type { CapabilityVerifier } from './capability.ts';
export { CAPABILITY_TIERS, type CapabilityTier } from './capability-names.ts';
export type { GuardedCall, Settlement } from './guarded-call.ts';
export type { CallOutcome, SettledCost } from './settlement.ts';
export type { SpendEvent, WarningCode } from './events.ts';
export {
  decide,
  type AllowReason,
  type CapState,
  type DecideInput,
  type Decision,
  type Route,
} from './decide.ts';
export {
  definePolicy,
  parsePolicy,
  type CapAction,
  type ModelRule,
  type Policy,
  type PriceCeiling,
  type RuleFilter,
  type SpendCap,
  type SpendPolicy,
} from './policy.ts';
export { withSpendGuard, type OpenAIGuardOptions } from '../middleware/openai.ts';
export type { PolicyOption } from './policy-shelf.ts';
export type { PolicyLook, PolicyReader, PolicySource } from './policy/source.ts';
export { withSpendScope, type ScopeField, type SpendScope } from './scope.ts';
export { setCostOverride, clearCostOverrides, type CostOverride } from './pricing/overrides.ts';
export { openRouterGenerations, type OpenRouterGenerationsOptions } from './openrouter-generations.ts';
export { LookUpRefused, type LateTruth, type LateTruthSource, type Reconciled } from './late-truth.ts';
export { loadPrices } from './pricing/synced.ts';
export { hasHourCacheRate } from './pricing/find-price.ts';
export { MODEL_FEATURES, type ModelFeature, type PriceOverride, type PriceRow } from './pricing/price.ts';
export type { TokenUsage, ReportedUsage } from './usage.ts';
export type { PromptShape, PromptImage, PromptFile, EstimateMode } from './estimate.ts';
export { formatUsd, type NanoUsd } from './money.ts';
export type { WindowKind, Weekday } from './windows.ts';
export { memoryLedger, type MemoryLedgerOptions } from './ledgers/memory.ts';
export type { Ledger } from './ledgers/ledger.ts';
export type { SigningKeys, Signer } from './receipts/keys.ts';
export {
  AgentGuardBlockedError,
  AgentGuardError,
  BLOCK_REASONS,
  blockedError,
  isBlocked,
  type BlockedJson,
  type BlockReason,
  type CapInfo,
  type RuleInfo,
  type SpendErrorCode,
} from './errors.ts';
