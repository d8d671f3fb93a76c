/** Refusals as HTTP responses, in every major: before the first token a 402, in mid-loop a text for `useChat`. */
import { describe, expect, it } from 'vitest';
import { spendErrorText, spendGuard, toGuardedResponse } from '../../middleware/ai-sdk.ts';
import { AgentGuardBlockedError } from '../../src/index.ts';
import type { Reply, SimulatedRequest } from '../../src/node/simulator/index.ts';
import { MAJORS, type Any, type Ask, type Major } from '../majors/major.ts';
import { openDesk, OPUS, policyOf, WIDE, type Desk } from './ai-sdk-kit.ts';

/** Room for nothing once most of it is spent. */
const DAY = { amountCents: 1, window: 'per_day', action: 'block', reason: 'trial' } as const;

function look({ messages }: SimulatedRequest): Reply {
  const looks = messages.filter((message) => (message as { role?: string }).role === 'tool').length;
  return looks < 2
    ? {
        text: 'Let me see.',
        toolCalls: [{ name: 'look', arguments: { key: `k${looks}` } }],
        outputTokens: 100,
      }
    : { text: 'Found both.' };
}

function streamOf(major: Major, desk: Desk, more: Partial<Ask> = {}): Any {
  const model = major.wrap(major.openrouter({ url: desk.sim.url }, OPUS), spendGuard(desk.guard));
  const onError = (): void => {};
  return major.stream({
    model,
    prompt: 'How far?',
    maxOutputTokens: 100,
    maxRetries: 0,
    more: { onError },
    ...more,
  });
}

/** The response without the guard's part in it. */
function plain(major: Major, result: Any, options?: object): Response {
  return major.number === 4
    ? result.toDataStreamResponse(options)
    : result.toUIMessageStreamResponse(options);
}

const ids = (text: string): string =>
  text.replaceAll(/"(messageId|id)":"[^"]*"/g, '"$1":"id"').replaceAll(/gen-[\w-]+/g, 'gen');

describe.each(MAJORS)('$name', (major) => {
  it('answers 402 where a stream is refused before its first token', async () => {
    await using desk = await openDesk(policyOf([DAY]));
    await desk.guard.charge({ label: 'a search', usd: '0.0099' });
    const response = await toGuardedResponse(streamOf(major, desk));
    expect(response.status).toBe(402);
    expect(response.headers.get('content-type')).toContain('application/json');
    expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0);
    const body = (await response.json()) as Record<string, unknown>;
    expect(body).toMatchObject({
      code: 'AGENTGUARD_BLOCKED',
      reason: 'cap_spent',
      cap: { policyId: 'test', window: 'per_day', reason: 'trial' },
    });
    expect(Object.keys(body['cap'] as object).toSorted()).toEqual(['policyId', 'reason', 'window']);
    expect(JSON.stringify(body)).not.toMatch(/\$|nano|opus/i);
    expect(desk.sim.requests).toHaveLength(0);
  });

  it('gives the response that the result itself gives where nothing is refused', async () => {
    await using desk = await openDesk(policyOf([WIDE]), {
      respond: () => ({ text: 'Far, far away.', chunks: 4 }),
    });
    const options = { headers: { 'x-mine': 'yes' }, status: 201 };
    const guarded = await toGuardedResponse(streamOf(major, desk), options as never);
    const bare = plain(major, streamOf(major, desk), options);
    expect(guarded.status).toBe(201);
    expect([...guarded.headers]).toEqual([...bare.headers]);
    const text = await guarded.text();
    expect(text).toContain('Far');
    expect(ids(text)).toBe(ids(await bare.text()));
  });

  it('tells a refusal in the middle of an agent loop in the stream', async () => {
    await using desk = await openDesk(
      policyOf([WIDE, { amountCents: 1, window: 'total', action: 'block' }]),
      { respond: look },
    );
    const response = await toGuardedResponse(
      streamOf(major, desk, { tools: { look: major.look }, steps: 5 }),
    );
    expect(response.status).toBe(200);
    const text = await response.text();
    expect(text).toContain('Let me see.');
    expect(text).toContain(JSON.stringify('cap_spent').slice(1, -1));
    expect(text).not.toContain('An error occurred');
    const told = text.split('\n').find((line) => line.includes('AGENTGUARD_BLOCKED')) as string;
    const chunk = major.number === 4 ? JSON.parse(told.slice(2)) : JSON.parse(told.slice(5)).errorText;
    expect(JSON.parse(chunk as string)).toMatchObject({ reason: 'cap_spent', cap: { window: 'total' } });
    await desk.sim.idle();
    expect(await desk.held()).toBe(0n);
  });

  it('leaves other errors to the framework', async () => {
    const respond = (): Reply => ({ fault: { kind: 'http', status: 500 } });
    await using desk = await openDesk(policyOf([WIDE]), { respond });
    const guarded = await toGuardedResponse(streamOf(major, desk));
    expect(guarded.status).toBe(200);
    expect(ids(await guarded.text())).toBe(ids(await plain(major, streamOf(major, desk)).text()));
  });

  it("uses the caller's own text for errors", async () => {
    await using desk = await openDesk(
      policyOf([WIDE, { amountCents: 1, window: 'total', action: 'block' }]),
      { respond: look },
    );
    const onError = (): string => 'mine';
    const options = { [major.number === 4 ? 'getErrorMessage' : 'onError']: onError } as never;
    const result = streamOf(major, desk, { tools: { look: major.look }, steps: 5 });
    const text = await (await toGuardedResponse(result, options)).text();
    expect(text).toContain('"mine"');
    expect(text).not.toContain('AGENTGUARD');
  });

  it('settles a client that hangs up', async () => {
    await using desk = await openDesk(policyOf([WIDE]), {
      respond: () => ({ outputTokens: 200, chunks: 100, chunkDelayMs: 2 }),
    });
    const response = await toGuardedResponse(streamOf(major, desk));
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    await reader.read();
    await reader.cancel();
    await expect.poll(() => desk.receipts('settlement'), { timeout: 20_000 }).toHaveLength(1);
    await desk.sim.idle();
    expect(await desk.held()).toBe(0n);
    expect(await desk.spent()).toBeGreaterThanOrEqual(desk.sim.billed);
  });
});

