/** The simulator in the dialect of OpenAI itself. */
import OpenAI from 'openai';
import { expect, it } from 'vitest';
import type { Simulator } from '../../src/node/simulator/index.ts';
import { eventsOf, LONG, post, start } from './simulator-kit.ts';

/** Nano-USD per token of gpt-5-mini. */
const MINI_IN = 250n;
const MINI_OUT = 2000n;
const COST = 10n * MINI_IN + 40n * MINI_OUT;

const clientOf = (sim: Simulator): OpenAI => new OpenAI({ apiKey: 'x', baseURL: sim.url, maxRetries: 0 });
const messages = [{ role: 'user' as const, content: 'Hi' }];
const asked = { model: 'gpt-5-mini', messages };

it('knows bare ids, and tells neither cost nor provider', async () => {
  const sim = await start({ dialect: 'openai', respond: () => LONG });
  const response = await post(sim, '/chat/completions', asked);
  const text = await response.clone().text();
  expect(text).not.toMatch(/cost|provider|native_finish_reason|gen-/);
  expect(response.headers.get('x-generation-id')).toBeNull();
  expect(await response.json()).toMatchObject({
    id: expect.stringMatching(/^chatcmpl-/),
    model: 'gpt-5-mini',
    usage: { prompt_tokens: 10, completion_tokens: 40, total_tokens: 50 },
  });
  expect(sim.bill()).toMatchObject([
    { model: 'openai/gpt-5-mini', requestedModel: 'gpt-5-mini', nanoUsd: COST },
  ]);
});

it('streams a usage only where it is asked for', async () => {
  const sim = await start({ dialect: 'openai', respond: () => ({ ...LONG, reasoning: 'hm' }) });
  const bare = await post(sim, '/chat/completions', { ...asked, stream: true });
  expect(await bare.clone().text()).not.toMatch(/usage|OPENROUTER|hm/);
  const told = { ...asked, stream: true, stream_options: { include_usage: true } };
  const events = await eventsOf(await post(sim, '/chat/completions', told));
  expect(events.at(-1)?.data).toMatchObject({ choices: [], usage: { completion_tokens: 41 } });
  expect(events.slice(0, -1).every(({ data }) => data['usage'] === null)).toBe(true);
  expect(sim.billed).toBe(2n * (10n * MINI_IN + 41n * MINI_OUT));
  const router = await start({ respond: () => LONG });
  const always = await eventsOf(
    await post(router, '/chat/completions', { ...asked, model: 'openai/gpt-5-mini', stream: true }),
  );
  expect(always.at(-1)?.data).toMatchObject({ usage: { completion_tokens: 40 } });
});

it('serves a dated model under its dated name, and bills the row', async () => {
  const servedModel = 'gpt-5-mini-2025-08-07';
  const sim = await start({ dialect: 'openai', respond: () => ({ ...LONG, servedModel }) });
  const answer = await clientOf(sim).chat.completions.create(asked);
  expect(answer.model).toBe(servedModel);
  const dated = await clientOf(sim).chat.completions.create({ ...asked, model: servedModel });
  expect(dated.model).toBe(servedModel);
  expect(sim.billed).toBe(2n * COST);
  const router = await start({ respond: () => ({ ...LONG, servedModel }) });
  const routed = await clientOf(router).chat.completions.create({ ...asked, model: 'openai/gpt-5-mini' });
  expect(routed.model).toBe(`openai/${servedModel}`);
  expect(router.billed).toBe(COST);
});

it('refuses as OpenAI does', async () => {
  const sim = await start({ dialect: 'openai' });
  const unknown = await post(sim, '/chat/completions', { ...asked, model: 'openai/gpt-5-mini' });
  expect(unknown.status).toBe(404);
  expect(await unknown.json()).toMatchObject({
    error: { code: 'model_not_found', type: 'invalid_request_error', param: null },
  });
  const stray = await post(sim, '/chat/completions', { ...asked, models: ['gpt-5'] });
  expect(stray.status).toBe(400);
  expect(await stray.text()).toContain('Unrecognized request argument supplied: models');
  const names: string[] = [];
  for await (const { id } of clientOf(sim).models.list()) names.push(id);
  expect(names).toContain('gpt-5-mini');
  expect((await fetch(`${sim.url}/key`, { headers: { authorization: 'Bearer x' } })).status).toBe(404);
  expect(sim.billed).toBe(0n);
});

it('says what became of an answer that failed in its middle', async () => {
  const sim = await start({
    dialect: 'openai',
    respond: () => ({ ...LONG, fault: { kind: 'error-chunk', afterChunks: 5 } }),
  });
  const events = await eventsOf(await post(sim, '/chat/completions', { ...asked, stream: true }));
  expect(events.at(-1)?.data).toMatchObject({ error: { type: 'server_error' } });
  expect(sim.billed).toBe(10n * MINI_IN + 20n * MINI_OUT);
});
