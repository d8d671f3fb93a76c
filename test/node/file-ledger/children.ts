/** Child processes that run `worker.ts`. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Tally } from './load.ts';
import type { Task } from './worker.ts';

const WORKER = fileURLToPath(new URL('./worker.ts', import.meta.url));

/** Starts a worker. Resolves when it waits for its task. */
export async function startWorker(): Promise<ChildProcess> {
  const child = fork(WORKER, {
    execPath: process.execPath,
    execArgv: ['--conditions=agentguard-source', '--disable-warning=ExperimentalWarning'],
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  });
  await once(child, 'message');
  return child;
}

/** Gives each worker its task at the same moment and waits for what they did. */
export async function runWorkers(workers: readonly ChildProcess[], task: Task): Promise<Tally[]> {
  return Promise.all(
    workers.map(async (child) => {
      const ended = once(child, 'exit');
      const told = once(child, 'message');
      child.send(task);
      const answer = (await Promise.race([told, ended])) as [unknown];
      await ended;
      if (typeof answer[0] !== 'object' || answer[0] === null) throw new Error('a worker died');
      return answer[0] as Tally;
    }),
  );
}
