/** What every wire of the simulator must do, as a suite over real clients, and what its tests share. */
import { afterEach, describe, expect, it } from 'vitest';
import {
  startSimulator,
  type Fault,
  type Reply,
  type Simulator,
  type SimulatorOptions,
} from '../../src/node/simulator/index.ts';

/** In tests of one model: `anthropic/claude-opus-4-7`, its prices in nano-USD per token written down here. */
export const OPUS = 'anthropic/claude-opus-4-7';
export const HAIKU = 'anthropic/claude-haiku-4-5';
const OPUS_IN = 5000n;
const OPUS_OUT = 25000n;
export const HAIKU_IN = 1000n;
export const HAIKU_OUT = 5000n;

/** 10 tokens in, 40 out, in 10 chunks of 4 tokens each. */
export const LONG = { inputTokens: 10, text: 'word'.repeat(40), chunks: 10 };
export const PROMPT = 10n * OPUS_IN;
export const CHUNK = 4n * OPUS_OUT;
export const WHOLE = PROMPT + 10n * CHUNK;

const open: Simulator[] = [];

/** A simulator that is closed after the test. */
export async function start(options?: SimulatorOptions): Promise<Simulator> {
  const sim = await startSimulator(options);
  open.push(sim);
  return sim;
}

afterEach(async () => {
  await Promise.all(open.splice(0).map((sim) => sim.close()));
});

/** Nano-USD of a JSON number by its shortest decimal form. */
export function nano(usd: unknown): bigint {
  const [digits = '', power = '0'] = String(usd).split('e');
  const [whole = '', fraction = ''] = digits.split('.');
  const kept = fraction.replace(/0+$/, '');
  const places = 9 + Number(power) - kept.length;
  if (places < 0) throw new Error(`finer than a nano-dollar: ${String(usd)}`);
  return BigInt(whole + kept) * 10n ** BigInt(places);
}

/** What a client says of an answer; what it can't say stays out. */
export interface Told {
  text: string;
  model?: string | undefined;
  input?: number | undefined;
  output?: number | undefined;
  cacheRead?: number | undefined;
  reasoning?: number | undefined;
  finish?: string | null | undefined;
}

export interface Ask {
  model?: string;
  maxTokens?: number;
  signal?: AbortSignal;
}

/** Each is false, none or 0 where it is not said. */
interface Oddities {
  /** What it says of the model is not what the answer says. */
  hidesModel?: 'of whole answers' | 'of streams';
  /** An answer that names no model is an error for it. */
  needsModel?: boolean;
  /** Of a stream it counts so many output tokens too many. */
  extraOutput?: number;
  /** A usage like this is an error for it: in whole answers, in streams. */
  breaksOn?: readonly Fault['kind'][];
  streamBreaksOn?: readonly Fault['kind'][];
  /** It takes for a good end: an error as a stream's only event, or in its middle. */
  missesErrorEvent?: boolean;
  missesErrorChunk?: boolean;
  /** A stream that ends without its last events is an error for it. */
  noticesTruncation?: boolean;
}

/** One real client on one wire. */
export interface Client {
  name: string;
  once(sim: Simulator, ask: Ask): Promise<Told>;
  /** Calls `onText` for each piece of text as it comes. */
  stream(sim: Simulator, ask: Ask, onText: (text: string) => void): Promise<Told>;
  /** Asks for the weather in Bern with a tool, calls it by the client's own means, and gives the last text. */
  weather(sim: Simulator, inStream: boolean): Promise<string>;
  /** How the answer calls the end by the limit. */
  cutWord: string;
  dialect?: 'openrouter' | 'openai';
  /** The model in the words of the dialect. Default: `OPUS`. */
  model?: string;
  /** What the client makes of odd answers where it is not the usual thing. The holes are the client's, not ours. */
  odd?: Oddities;
}

function faulty(client: Client, fault: Fault): Promise<Simulator> {
  return scripted(client, { ...LONG, fault });
}

function scripted(client: Client, reply: Reply, more: SimulatorOptions = {}): Promise<Simulator> {
  return start({ respond: () => reply, ...(client.dialect && { dialect: client.dialect }), ...more });
}

/** Runs a stream, tells what came and how it ended. */
async function run(
  client: Client,
  sim: Simulator,
  ask: Ask = {},
): Promise<{ text: string; told: Told | undefined; error: unknown }> {
  let text = '';
  try {
    const told = await client.stream(sim, ask, (part) => {
      text += part;
    });
    return { text, told, error: undefined };
  } catch (error) {
    return { text, told: undefined, error };
  }
}

