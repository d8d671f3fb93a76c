/**
 * Recomputes a log from itself: every decision through `decide`, every balance by the ledger's own rules. Pure and
 * streaming: takes receipts that verified, in order, and says which one is the first that doesn't follow.
 */
import { capLayout, type CapLayout } from './accounts.ts';
import { decide } from './decide.ts';
import { RecentMap } from './ledgers/recent-map.ts';
import { EXPIRED_AT_ONCE, LedgerState } from './ledgers/state.ts';
import { formatUsd, maxOf } from './money.ts';
import type { Policy, PolicyRecord } from './policy.ts';
import { compilePrice, type Price, type PriceRow } from './pricing/price.ts';
import type {
  AdjustmentPayload,
  DecisionPayload,
  Payload,
  PricesPayload,
  Receipt,
  SettlementPayload,
} from './receipts/payloads.ts';
import { instantOf, instantText } from './receipts/seal.ts';
import { recordedDecision, rehydrate, requestOf, type Foundation } from './rehydrate.ts';
import { AlertRules } from './replay-alerts.ts';
import { capabilityProblem, decisionProblem, markProblem } from './replay-decision.ts';
import { adjustmentProblem, settlementProblem, type OpenCall } from './replay-endings.ts';
import { spanProblem } from './replay-spans.ts';
import { scopeMatches, type SpendScope } from './scope.ts';
import { RULES_VERSION } from './version.ts';

/** Why a receipt doesn't follow, or why that can't be said. */
export interface ReplayProblem {
  verdict: 'wrong' | 'undecidable';
  /** 1-based. */
  line: number;
  seq: number;
  cause: string;
}

/** A call that was in flight when the log ended. */
export interface InFlight {
  call: string;
  /** Line of its decision. */
  line: number;
  hold: bigint;
  leaseUntil: string;
  /** True when the lease has run out, and nobody has had to expire it since. */
  overdue: boolean;
}

export interface ReplayVerdict {
  /** `follows`: every decision and balance is what the log itself leads to. */
  replay: 'follows' | 'wrong' | 'undecidable';
  decisions: number;
  /** Absent when everything follows. */
  problem?: ReplayProblem;
  /** Calls that were in flight at the end. */
  open: readonly InFlight[];
}

/** More than any writer remembers, so what a writer doesn't record anew is still known here. */
const PRICES_KEPT = 1024;

/** How a call stands. Calls whose true cost may still come are remembered whole, with what they have cost so far. */
type Ending = 'blocked' | 'settled' | 'adjusted' | (OpenCall & { amount: bigint });

type Found = Pick<ReplayProblem, 'verdict' | 'cause'>;

const wrong = (cause: string): Found => ({ verdict: 'wrong', cause });

export class Replay {
  readonly #state = new LedgerState({ log: '', seq: -1, hash: '', time: 0 });
  readonly #prices = new RecentMap<ReadonlyMap<string, Price> | string>(PRICES_KEPT);
  readonly #calls = new Map<string, Ending>();
  readonly #open = new Map<string, OpenCall>();
  /** Caps that somebody let a call pass, each with the most that it may cost, by the call that is still to be decided. */
  readonly #approvals = new Map<string, Map<number, bigint>>();
  readonly #alerts = new AlertRules();
  #decisions = 0;
  /** Expiries since the last receipt that a guard wrote for a call of its own. */
  #expiries = 0;
  #wrong: ReplayProblem | undefined;
  #undecidable: ReplayProblem | undefined;

  constructor() {
    this.#state.keepEverything();
  }

  /** Takes the next receipt. After the first that doesn't follow nothing more is looked at. */
  add(receipt: Receipt): void {
    if (this.#wrong !== undefined) return;
    const { payload } = receipt;
    let found: Found | undefined;
    try {
      found = this.#check(payload);
      if (found?.verdict !== 'wrong') this.#apply(receipt);
    } catch (error) {
      // What a policy or a price list holds is anybody's JSON.
      found = wrong(`the receipt can't be used: ${(error as Error).message}`);
    }
    if (found === undefined) return;
    const problem = { ...found, line: payload.seq + 1, seq: payload.seq };
    if (found.verdict === 'wrong') this.#wrong = problem;
    else this.#undecidable ??= problem;
  }

  /** The verdict on everything that was added. */
  verdict(): ReplayVerdict {
    const problem = this.#wrong ?? this.#undecidable;
    return {
      replay: problem?.verdict ?? 'follows',
      decisions: this.#decisions,
      ...(problem && { problem }),
      open: Array.from(this.#open, ([call, { line, hold }]) => {
        const until = this.#state.holds.get(call)?.until ?? hold.until;
        const overdue = until <= this.#state.head.time;
        return { call, line, hold: hold.amount, leaseUntil: instantText(until), overdue };
      }),
    };
  }

