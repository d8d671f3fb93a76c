/**
 * Decides the calls of a log again, one after another, under other policies: through `decide` itself, on balances
 * that follow from the new decisions by the ledger's rules. Pure but for the price lists of this machine.
 */
import { capLayout } from '../../accounts.ts';
import { decide, type DecideInput, type Decision, type RequestFacts, type Route } from '../../decide.ts';
import type { Hold, LedgerView } from '../../ledgers/ledger.ts';
import type { NanoUsd } from '../../money.ts';
import type { Policy, PolicyRecord } from '../../policy.ts';
import { policyFromRecord } from '../../policy.ts';
import { CLOCK_TOLERANCE_MS, decideInput, type Prepared } from '../../prepare.ts';
import type { Price } from '../../pricing/price.ts';
import type {
  AdjustmentPayload,
  DecisionPayload,
  Payload,
  SettlementPayload,
} from '../../receipts/payloads.ts';
import { instantOf } from '../../receipts/seal.ts';
import { decisionDraft, endingDraft } from '../../record.ts';
import { scopeMatches, type ScopeField, type SpendScope } from '../../scope.ts';
import type { WindowSpan } from '../../windows.ts';
import { newCost } from './new-cost.ts';
import { assumedFacts, recordedFacts } from './recorded-call.ts';
import { RecordedPrices } from './recorded-prices.ts';
import { Tally, type Change, type CountedCall } from './tally.ts';
import type { UsageShares } from './usage-shares.ts';
import { VirtualLedger } from './virtual-ledger.ts';

/** How long a call that was never made may be in flight. */
const LEASE_MS = 15 * 60_000;

/** A call that is in flight under the new decisions, or was let through in the log. */
interface Call {
  counted: CountedCall;
  was: { model: string; hold: NanoUsd } | undefined;
  now:
    | { model: string; hold: NanoUsd; request: RequestFacts; route: Route; price: Price | undefined }
    | undefined;
  /** The hold by the new decision, for what comes after its end. */
  hold: Hold | undefined;
}

interface Decided {
  decision: Decision;
  input: DecideInput;
  spans: readonly WindowSpan[];
}

export class Simulation {
  readonly tally: Tally = new Tally();
  readonly prices: RecordedPrices = new RecordedPrices();
  /** Policies of the file in shadow mode, which are judged as if they were enforced. */
  readonly shadow: readonly string[];
  from: number | undefined;
  to: number | undefined;
  readonly #policies: readonly Policy[];
  readonly #shares: UsageShares;
  readonly #ledger = new VirtualLedger();
  readonly #recorded = new Map<string, Policy>();
  readonly #calls = new Map<string, Call>();

  readonly #onDecision: (call: string, decision: Decision) => void;

  /** `onDecision` is told of each call's new decision. */
  constructor(
    policies: readonly Policy[],
    shares: UsageShares,
    onDecision: (call: string, decision: Decision) => void = () => undefined,
  ) {
    this.#onDecision = onDecision;
    this.#policies = policies.map(({ record }) => policyFromRecord({ ...record, mode: 'enforce' }));
    this.shadow = policies.flatMap(({ record }) => (record.mode === 'shadow' ? [record.id] : []));
    this.#shares = shares;
  }

  /** True when windows could not be told apart, for the log's clock was set back. */
  get isUncertain(): boolean {
    return this.#ledger.isUncertain;
  }

