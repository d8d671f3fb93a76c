/** A stream that is aborted, through the AI SDK: settled high at once, at the bill soon after. */
import { streamText } from 'ai';
import { expect, it } from 'vitest';
import { openRouterGenerations } from '../../src/index.ts';
import { HAIKU, openDesk, policyOf, WIDE } from './ai-sdk-kit.ts';

it.each([false, true])('an aborted stream costs what was billed in the end (own key: %s)', async (isByok) => {
  const kept: Promise<unknown>[] = [];
  const settings = { url: '' };
  await using desk = await openDesk(
    policyOf([WIDE]),
    { respond: () => ({ outputTokens: 2000, chunks: 100, chunkDelayMs: 5, isByok }) },
    {
      waitUntil: (work) => kept.push(work),
      lateTruth: {
        lookUp: (ref, signal) =>
          openRouterGenerations({ apiKey: 'sk-or-test', baseURL: settings.url }).lookUp(ref, signal),
      },
    },
  );
  settings.url = desk.sim.url;
  const abort = new AbortController();
  const result = streamText({
    model: desk.model(HAIKU),
    prompt: 'A long story.',
    maxOutputTokens: 5000,
    abortSignal: abort.signal,
    onError: () => undefined,
  });
  let seen = 0;
  for await (const part of result.fullStream)
    if (part.type === 'text-delta' && (seen += 1) === 3) abort.abort();
  await desk.sim.idle();
  const [settlement] = await desk.receipts('settlement');
  expect(settlement).toMatchObject({
    outcome: 'aborted',
    cost: { source: 'hold' },
    provider_ref: expect.stringMatching(/^gen-/),
  });
  expect(await desk.spent()).toBeGreaterThan(desk.sim.billed);

  await Promise.all(kept);
  const [adjustment] = await desk.receipts('adjustment');
  expect(adjustment).toMatchObject({
    call: settlement?.call,
    cost: { amount: desk.sim.billed.toString(), source: 'provider' },
  });
  expect(adjustment?.cost.byok).toBe(isByok ? true : undefined);
  expect(await desk.spent()).toBe(desk.sim.billed);
  expect(desk.events.filter(({ type }) => type === 'adjustment')).toHaveLength(1);
});
