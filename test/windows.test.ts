/** Windows against dates worked out by hand, and against each other across a year of every zone. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isTimeZone, spanAt, type Weekday, type WindowKind } from '../src/windows.ts';

const at = (text: string): number => Date.parse(text);
const day = (timeZone: string, instant: string): [string, string] => span('per_day', timeZone, instant);

function span(
  kind: WindowKind,
  timeZone: string,
  instant: string,
  weekStart: Weekday = 'monday',
): [string, string] {
  const { start, end } = spanAt(kind, { timeZone, weekStart }, at(instant));
  return [new Date(start).toISOString(), new Date(end).toISOString()];
}

describe('calendar windows', () => {
  it.each([
    // zone, an instant, where its day begins and ends
    ['UTC', '2026-03-29T12:00:00Z', '2026-03-29T00:00:00.000Z', '2026-03-30T00:00:00.000Z'],
    ['Europe/Berlin', '2026-03-29T12:00:00Z', '2026-03-28T23:00:00.000Z', '2026-03-29T22:00:00.000Z'], // 23 hours
    ['Europe/Berlin', '2026-10-25T12:00:00Z', '2026-10-24T22:00:00.000Z', '2026-10-25T23:00:00.000Z'], // 25 hours
    ['America/New_York', '2026-03-08T12:00:00Z', '2026-03-08T05:00:00.000Z', '2026-03-09T04:00:00.000Z'],
    ['Australia/Lord_Howe', '2026-04-05T00:00:00Z', '2026-04-04T13:00:00.000Z', '2026-04-05T13:30:00.000Z'], // half an hour
    ['Asia/Kolkata', '2026-06-01T00:00:00Z', '2026-05-31T18:30:00.000Z', '2026-06-01T18:30:00.000Z'],
    ['Asia/Kathmandu', '2026-06-01T00:00:00Z', '2026-05-31T18:15:00.000Z', '2026-06-01T18:15:00.000Z'],
    ['Pacific/Auckland', '2025-12-31T12:00:00Z', '2025-12-31T11:00:00.000Z', '2026-01-01T11:00:00.000Z'],
    ['Pacific/Kiritimati', '2026-01-01T00:00:00Z', '2025-12-31T10:00:00.000Z', '2026-01-01T10:00:00.000Z'], // +14
    ['America/Sao_Paulo', '2018-11-04T12:00:00Z', '2018-11-04T03:00:00.000Z', '2018-11-05T02:00:00.000Z'], // no midnight
    ['Africa/Cairo', '2026-04-24T12:00:00Z', '2026-04-23T22:00:00.000Z', '2026-04-24T21:00:00.000Z'], // no midnight
    ['America/Havana', '2026-11-01T12:00:00Z', '2026-11-01T04:00:00.000Z', '2026-11-02T05:00:00.000Z'], // midnight twice
    ['Pacific/Apia', '2011-12-31T12:00:00Z', '2011-12-31T10:00:00.000Z', '2012-01-01T10:00:00.000Z'], // the 30th is missing
  ])('a day in %s at %s', (zone, instant, start, end) => {
    expect(day(zone, instant)).toEqual([start, end]);
  });

  it.each([
    ['monday', '2026-11-23T00:00:00Z', '2026-11-23T00:00:00.000Z'],
    ['monday', '2026-11-22T23:59:59Z', '2026-11-16T00:00:00.000Z'],
    ['sunday', '2026-11-22T00:00:00Z', '2026-11-22T00:00:00.000Z'],
    ['saturday', '2026-11-20T12:00:00Z', '2026-11-14T00:00:00.000Z'],
  ] as const)('a week that starts on %s, at %s', (weekStart, instant, start) => {
    expect(span('per_week', 'UTC', instant, weekStart)[0]).toBe(start);
  });

  it.each([
    ['UTC', '2028-02-29T12:00:00Z', '2028-02-01T00:00:00.000Z', '2028-03-01T00:00:00.000Z'],
    ['UTC', '2026-12-31T23:59:59Z', '2026-12-01T00:00:00.000Z', '2027-01-01T00:00:00.000Z'],
    ['America/Los_Angeles', '2026-03-31T12:00:00Z', '2026-03-01T08:00:00.000Z', '2026-04-01T07:00:00.000Z'],
  ])('a month in %s at %s', (zone, instant, start, end) => {
    expect(span('per_month', zone, instant)).toEqual([start, end]);
  });

  it('covers time without gaps or overlaps, in any zone', () => {
    const zones = fc.constantFrom(...Intl.supportedValuesOf('timeZone'));
    const kinds = fc.constantFrom<WindowKind>('per_day', 'per_week', 'per_month');
    const instants = fc.integer({ min: at('2015-01-01'), max: at('2035-01-01') });
    fc.assert(
      fc.property(zones, kinds, instants, (timeZone, kind, instant) => {
        const calendar = { timeZone, weekStart: 'monday' as const };
        const { start, end } = spanAt(kind, calendar, instant);
        expect(start).toBeLessThanOrEqual(instant);
        expect(end).toBeGreaterThan(instant);
        expect(spanAt(kind, calendar, start)).toEqual({ start, end });
        expect(spanAt(kind, calendar, end - 1)).toEqual({ start, end });
        expect(spanAt(kind, calendar, end).start).toBe(end);
      }),
      { numRuns: 400 },
    );
  });
});

describe('other windows', () => {
  const utc = { timeZone: 'UTC', weekStart: 'monday' as const };

  it('rolls minutes in buckets of a second and hours in buckets of a minute', () => {
    const now = at('2026-11-23T10:11:12.345Z');
    expect(spanAt('per_minute', utc, now)).toEqual({
      start: at('2026-11-23T10:11:12Z'),
      end: at('2026-11-23T10:12:13Z'),
    });
    expect(spanAt('per_hour', utc, now)).toEqual({
      start: at('2026-11-23T10:11:00Z'),
      end: at('2026-11-23T11:12:00Z'),
    });
  });

  it.each(['per_call', 'per_task', 'total'] as const)('%s never ends', (kind) => {
    expect(spanAt(kind, utc, at('2026-11-23'))).toEqual({ start: 0, end: 0 });
  });

  it('knows which time zones exist', () => {
    expect(isTimeZone('Europe/Berlin')).toBe(true);
    expect(isTimeZone('Mars/Olympus')).toBe(false);
    for (const iana of ['UTC', 'EST', 'CET', 'Etc/GMT+5', '+02:00'])
      expect(isTimeZone(iana), iana).toBe(true);
    for (const other of ['BST', 'ist', 'AST', 'PST', 'SystemV/PST8'])
      expect(isTimeZone(other), other).toBe(false);
  });
});
