import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { blockedError } from '../src/errors.ts';
import { createSpendGuard, type SpendGuard } from '../src/guard.ts';
import { memoryLedger } from '../src/ledgers/memory.ts';
import { snapshotText, stateFromSnapshot } from '../src/ledgers/snapshot.ts';
import { LedgerState } from '../src/ledgers/state.ts';
import { fileLedger } from '../src/node/file-ledger/index.ts';
import { KEY_FILE, LOG_FILE } from '../src/node/home.ts';
import type { SpendCap, SpendPolicy } from '../src/policy.ts';
import {
  callOf,
  guardOn,
  ofType,
  policyOf,
  range,
  receiptsOf,
  refusal,
  settleAt,
  TOKEN_NANO,
  totalCap,
} from '../src/testing/conformance-kit.ts';
import { testGuard } from '../src/testing/test-guard.ts';
import { checkLog } from './node/file-ledger/check-log.ts';
import { generateKeys } from './node/file-ledger/images.ts';
import { runWorkers, startWorker } from './node/file-ledger/children.ts';
import { loadGuard, loadSimulator, type Load } from './node/file-ledger/load.ts';
import { temporaryFolder } from './node/temporary-folder.ts';

const DOLLAR = 1_000_000_000n;
const SCOPE = { tenantId: 'acme', userId: 'ann', taskId: 't1' };

/** A cap of so many dollars in every window that outlives a call, counted in all the ways there are. */
function everyCap(dollars: number): SpendCap[] {
  const windows = [
    'per_minute',
    'per_hour',
    'per_day',
    'per_week',
    'per_month',
    'per_task',
    'total',
  ] as const;
  return windows.flatMap((window): SpendCap[] => [
    { amountCents: dollars * 100, window, action: 'block' },
    { amountCents: dollars * 100, window, action: 'block', per: ['userId'] },
  ]);
}

function budget(dollars: number, more: Partial<SpendPolicy> = {}): SpendPolicy {
  return policyOf(everyCap(dollars), { id: 'budget', scope: { tenantId: 'acme' }, ...more });
}

async function spend(guard: SpendGuard, usd: string): Promise<void> {
  await guard.charge({ label: 'work', usd, scope: SCOPE });
}

describe('a restart', () => {
  const changes: [string, Partial<SpendPolicy> & { dollars?: number }][] = [
    ['the same policy', {}],
    ['a new effectiveFrom', { effectiveFrom: '2026-05-01T00:00:00Z' }],
    ['a version bump', { version: 2 }],
    ['a cap edited from $200 to $300', { dollars: 300 }],
    ['another id and name', { id: 'renamed', name: 'Renamed' }],
    ['another mode for a while', { mode: 'shadow' }],
    ['all of it', { dollars: 300, version: 9, effectiveFrom: '2026-05-02T00:00:00Z', id: 'other' }],
  ];

  it.each(changes)('with %s keeps every balance', async (_, { dollars = 200, ...change }) => {
    const dir = temporaryFolder();
    const now = Date.parse('2026-06-17T12:00:30Z');
    const before = guardOn(fileLedger({ dir, now: () => now }), budget(200));
    await spend(before, '150');
    const held = await before.begin(callOf(1_000_000, SCOPE));
    expect(held.hold).toBe(DOLLAR);
    await before.close();

    const after = guardOn(fileLedger({ dir, now: () => now + 5000 }), budget(dollars, change));
    const balances = await after.balances(SCOPE);
    expect(balances.length).toBe(14);
    for (const { window, spent, held, amount } of balances) {
      expect({ window, spent, held, amount }).toEqual({
        window,
        spent: 150n * DOLLAR,
        held: DOLLAR,
        amount: BigInt(dollars) * DOLLAR,
      });
    }
    if (change.mode !== 'shadow') {
      // $200 leave room for $49 beside what is spent and held, $300 for $149.
      const room = dollars - 151;
      expect(blockedError(await refusal(spend(after, `${room}.01`)))?.reason).toBe('cap_held');
      expect(blockedError(await refusal(spend(after, `${room + 1}.01`)))?.reason).toBe('cap_spent');
      await spend(after, `${room}`);
    }
    await after.close();
    expect((await checkLog(dir)).verdict.integrity).toBe('valid');
  });

  it('with random signing keys each time keeps one valid chain and its balances', async () => {
    const dir = temporaryFolder();
    for (const start of range(70)) {
      const guard = guardOn(fileLedger({ dir }), budget(200, { version: start }), {
        signingKeys: generateKeys(),
      });
      await spend(guard, '1');
      // Half of the processes end without a word.
      if (start % 2 === 0) await guard.close();
      else await guard.flush();
    }
    const guard = guardOn(fileLedger({ dir }), budget(200));
    const balance = (await guard.balances(SCOPE)).find(({ window }) => window === 'total');
    expect(balance).toMatchObject({ spent: 70n * DOLLAR, held: 0n });
    await guard.close();
    const { verdict, receipts } = await checkLog(dir);
    expect(verdict).toMatchObject({ integrity: 'valid', receipts: receipts.length });
    expect(ofType(receipts, 'genesis').length).toBe(1);
    expect(ofType(receipts, 'key').length).toBe(70);
  });

  it('of one of two processes with another version of the policy lets both see what both spend', async () => {
    await using simulator = await loadSimulator();
    const dir = temporaryFolder();
    const load: Load = { dir, url: simulator.url, capTokens: 200 * 100 + 50, limit: 100 };
    const workers = await Promise.all([1, 2].map(startWorker));
    const [older, newer] = workers as [(typeof workers)[0], (typeof workers)[0]];
    // The second process has the cap at 300 calls already.
    const [small, large] = await Promise.all([
      runWorkers([older], { kind: 'many', count: 400, ...load }),
      runWorkers([newer], { kind: 'many', count: 400, ...load, capTokens: 300 * 100 + 50 }),
    ]);
    expect((small[0]?.passed ?? 0) + (large[0]?.passed ?? 0)).toBe(300);
    expect(small[0]?.passed).toBeGreaterThan(0);
    expect(large[0]?.passed).toBeGreaterThan(0);
    expect(simulator.requests.length).toBe(300);
    const guard = loadGuard(load);
    expect(await guard.balances()).toMatchObject([{ spent: simulator.billed, held: 0n }]);
    await guard.close();
    expect((await checkLog(dir)).verdict.integrity).toBe('valid');
  });
});

