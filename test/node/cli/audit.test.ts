/** What `verify` says beyond integrity: the replay, the bill, a place to begin at, standard input; and `explain`. */
import { execFileSync, spawn } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { installationKey } from '../../../src/node/installation-key.ts';
import { linesOf, open, relink, resign, textOf } from '../../receipts/log-kit.ts';
import {
  agentguard,
  cliArguments,
  cliEnvironment,
  guardIn,
  newHome,
  writeLog,
  type CliRun,
} from './run-cli.ts';

/** Rewrites one line with the log's own key, and all that follow so that they link. */
async function rewrite(
  home: string,
  log: string,
  find: (payload: Record<string, unknown>) => boolean,
  change: (payload: Record<string, unknown>) => void,
): Promise<number> {
  const { signer } = installationKey(join(home, 'installation-key.json'));
  const lines = linesOf(await readFile(log));
  const index = lines.findIndex((line) => find(open(line).payload));
  const { payload } = open(lines[index] as string);
  change(payload);
  await writeFile(log, textOf(relink(lines.with(index, resign(payload, signer)), index, signer)));
  return index + 1;
}

async function json(
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<Record<string, never>> {
  const { code, stdout } = await agentguard([...args, '--json'], env);
  const report = JSON.parse(stdout) as Record<string, never>;
  expect(report['exitCode']).toBe(code);
  return report;
}

describe('agentguard verify --replay', () => {
  it('says that an honest log follows, and which calls are in flight', async () => {
    const home = await newHome();
    const log = await writeLog(home, 'acme');
    const run = await agentguard(['verify', log, '--replay']);
    expect(run.code).toBe(0);
    expect(run.stdout).toMatch(/^replay +follows: 4 decisions and every balance/m);
    expect(run.stdout).toMatch(/^open +\S+ \(line \d+\) holds \$0\.\d+; its lease runs until/m);
    expect(await json(['verify', log, '--replay'])).toMatchObject({
      replay: { status: 'follows', decisions: 4, open: [{ overdue: false }] },
    });
  });

  it('names the first line that does not follow, though every signature is right', async () => {
    const home = await newHome();
    const log = await writeLog(home, 'acme');
    const line = await rewrite(
      home,
      log,
      ({ decision }) => decision === 'block',
      (payload) => {
        Object.assign(payload, {
          decision: 'allow',
          reason: 'within_caps',
          lease_until: payload['issued_at'],
          route: { limit: 'own', max_output_tokens: 1_000_000, model: 'anthropic/claude-haiku-4-5' },
        });
        delete payload['decisive_cap'];
      },
    );
    expect((await agentguard(['verify', log])).code).toBe(0);
    const run = await agentguard(['verify', log, '--replay']);
    expect(run.code).toBe(1);
    expect(run.stdout).toMatch(/^integrity +valid/m);
    expect(run.stdout.replaceAll(/\s+/g, ' ')).toContain(
      `replay wrong: line ${line}: the policies lead to block`,
    );
    expect(await json(['verify', log, '--replay'])).toMatchObject({
      integrity: 'valid',
      replay: { status: 'wrong', line },
    });
  });

  it('ends with 2 for rules that it does not know', async () => {
    const home = await newHome();
    const log = await writeLog(home, 'acme');
    await rewrite(
      home,
      log,
      ({ type }) => type === 'decision',
      (payload) => void (payload['rules'] = 99),
    );
    const report = await json(['verify', log, '--replay']);
    expect(report).toMatchObject({ exitCode: 2, integrity: 'valid', replay: { status: 'undecidable' } });
  });
});

/** A log of four calls of known cost: one at the provider's figure, one by tokens, one that comes late, one in flight. */
async function billedLog(home: string): Promise<{ log: string; rows: string[] }> {
  let clock = 0;
  const guard = guardIn(home, 'acme', { clock: () => clock });
  const request = {
    model: 'anthropic/claude-haiku-4-5',
    provider: 'openrouter',
    inputTokens: 1000,
    maxOutputTokens: 1000,
  };
  const usage = { inputTokens: 900, outputTokens: 240 };
  const first = await guard.begin(request);
  await first.settle({ outcome: 'ok', cost: 0.002_100_1, usage, providerRef: 'gen-1' });
  const second = await guard.begin(request);
  await second.settle({ outcome: 'ok', usage, providerRef: 'gen-2' });
  const late = await guard.begin(request);
  clock += 16 * 60_000;
  await (await guard.begin(request)).settle({ outcome: 'not_sent' });
  await late.settle({ outcome: 'ok', cost: 0.001, usage, providerRef: 'gen-3' });
  await guard.charge({ label: 'search', usd: '0.25' });
  await guard.close();
  const created = new Date().toISOString().replace('T', ' ').replace('Z', '');
  const rows = [`${created},0.0021001,gen-1`, `${created},0.0021,gen-2`, `${created},0.001,gen-3`];
  return { log: join(home, 'acme', 'decisions.ndjson'), rows };
}

const HEADER = 'created_at,cost_total,generation_id';

describe('agentguard verify --reconcile', () => {
  async function reconcile(home: string, log: string, text: string): Promise<Record<string, never>> {
    const file = join(home, 'activity.csv');
    await writeFile(file, text);
    return json(['verify', log, '--reconcile', file]);
  }

  it('agrees with an honest bill, late corrections included', async () => {
    const home = await newHome();
    const { log, rows } = await billedLog(home);
    const report = await reconcile(home, log, `${[HEADER, ...rows].join('\n')}\n`);
    expect(report).toMatchObject({
      exitCode: 0,
      reconciliation: { agree: true, matched: { count: 3, amount: '0.0052001' } },
    });
    const shown = await agentguard(['verify', log, '--reconcile', join(home, 'activity.csv')]);
    expect(shown.stdout).toMatch(/^bill +agrees: 3 calls of \$0\.0052001 on both$/m);
  });

  it('takes other orders of columns, quotes, CRLF, a byte order mark and columns that it does not know', async () => {
    const home = await newHome();
    const { log } = await billedLog(home);
    const text = [
      '\ufeffgeneration_id,app_name,cost_total,model',
      'gen-3,"an, app","1e-3",m',
      'gen-1,"say ""hi""",0.00210010,m',
      'gen-2,,0.0021000000,m',
    ].join('\r\n');
    expect(await reconcile(home, log, text)).toMatchObject({ exitCode: 0, reconciliation: { agree: true } });
  });

  it('knows that of a call on an own key the bill has the fee, and maybe the upstream’s charge', async () => {
    const home = await newHome();
    const guard = guardIn(home, 'acme');
    const call = await guard.begin({
      model: 'anthropic/claude-haiku-4-5',
      inputTokens: 1000,
      maxOutputTokens: 1000,
    });
    const cost = { cost: 0.00105, upstreamCost: 0.001, isByok: true };
    await call.settle({
      outcome: 'ok',
      usage: { inputTokens: 900, outputTokens: 240 },
      ...cost,
      providerRef: 'gen-1',
    });
    await guard.close();
    const log = join(home, 'acme', 'decisions.ndjson');
    const header = 'generation_id,cost_total,byok_usage_inference';
    for (const [text, agree] of [
      ['generation_id,cost_total\ngen-1,0.00005\n', true],
      ['generation_id,cost_total\ngen-1,0.00105\n', true],
      [`${header}\ngen-1,0.00005,0.001\n`, true],
      [`${header}\ngen-1,0.00005,\n`, true],
      [`${header}\ngen-1,0.00005,0.0011\n`, false],
      [`${header}\ngen-1,0.00006,0.001\n`, false],
      ['generation_id,cost_total\ngen-1,0.001\n', false],
    ] as const) {
      const report = await reconcile(home, log, text);
      expect({ text, ...report }).toMatchObject({ text, reconciliation: { agree } });
    }
  });

  it('ends with 2 for a file that can’t be read', async () => {
    const home = await newHome();
    const log = await writeLog(home, 'acme');
    for (const file of [join(home, 'no-such.csv'), home]) {
      const run = await agentguard(['verify', log, '--reconcile', file]);
      expect(run).toMatchObject({ code: 2, stdout: '' });
      expect(run.stderr).toMatch(/can't be read as CSV: (ENOENT|EISDIR)/);
      expect(run.stderr).not.toContain('    at ');
    }
  });

  it('finds each kind of difference, to the nano-dollar', async () => {
    const home = await newHome();
    const { log, rows } = await billedLog(home);
    const created = rows[0]?.split(',')[0];
    const bill = [HEADER, `${created},0.002100101,gen-1`, rows[1], `${created},0.5,gen-9`];
    const report = await reconcile(home, log, bill.join('\n'));
    expect(report).toMatchObject({
      exitCode: 1,
      integrity: 'valid',
      reconciliation: {
        agree: false,
        matched: { count: 1, amount: '0.0021' },
        billedWithoutReceipt: { count: 1, billed: '0.50', calls: [{ id: 'gen-9', billed: '0.50' }] },
        receiptWithoutBill: { count: 1, settled: '0.001', calls: [{ id: 'gen-3' }] },
        amountsDiffer: { count: 1, billed: '0.002100101', settled: '0.0021001', calls: [{ id: 'gen-1' }] },
      },
    });
    const run = await agentguard(['verify', log, '--reconcile', join(home, 'activity.csv')]);
    expect(run.code).toBe(1);
    const stdout = run.stdout.replaceAll(/\s+/g, ' ');
    expect(stdout).toContain('billed without receipt: 1 call, $0.50');
    expect(stdout).toContain('- gen-3: $0.001 settled');
    expect(stdout).toContain(
      'amounts that differ: 1 call, $0.002100101 billed and $0.0021001 settled (-$0.000000001)',
    );
  });

  it('leaves out receipts of another time than the bill’s, and says so', async () => {
    const home = await newHome();
    const { log } = await billedLog(home);
    const report = await reconcile(home, log, `${HEADER}\n2020-01-01 00:00:00,0.5,gen-0\n`);
    expect(report).toMatchObject({
      exitCode: 1,
      reconciliation: { receiptWithoutBill: { count: 0 }, outsidePeriod: { count: 3, settled: '0.0052001' } },
    });
  });

  it.each([
    ['no such column', 'a,b\n1,2\n', /has no column generation_id/],
    ['a cost that is none', `${HEADER}\n,free,gen-1\n`, /row 2: "free" is not a cost/],
    ['a negative cost', `${HEADER}\n,-1,gen-1\n`, /row 2: "-1" is not a cost/],
    ['no id', `${HEADER}\n,1,\n`, /row 2: the generation id is empty/],
    ['nothing', '', /is empty/],
    ['a broken quote', `${HEADER}\n,"1,gen-1\n`, /can't be read as CSV/],
  ])('ends with 2 for a file with %s', async (_name, text, message) => {
    const home = await newHome();
    const log = await writeLog(home, 'acme');
    const file = join(home, 'activity.csv');
    await writeFile(file, text);
    const run = await agentguard(['verify', log, '--reconcile', file]);
    expect(run).toMatchObject({ code: 2, stdout: '' });
    expect(run.stderr).toMatch(message);
  });
});

describe('agentguard verify --since', () => {
  it('counts from there on, and finds a change before it by its link', async () => {
    const home = await newHome();
    const log = await writeLog(home, 'acme');
    const all = await json(['verify', log]);
    const lines = linesOf(await readFile(log));
    const place = lines.findIndex((line) => open(line).payload['type'] === 'settlement') + 1;
    const some = await json(['verify', log, '--since', String(place)]);
    expect(some).toMatchObject({
      integrity: 'valid',
      receipts: all['receipts'],
      calls: { allowed: 2, blocked: 1, open: 1 },
    });
    expect(await json(['verify', log, '--since', '2999-01-01'])).toMatchObject({
      integrity: 'valid',
      calls: { allowed: 0 },
    });
    // A signature before the place isn't looked at, but the line is linked.
    const index = place - 1;
    const flipped = (lines[index] as string).replace(
      /"sig":"(.)/,
      (_, digit: string) => `"sig":"${digit === '0' ? '1' : '0'}`,
    );
    await writeFile(log, textOf(lines.with(index, flipped)));
    expect(await json(['verify', log, '--since', String(place)])).toMatchObject({
      exitCode: 1,
      integrity: 'invalid',
      line: place,
    });
    const wrong = await agentguard(['verify', log, '--since', 'yesterday']);
    expect(wrong).toMatchObject({ code: 2, stdout: '' });
    expect(wrong.stderr).toContain('an instant such as');
  });

  it('still checks the last signature', async () => {
    const home = await newHome();
    const log = await writeLog(home, 'acme');
    const lines = linesOf(await readFile(log)).slice(0, -3);
    expect(open(lines.at(-1) as string).payload['type']).toBe('decision');
    const forged = (lines.at(-1) as string).replace(
      /"sig":"(.)/,
      (_, digit: string) => `"sig":"${digit === '0' ? '1' : '0'}`,
    );
    await writeFile(log, textOf([...lines.slice(0, -1), forged]));
    expect(await json(['verify', log, '--since', '2999-01-01'])).toMatchObject({
      exitCode: 1,
      line: lines.length,
    });
  });
});

function piped(
  args: readonly string[],
  input: Uint8Array,
  env: Record<string, string> = {},
): Promise<CliRun> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, cliArguments(args), { env: cliEnvironment(env), stdio: 'pipe' });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk) => (stdout += String(chunk)));
    child.stderr.on('data', (chunk) => (stderr += String(chunk)));
    child.once('close', (code) => resolve({ code: code ?? -1, stdout, stderr }));
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
  });
}

