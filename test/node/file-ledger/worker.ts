/** A process that makes guarded calls on a file ledger that it shares. Driven over IPC by the tests beside it. */
import { writeSync } from 'node:fs';
import { callMany, callOnce, callUntilRefused, loadGuard, newTally, type Load } from './load.ts';

export type Task =
  | ({ kind: 'many'; count: number; atOnce?: number } & Load)
  | ({ kind: 'until-refused'; agents: number } & Load)
  /** Calls until it is killed; each acknowledged receipt is told on stdout at once. */
  | ({ kind: 'until-killed'; agents: number } & Load);

async function run(task: Task): Promise<void> {
  const guard = loadGuard(task, (event) => {
    if (task.kind !== 'until-killed' || !('receipt' in event) || event.receipt === undefined) return;
    const { hash, payload } = event.receipt;
    writeSync(1, `${payload.seq} ${hash}\n`);
  });
  if (task.kind === 'until-killed') {
    const agent = async (): Promise<void> => {
      for (;;) {
        await callOnce(guard, task, newTally());
      }
    };
    await Promise.all(Array.from({ length: task.agents }, agent));
    return;
  }
  const tally =
    task.kind === 'many'
      ? await callMany(guard, task, task.count, task.atOnce)
      : await callUntilRefused(guard, task, task.agents);
  await guard.close();
  process.send?.(tally);
  process.disconnect?.();
}

process.once('message', (task) => void run(task as Task));
process.send?.('ready');