/** A log with open holds, expired ones, adjustments and many users; closed `closings` times on the way. */
async function longLog(calls: number, closings: number): Promise<{ dir: string; now: number }> {
  const dir = temporaryFolder();
  let now = Date.parse('2026-06-17T12:00:00Z');
  const open = (): SpendGuard =>
    guardOn(fileLedger({ dir, now: () => now, durability: 'os' }), budget(100_000), { leaseMs: 20_000 });
  let guard = open();
  for (const number of range(calls)) {
    now += 700;
    const call = await guard.begin(callOf(1000 + number, { ...SCOPE, userId: `u${number % 7}` }));
    if (number % 11 === 0) continue;
    if (number % 13 === 0) now += 21_000;
    await settleAt(call, 100 + number);
    if (number % Math.ceil(calls / closings) === 0) {
      await guard.close();
      guard = open();
    }
  }
  await guard.close();
  return { dir, now };
}

/** Everything that a ledger knows of its open windows, as text. */
async function everyBalance(dir: string, now: number): Promise<string[]> {
  const guard = guardOn(fileLedger({ dir, now: () => now }), budget(100_000));
  const found: string[] = [];
  for (const user of range(7)) {
    for (const { window, spent, held } of await guard.balances({ ...SCOPE, userId: `u${user}` })) {
      found.push(`${user} ${window} ${spent} ${held}`);
    }
  }
  await guard.close();
  return found;
}

function copyOf(dir: string, snapshots: readonly string[]): string {
  const copy = temporaryFolder();
  for (const name of [LOG_FILE, KEY_FILE]) copyFileSync(join(dir, name), join(copy, name));
  for (const name of snapshots) {
    mkdirSync(join(copy, 'snapshots'), { recursive: true });
    copyFileSync(join(dir, 'snapshots', name), join(copy, 'snapshots', name));
  }
  return copy;
}

