/** Writes an honest log of about so many bytes: `write-log.ts <file> <bytes>`. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { honestLog } from '../receipts/corpus/logs.ts';

const [, , file = '', bytes = ''] = process.argv;
/** A call of the corpus is a decision and a settlement. */
const BYTES_OF_A_CALL = 1790;
const lines = await honestLog({ calls: Math.ceil(Number(bytes) / BYTES_OF_A_CALL) });
const out = openSync(file, 'w');
for (const line of lines) writeSync(out, `${line}\n`);
closeSync(out);
