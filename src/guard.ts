/** The guard: decides, holds and records each call on one ledger. */
import { defaultLedger } from '#default-ledger';
import { countedAccounts } from './accounts.ts';
import { dueAlerts, hasAlerts } from './alerts.ts';
import { approvalDrafts, ask, decideWith, isUnasked, type Approval, type OnAsk } from './approvals.ts';
import { capBalances, type CapBalance } from './balances.ts';
import { presentedCapabilities } from './capability.ts';
import { writeFreeze, writeGrant, type ControlNote, type GrantRequest } from './control.ts';
import { decide, type CapState, type DecideInput, type Decision } from './decide.ts';
import type { PresentedCapability } from './decide/types.ts';
import { AgentGuardBlockedError, AgentGuardError, type BlockReason, type CapInfo } from './errors.ts';
import { blockMessage, capInfo, ruleInfo } from './explain.ts';
import { guardedCall, unguardedCall, type GuardedCall, type Settlement } from './guarded-call.ts';
import { HoldQueue, type Answer } from './hold-queue.ts';
import { LateTruths, type Reconciled } from './late-truth.ts';
import type { Hold, Ledger, LedgerView, Transaction } from './ledgers/ledger.ts';
import { nanoUsdFromUsd, type NanoUsd } from './money.ts';
import {
  type GuardSeams,
  type GuardSettings,
  ledgerTenant,
  readOptions,
  type SpendGuardOptions,
} from './options.ts';
import { decideInput, prepare, prepareCharge, type Prepared } from './prepare.ts';
import { syncedProblem } from './pricing/synced.ts';
import { PromptCaches } from './prompt-caches.ts';
import { requestProblem, type SpendRequest } from './request.ts';
import type { SettledCost } from './settlement.ts';
import { GUARD, type ReconcileOptions, type SpendCharge, type SpendGuard } from './spend-guard.ts';
import { Teller } from './teller.ts';
import { accountsInTheWay, pause } from './waiting.ts';
import type { Receipt } from './receipts/payloads.ts';
import { decisionDraft, expiryDrafts, foundationDrafts } from './record.ts';
import { currentCapabilities, currentScope, layerScopes, type SpendScope } from './scope.ts';
import type { WindowSpan } from './windows.ts';

export { isSpendGuard, type ReconcileOptions, type SpendCharge, type SpendGuard } from './spend-guard.ts';

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

/** What became of a call. With `ask` nothing is decided yet: somebody must say whether it may pass a cap. */
type Outcome =
  | { call: GuardedCall; error?: never; ask?: never }
  | { error: AgentGuardBlockedError; call?: never; ask?: never }
  | { ask: Decided; call?: never; error?: never };

/** A call on its way through the guard. */
interface Begun {
  id: string;
  prepared: Prepared;
  provider: string | undefined;
  /** What was answered so far about passing caps. */
  approvals: readonly Approval[];
}

interface Decided {
  decision: Decision;
  input: DecideInput;
  until: number;
  spans: readonly WindowSpan[];
  /** True when holds that ran out were ended beside it. */
  hasExpired: boolean;
}

