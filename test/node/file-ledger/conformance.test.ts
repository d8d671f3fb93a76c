import { describe, expect, it } from 'vitest';
import { fileLedger } from '../../../src/node/file-ledger/index.ts';
import { ledgerConformance } from '../../../src/testing/conformance.ts';
import { temporaryFolder } from '../temporary-folder.ts';

for (const durability of ['sync', 'os'] as const) {
  ledgerConformance(
    { describe, it, expect },
    {
      name: `fileLedger (${durability})`,
      open: () => fileLedger({ dir: temporaryFolder(), durability }),
      reopen: ({ name }) => fileLedger({ dir: name, durability }),
      processes: 3,
    },
  );
}
