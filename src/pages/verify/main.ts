/** The page: takes files, links and pins, and shows the verdicts under the pins as they stand. */
import { byId, button, el, quoted } from './dom.ts';
import { Cancelled, examine } from './examine.ts';
import { linkView } from './link-view.ts';
import { SHOWN } from './list-view.ts';
import { readPins, type PinField, type Pins, type PinTexts } from './pins.ts';
import { cancelledView, failedView, resultView, WorkingView } from './result-view.ts';
import { kindOf } from './picked.ts';

const fields = {
  keys: byId('keys', HTMLTextAreaElement),
  log: byId('log', HTMLInputElement),
  checkpoint: byId('checkpoint', HTMLTextAreaElement),
  head: byId('head', HTMLInputElement),
  roots: byId('roots', HTMLInputElement),
  replay: byId('replay', HTMLInputElement),
  link: byId('link', HTMLInputElement),
  files: byId('files', HTMLInputElement),
} as const;
const drop = byId('drop', HTMLElement);
const results = byId('results', HTMLElement);
const pickedList = byId('picked', HTMLElement);

/** Something to be verified: a log, or a share link. */
interface Subject {
  name: string;
  view: (pins: Pins, signal: AbortSignal, place: Place) => Promise<HTMLElement>;
}

type Place = (view: HTMLElement) => void;

/** What was picked beside the logs. */
interface Picked {
  kind: 'checkpoint' | 'certificate' | 'key';
  name: string;
  text: string;
}

let subjects: readonly Subject[] = [];
let picked: readonly Picked[] = [];
let running: AbortController | undefined;
/** The result that is looked at. */
let chosen = 0;
/** The fields as the last verdict was made under them. */
let ranUnder = '';

const fieldsNow = (): string => JSON.stringify([pinTexts(), fields.replay.checked]);

/** A field tells of a change when it is left, which may be long after the verdict was made under what it holds. */
function startIfChanged(): void {
  if (fieldsNow() !== ranUnder) start();
}

function pinTexts(): PinTexts {
  const textsOf = (kind: Picked['kind']): string[] =>
    picked.filter((each) => each.kind === kind).map(({ text }) => text);
  return {
    keys: fields.keys.value,
    log: fields.log.value,
    checkpoints: [fields.checkpoint.value, ...textsOf('checkpoint')],
    head: fields.head.value,
    roots: fields.roots.value,
    certificates: textsOf('certificate'),
  };
}

const PROBLEM_FIELDS: readonly PinField[] = ['keys', 'log', 'checkpoints', 'head', 'roots', 'certificates'];

/** The pins, or `undefined` while a field holds something that can't be used: then there is no verdict either. */
function currentPins(): Pins | undefined {
  const { pins, problems } = readPins(pinTexts());
  for (const field of PROBLEM_FIELDS) {
    byId(`${field}-problem`, HTMLElement).textContent = problems[field] ?? '';
    const input =
      field === 'checkpoints' ? fields.checkpoint : field === 'certificates' ? undefined : fields[field];
    input?.setAttribute('aria-invalid', String(problems[field] !== undefined));
  }
  if (problems.head ?? problems.roots ?? problems.certificates) byId('more', HTMLDetailsElement).open = true;
  return Object.keys(problems).length === 0 ? pins : undefined;
}

/** Verifies everything under the pins as they stand, one after the other. */
async function run(): Promise<void> {
  running?.abort();
  const controller = new AbortController();
  running = controller;
  const pins = currentPins();
  if (subjects.length === 0) return;
  if (pins === undefined) {
    results.replaceChildren(
      el(
        'p',
        { class: 'problem', role: 'alert' },
        'No verdict: one of the fields above can’t be used. Mend or empty it.',
      ),
    );
    return;
  }
  chosen = Math.min(chosen, subjects.length - 1);
  const slots = subjects.map(({ name }) => {
    const slot = el('div', { class: 'slot' });
    slot.append(el('p', { class: 'quiet' }, 'Waiting: ', quoted(name, 120)));
    return slot;
  });
  const status = el('p', { class: 'spoken', role: 'status' });
  const tabs = subjects.length > 1 ? tabList(slots) : undefined;
  results.replaceChildren(...(tabs === undefined ? [] : [tabs]), status, ...slots);
  choose(chosen);
  for (const [index, subject] of subjects.entries()) {
    const slot = slots[index] as HTMLElement;
    const place: Place = (view) => slot.replaceChildren(view);
    const view = await subject.view(pins, controller.signal, place);
    if (running !== controller) return;
    place(view);
    mark(tabs, index, view);
    if (index === chosen) show(slot);
    status.textContent = `${subject.name}: ${view.querySelector('h2')?.textContent ?? ''}`;
  }
  results.setAttribute('data-done', 'true');
}

function start(): void {
  ranUnder = fieldsNow();
  results.removeAttribute('data-done');
  void run();
}

function tabList(slots: readonly HTMLElement[]): HTMLElement {
  return el(
    'nav',
    { class: 'logs', 'aria-label': 'Logs' },
    ...slots.map((_slot, index) => {
      const subject = subjects[index] as Subject;
      const tab = button('', () => choose(index), { class: 'tab' });
      tab.append(el('span', { class: 'mark' }, '…'), quoted(subject.name, 60));
      return tab;
    }),
  );
}

