/** How a call through the AI SDK ended, from its result, the parts of its stream, or its error. Pure. */
import {
  fieldsOf,
  isFields,
  listOf,
  reportedMetadata,
  reportedResponse,
  reportedUsage,
  sentModel,
  textOf,
  type Fields,
} from './ai-sdk-usage.ts';
import { estimateTextTokens } from '../src/estimate.ts';
import { blockedError } from '../src/errors.ts';
import type { CallOutcome } from '../src/settlement.ts';

/** An estimate of the output tokens in a result: `content` since V2, fields of its own in V1. */
function seenInResult(result: Fields): number {
  const texts = [textOf(result['text']), textOf(result['reasoning'])];
  for (const part of listOf(result['content'])) {
    const { text, input } = fieldsOf(part);
    texts.push(textOf(text) ?? textOf(input));
  }
  for (const call of listOf(result['toolCalls'])) texts.push(textOf(fieldsOf(call)['args']));
  return estimateTextTokens(texts.filter((text) => text !== undefined).join('\n'));
}

/** Where a call was sent: whose figures its answer has, and the model that its request should name. */
export interface SentTo {
  provider: string;
  model: string;
}

/** The model that the request named instead of the one that was decided on, where that came about. */
function strayModel(result: unknown, { model }: SentTo): Pick<CallOutcome, 'servedModel'> {
  const named = sentModel(result);
  return named === undefined || named === model ? {} : { servedModel: named };
}

/**
 * What `read` finds in a provider's answer, or `otherwise` where reading it throws: an answer that is paid for never
 * fails for what is said about it, and usage that can't be read is unknown.
 */
function attempt<T>(read: () => T, otherwise: T): T {
  try {
    return read();
  } catch {
    return otherwise;
  }
}

/** The end of a call that answered in one piece. Never throws. */
export function resultOutcome(result: unknown, to: SentTo): CallOutcome {
  const { provider } = to;
  const fields = fieldsOf(result);
  const seenOutputTokens = attempt(() => seenInResult(fields), 0);
  const unread: CallOutcome = { outcome: 'ok', seenOutputTokens };
  return attempt(() => {
    const { usage, response, providerMetadata: metadata } = fields;
    const told = reportedUsage(usage, { provider, metadata, seenOutputTokens });
    return {
      ...unread,
      ...(told !== undefined && { usage: told }),
      ...strayModel(result, to),
      ...reportedResponse(response),
      ...reportedMetadata(metadata, usage, provider),
    };
  }, unread);
}

/** An estimate of the output tokens in one part of a stream, of any version. */
function seenInPart(part: Fields): number {
  const { type, delta, textDelta, argsTextDelta } = part;
  const isOutput = type === 'reasoning' || (typeof type === 'string' && type.endsWith('-delta'));
  const text = textOf(delta) ?? textOf(textDelta) ?? textOf(argsTextDelta);
  return isOutput && text !== undefined ? estimateTextTokens(text) : 0;
}

/** Reasons to finish that only a model gives; others stand for a stream that broke off. */
const FINISHED: ReadonlySet<unknown> = new Set(['stop', 'length', 'tool-calls', 'content-filter']);

/** Adds up what the parts of a stream say, for the one outcome at its end. Nothing here throws. */
export class StreamTally {
  readonly #provider: string;
  readonly #stray: Pick<CallOutcome, 'servedModel'>;
  #seen = 0;
  #callsWithoutDeltas = 0;
  #response: ReturnType<typeof reportedResponse> = {};
  #finish: Fields | undefined;
  #failed = false;

  /** `opened` is what `doStream` resolved with. */
  constructor(opened: unknown, to: SentTo) {
    this.#provider = to.provider;
    this.#stray = attempt(() => strayModel(opened, to), {});
  }

  see(part: unknown): void {
    attempt(() => this.#see(part), undefined);
  }

  #see(part: unknown): void {
    const fields = fieldsOf(part);
    const { type, input, args } = fields;
    this.#seen += seenInPart(fields);
    if (type === 'tool-call')
      this.#callsWithoutDeltas += estimateTextTokens(textOf(input) ?? textOf(args) ?? '');
    else if (type === 'response-metadata')
      this.#response = { ...this.#response, ...reportedResponse(fields) };
    else if (type === 'finish') this.#finish = fields;
    else if (type === 'error') this.#failed = true;
  }

