/**
 * A stand-in for OpenRouter: a loopback server with its wire format, faults on demand, and its own bill.
 * What it billed is the truth that tests of a spend guard judge by.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import type { BillLine } from './bill.ts';
import {
  refuse,
  sendJson,
  serveCompletion,
  type Exchange,
  type RecordedRequest,
  type Settings,
} from './exchange.ts';
import { DEFAULT_MODELS, type SimulatorModel } from './models.ts';
import { echo, type Reply, type SimulatedRequest } from './script.ts';
import { generationBody, keyBody } from './wire.ts';

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
}

export interface Simulator extends AsyncDisposable {
  /** `http://127.0.0.1:PORT/api/v1`, the base URL for clients. */
  readonly url: string;
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
  if (url.pathname === `${BASE_PATH}/models`) sendJson(response, 200, { data: settings.models });
  else if (url.pathname === `${BASE_PATH}/key`) {
    const credits = books.lines.reduce((sum, line) => sum + line.creditsNanoUsd, 0n);
    sendJson(response, 200, keyBody(credits));
  } else if (url.pathname === `${BASE_PATH}/generation`) {
    const id = url.searchParams.get('id') ?? '';
    const line = books.lines.find((each) => each.generationId === id);
    if (!line) return refuse(exchange, { status: 404, message: `Generation ${id} not found` });
    sendJson(response, 200, generationBody(line));
  } else return refuse(exchange, { status: 404, message: 'Not Found' });
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

async function serveRequest(state: State, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const gone = new AbortController();
  response.on('close', () => {
    if (!response.writableFinished) gone.abort();
  });
  // Writing to a client that has left is no error of the server; `gone` tells of it.
  response.on('error', () => {});
  const { books } = state;
  const bodyText = await text(request);
  const exchange: Exchange = {
    settings: state.settings,
    record: record(books, request, bodyText),
    response,
    gone: gone.signal,
    enter(line) {
      books.lines.push(line);
      books.billed += line.nanoUsd;
    },
  };
  const url = new URL(request.url ?? '/', 'http://simulator');
  const isPublic = url.pathname === `${BASE_PATH}/models`;
  const authorised = /^Bearer \S/.test(request.headers.authorization ?? '');
  try {
    if (!isPublic && !authorised) refuse(exchange, { status: 401, message: 'No auth credentials found' });
    else if (request.method === 'GET') answerLookUp(exchange, books, url);
    else if (request.method === 'POST' && url.pathname === `${BASE_PATH}/chat/completions`) {
      await serveCompletion(exchange);
    } else refuse(exchange, { status: 404, message: 'Not Found' });
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
  return {
    url: `http://127.0.0.1:${port}${BASE_PATH}`,
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
