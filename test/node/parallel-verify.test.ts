/** Many threads, one verdict: that of one thread. */
import { afterAll, describe, expect, it } from 'vitest';
import { ThreadPool, verifyLogOnAllCores, type ParallelOptions } from '../../src/node/parallel-verify.ts';
import type { Receipt } from '../../src/receipts/payloads.ts';
import { Tally } from '../../src/receipts/tally.ts';
import { heldHead, type LogVerdict, type VerifyLogOptions } from '../../src/receipts/verdict.ts';
import { verifyLog } from '../../src/receipts/verify-log.ts';
import { signerFromSeed } from '../../src/receipts/keys.ts';
import { ATTACKER, honestLog, INSTALLATION, seed, write } from '../receipts/corpus/logs.ts';
import { bytesOf, hashOf, open, relink, resign } from '../receipts/log-kit.ts';

const trust = { keys: [INSTALLATION.publicKey] };
const SEGMENT = 20_000;
const pool = new ThreadPool(3);
afterAll(() => pool[Symbol.dispose]());

interface Told {
  verdict: LogVerdict;
  receipts: Receipt[];
}

async function told(verify: (onReceipt: (receipt: Receipt) => void) => Promise<LogVerdict>): Promise<Told> {
  const receipts: Receipt[] = [];
  return { verdict: await verify((receipt) => receipts.push(receipt)), receipts };
}

function chunked(bytes: Uint8Array): Uint8Array[] {
  return Array.from({ length: Math.ceil(bytes.length / 7000) }, (_, index) =>
    bytes.slice(index * 7000, (index + 1) * 7000),
  );
}

async function expectSame(bytes: Uint8Array, make: () => VerifyLogOptions = () => ({})): Promise<LogVerdict> {
  const alone = await told((onReceipt) => verifyLog([bytes], trust, { ...make(), onReceipt }));
  const options: ParallelOptions = { ...make(), pool, aloneBytes: 1, segmentBytes: SEGMENT };
  const shared = await told((onReceipt) =>
    verifyLogOnAllCores(chunked(bytes), trust, { ...options, onReceipt }),
  );
  expect(shared.verdict).toEqual(alone.verdict);
  // Where nobody looks into receipts, threads sum them up, and buffers are filled again and again.
  const unseen = { ...options, ...make() };
  expect(await verifyLogOnAllCores(chunked(bytes), trust, unseen)).toEqual(alone.verdict);
  const tally = new Tally();
  let last: string | undefined;
  const summedUp = await verifyLogOnAllCores(chunked(bytes), trust, {
    ...options,
    ...make(),
    onReceipt: ({ payload, hash }) => {
      tally.add(payload);
      last = hash;
    },
    onSheet: (sheet, { hash }) => {
      tally.addSheet(sheet);
      last = hash;
    },
  });
  expect(summedUp).toEqual(alone.verdict);
  const sum = new Tally();
  for (const { payload } of alone.receipts) sum.add(payload);
  expect({ totals: tally.totals(), last }).toEqual({
    totals: sum.totals(),
    last: alone.receipts.at(-1)?.hash,
  });
  const plain = ({ line, hash, payload }: Receipt): unknown => ({ line, hash, payload });
  expect(shared.receipts.map(plain)).toEqual(alone.receipts.map(plain));
  return shared.verdict;
}

