import { capabilityVerifier } from '../../src/capabilities.ts';
import { blockedError, createSpendGuard, type SpendAlert, type SpendGuard } from '../../src/index.ts';
import { fileLedger } from '../../src/node/file-ledger/index.ts';
import { policyFile } from '../../src/node/policy-file/index.ts';
import type { Order, Setting } from './other-process.ts';

export interface Answer {
  blocked?: string;
  /** Everything that an error says, to be searched for secrets. */
  text?: string;
  /** The parts of caps that this process gave alerts of, since the last answer. */
  alerts?: number[];
  done?: true;
}

let guard: SpendGuard;
let alerts: SpendAlert[] = [];

function open({ dir, policy, capabilities }: Setting): void {
  guard = createSpendGuard({
    policy: typeof policy === 'string' ? policyFile(policy, { checkEveryMs: 0 }) : policy,
    ledger: fileLedger({ dir, durability: 'os' }),
    waitForHoldsMs: 0,
    onAlert: (alert) => alerts.push(alert),
    ...(capabilities && { capabilities: capabilityVerifier(capabilities) }),
  });
}

async function run(order: Order): Promise<Answer> {
  try {
    if ('close' in order) await guard.close();
    else if ('charge' in order) await guard.charge(order.charge);
    else {
      const call = await guard.begin(order.begin);
      await call.settle({
        outcome: 'ok',
        usage: { inputTokens: 1, outputTokens: 1 },
        ...(order.costUsd !== undefined && { cost: order.costUsd }),
      });
    }
    await guard.flush();
    return { done: true, alerts: alerts.map(({ share }) => share) };
  } catch (error) {
    const blocked = blockedError(error);
    const text = `${String(error)} ${JSON.stringify(error)} ${JSON.stringify(blocked)}`;
    return { blocked: blocked?.reason ?? String(error), text };
  } finally {
    alerts = [];
  }
}

process.once('message', (setting) => {
  open(setting as Setting);
  process.on('message', (order) => void run(order as Order).then((answer) => process.send?.(answer)));
});
process.send?.('ready');
