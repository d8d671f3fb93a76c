/** What `createSpendGuard` takes, checked and with its defaults. */
import type { SpendAlert } from './alerts.ts';
import type { OnAsk } from './approvals.ts';
import type { CapabilityVerifier } from './capability.ts';
import type { EstimateMode } from './estimate.ts';
import { AgentGuardError } from './errors.ts';
import type { SpendEvent } from './events.ts';
import type { LateTruthSource } from './late-truth.ts';
import type { Ledger, TransactOptions } from './ledgers/ledger.ts';
import type { Policy } from './policy.ts';
import { PolicyShelf, tenantOf, type PolicyOption } from './policy-shelf.ts';
import { checkClaims, type PrepareOptions } from './prepare.ts';
import { findPrice } from './pricing/find-price.ts';
import { randomId, signerFromKeys, type Signer, type SigningKeys } from './receipts/keys.ts';
import { checkedSigner } from './receipts/signers.ts';
import type { SpendScope } from './scope.ts';
import { postAlert, readWebhook, type WebhookOptions } from './webhook.ts';

export interface SpendGuardOptions {
  /** One policy, several, or a source that may change them, such as `policyFile(path)`: all that match a call apply. */
  policy: PolicyOption;
  /**
   * The outermost scope layer. A guard of one policy also inherits that policy's scope, a guard of a policy file
   * those fields that all its policies agree on.
   */
  scope?: SpendScope;
  /** Default on Node: a log in `~/.agentguard/<tenant>/`. Elsewhere a ledger must be passed. */
  ledger?: Ledger;
  /**
   * What signs this guard's receipts: raw Ed25519 keys, or a signer of your own. The log's own key admits it. Without
   * it the log's own key signs.
   */
  signingKeys?: SigningKeys | Signer;
  /** Blocks calls that name no tenant. Default false. */
  requireScope?: boolean;
  /** False lets every call through, undecided and unrecorded. Default true. */
  enabled?: boolean;
  /** How long a call waits for other calls' holds before it is blocked. Default 10 000; 0 never waits. */
  waitForHoldsMs?: number;
  /** How long a call may be in flight before its hold expires at its full amount. Default 900 000 (15 minutes). */
  leaseMs?: number;
  /** `fast` estimates input tokens with a margin; `strict` bounds them by bytes. Default `fast`. */
  estimate?: EstimateMode;
  /** Counts the tokens of a text, in place of the estimate. */
  countTokens?: (text: string) => number;
  /** Keeps a serverless function alive for a settlement that comes after the response (Next.js `after`, `waitUntil`). */
  waitUntil?: (work: Promise<unknown>) => void;
  /**
   * Who says what calls really cost that were aborted or broke off, e.g. `openRouterGenerations({ apiKey })`. Asked
   * some moments after such a call, in the background; the difference is written as a signed adjustment.
   */
  lateTruth?: LateTruthSource;
  /** Told of every decision, settlement, alert, wait and warning. What it throws is ignored. */
  onEvent?: (event: SpendEvent) => void;
  /** Capabilities of every call, on the word of this code. */
  claims?: readonly string[];
  /** Checks signed capabilities: `capabilityVerifier(…)` of `@agentguard-run/spend/capabilities`. */
  capabilities?: CapabilityVerifier;
  /** Asked when a call would pass a cap with action `ask`. Without it such calls are blocked. */
  onAsk?: OnAsk;
  /** How long an answer is waited for before the call is blocked. Default 300 000 (5 minutes). */
  askTimeoutMs?: number;
  /** Told once in each window when a part of a cap is spent (`alerts`). What it throws is ignored. */
  onAlert?: (alert: SpendAlert) => void;
  /** Gets each alert as a POST of JSON, tried again for a while. */
  webhook?: string | WebhookOptions;
}

export interface GuardSettings extends PrepareOptions {
  readonly policies: readonly Policy[];
  readonly scope: SpendScope;
  /** Takes in policies that have changed; afterwards `policies` and `scope` are those of now. */
  refresh: () => void;
  requireScope: boolean;
  enabled: boolean;
  waitForHoldsMs: number;
  leaseMs: number;
  signing: TransactOptions;
  lateTruth: LateTruthSource | undefined;
  waitUntil: (work: Promise<unknown>) => void;
  tell: (event: SpendEvent) => void;
  tellAlert: (alert: SpendAlert) => Promise<void>;
  capabilities: CapabilityVerifier | undefined;
  onAsk: OnAsk | undefined;
  askTimeoutMs: number;
  now: () => number;
  newId: () => string;
}

/** What a guard takes from its surroundings; tests put something fixed in its place. */
export type GuardSeams = Partial<Pick<GuardSettings, 'now' | 'newId' | 'priceOf'>>;

const DEFAULT_WAIT_MS = 10_000;
const DEFAULT_LEASE_MS = 15 * 60_000;
const DEFAULT_ASK_MS = 5 * 60_000;
/** The longest delay that timers take. */
const MAX_DELAY_MS = 2 ** 31 - 1;

function delay(name: string, value: number | undefined, otherwise: number, least: number): number {
  const delayMs = value ?? otherwise;
  if (Number.isFinite(delayMs) && delayMs >= least && delayMs <= MAX_DELAY_MS) return delayMs;
  throw new AgentGuardError(
    'invalid_config',
    `${name}: expected milliseconds from ${least} to 2^31, got ${value}`,
  );
}

