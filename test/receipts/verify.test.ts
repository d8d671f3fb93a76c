/** Honest logs, and what signs them. Logs that were tampered with are in corpus.test.ts. */
import { generateKeyPairSync, sign } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { createSpendGuard, memoryLedger, setCostOverride } from '../../src/index.ts';
import { admitPublicKey, signerFromSeed, verifySignature } from '../../src/receipts/keys.ts';
import { canonicalJson } from '../../src/receipts/canonical-json.ts';
import { verifyLog, type LogVerdict } from '../../src/receipts/index.ts';
import * as web from '../../src/platform-web.ts';
import * as native from '../../src/node/platform.ts';

const signer = signerFromSeed(new Uint8Array(32).fill(7));
let lines: string[] = [];

async function honestLog(seed: number, calls = 6): Promise<string[]> {
  setCostOverride('verify/model', { inputCentsPerKtok: 1, outputCentsPerKtok: 1 });
  const ledger = memoryLedger({ signer });
  const keys = signerFromSeed(new Uint8Array(32).fill(seed));
  const guard = createSpendGuard({
    policy: {
      id: 'verify',
      scope: { tenantId: 'acme' },
      caps: [{ amountCents: 1000, window: 'per_day', action: 'block' }],
      version: 1,
      effectiveFrom: '2026-01-01T00:00:00Z',
    },
    ledger,
    signingKeys: { privateKey: new Uint8Array(32).fill(seed), publicKey: keys.publicKey },
  });
  for (let index = 0; index < calls; index++) {
    const call = await guard.begin({ model: 'verify/model', inputTokens: 10, maxOutputTokens: 10 });
    await call.settle({ outcome: 'ok', usage: { inputTokens: 9, outputTokens: 5 } });
  }
  await guard.close();
  const found: string[] = [];
  for await (const { line } of ledger.read()) found.push(line);
  return found;
}

function verify(log: readonly string[] | Uint8Array, more: { log?: string } = {}): Promise<LogVerdict> {
  const bytes =
    log instanceof Uint8Array ? log : new TextEncoder().encode(log.map((line) => `${line}\n`).join(''));
  return verifyLog([bytes], { keys: [signer.publicKey], ...more });
}

beforeAll(async () => {
  lines = await honestLog(3);
});

describe('an honest log', () => {
  it('is valid, however its bytes are chunked', async () => {
    expect(await verify(lines)).toMatchObject({ integrity: 'valid', receipts: lines.length });
    const bytes = new TextEncoder().encode(lines.map((line) => `${line}\n`).join(''));
    const chunks = Array.from({ length: Math.ceil(bytes.length / 7) }, (_, index) =>
      bytes.subarray(index * 7, index * 7 + 7),
    );
    expect(await verifyLog(chunks, { keys: [signer.publicKey] })).toMatchObject({ integrity: 'valid' });
  });

  it('keeps payloads of 32 caps and long names within 4096 bytes', async () => {
    const ledger = memoryLedger({ signer });
    const long = (letter: string): string => letter.repeat(64);
    const windows = [
      'per_minute',
      'per_hour',
      'per_day',
      'per_week',
      'per_month',
      'per_task',
      'total',
      'per_call',
    ] as const;
    const per = [undefined, ['userId'], ['agentId'], ['teamId', 'task']] as const;
    const guard = createSpendGuard({
      policy: {
        id: 'wide',
        scope: { tenantId: 'acme' },
        caps: Array.from({ length: 32 }, (_, index) => {
          const scope = per[Math.floor(index / 8)];
          return {
            amountCents: 9e12 + index,
            window: windows[index % 8]!,
            action: 'block',
            ...(scope && { per: scope }),
          } as const;
        }),
        version: 1,
        effectiveFrom: '2026-01-01T00:00:00Z',
      },
      scope: { userId: long('u'), agentId: long('a'), teamId: long('t'), taskId: long('k'), task: long('w') },
      ledger,
    });
    setCostOverride('verify/dear', { inputCentsPerKtok: 1e7, outputCentsPerKtok: 1e7 });
    for (let index = 0; index < 3; index++) {
      const call = await guard.begin({ model: 'verify/dear', inputTokens: 1e6, maxOutputTokens: 1e6 });
      await call.settle({
        outcome: 'ok',
        servedModel: long('m'),
        servedProvider: long('p'),
        providerRef: long('r'),
        cost: 123456.789,
      });
    }
    let longest = 0;
    for await (const { payload } of ledger.read()) {
      if (payload.type === 'decision' || payload.type === 'settlement')
        longest = Math.max(longest, canonicalJson(payload).length);
    }
    expect(longest).toBeGreaterThan(1000);
    expect(longest).toBeLessThanOrEqual(4096);
  });
});

describe('keys and signatures', () => {
  it('native and noble backends give the same signatures and the same verdicts', () => {
    for (let index = 0; index < 40; index++) {
      const seed = new Uint8Array(32).fill(index + 1);
      const bytes = new TextEncoder().encode(`message ${index}`);
      const publicKey = native.publicKeyOf(seed);
      expect(web.publicKeyOf(seed)).toEqual(publicKey);
      const signature = native.sign(native.signingKey(seed), bytes);
      expect(Buffer.from(web.sign(web.signingKey(seed), bytes))).toEqual(Buffer.from(signature));
      const bad = Uint8Array.from(signature);
      bad[index % 64] = bad[index % 64]! ^ 1;
      for (const candidate of [new Uint8Array(signature), bad]) {
        const verdict = native.verify(native.verifyingKey(publicKey), bytes, candidate);
        expect(web.verify(publicKey, bytes, candidate)).toBe(verdict);
      }
    }
  });

  it('stock verifiers agree: what node:crypto signs, we verify', () => {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    const raw = new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }).subarray(-32));
    const admitted = admitPublicKey(raw);
    if ('refused' in admitted) throw new Error(admitted.refused);
    const message = new TextEncoder().encode('hello');
    expect(verifySignature(admitted.key, message, sign(null, message, privateKey).toString('hex'))).toBe(
      true,
    );
  });
});
