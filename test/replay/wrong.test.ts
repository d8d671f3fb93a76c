/** Logs whose every signature is right, and whose content isn't: the replay names the first line and the true cause. */
import { beforeAll, describe, expect, it } from 'vitest';
import { parsePolicy } from '../../src/policy.ts';
import { digestOf } from '../../src/receipts/keys.ts';
import type { DecisionPayload, Payload, Receipt } from '../../src/receipts/payloads.ts';
import { Replay, type ReplayVerdict } from '../../src/replay.ts';
import { testGuard } from '../../src/testing/test-guard.ts';

type Edit = Record<string, unknown>;

let honest: Payload[] = [];

/** The payloads as a log, numbered anew. The replay looks at what verified, so nothing needs a signature here. */
function replay(payloads: readonly (Payload | Edit)[]): ReplayVerdict {
  const run = new Replay();
  for (const [seq, payload] of payloads.entries()) {
    run.add({ line: '', hash: '', payload: { ...payload, seq } as unknown as Payload } satisfies Receipt);
  }
  return run.verdict();
}

/** Index of the `nth` receipt of a type that fits. */
function find(type: Payload['type'], fits: (payload: never) => boolean = () => true, nth = 0): number {
  const found = honest.flatMap((payload, index) =>
    payload.type === type && fits(payload as never) ? [index] : [],
  );
  const index = found[nth];
  if (index === undefined) throw new Error(`the log has no such ${type}`);
  return index;
}

const allowed = (payload: DecisionPayload): boolean => payload.decision !== 'block';

function edited(index: number, change: (payload: Edit) => Edit | void): (Payload | Edit)[] {
  const copy = structuredClone(honest[index]) as unknown as Edit;
  return (honest as (Payload | Edit)[]).with(index, change(copy) ?? copy);
}

const PRICES = {
  'm/big': { inputCentsPerKtok: 1, outputCentsPerKtok: 5 },
  'm/small': { inputCentsPerKtok: '0.1', outputCentsPerKtok: '0.5' },
};

beforeAll(async () => {
  const { guard, clock, receipts, ledger } = testGuard({
    policy: {
      id: 'berlin',
      scope: {},
      timeZone: 'Europe/Berlin',
      caps: [
        { amountCents: 40, window: 'per_day', action: 'downgrade', downgradeTo: 'm/small' },
        { amountCents: 80, window: 'per_day', action: 'block' },
        { amountCents: 60, window: 'per_hour', action: 'block' },
        { amountCents: 5000, window: 'total', action: 'block', per: ['userId'] },
      ],
      version: 1,
      effectiveFrom: '2026-01-01T00:00:00Z',
    },
    prices: PRICES,
    scope: { userId: 'alice' },
    waitForHoldsMs: 0,
    leaseMs: 60_000,
  });
  const call = () => guard.begin({ model: 'm/big', inputTokens: 1000, maxOutputTokens: 1000 });
  for (let index = 0; index < 8; index++) {
    const begun = await call();
    clock.advance(1000);
    await begun.settle({
      outcome: 'ok',
      usage: { inputTokens: 900, outputTokens: 800 },
      providerRef: `gen-${index}`,
    });
  }
  const late = await call();
  clock.advance(61_000);
  await (await call()).settle({ outcome: 'ok', cost: 0.02 });
  await late.settle({ outcome: 'ok', usage: { inputTokens: 100, outputTokens: 100 } });
  for (let index = 0; index < 20; index++) {
    const begun = await guard
      .begin({ model: 'm/big', inputTokens: 30_000, maxOutputTokens: 100_000 })
      .catch(() => undefined);
    await begun?.settle({ outcome: 'ok', usage: { inputTokens: 20_000, outputTokens: 30_000 } });
  }
  clock.advance(2 * 3600_000);
  await (await call()).settle({ outcome: 'ok', usage: { inputTokens: 1, outputTokens: 1 } });
  await call();
  await ledger.close();
  honest = (await receipts()).map(({ payload }) => payload);
});

it('the log that all of these are made of is honest, and a running call is told as open', () => {
  const verdict = replay(honest);
  expect(verdict).toMatchObject({ replay: 'follows', open: [{ line: honest.length - 1, overdue: false }] });
  expect(verdict.problem).toBeUndefined();
});

type Case = [name: string, log: () => { payloads: (Payload | Edit)[]; line: number }, cause: RegExp];

