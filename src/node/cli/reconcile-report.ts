/** What a bill says to the receipts, in words and as JSON. */
import { formatUsd, usdText, type NanoUsd } from '../../money.ts';
import type { Category, ReconciledCall, Reconciliation } from '../../reconcile.ts';
import { countText, labelled, printable } from './output.ts';

/** Calls of a category that are named one by one. */
const SHOWN = 10;

const CATEGORIES = {
  billedWithoutReceipt: 'billed without receipt',
  receiptWithoutBill: 'receipt without bill',
  amountsDiffer: 'amounts that differ',
} as const;

export function reconcileLines(found: Reconciliation | undefined, width: number): string[] {
  if (found === undefined) return [];
  const { agree, matched, outsidePeriod, withoutId } = found;
  const row = (label: string, text: string): string => labelled(label, text, width);
  const same = `${countText(matched.count, 'call')} of ${formatUsd(matched.amount)} on both`;
  const lines = [
    labelled(
      'bill',
      agree ? `agrees: ${same}` : `differs: ${same}, and the following differ`,
      width,
      agree ? 'green' : 'red',
    ),
  ];
  for (const [name, title] of Object.entries(CATEGORIES) as [keyof typeof CATEGORIES, string][]) {
    const { count, billed, settled, calls } = found[name];
    lines.push(row('', `${title}: ${countText(count, 'call')}${sums(name, billed, settled)}`));
    for (const call of calls.slice(0, SHOWN)) lines.push(row('', `- ${callText(call)}`));
    if (calls.length > SHOWN) lines.push(row('', `- and ${calls.length - SHOWN} more`));
  }
  if (outsidePeriod.count > 0) {
    const { count, settled } = outsidePeriod;
    lines.push(row('', `outside of the bill’s period: ${countText(count, 'call')}, ${formatUsd(settled)}`));
  }
  if (withoutId.count > 0) {
    const { count, settled } = withoutId;
    lines.push(
      row(
        '',
        `without a generation id: ${countText(count, 'call')}, ${formatUsd(settled)}; these can’t be matched`,
      ),
    );
  }
  return lines;
}

function sums(name: keyof typeof CATEGORIES, billed: NanoUsd, settled: NanoUsd): string {
  switch (name) {
    case 'billedWithoutReceipt':
      return `, ${formatUsd(billed)}`;
    case 'receiptWithoutBill':
      return `, ${formatUsd(settled)}`;
    case 'amountsDiffer':
      return `, ${formatUsd(billed)} billed and ${formatUsd(settled)} settled (${formatUsd(settled - billed)})`;
  }
}

function callText({ id, billed, settled }: ReconciledCall): string {
  const parts = [
    ...(billed === undefined ? [] : [`${formatUsd(billed)} billed`]),
    ...(settled === undefined ? [] : [`${formatUsd(settled)} settled`]),
  ];
  return `${printable(id)}: ${parts.join(', ')}`;
}

export function reconciliationJson(found: Reconciliation): Record<string, unknown> {
  const category = ({ count, billed, settled, calls }: Category): unknown => ({
    count,
    billed: usdText(billed),
    settled: usdText(settled),
    calls: calls.map(({ id, calls: ours, ...amounts }) => ({
      id,
      ...(amounts.billed !== undefined && { billed: usdText(amounts.billed) }),
      ...(amounts.settled !== undefined && { settled: usdText(amounts.settled) }),
      ...(ours && { calls: ours }),
    })),
  });
  const { agree, matched, outsidePeriod, withoutId } = found;
  return {
    agree,
    currency: 'USD',
    matched: { count: matched.count, amount: usdText(matched.amount) },
    billedWithoutReceipt: category(found.billedWithoutReceipt),
    receiptWithoutBill: category(found.receiptWithoutBill),
    amountsDiffer: category(found.amountsDiffer),
    outsidePeriod: { count: outsidePeriod.count, settled: usdText(outsidePeriod.settled) },
    withoutId: { count: withoutId.count, settled: usdText(withoutId.settled) },
  };
}
