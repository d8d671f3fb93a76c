/** The cells of the matrix: what must hold in every framework, judged by the HTTP body and the simulator's bill. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isBlocked } from '../../src/index.ts';
import type { Reply, SimulatedRequest } from '../../src/node/simulator/index.ts';
import { HAIKU, ladder, OPUS, openDesk, policyOf, WIDE, type Desk } from '../middleware/ai-sdk-kit.ts';
import type { Drive, Driver } from './driver.ts';

/** Two looks, then an answer: three steps. */
function lookTwice({ messages }: SimulatedRequest): Reply {
  const looks = messages.filter((message) => (message as { role?: string }).role === 'tool').length;
  if (looks < 2) return { toolCalls: [{ name: 'look', arguments: { key: `k${looks}` } }], outputTokens: 20 };
  return { text: 'Found both.', outputTokens: 7 };
}

const LONG: Reply = { outputTokens: 400, chunks: 200, chunkDelayMs: 2 };

/** Runs every cell for one driver. */
export function matrixOf(driver: Driver): void {
  describe(driver.name, () => {
    let desk: Desk;
    let reply: (request: SimulatedRequest) => Reply;

    async function open(...caps: Parameters<typeof policyOf>[0]): Promise<void> {
      desk = await openDesk(policyOf(caps), { respond: (request) => reply(request) });
    }

    function drive(more: Partial<Drive> = {}): Drive {
      const { guard, sim } = desk;
      const base = { guard, baseUrl: sim.url, model: OPUS, ladder: [HAIKU], maxOutputTokens: 500 };
      return { ...base, prompt: 'How far is the moon?', ...more };
    }

    /** Everything has ended, and what was settled is what was billed. */
    async function balanced(): Promise<void> {
      await desk.sim.idle();
      expect(await desk.held()).toBe(0n);
      expect(await desk.spent()).toBe(desk.sim.billed);
    }

    beforeEach(() => {
      reply = () => ({ text: 'Far, far away.', outputTokens: 30 });
    });

    afterEach(() => desk[Symbol.asyncDispose]());

    it('allow: the call is sent as it was made, and settled at the bill', async () => {
      await open(WIDE);
      expect(await driver.generate(drive())).toContain('Far, far away.');
      expect(desk.bodies()).toHaveLength(1);
      expect(desk.bodies()[0]).toMatchObject({ model: OPUS });
      expect(await desk.receipts('decision')).toMatchObject([{ decision: 'allow', route: { model: OPUS } }]);
      expect(await desk.receipts('settlement')).toMatchObject([
        {
          outcome: 'ok',
          cost: { source: driver.differs?.cost?.includes('generate') ? 'tokens' : 'provider' },
        },
      ]);
      expect(desk.sim.billed).toBeGreaterThan(0n);
      await balanced();
    });

    it('downgrade: the request names the cheaper model and no other', async () => {
      await open(WIDE, ladder(HAIKU));
      const call = driver.generate(drive());
      if (driver.differs?.downgrade === 'block') {
        await expect(call).rejects.toSatisfy(isBlocked);
        expect(desk.sim.requests).toHaveLength(0);
        expect(await desk.receipts('decision')).toMatchObject([{ decision: 'block', reason: 'no_route' }]);
        return;
      }
      expect(await call).toContain('Far, far away.');
      expect(desk.bodies()).toHaveLength(1);
      expect(desk.bodies()[0]).toMatchObject({ model: HAIKU });
      expect(desk.bodies()[0]?.['models'] ?? []).toEqual([]);
      expect(desk.sim.bill()).toMatchObject([{ model: HAIKU }]);
      expect(await desk.receipts('decision')).toMatchObject([
        { decision: 'downgrade', route: { model: HAIKU } },
      ]);
      await balanced();
    });

    it('block: nothing leaves, and the error is ours', async () => {
      await open({ amountCents: 0, window: 'total', action: 'block' });
      await expect(driver.generate(drive())).rejects.toSatisfy(isBlocked);
      expect(desk.sim.requests).toHaveLength(0);
      expect(desk.sim.billed).toBe(0n);
      expect(await desk.receipts('decision')).toMatchObject([{ decision: 'block', reason: 'cap_spent' }]);
    });

    it('stream: settled at the bill, from what the stream reported', async () => {
      await open(WIDE);
      expect(await driver.stream(drive())).toContain('Far, far away.');
      expect(desk.bodies()).toMatchObject([{ model: OPUS, stream: true }]);
      const [settlement] = await desk.receipts('settlement');
      expect(settlement).toMatchObject({ outcome: 'ok', usage: { output_tokens: 30 } });
      await balanced();
    });

    it('stream that is refused: nothing leaves', async () => {
      await open({ amountCents: 0, window: 'total', action: 'block' });
      await expect(driver.stream(drive())).rejects.toSatisfy(isBlocked);
      expect(desk.sim.requests).toHaveLength(0);
    });

    it('abort mid-stream: settled once, never below the bill', async () => {
      await open(WIDE);
      reply = () => LONG;
      await driver.abortStream(drive());
      await desk.sim.idle();
      await expect.poll(() => desk.receipts('settlement'), { timeout: 20_000 }).toHaveLength(1);
      expect(await desk.held()).toBe(0n);
      expect(desk.sim.bill()).toHaveLength(1);
      expect(await desk.spent()).toBeGreaterThanOrEqual(desk.sim.billed);
      const [settlement] = await desk.receipts('settlement');
      expect(settlement).toMatchObject({
        outcome: expect.stringMatching(/aborted|abandoned|error/) as string,
      });
      expect(settlement?.cost.source).not.toBe('none');
    });

    it('tool loop of three steps: three calls, each decided and settled', async () => {
      await open(WIDE);
      reply = lookTwice;
      expect(await driver.agent(drive())).toContain('Found both.');
      expect(desk.bodies()).toHaveLength(3);
      expect(await desk.receipts('decision')).toHaveLength(3);
      expect(await desk.receipts('settlement')).toHaveLength(3);
      await balanced();
    });

    it('tool loop under a cap that ends it: what was paid is settled, the rest never leaves', async () => {
      await open(WIDE, { amountCents: 1, window: 'total', action: 'block' });
      reply = (request) => ({ ...lookTwice(request), outputTokens: 100 });
      await expect(driver.agent(drive({ maxOutputTokens: 100 }))).rejects.toSatisfy(isBlocked);
      const sent = desk.bodies().length;
      expect(sent).toBeGreaterThan(0);
      expect(sent).toBeLessThan(3);
      await balanced();
    });

    for (const kind of ['generate', 'stream'] as const) {
      it(`provider fallback served (${kind}): receipted as a fallback, at its own price`, async () => {
        await open(WIDE);
        reply = () => ({ text: 'Far, far away.', outputTokens: 30, servedModel: HAIKU });
        await driver[kind](drive({ fallbacks: [HAIKU] }));
        expect(desk.bodies()[0]?.['models']).toContain(HAIKU);
        const [settlement] = await desk.receipts('settlement');
        if (driver.differs?.servedModel?.includes(kind)) expect(settlement?.served?.model).toBeUndefined();
        else expect(settlement?.served).toMatchObject({ fallback: true, model: HAIKU });
        expect(desk.sim.bill()).toMatchObject([{ model: HAIKU }]);
        await balanced();
      });
    }
  });
}
