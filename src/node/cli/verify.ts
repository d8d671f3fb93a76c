/** `agentguard verify`: the verdict on a log, and a call in words. */
import { statSync } from 'node:fs';
import { dirname } from 'node:path';
import { LOG_FILE } from '../home.ts';
import { formatUsd, usdText } from '../../money.ts';
import { auditLog, type LogAudit } from './audit-log.ts';
import { chooseKey, findLog, type KeyChoice } from './locate.ts';
import { CliError, commandText, countText, labelled, printable, styled, timeText } from './output.ts';
import { traceTitle } from './trace.ts';

export interface VerifyOptions {
  trace?: string;
  key?: string;
  logId?: string;
  json?: boolean;
}

const EXIT_CODES = { valid: 0, invalid: 1, undecidable: 2 } as const;

const NOT_PROVED =
  'not proved: lines cut from the end leave no trace in the log itself; hold the head somewhere that its operator ' +
  'cannot write, and compare';

/** Verifies a log, prints the verdict, and returns the exit code: 0 valid, 1 invalid, 2 undecidable or unreadable. */
export async function verifyCommand(path: string | undefined, options: VerifyOptions): Promise<number> {
  const file = findLog(path, 'verify');
  const { audit, key } = await verifyFile(file, options);
  const exitCode = EXIT_CODES[audit.verdict.integrity];
  if (options.json === true) {
    process.stdout.write(
      `${JSON.stringify(jsonReport(file, audit, key, options, exitCode), undefined, 2)}\n`,
    );
    return exitCode;
  }
  const lines = verdictLines(file, audit, key);
  if (options.trace !== undefined) lines.push('', ...traceLines(audit, options.trace));
  process.stdout.write(`${lines.join('\n')}\n`);
  return exitCode;
}

/** The audit of a log under the key that was pinned, or else under this machine's own. */
export async function verifyFile(
  file: string,
  options: VerifyOptions = {},
): Promise<{ audit: LogAudit; key: KeyChoice }> {
  const progress = progressBar(file);
  try {
    const key = chooseKey(file, options.key);
    const trust = { keys: key.keys, ...(options.logId !== undefined && { log: options.logId }) };
    const audit = await auditLog(file, trust, {
      ...(options.trace !== undefined && { trace: options.trace }),
      ...(progress && { onProgress: progress }),
    });
    return { audit, key };
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

const LABEL = 14;
const VERDICT_STYLES = { valid: 'green', invalid: 'red', undecidable: 'yellow' } as const;

/** The verdict in lines; without `key`, nothing is said about trust. */
export function verdictLines(file: string, { verdict, totals, head }: LogAudit, key?: KeyChoice): string[] {
  const { allowed, downgraded, blocked, open, expired, settled } = totals;
  const part = verdict.integrity === 'valid' ? '' : ' before that line';
  const lines = [
    styled('bold', file),
    labelled('integrity', integrityText(verdict), LABEL, VERDICT_STYLES[verdict.integrity]),
    row('completeness', NOT_PROVED),
  ];
  if (head !== undefined) {
    lines.push(
      row('receipts', `${verdict.receipts.toLocaleString('en-US')}${part}`),
      row(
        'calls',
        `${allowed} allowed, ${downgraded} downgraded, ${blocked} blocked; ${open} open, ${expired} expired`,
      ),
      row('settled', formatUsd(settled)),
      row('head', `#${head.seq}, ${timeText(head.time)}`),
      row('head hash', head.hash.slice('sha256:'.length)),
      row('log id', verdict.log ?? ''),
    );
  }
  return key === undefined ? lines : [...lines, ...keyLines(file, key, verdict.log)];
}

function row(label: string, text: string): string {
  return labelled(label, text, LABEL);
}

function integrityText({ integrity, line, cause, receipts }: LogAudit['verdict']): string {
  if (integrity === 'valid') {
    const all = receipts === 1 ? 'the receipt is' : `all ${countText(receipts, 'receipt')} are`;
    return `valid: ${all} signed, linked and in order`;
  }
  return `${integrity}: line ${line}: ${printable(cause ?? '')}`;
}

function keyLines(file: string, key: KeyChoice, log: string | undefined): string[] {
  const place = file.endsWith(`/${LOG_FILE}`) ? dirname(file) : file;
  switch (key.source) {
    case 'pinned':
      return [row('key', key.thumbprint ?? ''), row('', 'the one that you pinned')];
    case 'installation':
      return [
        row('key', key.thumbprint ?? ''),
        row(
          '',
          'this machine’s own, from the installation key beside the log: whoever runs this machine could have ' +
            'written the log anew. An auditor learns thumbprint and log id from elsewhere, and pins them:',
        ),
        `  ${commandText('verify', place, '--key', key.thumbprint ?? '', ...(log ? ['--log-id', log] : []))}`,
      ];
    case 'none':
      return [
        row(
          'key',
          'none is known: no installation key lies beside this log, and a log can’t vouch for itself. Ask its ' +
            'operator for the thumbprint, by another way than the log came:',
        ),
        `  ${commandText('verify', place, '--key', '<thumbprint>')}`,
      ];
  }
}

function traceLines({ trace, verdict }: LogAudit, wanted: string): string[] {
  if (trace?.call !== undefined) return [traceTitle(trace, wanted), ...trace.lines()];
  const where = verdict.integrity === 'valid' ? 'in this log' : 'among the receipts that verified';
  return [
    wanted === 'latest' ? `There is no call ${where}.` : `There is no call ${printable(wanted)} ${where}.`,
  ];
}

function jsonReport(
  file: string,
  { verdict, totals, head, trace }: LogAudit,
  key: KeyChoice,
  options: VerifyOptions,
  exitCode: number,
): object {
  const { settled, ...calls } = totals;
  return {
    file,
    exitCode,
    integrity: verdict.integrity,
    ...(verdict.line !== undefined && { line: verdict.line, cause: verdict.cause }),
    completeness: { proved: false, note: NOT_PROVED },
    log: verdict.log,
    receipts: verdict.receipts,
    calls,
    settled: { currency: 'USD', amount: usdText(settled), nanoUsd: settled.toString() },
    head,
    key: { thumbprint: key.thumbprint, source: key.source, ...(key.keyFile && { file: key.keyFile }) },
    ...(options.trace !== undefined && {
      trace: {
        call: trace?.call,
        receipts: trace?.receipts.map(({ hash, payload }) => ({ hash, payload })) ?? [],
      },
    }),
  };
}
