/** The verdict on a log in words, and as JSON. */
import { dirname } from 'node:path';
import { formatUsd, usdText } from '../../money.ts';
import type { LogVerdict } from '../../receipts/verify.ts';
import { LOG_FILE } from '../home.ts';
import type { LogAudit } from './audit-log.ts';
import type { KeyChoice } from './locate.ts';
import { withCheckpoints } from './checkpoint-witness.ts';
import { commandText, countText, labelled, printable, screenWidth, styled, timeText } from './output.ts';
import { traceTitle } from './trace.ts';
import type { Verified, VerifyOptions } from './verify.ts';

/** The verdict as it is told: the log's own, and what the pins say to it. */
export interface Finding {
  integrity: LogVerdict['integrity'];
  /** Where the first problem is; absent for what is wrong with no single line. */
  line?: number;
  /** What is wrong, in a sentence without its line. */
  cause?: string;
  completeness: { proved: boolean; upTo?: number; note: string };
  /** Why the call that was asked for can't be shown. */
  missing?: string;
  exitCode: 0 | 1 | 2;
}

const EXIT_CODES = { valid: 0, invalid: 1, undecidable: 2 } as const;

const NOT_PROVED =
  'not proved: lines cut from the end leave no trace. Keep a head elsewhere, and pass it with --head';
const CUT_OR_REWRITTEN = 'the head you hold is not in this log: it was cut or rewritten';

export function findingOf(verified: Verified, options: VerifyOptions): Finding {
  return withCheckpoints(logFinding(verified, options), verified.checkpoints ?? []);
}

function logFinding({ audit, key }: Verified, options: VerifyOptions): Finding {
  const judged = judge(audit, key, options);
  const missing = missingCall(audit, judged.integrity, options.trace);
  const code = EXIT_CODES[judged.integrity];
  return {
    ...judged,
    completeness: completenessOf(audit, judged, options),
    ...(missing !== undefined && { missing }),
    exitCode: code === 0 && missing !== undefined ? 2 : code,
  };
}

type Judged = Pick<Finding, 'integrity' | 'line' | 'cause'>;

function judge({ verdict, held }: LogAudit, key: KeyChoice, options: VerifyOptions): Judged {
  const { integrity, line, cause = '' } = verdict;
  const isEmpty = cause === 'the log is empty';
  const isCut = cause === 'the last line has no end';
  const isReadToTheEnd = integrity === 'valid' || isEmpty || isCut;
  if (options.head !== undefined && held === undefined && isReadToTheEnd) {
    return { integrity: 'invalid', cause: CUT_OR_REWRITTEN };
  }
  if (integrity === 'valid') return { integrity };
  if (isEmpty) return { integrity, cause };
  const at = { integrity, ...(line !== undefined && { line }) };
  if (isCut) {
    return { ...at, cause: 'is cut off: a writer is at work, or died; the next open repairs it' };
  }
  const signer = /^signed by the unknown key (\S+)$/.exec(cause)?.[1];
  if (signer !== undefined && line === 1)
    return { ...at, cause: `signed by ${signer}, ${strangerText(key)}` };
  if (cause.startsWith('this is log ') && options.logId !== undefined) {
    return { ...at, cause: `this is another log: ${cause.slice('this is log '.length)}` };
  }
  return { ...at, cause };
}

/** What a signer is that the chosen keys don't know. */
function strangerText({ source, keys }: KeyChoice): string {
  switch (source) {
    case 'pinned':
      return keys.length === 1 ? 'which is not the key you pinned' : 'which is none of the keys you pinned';
    case 'installation':
      return 'which is not this machine’s own key';
    case 'none':
      return 'and no key is known here';
  }
}

function completenessOf({ held }: LogAudit, judged: Judged, options: VerifyOptions): Finding['completeness'] {
  if (options.head === undefined) return { proved: false, note: NOT_PROVED };
  if (held !== undefined) {
    return { proved: true, upTo: held, note: `proved up to #${held}: the head you hold is in this log` };
  }
  const note =
    judged.cause === CUT_OR_REWRITTEN
      ? 'refuted: the head you hold is not in this log'
      : 'not proved: the head you hold is not among the receipts that verified';
  return { proved: false, note };
}

function missingCall(
  { trace }: LogAudit,
  integrity: LogVerdict['integrity'],
  wanted: string | undefined,
): string | undefined {
  if (wanted === undefined || trace?.call !== undefined) return undefined;
  const where = integrity === 'valid' ? 'in this log' : 'among the receipts that verified';
  return wanted === 'latest'
    ? `There is no call ${where}.`
    : `There is no call ${printable(wanted)} ${where}.`;
}

