/** What receipts say of sound, pictures, one-hour caches and own keys: the same verdict by every verifier. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it, onTestFinished } from 'vitest';
import { createSpendGuard, memoryLedger, setCostOverride } from '../../src/index.ts';
import { verifyLog } from '../../src/receipts/index.ts';
import { signerFromSeed, thumbprint } from '../../src/receipts/keys.ts';

const PYTHON = process.env['AGENTGUARD_PYTHON'] ?? '/usr/bin/python3';
const at = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));

function codeOf(command: string, args: readonly string[]): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    execFile(command, args, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), output: stdout + stderr });
    });
  });
}

const USAGE = {
  inputTokens: 1000,
  outputTokens: 100,
  cacheReadTokens: 100,
  cacheReadAudioTokens: 50,
  cacheWriteTokens: 200,
  cacheWriteHourTokens: 150,
  inputAudioTokens: 100,
  inputImageTokens: 100,
  outputAudioTokens: 10,
  outputImageTokens: 10,
  reasoningTokens: 10,
};

it('a log with every such member is valid for the library, for Python and for the shell', async () => {
  setCostOverride('all/kinds', {
    inputCentsPerKtok: 1,
    outputCentsPerKtok: 1,
    cacheWriteHourCentsPerKtok: 2,
    imageCents: 1,
  });
  onTestFinished(() => setCostOverride('all/kinds', null));
  const signer = signerFromSeed(new Uint8Array(32).fill(7));
  const ledger = memoryLedger({ signer });
  const caps = [{ amountCents: 100_000, window: 'per_day' as const, action: 'block' as const }];
  const policy = { id: 'p', scope: {}, caps, version: 1, effectiveFrom: '2020-01-01' };
  const guard = createSpendGuard({ policy, ledger });
  const prompt = { texts: ['x'], messages: 1, images: [{}], files: [{ mediaType: 'audio/wav' }] };
  const begin = (): ReturnType<typeof guard.begin> =>
    guard.begin({ model: 'all/kinds', prompt, hourCache: true, maxOutputTokens: 100 });
  await (
    await begin()
  ).settle({ outcome: 'ok', usage: USAGE, cost: '0.0105', upstreamCost: '0.01', isByok: true });
  await (await begin()).settle({ outcome: 'aborted', providerRef: 'gen-1' });
  const truth = {
    cost: '0.0021',
    upstreamCost: '0.002',
    isByok: true,
    usage: USAGE,
    servedModel: 'all/kinds',
  };
  const { adjusted } = await guard.reconcile({ lateTruth: { lookUp: async () => truth } });
  expect(adjusted).toHaveLength(1);

  let text = '';
  for await (const { line } of ledger.read()) text += `${line}\n`;
  for (const member of [
    'audio',
    'hour_cache',
    'images',
    'byok',
    'fee',
    'upstream',
    'cache_write_hour_tokens',
    'output_image_tokens',
  ])
    expect(text).toContain(`"${member}":`);
  expect(await verifyLog([new TextEncoder().encode(text)], { keys: [signer.publicKey] })).toMatchObject({
    integrity: 'valid',
  });
  const folder = await mkdtemp(join(tmpdir(), 'agentguard-members-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, 'decisions.ndjson');
  await writeFile(file, text);
  const key = thumbprint(signer.publicKey);
  const python = await codeOf(PYTHON, [at('docs/verify.py'), file, `--key=${key}`]);
  expect(python, python.output).toMatchObject({ code: 0 });
  const shell = await codeOf('bash', [at('docs/verify.sh'), file, key]);
  expect(shell, shell.output).toMatchObject({ code: 0 });
});
