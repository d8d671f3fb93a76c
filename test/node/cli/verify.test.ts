import { randomBytes } from 'node:crypto';
import { chmod, copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { base64url } from '../../../src/receipts/index.ts';
import { agentguard, newHome, writeLog } from './run-cli.ts';

async function keyIn(home: string): Promise<{ kid: string; x: string }> {
  return JSON.parse(await readFile(join(home, 'installation-key.json'), 'utf8')) as {
    kid: string;
    x: string;
  };
}

/** Everything after the bytes of the given line are changed by `change`. */
async function changeLine(log: string, line: number, change: (text: string) => string): Promise<string> {
  const lines = (await readFile(log, 'utf8')).split('\n');
  const before = lines[line - 1] as string;
  const after = change(before);
  expect(after).not.toBe(before);
  lines[line - 1] = after;
  const text = lines.join('\n');
  await writeFile(log, text);
  return text;
}

describe('agentguard verify', () => {
  it('calls an honest log valid and adds it up', async () => {
    const home = await newHome();
    const log = await writeLog(home, 'acme');
    const run = await agentguard(['verify', log]);
    expect(run).toMatchObject({ code: 0, stderr: '' });
    expect(run.stdout).toMatch(/^integrity +valid: all \d+ receipts/m);
    expect(run.stdout).toMatch(/^completeness +not proved/m);
    expect(run.stdout).toMatch(/^calls +3 allowed, 0 downgraded, 1 blocked; 1 open, 0 expired$/m);
    expect(run.stdout).toMatch(/^settled +\$0\.0055$/m);
    expect(run.stdout).toContain((await keyIn(home)).kid);
    expect(run.stdout).toContain('this machine’s own');
  });

  it('finds the log from a file, a folder, a home, a tenant and nothing', async () => {
    const home = await newHome();
    const log = await writeLog(home, 'acme');
    const env = { AGENTGUARD_HOME: home };
    for (const args of [[log], [join(home, 'acme')], [home], ['acme'], []]) {
      expect(await agentguard(['verify', ...args], env)).toMatchObject({ code: 0 });
    }
    await writeLog(home, 'globex');
    const several = await agentguard(['verify'], env);
    expect(several.code).toBe(2);
    expect(several.stderr).toContain('acme');
    expect(several.stderr).toContain('globex');
  });

  it('names line and cause of a changed byte, and leaves the file as it is', async () => {
    const home = await newHome();
    const log = await writeLog(home, 'acme');
    const text = await changeLine(log, 4, (line) => line.replace('"seq":3', '"seq":4'));
    const run = await agentguard(['verify', log]);
    expect(run.code).toBe(1);
    expect(run.stdout).toMatch(/^integrity +invalid: line 4: seq is 4, expected 3$/m);
    expect(await readFile(log, 'utf8')).toBe(text);
  });

  it('sees a changed amount by its signature', async () => {
    const home = await newHome();
    const log = await writeLog(home, 'acme');
    const lines = (await readFile(log, 'utf8')).split('\n');
    const settlement = lines.findIndex((line) => line.includes('"type":"settlement"')) + 1;
    await changeLine(log, settlement, (line) => line.replace('"amount":"2100000"', '"amount":"1100000"'));
    const run = await agentguard(['verify', log]);
    expect(run.code).toBe(1);
    expect(run.stdout).toMatch(new RegExp(`line ${settlement}: the signature does not fit`));
  });

  it('trusts a pinned thumbprint, public key or JWK, and calls another key undecidable', async () => {
    const home = await newHome();
    const log = await writeLog(home, 'acme');
    const elsewhere = await newHome();
    const copy = join(elsewhere, 'received.ndjson');
    await copyFile(log, copy);
    const { kid, x } = await keyIn(home);
    const jwk = join(elsewhere, 'public.jwk');
    await writeFile(jwk, JSON.stringify({ kty: 'OKP', crv: 'Ed25519', x }));
    for (const key of [kid, x, jwk]) {
      expect(await agentguard(['verify', copy, '--key', key])).toMatchObject({ code: 0 });
    }
    const other = await agentguard(['verify', copy, '--key', base64url(randomBytes(32))]);
    expect(other.code).toBe(2);
    expect(other.stdout).toMatch(/^integrity +undecidable: line 1: signed by the unknown key/m);
    const none = await agentguard(['verify', copy]);
    expect(none.code).toBe(2);
    expect(none.stdout).toContain('--key');
    const wrong = await agentguard(['verify', copy, '--key', 'nothing']);
    expect(wrong).toMatchObject({ code: 2, stdout: '' });
    expect(wrong.stderr).toContain('thumbprint');
  });

  it('refuses another log of the same key', async () => {
    const home = await newHome();
    const log = await writeLog(home, 'acme');
    const id = /"log":"([^"]+)"/.exec(await readFile(log, 'utf8'))?.[1] as string;
    expect(await agentguard(['verify', log, '--log-id', id])).toMatchObject({ code: 0 });
    const run = await agentguard(['verify', log, '--log-id', 'A'.repeat(22)]);
    expect(run.code).toBe(1);
    expect(run.stdout).toContain(`this is log ${id}`);
  });

  it('ends with 2 for what is empty, missing or not safe to read', async () => {
    const home = await newHome();
    const log = await writeLog(home, 'acme');
    const missing = await agentguard(['verify', join(home, 'nobody')], { AGENTGUARD_HOME: home });
    expect(missing).toMatchObject({ code: 2, stdout: '' });
    expect(missing.stderr).toContain('There is no file or folder');
    expect((await agentguard(['verify'], { AGENTGUARD_HOME: join(home, 'empty') })).stderr).toContain(
      'no log',
    );
    await mkdir(join(home, 'blank'));
    await writeFile(join(home, 'blank', 'decisions.ndjson'), '');
    const empty = await agentguard(['verify', join(home, 'blank')]);
    expect(empty.code).toBe(2);
    expect(empty.stdout).toContain('undecidable: line 1: the log is empty');
    await chmod(join(home, 'installation-key.json'), 0o644);
    const unsafe = await agentguard(['verify', log]);
    expect(unsafe.code).toBe(2);
    expect(unsafe.stderr).toContain('chmod 600');
  });

  it('tells the latest call in words, and any call by its id', async () => {
    const home = await newHome();
    const log = await writeLog(home, 'acme');
    const latest = await agentguard(['verify', log, '--trace', 'latest']);
    expect(latest.stdout).toMatch(/^decided +allowed \(within_caps\)$/m);
    expect(latest.stdout).toMatch(/^cost +not settled/m);
    expect(latest.stdout).toMatch(/^who +user alice$/m);
    const lines = (await readFile(log, 'utf8')).split('\n');
    const first = lines.find((line) => line.includes('"type":"settlement"')) as string;
    const call = /"call":"([^"]+)"/.exec(first)?.[1] as string;
    const { stdout } = await agentguard(['verify', log, '--trace', call]);
    expect(stdout).toMatch(/^cost +\$0\.0021, as the provider reported it; tokens × price agrees$/m);
    expect(stdout).toMatch(/^cap +\$1\.00 per_day, block: \$0\.00 spent, \$0\.00 held$/m);
    expect(stdout).toMatch(/^served +anthropic\/claude-haiku-4-5 by Anthropic$/m);
    expect(stdout).toMatch(/^reference +gen-1 /m);
    expect(stdout.match(/^receipt +#\d+ (decision|settlement)/gm)).toHaveLength(2);
    const unknown = await agentguard(['verify', log, '--trace', 'A'.repeat(22)]);
    expect(unknown).toMatchObject({ code: 0 });
    expect(unknown.stdout).toContain('There is no call');
  });

  it('shows hostile strings escaped', async () => {
    const home = await newHome();
    const log = await writeLog(home, 'acme', 'al\u001b[31mice\u202e');
    const { stdout } = await agentguard(['verify', log, '--trace', 'latest']);
    expect(stdout).toContain(String.raw`user al\u{1b}[31mice\u{202e}`);
    expect(stdout).not.toContain('\u001b');
    expect(stdout).not.toContain('\u202e');
  });

  it('gives one JSON document', async () => {
    const home = await newHome();
    const log = await writeLog(home, 'acme');
    const { code, stdout } = await agentguard(['verify', log, '--json', '--trace', 'latest']);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      exitCode: 0,
      integrity: 'valid',
      completeness: { proved: false },
      calls: { allowed: 3, downgraded: 0, blocked: 1, open: 1, expired: 0 },
      settled: { amount: '0.0055', nanoUsd: '5500000' },
      key: { source: 'installation' },
      trace: { receipts: [{ payload: { type: 'decision', decision: 'allow' } }] },
    });
  });

  it('calls a log valid while others write to it, and a line that stays torn invalid', async () => {
    const home = await newHome();
    const log = await writeLog(home, 'acme');
    const whole = await readFile(log);
    await writeFile(log, whole.subarray(0, whole.length - 20));
    const late = agentguard(['verify', log, '--json']);
    await new Promise((resolve) => setTimeout(resolve, 150));
    await writeFile(log, whole.subarray(whole.length - 20), { flag: 'a' });
    expect((await late).code).toBe(0);
    await writeFile(log, whole.subarray(0, whole.length - 20));
    const torn = await agentguard(['verify', log]);
    expect(torn.code).toBe(1);
    expect(torn.stdout).toContain('the line has no end');
  });
});

describe('agentguard', () => {
  it('answers with help, a version, and usage errors that say what to do', async () => {
    expect((await agentguard([])).stdout).toContain('Examples:');
    expect((await agentguard(['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
    const help = await agentguard(['verify', '--help']);
    expect(help).toMatchObject({ code: 0 });
    expect(help.stdout).toContain('Exit codes: 0 valid, 1 invalid, 2 undecidable');
    for (const args of [['bogus'], ['verify', '--bogus'], ['verify', 'a', 'b']]) {
      const run = await agentguard(args);
      expect(run).toMatchObject({ code: 2, stdout: '' });
      expect(run.stderr).toMatch(/^agentguard: .+\nRun "agentguard/);
    }
  });
});
