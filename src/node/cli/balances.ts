/** `agentguard balances`: what is spent and held on every cap of a log, what is granted on top, and what is frozen. */
import { capBalances, type CapBalance } from '../../balances.ts';
import type { Grant } from '../../ledgers/marks.ts';
import { formatUsd, usdText } from '../../money.ts';
import { policyFromRecord, type PolicyRecord } from '../../policy.ts';
import type { SpendScope } from '../../scope.ts';
import { onLedger, policiesIn, scopeOf, scopeText } from './control.ts';
import { findLog } from './locate.ts';
import { plainTable } from './models-table.ts';
import { printable, screenWidth, styled, timeText, wrapped } from './output.ts';

export interface BalancesOptions {
  log?: string;
  json?: boolean;
}

interface Found {
  now: number;
  caps: CapBalance[];
  /** Caps that count for each user, task and so on apart, where the scope names none. */
  apart: { policyId: string; index: number; fields: string[] }[];
  grants: Grant[];
  freezes: SpendScope[];
}

/** What a cap counts apart and the scope doesn't name. */
function missing({ caps }: PolicyRecord, index: number, scope: SpendScope): string[] {
  const { per = [], window } = caps[index] ?? {};
  const fields = window === 'per_task' ? ['taskId', ...per] : per;
  return fields.filter((field) => scope[field as keyof SpendScope] === undefined);
}

async function look(file: string, asked: SpendScope): Promise<Found> {
  const records = await policiesIn(file);
  return onLedger(file, async (ledger) => {
    const caps: CapBalance[] = [];
    const apart: Found['apart'] = [];
    for (const record of records) {
      // a policy for one team is shown by the calls of that team, unless another was asked for
      const scope = { ...record.scope, ...asked };
      caps.push(...(await capBalances(ledger, [policyFromRecord(record)], scope)));
      for (const index of record.caps.keys()) {
        const fields = missing(record, index, scope);
        if (fields.length > 0) apart.push({ policyId: record.id, index, fields });
      }
    }
    const { result } = await ledger.transact([], ({ marks, now }) => ({
      drafts: [],
      result: { now, grants: marks.grants(now), freezes: marks.freezes() },
    }));
    return { caps, apart, ...result };
  });
}

function limitText({ amount, granted }: CapBalance): string {
  return granted === undefined ? formatUsd(amount) : `${formatUsd(amount)} + ${formatUsd(granted)}`;
}

function capRow(cap: CapBalance): string[] {
  const { policyId, index, window, action, spent, held, resetsAt } = cap;
  return [
    printable(policyId),
    String(index),
    `${window} ${action}`,
    formatUsd(spent),
    formatUsd(held),
    limitText(cap),
    resetsAt === undefined ? '–' : timeText(resetsAt.getTime()).replace(/(:00)?\.\d+/, ''),
  ];
}

const HEADS = ['policy', 'cap', 'window', 'spent', 'held', 'of', 'resets'];

function textOf({ now, caps, apart, grants, freezes }: Found): string {
  const lines = [`Balances at ${timeText(now)}`];
  const aligns = HEADS.map((head) => (/spent|held|of/.test(head) ? ('right' as const) : ('left' as const)));
  if (caps.length > 0) lines.push(...plainTable(HEADS, aligns, caps.map(capRow), screenWidth()));
  for (const { policyId, index, fields } of apart) {
    const names = fields.join(' and ');
    const hint = `cap ${index} of ${printable(policyId)} counts by ${names}: name one, e.g. ${fields[0]}=…`;
    lines.push(styled('dim', wrapped(hint, 2)));
  }
  if (caps.length + apart.length === 0) lines.push('No cap counts for this scope.');
  for (const { policy, cap, amount, scope, until } of grants) {
    const what = `${formatUsd(amount)} on cap ${cap} of ${printable(policy)}, for ${scopeText(scope)}, until ${timeText(until)}`;
    lines.push(`${styled('green', 'Granted')}: ${what}`);
  }
  for (const scope of freezes)
    lines.push(`${styled('red', 'Frozen')}: ${scopeText(scope)}, until "agentguard unfreeze" lifts it`);
  return lines.join('\n');
}

/** Amounts as decimal strings in US dollars. */
const withAmounts = (_key: string, value: unknown): unknown =>
  typeof value === 'bigint' ? usdText(value) : value;

/** Shows the balances of a log. Writes nothing. */
export async function balancesCommand(words: readonly string[], options: BalancesOptions): Promise<number> {
  const scope = scopeOf(words.length === 0 ? ['all'] : words);
  const file = findLog(options.log ?? scope.tenantId, 'balances', ...words, '--log');
  const found = await look(file, scope);
  const { now, caps, apart, freezes } = found;
  const grants = found.grants.map((grant) => ({ ...grant, until: new Date(grant.until) }));
  const document = { log: file, at: new Date(now), scope, caps, apart, grants, frozen: freezes };
  process.stdout.write(`${options.json === true ? JSON.stringify(document, withAmounts) : textOf(found)}\n`);
  return 0;
}
