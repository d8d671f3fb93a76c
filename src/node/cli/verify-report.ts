/** The verdict on a log in words, and as JSON. */
import { dirname } from 'node:path';
import { formatUsd, usdText } from '../../money.ts';
import type { LogVerdict } from '../../receipts/verdict.ts';
import { reconcileLines, reconciliationJson } from './reconcile-report.ts';
import { LOG_FILE } from '../home.ts';
import type { LogAudit } from './audit-log.ts';
import type { KeyChoice } from './locate.ts';
import { withCheckpoints } from './checkpoint-witness.ts';
import { commandText, countText, labelled, printable, screenWidth, styled, timeText } from './output.ts';
import { STDIN } from './spool.ts';
import { traceTitle } from './trace.ts';
import type { Verified, VerifyOptions } from './verify.ts';
import type { ReplayVerdict } from '../../replay.ts';

/** The verdict as it is told: the log's own, and what the pins say to it. */
export interface Finding {
  integrity: LogVerdict['integrity'];
  /** Where the first problem is; absent for what is wrong with no single line. */
  line?: number;
  /** What is wrong, in a sentence without its line. */
  cause?: string;
  completeness: { proved: boolean; upTo?: number; by?: string; note: string };
  /** Why the call that was asked for can't be shown. */
  missing?: string;
  exitCode: 0 | 1 | 2;
}

const EXIT_CODES = { valid: 0, invalid: 1, undecidable: 2 } as const;

const NOT_PROVED =
  'not proved: lines cut from the end leave no trace. Keep a head elsewhere, and pass it with --head';

export function findingOf(verified: Verified, options: VerifyOptions): Finding {
  return withCheckpoints(logFinding(verified, options), verified.checkpoints ?? []);
}

function logFinding({ audit, key }: Verified, options: VerifyOptions): Finding {
  const judged = judge(audit, key, options);
  const missing = missingCall(audit, judged.integrity, options.trace);
  const codes: Code[] = [EXIT_CODES[judged.integrity]];
  if (missing !== undefined) codes.push(2);
  if (audit.replay !== undefined) codes.push(REPLAY_CODES[audit.replay.replay]);
  if (audit.reconciliation?.agree === false) codes.push(1);
  return {
    ...judged,
    completeness: completenessOf(audit, options),
    ...(missing !== undefined && { missing }),
    exitCode: worst(codes),
  };
}

type Code = 0 | 1 | 2;
const REPLAY_CODES = { follows: 0, wrong: 1, undecidable: 2 } as const;

/** What is known to be wrong outweighs what is not known. */
function worst(codes: readonly Code[]): Code {
  if (codes.includes(1)) return 1;
  return codes.includes(2) ? 2 : 0;
}

type Judged = Pick<Finding, 'integrity' | 'line' | 'cause'>;

