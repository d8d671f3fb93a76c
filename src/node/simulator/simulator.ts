/**
 * A stand-in for OpenRouter, and for the makers' own APIs: a loopback server with their wire formats, faults on
 * demand, and its own bill.
 * What it billed is the truth that tests of a spend guard judge by.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import type { BillLine } from './bill.ts';
import { refuse, sendJson, serveCall, type Exchange, type Settings } from './exchange.ts';
import { DEFAULT_MODELS, type Refusal, type SimulatorModel } from './models.ts';
import type { RecordedRequest } from './recorded-request.ts';
import { echo, type Reply, type SimulatedRequest } from './script.ts';
import { generationBody, keyBody, modelsBody } from './look-ups.ts';
import { CHAT } from './wires/chat.ts';
import { EMBEDDINGS } from './wires/embeddings.ts';
import { GATEWAY, GATEWAY_EMBEDDINGS, GATEWAY_IMAGES } from './wires/gateway.ts';
import { IMAGES, ROUTED_IMAGES } from './wires/images.ts';
import { MESSAGES } from './wires/messages.ts';
import { RESPONSES } from './wires/responses.ts';
import type { Dialect, Wire } from './wires/wire.ts';

export interface SimulatorOptions {
  /** Models and prices in the format of OpenRouter's list. Default: `DEFAULT_MODELS`. */
  models?: readonly SimulatorModel[];
  /** Called once for each call that has a model which may serve it. Default: says back the user's words. */
  respond?: (request: SimulatedRequest) => Reply | Promise<Reply>;
  /** Milliseconds from the script's answer to the headers. Default: 0. */
  latencyMs?: number | ((request: SimulatedRequest) => number);
  /**
   * What a stream costs whose client leaves: the prompt and what was `generated` (default), the chunk in flight
   * included, or the `full` answer, since many hosts don't notice. Other calls always cost the full answer.
   */
  abortBilling?: 'generated' | 'full';
  /**
   * `openrouter` (default), or `openai` for the APIs of the makers themselves: bare model ids (`gpt-5-mini`), no
   * cost and no provider in the answer, and usage in a chat stream only where `stream_options` asks for it.
   */
  dialect?: Dialect;
}

export interface Simulator extends AsyncDisposable {
  /** `http://127.0.0.1:PORT/api/v1`, the base URL for clients. */
  readonly url: string;
  /** `http://127.0.0.1:PORT`: `${origin}/api` for Anthropic's client, `${origin}/v3/ai` for the AI Gateway's. */
  readonly origin: string;
  /** Every request since the start or the last reset, in the order in which they were read. */
  readonly requests: readonly RecordedRequest[];
  /** All that was billed, in nano-USD: the sum of the bill's lines. */
  readonly billed: bigint;
  bill(): readonly BillLine[];
  /** Resolves when no request is being served and every charge is on the bill; not while a script is undecided. */
  idle(): Promise<void>;
  /** Forgets requests and bill; what is still being served is no longer charged. */
  reset(): void;
  /** Breaks every connection and stops listening. */
  close(): Promise<void>;
}

const BASE_PATH = '/api/v1';

const WIRES: ReadonlyMap<string, Wire> = new Map([
  ['/chat/completions', CHAT],
  ['/responses', RESPONSES],
  ['/messages', MESSAGES],
  ['/embeddings', EMBEDDINGS],
  ['/images/generations', IMAGES],
  ['/images', ROUTED_IMAGES],
]);

/** The AI Gateway looks a generation up at the root of its host. */
const GENERATION_PATHS: ReadonlySet<string> = new Set([`${BASE_PATH}/generation`, '/v1/generation']);

const GATEWAY_WIRES: ReadonlyMap<string, Wire> = new Map([
  ['language-model', GATEWAY],
  ['embedding-model', GATEWAY_EMBEDDINGS],
  ['image-model', GATEWAY_IMAGES],
]);

/** The AI Gateway has a version of its own in its base URL. */
const GATEWAY_PATH = /^\/(?:api\/)?v\d\/ai\/([\w-]+)$/;

function wireOf(path: string): Wire | undefined {
  const [, kind] = GATEWAY_PATH.exec(path) ?? [];
  if (kind !== undefined) return GATEWAY_WIRES.get(kind);
  return path.startsWith(BASE_PATH) ? WIRES.get(path.slice(BASE_PATH.length)) : undefined;
}

/** Connections that may wait to be accepted; a test may open a thousand at once. */
const BACKLOG = 4096;

/** Books of one simulator since its start or last reset. */
interface Books {
  requests: RecordedRequest[];
  lines: BillLine[];
  billed: bigint;
}

interface State {
  settings: Settings;
  books: Books;
  /** Requests that are being served. */
  active: number;
}

function flatHeaders(request: IncomingMessage): Record<string, string> {
  const entries = Object.entries(request.headers).map(([name, value]) => [name, String(value)] as const);
  return Object.fromEntries(entries);
}

function parsed(bodyText: string): unknown {
  try {
    return JSON.parse(bodyText);
  } catch {
    return undefined;
  }
}