describe('standard input', () => {
  it('is verified like a file, under a pinned key or this machine’s own', async () => {
    const home = await newHome();
    const log = await readFile(await writeLog(home, 'acme'));
    const { kid } = installationKey(join(home, 'installation-key.json')).signer;
    const pinned = await piped(['verify', '-', '--key', kid, '--replay'], log);
    expect(pinned).toMatchObject({ code: 0, stderr: '' });
    expect(pinned.stdout).toMatch(/^standard input\nintegrity +valid/);
    expect(await piped(['verify', '-'], log, { AGENTGUARD_HOME: home })).toMatchObject({ code: 0 });
    expect(await piped(['verify', '-'], log, { AGENTGUARD_HOME: join(home, 'nothing') })).toMatchObject({
      code: 2,
    });
    expect(await piped(['verify', '-', '--key', kid], log.subarray(0, -3))).toMatchObject({ code: 2 });
    expect(await piped(['verify', '-', '--key', kid], Buffer.alloc(0))).toMatchObject({ code: 2 });
    expect((await piped(['verify', '-'], Buffer.from('hello\n'))).stderr).toContain(
      'standard input: this is not',
    );
    const story = await piped(['explain', 'latest', '-', '--key', kid], log);
    expect(story).toMatchObject({ code: 0 });
    expect(story.stdout).toContain('user alice asked for anthropic/claude-haiku-4-5');
  });
});

