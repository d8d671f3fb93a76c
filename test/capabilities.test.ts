/** Signed capabilities: what counts, every attack that must not, and that the token is written down nowhere. */
import { inspect } from 'node:util';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createHash } from 'node:crypto';
import { exportJWK, generateKeyPair, SignJWT, UnsecuredJWT } from 'jose';
import { generateText } from 'ai';
import { describe, expect, it } from 'vitest';
import { spendOptions } from '../middleware/ai-sdk.ts';
import { capabilityVerifier, type CapabilityKey } from '../src/capabilities.ts';
import {
  blockedError,
  createSpendGuard,
  withSpendScope,
  type SpendEvent,
  type SpendGuard,
  type SpendPolicy,
  type SpendRequest,
} from '../src/index.ts';
import { fileLedger } from '../src/node/file-ledger/index.ts';
import { receiptsOf } from '../src/testing/conformance-kit.ts';
import { openDesk } from './middleware/ai-sdk-kit.ts';
import { expectRecomputed } from './recompute.ts';
import { otherProcess } from './node/other-process.ts';
import { temporaryFolder } from './node/temporary-folder.ts';

const ISSUER = 'https://issuer.example';
const AUDIENCE = 'acme';
const MODEL = 'anthropic/claude-haiku-4-5';

const { privateKey, publicKey } = await generateKeyPair('Ed25519', { extractable: true });
const jwk = (await exportJWK(publicKey)) as CapabilityKey;
const VERIFIER = {
  issuer: ISSUER,
  audience: AUDIENCE,
  jwks: { keys: [{ kty: jwk.kty, crv: jwk.crv, x: jwk.x }] },
};

const POLICY: SpendPolicy = {
  id: 'payments',
  scope: {},
  caps: [{ amountCents: 10_000, window: 'total', action: 'block' }],
  rules: [
    { when: { task: 'pay' }, requires: 'payment_execute', signed: true },
    { when: { task: 'deploy' }, requires: ['repo:write', 'read_only'] },
  ],
  version: 1,
  effectiveFrom: '2026-01-01T00:00:00Z',
};

const seconds = (): number => Math.floor(Date.now() / 1000);
let tokens = 0;

interface Minted {
  claims?: Record<string, unknown>;
  header?: Record<string, unknown>;
  /** Seconds from now. */
  issued?: number;
  expires?: number;
}

function mint({ claims = {}, header = {}, issued = 0, expires = 600 }: Minted = {}): SignJWT {
  return new SignJWT({
    iss: ISSUER,
    aud: AUDIENCE,
    jti: `jti-${(tokens += 1)}`,
    caps: ['payment_execute'],
    iat: seconds() + issued,
    exp: seconds() + expires,
    ...claims,
  }).setProtectedHeader({ alg: 'Ed25519', typ: 'agentguard-cap+jwt', ...header });
}

interface Bench {
  dir: string;
  guard: SpendGuard;
  events: SpendEvent[];
}

function openGuard(dir: string = temporaryFolder()): Bench {
  const events: SpendEvent[] = [];
  const guard = createSpendGuard({
    policy: POLICY,
    ledger: fileLedger({ dir, durability: 'os' }),
    capabilities: capabilityVerifier(VERIFIER),
    onEvent: (event) => events.push(event),
    waitForHoldsMs: 0,
  });
  return { dir, guard, events };
}

function request(token: string | undefined, more: Partial<SpendRequest> = {}): SpendRequest {
  return {
    model: MODEL,
    provider: 'openrouter',
    inputTokens: 100,
    maxOutputTokens: 100,
    scope: { task: 'pay' },
    ...(token !== undefined && { capability: token }),
    ...more,
  };
}