describe('on all cores', async () => {
  const lines = await honestLog({ log: 21, calls: 900 });
  const bytes = bytesOf(lines);

  it('an honest log is valid, and its receipts come in order, as they are', async () => {
    expect(await expectSame(bytes)).toMatchObject({ integrity: 'valid', receipts: lines.length });
    expect(lines.length).toBeGreaterThan(1800);
  });

  it('a log whose keys change again and again is valid', async () => {
    const many = await honestLog({
      log: 22,
      calls: 50,
      more: async (_guard, ledger) => {
        for (let number = 40; number < 60; number++) {
          const signer = signerFromSeed(seed(number));
          for (let turn = 0; turn < 30; turn++)
            await write(ledger, [{ type: 'close', open_holds: 0 }], signer);
        }
      },
    });
    expect(await expectSame(bytesOf(many))).toMatchObject({ integrity: 'valid', receipts: many.length });
  });

  it.each([0, 1, 2, 19, 20, 21, 500, 501, 777, 1200, 1799, 1800])(
    'a wrong signature in line %i is the one that is named',
    async (index) => {
      const line = lines[index] as string;
      const flipped = line.replace(/"sig":"(.)/, (_, digit: string) => `"sig":"${digit === '0' ? '1' : '0'}`);
      expect(await expectSame(bytesOf(lines.with(index, flipped)))).toMatchObject({
        integrity: 'invalid',
        line: index + 1,
      });
    },
  );

  it('of two bad lines the first is named, also where a thread is done with the second before', async () => {
    const late = lines.with(300, `${lines[300]} `).with(1700, 'x').with(310, 'y');
    expect(await expectSame(bytesOf(late))).toMatchObject({ integrity: 'invalid', line: 301 });
  });

  it('a rewritten part that is sound in itself does not fit', async () => {
    const inside = relink(lines, 600, INSTALLATION);
    const spliced = [...lines.slice(0, 700), ...inside.slice(700)];
    expect(await expectSame(bytesOf(spliced))).toMatchObject({ integrity: 'invalid', line: 701 });
    const gap = lines.toSpliced(1000, 1);
    expect(await expectSame(bytesOf(gap))).toMatchObject({ integrity: 'invalid', line: 1001 });
    const { payload } = open(lines[1500] as string);
    const stranger = relink(lines.with(1500, resign(payload, ATTACKER)), 1501, INSTALLATION);
    expect(await expectSame(bytesOf(stranger))).toMatchObject({ integrity: 'undecidable', line: 1501 });
  });

  it('ends are judged alike: torn, empty, too long', async () => {
    expect(await expectSame(bytes.slice(0, -1))).toMatchObject({
      integrity: 'undecidable',
      line: lines.length,
    });
    expect(await expectSame(new Uint8Array(0))).toMatchObject({ integrity: 'undecidable' });
    const long = Uint8Array.from([...bytes, ...new Uint8Array(300_000).fill(0x20)]);
    expect(await expectSame(long)).toMatchObject({ integrity: 'invalid', line: lines.length + 1 });
  });

  it('heads and signature policies are judged alike', async () => {
    const head = hashOf(lines[1234] as string);
    expect(await expectSame(bytes, () => ({ anchor: heldHead(head, 1234) }))).toMatchObject({
      completeness: { status: 'proved', upTo: 1234 },
    });
    expect(await expectSame(bytes, () => ({ anchor: heldHead(head, 1) }))).toMatchObject({
      integrity: 'invalid',
      completeness: { status: 'refuted' },
    });
    const last = lines.length - 2;
    const flip = (line: string): string =>
      line.replace(/"sig":"(.)/, (_, digit: string) => `"sig":"${digit === '0' ? '1' : '0'}`);
    // The last line that is no `close`: its signature stands for all before it.
    const cut = lines.slice(0, last + 1);
    for (const signatures of ['heads', { fromSeq: 1000 }, { fromTime: Date.parse('2999-01-01') }] as const) {
      expect(await expectSame(bytesOf(cut), () => ({ signatures }))).toMatchObject({ integrity: 'valid' });
      const forged = cut.with(last, flip(cut[last] as string));
      expect(await expectSame(bytesOf(forged), () => ({ signatures }))).toMatchObject({
        integrity: 'invalid',
        line: last + 1,
      });
    }
    const early = bytesOf(lines.with(1100, flip(lines[1100] as string)));
    expect(await expectSame(early, () => ({ signatures: { fromSeq: 1000 } }))).toMatchObject({
      integrity: 'invalid',
      line: 1101,
    });
  });
});