/** The whole report. */
export function textReport(verified: Verified, options: VerifyOptions): string[] {
  const finding = findingOf(verified, options);
  const { file, audit, key } = verified;
  const lines = verdictLines(file, audit, finding);
  // Whose key it is matters no more where the log is wrong.
  if (finding.integrity !== 'invalid') lines.push(...keyLines(file, key, audit.verdict.log));
  if (options.trace === undefined) return lines;
  const { trace } = audit;
  const told =
    trace === undefined || finding.missing !== undefined
      ? [finding.missing ?? '']
      : [traceTitle(trace, options.trace), ...trace.lines()];
  return [...lines, '', ...told];
}

const LABEL = 14;
const VERDICT_STYLES = { valid: 'green', invalid: 'red', undecidable: 'yellow' } as const;

/** The verdict in lines, and what the receipts add up to; nothing is said about trust. */
export function verdictLines(file: string, { verdict, totals, head }: LogAudit, finding: Finding): string[] {
  const { allowed, downgraded, blocked, open, expired, settled } = totals;
  const part = verdict.integrity === 'valid' ? '' : `, up to line ${verdict.receipts}`;
  const { integrity, completeness } = finding;
  const lines = [
    styled('bold', file),
    labelled('integrity', integrityText(finding, verdict.receipts), LABEL, VERDICT_STYLES[integrity]),
    row('completeness', completeness.note),
  ];
  if (head === undefined) return lines;
  const calls = `${allowed} allowed, ${downgraded} downgraded, ${blocked} blocked; ${open} open, ${expired} expired`;
  return [
    ...lines,
    row('receipts', `${verdict.receipts.toLocaleString('en-US')}${part}`),
    row('calls', `${calls}${part}`),
    row('settled', `${formatUsd(settled)}${part}`),
    row('head', `#${head.seq}, ${timeText(head.time)}${part}`),
    ...hashLines(head.hash),
    row('log id', verdict.log ?? ''),
  ];
}

function row(label: string, text: string): string {
  return labelled(label, text, LABEL);
}

/** On a narrow screen the hash has a line to itself, so that it stays in one piece. */
function hashLines(hash: string): string[] {
  if (LABEL + hash.length <= screenWidth()) return [row('head hash', hash)];
  return [styled('dim', 'head hash'), `  ${hash}`];
}

function integrityText({ integrity, line, cause = '' }: Finding, receipts: number): string {
  if (integrity === 'valid') {
    const all = receipts === 1 ? 'the receipt is' : `all ${countText(receipts, 'receipt')} are`;
    return `valid: ${all} signed, linked and in order`;
  }
  const where = line === undefined ? '' : `line ${line}${cause.startsWith('is ') ? ' ' : ': '}`;
  return `${integrity}: ${where}${printable(cause)}`;
}

function keyLines(file: string, { source, thumbprints }: KeyChoice, log: string | undefined): string[] {
  const place = file.endsWith(`/${LOG_FILE}`) ? dirname(file) : file;
  const [first = '', ...others] = thumbprints;
  switch (source) {
    case 'pinned': {
      const pinned = others.length === 0 ? 'the one that you pinned' : 'the ones that you pinned';
      return [row('key', first), ...others.map((other) => row('', other)), row('', pinned)];
    }
    case 'installation':
      return [
        row('key', first),
        row('', 'this machine’s own, which proves nothing to others; an auditor pins it and the log:'),
        `  ${commandText('verify', place, '--key', first, ...(log === undefined ? [] : ['--log-id', log]))}`,
      ];
    case 'none':
      return [
        row('key', 'none is known here. Ask the log’s operator for the thumbprint, and pin it:'),
        `  ${commandText('verify', place, '--key', '<thumbprint>')}`,
      ];
  }
}

/** The same as one JSON document. */
export function jsonReport(
  verified: Verified,
  options: VerifyOptions,
): { exitCode: number; [member: string]: unknown } {
  const { file, audit, key } = verified;
  const { verdict, totals, head, trace } = audit;
  const { settled, ...calls } = totals;
  const finding = findingOf(verified, options);
  const { integrity, line, cause, completeness, missing, exitCode } = finding;
  const [thumbprint] = key.thumbprints;
  return {
    file,
    exitCode,
    ...(missing !== undefined && { error: missing }),
    integrity,
    ...(line !== undefined && { line }),
    ...(cause !== undefined && { cause }),
    completeness,
    log: verdict.log,
    receipts: verdict.receipts,
    ...(verdict.integrity !== 'valid' && { upToLine: verdict.receipts }),
    calls,
    settled: { currency: 'USD', amount: usdText(settled), nanoUsd: settled.toString() },
    head,
    key: {
      thumbprint,
      ...(key.thumbprints.length > 1 && { thumbprints: key.thumbprints }),
      source: key.source,
      ...(key.keyFile !== undefined && { file: key.keyFile }),
    },
    ...(options.trace !== undefined && {
      trace: {
        wanted: options.trace,
        call: trace?.call,
        receipts: trace?.receipts.map(({ hash, payload }) => ({ hash, payload })) ?? [],
      },
    }),
  };
}
