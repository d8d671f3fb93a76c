/** Whatever comes in, from callers, end users or providers: what is signed always verifies, or nothing is signed. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  AgentGuardBlockedError,
  AgentGuardError,
  createSpendGuard,
  memoryLedger,
  setCostOverride,
  withSpendScope,
  type CallOutcome,
  type SpendRequest,
  type SpendScope,
} from '../../src/index.ts';
import { signerFromSeed } from '../../src/receipts/keys.ts';
import { verifyLog } from '../../src/receipts/verify-log.ts';

const signer = signerFromSeed(new Uint8Array(32).fill(5));
setCostOverride('hostile/model', { inputCentsPerKtok: 1, outputCentsPerKtok: 2 });

const nasty = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 300 }),
  fc.constantFrom(
    '',
    '\ud800',
    '\u0000',
    '‮evil',
    '__proto__',
    'constructor',
    'x'.repeat(5000),
    '漢'.repeat(128),
    '"}\n{',
  ),
  fc.integer(),
  fc.double(),
  fc.constantFrom(null, undefined, true, Number.NaN, Infinity, -0, 1e300, 2 ** 53, {}, [], ['x'], 10n),
);
const mostly = (good: unknown, bad: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> =>
  fc.oneof({ weight: 6, arbitrary: fc.constant(good) }, { weight: 1, arbitrary: bad });
const badScopes = fc.oneof(
  fc.record({ userId: nasty, taskId: nasty, tenantId: nasty }, { requiredKeys: [] }),
  fc.dictionary(fc.string(), nasty),
  nasty,
);
const scopes = mostly({ userId: 'alice' }, badScopes);
const requests = fc.record(
  {
    model: fc.oneof(fc.constant('hostile/model'), nasty),
    fallbacks: mostly([], fc.oneof(fc.array(nasty, { maxLength: 10 }), nasty)),
    inputTokens: mostly(10, nasty),
    maxOutputTokens: mostly(10, nasty),
    choices: mostly(1, nasty),
    reasoningTokens: mostly(undefined, nasty),
    prompt: mostly({ texts: ['hello'], messages: 1 }, nasty),
    unbounded: mostly(undefined, nasty),
    scope: scopes,
  },
  { requiredKeys: ['model'] },
);
const outcomes = fc.oneof(
  fc.record(
    {
      outcome: fc.oneof(fc.constantFrom('ok', 'error', 'refused', 'aborted', 'not_sent'), nasty),
      usage: fc.oneof(fc.record({ inputTokens: nasty, outputTokens: nasty, reasoningTokens: nasty }), nasty),
      cost: nasty,
      servedModel: nasty,
      servedProvider: nasty,
      providerRef: nasty,
      seenOutputTokens: nasty,
    },
    { requiredKeys: [] },
  ),
  nasty,
);

describe('hostile input', () => {
  it('never leaves a receipt that does not verify, and never makes settle reject', async () => {
    let written = 0;
    await fc.assert(
      fc.asyncProperty(requests, scopes, outcomes, async (request, scope, outcome) => {
        const ledger = memoryLedger({ signer });
        const guard = createSpendGuard({
          policy: {
            id: 'hostile',
            scope: {},
            caps: [{ amountCents: 1e9, window: 'per_day', action: 'block' }],
            unknownPrice: 'allow',
            version: 1,
            effectiveFrom: '2026-01-01T00:00:00Z',
          },
          ledger,
          waitForHoldsMs: 0,
          waitUntil: () => {
            throw new Error('no request here');
          },
          onEvent: () => Promise.reject(new Error('listener')) as never,
        });
        try {
          const begin = (): ReturnType<typeof guard.begin> => guard.begin(request as SpendRequest);
          const call = await withSpendScope(scope as SpendScope, begin);
          await call.settle(outcome as CallOutcome);
        } catch (error) {
          const isOurs = error instanceof AgentGuardError || error instanceof AgentGuardBlockedError;
          expect(isOurs, String((error as Error).stack)).toBe(true);
        }
        const lines: Uint8Array[] = [];
        for await (const { line } of ledger.read()) lines.push(new TextEncoder().encode(`${line}\n`));
        if (lines.length === 0) return;
        written += 1;
        expect(await verifyLog(lines, { keys: [signer.publicKey] })).toMatchObject({ integrity: 'valid' });
        for (const { held } of await guard.balances()) expect(held).toBe(0n);
      }),
      { numRuns: 1500 },
    );
    // Most inputs must get far enough to be recorded, or this proves nothing.
    expect(written).toBeGreaterThan(300);
  });
});
