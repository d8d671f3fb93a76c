/** Lines that were changed, moved, taken away or made up. */
import { canonicalJson } from '../../../src/receipts/canonical-json.ts';
import { hashOf, open, relink, resign, type Members } from '../log-kit.ts';
import { bad, headAt, honest, undecidable, type CorpusCase } from './case.ts';
import { ADMITTED, ATTACKER, honestLog, INSTALLATION, write } from './logs.ts';

/** The index that most attacks are made at: a decision in the middle. */
export const MIDDLE = 6;

/** A line with its payload edited, its signature left as it was. */
export function altered(lines: readonly string[], index: number, edit: (payload: Members) => void): string[] {
  const { payload, signature } = open(lines[index] as string);
  edit(payload);
  return lines.with(index, canonicalJson({ payload, signature }));
}

/** The hashes of all that follows recomputed, the signatures left. */
function rehashed(lines: readonly string[], index: number): string[] {
  const chain = lines.slice(0, index + 1);
  for (const line of lines.slice(index + 1)) {
    const { payload, signature } = open(line);
    chain.push(
      canonicalJson({
        payload: { ...payload, previousReceiptHash: hashOf(chain.at(-1) as string) },
        signature,
      }),
    );
  }
  return chain;
}

const set =
  (member: string, value: unknown) =>
  (payload: Members): void => {
    payload[member] = value;
  };

const line = MIDDLE + 1;

