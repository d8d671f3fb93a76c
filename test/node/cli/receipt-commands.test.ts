/** `agentguard checkpoint`, `share` and `keys`, and what `verify` makes of what they print. */
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { agentguard, newHome, writeLog, type CliRun } from './run-cli.ts';

interface Prepared {
  home: string;
  log: string;
  run: (...args: string[]) => Promise<CliRun>;
  thumbprint: string;
}

async function prepare(): Promise<Prepared> {
  const home = await newHome();
  const log = await writeLog(home, 'acme');
  const run = (...args: string[]): Promise<CliRun> => agentguard(args, { AGENTGUARD_HOME: home });
  const { stdout } = await run('keys', 'thumbprint');
  return { home, log, run, thumbprint: stdout.trim() };
}

const lineCount = (text: string): number => text.split('\n').length - 1;

describe('agentguard checkpoint', () => {
  it('prints a signed note alone, which then proves the log, and finds it cut, rewritten or exchanged', async () => {
    const { home, log, run } = await prepare();
    const { code, stdout: note, stderr } = await run('checkpoint', 'acme');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const text = await readFile(log, 'utf8');
    expect(note.split('\n')[1]).toBe(String(lineCount(text)));
    const file = join(home, 'acme.checkpoint');
    await writeFile(file, note);
    const proved = await run('verify', 'acme', '--checkpoint', file);
    expect(proved.code).toBe(0);
    expect(proved.stdout).toMatch(new RegExp(`^completeness +proved up to #${lineCount(text) - 1}: `, 'm'));
    const lines = text.split('\n');
    await writeFile(log, `${lines.slice(0, -2).join('\n')}\n`);
    expect((await run('verify', 'acme')).code).toBe(0);
    const cut = await run('verify', 'acme', '--checkpoint', file);
    expect(cut.code).toBe(1);
    expect(cut.stdout).toMatch(/^integrity +invalid: .*were cut/m);
    await writeFile(log, text);
    const other = await writeLog(home, 'globex');
    const exchanged = await run('verify', other, '--checkpoint', file, '--json');
    expect(exchanged.code).toBe(1);
    expect(JSON.parse(exchanged.stdout)).toMatchObject({
      integrity: 'invalid',
      completeness: { proved: false },
    });
    await writeFile(file, note.replace(/\n.{43}=\n/, `\n${'A'.repeat(43)}=\n`));
    const forged = await run('verify', 'acme', '--checkpoint', file, '--json');
    expect(forged.code).toBe(2);
    expect(JSON.parse(forged.stdout)).toMatchObject({
      integrity: 'valid',
      completeness: { proved: false, note: expect.stringMatching(/does not fit/) },
    });
    await writeFile(file, 'no note');
    expect(await run('verify', 'acme', '--checkpoint', file)).toMatchObject({ code: 2, stdout: '' });
    expect((await run('checkpoint', file)).code).toBe(2);
  });

  it('is remembered in a trust file, so that a log that is rolled back is found without it', async () => {
    const { home, log, run } = await prepare();
    const file = join(home, 'acme.checkpoint');
    const trust = join(home, 'trust.json');
    await writeFile(file, (await run('checkpoint', 'acme')).stdout);
    expect((await run('verify', 'acme', '--trust', trust)).code).toBe(0);
    expect((await run('verify', 'acme', '--checkpoint', file, '--trust', trust)).code).toBe(0);
    expect((await run('verify', 'acme', '--trust', trust)).stdout).toMatch(/^completeness +proved/m);
    const text = await readFile(log, 'utf8');
    await writeFile(log, `${text.split('\n').slice(0, 6).join('\n')}\n`);
    const rolledBack = await run('verify', 'acme', '--trust', trust);
    expect(rolledBack.code).toBe(1);
    expect(rolledBack.stdout).toMatch(/were cut from its end/);
    await writeFile(trust, '{"mine":true}');
    expect((await run('verify', 'acme', '--trust', trust)).code).toBe(2);
    expect(await readFile(trust, 'utf8')).toBe('{"mine":true}');
  });
});