describe('spendErrorText', () => {
  it('shows a refusal, also inside other errors, and hides the rest', () => {
    const message = 'openai/gpt-5 was blocked: $3.00 of $2.00';
    const refusal = new AgentGuardBlockedError({ reason: 'cap_held', message, model: 'openai/gpt-5' });
    expect(JSON.parse(spendErrorText(new Error('outer', { cause: refusal })))).toEqual({
      name: 'AgentGuardBlockedError',
      code: 'AGENTGUARD_BLOCKED',
      reason: 'cap_held',
      message: 'This request was stopped by a spending policy.',
    });
    expect(spendErrorText(new Error('secret'))).toBe('An error occurred.');
  });

  it('is not given something that is no stream', async () => {
    await expect(toGuardedResponse(Promise.resolve() as never)).rejects.toThrow('once it is awaited');
    await expect(toGuardedResponse(undefined as never)).rejects.toThrow(TypeError);
  });

  it('is in the stream where the answer had begun, however early the refusal is known', async () => {
    const refusal = new AgentGuardBlockedError({ reason: 'cap_spent', message: 'm', model: 'm' });
    const result = {
      toUIMessageStreamResponse({ onError }: { onError: (error: unknown) => string }): Response {
        // buffers on the way may hold the answer back
        const chunk = { type: 'error', errorText: onError(refusal) };
        const chunks = [{ type: 'start' }, { type: 'text-delta', delta: 'Hi' }, chunk];
        return new Response(chunks.map((each) => `data: ${JSON.stringify(each)}\n\n`).join(''));
      },
    };
    const response = await toGuardedResponse(result as never);
    expect(response.status).toBe(200);
    expect(await response.text()).toContain('AGENTGUARD_BLOCKED');
  });

  it('is found where a chunk comes in pieces', async () => {
    const refusal = new AgentGuardBlockedError({ reason: 'cap_spent', message: 'm', model: 'm' });
    const result = {
      toUIMessageStreamResponse({ onError }: { onError: (error: unknown) => string }): Response {
        const chunks = [
          { type: 'start', messageId: 'grüße' },
          { type: 'error', errorText: onError(refusal) },
        ];
        const bytes = new TextEncoder().encode(
          chunks.map((each) => `data: ${JSON.stringify(each)}\n\n`).join(''),
        );
        const body = new ReadableStream<Uint8Array>({
          start(controller) {
            for (const byte of bytes) controller.enqueue(Uint8Array.of(byte));
            controller.close();
          },
        });
        return new Response(body);
      },
    };
    const response = await toGuardedResponse(result as never);
    expect(response.status).toBe(402);
    expect(await response.json()).toMatchObject({ reason: 'cap_spent' });
  });
});
