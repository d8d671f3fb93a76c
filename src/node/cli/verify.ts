/** `agentguard verify`: the verdict on a log, and a call in words. */
import { statSync } from 'node:fs';
import { auditLog, holdsReceipts, type HeldHead, type LogAudit } from './audit-log.ts';
import type { CheckpointFinding } from '../../receipts/checkpoint-check.ts';
import type { Since } from '../../receipts/verdict.ts';
import type { BillRow } from '../../reconcile.ts';
import { CheckpointWitness, type WitnessOptions } from './checkpoint-witness.ts';
import { chooseTrust, findLog, shownBy, type KeyChoice } from './locate.ts';
import { CliError, failure, printable } from './output.ts';
import { spoolPipe, spoolStdin, STDIN } from './spool.ts';
import { findingOf, jsonReport, textReport } from './verify-report.ts';

export interface VerifyOptions extends WitnessOptions {
  /** A call: its id, or `latest`. */
  trace?: string;
  /** Pinned keys. */
  key?: readonly string[];
  logId?: string;
  /** A head that was kept: `<hash>` or `<seq>:<hash>`. */
  head?: string;
  /** From where on: a seq, or an instant. */
  since?: string;
  replay?: boolean;
  /** An activity export of the provider's. */
  reconcile?: string;
  json?: boolean;
  /** How reports name the log, where it isn't its file. */
  name?: string;
  /** A share link, in place of a log. */
  link?: string;
  /** Roots that certify the log's key: public keys, or files of JWKs. */
  root?: readonly string[];
  /** Files of certificates by such roots. */
  certificate?: readonly string[];
}

/** What was found out about a log. */
export interface Verified {
  file: string;
  audit: LogAudit;
  key: KeyChoice;
  /** What checkpoints say, where there are any. */
  checkpoints?: readonly CheckpointFinding[];
}

/** The log that is meant by `path`: what comes through a pipe is read to its end first. */
export function givenLog<O extends VerifyOptions>(
  path: string | undefined,
  given: O,
  doing: string,
): { options: O; file: () => Promise<string> } {
  if (path === STDIN) return { options: { ...given, name: 'standard input' }, file: spoolStdin };
  const isPipe = path !== undefined && statSync(path, { throwIfNoEntry: false })?.isFIFO() === true;
  if (isPipe) return { options: { ...given, name: path }, file: () => spoolPipe(path) };
  return { options: given, file: async () => findLog(path, doing) };
}

/**
 * Verifies a log, prints the verdict, and returns the exit code: 0 valid, 1 invalid, 2 undecidable, unreadable, or
 * without the call that was asked for.
 */
export async function verifyCommand(path: string | undefined, given: VerifyOptions): Promise<number> {
  if (given.link !== undefined) {
    const { verifyLinkCommand } = await import('./verify-link.ts');
    return verifyLinkCommand(given.link, given);
  }
  const { options, file } = givenLog(path, given, 'verify');
  if (options.json !== true) {
    const verified = await verifyFile(await file(), options);
    process.stdout.write(`${textReport(verified, options).join('\n')}\n`);
    return findingOf(verified, options).exitCode;
  }
  let report: { exitCode: number; [member: string]: unknown };
  try {
    report = jsonReport(await verifyFile(await file(), options), options);
  } catch (error) {
    const { message, exitCode } = failure(error);
    report = { exitCode, error: message };
  }
  process.stdout.write(`${JSON.stringify(report, undefined, 2)}\n`);
  return report.exitCode;
}

/** The audit of a log under the keys that were pinned, or else under this machine's own. */
export async function verifyFile(file: string, options: VerifyOptions = {}): Promise<Verified> {
  const held = options.head === undefined ? undefined : keptHead(options.head);
  const since = options.since === undefined ? undefined : placeOf(options.since);
  const bill = options.reconcile === undefined ? undefined : await readBill(options.reconcile);
  const progress = progressBar(file);
  try {
    const { key, trust } = chooseTrust(file, options);
    const witness = new CheckpointWitness(options, options.logId ?? shownBy(file)?.log, trust.keys);
    const audit = await auditLog(file, trust, {
      ...(options.trace !== undefined && { trace: options.trace }),
      ...(held && { head: held }),
      ...(since && { since }),
      ...(options.replay === true && { replay: true }),
      ...(bill && { bill }),
      ...(progress && { onProgress: progress }),
      ...(witness.isNeeded && { witness }),
    });
    const { integrity, receipts } = audit.verdict;
    if (integrity !== 'valid' && receipts === 0 && statSync(file).size > 0 && !(await holdsReceipts(file))) {
      const name = options.name ?? file;
      throw new CliError(`${printable(name)}: this is not an AgentGuard log (line 1 is no receipt).`);
    }
    return { file, audit, key, checkpoints: witness.conclude(audit.verdict) };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'EACCES' || code === 'EPERM' || code === 'EISDIR' || code === 'ENOENT') {
      throw new CliError(`The log can't be read: ${message}.`);
    }
    throw error;
  } finally {
    if (progress !== undefined) process.stderr.write('\r\u001b[K');
  }
}

async function readBill(file: string): Promise<BillRow[]> {
  const { readActivity } = await import('./activity-csv.ts');
  return readActivity(file);
}

/** A receipt's number, or an instant. */
function placeOf(text: string): Since {
  const trimmed = text.trim();
  if (/^#?\d{1,15}$/.test(trimmed)) return { fromSeq: Number(trimmed.replace('#', '')) };
  const time = /^\d{4}-\d\d-\d\d/.test(trimmed) ? Date.parse(trimmed) : Number.NaN;
  if (Number.isNaN(time)) {
    throw new CliError(
      `--since ${printable(text)}: expected a receipt's number, or an instant such as 2026-06-01T00:00:00Z.`,
    );
  }
  return { fromTime: time };
}

const HEAD = /^(?:#?(\d{1,15}):)?(?:sha256:)?([0-9a-f]{64})$/i;

function keptHead(text: string): HeldHead {
  const [, seq, digits] = HEAD.exec(text.trim()) ?? [];
  if (digits === undefined) {
    throw new CliError(
      `--head ${printable(text)}: expected the hash of a receipt (64 hex digits, with or without "sha256:"), or ` +
        'its number and hash as <seq>:<hash>.',
    );
  }
  return { hash: `sha256:${digits.toLowerCase()}`, ...(seq !== undefined && { seq: Number(seq) }) };
}

/** Logs below this size are verified before a bar could be read. */
const LONG_LOG_BYTES = 4 * 1024 * 1024;
const BAR_WIDTH = 30;
const BAR_EVERY_MS = 100;

function progressBar(file: string): ((done: number, total: number) => void) | undefined {
  if (!process.stderr.isTTY || statSync(file).size < LONG_LOG_BYTES) return undefined;
  let shownAt = 0;
  return (done, total) => {
    const now = performance.now();
    if (now - shownAt < BAR_EVERY_MS) return;
    shownAt = now;
    const filled = Math.round((done / total) * BAR_WIDTH);
    const percent = Math.floor((done / total) * 100);
    const bar = '#'.repeat(filled) + '.'.repeat(BAR_WIDTH - filled);
    process.stderr.write(`\rverifying [${bar}] ${percent} %`);
  };
}
