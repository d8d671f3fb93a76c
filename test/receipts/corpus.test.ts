/** Every log of the corpus has one verdict: in the library, in pieces, on all cores, and from the command line. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ThreadPool, verifyLogOnAllCores } from '../../src/node/parallel-verify.ts';
import { fromBase64url } from '../../src/receipts/keys.ts';
import { heldHead, type LogVerdict } from '../../src/receipts/verdict.ts';
import { verifyLog } from '../../src/receipts/verify-log.ts';
import { agentguard } from '../node/cli/run-cli.ts';
import { buildCorpus, verdictOfCase, type CorpusCase } from './corpus/index.ts';
import { honestLog, INSTALLATION } from './corpus/logs.ts';
import { bytesOf } from './log-kit.ts';

const corpus = await buildCorpus();

function expectVerdict({ expected }: CorpusCase, verdict: LogVerdict): void {
  const { integrity, line, cause, completeness } = verdict;
  expect({ integrity, line }).toEqual({ integrity: expected.integrity, line: expected.line });
  if (expected.cause === undefined) expect(cause).toBeUndefined();
  else expect(cause).toMatch(new RegExp(expected.cause));
  if (expected.provedUpTo === undefined) expect(completeness.status).not.toBe('proved');
  else expect(completeness).toEqual({ status: 'proved', upTo: expected.provedUpTo, by: 'the head you hold' });
}

it('the corpus has what it should, each under a name of its own', () => {
  expect(corpus.length).toBeGreaterThan(140);
  expect(new Set(corpus.map(({ name }) => name)).size).toBe(corpus.length);
  expect(corpus.filter(({ expected }) => expected.integrity === 'valid').length).toBeGreaterThan(15);
});

describe('the library', () => {
  it.each(corpus)('$group: $name', async (each) => expectVerdict(each, await verdictOfCase(each)));

  it('comes to the same verdict however the bytes are chunked', async () => {
    for (const { name, bytes, keys, log, head } of corpus) {
      if (bytes.length > 100_000) continue;
      const trust = { keys: keys.map((key) => fromBase64url(key, 32)), ...(log !== undefined && { log }) };
      const anchored = head === undefined ? {} : { anchor: heldHead(head.hash, head.seq) };
      const whole = await verifyLog([bytes], trust, anchored);
      for (const size of [997, 4096]) {
        const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
          bytes.subarray(index * size, (index + 1) * size),
        );
        const again = head === undefined ? {} : { anchor: heldHead(head.hash, head.seq) };
        expect(await verifyLog(chunks, trust, again), name).toEqual(whole);
      }
    }
  });

  it('comes to no better verdict where signatures are left to the last one', async () => {
    for (const each of corpus) {
      const { name, bytes, keys, log, head, expected } = each;
      const trust = { keys: keys.map((key) => fromBase64url(key, 32)), ...(log !== undefined && { log }) };
      const anchored = head === undefined ? {} : { anchor: heldHead(head.hash, head.seq) };
      const { integrity } = await verifyLog([bytes], trust, { ...anchored, signatures: 'heads' });
      // What an issuer's own later line links to is what it stands for, whatever the line's own signature is.
      if (expected.integrity === 'valid') expect(integrity, name).toBe('valid');
      else if (!/signature/.test(expected.cause ?? '')) expect(integrity, name).toBe(expected.integrity);
    }
  });

  it('comes to the same verdict on all cores', { timeout: 120_000 }, async () => {
    using pool = new ThreadPool(2);
    for (const each of corpus) {
      const { bytes, keys, log, head } = each;
      const trust = { keys: keys.map((key) => fromBase64url(key, 32)), ...(log !== undefined && { log }) };
      const anchored = head === undefined ? {} : { anchor: heldHead(head.hash, head.seq) };
      // Threads from the second line on, with a few lines each.
      const options = { ...anchored, pool, aloneBytes: 1, segmentBytes: 3000 };
      const chunks = Array.from({ length: Math.ceil(bytes.length / 1000) }, (_, index) =>
        bytes.subarray(index * 1000, (index + 1) * 1000),
      );
      expectVerdict(each, await verifyLogOnAllCores(chunks, trust, options));
    }
  });
});

describe('a short log', () => {
  it('is not valid with any single bit flipped', { timeout: 120_000 }, async () => {
    const lines = await honestLog({ calls: 1 });
    const bytes = bytesOf(lines.slice(0, 3));
    const trust = { keys: [INSTALLATION.publicKey] };
    expect(await verifyLog([bytes], trust)).toMatchObject({ integrity: 'valid', receipts: 3 });
    const passed: string[] = [];
    for (let index = 0; index < bytes.length; index++) {
      for (let bit = 0; bit < 8; bit++) {
        const flipped = bytes.slice();
        flipped[index] = (flipped[index] as number) ^ (1 << bit);
        if ((await verifyLog([flipped], trust)).integrity === 'valid')
          passed.push(`byte ${index}, bit ${bit}`);
      }
    }
    expect(passed).toEqual([]);
  });

  it('is not valid with any byte taken away or put in', async () => {
    const lines = await honestLog({ calls: 1 });
    const bytes = bytesOf(lines.slice(0, 3));
    const trust = { keys: [INSTALLATION.publicKey] };
    for (let index = 0; index < bytes.length; index++) {
      const shorter = Uint8Array.from([...bytes.slice(0, index), ...bytes.slice(index + 1)]);
      const longer = Uint8Array.from([...bytes.slice(0, index), 0x20, ...bytes.slice(index)]);
      for (const changed of [shorter, longer]) {
        expect((await verifyLog([changed], trust)).integrity, `byte ${index}`).not.toBe('valid');
      }
    }
  });
});

describe('the command line', () => {
  const CODES = { valid: 0, invalid: 1, undecidable: 2 } as const;
  let folder = '';
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'agentguard-corpus-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  async function run(each: CorpusCase, index: number): Promise<void> {
    const { bytes, keys, log, head, expected, name } = each;
    const file = join(folder, `${index}.ndjson`);
    await writeFile(file, bytes);
    const { code, stdout } = await agentguard([
      'verify',
      file,
      '--json',
      ...keys.flatMap((key) => ['--key', key]),
      ...(log === undefined ? [] : ['--log-id', log]),
      ...(head === undefined ? [] : ['--head', `${head.seq}:${head.hash}`]),
    ]);
    const report = JSON.parse(stdout) as {
      exitCode: number;
      integrity?: string;
      line?: number;
      error?: string;
    };
    expect(report.exitCode, name).toBe(code);
    // What holds no receipt at all was never a log, and is told as that.
    if (report.error !== undefined) {
      expect(expected.integrity, `${name}: ${report.error}`).not.toBe('valid');
      expect(code, name).toBe(2);
      return;
    }
    expect({ name, code, integrity: report.integrity, line: report.line }).toEqual({
      name,
      code: CODES[expected.integrity],
      integrity: expected.integrity,
      line: bytes.length === 0 ? undefined : expected.line,
    });
  }

  it('agrees on every log', { timeout: 300_000 }, async () => {
    const waiting = [...corpus.entries()];
    const worker = async (): Promise<void> => {
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift())
        await run(next[1], next[0]);
    };
    await Promise.all(Array.from({ length: 4 }, worker));
  });
});
