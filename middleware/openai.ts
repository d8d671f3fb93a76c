/** Spend control for the OpenAI client: the same client, every request decided before it leaves. */
import { adapterGuard, type AdapterGuard, type Guarding } from '../src/adapter.ts';
import { layerScopes } from '../src/scope.ts';
import { fieldsOf, isFields, type Fields } from '../src/wire/fields.ts';
import { openAttempt, sendAttempt, type Attempt, type RequestLike } from './openai-attempt.ts';
import { endpointOf, providerAt } from './openai-endpoints.ts';
import { invalid, readGuarding, type OpenAIGuardOptions } from './openai-options.ts';
import { sendingOf } from './openai-wire.ts';

export type { OpenAIGuardOptions } from './openai-options.ts';

type Fetch = (url: string, request: RequestLike, ...rest: unknown[]) => Promise<Response>;

/** The client as far as it is needed here: the hooks that every attempt of every request goes through. */
interface ClientLike {
  baseURL: string;
  withOptions: (options?: object) => ClientLike;
  makeRequest: (options: unknown, ...rest: unknown[]) => Promise<unknown>;
  prepareRequest: (request: RequestLike, context: { url: string; options: Fields }) => Promise<void>;
  fetchWithTimeout: Fetch;
  /** Newer versions have it around the other. */
  fetchWithAuth?: Fetch;
}

interface Context {
  adapter: AdapterGuard;
  provider: string | undefined;
}

/** What a guarded client says to whoever guards it again. */
interface Guarded extends Context {
  /** A copy without this guard. */
  plain(options: object): ClientLike;
}

const GUARDED = Symbol.for('agentguard.spend/openai-guard@1');

function hide(client: object, name: string | symbol, value: unknown): void {
  Object.defineProperty(client, name, { value, enumerable: false, configurable: true, writable: true });
}

/** What a copy of a client would go without, in versions that forget it. */
function kept(client: object): Fields {
  const { _options, apiVersion, deploymentName, apiKey: current } = client as Fields;
  const { apiKey } = fieldsOf(_options);
  return {
    ...(typeof apiKey === 'function' && { apiKey }),
    // a key may be changed on the client itself
    ...(typeof apiKey === 'string' && typeof current === 'string' && { apiKey: current }),
    ...(typeof apiVersion === 'string' && { apiVersion }),
    ...(typeof deploymentName === 'string' && { deployment: deploymentName }),
  };
}

/** Puts the hooks into a client that nobody else has. */
function install(client: ClientLike, context: Context): ClientLike {
  const { makeRequest, prepareRequest, withOptions } = client;
  const hook = typeof client.fetchWithAuth === 'function' ? 'fetchWithAuth' : 'fetchWithTimeout';
  const fetch = client[hook] as Fetch;
  const attempts = new WeakMap<object, Attempt>();
  const seen = new WeakSet<object>();
  const plain = (options: object): ClientLike => withOptions.call(client, options);

  hide(client, GUARDED, { ...context, plain } satisfies Guarded);
  hide(client, 'withOptions', (options?: object) => install(plain(options ?? {}), context));

  hide(client, 'prepareRequest', async (...args: Parameters<ClientLike['prepareRequest']>) => {
    await prepareRequest.apply(client, args);
    const [request, { url, options }] = args;
    const endpoint = endpointOf(request.method ?? 'GET', url, client.baseURL);
    const isAzure = 'deploymentName' in client || 'apiVersion' in client;
    const provider = context.provider ?? (isAzure ? 'azure' : providerAt(url));
    const signal = options['signal'] as AbortSignal | undefined;
    try {
      const attempt = await openAttempt(
        request,
        sendingOf({ endpoint, url, body: request.body, provider }),
        signal,
        context.adapter,
      );
      if (attempt !== undefined) for (const key of [request, options]) attempts.set(key, attempt);
    } catch (error) {
      // the client sees for itself that it was aborted, and says so in its own words
      if (signal?.aborted === true && error === signal.reason) return;
      throw error;
    }
    seen.add(request);
  });

  hide(client, hook, (...args: Parameters<Fetch>) => {
    const [, request, ...rest] = args;
    if (!seen.has(request)) throw invalid('a request was not decided');
    const attempt = attempts.get(request);
    if (attempt === undefined) return fetch.apply(client, args);
    const controller = rest[1] as AbortController | undefined;
    return sendAttempt(attempt, (url) => fetch.call(client, url, request, ...rest), controller?.signal);
  });

  hide(client, 'makeRequest', async (options: unknown, ...rest: unknown[]) => {
    // a copy, for a caller may use its options for several requests at once
    const resolved = { ...((await options) as Fields) };
    let outcome: 'error' | 'not_sent' = 'not_sent';
    try {
      const answer = await makeRequest.call(client, resolved, ...rest);
      outcome = 'error';
      return answer;
    } finally {
      // decided, and never seen on its way: given up before, or answered by a way that has no hooks
      const attempt = attempts.get(resolved);
      if (attempt !== undefined && !attempt.isSent) await attempt.call.settle({ outcome });
    }
  });
  return client;
}

function copyOf(client: ClientLike): ClientLike {
  try {
    return client.withOptions(kept(client));
  } catch (error) {
    // a `Proxy`, as some tracers make, has no private members
    const fix = 'guard the client itself, and wrap what withSpendGuard returns';
    throw invalid(`the client can't be copied; ${fix}`, { cause: error });
  }
}

/** A guard twice on one client is one guard: its calls are decided once, in both layers of scope. */
function guardedAnew(client: object, known: Guarded, { adapter, provider }: Context): ClientLike {
  const { scope, conflict } = layerScopes([known.adapter.layer, adapter.layer]);
  if (conflict !== undefined) throw invalid(`scope: the client is guarded for another ${conflict} already`);
  const context = {
    adapter: adapterGuard(adapter.guard, scope),
    provider: provider ?? known.provider,
  };
  return install(known.plain(kept(client)), context);
}

/**
 * The same client with every request under the guard: decided, held, settled and recorded, retries and the steps of
 * tool runners one by one. A copy: `client` itself stays as it is. Whatever `withOptions` makes of it is guarded, too.
 *
 * Calls reject with `AgentGuardBlockedError` when they may not be made; every other error is the client's own. Throws
 * `AgentGuardError` at once for options that aren't valid, and for what isn't a client of `openai` 6 or newer.
 */
export function withSpendGuard<C extends object>(client: C, guarding: Guarding | OpenAIGuardOptions): C {
  const { adapter, provider } = readGuarding(guarding);
  const hooks = ['withOptions', 'makeRequest', 'prepareRequest', 'fetchWithTimeout'];
  const missing = isFields(client) ? hooks.find((name) => typeof client[name] !== 'function') : 'withOptions';
  if (missing !== undefined) throw invalid(`expected a client of openai 6 or newer; ${missing} is missing`);
  const known = (client as { [GUARDED]?: Guarded })[GUARDED];
  if (known?.adapter.guard === adapter.guard)
    return guardedAnew(client, known, { adapter, provider }) as unknown as C;
  return install(copyOf(client as unknown as ClientLike), { adapter, provider }) as unknown as C;
}
