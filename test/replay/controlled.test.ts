/** Cheating with grants, freezes, approvals, capabilities, alerts and late costs, by whoever holds the key. */
import { beforeAll, describe, expect, it } from 'vitest';
import { memoryLedger } from '../../src/ledgers/memory.ts';
import type { DecisionPayload, Payload, Receipt } from '../../src/receipts/payloads.ts';
import { Replay, type ReplayVerdict } from '../../src/replay.ts';
import { makeControlledTraffic } from './controlled-traffic.ts';
import { TRAFFIC_START } from './traffic.ts';

let honest: Payload[] = [];

beforeAll(async () => {
  const clock = { now: TRAFFIC_START };
  const ledger = memoryLedger({ now: () => clock.now });
  await makeControlledTraffic({ seed: 7, calls: 1500, clock, ledger });
  await ledger.close();
  for await (const { payload } of ledger.read()) honest.push(payload);
});

function replay(payloads: readonly Payload[]): ReplayVerdict {
  const run = new Replay();
  for (const [seq, payload] of payloads.entries()) {
    run.add({ line: '', hash: '', payload: { ...payload, seq } } satisfies Receipt);
  }
  return run.verdict();
}

type OfType<T> = Extract<Payload, { type: T }>;

function find<T extends Payload['type']>(
  type: T,
  fits: (payload: OfType<T>) => boolean = () => true,
): number {
  const index = honest.findIndex((payload) => payload.type === type && fits(payload as OfType<T>));
  if (index < 0) throw new Error(`the log has no such ${type}`);
  return index;
}

function edited<T extends Payload['type']>(
  index: number,
  edit: (payload: OfType<T>) => object,
): { payloads: Payload[]; line: number } {
  const payload = honest[index] as OfType<T>;
  return {
    payloads: honest.with(index, { ...payload, ...edit(structuredClone(payload)) } as Payload),
    line: index + 1,
  };
}

/** The decision that an approval let pass. */
const approvedDecision = (): number =>
  find('decision', ({ approved, decision }) => approved !== undefined && decision !== 'block');

const approvalOf = (index: number): number =>
  find(
    'approval',
    ({ call, outcome }) => call === (honest[index] as DecisionPayload).call && outcome === 'approved',
  );

const used = (): number =>
  find(
    'decision',
    ({ request, reason }) => request.capabilities?.[0]?.replayed === true && reason !== 'scope_required',
  );

type Case = [name: string, cheat: () => { payloads: Payload[]; line?: number }, cause: RegExp];

