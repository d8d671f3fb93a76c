/** One receipt: what it says in words, whether its signature and its link hold, and the line as it stands. */
import { verify, verifyLater } from '#platform';
import { sha256Text } from '../../receipts/keys.ts';
import { signedBytes, type ParsedLine } from '../../receipts/parse-line.ts';
import { soundSignature } from '../../receipts/strict-signature.ts';
import { button, code, el, quoted, shown } from './dom.ts';
import type { Foundations, KnownKey } from './foundations.ts';
import type { ReceiptIndex } from './receipt-index.ts';
import { summary, tell, timeText } from './words.ts';
import type { Mood } from './conclude.ts';

type ReadLine = ParsedLine & { bytes: Uint8Array };

/** Where a receipt comes from, and what is known around it. */
export interface ReceiptContext {
  index: ReceiptIndex;
  foundations: Foundations;
  /** Lines that a checkpoint proves. */
  provedLines: number;
  /** True when the key is only what the log shows of itself. */
  isSupposed: boolean;
  open: (seq: number) => void;
}

export interface Check {
  mood: Mood;
  text: string;
}

const MARKS: Readonly<Record<Mood, string>> = { good: '✓', bad: '✗', open: '?' };
const SPOKEN: Readonly<Record<Mood, string>> = { good: 'holds: ', bad: 'does not hold: ', open: 'open: ' };

export function checkList(checks: readonly Check[]): HTMLElement {
  const items = checks.map(({ mood, text }) =>
    el(
      'li',
      { class: mood },
      el('span', { class: 'mark', 'aria-hidden': 'true' }, MARKS[mood]),
      el('span', {}, el('span', { class: 'spoken' }, SPOKEN[mood]), shown(text)),
    ),
  );
  return el('ul', { class: 'checks' }, ...items);
}

/** Reads the receipt from the file again, so what is shown is what is checked. */
export async function receiptView(seq: number, context: ReceiptContext): Promise<HTMLElement> {
  const line = await context.index.read(seq);
  if (line === undefined || line.payload.seq !== seq) {
    return el(
      'p',
      { class: 'problem' },
      `The file has changed since it was verified: #${seq} is not there any more.`,
    );
  }
  const checks = await checksOf(line, seq, context);
  const { payload } = line;
  const others = 'call' in payload ? await relatedButtons(payload.call, seq, context) : undefined;
  return el(
    'article',
    { class: 'receipt', 'aria-labelledby': 'receipt-title' },
    receiptTitle(line),
    checkList(checks),
    wordsOf(line, context.foundations),
    others,
    rawOf(line),
  );
}

export function receiptTitle({ payload }: Pick<ParsedLine, 'payload'>): HTMLElement {
  return el(
    'header',
    {},
    el('h3', { id: 'receipt-title', tabindex: '-1' }, `#${payload.seq} ${payload.type}`),
    el('p', { class: 'quiet' }, `${timeText(payload.issued_at)} · `, quoted(summary(payload), 160)),
  );
}

async function checksOf(line: ReadLine, seq: number, context: ReceiptContext): Promise<Check[]> {
  const { index, foundations, provedLines, isSupposed } = context;
  const { payload } = line;
  const key = foundations.keys.get(payload.issuer_id);
  const isSigned = key !== undefined && (await isSignedBy(line, key));
  const signature: Check = isSigned
    ? {
        mood: isSupposed ? 'open' : 'good',
        text: `Signature valid under key ${payload.issuer_id} – ${howText(key, isSupposed)}.`,
      }
    : { mood: 'bad', text: `The signature doesn’t fit, or its key ${payload.issuer_id} is not known.` };
  const checks: Check[] = [signature];
  if (seq > 0) {
    const before = await index.bytes(seq - 1);
    const fits = before !== undefined && sha256Text(before) === payload.previousReceiptHash;
    checks.push({
      mood: fits ? 'good' : 'bad',
      text: fits
        ? `Names the hash of #${seq - 1}, the line before it.`
        : `Does not name the hash of the line before it.`,
    });
  }
  if (provedLines > seq)
    checks.push({
      mood: 'good',
      text: `Among the ${provedLines.toLocaleString('en-US')} lines that a checkpoint or head proves.`,
    });
  return checks;
}