const CASES: Case[] = [
  [
    'a decision that the policy did not allow',
    () => {
      const index = find(
        'decision',
        ({ reason }: DecisionPayload) => reason === 'cap_spent' || reason === 'cap_per_call',
      );
      return {
        payloads: edited(index, (payload) => {
          Object.assign(payload, {
            decision: 'allow',
            reason: 'within_caps',
            lease_until: payload['issued_at'],
            route: { limit: 'own', max_output_tokens: 100_000, model: 'm/big' },
          });
          delete payload['decisive_cap'];
        }),
        line: index + 1,
      };
    },
    /the policies lead to block \(cap_spent, cap \d\), and the decision is allow \(within_caps\)/,
  ],
  [
    'a refusal that the policy did not ask for',
    () => {
      const index = find('decision', allowed, 2);
      return {
        payloads: edited(index, (payload) => {
          Object.assign(payload, { decision: 'block', reason: 'cap_spent', decisive_cap: 1 });
          delete payload['route'];
          delete payload['lease_until'];
        }),
        line: index + 1,
      };
    },
    /lead to allow \(within_caps\), and the decision is block/,
  ],
  [
    'what is spent off by one nano-dollar',
    () => {
      const index = find('decision', allowed, 4);
      return {
        payloads: edited(index, ({ caps, ...rest }) => ({
          ...rest,
          caps: (caps as DecisionPayload['caps']).map(([at, spent, held]) => [
            at,
            at === 1 ? String(BigInt(spent) + 1n) : spent,
            held,
          ]),
        })),
        line: index + 1,
      };
    },
    /on cap 1 \(per_day of policy berlin\) \$0\.\d+ is spent, and the decision has \$0\.\d+1 spent/,
  ],
  [
    'what is held off by one nano-dollar',
    () => {
      const index = find('decision', allowed, 9);
      return {
        payloads: edited(index, ({ caps, ...rest }) => ({
          ...rest,
          caps: (caps as DecisionPayload['caps']).map(([at, spent, held]) => [
            at,
            spent,
            String(BigInt(held) + 1n),
          ]),
        })),
        line: index + 1,
      };
    },
    /is held, and the decision has/,
  ],
  [
    'a settled amount that later balances do not have',
    () => {
      const index = find('settlement', undefined, 3);
      return {
        payloads: edited(index, ({ cost, ...rest }) => ({
          ...rest,
          cost: { ...(cost as object), amount: '1000', computed: '1000' },
        })),
        line: index + 1,
      };
    },
    /tokens × price is \$0\.049, and the receipt says \$0\.000001/,
  ],
  [
    'a hold off by one nano-dollar',
    () => {
      const index = find('decision', allowed, 3);
      return {
        payloads: edited(
          index,
          (payload) => void (payload['hold'] = String(BigInt(payload['hold'] as string) - 1n)),
        ),
        line: index + 1,
      };
    },
    /the worst case is \$0\.06, and the hold is \$0\.059999999/,
  ],
  [
    'a hold that is never settled',
    () => {
      const index = find('settlement', undefined, 2);
      return { payloads: honest.toSpliced(index, 1), line: index + 1 };
    },
    /; the hold of \$0\.06 of call \S+ \(line \d+\) was never settled/,
  ],
  [
    'a hold that never expires',
    () => {
      const index = find('settlement', ({ outcome }: { outcome: string }) => outcome === 'expired');
      return { payloads: honest.toSpliced(index, 1), line: index + 1 };
    },
    /the hold of \$0\.06 of call \S+ \(line \d+\) was never settled, and did not expire when its lease ended/,
  ],
  [
    'an expiry before its time',
    () => {
      const index = find('settlement', undefined, 2);
      return {
        payloads: edited(index, ({ usage, ...rest }) => ({
          ...rest,
          ...(usage === undefined && { usage }),
          outcome: 'expired',
          cost: { amount: '60000000', source: 'hold' },
        })),
        line: index + 1,
      };
    },
    /expired before its lease ended/,
  ],
  [
    'an expiry at less than the hold',
    () => {
      const index = find('settlement', ({ outcome }: { outcome: string }) => outcome === 'expired');
      return {
        payloads: edited(index, (payload) => void (payload['cost'] = { amount: '1', source: 'hold' })),
        line: index + 1,
      };
    },
    /an expired hold is spent in full/,
  ],
  [
    'a settlement twice',
    () => {
      const index = find('settlement', undefined, 1);
      return { payloads: honest.toSpliced(index + 1, 0, honest[index] as Payload), line: index + 2 };
    },
    /was settled before/,
  ],
  [
    'a settlement of a call that was never let through',
    () => {
      const index = find('settlement', undefined, 1);
      return {
        payloads: edited(index, (payload) => void (payload['call'] = 'A'.repeat(22))),
        line: index + 1,
      };
    },
    /was never let through/,
  ],
  [
    'a call that is decided twice',
    () => {
      const index = find('decision', allowed, 1);
      const again = find('decision', allowed, 2);
      return {
        payloads: edited(
          again,
          (payload) => void (payload['call'] = (honest[index] as DecisionPayload).call),
        ),
        line: again + 1,
      };
    },
    /was decided before/,
  ],
  [
    'an adjustment twice',
    () => {
      const index = find('adjustment');
      return { payloads: honest.toSpliced(index + 1, 0, honest[index] as Payload), line: index + 2 };
    },
    /was adjusted before/,
  ],
  [
    'an adjustment by another amount than the difference',
    () => {
      const index = find('adjustment');
      return { payloads: edited(index, (payload) => void (payload['change'] = '-1')), line: index + 1 };
    },
    /the change from \$0\.06 to \$0\.006 is not -\$0\.000000001/,
  ],
  [
    'a policy swapped without a policy receipt',
    () => {
      const index = find('decision', allowed, 3);
      return {
        payloads: edited(index, (payload) => void (payload['policies'] = [`sha256:${'0'.repeat(64)}`])),
        line: index + 1,
      };
    },
    /the log has no policy receipt for sha256:0000/,
  ],
  [
    'a policy receipt that is gone',
    () => {
      const index = find('policy');
      // Everything moves up by one, so its first decision is where the next receipt was.
      return { payloads: honest.toSpliced(index, 1), line: find('decision') };
    },
    /the log has no policy receipt/,
  ],
  [
    'a policy swapped for a stricter one that is in the log',
    () => {
      const index = find('policy');
      const { digest, record } = parsePolicy({
        id: 'berlin',
        scope: {},
        timeZone: 'Europe/Berlin',
        caps: [{ amountCents: 1, window: 'per_day', action: 'block' }],
        version: 2,
        effectiveFrom: '2026-01-01T00:00:00Z',
      });
      const other = { ...honest[index], digest, policy: record } as unknown as Payload;
      const at = find('decision', allowed, 3) + 1;
      const payloads = honest.toSpliced(index + 1, 0, other);
      return {
        payloads: payloads.with(at, { ...payloads[at], policies: [digest] } as Payload),
        line: at + 1,
      };
    },
    /names? 3 windows, and its policies have 1/,
  ],
  [
    'prices swapped without a prices receipt',
    () => {
      const index = find('decision', allowed, 3);
      return {
        payloads: edited(index, (payload) => void (payload['prices'] = `sha256:${'1'.repeat(64)}`)),
        line: index + 1,
      };
    },
    /the log has no prices receipt for sha256:1111/,
  ],
  [
    'prices receipts of other prices',
    () => {
      const index = find('prices');
      const { rows } = honest[index] as Extract<Payload, { type: 'prices' }>;
      const cheaper = rows.map(([model, row]): [string, Edit] => [model, { ...row, output: '1' }]);
      const digest = digestOf(cheaper);
      const payloads = edited(index, (payload) => ({ ...payload, rows: cheaper, digest })).map((payload) =>
        'prices' in payload && payload['type'] === 'decision' ? { ...payload, prices: digest } : payload,
      );
      return { payloads, line: find('decision') + 1 };
    },
    /the worst case is/,
  ],
  [
    'windows of another zone',
    () => {
      const index = find('decision', allowed, 3);
      return {
        payloads: edited(index, (payload) => {
          const [[start, end], ...others] = payload['spans'] as [[number, number]];
          payload['spans'] = [[start + 2 * 3600_000, end + 2 * 3600_000], ...others];
        }),
        line: index + 1,
      };
    },
    /the per_day window in Europe\/Berlin is 2026-05-31T22:00:00.000Z to 2026-06-01T22:00:00.000Z/,
  ],
  [
    'a window that begins a millisecond late',
    () => {
      const index = find('decision', allowed, 3);
      return {
        payloads: edited(index, (payload) => {
          const [[start, end], ...others] = payload['spans'] as [[number, number]];
          payload['spans'] = [[start + 1, end], ...others];
        }),
        line: index + 1,
      };
    },
    /the per_day window/,
  ],
  [
    'a rolling window of another minute',
    () => {
      const index = find('decision', allowed, 3);
      return {
        payloads: edited(index, (payload) => {
          const spans = payload['spans'] as [number, number][];
          payload['spans'] = spans.with(1, [spans[1]![0] - 60_000, spans[1]![1] - 60_000]);
        }),
        line: index + 1,
      };
    },
    /the per_hour window is/,
  ],
  [
    'a cap that is left out',
    () => {
      const index = find('decision', allowed, 3);
      return {
        payloads: edited(index, (payload) => void (payload['caps'] as unknown[]).pop()),
        line: index + 1,
      };
    },
    /balances of caps 0, 1, 2 are named/,
  ],
  [
    'a call of another scope than the policy’s',
    () => {
      const index = find('policy');
      const policy = structuredClone((honest[index] as Extract<Payload, { type: 'policy' }>).policy);
      policy['scope'] = { userId: 'bob' };
      const digest = digestOf(policy);
      const payloads = edited(index, (payload) => ({ ...payload, policy, digest })).map((payload) =>
        payload['type'] === 'decision' ? { ...payload, policies: [digest] } : payload,
      );
      return { payloads, line: find('decision') + 1 };
    },
    /is not for the scope of the call/,
  ],
  [
    'another route than decided',
    () => {
      const index = find('decision', ({ decision }: DecisionPayload) => decision === 'downgrade');
      return {
        payloads: edited(index, (payload) => void ((payload['route'] as Edit)['model'] = 'm/big')),
        line: index + 1,
      };
    },
    /the route is \{.*"m\/small".*, and the decision has \{.*"m\/big"/,
  ],
  [
    'a policy said not to have taken effect',
    () => {
      const index = find('decision', allowed, 3);
      return {
        payloads: edited(index, (payload) => void (payload['not_effective'] = [0])),
        line: index + 1,
      };
    },
    /is said not to have taken effect, and did/,
  ],
  [
    'a clock that is blamed',
    () => {
      const index = find('decision', allowed, 3);
      return {
        payloads: edited(index, (payload) => {
          Object.assign(payload, { decision: 'block', reason: 'clock', hold: '0' });
          for (const member of ['route', 'lease_until', 'decisive_cap']) delete payload[member];
        }),
        line: index + 1,
      };
    },
    /the decision is block \(clock\)/,
  ],
  [
    'holds that close does not count',
    () => ({
      payloads: edited(honest.length - 1, (payload) => void (payload['open_holds'] = 0)),
      line: honest.length,
    }),
    /0 holds are said to be open, and it is 1/,
  ],
  [
    'a policy that is none',
    () => {
      const index = find('policy');
      return {
        payloads: edited(index, (payload) => void (payload['policy'] = { caps: [{ amount: 'x' }] })),
        line: index + 1,
      };
    },
    /the receipt can't be used/,
  ],
];

describe('the replay finds', () => {
  it.each(CASES)('%s', (_name, log, cause) => {
    const { payloads, line } = log();
    const { replay: found, problem } = replay(payloads);
    expect({ found, line: problem?.line, cause: problem?.cause }).toEqual({
      found: 'wrong',
      line,
      cause: expect.stringMatching(cause) as string,
    });
  });
});

describe('the replay calls undecidable', () => {
  it('rules that it does not know', () => {
    const index = find('decision', allowed, 3);
    const { replay: found, problem } = replay(edited(index, (payload) => void (payload['rules'] = 99)));
    expect(found).toBe('undecidable');
    expect(problem).toMatchObject({
      line: index + 1,
      cause: expect.stringContaining('version 99') as string,
    });
  });

  it('windows that another time-zone database may have', () => {
    const index = find('decision', allowed, 3);
    const shifted = (honest as (Payload | Edit)[]).map((payload) => {
      const { spans } = payload as Edit;
      if (!Array.isArray(spans)) return payload;
      // A day that begins an hour later, everywhere: no summer time.
      const [[start, end], ...others] = spans as [[number, number]];
      return { ...payload, spans: [[start + 3600_000, end + 3600_000], ...others] };
    });
    const verdict = replay(shifted.slice(0, find('adjustment')));
    expect(index).toBeGreaterThan(0);
    expect(verdict).toMatchObject({
      replay: 'undecidable',
      problem: { line: find('decision') + 1, cause: expect.stringContaining('time-zone database') as string },
    });
  });

  it('a zone that is not known here, and goes on to what can be decided', () => {
    const index = find('policy');
    const policy = {
      ...(honest[index] as Extract<Payload, { type: 'policy' }>).policy,
      timeZone: 'Mars/Olympus',
    };
    const digest = digestOf(policy);
    const payloads = edited(index, (payload) => ({ ...payload, policy, digest })).map((payload) =>
      payload['type'] === 'decision' ? { ...payload, policies: [digest] } : payload,
    );
    // An adjustment names accounts, and those of another zone are others.
    expect(replay(payloads.slice(0, find('adjustment')))).toMatchObject({
      replay: 'undecidable',
      problem: { cause: 'the time zone Mars/Olympus is not known here' },
    });
    const twice = find('settlement', undefined, 3);
    const verdict = replay(payloads.toSpliced(twice + 1, 0, payloads[twice] as Payload));
    expect(verdict).toMatchObject({ replay: 'wrong', problem: { line: twice + 2 } });
  });
});
