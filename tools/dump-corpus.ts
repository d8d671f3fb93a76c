/**
 * Writes the corpus of logs to a folder, for verifiers in other languages: a file for each log, and `manifest.json`
 * with what the verifier holds and the verdict that it must come to.
 *
 *     node --conditions=agentguard-source tools/dump-corpus.ts <folder>
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildCorpus, type ManifestEntry } from '../test/receipts/corpus/index.ts';

const [, , folder] = process.argv;
if (folder === undefined) throw new Error('pass the folder that the corpus goes to');
mkdirSync(folder, { recursive: true });
const manifest: ManifestEntry[] = [];
for (const [index, { bytes, ...entry }] of (await buildCorpus()).entries()) {
  const words = entry.name.toLowerCase().match(/[a-z0-9]+/g) ?? [];
  const file = `${String(index).padStart(3, '0')}-${entry.group}-${words.join('-').slice(0, 60)}.ndjson`;
  writeFileSync(join(folder, file), bytes);
  manifest.push({ file, ...entry });
}
writeFileSync(join(folder, 'manifest.json'), `${JSON.stringify(manifest, undefined, 2)}\n`);
console.log(`${manifest.length} logs in ${folder}`);
