/** Whether the windows that a decision names are those of its policies' calendars. */
import type { CapLayout } from './accounts.ts';
import type { ReplayProblem } from './replay.ts';
import { knowsTimeZone, ROLLING, spanAt, type WindowSpan } from './windows.ts';

const MINUTE = 60_000;
/**
 * Time-zone databases differ by whether and when a zone changes its clocks, so by an hour at most, in quarters. More
 * is another zone, or another day.
 */
const MOST_APART = 60 * MINUTE;
const QUARTER = 15 * MINUTE;

type SpanProblem = Pick<ReplayProblem, 'verdict' | 'cause'>;

/** The first window that isn't what the calendar says; `undefined` when all of them are. */
export function spanProblem(
  layout: CapLayout,
  recorded: readonly (readonly [start: number, end: number])[],
  at: number,
): SpanProblem | undefined {
  if (recorded.length !== layout.windows.length) {
    const cause = `the decision names ${recorded.length} windows, and its policies have ${layout.windows.length}`;
    return { verdict: 'wrong', cause };
  }
  let doubt: SpanProblem | undefined;
  for (const [index, { kind, calendar }] of layout.windows.entries()) {
    const [start, end] = recorded[index] as readonly [number, number];
    const { timeZone } = calendar;
    const isCalendar = ROLLING[kind] === undefined && kind !== 'total' && kind !== 'per_task';
    if (isCalendar && !knowsTimeZone(timeZone)) {
      doubt ??= { verdict: 'undecidable', cause: `the time zone ${timeZone} is not known here` };
      continue;
    }
    const expected = spanAt(kind, calendar, at);
    if (start === expected.start && end === expected.end) continue;
    const where = isCalendar ? ` in ${timeZone}` : '';
    const cause = `the ${kind} window${where} is ${spanText(expected)}, and the decision has ${spanText({ start, end })}`;
    if (!isCalendar || timeZone === 'UTC' || !isNear(expected, { start, end })) {
      return { verdict: 'wrong', cause };
    }
    doubt ??= {
      verdict: 'undecidable',
      cause: `${cause}: either the writer's time-zone database was another than this one, or the window is wrong`,
    };
  }
  return doubt;
}

function isNear(a: WindowSpan, b: WindowSpan): boolean {
  return [a.start - b.start, a.end - b.end].every(
    (difference) => Math.abs(difference) <= MOST_APART && difference % QUARTER === 0,
  );
}

function spanText({ start, end }: WindowSpan): string {
  return `${instantText(start)} to ${end === 0 ? 'never' : instantText(end)}`;
}

function instantText(time: number): string {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? String(time) : date.toISOString();
}
