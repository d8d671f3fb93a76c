/** Costs that rest on more than text at one price: an honest log of them follows, and what was made up is found. */
import { describe, expect, it } from 'vitest';
import { guardWith, type SpendGuard } from '../../src/guard.ts';
import { memoryLedger } from '../../src/ledgers/memory.ts';
import { compilePrice, type PriceRow } from '../../src/pricing/price.ts';
import type { Payload, Receipt, SettlementPayload } from '../../src/receipts/payloads.ts';
import { Replay, type ReplayVerdict } from '../../src/replay.ts';
import type { CallOutcome } from '../../src/settlement.ts';
import type { SpendRequest } from '../../src/request.ts';

const ROW: PriceRow = {
  model: 'm',
  source: 'test',
  version: '1',
  input: '1',
  output: '10',
  cacheWriteHour: '2',
  cacheRead: '0.1',
  inputAudio: '7',
  inputImage: '5',
  outputAudio: '30',
  outputImage: '40',
  image: '0.5',
  request: '0.01',
  overrides: [{ between: [60, 120], input: '3' }],
};

const POLICY = {
  id: 'p',
  scope: {},
  caps: [{ amountCents: 100_000, window: 'per_day' as const, action: 'block' as const }],
  version: 1,
  effectiveFrom: '2020-01-01T00:00:00Z',
  maxOutputTokens: 100,
};
const PROMPT = { texts: [], messages: 1, images: [{}, {}], files: [{ mediaType: 'audio/wav' }] };
const REQUEST: SpendRequest = { model: 'm', inputTokens: 1000, maxOutputTokens: 100, hourCache: true };

type Step = [request: Partial<SpendRequest>, outcome: CallOutcome, takes?: number];

/** A log of these calls, one after another, that begins at `start`. */
async function logOf(steps: readonly Step[], start = '2026-06-01T00:58:00Z'): Promise<Payload[]> {
  const clock = { now: Date.parse(start) };
  const ledger = memoryLedger({ now: () => clock.now });
  const price = compilePrice(ROW);
  const guard: SpendGuard = guardWith(
    { policy: POLICY, ledger, waitForHoldsMs: 0, leaseMs: 3_600_000 },
    {
      now: () => clock.now,
      priceOf: (model) => (model === 'm' ? { price } : { unknown: 'nobody knows it', suggestions: [] }),
    },
  );
  for (const [request, outcome, takes = 1000] of steps) {
    const call = await guard.begin({ ...REQUEST, ...request });
    clock.now += takes;
    await call.settle(outcome);
  }
  await guard.close();
  const payloads: Payload[] = [];
  for await (const { payload } of ledger.read()) payloads.push(payload);
  return payloads;
}

function replay(payloads: readonly Payload[]): ReplayVerdict {
  const run = new Replay();
  for (const payload of payloads) run.add({ line: '', hash: '', payload } satisfies Receipt);
  return run.verdict();
}

const USAGE = { inputTokens: 1000, outputTokens: 100 };
const ok = (usage: NonNullable<CallOutcome['usage']>): CallOutcome => ({ outcome: 'ok', usage });

const HONEST: [name: string, steps: Step[], start?: string][] = [
  ['pictures in the prompt', [[{ prompt: PROMPT }, ok({ ...USAGE, inputImageTokens: 400 })]]],
  ['sound in the prompt', [[{ prompt: PROMPT }, ok({ ...USAGE, inputAudioTokens: 300 })]]],
  [
    'sound from the cache',
    [[{ prompt: PROMPT }, ok({ ...USAGE, cacheReadTokens: 300, cacheReadAudioTokens: 200 })]],
  ],
  ['a one-hour cache', [[{}, ok({ ...USAGE, cacheWriteTokens: 500, cacheWriteHourTokens: 400 })]]],
  [
    'sound and pictures in the answer',
    [[{}, ok({ ...USAGE, outputAudioTokens: 50, outputImageTokens: 20 })]],
  ],
  ['the cheaper time of the day', [[{}, ok(USAGE)]], '2026-06-01T12:00:00Z'],
  ['the dearer time of the day', [[{}, ok(USAGE)]], '2026-06-01T01:30:00Z'],
  ['a call that goes on into the dearer time', [[{}, ok(USAGE), 300_000]]],
  ['a refusal that may have been paid for', [[{}, { outcome: 'refused' }]]],
  ['an answer that broke off', [[{}, { outcome: 'aborted' }]]],
  ['a request that never left', [[{}, { outcome: 'not_sent' }]]],
  ['what the provider says', [[{}, { ...ok(USAGE), cost: 0.02 }]]],
  ['nothing, by what the provider says', [[{}, { ...ok(USAGE), cost: 0 }]]],
  ['a key of one’s own', [[{}, { ...ok(USAGE), cost: 0.021, upstreamCost: 0.02, isByok: true }]]],
  ['a key of one’s own, of which nothing more is known', [[{}, { ...ok(USAGE), isByok: true }]]],
  ['a model with another name', [[{}, { ...ok(USAGE), servedModel: 'm-internal' }]]],
];

