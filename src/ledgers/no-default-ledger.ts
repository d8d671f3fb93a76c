/** Edge functions and browsers have no disk: a ledger must be passed. */
import { AgentGuardError } from '../errors.ts';
import type { Ledger } from './ledger.ts';

/** Always throws `AgentGuardError` (`invalid_config`) that names the remedy. */
export function defaultLedger(_tenantId: string): Ledger {
  throw new AgentGuardError(
    'invalid_config',
    'this runtime has no default ledger. Pass one: createSpendGuard({ policy, ledger: memoryLedger() }) for a single ' +
      'instance that accepts losing its balances, or a shared ledger.',
  );
}
