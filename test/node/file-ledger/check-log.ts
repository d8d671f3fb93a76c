/** What a log on disk says, checked from its bytes alone. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { installationPublicKey } from '../../../src/node/installation-key.ts';
import { KEY_FILE, LOG_FILE } from '../../../src/node/home.ts';
import type { Receipt } from '../../../src/receipts/payloads.ts';
import type { LogVerdict } from '../../../src/receipts/verdict.ts';
import { verifyLog } from '../../../src/receipts/verify-log.ts';

/** The verdict on the log in `dir` under its installation key, and the receipts that verified. */
export async function checkLog(dir: string): Promise<{ verdict: LogVerdict; receipts: Receipt[] }> {
  const key = installationPublicKey(join(dir, KEY_FILE));
  const receipts: Receipt[] = [];
  const bytes = readFileSync(join(dir, LOG_FILE));
  const verdict = await verifyLog([bytes], { keys: key === undefined ? [] : [key] }, (receipt) =>
    receipts.push(receipt),
  );
  return { verdict, receipts };
}
