/** The guarded OpenAI client, judged by what reached the simulator, its bill, and the receipts. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, expectTypeOf, it } from 'vitest';
import type { OpenAI } from 'openai';
import {
  AgentGuardBlockedError,
  blockedError,
  clearCostOverrides,
  createSpendGuard,
  isBlocked,
  memoryLedger,
  setCostOverride,
  withSpendGuard,
  withSpendScope,
} from '../../src/index.ts';
import type { Reply } from '../../src/node/simulator/index.ts';
import { HAIKU, ladder, openDesk, OPUS, policyOf, SONNET, WIDE, type Desk } from './ai-sdk-kit.ts';
import { bareClient, guardedClient, MAJORS, type Client } from './openai-kit.ts';

const messages = [{ role: 'user' as const, content: 'How far is the moon?' }];
const call = { model: OPUS, messages, max_tokens: 100 };
const SHUT = { amountCents: 0, window: 'total', action: 'block' } as const;

const caught = (work: PromiseLike<unknown>): Promise<unknown> =>
  Promise.resolve(work).then(
    () => undefined,
    (e: unknown) => e,
  );

/** A fetch to the simulator for a client that thinks it talks to `origin`. */
function rerouted(desk: Desk, from: RegExp): typeof fetch {
  return (url, init) => fetch((url as string).replace(from, desk.sim.url), init);
}

afterEach(clearCostOverrides);

