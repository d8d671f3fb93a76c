/** Which request of the OpenAI client is what: told by method and address, whoever makes it. Pure. */

/** Requests whose cost can be bounded, by the shape of their body. */
export type PricedKind = 'chat' | 'responses' | 'completions' | 'embeddings' | 'images';

/**
 * What a request is:
 * - `free`: costs nothing, and is left as it is
 * - `open`: costs something that nobody can bound, or isn't known
 * - the others: bounded by what their body says
 */
export interface Endpoint {
  kind: PricedKind | 'free' | 'open';
  /** Names it in receipts and errors: `POST /audio/speech`. */
  label: string;
  /** The deployment that Azure's address names; it serves, whatever model the body names. */
  deployment?: string;
}

/** Reading and deleting cost nothing. */
const FREE_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'DELETE']);

/** By the end of the address, so that every base URL and every prefix of a proxy fits. */
const PRICED: readonly [PricedKind, RegExp][] = [
  ['chat', /\/chat\/completions$/],
  ['responses', /\/responses$/],
  ['completions', /(?<!\/chat)\/completions$/],
  ['embeddings', /\/embeddings$/],
  ['images', /\/images\/(generations|edits)$/],
];

/**
 * What costs nothing by itself: keeping, naming, changing and stopping things. Whole paths below the base URL, so
 * that nothing unknown passes for one of them. Everything that isn't here and isn't priced is open.
 */
const FREE: readonly RegExp[] = [
  /^\/moderations$/,
  /^\/files$/,
  /^\/uploads(\/[^/]+\/(parts|complete|cancel))?$/,
  /^\/chat\/completions\/[^/]+$/,
  /^\/responses\/(input_tokens|[^/]+\/cancel)$/,
  /^\/conversations(\/[^/]+(\/items)?)?$/,
  /^\/batches\/[^/]+\/cancel$/,
  /^\/fine_tuning\/jobs\/[^/]+\/(cancel|pause)$/,
  /^\/fine_tuning\/alpha\/graders\/validate$/,
  /^\/fine_tuning\/checkpoints\/[^/]+\/permissions$/,
  /^\/evals(\/[^/]+)?$/,
  /^\/evals\/[^/]+\/runs\/[^/]+(\/cancel)?$/,
  /^\/assistants(\/[^/]+)?$/,
  /^\/threads(\/(?!runs$)[^/]+(\/messages(\/[^/]+)?)?)?$/,
  /^\/threads\/[^/]+\/runs\/[^/]+(\/cancel)?$/,
  /^\/vector_stores\/[^/]+\/file_batches\/[^/]+\/cancel$/,
  /^\/realtime\/calls\/[^/]+\/(hangup|reject)$/,
  /^\/live\/sessions\/[^/]+\/(hangup|reject)$/,
  /^\/chatkit\/sessions\/[^/]+\/cancel$/,
  /^\/(organization|webhook_endpoints)(\/|$)/,
  // nothing more of projects: other vendors' models have addresses that begin like this
  /^\/projects\/[^/]+(\/(groups|users)\/[^/]+)?\/roles(\/[^/]+)?$/,
];

const DEPLOYMENT = /\/deployments\/([^/]+)(?=\/)/;

function parsed(address: string): URL | undefined {
  try {
    return new URL(address);
  } catch {
    return undefined;
  }
}

/** The path of an address below the client's base URL; the whole path where the address lies elsewhere. */
function pathBelow(url: URL, baseUrl: string): string {
  const base = parsed(baseUrl);
  // servers take several slashes for one
  const path = url.pathname.replace(/\/+/g, '/').replace(/\/$/, '');
  const prefix = base?.pathname.replace(/\/+/g, '/').replace(/\/$/, '') ?? '';
  const isBelow = base !== undefined && url.origin === base.origin && path.startsWith(`${prefix}/`);
  return isBelow ? path.slice(prefix.length) : path;
}

/** What the request with this method and address is. */
export function endpointOf(method: string, address: string, baseUrl: string): Endpoint {
  const verb = method.toUpperCase();
  const url = parsed(address);
  if (url === undefined) return { kind: 'open', label: verb };
  const whole = pathBelow(url, baseUrl);
  const named = DEPLOYMENT.exec(url.pathname)?.[1];
  const path = whole.replace(DEPLOYMENT, '');
  const label = `${verb} ${path}`;
  if (FREE_METHODS.has(verb)) return { kind: 'free', label };
  const kind = PRICED.find(([, pattern]) => pattern.test(path))?.[0];
  if (kind === undefined || verb !== 'POST') {
    return { kind: FREE.some((pattern) => pattern.test(path)) ? 'free' : 'open', label };
  }
  return { kind, label, ...(named !== undefined && { deployment: decoded(named) }) };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The same address with another deployment in it. */
export function withDeployment(address: string, deployment: string): string {
  return address.replace(DEPLOYMENT, `/deployments/${encodeURIComponent(deployment)}`);
}

const HOSTS: readonly [RegExp, string][] = [
  [/(^|\.)openrouter\.ai$/, 'openrouter'],
  [/(^|\.)api\.openai\.com$/, 'openai'],
  [/\.(openai\.azure\.com|cognitiveservices\.azure\.com|services\.ai\.azure\.com)$/, 'azure'],
  [/^bedrock[\w-]*\..*amazonaws\.com$/, 'bedrock'],
  [/^ai-gateway\.vercel\.sh$/, 'gateway'],
  [/^api\.anthropic\.com$/, 'anthropic'],
  [/^generativelanguage\.googleapis\.com$/, 'google'],
  [/^api\.groq\.com$/, 'groq'],
  [/^api\.together\.(xyz|ai)$/, 'together'],
  [/^api\.fireworks\.ai$/, 'fireworks'],
  [/^api\.cerebras\.ai$/, 'cerebras'],
  [/^api\.deepseek\.com$/, 'deepseek'],
  [/^api\.mistral\.ai$/, 'mistral'],
  [/^api\.x\.ai$/, 'x-ai'],
  [/^api\.perplexity\.ai$/, 'perplexity'],
  [/^api\.moonshot\.(ai|cn)$/, 'moonshotai'],
];

/**
 * Whose price list the models of an address are in, by its host. `undefined` for all others, a proxy of the user's
 * own say: `vendor/model` is then looked up at OpenRouter and the vendor, a bare name at every vendor.
 */
export function providerAt(address: string): string | undefined {
  const host = parsed(address)?.hostname ?? '';
  return HOSTS.find(([pattern]) => pattern.test(host))?.[1];
}
