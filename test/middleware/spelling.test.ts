/** Options that only some releases of a client read: what was decided on is what is sent, by each of them. */
import { expect, describe, it } from 'vitest';
import { createOpenAICompatible as compatible4 } from '../frameworks/ai-4/index.ts';
import { createOpenAICompatible as compatible5 } from '../frameworks/ai-5/index.ts';
import { createOpenAICompatible as compatible6 } from '../frameworks/ai-6/index.ts';
import { createOpenAICompatible as compatible7 } from '../majors/ai-7.ts';
import { AI_6, AI_7, MAJORS, type Any, type Major } from '../majors/major.ts';
import { spendGuard } from '../../middleware/ai-sdk.ts';
import { HAIKU, openDesk, OPUS, policyOf, SONNET, WIDE, type Desk } from './ai-sdk-kit.ts';

const CLIENTS: Record<number, Any> = { 4: compatible4, 5: compatible5, 6: compatible6, 7: compatible7 };

/** A model of an OpenAI-compatible provider whose name has two spellings. */
function compatible(major: Major, desk: Desk, settings?: object): Any {
  const client = CLIENTS[major.number];
  return client({ name: 'my-one', apiKey: 'k', baseURL: desk.sim.url, includeUsage: true })(OPUS, settings);
}

/** As the first releases for `ai` 6 were: options under the other spelling are passed over. */
function asFirstReleased(model: Any): Any {
  const getArgs = model.getArgs.bind(model);
  const without = (options: Record<string, unknown> = {}): object =>
    Object.fromEntries(Object.entries(options).filter(([name]) => name !== 'myOne'));
  model.getArgs = (options: Any) =>
    getArgs({ ...options, providerOptions: without(options.providerOptions) });
  return model;
}

/** As the first releases for `ai` 6 were: a limit in the settings is passed over. */
function withoutLimitInSettings(model: Any): Any {
  const getArgs = model.getArgs.bind(model);
  model.getArgs = (options: Any) => {
    const { max_tokens: _, ...args } = getArgs(options);
    return { ...args, max_tokens: options.maxOutputTokens };
  };
  return model;
}

/** The longest answer that the call allows: what was held for it is enough, and what was decided on was sent. */
async function expectHeld(
  major: Major,
  make: (desk: Desk) => unknown,
  providerOptions: object = {},
): Promise<Any> {
  const policy = policyOf([WIDE], { maxOutputTokens: 700 });
  await using desk = await openDesk(policy, { respond: () => ({ outputTokens: 100_000 }) });
  const model = major.wrap(make(desk), spendGuard(desk.guard));
  await major.generate({ model, prompt: 'x', maxRetries: 0, providerOptions });
  const [decision] = await desk.receipts('decision');
  const [body] = desk.bodies();
  expect(body?.['model']).toBe(decision?.route?.model);
  expect(desk.warnings()).not.toContain('over_hold');
  expect(desk.warnings()).not.toContain('route_not_taken');
  expect(await desk.spent()).toBe(desk.sim.billed);
  return body;
}

describe.each(MAJORS)('$name', (major) => {
  it.each([{ model: HAIKU }, { max_tokens: 50 }, { model: SONNET, max_tokens: 60, n: 2 }])(
    'options under the other spelling of the provider: %o',
    async (options) => {
      await expectHeld(major, (desk) => compatible(major, desk), { myOne: options });
    },
  );

  it('both spellings at once', async () => {
    const options = { 'my-one': { max_tokens: 400, model: OPUS }, myOne: { max_tokens: 30, model: HAIKU } };
    await expectHeld(major, (desk) => compatible(major, desk), options);
  });

  it('a limit in the settings of an OpenRouter model', async () => {
    await expectHeld(major, (desk) => major.openrouter({ url: desk.sim.url }, OPUS, { maxTokens: 70 }));
  });

  it('a limit that only chats read, on a model of the Responses API', async () => {
    const at = (desk: Desk): { url: string } => ({ url: desk.sim.url });
    const options = { openai: { maxCompletionTokens: 50 } };
    const body = await expectHeld(major, (desk) => major.openaiResponses(at(desk), OPUS), options);
    expect(body.max_output_tokens).toBe(700);
    const chat = await expectHeld(major, (desk) => major.openaiChat(at(desk), OPUS), options);
    expect(chat.max_completion_tokens).toBe(50);
  });

  it('instructions beside the messages, which are a message, too', async () => {
    const words = { openai: { instructions: 'Be as nice to everybody as you can.' } };
    await expectHeld(major, (desk) => major.openaiResponses({ url: desk.sim.url }, OPUS), words);
  });

  it('options that a client finds wrong cost nothing', async () => {
    await using desk = await openDesk();
    const model = major.wrap(major.openaiChat({ url: desk.sim.url }, OPUS), spendGuard(desk.guard));
    const providerOptions = { openai: { logitBias: 'none', store: 'perhaps' } };
    const call = major.generate({ model, prompt: 'x', maxRetries: 0, maxOutputTokens: 9, providerOptions });
    if (major.number === 4) return void (await call); // looks at none of them
    await expect(call).rejects.toThrow('invalid openai provider options');
    expect(desk.sim.requests).toHaveLength(0);
    expect([await desk.spent(), await desk.held()]).toEqual([0n, 0n]);
    expect(await desk.receipts('settlement')).toMatchObject([{ outcome: 'not_sent' }]);
  });

  it('settings that only OpenRouter has, on a model of another client', async () => {
    const settings = { maxTokens: 70, extraBody: { model: HAIKU, max_tokens: 20 }, models: [HAIKU] };
    await expectHeld(major, (desk) => compatible(major, desk, settings));
  });
});

describe('the first releases for ai 6', () => {
  it('get options where they read them', async () => {
    const make = (desk: Desk): Any => asFirstReleased(compatible(AI_6, desk));
    const body = await expectHeld(AI_6, make, { myOne: { model: HAIKU, max_tokens: 50 } });
    expect(body).toMatchObject({ model: HAIKU, max_tokens: 50 });
    const both = { 'my-one': { service_tier: 'flex', max_tokens: 400 }, myOne: { max_tokens: 50 } };
    expect(await expectHeld(AI_6, make, both)).toMatchObject({ max_tokens: 50, service_tier: 'flex' });
  });

  it('get a limit where they read it', async () => {
    const body = await expectHeld(AI_6, (desk) =>
      withoutLimitInSettings(AI_6.openrouter({ url: desk.sim.url }, OPUS, { maxTokens: 70 })),
    );
    expect(body.max_tokens).toBe(70);
  });

  it('are no reason to touch what no decision was made by', async () => {
    await using desk = await openDesk();
    const model = AI_7.wrap(compatible(AI_7, desk), spendGuard(desk.guard));
    const providerOptions = { myOne: { user: 'me', verbosity: 'low' } };
    const { warnings } = await AI_7.generate({ model, prompt: 'x', maxOutputTokens: 9, providerOptions });
    // a name spelled the old way has a warning
    expect(warnings).toEqual([]);
  });
});
