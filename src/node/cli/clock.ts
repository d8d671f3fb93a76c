/** `agentguard clock`: a log's time against this machine's, and the receipt that lets the log go on at the present. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import type { LedgerView, Transaction } from '../../ledgers/ledger.ts';
import { CLOCK_TOLERANCE_MS } from '../../prepare.ts';
import { MAX_LINE_BYTES, type Draft, type Payload } from '../../receipts/payloads.ts';
import { instantText } from '../../receipts/seal.ts';
import { parseLine } from '../../receipts/verify.ts';
import { fileLedger } from '../file-ledger/index.ts';
import { LOG_FILE } from '../home.ts';
import { findLog, keyFileOf } from './locate.ts';
import { CliError, commandText, durationText, labelled, styled, timeText, wrapped } from './output.ts';

const LABEL = 12;

/** Prints both times; with `accept`, writes a `clock` receipt where the log lies too far ahead. Returns the exit code. */
export async function clockCommand(path: string | undefined, options: { accept?: boolean }): Promise<number> {
  const file = findLog(path, 'clock');
  const head = headOf(file);
  const headTime = Date.parse(head.issued_at);
  const now = Date.now();
  const ahead = headTime - now;
  print(
    styled('bold', file),
    labelled('log head', `${timeText(headTime)}, receipt #${head.seq}`, LABEL),
    labelled('this clock', timeText(now), LABEL),
  );
  if (ahead <= CLOCK_TOLERANCE_MS) {
    const apart = durationText(ahead);
    print(
      ahead > 0
        ? `The log is ${apart} ahead of this clock, which is tolerated. Calls can be decided.`
        : `The log ends ${apart} before the present. Calls can be decided; there is nothing to accept.`,
    );
    return 0;
  }
  if (options.accept === true) return accept(file);
  print(
    styled('red', `The log lies ${durationText(ahead)} in this machine’s future, so its calls are blocked.`),
    wrapped('- If this machine’s clock is wrong, correct it; nothing else is needed.', 2),
    wrapped('- If this clock is right and the log is what is wrong, accept the present time:', 2),
    `    ${commandText('clock', file, '--accept')}`,
    wrapped(
      '- Accepting appends one signed receipt and changes none. What was spent on a day before the clock went wrong ' +
        'still counts on that day; what was spent under the wrong clock counts on the days that it showed.',
      2,
    ),
  );
  return 1;
}

/** Appends the receipt through the ledger itself, which verifies the log first and keeps its other writers in order. */
async function accept(file: string): Promise<number> {
  const keyFile = keyFileOf(file);
  if (basename(file) !== LOG_FILE || keyFile === undefined) {
    throw new CliError(
      `${file} is not the log of a ledger on this machine: ${
        keyFile === undefined ? 'no installation key lies beside it' : `it is not called ${LOG_FILE}`
      }. Run this where its calls are made.`,
    );
  }
  const ledger = fileLedger({ dir: dirname(file), keyFile });
  try {
    const { receipts } = await ledger.transact([], goOnAtPresent);
    const receipt = receipts[0]?.payload;
    print(
      receipt?.type === 'clock'
        ? `${styled('green', 'Accepted')} as receipt #${receipt.seq}: the log goes on at ${timeText(receipt.to)}.`
        : 'Another process has accepted the present time already.',
    );
    return 0;
  } finally {
    await ledger.close();
  }
}

function goOnAtPresent({ head, wall }: LedgerView): Transaction<undefined> {
  const draft: Draft = { type: 'clock', from: instantText(head.time), to: instantText(wall) };
  return { drafts: head.time - wall > CLOCK_TOLERANCE_MS ? [draft] : [], result: undefined };
}

/** The last whole receipt of a log, unverified: enough to read a time from. */
function headOf(file: string): Payload {
  const fd = openSync(file, 'r');
  try {
    const size = fstatSync(fd).size;
    const from = Math.max(0, size - 2 * MAX_LINE_BYTES);
    const bytes = Buffer.alloc(size - from);
    const count = readSync(fd, bytes, 0, bytes.length, from);
    const lines = bytes.subarray(0, count).subarray(0, bytes.lastIndexOf(10) + 1);
    const line = lines.subarray(lines.subarray(0, -1).lastIndexOf(10) + 1, -1);
    const parsed = parseLine(line);
    if (!('problem' in parsed)) return parsed.payload;
  } finally {
    closeSync(fd);
  }
  throw new CliError(`The last line of ${file} is not a receipt. Run: ${commandText('verify', file)}`);
}

function print(...lines: string[]): void {
  process.stdout.write(`${lines.join('\n')}\n`);
}
