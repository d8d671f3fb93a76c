/** Answers that say odd things about themselves: paid for, so they are handed on, and settled once. */
import { describe, expect, it } from 'vitest';
import { resultOutcome, StreamTally } from '../../middleware/ai-sdk-outcome.ts';
import { spendGuard } from '../../middleware/ai-sdk.ts';
import { openDesk, OPUS, type Desk } from './ai-sdk-kit.ts';

/** An object whose named fields throw when they are read. */
function unreadable(fields: object, ...names: string[]): object {
  const object: object = { ...fields };
  for (const name of names) {
    const get = () => {
      throw new Error(`${name} can not be read`);
    };
    Object.defineProperty(object, name, { enumerable: true, configurable: true, get });
  }
  return object;
}

const revoked = (): object => {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
};

const good = { inputTokens: { total: 10, noCache: 10 }, outputTokens: { total: 5 } };
const tokens = (inputTokens: unknown, outputTokens: unknown = 5) => ({
  usage: { inputTokens, outputTokens },
});
const total = (value: unknown) => ({
  usage: { inputTokens: { total: value }, outputTokens: { total: value } },
});
const told = (openrouter: unknown) => ({ providerMetadata: { openrouter } });

/** Fields of a result, or of the last part of a stream. */
const ODD: [what: string, fields: object][] = [
  ['usage null', { usage: null }],
  ['usage undefined', { usage: undefined }],
  ['usage a string', { usage: 'ten' }],
  ['usage a number', { usage: 7 }],
  ['usage a list', { usage: [1, 2] }],
  ['usage a function', { usage: () => good }],
  ['usage a symbol', { usage: Symbol('usage') }],
  ['usage empty', { usage: {} }],
  ['usage revoked', { usage: revoked() }],
  ['usage unreadable', unreadable({}, 'usage')],
  ['tokens unreadable', { usage: unreadable({}, 'inputTokens', 'outputTokens') }],
  ['a total unreadable', { usage: { inputTokens: unreadable({}, 'total'), outputTokens: { total: 1 } } }],
  ['raw unreadable', { usage: unreadable(good, 'raw') }],
  ['tokens null', tokens(null, null)],
  ['tokens text', tokens('10', '5')],
  ['tokens lists', tokens([10], [5])],
  ['tokens NaN', tokens(Number.NaN, Number.NaN)],
  ['tokens infinite', tokens(Infinity, Infinity)],
  ['tokens negative', tokens(-10, -5)],
  ['tokens fractions', tokens(1.5, 0.5)],
  ['tokens BigInt', tokens(10n, 5n)],
  ['tokens huge', tokens(1e308, 1e308)],
  ['tokens BigInt, V3', total(10n)],
  ['tokens huge, V3', total(Number.MAX_VALUE)],
  ['tokens at the limit, V3', total(Number.MAX_SAFE_INTEGER)],
  ['tokens NaN, V1', { usage: { promptTokens: Number.NaN, completionTokens: Number.NaN } }],
  ['cache tokens BigInt', { usage: { ...good, inputTokens: { noCache: 5n, cacheRead: 5n } } }],
  ['metadata null', { usage: null, providerMetadata: null }],
  ['metadata text', { usage: null, providerMetadata: 'cost: 1' }],
  ['metadata a list', { usage: null, providerMetadata: [1] }],
  ['metadata unreadable', unreadable({ usage: good }, 'providerMetadata')],
  ['metadata revoked', { usage: good, providerMetadata: revoked() }],
  ['a namespace unreadable', { usage: good, providerMetadata: unreadable({}, 'openrouter') }],
  ['a cost unreadable', { usage: good, ...told({ usage: unreadable({}, 'cost') }) }],
  ['a cost BigInt', { usage: null, ...told({ usage: { cost: 1n } }) }],
  ['a cost NaN', { usage: null, ...told({ usage: { cost: Number.NaN } }) }],
  ['a cost infinite', { usage: null, ...told({ usage: { cost: Infinity } }) }],
  ['a cost huge', { usage: null, ...told({ usage: { cost: 1e300 } }) }],
  ['a cost negative', { usage: null, ...told({ usage: { cost: -1 } }) }],
  ['a cost a list', { usage: null, ...told({ usage: { cost: [1] } }) }],
  ['a cost of odd text', { usage: null, ...told({ usage: { cost: '1e999999999' } }) }],
  [
    'costs BigInt',
    { usage: null, ...told({ usage: { cost: 1n, costDetails: { upstreamInferenceCost: 2n } } }) },
  ],
  ['a provider that is no name', { usage: null, ...told({ provider: { name: 'x' }, usage: 5 }) }],
];

