/** The demo's facts as a page of text, or as JSON. */
import { dirname } from 'node:path';
import Table from 'cli-table3';
import { formatUsd, usdText, type NanoUsd } from '../../money.ts';
import { ASKED_MODEL, CHEAPER_MODEL } from './demo-agent.ts';
import type { DemoFacts, DemoStep } from './demo.ts';
import { commandText, countText, labelled, screenWidth, styled, wrapped } from './output.ts';
import { findingOf, verdictLines } from './verify-report.ts';

/** The whole page. */
export function demoReport(facts: DemoFacts): string {
  return [
    ...introduction(facts),
    '',
    ...stepTable(facts.steps),
    styled('dim', wrapped(LEGEND, 0)),
    '',
    ...endLines(facts),
    '',
    ...billLines(facts),
    '',
    ...verdictLines(facts.log, facts.audit, findingOf({ ...facts, file: facts.log }, {})),
    '',
    'Verify it yourself, and see the latest call in words:',
    `  ${commandText('verify', dirname(facts.log), '--trace', 'latest')}`,
    '',
  ].join('\n');
}

const LEGEND =
  'hold: the worst case, while the call is in flight; balance: spent today; receipt: number and hash of the ' +
  'signed decision';

function introduction({ live, hardCap }: DemoFacts): string[] {
  const where = live ? 'OpenRouter' : 'a simulator of OpenRouter on this machine; nothing leaves it';
  const policy =
    `Its policy: from 4 cents a day on, calls go to ${CHEAPER_MODEL} (soft cap); nothing may pass ` +
    `${Number(hardCap / 10_000_000n)} cents (hard cap).`;
  return [
    styled('bold', 'An agent reviews pull requests and runs into its caps'),
    wrapped(`It calls ${ASKED_MODEL} in every step, on ${where}.`, 0),
    wrapped(policy, 0),
  ];
}

const DECIDED = { allow: 'allow', downgrade: 'downgrade', block: 'block' } as const;
const STYLES = { allow: 'green', downgrade: 'yellow', block: 'red' } as const;

/** From this width on the table has a column for the decision and more air. */
const WIDE = 98;

function stepTable(steps: readonly DemoStep[]): string[] {
  const isWide = screenWidth() >= WIDE;
  const head = [
    'step',
    'asked',
    ...(isWide ? ['decision'] : []),
    'routed',
    'hold',
    'actual',
    'balance',
    'receipt',
  ];
  const blank = Object.fromEntries(
    ['top', 'bottom', 'left', 'right'].flatMap((side) =>
      ['', '-mid', '-left', '-right'].map((part) => [side + part, '']),
    ),
  );
  const table = new Table({
    head: head.map((name) => styled('dim', name)),
    chars: { ...blank, mid: '', 'mid-mid': '', middle: '' },
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': isWide ? 2 : 1 },
    colAligns: ['right', 'left', ...(isWide ? (['left'] as const) : []), 'left', 'right', 'right', 'right'],
  });
  for (const step of steps) {
    const { number, decision, asked, routed, hold, actual, balance, receipt } = step;
    const word = styled(STYLES[decision], DECIDED[decision]);
    const to = routed === undefined ? (isWide ? '–' : word) : shortModel(routed);
    table.push([
      number,
      shortModel(asked),
      ...(isWide ? [word] : []),
      decision === 'downgrade' && !isWide ? styled('yellow', to) : to,
      micros(hold),
      actual === undefined ? '–' : micros(actual),
      micros(balance),
      `#${receipt.seq} ${receipt.hash.slice('sha256:'.length, 'sha256:'.length + 7)}`,
    ]);
  }
  const lines = table.toString().split('\n');
  return lines.map((line) => line.trimEnd());
}

function shortModel(model: string): string {
  return model.slice(model.indexOf('/') + 1);
}

/** Six places, rounded up: a table is for reading, and the receipts have every nano-dollar. */
function micros(amount: NanoUsd): string {
  const rounded = (amount + 999n) / 1000n;
  return `$${rounded / 1_000_000n}.${(rounded % 1_000_000n).toString().padStart(6, '0')}`;
}

function endLines({ steps, refusal, reviews, sent, live }: DemoFacts): string[] {
  const last = steps.at(-1);
  if (refusal === undefined || last === undefined) {
    return [
      wrapped(`After ${countText(reviews, 'review')} the agent was done, and no hard cap was reached.`, 0),
    ];
  }
  const requests = live
    ? ''
    : ` (${countText(sent.length, 'request')} for ${steps.length - 1} calls before it)`;
  return [
    wrapped(
      `Step ${last.number} was refused before any request left${requests}. What the agent's code caught:`,
      0,
    ),
    `  ${wrapped(`AgentGuardBlockedError: ${refusal}`, 2)}`,
  ];
}

const LABEL = 14;

function billLines({ live, billed, settled, agrees, saved, steps }: DemoFacts): string[] {
  const settledCalls = steps.filter(({ actual }) => actual !== undefined).length;
  const downgraded = steps.filter(({ decision }) => decision === 'downgrade').length;
  const blocked = steps.find(({ decision }) => decision === 'block');
  const reported = steps.filter((step) => step.reported !== undefined).length;
  const source = live
    ? `as OpenRouter reported it for ${reported} of ${countText(settledCalls, 'call')}`
    : 'the simulator’s own';
  const difference = formatUsd(billed > settled ? billed - settled : settled - billed);
  const isEqual =
    billed === settled
      ? styled('green', 'equal to the nano-dollar')
      : styled(
          agrees ? 'yellow' : 'red',
          `they differ by ${difference}${agrees ? ', for calls without a report' : ''}`,
        );
  const uncounted =
    blocked === undefined ? '' : `; the blocked call, up to ${formatUsd(blocked.hold)}, is not counted`;
  return [
    labelled('bill', `${formatUsd(billed)}, ${source}`, LABEL),
    labelled(
      'ledger',
      `${formatUsd(settled)}, settled in the log over ${countText(settledCalls, 'call')}`,
      LABEL,
    ),
    `${' '.repeat(LABEL)}${isEqual}`,
    labelled(
      'saved',
      `${formatUsd(saved)}: the same tokens of the ${countText(downgraded, 'downgraded step')} at the list price of ` +
        `${shortModel(ASKED_MODEL)}, less what they cost${uncounted}`,
      LABEL,
    ),
  ];
}

/** One JSON document; amounts in US dollars as decimal strings. */
export function demoJson(facts: DemoFacts): string {
  const { steps, billed, settled, saved, hardCap, audit, key, ...rest } = facts;
  const document = {
    ...rest,
    hardCap: usdText(hardCap),
    billed: usdText(billed),
    settled: usdText(settled),
    saved: usdText(saved),
    steps: steps.map(jsonStep),
    integrity: audit.verdict.integrity,
    receipts: audit.verdict.receipts,
    head: audit.head,
    key: key.thumbprints[0],
  };
  return `${JSON.stringify(document, undefined, 2)}\n`;
}

function jsonStep({ hold, actual, reported, balance, atAsked, ...step }: DemoStep): object {
  return {
    ...step,
    hold: usdText(hold),
    ...(actual !== undefined && { actual: usdText(actual) }),
    ...(reported !== undefined && { reported: usdText(reported) }),
    balance: usdText(balance),
    ...(atAsked !== undefined && { atAsked: usdText(atAsked) }),
  };
}