const CASES: Case[] = [
  [
    'more granted than was',
    () =>
      edited<'decision'>(
        find('decision', ({ granted }) => granted !== undefined),
        ({ granted = [] }) => ({ granted: granted.map(([cap, amount]) => [cap, `${amount}0`]) }),
      ),
    /the grants of the log are .*, and the decision has/,
  ],
  [
    'a grant that is gone',
    () => ({
      payloads: honest.toSpliced(
        find('grant', ({ scope }) => Object.keys(scope).length === 0),
        1,
      ),
    }),
    /the grants of the log are/,
  ],
  [
    'a grant of another amount',
    () => ({
      ...edited<'grant'>(
        find('grant', ({ scope }) => Object.keys(scope).length === 0),
        () => ({ amount: '1' }),
      ),
      line: undefined as never,
    }),
    /the grants of the log are/,
  ],
  [
    'a freeze that is passed over',
    () =>
      edited<'decision'>(
        find('decision', ({ frozen }) => frozen !== undefined),
        () => ({ frozen: undefined }),
      ),
    /the freeze of the log are? .*, and the decision has \{\}/,
  ],
  [
    'a freeze that nobody ordered',
    () => ({
      payloads: honest.toSpliced(
        find('freeze', ({ frozen }) => frozen),
        1,
      ),
    }),
    /the freeze of the log/,
  ],
  [
    'an approval that is gone',
    () => {
      const index = approvedDecision();
      return { payloads: honest.toSpliced(approvalOf(index), 1), line: index };
    },
    /nobody approved that the call passes cap \d/,
  ],
  [
    'an approval that was a no',
    () => {
      const index = approvedDecision();
      return { ...edited<'approval'>(approvalOf(index), () => ({ outcome: 'denied' })), line: index + 1 };
    },
    /nobody approved that the call passes cap \d/,
  ],
  [
    'an approval of less',
    () => {
      const index = approvedDecision();
      return { ...edited<'approval'>(approvalOf(index), () => ({ hold: '1' })), line: index + 1 };
    },
    /was approved up to \$0\.000000001, and the hold is/,
  ],
  [
    'an approval of another call',
    () => {
      const index = approvedDecision();
      return { ...edited<'approval'>(approvalOf(index), () => ({ call: 'A'.repeat(22) })), line: index + 1 };
    },
    /nobody approved/,
  ],
  [
    'a capability that counts twice',
    () =>
      edited<'decision'>(used(), ({ request }) => ({
        request: {
          ...request,
          capabilities: request.capabilities?.map(({ replayed: _gone, ...each }) => each),
        },
      })),
    /had been used by a call before, and counts again/,
  ],
  [
    'a capability that is said to have been used',
    () =>
      edited<'decision'>(
        find(
          'decision',
          ({ request: { capabilities } }) =>
            capabilities?.[0]?.jti !== undefined && !capabilities[0].replayed,
        ),
        ({ request }) => ({
          request: {
            ...request,
            capabilities: request.capabilities?.map((each) => ({ ...each, jti: 'other', replayed: true })),
          },
        }),
      ),
    /capability other is said to have been used before, and was not/,
  ],
  [
    'an alert of another amount spent',
    () => edited<'alert'>(find('alert'), ({ spent }) => ({ spent: String(BigInt(spent) + 1n) })),
    /is spent, and the alert has/,
  ],
  [
    'an alert twice',
    () => {
      const index = find('alert');
      return { payloads: honest.toSpliced(index + 1, 0, honest[index] as Payload), line: index + 2 };
    },
    /this alert had been given before/,
  ],
  [
    'an alert that no policy asks for',
    () => edited<'alert'>(find('alert'), () => ({ share: 1 })),
    /no policy of the log asks for an alert at 0\.01%/,
  ],
  [
    'an alert before its time',
    () => {
      const index = find('alert', ({ window }) => window === 'per_day');
      const early = honest.findIndex(({ type }) => type === 'decision');
      const { issued_at: at } = honest[early] as Payload;
      const alert = { ...(honest[index] as OfType<'alert'>), issued_at: at, spent: '0' };
      return { payloads: honest.toSpliced(early, 0, alert), line: early + 1 };
    },
    /\$0\.00 of \$\d.* is spent, which is less than/,
  ],
  [
    'a rung that the task is not on',
    () =>
      edited<'decision'>(
        find('decision', ({ rungs }) => rungs !== undefined),
        ({ rungs = [] }) => ({
          rungs: rungs.map(([cap]) => [cap, 'm/large']),
        }),
      ),
    /the rungs of the log are/,
  ],
  [
    'a late cost twice',
    () => {
      const index = find('adjustment', ({ cost }) => cost.source === 'provider');
      return { payloads: honest.toSpliced(index + 1, 0, honest[index] as Payload), line: index + 2 };
    },
    /was adjusted before/,
  ],
  [
    'a late cost of a call whose cost was known',
    () => {
      const index = find('settlement', ({ cost, outcome }) => cost.source === 'tokens' && outcome === 'ok');
      const { over_hold: _gone, ...settled } = honest[index] as OfType<'settlement'>;
      const cost = { amount: '0', reported: '0', source: 'provider' } as const;
      const change = `-${settled.cost.amount}`;
      const late = {
        ...settled,
        type: 'adjustment',
        accounts: [],
        change,
        cost,
        previous: settled.cost.amount,
      };
      return { payloads: honest.toSpliced(index + 1, 0, late as unknown as Payload), line: index + 2 };
    },
    /was settled, and is adjusted/,
  ],
  [
    'a late cost on another window',
    () =>
      edited<'adjustment'>(find('adjustment'), ({ accounts }) => ({
        accounts: accounts.map(([key, start]) => [key, start - 86_400_000]),
      })),
    /the accounts are not those that the call was held on/,
  ],
  [
    'a cap that does not count though it does',
    () =>
      edited<'decision'>(
        find('decision', ({ decision, uncounted }) => decision === 'allow' && uncounted === undefined),
        () => ({ uncounted: [0] }),
      ),
    /caps none don't count, and the decision has: .*caps 0/,
  ],
];

describe('the replay finds', () => {
  it.each(CASES)('%s', (_name, cheat, cause) => {
    const { payloads, line } = cheat();
    const { replay: found, problem } = replay(payloads);
    expect({ found, cause: problem?.cause }).toEqual({
      found: 'wrong',
      cause: expect.stringMatching(cause) as string,
    });
    if (line !== undefined) expect(problem?.line).toBe(line);
  });
});

it('the log that all of these are made of follows', () => {
  expect(replay(honest).problem).toBeUndefined();
});
