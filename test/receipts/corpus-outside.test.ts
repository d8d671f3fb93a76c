/** The corpus of logs before the two verifiers that know nothing of the package: `docs/verify.py` and `docs/verify.sh`. */
import { execFile, execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { temporaryFolder } from '../node/temporary-folder.ts';
import { buildCorpus } from './corpus/index.ts';

const at = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const PYTHON = process.env['AGENTGUARD_PYTHON'] ?? '/usr/bin/python3';
const EXITS = { valid: 0, invalid: 1, undecidable: 2 };

const folder = temporaryFolder();
const corpus = (await buildCorpus()).map((each, index) => ({
  ...each,
  file: join(folder, `${index}.ndjson`),
}));
const titled = corpus.map((each, index) => [`${each.name} (${index})`, each, index] as const);

/** Every log in one process: starting Python takes longer than most of them. */
const SCRIPT = `
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location('verify', sys.argv[1])
verify = importlib.util.module_from_spec(spec)
spec.loader.exec_module(verify)
found = []
for case in json.load(sys.stdin):
    data = verify.read(case['file'])
    keys = [verify.pinned(pin, verify.shown_by([data.split(b'\\n', 1)[0]])) for pin in case['keys']]
    head = case.get('head')
    kept = None if head is None else (head.get('seq'), head['hash'])
    result = verify.verify_log(data, verify.Log(keys, log_id=case.get('log')), (), kept)
    found.append([result['integrity'], result.get('line')])
print(json.dumps(found))
`;

describe('a verifier from outside', () => {
  let byPython: [string, number | null][] = [];

  beforeAll(() => {
    for (const { bytes, file } of corpus) writeFileSync(file, bytes);
    const input = JSON.stringify(corpus.map(({ bytes: _bytes, ...each }) => each));
    const options = { input, encoding: 'utf8', maxBuffer: 1 << 26 } as const;
    byPython = JSON.parse(
      execFileSync(PYTHON, ['-c', SCRIPT, at('docs/verify.py')], options),
    ) as typeof byPython;
  });

  it.each(titled)('in Python comes to the verdict on %s', (_name, { expected }, index) => {
    expect(byPython[index]).toEqual([expected.integrity, expected.line ?? null]);
  });

  // The script takes one key and neither a head nor a log id; and thousands of lines would take it minutes.
  const forShell = titled.filter(
    ([, { keys, head, log, bytes }]) =>
      keys.length === 1 && head === undefined && log === undefined && bytes.length < 300_000,
  );

  it.concurrent.each(forShell)(
    'of coreutils and openssl comes to the verdict on %s',
    async (_name, { file, keys, expected }) => {
      const { promise, resolve } = Promise.withResolvers<{ exit: number; output: string }>();
      execFile('bash', [at('docs/verify.sh'), file, keys[0] as string], (error, stdout, stderr) =>
        resolve({ exit: error === null ? 0 : Number(error.code), output: `${stdout}${stderr}` }),
      );
      const { exit, output } = await promise;
      const line = /line (\d+):/.exec(output)?.[1];
      const seen = { exit, line: line === undefined ? undefined : Number(line), output };
      expect(seen).toEqual({ exit: EXITS[expected.integrity], line: expected.line, output });
    },
  );
});
