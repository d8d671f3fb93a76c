/**
 * Builds the pages: each one HTML file with its style and its script inside, and a policy that lets it run these two
 * and reach nothing else. Part of `npm run build`.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const { name, version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  name: string;
  version: string;
};

/** The browsers that have what the page needs. */
const TARGET = ['chrome120', 'firefox121', 'safari17'];

async function bundled(entry: string): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    minify: true,
    format: 'iife',
    platform: 'browser',
    conditions: ['agentguard-source'],
    target: TARGET,
    // Scripts of other people keep their notice.
    legalComments: 'inline',
    charset: 'ascii',
    logLevel: 'warning',
  });
  return outputFiles[0]!.text.trim();
}

const hashOf = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;

function policyOf(script: string, style: string): string {
  return [
    "default-src 'none'",
    `script-src ${hashOf(script)}`,
    `style-src ${hashOf(style)}`,
    "connect-src 'none'",
    "img-src 'none'",
    "font-src 'none'",
    "media-src 'none'",
    "object-src 'none'",
    "frame-src 'none'",
    "worker-src 'none'",
    "manifest-src 'none'",
    "base-uri 'none'",
    "form-action 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join('; ');
}

/** A page as one document. The same sources give the same bytes. */
export async function pageHtml(page: string): Promise<string> {
  const source = join(root, 'src/pages', page);
  const script = await bundled(join(source, 'main.ts'));
  const style = await bundled(join(source, 'style.css'));
  if (/<\/(script|style)|<!--/i.test(script + style))
    throw new Error(`${page}: its script would end too early`);
  const parts: Record<string, string> = {
    csp: `<meta http-equiv="Content-Security-Policy" content="${policyOf(script, style)}">`,
    style: `<style>${style}</style>`,
    script: `<script>${script}</script>`,
    version: `${name} ${version}`,
  };
  return readFileSync(join(source, 'index.html'), 'utf8').replaceAll(
    /<!--(\w+)-->/g,
    (_, part: string) => parts[part] ?? '',
  );
}

async function main(): Promise<void> {
  const folder = join(root, 'dist/src/pages');
  mkdirSync(folder, { recursive: true });
  const html = await pageHtml('verify');
  writeFileSync(join(folder, 'verify.html'), html);
  const digest = createHash('sha256').update(html).digest('hex');
  console.log(`verify.html  ${(Buffer.byteLength(html) / 1024).toFixed(0)} KiB  sha256 ${digest}`);
}

if (import.meta.main) await main();