export async function logAttacks(): Promise<CorpusCase[]> {
  const lines = await honestLog();
  const other = await honestLog({ log: 9 });
  const stranger = await honestLog({ log: 10, signer: ATTACKER });
  const richer = altered(lines, MIDDLE, set('scope', { tenantId: 'other' }));
  const insider = relink(richer, MIDDLE, INSTALLATION);
  const { log } = open(lines[0] as string).payload as { log: string };
  const kept = { head: headAt(lines, 9) };
  const rewritten = /the head you hold is not in this log: it was cut or rewritten/;
  // Longer than the log that it takes the place of, with the same dates at its end.
  const { issued_at: end } = open(lines.at(-1) as string).payload;
  const more = lines
    .slice(MIDDLE, MIDDLE + 4)
    .map((text, index) => altered(lines, MIDDLE + index, set('issued_at', end))[MIDDLE + index] ?? text);
  const fork = relink([...insider, ...more], insider.length, INSTALLATION);
  return [
    bad('log', 'an altered field', richer, line, /signature does not fit/),
    bad(
      'log',
      'an altered amount',
      altered(lines, MIDDLE + 1, (payload) => Object.assign(payload['cost'] as Members, { amount: '1' })),
      line + 1,
      /signature does not fit/,
    ),
    bad(
      'log',
      'an altered field, all hashes recomputed',
      rehashed(richer, MIDDLE),
      line,
      /signature does not fit/,
    ),
    bad(
      'log',
      'one line rewritten with the real key',
      lines.with(MIDDLE, insider[MIDDLE] as string),
      line + 1,
      /previousReceiptHash is not the hash/,
    ),
    undecidable(
      'log',
      're-signed by an attacker from there on',
      relink(richer, MIDDLE, ATTACKER),
      line,
      /unknown key/,
    ),
    undecidable('log', 'wholly rewritten by an attacker', relink(richer, 0, ATTACKER), 1, /unknown key/),
    bad(
      'log',
      'rewritten by an insider with the real key, and a head was kept',
      insider,
      undefined,
      rewritten,
      kept,
    ),
    bad('log', 'a longer fork with the real key, and a head was kept', fork, undefined, rewritten, kept),
    bad('log', 'begun anew with the real key, and a head was kept', other, undefined, rewritten, kept),
    bad('log', 'another log of the same key, and the log was pinned', other, 1, /this is log/, { log }),
    undecidable('log', 'another log of another key', stranger, 1, /unknown key/),
    bad('log', 'a line deleted', lines.toSpliced(MIDDLE, 1), line, /seq is 7, expected 6/),
    bad(
      'log',
      'a line deleted and all numbered anew',
      relink(lines.toSpliced(MIDDLE, 1), MIDDLE, INSTALLATION),
      undefined,
      rewritten,
      kept,
    ),
    bad(
      'log',
      'two lines swapped',
      lines.with(MIDDLE, lines[line] as string).with(line, lines[MIDDLE] as string),
      line,
      /seq is 7, expected 6/,
    ),
    bad(
      'log',
      'a line twice',
      lines.toSpliced(MIDDLE, 0, lines[MIDDLE] as string),
      line + 1,
      /seq is 6, expected 7/,
    ),
    bad('log', 'the last line twice', [...lines, lines.at(-1) as string], lines.length + 1, /seq is/),
    bad('log', 'the beginning cut', lines.slice(1), 1, /does not begin with its genesis/),
    bad('log', 'genesis and then a gap', [lines[0] as string, ...lines.slice(3)], 2, /seq is 3, expected 1/),
    bad('log', 'a line of another log', lines.with(MIDDLE, other[MIDDLE] as string), line, /belongs to log/),
    bad(
      'log',
      'spliced with another log',
      [...lines.slice(0, MIDDLE), ...other.slice(MIDDLE)],
      line,
      /belongs to log/,
    ),
    bad(
      'log',
      'genesis replayed at the end',
      [...lines, lines[0] as string],
      lines.length + 1,
      /second genesis/,
    ),
    bad('log', 'begun anew behind its end', [...lines, ...other], lines.length + 1, /second genesis/),
    bad(
      'log',
      'a clock that goes back',
      relink(altered(lines, MIDDLE, set('issued_at', '2020-01-01T00:00:00.000Z')), MIDDLE, INSTALLATION),
      line,
      /issued_at goes backwards/,
    ),
    bad(
      'log',
      'a date that is none',
      relink(altered(lines, MIDDLE, set('issued_at', '2026-02-30T00:00:00.000Z')), MIDDLE, INSTALLATION),
      line,
      /no such date/,
    ),
    bad(
      'log',
      'a durable_seq ahead of the log',
      relink(altered(lines, MIDDLE, set('durable_seq', 99)), MIDDLE, INSTALLATION),
      line,
      /durable_seq is ahead/,
    ),
    bad(
      'log',
      'a first receipt that points to one before',
      relink(altered(lines, 0, set('previousReceiptHash', `sha256:${'0'.repeat(64)}`)), 0, INSTALLATION),
      1,
      /points to an earlier one/,
    ),
    bad(
      'log',
      'a link left out',
      lines.with(
        MIDDLE,
        resign(without(open(lines[MIDDLE] as string).payload, 'previousReceiptHash'), INSTALLATION),
      ),
      line,
      /previousReceiptHash is not the hash/,
    ),
    bad(
      'log',
      'a policy that its digest is not of',
      relink(
        altered(lines, 2, (payload) => void ((payload['policy'] as Members)['version'] = 2)),
        2,
        INSTALLATION,
      ),
      3,
      /digest is not that of the policy/,
    ),
    bad(
      'log',
      'prices that their digest is not of',
      relink(
        altered(
          lines,
          3,
          (payload) =>
            void (((payload['rows'] as [string, Members][])[0] as [string, Members])[1]['input'] = '0.01'),
        ),
        3,
        INSTALLATION,
      ),
      4,
      /digest is not that of the prices/,
    ),
    bad('log', 'a clock receipt of other times', await badClock(), 17, /from and to are not the times/),
    undecidable('log', 'nothing at all', [], 1, /the log is empty/),
    honest(
      'a close receipt in the middle',
      await honestLog({
        log: 11,
        calls: 1,
        more: (_guard, ledger) => write(ledger, [{ type: 'close', open_holds: 0 }], ADMITTED),
      }),
      {},
      'log',
    ),
  ];
}

function without(payload: Members, member: string): Members {
  const { [member]: _gone, ...rest } = payload;
  return rest;
}

function badClock(): Promise<string[]> {
  return honestLog({
    log: 12,
    more: (_guard, ledger, clock) => {
      const from = new Date(clock.now - 5).toISOString();
      return write(ledger, [{ type: 'clock', from, to: new Date(clock.now).toISOString() }]);
    },
  });
}
