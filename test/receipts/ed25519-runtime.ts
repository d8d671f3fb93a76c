/** Run by a Node of any version: says on which vectors each of its backends comes to another verdict. */
import { readFileSync } from 'node:fs';
import * as native from '../../src/node/platform.ts';
import * as web from '../../src/platform-web.ts';
import { disagreements, type Backend, type Ed25519Vector } from './ed25519-vectors.ts';

const vectors = JSON.parse(
  readFileSync(new URL('../vectors/ed25519.json', import.meta.url), 'utf8'),
) as Ed25519Vector[];

/** Past our own checks, each of them is the runtime's own or noble's equation. */
const BACKENDS: Readonly<Record<string, Backend>> = {
  'node:crypto': (key, message, signature) => native.verify(native.verifyingKey(key), message, signature),
  webcrypto: async (key, message, signature) => {
    const imported = await crypto.subtle.importKey('raw', Uint8Array.from(key), 'Ed25519', false, ['verify']);
    return crypto.subtle.verify('Ed25519', imported, Uint8Array.from(signature), Uint8Array.from(message));
  },
  'as the web platform does': (key, message, signature) =>
    web.verifyLater?.(web.verifyingKey(key), message, signature) ?? false,
  noble: (key, message, signature) => web.verify(web.verifyingKey(key), message, signature),
};

const report: Record<string, string[]> = {};
for (const [name, backend] of Object.entries(BACKENDS)) report[name] = await disagreements(vectors, backend);
process.stdout.write(JSON.stringify({ version: process.version, vectors: vectors.length, report }));
