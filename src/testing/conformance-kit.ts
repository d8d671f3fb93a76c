/** What the conformance suite is made of: guards with a known price, receipts to write, and an independent replay. */
import { blockedError } from '../errors.ts';
import { guardWith, type SpendGuard } from '../guard.ts';
import type { GuardedCall } from '../guarded-call.ts';
import type { Amounts, Ledger } from '../ledgers/ledger.ts';
import { LedgerState, type Bucket } from '../ledgers/state.ts';
import type { SpendGuardOptions } from '../options.ts';
import { parsePolicy, type SpendCap, type SpendPolicy } from '../policy.ts';
import type { SpendRequest } from '../prepare.ts';
import { fromBase64url } from '../receipts/keys.ts';
import type { Draft, Payload, Receipt, ReceiptType } from '../receipts/payloads.ts';
import type { LogVerdict } from '../receipts/verdict.ts';
import { verifyLog } from '../receipts/verify-log.ts';
import type { SpendScope } from '../scope.ts';
import { testPrices } from './test-guard.ts';

/** What the suite needs of a test runner; vitest and Jest have it. */
export interface TestRunner {
  describe: (name: string, body: () => void) => unknown;
  it: (name: string, body: () => Promise<void>) => unknown;
  expect: (actual: unknown) => { toBe(expected: unknown): void; toEqual(expected: unknown): void };
}

/** A ledger that the suite is run on. */
export interface LedgerUnderTest {
  name: string;
  /** Opens a new, empty ledger. The suite closes it. */
  open: () => Ledger | Promise<Ledger>;
  /** Opens the log of `ledger` once more, while it is open or after it was closed. Absent: it dies with its ledger. */
  reopen?: (ledger: Ledger) => Ledger | Promise<Ledger>;
  /** How many ledgers write to one log at once in the tests of concurrency, opened by `reopen`. Default 1. */
  processes?: number;
}

/** What a scenario works with. */
export interface Bench {
  ledger: Ledger;
  /** `ledger` and, where the log can be opened more than once, others on the same log. */
  writers: Ledger[];
  /** Closes every writer and opens the log again; `undefined` where that can't be done. */
  reopen: (() => Promise<Ledger>) | undefined;
  expect: TestRunner['expect'];
}

export type Scenario = (bench: Bench) => Promise<void>;

/** What one output token of the suite's model costs. Its input is free. */
export const TOKEN_NANO = 1000n;

const MODEL = 'conformance/model';
/** Half as dear. */
export const RUNG = 'conformance/rung';
const PRICES = testPrices({
  [MODEL]: { inputCentsPerKtok: 0, outputCentsPerKtok: '0.1' },
  [RUNG]: { inputCentsPerKtok: 0, outputCentsPerKtok: '0.05' },
});

/** A block cap on everything, ever, with room for `tokens` output tokens. */
export function totalCap(tokens: number, more: Partial<SpendCap> = {}): SpendCap {
  return { amountCents: `${tokens}e-4`, window: 'total', action: 'block', ...more };
}

export function policyOf(caps: readonly SpendCap[], more: Partial<SpendPolicy> = {}): SpendPolicy {
  return { id: 'conformance', scope: {}, caps, version: 1, effectiveFrom: '2020-01-01T00:00:00Z', ...more };
}

/** A guard on `ledger` that never waits for holds, unless `more` says so. */
export function guardOn(
  ledger: Ledger,
  policy: SpendPolicy | readonly SpendPolicy[],
  more: Omit<Partial<SpendGuardOptions>, 'policy' | 'ledger'> = {},
): SpendGuard {
  return guardWith({ waitForHoldsMs: 0, ...more, policy, ledger }, { priceOf: PRICES });
}

/** A call whose worst case is `tokens` output tokens. */
export function callOf(tokens: number, scope: SpendScope = {}): SpendRequest {
  return { model: MODEL, inputTokens: 0, maxOutputTokens: tokens, scope };
}

/** Ends a call that gave `outputTokens`. */
export function settleAt(call: GuardedCall, outputTokens: number): ReturnType<GuardedCall['settle']> {
  return call.settle({ outcome: 'ok', usage: { inputTokens: 0, outputTokens } });
}

/** A receipt that changes no balance; each number makes another one. */
export function markDraft(number: number): Draft {
  const { digest, record } = parsePolicy(policyOf([], { version: number }));
  return { type: 'policy', digest, policy: { ...record } };
}

