/** A YAML or JSON text as a value, with the place of everything in it. */
import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  visit,
  type Document,
  type Node,
  type YAMLError,
} from 'yaml';

/** Where something stands in a file, counted from 1. */
export interface Place {
  line: number;
  column: number;
}

export type Path = readonly (string | number)[];

export interface TextProblem extends Place {
  message: string;
}

/** A text that could be read. */
export interface PolicyDocument {
  value: unknown;
  /** The place of a value, or of its key; of what is not there, the place where it is missing. */
  place(path: Path, of?: 'value' | 'key'): Place;
}

/** Mistakes of the notation that people make, and what to do. */
const WORDS: Readonly<Partial<Record<YAMLError['code'], string>>> = {
  BAD_ALIAS: 'a text that begins with * needs quotes around it',
  BAD_INDENT: 'the fields don’t line up; put those of one object under each other, with spaces',
  BLOCK_AS_IMPLICIT_KEY:
    'the fields don’t line up, or a text with ": " in it needs quotes around it; put those of one object under each other',
  DUPLICATE_KEY: 'this field is there twice; remove one of the two',
  MISSING_CHAR: 'a quote, bracket or ":" is missing before this place',
  MULTIPLE_DOCS:
    'a second document begins; put several policies under "policies:" instead of "---" between them',
  TAB_AS_INDENT: 'indent with spaces instead of tabs',
  TAG_RESOLVE_FAILED: 'remove the tag (!…); policies are made of text, numbers, lists and objects',
};

/** The most references to anchors; more are an attack. */
const MOST_ALIASES = 100;

/** Reads YAML 1.2, of which JSON is a part. */
export function readDocument(text: string): PolicyDocument | { problems: TextProblem[] } {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, stringKeys: true });
  const at = (offset: number): Place => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  const problems = [
    ...[...document.errors, ...document.warnings].map((error) => ({
      at: error.pos[0],
      message: errorText(error, text),
    })),
    ...unknownAliases(document),
  ];
  if (problems.length > 0)
    return { problems: firstAtEach(problems.map(({ at: offset, message }) => ({ ...at(offset), message }))) };
  keepLongNumbers(document);
  try {
    const value: unknown = document.toJS({ maxAliasCount: MOST_ALIASES });
    return { value, place: (path, of = 'value') => at(offsetOf(document, path, of)) };
  } catch (error) {
    return { problems: [{ line: 1, column: 1, message: (error as Error).message }] };
  }
}

const TOO_DEEP = 'this is nested far deeper than any policy is';

function errorText({ code, message, pos }: YAMLError, text: string): string {
  if (message.startsWith('Maximum call stack')) return TOO_DEEP;
  // What is left open is found at the end, and taken there for a matter of indentation.
  if (code === 'BAD_INDENT' && text.slice(pos[0]).trim() === '')
    return 'the file ends too early; a quote, bracket or "}" is missing before this place';
  return WORDS[code] ?? (message.split('\n')[0] as string);
}

/** One mistake is often found several times. */
function firstAtEach(problems: readonly TextProblem[]): TextProblem[] {
  const first = new Map<string, TextProblem>();
  for (const problem of problems) {
    const place = `${problem.line}:${problem.column}`;
    if (!first.has(place)) first.set(place, problem);
  }
  return [...first.values()];
}

/** What looks like a reference and is a pattern: `models: *-mini`. */
function unknownAliases(document: Document): { at: number; message: string }[] {
  const found: { at: number; message: string }[] = [];
  visit(document, {
    Alias(_key, node) {
      if (node.resolve(document) !== undefined) return;
      const message = `a text that begins with * needs quotes around it: "*${node.source}"`;
      found.push({ at: node.range?.[0] ?? 0, message });
    },
  });
  return found;
}

/** Digits that a float holds exactly. */
const EXACT_DIGITS = 15;

/** A number that no float holds stays text, so that nothing of an amount is rounded away unseen. */
function keepLongNumbers(document: Document): void {
  visit(document, {
    Scalar(_key, node) {
      const { source, value } = node;
      if (typeof value !== 'number' || source === undefined) return;
      const digits = source.replace(/e.*$/i, '').replaceAll(/\D/g, '').replace(/^0+/, '');
      if (digits.length > EXACT_DIGITS) node.value = source;
    },
  });
}

function resolved(node: unknown, document: Document): unknown {
  return isAlias(node) ? node.resolve(document) : node;
}

function startOf(node: unknown): number | undefined {
  return (node as Node | null | undefined)?.range?.[0];
}

/** Goes down as far as the path is there, and answers where the last thing that it met begins. */
function offsetOf(document: Document, path: Path, of: 'value' | 'key'): number {
  let node = resolved(document.contents, document);
  let offset = startOf(node) ?? 0;
  for (const key of path) {
    if (isMap(node)) {
      const pair = node.items.find((each) => isScalar(each.key) && String(each.key.value) === String(key));
      if (pair === undefined) return offset;
      const isHere = of === 'key' && key === path.at(-1);
      const named = startOf(pair.key) ?? offset;
      // An empty value stands nowhere; its key does.
      const isEmpty = isScalar(pair.value) && pair.value.value === null;
      offset = isHere || isEmpty ? named : (startOf(pair.value) ?? named);
      node = resolved(pair.value, document);
    } else if (isSeq(node)) {
      const item = node.items[Number(key)];
      if (item === undefined) return offset;
      offset = startOf(item) ?? offset;
      node = resolved(item, document);
    } else return offset;
  }
  return offset;
}