function answers(client: Client): void {
  const { model = OPUS, odd = {} } = client;
  const { extraOutput = 0 } = odd;

  it('whole and streamed: text, model, usage and bill', async () => {
    const sim = await scripted(client, { ...LONG, cacheReadTokens: 4 });
    const cost = 6n * OPUS_IN + 4n * 500n + 10n * CHUNK;
    const once = await client.once(sim, {});
    expect(once).toMatchObject({ text: LONG.text, model, input: 10, output: 40, cacheRead: 4 });
    expect(sim.billed).toBe(cost);
    const streamed = await run(client, sim);
    expect(streamed.error).toBeUndefined();
    expect(streamed.text).toBe(LONG.text);
    expect(streamed.told).toMatchObject({ input: 10, output: 40 + extraOutput, cacheRead: 4 });
    if (odd.hidesModel !== 'of streams') expect(streamed.told?.model).toBe(model);
    expect(sim.billed).toBe(2n * cost);
    expect(sim.bill()).toMatchObject([
      { model: OPUS, how: 'completed', streamed: false, finishReason: 'stop' },
      { model: OPUS, how: 'completed', streamed: true },
    ]);
    expect(sim.requests).toMatchObject([{ outcome: 'completed' }, { outcome: 'completed' }]);
  });

  it('keeps to the limit of the call', async () => {
    const sim = await scripted(client, LONG);
    const cut = { text: 'word'.repeat(7), output: 7, finish: client.cutWord };
    expect(await client.once(sim, { maxTokens: 7 })).toMatchObject(cut);
    const { told } = await run(client, sim, { maxTokens: 7 });
    expect(told).toMatchObject({ output: 7 + extraOutput, finish: client.cutWord });
    expect(sim.billed).toBe(2n * (PROMPT + 7n * OPUS_OUT));
  });

  it.each([false, true])('a tool loop (streamed: %s)', async (inStream) => {
    const sim = await start({
      ...(client.dialect && { dialect: client.dialect }),
      respond: ({ messages, tools }) => {
        expect(tools).toHaveLength(1);
        return JSON.stringify(messages).includes('rain in Bern')
          ? { text: 'It rains.', inputTokens: 20 }
          : { inputTokens: 10, toolCalls: [{ name: 'weather', arguments: { city: 'Bern' } }] };
      },
    });
    expect(await client.weather(sim, inStream)).toBe('It rains.');
    expect(sim.requests).toHaveLength(2);
    expect(sim.bill()).toMatchObject([
      { promptTokens: 10, completionTokens: 6, finishReason: 'tool_calls', streamed: inStream },
      { promptTokens: 20, completionTokens: 3, finishReason: 'stop', streamed: inStream },
    ]);
    expect(sim.billed).toBe(30n * OPUS_IN + 9n * OPUS_OUT);
  });

  it('names the served model only where the script lets it', async () => {
    const served = model.replace('opus-4-7', 'haiku-4-5-20251001');
    const sim = await scripted(client, { ...LONG, servedModel: served });
    expect((await client.once(sim, {})).model === served).toBe(odd.hidesModel !== 'of whole answers');
    const { told } = await run(client, sim);
    expect(told?.model === served).toBe(odd.hidesModel !== 'of streams');
    expect(sim.bill()).toMatchObject([{ model: HAIKU }, { model: HAIKU }]);
    expect(sim.billed).toBe(2n * (10n * HAIKU_IN + 40n * HAIKU_OUT));
    const unnamed = await scripted(client, { ...LONG, servedModel: served, unnamedModel: true });
    const second = await run(client, unnamed);
    expect(second.error !== undefined).toBe(odd.needsModel ?? false);
    expect(JSON.stringify(second.told ?? '')).not.toContain('haiku');
    expect(unnamed.bill()).toMatchObject([{ model: HAIKU }]);
  });
}

