/** Checkpoints of a log on disk: when they are made, what they cover, where they go. */
import { execFileSync } from 'node:child_process';
import { createServer, type IncomingMessage } from 'node:http';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { Ledger } from '../../../src/ledgers/ledger.ts';
import {
  fileLedger,
  fileSink,
  gitSink,
  putSink,
  webhookSink,
  type CheckpointOptions,
  type CheckpointSink,
  type FileLedgerOptions,
} from '../../../src/node/file-ledger/index.ts';
import { REAL_IO, type LogIo } from '../../../src/node/file-ledger/log-file.ts';
import { LOG_FILE } from '../../../src/node/home.ts';
import { installationPublicKey } from '../../../src/node/installation-key.ts';
import { parseCheckpoint, type Checkpoint } from '../../../src/receipts/checkpoint.ts';
import { CheckpointCheck, type CheckpointFinding } from '../../../src/receipts/checkpoint-check.ts';
import { verifyLog } from '../../../src/receipts/verify.ts';
import {
  callOf,
  guardOn,
  policyOf,
  range,
  settleAt,
  totalCap,
} from '../../../src/testing/conformance-kit.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { runWorkers, startWorker } from './children.ts';
import { faultyIo } from './faulty-io.ts';
import { loadSimulator } from './load.ts';

const POLICY = policyOf([totalCap(100_000_000)]);

async function calls(ledger: Ledger, count: number): Promise<void> {
  const guard = guardOn(ledger, POLICY);
  for (const number of range(count)) await settleAt(await guard.begin(callOf(100)), 10 + number);
}

/** A sink that keeps everything. */
function memorySink(kept: Checkpoint[]): CheckpointSink {
  return {
    name: 'memory',
    async put(checkpoint) {
      kept.push(checkpoint);
    },
  };
}

function ledgerIn(
  dir: string,
  checkpoints: CheckpointOptions,
  more: Partial<FileLedgerOptions> = {},
): ReturnType<typeof fileLedger> {
  return fileLedger({ dir, checkpoints, ...more });
}

/** What the bytes of a log come to under notes of it. */
async function findings(
  bytes: Uint8Array,
  dir: string,
  notes: readonly string[],
): Promise<CheckpointFinding[]> {
  const keys = [installationPublicKey(join(dir, 'installation-key.json')) as Uint8Array];
  const parsed = notes.map((note) => {
    const checkpoint = parseCheckpoint(note);
    if ('problem' in checkpoint) throw new Error(checkpoint.problem);
    return checkpoint;
  });
  const check = new CheckpointCheck(parsed, keys);
  const verdict = await verifyLog([bytes], { keys }, (receipt) => check.add(receipt));
  expect(verdict.integrity).toBe('valid');
  return check.findings(true);
}

const logOf = (dir: string): Buffer => readFileSync(join(dir, LOG_FILE));
const linesIn = (bytes: Uint8Array): number => bytes.filter((byte) => byte === 10).length;

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await sleep(5);
}

/** A log that is longer than what opening it reads. */
async function longLog(dir: string): Promise<void> {
  const ledger = fileLedger({ dir, durability: 'os' });
  await calls(ledger, 500);
  await ledger.close();
  expect(statSync(join(dir, LOG_FILE)).size).toBeGreaterThan(600_000);
}

/** Changes a digit near the beginning of a log. */
function damage(dir: string): void {
  const bytes = logOf(dir);
  const at = bytes.indexOf('"input_tokens":') + '"input_tokens":'.length;
  expect(bytes[at]).not.toBe(0x35);
  bytes[at] = 0x35;
  writeFileSync(join(dir, LOG_FILE), bytes);
}