/** Fields of a result only. */
const ODD_RESULTS: [what: string, fields: object][] = [
  ...ODD,
  ['content null', { content: null }],
  ['content text', { content: 'Hello' }],
  ['content with holes', { content: [null, undefined, 5, 'x', [], { text: 5 }] }],
  ['a part unreadable', { content: [unreadable({ type: 'text' }, 'text')] }],
  ['a response unreadable', unreadable({ usage: good }, 'response')],
  ['an id that is no text', { usage: null, response: { id: 5n, modelId: ['m'] } }],
  ['a request unreadable', unreadable({ usage: good }, 'request')],
  ['a body revoked', { usage: good, request: { body: revoked() } }],
  ['a body that is no JSON', { usage: null, request: { body: '{"model":' } }],
  [
    'everything unreadable',
    unreadable({}, 'content', 'usage', 'providerMetadata', 'response', 'request', 'text'),
  ],
];

const to = { provider: 'openrouter', model: OPUS };

const params = { prompt: [{ role: 'user', content: [{ type: 'text', text: 'Hi' }] }], maxOutputTokens: 50 };

/** The hooks that a middleware gets for a model that answers with `answer`. */
function callOf(answer: unknown) {
  const model = {
    provider: 'openrouter',
    modelId: OPUS,
    doGenerate: () => Promise.resolve(answer),
    doStream: () => Promise.resolve(answer),
  };
  return { model, params, doGenerate: model.doGenerate, doStream: model.doStream };
}

/** One call was settled: at a figure that can be believed, else at its hold. */
async function expectSettled(desk: Desk): Promise<void> {
  const [decision] = await desk.receipts('decision');
  const settlements = await desk.receipts('settlement');
  expect(settlements).toHaveLength(1);
  expect(['hold', 'tokens', 'provider']).toContain(settlements[0]?.cost.source);
  if (settlements[0]?.cost.source === 'hold') expect(await desk.spent()).toBe(BigInt(decision?.hold ?? 0));
  expect(await desk.spent()).toBeGreaterThan(0n);
  expect(await desk.held()).toBe(0n);
}

describe('an answer in one piece', () => {
  it.each(ODD_RESULTS)('is handed on: %s', async (_what, fields) => {
    await using desk = await openDesk();
    const answer = Object.defineProperties(
      { finishReason: 'stop' },
      Object.getOwnPropertyDescriptors(fields),
    );
    expect(await spendGuard(desk.guard).wrapGenerate(callOf(answer))).toBe(answer);
    await expectSettled(desk);
  });

  it.each<[string, unknown]>([
    ['null', null],
    ['undefined', undefined],
    ['text', 'text'],
    ['a number', 7],
    ['a BigInt', 7n],
    ['a list', []],
    ['a function', () => undefined],
  ])('that is none is handed on: %s', async (_what, answer) => {
    await using desk = await openDesk();
    expect(await spendGuard(desk.guard).wrapGenerate(callOf(answer))).toBe(answer);
    await expectSettled(desk);
  });

  it('keeps what was seen of it when its usage can not be read', () => {
    const content = [{ type: 'text', text: 'Some words that arrived' }];
    const { seenOutputTokens = 0, ...rest } = resultOutcome(unreadable({ content }, 'usage'), to);
    expect(rest).toEqual({ outcome: 'ok' });
    expect(seenOutputTokens).toBeGreaterThan(0);
  });
});

