/**
 * Random traffic under everything that people can do beside setting caps: grants, freezes, approvals, rules with
 * capabilities, sticky ladders, caps on models, alerts, and costs that become known late.
 */
import { blockedError } from '../../src/errors.ts';
import { guardWith, type SpendGuard } from '../../src/guard.ts';
import type { GuardedCall } from '../../src/guarded-call.ts';
import type { Ledger } from '../../src/ledgers/ledger.ts';
import type { SpendPolicy } from '../../src/policy.ts';
import { compilePrice, type PriceRow } from '../../src/pricing/price.ts';
import type { CallOutcome } from '../../src/settlement.ts';
import { randomOf, type TrafficClock } from './traffic.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

const row = (model: string, rates: Partial<PriceRow>): [string, PriceRow] => [
  model,
  { model, source: 'test', version: '1', input: '3', output: '15', ...rates },
];
const ROWS = new Map([
  row('m/large', {
    cacheRead: '0.3',
    cacheWriteHour: '6',
    inputAudio: '20',
    outputAudio: '60',
    image: '0.002',
    request: '0.0001',
  }),
  row('m/middle', { input: '0.5', output: '2', overrides: [{ between: [17 * 60, 21 * 60], output: '1' }] }),
  row('m/small', { input: '0.1', output: '0.4', tiers: [{ above: 2000, input: '0.2', output: '0.8' }] }),
]);
const PRICES = new Map(Array.from(ROWS, ([model, each]) => [model, { price: compilePrice(each) }]));

const POLICIES: SpendPolicy[] = [
  {
    id: 'all',
    scope: {},
    version: 1,
    effectiveFrom: '2026-01-01T00:00:00Z',
    timeZone: 'Europe/Berlin',
    caps: [
      { amountCents: 500, window: 'per_day', action: 'block', alerts: [0.5, 0.8] },
      { amountCents: 30, window: 'per_hour', action: 'ask', alerts: [1] },
      { amountCents: 4, window: 'per_call', action: 'ask' },
      { amountCents: 150, window: 'per_day', action: 'downgrade', downgradeTo: ['m/middle', 'm/small'] },
      { amountCents: 250, window: 'per_day', action: 'block', models: ['m/large'], alerts: [0.9] },
    ],
  },
  {
    id: 'users',
    scope: { tenantId: 'acme' },
    version: 3,
    effectiveFrom: '2026-01-01T00:00:00Z',
    caps: [
      {
        amountCents: 5,
        window: 'per_task',
        action: 'downgrade',
        downgradeTo: 'm/small',
        sticky: 'task',
        alerts: [0.8],
      },
      { amountCents: 60, window: 'per_day', action: 'block', per: ['userId'] },
      { amountCents: 20, window: 'per_minute', action: 'block', alerts: [0.75] },
    ],
    rules: [
      { when: { task: 'pay' }, requires: 'payment_execute', signed: true },
      { when: { task: 'bulk' }, models: ['m/middle', 'm/small'] },
      { when: { task: 'cheap' }, routeTo: 'm/small' },
    ],
  },
  {
    id: 'seen',
    scope: { userId: 'carol' },
    version: 1,
    effectiveFrom: '2026-01-01T00:00:00Z',
    mode: 'shadow',
    caps: [{ amountCents: 10, window: 'per_week', action: 'ask' }],
  },
];

interface ControlledOptions {
  seed: number;
  calls: number;
  clock: TrafficClock;
  ledger: Ledger;
}

class Controlled {
  readonly #random: () => number;
  readonly #options: ControlledOptions;
  readonly #guard: SpendGuard;
  readonly #flying: GuardedCall[] = [];
  #tokens = 0;
  #answered = 0;