describe('a file ledger', () => {
  it('makes a checkpoint every so many receipts, and one of everything on close', async () => {
    const dir = temporaryFolder();
    const kept: Checkpoint[] = [];
    const ledger = ledgerIn(dir, { every: 10, intervalMs: 3_600_000, sinks: [memorySink(kept)] });
    await calls(ledger, 3);
    expect(kept).toEqual([]);
    await calls(ledger, 20);
    await until(() => kept.length > 0);
    await ledger.close();
    const bytes = logOf(dir);
    expect(kept.at(-1)?.size).toBe(linesIn(bytes));
    const sizes = kept.map(({ size }) => size);
    expect(sizes).toEqual([...new Set(sizes)].sort((a, b) => a - b));
    const proved = await findings(
      bytes,
      dir,
      kept.map(({ note }) => note),
    );
    expect(proved).toEqual(sizes.map((size) => ({ status: 'proved', size })));
  });

  it('leaves nothing uncovered for longer than the interval, and makes none when nothing was written', async () => {
    const dir = temporaryFolder();
    const kept: Checkpoint[] = [];
    const ledger = ledgerIn(dir, { every: 1_000_000, intervalMs: 20, sinks: [memorySink(kept)] });
    await calls(ledger, 1);
    await until(() => (kept.at(-1)?.size ?? 0) >= linesIn(logOf(dir)));
    const made = kept.length;
    await ledger.balances([]);
    await sleep(60);
    expect(kept.length).toBe(made);
    await ledger.close();
  });

  it('makes one when it is asked to, and none by itself without being told to', async () => {
    const dir = temporaryFolder();
    const ledger = fileLedger({ dir });
    await calls(ledger, 2);
    const checkpoint = (await ledger.checkpoint()) as Checkpoint;
    const size = linesIn(logOf(dir));
    expect(checkpoint.size).toBe(size);
    expect(await ledger.checkpoint()).toEqual(checkpoint);
    await ledger.close();
    expect(linesIn(logOf(dir))).toBeGreaterThan(size);
    expect(await findings(logOf(dir), dir, [checkpoint.note])).toEqual([{ status: 'proved', size }]);
    const latest = readFileSync(join(dir, 'checkpoints', 'latest.json'), 'utf8');
    expect(JSON.parse(latest)).toMatchObject({ note: checkpoint.note });
    const empty = fileLedger({ dir: temporaryFolder() });
    expect(await empty.checkpoint()).toBeUndefined();
    await empty.close();
  });

  it('goes on after a restart from where it was, reading only what is new', async () => {
    const dir = temporaryFolder();
    await longLog(dir);
    const first = fileLedger({ dir });
    const before = (await first.checkpoint()) as Checkpoint;
    await first.close();
    const whole = logOf(dir);
    // An old line that is changed goes unnoticed here, as it isn't read: `verify` finds it.
    damage(dir);
    const second = fileLedger({ dir });
    await calls(second, 1);
    const after = (await second.checkpoint()) as Checkpoint;
    expect(after.size).toBeGreaterThan(before.size);
    await second.close();
    const mended = logOf(dir);
    whole.copy(mended);
    expect(await findings(mended, dir, [before.note, after.note])).toEqual([
      { status: 'proved', size: before.size },
      { status: 'proved', size: after.size },
    ]);
  });

  it.each<[string, (path: string) => void]>([
    ['deleted', (path) => rmSync(path)],
    ['cut', (path) => writeFileSync(path, readFileSync(path).subarray(0, 100))],
    ['something else', (path) => writeFileSync(path, '[]')],
    [
      'moved on by hand',
      (path) => edit(path, (kept) => ({ ...kept, offset: (kept['offset'] as number) + 1 })),
    ],
    ['of another head', (path) => edit(path, (kept) => ({ ...kept, head: `sha256:${'0'.repeat(64)}` }))],
    [
      'of another tree',
      (path) => edit(path, (kept) => ({ ...kept, frontier: (kept['frontier'] as string[]).toReversed() })),
    ],
  ])('works its tree out anew when the kept one is %s', async (_name, change) => {
    const dir = temporaryFolder();
    const first = fileLedger({ dir });
    await calls(first, 6);
    const before = (await first.checkpoint()) as Checkpoint;
    await first.close();
    change(join(dir, 'checkpoints', 'latest.json'));
    const second = fileLedger({ dir });
    await calls(second, 1);
    const after = (await second.checkpoint()) as Checkpoint;
    await second.close();
    expect(await findings(logOf(dir), dir, [before.note, after.note])).toEqual([
      { status: 'proved', size: before.size },
      { status: 'proved', size: after.size },
    ]);
  });

  it('signs nothing over a log whose lines don’t follow from each other', async () => {
    const dir = temporaryFolder();
    await longLog(dir);
    damage(dir);
    const second = fileLedger({ dir });
    // Opening it reads the end only.
    await calls(second, 1);
    await expect(second.checkpoint()).rejects.toMatchObject({
      code: 'log_damaged',
      message: expect.stringMatching(/no checkpoint can be made: line \d+ /),
    });
    await second.close();
  });

  it('refuses to go on with a log that is shorter than its last checkpoint', async () => {
    const dir = temporaryFolder();
    const first = fileLedger({ dir });
    await calls(first, 5);
    const at = statSync(join(dir, LOG_FILE)).size;
    await calls(first, 5);
    await first.close();
    const again = fileLedger({ dir });
    await again.checkpoint();
    await again.close();
    writeFileSync(join(dir, LOG_FILE), logOf(dir).subarray(0, at));
    rmSync(join(dir, 'snapshots'), { recursive: true });
    const second = fileLedger({ dir });
    await expect(calls(second, 1)).rejects.toMatchObject({
      cause: { code: 'log_damaged', message: expect.stringMatching(/lines were cut from its end/) },
    });
    await second.close();
  });

  it.each(['sync', 'os'] as const)(
    'covers nothing that the disk doesn’t have (durability %s)',
    async (durability) => {
      const dir = temporaryFolder();
      /** What is left after a loss of power: everything up to where the last sync that has ended began. */
      let durable: Buffer = Buffer.alloc(0);
      const io: LogIo = {
        ...REAL_IO,
        sync: (fd, done) => {
          // What is written while a sync is under way is not part of it.
          const size = statSync(join(dir, LOG_FILE)).size;
          const finish = (error: Error | null): void => {
            if (size > durable.length) durable = logOf(dir).subarray(0, size);
            done(error);
          };
          // A slow disk, so that much is written meanwhile.
          setTimeout(() => REAL_IO.sync(fd, finish), 5);
        },
      };
      const seen: { note: string; durable: Buffer }[] = [];
      const sink: CheckpointSink = {
        name: 'watch',
        put: async ({ note }) => void seen.push({ note, durable }),
      };
      const ledger = ledgerIn(dir, { every: 3, intervalMs: 10, sinks: [sink] }, { io, durability });
      const guard = guardOn(ledger, POLICY);
      const caller = async (): Promise<void> => {
        while (seen.length < 5) {
          await settleAt(await guard.begin(callOf(100)), 10);
          await sleep(1);
        }
      };
      await Promise.all(range(4).map(caller));
      await ledger.close();
      for (const { note, durable: left } of seen) {
        expect(await findings(left, dir, [note])).toMatchObject([{ status: 'proved' }]);
      }
    },
  );

  it('makes none when the disk refuses to sync, and none after that', async () => {
    const dir = temporaryFolder();
    const io = faultyIo();
    const kept: Checkpoint[] = [];
    const errors: Error[] = [];
    const sinks = [memorySink(kept)];
    const ledger = ledgerIn(
      dir,
      { every: 4, sinks, onError: (error) => errors.push(error) },
      { io, durability: 'os' },
    );
    for (const sync of range(100)) io.failSyncs.set(sync + 1, { code: 'EIO' });
    await calls(ledger, 4).catch(() => undefined);
    await expect(ledger.checkpoint()).rejects.toMatchObject({ code: 'ledger_unavailable' });
    await until(() => errors.length > 0);
    await ledger.close().catch(() => undefined);
    expect(kept).toEqual([]);
    expect(existsSync(join(dir, 'checkpoints'))).toBe(false);
  });

  it('of several processes all bear each other out', async () => {
    await using simulator = await loadSimulator();
    const dir = temporaryFolder();
    const load = { dir, url: simulator.url, capTokens: 1_000_000, limit: 100 };
    const kept: Checkpoint[] = [];
    const ledger = ledgerIn(dir, { every: 8, intervalMs: 5, sinks: [memorySink(kept)] });
    await calls(ledger, 1);
    const workers = await Promise.all(range(2).map(() => startWorker()));
    const work = runWorkers(workers, { kind: 'many', count: 40, atOnce: 4, ...load });
    let isDone = false;
    const finished = work.finally(() => (isDone = true));
    while (!isDone) {
      await ledger.checkpoint();
      await calls(ledger, 1);
    }
    await finished;
    await ledger.close();
    const proved = await findings(
      logOf(dir),
      dir,
      kept.map(({ note }) => note),
    );
    expect(proved.length).toBeGreaterThan(2);
    for (const finding of proved) expect(finding.status).toBe('proved');
    expect(kept.at(-1)?.size).toBe(linesIn(logOf(dir)));
  });

  it.each<[object, RegExp]>([
    [{ every: 0 }, /checkpoints\.every/],
    [{ every: 1.5 }, /checkpoints\.every/],
    [{ intervalMs: 2 ** 31 }, /checkpoints\.intervalMs/],
    [{ closeTimeoutMs: 0 }, /checkpoints\.closeTimeoutMs/],
    [{ sinks: 'x' }, /checkpoints\.sinks/],
    [{ sinks: [null] }, /checkpoints\.sinks/],
    [{ sinks: [{}] }, /checkpoints\.sinks/],
  ])('refuses options that can’t be meant: %j', (checkpoints, message) => {
    expect(() => fileLedger({ dir: 'x', checkpoints: checkpoints as CheckpointOptions })).toThrow(message);
  });
});

