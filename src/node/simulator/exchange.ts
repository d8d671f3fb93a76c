/** One call from accepted request to charge, with every way in which it can end. The same for every wire. */
import type { ServerResponse } from 'node:http';
import { chargesFor, type BillLine, type ChargeKind } from './bill.ts';
import { findServed, routeCall, servedName, vendorOf, type Refusal, type SimulatorModel } from './models.ts';
import { piecesOf } from './pieces.ts';
import type { RecordedRequest } from './recorded-request.ts';
import { answerTo, countsAfter, type Fault, type Reply, type SimulatedRequest } from './script.ts';
import type { CallShape, Dialect, EventWriter, Served, Wire } from './wires/wire.ts';

/** What is the same for all the calls of one simulator. */
export interface Settings {
  readonly models: readonly SimulatorModel[];
  readonly respond: (request: SimulatedRequest) => Reply | Promise<Reply>;
  readonly latencyMs: (request: SimulatedRequest) => number;
  readonly abortBilling: 'generated' | 'full';
  readonly dialect: Dialect;
}

/** One call that is being served. */
export interface Exchange {
  readonly settings: Settings;
  /** The API that is called, whose words the answer has. */
  readonly wire: Wire;
  readonly record: RecordedRequest;
  readonly response: ServerResponse;
  /** Aborted once the client has left before the whole answer was handed over. */
  readonly gone: AbortSignal;
  /** Puts a charge on the bill. */
  readonly enter: (line: BillLine) => void;
}

/** A call that was understood. */
interface Call {
  shape: CallShape;
  request: SimulatedRequest;
  rows: readonly SimulatorModel[];
  online: ReadonlySet<string>;
}

/** A call with the answer that it gets. */
interface Serving extends Exchange {
  call: Call;
  row: SimulatorModel;
  reply: Reply;
  served: Served;
}

/** Resolves after `ms` milliseconds, 0 being one turn of the event loop, or at once when `gone` is aborted. */
function wait(ms: number, gone: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (gone.aborted) return resolve();
    const finish = (): void => {
      clearTimeout(timer);
      gone.removeEventListener('abort', finish);
      resolve();
    };
    const timer = ms > 0 && ms !== Infinity ? setTimeout(finish, ms) : undefined;
    if (ms <= 0) setImmediate(finish);
    gone.addEventListener('abort', finish);
  });
}

/** Sends a JSON body. */
export function sendJson(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  const text = JSON.stringify(body);
  const length = Buffer.byteLength(text);
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': length, ...headers });
  response.end(text);
}

/** Answers with an HTTP error; nothing is charged. */
export function refuse(exchange: Exchange, refusal: Refusal, headers: Record<string, string> = {}): void {
  const { record, response, settings, wire } = exchange;
  record.outcome = 'refused';
  sendJson(response, refusal.status, wire.refusal(refusal, settings.dialect), headers);
}

function readCall({ record, settings, wire }: Exchange): Call | Refusal {
  const { dialect, models } = settings;
  const body = record.body as Readonly<Record<string, unknown>> | undefined;
  if (typeof body !== 'object' || body === null)
    return { status: 400, message: 'Invalid JSON in request body' };
  const shape = wire.read({ body, headers: record.headers, dialect });
  if ('status' in shape) return shape;
  const route = routeCall(models, { ...shape, form: wire.ids(dialect), gives: wire.gives });
  if ('status' in route) return route;
  const { inputTokens, limit, messages, named, stream, tools } = shape;
  return {
    ...route,
    shape,
    request: {
      id: record.id,
      wire: wire.name,
      model: named[0] as string,
      candidates: route.rows.map((row) => row.id),
      stream: stream && wire.events !== undefined,
      messages,
      tools,
      inputTokens,
      ...(limit !== undefined && { maxOutputTokens: limit }),
      headers: record.headers,
      body,
    },
  };
}

