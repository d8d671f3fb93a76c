/** Bodies that are made while they are read, by servers that know nothing of the scope of a route. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import { NextResponse } from 'next/server.js';
import { expect, it, describe } from 'vitest';
import { guardRoute } from '../../middleware/http.ts';
import { createSpendGuard, memoryLedger, withSpendScope, type SpendGuard } from '../../src/index.ts';
import { policyOf, WIDE } from './ai-sdk-kit.ts';

const native = Response;

const CALL = { model: 'openai/gpt-5-mini', provider: 'openrouter', inputTokens: 10, maxOutputTokens: 10 };

const guardOf = (): SpendGuard =>
  createSpendGuard({ policy: policyOf([{ ...WIDE, per: ['userId'] }]), ledger: memoryLedger() });

async function spend(guard: SpendGuard): Promise<Uint8Array> {
  const call = await guard.begin(CALL);
  await call.settle({ outcome: 'ok', cost: 0.01 });
  return new TextEncoder().encode('x');
}

async function* parts(guard: SpendGuard, count: number): AsyncGenerator<Uint8Array> {
  for (let made = 0; made < count; made++) yield await spend(guard);
}

/** `ReadableStream.from`, which not all types have. */
function streamOf(chunks: AsyncIterable<Uint8Array>): ReadableStream<Uint8Array> {
  const maker = ReadableStream as unknown as { from(chunks: unknown): ReadableStream<Uint8Array> };
  return maker.from(chunks);
}

const BODIES: Record<string, (guard: SpendGuard) => BodyInit> = {
  'ReadableStream.from': (guard) => streamOf(parts(guard, 3)),
  pull: (guard) => {
    let left = 3;
    return new ReadableStream({
      async pull(controller) {
        controller.enqueue(await spend(guard));
        if (--left === 0) controller.close();
      },
    });
  },
  'a stream through another': (guard) => streamOf(parts(guard, 3)).pipeThrough(new TransformStream()),
  'an async iterable': (guard) => parts(guard, 3) as unknown as BodyInit,
};

async function readAll(body: ReadableStream<Uint8Array> | null): Promise<string> {
  let text = '';
  const reader = (body as ReadableStream<Uint8Array>).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return text;
    text += new TextDecoder().decode(value);
  }
}

const READERS: Record<string, (response: Response) => Promise<unknown>> = {
  body: (response) => readAll(response.body),
  text: (response) => response.text(),
  arrayBuffer: (response) => response.arrayBuffer(),
  clone: (response) => Promise.all([response.clone().text(), readAll(response.body)]),
  tee: (response) => Promise.all((response.body as ReadableStream<Uint8Array>).tee().map(readAll)),
  'another response': (response) => new Response(response.body, response).text(),
  pipeTo: (response) => (response.body as ReadableStream).pipeTo(new WritableStream()),
};

const asked = (userId: string): Request => new Request('http://app.test/', { headers: { 'x-user': userId } });
const scope = (request: Request): { userId: string } => ({
  userId: request.headers.get('x-user') as string,
});

async function spentBy(guard: SpendGuard, ...users: string[]): Promise<bigint[]> {
  return Promise.all(
    users.map(async (userId) =>
      (await guard.balances({ userId })).reduce((all, { spent }) => all + spent, 0n),
    ),
  );
}

describe.each(Object.entries(BODIES))('a body by %s', (_name, make) => {
  it.each(Object.entries(READERS))('is made in the scope of its route: %s', async (_reader, read) => {
    const guard = guardOf();
    const route = guardRoute({ scope }, () => new Response(make(guard)));
    const [ann, ben] = await Promise.all([route(asked('ann')), route(asked('ben'))]);
    // the surroundings of a reader have a scope of their own, and it is nobody's here
    await withSpendScope({ userId: 'eve' }, () => Promise.all([read(ann), read(ben)]));
    expect(await spentBy(guard, 'ann', 'ben', 'eve')).toEqual([30_000_000n, 30_000_000n, 0n]);
  });
});

describe('a response', () => {
  const route = (make: () => Response): Promise<Response> => guardRoute({ scope }, make)(asked('ann'));

  it('is the very same object, of its own class', async () => {
    const made = NextResponse.json({ fine: true }, { status: 201, headers: { 'x-mine': '1' } });
    made.cookies.set('a', 'b');
    const response = await route(() => made);
    expect(response).toBe(made);
    expect(response.status).toBe(201);
    expect(response.headers.get('set-cookie')).toBe('a=b; Path=/');
    expect(Object.keys(response)).toEqual([]);
    expect(response.bodyUsed).toBe(false);
    expect(await response.clone().json()).toEqual({ fine: true });
    expect(response.body).toBe(response.body);
    expect(await response.json()).toEqual({ fine: true });
    expect(response.bodyUsed).toBe(true);
    await expect(response.text()).rejects.toThrow(TypeError);
  });

  it.each([
    ['without a body', () => new Response(null, { status: 204 })],
    ['that redirects', () => Response.redirect('http://app.test/other', 302)],
    ['that is an error', () => Response.error()],
  ])('%s is left alone', async (_name, make) => {
    const response = await route(make);
    expect(response.body).toBeNull();
    expect(Object.getOwnPropertyNames(response)).not.toContain('body');
  });

  it('that is frozen is left as it is', async () => {
    const response = await route(() => Object.freeze(new Response('cold')));
    expect(await response.text()).toBe('cold');
  });

  it('is made no faster than it is read, and hears that its reader has left', async () => {
    let made = 0;
    let left: unknown;
    const response = await route(
      () =>
        new Response(
          new ReadableStream(
            {
              pull: (controller) => controller.enqueue(new Uint8Array([(made += 1)])),
              cancel: (reason) => void (left = reason),
            },
            { highWaterMark: 0 },
          ),
        ),
    );
    const reader = (response.body as ReadableStream).getReader();
    expect(made).toBe(0);
    await reader.read();
    await reader.read();
    expect(made).toBe(2);
    await reader.cancel('enough');
    expect([made, left]).toEqual([2, 'enough']);
  });

  it('that breaks off breaks with the same error', async () => {
    const broken = new RangeError('mine');
    const response = await route(
      () => new Response(new ReadableStream({ pull: (controller) => controller.error(broken) })),
    );
    await expect(readAll(response.body)).rejects.toBe(broken);
  });
});

// last, for the listener puts a class of its own in the place of `Response`
describe.each(Object.entries(BODIES))('a body by %s', (_name, make) => {
  it('is made in the scope of its route by a real server', async () => {
    const guard = guardOf();
    const route = guardRoute({ scope }, () => new Response(make(guard)));
    const listener = getRequestListener((request) => route(request));
    const server: Server = createServer((incoming, outgoing) => {
      void listener(incoming, outgoing);
    });
    expect(Response).not.toBe(native);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
      const ask = async (user: string): Promise<string> =>
        (await fetch(url, { headers: { 'x-user': user } })).text();
      expect(await Promise.all([ask('ann'), ask('ben'), ask('ann')])).toEqual(['xxx', 'xxx', 'xxx']);
    } finally {
      server.closeAllConnections();
      server.close();
    }
    expect(await spentBy(guard, 'ann', 'ben')).toEqual([60_000_000n, 30_000_000n]);
  });
});