/** The settlement of `call` at an amount, as a guard would write it. */
export function settlementDraft(call: string, amount: bigint): Draft {
  return {
    type: 'settlement',
    call,
    cost: { amount: amount.toString(), source: 'provider' },
    currency: 'USD',
    outcome: 'ok',
    scale: 9,
  };
}

export async function receiptsOf(ledger: Ledger, from?: number): Promise<Receipt[]> {
  const found: Receipt[] = [];
  for await (const receipt of ledger.read(from)) found.push(receipt);
  return found;
}

/** The payloads of one type, oldest first. */
export function ofType<T extends ReceiptType>(
  receipts: readonly Receipt[],
  type: T,
): Extract<Payload, { type: T }>[] {
  return receipts.flatMap(({ payload }) =>
    payload.type === type ? [payload as Extract<Payload, { type: T }>] : [],
  );
}

/** The verdict on the whole log, trusting the key that its genesis names. */
export async function verdictOn(ledger: Ledger): Promise<LogVerdict> {
  const receipts = await receiptsOf(ledger);
  const keys = ofType(receipts, 'genesis').map((genesis) => fromBase64url(genesis.public_key, 32));
  const text = receipts.map(({ line }) => `${line}\n`).join('');
  return verifyLog([new TextEncoder().encode(text)], { keys });
}

/** A balance as text, so that every runner can show and compare it. */
interface Sum {
  window: string;
  spent: string;
  held: string;
}

/** The balances of all accounts ever touched: as `ledger` has them, and as its receipts add up from the first on. */
export async function bothBalances(ledger: Ledger): Promise<{ kept: string[]; replayed: string[] }> {
  const state = new LedgerState({ log: '', seq: -1, hash: '', time: 0 });
  for (const receipt of await receiptsOf(ledger)) state.apply(receipt);
  const selectors = Array.from(state.accounts, ([key, buckets]) => {
    const bucket = [...buckets.values()].at(-1) as Bucket;
    return { key, window: bucket.window, span: () => ({ start: bucket.start, end: bucket.end }) };
  });
  const kept = await ledger.balances(selectors);
  const text = (key: string, { spent, held }: Amounts): string => `${key}: ${spent} spent, ${held} held`;
  return {
    kept: kept.map((balance) => text(balance.account.key, balance)),
    replayed: selectors.map((selector) => text(selector.key, state.amounts(selector, selector.span()))),
  };
}

/** The balances that the ledger has for the caps of a guard, without doubles and without untouched ones. */
export async function balancesOf(guard: SpendGuard, scopes: readonly SpendScope[] = [{}]): Promise<Sum[]> {
  const sums: Sum[] = [];
  for (const scope of scopes) {
    for (const { window, spent, held } of await guard.balances(scope)) {
      if (spent > 0n || held > 0n) sums.push({ window, spent: spent.toString(), held: held.toString() });
    }
  }
  return sorted(sums);
}

function sorted(sums: Sum[]): Sum[] {
  const text = ({ window, spent, held }: Sum): string => `${window} ${spent} ${held}`;
  return sums.sort((a, b) => (text(a) < text(b) ? -1 : 1));
}

/** What a promise is rejected with; `undefined` when it isn't. */
export async function refusal(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
    return undefined;
  } catch (error) {
    return error ?? new Error('rejected without a reason');
  }
}

/** Whole numbers from 0, for calls that are made at once. */
export function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}

/** The writer whose turn it is. */
export function writerOf({ writers }: Bench, turn: number): Ledger {
  return writers[turn % writers.length] as Ledger;
}

/** Those of many calls that passed. Throws whatever is not a refusal. */
export async function passed(calls: readonly Promise<GuardedCall>[]): Promise<GuardedCall[]> {
  const settled = await Promise.allSettled(calls);
  return settled.flatMap((call) => {
    if (call.status === 'fulfilled') return [call.value];
    if (blockedError(call.reason) === undefined) throw call.reason;
    return [];
  });
}

/** The whole log verifies. */
export async function expectSound({ ledger, expect }: Bench): Promise<void> {
  const { integrity, cause } = await verdictOn(ledger);
  expect({ integrity, cause }).toEqual({ integrity: 'valid', cause: undefined });
}