/** Puts the call on the bill: the whole answer, or the first `sent` chunks of it. */
function charge(serving: Serving, how: ChargeKind, sent: number = serving.served.pieces.length): BillLine {
  const { call, record, reply, row, served, wire } = serving;
  const { answer, pieces } = served;
  const { imagesIn = 0, webSearch = false } = call.shape;
  const counts = countsAfter(answer, sent, pieces.length);
  const isByok = reply.isByok ?? false;
  const drawn = pieces.slice(0, sent).filter(({ block }) => block.kind === 'image').length;
  const used = {
    ...counts,
    images: imagesIn + (wire.gives === 'image' ? drawn : 0),
    webSearches: webSearch || call.online.has(row.id) ? 1 : 0,
  };
  const at = Date.now();
  const line: BillLine = {
    requestId: record.id,
    generationId: served.id,
    at,
    model: row.id,
    requestedModel: call.request.model,
    provider: served.provider,
    streamed: call.request.stream,
    isByok,
    finishReason: how === 'completed' ? answer.finishReason : how,
    ...counts,
    ...chargesFor(row.pricing, used, { at, isByok, upstreamCost: reply.upstreamCost }),
    how,
  };
  record.charge = line.nanoUsd;
  record.outcome = how;
  serving.enter(line);
  return line;
}

/** The client has left: a stream costs what was generated and the chunk in flight, all else the whole answer. */
function chargeAbort(serving: Serving, sent: number): void {
  const { call, served, settings } = serving;
  const stops = call.request.stream && settings.abortBilling === 'generated';
  const all = served.pieces.length;
  charge(serving, 'aborted', stops ? Math.min(sent + 1, all) : all);
}

/** After how many chunks the fault strikes, where it strikes in the middle of the answer. */
function breaksAfter(fault: Fault | undefined): number | undefined {
  if (fault?.kind === 'error-body') return 0;
  return fault && 'afterChunks' in fault ? fault.afterChunks : undefined;
}

/** The header by which an answer can be found again. */
function idHeader({ dialect, id }: Served): Record<string, string> {
  return { [dialect === 'openrouter' ? 'x-generation-id' : 'x-request-id']: id };
}

function answerWhole(serving: Serving): void {
  const { gone, reply, response, served, wire } = serving;
  const { fault } = reply;
  if (gone.aborted) return chargeAbort(serving, 0);
  const sent = breaksAfter(fault);
  const line = charge(serving, sent === undefined ? 'completed' : 'error', sent);
  const headers = idHeader(served);
  if (fault?.kind === 'drop') response.destroy();
  else if (fault?.kind === 'truncate') {
    const text = JSON.stringify(wire.whole(served, line));
    response.writeHead(200, { 'content-type': 'application/json', ...headers });
    response.end(text.slice(0, text.length / 2));
  } else
    sendJson(response, 200, sent === undefined ? wire.whole(served, line) : wire.failed(served), headers);
}

/** Ends a stream in the way of its fault, which is one of those that break an answer off. */
async function breakStream(serving: Serving, events: EventWriter, sent: number): Promise<void> {
  const { gone, reply, response } = serving;
  const kind = reply.fault?.kind;
  charge(serving, 'error', sent);
  if (kind === 'drop') {
    // What was generated shall reach the client before the socket breaks.
    await wait(sent > 0 ? 5 : 0, gone);
    response.destroy();
  } else response.end(kind === 'truncate' ? undefined : events.failure());
}

