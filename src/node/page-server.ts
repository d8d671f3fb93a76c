/**
 * Serves pages that the package ships, to this machine alone: bound to the loopback address, for requests that name it
 * (a foreign name that resolves here is refused), reading only, with nothing that would let other sites look in.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

const HOST = '127.0.0.1';
const NAMES: ReadonlySet<string> = new Set([HOST, 'localhost']);

export interface PageServer extends AsyncDisposable {
  /** `http://127.0.0.1:<port>` */
  readonly url: string;
}

/** Serves each page under its path. Rejects when the port is taken. */
export async function servePages(pages: ReadonlyMap<string, string>, port = 0): Promise<PageServer> {
  const server = createServer((request, response) => answer(pages, request, response));
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, HOST, resolve);
  });
  const { port: bound } = server.address() as AddressInfo;
  return { url: `http://${HOST}:${bound}`, [Symbol.asyncDispose]: () => closed(server) };
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

function answer(
  pages: ReadonlyMap<string, string>,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const port = request.socket.localPort;
  const [name = '', named] = (request.headers.host ?? '').split(':');
  if (!NAMES.has(name) || Number(named ?? 80) !== port)
    return refuse(response, 421, 'This is for 127.0.0.1 alone.');
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('allow', 'GET, HEAD');
    return refuse(response, 405, 'Pages can only be read.');
  }
  const path = (request.url ?? '').replace(/[?#].*$/, '');
  const html = pages.get(path);
  if (html === undefined)
    return refuse(response, 404, `There is nothing here. Pages: ${[...pages.keys()].join(' ')}`);
  response.writeHead(200, { ...HEADERS, 'content-type': 'text/html; charset=utf-8', ...policyOf(html) });
  response.end(request.method === 'HEAD' ? undefined : html);
}

const HEADERS = {
  'cache-control': 'no-store',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
};

/** The page's own policy, with the one rule that only a header can make. */
function policyOf(html: string): Record<string, string> {
  const [, policy = "default-src 'none'"] =
    /<meta http-equiv="Content-Security-Policy" content="([^"]*)">/.exec(html) ?? [];
  return { 'content-security-policy': `${policy}; frame-ancestors 'none'` };
}

function refuse(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { ...HEADERS, 'content-type': 'text/plain; charset=utf-8' });
  response.end(`${text}\n`);
}
