/** Share links: what they prove, and every way in which they could be made to prove something else. */
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { toBase64 } from '../../src/receipts/base64.ts';
import { signCheckpoint } from '../../src/receipts/checkpoint.ts';
import { inclusionProof, leafHash, TreeFrontier } from '../../src/receipts/merkle.ts';
import {
  makeShareLink,
  openShareLink,
  readShareLink,
  type ShareOptions,
} from '../../src/receipts/share-link.ts';
import type { Trust } from '../../src/receipts/verify.ts';
import { LOG, LogKit, signerOf } from './made-log.ts';

const own = signerOf(1);
const app = signerOf(2);
const next = signerOf(3);
const log = new LogKit(own).note(own, 20).admit(app, own).note(app, 19);
const SIZE = log.receipts.length;
const trust: Trust = { keys: [own.publicKey] };

const link = (indexes: readonly number[], more: Partial<ShareOptions> = {}): Promise<string> =>
  makeShareLink({
    lines: indexes.map((index) => log.proved(index)),
    checkpoint: log.checkpoint(own),
    ...more,
  });

const textOf = (made: string): string =>
  inflateRawSync(Buffer.from(new URL(made).hash.slice('#r='.length), 'base64url')).toString();

const linkOf = (text: string | Uint8Array): string =>
  `https://example.com/verify#r=${deflateRawSync(text).toString('base64url')}`;

const changed = async (change: (text: string) => string): Promise<string> => {
  const text = textOf(await link([7]));
  const after = change(text);
  expect(after).not.toBe(text);
  return linkOf(after);
};

describe('a share link', () => {
  it('proves its receipt and shows no other', async () => {
    const made = await link([7]);
    const opened = await openShareLink(made, { ...trust, log: LOG });
    expect(opened).toMatchObject({ verdict: 'valid', log: LOG, size: SIZE });
    expect(opened.receipts.map(({ line }) => line)).toEqual([log.receipts[7]?.line]);
    const others = log.receipts.filter(({ payload }) => payload.seq !== 7);
    for (const { payload } of others) expect(textOf(made)).not.toContain(`"seq":${payload.seq},`);
    // Behind its first line it is a proof as other tools read it.
    expect(textOf(made).split('\n')[1]).toBe('c2sp.org/tlog-proof@v1');
  });

  it('takes the key of a guest along, and the hand-overs of the log', async () => {
    expect(await openShareLink(await link([30]), trust)).toMatchObject({
      verdict: 'undecidable',
      cause: expect.stringMatching(/unknown key/),
    });
    expect(await openShareLink(await link([21, 30]), trust)).toMatchObject({ verdict: 'valid' });
    const handed = new LogKit(own).note(own, 5).admit(next, own, own.kid).note(next, 5);
    const shared = (indexes: number[], by = next): Promise<string> =>
      makeShareLink({
        lines: indexes.map((index) => handed.proved(index)),
        checkpoint: handed.checkpoint(by),
      });
    expect(await openShareLink(await shared([6, 9]), trust)).toMatchObject({ verdict: 'valid' });
    expect(await openShareLink(await shared([3, 6]), trust)).toMatchObject({ verdict: 'valid' });
    expect(await openShareLink(await shared([3]), trust)).toMatchObject({ verdict: 'undecidable' });
    expect(await openShareLink(await shared([6, 9], own), trust)).toMatchObject({
      verdict: 'invalid',
      cause: expect.stringMatching(/replaced before/),
    });
  });

  it('is decided by a root where genesis is shown', async () => {
    const root = signerOf(9);
    const certified = new LogKit(own, { root }).note(own, 5);
    const lines = [certified.proved(0), certified.proved(4)];
    const made = await makeShareLink({ lines, checkpoint: certified.checkpoint(own) });
    expect(await openShareLink(made, { keys: [], roots: [root.publicKey] })).toMatchObject({
      verdict: 'valid',
    });
    expect(await openShareLink(made, { keys: [], roots: [next.publicKey] })).toMatchObject({
      verdict: 'undecidable',
    });
  });

  it('is short: one decision of a log of 100,000 receipts', async () => {
    // The line of a decision with two caps, as a log of a busy tenant has them.
    const line = await decisionLine();
    const leaves = Array.from({ length: 100_001 }, (_, index) =>
      leafHash(new TextEncoder().encode(`line ${index}`)),
    );
    leaves[50_000] = leafHash(new TextEncoder().encode(line));
    const tree = new TreeFrontier();
    for (const leaf of leaves) tree.add(leaf);
    const made = await makeShareLink({
      base: 'https://agentguard.run/verify',
      lines: [{ line, index: 50_000, proof: inclusionProof(leaves, 50_000) }],
      checkpoint: signCheckpoint(LOG, leaves.length, tree.root(), own).note,
      publicKey: own.publicKey,
    });
    expect(made.length).toBeLessThanOrEqual(2048);
    const read = await readShareLink(made);
    expect(read).toMatchObject({ lines: [{ line, index: 50_000 }], shownKeys: [own.publicKey] });
  });
});

/** A decision receipt of the size that guards write. */
async function decisionLine(): Promise<string> {
  const { testGuard } = await import('../../src/testing/index.ts');
  const { guard, receipts } = testGuard();
  await guard.begin({ model: 'any/model', inputTokens: 100, maxOutputTokens: 100 });
  const found = (await receipts()).find(({ payload }) => payload.type === 'decision');
  await guard.close();
  return found?.line ?? '';
}

