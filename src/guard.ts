/** The guard: decides, holds and records each call on one ledger. */
import { defaultLedger } from '#default-ledger';
import { capBalances, type CapBalance } from './balances.ts';
import { decide, type DecideInput, type Decision } from './decide.ts';
import { AgentGuardBlockedError, AgentGuardError, type BlockReason } from './errors.ts';
import { blockMessage, capInfo } from './explain.ts';
import { guardedCall, type GuardedCall, type Settlement } from './guarded-call.ts';
import { HoldQueue, type Answer, type Attempt } from './hold-queue.ts';
import { LateTruths, type LateTruthSource, type Reconciled } from './late-truth.ts';
import type { Hold, Ledger, LedgerView, Transaction } from './ledgers/ledger.ts';
import { nanoUsdFromUsd, type NanoUsd } from './money.ts';
import {
  type GuardSeams,
  type GuardSettings,
  ledgerTenant,
  readOptions,
  type SpendGuardOptions,
} from './options.ts';
import { decideInput, prepare, prepareCharge, type Prepared, type SpendRequest } from './prepare.ts';
import { syncedProblem } from './pricing/synced.ts';
import { randomId } from './receipts/keys.ts';
import type { Receipt } from './receipts/payloads.ts';
import { decisionDraft, expiryDrafts, foundationDrafts } from './record.ts';
import { currentScope, layerScopes, type SpendScope } from './scope.ts';
import type { WindowSpan } from './windows.ts';

/** A charge for something that isn't a model call, whose cost is known beforehand: a paid tool, a search. */
export interface SpendCharge {
  /** Names the thing in the log. */
  label: string;
  /** US dollars, as a decimal string or number; finer than a nano-dollar is refused. */
  usd: string | number;
  scope?: SpendScope;
  signal?: AbortSignal;
}

export interface ReconcileOptions {
  /** Default: the guard's own. */
  lateTruth?: LateTruthSource;
  signal?: AbortSignal;
}

/** Puts calls under policies. Adapters that share a guard share ledger, keys and log. */
export interface SpendGuard extends AsyncDisposable {
  /**
   * Decides a call and holds its worst case. Resolves once the signed decision has the ledger's durability; then
   * the call may leave. Rejects with `AgentGuardBlockedError` when it may not, with the signal's reason when the
   * caller gave up waiting, and with `AgentGuardError` (`invalid_config`) for a request that makes no sense.
   */
  begin(request: SpendRequest): Promise<GuardedCall>;
  /** What `begin` would decide now. Writes nothing and holds nothing. */
  preview(request: SpendRequest): Promise<Decision>;
  /** Decides and settles a known cost at once. Rejects as `begin` does. */
  charge(charge: SpendCharge): Promise<Settlement>;
  /** Every cap that counts for a scope, with what is spent and held. `per_call` caps are left out. */
  balances(scope?: SpendScope): Promise<CapBalance[]>;
  /**
   * Asks once about every call of the ledger, whichever process made it, that was settled at its hold or an estimate
   * and has a provider's id, and records what it really cost. For what `lateTruth` did not get to: run it now and then.
   */
  reconcile(options?: ReconcileOptions): Promise<Reconciled>;
  /** Resolves when every receipt written so far is durable. */
  flush(): Promise<void>;
  /** Closes the ledger, for every guard that shares it. */
  close(): Promise<void>;
}

const GUARD = Symbol.for('agentguard.spend/guard@1');

/** True for what `createSpendGuard` returns, also from another copy of this package. */
export function isSpendGuard(value: unknown): value is SpendGuard {
  return typeof value === 'object' && value !== null && GUARD in value;
}

/** The log's own key and three that were admitted: a fourth is one too many to be on purpose. */
const MANY_KEYS = 4;

// One queue for each ledger: guards that share a ledger wait in one line.
const queues = new WeakMap<Ledger, HoldQueue>();

function queueOf(ledger: Ledger): HoldQueue {
  let queue = queues.get(ledger);
  if (queue === undefined) queues.set(ledger, (queue = new HoldQueue()));
  return queue;
}