/** A stream of these parts, and all that the guarded one gave. */
async function readThrough(desk: Desk, parts: unknown[], more: object = {}): Promise<unknown[]> {
  const source = new ReadableStream<unknown>({
    start(controller) {
      for (const part of parts) controller.enqueue(part);
      controller.close();
    },
  });
  const answer = Object.defineProperties({ stream: source }, Object.getOwnPropertyDescriptors(more));
  const { stream } = (await spendGuard(desk.guard).wrapStream(callOf(answer))) as typeof answer;
  const got: unknown[] = [];
  for await (const part of stream) got.push(part);
  return got;
}

describe('a stream', () => {
  it.each(ODD)('is handed on: %s', async (_what, fields) => {
    await using desk = await openDesk();
    const base = { type: 'finish', finishReason: { unified: 'stop' } };
    const finish = Object.defineProperties(base, Object.getOwnPropertyDescriptors(fields));
    const parts = [{ type: 'text-delta', delta: 'Hi' }, finish];
    const got = await readThrough(desk, parts);
    expect(got.every((part, at) => part === parts[at])).toBe(true);
    expect(got).toHaveLength(parts.length);
    await expectSettled(desk);
  });

  it.each<[string, unknown]>([
    ['null', null],
    ['text', 'Hi'],
    ['a number', 7],
    ['a BigInt', 7n],
    ['a list', []],
    ['a type that is no text', { type: 5n, delta: 'x' }],
    ['a delta that is no text', { type: 'text-delta', delta: { text: 'x' } }],
    ['a type unreadable', unreadable({}, 'type')],
    ['a delta unreadable', unreadable({ type: 'text-delta' }, 'delta')],
    ['a response unreadable', unreadable({ type: 'response-metadata' }, 'id', 'modelId')],
    ['a reason unreadable', unreadable({ type: 'finish' }, 'finishReason')],
    ['a reason revoked', { type: 'finish', finishReason: revoked() }],
    ['revoked', revoked()],
  ])('with an odd part is handed on: %s', async (_what, part) => {
    await using desk = await openDesk();
    const parts = [{ type: 'text-delta', delta: 'Hi' }, part, { type: 'text-delta', delta: 'there' }];
    const got = await readThrough(desk, parts);
    expect(got.map((each, at) => each === parts[at])).toEqual([true, true, true]);
    await expectSettled(desk);
  });

  it('is handed on where what comes with it can not be read', async () => {
    await using desk = await openDesk();
    const finish = { type: 'finish', finishReason: 'stop', usage: good };
    expect(await readThrough(desk, [finish], unreadable({}, 'request', 'response', 'rawCall'))).toEqual([
      finish,
    ]);
    await expectSettled(desk);
  });

  it.each([{}, { stream: null }, { stream: 'text' }, { stream: {} }])(
    'that is none settles: %j',
    async (answer) => {
      await using desk = await openDesk();
      expect(await spendGuard(desk.guard).wrapStream(callOf(answer))).toBe(answer);
      await expectSettled(desk);
    },
  );

  it('keeps what was seen of it when its end can not be read', () => {
    const tally = new StreamTally(revoked(), to);
    tally.see({ type: 'text-delta', delta: 'Some words that arrived' });
    tally.see(unreadable({ type: 'finish', finishReason: 'stop' }, 'usage'));
    const { seenOutputTokens = 0, ...rest } = tally.outcome(undefined);
    expect(rest).toEqual({ outcome: 'ok' });
    expect(seenOutputTokens).toBeGreaterThan(0);
    expect(tally.outcome('aborted').outcome).toBe('aborted');
  });
});
