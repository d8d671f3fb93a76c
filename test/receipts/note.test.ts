/** Signed notes and checkpoints: the published vector of the format, and what must be refused. */
import { describe, expect, it } from 'vitest';
import { fromBase64, toBase64 } from '../../src/receipts/base64.ts';
import {
  checkpointProblem,
  originOf,
  parseCheckpoint,
  signCheckpoint,
} from '../../src/receipts/checkpoint.ts';
import { signerFromSeed } from '../../src/receipts/keys.ts';
import { noteVerifierKey, parseNote, signNote, verifyNote, type Note } from '../../src/receipts/note.ts';

const signer = signerFromSeed(new Uint8Array(32).fill(7));
const other = signerFromSeed(new Uint8Array(32).fill(8));
const LOG = 'hY3xv0c2Qm6Jk8sT1bWzLg';
const root = new Uint8Array(32).fill(5);

/** The example of golang.org/x/mod/sumdb/note, from which the format comes. */
const PETER = 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW';
const PETERS_NOTE =
  'If you think cryptography is the answer to your problem,\n' +
  "then you don't know what your problem is.\n" +
  '\n' +
  '— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n';

function noteOf(text: string): Note {
  const note = parseNote(text);
  if ('problem' in note) throw new Error(note.problem);
  return note;
}

describe('a signed note', () => {
  it('is read and verified as the published one', () => {
    const publicKey = (fromBase64(PETER.split('+').slice(2).join('+')) as Uint8Array).slice(1);
    expect(noteVerifierKey('PeterNeumann', publicKey)).toBe(PETER);
    expect(verifyNote(noteOf(PETERS_NOTE), 'PeterNeumann', publicKey)).toBe('signed');
    expect(verifyNote(noteOf(PETERS_NOTE.replace('answer', 'question')), 'PeterNeumann', publicKey)).toBe(
      'forged',
    );
    expect(verifyNote(noteOf(PETERS_NOTE), 'PeterNeumann', signer.publicKey)).toBe('unsigned');
  });

  it('is passed over by keys that it doesn’t name, and fatal where a named one doesn’t fit', () => {
    const name = 'example.com/log';
    const one = signNote('text\n', name, signer);
    const cosigned = one + signNote('text\n', 'witness', other).split('\n\n')[1];
    expect(verifyNote(noteOf(cosigned), name, signer.publicKey)).toBe('signed');
    expect(verifyNote(noteOf(cosigned), 'witness', other.publicKey)).toBe('signed');
    expect(verifyNote(noteOf(cosigned), name, other.publicKey)).toBe('unsigned');
    const again = signNote('other text\n', name, signer).split('\n\n')[1];
    expect(verifyNote(noteOf(one + again), name, signer.publicKey)).toBe('forged');
  });

  const good = signNote('a\nb\n', 'name', signer);
  it.each([
    ['no signature', 'a\nb\n'],
    ['no blank line', good.replace('\n\n', '\n')],
    ['no newline at the end', good.slice(0, -1)],
    ['a carriage return', good.replace('a\n', 'a\r\n')],
    ['a tab', good.replace('a', '\t')],
    ['a lone surrogate', good.replace('a', '\ud800')],
    ['a hyphen for the dash', good.replace('—', '-')],
    ['a plus in the name', good.replace('— name', '— na+me')],
    ['a space in the name', good.replace('— name', '— na me')],
    ['base64 without padding', good.replace('=', '')],
    ['base64 with bits left over', good.replace(/.=\n$/, (end) => `${end[0] === 'B' ? 'C' : 'B'}=\n`)],
    ['text behind the signature', `${good}more\n`],
    ['an empty text', `\n\n${good.split('\n\n')[1]}`],
    ['more than may be', `${'a'.repeat(20_000)}\n${good}`],
    ['too many signatures', good + (good.split('\n\n')[1] as string).repeat(40)],
  ])('is refused: %s', (_name, note) => expect(parseNote(note)).toHaveProperty('problem'));
});

