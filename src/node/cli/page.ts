/** `agentguard verify --page` and `agentguard serve`: the page that verifies in a browser. */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { servePages } from '../page-server.ts';
import { CliError, printable } from './output.ts';

/** Beside the built command; behind the build, where this runs from its sources. */
const PLACES = ['../../pages/verify.html', '../../../dist/src/pages/verify.html'];

/** The page, byte for byte as it was built. */
function verifyPage(): Buffer {
  for (const place of PLACES) {
    try {
      return readFileSync(fileURLToPath(new URL(place, import.meta.url)));
    } catch {
      // the next one
    }
  }
  throw new CliError('The page is missing from this installation. In a clone, run "npm run build" first.');
}

export interface PageOptions {
  /** The file that it goes to; `true` for standard output. */
  page: string | true;
  /** Its digest in place of the page. */
  sha256?: boolean;
}

export function pageCommand({ page: place, sha256 }: PageOptions): number {
  const page = verifyPage();
  const digest = createHash('sha256').update(page).digest('hex');
  // As `sha256sum` prints it, so that `sha256sum --check` takes it.
  if (sha256 === true) process.stdout.write(`${digest}  ${place === true ? 'verify.html' : place}\n`);
  else if (place === true) process.stdout.write(page);
  else {
    try {
      writeFileSync(place, page);
    } catch (error) {
      throw new CliError(`--page ${printable(place)}: it can't be written: ${(error as Error).message}.`);
    }
    process.stderr.write(`${printable(place)}: sha256 ${digest}\n`);
  }
  return 0;
}

/** Serves until it is interrupted. */
export async function serveCommand({ port = '0' }: { port?: string }): Promise<number> {
  const number = Number(port);
  if (!/^\d{1,5}$/.test(port) || number > 65_535)
    throw new CliError('--port: expected a number up to 65535.');
  const pages = new Map([['/verify', verifyPage().toString()]]);
  const server = await servePages(pages, number).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'EADDRINUSE') throw new CliError(`Port ${port} is taken. Name another with --port.`);
    if (error.code === 'EACCES')
      throw new CliError(`Port ${port} may not be used. Name another with --port.`);
    throw error;
  });
  process.stdout.write(`${server.url}/verify\n`);
  process.stderr.write('For this machine alone. Ctrl-C ends it.\n');
  await new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
  });
  await server[Symbol.asyncDispose]();
  return 0;
}
