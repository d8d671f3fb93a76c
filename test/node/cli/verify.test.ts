import { randomBytes } from 'node:crypto';
import { chmod, copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { base64url } from '../../../src/receipts/index.ts';
import { agentguard, guardIn, newHome, writeLog } from './run-cli.ts';

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
    expect(run.stdout).toMatch(/^head +#2, .+, up to line 3$/m);
    expect(run.stdout).toMatch(/^calls .+, up to line 3$/m);
    expect(run.stdout).not.toMatch(/^key /m);
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
    expect(other.stdout).toMatch(
      new RegExp(
        `^integrity +undecidable: line 1: signed by ${kid}, which is\\s+not the key you pinned$`,
        'm',
      ),
    );
    const both = ['--key', base64url(randomBytes(32)), '--key', kid];
    expect(await agentguard(['verify', copy, ...both])).toMatchObject({ code: 0 });
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
    expect(run.stdout).toMatch(/^integrity +invalid: line 1: this is another log: /m);
    expect(run.stdout).toContain(id);
    expect(run.stdout).not.toMatch(/^key /m);
  });

  it('ends with 2 for what is empty, missing or not safe to read', async () => {
    const home = await newHome();
    const log = await writeLog(home, 'acme');
    const missing = await agentguard(['verify', join(home, 'nobody')], { AGENTGUARD_HOME: home });
    expect(missing).toMatchObject({ code: 2, stdout: '' });
    expect(missing.stderr).toContain('There is no file or folder');
    expect(missing.stderr).toMatch(/The tenants of .+: acme\.$/m);
    const unnamed = await agentguard(['verify', ''], { AGENTGUARD_HOME: home });
    expect(unnamed).toMatchObject({ code: 2, stdout: '' });
    expect(unnamed.stderr).toContain('path is empty');
    expect((await agentguard(['verify'], { AGENTGUARD_HOME: join(home, 'empty') })).stderr).toContain(
      'no log',
    );
    await mkdir(join(home, 'blank'));
    await writeFile(join(home, 'blank', 'decisions.ndjson'), '');
    const empty = await agentguard(['verify', join(home, 'blank')]);
    expect(empty.code).toBe(2);
    expect(empty.stdout).toContain('undecidable: the log is empty');
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
  });

  it('ends with 2 for a call that is not there, and names it', async () => {
    const home = await newHome();
    const log = await writeLog(home, 'acme');
    const id = 'A'.repeat(22);
    const unknown = await agentguard(['verify', log, '--trace', id]);
    expect(unknown).toMatchObject({ code: 2 });
    expect(unknown.stdout).toMatch(/^integrity +valid/m);
    expect(unknown.stdout).toContain(`There is no call ${id} in this log.`);
    const { code, stdout } = await agentguard(['verify', log, '--trace', id, '--json']);
    expect(code).toBe(2);
    expect(JSON.parse(stdout)).toMatchObject({
      exitCode: 2,
      integrity: 'valid',
      error: `There is no call ${id} in this log.`,
      trace: { wanted: id, receipts: [] },
    });
  });

  it('tells a charge without what only model calls have', async () => {
    const home = await newHome();
    const guard = guardIn(home, 'acme');
    await guard.charge({ label: 'search', usd: '0.25' });
    const log = join(home, 'acme', 'decisions.ndjson');
    const { stdout } = await agentguard(['verify', log, '--trace', 'latest']);
    expect(stdout).toMatch(/^asked +search, a charge of \$0\.25$/m);
    expect(stdout).toMatch(/^cost +\$0\.25, fixed$/m);
    expect(stdout).not.toMatch(/^(routed|ended)/m);
    await expect(guard.charge({ label: 'search', usd: '5' })).rejects.toThrow();
    const blocked = await agentguard(['verify', log, '--trace', 'latest']);
    expect(blocked.stdout).toMatch(/^decided +blocked/m);
    expect(blocked.stdout).not.toMatch(/^routed/m);
    await guard.close();
  });

  it('proves a log up to a head that was kept, and finds a cut or rewritten one', async () => {
    const home = await newHome();
    const log = await writeLog(home, 'acme');
    const { head } = JSON.parse((await agentguard(['verify', log, '--json'])).stdout) as {
      head: { seq: number; hash: string };
    };
    const bare = head.hash.slice('sha256:'.length);
    for (const held of [head.hash, bare, `${head.seq}:${bare}`, `${head.seq}:${head.hash}`]) {
      const run = await agentguard(['verify', log, '--head', held]);
      expect(run).toMatchObject({ code: 0 });
      expect(run.stdout).toMatch(
        new RegExp(`^completeness +proved up to #${head.seq}: the head you hold`, 'm'),
      );
      expect(run.stdout).toContain(`head hash     ${head.hash}`);
    }
    const elsewhere = await agentguard(['verify', log, '--head', `${head.seq - 1}:${bare}`]);
    expect(elsewhere.code).toBe(1);
    const whole = await readFile(log, 'utf8');
    const lines = whole.split('\n');
    for (const text of [`${lines.slice(0, -2).join('\n')}\n`, whole.slice(0, -20), '']) {
      await writeFile(log, text);
      const cut = await agentguard(['verify', log, '--head', head.hash]);
      expect(cut.code).toBe(1);
      expect(cut.stdout.replaceAll(/\s+/g, ' ')).toContain(
        'integrity invalid: the head you hold is not in this log: it was cut or rewritten',
      );
      const json = await agentguard(['verify', log, '--head', head.hash, '--json']);
      expect(json.code).toBe(1);
      expect(JSON.parse(json.stdout)).toMatchObject({
        integrity: 'invalid',
        completeness: { proved: false },
      });
    }
    const wrong = await agentguard(['verify', log, '--head', 'deadbeef']);
    expect(wrong).toMatchObject({ code: 2, stdout: '' });
    expect(wrong.stderr).toContain('64 hex digits');
  });

  it('says of a file that is no log that it is none, and of a changed first line that it is invalid', async () => {
    const home = await newHome();
    const log = await writeLog(home, 'acme');
    const other = join(home, 'other.txt');
    for (const text of ['hello\n', '{"a":1}\n{"b":2}\n', 'no end', randomBytes(300_000).toString('latin1')]) {
      await writeFile(other, text);
      const run = await agentguard(['verify', other]);
      expect(run).toMatchObject({ code: 2, stdout: '' });
      expect(run.stderr).toContain('this is not an AgentGuard log (line 1 is no receipt)');
      const json = await agentguard(['verify', other, '--json']);
      expect(json.code).toBe(2);
      expect(JSON.parse(json.stdout)).toMatchObject({
        exitCode: 2,
        error: expect.stringContaining('not an AgentGuard log') as string,
      });
    }
    await changeLine(log, 1, () => 'hello');
    expect(await agentguard(['verify', log])).toMatchObject({ code: 1 });
  });

  it('shows hostile strings escaped', async () => {
    const home = await newHome();
    const log = await writeLog(home, 'acme', 'al\u009b31mice\u202e');
    const { stdout } = await agentguard(['verify', log, '--trace', 'latest']);
    expect(stdout).toContain(String.raw`user al\u{9b}31mice\u{202e}`);
    expect(stdout).not.toContain('\u009b');
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

  it('calls a log valid while others write to it, and a line that stays torn undecidable', async () => {
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
    expect(torn.code).toBe(2);
    const last = whole.toString().split('\n').length - 1;
    expect(torn.stdout).toMatch(
      new RegExp(`^integrity +undecidable: line ${last} is cut off: a writer is at work`, 'm'),
    );
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