  #check(payload: Payload): Found | undefined {
    switch (payload.type) {
      case 'prices':
        this.#prices.set(payload.digest, compiled(payload));
        this.#prices.prune();
        return undefined;
      case 'approval': {
        const given = this.#approvals.get(payload.call) ?? new Map<number, bigint>();
        const most = maxOf(given.get(payload.cap) ?? 0n, BigInt(payload.hold));
        if (payload.outcome === 'approved') this.#approvals.set(payload.call, given.set(payload.cap, most));
        return undefined;
      }
      case 'policy':
        this.#alerts.add(payload.policy as unknown as PolicyRecord);
        return undefined;
      case 'alert': {
        const problem = this.#alerts.problem(payload, this.#state);
        return problem === undefined ? undefined : wrong(problem);
      }
      case 'decision':
        this.#decisions += 1;
        return this.#overdue(payload) ?? this.#decision(payload);
      case 'settlement':
        return this.#settlement(payload);
      case 'adjustment':
        // The truth about a call is written beside all calls, and expires nothing.
        return this.#adjustment(payload);
      case 'close':
        return payload.open_holds === this.#state.holds.size
          ? undefined
          : wrong(`${payload.open_holds} holds are said to be open, and it is ${this.#state.holds.size}`);
      default:
        return undefined;
    }
  }

  #apply(receipt: Receipt): void {
    const { payload } = receipt;
    this.#state.apply(receipt);
    if (payload.type === 'decision') this.#remember(payload);
    else if (payload.type === 'settlement') this.#end(payload);
    else if (payload.type === 'adjustment') this.#adjusted(payload);
    if (payload.type === 'settlement' && payload.outcome === 'expired') this.#expiries += 1;
    else if (payload.type === 'decision' || payload.type === 'settlement' || payload.type === 'adjustment') {
      this.#expiries = 0;
    }
  }

  #remember(payload: DecisionPayload): void {
    const hold = this.#state.holds.get(payload.call);
    if (payload.decision === 'block' || hold === undefined) {
      this.#calls.set(payload.call, 'blocked');
      return;
    }
    const model = payload.route?.model ?? payload.request.model;
    const prices = payload.prices === undefined ? undefined : this.#prices.get(payload.prices);
    const call: OpenCall = {
      line: payload.seq + 1,
      hold,
      at: instantOf(payload.issued_at),
      request: requestOf(payload.request),
      model,
      limit: payload.route?.limit,
      price: typeof prices === 'object' ? prices.get(model) : undefined,
    };
    this.#open.set(payload.call, call);
  }

  #end(payload: SettlementPayload): void {
    const { call, outcome, cost } = payload;
    const open = this.#open.get(call);
    this.#open.delete(call);
    const mayCome = outcome === 'expired' || isAwaited(payload);
    const ending = mayCome && open !== undefined ? { ...open, amount: BigInt(cost.amount) } : 'settled';
    this.#calls.set(call, ending);
  }

  #adjusted(payload: AdjustmentPayload): void {
    const { call, cost } = payload;
    const before = this.#calls.get(call);
    const mayCome = typeof before === 'object' && isAwaited(payload);
    this.#calls.set(call, mayCome ? { ...before, amount: BigInt(cost.amount) } : 'adjusted');
  }

  /** Whoever decides or settles a call expires what is due first. */
  #overdue({ call, issued_at: issuedAt }: Payload & { call: string }): Found | undefined {
    const due = this.#state.dueHolds(instantOf(issuedAt)).find((hold) => hold.call !== call);
    // One transaction ends so many holds, its own call's not counted; the others wait for the next one.
    if (due === undefined || this.#expiries >= EXPIRED_AT_ONCE - 1) return undefined;
    return wrong(
      `${holdText(due.call, this.#open.get(due.call))} was never settled, and did not expire when its lease ended at ` +
        instantText(due.until),
    );
  }

  #decision(payload: DecisionPayload): Found | undefined {
    if (payload.rules < 1 || payload.rules > RULES_VERSION) {
      return {
        verdict: 'undecidable',
        cause: `it was decided by version ${payload.rules} of the rules, and this program knows those up to ${RULES_VERSION}`,
      };
    }
    const before = this.#calls.get(payload.call) ?? this.#open.get(payload.call);
    if (before !== undefined) return wrong(`call ${payload.call} was decided before`);
    const policies: Policy[] = [];
    for (const [index, digest] of payload.policies.entries()) {
      const policy = this.#state.policies.get(digest);
      if (policy === undefined) return wrong(`the log has no policy receipt for ${digest}`);
      const problem = policyProblem(payload, policy, index);
      if (problem !== undefined) return wrong(problem);
      policies.push(policy);
    }
    const prices = payload.prices === undefined ? new Map<string, Price>() : this.#prices.get(payload.prices);
    if (prices === undefined) return wrong(`the log has no prices receipt for ${payload.prices}`);
    if (typeof prices === 'string') return wrong(prices);
    const layout = capLayout(policies, payload.scope as SpendScope);
    const spans = spanProblem(layout, payload.spans, instantOf(payload.issued_at));
    if (spans?.verdict === 'wrong') return spans;
    const amounts = this.#amounts(layout, payload);
    const found = balanceProblem(layout, payload, amounts);
    if (found !== undefined) return wrong(found.cause + this.#lostHold(found));
    const frozen = this.#state.marks.frozen(payload.scope as SpendScope);
    const unmarked =
      markProblem(payload, amounts, frozen) ??
      capabilityProblem(payload, this.#state.marks) ??
      this.#unapproved(payload);
    if (unmarked !== undefined) return wrong(unmarked);
    const computed = decide(rehydrate(payload, { policies, layout, prices, amounts, frozen }));
    const difference = decisionProblem(computed, recordedDecision(payload));
    return difference === undefined ? spans : wrong(difference);
  }

  /** What the log adds up to for each cap, before this decision. */
  #amounts(layout: CapLayout, { spans, scope, issued_at: issuedAt }: DecisionPayload): Amounts[] {
    const now = instantOf(issuedAt);
    const { marks } = this.#state;
    return layout.caps.map((ref) => {
      const { account, window, policy, index, cap, task } = ref;
      const query = { policy: policy.record.id, cap: index, window: cap.window, scope: scope as SpendScope };
      const granted = marks.granted(query, now);
      const rung = task === undefined ? undefined : marks.rung(task, now);
      const more = { ...(granted > 0n && { granted }), ...(rung !== undefined && { rung }) };
      if (account === undefined || window === undefined) return { spent: 0n, held: 0n, ...more };
      const [start, end] = spans[window] as readonly [number, number];
      return { ...this.#state.amounts(account, { start, end }, now), ...more };
    });
  }

  /** A cap that the decision says may be passed, and that nobody let it pass. */
  #unapproved({ call, approved = [], decision, hold }: DecisionPayload): string | undefined {
    const given = this.#approvals.get(call);
    this.#approvals.delete(call);
    for (const cap of approved) {
      const most = given?.get(cap);
      if (most === undefined) return `nobody approved that the call passes cap ${cap}`;
      if (decision !== 'block' && BigInt(hold) > most)
        return `that the call passes cap ${cap} was approved up to ${formatUsd(most)}, and the hold is ${formatUsd(BigInt(hold))}`;
    }
    return undefined;
  }

  /** The open hold that a decision does without, where there is exactly that one. */
  #lostHold({ key, missing }: BalanceProblem): string {
    for (const [call, open] of this.#open) {
      const isIt = open.hold.amount === missing && open.hold.accounts.some(([account]) => account === key);
      if (isIt) return `; ${holdText(call, open)} was never settled`;
    }
    return '';
  }

  #settlement(payload: SettlementPayload): Found | undefined {
    const overdue = payload.outcome === 'expired' ? undefined : this.#overdue(payload);
    if (overdue !== undefined) return overdue;
    const { call } = payload;
    const open = this.#open.get(call);
    const hold = this.#state.holds.get(call);
    if (open !== undefined && hold !== undefined) {
      // Leases move when the log's time is set back.
      const problem = settlementProblem(payload, { ...open, hold });
      return problem === undefined ? undefined : wrong(problem);
    }
    const ending = this.#calls.get(call);
    if (ending === 'settled' || ending === 'adjusted') return wrong(`call ${call} was settled before`);
    if (ending === undefined || ending === 'blocked')
      return wrong(`call ${call} was never let through, and is settled`);
    return wrong(`call ${call} had expired; what comes later is an adjustment, not a settlement`);
  }

  #adjustment(payload: AdjustmentPayload): Found | undefined {
    const { call } = payload;
    const ending = this.#calls.get(call);
    if (typeof ending === 'object') {
      const moved = this.#state.awaited.get(call)?.accounts;
      const problem = adjustmentProblem(payload, ending, ending.amount, moved);
      return problem === undefined ? undefined : wrong(problem);
    }
    if (ending === 'adjusted') return wrong(`call ${call} was adjusted before`);
    if (ending === 'settled') return wrong(`call ${call} was settled, and is adjusted`);
    if (this.#open.has(call)) return wrong(`call ${call} is in flight, and is adjusted instead of settled`);
    return wrong(`call ${call} was never let through, and is adjusted`);
  }
}

