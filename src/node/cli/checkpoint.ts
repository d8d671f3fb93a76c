/** `agentguard checkpoint`: makes a checkpoint of a log now. */
import { basename, dirname } from 'node:path';
import { toBase64 } from '../../receipts/base64.ts';
import type { Checkpoint } from '../../receipts/checkpoint.ts';
import { fileLedger } from '../file-ledger/index.ts';
import { LOG_FILE } from '../home.ts';
import { ignoreEnvironmentKey } from '../installation-key.ts';
import { findLog, keyFileOf } from './locate.ts';
import { CliError, printable } from './output.ts';

export interface CheckpointCommandOptions {
  json?: boolean;
  /** The log's key, where it lies neither beside the log nor in the home above it. */
  keyFile?: string;
}

/** Prints the signed note alone, so that it can be sent on as it is. */
export async function checkpointCommand(
  path: string | undefined,
  { json, keyFile }: CheckpointCommandOptions,
): Promise<number> {
  const { log, size, root, note } = await checkpointOf(findLog(path, 'checkpoint'), keyFile);
  const report = { log, size, root: toBase64(root), note };
  process.stdout.write(json === true ? `${JSON.stringify(report, undefined, 2)}\n` : note);
  return 0;
}

/** A checkpoint of all that is durable in a log, signed with the log's own key. */
export async function checkpointOf(file: string, given?: string): Promise<Checkpoint> {
  if (basename(file) !== LOG_FILE) {
    throw new CliError(
      `${printable(file)} is a copy: a checkpoint can be made only of the ${LOG_FILE} that its writers use.`,
    );
  }
  if (given !== undefined) ignoreEnvironmentKey();
  const keyFile = given ?? keyFileOf(file);
  const ledger = fileLedger({ dir: dirname(file), ...(keyFile !== undefined && { keyFile }) });
  try {
    const checkpoint = await ledger.checkpoint();
    if (checkpoint === undefined)
      throw new CliError(`${file} is empty: there is nothing to make a checkpoint of.`);
    return checkpoint;
  } finally {
    await ledger.close();
  }
}
