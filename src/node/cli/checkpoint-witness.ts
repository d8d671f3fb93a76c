/** Checkpoints that `agentguard verify` is given, or remembers, against the log that it reads. */
import { readFileSync } from 'node:fs';
import { parseCheckpoint, type ParsedCheckpoint } from '../../receipts/checkpoint.ts';
import { CheckpointCheck, type CheckpointFinding } from '../../receipts/checkpoint-check.ts';
import type { Receipt } from '../../receipts/payloads.ts';
import type { LogVerdict } from '../../receipts/verdict.ts';
import { lastSeen, remember } from '../trust-file.ts';
import { CliError, printable } from './output.ts';
import type { Finding } from './verify-report.ts';

export interface WitnessOptions {
  /** Files of signed notes. */
  checkpoint?: readonly string[];
  /** The file in which the last checkpoint of each log is remembered. */
  trust?: string;
}

/** Follows a log while it is verified; `undefined` where no checkpoint is to be looked for. */
export class CheckpointWitness {
  readonly #given: readonly ParsedCheckpoint[];
  readonly #check: CheckpointCheck;
  readonly #trustFile: string | undefined;

  constructor(options: WitnessOptions, log: string | undefined, keys: readonly Uint8Array[]) {
    this.#trustFile = options.trust;
    const seen = options.trust === undefined || log === undefined ? undefined : lastSeen(options.trust, log);
    this.#given = [...(options.checkpoint ?? []).map(checkpointFrom), ...(seen ? [seen] : [])];
    this.#check = new CheckpointCheck(this.#given, keys);
  }

  /** False where there is no checkpoint to be held against the log: then it needs to see nothing. */
  get isNeeded(): boolean {
    return this.#given.length > 0;
  }

  add(receipt: Receipt): void {
    if (this.isNeeded) this.#check.add(receipt);
  }

  /** What the checkpoints come to. Remembers the latest that the log bears out. */
  conclude({ integrity, cause }: LogVerdict): CheckpointFinding[] {
    const isWhole =
      integrity === 'valid' || cause === 'the log is empty' || cause === 'the last line has no end';
    const findings = this.#check.findings(isWhole);
    const isRefuted = findings.some(({ status }) => status === 'refuted');
    if (this.#trustFile !== undefined && integrity === 'valid' && !isRefuted) {
      for (const [index, { status }] of findings.entries()) {
        if (status === 'proved') remember(this.#trustFile, this.#given[index] as ParsedCheckpoint);
      }
    }
    return findings;
  }
}

function checkpointFrom(path: string): ParsedCheckpoint {
  let note: string;
  try {
    note = readFileSync(path === '-' ? 0 : path, 'utf8');
  } catch (error) {
    throw new CliError(`--checkpoint: it can't be read: ${(error as Error).message}.`);
  }
  const checkpoint = parseCheckpoint(note);
  if ('problem' in checkpoint) throw new CliError(`--checkpoint ${printable(path)}: ${checkpoint.problem}.`);
  return checkpoint;
}

/** The verdict with what the checkpoints say. */
export function withCheckpoints(finding: Finding, findings: readonly CheckpointFinding[]): Finding {
  const refuted = findings.find(({ status }) => status === 'refuted');
  if (refuted?.status === 'refuted') {
    const completeness = { proved: false, note: `refuted: ${refuted.cause}` };
    // A line that is wrong by itself says more than what follows from it.
    if (finding.integrity === 'invalid') return { ...finding, completeness };
    const { line: _line, ...rest } = finding;
    return { ...rest, integrity: 'invalid', cause: refuted.cause, completeness, exitCode: 1 };
  }
  const size = Math.max(0, ...findings.map((each) => (each.status === 'proved' ? each.size : 0)));
  const open = findings.find(({ status }) => status === 'open');
  const { completeness } = finding;
  const byHead = completeness.upTo ?? -1;
  const proved = Math.max(size - 1, byHead);
  const exitCode = finding.exitCode === 0 && open !== undefined ? 2 : finding.exitCode;
  if (proved >= 0 && size - 1 >= byHead) {
    const more = open?.status === 'open' ? `; another checkpoint could not be used: ${open.cause}` : '';
    const note = `proved up to #${proved}: the checkpoint of ${size} lines fits${more}`;
    return { ...finding, completeness: { proved: true, upTo: proved, note }, exitCode };
  }
  if (open?.status !== 'open') return finding;
  if (completeness.proved) return { ...finding, exitCode };
  return { ...finding, completeness: { proved: false, note: `not proved: ${open.cause}` }, exitCode };
}
