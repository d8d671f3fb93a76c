/**
 * Writes `test/vectors`: logs, checkpoints, proofs and links, good and bad, each with the verdict that every verifier
 * must come to. They are frozen: run this only to add to them, and look at what changes.
 * `node --conditions=agentguard-source tools/make-vectors.ts`
 */
import { createHash, createPublicKey } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { guardWith } from '../src/guard.ts';
import { memoryLedger } from '../src/ledgers/memory.ts';
import { base64url, type Signer } from '../src/receipts/keys.ts';
import { canonicalJson } from '../src/receipts/canonical-json.ts';
import { signKeyCertificate } from '../src/receipts/key-certificate.ts';
import { signCheckpoint } from '../src/receipts/checkpoint.ts';
import type { Receipt } from '../src/receipts/payloads.ts';
import { makeShareLink } from '../src/receipts/share-link.ts';
import { LOG, LogKit, signerOf } from '../test/receipts/made-log.ts';
import { testPrices } from '../src/testing/test-guard.ts';

const OUT = new URL('../test/vectors/', import.meta.url);

interface Case {
  name: string;
  log: string;
  checkpoint?: string;
  certificate?: string;
  root?: string;
  key?: string;
  exit: 0 | 1 | 2;
  line?: number;
  /** What a verifier without a JSON parser can't see; it says 0. */
  shell?: false;
}

interface LinkCase {
  name: string;
  link: string;
  key?: string;
  root?: string;
  exit: 0 | 1 | 2;
}

const own = signerOf(1);
const next = signerOf(2);
const app = signerOf(3);
const root = signerOf(4);
const attacker = signerOf(5);

const cases: Case[] = [];
const links: LinkCase[] = [];

function write(name: string, content: string | Uint8Array): string {
  const path = fileURLToPath(new URL(name, OUT));
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  return name;
}

const textOf = (lines: readonly string[]): string => lines.map((line) => `${line}\n`).join('');

function good(name: string, content: string | Uint8Array, more: Partial<Case> = {}): void {
  cases.push({ name, log: write(`good/${slug(name)}.ndjson`, content), exit: 0, ...more });
}

function bad(
  name: string,
  line: number | undefined,
  content: string | Uint8Array,
  more: Partial<Case> = {},
): void {
  const log = write(`bad/${slug(name)}.ndjson`, content);
  cases.push({ name, log, exit: 1, ...(line !== undefined && { line }), ...more });
}

const slug = (name: string): string => name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-');

/** What a guard writes: allowed, expired, corrected, downgraded and refused calls. */
async function guarded(): Promise<Receipt[]> {
  let time = Date.parse('2026-11-23T07:00:00.000Z');
  let id = 0;
  const now = (): number => time;
  const ledger = memoryLedger({ signer: own, now, logId: LOG, tenantId: 'acme' });
  const guard = guardWith(
    {
      policy: {
        id: 'payments-v1',
        name: 'Zahlungen – π ≈ 3.14 \u{1f600} "quoted" \\ \u0007',
        scope: { tenantId: 'acme' },
        caps: [
          { amountCents: '0.05', window: 'per_day', action: 'downgrade', downgradeTo: 'small/model' },
          { amountCents: '0.15', window: 'per_day', action: 'block', per: ['userId'] },
        ],
        version: 3,
        effectiveFrom: '2026-01-01T00:00:00Z',
      },
      ledger,
      waitForHoldsMs: 0,
      leaseMs: 60_000,
      signingKeys: app,
    },
    {
      now,
      newId: () => createHash('sha256').update(`call ${id++}`).digest().subarray(0, 16).toString('base64url'),
      priceOf: testPrices({ 'small/model': { inputCentsPerKtok: '0.01', outputCentsPerKtok: '0.02' } }),
    },
  );
  const request = { model: 'any/model', inputTokens: 100, maxOutputTokens: 100, scope: { userId: 'alice' } };
  const begin = async (more: object = {}): ReturnType<typeof guard.begin> => {
    time += 1234;
    return guard.begin({ ...request, ...more });
  };
  const first = await begin();
  time += 800;
  await first.settle({
    outcome: 'ok',
    usage: { inputTokens: 90, outputTokens: 40 },
    providerRef: 'gen-1',
    servedModel: 'any/model',
  });
  const late = await begin();
  time += 70_000;
  const dear = await begin({ maxOutputTokens: 200 });
  await late.settle({ outcome: 'ok', usage: { inputTokens: 90, outputTokens: 50 } });
  await dear.settle({ outcome: 'ok', usage: { inputTokens: 100, outputTokens: 190 } });
  const downgraded = await begin();
  await downgraded.settle({ outcome: 'error', cost: 0 });
  await begin({ maxOutputTokens: 5000 }).catch(() => undefined);
  const receipts: Receipt[] = [];
  for await (const receipt of ledger.read()) receipts.push(receipt);
  return receipts;
}