describe('derived files', () => {
  it('may be deleted: from any snapshot, or from the log alone, the balances are the same', async () => {
    const { dir, now } = await longLog(200, 4);
    const names = readdirSync(join(dir, 'snapshots'));
    expect(names.length).toBe(3);
    const replayed = await everyBalance(copyOf(dir, []), now);
    expect(replayed.filter((line) => !line.endsWith(' 0 0')).length).toBeGreaterThan(60);
    for (const kept of [...names.map((name) => [name]), names]) {
      expect(await everyBalance(copyOf(dir, kept), now)).toEqual(replayed);
    }
    const log = readFileSync(join(dir, LOG_FILE));
    for (const name of readdirSync(dir)) {
      if (![LOG_FILE, KEY_FILE].includes(name)) rmSync(join(dir, name), { recursive: true });
    }
    expect(existsSync(join(dir, 'snapshots'))).toBe(false);
    expect(await everyBalance(dir, now)).toEqual(replayed);
    expect(readFileSync(join(dir, LOG_FILE)).subarray(0, log.length).equals(log)).toBe(true);
    expect((await checkLog(dir)).verdict.integrity).toBe('valid');
  });

  it('leave a replay from any snapshot with what a replay from the start has, to the last receipt', async () => {
    const ledger = memoryLedger();
    const cap = totalCap(1_000_000);
    // More versions than a state keeps, in a turn that makes each one the least used once.
    const versions = range(150).map((version) => policyOf([cap], { version }));
    const keys = range(140).map(generateKeys);
    for (const number of range(600)) {
      const version = versions[(number * 7) % 150] as SpendPolicy;
      const signingKeys = keys[(number * 3) % 140] as (typeof keys)[0];
      const guard = guardOn(ledger, version, { signingKeys });
      const call = await guard.begin(callOf(100));
      if (number % 5 > 0) await settleAt(call, 10);
    }
    const receipts = await receiptsOf(ledger);
    const contents = (state: LedgerState): string => snapshotText(state, 0);
    const whole = new LedgerState({ log: '', seq: -1, hash: '', time: 0 });
    const restored: LedgerState[] = [];
    for (const receipt of receipts) {
      whole.apply(receipt);
      for (const state of restored) state.apply(receipt);
      if (receipt.payload.seq % 97 === 0) restored.push(stateFromSnapshot(contents(whole)).state);
    }
    expect(restored.length).toBeGreaterThan(10);
    for (const state of restored) expect(contents(state)).toBe(contents(whole));
    const account = [...whole.accounts.keys()][0] as string;
    const amounts = whole.amounts({ key: account, window: 'total' }, { start: 0, end: 0 });
    expect(amounts).toEqual({ spent: 480n * 10n * TOKEN_NANO, held: 120n * 100n * TOKEN_NANO });
  });

  it('don’t say when a task is forgotten: that is 30 days after its last call, however it was opened', async () => {
    const policy = policyOf([totalCap(1000, { window: 'per_task' })]);
    const { guard, clock, ledger } = testGuard({ policy, prices: {} });
    const scope = { taskId: 't' };
    await guard.charge({ label: 'work', usd: '0.0005', scope });
    clock.advance(30 * 86_400_000 - 1);
    expect(await guard.balances(scope)).toMatchObject([{ spent: 500_000n }]);
    clock.advance(1);
    expect(await guard.balances(scope)).toMatchObject([{ spent: 0n }]);
    await guard.charge({ label: 'work', usd: '0.0009', scope });
    expect(await guard.balances(scope)).toMatchObject([{ spent: 900_000n }]);
    const state = new LedgerState({ log: '', seq: -1, hash: '', time: 0 });
    for (const receipt of await receiptsOf(ledger)) state.apply(receipt);
    const key = [...state.accounts.keys()][0] as string;
    expect(state.amounts({ key, window: 'per_task' }, { start: 0, end: 0 }).spent).toBe(900_000n);
  });
});

it('the seed’s sample makes one log however often it is started', async () => {
  const dir = temporaryFolder();
  for (const effectiveFrom of ['2026-05-28T00:00:00Z', '2026-05-29T00:00:00Z']) {
    const guard = createSpendGuard({
      policy: {
        id: 'code-review-v1',
        name: 'Code review agent',
        scope: { tenantId: 'acme' },
        caps: [{ amountCents: 5000, window: 'per_day', action: 'block' }],
        mode: 'enforce',
        version: 1,
        effectiveFrom,
      },
      ledger: fileLedger({ dir }),
      signingKeys: generateKeys(),
    });
    await guard.charge({ label: 'search', usd: 20 });
    await guard.close();
  }
  const guard = guardOn(
    fileLedger({ dir }),
    policyOf([{ amountCents: 5000, window: 'per_day', action: 'block' }], { scope: { tenantId: 'acme' } }),
  );
  expect(await guard.balances({ tenantId: 'acme' })).toMatchObject([{ spent: 40n * DOLLAR }]);
  await guard.close();
});
