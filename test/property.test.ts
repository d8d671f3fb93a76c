import { inspect } from 'node:util';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { decide, type DecideInput } from '../src/decide.ts';
import { blockedError } from '../src/errors.ts';
import { guardWith, type SpendGuard } from '../src/guard.ts';
import type { GuardedCall } from '../src/guarded-call.ts';
import { Marks } from '../src/ledgers/marks.ts';
import { memoryLedger } from '../src/ledgers/memory.ts';
import type { Ledger } from '../src/ledgers/ledger.ts';
import { readOptions } from '../src/options.ts';
import type { ModelRule, SpendCap, SpendPolicy } from '../src/policy.ts';
import { decideInput, prepare } from '../src/prepare.ts';
import type { SpendRequest } from '../src/request.ts';
import type { Receipt } from '../src/receipts/payloads.ts';
import type { SpendScope } from '../src/scope.ts';
import type { CallOutcome } from '../src/settlement.ts';
import { bothBalances, ofType, receiptsOf, verdictOn } from '../src/testing/conformance-kit.ts';
import { testPrices } from '../src/testing/test-guard.ts';
import { expectRecomputed } from './recompute.ts';

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const LEASE_MS = 10 * MINUTE;
const START = Date.parse('2026-02-26T21:59:30Z');

const MODELS = ['m/large', 'm/middle', 'm/small'] as const;
type Model = (typeof MODELS)[number];

/** Nano-USD per token, input and output, of each model. */
type Rates = Record<Model, readonly [number, number]>;

const SCOPES: readonly SpendScope[] = [
  { tenantId: 'a', userId: 'x', taskId: '1' },
  { tenantId: 'a', userId: 'y', taskId: '1' },
  { tenantId: 'b', userId: 'x', taskId: '2' },
];

/** What the provider does with a call, and what of it the adapter gets to know. */
interface Fate {
  /** Parts of the input bound and of the output limit that are really used, from 0 to 1. */
  input: number;
  output: number;
  report: 'usage' | 'usage-and-cost' | 'cost' | 'nothing' | 'zeros' | 'nonsense';
  outcome: CallOutcome['outcome'];
  /** Which of the models that it may serve does. */
  server: number;
}

type Step =
  | {
      do: 'begin';
      scope: number;
      model: Model;
      fallback: boolean;
      input: number;
      limit: number;
      choices: number;
    }
  | { do: 'settle'; which: number; fate: Fate }
  | { do: 'abandon'; which: number; fate: Fate };

interface Turn {
  /** Made at once. */
  steps: readonly Step[];
  advance: number;
}

/** What the provider put on its bill: the truth that the caps are judged by. */
interface Charge {
  at: number;
  scope: SpendScope;
  nano: bigint;
  /** Everything that the call was allowed to go to. */
  models: readonly string[];
}

interface InFlight {
  call: GuardedCall;
  request: SpendRequest;
  at: number;
  scope: SpendScope;
}

/** How large the figures of a run are. */
interface Scale {
  /** Amounts of caps, in nano-USD. */
  nano: fc.Arbitrary<number>;
  rate: fc.Arbitrary<readonly [number, number]>;
  input: fc.Arbitrary<number>;
  /** Output limits of the calls; 0 stands for a call without one of its own. */
  limit: fc.Arbitrary<number>;
}

const USUAL: Scale = {
  nano: fc.integer({ min: 0, max: 60_000_000 }),
  rate: fc.tuple(fc.integer({ min: 0, max: 3000 }), fc.integer({ min: 1, max: 9000 })),
  input: fc.integer({ min: 0, max: 2000 }),
  limit: fc.constantFrom(0, 0, 1, 100, 1000, 4000),
};

/** A few nano-dollars and tokens, so that caps are reached to the last one. */
const TINY: Scale = {
  nano: fc.integer({ min: 0, max: 12 }),
  rate: fc.tuple(fc.integer({ min: 0, max: 1 }), fc.integer({ min: 1, max: 2 })),
  input: fc.integer({ min: 0, max: 2 }),
  limit: fc.constantFrom(0, 1, 1, 2, 3),
};

