/** Keys that come and go: hand-overs, roots, and checkpoints by keys that are dead. */
import { describe, expect, it } from 'vitest';
import { CheckpointCheck, type CheckpointFinding } from '../../src/receipts/checkpoint-check.ts';
import { parseCheckpoint } from '../../src/receipts/checkpoint.ts';
import {
  keyCertificateText,
  parseKeyCertificate,
  signKeyCertificate,
  verifyKeyCertificate,
} from '../../src/receipts/key-certificate.ts';
import type { Signer } from '../../src/receipts/keys.ts';
import { checkedSigner } from '../../src/receipts/signers.ts';
import { verifyLog, type LogVerdict, type Trust } from '../../src/receipts/verify.ts';
import { LOG, LogKit, signerOf } from './made-log.ts';

const own = signerOf(1);
const next = signerOf(2);
const app = signerOf(3);
const root = signerOf(4);
const stranger = signerOf(5);

const verify = (log: LogKit, trust: Partial<Trust> = {}): Promise<LogVerdict> =>
  verifyLog([log.bytes], { keys: [own.publicKey], ...trust });

describe('a key receipt', () => {
  it('admits a key beside the others', async () => {
    const log = new LogKit(own)
      .note(own)
      .admit(app, own)
      .note(app)
      .note(own)
      .admit(stranger, own)
      .note(stranger)
      .note(app);
    expect(await verify(log)).toMatchObject({ integrity: 'valid', receipts: 8 });
  });

  it('hands a log over: from the next line on the old key is dead and the new one speaks for the log', async () => {
    const log = new LogKit(own).admit(app, own).note(own).admit(next, own, own.kid).note(next).note(app);
    log.append(
      { type: 'recovered', dropped_bytes: 1, dropped_sha256: `sha256:${'0'.repeat(64)}`, quarantine: 'q' },
      next,
    );
    log.admit(stranger, next).note(stranger);
    expect(await verify(log)).toMatchObject({ integrity: 'valid', receipts: 9 });
    // Whoever pins both keys, as this machine does with its own, comes to the same.
    expect(await verify(log, { keys: [next.publicKey, own.publicKey] })).toMatchObject({
      integrity: 'valid',
    });
    // Whoever pins the new key alone can't know what came before it.
    expect(await verify(log, { keys: [next.publicKey] })).toMatchObject({
      integrity: 'undecidable',
      line: 1,
    });
  });

  it('hands over twice, and retires a key that was only admitted', async () => {
    const log = new LogKit(own).admit(next, own, own.kid).admit(root, next, next.kid).note(root);
    expect(await verify(log)).toMatchObject({ integrity: 'valid' });
    const retired = new LogKit(own)
      .admit(app, own)
      .note(app)
      .admit(stranger, own, app.kid)
      .note(stranger)
      .note(own);
    expect(await verify(retired)).toMatchObject({ integrity: 'valid', receipts: 6 });
    // The place that it took was that of a guest, so it can't speak for the log.
    expect(await verify(retired.admit(root, stranger))).toMatchObject({ integrity: 'invalid', line: 7 });
  });

  const handedOver = (): LogKit => new LogKit(own).note(own).admit(next, own, own.kid);
  it.each<[string, LogKit, number, RegExp]>([
    ['the old key signs on', handedOver().note(next).note(own), 5, /was replaced before/],
    ['the old key comes back', handedOver().admit(own, next).note(own), 4, /admits a key that was replaced/],
    ['the old key undoes it', handedOver().admit(app, own, next.kid), 4, /was replaced before/],
    [
      'a retired guest signs on',
      new LogKit(own).admit(app, own).admit(root, own, app.kid).note(app),
      4,
      /was replaced/,
    ],
    [
      'a guest hands the log over',
      new LogKit(own).admit(app, own).admit(next, app, own.kid),
      3,
      /only by the installation key/,
    ],
    [
      'a guest retires another',
      new LogKit(own).admit(app, own).admit(root, own).admit(next, app, root.kid),
      4,
      /only by/,
    ],
    ['no proof of possession', new LogKit(own).note(own).admit(next, own, own.kid, own), 3, /did not prove/],
    [
      'a key takes its own place',
      new LogKit(own).note(own).admit(own, own, own.kid),
      3,
      /can’t replace itself/,
    ],
    [
      'a key that isn’t there is replaced',
      new LogKit(own).admit(next, own, stranger.kid),
      2,
      /had not admitted/,
    ],
  ])('is invalid when %s', async (_name, log, line, cause) => {
    expect(await verify(log)).toMatchObject({ integrity: 'invalid', line });
    expect((await verify(log)).cause).toMatch(cause);
    expect(await verify(log, { keys: [own.publicKey, next.publicKey] })).toMatchObject({
      integrity: 'invalid',
      line,
    });
  });
});