function choose(index: number): void {
  chosen = index;
  for (const [at, slot] of results.querySelectorAll<HTMLElement>('.slot').entries()) {
    slot.hidden = at !== index;
    if (at === index) show(slot);
  }
  for (const [at, tab] of results.querySelectorAll('.tab').entries()) {
    if (at === index) tab.setAttribute('aria-current', 'true');
    else tab.removeAttribute('aria-current');
  }
}

/** Has the parts drawn that are only drawn when they are looked at. */
function show(slot: HTMLElement): void {
  slot.querySelector('.receipts')?.dispatchEvent(new Event(SHOWN));
}

function mark(tabs: HTMLElement | undefined, index: number, view: HTMLElement): void {
  const tab = tabs?.querySelectorAll('.tab')[index];
  const banner = view.querySelector('.banner');
  tab?.querySelector('.mark')?.replaceChildren(banner?.querySelector('.mark')?.textContent ?? '?');
  tab?.classList.add(...['good', 'bad', 'open'].filter((mood) => banner?.classList.contains(mood) === true));
}

/** The person has compared the key with what they were told. */
function pin(thumbprint: string): void {
  fields.keys.value = thumbprint;
  start();
}

function logSubject(file: File): Subject {
  return {
    name: file.name,
    view: async (pins, signal, place) => {
      const own = new AbortController();
      const working = new WorkingView(file.name, () => own.abort());
      place(working.element);
      const options = {
        pins,
        replay: fields.replay.checked,
        signal: AbortSignal.any([signal, own.signal]),
        onProgress: working.show.bind(working),
      };
      try {
        return await resultView(await examine(file, options), pins, pin);
      } catch (error) {
        if (error instanceof Cancelled) return cancelledView(file.name, error.progress, start);
        return failedView(file.name, error, start);
      }
    },
  };
}

function linkSubject(link: string): Subject {
  const name = 'Share link';
  const view = (pins: Pins): Promise<HTMLElement> =>
    linkView(link, pins, pin).catch((error: unknown) => failedView(name, error, start));
  return { name, view };
}

async function take(files: readonly File[]): Promise<void> {
  const logs: File[] = [];
  const others: Picked[] = [];
  for (const file of files) {
    const found = await kindOf(file).catch(() => ({ kind: 'log' as const }));
    if (found.kind === 'log') logs.push(file);
    else others.push({ ...found, name: file.name });
  }
  picked = [...picked, ...others];
  if (logs.length > 0) {
    subjects = logs.map(logSubject);
    chosen = 0;
  }
  drawPicked();
  start();
  if (logs.length > 0) results.scrollIntoView({ block: 'start' });
}

const KINDS = {
  checkpoint: 'Checkpoint',
  certificate: 'Certificate of a root',
  key: 'A key, which proves nothing when it came with the log',
} as const;

function drawPicked(): void {
  pickedList.replaceChildren(
    ...picked.map((each) => {
      const remove = (): void => {
        picked = picked.filter((other) => other !== each);
        drawPicked();
      };
      const use = (): void => {
        fields.keys.value = each.text;
        remove();
        start();
      };
      return el(
        'li',
        {},
        `${KINDS[each.kind]}: `,
        quoted(each.name, 80),
        each.kind === 'key' ? button('I got it another way: pin it', use, { class: 'plain' }) : undefined,
        button(
          'Remove',
          () => {
            remove();
            start();
          },
          { class: 'plain' },
        ),
      );
    }),
  );
}

function openLink(link: string): void {
  subjects = [linkSubject(link)];
  chosen = 0;
  start();
  results.scrollIntoView({ block: 'start' });
}

/** A link's receipt must not stay in the address, from where histories and screenshots get it. */
function takeFragment(): void {
  const { hash } = location;
  if (!hash.startsWith('#r=')) return;
  history.replaceState(null, '', location.pathname + location.search);
  openLink(hash);
}

for (const field of [fields.keys, fields.log, fields.checkpoint, fields.head, fields.roots, fields.replay])
  field.addEventListener('change', startIfChanged);
fields.files.addEventListener('change', () => {
  const files = [...(fields.files.files ?? [])];
  // The same file may be chosen again.
  fields.files.value = '';
  if (files.length > 0) void take(files);
});
byId('open-link', HTMLElement).addEventListener('click', () => {
  if (fields.link.value.trim() !== '') openLink(fields.link.value);
});
fields.link.addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && fields.link.value.trim() !== '') openLink(fields.link.value);
});
// A file that is dropped anywhere must not take the page away.
for (const name of ['dragover', 'drop'] as const) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    const isOver = name === 'dragover';
    drop.classList.toggle('over', isOver);
    if (!isOver) void take([...(event.dataTransfer?.files ?? [])]);
  });
}
document.addEventListener('dragleave', (event) => {
  if (event.relatedTarget === null) drop.classList.remove('over');
});
globalThis.addEventListener('hashchange', takeFragment);
takeFragment();
