/** The receipts of a log, a page at a time. */
import { button, el, quoted } from './dom.ts';
import { receiptView, type ReceiptContext } from './receipt-view.ts';
import { GROUPS, type Group } from './receipt-index.ts';
import { summary } from './words.ts';

const PAGE = 25;

/** Tells an element that it is looked at from now on. */
export const SHOWN = 'shown';

export class ListView {
  readonly element: HTMLElement;
  readonly #context: ReceiptContext;
  readonly #rows = el('ol', { class: 'rows' });
  readonly #detail = el('div', { class: 'detail', 'aria-live': 'polite' });
  readonly #place = el('span', { class: 'place', role: 'status' });
  readonly #groups = new Set<Group>();
  readonly #back: HTMLButtonElement[];
  readonly #forth: HTMLButtonElement[];
  readonly #number = el('input', {
    type: 'text',
    inputmode: 'numeric',
    size: '8',
    'aria-label': 'Number of a receipt',
    placeholder: 'number',
  });
  #skip = 0;
  #open: number | undefined;
  /** What was asked for last: answers to earlier questions come too late. */
  #asked = 0;

  constructor(context: Omit<ReceiptContext, 'open'>) {
    this.#context = { ...context, open: (seq) => void this.open(seq) };
    this.#back = [button('First', () => this.#go(0)), button('Previous', () => this.#go(this.#skip - PAGE))];
    this.#forth = [
      button('Next', () => this.#go(this.#skip + PAGE)),
      button('Last', () => this.#go(this.#count() - 1)),
    ];
    const form = el('form', { class: 'goto' }, this.#number, el('button', { type: 'submit' }, 'Go to #'));
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      const seq = Number(this.#number.value.replace(/^\s*#/, '').trim());
      if (Number.isSafeInteger(seq) && seq >= 0 && seq < this.#context.index.size) void this.open(seq);
      else
        this.#detail.replaceChildren(
          el(
            'p',
            { class: 'problem' },
            `There is no receipt of that number: they go from 0 to ${this.#context.index.size - 1}.`,
          ),
        );
    });
    this.element = el(
      'section',
      { class: 'receipts', 'aria-label': 'Receipts' },
      el('h3', {}, 'Receipts'),
      el('div', { class: 'filters', role: 'group', 'aria-label': 'Show only' }, ...this.#filters()),
      el(
        'div',
        { class: 'browser' },
        el(
          'div',
          { class: 'list' },
          this.#rows,
          el(
            'nav',
            { class: 'pages', 'aria-label': 'Pages of receipts' },
            ...this.#back,
            this.#place,
            ...this.#forth,
            form,
          ),
        ),
        this.#detail,
      ),
    );
    this.#detail.append(el('p', { class: 'quiet' }, 'Choose a receipt to read it.'));
    // Of several logs only one is looked at, so only its list is drawn.
    this.element.addEventListener(SHOWN, () => void this.#draw(), { once: true });
  }

  #filters(): HTMLElement[] {
    const { counts } = this.#context.index;
    return GROUPS.filter((group) => counts[group] > 0).map((group) => {
      const toggle = button(
        `${group} ${counts[group].toLocaleString('en-US')}`,
        () => {
          if (!this.#groups.delete(group)) this.#groups.add(group);
          toggle.setAttribute('aria-pressed', String(this.#groups.has(group)));
          this.#go(0);
        },
        { class: 'filter', 'aria-pressed': 'false' },
      );
      return toggle;
    });
  }

  #count(): number {
    if (this.#groups.size === 0) return this.#context.index.size;
    return [...this.#groups].reduce((sum, group) => sum + this.#context.index.counts[group], 0);
  }

  #go(skip: number): void {
    const last = Math.max(0, this.#count() - 1);
    const within = Math.min(Math.max(0, skip), last);
    this.#skip = within - (within % PAGE);
    void this.#draw();
  }

  async #draw(): Promise<void> {
    const asked = (this.#asked += 1);
    const numbers = this.#context.index.pick(this.#groups, this.#skip, PAGE);
    const rows = await Promise.all(numbers.map((seq) => this.#row(seq)));
    if (asked !== this.#asked) return;
    this.#rows.replaceChildren(...rows);
    const count = this.#count();
    const to = this.#skip + numbers.length;
    this.#place.textContent = `${(this.#skip + 1).toLocaleString('en-US')}–${to.toLocaleString('en-US')} of ${count.toLocaleString('en-US')}`;
    for (const each of this.#back) each.disabled = this.#skip === 0;
    for (const each of this.#forth) each.disabled = to >= count;
  }

  async #row(seq: number): Promise<HTMLElement> {
    let line: Awaited<ReturnType<ReceiptContext['index']['read']>>;
    try {
      line = await this.#context.index.read(seq);
    } catch {
      // said where it is opened
    }
    const payload = line?.payload;
    const kind = payload?.type === 'decision' ? payload.decision : '';
    const row = button('', () => void this.open(seq), { class: `row ${kind}`, 'data-seq': seq });
    if (seq === this.#open) row.setAttribute('aria-current', 'true');
    row.append(
      el('span', { class: 'seq' }, `#${seq.toLocaleString('en-US')}`),
      el('span', { class: 'type' }, payload?.type ?? 'not readable'),
      el(
        'span',
        { class: 'what' },
        payload === undefined ? 'the file has changed' : quoted(summary(payload), 120),
      ),
      el('time', {}, payload === undefined ? '' : payload.issued_at.slice(0, 19).replace('T', ' ')),
    );
    return el('li', {}, row);
  }

  /** Shows one receipt, and the page of the list that it is on. */
  async open(seq: number): Promise<void> {
    this.#open = seq;
    const isThere = this.#rows.querySelector(`[data-seq="${seq}"]`) !== null;
    if (!isThere && this.#groups.size === 0) this.#go(seq);
    for (const row of this.#rows.querySelectorAll('.row')) {
      if (row.getAttribute('data-seq') === String(seq)) row.setAttribute('aria-current', 'true');
      else row.removeAttribute('aria-current');
    }
    let view: HTMLElement;
    try {
      view = await receiptView(seq, this.#context);
    } catch (error) {
      view = el('p', { class: 'problem' }, `The file can’t be read any more: ${(error as Error).message}`);
    }
    if (this.#open !== seq) return;
    const back = button('Back to the list', () => this.#backTo(seq), { class: 'plain back' });
    this.#detail.replaceChildren(view, back);
    this.#detail.querySelector<HTMLElement>('h3')?.focus({ preventScroll: true });
    this.#detail.scrollIntoView({ block: 'nearest' });
  }

  #backTo(seq: number): void {
    const row = this.#rows.querySelector<HTMLElement>(`[data-seq="${seq}"]`);
    (row ?? this.#rows).scrollIntoView({ block: 'center' });
    row?.focus({ preventScroll: true });
  }
}
