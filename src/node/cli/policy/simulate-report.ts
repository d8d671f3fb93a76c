/** What a simulation found, in words and as JSON. */
import { fileName } from '../../policy-file/read.ts';
import { maxOf, NANO_PER_USD, usdText, type NanoUsd } from '../../../money.ts';
import {
  ASSUMPTIONS,
  type Assumption,
  type Decider,
  type Dimension,
  type Sums,
} from '../../simulate/tally.ts';
import { commandText, countText, printable, screenWidth, styled, timeText, wrapped } from '../output.ts';
import type { Simulated } from './simulate.ts';

/** Writes dollars for people, rounded half up. The JSON has every digit. */
type Money = (amount: NanoUsd) => string;

/** Cents where it is about more than a few dollars, else hundredths of them: the same in the whole report. */
function moneyFor({ before, after }: Sums): Money {
  const places = maxOf(before, after) >= 10n * NANO_PER_USD ? 2 : 4;
  const unit = 10n ** BigInt(9 - places);
  return (amount) => {
    const magnitude = amount < 0n ? -amount : amount;
    const rounded = (magnitude + unit / 2n) / unit;
    const sign = amount < 0n ? '-' : '';
    const digits = (rounded === 0n && magnitude > 0n ? 1n : rounded).toString().padStart(places + 1, '0');
    const whole = digits.slice(0, -places).replaceAll(/\B(?=(\d{3})+$)/g, ',');
    // Zero needs no places, and what is less than one of them is not nothing.
    if (magnitude === 0n) return '$0';
    return `${sign}${rounded === 0n ? '<' : ''}$${whole}.${digits.slice(-places)}`;
  };
}

function percentText(part: NanoUsd, whole: NanoUsd): string {
  if (whole === 0n) return '';
  const tenths = (part * 2000n + whole) / (whole * 2n);
  return ` (${tenths / 10n}.${tenths % 10n} %)`;
}

export function textReport(simulated: Simulated): string[] {
  const { simulation, file } = simulated;
  const log = fileName(simulated.log);
  const { total } = simulation.tally;
  const { from = 0, to = 0 } = simulation;
  return [
    `${styled('bold', printable(log))} under ${styled('bold', printable(file))}`,
    `${countText(total.calls, 'call')} from ${timeText(from)} to ${timeText(to)}`,
    ...outsideLines(simulated),
    '',
    ...outcomeLines(simulated),
    '',
    ...costLines(simulated),
    '',
    ...deciderLines([...simulation.tally.deciders.values()]),
    ...(['team', 'task', 'model'] as const).flatMap((name) =>
      groupTable(name, simulation.tally.groups[name], moneyFor(total)),
    ),
    ...noteLines(simulated),
  ];
}

/** Calls that no policy is for look like a great saving, and are mostly a slip in a scope. */
function outsideLines({ simulation: { tally } }: Simulated): string[] {
  const outside = tally.assumed.get('no_policy');
  if (outside === undefined) return [];
  const whose = outside === tally.total.calls ? 'None of them is' : `${countText(outside, 'call')} are not`;
  const text = `${whose} in the scope of a policy, and what no policy is for is blocked. Compare the scopes in the file with the teams and tasks below.`;
  return ['', styled('yellow', wrapped(text, 0))];
}

const COUNT = 9;

function outcomeLines({ simulation }: Simulated): string[] {
  const { total, stillBlocked } = simulation.tally;
  const { calls, blocked, rerouted, letThrough } = total;
  const same = calls - blocked - rerouted - letThrough - stillBlocked;
  const rows: [number, string][] = [
    [same, 'let through as before'],
    [blocked, 'blocked now, were let through'],
    [rerouted, 'sent to another model than before'],
    [letThrough, 'let through now, were blocked'],
    [stillBlocked, 'blocked as before'],
  ];
  return rows.map(([count, words]) => `${count.toLocaleString('en-US').padStart(COUNT)}  ${words}`);
}