describe.each(MAJORS)('$name', (major) => {
  it('keeps the type of the client', () => {
    expectTypeOf(withSpendGuard<OpenAI>).returns.toEqualTypeOf<OpenAI>();
  });

  describe('a refusal', () => {
    it('comes out of the call as our own error, at once and once, and nothing leaves', async () => {
      await using desk = await openDesk(policyOf([SHUT]));
      const client = guardedClient(major, desk, { maxRetries: 3 });
      const error = await caught(client.chat.completions.create(call));
      expect(error).toBeInstanceOf(AgentGuardBlockedError);
      expect(error).toMatchObject({ reason: 'cap_spent', status: 402, model: OPUS });
      expect(await caught(client.chat.completions.create({ ...call, stream: true }))).toBeInstanceOf(
        AgentGuardBlockedError,
      );
      expect(await caught(client.responses.create({ model: OPUS, input: 'x' }))).toBeInstanceOf(
        AgentGuardBlockedError,
      );
      expect(await caught(client.chat.completions.create(call).asResponse())).toBeInstanceOf(
        AgentGuardBlockedError,
      );
      expect(await caught(client.chat.completions.create(call).withResponse())).toBeInstanceOf(
        AgentGuardBlockedError,
      );
      expect(await desk.receipts('decision')).toHaveLength(5);
      expect(desk.sim.requests).toEqual([]);
    });

    it("is found behind the client's own error where a helper ran the call", async () => {
      await using desk = await openDesk(policyOf([SHUT]));
      const client = guardedClient(major, desk);
      const tool = {
        type: 'function' as const,
        function: { name: 'f', description: 'x', parameters: {}, function: () => '' },
      };
      for (const runner of [
        client.chat.completions.stream(call),
        client.chat.completions.runTools({ ...call, tools: [tool] }),
        client.responses.stream({ model: OPUS, input: 'x' }),
      ]) {
        const error = await caught(runner.done());
        expect(isBlocked(error)).toBe(true);
        expect(blockedError(error)).toMatchObject({ reason: 'cap_spent' });
      }
      expect(desk.sim.requests).toEqual([]);
    });
  });

  describe('a downgrade', () => {
    const calls: Record<string, (client: Client) => PromiseLike<unknown>> = {
      chat: (client) =>
        client.chat.completions.create({ ...call, models: [OPUS, SONNET], route: 'fallback' } as typeof call),
      'chat, streamed': async (client) => {
        for await (const _ of await client.chat.completions.create({ ...call, stream: true }));
      },
      'the helper': (client) => client.chat.completions.stream(call).done(),
      responses: (client) => client.responses.create({ model: OPUS, input: 'x', max_output_tokens: 50 }),
      'responses, streamed': (client) => client.responses.stream({ model: OPUS, input: 'x' }).done(),
      'a post by hand': (client) => client.post('/chat/completions', { body: call }),
    };
    it.each(Object.keys(calls))('is seen in the body: %s', async (name) => {
      await using desk = await openDesk(policyOf([WIDE, ladder(HAIKU)]));
      await calls[name]?.(guardedClient(major, desk));
      expect(desk.bodies()).toHaveLength(1);
      expect(desk.bodies()[0]).toMatchObject({ model: HAIKU });
      expect(desk.bodies()[0]).not.toHaveProperty('models');
      expect(desk.bodies()[0]).not.toHaveProperty('route');
      expect(desk.sim.bill()).toMatchObject([{ model: HAIKU }]);
      expect(await desk.spent()).toBe(desk.sim.billed);
    });

    it('of what can not be had from another model is a block', async () => {
      setCostOverride('openai/text-embedding-3-small', { inputCentsPerKtok: 1, outputCentsPerKtok: 0 });
      await using desk = await openDesk(policyOf([WIDE, ladder('openai/gpt-5-nano')]));
      const error = await caught(
        guardedClient(major, desk).embeddings.create({
          model: 'openai/text-embedding-3-small',
          input: 'x'.repeat(9e4),
        }),
      );
      expect(blockedError(error)).toMatchObject({ reason: 'no_route' });
      expect(desk.sim.requests).toEqual([]);
    });
  });

  describe('output limits', () => {
    const { max_tokens: _, ...open } = call;
    it('are injected as the wire carries them, and what is billed never passes the hold', async () => {
      const respond = (): Reply => ({ outputTokens: 5000 });
      await using desk = await openDesk(policyOf([WIDE], { maxOutputTokens: 30 }), { respond });
      const client = guardedClient(major, desk);
      await client.chat.completions.create(open);
      await client.responses.create({ model: OPUS, input: 'x' });
      await client.chat.completions.create({ ...open, max_completion_tokens: 20 });
      expect(desk.bodies()).toMatchObject([
        { max_tokens: 30 },
        { max_output_tokens: 30 },
        { max_completion_tokens: 20 },
      ]);
      expect(desk.bodies()[2]).not.toHaveProperty('max_tokens');
      expect(desk.sim.bill().map(({ completionTokens }) => completionTokens)).toEqual([30, 30, 20]);
      const decisions = await desk.receipts('decision');
      for (const [index, line] of desk.sim.bill().entries()) {
        expect(BigInt(decisions[index]?.hold ?? 0)).toBeGreaterThanOrEqual(line.nanoUsd);
      }
      expect(await desk.spent()).toBe(desk.sim.billed);
    });

    it('are left alone without a cap', async () => {
      await using desk = await openDesk(policyOf([]));
      await guardedClient(major, desk).chat.completions.create(open);
      expect(desk.bodies()).toEqual([open]);
    });
  });

  describe('at OpenAI itself', () => {
    const origin = /^https:\/\/api\.openai\.com\/v1/;
    const chat = { model: 'gpt-5-mini', messages };

    async function openAI(
      more: Parameters<typeof openDesk>[1] = {},
    ): Promise<{ desk: Desk; client: Client; bare: Client }> {
      const desk = await openDesk(policyOf([WIDE], { maxOutputTokens: 200 }), {
        dialect: 'openai',
        respond: () => ({ text: 'Far, far away. '.repeat(5), chunks: 6 }),
        ...more,
      });
      const options = { baseURL: 'https://api.openai.com/v1', fetch: rerouted(desk, origin) };
      return { desk, client: guardedClient(major, desk, options, {}), bare: bareClient(major, '', options) };
    }

    it('usage of a stream is asked for, settles the call at the bill, and is not shown to who has not asked', async () => {
      const { desk, client, bare } = await openAI();
      await using _desk = desk;
      const read = async (from: Client, more: object = {}) => {
        const parts = [];
        for await (const part of await from.chat.completions.create({ ...chat, ...more, stream: true }))
          parts.push(part);
        return parts;
      };
      const shape = (parts: { choices: unknown; usage?: unknown }[]) =>
        parts.map(({ choices, usage }) => [choices, usage ?? undefined]);
      const guarded = await read(client);
      expect(desk.bodies()[0]).toEqual({
        ...chat,
        stream: true,
        max_completion_tokens: 200,
        stream_options: { include_usage: true },
      });
      expect(shape(guarded)).toEqual(shape(await read(bare)));
      expect(guarded.every(({ choices }) => choices.length > 0)).toBe(true);
      expect(await desk.receipts('settlement')).toMatchObject([
        { outcome: 'ok', cost: { source: 'tokens' } },
      ]);
      expect(await desk.spent()).toBe(desk.sim.bill()[0]?.nanoUsd);
      const asking = await read(client, { stream_options: { include_usage: true } });
      expect(asking.at(-1)).toMatchObject({
        choices: [],
        usage: { prompt_tokens: expect.any(Number) as number },
      });
      expect(await desk.held()).toBe(0n);
    });

    it('helpers show no usage that was not asked for, and settle', async () => {
      const { desk, client, bare } = await openAI();
      await using _desk = desk;
      const guarded = client.chat.completions.stream(chat);
      const without = bare.chat.completions.stream(chat);
      expect(await guarded.finalContent()).toBe(await without.finalContent());
      expect((await guarded.finalChatCompletion()).usage ?? undefined).toEqual(
        (await without.finalChatCompletion()).usage ?? undefined,
      );
      expect(await desk.spent()).toBe(desk.sim.bill()[0]?.nanoUsd);
    });

    it('a stream that is read as text has every event but that one, as it came', async () => {
      const { desk, client, bare } = await openAI();
      await using _desk = desk;
      const text = async (from: Client, more: object) =>
        (await from.chat.completions.create({ ...chat, ...more, stream: true }).asResponse()).text();
      const guarded = (await text(client, {})).trimEnd().split('\n\n');
      const whole = (
        await text(bare, { stream_options: { include_usage: true }, max_completion_tokens: 200 })
      )
        .trimEnd()
        .split('\n\n');
      expect(guarded).toHaveLength(whole.length - 1);
      expect(guarded.at(-1)).toBe('data: [DONE]');
      expect(guarded.join('')).not.toContain('"choices":[]');
    });

    it('abort mid-stream settles at the hold', async () => {
      const { desk, client } = await openAI({
        respond: () => ({ outputTokens: 100, chunks: 50, chunkDelayMs: 3 }),
      });
      await using _desk = desk;
      for await (const _ of await client.chat.completions.create({ ...chat, stream: true })) break;
      await desk.sim.idle();
      await expect
        .poll(() => desk.receipts('settlement'), { timeout: 20_000 })
        .toMatchObject([{ outcome: 'aborted', cost: { source: 'hold' } }]);
      expect(await desk.spent()).toBeGreaterThanOrEqual(desk.sim.billed);
    });

    it('responses, embeddings and pictures settle at the bill', async () => {
      // by the embedded list's prices
      const { desk, client } = await openAI();
      await using _desk = desk;
      await client.responses.create({
        model: 'gpt-5-mini',
        input: 'How far is the moon?',
        instructions: 'Be brief.',
      });
      await client.responses.stream({ model: 'gpt-5-mini', input: 'How far is the moon?' }).done();
      await client.embeddings.create({ model: 'text-embedding-3-small', input: ['a', 'b c d'] });
      await client.embeddings.create({ model: 'text-embedding-3-small', input: [[1, 2, 3], [4]] });
      await client.images.generate({
        model: 'gpt-image-1',
        prompt: 'The moon',
        n: 2,
        size: '1024x1536',
        quality: 'high',
      });
      for await (const _ of await client.images.generate({
        model: 'gpt-image-1',
        prompt: 'The moon',
        stream: true,
      }));
      expect(await desk.receipts('settlement')).toMatchObject(
        Array.from({ length: 6 }, () => ({ outcome: 'ok', cost: { source: 'tokens' } })),
      );
      expect(desk.sim.bill()).toHaveLength(6);
      expect(await desk.spent()).toBe(desk.sim.billed);
      expect(await desk.held()).toBe(0n);
    });

    it('pictures of unknown price or size never leave under a cap', async () => {
      const { desk, client } = await openAI();
      await using _desk = desk;
      const image = { prompt: 'The moon' };
      const thrown = await caught(client.images.generate({ ...image, model: 'gpt-image-2' }));
      expect(blockedError(thrown)?.reason).toBe('unknown_price');
      // so that nobody sets a price in vain
      expect(blockedError(thrown)?.message).toContain(
        'Besides, its cost has no upper bound: nobody says how many',
      );
      expect(isBlocked(await caught(client.images.generate({ ...image, model: 'dall-e-3' })))).toBe(true);
      expect(isBlocked(await caught(client.images.generate(image)))).toBe(true);
      const wide = { ...image, model: 'gpt-image-1', size: '4096x4096' as never };
      expect(blockedError(await caught(client.images.generate(wide)))?.reason).toBe('unbounded_cost');
      expect(desk.sim.requests).toEqual([]);
    });

    it('a picture is edited from a form, which goes out as it is', async () => {
      const { desk, client } = await openAI();
      await using _desk = desk;
      const image = new File(['png'], 'moon.png', { type: 'image/png' });
      // the simulator has no such endpoint: it refuses, and says what it got
      await caught(client.images.edit({ model: 'gpt-image-1', prompt: 'Brighter', image }));
      expect(desk.sim.requests[0]).toMatchObject({ path: '/api/v1/images/edits' });
      expect(desk.sim.requests[0]?.bodyText).toContain('filename="moon.png"');
      expect(await desk.receipts('decision')).toMatchObject([
        { decision: 'allow', route: { model: 'gpt-image-1' } },
      ]);
      expect(await desk.receipts('settlement')).toMatchObject([{ outcome: 'refused' }]);
      // the prompt at the rate of pictures
      const { hold, request } = (await desk.receipts('decision'))[0] ?? {};
      expect(BigInt(hold ?? 0)).toBe(BigInt(request?.input_tokens ?? 0) * 10_000n + 8192n * 40_000n);
    });
  });

  describe('what has no bound', () => {
    const requests: Record<string, (client: Client) => PromiseLike<unknown>> = {
      speech: (client) => client.audio.speech.create({ model: 'tts-1', voice: 'alloy', input: 'x' }),
      transcriptions: (client) =>
        client.audio.transcriptions.create({ model: 'whisper-1', file: new File(['x'], 'a.wav') }),
      batches: (client) =>
        client.batches.create({ input_file_id: 'f', endpoint: '/v1/responses', completion_window: '24h' }),
      'fine-tuning': (client) => client.fineTuning.jobs.create({ model: 'gpt-5-mini', training_file: 'f' }),
      'vector stores': (client) => client.vectorStores.create({}),
      'realtime secrets': (client) => client.realtime.clientSecrets.create({}),
      'runs of assistants': (client) => client.beta.threads.createAndRun({ assistant_id: 'a' }),
      'something unheard of': (client) => client.post('/unheard/of', { body: { model: OPUS } }),
      'a put': (client) => client.put('/chat/completions', { body: call }),
      'an earlier response': (client) =>
        client.responses.create({ model: OPUS, input: 'x', previous_response_id: 'r' }),
      'a conversation': (client) => client.responses.create({ model: OPUS, input: 'x', conversation: 'c' }),
      'work in the background': (client) =>
        client.responses.create({ model: OPUS, input: 'x', background: true }),
      'hosted tools': (client) =>
        client.responses.create({ model: OPUS, input: 'x', tools: [{ type: 'web_search' }] }),
      'a tier': (client) => client.responses.create({ model: OPUS, input: 'x', service_tier: 'priority' }),
      'a body of bytes': (client) =>
        client.post('/chat/completions', { body: new TextEncoder().encode(JSON.stringify(call)) }),
    };

    it.each(Object.keys(requests))('is refused under a cap and recorded without one: %s', async (name) => {
      const request = requests[name] as (client: Client) => PromiseLike<unknown>;
      await using capped = await openDesk(policyOf([WIDE], { unknownPrice: 'allow' }));
      expect(blockedError(await caught(request(guardedClient(major, capped))))).toMatchObject({
        reason: 'unbounded_cost',
      });
      expect(capped.sim.requests).toEqual([]);
      await using open = await openDesk(policyOf([]));
      await caught(request(guardedClient(major, open)));
      expect(open.sim.requests).toHaveLength(1);
      expect(await open.receipts('decision')).toMatchObject([{ decision: 'allow', reason: 'no_caps' }]);
      expect(await open.receipts('settlement')).toHaveLength(1);
    });

    const free: Record<string, (client: Client) => PromiseLike<unknown>> = {
      models: (client) => client.models.list(),
      moderations: (client) => client.moderations.create({ input: 'x' }),
      'a response that is kept': (client) => client.responses.retrieve('resp_1'),
      'cancelling one': (client) => client.responses.cancel('resp_1'),
      'chats that are kept': (client) => client.chat.completions.list(),
      'naming one': (client) => client.chat.completions.update('c', { metadata: {} }),
      files: (client) => client.files.create({ file: new File(['x'], 'a.txt'), purpose: 'user_data' }),
      'deleting one': (client) => client.files.delete('f'),
      conversations: (client) => client.conversations.create({}),
    };

    it.each(Object.keys(free))('is no matter where nothing is billed: %s', async (name) => {
      await using desk = await openDesk(policyOf([SHUT]));
      await caught(free[name]?.(guardedClient(major, desk)) ?? Promise.resolve());
      expect(desk.sim.requests).toHaveLength(1);
      expect(await desk.receipts('decision')).toEqual([]);
    });
  });

  describe('scope', () => {
    const perUser = policyOf([{ ...WIDE, per: ['userId'] }], { scope: { tenantId: 'acme' } });

    it('comes from the guard, withSpendScope and the client, and a contradiction is refused', async () => {
      await using desk = await openDesk(perUser);
      const client = guardedClient(major, desk, {}, { scope: { teamId: 'red' } });
      await withSpendScope({ userId: 'alice' }, () => client.chat.completions.create(call));
      expect(await desk.receipts('decision')).toMatchObject([
        { scope: { tenantId: 'acme', teamId: 'red', userId: 'alice' } },
      ]);
      for (const scope of [{ tenantId: 'other' }, { teamId: 'blue', userId: 'alice' }]) {
        const error = await caught(withSpendScope(scope, () => client.chat.completions.create(call)));
        expect(blockedError(error)).toMatchObject({ reason: 'scope_conflict' });
      }
      expect(desk.sim.requests).toHaveLength(1);
    });

    it('counts for each of many calls that run at once through one client', async () => {
      await using desk = await openDesk(perUser, { latencyMs: ({ id }) => id % 7 });
      const client = guardedClient(major, desk);
      const users = ['alice', 'bob', 'carol'];
      await Promise.all(
        Array.from({ length: 60 }, (_, index) =>
          withSpendScope({ userId: users[index % 3] as string }, async () => {
            await sleep(index % 5);
            const stream = index % 2 === 0;
            const answer = await client.chat.completions.create({
              ...call,
              user: users[index % 3] as string,
              stream,
            });
            if (Symbol.asyncIterator in answer) for await (const _ of answer);
          }),
        ),
      );
      for (const user of users) {
        const ids = desk.sim.requests
          .filter(({ body }) => (body as { user: string }).user === user)
          .map(({ charge }) => charge ?? 0n);
        expect(ids).toHaveLength(20);
        const [balance] = await desk.guard.balances({ userId: user });
        expect(balance?.spent).toBe(ids.reduce((sum, charge) => sum + charge, 0n));
      }
    });
  });

  it('puts nothing of ours on the wire', async () => {
    const scope = {
      tenantId: 'tenant-x',
      teamId: 'team-x',
      userId: 'user-x',
      agentId: 'agent-x',
      taskId: 'task-x',
    };
    await using desk = await openDesk(policyOf([WIDE, ladder(HAIKU)], { scope: { tenantId: 'tenant-x' } }));
    const app = { defaultHeaders: { 'HTTP-Referer': 'https://app.example', 'X-Title': 'Mine' } };
    const client = guardedClient(major, desk, app, { scope: { teamId: 'team-x' } });
    const { tenantId: _t, teamId: _g, ...inner } = scope;
    await withSpendScope(inner, async () => {
      await client.chat.completions.create(call);
      for await (const _ of await client.chat.completions.create({ ...call, stream: true }));
      await client.responses.create({ model: OPUS, input: 'x' });
      await client.models.list();
    });
    expect(desk.sim.requests).toHaveLength(4);
    for (const { bodyText, headers, path } of desk.sim.requests) {
      const sent = `${bodyText} ${JSON.stringify(headers)} ${path}`.toLowerCase();
      expect(sent).not.toMatch(/agentguard|spendguard|spend-guard|spend_guard|-x"|policy|scope|receipt/);
      expect(headers).toMatchObject({ 'http-referer': 'https://app.example', 'x-title': 'Mine' });
    }
    expect(await desk.receipts('decision')).toMatchObject(Array.from({ length: 3 }, () => ({ scope })));
  });

  describe('AzureOpenAI', () => {
    const azure = (desk: Desk) =>
      new major.AzureOpenAI({
        endpoint: 'https://mine.openai.azure.com',
        apiVersion: '2026-01-01',
        apiKey: 'k',
        maxRetries: 0,
        fetch: (url, init) => {
          seen.push(url as string);
          const to = `${desk.sim.url}${new URL(url as string).pathname.replace(/^\/openai\/deployments\/[^/]+/, '')}`;
          return fetch(to, {
            ...init,
            headers: { ...Object.fromEntries(new Headers(init?.headers)), authorization: 'Bearer k' },
          });
        },
      });
    let seen: string[] = [];

    it('is an AzureOpenAI still, priced by its deployment, and a downgrade changes the address, too', async () => {
      seen = [];
      await using desk = await openDesk(policyOf([WIDE, ladder('gpt-5-nano')]), { dialect: 'openai' });
      const client = withSpendGuard(azure(desk), { guard: desk.guard });
      expect(client).toBeInstanceOf(major.AzureOpenAI);
      await client.chat.completions.create({ model: 'gpt-5', messages, max_completion_tokens: 100 });
      expect(seen).toEqual([
        'https://mine.openai.azure.com/openai/deployments/gpt-5-nano/chat/completions?api-version=2026-01-01',
      ]);
      expect(desk.bodies()).toMatchObject([{ model: 'gpt-5-nano' }]);
      await client
        .withOptions({ timeout: 5000, ...({ apiVersion: '2026-01-01' } as object) })
        .chat.completions.create({ model: 'gpt-5', messages });
      expect(await desk.receipts('decision')).toMatchObject([
        { decision: 'downgrade' },
        { decision: 'downgrade' },
      ]);
      expect(await desk.spent()).toBe(desk.sim.billed);
    });

    it('asks for a price of a deployment that has another name', async () => {
      seen = [];
      await using desk = await openDesk();
      const client = withSpendGuard(azure(desk), desk.guard);
      expect(
        blockedError(await caught(client.chat.completions.create({ model: 'my-deployment', messages }))),
      ).toMatchObject({
        reason: 'unknown_price',
        message: expect.stringContaining('my-deployment') as string,
      });
      expect(seen).toEqual([]);
    });
  });

  it('takes two guards, each with its own receipts, and a refusal by the outer one leaves the inner settled', async () => {
    await using inner = await openDesk();
    await using outer = await openDesk(policyOf([{ amountCents: 1, window: 'total', action: 'block' }]));
    const client = withSpendGuard(guardedClient(major, inner), {
      guard: outer.guard,
      provider: 'openrouter',
    });
    await client.chat.completions.create(call);
    expect(await inner.spent()).toBe(inner.sim.billed);
    expect(await outer.spent()).toBe(inner.sim.billed);
    expect(isBlocked(await caught(client.chat.completions.create({ ...call, max_tokens: 5000 })))).toBe(true);
    expect(await inner.receipts('settlement')).toMatchObject([{ outcome: 'ok' }, { outcome: 'not_sent' }]);
    expect(await inner.held()).toBe(0n);
    expect(inner.sim.requests).toHaveLength(1);
  });
});

describe.each(MAJORS)('a client of $name under one guard twice', (major) => {
  it('is decided once, in both layers of scope, and so is what withOptions makes of it', async () => {
    await using desk = await openDesk();
    const { guard } = desk;
    const client = guardedClient(major, desk, {}, { provider: 'openrouter', scope: { teamId: 'web' } });
    const twice = withSpendGuard(client, { guard, scope: { userId: 'alice' } });
    expect(twice).toBeInstanceOf(major.OpenAI);
    await twice.chat.completions.create(call);
    await withSpendGuard(twice.withOptions({ maxRetries: 1 }), guard).chat.completions.create(call);
    const scope = { teamId: 'web', userId: 'alice' };
    expect(await desk.receipts('decision')).toMatchObject([{ scope }, { scope }]);
    expect(await desk.spent()).toBe(desk.sim.billed);
    expect(() => withSpendGuard(twice, { guard, scope: { userId: 'bob' } })).toThrow(
      /scope: the client is guarded for another userId already/,
    );
    // the first one stays as it was
    await client.chat.completions.create(call);
    expect((await desk.receipts('decision')).at(-1)?.scope).toEqual({ teamId: 'web' });
  });
});

describe('withSpendGuard', () => {
  const [major] = MAJORS as [(typeof MAJORS)[0]];
  const client = bareClient(major, 'http://127.0.0.1:1/v1');
  const policy = policyOf([WIDE]);
  const guard = createSpendGuard({ policy, ledger: memoryLedger() });

  it('takes a guard, a policy, several, and options', () => {
    const config = { ledger: memoryLedger() };
    expect(withSpendGuard(client, guard)).toBeInstanceOf(major.OpenAI);
    expect(withSpendGuard(client, { guard })).toBeInstanceOf(major.OpenAI);
    expect(withSpendGuard(client, policy)).toBeInstanceOf(major.OpenAI);
    expect(withSpendGuard(client, [policy])).toBeInstanceOf(major.OpenAI);
    expect(withSpendGuard(client, { policy, config })).toBeInstanceOf(major.OpenAI);
    expect(withSpendGuard(client, { policy: [policy], scope: { userId: 'a' }, config })).toBeInstanceOf(
      major.OpenAI,
    );
  });

  it.each<[string, unknown, RegExp]>([
    ['nothing', undefined, /expected a guard, or \{ policy/],
    ['a word', 'policy', /expected a guard/],
    ['an unknown option', { policy, scopes: {} }, /scopes: unknown option/],
    ['both', { policy, guard }, /policy or guard, not both/],
    ['neither', { policy: undefined }, /expected a policy, or a guard/],
    ['no guard', { guard: {} }, /guard: expected what createSpendGuard returns/],
    ['config with a guard', { guard, config: {} }, /config: a guard has its own/],
    ['a policy in config', { policy, config: { policy } }, /config\.policy: set it beside/],
    ['a provider that is no name', { guard, provider: 7 }, /provider: expected/],
    ['an unknown field of config', { policy, config: { ledgr: 1 } }, /ledgr: unknown option/],
    ['a scope of other fields', { guard, scope: { user: 'a' } }, /scope\.user: unknown/],
    ['a policy that is none', { policy: { id: 'x' } }, /./],
  ])('refuses %s', (_name, given, message) => {
    expect(() => withSpendGuard(client, given as never)).toThrow(message);
    expect(() => withSpendGuard(client, given as never)).toThrow(
      expect.objectContaining({ name: 'AgentGuardError' }) as Error,
    );
  });

  it('says what to do about a client inside of a Proxy, which openai 7 can not copy', () => {
    expect(() => withSpendGuard(new Proxy(client, {}), guard)).toThrow(
      /can't be copied; guard the client itself, and wrap what withSpendGuard returns/,
    );
    expect(new Proxy(withSpendGuard(client, guard), {})).toBeInstanceOf(major.OpenAI);
  });

  it.each([undefined, null, 'client', {}, { withOptions: () => ({}) }])(
    'refuses what is no client: %j',
    (given) => {
      expect(() => withSpendGuard(given as never, guard)).toThrow(/expected a client of openai 6 or newer/);
    },
  );
});
