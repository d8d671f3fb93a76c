import { describe, expect, it } from 'vitest';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { blockedError, type SpendGuard, type SpendScope } from '../../../src/index.ts';
import { agentguard, guardIn, newHome, POLICY, writeLog } from './run-cli.ts';

const REQUEST = {
  model: 'anthropic/claude-haiku-4-5',
  provider: 'openrouter',
  inputTokens: 1000,
  maxOutputTokens: 1000,
};

async function outcome(guard: SpendGuard, scope: SpendScope = {}, usd?: string): Promise<string> {
  try {
    if (usd !== undefined) await guard.charge({ label: 'x', usd, scope });
    else await (await guard.begin({ ...REQUEST, scope })).settle({ outcome: 'not_sent' });
    return 'passed';
  } catch (error) {
    return blockedError(error)?.reason ?? String(error);
  }
}

function verified(home: string, tenant: string): ReturnType<typeof agentguard> {
  return agentguard(['verify', join(home, tenant)]);
}

describe('agentguard freeze and unfreeze', () => {
  it('stop a scope in a process that is running, and let it go on', async () => {
    const home = await newHome();
    const env = { AGENTGUARD_HOME: home };
    const guard = guardIn(home, 'acme');
    const alice = { teamId: 'eng', userId: 'alice' };
    expect(await outcome(guard, alice)).toBe('passed');
    const inFlight = await guard.begin({ ...REQUEST, scope: alice });

    const run = await agentguard(['freeze', 'team=eng', '--reason', 'runaway loop', '--by', 'ops'], env);
    expect(run).toMatchObject({ code: 0, stderr: '' });
    expect(run.stdout).toMatch(/^Frozen: teamId eng, by receipt #\d+\./);
    expect(await outcome(guard, alice)).toBe('frozen');
    expect(await outcome(guard, alice, '0.01')).toBe('frozen');
    expect(await outcome(guard, { teamId: 'sales' })).toBe('passed');
    expect(await outcome(guard)).toBe('passed');
    // what is in flight goes on
    expect((await inFlight.settle({ outcome: 'not_sent' })).receipt).toBeDefined();

    expect(await agentguard(['freeze', 'team=eng'], env)).toMatchObject({ code: 1 });
    const wrong = await agentguard(['unfreeze', 'team=eng', 'user=alice'], env);
    expect(wrong).toMatchObject({ code: 1 });
    expect(wrong.stdout).toContain('not frozen. Nothing was written.\nStill frozen: teamId eng.');
    const json = await agentguard(['unfreeze', 'teamId=eng', '--json'], env);
    expect(json.code).toBe(0);
    expect(JSON.parse(json.stdout)).toMatchObject({
      scope: { teamId: 'eng' },
      frozen: false,
      changed: true,
      stillFrozen: [],
    });
    expect(await outcome(guard, alice)).toBe('passed');
    expect(await outcome(guard, alice)).toBe('passed');
    await agentguard(['freeze', 'user=alice'], env);
    expect(await outcome(guard, alice)).toBe('frozen');
    await guard.close();
    const shown = await agentguard(['verify', join(home, 'acme'), '--trace', 'latest']);
    expect(shown.code).toBe(0);
    expect(shown.stdout).toMatch(/why +its scope is frozen\n *frozen +userId alice/);
  });

  it('says what is wrong in the document that --json asks for', async () => {
    const env = { AGENTGUARD_HOME: await newHome() };
    const run = await agentguard(['freeze', 'nobody', '--json'], env);
    expect(run).toMatchObject({ code: 2, stderr: '' });
    expect(JSON.parse(run.stdout)).toEqual({
      exitCode: 2,
      error: expect.stringContaining('expected field=value') as string,
    });
  });

  it('"all" stops everything, also for a guard that opens the log later', async () => {
    const home = await newHome();
    await writeLog(home, 'acme');
    await agentguard(['freeze', 'all', '--log', 'acme'], { AGENTGUARD_HOME: home });
    const guard = guardIn(home, 'acme');
    const error = blockedError(await guard.begin(REQUEST).catch((reason: unknown) => reason));
    expect(error?.message).toContain('blocked (frozen)');
    await guard.close();
  });

  it.each([
    [['freeze'], /missing required argument 'scope'/],
    [['freeze', 'engineering'], /engineering: expected field=value, e\.g\. team=engineering/],
    [['freeze', 'group=x'], /group=x: expected field=value/],
    [['freeze', 'team='], /expected field=value/],
    [['freeze', 'team=a', 'teamId=b'], /named twice/],
    [['freeze', 'team=a'], /holds the logs of 2 tenants\. Name one:\n {2}.* freeze team=a --log .*acme/],
    [['freeze', 'tenant=nobody'], /no tenant of that name/],
    [['freeze', 'team=a', '--log', 'acme', '--tenant', 'x'], /unknown option '--tenant'/],
  ])('%j is told what to do', async (args, words) => {
    const home = await newHome();
    await writeLog(home, 'acme');
    await writeLog(home, 'globex');
    const run = await agentguard(args, { AGENTGUARD_HOME: home });
    expect(run).toMatchObject({ code: 2, stdout: '' });
    expect(run.stderr).toMatch(words);
  });
});

describe('agentguard grant', () => {
  it('raises one cap for a while, in a process that is running', async () => {
    const home = await newHome();
    const env = { AGENTGUARD_HOME: home };
    let ahead = 0;
    const caps = [{ ...POLICY.caps[0]!, window: 'total' as const, per: ['userId' as const] }];
    const guard = guardIn(home, 'acme', { policy: { ...POLICY, caps }, clock: () => ahead });
    const [alice, bob] = [{ userId: 'alice' }, { userId: 'bob' }];
    expect(await outcome(guard, alice, '0.80')).toBe('passed');
    expect(await outcome(guard, bob, '0.80')).toBe('passed');
    expect(await outcome(guard, alice, '0.50')).toBe('cap_spent');

    const args = ['grant', 'cli-test', '--cap', '0', '--usd', '0.30', '--for', '1h', '--scope', 'user=alice'];
    const run = await agentguard([...args, '--reason', 'release day'], env);
    expect(run).toMatchObject({ code: 0, stderr: '' });
    expect(run.stdout).toMatch(
      /^Granted: \$0\.30 on top of the \$1\.00 total cap of policy cli-test, for userId alice/,
    );
    expect(await outcome(guard, alice, '0.51')).toBe('cap_spent');
    expect(await outcome(guard, bob, '0.50')).toBe('cap_spent');
    expect(await outcome(guard, alice, '0.40')).toBe('passed');
    // and it ends
    ahead = 3_600_000;
    expect(await outcome(guard, alice, '0.01')).toBe('cap_spent');
    expect(await outcome(guard, bob, '0.20')).toBe('passed');
    await guard.close();
    expect(await verified(home, 'acme')).toMatchObject({ code: 0 });
  });

  it.each([
    [['grant', 'cli-test', '--cap', '0', '--usd', '1'], /Give either --for, e\.g\. --for 2h, or --until/],
    [
      ['grant', 'cli-test', '--cap', '9', '--usd', '1', '--for', '1h'],
      /has no cap 9\. Its caps:\n {2}--cap 0 {3}\$1\.00 per_day block/,
    ],
    [['grant', 'cli-test', '--cap', 'x', '--usd', '1', '--for', '1h'], /has no cap x\. Its caps:/],
    [['grant', 'nope', '--cap', '0', '--usd', '1', '--for', '1h'], /has no policy nope\. It has: cli-test\./],
    [
      ['grant', 'cli-test', '--cap', '0', '--usd', '-1', '--for', '1h'],
      /expected US dollars above 0|argument missing/,
    ],
    [
      ['grant', 'cli-test', '--cap', '0', '--usd', 'ten', '--for', '1h'],
      /expected US dollars above 0, got ten/,
    ],
    [
      ['grant', 'cli-test', '--cap', '0', '--usd', '1', '--for', 'soon'],
      /--for soon: expected a duration such as 30m/,
    ],
    [
      ['grant', 'cli-test', '--cap', '0', '--usd', '1', '--until', 'soon'],
      /until: expected a date such as .* got "soon"/,
    ],
    [['grant', 'cli-test', '--cap', '0', '--usd', '1', '--until', '2020-01-01'], /until lies in the past/],
    [['grant', 'cli-test', '--cap', '0', '--usd', '1', '--for', '400d'], /at most a year/],
    [['grant', 'cli-test', '--usd', '1', '--for', '1h'], /required option '--cap <index>' not specified/],
  ])('%j is told what to do', async (args, words) => {
    const home = await newHome();
    await writeLog(home, 'acme');
    const run = await agentguard(args, { AGENTGUARD_HOME: home });
    expect(run).toMatchObject({ code: 2, stdout: '' });
    expect(run.stderr).toMatch(words);
  });
});

describe('agentguard balances', () => {
  it('shows what is spent, held, granted and frozen, and writes nothing', async () => {
    const home = await newHome();
    const env = { AGENTGUARD_HOME: home };
    const total = { ...POLICY.caps[0]!, window: 'total' as const };
    const caps = [total, POLICY.caps[0]!, { ...total, per: ['userId' as const] }];
    const guard = guardIn(home, 'acme', { policy: { ...POLICY, caps } });
    await outcome(guard, { userId: 'alice' }, '0.25');
    await guard.begin({ ...REQUEST, scope: { userId: 'bob' } });
    await agentguard(['grant', 'cli-test', '--cap', '0', '--usd', '0.50', '--for', '2h'], env);
    const forAlice = ['--until', new Date(Date.now() + 86_400_000).toISOString(), '--scope', 'user=alice'];
    await agentguard(['grant', 'cli-test', '--cap', '2', '--usd', '7', ...forAlice], env);
    await agentguard(['freeze', 'team=sales'], env);
    await guard.close();
    const file = join(home, 'acme', 'decisions.ndjson');
    const before = await readFile(file);

    const all = await agentguard(['balances'], env);
    expect(all).toMatchObject({ code: 0, stderr: '' });
    expect(all.stdout).toMatch(/cli-test +0 +total block +\$0\.25 +\$0\.00625 +\$1\.00 \+ \$0\.50 +–/);
    expect(all.stdout).toMatch(/cli-test +1 +per_day block .*\$1\.00 +20\d\d-\d\d-\d\d 00:00 UTC/);
    expect(all.stdout).toContain('cap 2 of cli-test counts by userId: name one');
    expect(all.stdout).toMatch(
      /Granted: \$0\.50 on cap 0 of cli-test, for every scope of this log, until 20/,
    );
    expect(all.stdout).toMatch(/Granted: \$7\.00 on cap 2 of cli-test, for userId alice, until 20/);
    expect(all.stdout).toContain('Frozen: teamId sales, until "agentguard unfreeze" lifts it');

    const alice = await agentguard(['balances', 'user=alice', 'team=sales', '--json', '--log', 'acme'], env);
    const document = JSON.parse(alice.stdout) as { caps: object[]; grants: object[]; frozen: object[] };
    expect(document.caps).toMatchObject([
      {
        index: 0,
        spent: '0.25',
        held: '0.00625',
        amount: '1.00',
        granted: '0.50',
        frozen: { teamId: 'sales' },
      },
      { index: 1, amount: '1.00' },
      {
        index: 2,
        window: 'total',
        spent: '0.25',
        held: '0.00',
        granted: '7.00',
        grants: [{ amount: '7.00', scope: { userId: 'alice' }, until: forAlice[1] }],
      },
    ]);
    expect(document).toMatchObject({ grants: [{ cap: 0 }, { cap: 2 }], frozen: [{ teamId: 'sales' }] });
    const bob = await agentguard(['balances', 'user=bob', '--json'], env);
    expect((JSON.parse(bob.stdout) as typeof document).caps[2]).toEqual(
      expect.not.objectContaining({
        granted: expect.anything() as unknown,
        frozen: expect.anything() as unknown,
      }),
    );
    expect(await readFile(file)).toEqual(before);
  });

  it('shows the caps of a policy for one team, and says where none counts', async () => {
    const home = await newHome();
    const guard = guardIn(home, 'acme', { policy: { ...POLICY, scope: { teamId: 'eng' } } });
    await outcome(guard, {}, '0.25');
    await guard.close();
    const env = { AGENTGUARD_HOME: home };
    expect((await agentguard(['balances'], env)).stdout).toMatch(/cli-test +0 +per_day block +\$/);
    expect((await agentguard(['balances', 'team=sales'], env)).stdout).toContain('No cap counts for this');
    expect(await agentguard(['balances', 'nonsense'], env)).toMatchObject({ code: 2 });
  });
});