function record(books: Books, request: IncomingMessage, bodyText: string): RecordedRequest {
  const entry: RecordedRequest = {
    id: books.requests.length + 1,
    at: Date.now(),
    method: request.method ?? '',
    path: request.url ?? '',
    headers: flatHeaders(request),
    body: parsed(bodyText),
    bodyText,
    outcome: 'pending',
  };
  books.requests.push(entry);
  return entry;
}

function answerLookUp(exchange: Exchange, books: Books, url: URL): void {
  const { response, settings } = exchange;
  const notFound: Refusal = { status: 404, message: 'Not Found' };
  if (url.pathname === `${BASE_PATH}/models`)
    sendJson(response, 200, modelsBody(settings.models, settings.dialect));
  else if (settings.dialect === 'openai') return refuse(exchange, notFound);
  else if (url.pathname === `${BASE_PATH}/key`) {
    const credits = books.lines.reduce((sum, line) => sum + line.creditsNanoUsd, 0n);
    sendJson(response, 200, keyBody(credits));
  } else if (GENERATION_PATHS.has(url.pathname)) {
    const id = url.searchParams.get('id') ?? '';
    const line = books.lines.find((each) => each.generationId === id);
    if (!line) return refuse(exchange, { status: 404, message: `Generation ${id} not found` });
    sendJson(response, 200, generationBody(line));
  } else return refuse(exchange, notFound);
  exchange.record.outcome = 'completed';
}

async function serve(state: State, request: IncomingMessage, response: ServerResponse): Promise<void> {
  state.active += 1;
  try {
    await serveRequest(state, request, response);
  } catch {
    // The client left before it had sent its request: there is nobody to answer and nothing to charge.
  } finally {
    state.active -= 1;
  }
}

/** Anthropic's client has a header of its own for its key. */
function isAuthorised({ headers }: IncomingMessage, wire: Wire | undefined): boolean {
  if (/^Bearer \S/.test(headers.authorization ?? '')) return true;
  return wire === MESSAGES && (headers['x-api-key'] ?? '') !== '';
}

async function serveRequest(state: State, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const gone = new AbortController();
  response.on('close', () => {
    if (!response.writableFinished) gone.abort();
  });
  // Writing to a client that has left is no error of the server; `gone` tells of it.
  response.on('error', () => {});
  const { books } = state;
  const bodyText = await text(request);
  const url = new URL(request.url ?? '/', 'http://simulator');
  const wire = wireOf(url.pathname);
  const exchange: Exchange = {
    settings: state.settings,
    wire: wire ?? CHAT,
    record: record(books, request, bodyText),
    response,
    gone: gone.signal,
    enter(line) {
      books.lines.push(line);
      books.billed += line.nanoUsd;
    },
  };
  const isPublic = url.pathname === `${BASE_PATH}/models`;
  try {
    if (!isPublic && !isAuthorised(request, wire)) {
      refuse(exchange, { status: 401, message: 'No auth credentials found' });
    } else if (request.method === 'GET') answerLookUp(exchange, books, url);
    else if (request.method === 'POST' && wire) await serveCall(exchange);
    else refuse(exchange, { status: 404, message: 'Not Found' });
  } catch (error) {
    // A mistake in a script: said out loud, in the only place that the caller is sure to look at.
    const message = `Internal Server Error (simulator script): ${String(error)}`;
    if (response.headersSent) response.destroy(error as Error);
    else refuse(exchange, { status: 500, message });
  }
}

async function idle(state: State): Promise<void> {
  // A request or a hang-up may be on its way through the kernel: two quiet looks in a row, 5 ms apart.
  for (let quiet = 0; quiet < 2; quiet = state.active === 0 ? quiet + 1 : 0) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

function newBooks(): Books {
  return { requests: [], lines: [], billed: 0n };
}

/** Starts a simulator on a free port of 127.0.0.1. Rejects when it can't listen. */
export async function startSimulator(options: SimulatorOptions = {}): Promise<Simulator> {
  const { latencyMs = 0 } = options;
  const state: State = {
    settings: {
      models: options.models ?? DEFAULT_MODELS,
      respond: options.respond ?? echo,
      latencyMs: typeof latencyMs === 'number' ? () => latencyMs : latencyMs,
      abortBilling: options.abortBilling ?? 'generated',
      dialect: options.dialect ?? 'openrouter',
    },
    books: newBooks(),
    active: 0,
  };
  // Idle sockets stay open: a client that reuses one in the moment it closes would see a reset.
  const server = createServer({ keepAliveTimeout: 600_000, requestTimeout: 0 }, (request, response) => {
    void serve(state, request, response);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: '127.0.0.1', port: 0, backlog: BACKLOG }, resolve);
  });
  const { port } = server.address() as AddressInfo;
  const origin = `http://127.0.0.1:${port}`;
  return {
    url: `${origin}${BASE_PATH}`,
    origin,
    get requests() {
      return state.books.requests;
    },
    get billed() {
      return state.books.billed;
    },
    bill: () => [...state.books.lines],
    idle: () => idle(state),
    reset() {
      state.books = newBooks();
    },
    close: () => close(server),
    [Symbol.asyncDispose]: () => close(server),
  };
}
