/** The errors of this package: refused calls, and everything that is wrong with the setting. */
import { formatUsd, type NanoUsd } from './money.ts';

/**
 * Why a call was refused, in order of precedence: where several hold, the first is the reason given.
 *
 * - `scope_conflict`: an inner layer named another value for a scope field that an outer one had set
 * - `scope_required`: the guard or a cap needs a scope field that the call does not name
 * - `frozen`: the call's scope was frozen
 * - `no_policy`: no policy matches the call's scope
 * - `policy_not_effective`: a matching policy's `effectiveFrom` is still to come
 * - `clock`: the log's head lies in this machine's future
 * - `capability_invalid`: a signed capability came with the call that can't be trusted, or was used before
 * - `capability_missing`: a rule requires a capability that the call doesn't have
 * - `model_not_allowed`: a rule doesn't let the call go to the model, or to a fallback named in the call
 * - `unknown_price`: the model, or a fallback named in the call, has no known price
 * - `price_ceiling`: the model costs more than a rule allows, or the ceiling can't be sent with the call
 * - `unbounded_cost`: the call has no output limit and none can be set
 * - `capability_exceeded`: the call could cost more than its signed capability allows
 * - `cap_per_call`: the call alone can cost more than a `per_call` cap
 * - `cap_spent`: what is spent already leaves no room for the call
 * - `cap_held`: room is there, but held by other calls in flight; the wait for it ran out
 * - `no_route`: a cap or a rule asks for another model, and none of its models can carry this call
 * - `not_approved`: a cap asks for approval, and nobody gave it in time
 * - `ledger_unavailable`: the ledger can't be read or written, so nothing can be decided
 */
export type BlockReason = (typeof BLOCK_REASONS)[number];

/** Every reason for a block, in order of precedence. */
export const BLOCK_REASONS = [
  'scope_conflict',
  'scope_required',
  'frozen',
  'no_policy',
  'policy_not_effective',
  'clock',
  'capability_invalid',
  'capability_missing',
  'model_not_allowed',
  'unknown_price',
  'price_ceiling',
  'unbounded_cost',
  'capability_exceeded',
  'cap_per_call',
  'cap_spent',
  'cap_held',
  'no_route',
  'not_approved',
  'ledger_unavailable',
] as const;

/** The cap that decided, as an error shows it. */
export interface CapInfo {
  policyId: string;
  /** Position in the policy's `caps`. */
  index: number;
  window: string;
  amount: NanoUsd;
  /** The policy author's own words. */
  reason?: string;
}

/** The rule that decided, as an error shows it. */
export interface RuleInfo {
  policyId: string;
  /** Position in the policy's `rules`. */
  index: number;
  /** The policy author's own words. */
  reason?: string;
}

export interface BlockedDetails {
  reason: BlockReason;
  /** One sentence for the developer: what happened and what to do. May name balances. */
  message: string;
  model: string;
  callId?: string;
  cap?: CapInfo;
  rule?: RuleInfo;
  /** Milliseconds until a window resets and the same call may pass. */
  retryAfterMs?: number;
  /** The call's worst-case cost, where it could be bounded. */
  worstCase?: NanoUsd;
  cause?: unknown;
}

const BLOCKED = Symbol.for('agentguard.spend/blocked@1');

/**
 * A call that was refused before it left the process. Its receipt is already in the log.
 *
 * `name` and `code` never change. `publicMessage` and `toJSON()` reveal no balances, amounts, models or scopes, so
 * they may be sent to a client. The AI SDK, LangChain and LangGraph do not retry it (`isRetryable: false`,
 * `status: 402`).
 */
export class AgentGuardBlockedError extends Error {
  override readonly name = 'AgentGuardBlockedError';
  readonly code = 'AGENTGUARD_BLOCKED';
  readonly reason: BlockReason;
  readonly statusCode = 402;
  readonly status = 402;
  readonly isRetryable = false;
  readonly model: string;
  readonly callId: string | undefined;
  readonly cap: CapInfo | undefined;
  readonly rule: RuleInfo | undefined;
  readonly retryAfterMs: number | undefined;
  readonly worstCase: NanoUsd | undefined;

