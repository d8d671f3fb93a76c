/** Honest logs, the same bytes in every run: what the corpus is made of. */
import { memoryLedger } from '../../../src/ledgers/memory.ts';
import type { Ledger } from '../../../src/ledgers/ledger.ts';
import { guardWith, type SpendGuard } from '../../../src/guard.ts';
import type { SpendGuardOptions } from '../../../src/options.ts';
import type { SpendPolicy } from '../../../src/policy.ts';
import { base64url, signerFromSeed, type Signer } from '../../../src/receipts/keys.ts';
import type { Draft } from '../../../src/receipts/payloads.ts';
import { testPrices } from '../../../src/testing/test-guard.ts';

export const seed = (number: number): Uint8Array => new Uint8Array(32).fill(number);

/** The installation key of every log in here, and the one of somebody else. */
export const INSTALLATION: Signer = signerFromSeed(seed(7));
export const ATTACKER: Signer = signerFromSeed(seed(8));
/** A guard's own key, which its log admits. */
export const ADMITTED: Signer = signerFromSeed(seed(3));

const id = (number: number): string => {
  const bytes = new Uint8Array(16);
  new DataView(bytes.buffer).setUint32(12, number);
  return base64url(bytes);
};

export const policy = (more: Partial<SpendPolicy> = {}): SpendPolicy => ({
  id: 'corpus',
  scope: { tenantId: 'acme' },
  caps: [{ amountCents: 1000, window: 'per_day', action: 'block' }],
  version: 1,
  effectiveFrom: '2026-01-01T00:00:00Z',
  ...more,
});

export interface LogOptions {
  /** Number of the log's id. Default 1. */
  log?: number;
  signer?: Signer;
  calls?: number;
  guard?: Partial<SpendGuardOptions>;
  /** Does more with the guard before it is closed. */
  more?: (guard: SpendGuard, ledger: Ledger, clock: { now: number }) => Promise<void>;
  close?: boolean;
}

const START = Date.parse('2026-06-01T12:00:00Z');

/** The lines of an honest log: calls that are settled, one after another. */
export async function honestLog(options: LogOptions = {}): Promise<string[]> {
  const { log = 1, calls = 6, guard: more = {}, close = true } = options;
  const clock = { now: START };
  const ledger = memoryLedger({
    signer: options.signer ?? INSTALLATION,
    now: () => clock.now,
    logId: id(1000 + log),
    tenantId: 'acme',
  });
  let number = log * 100_000;
  const guard = guardWith(
    {
      policy: policy(),
      ledger,
      waitForHoldsMs: 0,
      signingKeys: { privateKey: seed(3), publicKey: ADMITTED.publicKey },
      ...more,
    },
    { now: () => clock.now, newId: () => id((number += 1)), priceOf: testPrices() },
  );
  for (let index = 0; index < calls; index++) {
    const call = await guard.begin({ model: 'm/model', inputTokens: 10 + index, maxOutputTokens: 10 });
    clock.now += 250;
    await call.settle({
      outcome: 'ok',
      usage: { inputTokens: 9, outputTokens: 5 },
      providerRef: `gen-${index}`,
    });
  }
  await options.more?.(guard, ledger, clock);
  if (close) await guard.close();
  return linesFrom(ledger);
}

async function linesFrom(ledger: Ledger): Promise<string[]> {
  const lines: string[] = [];
  for await (const { line } of ledger.read()) lines.push(line);
  return lines;
}

/** Writes receipts as they are given, signed by `signer` or the installation key. */
export async function write(ledger: Ledger, drafts: readonly Draft[], signer?: Signer): Promise<void> {
  await ledger.transact([], () => ({ drafts, result: undefined }), signer === undefined ? {} : { signer });
}
