import { chmodSync, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { AgentGuardBlockedError, AgentGuardError, blockedError } from '../src/errors.ts';
import type { SpendEvent } from '../src/events.ts';
import { createSpendGuard, type SpendGuard } from '../src/guard.ts';
import { memoryLedger } from '../src/ledgers/memory.ts';
import { fileLedger, type FileLedgerOptions } from '../src/node/file-ledger/index.ts';
import { KEY_FILE, LOG_FILE } from '../src/node/home.ts';
import type { SpendPolicy } from '../src/policy.ts';
import type { SpendRequest } from '../src/prepare.ts';
import { withSpendScope, type SpendScope } from '../src/scope.ts';
import {
  callOf,
  guardOn,
  ofType,
  policyOf,
  receiptsOf,
  refusal,
  settleAt,
  TOKEN_NANO,
  totalCap,
  verdictOn,
} from '../src/testing/conformance-kit.ts';
import { testGuard } from '../src/testing/test-guard.ts';
import { checkLog } from './node/file-ledger/check-log.ts';
import { faultyIo } from './node/file-ledger/faulty-io.ts';
import { temporaryFolder } from './node/temporary-folder.ts';

const CAP = policyOf([totalCap(10_000)]);

const open: SpendGuard[] = [];

afterEach(async () => {
  for (const guard of open.splice(0)) await refusal(guard.close());
});

function guardAt(dir: string, more: Partial<FileLedgerOptions> = {}): SpendGuard {
  const guard = guardOn(fileLedger({ dir, ...more }), CAP);
  open.push(guard);
  return guard;
}

/** What a call that was refused for the ledger's sake says. */
async function refusedBy(
  promise: Promise<unknown>,
): Promise<{ reason: string; code: string; message: string }> {
  const error = blockedError(await refusal(promise));
  const cause = error?.cause as AgentGuardError;
  expect(cause).toBeInstanceOf(AgentGuardError);
  expect(error?.message).toContain(cause.message);
  return { reason: error?.reason ?? '', code: cause.code, message: cause.message };
}

describe('an invalid policy', () => {
  const good = {
    id: 'p',
    scope: {},
    caps: [{ amountCents: 5000, window: 'per_day', action: 'block' }],
    version: 1,
    effectiveFrom: '2026-05-28T00:00:00Z',
  };
  const withCap = (change: object): unknown => ({
    ...good,
    caps: [good.caps[0], { ...good.caps[0], ...change }],
  });

  const table: [what: string, policy: unknown, field: string, expected: RegExp][] = [
    ['nothing', undefined, '(policy)', /expected an object, got undefined/],
    ['text', 'my-policy', '(policy)', /expected an object, got text; JSON.parse it first/],
    ['no id', { ...good, id: undefined }, 'id', /missing|expected string/],
    ['empty id', { ...good, id: '' }, 'id', /expected/],
    ['a number as id', { ...good, id: 7 }, 'id', /expected text of 1 to 128 characters, got 7/],
    ['half a character in the id', { ...good, id: 'a\ud800' }, 'id', /expected text without lone surrogates/],
    ['no scope', { ...good, scope: undefined }, 'scope', /missing; expected an object such as/],
    [
      'unknown scope field',
      { ...good, scope: { tenant: 'a' } },
      'scope.tenant',
      /unknown field; did you mean tenantId\?/,
    ],
    [
      'a number in the scope',
      { ...good, scope: { userId: 5 } },
      'scope.userId',
      /expected text of 1 to 128 characters, got 5/,
    ],
    ['no caps', { ...good, caps: undefined }, 'caps', /missing|expected Array/],
    [
      'caps as an object',
      { ...good, caps: {} },
      'caps',
      /expected a list of caps \(\[\] for none\), got an object/,
    ],
    ['too many caps', { ...good, caps: Array(33).fill(good.caps[0]) }, 'caps', /expected at most 32, got 33/],
    ['NaN amount', withCap({ amountCents: Number.NaN }), 'caps[1].amountCents', /expected US cents/],
    ['negative amount', withCap({ amountCents: -1 }), 'caps[1].amountCents', /at least 0.*got -1/],
    ['infinite amount', withCap({ amountCents: Infinity }), 'caps[1].amountCents', /expected US cents/],
    [
      'amount in words',
      withCap({ amountCents: 'fifty' }),
      'caps[1].amountCents',
      /expected US cents.*got "fifty"/,
    ],
    ['too fine an amount', withCap({ amountCents: 1e-8 }), 'caps[1].amountCents', /at most 7 decimal places/],
    ['an absurd amount', withCap({ amountCents: 1e300 }), 'caps[1].amountCents', /expected US cents/],
    [
      'amount as bigint',
      withCap({ amountCents: 5000n }),
      'caps[1].amountCents',
      /expected US cents.*got 5000n/,
    ],
    [
      'unknown window',
      withCap({ window: 'per_year' }),
      'caps[1].window',
      /expected one of "per_call", .*"total", got "per_year"/,
    ],
    [
      'unknown action',
      withCap({ action: 'warn' }),
      'caps[1].action',
      /expected one of "block", "downgrade", "ask", "shadow", "allow", got "warn"/,
    ],
    [
      'downgrade without target',
      withCap({ action: 'downgrade' }),
      'caps[1].downgradeTo',
      /missing; action "downgrade" needs the cheaper model/,
    ],
    [
      'block with a target',
      withCap({ downgradeTo: 'openai/gpt-5-nano' }),
      'caps[1].downgradeTo',
      /remove it, or set action to "downgrade"/,
    ],
    ['an empty ladder', withCap({ action: 'downgrade', downgradeTo: [] }), 'caps[1].downgradeTo', /expected/],
    [
      'per as text',
      withCap({ per: 'userId' }),
      'caps[1].per',
      /expected a list of scope fields, e\.g\. \["userId"\]/,
    ],
    ['unknown per', withCap({ per: ['user'] }), 'caps[1].per[0]', /expected one of "agentId", .*got "user"/],
    ['misspelt cap field', withCap({ amountCent: 1 }), 'caps[1].amountCent', /unknown field/],
    ['misspelt field', { ...good, effectiveform: 'x' }, 'effectiveform', /unknown field/],
    ['no version', { ...good, version: undefined }, 'version', /missing|expected number/],
    [
      'version as text',
      { ...good, version: '1' },
      'version',
      /expected a whole number of at least 0, got "1"/,
    ],
    ['fraction as version', { ...good, version: 1.5 }, 'version', /expected/],
    [
      'negative version',
      { ...good, version: -1 },
      'version',
      /expected a whole number of at least 0, got -1/,
    ],
    ['no date', { ...good, effectiveFrom: undefined }, 'effectiveFrom', /missing|expected string/],
    ['date in words', { ...good, effectiveFrom: 'tomorrow' }, 'effectiveFrom', /ISO 8601 instant/],
    [
      'a day that does not exist',
      { ...good, effectiveFrom: '2026-13-45T00:00:00Z' },
      'effectiveFrom',
      /ISO 8601/,
    ],
    [
      'a Date',
      { ...good, effectiveFrom: new Date(0) },
      'effectiveFrom',
      /expected text, got a Date; use date\.toISOString\(\)/,
    ],
    [
      'local time',
      { ...good, effectiveFrom: '2026-05-28T00:00:00' },
      'effectiveFrom',
      /add a time zone, e\.g\. Z/,
    ],
    [
      'bad zone',
      { ...good, timeZone: 'Mars/Olympus' },
      'timeZone',
      /IANA time zone such as "Europe\/Berlin"/,
    ],
    ['bad week', { ...good, weekStart: 'mon' }, 'weekStart', /expected one of "sunday", .*got "mon"/],
    ['bad mode', { ...good, mode: 'dry-run' }, 'mode', /expected "enforce" or "shadow", got "dry-run"/],
    ['zero limit', { ...good, maxOutputTokens: 0 }, 'maxOutputTokens', /expected/],
    [
      'bad clamp',
      { ...good, clampOutput: { minTokens: 0 } },
      'clampOutput.minTokens',
      /expected a whole number of at least 1, got 0/,
    ],
    [
      'bad price rule',
      { ...good, unknownPrice: 'ask' },
      'unknownPrice',
      /expected "block" or "allow", got "ask"/,
    ],
  ];

  it.each(table)('%s: names the field and says what was expected', (_, policy, field, expected) => {
    const ledger = memoryLedger();
    let error: unknown;
    try {
      createSpendGuard({ policy: policy as SpendPolicy, ledger });
    } catch (failure) {
      error = failure;
    }
    expect(error).toBeInstanceOf(AgentGuardError);
    const { code, message } = error as AgentGuardError;
    expect(code).toBe('invalid_policy');
    const line = message.split('\n').find((text) => text.startsWith(`  ${field}: `));
    expect(message).toContain(`  ${field}: `);
    expect(line).toMatch(expected);
  });

  it('names every bad field at once, and the policy', () => {
    const bad = withCap({ amountCents: -1, window: 'x' }) as SpendPolicy;
    const policy = { ...bad, version: 'v2' as unknown as number };
    expect(() => createSpendGuard({ policy, ledger: memoryLedger() })).toThrow(
      /policy "p" is not valid:\n.*amountCents.*\n.*window.*\n.*version/s,
    );
  });
});

it.each<[string, object, string]>([
  ['a policy in place of options', CAP, 'id: unknown option; a policy is passed as { policy }'],
  [
    'a typing error',
    { requireScopes: true },
    'requireScopes: unknown option; expected policy, scope, ledger',
  ],
  ['a list of required fields', { requireScope: ['userId'] }, 'requireScope: expected true or false'],
  ['a text for a flag', { enabled: 'no' }, 'enabled: expected true or false'],
  ['an event handler that is none', { onEvent: {} }, 'onEvent: expected a function'],
  ['a counter that is none', { countTokens: 'cl100k' }, 'countTokens: expected a function'],
])('an option of a guard is refused at once: %s', (_, given, message) => {
  const options = 'id' in given ? given : { policy: CAP, ledger: memoryLedger(), ...given };
  expect(() => createSpendGuard(options as never)).toThrow(message);
});

it('a Node without SQLite is told what the file ledger needs', () => {
  const lookUp = vi.spyOn(process, 'getBuiltinModule').mockReturnValue(undefined);
  expect(() => fileLedger({ dir: temporaryFolder() })).toThrow('needs Node.js 22.13 or newer');
  lookUp.mockRestore();
});

describe('a request that makes no sense', () => {
  it.each<[string, Partial<SpendRequest>, RegExp]>([
    ['negative input', { inputTokens: -1 }, /inputTokens: expected a whole number from 0 to \d+, got -1/],
    ['NaN input', { inputTokens: Number.NaN }, /inputTokens: .*got NaN/],
    ['fraction of an output token', { maxOutputTokens: 1.5 }, /maxOutputTokens: .*got 1\.5/],
    ['no answers', { choices: 0 }, /choices: expected a whole number from 1 to \d+, got 0/],
    [
      'a user id without end',
      { scope: { userId: 'x'.repeat(600) } },
      /scope\.userId: expected text of 1 to 128/,
    ],
    [
      'a number as user id',
      { scope: { userId: 42 } as unknown as SpendScope },
      /scope\.userId: expected text/,
    ],
    ['half a character', { scope: { userId: '\ud800' } }, /scope\.userId: expected text/],
    ['an empty user id', { scope: { userId: '' } }, /scope\.userId: expected text/],
  ])('%s: is refused by name and leaves no trace', async (_, change, message) => {
    const { guard, ledger, receipts } = testGuard({ policy: CAP });
    const error = (await refusal(guard.begin({ ...callOf(10), ...change }))) as AgentGuardError;
    expect(error).toBeInstanceOf(AgentGuardError);
    expect(error.code).toBe('invalid_config');
    expect(error.message).toMatch(message);
    expect(await receipts()).toEqual([]);
    await guard.begin(callOf(10));
    expect((await verdictOn(ledger)).integrity).toBe('valid');
  });

  it('checks the scope around a call, and that of a charge, as well', async () => {
    const { guard, ledger } = testGuard({ policy: CAP });
    const userId = 'x'.repeat(600);
    const inside = await refusal((async () => withSpendScope({ userId }, () => guard.begin(callOf(10))))());
    expect((inside as Error).message).toMatch(/userId: expected text of 1 to 128/);
    const charge = await refusal(guard.charge({ label: 'search', usd: 1, scope: { userId } }));
    expect((charge as Error).message).toMatch(/userId: expected text of 1 to 128/);
    await guard.begin(callOf(10));
    expect((await verdictOn(ledger)).integrity).toBe('valid');
  });

  it.each(['1e300', -1, 'free', Number.NaN, 1e-12])('a charge of %s dollars is refused', async (usd) => {
    const { guard, ledger } = testGuard({ policy: CAP });
    const error = (await refusal(guard.charge({ label: 'search', usd }))) as AgentGuardError;
    expect(error.code).toBe('invalid_config');
    expect(error.message).toMatch(/^charge\.usd: expected US dollars/);
    await guard.begin(callOf(10));
    expect((await verdictOn(ledger)).integrity).toBe('valid');
  });

  it('a model without a price is blocked, with what to do about it', async () => {
    const guard = createSpendGuard({ policy: CAP, ledger: memoryLedger() });
    const error = blockedError(await refusal(guard.begin({ model: 'nobody/knows', inputTokens: 1 })));
    expect(error).toBeInstanceOf(AgentGuardBlockedError);
    expect(error?.reason).toBe('unknown_price');
    expect(error?.message).toMatch(
      /The price of "nobody\/knows" is unknown: .*setCostOverride\("nobody\/knows"/,
    );
  });
});

describe('what a provider reports', () => {
  const cases: [string, unknown, unknown, bigint][] = [
    ['negative output', { inputTokens: 0, outputTokens: -5 }, undefined, 100n],
    ['NaN output', { inputTokens: 0, outputTokens: Number.NaN }, undefined, 100n],
    ['NaN input', { inputTokens: Number.NaN, outputTokens: 5 }, undefined, 100n],
    ['text', { inputTokens: '0', outputTokens: '5' }, undefined, 100n],
    ['an object', { inputTokens: 0, outputTokens: { total: 5 } }, undefined, 100n],
    ['an object without prototype', { inputTokens: 0, outputTokens: Object.create(null) }, undefined, 100n],
    ['no usage', undefined, undefined, 100n],
    ['nothing used', { inputTokens: 0, outputTokens: 0 }, 0, 100n],
    ['more reasoning than output', { inputTokens: 0, outputTokens: 5, reasoningTokens: 6 }, undefined, 100n],
    ['a negative cost', { inputTokens: 0, outputTokens: 5 }, -1, 5n],
    ['NaN cost', { inputTokens: 0, outputTokens: 5 }, Number.NaN, 5n],
    ['an absurd cost', { inputTokens: 0, outputTokens: 5 }, 1e300, 5n],
    ['a cost of zero that the tokens deny', { inputTokens: 0, outputTokens: 5 }, 0, 5n],
  ];

  it.each(cases)('%s: settles on what can be believed, never for nothing', async (_, usage, cost, tokens) => {
    const ledger = memoryLedger();
    const events: SpendEvent[] = [];
    const guard = guardOn(ledger, CAP, { onEvent: (event) => events.push(event) });
    const call = await guard.begin(callOf(100));
    const settled = await call.settle({ outcome: 'ok', usage: usage as object, cost });
    expect(settled.amount).toBe(tokens * TOKEN_NANO);
    expect(settled.receipt?.payload.type).toBe('settlement');
    expect(await guard.balances()).toMatchObject([{ spent: tokens * TOKEN_NANO, held: 0n }]);
    const warned = events.some((event) => event.type === 'warning' && event.code === 'usage_unknown');
    expect(warned).toBe(tokens === 100n);
    expect((await verdictOn(ledger)).integrity).toBe('valid');
  });
});

describe('a folder or key that can’t be used', () => {
  it('says what to do when the folder can’t be made', async () => {
    const file = join(temporaryFolder(), 'file');
    writeFileSync(file, 'not a folder');
    const refused = await refusedBy(guardAt(join(file, 'below')).begin(callOf(1)));
    expect(refused).toMatchObject({ reason: 'ledger_unavailable', code: 'ledger_unavailable' });
    expect(refused.message).toMatch(
      /can't open .*file\/below\/decisions\.ndjson: ENOTDIR.*Set AGENTGUARD_HOME/,
    );
    expect(readFileSync(file, 'utf8')).toBe('not a folder');
  });

  it.runIf(process.platform === 'linux')('says what to do where nothing can be written', async () => {
    const refused = await refusedBy(guardAt('/proc/agentguard').begin(callOf(1)));
    expect(refused).toMatchObject({ reason: 'ledger_unavailable', code: 'ledger_unavailable' });
    expect(refused.message).toMatch(/can't open \/proc\/agentguard\/decisions\.ndjson/);
  });

  it('refuses a key that others can read, and goes on once that is mended', async () => {
    const dir = temporaryFolder();
    const guard = guardAt(dir);
    await settleAt(await guard.begin(callOf(5)), 5);
    await guard.close();
    const key = join(dir, KEY_FILE);
    expect(statSync(key).mode & 0o777).toBe(0o600);
    const log = readFileSync(join(dir, LOG_FILE));
    for (const mode of [0o644, 0o640, 0o604]) {
      chmodSync(key, mode);
      const again = guardAt(dir);
      const refused = await refusedBy(again.begin(callOf(1)));
      expect(refused.code).toBe('key_unsafe');
      expect(refused.message).toMatch(/can be read by others \(mode 6[04][04]\); run: chmod 600 /);
      chmodSync(key, 0o600);
      await again.balances();
      await again.close();
      expect(readFileSync(join(dir, LOG_FILE)).equals(log)).toBe(true);
    }
    expect(await guardAt(dir).balances()).toMatchObject([{ spent: 5n * TOKEN_NANO, held: 0n }]);
  });

  it('refuses a damaged key and makes no new one', async () => {
    const dir = temporaryFolder();
    const key = join(dir, KEY_FILE);
    await guardAt(dir).begin(callOf(1));
    await open.pop()?.close();
    const text = readFileSync(key, 'utf8');
    writeFileSync(key, text.replace(/"d":"./, '"d":"_'));
    expect((await refusedBy(guardAt(dir).begin(callOf(1)))).message).toMatch(/is damaged|is not an Ed25519/);
    expect(readFileSync(key, 'utf8')).toContain('"d":"_');
  });

  it('blocks while the disk is full, keeps what was acknowledged, and goes on afterwards', async () => {
    const dir = temporaryFolder();
    const io = faultyIo();
    const guard = guardAt(dir, { io });
    const call = await guard.begin(callOf(100));
    for (let write = 1; write <= 20; write++)
      io.failWrites.set(io.writes + write, { code: 'ENOSPC', afterBytes: 50 });
    const refused = await refusedBy(guard.begin(callOf(1)));
    expect(refused.code).toBe('ledger_unavailable');
    expect(refused.message).toMatch(/ENOSPC.*Free some space; nothing that was acknowledged is lost/);
    io.failWrites.clear();
    await settleAt(call, 10);
    await settleAt(await guard.begin(callOf(1)), 1);
    expect(await guard.balances()).toMatchObject([{ spent: 11n * TOKEN_NANO, held: 0n }]);
    await guard.close();
    expect((await checkLog(dir)).verdict.integrity).toBe('valid');
    expect(existsSync(join(dir, 'quarantine'))).toBe(false);
  });
});

describe('a log that was changed', () => {
  it('is refused with line and reason, in a guard and at once', async () => {
    const dir = temporaryFolder();
    const guard = guardAt(dir);
    for (const tokens of [5, 6, 7]) await settleAt(await guard.begin(callOf(tokens)), tokens);
    await guard.close();
    const path = join(dir, LOG_FILE);
    const changed = readFileSync(path, 'utf8').replace('"amount":"6000"', '"amount":"1000"');
    writeFileSync(path, changed);
    const refused = await refusedBy(guardAt(dir).begin(callOf(1)));
    expect(refused.code).toBe('log_damaged');
    expect(refused.message).toMatch(
      /^line 7 of .*decisions\.ndjson was changed: .*\. The file is left as it is\. Run "agentguard verify /,
    );
    expect(readFileSync(path, 'utf8')).toBe(changed);
  });

  it('is not written to when it was cut or replaced under a running process', async () => {
    const dir = temporaryFolder();
    const guard = guardAt(dir);
    await settleAt(await guard.begin(callOf(5)), 5);
    const path = join(dir, LOG_FILE);
    const cut = readFileSync(path).subarray(0, -100);
    writeFileSync(path, cut);
    const refused = await refusedBy(guard.begin(callOf(1)));
    expect(refused.code).toBe('log_replaced');
    expect(refused.message).toMatch(/was cut or replaced while this process was using it/);
    expect(readFileSync(path).equals(cut)).toBe(true);
  });
});

describe('a clock that is wrong', () => {
  const NOON = Date.parse('2026-06-01T12:00:00Z');

  it('went back a little: receipts keep their order and say by how much', async () => {
    const { guard, clock, receipts, ledger } = testGuard({ policy: CAP, now: NOON });
    await guard.begin(callOf(1));
    clock.advance(-60_000);
    await guard.begin(callOf(1));
    const last = (await receipts()).at(-1)?.payload;
    expect(last).toMatchObject({
      issued_at: '2026-06-01T12:00:00.000Z',
      clock_back_ms: 60_000,
      decision: 'allow',
    });
    expect((await verdictOn(ledger)).integrity).toBe('valid');
  });

  it('went back a lot: calls are blocked until it is right again, what was spent stays', async () => {
    const { guard, clock, ledger } = testGuard({ policy: CAP, now: NOON });
    await settleAt(await guard.begin(callOf(7)), 7);
    clock.set('2026-05-30T12:00:00Z');
    const error = blockedError(await refusal(guard.begin(callOf(1))));
    expect(error?.reason).toBe('clock');
    expect(error?.message).toMatch(
      /2026-06-01T12:00:00.000Z, which lies in this machine's future.*Correct the clock/,
    );
    clock.set('2026-06-01T12:00:05Z');
    await settleAt(await guard.begin(callOf(1)), 1);
    const tokens = (await guard.balances())[0]?.spent;
    expect(tokens).toBe(16_000n);
    expect((await verdictOn(ledger)).integrity).toBe('valid');
  });

  it('jumped ahead: open holds count in full, and back at the right time nothing passes unseen', async () => {
    const policy = policyOf([totalCap(10_000, { window: 'per_day' }), totalCap(10_000)]);
    const ledgerClock = { now: NOON };
    const ledger = memoryLedger({ now: () => ledgerClock.now });
    const guard = guardOn(ledger, policy);
    const call = await guard.begin(callOf(100));
    ledgerClock.now += 365 * 86_400_000;
    await settleAt(await guard.begin(callOf(3)), 3);
    await settleAt(call, 10);
    const receipts = await receiptsOf(ledger);
    expect(ofType(receipts, 'settlement').map(({ outcome, cost }) => [outcome, cost.amount])).toEqual([
      ['expired', (100n * TOKEN_NANO).toString()],
      ['ok', (3n * TOKEN_NANO).toString()],
    ]);
    expect(ofType(receipts, 'adjustment').length).toBe(1);
    ledgerClock.now = NOON + 60_000;
    expect(blockedError(await refusal(guard.begin(callOf(1))))?.reason).toBe('clock');
    const total = (await guard.balances()).find(({ window }) => window === 'total');
    expect(total).toMatchObject({ spent: 13n * TOKEN_NANO, held: 0n });
    expect((await verdictOn(ledger)).integrity).toBe('valid');
  });
});