function costLines({ simulation }: Simulated): string[] {
  const { total, estimated } = simulation.tally;
  const dollars = moneyFor(total);
  const { before, after } = total;
  const less = before - after;
  const change =
    less === 0n
      ? 'no difference'
      : less > 0n
        ? styled('green', `${dollars(less)} less${percentText(less, before)}`)
        : styled('yellow', `${dollars(-less)} more${percentText(-less, before)}`);
  const part =
    estimated === 0n
      ? []
      : [
          wrapped(
            `of which ${dollars(estimated)} are an estimate, for calls that were never made`,
            COUNT + 2,
          ),
        ];
  return [
    `${'before'.padStart(COUNT)}  ${dollars(before)}`,
    `${'after'.padStart(COUNT)}  ${dollars(after)}, ${change}`,
    ...part.map((text) => `${' '.repeat(COUNT + 2)}${text}`),
  ];
}

function deciderText({ change, reason, policy, cap, rule }: Decider): string {
  const what = change === 'blocked' ? 'blocked' : 'to another model';
  const place = cap !== undefined ? `cap ${cap}` : rule === undefined ? undefined : `rule ${rule}`;
  const by = place === undefined ? '' : ` by ${place} of ${policy}`;
  return `${what}${by} (${reason})`;
}

function deciderLines(deciders: readonly Decider[]): string[] {
  if (deciders.length === 0) return [];
  const rows = deciders.toSorted((a, b) => b.calls - a.calls);
  const lines = rows.map(
    (decider) =>
      `${decider.calls.toLocaleString('en-US').padStart(COUNT)}  ${wrapped(printable(deciderText(decider)), COUNT + 2)}`,
  );
  return [styled('bold', 'What decides otherwise'), ...lines, ''];
}

const MOST_ROWS = 12;
const LEAST_NAME = 12;

type Column = readonly [head: string, cell: (sums: Sums) => string];

const count = (value: number): string => (value === 0 ? '·' : value.toLocaleString('en-US'));

const columnsFor = (dollars: Money): readonly Column[] => [
  ['calls', ({ calls }) => count(calls)],
  ['blocked', ({ blocked }) => count(blocked)],
  ['moved', ({ rerouted }) => count(rerouted)],
  ['passed', ({ letThrough }) => count(letThrough)],
  ['before', ({ before }) => dollars(before)],
  ['after', ({ after }) => dollars(after)],
  ['saved', ({ before, after }) => dollars(before - after)],
];

/** The groups with the largest difference first. */
function ranked(groups: ReadonlyMap<string | undefined, Sums>): [string | undefined, Sums][] {
  const size = ({ before, after }: Sums): NanoUsd => (before > after ? before - after : after - before);
  return [...groups].toSorted(([, a], [, b]) => Number(size(b) - size(a)) || b.calls - a.calls);
}

/** Ids of models differ at their end, names of people and teams at their beginning. */
function shortened(text: string, length: number, name: Dimension): string {
  if (text.length <= length) return text;
  return name === 'model' ? `…${text.slice(1 - length)}` : `${text.slice(0, length - 1)}…`;
}

function groupTable(
  name: Dimension,
  groups: ReadonlyMap<string | undefined, Sums>,
  dollars: Money,
): string[] {
  // One group without a name tells nothing that the totals don't.
  if (groups.size === 1 && groups.has(undefined)) return [];
  const shown = ranked(groups).slice(0, MOST_ROWS);
  const columns = columnsFor(dollars)
    .map(([head, cell]) => ({
      head,
      cells: shown.map(([, sums]) => cell(sums)),
    }))
    .filter(({ cells }) => cells.some((cell) => cell !== '·'));
  const widths = columns.map(({ head, cells }) => Math.max(head.length, ...cells.map((cell) => cell.length)));
  const room = screenWidth() - widths.reduce((sum, width) => sum + width + 2, 0);
  const names = shown.map(([value]) => printable(value ?? `(no ${name})`));
  const label = `by ${name}`;
  const longest = Math.max(label.length, ...names.map((each) => each.length));
  const first = Math.min(longest, Math.max(LEAST_NAME, room));
  const line = (start: string, cells: readonly string[]): string =>
    `${shortened(start, first, name).padEnd(first)}${cells.map((cell, at) => `  ${cell.padStart(widths[at] ?? 0)}`).join('')}`;
  const heads = columns.map(({ head }) => head);
  const rows = names.map((each, at) =>
    line(
      each,
      columns.map(({ cells }) => cells[at] ?? ''),
    ),
  );
  const more =
    groups.size > MOST_ROWS ? [styled('dim', `and ${groups.size - MOST_ROWS} more, all in --json`)] : [];
  return [styled('bold', line(label, heads)), ...rows, ...more, ''];
}

