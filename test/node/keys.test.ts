/** The installation key: handed over, certified, taken from the environment; and signing keys that don't last. */
import { randomBytes } from 'node:crypto';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { SpendEvent } from '../../src/events.ts';
import { createSpendGuard } from '../../src/index.ts';
import { fileLedger } from '../../src/node/file-ledger/index.ts';
import { KEY_FILE, LOG_FILE } from '../../src/node/home.ts';
import { installationKey, KEY_VARIABLE, readKey, replaceKey } from '../../src/node/installation-key.ts';
import { keyFileText, newKeyFile, parseKeyFile, type KeyFile } from '../../src/node/key-file.ts';
import { signKeyCertificate } from '../../src/receipts/key-certificate.ts';
import { base64url, signerFromSeed, type Signer } from '../../src/receipts/keys.ts';
import type { Receipt } from '../../src/receipts/payloads.ts';
import { verifyLog, type LogVerdict, type Trust } from '../../src/receipts/verify.ts';
import { callOf, guardOn, policyOf, range, settleAt, totalCap } from '../../src/testing/conformance-kit.ts';
import { temporaryFolder } from './temporary-folder.ts';

const POLICY = policyOf([totalCap(1_000_000)]);
const newSeed = (): Uint8Array => new Uint8Array(randomBytes(32));

afterEach(() => vi.unstubAllEnvs());

async function call(ledger: ReturnType<typeof fileLedger>): Promise<void> {
  await settleAt(await guardOn(ledger, POLICY).begin(callOf(100)), 10);
}

async function check(dir: string, trust: Trust): Promise<{ verdict: LogVerdict; receipts: Receipt[] }> {
  const receipts: Receipt[] = [];
  const verdict = await verifyLog([readFileSync(join(dir, LOG_FILE))], trust, (receipt) =>
    receipts.push(receipt),
  );
  return { verdict, receipts };
}

const keyIn = (dir: string): KeyFile => readKey(join(dir, KEY_FILE)) as KeyFile;

/** What `agentguard keys rotate` does to the key file before it opens the logs. */
function rotate(dir: string): { old: KeyFile; next: KeyFile } {
  const old = keyIn(dir);
  const { signer, seed } = old;
  const next = newKeyFile(newSeed(), undefined, [
    { publicKey: signer.publicKey, signer, seed },
    ...old.former,
  ]);
  replaceKey(join(dir, KEY_FILE), next);
  return { old, next };
}

describe('a log whose key was rotated', () => {
  it('is handed over when it is opened next, and goes on under the new key alone', async () => {
    const dir = temporaryFolder();
    const first = fileLedger({ dir });
    await call(first);
    await first.close();
    const { old, next } = rotate(dir);
    const second = fileLedger({ dir });
    await call(second);
    await second.close();
    const { verdict, receipts } = await check(dir, { keys: [old.signer.publicKey] });
    expect(verdict).toMatchObject({ integrity: 'valid', receipts: receipts.length });
    const handOver = receipts.findIndex(
      ({ payload }) => payload.type === 'key' && payload.replaces === old.signer.kid,
    );
    expect(receipts.map(({ payload }) => payload.issuer_id)).toEqual(
      receipts.map((_, index) => (index <= handOver ? old : next).signer.kid),
    );
    // Once the private half is gone it opens all the same, also from its beginning.
    replaceKey(join(dir, KEY_FILE), { ...next, former: [{ publicKey: old.signer.publicKey }] });
    const third = fileLedger({ dir });
    await call(third);
    await third.close();
    expect((await check(dir, { keys: [old.signer.publicKey] })).verdict.integrity).toBe('valid');
  });

  it('is handed over under a process that is at work, which takes the new key from there on', async () => {
    const dir = temporaryFolder();
    // Two names of one folder: as two processes, they don't share what is in memory.
    const running = fileLedger({ dir, keyFile: join(dir, KEY_FILE) });
    await call(running);
    const { old, next } = rotate(dir);
    await call(running);
    const shared = globalThis as { [key: symbol]: unknown };
    const open = Symbol.for('agentguard.spend/file-ledgers@1');
    const mine = shared[open];
    shared[open] = new Map();
    const other = fileLedger({ dir });
    await call(other);
    await other.close();
    shared[open] = mine;
    await call(running);
    const checkpoint = await running.checkpoint();
    await running.close();
    const { verdict, receipts } = await check(dir, { keys: [old.signer.publicKey] });
    expect(verdict.integrity).toBe('valid');
    expect(receipts.filter(({ payload }) => payload.type === 'key').length).toBe(1);
    expect(receipts.at(-1)?.payload.issuer_id).toBe(next.signer.kid);
    expect(checkpoint?.size).toBeGreaterThan(5);
  });

  it('is not opened by the old key file any more, nor by a stranger’s', async () => {
    const dir = temporaryFolder();
    const first = fileLedger({ dir });
    await call(first);
    await first.close();
    const { old } = rotate(dir);
    const second = fileLedger({ dir });
    await call(second);
    await second.close();
    const before = readFileSync(join(dir, LOG_FILE));
    replaceKey(join(dir, KEY_FILE), old);
    const third = fileLedger({ dir });
    await expect(call(third)).rejects.toMatchObject({ cause: { code: 'key_unsafe' } });
    await third.close();
    replaceKey(join(dir, KEY_FILE), newKeyFile(newSeed()));
    const fourth = fileLedger({ dir });
    await expect(call(fourth)).rejects.toMatchObject({ cause: { code: 'log_damaged' } });
    await fourth.close();
    expect(readFileSync(join(dir, LOG_FILE))).toEqual(before);
  });

  it('refuses signing keys that it has replaced', async () => {
    const dir = temporaryFolder();
    const first = fileLedger({ dir });
    await call(first);
    await first.close();
    const { old } = rotate(dir);
    const second = fileLedger({ dir });
    await call(second);
    const signingKeys = { privateKey: old.seed, publicKey: old.signer.publicKey };
    const guard = guardOn(second, POLICY, { signingKeys });
    await expect(guard.begin(callOf(100))).rejects.toMatchObject({
      cause: { message: expect.stringMatching(/replaced/) },
    });
    await second.close();
    expect((await check(dir, { keys: [old.signer.publicKey] })).verdict.integrity).toBe('valid');
  });
});