function edit(path: string, change: (kept: Record<string, unknown>) => Record<string, unknown>): void {
  const kept = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
  const after = JSON.stringify(change(kept));
  expect(after).not.toBe(JSON.stringify(kept));
  writeFileSync(path, after);
}

describe('a sink', () => {
  /** Makes two checkpoints through `sink` and returns them. */
  async function two(sink: CheckpointSink): Promise<[Checkpoint, Checkpoint]> {
    const ledger = ledgerIn(temporaryFolder(), { every: 1_000_000, intervalMs: 3_600_000, sinks: [sink] });
    await calls(ledger, 1);
    const first = (await ledger.checkpoint()) as Checkpoint;
    await calls(ledger, 1);
    await ledger.close();
    const kept: Checkpoint[] = [first];
    const last = (await ledgerOf(ledger.name).then(async (again) => {
      const checkpoint = await again.checkpoint();
      await again.close();
      return checkpoint;
    })) as Checkpoint;
    return [kept[0] as Checkpoint, last];
  }
  const ledgerOf = async (dir: string): Promise<ReturnType<typeof fileLedger>> => fileLedger({ dir });

  it('that is a file holds the newest, never an older one, and no other log’s', async () => {
    const folder = temporaryFolder();
    const path = join(folder, 'deep', 'acme.checkpoint');
    const sink = fileSink(path);
    const [first, last] = await two(sink);
    expect(readFileSync(path, 'utf8')).toBe(last.note);
    await sink.put(first, new AbortController().signal);
    expect(readFileSync(path, 'utf8')).toBe(last.note);
    const [, other] = await two(fileSink(`${folder}/`));
    expect(readFileSync(join(folder, `${other.log}.checkpoint`), 'utf8')).toBe(other.note);
    await expect(sink.put(other, new AbortController().signal)).rejects.toThrow(/checkpoint of log/);
    writeFileSync(path, 'my letters');
    await expect(sink.put(last, new AbortController().signal)).rejects.toThrow(/no checkpoint/);
    expect(readFileSync(path, 'utf8')).toBe('my letters');
  });

  it('that is a web hook is posted to, and tried again until it takes it', async () => {
    const posted: { body: string; headers: IncomingMessage['headers'] }[] = [];
    let refusals = 2;
    const server = createServer((request, response) => {
      let body = '';
      request.on('data', (chunk: Buffer) => (body += chunk.toString()));
      request.on('end', () => {
        response.statusCode = refusals-- > 0 ? 503 : 204;
        if (response.statusCode === 204) posted.push({ body, headers: request.headers });
        response.end();
      });
    }).listen(0, '127.0.0.1');
    onTestFinished(() => void server.close());
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const url = `http://127.0.0.1:${port}/hook?token=secret`;
    const [, last] = await two(webhookSink(url, { headers: { authorization: 'Bearer x' } }));
    expect(posted.at(-1)?.body).toBe(last.note);
    expect(posted.at(-1)?.headers).toMatchObject({
      authorization: 'Bearer x',
      'content-type': 'text/plain; charset=utf-8',
      'x-agentguard-size': String(last.size),
    });
    expect(webhookSink(url).name).not.toContain('secret');
    expect(() => webhookSink('file:///etc/passwd')).toThrow(/http/);
    expect(() => webhookSink('https://user:secret@example.com/')).toThrow(/headers/);
  });

  it('that is a git repository gets a commit for each', async () => {
    const repository = temporaryFolder();
    const git = (...args: string[]): string =>
      execFileSync('git', ['-C', repository, ...args], { encoding: 'utf8' });
    git('init', '--quiet');
    mkdirSync(join(repository, 'checkpoints'));
    const [first, last] = await two(gitSink(join(repository, 'checkpoints')));
    const file = `checkpoints/${last.log}.checkpoint`;
    expect(git('show', `HEAD:${file}`)).toBe(last.note);
    expect(git('show', `HEAD~1:${file}`)).toBe(first.note);
    expect(git('log', '-1', '--format=%s').trim()).toBe(`Checkpoint ${last.log} ${last.size}`);
    expect(git('status', '--porcelain')).toBe('');
    git('remote', 'add', 'origin', 'https://secret@localhost:1/none.git');
    git('config', 'push.default', 'current');
    const pushed = gitSink(join(repository, 'checkpoints'), { push: true }).put(
      last,
      new AbortController().signal,
    );
    await expect(pushed).rejects.toThrow(/^git push: (?!.*secret)/);
    await gitSink(join(repository, 'checkpoints')).put(last, new AbortController().signal);
    expect(git('rev-list', '--count', 'HEAD').trim()).toBe('2');
    await expect(gitSink(temporaryFolder()).put(last, new AbortController().signal)).rejects.toThrow(
      /git rev-parse/,
    );
  });

  it('that is a function gets a name for each', async () => {
    const put = new Map<string, string>();
    const [first, last] = await two(putSink(async (name, body) => put.set(name, body)));
    const name = ({ log, size }: Checkpoint): string =>
      `checkpoints/${log}/${String(size).padStart(12, '0')}.txt`;
    expect([...put]).toEqual([
      [name(first), first.note],
      [name(last), last.note],
    ]);
  });

  it('that hangs or fails stops no call and no close, and is told of', async () => {
    const errors: string[] = [];
    let isAborted = false;
    const hanging: CheckpointSink = {
      name: 'the void',
      put: (_checkpoint, signal) => {
        signal.addEventListener('abort', () => (isAborted = true));
        return new Promise(() => undefined);
      },
    };
    const ledger = ledgerIn(temporaryFolder(), {
      every: 1,
      closeTimeoutMs: 100,
      sinks: [hanging],
      onError: ({ message }) => errors.push(message),
    });
    await calls(ledger, 10);
    await ledger.close();
    expect(isAborted).toBe(true);
    expect(errors).toEqual([expect.stringMatching(/could not be put to the void: gave up at closing/)]);
  });
});