class Guard implements SpendGuard {
  readonly [GUARD] = true;
  readonly #settings: GuardSettings;
  readonly #ledger: Ledger;
  readonly #queue: HoldQueue;
  readonly #late: LateTruths;
  #priceProblem: string | undefined;
  readonly #caches = new PromptCaches();
  /** Alerts that are being written or told. */
  readonly #telling = new Set<Promise<unknown>>();
  readonly #teller: Teller;
  #warnedOfKey = false;

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
    this.#teller = new Teller(settings.tell);
  }

  async begin(request: SpendRequest): Promise<GuardedCall> {
    if (!this.#settings.enabled) return unguardedCall(request);
    const ready = this.#prepare(request);
    // Only signed capabilities take time; every await that isn't needed would be felt.
    const prepared = ready instanceof Promise ? await ready : ready;
    this.#tellOfPrices();
    return await this.#begin(prepared, request.provider, request.signal);
  }

  /** Synced prices that can't be used are told once each time they change. */
  #tellOfPrices(): void {
    const message = syncedProblem();
    if (message === this.#priceProblem) return;
    this.#priceProblem = message;
    if (message !== undefined) this.#settings.tell({ type: 'warning', code: 'prices_unusable', message });
  }

  async preview(request: SpendRequest): Promise<Decision> {
    const prepared = await this.#prepare(request);
    const { result } = await this.#ledger.transact(prepared.layout.accounts, (view) => ({
      drafts: [],
      result: decide(decideInput(prepared, view, this.#settings.now()).input),
    }));
    return result;
  }

  /** Makes a request ready; its signed capabilities are verified here, before the ledger is asked. */
  #prepare(request: SpendRequest): Prepared | Promise<Prepared> {
    const problem = requestProblem(request);
    if (problem !== undefined) throw new AgentGuardError('invalid_config', problem);
    this.#settings.refresh();
    const now = this.#settings.now();
    const tokens = [
      ...currentCapabilities(),
      ...(request.capability === undefined ? [] : [request.capability].flat()),
    ];
    const presented = presentedCapabilities(tokens, this.#settings.capabilities, now);
    const cachedTokens = (scope: SpendScope, model: string): number => this.#caches.tokens(scope, model, now);
    const ready = (capabilities: readonly PresentedCapability[]): Prepared =>
      prepare(request, this.#settings, { capabilities, cachedTokens });
    return presented instanceof Promise ? presented.then(ready) : ready(presented);
  }

  async charge({ label, usd, scope, claims, signal }: SpendCharge): Promise<Settlement> {
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
    this.#settings.refresh();
    const charge = { label, amount, ...(scope && { scope }), ...(claims && { claims }) };
    const call = await this.#begin(prepareCharge(charge, this.#settings), undefined, signal);
    return call.settle({ outcome: 'ok' });
  }

  balances(scope?: SpendScope): Promise<CapBalance[]> {
    this.#settings.refresh();
    const layered = layerScopes([this.#settings.scope, currentScope(), scope]).scope;
    return capBalances(this.#ledger, this.#settings.policies, layered);
  }

  grant(grant: GrantRequest): Promise<Receipt> {
    this.#settings.refresh();
    const records = this.#settings.policies.map(({ record }) => record);
    return writeGrant(this.#ledger, records, grant);
  }

  reconcile({ lateTruth, signal }: ReconcileOptions = {}): Promise<Reconciled> {
    const source = lateTruth ?? this.#late.source;
    const message = 'reconcile: lateTruth: expected a source such as openRouterGenerations({ apiKey })';
    if (source === undefined) return Promise.reject(new AgentGuardError('invalid_config', message));
    return this.#late.reconcile(source, signal ?? new AbortController().signal);
  }

  freeze(scope: SpendScope, note?: ControlNote): Promise<Receipt | undefined> {
    return writeFreeze(this.#ledger, scope, true, note);
  }

  unfreeze(scope: SpendScope, note?: ControlNote): Promise<Receipt | undefined> {
    return writeFreeze(this.#ledger, scope, false, note);
  }

  async flush(): Promise<void> {
    await Promise.all(this.#telling);
    await this.#ledger.flush();
  }

  async close(): Promise<void> {
    this.#late.close();
    await Promise.race([Promise.all(this.#telling), pause(ALERTS_AT_CLOSE_MS)]);
    await this.#ledger.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #begin(prepared: Prepared, provider: string | undefined, signal?: AbortSignal): Promise<GuardedCall> {
    signal?.throwIfAborted();
    const approvals: Approval[] = [];
    const begun: Begun = { id: this.#settings.newId(), prepared, provider, approvals };
    for (;;) {
      const { call, error, ask: question } = await this.#decided(begun, signal);
      if (signal?.aborted) {
        await call?.settle({ outcome: 'not_sent' });
        throw signal.reason;
      }
      if (error !== undefined) throw error;
      if (call !== undefined) return call;
      approvals.push(await this.#ask(begun, question, signal));
      signal?.throwIfAborted();
    }
  }

  /** Asks whether the call may pass the cap that a decision named. Nothing is held meanwhile. */
  async #ask(
    { id, prepared }: Begun,
    { decision, input }: Decided,
    signal: AbortSignal | undefined,
  ): Promise<Approval> {
    const cap = decision.cap as number;
    const { spent, held } = input.caps[cap] as CapState;
    const { onAsk, askTimeoutMs } = this.#settings;
    const question = {
      callId: id,
      model: prepared.request.model,
      scope: prepared.scope,
      cap: capInfo(input, decision) as CapInfo,
      worstCase: decision.hold,
      spent,
      held,
    };
    const answer = await ask(onAsk as OnAsk, question, askTimeoutMs, signal);
    return { cap, hold: decision.hold, ...answer };
  }

  /** The outcome of a call, after waiting for other calls' holds where only they stand in its way. */
  async #decided(begun: Begun, signal: AbortSignal | undefined): Promise<Outcome> {
    const { id, prepared } = begun;
    const { waitForHoldsMs } = this.#settings;
    const mayWait = waitForHoldsMs > 0;
    let inTheWay = mayWait ? this.#queue.busyAmong(prepared.layout.blocking) : [];
    if (inTheWay.length === 0) {
      const answer = await this.#attempt(begun, mayWait);
      if ('decided' in answer) return answer.decided;
      ({ inTheWay } = answer);
    }
    const attempt = async (last: boolean): Promise<Answer<Outcome>> => {
      const answer = await this.#attempt(begun, !last);
      // The caller may have left the queue while the decision was being written: the call never leaves.
      if (signal?.aborted && 'decided' in answer) await answer.decided.call?.settle({ outcome: 'not_sent' });
      return answer;
    };
    this.#settings.tell({ type: 'wait', callId: id, requestedModel: prepared.request.model });
    return this.#queue.wait(inTheWay, attempt, waitForHoldsMs, signal);
  }

  /** One transaction: decides, and writes the decision unless it is worth waiting for holds, or asking somebody. */
  async #attempt(begun: Begun, mayWait: boolean): Promise<Answer<Outcome>> {
    const { id, prepared, approvals } = begun;
    const { leaseMs, now, onAsk, signing } = this.#settings;
    type Tried = Answer<Decided | { ask: Decided }>;
    const body = (view: LedgerView): Transaction<Tried> => {
      this.#warnOfKey(view);
      const expired = expiryDrafts(view);
      const { input, spans, decision } = decideWith(approvals, (approved) =>
        decideInput(prepared, view, now(), approved),
      );
      if (decision.reason === 'cap_held' && mayWait) {
        return { drafts: expired, result: { inTheWay: accountsInTheWay(input, decision.hold) } };
      }
      const until = view.now + leaseMs;
      const decided = { decision, input, until, spans, hasExpired: expired.length > 0 };
      if (onAsk !== undefined && isUnasked(decision, approvals)) {
        return { drafts: expired, result: { decided: { ask: decided } } };
      }
      const drafts = [
        ...expired,
        ...foundationDrafts(view, input),
        ...approvalDrafts(id, approvals),
        decisionDraft(id, input, decision, spans, until, prepared.uncarried.found),
      ];
      return { drafts, result: { decided } };
    };
    const { result, receipts } = await this.#ledger
      .transact(prepared.layout.accounts, body, signing)
      .catch((error: unknown) => {
        throw this.#unavailable(prepared, id, error);
      });
    if ('inTheWay' in result) return result;
    if ('ask' in result.decided) return { decided: result.decided };
    const receipt = receipts.at(-1) as Receipt;
    this.#teller.decided(id, result.decided.input, result.decided.decision, receipt);
    return { decided: this.#outcome(begun, result.decided, receipt) };
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
    { id, prepared, provider }: Begun,
    { decision, input, until, spans, hasExpired }: Decided,
    receipt: Receipt,
  ): Outcome {
    const { route } = decision;
    if (hasExpired || route === undefined) this.#giveAlerts(prepared, spans);
    if (route === undefined) return { error: this.#refusal(id, prepared, input, decision) };
    const accounts = countedAccounts(prepared.layout, decision.uncounted).map(
      ({ account, window }) => [account.key, spans[window]?.start ?? 0] as const,
    );
    const hold: Hold = { call: id, amount: decision.hold, until, accounts };
    const { now, priceOf, signing, tell, waitUntil } = this.#settings;
    const onSettled = ({ usage }: SettledCost): void => {
      this.#caches.remember(prepared.scope, route.model, usage, now(), prepared.request.hourCache);
      this.#giveAlerts(prepared, spans);
    };
    const context = {
      ledger: this.#ledger,
      queue: this.#queue,
      signing,
      provider,
      late: this.#late,
      priceOf,
      now,
      tell,
      waitUntil,
      onSettled,
    };
    return { call: guardedCall({ id, prepared, decision: { ...decision, route }, receipt, hold }, context) };
  }

  /** Gives the alerts that are due on a call's caps, beside the call and never in its way. */
  #giveAlerts(prepared: Prepared, spans: readonly WindowSpan[]): void {
    if (!hasAlerts(prepared)) return;
    const { signing, tell, tellAlert, waitUntil } = this.#settings;
    const work = dueAlerts(prepared, spans, this.#ledger, signing)
      .then((alerts) => Promise.all(alerts.map(tellAlert)))
      .catch(() => {
        // The next settlement looks again.
        tell({
          type: 'warning',
          code: 'alert_not_given',
          message: 'alerts could not be written; tried again later',
        });
      })
      .finally(() => this.#telling.delete(work));
    this.#telling.add(work);
    waitUntil(work);
  }

  #refusal(id: string, prepared: Prepared, input: DecideInput, decision: Decision): AgentGuardBlockedError {
    const cap = capInfo(input, decision);
    const rule = ruleInfo(input, decision);
    return new AgentGuardBlockedError({
      reason: decision.reason as BlockReason,
      message: blockMessage(prepared, input, decision),
      model: prepared.request.model,
      callId: id,
      ...(cap !== undefined && { cap }),
      ...(rule !== undefined && { rule }),
      ...(decision.retryAt !== undefined && { retryAfterMs: Math.max(0, decision.retryAt - input.now) }),
      ...(decision.hold > 0n && { worstCase: decision.hold }),
    });
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

/** How long closing waits for alerts that nobody takes. */
const ALERTS_AT_CLOSE_MS = 5000;
