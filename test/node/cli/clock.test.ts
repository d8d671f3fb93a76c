import { readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { agentguard, guardIn, newHome, POLICY, writeLog } from './run-cli.ts';

const DAY = 86_400_000;
const MINUTE = 60_000;

const REQUEST = {
  model: 'anthropic/claude-haiku-4-5',
  provider: 'openrouter',
  inputTokens: 1000,
  maxOutputTokens: 1000,
};

/** A log that was written three days ahead: one call settled at nearly the whole minute cap, one left open. */
async function logFromTheFuture(home: string): Promise<string> {
  const guard = guardIn(home, 'acme', { clock: () => 3 * DAY });
  const call = await guard.begin(REQUEST);
  await call.settle({ outcome: 'ok', cost: 0.98, usage: { inputTokens: 1, outputTokens: 1 } });
  await guard.begin(REQUEST);
  await guard.close();
  return join(home, 'acme', 'decisions.ndjson');
}

async function payloads(log: string): Promise<Record<string, unknown>[]> {
  const lines = (await readFile(log, 'utf8')).split('\n').slice(0, -1);
  return lines.map((line) => (JSON.parse(line) as { payload: Record<string, unknown> }).payload);
}

describe('agentguard clock', () => {
  it('finds nothing to accept on an ordinary log', async () => {
    const home = await newHome();
    const log = await writeLog(home, 'acme');
    const before = await readFile(log, 'utf8');
    for (const args of [[], ['--accept']]) {
      const run = await agentguard(['clock', log, ...args]);
      expect(run).toMatchObject({ code: 0, stderr: '' });
      expect(run.stdout).toContain('nothing to accept');
    }
    expect(await readFile(log, 'utf8')).toBe(before);
  });

  it('lets a log go on whose head lies in the future, also for a guard that is running', async () => {
    const home = await newHome();
    const log = await logFromTheFuture(home);
    const guard = guardIn(home, 'acme');
    await expect(guard.begin(REQUEST)).rejects.toMatchObject({
      reason: 'clock',
      message: expect.stringContaining('agentguard clock') as string,
    });

    const shown = await agentguard(['clock', log]);
    expect(shown.code).toBe(1);
    expect(shown.stdout).toContain('2 days 23 hours in this machine’s future');
    expect(shown.stdout).toContain('--accept');
    expect(shown.stdout).toContain('Accepting appends one signed receipt and changes none.');
    const accepted = await agentguard(['clock', log, '--accept']);
    expect(accepted).toMatchObject({ code: 0, stderr: '' });
    expect(accepted.stdout).toContain('Accepted');
    expect((await agentguard(['clock', log])).code).toBe(0);

    const small = await guard.begin({ ...REQUEST, maxOutputTokens: 1 });
    await small.settle({ outcome: 'ok', cost: 0.000001, usage: { inputTokens: 1, outputTokens: 1 } });
    await guard.close();
    expect(await agentguard(['verify', log])).toMatchObject({ code: 0 });

    const all = await payloads(log);
    const clock = all.find(({ type }) => type === 'clock') as Record<string, string>;
    expect(Date.parse(clock['from'] as string) - Date.parse(clock['to'] as string)).toBeGreaterThan(2 * DAY);
    const last = all.at(-1) as Record<string, string>;
    expect(Math.abs(Date.parse(last['issued_at'] as string) - Date.now())).toBeLessThan(MINUTE);
  });

  it('moves leases and rolling windows with the clock, so that neither outlives the error', async () => {
    const home = await newHome();
    const log = await logFromTheFuture(home);
    expect(await agentguard(['clock', log, '--accept'])).toMatchObject({ code: 0 });
    let ahead = 0;
    const guard = guardIn(home, 'acme', { clock: () => ahead });
    // what was spent in the last minute of the wrong time counts for a minute of the right one
    await expect(guard.begin({ ...REQUEST, maxOutputTokens: 4000 })).rejects.toMatchObject({
      cap: { window: 'per_minute' },
    });
    ahead = 2 * MINUTE;
    const call = await guard.begin({ ...REQUEST, maxOutputTokens: 4000 });
    await call.settle({ outcome: 'not_sent' });
    expect((await payloads(log)).some(({ outcome }) => outcome === 'expired')).toBe(false);
    ahead = 16 * MINUTE;
    await (await guard.begin(REQUEST)).settle({ outcome: 'not_sent' });
    expect((await payloads(log)).filter(({ outcome }) => outcome === 'expired')).toHaveLength(1);
    for (const { held } of await guard.balances()) expect(held).toBe(0n);
    await guard.close();
    expect(await agentguard(['verify', log])).toMatchObject({ code: 0 });
  });

  it('keeps what was spent today before the clock went wrong', async () => {
    const home = await newHome();
    const policy = { ...POLICY, caps: POLICY.caps.slice(0, 1) };
    const log = await writeLog(home, 'acme');
    await logFromTheFuture(home);
    await agentguard(['clock', log, '--accept']);
    const guard = guardIn(home, 'acme', { policy });
    // two calls, and the hold of the third, whose lease ran out while the clock was ahead
    expect((await guard.balances())[0]?.spent).toBe(11_750_000n);
    await guard.close();
  });

  it('still knows what was spent today after hundreds of receipts at the wrong time', async () => {
    const home = await newHome();
    const policy = { ...POLICY, caps: POLICY.caps.slice(0, 1) };
    const today = guardIn(home, 'acme', { policy });
    await today.charge({ label: 'search', usd: '0.90' });
    await today.close();
    const ahead = guardIn(home, 'acme', { policy, clock: () => 3 * DAY });
    for (let n = 0; n < 300; n += 1) await ahead.charge({ label: 'search', usd: '0.001' });
    await ahead.close();
    const log = join(home, 'acme', 'decisions.ndjson');
    expect(await agentguard(['clock', log, '--accept'])).toMatchObject({ code: 0 });

    const guard = guardIn(home, 'acme', { policy });
    expect((await guard.balances())[0]?.spent).toBe(900_000_000n);
    await expect(guard.charge({ label: 'search', usd: '0.11' })).rejects.toMatchObject({
      reason: 'cap_spent',
    });
    await guard.charge({ label: 'search', usd: '0.10' });
    await guard.close();
    expect(await agentguard(['verify', log])).toMatchObject({ code: 0 });
  });

  it('refuses a log that is not on the machine of its key', async () => {
    const home = await newHome();
    const log = await logFromTheFuture(home);
    await rename(join(home, 'installation-key.json'), join(home, 'moved.json'));
    const run = await agentguard(['clock', log, '--accept']);
    expect(run.code).toBe(2);
    expect(run.stderr).toContain('no installation key');
  });
});