  constructor(details: BlockedDetails) {
    super(details.message, details.cause === undefined ? undefined : { cause: details.cause });
    this.reason = details.reason;
    this.model = details.model;
    this.callId = details.callId;
    this.cap = details.cap;
    this.rule = details.rule;
    this.retryAfterMs = details.retryAfterMs;
    this.worstCase = details.worstCase;
    for (const mark of MARKS) Object.defineProperty(this, mark.key, { value: mark.value, enumerable: false });
  }

  /** A sentence that may be shown to an end user. */
  get publicMessage(): string {
    return 'This request was stopped by a spending policy.';
  }

  /** What a client may be told, also the body of a 402 response: no balances, no amounts, no models, no scope. */
  toJSON(): BlockedJson {
    return {
      name: this.name,
      code: this.code,
      reason: this.reason,
      message: this.publicMessage,
      ...(this.cap !== undefined && { cap: publicCap(this.cap) }),
      ...(this.retryAfterMs !== undefined && { retryAfterMs: this.retryAfterMs }),
    };
  }
}

/** A refused call as a client may see it. */
export interface BlockedJson {
  name: string;
  code: string;
  reason: BlockReason;
  message: string;
  /** Which cap decided, without its amount. `reason` is the policy author's own words. */
  cap?: { policyId: string; window: string; reason?: string };
  retryAfterMs?: number;
}

function publicCap({ policyId, window, reason }: CapInfo): NonNullable<BlockedJson['cap']> {
  return { policyId, window, ...(reason !== undefined && { reason }) };
}

// The AI SDK passes errors with its own mark through unchanged; LangChain's retry middleware stops at the other.
const MARKS = [
  { key: BLOCKED, value: true },
  { key: Symbol.for('vercel.ai.error'), value: true },
  { key: Symbol.for('langchain.errors.retryable'), value: false },
] as const;

/**
 * The blocked error behind `error`, found along `cause`, `lastError` and `errors`, or `undefined`.
 * Works across copies of this package.
 */
export function blockedError(error: unknown): AgentGuardBlockedError | undefined {
  const seen = new Set<unknown>();
  const queue: unknown[] = [error];
  while (queue.length > 0) {
    const candidate = queue.shift();
    if (typeof candidate !== 'object' || candidate === null || seen.has(candidate)) continue;
    seen.add(candidate);
    const fields = candidate as { cause?: unknown; lastError?: unknown; errors?: unknown };
    if (BLOCKED in candidate) return candidate as unknown as AgentGuardBlockedError;
    queue.push(fields.cause, fields.lastError);
    if (Array.isArray(fields.errors)) queue.push(...(fields.errors as unknown[]));
  }
  return undefined;
}

/** True when `error`, or an error that it wraps, is a call refused by this package. */
export function isBlocked(error: unknown): boolean {
  return blockedError(error) !== undefined;
}

/**
 * What is wrong when it isn't a refused call:
 *
 * - `invalid_policy`, `invalid_config`: a value that you passed; the message names the field and the fix
 * - `key_unsafe`: the key file is missing, damaged, or readable by others
 * - `log_damaged`: a line of the log was changed; the message names the line; the file is left as it is
 * - `log_replaced`: the log was cut, removed or replaced under a running process
 * - `clock`: the log's head lies in this machine's future
 * - `ledger_unavailable`: the ledger can't be opened, read, locked or written
 */
export type SpendErrorCode =
  | 'invalid_policy'
  | 'invalid_config'
  | 'key_unsafe'
  | 'log_damaged'
  | 'log_replaced'
  | 'clock'
  | 'ledger_unavailable';

/** An error of this package that is not a refused call. `code` never changes. */
export class AgentGuardError extends Error {
  override readonly name = 'AgentGuardError';
  readonly code: SpendErrorCode;

  constructor(code: SpendErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** `the $5.00 per_minute cap of policy code-review-v1 (runaway loop detection)` */
export function capText(cap: CapInfo): string {
  const words = cap.reason === undefined ? '' : ` (${cap.reason})`;
  return `the ${formatUsd(cap.amount)} ${cap.window} cap of policy ${cap.policyId}${words}`;
}
