/** The ledger of a guard on Node that is given none: a log in the home folder. */
import { join } from 'node:path';
import type { Ledger } from '../ledgers/ledger.ts';
import { fileLedger } from './file-ledger/index.ts';
import { homeDirectory, KEY_FILE, tenantFolder } from './home.ts';

/** The tenant's log under `AGENTGUARD_HOME` or `~/.agentguard`. Does no I/O. */
export function defaultLedger(tenantId: string): Ledger {
  const home = homeDirectory();
  return fileLedger({ dir: join(home, tenantFolder(tenantId)), keyFile: join(home, KEY_FILE), tenantId });
}
