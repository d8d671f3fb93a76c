/** One chat completion from accepted request to charge, with every way in which it can end. */
import type { ServerResponse } from 'node:http';
import { chargesFor, type BillLine, type ChargeKind } from './bill.ts';
import { findModel, routeCall, vendorOf, type Refusal, type SimulatorModel } from './models.ts';
import {
  answerTo,
  countsAfter,
  tokensOfPrompt,
  type Answer,
  type Fault,
  type Reply,
  type SimulatedRequest,
} from './script.ts';
import {
  completionBody,
  contentEvents,
  deltasOf,
  DONE_EVENT,
  errorBody,
  errorEvent,
  eventOf,
  finishEvents,
  PROCESSING_COMMENT,
  upstreamErrorBody,
  usageEvent,
  type Envelope,
} from './wire.ts';

/** A request as it came over the wire, and what became of it. */
export interface RecordedRequest {
  /** From 1, in the order in which the requests were read. */
  id: number;
  /** Milliseconds since 1970. */
  at: number;
  method: string;
  /** With the query: `/api/v1/chat/completions`. */
  path: string;
  /** Names in lower case. */
  headers: Readonly<Record<string, string>>;
  /** The parsed JSON, `undefined` where there is none. */
  body: unknown;
  bodyText: string;
  /** Nano-USD, once the request is on the bill; stays `undefined` where nothing is charged. */
  charge?: bigint;
  generationId?: string;
  /** `refused` by an HTTP error, `error` when it failed after the model had started. */
  outcome: 'pending' | 'completed' | 'aborted' | 'error' | 'refused';
}

/** What is the same for all the calls of one simulator. */
export interface Settings {
  readonly models: readonly SimulatorModel[];
  readonly respond: (request: SimulatedRequest) => Reply | Promise<Reply>;
  readonly latencyMs: (request: SimulatedRequest) => number;
  readonly abortBilling: 'generated' | 'full';
}

/** One call that is being served. */
export interface Exchange {
  readonly settings: Settings;
  readonly record: RecordedRequest;
  readonly response: ServerResponse;
  /** Aborted once the client has left before the whole answer was handed over. */
  readonly gone: AbortSignal;
  /** Puts a charge on the bill. */
  readonly enter: (line: BillLine) => void;
}

type Body = Readonly<Record<string, unknown>>;

interface Call {
  request: SimulatedRequest;
  rows: readonly SimulatorModel[];
  online: ReadonlySet<string>;
  choices: number;
  images: number;
  webPlugin: boolean;
}

/** A call with the answer that it gets. */
interface Serving extends Exchange {
  call: Call;
  row: SimulatorModel;
  reply: Reply;
  answer: Answer;
  envelope: Envelope;
  deltas: readonly Record<string, unknown>[];
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
  exchange.record.outcome = 'refused';
  sendJson(exchange.response, refusal.status, errorBody(refusal.status, refusal.message), headers);
}

function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? (value as unknown[]) : [];
}

/** The output limit of a call, or a refusal. Of two limits the larger one counts: a guard must lower both. */
function limitOf(body: Body): number | undefined | Refusal {
  let limit: number | undefined;
  for (const key of ['max_tokens', 'max_completion_tokens']) {
    const value = body[key];
    if (value === undefined || value === null) continue;
    if (!Number.isSafeInteger(value) || (value as number) < 1) {
      return { status: 400, message: `Invalid value for ${key}: expected an integer of at least 1` };
    }
    limit = Math.max(limit ?? 0, value as number);
  }
  return limit;
}

function isWebPlugin(plugin: unknown): boolean {
  return (plugin as { id?: unknown } | null)?.id === 'web';
}

function readCall(exchange: Exchange): Call | Refusal {
  const { record, settings } = exchange;
  const body = record.body as Body | undefined;
  if (typeof body !== 'object' || body === null)
    return { status: 400, message: 'Invalid JSON in request body' };
  if (!Array.isArray(body['messages'])) {
    return { status: 400, message: 'Input required: specify "prompt" or "messages"' };
  }
  const named = [body['model'], ...listOf(body['models'])].filter((id) => typeof id === 'string');
  if (named.length === 0) return { status: 400, message: 'No models provided' };
  const limit = limitOf(body);
  if (typeof limit === 'object') return limit;
  const maxPrice = (body['provider'] as Body | undefined | null)?.['max_price'];
  const route = routeCall(settings.models, named, maxPrice);
  if ('status' in route) return route;
  const messages = body['messages'] as unknown[];
  const tools = listOf(body['tools']);
  const parts = messages.flatMap((message) => listOf((message as Body | null)?.['content']));
  const n = body['n'];
  return {
    ...route,
    choices: Number.isSafeInteger(n) && (n as number) > 1 ? (n as number) : 1,
    images: parts.filter((part) => (part as Body | null)?.['type'] === 'image_url').length,
    webPlugin: listOf(body['plugins']).some(isWebPlugin),
    request: {
      id: record.id,
      model: named[0] as string,
      candidates: route.rows.map((row) => row.id),
      stream: body['stream'] === true,
      messages,
      tools,
      inputTokens: tokensOfPrompt(messages, tools),
      ...(limit !== undefined && { maxOutputTokens: limit }),
      headers: record.headers,
      body,
    },
  };
}

