/**
 * Building the page. Texts from a log are anybody's, so they only ever become text nodes, and what could hide or turn
 * them around is shown by its number.
 */

type Child = Node | string | undefined;

interface Attributes {
  [name: string]: string | number | boolean | undefined;
}

/** An element. Strings become text; attributes that are `undefined` or `false` are left out. */
export function el<K extends keyof HTMLElementTagNameMap>(
  name: K,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    element.setAttribute(attribute, value === true ? '' : String(value));
  }
  element.append(...children.filter((child) => child !== undefined));
  return element;
}

/** A button that does something. */
export function button(text: string, onClick: () => void, attributes: Attributes = {}): HTMLButtonElement {
  const element = el('button', { type: 'button', ...attributes }, text);
  element.addEventListener('click', onClick);
  return element;
}

/** The element of the page with this id. */
export function byId<T extends HTMLElement>(id: string, type: abstract new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`the page has no ${type.name} #${id}`);
  return found;
}

// Controls, formats (bidi marks, zero-width signs, tags), separators, surrogates, private use, what is not assigned,
// marks that stack on nothing, and letters that are drawn as nothing.
const ODD =
  /([\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}\p{Cn}\u{115f}\u{1160}\u{2800}\u{3164}\u{ffa0}]|\u{034f}|\u{17b4}|\u{17b5}|[\u{fe00}-\u{fe0f}])/u;
/** More combining marks than any script stacks on a letter. */
const STACKED = /(\p{M}{5})\p{M}+/gu;

/** How much of a text is shown at once. */
const LONGEST = 400;

/** A text from a log, safe to look at. Longer ones are cut, and say so. */
export function shown(text: string, longest: number = LONGEST): DocumentFragment {
  const fragment = document.createDocumentFragment();
  const cut = text.length > longest ? text.slice(0, longest) : text;
  const calm = cut.replaceAll(STACKED, '$1\u{fffd}');
  for (const part of calm.split(ODD)) {
    if (part === '') continue;
    if (ODD.test(part)) fragment.append(oddCharacter(part));
    else fragment.append(part);
  }
  if (cut.length < text.length) {
    const more = `… ${text.length.toLocaleString('en-US')} characters in all`;
    fragment.append(el('span', { class: 'cut' }, more));
  }
  return fragment;
}

function oddCharacter(char: string): HTMLElement {
  const code = (char.codePointAt(0) as number).toString(16).toUpperCase().padStart(4, '0');
  return el(
    'span',
    { class: 'odd', title: 'a character that can’t be seen, or changes how others are read' },
    `U+${code}`,
  );
}

/** Isolated from the text around it, whatever direction it has. */
export function quoted(text: string, longest?: number): HTMLElement {
  return el('bdi', {}, shown(text, longest));
}

/** A value to be compared or copied letter by letter. */
export function code(text: string): HTMLElement {
  return el('code', {}, shown(text, 600));
}