const capOf = ({ nano }: Scale): fc.Arbitrary<SpendCap> =>
  fc
    .record({
      // Small amounts meet small prices now and then, so that caps are reached to the last nano-dollar.
      nano,
      window: fc.constantFrom(
        'per_call',
        'per_minute',
        'per_hour',
        'per_day',
        'per_week',
        'per_month',
        'per_task',
        'total',
      ),
      action: fc.constantFrom('block', 'block', 'block', 'downgrade', 'downgrade', 'allow', 'shadow'),
      models: fc.option(fc.constantFrom(['m/large'], ['m/middle', 'm/small'], ['m/s*'], ['m/*']), {
        nil: undefined,
        freq: 2,
      }),
      sticky: fc.boolean(),
      ladder: fc.subarray(['m/middle', 'm/small'], { minLength: 1 }),
      per: fc.option(fc.subarray(['userId', 'tenantId'] as const, { minLength: 1 }), { nil: undefined }),
    })
    .map(({ nano, window, action, ladder, models, per, sticky }) => ({
      amountCents: `${nano}e-7`,
      window: window as SpendCap['window'],
      action: action as SpendCap['action'],
      ...(action === 'downgrade' && { downgradeTo: ladder, ...(sticky && { sticky: 'task' as const }) }),
      ...(models !== undefined && { models }),
      ...(per !== undefined && { per }),
    }));

const policyOf = (scale: Scale): fc.Arbitrary<SpendPolicy> =>
  fc
    .record({
      scope: fc.constantFrom<SpendScope>({}, {}, { tenantId: 'a' }, { userId: 'x' }),
      caps: fc.array(capOf(scale), { minLength: 1, maxLength: 4 }),
      mode: fc.constantFrom('enforce', 'enforce', 'enforce', 'shadow'),
      timeZone: fc.constantFrom('UTC', 'Asia/Kolkata'),
      maxOutputTokens: fc.constantFrom<number | 'model'>(500, 3000, 'model'),
      rules: fc.constantFrom<ModelRule[]>(
        [],
        [],
        [{ when: { tenantId: 'b' }, routeTo: ['m/middle', 'm/small'] }],
        [{ when: { userId: 'x' }, models: ['m/large', 'm/sm*'] }],
      ),
      clampOutput: fc.option(fc.constantFrom({ minTokens: 1 }, { minTokens: 400 }), { nil: undefined }),
    })
    .map(({ clampOutput, ...rest }) => ({
      ...rest,
      id: 'p',
      version: 1,
      effectiveFrom: '2020-01-01T00:00:00Z',
      mode: rest.mode as 'enforce' | 'shadow',
      ...(clampOutput !== undefined && { clampOutput }),
    }));

const policiesOf = (scale: Scale): fc.Arbitrary<SpendPolicy[]> =>
  fc
    .array(policyOf(scale), { minLength: 1, maxLength: 3 })
    .map((list) => list.map((each, index) => ({ ...each, id: `p${index}` })));

const ratesOf = ({ rate }: Scale): fc.Arbitrary<Rates> =>
  fc.record({ 'm/large': rate, 'm/middle': rate, 'm/small': rate });

const fate: fc.Arbitrary<Fate> = fc.record({
  input: fc.constantFrom(0.5, 1, 1),
  output: fc.constantFrom(0, 0.1, 0.5, 1, 1),
  report: fc.constantFrom('usage', 'usage', 'usage-and-cost', 'cost', 'nothing', 'zeros', 'nonsense'),
  outcome: fc.constantFrom('ok', 'ok', 'ok', 'error', 'aborted', 'abandoned', 'refused', 'not_sent'),
  server: fc.integer({ min: 0, max: 1 }),
});

const stepOf = ({ input, limit }: Scale): fc.Arbitrary<Step> =>
  fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({
        do: fc.constant('begin' as const),
        scope: fc.integer({ min: 0, max: 2 }),
        model: fc.constantFrom(...MODELS),
        fallback: fc.boolean(),
        input,
        limit,
        choices: fc.constantFrom(1, 1, 2),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ do: fc.constant('settle' as const), which: fc.nat(20), fate }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('abandon' as const), which: fc.nat(20), fate }) },
  );

const turnOf = (scale: Scale): fc.Arbitrary<Turn> =>
  fc.record({
    steps: fc.array(stepOf(scale), { minLength: 1, maxLength: 6 }),
    advance: fc.oneof(
      fc.constantFrom(0, 1, SECOND, 59 * SECOND, MINUTE, 61 * SECOND, 9 * MINUTE, LEASE_MS, HOUR, DAY),
      fc.nat(2 * DAY),
    ),
  });

const MODEL_MAXIMUM = 5000;