/** Every type of receipt, and a hand-over. */
async function wholeLog(): Promise<LogKit> {
  const log = LogKit.behind(await guarded());
  const hash = log.head.hash;
  const covers = log.head.seq;
  log.append({ type: 'snapshot', body: `sha256:${'b'.repeat(64)}`, covers, covers_hash: hash }, own);
  log.append(
    {
      type: 'recovered',
      dropped_bytes: 17,
      dropped_sha256: `sha256:${'d'.repeat(64)}`,
      quarantine: 'quarantine/x.bin',
    },
    own,
  );
  const to = new Date(log.head.time - 5000).toISOString();
  log.append({ type: 'clock', from: new Date(log.head.time).toISOString(), to }, own, Date.parse(to));
  log.append({ type: 'close', open_holds: 0 }, own);
  log.admit(next, own, own.kid).note(next).note(app, 2);
  return log;
}

type Members = Record<string, unknown>;
const open = (line: string): { payload: Members; signature: Members } => JSON.parse(line) as never;
const hashOf = (line: string): string => `sha256:${createHash('sha256').update(line).digest('hex')}`;

function signedLine(body: string, by: Signer): string {
  const sig = Buffer.from(by.sign(new TextEncoder().encode(body))).toString('hex');
  return `{"payload":${body},"signature":{"alg":"EdDSA","kid":"${by.kid}","sig":"${sig}"}}`;
}

const resigned = (payload: Members, by: Signer = own): string =>
  signedLine(canonicalJson({ ...payload, issuer_id: by.kid }), by);

/** The lines from `index` on with their links mended by the real keys, as an insider could. */
function relinked(
  lines: readonly string[],
  index: number,
  signers: Readonly<Record<string, Signer>>,
): string[] {
  const done = lines.slice(0, index);
  for (const line of lines.slice(index)) {
    const { payload } = open(line);
    const signer = signers[payload['issuer_id'] as string] as Signer;
    done.push(
      resigned({ ...payload, seq: done.length, previousReceiptHash: hashOf(done.at(-1) as string) }, signer),
    );
  }
  return done;
}

const L = 2n ** 252n + 27742317777372353535851937790883648493n;
const little = (bytes: Uint8Array): bigint =>
  BigInt(`0x${Buffer.from(bytes.toReversed()).toString('hex') || '0'}`);
const bytes32 = (value: bigint): Buffer =>
  Buffer.from(Buffer.from(value.toString(16).padStart(64, '0'), 'hex').toReversed());

/** A signature with R = identity: the equation holds, but it shows the secret to everybody. */
function identityR(seed: Uint8Array, publicKey: Uint8Array, message: string): string {
  const a = createHash('sha512').update(seed).digest().subarray(0, 32);
  a[0] = (a[0] as number) & 248;
  a[31] = ((a[31] as number) & 127) | 64;
  const r = Buffer.concat([Buffer.from([1]), Buffer.alloc(31)]);
  const k = little(createHash('sha512').update(r).update(publicKey).update(message).digest()) % L;
  return Buffer.concat([r, bytes32((k * little(a)) % L)]).toString('hex');
}

