/** The verifiers of `docs`, written apart from the package, know everything that rules, people and alerts write. */
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { base64url, signerFromSeed } from '../../src/receipts/keys.ts';
import type { Receipt } from '../../src/receipts/payloads.ts';
import { memoryLedger, createSpendGuard, type Ledger, type SpendPolicy } from '../../src/index.ts';
import { ofType, receiptsOf, verdictOn } from '../../src/testing/conformance-kit.ts';
import { temporaryFolder } from '../node/temporary-folder.ts';

const PYTHON = process.env['AGENTGUARD_PYTHON'] ?? '/usr/bin/python3';
const docs = (name: string): string => fileURLToPath(new URL(`../../docs/${name}`, import.meta.url));

const POLICY: SpendPolicy = {
  id: 'p',
  scope: {},
  caps: [
    { amountCents: '0.5', window: 'total', action: 'ask', alerts: [0.5, 1] },
    {
      amountCents: 0,
      window: 'per_call',
      action: 'downgrade',
      downgradeTo: 'anthropic/claude-haiku-4-5',
      sticky: 'task',
    },
    { amountCents: 100, window: 'total', action: 'block', models: 'openai/*' },
  ],
  rules: [
    { when: { task: 'pay' }, requires: 'payment_execute', signed: true },
    { requires: 'read_only', maxPrice: { input: '9', output: '30' } },
  ],
  version: 1,
  effectiveFrom: '2020-01-01T00:00:00Z',
};

/** A log with every kind of receipt, and every member of a decision, that came with rules. */
async function fullLog(): Promise<Ledger> {
  const ledger = memoryLedger({ signer: signerFromSeed(new Uint8Array(32).fill(3)) });
  const guard = createSpendGuard({
    policy: POLICY,
    ledger,
    claims: ['read_only'],
    onAsk: () => ({ approved: true, by: 'carol "the" } boss', reason: 'ünïcode ✓' }),
    capabilities: {
      verify: (jti) =>
        Promise.resolve({
          issuer: 'https://i',
          jti,
          names: ['payment_execute'],
          expires: Date.now() + 60_000,
          notBefore: Date.now(),
          subject: 'a',
          max: 10n ** 9n,
        }),
    },
  });
  const request = {
    model: 'anthropic/claude-opus-4-7',
    provider: 'openrouter',
    inputTokens: 1000,
    maxOutputTokens: 1000,
    cachedTokens: 10,
    ceilingCanBeSet: true,
    features: ['tools' as const],
    capability: 'one',
    scope: { task: 'pay', taskId: 't', agentId: 'a' },
  };
  await guard.grant({
    policyId: 'p',
    cap: 0,
    usd: '0.0001',
    forMs: 60_000,
    scope: { agentId: 'a' },
    by: 'x',
  });
  const call = await guard.begin(request);
  await call.settle({ outcome: 'ok', usage: { inputTokens: 1000, outputTokens: 1000 } });
  await guard.begin(request).catch(() => undefined);
  const { capability: _, ...plain } = request;
  await guard.begin(plain).catch(() => undefined);
  await guard.begin({ ...plain, capability: 'x'.repeat(9000) }).catch(() => undefined);
  await guard.begin({ ...plain, capability: 'two' });
  await guard.freeze({ agentId: 'a' }, { reason: 'stop' });
  await guard.begin({ ...plain, capability: 'three' }).catch(() => undefined);
  await guard.unfreeze({ agentId: 'a' });
  await guard.flush();
  return ledger;
}

function exitOf(file: string, args: readonly string[]): Promise<[number, string]> {
  return new Promise((resolve) => {
    execFile(file, args, (error, stdout, stderr) =>
      resolve([error === null ? 0 : Number(error.code), `${stdout}${stderr}`]),
    );
  });
}

async function verdicts(receipts: readonly Receipt[]): Promise<[number, string][]> {
  const log = join(temporaryFolder(), 'decisions.ndjson');
  writeFileSync(log, receipts.map(({ line }) => `${line}\n`).join(''));
  const key = base64url(signerFromSeed(new Uint8Array(32).fill(3)).publicKey);
  return Promise.all([
    exitOf(PYTHON, [docs('verify.py'), log, '--key', key]),
    exitOf('bash', [docs('verify.sh'), log, key]),
  ]);
}

it('call a log with all of it valid, as the library does', async () => {
  const ledger = await fullLog();
  const receipts = await receiptsOf(ledger);
  const types = new Set(receipts.map(({ payload }) => payload.type));
  for (const type of ['grant', 'freeze', 'approval', 'alert'] as const) expect(types).toContain(type);
  const members = new Set(ofType(receipts, 'decision').flatMap((payload) => Object.keys(payload)));
  for (const name of ['approved', 'decisive_rule', 'frozen', 'granted', 'rungs', 'uncounted'])
    expect(members).toContain(name);
  expect(await verdictOn(ledger)).toMatchObject({ integrity: 'valid' });
  for (const [exit, output] of await verdicts(receipts)) expect({ exit, output }).toMatchObject({ exit: 0 });
});

it('refuse a freeze by a key that is not the log’s own', async () => {
  const ledger = await fullLog();
  const signer = signerFromSeed(new Uint8Array(32).fill(4));
  await ledger.transact([], () => ({ drafts: [{ type: 'freeze', frozen: false, scope: {} }], result: 0 }), {
    signer,
  });
  expect(await verdictOn(ledger)).toMatchObject({ integrity: 'invalid' });
  for (const [exit, output] of await verdicts(await receiptsOf(ledger)))
    expect({ exit, output }).toMatchObject({ exit: 1 });
});