function faults(client: Client): void {
  const { odd = {} } = client;

  it('http: refused, nothing is billed', async () => {
    const sim = await faulty(client, { kind: 'http', status: 429, message: 'slow down' });
    await expect(client.once(sim, {})).rejects.toThrow('slow down');
    expect(String((await run(client, sim)).error)).toContain('slow down');
    expect(sim.billed).toBe(0n);
    expect(sim.requests).toMatchObject([{ outcome: 'refused' }, { outcome: 'refused' }]);
  });

  it('error-body: the prompt is billed', async () => {
    const sim = await faulty(client, { kind: 'error-body' });
    const once = await client.once(sim, {}).catch((error: unknown) => ({ text: '', error }));
    expect(once.text).toBe('');
    expect(once).toHaveProperty('error');
    const { error, text } = await run(client, sim);
    expect(text).toBe('');
    expect(error === undefined).toBe(odd.missesErrorEvent ?? false);
    expect(sim.billed).toBe(2n * PROMPT);
  });

  it('error-chunk: what was generated is billed', async () => {
    const sim = await faulty(client, { kind: 'error-chunk', afterChunks: 3 });
    const { error, text } = await run(client, sim);
    expect(text).toBe('word'.repeat(12));
    expect(error === undefined).toBe(odd.missesErrorChunk ?? false);
    expect(sim.billed).toBe(PROMPT + 3n * CHUNK);
    expect(sim.bill()).toMatchObject([{ how: 'error', completionTokens: 12 }]);
  });

  it('drop: a broken socket', async () => {
    const sim = await faulty(client, { kind: 'drop', afterChunks: 2 });
    const { error } = await run(client, sim);
    expect(error).toBeDefined();
    expect(sim.billed).toBe(PROMPT + 2n * CHUNK);
    await expect(client.once(sim, {})).rejects.toThrow();
    expect(sim.billed).toBe(2n * (PROMPT + 2n * CHUNK));
    const early = await faulty(client, { kind: 'drop', afterChunks: 0 });
    expect((await run(client, early)).error).toBeDefined();
    expect(early.billed).toBe(PROMPT);
  });

  it('truncate: a clean end that comes too early', async () => {
    const sim = await faulty(client, { kind: 'truncate', afterChunks: 5 });
    const { error, text } = await run(client, sim);
    expect(text).toBe('word'.repeat(20));
    expect(error !== undefined).toBe(odd.noticesTruncation ?? false);
    await expect(client.once(sim, {})).rejects.toThrow();
    expect(sim.billed).toBe(2n * (PROMPT + 5n * CHUNK));
  });

  it.each<Fault>([
    { kind: 'no-usage' },
    { kind: 'zero-usage' },
    { kind: 'bad-usage', usage: { cost: -1 } },
    { kind: 'usage-without-choices' },
  ])('$kind: the true amount is billed', async (fault) => {
    const sim = await faulty(client, fault);
    const once = client.once(sim, {});
    const breaks = odd.streamBreaksOn?.includes(fault.kind) === true;
    if (odd.breaksOn?.includes(fault.kind)) await expect(once).rejects.toThrow();
    else expect((await once).text).toBe(LONG.text);
    expect(sim.billed).toBe(WHOLE);
    const { error, text, told } = await run(client, sim);
    expect(error !== undefined).toBe(breaks);
    await sim.idle();
    expect(sim.bill()).toHaveLength(2);
    if (breaks) return;
    expect(text).toBe(LONG.text);
    expect(sim.billed).toBe(2n * WHOLE);
    const counts = [(await once).output ?? 0, told?.output ?? 0];
    if (fault.kind === 'usage-without-choices') expect(counts[0]).toBe(40);
    else for (const count of counts) expect(count || 0).toBe(0);
  });
}

/** Leaves a stream as soon as its first chunk of text has come. */
async function leave(client: Client, sim: Simulator): Promise<void> {
  const controller = new AbortController();
  const stream = client.stream(sim, { signal: controller.signal }, (text) => {
    if (text !== '') controller.abort();
  });
  await stream.catch(() => {});
  await sim.idle();
}

/** Aborted once the simulator has got a request. */
export function whenAsked(sim: Simulator): AbortSignal {
  const controller = new AbortController();
  const timer = setInterval(() => {
    if (sim.requests.length === 0) return;
    clearInterval(timer);
    controller.abort();
  }, 5);
  return controller.signal;
}

function aborts(client: Client): void {
  it('a stream that is left costs what was generated, or all', async () => {
    // The second chunk is on its way for longer than any client takes to leave.
    const slow: Reply = { ...LONG, chunkDelayMs: 600_000 };
    const sim = await scripted(client, slow);
    await leave(client, sim);
    expect(sim.billed).toBe(PROMPT + 2n * CHUNK);
    expect(sim.bill()).toMatchObject([{ how: 'aborted', completionTokens: 8 }]);
    const full = await scripted(client, slow, { abortBilling: 'full' });
    await leave(client, full);
    expect(full.billed).toBe(WHOLE);
  });

  it('a call that is not streamed costs the whole, a hanging stream its first chunk', async () => {
    const sim = await scripted(client, LONG, { latencyMs: 600_000 });
    await expect(client.once(sim, { signal: whenAsked(sim) })).rejects.toThrow();
    await sim.idle();
    expect(sim.billed).toBe(WHOLE);
    const hanging = await faulty(client, { kind: 'hang' });
    await run(client, hanging, { signal: whenAsked(hanging) });
    await hanging.idle();
    expect(hanging.billed).toBe(PROMPT + CHUNK);
  });
}

/** All of it for each client. */
export function wireSuite(clients: readonly Client[]): void {
  describe.each(clients)('$name', (client) => {
    describe('answers', () => answers(client));
    describe('faults', () => faults(client));
    describe('aborts', () => aborts(client));
  });
}

/** Sends JSON as no client would spell it, to see the wire itself. */
export function post(sim: Simulator, path: string, body: object, headers: object = {}): Promise<Response> {
  return fetch(path.startsWith('/v') ? `${sim.origin}${path}` : `${sim.url}${path}`, {
    method: 'POST',
    headers: { authorization: 'Bearer x', 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
}

/** A server-sent event: its name, where it has one, and its data. */
export interface WireEvent {
  event: string | undefined;
  data: Record<string, unknown>;
}

export async function eventsOf(response: Response): Promise<WireEvent[]> {
  const blocks = (await response.text()).split('\n\n').filter((block) => /^data: \{/m.test(block));
  return blocks.map((block) => ({
    event: /^event: (.*)$/m.exec(block)?.[1],
    data: JSON.parse(/^data: (.*)$/m.exec(block)?.[1] ?? '') as Record<string, unknown>,
  }));
}
