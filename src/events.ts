/** What a guard tells about itself through `onEvent`. Silent otherwise. */
import type { SpendAlert } from './alerts.ts';
import type { AllowReason } from './decide.ts';
import type { BlockReason } from './errors.ts';
import type { NanoUsd } from './money.ts';
import type { Receipt } from './receipts/payloads.ts';
import type { SpendScope } from './scope.ts';

export type SpendEvent =
  | {
      type: 'decision';
      callId: string;
      decision: 'allow' | 'downgrade' | 'block';
      reason: AllowReason | BlockReason;
      scope: SpendScope;
      requestedModel: string;
      model?: string;
      hold: NanoUsd;
      receipt: Receipt;
    }
  | {
      type: 'settlement';
      callId: string;
      /** `undefined` when the receipt could not be written; the hold then expires at its full amount. */
      receipt: Receipt | undefined;
      cost: NanoUsd;
      source: 'provider' | 'tokens' | 'estimate' | 'hold' | 'none';
      error?: unknown;
    }
  | {
      /** The true cost of a call that had been settled at its hold or at an estimate. */
      type: 'adjustment';
      callId: string;
      receipt: Receipt;
      cost: NanoUsd;
      /** What is added to the balances; mostly negative. */
      change: NanoUsd;
    }
  | { type: 'alert'; alert: SpendAlert }
  | {
      /** Policies that were edited have been taken in; they bind from the next decision on. */
      type: 'policy';
      /** Where they come from, e.g. the path of the file. */
      source: string;
      policies: readonly { id: string; version: number; digest: string }[];
    }
  | { type: 'wait'; callId: string; requestedModel: string }
  | { type: 'warning'; code: WarningCode; message: string };

/**
 * - `limit_injected`: calls without an output limit get the policy's one (told once for each guard)
 * - `usage_unknown`: a provider reported no usage that can be believed, so the call settled high
 * - `over_hold`: a call cost more than its worst case
 * - `route_not_taken`: a model served that the decision did not name
 * - `unstable_key`: `signingKeys` are new to a log that has admitted several others, as when each start makes its own:
 *   whoever reads the log can't tell such a key from a stranger's (told once for each guard)
 * - `prices_unusable`: the file of synced prices is damaged or can't be read; the embedded catalogue counts
 * - `late_truth`: the true cost of a call can't be asked for, or could not be recorded; it stays at what it settled at
 * - `shadow`: a policy only records what it would have decided
 * - `features_unknown`: a call was sent to a model of which nobody knows whether it can do what the call needs
 * - `policy_not_reloaded`: a policy file was changed to something that can't be taken; the policies of before stay
 *   in force
 * - `alert_not_given`: an alert could not be written, or the webhook didn't take it
 */
export type WarningCode =
  | 'limit_injected'
  | 'usage_unknown'
  | 'over_hold'
  | 'route_not_taken'
  | 'unstable_key'
  | 'shadow'
  | 'prices_unusable'
  | 'late_truth'
  | 'features_unknown'
  | 'policy_not_reloaded'
  | 'alert_not_given';