/**
 * Creates a guard. Does no I/O: the ledger opens at the first call. Throws `AgentGuardError` for an option or a
 * policy that isn't valid, and on runtimes without a default ledger when none is passed.
 */
export function createSpendGuard(options: SpendGuardOptions): SpendGuard {
  return guardWith(options);
}

/** `createSpendGuard` with something fixed in place of clock, prices or ids, for tests. */
export function guardWith(options: SpendGuardOptions, seams?: GuardSeams): SpendGuard {
  const settings = readOptions(options, seams);
  const ledger = options.ledger ?? defaultLedger(ledgerTenant(settings));
  return new Guard(settings, ledger);
}

type Outcome = { call: GuardedCall; error?: never } | { error: AgentGuardBlockedError; call?: never };

interface Decided {
  decision: Decision;
  input: DecideInput;
  until: number;
  spans: readonly WindowSpan[];
}

class Guard implements SpendGuard {
  readonly [GUARD] = true;
  readonly #settings: GuardSettings;
  readonly #ledger: Ledger;
  readonly #queue: HoldQueue;
  readonly #late: LateTruths;
  #warnedOfLimit = false;
  #warnedOfKey = false;
  #priceProblem: string | undefined;

  constructor(settings: GuardSettings, ledger: Ledger) {
    this.#settings = settings;
    this.#ledger = ledger;
    this.#queue = queueOf(ledger);
    const { lateTruth, signing, tell } = settings;
    this.#late = new LateTruths(lateTruth, {
      ledger,
      signing,
      tell,
      freed: (accounts) => this.#queue.pump(accounts),
    });
  }

  async begin(request: SpendRequest): Promise<GuardedCall> {
    if (!this.#settings.enabled) return unguardedCall(request);
    const prepared = prepare(request, this.#settings);
    this.#tellOfPrices();
    return this.#begin(prepared, request.provider, request.signal);
  }

  /** Synced prices that are there and can't be used are told once each time they change. */
  #tellOfPrices(): void {
    const problem = syncedProblem();
    if (problem === this.#priceProblem) return;
    this.#priceProblem = problem;
    if (problem !== undefined)
      this.#settings.tell({ type: 'warning', code: 'prices_unusable', message: problem });
  }

  async preview(request: SpendRequest): Promise<Decision> {
    const prepared = prepare(request, this.#settings);
    const { result } = await this.#ledger.transact(prepared.layout.accounts, (view) => ({
      drafts: [],
      result: decide(decideInput(prepared, view, this.#settings.now()).input),
    }));
    return result;
  }

  async charge({ label, usd, scope, signal }: SpendCharge): Promise<Settlement> {
    if (typeof label !== 'string' || label === '') {
      throw new AgentGuardError('invalid_config', 'charge.label: expected the name of what is charged');
    }
    let amount: NanoUsd;
    try {
      amount = nanoUsdFromUsd(usd);
    } catch {
      amount = -1n;
    }
    if (amount < 0n) {
      throw new AgentGuardError(
        'invalid_config',
        `charge.usd: expected US dollars of at least 0, got ${usd}`,
      );
    }
    if (!this.#settings.enabled) return { amount, source: 'none', receipt: undefined };
    const call = await this.#begin(prepareCharge(label, amount, scope, this.#settings), undefined, signal);
    return call.settle({ outcome: 'ok' });
  }

  balances(scope?: SpendScope): Promise<CapBalance[]> {
    const layered = layerScopes([this.#settings.scope, currentScope(), scope]).scope;
    return capBalances(this.#ledger, this.#settings.policies, layered);
  }

  flush(): Promise<void> {
    return this.#ledger.flush();
  }

  reconcile({ lateTruth, signal }: ReconcileOptions = {}): Promise<Reconciled> {
    const source = lateTruth ?? this.#late.source;
    if (source === undefined) {
      const message = 'reconcile: lateTruth: expected a source such as openRouterGenerations({ apiKey })';
      return Promise.reject(new AgentGuardError('invalid_config', message));
    }
    return this.#late.reconcile(source, signal ?? new AbortController().signal);
  }

  close(): Promise<void> {
    this.#late.close();
    return this.#ledger.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #begin(prepared: Prepared, provider: string | undefined, signal?: AbortSignal): Promise<GuardedCall> {
    signal?.throwIfAborted();
    const id = this.#settings.newId();
    const { waitForHoldsMs } = this.#settings;
    const attempt = async (last: boolean): Promise<Answer<Outcome>> => {
      const answer = await this.#attempt(id, prepared, provider, !last);
      // The caller may have left the queue while the decision was being written: the call never leaves.
      if (signal?.aborted && 'decided' in answer) await answer.decided.call?.settle({ outcome: 'not_sent' });
      return answer;
    };
    const { error, call } = await this.#decided(id, prepared, attempt, waitForHoldsMs, signal);
    if (signal?.aborted) {
      await call?.settle({ outcome: 'not_sent' });
      throw signal.reason;
    }
    if (error !== undefined) throw error;
    return call;
  }

  /** The outcome of a call, after waiting for other calls' holds where only they stand in its way. */
  async #decided(
    id: string,
    prepared: Prepared,
    attempt: Attempt<Outcome>,
    waitMs: number,
    signal: AbortSignal | undefined,
  ): Promise<Outcome> {
    const mayWait = waitMs > 0;
    let inTheWay: readonly string[] = mayWait ? this.#queue.busyAmong(blockAccounts(prepared)) : [];
    if (inTheWay.length === 0) {
      const answer = await attempt(!mayWait);
      if ('decided' in answer) return answer.decided;
      ({ inTheWay } = answer);
    }
    this.#settings.tell({ type: 'wait', callId: id, requestedModel: prepared.request.model });
    return this.#queue.wait(inTheWay, attempt, waitMs, signal);
  }

  /** One transaction: decides, and writes the decision unless it is worth waiting for holds. */
  async #attempt(
    id: string,
    prepared: Prepared,
    provider: string | undefined,
    mayWait: boolean,
  ): Promise<Answer<Outcome>> {
    const { leaseMs, now, signing } = this.#settings;
    const body = (view: LedgerView): Transaction<Answer<Decided>> => {
      this.#warnOfKey(view);
      const expired = expiryDrafts(view);
      const { input, spans } = decideInput(prepared, view, now());
      const decision = decide(input);
      if (decision.reason === 'cap_held' && mayWait) {
        return { drafts: expired, result: { inTheWay: accountsInTheWay(input, decision.hold) } };
      }
      const until = view.now + leaseMs;
      const drafts = [
        ...expired,
        ...foundationDrafts(view, input),
        decisionDraft(id, input, decision, spans, until, prepared.uncarried.found),
      ];
      return { drafts, result: { decided: { decision, input, until, spans } } };
    };
    const committed = await this.#ledger
      .transact(prepared.layout.accounts, body, signing)
      .catch((error: unknown) => {
        throw this.#unavailable(prepared, id, error);
      });
    const { result, receipts } = committed;
    if ('inTheWay' in result) return result;
    const { decided } = result;
    const receipt = receipts.at(-1) as Receipt;
    this.#tellDecision(id, prepared, decided, receipt);
    return { decided: this.#outcome(id, prepared, provider, decided, receipt) };
  }

  /** Keys that are made anew at each start leave a log that admits a stranger every time. */
  #warnOfKey({ signers }: LedgerView): void {
    const { signing, tell } = this.#settings;
    if (this.#warnedOfKey || signing.signer === undefined || signers.has(signing.signer.kid)) return;
    this.#warnedOfKey = true;
    if (signers.size < MANY_KEYS) return;
    const message =
      `signingKeys: the key ${signing.signer.kid} is new to this log, as ${signers.size - 1} others were before it. ` +
      'Keep one key and use it again, or leave signingKeys out: then the installation key signs';
    tell({ type: 'warning', code: 'unstable_key', message });
  }

  #outcome(
    id: string,
    prepared: Prepared,
    provider: string | undefined,
    { decision, input, until, spans }: Decided,
    receipt: Receipt,
  ): Outcome {
    const { route } = decision;
    if (route === undefined) return { error: this.#refusal(id, prepared, input, decision) };
    const { accounts: selectors, windowOfAccount } = prepared.layout;
    const accounts = selectors.map(
      ({ key }, position) => [key, spans[windowOfAccount[position] as number]?.start ?? 0] as const,
    );
    const hold: Hold = { call: id, amount: decision.hold, until, accounts };
    const { now, priceOf, signing, tell, waitUntil } = this.#settings;
    const context = {
      ledger: this.#ledger,
      queue: this.#queue,
      late: this.#late,
      signing,
      provider,
      priceOf,
      now,
      tell,
      waitUntil,
    };
    return { call: guardedCall({ id, prepared, decision: { ...decision, route }, receipt, hold }, context) };
  }

  #refusal(id: string, prepared: Prepared, input: DecideInput, decision: Decision): AgentGuardBlockedError {
    const cap = capInfo(input, decision);
    return new AgentGuardBlockedError({
      reason: decision.reason as BlockReason,
      message: blockMessage(prepared, input, decision),
      model: prepared.request.model,
      callId: id,
      ...(cap !== undefined && { cap }),
      ...(decision.retryAt !== undefined && { retryAfterMs: Math.max(0, decision.retryAt - input.now) }),
      ...(decision.hold > 0n && { worstCase: decision.hold }),
    });
  }

  #tellDecision(id: string, prepared: Prepared, { decision, input }: Decided, receipt: Receipt): void {
    const { tell } = this.#settings;
    const { route } = decision;
    tell({
      type: 'decision',
      callId: id,
      decision: decision.decision,
      reason: decision.reason,
      scope: prepared.scope,
      requestedModel: prepared.request.model,
      ...(route && { model: route.model }),
      hold: decision.hold,
      receipt,
    });
    if (decision.shadow !== undefined) {
      const { decision: would, reason } = decision.shadow;
      tell({
        type: 'warning',
        code: 'shadow',
        message: `${input.request.model}: shadow policies say ${would} (${reason})`,
      });
    }
    if (route?.limit === 'injected' && !this.#warnedOfLimit) {
      this.#warnedOfLimit = true;
      const message = `calls without an output limit get ${route.maxOutputTokens} tokens; set policy.maxOutputTokens`;
      tell({ type: 'warning', code: 'limit_injected', message });
    }
  }

  /** Fails closed: what can't be decided and recorded does not leave. */
  #unavailable(prepared: Prepared, id: string, error: unknown): unknown {
    if (!(error instanceof AgentGuardError)) return error;
    const { model } = prepared.request;
    return new AgentGuardBlockedError({
      reason: error.code === 'clock' ? 'clock' : 'ledger_unavailable',
      message: `${model} was blocked (ledger_unavailable): ${error.message}`,
      model,
      callId: id,
      cause: error,
    });
  }
}

/** The accounts of the caps that may make a call wait. */
function blockAccounts({ layout }: Prepared): string[] {
  return layout.caps.flatMap(({ account, cap, policy }) =>
    account !== undefined && cap.action === 'block' && policy.record.mode === 'enforce' ? [account.key] : [],
  );
}

/** The accounts on which other calls' holds leave no room for `cost`. */
function accountsInTheWay({ caps }: DecideInput, cost: NanoUsd): string[] {
  return caps.flatMap(({ ref: { account, cap, index, policy }, spent, held }) => {
    const binds = account !== undefined && cap.action === 'block' && policy.record.mode === 'enforce';
    return binds && spent + held + cost > (policy.amounts[index] as NanoUsd) ? [account.key] : [];
  });
}

/** What a guard that is off lets through: everything, as it was asked for. */
function unguardedCall(request: SpendRequest): GuardedCall {
  return {
    id: randomId(),
    decision: 'allow',
    reason: 'no_caps',
    model: request.model,
    fallbacks: request.fallbacks ?? [],
    maxOutputTokens: undefined,
    hold: 0n,
    receipt: undefined,
    settle: () => Promise.resolve({ amount: 0n, source: 'none', receipt: undefined }),
  };
}
