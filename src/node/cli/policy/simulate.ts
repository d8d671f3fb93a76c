/** `agentguard policy simulate`: the calls of a log under other policies. */
import { statSync } from 'node:fs';
import { problemsMessage, readPipedPolicies, readPolicies, STANDARD_INPUT } from '../../policy-file/read.ts';
import { BadLine, readLog } from '../../simulate/read-log.ts';
import { Simulation } from '../../simulate/simulation.ts';
import { UsageShares } from '../../simulate/usage-shares.ts';
import { findLog } from '../locate.ts';
import { CliError, commandText, failure, printable } from '../output.ts';
import { jsonReport, textReport } from './simulate-report.ts';

export interface SimulateOptions {
  log?: string;
  json?: boolean;
}

/** What was simulated. */
export interface Simulated {
  /** The policy file, as it is named. */
  file: string;
  log: string;
  policies: readonly string[];
  simulation: Simulation;
}

/** Prints what would have become of the calls. Returns 0 done, 1 wrong policies, 2 not readable. */
export async function simulateCommand(path: string, options: SimulateOptions): Promise<number> {
  if (options.json !== true) {
    process.stdout.write(`${textReport(await simulate(path, options.log)).join('\n')}\n`);
    return 0;
  }
  let report: { exitCode: number; [member: string]: unknown };
  try {
    report = jsonReport(await simulate(path, options.log));
  } catch (error) {
    const { message, exitCode } = failure(error);
    report = { exitCode, error: message };
  }
  process.stdout.write(`${JSON.stringify(report, undefined, 2)}\n`);
  return report.exitCode;
}

async function simulate(path: string, logPath: string | undefined): Promise<Simulated> {
  const read = path === STANDARD_INPUT ? readPipedPolicies() : readPolicies(path);
  const problem = problemsMessage(read);
  if (problem !== undefined) throw new CliError(`${read.file} has errors:\n${problem}`, 1);
  const log = findLog(logPath, 'policy', 'simulate', path, '--log');
  const policies = read.policies.map(({ policy }) => policy);
  const progress = progressBar(log);
  try {
    const { size: end } = statSync(log);
    const shares = new UsageShares();
    const simulation = new Simulation(policies, shares);
    await readLog(log, { end, ...(progress && { onProgress: progress(0) }) }, (payload) =>
      shares.add(payload),
    );
    const again = { end, isChecked: true, ...(progress && { onProgress: progress(1) }) };
    await readLog(log, again, (payload) => simulation.add(payload));
    if (simulation.tally.total.calls === 0)
      throw new CliError(`${printable(log)} has no calls yet that could be tried.`);
    return { file: read.file, log, policies: policies.map(({ record }) => record.id), simulation };
  } catch (error) {
    if (error instanceof BadLine) throw unsound(log, error);
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'EACCES' || code === 'EPERM' || code === 'ENOENT')
      throw new CliError(`The log can't be read: ${message}.`);
    throw error;
  } finally {
    if (progress !== undefined) process.stderr.write('\r\u001b[K');
  }
}

function unsound(log: string, { line, message }: BadLine): CliError {
  const isLog = line > 1;
  return new CliError(
    isLog
      ? `Line ${line} of ${printable(log)} is no receipt (${printable(message)}). Run: ${commandText('verify', log)}`
      : `${printable(log)} is not an AgentGuard log (line 1 is no receipt).`,
  );
}

/** Logs below this size are read before a bar could be. */
const LONG_LOG_BYTES = 4 * 1024 * 1024;
const BAR_WIDTH = 30;
const BAR_EVERY_MS = 100;

/** A bar over both readings of a log. */
function progressBar(file: string): ((pass: number) => (done: number, total: number) => void) | undefined {
  if (!process.stderr.isTTY || statSync(file).size < LONG_LOG_BYTES) return undefined;
  let shownAt = 0;
  return (pass) => (done, total) => {
    const now = performance.now();
    if (now - shownAt < BAR_EVERY_MS) return;
    shownAt = now;
    const part = (pass + done / total) / 2;
    const filled = Math.round(part * BAR_WIDTH);
    const bar = '#'.repeat(filled) + '.'.repeat(BAR_WIDTH - filled);
    process.stderr.write(`\rsimulating [${bar}] ${Math.floor(part * 100)} %`);
  };
}
