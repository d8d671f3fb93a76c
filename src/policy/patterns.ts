/**
 * Which models a name or a pattern in a policy means. Pure, and independent of any price list, so that a decision
 * can be made again years later.
 */

import { SCOPE_FIELDS, type SpendScope } from '../scope.ts';
import type { Rule } from './types.ts';

const DATE_SUFFIX = /[-@]20\d\d(-?)(0[1-9]|1[0-2])\1(0[1-9]|[12]\d|3[01])$/;
/** The router that chooses a model by itself. */
const AUTO_ROUTER = 'openrouter/auto';

const ANY_CHARACTER = /[^]/;
const ALL_BUT_COLON = /[^:]/;
/** What ids of models are made of. Others look like these, or say something more: a preset, a path, an escape. */
const ID_CHARACTER = /[\w.~/-]/;

/**
 * True when `text` is the pattern, or fits it where a `*` stands for any characters that `starred` takes. Letters and
 * their case count. No pattern makes it slow: it goes back to the last star only.
 */
export function fitsPattern(pattern: string, text: string, starred = ANY_CHARACTER): boolean {
  if (!pattern.includes('*')) return pattern === text;
  let at = 0;
  let star = -1;
  let resume = 0;
  for (let read = 0; read < text.length;) {
    if (pattern[at] === '*') {
      star = at++;
      resume = read;
    } else if (pattern[at] === text[read]) {
      at++;
      read++;
    } else if (star >= 0 && starred.test(text[resume] as string)) {
      // The last star takes one character more.
      at = star + 1;
      read = ++resume;
    } else return false;
  }
  return /^\**$/.test(pattern.slice(at));
}

/**
 * In names of models `*` stops at `:`, so that a variant (`:free`, `:nitro`) must be written out, and at whatever plain
 * ids have none of. Nor does it stand for `..`, by which the path of a URL leads to another model.
 */
function fitsModel(pattern: string, name: string): boolean {
  return fitsPattern(pattern, name, ID_CHARACTER) && !name.includes('..');
}

/** For restrictions, which are about odd names, too. */
function fitsLoosely(pattern: string, name: string): boolean {
  return fitsPattern(pattern, name, ALL_BUT_COLON);
}

/** The names that one model is called by: as it is asked for, with its provider, without its date, dots as dashes. */
function namesOf(model: string, provider: string | undefined): string[] {
  const bare = model.startsWith('models/') ? model.slice('models/'.length) : model;
  const undated = bare.replace(DATE_SUFFIX, '');
  const spelled = [bare, undated].flatMap((name) =>
    /(^|\/)claude-/.test(name)
      ? [name, name.replace(/(\d)\.(\d{1,2})(?!\d)/, '$1-$2'), name.replace(/(\d)-(\d{1,2})(?!\d)/, '$1.$2')]
      : [name],
  );
  const names = [model, ...spelled];
  if (provider !== undefined && provider !== 'openrouter' && provider !== 'gateway')
    names.push(...spelled.map((name) => `${provider}/${name}`));
  return [...new Set(names)];
}

/** True when the patterns let `model` pass. What they don't name, however like it looks, doesn't. */
export function allowsModel(
  patterns: readonly string[],
  model: string,
  provider?: string,
  fits = fitsModel,
): boolean {
  return (
    patterns.includes(model) ||
    namesOf(model, provider).some((name) => patterns.some((pattern) => fits(pattern, name)))
  );
}

/**
 * True when a restriction on these patterns is about `model`: as `allowsModel`, with whatever a `*` may stand for, and a
 * variant is about its base model, too. The auto router may choose any model, so every restriction is about it.
 */
export function concernsModel(patterns: readonly string[], model: string, provider?: string): boolean {
  if (isAutoRouter(model) || allowsModel(patterns, model, provider, fitsLoosely)) return true;
  const colon = model.indexOf(':');
  return colon > 0 && allowsModel(patterns, model.slice(0, colon), provider, fitsLoosely);
}

/** True for the id that lets OpenRouter choose the model. */
export function isAutoRouter(model: string): boolean {
  return model === AUTO_ROUTER;
}

/** True when a rule is for calls of `scope`; which models it is about is looked at for each of them. */
export function isRuleFor({ when }: Rule, scope: SpendScope): boolean {
  if (when === undefined) return true;
  return SCOPE_FIELDS.every((field) => {
    const values = when[field];
    const value = scope[field];
    if (values === undefined) return true;
    return value !== undefined && values.some((pattern) => fitsPattern(pattern, value));
  });
}
