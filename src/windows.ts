/** Which span of time an instant falls in, for each kind of window. Instants are milliseconds since 1970 UTC. */

/** The windows of a cap. Minute and hour roll; day, week and month follow the calendar of the policy's zone. */
export const WINDOW_KINDS = [
  'per_call',
  'per_minute',
  'per_hour',
  'per_day',
  'per_week',
  'per_month',
  'per_task',
  'total',
] as const;

export type WindowKind = (typeof WINDOW_KINDS)[number];

export const WEEKDAYS = [
  'sunday',
  'monday',
  'tuesday',
  'wednesday',
  'thursday',
  'friday',
  'saturday',
] as const;

export type Weekday = (typeof WEEKDAYS)[number];

/** A half-open span `[start, end)`; `end` is 0 where the window never ends. */
export interface WindowSpan {
  start: number;
  end: number;
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/**
 * Rolling windows are counted in sub-buckets. The sum over the current bucket and all that began within the
 * window's length before it covers every instant of the window, and at most one sub-bucket more.
 */
export const ROLLING: Partial<Record<WindowKind, { length: number; bucket: number }>> = {
  per_minute: { length: MINUTE, bucket: 1000 },
  per_hour: { length: HOUR, bucket: MINUTE },
};

/** Days after which the balance of a task that saw no call leaves memory. */
export const TASK_IDLE_DAYS = 30;

/** The calendar that a window follows. */
export interface Calendar {
  /** An IANA time zone, e.g. `Europe/Berlin`. */
  timeZone: string;
  weekStart: Weekday;
}

/**
 * The span of `kind` that `instant` falls in. For a rolling window it is the life of the instant's sub-bucket:
 * from the bucket's start until its last moment has left the window. `per_call` has no span: `{ 0, 0 }`.
 */
export function spanAt(kind: WindowKind, calendar: Calendar, instant: number): WindowSpan {
  const rolling = ROLLING[kind];
  if (rolling !== undefined) {
    const start = Math.floor(instant / rolling.bucket) * rolling.bucket;
    return { start, end: start + rolling.bucket + rolling.length };
  }
  if (kind === 'per_day' || kind === 'per_week' || kind === 'per_month') {
    return calendarSpan(kind, calendar, instant);
  }
  return { start: 0, end: 0 };
}

type CalendarKind = 'per_day' | 'per_week' | 'per_month';

// Asking Intl costs microseconds; the span of the last instant nearly always holds the next one too.
const lastSpans = new Map<string, WindowSpan>();

function calendarSpan(kind: CalendarKind, calendar: Calendar, instant: number): WindowSpan {
  const key =
    kind === 'per_week'
      ? `${kind} ${calendar.timeZone} ${calendar.weekStart}`
      : `${kind} ${calendar.timeZone}`;
  const last = lastSpans.get(key);
  if (last !== undefined && last.start <= instant && instant < last.end) return last;
  const today = localDate(calendar.timeZone, instant);
  const [first, next] = dateRange(kind, today, WEEKDAYS.indexOf(calendar.weekStart));
  const span = { start: startOfDate(calendar.timeZone, first), end: startOfDate(calendar.timeZone, next) };
  lastSpans.set(key, span);
  return span;
}

/** A calendar date as its midnight in UTC, so that dates can be added to. */
type CivilDate = number;

function dateRange(kind: CalendarKind, today: CivilDate, weekStart: number): [CivilDate, CivilDate] {
  if (kind === 'per_day') return [today, today + DAY];
  const date = new Date(today);
  if (kind === 'per_week') {
    const first = today - ((date.getUTCDay() - weekStart + 7) % 7) * DAY;
    return [first, first + 7 * DAY];
  }
  const year = date.getUTCFullYear();
  const month = date.getUTCMonth();
  return [Date.UTC(year, month, 1), Date.UTC(year, month + 1, 1)];
}

const formatters = new Map<string, Intl.DateTimeFormat>();

function formatterFor(timeZone: string): Intl.DateTimeFormat {
  let formatter = formatters.get(timeZone);
  if (formatter === undefined) {
    formatter = new Intl.DateTimeFormat('en-US', {
      timeZone,
      calendar: 'gregory',
      numberingSystem: 'latn',
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    });
    formatters.set(timeZone, formatter);
  }
  return formatter;
}

/** True when this runtime's time-zone database knows `timeZone`. */
export function knowsTimeZone(timeZone: string): boolean {
  try {
    formatterFor(timeZone);
    return true;
  } catch {
    return false;
  }
}

/**
 * Names that some runtimes know beside those of the IANA, and take for zones that nobody means by them: `BST` is
 * Bangladesh to them, `IST` India and `AST` Alaska.
 */
const FOREIGN =
  /^(systemv\/.*|act|aet|agt|art|ast|b[es]t|cat|cnt|cst|ctt|eat|ect|iet|ist|jst|mit|n[es]t|plt|pnt|prt|pst|sst|vst)$/i;

/** True for a zone that a policy may name. */
export function isTimeZone(timeZone: string): boolean {
  return !FOREIGN.test(timeZone) && knowsTimeZone(timeZone);
}

/** What the clock on the wall of `timeZone` shows at `instant`, read as if it were UTC. */
function wallClock(timeZone: string, instant: number): number {
  const fields: Record<string, number> = {};
  for (const part of formatterFor(timeZone).formatToParts(instant)) fields[part.type] = Number(part.value);
  const { year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0 } = fields;
  return Date.UTC(year, month - 1, day, hour, minute, second);
}

function localDate(timeZone: string, instant: number): CivilDate {
  return Math.floor(wallClock(timeZone, instant) / DAY) * DAY;
}

/**
 * The first instant of a local date. Midnight may come twice (the first one counts) or not at all (then the date
 * begins where the clocks jump to).
 */
function startOfDate(timeZone: string, date: CivilDate): number {
  // No zone is more than 14 hours from UTC, and none changes its clocks twice within these two days.
  const candidates = [date - DAY, date + DAY].map((near) => date - (wallClock(timeZone, near) - near));
  const midnights = candidates.filter((instant) => wallClock(timeZone, instant) === date);
  if (midnights.length > 0) return Math.min(...midnights);
  let before = Math.min(...candidates) - DAY;
  let after = Math.max(...candidates) + DAY;
  while (after - before > 1000) {
    const middle = Math.floor((before + after) / 2000) * 1000;
    if (wallClock(timeZone, middle) >= date) after = middle;
    else before = middle;
  }
  return after;
}
