/** The policies in a file, and what is wrong with them, by file, line and column. */
import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { relative, resolve } from 'node:path';
import { AgentGuardError } from '../../errors.ts';
import { checkPolicy, type Policy, type SpendPolicy } from '../../policy.ts';
import { pathText } from '../../policy/problems.ts';
import { readDocument, type Path, type Place, type PolicyDocument } from './document.ts';

/** A policy as it stands in a file. */
export interface FiledPolicy {
  /** As it was written. */
  written: SpendPolicy;
  policy: Policy;
  /** Where something of it stands. */
  place: (path: Path, of?: 'value' | 'key') => Place;
}

export interface FileProblem extends Place {
  /** The policy that it is about; absent where the file has only one, or where it is about none. */
  policy?: string;
  /** `caps[0].amountCents`; absent for what concerns the notation. */
  field?: string;
  message: string;
}

export interface ReadPolicies {
  /** As it is named in messages. */
  file: string;
  policies: readonly FiledPolicy[];
  /** Policies that can't be taken are in here, and not in `policies`. */
  problems: readonly FileProblem[];
}

/** Far beyond what policies need; keeps a wrong path from being read into memory. */
const MOST_BYTES = 1024 * 1024;

/** A path as messages name it: from the working directory, where the file lies below it. */
export function fileName(path: string): string {
  const near = relative(process.cwd(), resolve(path));
  return near === '' || near.startsWith('..') ? resolve(path) : near;
}

function unreadable(name: string, why: string): AgentGuardError {
  return new AgentGuardError('invalid_config', `The policy file ${name} can't be read: ${why}.`);
}

/** All bytes of a file, or of what is piped in; one more than the most when there are more. */
function bytesOf(file: number): Uint8Array {
  const bytes = new Uint8Array(MOST_BYTES + 1);
  let length = 0;
  // What has no size of its own, such as a pipe or a device, may never end.
  while (length < bytes.length) {
    const read = readSync(file, bytes, length, bytes.length - length, null);
    if (read === 0) break;
    length += read;
  }
  return bytes.subarray(0, length);
}

function readBytes(path: string): Uint8Array {
  if (statSync(path).isDirectory()) throw unreadable(fileName(path), 'it is a folder; name a file in it');
  const file = openSync(path, 'r');
  try {
    return bytesOf(file);
  } finally {
    closeSync(file);
  }
}

/** Throws `AgentGuardError` (`invalid_config`) when there is no such text. */
export function readPolicyText(path: string): string {
  let bytes: Uint8Array;
  try {
    bytes = readBytes(path);
  } catch (error) {
    if (error instanceof AgentGuardError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') throw unreadable(fileName(path), 'there is none; "agentguard init" writes one');
    if (code === 'EACCES') throw unreadable(fileName(path), 'this user may not read it');
    throw unreadable(fileName(path), message);
  }
  return decoded(bytes, fileName(path));
}

function decoded(bytes: Uint8Array, name: string): string {
  if (bytes.length > MOST_BYTES) throw unreadable(name, 'it is larger than 1 MiB, which no policy file is');
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw unreadable(name, 'it is not UTF-8; save it in that encoding');
  }
}

/** Standard input, as commands name it. */
export const STANDARD_INPUT = '-';

/** Reads policies that are piped in. Throws as `readPolicies` does. */
export function readPipedPolicies(): ReadPolicies {
  return policiesIn(decoded(bytesOf(0), 'standard input'), 'standard input');
}

/** Reads a file's policies. Throws `AgentGuardError` (`invalid_config`) when the file itself can't be read. */
export function readPolicies(path: string): ReadPolicies {
  return policiesIn(readPolicyText(path), fileName(path));
}

/** The policies in a text: one, a list of them, or a list under `policies`. */
export function policiesIn(text: string, file: string): ReadPolicies {
  const document = readDocument(text);
  if ('problems' in document) return { file, policies: [], problems: document.problems };
  const { base, values, problem } = listed(document.value);
  if (problem !== undefined) {
    return { file, policies: [], problems: [{ ...document.place(base, 'key'), message: problem }] };
  }
  const policies: FiledPolicy[] = [];
  const problems: FileProblem[] = [];
  for (const [index, written] of values.entries()) {
    const own: Path = values.length === 1 && !isList(document.value, base) ? base : [...base, index];
    const checked = checkPolicy(written);
    const place: FiledPolicy['place'] = (path, of) => document.place([...own, ...path], of);
    if (checked.policy !== undefined) {
      policies.push({ written: written as SpendPolicy, policy: checked.policy, place });
      continue;
    }
    const name = values.length > 1 ? nameOf(written, index) : undefined;
    for (const { path: at, message } of checked.problems) {
      problems.push({
        ...placeOf(document, [...own, ...at], message),
        ...(name !== undefined && { policy: name }),
        ...(at.length > 0 && { field: pathText(at) }),
        message: message.replace(/got null$/, 'got nothing'),
      });
    }
  }
  return { file, policies, problems: problems.toSorted((a, b) => a.line - b.line || a.column - b.column) };
}

function nameOf(written: unknown, index: number): string {
  const id = (written as { id?: unknown } | null)?.id;
  return typeof id === 'string' && id !== '' ? id : `number ${index + 1}`;
}

/** Of a field that should not be there its name; of one that is missing the object that lacks it. */
function placeOf(document: PolicyDocument, path: Path, message: string): Place {
  return document.place(path, message.startsWith('unknown field') ? 'key' : 'value');
}

function isList(value: unknown, base: Path): boolean {
  return Array.isArray(base.length === 0 ? value : (value as { policies: unknown }).policies);
}

/** The editor's own field. */
const SCHEMA = '$schema';

function listed(value: unknown): { base: Path; values: readonly unknown[]; problem?: string } {
  const none = (problem: string, base: Path = []) => ({ base, values: [], problem });
  if (value === null || value === undefined)
    return none('the file has no policy; "agentguard init" writes one to begin with');
  if (Array.isArray(value)) {
    return value.length === 0 ? none('expected at least one policy') : { base: [], values: value };
  }
  if (typeof value !== 'object')
    return none('expected a policy, a list of policies, or "policies:" with a list');
  const { [SCHEMA]: _, ...fields } = value as Record<string, unknown>;
  if (!('policies' in fields)) return { base: [], values: [fields] };
  const other = Object.keys(fields).find((name) => name !== 'policies');
  if (other !== undefined) {
    return none(`${other}: unknown field beside "policies"; it belongs into one of the policies`, [other]);
  }
  const { policies } = fields;
  const isFilled = Array.isArray(policies) && policies.length > 0;
  return isFilled
    ? { base: ['policies'], values: policies }
    : none('policies: expected a list with at least one policy', ['policies']);
}

/** `policies.yaml:12:5: policy "a", caps[0].window: expected …` */
export function problemLine(file: string, { line, column, policy, field, message }: FileProblem): string {
  const where = [policy === undefined ? undefined : `policy ${JSON.stringify(policy)}`, field];
  const named = where.filter((part) => part !== undefined).join(', ');
  return `${file}:${line}:${column}: ${named === '' ? '' : `${named}: `}${message}`;
}

const MOST_SHOWN = 8;

/** All that is wrong with a file, a line each; `undefined` when nothing is. */
export function problemsMessage({ file, problems }: ReadPolicies): string | undefined {
  if (problems.length === 0) return undefined;
  const lines = problems.slice(0, MOST_SHOWN).map((problem) => problemLine(file, problem));
  const more = problems.length > MOST_SHOWN ? [`… and ${problems.length - MOST_SHOWN} more`] : [];
  return [...lines, ...more].join('\n');
}
