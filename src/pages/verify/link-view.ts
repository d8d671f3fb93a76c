/** The verdict on a share link, and the receipts that it proves. */
import { equalBytes, toBase64 } from '../../receipts/base64.ts';
import { checkpointProblem } from '../../receipts/checkpoint.ts';
import { thumbprint } from '../../receipts/keys.ts';
import { parseLine } from '../../receipts/parse-line.ts';
import type { Receipt } from '../../receipts/payloads.ts';
import { judgeShare, readShareLink, type OpenedLink, type ShareVerdict } from '../../receipts/share-link.ts';
import type { Trust } from '../../receipts/verify.ts';
import type { Field } from './conclude.ts';
import { code, el } from './dom.ts';
import { Foundations } from './foundations.ts';
import { isKeyless, trustOf, type Pins } from './pins.ts';
import { checkList, howText, rawOf, receiptTitle, shownLines, wordsOf } from './receipt-view.ts';
import { banner, compareKey, fieldList, limits, nextList } from './result-view.ts';
import { countText } from './words.ts';

interface JudgedLink {
  verdict: ShareVerdict;
  opened: OpenedLink | undefined;
  trust: Trust;
  /** Where no key is pinned: the verdict under the key that the link shows, and that key's thumbprint. */
  supposed?: { verdict: ShareVerdict; kid: string };
}

export async function judgeLink(link: string, pins: Pins): Promise<JudgedLink> {
  const opened = await readShareLink(link);
  if ('problem' in opened) {
    const verdict: ShareVerdict = { verdict: 'invalid', cause: opened.problem, receipts: [] };
    return { verdict, opened: undefined, trust: trustOf(pins, []) };
  }
  const trust = trustOf(pins, opened.shownKeys);
  const verdict = againstKept(judgeShare(opened, trust), opened, pins, trust);
  const shownKey = firstKey(opened);
  if (!isKeyless(pins) || verdict.verdict !== 'undecidable' || shownKey === undefined)
    return { verdict, opened, trust };
  const supposed = { ...trust, keys: [shownKey] };
  return {
    verdict,
    opened,
    trust: supposed,
    supposed: { verdict: judgeShare(opened, supposed), kid: thumbprint(shownKey) },
  };
}

/** The key that the log began with, where the link shows that, else the one that signed the checkpoint. */
function firstKey({ lines, shownKeys }: OpenedLink): Uint8Array | undefined {
  const genesis = lines.find(({ payload }) => payload.type === 'genesis');
  if (genesis === undefined) return shownKeys[0];
  return shownKeys.find((key) => thumbprint(key) === genesis.payload.issuer_id);
}

/** Two checkpoints of one size that are both signed and differ are evidence against whoever signed them. */
function againstKept(
  verdict: ShareVerdict,
  { checkpoint }: OpenedLink,
  pins: Pins,
  trust: Trust,
): ShareVerdict {
  if (verdict.verdict !== 'valid') return verdict;
  const owners = trust.keys.map((publicKey) => ({ publicKey }));
  const contradicts = pins.checkpoints.some(
    (kept) =>
      kept.log === checkpoint.log &&
      kept.size === checkpoint.size &&
      !equalBytes(kept.root, checkpoint.root) &&
      checkpointProblem(kept, owners) === undefined,
  );
  if (!contradicts) return verdict;
  const cause = `the checkpoint that you kept, of ${checkpoint.size} lines as well, has another root: the log was rewritten`;
  return { ...verdict, verdict: 'invalid', cause, receipts: [] };
}

const MOODS = { valid: 'good', invalid: 'bad', undecidable: 'open' } as const;

export async function linkView(
  link: string,
  pins: Pins,
  pin: (thumbprint: string) => void,
): Promise<HTMLElement> {
  const judged = await judgeLink(link, pins);
  const { verdict, opened, supposed, trust } = judged;
  const view = el('article', {
    class: 'result',
    'data-kind': 'link',
    'data-file': 'share link',
    'data-integrity': verdict.verdict,
    'data-exit': { valid: 0, invalid: 1, undecidable: 2 }[verdict.verdict],
    'data-cause': verdict.cause,
    'data-receipts': verdict.receipts.length,
  });
  view.append(banner({ mood: MOODS[verdict.verdict], ...words(judged, pins) }, 'Share link'));
  if (supposed !== undefined) view.append(compareKey(supposed.kid, pin));
  if (opened === undefined) return view;
  view.append(fieldList(fieldsOf(judged)));
  const next = nextList(nextOf(judged, pins));
  if (next !== undefined) view.append(next);
  const shownVerdict = supposed?.verdict ?? verdict;
  if (shownVerdict.verdict === 'valid')
    view.append(...receiptsOf(shownVerdict.receipts, opened, trust, supposed !== undefined));
  view.append(limits(), checkpointOf(opened));
  return view;
}

