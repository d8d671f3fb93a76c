/** Pictures under a guard: by middleware in ai 6 and 7. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { spendGuard, spendGuardImage, spendOptions } from '../../middleware/ai-sdk.ts';
import { blockedError, clearCostOverrides, isBlocked, setCostOverride } from '../../src/index.ts';
import type { Reply } from '../../src/node/simulator/index.ts';
import { MAJORS, type Any } from '../majors/major.ts';
import { HAIKU, ladder, openDesk, policyOf, WIDE, type Desk } from './ai-sdk-kit.ts';
import { caught, normal } from './normal.ts';

const PICTURES = 'gpt-image-1';

beforeAll(() => {
  setCostOverride('dall-e-3', { inputCentsPerKtok: '0.5', outputCentsPerKtok: '4' });
});
afterAll(() => clearCostOverrides());

const open = (caps: Parameters<typeof policyOf>[0], reply: Reply = {}): Promise<Desk> =>
  openDesk(policyOf(caps), { dialect: 'openai', respond: () => reply });

describe.each(MAJORS.filter(({ ai }) => ai.wrapImageModel !== undefined))('$name', (major) => {
  const bare = (desk: Desk, id = PICTURES): Any => major.openaiImage({ url: desk.sim.url }, id);
  const guarded = (desk: Desk, id?: string): Any =>
    major.ai.wrapImageModel({ model: bare(desk, id), middleware: spendGuardImage(desk.guard) });
  const draw = (model: Any, more: object = {}): Promise<Any> =>
    major.ai.generateImage({ model, prompt: 'a cat that counts its coins', maxRetries: 0, ...more });
  const reasonOf = async (drawn: Promise<unknown>): Promise<unknown> =>
    blockedError(await drawn.catch((thrown: unknown) => thrown))?.reason;

  it('gives what the bare model gives, and settles the bill', async () => {
    await using desk = await open([WIDE]);
    await using other = await open([WIDE]);
    const more = { n: 2, size: '1024x1536', providerOptions: { openai: { quality: 'low' } } };
    const shown = (model: Any): Promise<unknown> =>
      caught(async () => {
        const { images, warnings, usage, providerMetadata } = await draw(model, more);
        return { images: images.map((image: Any) => image.base64), warnings, usage, providerMetadata };
      });
    expect(normal(await shown(guarded(desk)))).toEqual(normal(await shown(bare(other))));
    expect(desk.sim.requests[0]?.bodyText).toBe(other.sim.requests[0]?.bodyText);
    expect(desk.sim.billed).toBeGreaterThan(0n);
    expect(await desk.spent()).toBe(desk.sim.billed);
    expect(await desk.held()).toBe(0n);
  });

  it('holds the dearest picture, once for each', async () => {
    await using desk = await open([WIDE]);
    await draw(guarded(desk), { n: 3, size: '1024x1536' });
    const [decision] = await desk.receipts('decision');
    expect(BigInt(decision?.hold ?? 0)).toBeGreaterThan(desk.sim.billed);
    expect(desk.sim.bill()[0]?.completionTokens).toBe(3 * 6240);
  });

  it('is refused where nothing is left, and never drawn by another model', async () => {
    await using desk = await open([{ amountCents: 0, window: 'total', action: 'block' }]);
    await expect(draw(guarded(desk))).rejects.toSatisfy(isBlocked);
    await using other = await open([WIDE, ladder(HAIKU)]);
    expect(await reasonOf(draw(guarded(other)))).toBe('no_route');
    expect(desk.sim.requests.length + other.sim.requests.length).toBe(0);
  });

  it('is refused where the cost has no bound or no price', async () => {
    await using desk = await open([WIDE]);
    expect(await reasonOf(draw(guarded(desk, 'dall-e-3')))).toBe('unbounded_cost');
    expect(await reasonOf(draw(guarded(desk), { size: '4096x4096' }))).toBe('unbounded_cost');
    const providerOptions = { openai: { frameCount: 9 } };
    expect(await reasonOf(draw(guarded(desk), { providerOptions }))).toBe('unbounded_cost');
    expect(await reasonOf(draw(guarded(desk, 'gpt-image-2')))).toBe('unknown_price');
    expect(desk.sim.requests).toHaveLength(0);
  });

  it('costs what pictures cost, where words in the answer are cheaper', async () => {
    const pricing = { prompt: '0.000005', completion: '0.00001', image_output: '0.000032' };
    const row = { id: 'openai/gpt-image-1.5', pricing };
    const of15 = openDesk(policyOf([WIDE]), { dialect: 'openai', respond: () => ({}), models: [row] });
    await using desk = await of15;
    await draw(guarded(desk, 'gpt-image-1.5'));
    expect(desk.sim.bill()).toMatchObject([{ imageTokens: expect.any(Number) as number }]);
    expect(desk.sim.billed).toBeGreaterThan(30_000_000n);
    expect(await desk.spent()).toBe(desk.sim.billed);
    const [settlement] = await desk.receipts('settlement');
    expect(settlement?.usage?.output_image_tokens).toBe(settlement?.usage?.output_tokens);
  });

  it('settles a picture without usage at its hold', async () => {
    await using desk = await open([WIDE], { fault: { kind: 'no-usage' } });
    await draw(guarded(desk));
    expect(await desk.receipts('settlement')).toMatchObject([{ cost: { source: 'hold' } }]);
    expect(await desk.spent()).toBeGreaterThanOrEqual(desk.sim.billed);
  });

  it('carries its scope, and nothing of it over the wire', async () => {
    await using desk = await open([WIDE]);
    const providerOptions = {
      ...spendOptions({ scope: { userId: 'user-secret-7' } }),
      openai: { quality: 'low' },
    };
    await draw(guarded(desk), { providerOptions });
    expect(await desk.receipts('decision')).toMatchObject([{ scope: { userId: 'user-secret-7' } }]);
    const [request] = desk.sim.requests;
    expect(request?.bodyText + JSON.stringify(request?.headers)).not.toMatch(/secret-7|spendGuard/);
    expect(desk.bodies()).toMatchObject([{ quality: 'low' }]);
  });

  it('is guarded by wrapProvider, too', async () => {
    await using desk = await open([WIDE]);
    const provider = major.ai.wrapProvider({
      provider: major.openaiProvider({ url: desk.sim.url }),
      languageModelMiddleware: spendGuard(desk.guard),
      imageModelMiddleware: spendGuardImage(desk.guard),
    });
    await draw(provider.imageModel(PICTURES));
    expect(await desk.receipts('decision')).toMatchObject([{ route: { model: PICTURES } }]);
    expect(await desk.spent()).toBe(desk.sim.billed);
  });

  it('is settled at the bill with OpenRouter, too', async () => {
    await using desk = await openDesk(policyOf([WIDE]));
    const model = major.ai.wrapImageModel({
      model: major.openrouterProvider({ url: desk.sim.url }).imageModel(`openai/${PICTURES}`),
      middleware: spendGuardImage(desk.guard),
    });
    await draw(model);
    expect(desk.sim.billed).toBeGreaterThan(0n);
    expect(await desk.spent()).toBe(desk.sim.billed);
    const providerOptions = { openrouter: { models: ['openai/gpt-5'] } };
    expect(await reasonOf(draw(model, { providerOptions }))).toBe('unbounded_cost');
  });
});