function encodings(lines: readonly string[]): void {
  const text = textOf(lines);
  const last = lines.length - 1;
  const edited = (change: (line: string) => string): string =>
    textOf([...lines.slice(0, last), change(lines[last] as string)]);
  const rewritten = (change: (body: string) => string): string =>
    edited((line) =>
      signedLine(change(line.slice('{"payload":'.length, line.lastIndexOf(',"signature":'))), own),
    );
  bad('carriage returns', 1, text.replaceAll('\n', '\r\n'));
  bad('byte order mark', 1, `\ufeff${text}`);
  bad('blank line', lines.length + 1, `${text}\n`);
  bad(
    'zero byte',
    lines.length,
    edited((line) => line.replace('"payload"', '"payload\0"')),
  );
  bad(
    'space before the payload',
    lines.length,
    edited((line) => line.replace('{"payload":', '{ "payload":')),
  );
  bad(
    'signed with a space in it',
    lines.length,
    rewritten((body) => body.replace('"v":1', '"v": 1')),
  );
  bad(
    'signed with members in another order',
    lines.length,
    rewritten((body) => body.replace('"type":"close","v":1', '"v":1,"type":"close"')),
  );
  bad(
    'signed with a member twice',
    lines.length,
    rewritten((body) => body.replace('"v":1', '"v":1,"v":1')),
  );
  bad(
    'signed with a fraction',
    lines.length,
    rewritten((body) => body.replace('"open_holds":0', '"open_holds":0.0')),
  );
  bad(
    'signed with an exponent',
    lines.length,
    rewritten((body) => body.replace('"open_holds":0', '"open_holds":0e1')),
  );
  bad(
    'signed with minus zero',
    lines.length,
    rewritten((body) => body.replace('"open_holds":0', '"open_holds":-0')),
  );
  bad(
    'signed with a number beyond 2 to the 53',
    lines.length,
    rewritten((body) => body.replace('"open_holds":0', '"open_holds":9007199254740992')),
  );
  bad(
    'signed with an escape that is not needed',
    lines.length,
    rewritten((body) => body.replace('"type":"close"', String.raw`"type":"\u0063lose"`)),
  );
  bad(
    'signed with a member that no schema has',
    lines.length,
    rewritten((body) => body.replace('"open_holds":0', '"note":"x","open_holds":0')),
  );
  bad(
    'signed with __proto__',
    lines.length,
    rewritten((body) => body.replace('{"issued_at"', '{"__proto__":{},"issued_at"')),
  );
  bad(
    'signed as an unknown type',
    lines.length,
    rewritten((body) => body.replace('"type":"close"', '"type":"closed"')),
  );
  bad(
    'signed on a day that the calendar lacks',
    lines.length,
    rewritten((body) => body.replace(/"issued_at":"[^"]+"/, '"issued_at":"2027-02-30T00:00:00.000Z"')),
    { shell: false },
  );
  bad(
    'unsigned member beside the payload',
    lines.length,
    edited((line) => line.replace(/\}$/, ',"x":1}')),
  );
  bad(
    'signature in upper case',
    lines.length,
    edited((line) => line.replace(/"sig":"[^"]+"/, (sig) => `"sig":"${sig.slice(7, -1).toUpperCase()}"`)),
  );
  bad(
    'algorithm none',
    lines.length,
    edited((line) => line.replace('"alg":"EdDSA"', '"alg":"none"')),
  );
  bad(
    'kid of another key',
    lines.length,
    edited((line) =>
      line.replaceAll(own.kid, (kid, at: number) => (at > line.lastIndexOf('signature') ? app.kid : kid)),
    ),
  );
  const invalid = Buffer.from(edited((line) => line.replace('"type":"close"', '"type":"cl\u00e9se"')));
  invalid[invalid.lastIndexOf(0xa9)] = 0x73;
  bad('invalid UTF-8', lines.length, invalid);
  bad('line without an end', lines.length, text.slice(0, -1), { exit: 2 });
  bad('empty', 1, '', { exit: 2 });
}

function signatures(lines: readonly string[]): void {
  const last = lines.at(-1) as string;
  const body = last.slice('{"payload":'.length, last.lastIndexOf(',"signature":'));
  const sig = /"sig":"([0-9a-f]+)"/.exec(last)?.[1] as string;
  const withSig = (hex: string): string => textOf([...lines.slice(0, -1), last.replace(sig, hex)]);
  const s = little(Buffer.from(sig.slice(64), 'hex'));
  bad('S plus the group order', lines.length, withSig(sig.slice(0, 64) + bytes32(s + L).toString('hex')));
  bad('R is the identity', lines.length, withSig(identityR(new Uint8Array(32).fill(1), own.publicKey, body)));
  bad('short signature', lines.length, withSig(sig.slice(2)));
  const flipped = (Number.parseInt(sig[0] as string, 16) ^ 1).toString(16) + sig.slice(1);
  bad('one bit of a signature', lines.length, withSig(flipped));
}

function order(lines: readonly string[]): void {
  const signers = { [own.kid]: own, [app.kid]: app, [next.kid]: next };
  const changed = lines.map((line, index) =>
    index === 4 ? line.replace('"open_holds":3', '"open_holds":2') : line,
  );
  const linked = [...changed];
  for (let index = 5; index < linked.length; index++) {
    linked[index] = (linked[index] as string).replace(
      /"previousReceiptHash":"[^"]+"/,
      `"previousReceiptHash":"${hashOf(linked[index - 1] as string)}"`,
    );
  }
  bad('altered field', 5, textOf(changed));
  bad('altered field with links mended', 5, textOf(linked));
  bad(
    'altered field signed by a stranger',
    5,
    textOf(
      lines.map((line, index) =>
        index === 4 ? resigned({ ...open(line).payload, open_holds: 9 }, attacker) : line,
      ),
    ),
    { exit: 2 },
  );
  const real = lines.map((line, index) =>
    index === 4 ? resigned({ ...open(line).payload, open_holds: 9 }) : line,
  );
  bad('altered field signed with the real key', 6, textOf(real));
  bad('deleted line', 5, textOf(lines.filter((_, index) => index !== 4)));
  bad(
    'swapped lines',
    4,
    textOf(lines.map((line, index) => (index === 3 ? lines[4] : index === 4 ? lines[3] : line) as string)),
  );
  bad('line twice', 5, textOf(lines.flatMap((line, index) => (index === 3 ? [line, line] : [line]))));
  bad('cut at its beginning', 1, textOf(lines.slice(2)));
  bad('genesis again', 5, textOf([...lines.slice(0, 4), lines[0] as string, ...lines.slice(4)]));
  const other = new LogKit(own, { log: LOG.replace('h', 'i') }).note(own, 6);
  bad(
    'line of another log',
    5,
    textOf(lines.map((line, index) => (index === 4 ? (other.receipts[4] as Receipt).line : line))),
  );
  const early = relinked(
    lines.map((line, index) =>
      index === 4 ? resigned({ ...open(line).payload, issued_at: '2026-11-23T06:00:00.000Z' }) : line,
    ),
    4,
    signers,
  );
  bad('time goes back', 5, textOf(early));
  const ahead = relinked(
    lines.map((line, index) => (index === 4 ? resigned({ ...open(line).payload, durable_seq: 4 }) : line)),
    4,
    signers,
  );
  bad('durable ahead of the log', 5, textOf(ahead));
}

