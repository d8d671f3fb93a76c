/** A call that was let through: where it goes, and the one settlement that ends it. */
import type { AllowReason, Decision, Route } from './decide.ts';
import type { SpendEvent } from './events.ts';
import type { HoldQueue } from './hold-queue.ts';
import type { LateTruths } from './late-truth.ts';
import type { Hold, Ledger, LedgerView, Transaction, TransactOptions } from './ledgers/ledger.ts';
import type { NanoUsd } from './money.ts';
import type { Prepared } from './prepare.ts';
import { namesOneModel, type findPrice } from './pricing/find-price.ts';
import type { Price } from './pricing/price.ts';
import { isAutoRouter } from './policy/patterns.ts';
import { randomId } from './receipts/keys.ts';
import type { Receipt } from './receipts/payloads.ts';
import { endingDraft, expiryDrafts } from './record.ts';
import type { SpendRequest } from './request.ts';
import { settledCost, soundOutcome, type CallOutcome, type SettledCost } from './settlement.ts';

/** What a call came to. */
export interface Settlement extends SettledCost {
  /** `undefined` when the ledger could not be written; the hold then expires at its full amount. */
  receipt: Receipt | undefined;
}

/** A call that may leave. Settle it once, on every ending; a call that is never settled expires at its hold. */
export interface GuardedCall {
  /** 128 random bits; names the call in the log. */
  readonly id: string;
  readonly decision: 'allow' | 'downgrade';
  readonly reason: AllowReason;
  /** The model that the call must be sent to. */
  readonly model: string;
  /** The only other models that it may name. */
  readonly fallbacks: readonly string[];
  /** The output limit to set on the call; `undefined` to leave the call's own as it is. */
  readonly maxOutputTokens: number | undefined;
  /** The ceiling that OpenRouter must be told as `provider.max_price`; `undefined` where no rule sets one. */
  readonly maxPrice: { input?: string; output?: string; request?: string } | undefined;
  /** The worst-case cost that is held while the call is in flight. */
  readonly hold: NanoUsd;
  /** The decision's receipt; `undefined` when the guard is off. */
  readonly receipt: Receipt | undefined;
  /**
   * Ends the call. The first ending counts; later ones get the same answer. Never throws: a ledger that can't be
   * written is told to `onEvent`, and the hold expires at its full amount.
   */
  settle(outcome: CallOutcome): Promise<Settlement>;
}

/** What a guarded call needs of its guard. */
export interface CallContext {
  ledger: Ledger;
  queue: HoldQueue;
  signing: TransactOptions;
  provider: string | undefined;
  priceOf: typeof findPrice;
  now: () => number;
  late: LateTruths;
  tell: (event: SpendEvent) => void;
  /** Keeps a serverless function alive until a settlement is written. */
  waitUntil: (work: Promise<unknown>) => void;
  /** Told when a settlement is written. */
  onSettled: (cost: SettledCost) => void;
}

interface Opened {
  id: string;
  prepared: Prepared;
  decision: Decision & { route: Route };
  receipt: Receipt;
  /** The hold as the ledger has it. */
  hold: Hold;
}

/** The guarded call of a decision that was written. */
export function guardedCall(opened: Opened, context: CallContext): GuardedCall {
  return new Call(opened, context);
}

class Call implements GuardedCall {
  readonly id: string;
  readonly decision: 'allow' | 'downgrade';
  readonly reason: AllowReason;
  readonly model: string;
  readonly fallbacks: readonly string[];
  readonly maxOutputTokens: number | undefined;
  readonly maxPrice: { input?: string; output?: string; request?: string } | undefined;
  readonly hold: NanoUsd;
  readonly receipt: Receipt;
  readonly #opened: Opened;
  readonly #context: CallContext;
  #settlement: Promise<Settlement> | undefined;

  constructor(opened: Opened, context: CallContext) {
    const { decision } = opened;
    const { route } = decision;
    this.id = opened.id;
    this.decision = decision.decision as 'allow' | 'downgrade';
    this.reason = decision.reason as AllowReason;
    this.model = route.model;
    this.fallbacks = route.fallbacks;
    this.maxOutputTokens =
      route.limit === 'injected' || route.limit === 'clamped' ? route.maxOutputTokens : undefined;
    this.maxPrice = route.maxPrice;
    this.hold = decision.hold;
    this.receipt = opened.receipt;
    this.#opened = opened;
    this.#context = context;
  }

  settle(outcome: CallOutcome): Promise<Settlement> {
    if (this.#settlement === undefined) {
      this.#settlement = this.#settle(soundOutcome(outcome));
      this.#context.waitUntil(this.#settlement);
    }
    return this.#settlement;
  }

