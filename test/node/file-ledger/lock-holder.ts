/** A process that takes a lock and never gives it back. */
import { ProcessLock } from '../../../src/node/file-ledger/lock.ts';

const [, , directory = ''] = process.argv;
if (!new ProcessLock(directory).tryTake()) throw new Error('the lock is busy');
process.send?.('holding');
setInterval(() => undefined, 1000);