/** What the log can't tell, said for so many calls. */
const WORDS: Readonly<Record<Assumption, (calls: string) => string>> = {
  no_policy: (calls) => `${calls}: no policy of the file is for them (no_policy)`,
  estimated: (calls) =>
    `${calls} that were blocked would be let through. They never ran: each is counted at the part of its worst case that calls of its task and model came to, and as over at once`,
  capability: (calls) =>
    `${calls}: the policies then asked for no such capability, so the log doesn’t say whether they had it. They are taken to have it`,
  ceiling: (calls) => `${calls} to openrouter/auto are taken to send the price ceiling along`,
  asked: (calls) => `${calls}: a person would have been asked. The answer is taken to be yes`,
  held: (calls) =>
    `${calls} are blocked for room that calls in flight held. A guard waits for it (waitForHoldsMs), and may have found some`,
  features: (calls) =>
    `${calls} go to another model, and the log may not say what they need of it (tools, images, a prompt cache)`,
  cut: (calls) => `${calls}: the answer was longer than the output limit now set, and is counted up to it`,
  frozen: (calls) => `${calls} in a scope that was frozen, as the log has it`,
};

/** What is assumed, and for how many calls. */
function notesOf({ simulation, log }: Simulated): string[] {
  const { assumed } = simulation.tally;
  const { today, unknown } = simulation.prices;
  const notes = ASSUMPTIONS.flatMap((what) => {
    const calls = assumed.get(what);
    return calls === undefined ? [] : [WORDS[what](countText(calls, 'call'))];
  });
  const { shadow, inFlight, isUncertain } = simulation;
  return [
    ...notes,
    ...(shadow.length === 0 ? [] : [`in shadow mode, and tried as if enforced: ${shadow.join(', ')}`]),
    ...(inFlight === 0
      ? []
      : [`${countText(inFlight, 'call')} in flight at the end of the log: their cost is in no figure`]),
    ...(today.size === 0
      ? []
      : [`priced by today’s list, for the log has no price of them: ${[...today].join(', ')}`]),
    ...(unknown.size === 0 ? [] : [`without a known price: ${[...unknown].join(', ')}`]),
    ...(isUncertain
      ? ['the log’s clock was set back; balances of windows that were over by then begin at zero']
      : []),
    'what programs would have done next (try again, give up, ask less) is nowhere in the log; balances begin at zero with it; the policies count as in force from its first call on',
    `signatures were not looked at; for that: ${commandText('verify', fileName(log))}`,
  ];
}

function noteLines(simulated: Simulated): string[] {
  return [
    styled('bold', 'What to know'),
    ...notesOf(simulated).map((note) => `- ${wrapped(printable(note), 2)}`),
  ];
}

function money(amount: NanoUsd): { usd: string; nanoUsd: string } {
  return { usd: usdText(amount), nanoUsd: amount.toString() };
}

function sumsDocument({ before, after, ...counts }: Sums): object {
  return { ...counts, before: money(before), after: money(after), saved: money(before - after) };
}

export function jsonReport(simulated: Simulated): { exitCode: number; [member: string]: unknown } {
  const { simulation, file, log, policies } = simulated;
  const { tally, from = 0, to = 0, shadow, inFlight, prices } = simulation;
  const group = (name: Dimension): object[] =>
    ranked(tally.groups[name]).map(([value, sums]) => ({ [name]: value ?? null, ...sumsDocument(sums) }));
  return {
    exitCode: 0,
    file,
    log,
    policies,
    from: new Date(from).toISOString(),
    to: new Date(to).toISOString(),
    currency: 'USD',
    total: {
      ...sumsDocument(tally.total),
      stillBlocked: tally.stillBlocked,
      inFlight,
      estimated: money(tally.estimated),
    },
    deciders: [...tally.deciders.values()],
    byTeam: group('team'),
    byTask: group('task'),
    byModel: group('model'),
    assumed: Object.fromEntries(tally.assumed),
    shadow,
    pricedToday: [...prices.today],
    withoutPrice: [...prices.unknown],
    notes: notesOf(simulated),
  };
}