  async #settle(outcome: CallOutcome): Promise<Settlement> {
    const { prepared, decision } = this.#opened;
    const { price, isFallback } = this.#served(outcome.servedModel);
    const cost = settledCost(outcome, {
      request: prepared.request,
      route: decision.route,
      hold: decision.hold,
      price,
      at: [Date.parse(this.receipt.payload.issued_at), this.#context.now()],
    });
    const { receipt, error } = await this.#write(outcome, cost, isFallback);
    this.#tell(outcome, cost, receipt, error);
    const truth = this.#context.late.expect(receipt);
    if (truth !== undefined) this.#context.waitUntil(truth);
    if (isFallback) this.#tellFallback(outcome.servedModel ?? '');
    if (receipt !== undefined) this.#context.onSettled(cost);
    this.#context.queue.pump(this.#opened.hold.accounts.map(([key]) => key));
    return { ...cost, receipt };
  }

  /** Writes the ending, and tries once more when that fails. */
  async #write(
    outcome: CallOutcome,
    cost: SettledCost,
    isFallback: boolean,
  ): Promise<{ receipt: Receipt | undefined; error?: unknown }> {
    const { id } = this;
    const { hold } = this.#opened;
    const { ledger, signing } = this.#context;
    const body =
      (isRetry: boolean) =>
      (view: LedgerView): Transaction<boolean> => {
        const isOpen = view.hold(id) !== undefined;
        const expired = expiryDrafts(view).filter((draft) => !('call' in draft && draft.call === id));
        const ended = isOpen ? undefined : view.ended(id);
        // After a failed write nobody knows whether it counts; the ledger says so where it remembers.
        if (ended === 'settled' || (!isOpen && ended === undefined && isRetry))
          return { drafts: expired, result: false };
        return { drafts: [...expired, endingDraft(hold, isOpen, outcome, cost, isFallback)], result: true };
      };
    let error: unknown;
    for (const isRetry of [false, true]) {
      try {
        const { result, receipts } = await ledger.transact([], body(isRetry), signing);
        return { receipt: result ? receipts.at(-1) : undefined };
      } catch (failure) {
        error = failure;
      }
    }
    return { receipt: undefined, error };
  }

  #served(servedModel: string | undefined): { price: Price | undefined; isFallback: boolean } {
    const { prices } = this.#opened.prepared;
    const asked = prices.get(this.model);
    const { provider, priceOf } = this.#context;
    if (servedModel === undefined || servedModel === this.model) return { price: asked, isFallback: false };
    const found = priceOf(servedModel, provider);
    // Whatever the router chose is what was asked for.
    if (isAutoRouter(this.model))
      return { price: 'price' in found ? found.price : undefined, isFallback: false };
    // Providers also answer with internal names of the model that was asked for; a name that nobody knows is that.
    if (!('price' in found)) return { price: asked, isFallback: this.fallbacks.includes(servedModel) };
    if (!namesOneModel(servedModel, this.model, provider)) return { price: found.price, isFallback: true };
    // A dated version may cost more than the name that was asked for, and an override may say what that costs.
    return { price: asked?.row.source === 'override' ? asked : found.price, isFallback: false };
  }

  #tell(outcome: CallOutcome, cost: SettledCost, receipt: Receipt | undefined, error: unknown): void {
    const { tell } = this.#context;
    tell({
      type: 'settlement',
      callId: this.id,
      receipt,
      cost: cost.amount,
      source: cost.source,
      ...(error !== undefined && { error }),
    });
    if (cost.unknownUsage !== undefined && outcome.outcome === 'ok') {
      const message = `${this.model}: ${cost.unknownUsage}; settled at ${cost.source}`;
      tell({ type: 'warning', code: 'usage_unknown', message });
    }
    if (cost.amount > this.hold && this.#opened.decision.route.limit !== 'none') {
      const message = `${this.model} cost more than its worst case; the receipt says by how much`;
      tell({ type: 'warning', code: 'over_hold', message });
    }
  }

  #tellFallback(servedModel: string): void {
    const { provider, tell } = this.#context;
    if (this.fallbacks.some((named) => namesOneModel(servedModel, named, provider))) return;
    const message = `the call was sent to ${this.model}, and ${servedModel} served it`;
    tell({ type: 'warning', code: 'route_not_taken', message });
  }
}

/** What a guard that is off lets through: everything, as it was asked for. */
export function unguardedCall(request: SpendRequest): GuardedCall {
  return {
    id: randomId(),
    decision: 'allow',
    reason: 'no_caps',
    model: request.model,
    fallbacks: request.fallbacks ?? [],
    maxOutputTokens: undefined,
    maxPrice: undefined,
    hold: 0n,
    receipt: undefined,
    settle: () => Promise.resolve({ amount: 0n, source: 'none', receipt: undefined }),
  };
}