  /**
   * The outcome. Usage that came counts whatever the ending, but for a stream that broke off: what a provider has
   * then is a count from before the break, which counts only if it comes with the provider's own cost.
   */
  outcome(broken: 'aborted' | 'error' | undefined): CallOutcome {
    const failed = broken ?? (this.#failed ? 'error' : undefined);
    const seenOutputTokens = Math.max(this.#seen, this.#callsWithoutDeltas);
    const unread: CallOutcome = {
      outcome: failed ?? 'ok',
      seenOutputTokens,
      ...this.#stray,
      ...this.#response,
    };
    return attempt(() => ({ ...unread, ...this.#told(failed, seenOutputTokens) }), unread);
  }

  /** What the last part says. */
  #told(failedBefore: 'aborted' | 'error' | undefined, seenOutputTokens: number): CallOutcome {
    const { usage, providerMetadata: metadata, finishReason } = this.#finish ?? {};
    const reason = isFields(finishReason) ? finishReason['unified'] : finishReason;
    const isFinished = this.#finish !== undefined && FINISHED.has(reason);
    const failed = failedBefore ?? (reason === 'error' ? 'error' : undefined);
    const provider = this.#provider;
    const told = reportedUsage(usage, { provider, metadata, seenOutputTokens });
    const reported = reportedMetadata(metadata, usage, provider);
    const counts = isFinished || (failed === undefined && reason !== 'interrupted') || 'cost' in reported;
    return {
      outcome: isFinished && !this.#failed ? 'ok' : (failed ?? 'ok'),
      ...(told !== undefined && counts && { usage: told }),
      ...reported,
    };
  }
}

/**
 * Codes of connections that never came about. They prove that nothing was sent only where an error stands for one
 * attempt. A custom `fetch` that retries by itself makes them wrong, and `REFUSALS`, too: the error is its last
 * attempt's, while one before may have been served and billed. Retries belong around the guarded model, as with the
 * `maxRetries` of the AI SDK: each attempt is then decided and settled.
 */
const NEVER_CONNECTED: ReadonlySet<unknown> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'UND_ERR_CONNECT_TIMEOUT',
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'ERR_TLS_CERT_ALTNAME_INVALID',
]);

/** Codes that an open connection can fail with, too. */
const MAYBE_CONNECTED: ReadonlySet<unknown> = new Set(['EHOSTUNREACH', 'ENETUNREACH', 'ETIMEDOUT']);

/** Errors that the AI SDK's providers throw while they put a request together. */
const BEFORE_SENDING = [
  'LoadAPIKeyError',
  'LoadSettingError',
  'UnsupportedFunctionalityError',
  'InvalidPromptError',
].map((name) => Symbol.for(`vercel.ai.error.AI_${name}`));

function neverConnected({ code, syscall }: Fields): boolean {
  if (MAYBE_CONNECTED.has(code)) return syscall === 'connect';
  return NEVER_CONNECTED.has(code) && syscall !== 'read' && syscall !== 'write';
}

/** True when an error proves that the request never left: only for what can't happen later. */
function neverSent(error: unknown): boolean {
  if (isFields(error) && BEFORE_SENDING.some((mark) => mark in error)) return true;
  // an inner guard of the same call refused it
  const refused: unknown = blockedError(error);
  if (refused !== undefined && refused === error) return true;
  const seen = new Set<unknown>();
  for (let cause = error; isFields(cause) && !seen.has(cause); cause = cause['cause']) {
    seen.add(cause);
    if (neverConnected(cause)) return true;
    const attempts = listOf(cause['errors']).map(fieldsOf);
    if (attempts.length > 0 && attempts.every(neverConnected)) return true;
  }
  return false;
}

/**
 * HTTP statuses that say no before a model is asked: the request is wrong, not allowed, not paid for, too large or
 * too much at once. After any other one the model may have generated, and the provider may bill it: 408, 504 and 524
 * are given by whoever stopped waiting, 499 by a server whose caller left, 500 and 502 when an answer was lost on its
 * way. Those are errors like a lost connection, and settle at the full hold.
 */
const REFUSALS: ReadonlySet<unknown> = new Set([400, 401, 402, 403, 404, 405, 413, 415, 422, 429, 503]);

/** The end of a call whose `doGenerate` or `doStream` threw. Never throws. */
export function failureOutcome(error: unknown, signal: AbortSignal | undefined): CallOutcome {
  const outcome = attempt(() => {
    if (neverSent(error)) return 'not_sent';
    return REFUSALS.has(fieldsOf(error)['statusCode']) ? 'refused' : undefined;
  }, undefined);
  return { outcome: outcome ?? (signal?.aborted === true ? 'aborted' : 'error') };
}