/** Everything that a run knows: the guard under test, and the provider's side, which is kept apart from it. */
class World {
  readonly ledger: Ledger;
  readonly guard: SpendGuard;
  readonly bill: Charge[] = [];
  readonly flying: InFlight[] = [];
  readonly passed: string[] = [];
  blocked = 0;
  readonly #rates: Rates;
  now = START;

  constructor(policies: readonly SpendPolicy[], rates: Rates) {
    this.#rates = rates;
    this.ledger = memoryLedger({ now: () => this.now });
    const prices = Object.fromEntries(
      MODELS.map((model) => [
        model,
        {
          inputCentsPerKtok: `${rates[model][0]}e-4`,
          outputCentsPerKtok: `${rates[model][1]}e-4`,
          maxOutputTokens: MODEL_MAXIMUM,
        },
      ]),
    );
    this.guard = guardWith(
      { policy: policies, ledger: this.ledger, waitForHoldsMs: 0, leaseMs: LEASE_MS },
      { priceOf: testPrices(prices), now: () => this.now },
    );
  }

  async take(step: Step): Promise<void> {
    if (step.do === 'begin') return this.#begin(step);
    const [taken] = this.flying.splice(step.which % Math.max(1, this.flying.length), 1);
    if (taken === undefined) return;
    const { nano, report } = this.#serve(taken, step.fate);
    const models = [taken.call.model, ...taken.call.fallbacks];
    this.bill.push({ at: taken.at, scope: taken.scope, nano, models });
    if (step.do === 'settle') await taken.call.settle(report);
  }

  async #begin(step: Extract<Step, { do: 'begin' }>): Promise<void> {
    const scope = SCOPES[step.scope] as SpendScope;
    const request: SpendRequest = {
      model: step.model,
      ...(step.fallback && { fallbacks: ['m/middle'] }),
      inputTokens: step.input,
      ...(step.limit > 0 && { maxOutputTokens: step.limit }),
      choices: step.choices,
      scope,
    };
    const at = this.now;
    try {
      const call = await this.guard.begin(request);
      this.passed.push(call.id);
      this.flying.push({ call, request, at, scope });
    } catch (error) {
      if (blockedError(error) === undefined) throw error;
      this.blocked += 1;
    }
  }

  /** The provider serves a call within its bounds, bills it, and tells the adapter what it likes to. */
  #serve({ call, request }: InFlight, fate: Fate): { nano: bigint; report: CallOutcome } {
    const servers = [call.model, ...call.fallbacks];
    const servedModel = servers[fate.server % servers.length] as Model;
    const limit = call.maxOutputTokens ?? request.maxOutputTokens ?? MODEL_MAXIMUM;
    const inputTokens = Math.floor((request.inputTokens ?? 0) * fate.input);
    const outputTokens = Math.floor(Math.min(limit, MODEL_MAXIMUM) * fate.output) * (request.choices ?? 1);
    const [input, output] = this.#rates[servedModel];
    const served = BigInt(inputTokens) * BigInt(input) + BigInt(outputTokens) * BigInt(output);
    // What was never sent costs nothing, nor does an HTTP error.
    const nano = fate.outcome === 'not_sent' || fate.outcome === 'refused' ? 0n : served;
    const report: CallOutcome = { outcome: fate.outcome, servedModel };
    if (fate.outcome === 'refused' || fate.outcome === 'not_sent') return { nano, report };
    if (fate.report.startsWith('usage')) report.usage = { inputTokens, outputTokens };
    if (fate.report.endsWith('cost')) report.cost = Number(nano) / 1e9;
    if (fate.report === 'zeros')
      Object.assign(report, { usage: { inputTokens: 0, outputTokens: 0 }, cost: 0 });
    if (fate.report === 'nonsense') {
      Object.assign(report, { usage: { inputTokens: -1, outputTokens: Number.NaN }, cost: Number.NaN });
    }
    return { nano, report };
  }
}

/** The windows of a kind that an instant lies in, named so that two instants of one window have the same name. */
function calendarWindow(window: SpendCap['window'], timeZone: string | undefined, at: number): string {
  const local = new Date(at + (timeZone === 'Asia/Kolkata' ? 5.5 * HOUR : 0));
  const day = Math.floor(local.getTime() / DAY);
  if (window === 'per_day') return `day ${day}`;
  // 1 January 1970 was a Thursday.
  if (window === 'per_week') return `week ${Math.floor((day + 3) / 7)}`;
  if (window === 'per_month') return `month ${local.getUTCFullYear()}-${local.getUTCMonth()}`;
  return 'ever';
}

