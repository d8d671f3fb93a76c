/** `isBlocked` finds our error inside whatever each major wraps around it. */
import { describe, expect, it } from 'vitest';
import { spendGuard } from '../../middleware/ai-sdk.ts';
import { AgentGuardBlockedError, blockedError, isBlocked } from '../../src/index.ts';
import type { Reply } from '../../src/node/simulator/index.ts';
import { MAJORS, type Any, type Ask, type Major } from '../majors/major.ts';
import { OPUS, openDesk, policyOf, WIDE, type Desk } from './ai-sdk-kit.ts';

const NOTHING = { amountCents: 0, window: 'total', action: 'block' } as const;

function askOf(major: Major, desk: Desk, more: Partial<Ask> = {}): Ask {
  const model = major.wrap(major.openrouter({ url: desk.sim.url }, OPUS), spendGuard(desk.guard));
  return { model, prompt: 'How far?', maxOutputTokens: 100, ...more };
}

async function thrownBy(work: () => PromiseLike<unknown>): Promise<Any> {
  try {
    await work();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

describe.each(MAJORS)('$name', (major) => {
  it('is the error itself, after one attempt, where the first is refused', async () => {
    await using desk = await openDesk(policyOf([NOTHING]));
    for (const call of ['generateText', 'generateObject'] as const) {
      const more = call === 'generateObject' ? { schema: major.skySchema } : {};
      const error = await thrownBy(() => major.ai[call](major.options(askOf(major, desk, { more }))));
      expect(error).toBeInstanceOf(AgentGuardBlockedError);
      expect(error).toMatchObject({ reason: 'cap_spent', isRetryable: false, statusCode: 402 });
    }
    expect(await desk.receipts('decision')).toHaveLength(2);
  });

  it('is found in a RetryError, where a later attempt is refused', async () => {
    // the first attempt is answered with a 500, which may have been billed: its hold is taken
    const respond = (): Reply => ({ fault: { kind: 'http', status: 500, retryAfterSeconds: 0 } });
    await using desk = await openDesk(policyOf([{ ...WIDE, amountCents: 1 }]), { respond });
    const ask = askOf(major, desk, { maxOutputTokens: 250, maxRetries: 2 });
    const error = await thrownBy(() => major.generate(ask));
    expect(major.ai.RetryError.isInstance(error)).toBe(true);
    expect(error.lastError).toBeInstanceOf(AgentGuardBlockedError);
    expect(isBlocked(error)).toBe(true);
    expect(blockedError(error)).toBe(error.lastError);
    expect(desk.sim.requests).toHaveLength(1);
  });

  it('is not found where the provider itself fails', async () => {
    const respond = (): Reply => ({ fault: { kind: 'http', status: 402, message: 'Insufficient credits' } });
    await using desk = await openDesk(policyOf([WIDE]), { respond });
    const error = await thrownBy(() => major.generate(askOf(major, desk, { maxRetries: 0 })));
    expect(error.statusCode).toBe(402);
    expect(isBlocked(error)).toBe(false);
  });

  it('comes to onError and into the stream, and streamText does not throw', async () => {
    await using desk = await openDesk(policyOf([NOTHING]));
    const told: unknown[] = [];
    const more = { onError: ({ error }: Any) => told.push(error) };
    const result = major.stream(askOf(major, desk, { more }));
    const parts: Any[] = [];
    for await (const part of result.fullStream) parts.push(part);
    expect(told.filter(isBlocked)).toHaveLength(1);
    expect(parts.filter(({ type, error }) => type === 'error' && isBlocked(error))).toHaveLength(1);
    if (major.number === 4) return;
    // what its promises reject with says only that there is no output
    const error = await thrownBy(() => result.text);
    expect(major.ai.NoOutputGeneratedError.isInstance(error)).toBe(true);
  });

  it('is found under other errors that have it as their cause', async () => {
    await using desk = await openDesk(policyOf([NOTHING]));
    const blocked = await thrownBy(() => major.generate(askOf(major, desk)));
    const retry = new major.ai.RetryError({
      message: 'm',
      reason: 'maxRetriesExceeded',
      errors: [new Error('x'), blocked],
    });
    expect(isBlocked(retry)).toBe(true);
    expect(isBlocked(new Error('outer', { cause: new Error('inner', { cause: retry }) }))).toBe(true);
    expect(isBlocked(new AggregateError([new Error('x'), retry]))).toBe(true);
    const tool = major.ai.ToolExecutionError;
    if (tool !== undefined)
      expect(isBlocked(new tool({ cause: blocked, toolName: 't', toolArgs: {}, toolCallId: 'c' }))).toBe(
        true,
      );
    expect(isBlocked(new Error('x', { cause: 'blocked' }))).toBe(false);
  });

  it('is found where a tool calls a guarded model that refuses', async () => {
    const respond = (): Reply => ({ toolCalls: [{ name: 'look', arguments: { key: 'k' } }] });
    await using outer = await openDesk(policyOf([WIDE]), { respond });
    await using inner = await openDesk(policyOf([NOTHING]));
    const look = major.tool('Looks.', async () => (await major.generate(askOf(major, inner))).text);
    const call = (): Promise<Any> => major.generate(askOf(major, outer, { tools: { look } }));
    if (major.number === 4) return expect(isBlocked(await thrownBy(call))).toBe(true);
    const { content } = await call();
    expect(content.filter(({ type, error }: Any) => type === 'tool-error' && isBlocked(error))).toHaveLength(
      1,
    );
  });
});

it('is found where ai 7 opens a stream again', async () => {
  const major = MAJORS.at(-1) as Major;
  const respond = (): Reply => ({
    text: 'Far, far away.',
    chunks: 4,
    fault: { kind: 'error-chunk', afterChunks: 0 },
  });
  // the first stream fails and is taken at its hold, so the second is refused
  await using desk = await openDesk(policyOf([{ ...WIDE, amountCents: 1 }]), { respond });
  const told: unknown[] = [];
  const more = { streamRetries: 2, onError: ({ error }: Any) => void told.push(error) };
  const result = major.stream(askOf(major, desk, { maxOutputTokens: 250, maxRetries: 0, more }));
  const parts: Any[] = [];
  for await (const part of result.fullStream) parts.push(part);
  expect(told.some(isBlocked)).toBe(true);
  expect(parts.some(({ type, error }) => type === 'error' && isBlocked(error))).toBe(true);
  expect(desk.sim.requests).toHaveLength(1);
  expect(await desk.receipts('decision')).toMatchObject([{ decision: 'allow' }, { decision: 'block' }]);
  await expect.poll(() => desk.held()).toBe(0n);
});
