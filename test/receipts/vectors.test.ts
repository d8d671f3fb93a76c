/**
 * The frozen vectors of `test/vectors`: the library, and the two verifiers of `docs` that know nothing of it (Python
 * with `cryptography`; bash, coreutils and openssl), come to the verdict that is written beside each.
 */
import { execFile, execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { CheckpointCheck } from '../../src/receipts/checkpoint-check.ts';
import { parseCheckpoint } from '../../src/receipts/checkpoint.ts';
import { parseKeyCertificate } from '../../src/receipts/key-certificate.ts';
import { fromBase64url, thumbprint } from '../../src/receipts/keys.ts';
import { leafHash, verifyInclusion } from '../../src/receipts/merkle.ts';
import { openShareLink, readShareLink } from '../../src/receipts/share-link.ts';
import { verifyLog, type Trust } from '../../src/receipts/verify.ts';

const at = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const vector = (name: string): string => at(`test/vectors/${name}`);

interface Case {
  name: string;
  log: string;
  checkpoint?: string;
  certificate?: string;
  root?: string;
  /** Default: the key of `own`; empty for none. */
  key?: string;
  exit: 0 | 1 | 2;
  line?: number;
  shell?: false;
}

interface Manifest {
  keys: Record<'own' | 'next' | 'app' | 'root' | 'attacker', { thumbprint: string; publicKey: string }>;
  logs: Case[];
  links: { name: string; link: string; key?: string; exit: 0 | 1 | 2 }[];
}

const { keys, logs, links } = JSON.parse(readFileSync(vector('manifest.json'), 'utf8')) as Manifest;
/** Debian's own, which finds the `cryptography` that apt installs. */
const PYTHON = process.env['AGENTGUARD_PYTHON'] ?? '/usr/bin/python3';

interface Run {
  exit: number;
  line?: number;
  output: string;
}

function run(file: string, args: readonly string[]): Promise<Run> {
  const { promise, resolve } = Promise.withResolvers<Run>();
  execFile(file, args, (error, stdout, stderr) => {
    const line = /line (\d+):|"line": (\d+)/.exec(stdout);
    const number = line?.[1] ?? line?.[2];
    resolve({
      exit: error === null ? 0 : Number(error.code),
      ...(number !== undefined && { line: Number(number) }),
      output: `${stdout}${stderr}`,
    });
  });
  return promise;
}

async function byLibrary(each: Case): Promise<Run> {
  const pins = each.key === '' ? [] : [fromBase64url(each.key ?? keys.own.publicKey, 32)];
  const trust: Trust = {
    keys: pins,
    roots: each.root === undefined ? [] : [fromBase64url(each.root, 32)],
    certificates:
      each.certificate === undefined
        ? []
        : [parseKeyCertificate(readFileSync(vector(each.certificate), 'utf8'))],
  };
  const parsed =
    each.checkpoint === undefined ? [] : [parseCheckpoint(readFileSync(vector(each.checkpoint), 'utf8'))];
  const checkpoints = parsed.flatMap((checkpoint) => ('problem' in checkpoint ? [] : [checkpoint]));
  expect(checkpoints.length).toBe(parsed.length);
  const check = new CheckpointCheck(checkpoints, pins);
  const {
    integrity,
    line,
    cause = '',
  } = await verifyLog([readFileSync(vector(each.log))], trust, (receipt) => check.add(receipt));
  const isWhole = integrity === 'valid' || /^the log is empty$|has no end$/.test(cause);
  const found = new Set(check.findings(isWhole).map(({ status }) => status));
  const exit =
    integrity === 'invalid' || found.has('refuted') ? 1 : integrity !== 'valid' || found.has('open') ? 2 : 0;
  const isAtLine = line !== undefined && !(found.has('refuted') && integrity !== 'invalid');
  return { exit, ...(isAtLine && { line }), output: cause };
}

function byPython(each: Case): Promise<Run> {
  const { key = keys.own.thumbprint, checkpoint, certificate, root } = each;
  return run(PYTHON, [
    at('docs/verify.py'),
    vector(each.log),
    '--json',
    ...(key === '' ? [] : ['--key', key]),
    ...(checkpoint === undefined ? [] : ['--checkpoint', vector(checkpoint)]),
    ...(certificate === undefined ? [] : ['--certificate', vector(certificate)]),
    ...(root === undefined ? [] : ['--root', root]),
  ]);
}

function byShell({ log, key = keys.own.thumbprint, checkpoint }: Case): Promise<Run> {
  const note = checkpoint === undefined ? [] : [vector(checkpoint)];
  return run('bash', [at('docs/verify.sh'), vector(log), key, ...note]);
}

const names = logs.map((each) => [each.name, each] as const);

describe('the verdict that is written down', () => {
  beforeAll(() => {
    // Where this is missing the tests must fail, not be passed over: `.ci/run` installs it.
    execFileSync(PYTHON, ['-c', 'import cryptography']);
  });

  it('is there for good logs, bad ones and some that can’t be decided', () => {
    expect(logs.length).toBeGreaterThan(60);
    for (const exit of [0, 1, 2]) expect(logs.filter((each) => each.exit === exit).length).toBeGreaterThan(5);
    const types = new Set(
      readFileSync(vector('good/every-type-of-receipt.ndjson'), 'utf8')
        .trim()
        .split('\n')
        .map((line) => (JSON.parse(line) as { payload: { type: string } }).payload.type),
    );
    expect([...types].sort()).toEqual([
      'adjustment',
      'clock',
      'close',
      'decision',
      'genesis',
      'key',
      'policy',
      'prices',
      'recovered',
      'settlement',
      'snapshot',
    ]);
  });

  it.each(names)('is the library’s: %s', async (_name, each) => {
    const { exit, line, output } = await byLibrary(each);
    expect({ exit, line, output }).toEqual({ exit: each.exit, line: each.line, output });
  });

  it.concurrent.each(names)('is Python’s: %s', async (_name, each) => {
    const { exit, line, output } = await byPython(each);
    expect({ exit, line, output }).toEqual({ exit: each.exit, line: each.line, output });
  });

  // Roots are beyond the shell script, and it says so.
  it.concurrent.each(names.filter(([, { root }]) => root === undefined))(
    'is openssl’s: %s',
    async (_name, each) => {
      const { exit, line, output } = await byShell(each);
      const expected =
        each.shell === false ? { exit: 0, line: undefined } : { exit: each.exit, line: each.line };
      expect({ exit, line, output }).toEqual({ ...expected, output });
    },
  );

  it.each(links.map((each) => [each.name, each] as const))(
    'is the same for a link: %s',
    async (_name, each) => {
      const pin = each.key ?? keys.own.publicKey;
      const verdicts = { valid: 0, invalid: 1, undecidable: 2 };
      const { verdict } = await openShareLink(each.link, { keys: [fromBase64url(pin, 32)] });
      expect(verdicts[verdict]).toBe(each.exit);
      const { exit, output } = await run(PYTHON, [
        at('docs/verify.py'),
        '--link',
        each.link,
        '--key',
        pin,
        '--json',
      ]);
      expect({ exit, output }).toEqual({ exit: each.exit, output });
    },
  );

  it('says no of every log in which a byte is changed, by the library and by Python alike', async () => {
    const { name } = { name: 'good/guest-key.ndjson' };
    const bytes = readFileSync(vector(name));
    const script = [
      'import importlib.util, sys',
      `spec = importlib.util.spec_from_file_location('verify', ${JSON.stringify(at('docs/verify.py'))})`,
      'verify = importlib.util.module_from_spec(spec)',
      'spec.loader.exec_module(verify)',
      `data = open(${JSON.stringify(vector(name))}, 'rb').read()`,
      `key = verify.key_of('${keys.own.publicKey}')`,
      'for index in range(0, len(data), 7):',
      '    changed = data[:index] + bytes([data[index] ^ 1]) + data[index + 1:]',
      '    print(verify.verify_log(changed, verify.Log([key]))["integrity"])',
    ].join('\n');
    const python = execFileSync(PYTHON, ['-c', script], { encoding: 'utf8', maxBuffer: 1 << 24 })
      .trim()
      .split('\n');
    const library: string[] = [];
    for (let index = 0; index < bytes.length; index += 7) {
      const changed = Buffer.from(bytes);
      changed[index] = (changed[index] as number) ^ 1;
      library.push((await verifyLog([changed], { keys: [fromBase64url(keys.own.publicKey, 32)] })).integrity);
    }
    expect(python).toEqual(library);
    expect(library).not.toContain('valid');
  });
});

describe('the proof of one receipt', () => {
  it('is the one in the link, and leads to the checkpoint', async () => {
    const line = readFileSync(vector('receipt.json'), 'utf8').slice(0, -1);
    const proof = readFileSync(vector('receipt.tlog-proof'), 'utf8');
    const [, index, hashes = '', note = ''] =
      /^c2sp\.org\/tlog-proof@v1\nindex (\d+)\n((?:.{44}\n)*)\n([^]*)$/.exec(proof) ?? [];
    const checkpoint = parseCheckpoint(note);
    if ('problem' in checkpoint) throw new Error(checkpoint.problem);
    const claim = {
      leaf: leafHash(new TextEncoder().encode(line)),
      index: Number(index),
      size: checkpoint.size,
      root: checkpoint.root,
      proof: hashes
        .trim()
        .split('\n')
        .map((hash) => new Uint8Array(Buffer.from(hash, 'base64'))),
    };
    expect(verifyInclusion(claim)).toBe(true);
    const link = readFileSync(vector('link.txt'), 'utf8').trim();
    const opened = await readShareLink(link);
    if ('problem' in opened) throw new Error(opened.problem);
    expect(opened.lines.map((each) => each.line)).toContain(line);
    expect(opened.shownKeys.map(thumbprint)).toContain(keys.next.thumbprint);
  });
});