function matches(filter: SpendScope, scope: SpendScope): boolean {
  return Object.entries(filter).every(([field, value]) => scope[field as keyof SpendScope] === value);
}

/** What a cap counts a charge under; `undefined` when it doesn't count it. */
function countedUnder(
  policy: SpendPolicy,
  { window, per = [], models }: SpendCap,
  scope: SpendScope,
  goesTo?: readonly string[],
): string | undefined {
  if (!matches(policy.scope, scope)) return undefined;
  const isOne = (pattern: string, model: string): boolean =>
    pattern.endsWith('*') ? model.startsWith(pattern.slice(0, -1)) : model === pattern;
  const patterns = models as readonly string[] | undefined;
  if (goesTo?.every((model) => !(patterns ?? ['m/*']).some((pattern) => isOne(pattern, model))))
    return undefined;
  const fields = window === 'per_task' ? ['taskId' as const, ...per] : per;
  return fields.map((field) => scope[field]).join();
}

const ROLLING_MS: Partial<Record<SpendCap['window'], number>> = { per_minute: MINUTE, per_hour: HOUR };

/** The most that was charged in any one window of a cap. */
function mostCharged(policy: SpendPolicy, cap: SpendCap, bill: readonly Charge[]): bigint {
  const groups = new Map<string, Charge[]>();
  for (const [index, charge] of bill.entries()) {
    const under = countedUnder(policy, cap, charge.scope, charge.models);
    if (under === undefined) continue;
    const window =
      cap.window === 'per_call' ? `call ${index}` : calendarWindow(cap.window, policy.timeZone, charge.at);
    const name = `${under} ${window}`;
    groups.set(name, [...(groups.get(name) ?? []), charge]);
  }
  let most = 0n;
  for (const charges of groups.values()) {
    const length = ROLLING_MS[cap.window];
    for (const { at } of length === undefined ? charges.slice(0, 1) : charges) {
      const sum = charges
        .filter((charge) => length === undefined || (charge.at > at - length && charge.at <= at))
        .reduce((total, { nano }) => total + nano, 0n);
      if (sum > most) most = sum;
    }
  }
  return most;
}

function amountOf({ amountCents }: SpendCap): bigint {
  return BigInt(String(amountCents).replace('e-7', ''));
}

function expectCapsKept(policies: readonly SpendPolicy[], bill: readonly Charge[]): void {
  for (const policy of policies) {
    if (policy.mode === 'shadow') continue;
    for (const cap of policy.caps) {
      if (cap.action !== 'block') continue;
      const most = mostCharged(policy, cap, bill);
      expect({ cap, most, passed: most > amountOf(cap) }).toMatchObject({ passed: false });
    }
  }
}

/** A charge, or the hold of a call that is open, with the end of its lease. */
interface Called extends Charge {
  held: bigint;
  until: number;
}

/** What each call came to by its receipts alone: its instant, scope and cost, or its hold while it is open. */
function fromReceipts(receipts: readonly Receipt[]): Called[] {
  const calls = new Map<string, Called>();
  const ends = new Map<string, string[]>();
  for (const { payload } of receipts) {
    if (payload.type === 'decision' && payload.decision !== 'block') {
      const { call, hold, issued_at: issuedAt, lease_until: until, route } = payload;
      const models = [route?.model ?? '', ...(route?.fallbacks ?? [])];
      const scope = payload.scope as SpendScope;
      const at = Date.parse(issuedAt);
      calls.set(call, { at, scope, nano: 0n, held: BigInt(hold), models, until: Date.parse(until ?? '') });
    } else if (payload.type === 'settlement' || payload.type === 'adjustment') {
      const call = calls.get(payload.call);
      if (call === undefined) throw new Error(`${payload.type} of a call that was never let through`);
      ends.set(payload.call, [
        ...(ends.get(payload.call) ?? []),
        payload.type === 'settlement' ? payload.outcome : 'late',
      ]);
      call.held = 0n;
      call.nano += payload.type === 'settlement' ? BigInt(payload.cost.amount) : BigInt(payload.change);
    }
  }
  for (const list of ends.values()) if (list.length > 1) expect(list).toEqual(['expired', 'late']);
  return [...calls.values()];
}