describe('follows', () => {
  it.each(HONEST)('%s', async (_name, steps, start) => {
    const verdict = replay(await logOf([...steps, [{}, ok(USAGE)]], start));
    expect(verdict.problem).toBeUndefined();
    expect(verdict.replay).toBe('follows');
  });
});

type Cost = SettlementPayload['cost'];

/** The log of one call, with its settlement edited. */
async function cheated(
  outcome: CallOutcome,
  edit: (payload: SettlementPayload) => Partial<SettlementPayload> & { cost: Cost },
): Promise<ReplayVerdict> {
  const payloads = await logOf([[{ prompt: PROMPT }, outcome]], '2026-06-01T12:00:00Z');
  return replay(
    payloads.map((payload) => (payload.type === 'settlement' ? { ...payload, ...edit(payload) } : payload)),
  );
}

// The prompt has pictures and sound: input tokens of which nobody says what they are cost what the dearer of them does.
const CHEATS: [name: string, outcome: CallOutcome, edit: Parameters<typeof cheated>[1], cause: RegExp][] = [
  [
    'pictures that were not paid for',
    ok(USAGE),
    () => ({ cost: { amount: '12000000', computed: '12000000', source: 'tokens' } }),
    /tokens × price is \$1\.018, and the receipt says \$0\.012/,
  ],
  [
    'sound at the price of text',
    ok({ ...USAGE, inputAudioTokens: 300 }),
    () => ({ cost: { amount: '1012000000', computed: '1012000000', source: 'tokens' } }),
    /tokens × price is \$1\.0166, and/,
  ],
  [
    'a price of no time of the day',
    ok(USAGE),
    () => ({ cost: { amount: '1013000000', computed: '1013000000', source: 'tokens' } }),
    /tokens × price is \$1\.018, and/,
  ],
  [
    'tokens × price without tokens',
    ok(USAGE),
    ({ usage: _gone, ...payload }) => ({
      ...payload,
      usage: undefined as never,
      cost: { amount: '1', computed: '1', source: 'tokens' },
    }),
    /tokens × price is named, and no tokens are/,
  ],
  [
    'a call that cost nothing',
    ok(USAGE),
    () => ({ cost: { amount: '0', source: 'none' } }),
    /is said to have cost nothing, and its outcome is ok/,
  ],
  [
    'the cheaper of two figures',
    { ...ok(USAGE), cost: 1.02 },
    ({ cost }) => ({ cost: { ...cost, amount: cost.computed as string, source: 'tokens' } }),
    /the provider reported \$1\.02, and the cost is by another source \(tokens\)/,
  ],
  [
    'a zero that the tokens don’t bear out',
    { ...ok(USAGE), cost: 1.02 },
    ({ cost }) => ({ cost: { ...cost, amount: '0', reported: '0' } }),
    /said to have charged nothing/,
  ],
  [
    'an estimate where tokens × price is known',
    ok(USAGE),
    ({ cost }) => ({ cost: { ...cost, amount: '1', source: 'estimate' } }),
    /tokens × price is \$1\.018, and the cost is by another source \(estimate\)/,
  ],
  [
    'an upstream charge that is left out',
    { ...ok(USAGE), cost: 1.02, upstreamCost: 1, isByok: true },
    ({ cost }) => ({ cost: { ...cost, amount: '20000000', reported: '20000000' } }),
    /fee and upstream charge come to \$1\.02, and reported is \$0\.02/,
  ],
  [
    'a refusal for less than the prompt',
    { outcome: 'refused' },
    ({ cost }) => ({ cost: { ...cost, amount: '1' } }),
    /the estimate is \$0\.000000001, and it is \$1\.017 for such a call/,
  ],
  [
    'an estimate for what broke off',
    { outcome: 'aborted' },
    () => ({ cost: { amount: '1', source: 'estimate' } }),
    /the estimate is \$0\.000000001, and it is/,
  ],
];

describe('finds', () => {
  it.each(CHEATS)('%s', async (_name, outcome, edit, cause) => {
    const { replay: found, problem } = await cheated(outcome, edit);
    expect({ found, cause: problem?.cause }).toEqual({
      found: 'wrong',
      cause: expect.stringMatching(cause) as string,
    });
  });
});
