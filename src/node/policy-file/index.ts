/** Policies in a file, YAML or JSON: read once, or followed while a guard lives. For Node. */
import { resolve } from 'node:path';
import { AgentGuardError } from '../../errors.ts';
import type { SpendPolicy } from '../../policy.ts';
import type { PolicySource } from '../../policy/source.ts';
import { FileReader } from './file-reader.ts';
import { fileName, problemsMessage, readPolicies } from './read.ts';

export type { PolicySource } from '../../policy/source.ts';

/**
 * The policies in a file: one policy, a list of them, or a list under `policies`. Throws `AgentGuardError`:
 * `invalid_config` when the file can't be read, `invalid_policy` when something in it is wrong, with file, line,
 * column, field and what to do.
 */
export function loadPolicies(path: string): SpendPolicy[] {
  const read = readPolicies(path);
  const message = problemsMessage(read);
  if (message !== undefined) throw new AgentGuardError('invalid_policy', message);
  return read.policies.map(({ written }) => written);
}

export interface PolicyFileOptions {
  /** How often at most a guard looks whether the file has changed, in milliseconds. Default 1000. */
  checkEveryMs?: number;
}

/**
 * A policy file that a guard follows: `createSpendGuard({ policy: policyFile('policies.yaml') })`. An edit binds from
 * the guard's next decision on, in every process that follows the file; one that can't be taken leaves the policies
 * of before in force and is told to `onEvent`. The file is read when the guard is created, which throws as
 * `loadPolicies` does.
 */
export function policyFile(path: string, options: PolicyFileOptions = {}): PolicySource {
  const { checkEveryMs = 1000 } = options;
  if (typeof path !== 'string' || path === '')
    throw new AgentGuardError('invalid_config', 'policyFile: expected the path of a file');
  if (!Number.isFinite(checkEveryMs) || checkEveryMs < 0)
    throw new AgentGuardError(
      'invalid_config',
      'policyFile: checkEveryMs: expected milliseconds of at least 0',
    );
  // The working directory may change later; the file that is meant doesn't.
  const absolute = resolve(path);
  const name = fileName(path);
  return { name, open: () => new FileReader(absolute, checkEveryMs) };
}
