/** What an error says about whether its call was sent, served and billed. Never throws. Pure. */
import { blockedError } from '../errors.ts';
import type { CallOutcome } from '../settlement.ts';
import { attempt, fieldsOf, isFields, listOf, type Fields } from './fields.ts';

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
  'InvalidArgumentError',
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

/** The end of a call that threw. The AI SDK names the status `statusCode`, the OpenAI client and LangChain `status`. */
export function failureOutcome(error: unknown, signal: AbortSignal | undefined): CallOutcome {
  const outcome = attempt(() => {
    if (neverSent(error)) return 'not_sent';
    const { statusCode, status } = fieldsOf(error);
    return REFUSALS.has(statusCode ?? status) ? 'refused' : undefined;
  }, undefined);
  return { outcome: outcome ?? (signal?.aborted === true ? 'aborted' : 'error') };
}
