/**
 * A package registry on loopback that serves what is installed here, so that the real npm and the real pnpm install
 * our tarball beside the real frameworks without a network.
 */
import { readFileSync } from 'node:fs';
import { glob, mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createHash } from 'node:crypto';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { create } from 'tar';

interface Manifest {
  name: string;
  version: string;
  scripts?: unknown;
  optionalDependencies?: unknown;
  devDependencies?: unknown;
  [field: string]: unknown;
}

interface Package {
  manifest: Manifest;
  /** The packed package. */
  tarball: () => Promise<Buffer>;
}

export interface LocalRegistry extends AsyncDisposable {
  url: string;
}

function readManifest(path: string): Manifest | undefined {
  try {
    const manifest = JSON.parse(readFileSync(path, 'utf8')) as Partial<Manifest>;
    const isWhole = typeof manifest.name === 'string' && typeof manifest.version === 'string';
    return isWhole ? (manifest as Manifest) : undefined;
  } catch {
    return undefined;
  }
}

async function packed(directory: string): Promise<Buffer> {
  const folder = await mkdtemp(join(tmpdir(), 'agentguard-pack-'));
  const file = join(folder, 'package.tgz');
  const filter = (path: string): boolean => !/^(\.\/)?node_modules(\/|$)/.test(path);
  await create({ gzip: { level: 1 }, file, cwd: directory, prefix: 'package', filter, portable: true }, [
    '.',
  ]);
  const bytes = await readFile(file);
  await rm(folder, { recursive: true });
  return bytes;
}

/** Every package installed below `root`, nested copies included, by name and version. */
async function installedBelow(root: string): Promise<Map<string, Map<string, Package>>> {
  const found = new Map<string, Map<string, Package>>();
  const patterns = ['', '@*/'].map((scope) => `**/node_modules/${scope}*/package.json`);
  for await (const path of glob(patterns, { cwd: root })) {
    const file = join(root, path);
    const manifest = readManifest(file);
    if (manifest === undefined) continue;
    const versions = found.get(manifest.name) ?? new Map<string, Package>();
    let bytes: Promise<Buffer> | undefined;
    versions.set(manifest.version, { manifest, tarball: () => (bytes ??= packed(dirname(file))) });
    found.set(manifest.name, versions);
  }
  return found;
}

async function packument(name: string, versions: Map<string, Package>, url: string): Promise<object> {
  const entries: [string, object][] = [];
  for (const [version, { manifest, tarball }] of versions) {
    // What a platform needs beyond is not installed for all platforms, and nothing here is built.
    const { optionalDependencies: _optional, devDependencies: _dev, scripts: _scripts, ...fields } = manifest;
    const integrity = `sha512-${createHash('sha512')
      .update(await tarball())
      .digest('base64')}`;
    entries.push([
      version,
      { ...fields, dist: { integrity, tarball: `${url}-/tarballs/${encodeURIComponent(name)}/${version}` } },
    ]);
  }
  const latest = [...versions.keys()].toSorted((a, b) => a.localeCompare(b, 'en', { numeric: true })).at(-1);
  return { name, 'dist-tags': { latest }, versions: Object.fromEntries(entries) };
}

/** Serves everything installed below `root`, and `tarballs`: packed packages that aren't installed. */
export async function startRegistry(
  root: string,
  tarballs: readonly { manifest: Manifest; bytes: Buffer }[],
): Promise<LocalRegistry> {
  const packages = await installedBelow(root);
  for (const { manifest, bytes } of tarballs) {
    packages.set(
      manifest.name,
      new Map([[manifest.version, { manifest, tarball: () => Promise.resolve(bytes) }]]),
    );
  }
  let url = '';
  const server = createServer((request, response) => {
    const path = decodeURIComponent((request.url ?? '/').slice(1).split('?')[0] ?? '');
    const [, name, version] = /^-\/tarballs\/(.+)\/([^/]+)$/.exec(path) ?? [];
    const answer = async (): Promise<Buffer | string | undefined> => {
      if (name !== undefined)
        return packages
          .get(name)
          ?.get(version ?? '')
          ?.tarball();
      const versions = packages.get(path);
      return versions && JSON.stringify(await packument(path, versions, url));
    };
    answer().then(
      (body) =>
        response
          .writeHead(body === undefined ? 404 : 200, {
            'content-type': typeof body === 'string' ? 'application/json' : 'application/octet-stream',
          })
          .end(body),
      (error: unknown) => response.writeHead(500).end(String(error)),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const close = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return { url, [Symbol.asyncDispose]: close };
}