describe('the key file', () => {
  it('keeps a key with its past, and shows it to nobody', () => {
    const dir = temporaryFolder();
    const made = installationKey(join(dir, KEY_FILE));
    expect(statSync(join(dir, KEY_FILE)).mode & 0o777).toBe(0o600);
    const root = signerFromSeed(newSeed());
    const past = signerFromSeed(made.seed);
    const certificate = signKeyCertificate(made.signer.kid, root);
    const key = {
      ...newKeyFile(newSeed(), '2026-01-02T00:00:00.000Z', [
        { publicKey: past.publicKey, signer: past, seed: made.seed, until: '2026-01-02T00:00:00.000Z' },
        { publicKey: root.publicKey },
      ]),
      certificate,
    };
    const read = parseKeyFile(keyFileText(key));
    expect(keyFileText(read)).toBe(keyFileText(key));
    expect(read).toMatchObject({ signer: { kid: key.signer.kid }, certificate, since: key.since });
    expect(read.former.map(({ signer }) => signer?.kid)).toEqual([past.kid, undefined]);
  });

  it('with a past that doesn’t fit is refused', () => {
    const dir = temporaryFolder();
    const key = installationKey(join(dir, KEY_FILE));
    const past = { crv: 'Ed25519', kty: 'OKP', d: base64url(newSeed()), x: base64url(newSeed()) };
    writeFileSync(join(dir, KEY_FILE), JSON.stringify({ ...JSON.parse(keyFileText(key)), previous: [past] }));
    expect(() => readKey(join(dir, KEY_FILE))).toThrow(/damaged/);
  });
});

