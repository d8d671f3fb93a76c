/** One guard's look at a policy file: what is in it, and what has changed since. */
import { statSync } from 'node:fs';
import { AgentGuardError } from '../../errors.ts';
import type { Policy } from '../../policy.ts';
import type { PolicyLook, PolicyReader } from '../../policy/source.ts';
import { fileName, problemsMessage, readPolicies } from './read.ts';

/** What tells one state of a file from another without reading it. */
interface Stamp {
  file: string;
  text: string;
}

const NO_FILE: Stamp = { file: '', text: 'missing' };

function stampOf(path: string): Stamp {
  try {
    const found = statSync(path, { bigint: true, throwIfNoEntry: false });
    if (found === undefined) return NO_FILE;
    const { dev, ino, mtimeNs, size } = found;
    return { file: `${dev} ${ino}`, text: `${dev} ${ino} ${mtimeNs} ${size}` };
  } catch (error) {
    return { file: '', text: (error as NodeJS.ErrnoException).code ?? 'unreadable' };
  }
}

export class FileReader implements PolicyReader {
  readonly policies: readonly Policy[];
  readonly #path: string;
  readonly #everyMs: number;
  #lookedAt: number;
  #stamp: Stamp;
  /** A state that was seen once, and may be half of what is being written. */
  #seen: string | undefined;

  constructor(path: string, everyMs: number) {
    this.#path = path;
    this.#everyMs = everyMs;
    this.#stamp = stampOf(path);
    this.#lookedAt = performance.now();
    this.policies = policiesOf(path);
  }

  look(): PolicyLook | undefined {
    const now = performance.now();
    if (now - this.#lookedAt < this.#everyMs) return undefined;
    this.#lookedAt = now;
    const stamp = stampOf(this.#path);
    if (stamp.text === this.#stamp.text) {
      this.#seen = undefined;
      return undefined;
    }
    if (this.#mayBeHalfWritten(stamp)) return undefined;
    const found = lookInto(this.#path);
    // Written again while it was read: the next look takes it.
    if (stampOf(this.#path).text !== stamp.text) return undefined;
    this.#stamp = stamp;
    return found;
  }

  /**
   * A file that took the place of another one is whole. One that was written in place, or is missing, must look the
   * same twice: half a policy may be a valid policy with fewer caps.
   */
  #mayBeHalfWritten({ file, text }: Stamp): boolean {
    if (file !== '' && file !== this.#stamp.file) return false;
    const isSettled = this.#seen === text;
    this.#seen = isSettled ? undefined : text;
    return !isSettled;
  }
}

function policiesOf(path: string): readonly Policy[] {
  // Whoever reads a pipe waits for its writer, and calls would wait, too.
  const found = statSync(path, { throwIfNoEntry: false });
  if (found !== undefined && !found.isFile() && !found.isDirectory()) {
    const why = 'it is a pipe or a device, which can’t be followed; name a file';
    throw new AgentGuardError('invalid_config', `The policy file ${fileName(path)} can't be read: ${why}.`);
  }
  const read = readPolicies(path);
  const problem = problemsMessage(read);
  if (problem !== undefined) throw new AgentGuardError('invalid_policy', problem);
  return read.policies.map(({ policy }) => policy);
}

function lookInto(path: string): PolicyLook {
  try {
    return { policies: policiesOf(path) };
  } catch (error) {
    return { problem: (error as Error).message };
  }
}
