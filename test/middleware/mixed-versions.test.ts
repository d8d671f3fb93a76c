/** A model of one version inside another major, and providers whose requests need a second look. */
import { describe, expect, it } from 'vitest';
import { spendGuard } from '../../middleware/ai-sdk.ts';
import { blockedError } from '../../src/index.ts';
import { AI_5, AI_6, AI_7, MAJORS, type Any, type Major } from '../majors/major.ts';
import { HAIKU, ladder, openDesk, OPUS, policyOf, SONNET, WIDE, type Desk } from './ai-sdk-kit.ts';

const base = { prompt: 'How far?', maxOutputTokens: 200, maxRetries: 0 };
const respond = (): object => ({
  text: 'Far, far away.',
  outputTokens: 30,
  inputTokens: 900,
  cacheReadTokens: 500,
});

describe.each<[string, Major, Major]>([
  ['a model of 5 in 6', AI_6, AI_5],
  ['a model of 5 in 7', AI_7, AI_5],
  ['a model of 6 in 7', AI_7, AI_6],
])('%s', (_name, major, older) => {
  const wrap = (model: unknown, desk: Desk): unknown => major.wrap(model, spendGuard(desk.guard));

  it.each(['generate', 'stream'] as const)('is settled at the bill: %s', async (kind) => {
    for (const make of [older.openrouter, older.anthropic, older.compatible]) {
      await using desk = await openDesk(policyOf([WIDE]), { respond });
      const id = make === older.anthropic ? 'claude-opus-4-7' : OPUS;
      const model = wrap(make({ url: desk.sim.url }, id), desk);
      if (kind === 'generate') await major.generate({ ...base, model });
      else await major.stream({ ...base, model }).consumeStream();
      await desk.sim.idle();
      expect(desk.sim.billed).toBeGreaterThan(0n);
      expect(await desk.spent()).toBe(desk.sim.billed);
    }
  });

  it('is downgraded by OpenRouter’s option', async () => {
    await using desk = await openDesk(policyOf([WIDE, ladder(HAIKU)]), { respond });
    const model = wrap(older.openrouter({ url: desk.sim.url }, OPUS, { models: [SONNET] }), desk);
    await major.generate({ ...base, model });
    await major.stream({ ...base, model }).consumeStream();
    expect(desk.bodies()).toMatchObject([{ model: HAIKU }, { model: HAIKU }]);
    for (const body of desk.bodies()) expect(body['models'] ?? []).toEqual([]);
    await desk.sim.idle();
    expect(await desk.spent()).toBe(desk.sim.billed);
  });

  it('is never sent to the big model when a copy can’t be had', async () => {
    await using desk = await openDesk(policyOf([WIDE, ladder('claude-haiku-4-5')]), { respond });
    const model = wrap(older.anthropic({ url: desk.sim.url }, 'claude-opus-4-7'), desk);
    const thrown = await major.generate({ ...base, model }).catch((error: unknown) => error);
    if (desk.sim.requests.length === 0) expect(blockedError(thrown)).toMatchObject({ reason: 'no_route' });
    else expect(desk.bodies()).toMatchObject([{ model: 'claude-haiku-4-5' }]);
  });
});

describe.each(MAJORS)('$name', (major) => {
  it.each<[string, object, number | undefined]>([
    ['no thinking', {}, 300],
    ['a budget', { thinking: { type: 'enabled', budgetTokens: 1500 } }, 300],
    ['a budget and no limit', { thinking: { type: 'enabled', budgetTokens: 1500 } }, undefined],
    ['no limit', {}, undefined],
  ])(
    'Anthropic: what is sent is never above what was decided: %s',
    async (_name, anthropic, maxOutputTokens) => {
      await using desk = await openDesk(policyOf([WIDE], { maxOutputTokens: 4000 }), {
        respond: () => ({ outputTokens: 9000 }),
      });
      const model = major.wrap(
        major.anthropic({ url: desk.sim.url }, 'claude-haiku-4-5'),
        spendGuard(desk.guard),
      );
      const ask = { prompt: 'x', maxRetries: 0, model, providerOptions: { anthropic } };
      await major.generate(maxOutputTokens === undefined ? ask : { ...ask, maxOutputTokens });
      const [decision] = await desk.receipts('decision');
      const sent = (desk.bodies()[0] as Any).max_tokens as number;
      expect((decision as Any).route.max_output_tokens).toBe(sent);
      if (maxOutputTokens !== undefined)
        expect(sent).toBe(maxOutputTokens + ('thinking' in anthropic ? 1500 : 0));
      await desk.sim.idle();
      expect(await desk.spent()).toBe(desk.sim.billed);
      expect(desk.sim.billed).toBeLessThanOrEqual(BigInt((decision as Any).hold as string));
    },
  );

  it('resolveModel carries a call to another provider', async () => {
    await using desk = await openDesk(policyOf([WIDE, ladder('openai/gpt-5-nano')]), { respond });
    const resolveModel = (id: string): Any => major.openrouter({ url: desk.sim.url }, id);
    const bare = major.anthropic({ url: desk.sim.url }, 'claude-opus-4-7');
    const model = major.wrap(bare, spendGuard(desk.guard, { resolveModel }));
    await major.generate({ ...base, model });
    await major.stream({ ...base, model }).consumeStream();
    const paths = desk.sim.requests.map(({ path, body }) => [path.split('/').pop(), (body as Any).model]);
    expect(paths).toEqual([
      ['completions', 'openai/gpt-5-nano'],
      ['completions', 'openai/gpt-5-nano'],
    ]);
    await desk.sim.idle();
    expect(await desk.spent()).toBe(desk.sim.billed);
  });

  it('a model inside another wrapper can’t be sent elsewhere for certain, but OpenRouter’s can', async () => {
    await using desk = await openDesk(policyOf([WIDE, ladder(HAIKU)]), { respond });
    const inner = major.wrap(major.openrouter({ url: desk.sim.url }, OPUS, { models: [SONNET] }), {});
    await major.generate({ ...base, model: major.wrap(inner, spendGuard(desk.guard)) });
    expect(desk.bodies()).toMatchObject([{ model: HAIKU }]);
    // written out, since the wrapper might fill in a list of its own
    const named = (desk.bodies()[0]?.['models'] ?? []) as string[];
    expect(named.filter((id) => id !== HAIKU)).toEqual([]);
    await using other = await openDesk(policyOf([WIDE, ladder('claude-haiku-4-5')]), { respond });
    const wrapped = major.wrap(major.anthropic({ url: other.sim.url }, 'claude-opus-4-7'), {});
    const model = major.wrap(wrapped, spendGuard(other.guard));
    const thrown = await major.generate({ ...base, model }).catch((error: unknown) => error);
    expect(blockedError(thrown)).toMatchObject({ reason: 'no_route' });
    expect(other.sim.requests).toHaveLength(0);
  });
});