type Amounts = Foundation['amounts'][number];

/** True when the provider knows the call, and what it cost is not known yet. */
function isAwaited({ cost, provider_ref: reference }: SettlementPayload | AdjustmentPayload): boolean {
  return reference !== undefined && (cost.source === 'hold' || cost.source === 'estimate');
}

/** The rows of a prices receipt by model, or why they can't be used. */
function compiled({ rows }: PricesPayload): ReadonlyMap<string, Price> | string {
  try {
    return new Map(rows.map(([model, row]) => [model, compilePrice(row as unknown as PriceRow)]));
  } catch (error) {
    return `its prices can't be used: ${(error as Error).message}`;
  }
}

function policyProblem(payload: DecisionPayload, policy: Policy, index: number): string | undefined {
  const { id, effectiveFrom } = policy.record;
  if (!scopeMatches(policy.record.scope, payload.scope as SpendScope))
    return `policy ${id} is not for the scope of the call`;
  if (!payload.not_effective?.includes(index) || policy.effectiveFrom > instantOf(payload.issued_at))
    return undefined;
  return `policy ${id} is said not to have taken effect, and did at ${effectiveFrom}`;
}

function holdText(call: string, open: OpenCall | undefined): string {
  return open === undefined
    ? `the hold of call ${call}`
    : `the hold of ${formatUsd(open.hold.amount)} of call ${call} (line ${open.line})`;
}

