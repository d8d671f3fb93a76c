/** What not every call has: one-hour caches, sound, pictures, prices by the time. From request to receipt. */
import { describe, expect, it } from 'vitest';
import {
  createSpendGuard,
  memoryLedger,
  type Ledger,
  type SpendGuard,
  type SpendRequest,
} from '../src/index.ts';
import { guardWith } from '../src/guard.ts';
import { compilePrice, type PriceRow } from '../src/pricing/price.ts';
import type { DecisionPayload, Payload, SettlementPayload } from '../src/receipts/payloads.ts';
import { Replay } from '../src/replay.ts';

const POLICY = {
  id: 'p',
  scope: {},
  caps: [{ amountCents: 10_000, window: 'per_day' as const, action: 'block' as const }],
  version: 1,
  effectiveFrom: '2020-01-01T00:00:00Z',
};

const ROW: PriceRow = { model: 'm', source: 'test', version: '1', input: '1', output: '10' };

function guardFor(row: PriceRow, ledger: Ledger, now: () => number = Date.now): SpendGuard {
  const price = compilePrice(row);
  return guardWith({ policy: POLICY, ledger, waitForHoldsMs: 0 }, { priceOf: () => ({ price }), now });
}

async function payloadsOf(ledger: Ledger): Promise<Payload[]> {
  const found: Payload[] = [];
  for await (const { payload } of ledger.read()) found.push(payload);
  return found;
}

const REQUEST: SpendRequest = { model: 'm', inputTokens: 1_000_000, maxOutputTokens: 1 };
const OUTPUT = 10_000n;

async function held(row: PriceRow, more: Partial<SpendRequest>): Promise<bigint> {
  const guard = guardFor(row, memoryLedger());
  const call = await guard.begin({ ...REQUEST, ...more });
  return call.hold - OUTPUT;
}

describe('the hold', () => {
  const row = { ...ROW, cacheWriteHour: '2', inputAudio: '7', inputImage: '5', image: '0.5' };

  it('has the rates that the call asks for, and no others', async () => {
    expect(await held(row, {})).toBe(1_000_000_000n);
    expect(await held(row, { hourCache: true })).toBe(2_000_000_000n);
    expect(await held(row, { hourCache: false })).toBe(1_000_000_000n);
    const file = (mediaType: string): Partial<SpendRequest> => ({
      prompt: { texts: [], messages: 1, files: [{ mediaType }] },
    });
    expect(await held(row, file('audio/mpeg'))).toBe(7_000_000_000n);
    expect(await held(row, file('application/pdf'))).toBe(1_000_000_000n);
    expect(await held(row, { prompt: { texts: [], messages: 1, images: [{}, {}] } })).toBe(6_000_000_000n);
  });

  it('of a call whose one-hour cache has no rate is none: it is refused, and recorded', async () => {
    const ledger = memoryLedger();
    const guard = guardFor(ROW, ledger);
    await expect(guard.begin({ ...REQUEST, hourCache: true })).rejects.toMatchObject({
      reason: 'unbounded_cost',
      message: expect.stringContaining('a one-hour cache write') as string,
    });
    const decision = (await payloadsOf(ledger)).find(({ type }) => type === 'decision') as DecisionPayload;
    expect(decision).toMatchObject({ decision: 'block', request: { hour_cache: true } });
  });

  it('is recorded with what it rests on', async () => {
    const ledger = memoryLedger();
    const prompt = { texts: [], messages: 1, images: [{}], files: [{ mediaType: 'Audio/wav' }] };
    await guardFor(row, ledger).begin({ ...REQUEST, hourCache: true, prompt });
    const decision = (await payloadsOf(ledger)).find(({ type }) => type === 'decision') as DecisionPayload;
    expect(decision.request).toMatchObject({ audio: true, hour_cache: true, images: 1 });
  });

  it('is the dearest of all times', async () => {
    const timed = { ...ROW, overrides: [{ between: [60, 120] as const, input: '3' }] };
    expect(await held(timed, {})).toBe(3_000_000_000n);
  });

  it('takes no other value than a boolean', async () => {
    const guard = createSpendGuard({ policy: POLICY, ledger: memoryLedger() });
    await expect(guard.begin({ ...REQUEST, hourCache: 'yes' as never })).rejects.toThrow(
      'hourCache: expected a boolean',
    );
  });
});

