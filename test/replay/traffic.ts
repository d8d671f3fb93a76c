/** Random traffic through real guards: logs that are honest, and have in them whatever a log can have. */
import { guardWith, type SpendGuard } from '../../src/guard.ts';
import type { GuardedCall } from '../../src/guarded-call.ts';
import { blockedError } from '../../src/errors.ts';
import type { Ledger } from '../../src/ledgers/ledger.ts';
import type { SpendPolicy } from '../../src/policy.ts';
import { CLOCK_TOLERANCE_MS } from '../../src/prepare.ts';
import { signerFromSeed } from '../../src/receipts/keys.ts';
import { instantText } from '../../src/receipts/seal.ts';
import type { CallOutcome } from '../../src/settlement.ts';
import { testPrices } from '../../src/testing/test-guard.ts';

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const LEASE_MS = 10 * MINUTE;

/** The same numbers for the same seed. */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const MODELS = {
  'm/large': { inputCentsPerKtok: '0.3', outputCentsPerKtok: '1.5', maxOutputTokens: 8000 },
  'm/middle': { inputCentsPerKtok: '0.05', outputCentsPerKtok: '0.2', maxOutputTokens: 8000 },
  'm/small': { inputCentsPerKtok: '0.01', outputCentsPerKtok: '0.04' },
};

const block = (cents: number, window: SpendPolicy['caps'][number]['window'], more: object = {}) =>
  ({ amountCents: cents, window, action: 'block', ...more }) as const;
const ladder = (cents: number, window: SpendPolicy['caps'][number]['window'], more: object = {}) =>
  ({
    amountCents: cents,
    window,
    action: 'downgrade',
    downgradeTo: ['m/middle', 'm/small'],
    ...more,
  }) as const;

const common = { version: 1, effectiveFrom: '2026-01-01T00:00:00Z' } as const;

/** Policies of several scopes, zones and modes; each version changes the caps of the one before. */
function policiesAt(version: number): SpendPolicy[] {
  return [
    {
      ...common,
      id: 'all',
      scope: {},
      version,
      timeZone: 'America/New_York',
      clampOutput: { minTokens: 20 },
      caps: [
        block(900 + version * 10, 'per_day'),
        ladder(300, 'per_day'),
        block(120, 'per_hour'),
        block(60_000, 'per_month'),
        block(7, 'per_call'),
      ],
    },
    {
      ...common,
      id: 'users',
      scope: { tenantId: 'acme' },
      version,
      timeZone: 'Asia/Kolkata',
      weekStart: 'sunday',
      maxOutputTokens: version % 2 === 0 ? 'model' : 2000,
      caps: [
        block(300, 'per_day', { per: ['userId'] }),
        block(25, 'per_minute', { per: ['userId'] }),
        ladder(900, 'per_week'),
        block(4000, 'per_task'),
      ],
    },
    {
      ...common,
      id: 'trial',
      scope: { userId: 'bob' },
      mode: 'shadow',
      clampOutput: { minTokens: 50 },
      caps: [block(100, 'per_day'), block(1_000_000, 'total')],
    },
    {
      ...common,
      id: 'clamped',
      scope: { userId: 'carol' },
      clampOutput: { minTokens: 10 },
      unknownPrice: 'allow',
      caps: [block(30 + version, 'per_day'), block(100_000, 'total')],
    },
    {
      ...common,
      id: 'later',
      scope: { userId: 'dave' },
      effectiveFrom: '2026-03-20T00:00:00Z',
      caps: [block(50, 'per_day')],
    },
  ];
}

/** Moves only when it is told to, also backwards. */
export interface TrafficClock {
  now: number;
}

export interface TrafficOptions {
  seed: number;
  /** How many calls are begun. */
  calls: number;
  clock: TrafficClock;
  /** Ledgers on one log; calls take turns on them. */
  ledgers: readonly Ledger[];
  /** Set the clock back and accept it, now and then. */
  clockJumps?: boolean;
}

export const TRAFFIC_START: number = Date.parse('2026-02-26T21:59:30Z');

interface Flying {
  call: GuardedCall;
  provider: string;
}

class Traffic {
  readonly #random: () => number;
  readonly #options: TrafficOptions;
  #guards: SpendGuard[] = [];
  #version = 0;
  #flying: Flying[] = [];