interface BalanceProblem {
  cause: string;
  /** The account, and how much less is held on it than there should be. */
  key?: string;
  missing?: bigint;
}

/** True when just the caps that have accounts are named, in their order. */
function areNamed(layout: CapLayout, caps: DecisionPayload['caps']): boolean {
  let named = 0;
  for (const [index, { account }] of layout.caps.entries()) {
    if (account !== undefined && caps[named++]?.[0] !== index) return false;
  }
  return named === caps.length;
}

function balanceProblem(
  layout: CapLayout,
  { caps }: DecisionPayload,
  amounts: readonly Amounts[],
): BalanceProblem | undefined {
  if (!areNamed(layout, caps)) {
    const expected = layout.caps.flatMap(({ account }, index) => (account === undefined ? [] : [index]));
    const named = caps.map(([index]) => index).join(', ');
    return {
      cause: `balances of caps ${named} are named, and its policies have them for caps ${expected.join(', ')}`,
    };
  }
  for (const [index, spent, held] of caps) {
    const right = amounts[index] as Amounts;
    if (BigInt(spent) === right.spent && BigInt(held) === right.held) continue;
    const differences = [
      ...(BigInt(spent) === right.spent ? [] : [`${formatUsd(right.spent)} is spent`]),
      ...(BigInt(held) === right.held ? [] : [`${formatUsd(right.held)} is held`]),
    ];
    const ref = layout.caps[index];
    const name = `cap ${index} (${ref?.cap.window} of policy ${ref?.policy.record.id})`;
    const told = `${formatUsd(BigInt(spent))} spent and ${formatUsd(BigInt(held))} held`;
    return {
      cause: `on ${name} ${differences.join(' and ')}, and the decision has ${told}`,
      ...(ref?.account && { key: ref.account.key }),
      missing: right.held - BigInt(held),
    };
  }
  return undefined;
}
