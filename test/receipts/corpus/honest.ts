/** Logs that are honest, however odd: they must never be called anything but valid. */
import { capsOfEveryKind } from './wide-policy.ts';
import { bad, headAt, honest, type CorpusCase } from './case.ts';
import { honestLog, policy, write } from './logs.ts';

export async function honestCases(): Promise<CorpusCase[]> {
  const lines = await honestLog();
  const long = await honestLog({ log: 2, calls: 900 });
  const texts = await honestLog({
    log: 3,
    guard: {
      policy: policy({
        name: 'Gruppe Ä (composed) and Ä (decomposed), \u202ebidi\u202c, \u{1f600}, </script><img src=x>, "quoted\\", \u2028',
        caps: [
          {
            amountCents: '0.0000001',
            window: 'per_month',
            action: 'downgrade',
            downgradeTo: ['m/\u{10ffff}'],
          },
        ],
      }),
      scope: { userId: '‮evil\u{1f4a9}', task: '__proto__', taskId: 'constructor' },
    },
  });
  return [
    honest('an honest log', lines),
    honest('a log of 1,803 lines', long),
    honest('genesis alone', lines.slice(0, 1)),
    honest(
      'no signing key but the installation key',
      await honestLog({ log: 4, guard: { signingKeys: undefined as never } }),
    ),
    honest('texts of every kind: decomposed, bidirectional, astral, markup', texts),
    honest(
      '32 caps on every kind of window',
      await honestLog({
        log: 5,
        guard: { policy: policy({ caps: capsOfEveryKind() }), scope: { userId: 'u', taskId: 't' } },
      }),
    ),
    honest(
      'written on after close',
      await honestLog({
        log: 6,
        close: false,
        more: async (guard, ledger) => {
          await write(ledger, [{ type: 'close', open_holds: 0 }]);
          await (
            await guard.begin({ model: 'm/model', inputTokens: 1, maxOutputTokens: 1 })
          ).settle({ outcome: 'ok' });
        },
      }),
    ),
    honest(
      'a clock that was set back and accepted',
      await honestLog({
        log: 7,
        more: async (guard, ledger, clock) => {
          clock.now += 86_400_000;
          await (
            await guard.begin({ model: 'm/model', inputTokens: 1, maxOutputTokens: 1 })
          ).settle({ outcome: 'ok' });
          const wrong = clock.now;
          clock.now -= 86_400_000;
          await guard.begin({ model: 'm/model', inputTokens: 1, maxOutputTokens: 1 }).catch(() => undefined);
          const text = (time: number): string => new Date(time).toISOString();
          await write(ledger, [{ type: 'clock', from: text(wrong), to: text(clock.now) }]);
          await guard.charge({ label: 'search', usd: '0.01' });
        },
      }),
    ),
    honest(
      'what a crash left was put aside',
      await honestLog({
        log: 8,
        more: async (_guard, ledger) => {
          await write(ledger, [
            {
              type: 'recovered',
              dropped_bytes: 17,
              dropped_sha256: `sha256:${'ab'.repeat(32)}`,
              quarantine: 'quarantine/000000000004-abababababababab.bin',
            },
          ]);
        },
      }),
    ),
    honest('another log of the same key', await honestLog({ log: 9 })),
    honest('a head that was kept', lines, { head: headAt(lines, 9), provedUpTo: 9 }),
    honest('the last head', lines, { head: headAt(lines, lines.length - 1), provedUpTo: lines.length - 1 }),
    honest(
      'a tail that was cut behind the kept head: proved up to there, and no further',
      lines.slice(0, 10),
      { head: headAt(lines, 9), provedUpTo: 9 },
      'log',
    ),
    bad(
      'log',
      'a tail that was cut before the kept head',
      lines.slice(0, 9),
      undefined,
      /the head you hold is not in this log/,
      { head: headAt(lines, 9) },
    ),
  ];
}