/** Puts the call on the bill: the whole answer, or the first `sent` chunks of it. */
function charge(serving: Serving, how: ChargeKind, sent: number = serving.deltas.length): BillLine {
  const { answer, call, deltas, envelope, record, reply, row } = serving;
  const counts = countsAfter(answer, sent, deltas.length);
  const webSearches = call.webPlugin || call.online.has(row.id) ? 1 : 0;
  const isByok = reply.isByok ?? false;
  const used = { ...counts, images: call.images, webSearches };
  const line: BillLine = {
    requestId: record.id,
    generationId: envelope.id,
    at: Date.now(),
    model: row.id,
    requestedModel: call.request.model,
    provider: envelope.provider,
    streamed: call.request.stream,
    isByok,
    finishReason: how === 'completed' ? answer.finishReason : how,
    ...counts,
    ...chargesFor(row.pricing, used, { isByok, upstreamCost: reply.upstreamCost }),
    how,
  };
  record.charge = line.nanoUsd;
  record.outcome = how;
  serving.enter(line);
  return line;
}

/** The client has left: a stream costs what was generated and the chunk in flight, all else the whole answer. */
function chargeAbort(serving: Serving, sent: number): void {
  const stops = serving.call.request.stream && serving.settings.abortBilling === 'generated';
  charge(serving, 'aborted', stops ? Math.min(sent + 1, serving.deltas.length) : serving.deltas.length);
}

/** After how many chunks the fault strikes, where it strikes in the middle of the answer. */
function breaksAfter(fault: Fault | undefined): number | undefined {
  if (fault?.kind === 'error-body') return 0;
  return fault && 'afterChunks' in fault ? fault.afterChunks : undefined;
}

function answerWhole(serving: Serving): void {
  const { answer, envelope, gone, reply, response } = serving;
  const { fault } = reply;
  if (gone.aborted) return chargeAbort(serving, 0);
  const sent = breaksAfter(fault);
  const line = charge(serving, sent === undefined ? 'completed' : 'error', sent);
  const headers = { 'x-generation-id': envelope.id };
  const body = completionBody(envelope, answer, line, fault);
  if (fault?.kind === 'drop') response.destroy();
  else if (fault?.kind === 'truncate') {
    const text = JSON.stringify(body);
    response.writeHead(200, { 'content-type': 'application/json', ...headers });
    response.end(text.slice(0, text.length / 2));
  } else sendJson(response, 200, sent === undefined ? body : upstreamErrorBody(envelope.provider), headers);
}

/** Ends a stream in the way of its fault, which is one of those that break an answer off. */
async function breakStream(serving: Serving, sent: number): Promise<void> {
  const { envelope, gone, reply, response } = serving;
  const kind = reply.fault?.kind;
  charge(serving, 'error', sent);
  if (kind === 'drop') {
    // What was generated shall reach the client before the socket breaks.
    await wait(sent > 0 ? 5 : 0, gone);
    response.destroy();
  } else if (kind === 'error-chunk') response.end(errorEvent(envelope) + DONE_EVENT);
  else if (kind === 'error-body') response.end(eventOf(upstreamErrorBody(envelope.provider)));
  else response.end();
}

async function answerInChunks(serving: Serving): Promise<void> {
  const { answer, deltas, envelope, gone, reply, response } = serving;
  const breaks = breaksAfter(reply.fault);
  if (reply.fault?.kind === 'drop' && breaks === 0 && !gone.aborted) return breakStream(serving, 0);
  response.writeHead(200, {
    'content-type': 'text/event-stream',
    'cache-control': 'no-cache',
    'x-generation-id': envelope.id,
  });
  response.write(PROCESSING_COMMENT);
  await wait(reply.firstChunkDelayMs ?? 0, gone);
  let sent = 0;
  for (const delta of deltas) {
    if (gone.aborted) return chargeAbort(serving, sent);
    if (breaks !== undefined && sent >= breaks) break;
    // A slow reader doesn't stop a model, so the buffer is left to grow.
    response.write(contentEvents(envelope, delta, answer.choices));
    sent += 1;
    await wait(reply.chunkDelayMs ?? 0, gone);
  }
  if (gone.aborted) return chargeAbort(serving, sent);
  if (breaks !== undefined) return breakStream(serving, sent);
  const line = charge(serving, 'completed');
  response.end(finishEvents(envelope, answer) + usageEvent(envelope, line, reply.fault) + DONE_EVENT);
}

/** Chooses the row that serves. Throws where the script names a model that isn't listed. */
function servedRow(exchange: Exchange, call: Call, reply: Reply): SimulatorModel {
  const id = reply.servedModel;
  const row = id === undefined ? call.rows[0] : findModel(exchange.settings.models, id);
  if (!row) throw new Error(`the script lets ${id} serve, which is not a listed model`);
  return row;
}

/** Serves one chat completion to its end. Throws what the script throws. */
export async function serveCompletion(exchange: Exchange): Promise<void> {
  const { gone, record, settings } = exchange;
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
  const row = servedRow(exchange, call, reply);
  const most = row.top_provider?.max_completion_tokens ?? Number.MAX_SAFE_INTEGER;
  const answer = answerTo(request, reply, Math.min(request.maxOutputTokens ?? most, most), call.choices);
  const created = Math.floor(record.at / 1000);
  const envelope: Envelope = {
    id: `gen-${created}-${crypto.randomUUID().replaceAll('-', '').slice(0, 20)}`,
    provider: reply.provider ?? vendorOf(row.id),
    model: row.id,
    created,
  };
  record.generationId = envelope.id;
  const serving: Serving = {
    ...exchange,
    call,
    row,
    reply,
    answer,
    envelope,
    deltas: deltasOf(answer, reply),
  };
  if (fault?.kind === 'hang') {
    await wait(Infinity, gone);
    chargeAbort(serving, 0);
  } else if (request.stream) await answerInChunks(serving);
  else answerWhole(serving);
}
