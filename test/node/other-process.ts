/** A guard in another process, on the same log. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import type { SpendCharge, SpendPolicy, SpendRequest } from '../../src/index.ts';
import type { CapabilityVerifierOptions } from '../../src/capabilities.ts';
import type { Answer } from './other-process-worker.ts';

const WORKER = fileURLToPath(new URL('./other-process-worker.ts', import.meta.url));

export interface Setting {
  dir: string;
  /** A policy, or the path of a file that is followed. */
  policy: SpendPolicy | string;
  capabilities?: CapabilityVerifierOptions;
}

/** What the guard there is to do. Functions and signals stay here. */
export type Order =
  | { begin: Omit<SpendRequest, 'signal' | 'canRoute'>; costUsd?: number }
  | { charge: Omit<SpendCharge, 'signal'> }
  | { close: true };

/** Starts a process with a guard; it is gone when the test is over. */
export async function otherProcess(setting: Setting): Promise<(order: Order) => Promise<Answer>> {
  const child = fork(WORKER, {
    execPath: process.execPath,
    execArgv: ['--conditions=agentguard-source', '--disable-warning=ExperimentalWarning'],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  await once(child, 'message');
  child.send(setting);
  return async (order) => {
    const answer = once(child, 'message');
    child.send(order);
    return (await answer)[0] as Answer;
  };
}