function judge({ verdict }: LogAudit, key: KeyChoice, options: VerifyOptions): Judged {
  const { integrity, line, cause = '' } = verdict;
  if (integrity === 'valid') return { integrity };
  const at = { integrity, ...(line !== undefined && { line }) };
  // An empty log has no line that could be named.
  if (cause === 'the log is empty') return { integrity, cause };
  if (cause === 'the last line has no end') {
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

function completenessOf(
  { verdict: { completeness } }: LogAudit,
  options: VerifyOptions,
): Finding['completeness'] {
  switch (completeness.status) {
    case 'proved': {
      const { upTo, by } = completeness;
      return { proved: true, upTo, by, note: `proved up to #${upTo}: ${by} is in this log` };
    }
    case 'refuted':
      return { proved: false, by: completeness.by, note: `refuted: ${completeness.by} is not in this log` };
    case 'not_proved':
      return options.head === undefined
        ? { proved: false, note: NOT_PROVED }
        : { proved: false, note: 'not proved: the head you hold is not among the receipts that verified' };
  }
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
  const lines = verdictLines(options.name ?? file, audit, finding, options.since);
  lines.push(...replayLines(audit), ...reconcileLines(audit.reconciliation, LABEL));
  // Whose key it is matters no more where the log is wrong.
  if (finding.integrity !== 'invalid')
    lines.push(...keyLines(placeOf(file, options), key, audit.verdict.log));
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
export function verdictLines(
  file: string,
  { verdict, totals, head }: LogAudit,
  finding: Finding,
  since?: string,
): string[] {
  const { allowed, downgraded, blocked, open, expired, settled } = totals;
  const part = verdict.integrity === 'valid' ? '' : `, up to line ${verdict.receipts}`;
  const { integrity, completeness } = finding;
  const lines = [
    styled('bold', file),
    labelled('integrity', integrityText(finding, verdict.receipts, since), LABEL, VERDICT_STYLES[integrity]),
    row('completeness', completeness.note),
  ];
  if (head === undefined) return lines;
  const calls = `${allowed} allowed, ${downgraded} downgraded, ${blocked} blocked; ${open} open, ${expired} expired`;
  const counted = since === undefined ? part : `${part}, since ${printable(since)}`;
  return [
    ...lines,
    row('receipts', `${verdict.receipts.toLocaleString('en-US')}${part}`),
    row('calls', `${calls}${counted}`),
    row('settled', `${formatUsd(settled)}${counted}`),
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

function integrityText({ integrity, line, cause = '' }: Finding, receipts: number, since?: string): string {
  if (integrity === 'valid') {
    const all = receipts === 1 ? 'the receipt is' : `all ${countText(receipts, 'receipt')} are`;
    if (since === undefined) return `valid: ${all} signed, linked and in order`;
    return `valid: ${all} linked and in order, and those since ${printable(since)} are signed`;
  }
  const where = line === undefined ? '' : `line ${line}${cause.startsWith('is ') ? ' ' : ': '}`;
  return `${integrity}: ${where}${printable(cause)}`;
}

const REPLAY_STYLES = { follows: 'green', wrong: 'red', undecidable: 'yellow' } as const;
/** Calls in flight that are named one by one. */
const OPEN_SHOWN = 5;

function replayLines({ replay, verdict }: LogAudit): string[] {
  if (replay === undefined) return [];
  const { problem, decisions, open } = replay;
  const part = verdict.integrity === 'valid' ? '' : `, up to line ${verdict.receipts}`;
  const text =
    problem === undefined
      ? `follows: ${countText(decisions, 'decision')} and every balance are what the log itself leads to${part}`
      : `${replay.replay}: line ${problem.line}: ${printable(problem.cause)}`;
  const shown = open.slice(0, OPEN_SHOWN).map(({ call, line, hold, leaseUntil, overdue }) => {
    const lease = overdue ? 'its lease ran out at' : 'its lease runs until';
    return row(
      'open',
      `${printable(call)} (line ${line}) holds ${formatUsd(hold)}; ${lease} ${timeText(leaseUntil)}`,
    );
  });
  const more = open.length > OPEN_SHOWN ? [row('', `and ${open.length - OPEN_SHOWN} more`)] : [];
  return [labelled('replay', text, LABEL, REPLAY_STYLES[replay.replay]), ...shown, ...more];
}

/** The log as it can be named on the command line. */
function placeOf(file: string, { name }: VerifyOptions): string {
  if (name !== undefined) return STDIN;
  return file.endsWith(`/${LOG_FILE}`) ? dirname(file) : file;
}

function keyLines(place: string, { source, thumbprints }: KeyChoice, log: string | undefined): string[] {
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
  const { audit, key } = verified;
  const file = options.name ?? verified.file;
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
    ...(audit.replay && { replay: replayJson(audit.replay) }),
    ...(audit.reconciliation && { reconciliation: reconciliationJson(audit.reconciliation) }),
    ...(options.since !== undefined && { since: options.since }),
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

function replayJson({ replay, problem, decisions, open }: ReplayVerdict): Record<string, unknown> {
  return {
    status: replay,
    decisions,
    ...(problem && { line: problem.line, seq: problem.seq, cause: problem.cause }),
    open: open.map(({ hold, ...call }) => ({ ...call, hold: usdText(hold) })),
  };
}