describe('a root', () => {
  const trust = (more: Partial<Trust> = {}): Partial<Trust> => ({
    keys: [],
    roots: [root.publicKey],
    ...more,
  });

  it('stands for the key of a log that carries its certificate, and for those that come after it', async () => {
    const log = new LogKit(own, { root })
      .note(own)
      .admit(app, own)
      .note(app)
      .admit(next, own, own.kid)
      .note(next);
    expect(await verify(log, trust())).toMatchObject({ integrity: 'valid', receipts: 6 });
    expect(await verify(log)).toMatchObject({ integrity: 'valid' });
  });

  it('can certify later, beside the log', async () => {
    const log = new LogKit(own).note(own);
    expect(await verify(log, trust())).toMatchObject({ integrity: 'undecidable', line: 1 });
    const certificates = [signKeyCertificate(own.kid, root)];
    expect(await verify(log, trust({ certificates }))).toMatchObject({ integrity: 'valid' });
    expect(await verify(log, { keys: [], certificates })).toMatchObject({ integrity: 'undecidable' });
  });

  it('vouches for no other key, and no other root vouches', async () => {
    expect(await verify(new LogKit(own, { root: stranger }), trust())).toMatchObject({
      integrity: 'undecidable',
    });
    const others = [signKeyCertificate(next.kid, root)];
    expect(await verify(new LogKit(own), trust({ certificates: others }))).toMatchObject({
      integrity: 'undecidable',
    });
    const forged = { ...signKeyCertificate(own.kid, stranger), root: root.kid };
    expect(await verify(new LogKit(own), trust({ certificates: [forged] }))).toMatchObject({
      integrity: 'undecidable',
    });
    // A root signs no receipts itself.
    expect(await verify(new LogKit(own, { root }).note(root), trust())).toMatchObject({
      integrity: 'undecidable',
      line: 2,
    });
  });

  it('writes certificates that are read again, and nothing else is', () => {
    const certificate = signKeyCertificate(own.kid, root, 0);
    expect(parseKeyCertificate(JSON.stringify(certificate))).toEqual(certificate);
    expect(verifyKeyCertificate(certificate, root.publicKey)).toBe(true);
    expect(verifyKeyCertificate({ ...certificate, kid: next.kid }, root.publicKey)).toBe(false);
    expect(keyCertificateText(certificate)).toBe(
      `{"issued_at":"1970-01-01T00:00:00.000Z","kid":"${own.kid}","root":"${root.kid}","type":"agentguard:key-certificate","v":1}`,
    );
    for (const text of ['', 'null', '[]', '{}', JSON.stringify({ ...certificate, sig: 'x' })]) {
      expect(() => parseKeyCertificate(text)).toThrow(/not a key certificate/);
    }
  });
});

