/** The verdict on a log, as it is shown. */
import { formatUsd } from '../../money.ts';
import { checkpointText, conclude, NEVER_PROVED, type Conclusion, type Field } from './conclude.ts';
import { button, code, el, quoted, shown } from './dom.ts';
import type { Examination, Progress } from './examine.ts';
import { ListView } from './list-view.ts';
import type { Pins } from './pins.ts';
import { howText, shownLines } from './receipt-view.ts';
import { countText, timeText } from './words.ts';

const MARKS = { good: '✓', bad: '✗', open: '?' } as const;

/** The headline that every result begins with. */
export function banner(
  { mood, title, summary }: Pick<Conclusion, 'mood' | 'title' | 'summary'>,
  name: string,
): HTMLElement {
  return el(
    'div',
    { class: `banner ${mood}` },
    el('span', { class: 'mark', 'aria-hidden': 'true' }, MARKS[mood]),
    el(
      'div',
      {},
      el('p', { class: 'name' }, quoted(name, 120)),
      el('h2', {}, shown(title)),
      el('p', {}, shown(summary, 1000)),
    ),
  );
}

export function fieldList(fields: readonly Field[]): HTMLElement {
  return el(
    'dl',
    { class: 'fields' },
    ...fields.flatMap(({ name, state, mood, text }) => [
      el('dt', {}, name),
      el(
        'dd',
        { class: mood },
        el('strong', {}, el('span', { class: 'mark', 'aria-hidden': 'true' }, MARKS[mood]), ` ${state}`),
        el('span', {}, shown(text, 1200)),
      ),
    ]),
  );
}

export function nextList(next: readonly string[]): HTMLElement | undefined {
  if (next.length === 0) return undefined;
  return el(
    'div',
    { class: 'next' },
    el('h3', {}, 'What to do next'),
    el('ul', {}, ...next.map((text) => el('li', {}, text))),
  );
}

/** What no verdict here can say. */
export function limits(): HTMLElement {
  return el(
    'details',
    { class: 'limits', open: true },
    el('summary', {}, 'What this does not prove'),
    el('ul', {}, ...NEVER_PROVED.map((text) => el('li', {}, text))),
  );
}

/** A key to be compared with one that was learnt elsewhere, and the way to pin it then. */
export function compareKey(thumbprint: string, pin: (thumbprint: string) => void): HTMLElement {
  return el(
    'div',
    { class: 'compare' },
    el('p', {}, 'Thumbprint of the key that is shown:'),
    el('p', {}, code(thumbprint)),
    button('I compared this with what I was told: pin it', () => pin(thumbprint)),
  );
}

export async function resultView(
  examination: Examination,
  pins: Pins,
  pin: (thumbprint: string) => void,
): Promise<HTMLElement> {
  const conclusion = conclude(examination, pins);
  const { integrity, line, cause, compare } = conclusion;
  const kind = examination.isLog ? 'log' : 'not-a-log';
  const element = el('article', {
    class: 'result',
    'data-kind': kind,
    'data-file': examination.file.name,
    'data-integrity': integrity,
    'data-exit': conclusion.exit,
    'data-line': line,
    'data-cause': cause,
    'data-receipts': examination.verdict.receipts,
    'data-complete': provedUpTo(conclusion),
    'data-replay': examination.replay?.replay,
  });
  element.append(banner(conclusion, examination.file.name));
  if (compare !== undefined) element.append(compareKey(compare, pin));
  if (!examination.isLog) {
    element.append(nextList(conclusion.next) ?? '');
    return element;
  }
  element.append(
    ...[
      fieldList(conclusion.fields),
      await badLine(examination, line),
      nextList(conclusion.next),
      limits(),
      examination.index.size > 0 ? figures(examination) : undefined,
    ].filter((part) => part !== undefined),
  );
  if (examination.index.size > 0) {
    const list = new ListView({
      index: examination.index,
      foundations: examination.foundations,
      provedLines: (provedUpTo(conclusion) ?? -1) + 1,
      isSupposed: examination.underShownKey !== undefined,
    });
    element.append(list.element);
  }
  return element;
}

function provedUpTo({ fields }: Conclusion): number | undefined {
  const state = fields.find(({ name }) => name === 'Completeness')?.state ?? '';
  const [, number] = /^proved up to #(\d+)$/.exec(state) ?? [];
  return number === undefined ? undefined : Number(number);
}

const MOST_OF_A_LINE = 8 * 1024;

/** The first line that is wrong, as far as it can be shown. */
async function badLine(
  { index, verdict }: Examination,
  line: number | undefined,
): Promise<HTMLElement | undefined> {
  if (line === undefined || verdict.cause?.startsWith('signed by the unknown key') === true) return undefined;
  const bytes = await index.bytes(line - 1, MOST_OF_A_LINE).catch(() => undefined);
  if (bytes === undefined || bytes.length === 0) return undefined;
  const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
  const more = bytes.length === MOST_OF_A_LINE ? ' (its beginning)' : '';
  return el(
    'details',
    { class: 'raw bad-line', open: true },
    el('summary', {}, `Line ${line.toLocaleString('en-US')} as it stands in the file${more}`),
    el('pre', { tabindex: '0', 'aria-label': 'The line that is wrong' }, shownLines(text)),
  );
}

