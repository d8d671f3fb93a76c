/** Where checkpoints go: a file, a web hook, a git repository, or a store that is given as a function. */
import { execFile } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { dirname, join, resolve, sep } from 'node:path';
import { AgentGuardError } from '../../errors.ts';
import { parseCheckpoint, type Checkpoint } from '../../receipts/checkpoint.ts';
import { KEY_VARIABLE, syncDirectory } from '../installation-key.ts';
import { makeFolder } from '../make-folder.ts';
import type { CheckpointSink } from './delivery.ts';

function invalid(message: string): AgentGuardError {
  return new AgentGuardError('invalid_config', message);
}

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}

/**
 * Keeps the newest checkpoint in a file, best on another machine's disk. A `path` that ends with a slash, or is a
 * folder, gets a file for each log.
 */
export function fileSink(path: string): CheckpointSink {
  if (typeof path !== 'string' || path === '')
    throw invalid('fileSink: expected the path of a file or folder');
  const absolute = resolve(path);
  const isNamedFolder = /[/\\]$/.test(path);
  return {
    name: `the file ${absolute}`,
    async put(checkpoint): Promise<void> {
      const into = isNamedFolder || isFolder(absolute);
      await keepNewest(into ? join(absolute, `${checkpoint.log}.checkpoint`) : absolute, checkpoint);
    },
  };
}

/** Replaces the checkpoint in `path` whole or not at all, and never by an older one of the same log. */
async function keepNewest(path: string, { log, size, note }: Checkpoint): Promise<boolean> {
  const before = keptIn(path);
  if (before !== undefined && before.log === log && before.size >= size) return false;
  if (before !== undefined && before.log !== log) {
    throw new Error(`it holds a checkpoint of log ${before.log}; give each log a file, or name a folder`);
  }
  makeFolder(dirname(path));
  const temporary = `${path}.${process.pid}.tmp`;
  const file = await open(temporary, 'w', 0o644);
  try {
    await file.writeFile(note);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  syncDirectory(dirname(path));
  return true;
}

function keptIn(path: string): { log: string; size: number } | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
  const kept = parseCheckpoint(text);
  if ('problem' in kept) throw new Error('it holds something that is no checkpoint; it is left as it is');
  return kept;
}

export interface WebhookOptions {
  /** Sent with each request, for instance `authorization`. */
  headers?: Record<string, string>;
  /** How long one attempt may take. Default 10 000. */
  timeoutMs?: number;
}

/** Posts each checkpoint as plain text. Any 2xx answer means that it is kept; redirects are not followed. */
export function webhookSink(
  url: string,
  { headers = {}, timeoutMs = 10_000 }: WebhookOptions = {},
): CheckpointSink {
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
    throw invalid('webhookSink: expected an http or https URL');
  }
  const { origin, username, password } = new URL(url);
  // `fetch` refuses these with an error that shows them.
  if (username !== '' || password !== '') {
    throw invalid('webhookSink: put credentials into headers, not into the URL');
  }
  return {
    // Paths and queries of web hooks hold secrets.
    name: `the web hook at ${origin}`,
    async put({ log, size, note }, signal): Promise<void> {
      const response = await fetch(url, {
        method: 'POST',
        headers: {
          ...headers,
          'content-type': 'text/plain; charset=utf-8',
          'x-agentguard-log': log,
          'x-agentguard-size': String(size),
        },
        body: note,
        redirect: 'error',
        signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
      });
      await response.body?.cancel();
      if (!response.ok) throw new Error(`it answered ${response.status}`);
    },
  };
}

export interface GitOptions {
  /** Pushes after each commit, to the branch's own upstream. Default false. */
  push?: boolean;
  /** How long one git command may take. Default 30 000. */
  timeoutMs?: number;
}

/** Commits each checkpoint to the git repository that `dir` lies in, as `<log>.checkpoint`. */
export function gitSink(dir: string, { push = false, timeoutMs = 30_000 }: GitOptions = {}): CheckpointSink {
  if (typeof dir !== 'string' || dir === '')
    throw invalid('gitSink: expected the folder of a git repository');
  const folder = resolve(dir);
  return {
    name: `the git repository ${folder}${sep}`,
    async put(checkpoint, signal): Promise<void> {
      const git = (...args: string[]): Promise<string> => runGit(folder, args, timeoutMs, signal);
      const file = `${checkpoint.log}.checkpoint`;
      await git('rev-parse', '--is-inside-work-tree');
      await keepNewest(join(folder, file), checkpoint);
      await git('add', '--force', '--', file);
      // Nothing to commit when another process was faster, or the last attempt failed behind the commit.
      if ((await git('status', '--porcelain', '--', file)) !== '') {
        await git('commit', '--quiet', '-m', `Checkpoint ${checkpoint.log} ${checkpoint.size}`, '--', file);
      }
      if (push) await git('push', '--quiet');
    },
  };
}

const IDENTITY = { GIT_AUTHOR_NAME: 'AgentGuard', GIT_AUTHOR_EMAIL: 'checkpoints@agentguard.invalid' };

function runGit(folder: string, args: string[], timeout: number, signal: AbortSignal): Promise<string> {
  // The repository is the folder's, and git and its hooks need no signing key.
  const { GIT_DIR: _dir, GIT_WORK_TREE: _tree, GIT_INDEX_FILE: _index, ...rest } = process.env;
  const { [KEY_VARIABLE]: _key, ...inherited } = rest;
  const env = {
    ...IDENTITY,
    GIT_COMMITTER_NAME: IDENTITY.GIT_AUTHOR_NAME,
    GIT_COMMITTER_EMAIL: IDENTITY.GIT_AUTHOR_EMAIL,
    ...inherited,
    // Nobody is there to answer.
    GIT_TERMINAL_PROMPT: '0',
  };
  const { promise, resolve: done, reject } = Promise.withResolvers<string>();
  execFile('git', ['-C', folder, ...args], { env, timeout, signal }, (error, stdout, stderr) => {
    if (error === null) return done(stdout);
    const said = stderr.trim().split('\n').at(-1);
    const message = said === undefined || said === '' ? error.message : said;
    // Remotes may have a token in their URL.
    reject(new Error(`git ${args[0]}: ${message.replaceAll(/:\/\/[^\s/@]*@/g, '://')}`));
  });
  return promise;
}

/**
 * Puts each checkpoint under a name of its own, `checkpoints/<log>/<size>.txt`, with a function of yours: a bucket
 * with object lock, a mailbox, a database of somebody else.
 */
export function putSink(put: (name: string, body: string) => Promise<unknown>): CheckpointSink {
  if (typeof put !== 'function') throw invalid('putSink: expected a function (name, body)');
  return {
    name: 'the put function',
    async put({ log, size, note }): Promise<void> {
      await put(`checkpoints/${log}/${String(size).padStart(12, '0')}.txt`, note);
    },
  };
}
