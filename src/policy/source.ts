/** Where a guard's policies come from, when they may change while it lives. */
import type { Policy } from './types.ts';

/** What a look at the source found. */
export type PolicyLook =
  /** New policies, in force from now on. */
  | { policies: readonly Policy[]; problem?: never }
  /** Something is wrong with the new ones, in words; those of before stay in force. */
  | { problem: string; policies?: never };

/** Policies that may change: `policyFile(path)` of `@agentguard-run/spend/policy-file`. */
export interface PolicySource {
  /** Names the source in messages. */
  readonly name: string;
  /** Begins a guard's own look. Throws `AgentGuardError` (`invalid_policy`) when there is nothing sound to begin with. */
  open(): PolicyReader;
}

/** One guard's look at a source. */
export interface PolicyReader {
  /** What was there at the beginning. */
  readonly policies: readonly Policy[];
  /** What has changed since the last answer; `undefined` for nothing. Asked before each call: quick, never throws. */
  look(): PolicyLook | undefined;
}

export function isPolicySource(value: unknown): value is PolicySource {
  return typeof value === 'object' && value !== null && typeof (value as PolicySource).open === 'function';
}
