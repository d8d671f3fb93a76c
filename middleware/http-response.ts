/** A refused call as an HTTP response. */
import { blockedError } from '../src/errors.ts';

/**
 * The 402 response for a refused call: its JSON body is the error's `toJSON()` (code, reason, message, cap,
 * `retryAfterMs`), with `Retry-After` in whole seconds where a window will reset. `undefined` for every other error.
 * Finds the refusal behind the errors that frameworks wrap around it. Reveals no balances.
 */
export function blockedResponse(error: unknown, init: ResponseInit = {}): Response | undefined {
  const blocked = blockedError(error);
  if (blocked === undefined) return undefined;
  const headers = new Headers(init.headers);
  // A cached refusal would outlive the window that it speaks of.
  if (!headers.has('cache-control')) headers.set('cache-control', 'no-store');
  const { retryAfterMs, statusCode } = blocked;
  if (retryAfterMs !== undefined)
    headers.set('retry-after', String(Math.max(1, Math.ceil(retryAfterMs / 1000))));
  return Response.json(blocked, { status: statusCode, ...init, headers });
}