describe('the settlement', () => {
  async function settled(row: PriceRow, outcome: object, now?: () => number): Promise<SettlementPayload> {
    const ledger = now === undefined ? memoryLedger() : memoryLedger({ now });
    const guard = guardFor(row, ledger, now);
    const prompt = { texts: [], messages: 1, images: [{}, {}] };
    const call = await guard.begin({ ...REQUEST, prompt });
    await call.settle({ outcome: 'ok', ...outcome });
    return (await payloadsOf(ledger)).find(({ type }) => type === 'settlement') as SettlementPayload;
  }

  it('charges every kind at its rate, and records it', async () => {
    const row = {
      ...ROW,
      cacheRead: '0.1',
      cacheWrite: '1.25',
      cacheWriteHour: '2',
      inputAudio: '7',
      cacheReadAudio: '0.7',
      inputImage: '5',
      image: '0.5',
      outputAudio: '64',
    };
    const usage = {
      inputTokens: 600_000,
      outputTokens: 200_000,
      cacheReadTokens: 100_000,
      cacheReadAudioTokens: 50_000,
      cacheWriteTokens: 200_000,
      cacheWriteHourTokens: 150_000,
      inputAudioTokens: 100_000,
      inputImageTokens: 100_000,
      outputAudioTokens: 100_000,
    };
    const { cost, usage: recorded } = await settled(row, { usage });
    const micro =
      50_000n * 100n +
      50_000n * 700n +
      50_000n * 1250n +
      150_000n * 2000n +
      100_000n * 7000n +
      100_000n * 5000n +
      100_000n * 1000n;
    const output = 100_000n * 10_000n + 100_000n * 64_000n;
    expect(cost).toEqual({
      amount: `${micro + output + 1_000_000_000n}`,
      computed: `${micro + output + 1_000_000_000n}`,
      source: 'tokens',
    });
    expect(recorded).toEqual({
      cache_read_audio_tokens: 50_000,
      cache_read_tokens: 100_000,
      cache_write_hour_tokens: 150_000,
      cache_write_tokens: 200_000,
      input_audio_tokens: 100_000,
      input_image_tokens: 100_000,
      input_tokens: 600_000,
      output_audio_tokens: 100_000,
      output_tokens: 200_000,
    });
  });

  it.each([
    [{ inputAudioTokens: 60, cacheReadTokens: 50 }, 'sound and picture tokens of 100 input'],
    [{ cacheWriteHourTokens: 1 }, 'one-hour tokens of 0 cache write'],
    [{ cacheReadAudioTokens: 1 }, 'sound tokens of 0 cache read'],
    [{ outputAudioTokens: 60, reasoningTokens: 50 }, 'sound and picture tokens of 100 output'],
    [{ inputAudioTokens: -1 }, 'inputAudioTokens is -1'],
    [{ inputImageTokens: 'many' }, 'inputImageTokens is string'],
  ])('does not believe %j', async (parts, reason) => {
    const receipt = await settled(ROW, { usage: { inputTokens: 100, outputTokens: 100, ...parts } });
    expect(receipt.cost.source).toBe('hold');
    expect(receipt.unknown_usage).toContain(reason);
  });

  it('takes the dearer of the rates at begin and end', async () => {
    const row = { ...ROW, overrides: [{ between: [60, 120] as const, output: '20' }] };
    const usage = { inputTokens: 0, outputTokens: 1_000_000 };
    const at = async (begin: string, end: string): Promise<string> => {
      let now = Date.parse(`2026-11-24T${begin}Z`);
      const ledger = memoryLedger({ now: () => now });
      const guard = guardFor(row, ledger, () => now);
      const call = await guard.begin(REQUEST);
      now = Date.parse(`2026-11-24T${end}Z`);
      return String((await call.settle({ outcome: 'ok', usage })).amount);
    };
    expect(await at('00:10:00', '00:11:00')).toBe('10000000000');
    expect(await at('00:59:00', '01:00:00')).toBe('20000000000');
    expect(await at('01:59:59', '02:10:00')).toBe('20000000000');
    expect(await at('02:00:00', '02:10:00')).toBe('10000000000');
  });

  it('keeps what the upstream charged apart from what counts', async () => {
    const own = await settled(ROW, { cost: 0.0105, upstreamCost: '0.01', isByok: true });
    expect(own.cost).toEqual({
      amount: '10500000',
      byok: true,
      fee: '500000',
      reported: '10500000',
      source: 'provider',
      upstream: '10000000',
    });
    const theirs = await settled(ROW, { cost: 0.01, upstreamCost: 0.008 });
    expect(theirs.cost).toEqual({
      amount: '10000000',
      reported: '10000000',
      source: 'provider',
      upstream: '8000000',
    });
    const odd = await settled(ROW, { cost: 0.01, upstreamCost: 'x', isByok: 'yes' });
    expect(odd.cost).toEqual({ amount: '10000000', reported: '10000000', source: 'provider' });
  });
});

