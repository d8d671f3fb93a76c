import { readFileSync } from 'node:fs';

/** The version that is installed at a path below `node_modules`. */
export function versionOf(manifest: string): string {
  const path = new URL(`../../${manifest}/package.json`, import.meta.url);
  const { name, version } = JSON.parse(readFileSync(path, 'utf8')) as { name: string; version: string };
  return `${name} ${version}`;
}