it.skipIf(process.platform === 'win32')('a named pipe is read to its end first', async () => {
  const home = await newHome();
  const log = await writeLog(home, 'acme');
  const { kid } = installationKey(join(home, 'installation-key.json')).signer;
  const pipe = join(home, 'pipe');
  execFileSync('sh', ['-c', 'mkfifo "$0"', pipe]);
  const through = async (...args: string[]): Promise<CliRun> => {
    const [run] = await Promise.all([agentguard(args), writeFile(pipe, await readFile(log))]);
    return run;
  };
  const verified = await through('verify', pipe, '--key', kid, '--replay');
  expect(verified).toMatchObject({ code: 0, stderr: '' });
  expect(verified.stdout).toMatch(/pipe\nintegrity +valid/);
  expect(await through('explain', 'latest', pipe, '--key', kid)).toMatchObject({ code: 0 });
});

describe('agentguard explain', () => {
  it('tells a settled, a late, a blocked and an open call', async () => {
    const home = await newHome();
    const { log } = await billedLog(home);
    const calls = linesOf(await readFile(log)).flatMap((line) => {
      const { type, call } = open(line).payload;
      return type === 'decision' ? [String(call)] : [];
    });
    const words = async (call: string): Promise<string> => {
      const run = await agentguard(['explain', call, log]);
      expect(run).toMatchObject({ code: 0, stderr: '' });
      return run.stdout.replaceAll(/\s+/g, ' ');
    };
    const first = await words(calls[0] as string);
    expect(first).toContain('The call was allowed: its worst case fits every cap.');
    expect(first).toContain('It cost $0.0021001, as the provider reported it; the answer arrived whole.');
    expect(first).toMatch(/price anthropic\/claude-haiku-4[.-]5: \$1 in, \$5 out.* per million tokens/);
    const late = await words(calls[2] as string);
    expect(late).toContain(
      'Nobody settled it before its lease ran out, so its full hold of $0.00625 was spent.',
    );
    expect(late).toContain(
      'Later it was settled after all, at $0.001, a change of -$0.00525 (the answer arrived whole).',
    );
    expect(await words('latest')).toContain('The charge was allowed');
    const report = await json(['explain', calls[2] as string, log]);
    expect(report).toMatchObject({
      integrity: 'valid',
      decision: 'allow',
      cost: { amount: '0.001', source: 'provider' },
      caps: [{ limit: '$1.00', window: 'per_day', spent: '0.0042001' }, {}],
      price: { input: '1', output: '5' },
      endings: [
        { type: 'settlement', outcome: 'expired' },
        { type: 'adjustment', change: '-0.00525' },
      ],
    });
  });

  it('says that the log is not valid, and ends as verify does', async () => {
    const home = await newHome();
    const log = await writeLog(home, 'acme');
    const lines = linesOf(await readFile(log));
    await writeFile(
      log,
      textOf([...lines.slice(0, -1), (lines.at(-1) as string).replace('"open_holds":1', '"open_holds":0')]),
    );
    const run = await agentguard(['explain', 'latest', log]);
    expect(run.code).toBe(1);
    expect(run.stdout).toMatch(/The log is invalid at line \d+ \(the signature does not fit the payload\)/);
    expect(await agentguard(['explain', 'A'.repeat(22), log])).toMatchObject({ code: 1 });
    const missing = await json(['explain', 'A'.repeat(22), await writeLog(home, 'globex')]);
    expect(missing).toMatchObject({
      exitCode: 2,
      error: expect.stringContaining('There is no call') as string,
    });
  });
});
