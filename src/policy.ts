/** What a scope may do: a policy that a user wrote, checked and made ready for decisions. */
import * as v from 'valibot';
import { AgentGuardError } from './errors.ts';
import { policyProblems, problemsText, type PolicyProblem } from './policy/problems.ts';
import { fieldsAt, policyFields } from './policy/schema.ts';
import type { Policy, PolicyRecord, SpendPolicy } from './policy/types.ts';
import { canonicalJson } from './receipts/canonical-json.ts';
import { digestOf } from './receipts/keys.ts';

export { DEFAULT_MAX_OUTPUT_TOKENS } from './policy/types.ts';
export type {
  Cap,
  CapAction,
  ModelRule,
  Policy,
  PolicyRecord,
  PriceCeiling,
  RuleFilter,
  SpendCap,
  SpendPolicy,
} from './policy/types.ts';

/** A policy and the prices of its models must fit into a receipt each. */
const MAX_RECORD_LENGTH = 24 * 1024;
const MAX_LADDER_MODELS = 32;

/**
 * Validates a policy that came from anywhere: a literal, a file, a network. Throws `AgentGuardError`
 * (`invalid_policy`) that names each bad field, what it holds and what was expected.
 */
export function parsePolicy(value: unknown): Policy {
  const { policy, problems } = checkPolicy(value);
  if (policy !== undefined) return policy;
  const [first] = problems;
  // What concerns the policy as a whole says so itself.
  const isWhole = first?.path.length === 0 && first.message.startsWith('policy ');
  throw new AgentGuardError('invalid_policy', isWhole ? first.message : problemsText(value, problems));
}

/** `parsePolicy` for those who want to know where the problems are. */
export function checkPolicy(
  value: unknown,
): { policy: Policy; problems?: never } | { problems: readonly PolicyProblem[]; policy?: never } {
  const parsed = v.safeParse(policyFields, value);
  if (!parsed.success) return { problems: policyProblems(value, parsed.issues, fieldsAt) };
  const record = parsed.output as PolicyRecord;
  const { length } = canonicalJson(record);
  const ladders = new Set([
    ...record.caps.flatMap((cap) => cap.downgradeTo ?? []),
    ...(record.rules ?? []).flatMap((rule) => rule.routeTo ?? []),
  ]);
  if (length <= MAX_RECORD_LENGTH && ladders.size <= MAX_LADDER_MODELS)
    return { policy: policyFromRecord(record) };
  const message =
    `policy ${JSON.stringify(record.id)} has no room in a receipt: ${length} characters and ${ladders.size} models to ` +
    `downgrade to, at most ${MAX_RECORD_LENGTH} and ${MAX_LADDER_MODELS}. Split it, or shorten names and reasons.`;
  return { problems: [{ path: [], message }] };
}

/** Makes a recorded policy ready for decisions, without validating it again. */
export function policyFromRecord(record: PolicyRecord): Policy {
  return {
    record,
    digest: digestOf(record),
    effectiveFrom: Date.parse(record.effectiveFrom),
    calendar: { timeZone: record.timeZone, weekStart: record.weekStart },
    amounts: record.caps.map((cap) => BigInt(cap.amount)),
  };
}

/** Checks a policy as it is written and returns it unchanged, typed. Throws as `parsePolicy` does. */
export function definePolicy(policy: SpendPolicy): SpendPolicy {
  parsePolicy(policy);
  return policy;
}