/** The guard's balances are the sums of its receipts, worked out here once more. */
async function expectBalancesAreSums(world: World, policies: readonly SpendPolicy[]): Promise<void> {
  const written = fromReceipts(await receiptsOf(world.ledger));
  // Whoever comes next writes down that a lease has run out; what it held counts as spent from then on.
  const calls = written.map((call) =>
    call.until <= world.now ? { ...call, nano: call.nano + call.held, held: 0n } : call,
  );
  for (const scope of SCOPES) {
    for (const balance of await world.guard.balances(scope)) {
      const policy = policies.find(({ id }) => id === balance.policyId) as SpendPolicy;
      const cap = policy.caps[balance.index] as SpendCap;
      const under = countedUnder(policy, cap, scope);
      // A guard of one policy is for that policy's scope only, and answers for it.
      if (under === undefined) continue;
      const length = ROLLING_MS[cap.window];
      const sum = (since: number): [bigint, bigint] =>
        calls
          .filter((call) => countedUnder(policy, cap, call.scope, call.models) === under)
          .filter((call) =>
            length === undefined
              ? calendarWindow(cap.window, policy.timeZone, call.at) ===
                calendarWindow(cap.window, policy.timeZone, world.now)
              : call.at > since,
          )
          .reduce<[bigint, bigint]>(([spent, held], call) => [spent + call.nano, held + call.held], [0n, 0n]);
      const [least, leastHeld] = sum(world.now - (length ?? 0));
      // A rolling window is counted in pieces, so it may reach back by one piece more.
      const [most, mostHeld] = sum(world.now - (length ?? 0) - (length ?? 0) / 60 - 1);
      const isSum = least <= balance.spent && balance.spent <= most;
      const isHeld = leastHeld <= balance.held && balance.held <= mostHeld;
      if (isSum && isHeld) continue;
      const facts = { cap, scope, balance, sums: [least, most], holds: [leastHeld, mostHeld], calls };
      expect.fail(`a balance is not the sum of its receipts: ${inspect(facts, { depth: 5 })}`);
    }
  }
  const { kept, replayed } = await bothBalances(world.ledger);
  expect(kept).toEqual(replayed);
}

async function expectAllEnded(world: World): Promise<void> {
  // Whoever comes next expires what nobody settled.
  world.now += LEASE_MS + 1;
  await world.take({
    do: 'begin',
    scope: 0,
    model: 'm/small',
    fallback: false,
    input: 0,
    limit: 1,
    choices: 1,
  });
  for (const { call } of world.flying.splice(0)) await call.settle({ outcome: 'not_sent' });
  const receipts = await receiptsOf(world.ledger);
  const settled = ofType(receipts, 'settlement').map(({ call }) => call);
  expect(settled.sort()).toEqual(world.passed.sort());
  for (const scope of SCOPES) {
    for (const { held } of await world.guard.balances(scope)) expect(held).toBe(0n);
  }
}

it('no block cap is ever passed, and balances are the sums of the receipts', async () => {
  const seen = {
    passed: 0,
    blocked: 0,
    expired: 0,
    adjusted: 0,
    downgraded: 0,
    clamped: 0,
    routed: 0,
    uncounted: 0,
    shadowed: 0,
  };
  const runOf = (scale: Scale) =>
    fc.tuple(policiesOf(scale), ratesOf(scale), fc.array(turnOf(scale), { minLength: 3, maxLength: 12 }));
  const property = fc.asyncProperty(fc.oneof(runOf(USUAL), runOf(TINY)), async ([policies, rates, turns]) => {
    const world = new World(policies, rates);
    for (const { steps, advance } of turns) {
      await Promise.all(steps.map((step) => world.take(step)));
      await expectBalancesAreSums(world, policies);
      world.now += advance;
    }
    expectCapsKept(policies, world.bill);
    await expectAllEnded(world);
    await expectBalancesAreSums(world, policies);
    const { integrity, cause } = await verdictOn(world.ledger);
    expect({ integrity, cause }).toEqual({ integrity: 'valid', cause: undefined });
    const receipts = await receiptsOf(world.ledger);
    const decisions = ofType(receipts, 'decision');
    expect(expectRecomputed(receipts)).toBe(decisions.length);
    seen.passed += world.passed.length;
    seen.blocked += world.blocked;
    seen.expired += ofType(receipts, 'settlement').filter(({ outcome }) => outcome === 'expired').length;
    seen.adjusted += ofType(receipts, 'adjustment').length;
    seen.downgraded += decisions.filter(({ decision }) => decision === 'downgrade').length;
    seen.routed += decisions.filter(({ reason }) => reason === 'routed').length;
    seen.uncounted += decisions.filter(({ uncounted }) => uncounted !== undefined).length;
    seen.shadowed += decisions.filter(({ shadow }) => shadow !== undefined).length;
    seen.clamped += decisions.filter(({ route }) => route?.limit === 'clamped').length;
  });
  await fc.assert(property, { numRuns: 600 });
  console.log('the property saw', JSON.stringify(seen));
  // Without these it would show nothing.
  for (const count of Object.values(seen)) expect(count).toBeGreaterThan(50);
});

