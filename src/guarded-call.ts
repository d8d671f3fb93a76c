/** A call that was let through: where it goes, and the one settlement that ends it. */
import type { AllowReason, Decision, Route } from './decide.ts';
import type { SpendEvent } from './events.ts';
import type { HoldQueue } from './hold-queue.ts';
import type { Committed, Hold, Ledger, LedgerView, Transaction, TransactOptions } from './ledgers/ledger.ts';
import type { NanoUsd } from './money.ts';
import type { Prepared } from './prepare.ts';
import type { findPrice } from './pricing/find-price.ts';
import type { Price } from './pricing/price.ts';
import { isSameModel } from './pricing/resolve.ts';
import type { Receipt } from './receipts/payloads.ts';
import { endingDraft, expiryDrafts } from './record.ts';
import { settledCost, type CallOutcome, type SettledCost } from './settlement.ts';

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
  tell: (event: SpendEvent) => void;
  /** Keeps a serverless function alive until a settlement is written. */
  waitUntil: (work: Promise<unknown>) => void;
}

interface Opened {
  id: string;
  prepared: Prepared;
  decision: Decision & { route: Route };
  receipt: Receipt;
  /** The hold as the ledger has it. */
  hold: Hold;
}

export function guardedCall(
  { id, prepared, decision, receipt, hold }: Opened,
  context: CallContext,
): GuardedCall {
  const { route } = decision;
  const isSet = route.limit === 'injected' || route.limit === 'clamped';
  let settlement: Promise<Settlement> | undefined;
  return {
    id,
    decision: decision.decision as 'allow' | 'downgrade',
    reason: decision.reason as AllowReason,
    model: route.model,
    fallbacks: route.fallbacks,
    maxOutputTokens: isSet ? route.maxOutputTokens : undefined,
    hold: decision.hold,
    receipt,
    settle: (outcome) => (settlement ??= begun(settleCall(outcome))),
  };

  function begun(work: Promise<Settlement>): Promise<Settlement> {
    context.waitUntil(work);
    return work;
  }

  async function settleCall(outcome: CallOutcome): Promise<Settlement> {
    const served = servedPrice(outcome.servedModel);
    const { request } = prepared;
    const cost = settledCost(outcome, { request, route, hold: decision.hold, price: served.price });
    const end =
      (isRetry: boolean) =>
      (view: LedgerView): Transaction<boolean> => {
        const isOpen = view.hold(id) !== undefined;
        const expired = expiryDrafts(view).filter((draft) => !('call' in draft && draft.call === id));
        // After a failed write nobody knows whether it counts; a hold that is gone then has ended already.
        if (!isOpen && isRetry) return { drafts: expired, result: false };
        return {
          drafts: [...expired, endingDraft(hold, isOpen, outcome, cost, served.isFallback)],
          result: true,
        };
      };
    let committed: Committed<boolean> | undefined;
    let error: unknown;
    for (const isRetry of [false, true]) {
      try {
        committed = await context.ledger.transact([], end(isRetry), context.signing);
        error = undefined;
        break;
      } catch (failure) {
        error = failure;
      }
    }
    const written = committed?.result === true ? committed.receipts.at(-1) : undefined;
    tellSettlement(cost, written, error, outcome, served.isFallback);
    context.queue.pump();
    return { ...cost, receipt: written };
  }

  function servedPrice(servedModel: string | undefined): { price: Price | undefined; isFallback: boolean } {
    const asked = prepared.prices.get(route.model);
    if (servedModel === undefined || isSameModel(servedModel, route.model, context.provider)) {
      return { price: asked, isFallback: false };
    }
    const found = context.priceOf(servedModel, context.provider);
    // Providers also answer with internal names of the model that was asked for; a name that nobody knows is that.
    if (!('price' in found)) return { price: asked, isFallback: route.fallbacks.includes(servedModel) };
    return { price: found.price, isFallback: true };
  }

  function tellSettlement(
    cost: SettledCost,
    written: Receipt | undefined,
    error: unknown,
    outcome: CallOutcome,
    isFallback: boolean,
  ): void {
    context.tell({
      type: 'settlement',
      callId: id,
      receipt: written,
      cost: cost.amount,
      source: cost.source,
      ...(error !== undefined && { error }),
    });
    if (cost.unknownUsage !== undefined && outcome.outcome === 'ok') {
      const message = `${route.model}: ${cost.unknownUsage}; settled at ${cost.source}`;
      context.tell({ type: 'warning', code: 'usage_unknown', message });
    }
    const { servedModel = '' } = outcome;
    if (isFallback && !route.fallbacks.some((named) => isSameModel(servedModel, named, context.provider))) {
      const message = `the call was sent to ${route.model}, and ${servedModel} served it`;
      context.tell({ type: 'warning', code: 'route_not_taken', message });
    }
    if (cost.amount > decision.hold && route.limit !== 'none') {
      const message = `${route.model} cost more than its worst case; the receipt says by how much`;
      context.tell({ type: 'warning', code: 'over_hold', message });
    }
  }
}
