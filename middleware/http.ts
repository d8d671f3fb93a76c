/** Route handlers under a guard: who is calling is said by the server, and a refusal is a real HTTP 402. */
import { AgentGuardError } from '../src/errors.ts';
import { withSpendScope, type SpendScope } from '../src/scope.ts';
import { isFields } from '../src/wire/fields.ts';
import { bodyWithinScope } from './http-body.ts';
import { blockedResponse } from './http-response.ts';

export { blockedResponse } from './http-response.ts';

/** True for a response, of whichever class: polyfills and other copies of `fetch` have classes of their own. */
function isResponse(given: SpendScope | Response): given is Response {
  return given instanceof Response || (isFields(given) && 'headers' in given && 'status' in given);
}

export interface GuardRouteOptions<Request> {
  /**
   * Who is calling, from what the server itself knows of the request: a session, a verified token, a header that your
   * own proxy sets. Never from JSON that the client wrote. A `Response` instead of a scope is the answer (401, say),
   * and the handler isn't run.
   */
  scope: (request: Request) => SpendScope | Response | Promise<SpendScope | Response>;
}

/**
 * Wraps a route handler (Next.js, Hono, any that takes a `Request` and gives a `Response`): its guarded calls carry
 * the scope, and where one is refused and nothing catches the error, the answer is a 402 with the reason
 * (`blockedResponse`). Other errors are the handler's own.
 *
 * A `streamText` that is refused does not throw: return `toGuardedResponse(result)` for it. Throws `AgentGuardError`
 * (`invalid_config`) at once without `scope` or handler; rejects with it for a scope that isn't valid, and on a runtime
 * without AsyncLocalStorage: there, give the scope with each call and use `blockedResponse`.
 */
export function guardRoute<Request, Rest extends unknown[]>(
  options: GuardRouteOptions<Request>,
  handler: (request: Request, ...rest: Rest) => Response | Promise<Response>,
): (request: Request, ...rest: Rest) => Promise<Response> {
  const { scope } = (options ?? {}) as Partial<GuardRouteOptions<Request>>;
  if (typeof scope !== 'function' || typeof handler !== 'function') {
    const expected = 'guardRoute: expected ({ scope: (request) => … }, handler)';
    throw new AgentGuardError('invalid_config', expected);
  }
  return async (request, ...rest) => {
    const given = await scope(request);
    if (isResponse(given)) return given;
    if (given === undefined) {
      // run without one, its calls would count for nobody
      throw new AgentGuardError(
        'invalid_config',
        'guardRoute: scope gave nothing; return a scope or a Response',
      );
    }
    try {
      return await withSpendScope(given, async () => {
        const response = await handler(request, ...rest);
        return isResponse(response) ? bodyWithinScope(response) : response;
      });
    } catch (error) {
      const refused = blockedResponse(error);
      if (refused === undefined) throw error;
      return refused;
    }
  };
}