describe('base64', () => {
  it('has one form', () => {
    for (let length = 0; length < 70; length++) {
      const bytes = Uint8Array.from({ length }, (_, index) => index * 37);
      expect(toBase64(bytes)).toBe(Buffer.from(bytes).toString('base64'));
      expect(fromBase64(toBase64(bytes))).toEqual(bytes);
    }
    for (const text of ['AA', 'AAA', 'AB==', 'A===', 'AA=A', '_w==', 'AA==\n'])
      expect(fromBase64(text)).toBeUndefined();
  });
});

describe('a checkpoint', () => {
  const checkpoint = signCheckpoint(LOG, 41, root, signer);
  const parsed = (note: string): Exclude<ReturnType<typeof parseCheckpoint>, { problem: string }> => {
    const found = parseCheckpoint(note);
    if ('problem' in found) throw new Error(found.problem);
    return found;
  };

  it('says log, size and root, and stands for nothing else', () => {
    expect(checkpoint.note.split('\n').slice(0, 4)).toEqual([originOf(LOG), '41', toBase64(root), '']);
    expect(parsed(checkpoint.note)).toMatchObject({ log: LOG, size: 41, root });
    expect(checkpointProblem(parsed(checkpoint.note), [signer])).toBeUndefined();
    expect(checkpointProblem(parsed(checkpoint.note), [other, signer])).toBeUndefined();
  });

  it('by an unknown key is undecidable, changed it is invalid', () => {
    expect(checkpointProblem(parsed(checkpoint.note), [other])).toMatchObject({ verdict: 'undecidable' });
    expect(checkpointProblem(parsed(checkpoint.note), [])).toMatchObject({ verdict: 'undecidable' });
    const cut = parsed(checkpoint.note.replace('\n41\n', '\n40\n'));
    expect(checkpointProblem(cut, [signer])).toMatchObject({ verdict: 'invalid' });
    // The name of the key is the origin: under another log's name the key id is another.
    const moved = parsed(checkpoint.note.replaceAll(LOG, 'hY3xv0c2Qm6Jk8sT1bWzLh'));
    expect(checkpointProblem(moved, [signer])).toMatchObject({ verdict: 'undecidable' });
  });

  it('counts by a replaced key only as far as that key reached', () => {
    const until = (seq: number): { publicKey: Uint8Array; until: number } => ({ ...signer, until: seq });
    expect(checkpointProblem(parsed(checkpoint.note), [until(40)])).toBeUndefined();
    expect(checkpointProblem(parsed(checkpoint.note), [until(39)])).toMatchObject({ verdict: 'invalid' });
    expect(checkpointProblem(parsed(checkpoint.note), [until(39), signer])).toBeUndefined();
  });

  it('may have more lines in its text, and more signatures', () => {
    const text = `${originOf(LOG)}\n41\n${toBase64(root)}\nmore\n`;
    expect(checkpointProblem(parsed(signNote(text, originOf(LOG), signer)), [signer])).toBeUndefined();
    const witnessed = checkpoint.note + signNote('x\n', 'witness.example', other).split('\n\n')[1];
    expect(checkpointProblem(parsed(witnessed), [signer])).toBeUndefined();
  });

  it.each([
    ['a size with a zero before it', '\n41\n', '\n041\n'],
    ['no size', '\n41\n', '\n0\n'],
    ['a size that is no number', '\n41\n', '\n4e1\n'],
    ['a size beyond what numbers hold', '\n41\n', '\n9999999999999999\n'],
    ['another origin', 'agentguard.run/log/', 'agentguard.run/logs/'],
    ['a short root', toBase64(root), toBase64(root.slice(1))],
    ['hex for base64', toBase64(root), Buffer.from(root).toString('hex')],
  ])('is refused: %s', (_name, from, to) => {
    expect(parseCheckpoint(checkpoint.note.replace(from, to))).toHaveProperty('problem');
  });
});
