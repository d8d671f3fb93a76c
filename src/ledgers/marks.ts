/** What a log says besides balances: freezes, grants, rungs of tasks, capabilities that were used, alerts given. */
import * as v from 'valibot';
import { capLayout } from '../accounts.ts';
import type { NanoUsd } from '../money.ts';
import type { Policy } from '../policy.ts';
import { canonicalJson } from '../receipts/canonical-json.ts';
import type { DecisionPayload, GrantPayload, Payload } from '../receipts/payloads.ts';
import { scopeMatches, type SpendScope } from '../scope.ts';
import { TASK_IDLE_DAYS } from '../windows.ts';

/** A cap that was raised for a while. */
export interface Grant {
  policy: string;
  /** Position of the cap in the policy, and its window, so that a grant doesn't pass to another cap. */
  cap: number;
  window: string;
  /** Only for calls of this scope. */
  scope: SpendScope;
  amount: NanoUsd;
  /** In milliseconds. */
  until: number;
}

/** Which cap of which call a grant is looked for. */
export type GrantQuery = Pick<Grant, 'policy' | 'cap' | 'window' | 'scope'>;

const DAY = 86_400_000;
/** A verifier lets a token pass for so long after its end; it must be remembered for longer. */
const TOKEN_GRACE_MS = 60_000;

const whole = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const scopeText = v.record(v.string(), v.string());

/** The marks in a snapshot. */
export const marksBody = v.strictObject({
  /** name, until (0 for ever) */
  alerts: v.array(v.tuple([v.string(), whole])),
  freezes: v.array(scopeText),
  /** policy, cap, window, scope, amount, until */
  grants: v.array(v.tuple([v.string(), whole, v.string(), scopeText, v.string(), whole])),
  /** task key, model, until */
  rungs: v.array(v.tuple([v.string(), v.string(), whole])),
  /** name, until */
  used: v.array(v.tuple([v.string(), whole])),
});

type MarksBody = v.InferOutput<typeof marksBody>;

function tokenName(issuer: string, jti: string): string {
  return canonicalJson([issuer, jti]);
}

/** Changes with the log alone, like the balances. */
export class Marks {
  #alerts = new Map<string, number>();
  #freezes = new Map<string, SpendScope>();
  #grants: Grant[] = [];
  #rungs = new Map<string, { model: string; until: number }>();
  #used = new Map<string, number>();

  /** Takes in a receipt. `policies` are those of a decision, in its order. */
  apply(payload: Payload, time: number, policies: readonly Policy[]): void {
    if (payload.type === 'freeze') this.#freeze(payload.scope as SpendScope, payload.frozen);
    else if (payload.type === 'grant') this.#grants.push(grantOf(payload));
    else if (payload.type === 'alert') this.#alerts.set(payload.name, payload.until);
    else if (payload.type === 'decision') this.#decide(payload, time, policies);
  }

  #freeze(scope: SpendScope, frozen: boolean): void {
    const name = canonicalJson(scope);
    if (frozen) this.#freezes.set(name, scope);
    else this.#freezes.delete(name);
  }

  #decide(payload: DecisionPayload, time: number, policies: readonly Policy[]): void {
    if (payload.decision === 'block') return;
    for (const { iss, jti, exp, problem } of payload.request.capabilities ?? []) {
      if (problem === undefined && iss !== undefined && jti !== undefined)
        this.#used.set(tokenName(iss, jti), exp + TOKEN_GRACE_MS);
    }
    const { decisive_cap: cap, route } = payload;
    if (payload.decision !== 'downgrade' || cap === undefined || route === undefined) return;
    const task = capLayout(policies, payload.scope as SpendScope).caps[cap]?.task;
    if (task !== undefined) this.#rungs.set(task, { model: route.model, until: time + TASK_IDLE_DAYS * DAY });
  }

  /** The frozen scope that a call of `scope` is in. */
  frozen(scope: SpendScope): SpendScope | undefined {
    for (const each of this.#freezes.values()) if (scopeMatches(each, scope)) return each;
    return undefined;
  }

  freezes(): SpendScope[] {
    return [...this.#freezes.values()];
  }

  /** Every grant that isn't over at `now`; with a query those that raise this cap for this call. */
  grants(now: number, query?: GrantQuery): Grant[] {
    return this.#grants.filter(
      ({ policy, cap, window, scope, until }) =>
        until > now &&
        (query === undefined ||
          (policy === query.policy &&
            cap === query.cap &&
            window === query.window &&
            scopeMatches(scope, query.scope))),
    );
  }

  /** What is granted on top of a cap's amount for a call, at `now`. */
  granted(query: GrantQuery, now: number): NanoUsd {
    if (this.#grants.length === 0) return 0n;
    return this.grants(now, query).reduce((sum, { amount }) => sum + amount, 0n);
  }

  /** The model that a task was sent to. */
  rung(task: string, now: number): string | undefined {
    const rung = this.#rungs.get(task);
    return rung !== undefined && rung.until > now ? rung.model : undefined;
  }

  isUsed(issuer: string, jti: string): boolean {
    return this.#used.has(tokenName(issuer, jti));
  }

  /** Until when it is remembered that a token was used, in milliseconds. */
  usedUntil(issuer: string, jti: string): number | undefined {
    return this.#used.get(tokenName(issuer, jti));
  }

  /** True when the alert of this name has been given in a window that isn't over. */
  wasGiven(alert: string, now: number): boolean {
    const until = this.#alerts.get(alert);
    return until !== undefined && (until === 0 || until > now);
  }

  /** Forgets what is over at `now`. True when something was. */
  prune(now: number): boolean {
    const before = this.#size();
    for (const [name, until] of this.#alerts) if (until !== 0 && until <= now) this.#alerts.delete(name);
    for (const [name, until] of this.#used) if (until <= now) this.#used.delete(name);
    for (const [task, { until }] of this.#rungs) if (until <= now) this.#rungs.delete(task);
    this.#grants = this.#grants.filter(({ until }) => until > now);
    return this.#size() < before;
  }

  #size(): number {
    return this.#alerts.size + this.#used.size + this.#rungs.size + this.#grants.length;
  }

  body(): MarksBody {
    return {
      alerts: [...this.#alerts],
      freezes: Array.from(this.#freezes.values(), (scope) => ({ ...scope })) as MarksBody['freezes'],
      grants: this.#grants.map(
        ({ policy, cap, window, scope, amount, until }): MarksBody['grants'][number] => [
          policy,
          cap,
          window,
          { ...scope } as Record<string, string>,
          amount.toString(),
          until,
        ],
      ),
      rungs: Array.from(this.#rungs, ([task, { model, until }]): [string, string, number] => [
        task,
        model,
        until,
      ]),
      used: [...this.#used],
    };
  }

  restore(body: MarksBody): void {
    this.#alerts = new Map(body.alerts);
    this.#used = new Map(body.used);
    this.#rungs = new Map(body.rungs.map(([task, model, until]) => [task, { model, until }]));
    for (const scope of body.freezes) this.#freeze(scope as SpendScope, true);
    this.#grants = body.grants.map(([policy, cap, window, scope, amount, until]) => ({
      policy,
      cap,
      window,
      scope: scope as SpendScope,
      amount: BigInt(amount),
      until,
    }));
  }
}

function grantOf(payload: GrantPayload): Grant {
  return {
    policy: payload.policy,
    cap: payload.cap,
    window: payload.window,
    scope: payload.scope as SpendScope,
    amount: BigInt(payload.amount),
    until: Date.parse(payload.until),
  };
}