async function answerInChunks(serving: Serving, events: EventWriter): Promise<void> {
  const { gone, reply, response, served } = serving;
  const breaks = breaksAfter(reply.fault);
  if (reply.fault?.kind === 'drop' && breaks === 0 && !gone.aborted) return breakStream(serving, events, 0);
  response.writeHead(200, {
    'content-type': 'text/event-stream',
    'cache-control': 'no-cache',
    ...idHeader(served),
  });
  response.flushHeaders();
  response.write(events.start());
  await wait(reply.firstChunkDelayMs ?? 0, gone);
  let sent = 0;
  for (const piece of served.pieces) {
    if (gone.aborted) return chargeAbort(serving, sent);
    if (breaks !== undefined && sent >= breaks) break;
    // A slow reader doesn't stop a model, so the buffer is left to grow.
    response.write(events.piece(piece));
    sent += 1;
    await wait(reply.chunkDelayMs ?? 0, gone);
  }
  if (gone.aborted) return chargeAbort(serving, sent);
  if (breaks !== undefined) return breakStream(serving, events, sent);
  const line = charge(serving, 'completed');
  response.end(events.end(line));
}

/** Chooses the row that serves. Throws where the script names a model that isn't listed. */
function servedRow({ settings }: Exchange, call: Call, { servedModel }: Reply): SimulatorModel {
  const row = servedModel === undefined ? call.rows[0] : findServed(settings.models, servedModel);
  if (!row) throw new Error(`the script lets ${servedModel} serve, which is not a listed model`);
  return row;
}

/** What of a reply an API can give: an API for images or embeddings doesn't speak, one for embeddings has no output. */
function fitTo(wire: Wire, reply: Reply): Reply {
  if (wire.gives === 'text') return reply;
  const { reasoning: _thoughts, reasoningTokens: _count, text: _text, toolCalls: _calls, ...rest } = reply;
  return wire.gives === 'image' ? rest : { ...rest, outputTokens: 0, images: 0 };
}

/** The whole answer, before any of it is sent. */
function prepare(exchange: Exchange, call: Call, reply: Reply): Serving {
  const { record, settings, wire } = exchange;
  const { dialect } = settings;
  const { request, shape } = call;
  const { choices = 1, imagesOut = { count: 0, tokensEach: 0 } } = shape;
  const row = servedRow(exchange, call, reply);
  const most = row.top_provider?.max_completion_tokens ?? Number.MAX_SAFE_INTEGER;
  const limit = Math.min(request.maxOutputTokens ?? most, most);
  const answer = answerTo(request, fitTo(wire, reply), { limit, choices, imagesOut });
  const created = Math.floor(record.at / 1000);
  const prefix = wire.idPrefix(dialect);
  const random = crypto.randomUUID().replaceAll('-', '').slice(0, 20);
  const form = wire.ids(dialect) === 'bare' ? 'bare' : 'vendor';
  const served: Served = {
    dialect,
    id: prefix === 'gen-' ? `${prefix}${created}-${random}` : `${prefix}${random}`,
    provider: reply.provider ?? vendorOf(row.id),
    model: reply.unnamedModel ? undefined : servedName(row, reply.servedModel, form),
    created,
    request,
    answer,
    pieces: piecesOf(answer, reply),
    fault: reply.fault,
  };
  return { ...exchange, call, row, reply, served };
}

/** Serves one call to its end. Throws what the script throws. */
export async function serveCall(exchange: Exchange): Promise<void> {
  const { gone, record, settings, wire } = exchange;
  const call = readCall(exchange);
  if ('status' in call) return refuse(exchange, call);
  const { request } = call;
  const reply = await settings.respond(request);
  const latencyMs = settings.latencyMs(request);
  if (latencyMs > 0) await wait(latencyMs, gone);
  const { fault } = reply;
  if (fault?.kind === 'http') {
    const { status, message = `Simulated error ${status}`, retryAfterSeconds } = fault;
    const retry = retryAfterSeconds === undefined ? {} : { 'retry-after': String(retryAfterSeconds) };
    return refuse(exchange, { status, message }, retry as Record<string, string>);
  }
  const serving = prepare(exchange, call, reply);
  record.generationId = serving.served.id;
  if (fault?.kind === 'hang') {
    await wait(Infinity, gone);
    chargeAbort(serving, 0);
  } else if (request.stream && wire.events) await answerInChunks(serving, wire.events(serving.served));
  else answerWhole(serving);
}