/** Everything that was written or said, as one text. */
function traces({ dir, events }: Bench, error: unknown): string {
  const files = readdirSync(dir, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const texts = files.map(({ parentPath, name }) => readFileSync(join(parentPath, name), 'latin1'));
  return [
    ...texts,
    inspect(events, { depth: 20 }),
    inspect(error, { depth: 20 }),
    JSON.stringify(error),
  ].join();
}

/** The parts of a token that give it away; the header is the same for all. */
function expectUntraced(bench: Bench, token: string, error?: unknown): void {
  const text = traces(bench, error);
  for (const part of token.split('.').slice(1)) if (part !== '') expect(text).not.toContain(part);
  expect(text).not.toContain(token);
  expect(text).toContain(createHash('sha256').update(token).digest('hex'));
}

async function refused(bench: Bench, token: string, more: Partial<SpendRequest> = {}): Promise<string> {
  const error: unknown = await bench.guard.begin(request(token, more)).catch((reason: unknown) => reason);
  await bench.guard.flush();
  expectUntraced(bench, token, error);
  return `${blockedError(error)?.reason} ${blockedError(error)?.message}`;
}

describe('a signed capability that counts', () => {
  it('lets the call pass; the receipt has issuer, jti and the token’s hash', async () => {
    const bench = openGuard();
    const token = await mint({ claims: { jti: 'one', max: '0.50' } }).sign(privateKey);
    const call = await bench.guard.begin(request(token));
    await call.settle({ outcome: 'ok', usage: { inputTokens: 1, outputTokens: 1 } });
    expect(call.receipt?.payload).toMatchObject({
      request: {
        capabilities: [
          {
            iss: ISSUER,
            jti: 'one',
            sha256: createHash('sha256').update(token).digest('hex'),
            caps: ['payment_execute'],
            max: '500000000',
          },
        ],
      },
    });
    await bench.guard.close();
    expectUntraced(bench, token);
  });

  it.each([
    ['nbf and exp within the skew', { claims: { nbf: seconds() + 3 } }],
    ['a minute old', { issued: -60 }],
    ['several audiences', { claims: { aud: ['other', AUDIENCE] } }],
    ['the tier by its other spelling', { claims: { caps: ['payment-execute'] } }],
    ['the agent that calls', { claims: { sub: 'payer' } }],
  ])('%s', async (_what, minted) => {
    const { guard } = openGuard();
    const token = await mint(minted).sign(privateKey);
    await guard.begin(request(token, { scope: { task: 'pay', agentId: 'payer' } }));
    await guard.close();
  });

  it('is of the same use as a plain claim where a rule doesn’t ask for a signed one', async () => {
    const { guard } = openGuard();
    const scope = { task: 'deploy' };
    const token = await mint({ claims: { caps: ['repo:write', 'data_write'] } }).sign(privateKey);
    await guard.begin(request(token, { scope }));
    await guard.begin(request(undefined, { scope, claims: ['repo:write', 'read-only'] }));
    await withSpendScope(
      scope,
      () => guard.begin(request(undefined, { scope: {}, claims: ['repo:write'] })),
      {
        claims: ['payment_initiate'],
      },
    );
    for (const claims of [
      [],
      ['repo:write'],
      ['repo:writer', 'payment_execute'],
      ['Repo:write', 'read_only'],
    ]) {
      const error: unknown = await guard
        .begin(request(undefined, { scope, claims }))
        .catch((e: unknown) => e);
      expect(blockedError(error)?.reason).toBe('capability_missing');
    }
    await guard.close();
  });
});

describe('a token by other ways', () => {
  it('of the code around the call: for the first call in it', async () => {
    const { guard } = openGuard();
    const token = await mint().sign(privateKey);
    const both = await withSpendScope(
      { task: 'pay' },
      () => Promise.allSettled([1, 2].map(() => guard.begin(request(undefined, { scope: {} })))),
      { capability: token },
    );
    expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    await guard.close();
  });

  it('of an AI SDK call: it is in no request', async () => {
    const policy = { ...POLICY, rules: [{ requires: 'payment_execute', signed: true }] };
    await using desk = await openDesk(policy, {}, { capabilities: capabilityVerifier(VERIFIER) });
    const token = await mint().sign(privateKey);
    const ask = () =>
      generateText({
        model: desk.model(MODEL),
        prompt: 'x',
        maxOutputTokens: 9,
        maxRetries: 0,
        providerOptions: spendOptions({ capability: token }),
      });
    await ask();
    const error: unknown = await ask().catch((reason: unknown) => reason);
    expect(blockedError(error)?.reason).toBe('capability_invalid');
    expect(desk.bodies()).toHaveLength(1);
    const seen =
      inspect([desk.sim.requests, desk.events, error], { depth: 20 }) +
      (await desk.log()).map(({ line }) => line).join();
    expect(seen).not.toContain(token.split('.')[1]);
  });
});

describe('attacks', () => {
  it('no signature: alg none', async () => {
    const bench = openGuard();
    const claims = { aud: AUDIENCE, iss: ISSUER, jti: 'none', caps: ['payment_execute'] };
    const unsecured = new UnsecuredJWT(claims).setIssuedAt().setExpirationTime('10m').encode();
    expect(await refused(bench, unsecured)).toMatch(/^capability_invalid/);
    const [, body] = (await mint().sign(privateKey)).split('.');
    const header = Buffer.from('{"alg":"none","typ":"agentguard-cap+jwt"}').toString('base64url');
    expect(await refused(bench, `${header}.${body}.`)).toMatch(/^capability_invalid/);
  });

  it('HS256 with the public key as the secret', async () => {
    const bench = openGuard();
    for (const secret of [
      Buffer.from(jwk.x, 'base64url'),
      Buffer.from(jwk.x),
      Buffer.from(JSON.stringify(jwk)),
    ]) {
      const token = await mint({ header: { alg: 'HS256' } }).sign(secret);
      expect(await refused(bench, token)).toMatch(/^capability_invalid .*algorithm is not Ed25519/);
    }
  });

  it('a key of its own, also one that the token brings along', async () => {
    const bench = openGuard();
    const other = await generateKeyPair('Ed25519', { extractable: true });
    const theirs = await exportJWK(other.publicKey);
    for (const header of [{}, { jwk: theirs }, { kid: 'other' }, { jku: 'https://evil.example/jwks' }]) {
      const token = await mint({ header }).sign(other.privateKey);
      expect(await refused(bench, token)).toMatch(/^capability_invalid/);
    }
  });

  it.each<[string, Minted, RegExp]>([
    ['wrong issuer', { claims: { iss: 'https://issuer.example.evil' } }, /issuer is wrong/],
    ['no issuer', { claims: { iss: undefined } }, /has no iss/],
    ['wrong audience', { claims: { aud: 'globex' } }, /audience is wrong/],
    ['no audience', { claims: { aud: undefined } }, /has no aud/],
    ['wrong type', { header: { typ: 'JWT' } }, /type is wrong/],
    ['no type', { header: { typ: undefined } }, /type is wrong|has no typ/],
    ['expired', { issued: -700, expires: -6 }, /has expired/],
    ['not yet valid by nbf', { claims: { nbf: seconds() + 60 } }, /not valid yet/],
    ['not yet valid by iat', { issued: 60, expires: 120 }, /not valid yet/],
    ['a long life', { expires: 901 }, /more than 15 minutes/],
    ['a long life that began long ago', { issued: -3000, expires: 60 }, /more than 15 minutes/],
    ['no end', { claims: { exp: undefined } }, /has no exp/],
    ['no beginning', { claims: { iat: undefined } }, /has no iat/],
    ['no jti', { claims: { jti: undefined } }, /has no jti/],
    ['a jti that is a number', { claims: { jti: 7 } }, /jti is not a text|content is wrong/],
    ['no caps', { claims: { caps: undefined } }, /has no caps/],
    ['caps in one text', { claims: { caps: 'payment_execute' } }, /caps are not a list/],
    ['a maximum that is a float', { claims: { max: 0.1 } }, /max is not a decimal/],
    ['a maximum below zero', { claims: { max: '-1' } }, /max is not a decimal/],
    ['another agent’s', { claims: { sub: 'someone-else' } }, /given to another agent/],
  ])('%s', async (_what, minted, words) => {
    const bench = openGuard();
    const token = await mint(minted).sign(privateKey);
    const text = await refused(bench, token, { scope: { task: 'pay', agentId: 'payer' } });
    expect(text).toMatch(/^capability_invalid/);
    expect(text).toMatch(words);
  });

  it('a changed body', async () => {
    const bench = openGuard();
    const [header, , signature] = (await mint({ claims: { caps: ['read_only'] } }).sign(privateKey)).split(
      '.',
    );
    const [, body] = (await mint().sign(privateKey)).split('.');
    expect(await refused(bench, `${header}.${body}.${signature}`)).toMatch(/signature is wrong/);
  });

  it.each(['x', 'a.b.c', '..', 'x'.repeat(9000), '\u0000', '{"alg":"none"}'])(
    'no token at all: %j',
    async (token) => {
      const { guard } = openGuard();
      const error: unknown = await guard.begin(request(token)).catch((reason: unknown) => reason);
      expect(blockedError(error)?.reason).toBe('capability_invalid');
      await guard.close();
    },
  );

  it('replayed: used by an earlier call, whatever that came to', async () => {
    const bench = openGuard();
    const token = await mint().sign(privateKey);
    const call = await bench.guard.begin(request(token));
    expect(await refused(bench, token)).toMatch(/used by another call/);
    await call.settle({ outcome: 'not_sent' });
    expect(await refused(bench, token)).toMatch(/used by another call/);
    // another token with the same jti is the same capability
    const again = await mint({ claims: { jti: `jti-${tokens}` } }).sign(privateKey);
    expect(await refused(bench, again)).toMatch(/used by another call/);
  });

  it('replayed: presented by many calls at once, one passes', async () => {
    const { guard } = openGuard();
    const token = await mint().sign(privateKey);
    const all = await Promise.allSettled(Array.from({ length: 50 }, () => guard.begin(request(token))));
    expect(all.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    await guard.close();
  });

  it('replayed: after a restart, from a snapshot and from the whole log', async () => {
    const dir = temporaryFolder();
    const first = openGuard(dir);
    const token = await mint().sign(privateKey);
    await first.guard.begin(request(token));
    // closing writes a snapshot
    await first.guard.close();
    const second = openGuard(dir);
    expect(await refused(second, token)).toMatch(/used by another call/);
    await second.guard.close();
    const other = temporaryFolder();
    const log = readFileSync(join(dir, 'decisions.ndjson'), 'utf8');
    const { cpSync, rmSync } = await import('node:fs');
    cpSync(dir, other, { recursive: true });
    for (const name of readdirSync(other))
      if (/snapshot/.test(name)) rmSync(join(other, name), { recursive: true });
    expect(log).toContain('"type":"snapshot"');
    const third = openGuard(other);
    expect(await refused(third, token)).toMatch(/used by another call/);
    await third.guard.close();
  });

  it('replayed: from a second process, while the first is running', async () => {
    const bench = openGuard();
    const token = await mint().sign(privateKey);
    const fresh = await mint().sign(privateKey);
    const there = await otherProcess({ dir: bench.dir, policy: POLICY, capabilities: VERIFIER });
    await bench.guard.begin(request(token));
    const answer = await there({ begin: request(token) });
    expect(answer.blocked).toBe('capability_invalid');
    expect(answer.text).not.toContain(token.split('.')[1]);
    expect(await there({ begin: request(fresh) })).toMatchObject({ done: true });
    expect(await refused(bench, fresh)).toMatch(/used by another call/);
    await bench.guard.close();
  });

  it('replayed: after its end, by a host whose clock is late', async () => {
    let now = Date.now();
    const dir = temporaryFolder();
    const ledger = fileLedger({ dir, durability: 'os', now: () => now });
    const guard = createSpendGuard({ policy: POLICY, ledger, capabilities: capabilityVerifier(VERIFIER) });
    const token = await mint({ expires: 60 }).sign(privateKey);
    // The ledger is ahead of this host; what has expired by its time is over, and may be forgotten there.
    now += 120_000;
    const error: unknown = await guard.begin(request(token)).catch((reason: unknown) => reason);
    expect(blockedError(error)?.message).toContain('has expired');
    await guard.close();
  });

  it('more than it allows: a lower tier, another name, a dearer call', async () => {
    const bench = openGuard();
    for (const caps of [[], ['payment_initiate'], ['payment_executes'], ['PAYMENT_EXECUTE'], ['*']]) {
      const minted = await mint({ claims: { caps } }).sign(privateKey);
      expect(await refused(bench, minted)).toMatch(/^capability_(missing|invalid)/);
    }
    // 100 tokens in at $1.25 (a cache write), 100 out at $5 per million
    const exact = await mint({ claims: { max: '0.000625' } }).sign(privateKey);
    await bench.guard.begin(request(exact));
    const short = await mint({ claims: { max: '0.000624999' } }).sign(privateKey);
    expect(await refused(bench, short)).toMatch(/^capability_exceeded/);
    const unlimited = request(short);
    delete unlimited.maxOutputTokens;
    const error: unknown = await bench.guard.begin(unlimited).catch((reason: unknown) => reason);
    expect(blockedError(error)?.reason).toBe('capability_exceeded');
  });

  it('a plain claim in place of a signed one', async () => {
    const { guard } = openGuard();
    const error: unknown = await guard
      .begin(request(undefined, { claims: ['payment_execute'] }))
      .catch((reason: unknown) => reason);
    expect(blockedError(error)?.message).toContain('requires the signed capability payment_execute');
    await guard.close();
  });

  it('a token for a guard that can’t verify it', async () => {
    const guard = createSpendGuard({ policy: POLICY, ledger: fileLedger({ dir: temporaryFolder() }) });
    const error: unknown = await guard
      .begin(request(await mint().sign(privateKey)))
      .catch((reason: unknown) => reason);
    expect(blockedError(error)?.message).toContain('no verifier');
    await guard.close();
  });

  it('a bad token next to a good one', async () => {
    const bench = openGuard();
    const good = await mint().sign(privateKey);
    const bad = await mint({ expires: -6, issued: -60 }).sign(privateKey);
    const both = request(undefined, { capability: [good, bad] });
    const error: unknown = await bench.guard.begin(both).catch((reason: unknown) => reason);
    expect(blockedError(error)?.reason).toBe('capability_invalid');
    // a call that was refused has used nothing
    await bench.guard.begin(request(good));
    await bench.guard.close();
  });
});

describe('the verifier', () => {
  it.each<[string, unknown, string]>([
    ['no issuer', { ...VERIFIER, issuer: '' }, 'issuer: expected'],
    ['no audience', { ...VERIFIER, audience: undefined }, 'audience: expected'],
    ['no keys', { ...VERIFIER, jwks: { keys: [] } }, 'at least one key'],
    [
      'a key of another kind',
      { ...VERIFIER, jwks: { keys: [{ kty: 'EC', crv: 'P-256', x: 'x' }] } },
      'jwks.keys[0]',
    ],
    ['a private key', { ...VERIFIER, jwks: { keys: [{ ...jwk, d: 'secret' }] } }, 'this is a private key'],
    ['two keys without names', { ...VERIFIER, jwks: { keys: [jwk, jwk] } }, 'several keys need a kid'],
    ['nothing', undefined, 'issuer: expected'],
  ])('refuses %s', (_what, options, words) => {
    expect(() => capabilityVerifier(options as never)).toThrow(words);
  });

  it('takes the key that the token names', async () => {
    const second = await generateKeyPair('Ed25519', { extractable: true });
    const other = (await exportJWK(second.publicKey)) as CapabilityKey;
    const keys = [
      { ...jwk, kid: 'a' },
      { ...other, kid: 'b' },
    ];
    const verifier = capabilityVerifier({ ...VERIFIER, jwks: { keys } });
    const named = (kid: string) => mint({ header: { kid } });
    expect(await verifier.verify(await named('b').sign(second.privateKey), Date.now())).toHaveProperty('jti');
    expect(await verifier.verify(await named('a').sign(second.privateKey), Date.now())).toHaveProperty(
      'problem',
    );
    expect(await verifier.verify(await named('c').sign(second.privateKey), Date.now())).toHaveProperty(
      'problem',
    );
  });
});

it('leaves a log that verifies, with each decision’s facts', async () => {
  const ledger = fileLedger({ dir: temporaryFolder(), durability: 'os' });
  const guard = createSpendGuard({ policy: POLICY, ledger, capabilities: capabilityVerifier(VERIFIER) });
  const token = await mint({ claims: { caps: ['payment_execute', 'repo:write', 'other'] } }).sign(privateKey);
  await guard.begin(request(token));
  await guard.begin(request(token)).catch(() => undefined);
  const decisions = (await receiptsOf(ledger)).flatMap(({ payload }) =>
    payload.type === 'decision' ? [payload] : [],
  );
  // Names that no rule asks for are not kept.
  expect(decisions[0]?.request.capabilities?.[0]?.caps).toEqual(['payment_execute', 'repo:write']);
  expect(decisions[1]?.request.capabilities?.[0]).toMatchObject({ replayed: true });
  expect(expectRecomputed(await receiptsOf(ledger))).toBe(2);
  await guard.close();
});