describe('a share link is not valid', () => {
  it('under another key, or for another log', async () => {
    expect(await openShareLink(await link([7]), { keys: [next.publicKey] })).toMatchObject({
      verdict: 'undecidable',
    });
    expect(await openShareLink(await link([7]), { keys: [] })).toMatchObject({ verdict: 'undecidable' });
    const other = { ...trust, log: LOG.replace('h', 'i') };
    expect(await openShareLink(await link([7]), other)).toMatchObject({ verdict: 'invalid' });
  });

  it.each<[string, (text: string) => string, RegExp]>([
    ['an altered receipt', (text) => text.replace('"open_holds":6', '"open_holds":5'), /does not lead/],
    ['another index', (text) => text.replace('index 7\n', 'index 8\n'), /at the place of/],
    ['a short proof', (text) => text.replace(/index 7\n.{44}\n/, 'index 7\n'), /does not lead/],
    [
      'a long proof',
      (text) => text.replace('index 7\n', `index 7\n${toBase64(new Uint8Array(32))}\n`),
      /does not lead/,
    ],
    ['a smaller size', (text) => text.replace(`\n${SIZE}\n`, '\n21\n'), /does not lead|does not fit/],
    [
      'another root',
      (text) => text.replace(/\n.{43}=\n\n— /, `\n${toBase64(new Uint8Array(32))}\n\n— `),
      /does not lead/,
    ],
    ['no proof', (text) => text.replace('c2sp.org/tlog-proof@v1', 'c2sp.org/tlog-proof@v2'), /no proof/],
    ['no checkpoint', (text) => text.slice(0, text.indexOf('agentguard.run')), /checkpoint/],
    ['no receipt', (text) => text.slice(text.indexOf('\n') + 1), /no receipt/],
    ['a line that isn’t canonical', (text) => text.replace('{"payload":', '{ "payload":'), /is none/],
    ['an index with a zero before it', (text) => text.replace('index 7\n', 'index 07\n'), /no proof/],
    ['a proof in another order', swapHashes, /does not lead/],
  ])('with %s', async (_name, change, cause) => {
    const opened = await openShareLink(await changed(change), trust);
    expect(opened).toMatchObject({ verdict: 'invalid', receipts: [] });
    expect(opened.cause).toMatch(cause);
  });

  it('whatever byte of what it holds is changed', async () => {
    const bytes = Buffer.from(textOf(await link([7])));
    for (let index = 0; index < bytes.length; index += 3) {
      const flipped = Buffer.from(bytes);
      flipped[index] = (flipped[index] as number) ^ 1;
      expect((await openShareLink(linkOf(flipped), trust)).verdict, `byte ${index}`).not.toBe('valid');
    }
  });

  it('by a rewritten log, even with the real key: its root is another', async () => {
    const forged = new LogKit(own).note(own, 6).note(own, 30);
    const lines = [forged.proved(7)];
    const made = await makeShareLink({ lines, checkpoint: log.checkpoint(own) });
    expect(await openShareLink(made, trust)).toMatchObject({ verdict: 'invalid' });
  });

  it('by an inner node passed off as a receipt: a leaf is worked out from a line', async () => {
    const [left, right] = log.leaves.slice(6, 8) as [Uint8Array, Uint8Array];
    const node = Buffer.concat([left, right]).toString('latin1');
    const opened = await openShareLink(
      await changed((text) => `{${node}${text.slice(text.indexOf('\n'))}`),
      trust,
    );
    expect(opened).toMatchObject({ verdict: 'invalid' });
  });

  it('with receipts of another log, out of order, or twice', async () => {
    const other = new LogKit(own, { log: LOG.replace('h', 'i') }).note(own, 40);
    const spliced = makeShareLink({ lines: [other.proved(7)], checkpoint: log.checkpoint(own) });
    expect(await openShareLink(await spliced, trust)).toMatchObject({
      verdict: 'invalid',
      cause: expect.stringMatching(/belongs to log/),
    });
    expect(await openShareLink(await link([9, 7]), trust)).toMatchObject({ verdict: 'invalid' });
    expect(await openShareLink(await link([7, 7]), trust)).toMatchObject({ verdict: 'invalid' });
  });

  it('when it is no link, and never takes more memory than it may', async () => {
    for (const text of [
      '',
      'https://example.com/',
      '#r=',
      '#r=!!',
      '#r=AAAA',
      linkOf(''),
      linkOf('{}'),
      `#r=${'A'.repeat(200_000)}`,
    ]) {
      expect(await openShareLink(text, trust)).toMatchObject({ verdict: 'invalid', receipts: [] });
    }
    const bomb = linkOf(Buffer.alloc(64 * 1024 * 1024));
    expect(bomb.length).toBeLessThan(128 * 1024);
    expect((await openShareLink(bomb, trust)).cause).toMatch(/unfolds to more than 65536 bytes/);
    const invalidUtf8 = linkOf(Buffer.concat([Buffer.from('{"payload":"'), Buffer.from([0xf0, 0x90, 0x80])]));
    expect(await openShareLink(invalidUtf8, trust)).toMatchObject({ verdict: 'invalid' });
    await expect(makeShareLink({ lines: [], checkpoint: log.checkpoint(own) })).rejects.toThrow(RangeError);
    const long = { line: `{${'x'.repeat(70_000)}}`, index: 0, proof: [] };
    await expect(makeShareLink({ lines: [long], checkpoint: log.checkpoint(own) })).rejects.toThrow(/65536/);
  });
});

function swapHashes(text: string): string {
  const lines = text.split('\n');
  const first = lines.findIndex((line) => line.startsWith('index ')) + 1;
  [lines[first], lines[first + 1]] = [lines[first + 1] as string, lines[first] as string];
  return lines.join('\n');
}
