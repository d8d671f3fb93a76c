/** Model rules through LangChain, judged by what arrives at OpenRouter. */
import { describe, expect, it } from 'vitest';
import { guardModel, spendGuardHandler } from '../../callbacks/langchain.ts';
import { blockedError, withSpendScope, type ModelRule, type SpendPolicy } from '../../src/index.ts';
import { expectRecomputed } from '../recompute.ts';
import {
  caught,
  HAIKU,
  openai,
  openDesk,
  openrouter,
  policyOf,
  SONNET,
  WIDE,
  type Chat,
  type Desk,
} from './langchain-kit.ts';

const MINI = 'openai/gpt-5-mini';
const AUTO = 'openrouter/auto';

function ruled(rules: readonly ModelRule[]): SpendPolicy {
  return policyOf([WIDE], { rules });
}

/** The body that the provider got, or the reason why it got none. */
async function sent(desk: Desk, model: Chat, task = 'x', claims: string[] = []): Promise<unknown> {
  const before = desk.bodies().length;
  const answer = await caught(() => withSpendScope({ task }, () => model.invoke('Hello'), { claims }));
  expectRecomputed(await desk.log());
  const { thrown } = answer as { thrown?: unknown };
  const blocked = blockedError(thrown);
  expect(desk.bodies()).toHaveLength(blocked === undefined ? before + 1 : before);
  return blocked?.reason ?? desk.bodies().at(-1);
}

describe('a guarded model', () => {
  it.each([
    ['ChatOpenRouter', openrouter],
    ['ChatOpenAI', openai],
  ])('%s goes where a rule sends it, with the claims of the code around it', async (_name, make) => {
    const rules: ModelRule[] = [
      { when: { task: 'code-review' }, routeTo: HAIKU },
      { when: { task: 'pay' }, requires: 'payment_execute', models: SONNET },
    ];
    await using desk = await openDesk(ruled(rules));
    const model = guardModel(make(desk.sim.url), desk.guard);
    expect(await sent(desk, model, 'code-review')).toMatchObject({ model: HAIKU });
    expect(await sent(desk, model, 'pay')).toBe('capability_missing');
    expect(await sent(desk, model, 'pay', ['payment-execute'])).toBe('model_not_allowed');
    const sonnet = guardModel(make(desk.sim.url, { model: SONNET }), desk.guard);
    expect(await sent(desk, sonnet, 'pay', ['payment-execute'])).toMatchObject({ model: SONNET });
  });

  it('tells OpenRouter of its ceiling, and keeps what the model says of hosts', async () => {
    await using desk = await openDesk(ruled([{ maxPrice: { input: '1', output: '2' } }]));
    const provider = { order: ['x'], max_price: { prompt: 0.5 } };
    const model = guardModel(openrouter(desk.sim.url, { model: MINI, provider }), desk.guard);
    expect(await sent(desk, model)).toMatchObject({
      provider: { order: ['x'], max_price: { prompt: 0.5, completion: 2, request: 0 } },
    });
    const auto = guardModel(openrouter(desk.sim.url, { model: AUTO }), desk.guard);
    expect(await sent(desk, auto)).toMatchObject({
      model: AUTO,
      provider: { max_price: { prompt: 1, completion: 2, request: 0 } },
    });
  });

  it('has no auto router where OpenRouter can’t be told, or without a ceiling', async () => {
    await using desk = await openDesk(ruled([{ maxPrice: '5' }]));
    expect(await sent(desk, guardModel(openai(desk.sim.url, { model: AUTO }), desk.guard))).toBe(
      'price_ceiling',
    );
    await using open = await openDesk(ruled([]));
    expect(await sent(open, guardModel(openrouter(open.sim.url, { model: AUTO }), open.guard))).toBe(
      'unknown_price',
    );
  });
});

it('a bare handler blocks what it can’t send elsewhere, and the auto router', async () => {
  await using desk = await openDesk(
    ruled([{ when: { task: 'code-review' }, routeTo: HAIKU }, { maxPrice: '25' }]),
  );
  const handled = (more = {}): Chat =>
    openrouter(desk.sim.url, { ...more, callbacks: [spendGuardHandler(desk.guard)] });
  expect(await sent(desk, handled(), 'code-review')).toBe('no_route');
  expect(await sent(desk, handled({ model: AUTO }))).toBe('price_ceiling');
});
