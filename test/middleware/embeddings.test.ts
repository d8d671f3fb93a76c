/** Embeddings under a guard: by middleware in ai 6 and 7, by a wrapper in all majors. */
import { OpenAI } from 'openai';
import { afterEach, describe, expect, it } from 'vitest';
import {
  guardEmbeddingModel,
  spendGuardEmbedding,
  spendOptions,
  type EmbeddingGuardOptions,
} from '../../middleware/ai-sdk.ts';
import {
  blockedError,
  clearCostOverrides,
  isBlocked,
  setCostOverride,
  withSpendGuard,
  withSpendScope,
} from '../../src/index.ts';
import type { Reply } from '../../src/node/simulator/index.ts';
import { MAJORS, type Any, type Major } from '../majors/major.ts';
import { ladder, openDesk, policyOf, WIDE, type Desk } from './ai-sdk-kit.ts';
import { caught, normal } from './normal.ts';

const LARGE = 'text-embedding-3-large';
const SMALL = 'text-embedding-3-small';

afterEach(clearCostOverrides);

interface Way {
  at: string;
  major: Major;
  guarded: (model: Any, desk: Desk, options?: EmbeddingGuardOptions) => Any;
}

const WAYS: Way[] = MAJORS.flatMap((major) => {
  const wrapper: Way = {
    at: `${major.name} guardEmbeddingModel`,
    major,
    guarded: (model, { guard }, options) => guardEmbeddingModel(model, guard, options),
  };
  if (major.ai.wrapEmbeddingModel === undefined) return [wrapper];
  const middleware: Way = {
    at: `${major.name} wrapEmbeddingModel`,
    major,
    guarded: (model, { guard }, options) =>
      major.ai.wrapEmbeddingModel({ model, middleware: spendGuardEmbedding(guard, options) }),
  };
  return [wrapper, middleware];
});

const open = (caps: Parameters<typeof policyOf>[0], reply: Reply = {}): Promise<Desk> =>
  openDesk(policyOf(caps), { dialect: 'openai', respond: () => reply });

