/** The ways to a model that don't go through `wrapLanguageModel`: names, providers, registries, agents; and the holes. */
import { afterEach, describe, expect, it } from 'vitest';
import { spendGuard, spendOptions } from '../../middleware/ai-sdk.ts';
import { isBlocked } from '../../src/index.ts';
import type { Reply } from '../../src/node/simulator/index.ts';
import { AI_4, MAJORS, type Any, type Major } from '../majors/major.ts';
import { HAIKU, ladder, OPUS, openDesk, policyOf, WIDE, type Desk } from './ai-sdk-kit.ts';

const holder = globalThis as { AI_SDK_DEFAULT_PROVIDER?: unknown };

/** OpenRouter's provider at the simulator, with everything that it makes. */
const providerOf = (major: Major, desk: Desk): Any => major.openrouterProvider({ url: desk.sim.url });

const wrapped = (major: Major, desk: Desk): Any =>
  major.ai.wrapProvider({
    provider: providerOf(major, desk),
    languageModelMiddleware: spendGuard(desk.guard),
  });

const base = { prompt: 'How far?', maxOutputTokens: 100, maxRetries: 0 };

afterEach(() => {
  delete holder.AI_SDK_DEFAULT_PROVIDER;
});

describe.each(MAJORS.filter(({ number }) => number > 4))('$name', (major) => {
  async function expectGuarded(model: (desk: Desk) => unknown): Promise<void> {
    await using desk = await openDesk(policyOf([WIDE, ladder(HAIKU)]));
    await major.generate({ ...base, model: await model(desk) });
    expect(desk.bodies()).toMatchObject([{ model: HAIKU }]);
    // once: nothing on the way is guarded twice
    expect(await desk.receipts('decision')).toMatchObject([{ decision: 'downgrade' }]);
    await desk.sim.idle();
    expect(await desk.spent()).toBe(desk.sim.billed);
    await using broke = await openDesk(policyOf([{ amountCents: 0, window: 'total', action: 'block' }]));
    await expect(major.generate({ ...base, model: await model(broke) })).rejects.toSatisfy(isBlocked);
    expect(broke.sim.requests).toHaveLength(0);
  }

  it('a provider: wrapProvider', () =>
    expectGuarded(async (desk) => wrapped(major, desk).languageModel(OPUS)));

  it('a name: AI_SDK_DEFAULT_PROVIDER', () =>
    expectGuarded(async (desk) => {
      holder.AI_SDK_DEFAULT_PROVIDER = wrapped(major, desk);
      return OPUS;
    }));

  it('a registry of wrapped providers', () =>
    expectGuarded(async (desk) =>
      major.ai.createProviderRegistry({ or: wrapped(major, desk) }).languageModel(`or:${OPUS}`),
    ));

  it('a registry with the middleware', () =>
    expectGuarded(async (desk) =>
      major.ai
        .createProviderRegistry(
          { or: providerOf(major, desk) },
          { languageModelMiddleware: spendGuard(desk.guard) },
        )
        .languageModel(`or:${OPUS}`),
    ));

  it('a custom provider', () =>
    expectGuarded(async (desk) => {
      const fallbackProvider = wrapped(major, desk);
      return major.ai.customProvider({ languageModels: {}, fallbackProvider }).languageModel(OPUS);
    }));

  it('an agent, whole and streamed', async () => {
    await using desk = await openDesk(policyOf([WIDE, ladder(HAIKU)]));
    const Agent = major.ai.ToolLoopAgent ?? major.ai.Experimental_Agent;
    const model = wrapped(major, desk).languageModel(OPUS);
    const agent = new Agent({ model, maxOutputTokens: 100, maxRetries: 0 });
    await agent.generate({ prompt: 'How far?' });
    await (await agent.stream({ prompt: 'How far?' })).consumeStream();
    expect(desk.bodies()).toMatchObject([{ model: HAIKU }, { model: HAIKU, stream: true }]);
    await desk.sim.idle();
    expect(await desk.spent()).toBe(desk.sim.billed);
  });

  it('a name that goes to the AI Gateway, with the scope of the call kept here', async () => {
    await using desk = await openDesk(policyOf([WIDE, ladder(HAIKU)]));
    const gateway = major.ai.createGateway({ apiKey: 'k', baseURL: `${desk.sim.origin}/v3/ai` });
    const middleware = spendGuard(desk.guard);
    holder.AI_SDK_DEFAULT_PROVIDER = major.ai.wrapProvider({
      provider: gateway,
      languageModelMiddleware: middleware,
    });
    const scope = { userId: 'user-secret-7' };
    await major.generate({ ...base, model: OPUS, providerOptions: spendOptions({ scope }) });
    const [request] = desk.sim.requests;
    expect(request?.headers['ai-language-model-id']).toBe(HAIKU);
    expect(`${request?.bodyText}${JSON.stringify(request?.headers)}`).not.toMatch(/secret-7|spendGuard/);
    expect(await desk.receipts('decision')).toMatchObject([{ decision: 'downgrade', scope }]);
    await desk.sim.idle();
    expect(await desk.spent()).toBe(desk.sim.billed);
  });

  it('an agent whose prepareCall or prepareStep names the scope', async () => {
    if (major.number === 5) return; // has neither for options
    await using desk = await openDesk(policyOf([WIDE]));
    const model = wrapped(major, desk).languageModel(OPUS);
    const named = (userId: string): object => ({ providerOptions: spendOptions({ scope: { userId } }) });
    const byCall = new major.ai.ToolLoopAgent({
      model,
      maxOutputTokens: 100,
      prepareCall: (call: object) => ({ ...call, ...named('ada') }),
    });
    const byStep = new major.ai.ToolLoopAgent({
      model,
      maxOutputTokens: 100,
      prepareStep: () => named('bob'),
    });
    await byCall.generate({ prompt: 'x' });
    await byStep.generate({ prompt: 'x' });
    expect(await desk.receipts('decision')).toMatchObject([
      { scope: { userId: 'ada' } },
      { scope: { userId: 'bob' } },
    ]);
  });

  it('hole: a model of prepareStep that is not guarded is not seen', async () => {
    const respond = ({ messages }: { messages: readonly unknown[] }): Reply =>
      messages.length < 3 ? { toolCalls: [{ name: 'look', arguments: { key: 'k' } }] } : { text: 'Done.' };
    await using desk = await openDesk(policyOf([WIDE]), { respond });
    const bare = providerOf(major, desk)(OPUS);
    const model = major.wrap(bare, spendGuard(desk.guard));
    const prepareStep = ({ stepNumber }: Any): object => ({ model: stepNumber === 0 ? model : bare });
    await major.generate({ ...base, model, tools: { look: major.look }, steps: 3, more: { prepareStep } });
    expect(desk.bodies()).toHaveLength(2);
    expect(await desk.receipts('decision')).toHaveLength(1);
  });
});

it('ai 4 has no names for models', async () => {
  await expect(AI_4.generate({ ...base, model: OPUS })).rejects.toThrow();
});
