/** The core in an edge runtime: no Node, no file ledger, noble instead of native signatures. */
import { describe, expect, it } from 'vitest';
import {
  createSpendGuard,
  isBlocked,
  loadPrices,
  memoryLedger,
  setCostOverride,
  type SpendPolicy,
} from '../../src/index.ts';
import { makeShareLink, openShareLink, verifyLog } from '../../src/receipts/index.ts';
import { LogKit, signerOf } from '../receipts/made-log.ts';
import { signerFromSeed } from '../../src/receipts/keys.ts';

const policy: SpendPolicy = {
  id: 'edge',
  scope: {},
  caps: [{ amountCents: 2, window: 'per_day', action: 'block' }],
  version: 1,
  effectiveFrom: '2026-01-01T00:00:00Z',
};

describe('on the edge', () => {
  it('makes and opens share links', async () => {
    const own = signerOf(1);
    const log = new LogKit(own).note(own, 30);
    const made = await makeShareLink({ lines: [log.proved(7)], checkpoint: log.checkpoint(own) });
    expect(await openShareLink(made, { keys: [own.publicKey] })).toMatchObject({
      verdict: 'valid',
      size: 31,
    });
    const other = signerOf(2);
    expect(await openShareLink(made, { keys: [other.publicKey] })).toMatchObject({ verdict: 'undecidable' });
  });

  it('runs in an edge runtime', () => {
    expect('EdgeRuntime' in globalThis).toBe(true);
  });

  it('decides, blocks, settles and writes a log that verifies', async () => {
    setCostOverride('edge/model', { inputCentsPerKtok: 0, outputCentsPerKtok: 1 });
    const signer = signerFromSeed(new Uint8Array(32).fill(1));
    const ledger = memoryLedger({ signer });
    const guard = createSpendGuard({ policy, ledger, waitForHoldsMs: 0 });
    const call = await guard.begin({ model: 'edge/model', inputTokens: 5, maxOutputTokens: 1500 });
    const refusal = await guard
      .begin({ model: 'edge/model', inputTokens: 5, maxOutputTokens: 1500 })
      .catch((e) => e);
    expect(isBlocked(refusal)).toBe(true);
    await call.settle({ outcome: 'ok', usage: { inputTokens: 5, outputTokens: 1000 } });
    const [cap] = await guard.balances();
    expect(cap).toMatchObject({ spent: 10_000_000n, held: 0n });
    const lines: Uint8Array[] = [];
    for await (const { line } of ledger.read()) lines.push(new TextEncoder().encode(`${line}\n`));
    expect(await verifyLog(lines, { keys: [signer.publicKey] })).toMatchObject({
      integrity: 'valid',
      receipts: 6,
    });
  });

  it('says what to pass when there is no default ledger', () => {
    expect(() => createSpendGuard({ policy })).toThrow(/memoryLedger\(\)/);
  });

  it('takes synced prices from code, since there are no files', async () => {
    const row = { model: 'edge/synced', source: 'mine', version: '1', input: '1', output: '2' };
    const guard = createSpendGuard({ policy, ledger: memoryLedger(), waitForHoldsMs: 0 });
    const request = { model: 'edge/synced', inputTokens: 1000, maxOutputTokens: 1000 };
    await expect(guard.begin(request)).rejects.toMatchObject({ reason: 'unknown_price' });
    loadPrices([row]);
    expect((await guard.begin(request)).hold).toBe(3_000_000n);
    loadPrices(null);
  });
});