function keyCases(): void {
  const base = (): LogKit => new LogKit(own).note(own, 2);
  const text = (log: LogKit): string => textOf(log.receipts.map(({ line }) => line));
  good('guest key', text(base().admit(app, own).note(app, 2).note(own)));
  good(
    'handed over twice',
    text(base().admit(next, own, own.kid).note(next).admit(root, next, next.kid).note(root)),
  );
  good('guest retired', text(base().admit(app, own).note(app).admit(next, own, app.kid).note(next)));
  bad('guest without proof', 4, text(base().admit(app, own, undefined, own).note(app)));
  bad('guest admits a guest', 5, text(base().admit(app, own).admit(next, app).note(next)));
  bad(
    'guest speaks for the log',
    5,
    text(
      base()
        .admit(app, own)
        .with(
          {
            type: 'recovered',
            dropped_bytes: 1,
            dropped_sha256: `sha256:${'0'.repeat(64)}`,
            quarantine: 'q',
          },
          app,
        ),
    ),
  );
  bad('dead key signs', 6, text(base().admit(next, own, own.kid).note(next).note(own)));
  bad('dead key admitted again', 5, text(base().admit(next, own, own.kid).admit(own, next).note(own)));
  bad('retired guest signs', 6, text(base().admit(app, own).admit(next, own, app.kid).note(app)));
  bad('replaces a stranger', 4, text(base().admit(next, own, attacker.kid).note(next)));
  bad('unknown key', 4, text(base().note(attacker)), { exit: 2 });
  bad('another key than the pinned one', 1, text(new LogKit(attacker).note(attacker)), { exit: 2 });
  const identity = Uint8Array.from({ length: 32 }, (_, index) => (index === 0 ? 1 : 0));
  const weak: Signer = {
    kid: thumb(identity),
    publicKey: identity,
    sign: () =>
      Buffer.concat([Buffer.from(`58${'66'.repeat(31)}`, 'hex'), Buffer.from([1]), Buffer.alloc(31)]),
  };
  bad('key of small order', 4, text(base().admit(weak, own).note(weak)));
  const certified = new LogKit(own, { root }).note(own, 2);
  good('certified by a root', text(certified), { key: '', root: base64url(root.publicKey) });
  bad('certified by another root', 1, text(certified), {
    key: '',
    root: base64url(attacker.publicKey),
    exit: 2,
  });
  const certificate = write(
    'certificate.json',
    `${JSON.stringify(signKeyCertificate(own.kid, root, Date.parse('2026-11-23T00:00:00Z')))}\n`,
  );
  good('certified beside the log', text(base()), { key: '', root: base64url(root.publicKey), certificate });
}