function figures({
  verdict,
  totals,
  head,
  foundations,
  checkpoints,
  elapsed,
  underShownKey,
  file,
}: Examination): HTMLElement {
  const isWhole = (underShownKey ?? verdict).integrity === 'valid';
  const part = isWhole ? '' : ' (of the part that verified)';
  const { allowed, downgraded, blocked, open, expired, settled } = totals;
  const rows: [string, Node | string][] = [
    [
      'Calls',
      `${allowed.toLocaleString('en-US')} allowed, ${downgraded.toLocaleString('en-US')} downgraded, ${blocked.toLocaleString('en-US')} blocked; ${open.toLocaleString('en-US')} open, ${expired.toLocaleString('en-US')} expired${part}`,
    ],
    ['Settled', `${formatUsd(settled)}${part}`],
  ];
  const log = (underShownKey ?? verdict).log;
  if (log !== undefined) rows.push(['Log id', code(log)]);
  if (head !== undefined) {
    rows.push([
      'Head',
      el(
        'span',
        {},
        `#${head.seq.toLocaleString('en-US')}, ${timeText(head.time)}`,
        el('br'),
        code(`${head.seq}:${head.hash}`),
      ),
    ]);
  }
  for (const [index, finding] of checkpoints.entries())
    rows.push([`Checkpoint ${index + 1}`, checkpointText(finding)]);
  const keys = [...foundations.keys].slice(0, 20);
  for (const [kid, key] of keys)
    rows.push(['Key', el('span', {}, code(kid), ` ${howText(key, underShownKey !== undefined)}`)]);
  if (foundations.keys.size > 20) rows.push(['', `and ${foundations.keys.size - 20} more keys`]);
  rows.push(['Read', `${sizeText(file.size)} in ${durationText(elapsed)}`]);
  return el(
    'dl',
    { class: 'figures' },
    ...rows.flatMap(([label, value]) => [el('dt', {}, label), el('dd', {}, value)]),
  );
}

export function sizeText(bytes: number): string {
  if (bytes < 1000) return countText(bytes, 'byte');
  const units = ['kB', 'MB', 'GB', 'TB'];
  let value = bytes / 1000;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value.toFixed(value < 10 ? 1 : 0)} ${units[unit]}`;
}

export function durationText(ms: number): string {
  const seconds = ms / 1000;
  if (seconds < 1) return 'less than a second';
  if (seconds < 90) return countText(Math.round(seconds), 'second');
  return countText(Math.round(seconds / 60), 'minute');
}

/** What is shown while a file is read. */
export class WorkingView {
  readonly element: HTMLElement;
  readonly #bar = el('progress', { max: '1', value: '0', 'aria-label': 'Verified' });
  readonly #text = el('p', { class: 'quiet' }, 'Beginning …');

  constructor(name: string, cancel: () => void) {
    this.element = el(
      'article',
      { class: 'result', 'data-kind': 'working' },
      el(
        'div',
        { class: 'banner open' },
        el(
          'div',
          {},
          el('p', { class: 'name' }, quoted(name, 120)),
          el('h2', {}, 'Verifying …'),
          this.#bar,
          this.#text,
          el('p', {}, button('Cancel', cancel)),
        ),
      ),
    );
  }

  show({ bytes, total, receipts, elapsed }: Progress): void {
    this.#bar.value = total === 0 ? 1 : bytes / total;
    const seconds = elapsed / 1000;
    const rate = seconds > 0.5 ? `, ${Math.round(receipts / seconds).toLocaleString('en-US')} a second` : '';
    const left =
      bytes > 0 && seconds > 2 ? `, about ${durationText((elapsed / bytes) * (total - bytes))} left` : '';
    this.#text.textContent = `${sizeText(bytes)} of ${sizeText(total)}; ${countText(receipts, 'receipt')}${rate}${left}`;
  }
}

export function cancelledView(
  name: string,
  { bytes, total, receipts }: Progress,
  again: () => void,
): HTMLElement {
  const view = el('article', { class: 'result', 'data-kind': 'cancelled' });
  view.append(
    banner(
      {
        mood: 'open',
        title: 'Cancelled: no verdict',
        summary: `${countText(receipts, 'receipt')} had verified, in ${sizeText(bytes)} of ${sizeText(total)}. A part of a log says nothing of the rest.`,
      },
      name,
    ),
    el('p', {}, button('Verify again', again)),
  );
  return view;
}

export function failedView(name: string, error: unknown, again: () => void): HTMLElement {
  const isRead = error instanceof DOMException;
  const view = el('article', { class: 'result', 'data-kind': 'failed' });
  view.append(
    banner(
      {
        mood: 'open',
        title: 'No verdict: the file could not be read',
        summary: isRead
          ? 'It has changed or gone while it was read. A guard is probably still writing to it: make a copy, and choose the copy.'
          : `Something went wrong that this page did not expect: ${(error as Error).message}`,
      },
      name,
    ),
    el('p', {}, button('Try again', again)),
  );
  return view;
}
