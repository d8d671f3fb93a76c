/** Model rules through the OpenAI client, judged by what arrives at OpenRouter. */
import { describe, expect, it } from 'vitest';
import { blockedError, withSpendScope, type ModelRule, type SpendPolicy } from '../../src/index.ts';
import { expectRecomputed } from '../recompute.ts';
import { HAIKU, ladder, openDesk, OPUS, policyOf, SONNET, WIDE, type Desk } from './ai-sdk-kit.ts';
import { guardedClient, MAJORS, type Client } from './openai-kit.ts';

const MINI = 'openai/gpt-5-mini';
const CHEAP = 'openai/gpt-oss-120b';
const AUTO = 'openrouter/auto';

function ruled(rules: readonly ModelRule[], more: Partial<SpendPolicy> = {}): SpendPolicy {
  return policyOf([WIDE], { rules, ...more });
}

/** The body that the provider got, or the reason why it got none. */
async function sent(
  desk: Desk,
  client: Client,
  body: object,
  task = 'x',
  claims: string[] = [],
): Promise<unknown> {
  const before = desk.bodies().length;
  const messages = [{ role: 'user' as const, content: 'How many cents are in a dollar?' }];
  const ask = () => client.chat.completions.create({ model: OPUS, messages, max_tokens: 50, ...body });
  try {
    await withSpendScope({ task }, ask, { claims });
  } catch (error) {
    const blocked = blockedError(error);
    if (blocked === undefined) throw error;
    expect(desk.bodies()).toHaveLength(before);
    return blocked.reason;
  } finally {
    expectRecomputed(await desk.log());
  }
  expect(desk.bodies()).toHaveLength(before + 1);
  return desk.bodies().at(-1);
}

describe.each(MAJORS)('$name', (major) => {
  it('goes where a rule sends it, with the claims of the code around it', async () => {
    await using desk = await openDesk(
      ruled([
        { when: { task: 'code-review' }, routeTo: HAIKU },
        { when: { task: 'research' }, requires: 'read_only', maxPrice: '0.20' },
      ]),
    );
    const client = guardedClient(major, desk);
    expect(await sent(desk, client, { models: [SONNET] }, 'code-review')).toMatchObject({ model: HAIKU });
    expect(desk.bodies().at(-1)).not.toHaveProperty('models');
    expect(await sent(desk, client, { model: CHEAP }, 'research')).toBe('capability_missing');
    expect(await sent(desk, client, { model: MINI }, 'research', ['data-write'])).toBe('price_ceiling');
    expect(await sent(desk, client, { model: CHEAP }, 'research', ['data-write'])).toMatchObject({
      model: CHEAP,
      provider: { max_price: { prompt: 0.2, completion: 0.2, request: 0 } },
    });
    expect(await sent(desk, client, {})).not.toHaveProperty('provider');
  });

  it('tells OpenRouter of its ceiling, and keeps a lower one', async () => {
    await using desk = await openDesk(ruled([{ maxPrice: { input: '1', output: '2' } }]));
    const client = guardedClient(major, desk);
    const provider = { order: ['x'], max_price: { prompt: '0.5', completion: 3 } };
    expect(await sent(desk, client, { model: AUTO, provider })).toMatchObject({
      model: AUTO,
      provider: { order: ['x'], max_price: { prompt: '0.5', completion: 2, request: 0 } },
    });
    expect(await sent(desk, client, { model: MINI, models: [OPUS] })).toBe('price_ceiling');
    expect(await sent(desk, client, { model: `${MINI}:nitro` })).toBe('unknown_price');
  });

  it('without a ceiling has no auto router, nor where it isn’t known to be OpenRouter', async () => {
    await using desk = await openDesk(ruled([]));
    expect(await sent(desk, guardedClient(major, desk), { model: AUTO })).toBe('unknown_price');
    await using priced = await openDesk(ruled([{ maxPrice: '5' }]));
    const elsewhere = guardedClient(major, priced, {}, {});
    expect(await sent(priced, elsewhere, { model: AUTO })).toBe('price_ceiling');
  });

  it('says what the call needs of a model', async () => {
    await using desk = await openDesk(policyOf([WIDE, ladder(HAIKU)]));
    const tools = [{ type: 'function', function: { name: 'f', parameters: { type: 'object' } } }];
    const format = { type: 'json_schema', json_schema: { name: 's', schema: { type: 'object' } } };
    await sent(desk, guardedClient(major, desk), { tools, response_format: format, reasoning_effort: 'low' });
    const [decision] = await desk.receipts('decision');
    expect(decision?.request.features?.toSorted()).toEqual(['reasoning', 'schema', 'tools']);
  });

  it('blocks what isn’t a model’s work under a ceiling', async () => {
    await using desk = await openDesk(policyOf([], { rules: [{ maxPrice: '1' }] }));
    const client = guardedClient(major, desk);
    const error: unknown = await client.post('/audio/speech', { body: { model: 'tts-1', input: 'x' } }).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(blockedError(error)?.reason).toMatch(/price_ceiling|unknown_price/);
    expect(desk.bodies()).toEqual([]);
  });
});