  /** Calls that were in flight when the log ended. */
  get inFlight(): number {
    let count = 0;
    for (const { was, counted } of this.#calls.values())
      if (was !== undefined && !counted.isEnded) count += 1;
    return count;
  }

  /** Takes in the next receipt of the log. */
  add(payload: Payload): void {
    switch (payload.type) {
      case 'policy':
        this.#recorded.set(payload.digest, policyFromRecord(payload.policy as unknown as PolicyRecord));
        break;
      case 'prices':
        this.prices.add(payload);
        break;
      case 'decision':
        this.#decision(payload);
        break;
      case 'settlement':
      case 'adjustment':
        this.#ending(payload);
        break;
      case 'grant':
      case 'freeze':
      case 'clock':
        this.#ledger.write([payload], instantOf(payload.issued_at));
        break;
      default:
        break;
    }
  }

  #decision(payload: DecisionPayload): void {
    const time = instantOf(payload.issued_at);
    this.from ??= time;
    this.to = time;
    const prepared = this.#prepared(payload);
    const { decision, input, spans } = this.#decide(payload, prepared, time);
    this.#onDecision(payload.call, decision);
    const was =
      payload.decision === 'block' || payload.route === undefined
        ? undefined
        : { model: payload.route.model, hold: BigInt(payload.hold) };
    const change = changeOf(was, decision.route);
    const { scope, request } = payload;
    const keys = { team: scope.teamId, task: scope.task, model: request.model };
    const counted = this.tally.count(keys, change);
    this.#count(change, decision, input);
    this.#ledger.know(prepared.policies, time);
    const lease = payload.lease_until === undefined ? LEASE_MS : Date.parse(payload.lease_until) - time;
    const draft = decisionDraft(payload.call, input, decision, spans, time + lease, payload.uncarried ?? []);
    this.#ledger.write([draft], time);
    const { route } = decision;
    const now =
      route === undefined
        ? undefined
        : {
            model: route.model,
            hold: decision.hold,
            request: input.request,
            route,
            price: input.prices.get(route.model),
          };
    const call: Call = { counted, was, now, hold: this.#ledger.hold(payload.call) };
    this.#calls.set(payload.call, call);
    if (was === undefined && now !== undefined) this.#endImagined(call, scope.task, time);
  }

  /** The request of a call, with the policies of the file that are for it. */
  #prepared(payload: DecisionPayload): Prepared {
    const scope = payload.scope as SpendScope;
    const policies = this.#policies.filter(({ record }) => scopeMatches(record.scope, scope));
    const layout = capLayout(policies, scope);
    const was = payload.policies.flatMap((digest) => this.#recorded.get(digest) ?? []);
    const facts = assumedFacts(recordedFacts(payload.request), scope, { was, will: policies });
    if (facts.capability) this.tally.assume('capability');
    if (facts.ceiling && facts.request.model === 'openrouter/auto') this.tally.assume('ceiling');
    const { request } = facts;
    const names =
      request.fixedCost === undefined ? [request.model, ...request.fallbacks, ...layout.ladder] : [];
    const uncarried = new Set(payload.uncarried);
    return {
      scope,
      ...(payload.scope_conflict !== undefined && { scopeConflict: payload.scope_conflict as ScopeField }),
      requireTenant: payload.require_tenant === true,
      policies,
      layout,
      request,
      prices: this.prices.of(names, payload.prices, request.provider),
      unpriced: new Map(),
      uncarried: Object.assign(uncarried, { found: [] }) as unknown as Prepared['uncarried'],
    };
  }

  /** Decides as the guard would; where a person is asked, by what the log says of the call. */
  #decide(payload: DecisionPayload, prepared: Prepared, time: number): Decided {
    const approved: number[] = [];
    for (;;) {
      const view: LedgerView = this.#ledger.view(time);
      // Tomorrow's policies are tried as if they had been in force.
      const { input: given, spans } = decideInput(prepared, view, Infinity, approved);
      const clockWrong = (payload.clock_back_ms ?? 0) > CLOCK_TOLERANCE_MS;
      const input = { ...given, clockWrong };
      const decision = decide(input);
      const isRefusedBySomebody = payload.reason === 'not_approved';
      if (decision.reason !== 'not_approved' || decision.cap === undefined || isRefusedBySomebody)
        return { decision, input, spans };
      if (approved.length === 0) this.tally.assume('asked');
      approved.push(decision.cap);
    }
  }

  #count(change: Change, decision: Decision, input: DecideInput): void {
    const { reason, cap, rule, route } = decision;
    if (reason === 'no_policy') this.tally.assume('no_policy');
    if (reason === 'frozen') this.tally.assume('frozen');
    if (change === 'blocked' && reason === 'cap_held') this.tally.assume('held');
    if (change === 'rerouted' && route?.model !== input.request.model && input.request.features === undefined)
      this.tally.assume('features');
    if (change !== 'blocked' && change !== 'rerouted') return;
    const capped = cap === undefined ? undefined : input.caps[cap]?.ref;
    const policy = capped?.policy ?? (rule === undefined ? undefined : input.policies[rule[0]]?.policy);
    this.tally.decided({
      reason,
      ...(policy !== undefined && { policy: policy.record.id }),
      ...(capped !== undefined && { cap: capped.index }),
      ...(rule !== undefined && capped === undefined && { rule: rule[1] }),
      change,
    });
  }

  /** A call that the log has no end of: it is taken to end at once, at what such calls mostly come to. */
  #endImagined(call: Call, task: string | undefined, time: number): void {
    const { now, hold } = call;
    if (now === undefined || hold === undefined) return;
    const amount = this.#shares.estimate(now.request, task, now);
    this.#ledger.write([endOf(hold, amount, true)], time);
    call.counted.cost(0n, amount);
    this.tally.estimated += amount;
    this.tally.assume('estimated');
  }

  /** An ending of the log, leases that ran out among them: whoever wrote next has expired what was due. */
  #ending(payload: SettlementPayload | AdjustmentPayload): void {
    const call = this.#calls.get(payload.call);
    if (call?.was === undefined) return;
    const before = BigInt(payload.cost.amount);
    const time = instantOf(payload.issued_at);
    const { now, hold } = call;
    if (now === undefined || hold === undefined) {
      call.counted.cost(before, 0n);
      return;
    }
    const { amount, isCut } = newCost(payload, call.was, now);
    if (isCut) this.tally.assume('cut');
    const isOpen = this.#ledger.hold(payload.call) !== undefined;
    const ended = call.counted.isEnded ? call.counted.after : hold.amount;
    this.#ledger.write([endOf(isOpen ? hold : { ...hold, amount: ended }, amount, isOpen)], time);
    call.counted.cost(before, amount);
  }
}

function changeOf(was: { model: string } | undefined, route: Route | undefined): Change {
  if (was === undefined) return route === undefined ? 'still_blocked' : 'let_through';
  if (route === undefined) return 'blocked';
  return route.model === was.model ? 'same' : 'rerouted';
}

function endOf(hold: Hold, amount: NanoUsd, isOpen: boolean): ReturnType<typeof endingDraft> {
  return endingDraft(hold, isOpen, { outcome: 'ok' }, { amount, source: 'tokens' }, false);
}