function thumb(publicKey: Uint8Array): string {
  return createHash('sha256')
    .update(`{"crv":"Ed25519","kty":"OKP","x":"${base64url(publicKey)}"}`)
    .digest('base64url');
}

function checkpointCases(log: LogKit): void {
  const size = log.receipts.length;
  const handOver = log.receipts.findIndex(
    ({ payload }) => payload.type === 'key' && payload.replaces !== undefined,
  );
  const lines = log.receipts.map(({ line }) => line);
  const whole = write('checkpoint.txt', log.checkpoint(next));
  const early = write('checkpoint-early.txt', log.checkpoint(own, 9));
  good('with its checkpoint', textOf(lines), { checkpoint: whole });
  good('with an earlier checkpoint', textOf(lines), { checkpoint: early });
  const last = write('checkpoint-last-of-old-key.txt', log.checkpoint(own, handOver + 1));
  good('with the last checkpoint of the old key', textOf(lines), { checkpoint: last });
  const dead = write('checkpoint-dead-key.txt', log.checkpoint(own, handOver + 2));
  bad('checkpoint by a dead key', undefined, textOf(lines), { checkpoint: dead, exit: 2 });
  const stranger = write('checkpoint-stranger.txt', log.checkpoint(attacker));
  bad('checkpoint by a stranger', undefined, textOf(lines), { checkpoint: stranger, exit: 2 });
  const forged = write(
    'checkpoint-forged.txt',
    log.checkpoint(next).replace(`\n${size}\n`, `\n${size + 1}\n`),
  );
  bad('checkpoint with a forged size', undefined, textOf(lines), { checkpoint: forged, exit: 2 });
  const cosigned = write(
    'checkpoint-cosigned.txt',
    log.checkpoint(next) + signCheckpoint(LOG, 1, new Uint8Array(32), attacker).note.split('\n\n')[1],
  );
  good('with a cosigned checkpoint', textOf(lines), { checkpoint: cosigned });
  bad('cut below its checkpoint', undefined, textOf(lines.slice(0, -1)), { checkpoint: whole });
  good('cut behind its checkpoint', textOf(lines.slice(0, -1)), { checkpoint: early });
  const signers = { [own.kid]: own, [app.kid]: app, [next.kid]: next };
  const rewritten = relinked(
    lines.map((line, index) =>
      index === size - 1 ? resigned({ ...open(line).payload, open_holds: 7 }, app) : line,
    ),
    size - 1,
    signers,
  );
  bad('rewritten with the real key', undefined, textOf(rewritten), { checkpoint: whole });
  const other = new LogKit(own, { log: LOG.replace('h', 'i') }).note(own, 30);
  bad('another log of the same key', undefined, textOf(other.receipts.map(({ line }) => line)), {
    checkpoint: early,
  });
}