describe.each(WAYS)('$at', ({ major, guarded }) => {
  const bare = (desk: Desk): Any => major.openaiEmbedding({ url: desk.sim.url }, LARGE);
  const embed = (model: Any, more: object = {}): Promise<Any> =>
    major.ai.embed({ model, value: 'one text of 24 characters', maxRetries: 0, ...more });

  it('gives what the bare model gives, and settles the bill', async () => {
    await using desk = await open([WIDE]);
    await using other = await open([WIDE]);
    const values = ['one text of 24 characters', 'another'];
    const many = (model: Any): Promise<unknown> =>
      caught(async () => ({ ...(await major.ai.embedMany({ model, values })), response: undefined }));
    expect(normal(await many(guarded(bare(desk), desk)))).toEqual(normal(await many(bare(other))));
    expect(desk.sim.requests[0]?.bodyText).toBe(other.sim.requests[0]?.bodyText);
    expect(desk.sim.billed).toBeGreaterThan(0n);
    expect(await desk.spent()).toBe(desk.sim.billed);
    expect(await desk.held()).toBe(0n);
    expect(await desk.receipts('decision')).toMatchObject([{ decision: 'allow', route: { model: LARGE } }]);
  });

  it('is refused where nothing is left', async () => {
    await using desk = await open([{ amountCents: 0, window: 'total', action: 'block' }]);
    await expect(embed(guarded(bare(desk), desk))).rejects.toSatisfy(isBlocked);
    expect(desk.sim.requests).toHaveLength(0);
  });

  it('goes to another embedding model where a policy names one, and to nothing else', async () => {
    await using desk = await open([WIDE, ladder(SMALL)]);
    await embed(guarded(bare(desk), desk));
    expect(desk.bodies()).toMatchObject([{ model: SMALL }]);
    expect(await desk.spent()).toBe(desk.sim.billed);
    await using chat = await open([WIDE, ladder('gpt-5-nano')]);
    const error = await embed(guarded(bare(chat), chat)).catch((thrown: unknown) => thrown);
    expect(blockedError(error)).toMatchObject({ reason: 'no_route' });
    expect(chat.sim.requests).toHaveLength(0);
  });

  it('is not sent where its price is not known', async () => {
    await using desk = await open([WIDE]);
    const model = major.openaiEmbedding({ url: desk.sim.url }, 'text-embedding-9');
    const error = await embed(guarded(model, desk)).catch((thrown: unknown) => thrown);
    expect(blockedError(error)).toMatchObject({ reason: 'unknown_price' });
  });

  it('settles a call without usage at its hold, and one that fails', async () => {
    await using desk = await open([WIDE], { fault: { kind: 'no-usage' } });
    await embed(guarded(bare(desk), desk));
    expect(await desk.receipts('settlement')).toMatchObject([{ outcome: 'ok', cost: { source: 'hold' } }]);
    expect(await desk.spent()).toBeGreaterThanOrEqual(desk.sim.billed);
    await using broken = await open([WIDE], { fault: { kind: 'http', status: 500 } });
    await expect(embed(guarded(bare(broken), broken))).rejects.toThrow();
    expect(await broken.receipts('settlement')).toMatchObject([{ outcome: 'error' }]);
    expect(await broken.held()).toBe(0n);
  });

  it('is not sent after an abort', async () => {
    await using desk = await open([WIDE]);
    await expect(embed(guarded(bare(desk), desk), { abortSignal: AbortSignal.abort() })).rejects.toThrow();
    expect(desk.sim.requests).toHaveLength(0);
    expect(await desk.held()).toBe(0n);
  });

  it('carries its scope, and nothing of it over the wire', async () => {
    await using desk = await open([WIDE]);
    const model = guarded(bare(desk), desk, { scope: { agentId: 'indexer' } });
    const providerOptions = spendOptions({ scope: { userId: 'user-secret-7' } });
    const own = major.number === 4 ? {} : { providerOptions };
    await withSpendScope({ tenantId: 'tenant-secret-7' }, () => embed(model, own));
    const scope = {
      tenantId: 'tenant-secret-7',
      agentId: 'indexer',
      ...(major.number > 4 && { userId: 'user-secret-7' }),
    };
    expect(await desk.receipts('decision')).toMatchObject([{ scope }]);
    const [request] = desk.sim.requests;
    expect(request?.bodyText + JSON.stringify(request?.headers)).not.toMatch(/secret-7|spendGuard|indexer/);
    if (major.number === 4) return;
    const conflict = withSpendScope({ userId: 'ada' }, () => embed(model, own));
    expect(blockedError(await conflict.catch((thrown: unknown) => thrown))).toMatchObject({
      reason: 'scope_conflict',
    });
  });

  it('keeps the identity of the model', async () => {
    await using desk = await open([WIDE]);
    const model = bare(desk);
    const model2 = guarded(model, desk);
    for (const key of ['provider', 'modelId', 'specificationVersion']) expect(model2[key]).toBe(model[key]);
    expect(await model2.maxEmbeddingsPerCall).toBe(await model.maxEmbeddingsPerCall);
    expect(await model2.supportsParallelCalls).toBe(await model.supportsParallelCalls);
  });
});

it.each(WAYS.filter(({ major }) => major.number > 4))(
  '$at: OpenRouter tells the cost',
  async ({ major, guarded }) => {
    const id = `openai/${LARGE}`;
    // another price than the bill's, to see whose figure counts
    setCostOverride(id, { inputCentsPerKtok: '0.1', outputCentsPerKtok: 0 });
    await using desk = await openDesk(policyOf([WIDE]));
    const model = guarded(major.openrouterProvider({ url: desk.sim.url }).textEmbeddingModel(id), desk);
    await major.ai.embed({ model, value: 'one text of 24 characters' });
    expect(desk.sim.billed).toBeGreaterThan(0n);
    expect(await desk.spent()).toBe(desk.sim.billed);
    expect(await desk.receipts('settlement')).toMatchObject([{ cost: { source: 'provider' } }]);
  },
);

it.each(['text-embedding-3-large', 'openai/text-embedding-3-large'])(
  '%s has its price in the embedded list; another says the line to write',
  async (id) => {
    const isVendor = !id.includes('/');
    await using desk = await openDesk(policyOf([WIDE]), isVendor ? { dialect: 'openai' } : {});
    const provider = isVendor ? 'openai' : 'openrouter';
    const client = withSpendGuard(new OpenAI({ apiKey: 'sk-test', baseURL: desk.sim.url, maxRetries: 0 }), {
      guard: desk.guard,
      provider,
    });
    await client.embeddings.create({ model: id, input: ['how far', 'is the moon'] });
    expect(desk.sim.billed).toBeGreaterThan(0n);
    expect(await desk.spent()).toBe(desk.sim.billed);
    const thrown = await client.embeddings
      .create({ model: 'acme/embed-9', input: 'x' })
      .catch((e: unknown) => e);
    expect(blockedError(thrown)?.message).toContain(
      'Set one with setCostOverride("acme/embed-9", { inputCentsPerKtok, outputCentsPerKtok: 0 }).',
    );
  },
);