async function isSignedBy({ bytes, text, signature }: ReadLine, { publicKey }: KnownKey): Promise<boolean> {
  const sound = soundSignature(signature.sig);
  if (sound === undefined) return false;
  const message = signedBytes(bytes, text);
  return verifyLater === undefined
    ? verify(publicKey, message, sound)
    : verifyLater(publicKey, message, sound);
}

export function howText({ how, until }: KnownKey, isSupposed: boolean): string {
  const over = until === undefined ? '' : `, until it was replaced by #${until}`;
  if (how === 'pinned')
    return (isSupposed ? 'which the log shows, and you have not pinned' : 'which you pinned') + over;
  if (how === 'certified') return `which the root that you pinned has certified${over}`;
  return `which #${how.admittedBy} has admitted${over}`;
}

/** Price lists may be long; what isn't shown is in the raw receipt. */
const MOST_ROWS = 100;

export function wordsOf(
  line: Pick<ParsedLine, 'payload'>,
  foundations: Foundations | undefined,
): HTMLElement {
  const told = tell(line.payload, foundations);
  const rows = told.slice(0, MOST_ROWS).flatMap(([label, text]) => {
    const values = typeof text === 'string' ? [text] : text;
    return [
      el('dt', {}, shown(label, 80)),
      ...values.slice(0, 64).map((value) => el('dd', {}, quoted(value))),
      ...(values.length > 64 ? [el('dd', {}, `and ${values.length - 64} more`)] : []),
    ];
  });
  if (told.length > MOST_ROWS) rows.push(el('dd', {}, `and ${told.length - MOST_ROWS} more`));
  return el('dl', { class: 'words' }, ...rows);
}

const MOST_RELATED = 20;

async function relatedButtons(
  call: string,
  seq: number,
  { index, open }: ReceiptContext,
): Promise<HTMLElement | undefined> {
  const buttons: HTMLElement[] = [];
  for (const other of index.ofCall(call, MOST_RELATED)) {
    if (other === seq) continue;
    const line = await index.read(other);
    if (line === undefined || !('call' in line.payload) || line.payload.call !== call) continue;
    buttons.push(button(`#${other} ${line.payload.type}`, () => open(other), { class: 'plain' }));
  }
  if (buttons.length === 0) return undefined;
  return el('p', { class: 'related' }, 'Same call: ', ...buttons);
}

const LONGEST_RAW = 20_000;

/** The line as it stands, laid out. */
export function rawOf({ text, signature }: Pick<ParsedLine, 'text' | 'signature'>): HTMLElement {
  const laidOut = JSON.stringify(JSON.parse(text), undefined, 2);
  return el(
    'details',
    { class: 'raw' },
    el('summary', {}, 'Raw JSON and signature'),
    el('p', { class: 'quiet' }, 'Signature (Ed25519, hex): ', code(signature.sig)),
    el('pre', { tabindex: '0', 'aria-label': 'The receipt as JSON' }, shownLines(laidOut)),
  );
}

/** Texts of several lines, whose line ends stay. */
export function shownLines(text: string): DocumentFragment {
  const fragment = document.createDocumentFragment();
  const cut = text.slice(0, LONGEST_RAW);
  for (const [index, line] of cut.split('\n').entries()) {
    if (index > 0) fragment.append('\n');
    fragment.append(shown(line, 2000));
  }
  if (cut.length < text.length)
    fragment.append(
      el('span', { class: 'cut' }, `\n… ${text.length.toLocaleString('en-US')} characters in all`),
    );
  return fragment;
}