function words({ verdict, supposed }: JudgedLink, pins: Pins): { title: string; summary: string } {
  const { size = 0, log = '', cause = '' } = verdict;
  const [first] = verdict.receipts.slice(-1);
  if (verdict.verdict === 'valid') {
    return {
      title: 'Signature valid under the key you pinned',
      summary: `Receipt #${first?.payload.seq} is among the first ${countText(size, 'line')} of log ${log}, as its checkpoint says. What else is in the log, the link doesn’t say.`,
    };
  }
  if (verdict.verdict === 'invalid')
    return { title: 'Invalid', summary: `${cause.charAt(0).toUpperCase()}${cause.slice(1)}.` };
  if (isKeyless(pins)) {
    return {
      title: 'Undecided: you have not pinned a key',
      summary:
        supposed?.verdict.verdict === 'valid'
          ? 'The receipt and its proof fit the key that the link itself shows. A forger’s link would fit a forger’s key.'
          : 'Nothing that you know vouches for this link.',
    };
  }
  return {
    title: 'Undecided: signed by a key that is not pinned',
    summary: `${cause.charAt(0).toUpperCase()}${cause.slice(1)}.`,
  };
}

function nextOf({ verdict, supposed }: JudgedLink, pins: Pins): string[] {
  if (verdict.verdict === 'undecidable') {
    return supposed === undefined
      ? [
          'Check the key that you pinned, and ask the sender whose key signed this.',
          'If you pinned a thumbprint, pin the public key itself: a link may not show the key that its log began with.',
        ]
      : [
          'Get the key’s thumbprint from the log’s operator by another way than this link, and compare it with the one above.',
        ];
  }
  if (verdict.verdict === 'invalid')
    return [
      'Ask for the link again: it may have been cut on its way. If it is as it was sent, it proves nothing.',
    ];
  return pins.log === undefined
    ? ['Pin the log id too, if you were told it: the same key may sign other logs.']
    : [];
}

function fieldsOf({ verdict, supposed, opened }: JudgedLink): Field[] {
  const mood = MOODS[verdict.verdict];
  const size = opened?.checkpoint.size ?? 0;
  const text =
    verdict.verdict === 'valid'
      ? `In its one strict form, signed by a key that you pinned or that such a key admitted, and on a proved way to the root that the log’s own key signed.`
      : `${(verdict.cause ?? '').charAt(0).toUpperCase()}${(verdict.cause ?? '').slice(1)}.${supposed === undefined ? '' : supposed.verdict.verdict === 'valid' ? ' Under the key that the link shows, everything fits.' : ` Even under the key that the link shows it is ${supposed.verdict.verdict}: ${supposed.verdict.cause}.`}`;
  return [
    { name: 'Integrity', state: verdict.verdict, mood, text },
    {
      name: 'Completeness',
      state: 'not claimed',
      mood: 'open',
      text: `The link shows single receipts of the first ${countText(size, 'line')} of a log, and says nothing of the others.`,
    },
    {
      name: 'Replay',
      state: 'not possible',
      mood: 'open',
      text: 'Decisions and balances can be recomputed from the whole log alone.',
    },
  ];
}

function receiptsOf(
  receipts: readonly Receipt[],
  opened: OpenedLink,
  trust: Trust,
  isSupposed: boolean,
): HTMLElement[] {
  const foundations = new Foundations(trust);
  for (const { payload } of receipts) foundations.add(payload);
  const proofs = new Map(opened.lines.map((line) => [line.index, line.proof.length]));
  const isMeant = ({ payload }: Receipt): boolean => payload.type !== 'genesis' && payload.type !== 'key';
  const ordered = [...receipts.filter(isMeant), ...receipts.filter((receipt) => !isMeant(receipt))];
  return ordered.map((receipt) => {
    const { payload } = receipt;
    const parsed = parseLine(new TextEncoder().encode(receipt.line));
    const mood = isSupposed ? 'open' : 'good';
    const key = foundations.keys.get(payload.issuer_id);
    const how = key === undefined ? 'which is not known' : howText(key, isSupposed);
    const steps = proofs.get(payload.seq) ?? 0;
    return el(
      'article',
      { class: 'receipt shared' },
      receiptTitle(receipt),
      checkList([
        { mood, text: `Signature valid under key ${payload.issuer_id} – ${how}.` },
        {
          mood,
          text: `${countText(steps, 'hash').replace('hashs', 'hashes')} lead from it to the root of the checkpoint of ${countText(opened.checkpoint.size, 'line')}: it is line ${(payload.seq + 1).toLocaleString('en-US')} of that log.`,
        },
      ]),
      wordsOf(receipt, foundations),
      'problem' in parsed ? undefined : rawOf(parsed),
    );
  });
}

function checkpointOf({ checkpoint }: OpenedLink): HTMLElement {
  return el(
    'details',
    { class: 'raw' },
    el('summary', {}, 'The checkpoint that it rests on'),
    el('p', { class: 'quiet' }, 'Root: ', code(toBase64(checkpoint.root))),
    el('pre', { tabindex: '0', 'aria-label': 'The checkpoint' }, shownLines(checkpoint.note)),
  );
}