describe('the replay of such a log', () => {
  const row: PriceRow = {
    ...ROW,
    cacheWrite: '1.25',
    cacheWriteHour: '2',
    cacheRead: '0.1',
    inputImage: '5',
    image: '0.5',
    overrides: [{ between: [60, 120] as const, input: '3', output: '20' }],
  };
  const usage = {
    inputTokens: 1000,
    outputTokens: 100,
    cacheWriteTokens: 200,
    cacheWriteHourTokens: 150,
    inputImageTokens: 300,
  };

  /** A log of one call, begun and ended at these times; `edit` changes what its settlement says. */
  async function replayOf(
    begin: string,
    end: string,
    edit: (payload: SettlementPayload) => object = () => ({}),
  ) {
    let now = Date.parse(`2026-11-24T${begin}Z`);
    const ledger = memoryLedger({ now: () => now });
    const guard = guardFor(row, ledger, () => now);
    const prompt = { texts: [], messages: 1, images: [{}, {}] };
    const call = await guard.begin({ ...REQUEST, prompt, hourCache: true });
    now = Date.parse(`2026-11-24T${end}Z`);
    await call.settle({ outcome: 'ok', usage });
    const replay = new Replay();
    for await (const receipt of ledger.read()) {
      const { payload } = receipt;
      const changed = payload.type === 'settlement' ? { ...payload, ...edit(payload) } : payload;
      replay.add({ ...receipt, payload: changed as Payload });
    }
    return replay.verdict();
  }

  it.each([
    ['00:10:00', '00:11:00'],
    ['00:59:00', '01:00:00'],
    ['01:59:59', '02:10:00'],
    ['02:00:00', '02:10:00'],
  ])('follows: begun at %s, ended at %s', async (begin, end) => {
    expect(await replayOf(begin, end)).toMatchObject({ replay: 'follows' });
  });

  it('does not where the cost is another', async () => {
    for (const more of [-1n, 1n]) {
      const edit = ({ cost }: SettlementPayload): object => {
        const amount = `${BigInt(cost.amount) + more}`;
        return { cost: { ...cost, amount, computed: amount } };
      };
      const { problem } = await replayOf('02:00:00', '02:10:00', edit);
      // the dear time may have come between begin and end, but no more than that
      if (more < 0n) expect(problem?.cause).toContain('tokens × price is');
      const timeless = await replayOf('01:30:00', '01:40:00', edit);
      expect(timeless.problem?.cause).toContain('tokens × price is');
    }
  });
});