const OPTIONS: readonly string[] = [
  'policy',
  'scope',
  'ledger',
  'signingKeys',
  'requireScope',
  'enabled',
  'waitForHoldsMs',
  'leaseMs',
  'estimate',
  'countTokens',
  'waitUntil',
  'lateTruth',
  'onEvent',
  'claims',
  'capabilities',
  'onAsk',
  'askTimeoutMs',
  'onAlert',
  'webhook',
] satisfies (keyof SpendGuardOptions)[];

const FLAGS = ['requireScope', 'enabled'] as const;
const FUNCTIONS = ['onAsk', 'onAlert', 'onEvent', 'waitUntil', 'countTokens'] as const;

/** What is wrong with options that didn't come through the type checker. */
function optionsProblem(options: SpendGuardOptions): string | undefined {
  if (typeof options !== 'object' || options === null) return 'createSpendGuard: expected { policy, … }';
  const unknown = Object.keys(options).find((name) => !OPTIONS.includes(name));
  if (unknown !== undefined) {
    const fix = 'caps' in options ? 'a policy is passed as { policy }' : `expected ${OPTIONS.join(', ')}`;
    return `${unknown}: unknown option; ${fix}`;
  }
  const { ledger, estimate, lateTruth } = options as {
    ledger?: { transact?: unknown } | null;
    estimate?: unknown;
    lateTruth?: { lookUp?: unknown } | null;
  };
  if (lateTruth !== undefined && typeof lateTruth?.lookUp !== 'function') {
    return 'lateTruth: expected a source such as openRouterGenerations({ apiKey })';
  }
  if (ledger !== undefined && typeof ledger?.transact !== 'function') {
    return 'ledger: expected a ledger such as fileLedger({ dir }) or memoryLedger()';
  }
  if (estimate !== undefined && estimate !== 'fast' && estimate !== 'strict') {
    return 'estimate: expected "fast" or "strict"';
  }
  const given = options as { [K in keyof SpendGuardOptions]: unknown };
  const { capabilities } = given;
  if (
    capabilities !== undefined &&
    typeof (capabilities as { verify?: unknown } | null)?.verify !== 'function'
  )
    return 'capabilities: expected capabilityVerifier({ issuer, jwks, audience })';
  const isOf = (type: string) => (name: keyof SpendGuardOptions) =>
    given[name] === undefined || typeof given[name] === type;
  const noFlag = FLAGS.find((name) => !isOf('boolean')(name));
  if (noFlag !== undefined) return `${noFlag}: expected true or false`;
  const noFunction = FUNCTIONS.find((name) => !isOf('function')(name));
  return noFunction === undefined ? undefined : `${noFunction}: expected a function`;
}

/** The tenant whose log a guard writes to. */
export function ledgerTenant({ policies, scope }: GuardSettings): string {
  return tenantOf(policies, scope);
}

/** The caller's own functions must not be able to stop a call, or to lose a settlement. */
function quietly(call: () => unknown): void {
  try {
    const answer = call();
    if (answer instanceof Promise) answer.catch(() => undefined);
  } catch {
    // told to nobody: there is nobody else to tell
  }
}

function signerOf(keys: SigningKeys | Signer): Signer {
  return 'sign' in keys ? checkedSigner('signingKeys', keys) : signerFromKeys(keys);
}

/** Tells an alert to everyone who wants to know. Resolves when the webhook has it, or has been given up. */
function alertTeller(
  { onAlert, webhook }: SpendGuardOptions,
  tell: (event: SpendEvent) => void,
): (alert: SpendAlert) => Promise<void> {
  const hook = readWebhook(webhook);
  return async (alert) => {
    tell({ type: 'alert', alert });
    quietly(() => onAlert?.(alert));
    if (hook === undefined || (await postAlert(alert, hook))) return;
    const message = `the webhook did not take the alert ${alert.id}`;
    tell({ type: 'warning', code: 'alert_not_given', message });
  };
}

export function readOptions(options: SpendGuardOptions, seams: GuardSeams = {}): GuardSettings {
  const problem = optionsProblem(options);
  if (problem !== undefined) throw new AgentGuardError('invalid_config', problem);
  const { signingKeys, countTokens, onEvent } = options;
  const tell = (event: SpendEvent): void => quietly(() => onEvent?.(event));
  const { scope, ledger } = options;
  const shelf = new PolicyShelf(options.policy, { scope, bindsTenant: ledger === undefined, tell });
  return {
    get policies() {
      return shelf.policies;
    },
    get scope() {
      return shelf.scope;
    },
    refresh: () => shelf.refresh(),
    requireScope: options.requireScope ?? false,
    enabled: options.enabled ?? true,
    waitForHoldsMs: delay('waitForHoldsMs', options.waitForHoldsMs, DEFAULT_WAIT_MS, 0),
    leaseMs: delay('leaseMs', options.leaseMs, DEFAULT_LEASE_MS, 1),
    estimate: options.estimate ?? 'fast',
    ...(countTokens && { countTokens }),
    signing: signingKeys ? { signer: signerOf(signingKeys) } : {},
    lateTruth: options.lateTruth,
    waitUntil: (work) => quietly(() => options.waitUntil?.(work)),
    tell,
    tellAlert: alertTeller(options, tell),
    claims: checkClaims('claims', options.claims),
    capabilities: options.capabilities,
    onAsk: options.onAsk,
    askTimeoutMs: delay('askTimeoutMs', options.askTimeoutMs, DEFAULT_ASK_MS, 1),
    now: Date.now,
    newId: randomId,
    priceOf: findPrice,
    ...seams,
  };
}