describe('agentguard share', () => {
  it('prints a link alone that proves a receipt to whoever pins the key', async () => {
    const { run, thumbprint, home } = await prepare();
    const { code, stdout, stderr } = await run('share', 'latest', 'acme');
    expect(code).toBe(0);
    const link = stdout.trim();
    expect(link).toMatch(/^https:\/\/agentguard\.run\/verify#r=[\w-]+&k=[\w-]{43}$/);
    expect(link.length).toBeLessThan(2048);
    expect(stderr).toMatch(/shows receipt #\d+ of log/);
    // Elsewhere: another home, nothing but the link and the thumbprint.
    const elsewhere = { AGENTGUARD_HOME: join(home, 'elsewhere') };
    const verified = await agentguard(['verify', '--link', link, '--key', thumbprint], elsewhere);
    expect(verified.code).toBe(0);
    expect(verified.stdout).toMatch(/^integrity +valid: the receipt is signed, and in the log$/m);
    expect(verified.stdout).toMatch(/^asked +anthropic\/claude-haiku-4-5/m);
    expect(verified.stdout).not.toMatch(/not settled/);
    expect((await agentguard(['verify', '--link', link], elsewhere)).code).toBe(2);
    const stranger = 'ncSZXyf6Lgmhfh1E4ftw2Y8jxqpsTaQAWpZDIi4d5f4';
    expect((await agentguard(['verify', '--link', link, '--key', stranger], elsewhere)).code).toBe(2);
    const damaged = await agentguard(['verify', '--link', link.replace('#r=', '#r=A'), '--json'], elsewhere);
    expect(damaged.code).toBe(1);
    expect(JSON.parse(damaged.stdout)).toMatchObject({ exitCode: 1, integrity: 'invalid', receipts: [] });
  });

  it('shares a whole call, or one receipt by its number, against a checkpoint that was kept', async () => {
    const { home, log, run } = await prepare();
    const settlement = (await readFile(log, 'utf8'))
      .split('\n')
      .find((line) => line.includes('"type":"settlement"'));
    const { call } = (JSON.parse(settlement as string) as { payload: { call: string } }).payload;
    const all = JSON.parse((await run('share', call, 'acme', '--all', '--json')).stdout) as {
      link: string;
      receipts: number[];
    };
    expect(all.receipts.length).toBe(2);
    const told = JSON.parse((await run('verify', '--link', all.link, '--json')).stdout) as {
      receipts: { payload: { type: string; call: string } }[];
    };
    expect(told.receipts.map(({ payload }) => [payload.type, payload.call])).toEqual([
      ['decision', call],
      ['settlement', call],
    ]);
    const file = join(home, 'acme.checkpoint');
    await writeFile(file, (await run('checkpoint', 'acme')).stdout);
    const one = await run(
      'share',
      '--seq',
      '1',
      'acme',
      '--checkpoint',
      file,
      '--base',
      'https://example.com/v',
    );
    expect(one.stdout).toMatch(/^https:\/\/example\.com\/v#r=/);
    expect((await run('verify', '--link', one.stdout.trim())).stdout).toMatch(/^receipts +#1 /m);
    expect((await run('share', 'AAAAAAAAAAAAAAAAAAAAAA', 'acme')).code).toBe(2);
    expect((await run('share', '--seq', '9999', 'acme')).code).toBe(2);
    expect((await run('share')).code).toBe(2);
  });

  it('is held against what was seen before: two roots of one size are evidence', async () => {
    const { home, run } = await prepare();
    const trust = join(home, 'trust.json');
    const link = (await run('share', 'latest', 'acme')).stdout.trim();
    expect((await run('verify', '--link', link, '--trust', trust)).code).toBe(0);
    const kept = JSON.parse(await readFile(trust, 'utf8')) as { logs: Record<string, string>; v: 1 };
    const [log, note] = Object.entries(kept.logs)[0] as [string, string];
    await writeFile(
      trust,
      JSON.stringify({ ...kept, logs: { [log]: note.replace(/\n.{43}=\n/, `\n${'A'.repeat(43)}=\n`) } }),
    );
    const evidence = await run('verify', '--link', link, '--trust', trust);
    expect(evidence.code).toBe(1);
    expect(evidence.stdout).toMatch(/has another root/);
  });
});

describe('agentguard keys', () => {
  it('makes a key once, and shows it without its private half', async () => {
    const home = await newHome();
    const run = (...args: string[]): Promise<CliRun> =>
      agentguard(['keys', ...args], { AGENTGUARD_HOME: home });
    expect((await run('show')).code).toBe(2);
    expect((await run('make')).code).toBe(0);
    const file = join(home, 'installation-key.json');
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    const text = await readFile(file, 'utf8');
    const { kid, d, x } = JSON.parse(text) as { kid: string; d: string; x: string };
    expect((await run('make')).code).toBe(2);
    expect(await readFile(file, 'utf8')).toBe(text);
    for (const command of ['show', 'thumbprint', 'export']) {
      const { code, stdout } = await run(command);
      expect(code).toBe(0);
      expect(stdout).toContain(kid);
      expect(stdout).not.toContain(d);
    }
    expect(JSON.parse((await run('export')).stdout)).toMatchObject({
      keys: [{ alg: 'Ed25519', crv: 'Ed25519', kid, kty: 'OKP', use: 'sig', x }],
    });
    const env = { AGENTGUARD_HOME: join(home, 'none'), AGENTGUARD_SIGNING_KEY: d };
    expect(await agentguard(['keys', 'thumbprint'], env)).toMatchObject({ code: 0, stdout: `${kid}\n` });
  });

  it('rotates every log of the home; who pinned the old key still can verify, and with a checkpoint of before', async () => {
    const { home, run, thumbprint } = await prepare();
    await writeLog(home, 'globex');
    const file = join(home, 'acme.checkpoint');
    await writeFile(file, (await run('checkpoint', 'acme')).stdout);
    const rotated = await run('keys', 'rotate', '--json');
    expect(rotated.code).toBe(0);
    const report = JSON.parse(rotated.stdout) as { thumbprint: string; logs: string[]; failed: unknown[] };
    expect(report).toMatchObject({ failed: [], logs: [expect.anything(), expect.anything()] });
    expect(report.thumbprint).not.toBe(thumbprint);
    await writeLog(home, 'acme');
    for (const tenant of ['acme', 'globex']) {
      expect((await run('verify', tenant)).code).toBe(0);
      expect((await run('verify', tenant, '--key', thumbprint)).code).toBe(0);
      expect((await run('verify', tenant, '--key', report.thumbprint)).code).toBe(2);
    }
    expect((await run('verify', 'acme', '--key', thumbprint, '--checkpoint', file)).code).toBe(0);
    await writeFile(file, (await run('checkpoint', 'acme')).stdout);
    expect((await run('verify', 'acme', '--key', thumbprint, '--checkpoint', file)).code).toBe(0);
    const link = (await run('share', 'latest', 'acme')).stdout.trim();
    expect((await run('verify', '--link', link, '--key', thumbprint)).code).toBe(0);
    const text = await readFile(join(home, 'installation-key.json'), 'utf8');
    const { previous } = JSON.parse(text) as { previous: { kid: string; d?: string }[] };
    expect(previous).toEqual([expect.objectContaining({ kid: thumbprint })]);
    expect(previous[0]).not.toHaveProperty('d');
  });

  it('lets a key file that is named count, whatever the environment says', async () => {
    const { home, run, thumbprint } = await prepare();
    const file = join(home, 'installation-key.json');
    const env = { AGENTGUARD_HOME: home, AGENTGUARD_SIGNING_KEY: 'A'.repeat(43) };
    expect((await agentguard(['keys', 'rotate'], env)).code).toBe(2);
    expect((await agentguard(['checkpoint', 'acme'], env)).code).toBe(2);
    expect((await agentguard(['checkpoint', 'acme', '--key-file', file], env)).code).toBe(0);
    expect((await agentguard(['keys', 'rotate', '--file', file], env)).code).toBe(0);
    expect((await run('verify', 'acme', '--key', thumbprint)).code).toBe(0);
    expect((await run('keys', 'thumbprint')).stdout.trim()).not.toBe(thumbprint);
  });

  it('keeps the old key while some log could not be handed over, and goes on when that is mended', async () => {
    const { home, log, run } = await prepare();
    const good = await readFile(log, 'utf8');
    await writeFile(log, good.replace('"seq":2,', '"seq":7,'));
    const failed = await run('keys', 'rotate');
    expect(failed.code).toBe(1);
    expect(failed.stdout).toMatch(/^Not handed over: /m);
    await writeFile(log, good);
    const again = await run('keys', 'rotate');
    expect(again.code).toBe(0);
    expect(again.stdout).toMatch(/^Went on with the new key/m);
    expect(await readFile(join(home, 'installation-key.json'), 'utf8')).not.toMatch(
      /"previous":\[[^\]]*"d":/,
    );
    expect((await run('verify', 'acme')).code).toBe(0);
  });

  it('certifies a key by a root, which is then enough to verify the logs that begin with it', async () => {
    const home = await newHome();
    const run = (...args: string[]): Promise<CliRun> => agentguard(args, { AGENTGUARD_HOME: home });
    const root = join(home, 'root.json');
    await run('keys', 'make', '--file', root);
    await run('keys', 'make');
    const { code, stdout } = await run('keys', 'certify', '--root', root);
    expect(code).toBe(0);
    await writeFile(join(home, 'certificate.json'), stdout);
    await writeLog(home, 'acme');
    const { publicKey } = JSON.parse((await run('keys', 'show', '--file', root, '--json')).stdout) as {
      publicKey: string;
    };
    expect((await run('verify', 'acme', '--root', publicKey)).code).toBe(0);
    expect((await run('verify', 'acme', '--root', root)).code).toBe(0);
    const link = (await run('share', 'latest', 'acme')).stdout.trim();
    expect((await run('verify', '--link', link, '--root', publicKey)).code).toBe(0);
    const other = join(home, 'other.json');
    await run('keys', 'make', '--file', other);
    expect((await run('verify', 'acme', '--root', other)).code).toBe(2);
    expect(
      (await run('keys', 'certify', '--root', publicKey, '--certificate', join(home, 'certificate.json')))
        .code,
    ).toBe(0);
    expect(
      (await run('keys', 'certify', '--root', other, '--certificate', join(home, 'certificate.json'))).code,
    ).toBe(2);
  });
});
