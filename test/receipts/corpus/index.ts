/**
 * The corpus: logs of every kind with the one verdict on each. Every verifier – library, command line, page, shell,
 * Python – must come to it. `tools/dump-corpus.ts` writes it to a folder.
 */
import { encodingAttacks } from './encoding-attacks.ts';
import { honestCases } from './honest.ts';
import { keyAttacks, signatureAttacks } from './key-attacks.ts';
import { logAttacks } from './log-attacks.ts';
import type { CorpusCase } from './case.ts';

export { verdictOfCase, type CorpusCase } from './case.ts';

/** The same bytes in every run. */
export async function buildCorpus(): Promise<CorpusCase[]> {
  const groups = [honestCases(), logAttacks(), encodingAttacks(), signatureAttacks(), keyAttacks()];
  return (await Promise.all(groups)).flat();
}

/** What the manifest of a dumped corpus says of each log. */
export interface ManifestEntry extends Omit<CorpusCase, 'bytes'> {
  file: string;
}