describe(KEY_VARIABLE, () => {
  const seed = newSeed();
  const own = signerFromSeed(seed);

  it.each([
    ['a seed', base64url(seed)],
    ['a JWK', keyFileText(newKeyFile(seed))],
  ])('may hold %s, which is then the installation key; no file is made', async (_name, text) => {
    vi.stubEnv(KEY_VARIABLE, text);
    const dir = temporaryFolder();
    const ledger = fileLedger({ dir });
    // It is read when the ledger is made, so it may be taken out of the environment after that.
    vi.stubEnv(KEY_VARIABLE, undefined);
    await call(ledger);
    await ledger.close();
    expect(readKey(join(dir, KEY_FILE))).toBeUndefined();
    expect((await check(dir, { keys: [own.publicKey] })).verdict.integrity).toBe('valid');
    expect(readFileSync(join(dir, LOG_FILE), 'utf8')).not.toContain(base64url(seed));
  });

  it('counts as not set when it is empty', async () => {
    vi.stubEnv(KEY_VARIABLE, ' ');
    const dir = temporaryFolder();
    const ledger = fileLedger({ dir });
    await call(ledger);
    await ledger.close();
    expect((await check(dir, { keys: [keyIn(dir).signer.publicKey] })).verdict.integrity).toBe('valid');
  });

  it.each([
    'secret-that-is-none',
    base64url(newSeed()).slice(1),
    '{"d":"secret-that-is-none"}',
    '{"crv":"Ed255',
  ])('that is no key is refused at once, and not shown: %s', (text) => {
    vi.stubEnv(KEY_VARIABLE, text);
    let found: unknown;
    try {
      fileLedger({ dir: temporaryFolder() });
    } catch (error) {
      found = error;
    }
    expect(found).toMatchObject({ code: 'key_unsafe' });
    expect(`${JSON.stringify(found)} ${String(found)} ${(found as Error).stack}`).not.toContain(
      text.slice(0, 12),
    );
    expect((found as Error).cause).toBeUndefined();
  });

  it('hands a log over from the key in its list of previous ones', async () => {
    const dir = temporaryFolder();
    vi.stubEnv(KEY_VARIABLE, base64url(seed));
    const first = fileLedger({ dir });
    await call(first);
    await first.close();
    const next = newKeyFile(newSeed(), undefined, [{ publicKey: own.publicKey, signer: own, seed }]);
    vi.stubEnv(KEY_VARIABLE, keyFileText(next));
    const second = fileLedger({ dir });
    await call(second);
    await second.close();
    const { verdict, receipts } = await check(dir, { keys: [own.publicKey] });
    expect(verdict.integrity).toBe('valid');
    expect(receipts.at(-1)?.payload.issuer_id).toBe(next.signer.kid);
  });
});

describe('a signer of one’s own', () => {
  const own = signerFromSeed(newSeed());
  const custom: Signer = { kid: own.kid, publicKey: own.publicKey, sign: (bytes) => own.sign(bytes) };

  it('signs a log in place of the installation key, with a root’s word for it', async () => {
    const dir = temporaryFolder();
    const root = signerFromSeed(newSeed());
    const ledger = fileLedger({ dir, signer: custom, certificate: signKeyCertificate(own.kid, root) });
    await call(ledger);
    await ledger.close();
    expect(readKey(join(dir, KEY_FILE))).toBeUndefined();
    expect((await check(dir, { keys: [], roots: [root.publicKey] })).verdict.integrity).toBe('valid');
  });

  it('signs a guard’s receipts, and one that fails costs the call, not the log', async () => {
    const dir = temporaryFolder();
    const ledger = fileLedger({ dir });
    let isBad = false;
    const sometimes: Signer = { ...custom, sign: (bytes) => (isBad ? new Uint8Array(64) : own.sign(bytes)) };
    const guard = guardOn(ledger, POLICY, { signingKeys: sometimes });
    await settleAt(await guard.begin(callOf(100)), 10);
    isBad = true;
    await expect(guard.begin(callOf(100))).rejects.toMatchObject({
      cause: { message: expect.stringMatching(/signature does not fit/) },
    });
    isBad = false;
    await settleAt(await guard.begin(callOf(100)), 10);
    await guard.close();
    const { verdict, receipts } = await check(dir, { keys: [keyIn(dir).signer.publicKey] });
    expect(verdict.integrity).toBe('valid');
    expect(receipts.filter(({ payload }) => payload.issuer_id === own.kid).length).toBeGreaterThan(2);
  });
});

describe('signing keys that are new at every start', () => {
  /** One start of an application with a key; returns the codes of its warnings. */
  async function start(dir: string, seed: Uint8Array): Promise<string[]> {
    const codes: string[] = [];
    const onEvent = (event: SpendEvent): void => {
      if (event.type === 'warning') codes.push(event.code);
    };
    const signingKeys = { privateKey: seed, publicKey: signerFromSeed(seed).publicKey };
    const guard = createSpendGuard({ policy: POLICY, ledger: fileLedger({ dir }), signingKeys, onEvent });
    for (const _ of range(2)) await guard.charge({ label: 'x', usd: '0.000000001' });
    await guard.close();
    return codes;
  }

  it('keep one valid chain, with a warning once from the fourth stranger on', async () => {
    const dir = temporaryFolder();
    const kept = newSeed();
    expect(await start(dir, kept)).toEqual([]);
    for (const _ of range(2)) expect(await start(dir, newSeed())).toEqual([]);
    expect(await start(dir, newSeed())).toEqual(['unstable_key']);
    expect(await start(dir, kept)).toEqual([]);
    expect((await check(dir, { keys: [keyIn(dir).signer.publicKey] })).verdict.integrity).toBe('valid');
  });
});