describe('a checkpoint of a log that was handed over', () => {
  const log = new LogKit(own).note(own, 3).admit(next, own, own.kid).note(next, 4);

  function finding(note: string, of: LogKit = log): CheckpointFinding {
    const checkpoint = parseCheckpoint(note);
    if ('problem' in checkpoint) throw new Error(checkpoint.problem);
    const check = new CheckpointCheck([checkpoint], [own.publicKey]);
    for (const receipt of of.receipts) check.add(receipt);
    return check.findings(true)[0] as CheckpointFinding;
  }

  it('counts by the key of its time, and by the one that came after', () => {
    expect(finding(log.checkpoint(own, 4))).toEqual({ status: 'proved', size: 4 });
    expect(finding(log.checkpoint(own, 5))).toEqual({ status: 'proved', size: 5 });
    expect(finding(log.checkpoint(next, 9))).toEqual({ status: 'proved', size: 9 });
    expect(finding(log.checkpoint(next, 3))).toEqual({ status: 'proved', size: 3 });
    expect(finding(log.checkpoint(own, 6))).toMatchObject({
      status: 'open',
      cause: expect.stringMatching(/replaced/),
    });
    expect(finding(log.checkpoint(app, 9))).toMatchObject({
      status: 'open',
      cause: expect.stringMatching(/no key/),
    });
  });

  it('of one size and two roots, both signed, is evidence: no log bears out both', () => {
    const twin = new LogKit(own).note(own, 2).admit(app, own).note(app, 6);
    const notes = [log.checkpoint(own, 5), twin.checkpoint(own, 5)].map(parseCheckpoint);
    const parsed = notes.flatMap((note) => ('problem' in note ? [] : [note]));
    const check = new CheckpointCheck(parsed, [own.publicKey]);
    for (const receipt of log.receipts) check.add(receipt);
    expect(check.findings(true).map(({ status }) => status)).toEqual(['proved', 'refuted']);
  });

  it('refutes a log that was cut, rewritten, or is another one', () => {
    const cut = new LogKit(own).note(own, 3);
    expect(finding(log.checkpoint(own, 5), cut)).toMatchObject({
      status: 'refuted',
      cause: expect.stringMatching(/cut/),
    });
    const rewritten = new LogKit(own).note(own, 2).admit(app, own).note(app, 6);
    expect(finding(log.checkpoint(own, 5), rewritten)).toMatchObject({
      status: 'refuted',
      cause: expect.stringMatching(/rewritten/),
    });
    const other = new LogKit(own, { log: LOG.replace('h', 'i') }).note(own, 8);
    expect(finding(log.checkpoint(own, 5), other)).toMatchObject({
      status: 'refuted',
      cause: expect.stringMatching(/is of log/),
    });
  });
});

describe('a signer of one’s own', () => {
  const wrap = (signer: Signer, more: Partial<Record<keyof Signer, unknown>> = {}): Signer =>
    ({
      kid: signer.kid,
      publicKey: signer.publicKey,
      sign: (bytes: Uint8Array) => signer.sign(bytes),
      ...more,
    }) as Signer;

  it('is taken as it is when it is right', async () => {
    const log = new LogKit(checkedSigner('signer', wrap(own))).note(checkedSigner('signer', wrap(own)));
    expect(await verify(log)).toMatchObject({ integrity: 'valid', receipts: 2 });
  });

  it.each<[string, Signer, RegExp]>([
    ['kid of another key', wrap(own, { kid: next.kid }), /signer\.kid/],
    ['no public key', wrap(own, { publicKey: 'x' }), /signer\.publicKey/],
    ['no function', wrap(own, { sign: 1 }), /signer\.sign/],
  ])('is refused at once: %s', (_name, signer, message) => {
    expect(() => checkedSigner('signer', signer)).toThrow(message);
  });

  it.each<[string, Signer, RegExp]>([
    ['a promise', wrap(own, { sign: async () => new Uint8Array(64) }), /synchronous/],
    ['nothing', wrap(own, { sign: () => undefined }), /64 bytes/],
    ['another key’s signature', wrap(own, { sign: (bytes: Uint8Array) => next.sign(bytes) }), /does not fit/],
    ['a short one', wrap(own, { sign: () => new Uint8Array(63) }), /does not fit/],
  ])('never gets a wrong signature into a log: %s', (_name, signer, message) => {
    expect(() => new LogKit(checkedSigner('signer', signer))).toThrow(message);
  });
});