async function linkCases(log: LogKit): Promise<void> {
  const decision = log.receipts.findIndex(({ payload }) => payload.type === 'decision');
  const admission = log.receipts.findIndex(({ payload }) => payload.type === 'key');
  const handOver = log.receipts.findIndex(
    ({ payload }) => payload.type === 'key' && payload.replaces !== undefined,
  );
  const base = 'https://agentguard.run/verify';
  const of = (
    indexes: number[],
    checkpoint = log.checkpoint(next),
    publicKey = next.publicKey,
  ): Promise<string> =>
    makeShareLink({ base, lines: indexes.map((index) => log.proved(index)), checkpoint, publicKey });
  const link = await of([0, admission, decision, handOver]);
  write('link.txt', `${link}\n`);
  const { line, index, proof } = log.proved(decision);
  const hashes = proof.map((hash) => `${Buffer.from(hash).toString('base64')}\n`).join('');
  write('receipt.json', `${line}\n`);
  write('receipt.tlog-proof', `c2sp.org/tlog-proof@v1\nindex ${index}\n${hashes}\n${log.checkpoint(next)}`);
  links.push({ name: 'a decision', link, exit: 0 });
  links.push({ name: 'pinned by nobody here', link, key: base64url(attacker.publicKey), exit: 2 });
  links.push({ name: 'without the admission of its signer', link: await of([decision, handOver]), exit: 2 });
  links.push({
    name: 'without the hand-over to the key of the checkpoint',
    link: await of([admission, decision]),
    exit: 2,
  });
  links.push({
    name: 'against a checkpoint of a dead key',
    link: await of([admission, decision, handOver], log.checkpoint(own)),
    exit: 1,
  });
  links.push({ name: 'out of order', link: await of([decision, admission, handOver]), exit: 1 });
  links.push({ name: 'cut', link: link.slice(0, -80).replace(/&k=.*/, ''), exit: 1 });
  const moved = { ...log.proved(decision), index: decision + 1 };
  links.push({
    name: 'at another place',
    link: await makeShareLink({
      base,
      lines: [log.proved(admission), moved],
      checkpoint: log.checkpoint(own, handOver),
    }),
    exit: 1,
  });
  const early = log.checkpoint(own, decision + 3);
  const fits = (n: number): ReturnType<LogKit['proved']> => log.proved(n, decision + 3);
  links.push({
    name: 'before the hand-over',
    link: await makeShareLink({ base, lines: [fits(admission), fits(decision)], checkpoint: early }),
    exit: 0,
  });
  const packed = Buffer.from(/#r=([^&]+)/.exec(link)?.[1] ?? '', 'base64url');
  const longer = Buffer.concat([packed, Buffer.from([0, 0, 0])]).toString('base64url');
  links.push({ name: 'bytes behind its end', link: `${base}#r=${longer}`, exit: 1 });
  const zeros = new Uint8Array(32);
  const altered = log.proved(decision);
  links.push({
    name: 'a hash of the proof changed',
    link: await makeShareLink({
      base,
      lines: [
        log.proved(admission),
        { ...altered, proof: altered.proof.map((hash, at) => (at === 1 ? zeros : hash)) },
        log.proved(handOver),
      ],
      checkpoint: log.checkpoint(next),
    }),
    exit: 1,
  });
  links.push({
    name: 'proof for another size',
    link: await makeShareLink({
      base,
      lines: [log.proved(admission), log.proved(decision)],
      checkpoint: early,
    }),
    exit: 1,
  });
}

rmSync(OUT, { recursive: true, force: true });
const log = await wholeLog();
good('every type of receipt', log.bytes);
const short = new LogKit(own)
  .note(own, 4)
  .note(own)
  .receipts.map(({ line }) => line);
encodings(short);
signatures(short);
order(new LogKit(own).note(own, 7).receipts.map(({ line }) => line));
keyCases();
checkpointCases(log);
await linkCases(log);
const pem = (signer: Signer): string =>
  createPublicKey({
    key: { kty: 'OKP', crv: 'Ed25519', x: base64url(signer.publicKey) },
    format: 'jwk',
  }).export({ format: 'pem', type: 'spki' }) as string;
write('key.pem', pem(own));
write('key-next.pem', pem(next));
const keys = Object.fromEntries(
  Object.entries({ own, next, app, root, attacker }).map(([name, { kid, publicKey }]) => [
    name,
    { thumbprint: kid, publicKey: base64url(publicKey) },
  ]),
);
write('manifest.json', `${JSON.stringify({ keys, logs: cases, links }, undefined, 2)}\n`);
