/** Fetching OpenRouter's list of models, with every way in which that goes wrong in words. */
import { listProblem } from '../../pricing/openrouter-list.ts';
import { SDK } from '../../version.ts';
import { CliError, printable } from './output.ts';

export const DEFAULT_URL = 'https://openrouter.ai/api/v1';

/** The list has about half a megabyte. */
const MAX_BYTES = 32 * 1024 * 1024;

/** The address of the list, from the API's base or the list's own address. Throws `CliError`. */
export function listAddress(given: string): URL {
  let url: URL | undefined;
  try {
    url = new URL(given);
  } catch {
    // told below
  }
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw new CliError(`--url ${printable(given)}: expected an address such as ${DEFAULT_URL}.`);
  }
  if (url.username !== '' || url.password !== '') {
    throw new CliError('--url: the address must not hold a user name or password; the list needs none.');
  }
  const path = url.pathname.replace(/\/+$/, '');
  url.pathname = path.endsWith('/models') ? path : `${path}/models`;
  return url;
}

/** Why a request did not come through: the innermost code or message. */
function networkReason(error: unknown): string {
  let reason = (error as Error).message;
  for (let cause = error as { cause?: unknown } | undefined; cause !== undefined;) {
    const { code, message, cause: next } = cause as { code?: unknown; message?: string; cause?: unknown };
    if (typeof code === 'string') return code;
    reason = message ?? reason;
    cause = typeof next === 'object' && next !== null ? next : undefined;
  }
  return reason;
}

function statusHint(status: number): string {
  if (status === 404) return `Is --url the base of the API, like ${DEFAULT_URL}?`;
  if (status === 401 || status === 403)
    return 'The list needs no key; a proxy or firewall may stand in between.';
  if (status === 429) return 'Try again in a minute.';
  return status >= 500 ? 'Try again later.' : `Is --url the base of the API, like ${DEFAULT_URL}?`;
}

async function bodyOf(response: Response, host: string): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > MAX_BYTES)
      throw new CliError(`${host} sent more than ${MAX_BYTES / 1024 / 1024} MB, which is no list.`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parsed(text: string, contentType: string | null, address: string): unknown {
  if (text.trim() === '') throw new CliError(`${address} answered with nothing.`);
  if (text.trimStart().startsWith('<') || contentType?.includes('html') === true) {
    throw new CliError(
      `${address} answered with a web page (HTML), not with a list. Is --url the base of the API, like ` +
        `${DEFAULT_URL}? Or does a proxy ask for a login?`,
    );
  }
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    throw new CliError(
      `${address} answered with JSON that is damaged or was cut off (${text.length} characters). Try again.`,
    );
  }
  const problem = listProblem(document);
  if (problem !== undefined) throw new CliError(`The answer of ${address} is no list of models: ${problem}.`);
  return document;
}

/** The parsed list. Throws `CliError` that says what went wrong and what to do. */
export async function fetchList(url: URL, timeoutMs: number): Promise<unknown> {
  const address = printable(`${url.host}${url.pathname}`);
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    const response = await fetch(url, { signal, headers: { accept: 'application/json', 'user-agent': SDK } });
    if (!response.ok) {
      await response.body?.cancel();
      const status = `${response.status} ${response.statusText}`.trim();
      throw new CliError(`${address} answered ${printable(status)}. ${statusHint(response.status)}`);
    }
    return parsed(await bodyOf(response, address), response.headers.get('content-type'), address);
  } catch (error) {
    if (error instanceof CliError) throw error;
    if (signal.aborted) {
      throw new CliError(
        `${address} did not answer within ${timeoutMs / 1000} seconds. Try again, or with a longer --timeout.`,
      );
    }
    const reason = printable(networkReason(error));
    throw new CliError(
      `${address} can't be reached (${reason}). Check the network, the proxy and --url, and try again.`,
    );
  }
}