  constructor(options: ControlledOptions) {
    this.#random = randomOf(options.seed);
    this.#options = options;
    const { clock, ledger } = options;
    this.#guard = guardWith(
      {
        policy: POLICIES,
        ledger,
        waitForHoldsMs: 0,
        leaseMs: 10 * MINUTE,
        onAsk: () => ({ approved: this.#chance(0.75), by: 'carol' }),
        capabilities: { verify: (token, now) => Promise.resolve(this.#verified(token, now)) },
      },
      {
        now: () => clock.now,
        priceOf: (model) => PRICES.get(model) ?? { unknown: 'nobody knows it', suggestions: [] },
      },
    );
  }

  #pick<T>(...choices: readonly T[]): T {
    return choices[Math.floor(this.#random() * choices.length)] as T;
  }

  #chance(part: number): boolean {
    return this.#random() < part;
  }

  #below(limit: number): number {
    return Math.floor(this.#random() * limit);
  }

  /** A token's text is its number and its end. */
  #verified(token: string, now: number) {
    const [jti = '', end = ''] = token.split('.');
    if (Number(end) <= now) return { problem: 'it has run out' };
    const max = this.#chance(0.3) ? { max: BigInt(this.#below(90_000_000)) } : {};
    return {
      issuer: 'https://issuer.example',
      jti,
      names: ['payment_execute'],
      expires: Number(end),
      ...max,
    };
  }

  async run(): Promise<void> {
    const { calls, clock } = this.#options;
    for (let begun = 0; begun < calls; begun += 5) {
      await Promise.all(Array.from({ length: 5 }, () => this.#begin()));
      await this.#end();
      if (this.#chance(0.05)) await this.#control();
      clock.now += this.#pick(0, 200, 3000, MINUTE, 4 * MINUTE, ...(this.#chance(0.05) ? [7 * HOUR] : []));
      if (this.#chance(0.02)) await this.#late();
    }
    await Promise.all(this.#flying.splice(0).map((call) => call.settle({ outcome: 'aborted' })));
    await this.#guard.flush();
  }

  async #begin(): Promise<void> {
    const { clock } = this.#options;
    // Some tokens are used again, before and after their end.
    if (this.#chance(0.5)) this.#tokens += 1;
    const token = `${this.#tokens}.${Math.ceil((clock.now + 1) / (5 * MINUTE)) * 5 * MINUTE}`;
    const prompt = {
      texts: [],
      messages: 1,
      ...(this.#chance(0.5) && { images: [{}, {}] }),
      ...(this.#chance(0.3) && { files: [{ mediaType: 'audio/wav' }] }),
    };
    try {
      this.#flying.push(
        await this.#guard.begin({
          model: this.#pick('m/large', 'm/large', 'm/middle', 'm/small'),
          ...(this.#chance(0.2) && { fallbacks: ['m/small'] }),
          ...(this.#chance(0.2) && { prompt, hourCache: true }),
          inputTokens: this.#below(4000),
          ...(this.#chance(0.9) && { maxOutputTokens: 1 + this.#below(3000) }),
          ...(this.#chance(0.3) && { capability: token }),
          scope: {
            ...(this.#chance(0.7) && { tenantId: 'acme' }),
            userId: this.#pick('alice', 'bob', 'carol'),
            taskId: `t${this.#below(40)}`,
            ...(this.#chance(0.4) && { task: this.#pick('pay', 'bulk', 'cheap') }),
          },
        }),
      );
    } catch (error) {
      if (blockedError(error) === undefined) throw error;
    }
  }

  async #end(): Promise<void> {
    for (const call of this.#flying.splice(0)) {
      if (this.#chance(0.15)) this.#flying.push(call);
      else if (!this.#chance(0.02)) await call.settle(this.#outcome(call));
    }
  }

  #outcome({ model }: GuardedCall): CallOutcome {
    const [inputTokens, outputTokens] = [10 + this.#below(3000), 10 + this.#below(3000)];
    const parts = this.#chance(0.2)
      ? {
          cacheReadTokens: 3,
          cacheReadAudioTokens: 1,
          inputAudioTokens: 2,
          cacheWriteTokens: 2,
          cacheWriteHourTokens: 1,
          outputAudioTokens: 4,
        }
      : {};
    return {
      outcome: this.#pick('ok', 'ok', 'ok', 'error', 'aborted', 'abandoned', 'refused', 'not_sent'),
      ...(this.#chance(0.7) && { usage: { inputTokens, outputTokens, ...parts } }),
      ...(this.#chance(0.3) && { cost: this.#below(20_000_000) / 1e9 }),
      ...(this.#chance(0.2) && { upstreamCost: this.#below(9_000_000) / 1e9, isByok: true }),
      ...(this.#chance(0.5) && { servedModel: this.#pick(model, 'm/small') }),
      ...(this.#chance(0.7) && { providerRef: `gen-${(this.#answered += 1)}` }),
    };
  }

  /** What an operator does. */
  async #control(): Promise<void> {
    const { clock } = this.#options;
    const guard = this.#guard;
    const scope = this.#pick({ userId: 'bob' }, { tenantId: 'acme', taskId: 't3' }, {});
    if (this.#chance(0.4)) await guard.freeze(scope, { by: 'ops' });
    else await guard.unfreeze(scope);
    if (this.#chance(0.3)) for (const each of [{ userId: 'bob' }, {}]) await guard.unfreeze(each);
    const [policyId, cap] = this.#pick(['all', 0], ['all', 1], ['all', 2], ['all', 4], ['users', 1]) as [
      string,
      number,
    ];
    const forWhom = this.#chance(0.5) ? { scope: { userId: 'alice' } } : {};
    await guard.grant({ policyId, cap, usd: this.#pick('0.05', '0.5'), forMs: 5 * HOUR, ...forWhom });
    clock.now += this.#below(1000);
  }

  /** What the provider says of calls whose cost was not known. */
  async #late(): Promise<void> {
    const lateTruth = {
      lookUp: () =>
        Promise.resolve(
          this.#chance(0.3)
            ? undefined
            : {
                cost: this.#below(30_000_000) / 1e9,
                ...(this.#chance(0.5) && { usage: { inputTokens: 5, outputTokens: 6 } }),
                ...(this.#chance(0.3) && { servedModel: 'm/small' }),
              },
        ),
    };
    await this.#guard.reconcile({ lateTruth });
  }
}

/** Makes the calls. The ledger stays open. */
export function makeControlledTraffic(options: ControlledOptions): Promise<void> {
  return new Controlled(options).run();
}
