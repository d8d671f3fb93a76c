/** `agentguard grant`, `freeze` and `unfreeze`: a signed receipt each, which binds every process at its next decision. */
import { createReadStream } from 'node:fs';
import { userInfo } from 'node:os';
import { basename, dirname } from 'node:path';
import { createInterface } from 'node:readline';
import { writeFreeze, writeGrant, type ControlNote } from '../../control.ts';
import type { Ledger } from '../../ledgers/ledger.ts';
import { formatUsd } from '../../money.ts';
import type { PolicyRecord } from '../../policy.ts';
import type { GrantPayload, PolicyPayload, Receipt } from '../../receipts/payloads.ts';
import { SCOPE_FIELDS, type ScopeField, type SpendScope } from '../../scope.ts';
import { fileLedger } from '../file-ledger/index.ts';
import { LOG_FILE } from '../home.ts';
import { findLog, keyFileOf } from './locate.ts';
import { CliError, failure, printable, styled, timeText } from './output.ts';

export interface ControlOptions {
  log?: string;
  by?: string;
  reason?: string;
  json?: boolean;
}

export interface GrantOptions extends ControlOptions {
  cap: string;
  usd: string;
  for?: string;
  until?: string;
  scope?: string[];
}

/** `tenant`, `team`, `user` and `agent` are as good as the fields' own names. */
const SHORT: Readonly<Record<string, ScopeField>> = {
  tenant: 'tenantId',
  team: 'teamId',
  user: 'userId',
  agent: 'agentId',
};

/** The scope that `team=engineering user=alice` names; `all` is every call of the log. */
export function scopeOf(words: readonly string[]): SpendScope {
  if (words.length === 1 && words[0] === 'all') return {};
  const scope: SpendScope = {};
  for (const word of words) {
    const at = word.indexOf('=');
    const name = at < 0 ? word : word.slice(0, at);
    const field = SHORT[name] ?? (SCOPE_FIELDS as readonly string[]).find((known) => known === name);
    const value = at < 0 ? '' : word.slice(at + 1);
    if (field === undefined || value === '') {
      throw new CliError(
        `${printable(word)}: expected field=value, e.g. team=engineering or user=alice, or "all". ` +
          `Fields: tenant, team, user, agent, taskId, task.`,
      );
    }
    if (scope[field as ScopeField] !== undefined) throw new CliError(`${name} is named twice.`);
    scope[field as ScopeField] = value;
  }
  return scope;
}

export function scopeText(scope: SpendScope): string {
  const fields = Object.entries(scope).map(([field, value]) => `${field} ${value}`);
  return fields.length === 0 ? 'every scope of this log' : printable(fields.join(', '));
}

const UNITS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

function durationMs(text: string): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)([smhd])/g)];
  if (parts.length === 0 || parts.map(([part]) => part).join('') !== text) {
    throw new CliError(`--for ${printable(text)}: expected a duration such as 30m, 2h, 1d or 1h30m.`);
  }
  return parts.reduce((sum, [, count, unit]) => sum + Number(count) * (UNITS[unit as string] as number), 0);
}

function noteOf({ by, reason }: ControlOptions): ControlNote {
  return { by: by ?? userName(), ...(reason !== undefined && { reason }) };
}

/** Some systems have no name for whoever runs this. */
function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return 'unknown';
  }
}

/** Runs `work` on the ledger of a log, which verifies the log first and keeps its other writers in order. */
export async function onLedger<T>(file: string, work: (ledger: Ledger) => Promise<T>): Promise<T> {
  if (basename(file) !== LOG_FILE)
    throw new CliError(`${file} is not the log of a ledger on this machine: it is not called ${LOG_FILE}.`);
  const keyFile = keyFileOf(file);
  const ledger = fileLedger({ dir: dirname(file), ...(keyFile !== undefined && { keyFile }) });
  try {
    return await work(ledger);
  } finally {
    await ledger.close();
  }
}

function print(options: ControlOptions, document: object, text: string): void {
  process.stdout.write(`${options.json === true ? JSON.stringify(document) : text}\n`);
}

/** Runs a command; with --json what goes wrong is a document, too. */
async function told(options: ControlOptions, work: () => Promise<number>): Promise<number> {
  if (options.json !== true) return work();
  try {
    return await work();
  } catch (error) {
    const { message, exitCode } = failure(error);
    print(options, { exitCode, error: message }, '');
    return exitCode;
  }
}

/** Freezes or unfreezes a scope. Exit code 0 when that changed something, 1 when it was so already. */
export async function freezeCommand(
  words: readonly string[],
  options: ControlOptions,
  frozen: boolean,
): Promise<number> {
  return told(options, () => freeze(words, options, frozen));
}