  constructor(options: TrafficOptions) {
    this.#random = randomOf(options.seed);
    this.#options = options;
    this.#newGuards();
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

  /** A restart: other policies, other prices, and now and then another signing key. */
  #newGuards(): void {
    this.#version += 1;
    const prices = {
      ...MODELS,
      'm/small': { ...MODELS['m/small'], outputCentsPerKtok: `0.0${this.#version % 7}` },
    };
    const seed = new Uint8Array(32).fill(1 + (this.#version % 5));
    const signingKeys = { privateKey: seed, publicKey: signerFromSeed(seed).publicKey };
    const priced = testPrices(prices);
    this.#guards = this.#options.ledgers.map((ledger) =>
      guardWith(
        {
          policy: policiesAt(this.#version),
          ledger,
          waitForHoldsMs: this.#pick(0, 0, 2),
          leaseMs: LEASE_MS,
          ...(this.#chance(0.5) && { signingKeys }),
        },
        {
          now: () => this.#options.clock.now + this.#pick(0, 0, 0, 400),
          priceOf: (model, provider) =>
            model === 'm/unknown' ? { unknown: 'nobody knows it', suggestions: [] } : priced(model, provider),
        },
      ),
    );
  }

  async run(): Promise<void> {
    let left = this.#options.calls;
    while (left > 0) {
      const many = Math.min(left, 1 + this.#below(12));
      left -= many;
      await Promise.all(Array.from({ length: many }, () => this.#begin()));
      await this.#end();
      await this.#passTime();
      if (this.#chance(0.004)) this.#newGuards();
    }
    await Promise.all(this.#flying.splice(0).map(({ call }) => call.settle({ outcome: 'aborted' })));
  }

  async #begin(): Promise<void> {
    const guard = this.#pick(...this.#guards);
    const user = this.#pick(
      'alice',
      'bob',
      'bob',
      'carol',
      'carol',
      'dave',
      'erin',
      'erin',
      ...(this.#chance(0.2) ? [undefined] : []),
    );
    const scope = {
      ...(this.#chance(0.7) && { tenantId: 'acme' }),
      ...(user !== undefined && { userId: user }),
      ...(this.#chance(0.97) && { taskId: `t${this.#below(20)}` }),
    };
    try {
      if (this.#chance(0.05)) {
        await guard.charge({ label: 'search', usd: `0.00${this.#below(900) + 1}`, scope });
        return;
      }
      const call = await guard.begin({
        model: this.#pick(
          'm/large',
          'm/large',
          'm/middle',
          'm/small',
          ...(this.#chance(0.02) ? ['m/unknown'] : []),
        ),
        ...(this.#chance(0.2) && { fallbacks: ['m/middle'] }),
        inputTokens: this.#below(4000),
        ...(this.#chance(0.7) && { maxOutputTokens: 1 + this.#below(3000) }),
        ...(this.#chance(0.1) && { choices: 2 }),
        ...(this.#chance(0.1) && { reasoningTokens: 500 }),
        ...(this.#chance(0.1) && { limitCanBeSet: false }),
        ...(this.#chance(0.02) && { unbounded: 'a plugin without a price' }),
        ...(this.#chance(0.1) && { canRoute: (model: string) => model !== 'm/middle' }),
        scope,
      });
      this.#flying.push({ call, provider: `gen-${call.id}` });
    } catch (error) {
      if (blockedError(error) === undefined) throw error;
    }
  }

  /** Ends most of what is in flight; some calls come late, some never. */
  async #end(): Promise<void> {
    const staying: Flying[] = [];
    const ending: Promise<unknown>[] = [];
    for (const flying of this.#flying.splice(0)) {
      if (this.#chance(0.3)) staying.push(flying);
      else if (!this.#chance(0.03)) ending.push(flying.call.settle(this.#outcome(flying)));
    }
    this.#flying = staying;
    await Promise.all(ending);
  }

  #outcome({ call, provider }: Flying): CallOutcome {
    const outcome = this.#pick<CallOutcome['outcome']>(
      'ok',
      'ok',
      'ok',
      'ok',
      'error',
      'aborted',
      'refused',
      'not_sent',
    );
    const usage = { inputTokens: this.#below(4000), outputTokens: this.#below(3000) };
    return {
      outcome,
      ...(this.#chance(0.8) && { usage: { ...usage, cacheReadTokens: this.#below(usage.inputTokens + 1) } }),
      ...(this.#chance(0.4) && { cost: this.#below(40_000_000) / 1e9 }),
      ...(this.#chance(0.7) && { servedModel: this.#pick(call.model, call.model, 'm/middle') }),
      ...(this.#chance(0.7) && { providerRef: provider }),
    };
  }

  async #passTime(): Promise<void> {
    const { clock, clockJumps = false } = this.#options;
    clock.now += this.#pick(
      0,
      0,
      1,
      700,
      SECOND,
      20 * SECOND,
      MINUTE,
      3 * MINUTE,
      ...(this.#chance(0.1) ? [HOUR, 11 * HOUR] : []),
    );
    if (clockJumps && this.#chance(0.003)) await this.#jump();
  }

  /** The clock goes wrong, calls are made by it, and somebody puts it right. */
  async #jump(): Promise<void> {
    const { clock, ledgers } = this.#options;
    const right = clock.now;
    clock.now += this.#pick(10 * MINUTE, 2 * HOUR, 3 * DAY);
    await Promise.all(Array.from({ length: 4 }, () => this.#begin()));
    clock.now = right + MINUTE;
    // Blocked, for the log lies in the future.
    await Promise.all(Array.from({ length: 3 }, () => this.#begin()));
    await (ledgers[0] as Ledger).transact([], ({ head, wall }) => ({
      drafts:
        head.time - wall > CLOCK_TOLERANCE_MS
          ? [{ type: 'clock', from: instantText(head.time), to: instantText(wall) }]
          : [],
      result: undefined,
    }));
    await Promise.all(Array.from({ length: 4 }, () => this.#begin()));
  }
}

/** Makes the calls. The ledgers stay open. */
export function makeTraffic(options: TrafficOptions): Promise<void> {
  return new Traffic(options).run();
}
