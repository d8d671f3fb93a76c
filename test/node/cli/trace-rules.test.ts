import { expect, it } from 'vitest';
import { BLOCK_REASONS, createSpendGuard, memoryLedger, type SpendPolicy } from '../../../src/index.ts';
import { CallTrace } from '../../../src/node/cli/trace.ts';
import { WHY } from '../../../src/receipts/words.ts';

const POLICY: SpendPolicy = {
  id: 'p',
  scope: {},
  caps: [{ amountCents: '0.1', window: 'total', action: 'ask' }],
  rules: [
    { when: { task: 'review' }, routeTo: 'anthropic/claude-haiku-4-5', reason: 'reviews go to haiku' },
    { maxPrice: { input: '5', output: '25' }, requires: 'read_only' },
  ],
  version: 1,
  effectiveFrom: '2020-01-01T00:00:00Z',
};

it('has words for every reason', () => {
  for (const reason of BLOCK_REASONS) {
    if (reason !== 'ledger_unavailable') expect(WHY[reason]).toBeDefined();
  }
});

it('tells of rules, capabilities, grants, approvals and ceilings', async () => {
  const ledger = memoryLedger();
  const guard = createSpendGuard({
    policy: POLICY,
    ledger,
    onAsk: () => ({ approved: true, by: 'carol', reason: 'once' }),
    capabilities: {
      verify: (jti) =>
        Promise.resolve({
          issuer: 'https://i',
          jti,
          names: ['data_write'],
          expires: Date.now() + 60_000,
          max: 10n ** 9n,
        }),
    },
  });
  await guard.grant({ policyId: 'p', cap: 0, usd: '0.0001', forMs: 60_000 });
  await guard.begin({
    model: 'anthropic/claude-opus-4-7',
    provider: 'openrouter',
    inputTokens: 100,
    maxOutputTokens: 1000,
    ceilingCanBeSet: true,
    claims: ['read_only'],
    capability: 'token-one',
    scope: { task: 'review' },
  });
  const trace = new CallTrace('latest');
  for await (const receipt of ledger.read()) trace.add(receipt);
  const text = trace.lines().join('\n');
  for (const words of [
    /claims +read_only/,
    /signed +by https:\/\/i: data_write, for at most \$1\.00 \(token [0-9a-f]{12}…, jti token-one\)/,
    /approval +yes, by carol, to pass cap 0 with up to \$0\.\d+ \(“once”\)/,
    /decided +sent to another model \(routed\)/,
    /rule +rule 0 of policy p \(“reviews go to haiku”\)/,
    /granted +\$0\.0001 on top of cap 0/,
    /ceiling +\$5\.00 in, \$25\.00 out, \$0\.00 per request/,
  ]) {
    expect(text.replaceAll(/\s+/g, ' ')).toMatch(new RegExp(words.source.replaceAll(' +', ' '), 'u'));
  }
});