/** Freezes everything that can be reached, so that a change throws; maps and sets can't be frozen. */
function frozen<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  if (value instanceof Map || value instanceof Set) {
    const container = value;
    for (const each of value.values()) frozen(each);
    for (const method of ['set', 'add', 'delete', 'clear']) {
      const value = (): never => expect.fail(`decide called ${method}`);
      Object.defineProperty(container, method, { value, configurable: true });
    }
    return value;
  }
  for (const each of Object.values(value)) frozen(each);
  return Object.freeze(value);
}

const rarely = fc.nat(9).map((number) => number === 0);

it('decide gives the same answer for the same input and changes nothing of it', async () => {
  const amounts = fc.tuple(
    fc.bigInt({ min: 0n, max: 80_000_000n }),
    fc.bigInt({ min: 0n, max: 20_000_000n }),
  );
  const property = fc.property(
    policiesOf(USUAL),
    ratesOf(USUAL),
    stepOf(USUAL).filter((each) => each.do === 'begin'),
    fc.array(amounts, { minLength: 12, maxLength: 12 }),
    fc.record({ clockWrong: rarely, effective: rarely.map((yes) => !yes), uncarried: rarely }),
    (policies, rates, begin, balances, odd) => {
      const prices = Object.fromEntries(
        MODELS.map((model) => [
          model,
          { inputCentsPerKtok: `${rates[model][0]}e-4`, outputCentsPerKtok: `${rates[model][1]}e-4` },
        ]),
      );
      const settings = readOptions({ policy: policies }, { priceOf: testPrices(prices) });
      const { scope, model, input, limit, choices } = begin as Extract<Step, { do: 'begin' }>;
      const prepared = prepare(
        {
          model,
          inputTokens: input,
          choices,
          scope: SCOPES[scope] as SpendScope,
          ...(limit > 0 && { maxOutputTokens: limit }),
        },
        settings,
        { capabilities: [], cachedTokens: () => 0 },
      );
      const make = (): DecideInput => {
        let next = 0;
        const view = {
          now: START,
          wall: START,
          head: { log: '', seq: -1, hash: '', time: 0 },
          amounts: () => {
            const [spent, held] = balances[(next += 1) % balances.length] as [bigint, bigint];
            return { spent, held };
          },
          hold: () => undefined,
          ended: () => undefined,
          awaited: () => undefined,
          allAwaited: () => [],
          dueHolds: () => [],
          knows: () => true,
          signers: new Map(),
          marks: new Marks(),
        };
        const { input } = decideInput(prepared, view, START);
        return {
          ...input,
          clockWrong: odd.clockWrong,
          policies: input.policies.map(({ policy }) => ({ policy, effective: odd.effective })),
          uncarried: new Set(odd.uncarried ? ['m/middle'] : []),
        };
      };
      const input1 = frozen(make());
      const first = decide(input1);
      expect(decide(input1)).toEqual(first);
      expect(decide(frozen(make()))).toEqual(first);
      // Whatever passes fits every cap that binds it.
      if (first.decision === 'block') return;
      for (const { ref, spent, held } of input1.caps) {
        if (ref.policy.record.mode === 'shadow' || ref.cap.action !== 'block') continue;
        const goesTo = [first.route?.model ?? '', ...(first.route?.fallbacks ?? [])];
        if (
          countedUnder(ref.policy.record as never, ref.cap as never, SCOPES[scope] as SpendScope, goesTo) ===
          undefined
        )
          continue;
        expect(spent + held + first.hold <= BigInt(ref.cap.amount)).toBe(true);
      }
    },
  );
  fc.assert(property, { numRuns: 2000 });
});