async function freeze(words: readonly string[], options: ControlOptions, frozen: boolean): Promise<number> {
  const scope = scopeOf(words);
  const doing = frozen ? 'freeze' : 'unfreeze';
  const file = findLog(options.log ?? scope.tenantId, doing, ...words, '--log');
  const note = noteOf(options);
  const { receipt, others } = await onLedger(file, async (ledger) => {
    const written = await writeFreeze(ledger, scope, frozen, note);
    const { result } = await ledger.transact([], ({ marks }) => ({ drafts: [], result: marks.freezes() }));
    return { receipt: written, others: result };
  });
  const facts = { log: file, scope, frozen, changed: receipt !== undefined, stillFrozen: others };
  print(options, { ...facts, ...receiptFacts(receipt) }, freezeText(scope, frozen, receipt, others));
  return receipt === undefined ? 1 : 0;
}

function receiptFacts(receipt: Receipt | undefined): object {
  return receipt === undefined ? {} : { seq: receipt.payload.seq, hash: receipt.hash };
}

function freezeText(
  scope: SpendScope,
  frozen: boolean,
  receipt: Receipt | undefined,
  others: readonly SpendScope[],
): string {
  const what = scopeText(scope);
  if (frozen) {
    if (receipt === undefined) return `${what}: frozen already. Nothing was written.`;
    return (
      `${styled('red', 'Frozen')}: ${what}, by receipt #${receipt.payload.seq}.\n` +
      'No call of it passes any more, in any process, from its next decision on. Calls in flight go on.'
    );
  }
  const left =
    others.length === 0 ? 'Nothing is frozen.' : `Still frozen: ${others.map(scopeText).join('; ')}.`;
  if (receipt === undefined) return `${what}: not frozen. Nothing was written.\n${left}`;
  return `${styled('green', 'Unfrozen')}: ${what}, by receipt #${receipt.payload.seq}.\n${left}`;
}

/** The latest record of each policy in a log, by its id. */
export async function policiesIn(file: string): Promise<PolicyRecord[]> {
  const found = new Map<string, PolicyRecord>();
  for await (const line of createInterface({ input: createReadStream(file), crlfDelay: Infinity })) {
    if (!line.includes('"type":"policy"')) continue;
    const { payload } = JSON.parse(line) as { payload: PolicyPayload };
    if (payload.type !== 'policy') continue;
    const record = payload.policy as unknown as PolicyRecord;
    found.set(record.id, record);
  }
  return [...found.values()];
}

/** What was asked for, to be pasted again with the log's name. */
function flagsOf({ cap, usd, for: duration, until, scope = [] }: GrantOptions): string[] {
  return [
    '--cap',
    cap,
    '--usd',
    usd,
    ...(duration === undefined ? [] : ['--for', duration]),
    ...(until === undefined ? [] : ['--until', until]),
    ...scope.flatMap((word) => ['--scope', word]),
  ];
}

/** Raises one cap for a while. Exit code 0 when that was written. */
export async function grantCommand(policyId: string, options: GrantOptions): Promise<number> {
  return told(options, () => grant(policyId, options));
}

async function grant(policyId: string, options: GrantOptions): Promise<number> {
  const scope = scopeOf(options.scope ?? ['all']);
  const file = findLog(options.log ?? scope.tenantId, 'grant', policyId, ...flagsOf(options), '--log');
  const policies = await policiesIn(file);
  const policy = policies.find(({ id }) => id === policyId);
  if (policy === undefined) {
    const known = policies.map(({ id }) => printable(id)).join(', ');
    throw new CliError(
      policies.length === 0
        ? `${file} has no policy yet: it is recorded when a first call is decided by it.`
        : `${file} has no policy ${printable(policyId)}. It has: ${known}.`,
    );
  }
  const cap = /^\d{1,2}$/.test(options.cap) ? Number(options.cap) : -1;
  if (policy.caps[cap] === undefined) {
    const caps = policy.caps.map(
      ({ amount, window, action }, index) =>
        `  --cap ${index}   ${formatUsd(BigInt(amount))} ${window} ${action}`,
    );
    throw new CliError(
      [`Policy ${printable(policyId)} has no cap ${printable(options.cap)}. Its caps:`, ...caps].join('\n'),
    );
  }
  if ((options.for === undefined) === (options.until === undefined))
    throw new CliError('Give either --for, e.g. --for 2h, or --until, e.g. --until 2026-12-01T00:00:00Z.');
  const request = {
    policyId,
    cap,
    usd: options.usd,
    scope,
    ...(options.for !== undefined && { forMs: durationMs(options.for) }),
    ...(options.until !== undefined && { until: options.until }),
    ...noteOf(options),
  };
  const receipt = await onLedger(file, (ledger) => writeGrant(ledger, policies, request));
  const payload = receipt.payload as GrantPayload;
  const amount = BigInt(policy.caps[cap].amount);
  const granted = BigInt(payload.amount);
  print(
    options,
    {
      log: file,
      policy: policyId,
      cap,
      usd: options.usd,
      scope,
      until: payload.until,
      ...receiptFacts(receipt),
    },
    `${styled('green', 'Granted')}: ${formatUsd(granted)} on top of the ${formatUsd(amount)} ${policy.caps[cap].window} ` +
      `cap of policy ${printable(policyId)}, for ${scopeText(scope)}, until ${timeText(payload.until)}, by receipt ` +
      `#${payload.seq}.\nEvery process counts it from its next decision on.`,
  );
  return 0;
}
