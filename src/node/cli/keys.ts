/** `agentguard keys`: makes, shows, hands over, publishes and certifies installation keys. */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import {
  parseKeyCertificate,
  signKeyCertificate,
  verifyKeyCertificate,
} from '../../receipts/key-certificate.ts';
import { base64url, thumbprint } from '../../receipts/keys.ts';
import { fileLedger } from '../file-ledger/index.ts';
import { homeDirectory, KEY_FILE, LOG_FILE } from '../home.ts';
import {
  ignoreEnvironmentKey,
  KEY_VARIABLE,
  keyOfEnvironment,
  readKey,
  replaceKey,
  writeNewKey,
} from '../installation-key.ts';
import { newKeyFile, publicJwk, type DatedKey, type KeyFile } from '../key-file.ts';
import { keyFileOf, logsOf, readText, rootKey } from './locate.ts';
import { CliError, countText, labelled } from './output.ts';

export interface KeysOptions {
  /** The key file. Default: that of the home. */
  file?: string;
  json?: boolean;
}

const LABEL = 14;

function keyPath({ file }: KeysOptions): string {
  return resolve(file ?? join(homeDirectory(), KEY_FILE));
}

/** The key that a command is about, and where it comes from. */
function keyOf(options: KeysOptions): { key: KeyFile; source: string } {
  const given = options.file === undefined ? keyOfEnvironment() : undefined;
  if (given !== undefined) return { key: given, source: `the variable ${KEY_VARIABLE}` };
  const path = keyPath(options);
  const key = readKey(path);
  if (key !== undefined) return { key, source: path };
  throw new CliError(`There is no key file ${path} yet. Make one with "agentguard keys make".`);
}

function print(options: KeysOptions, report: object, lines: readonly string[]): number {
  process.stdout.write(
    `${options.json === true ? JSON.stringify(report, undefined, 2) : lines.join('\n')}\n`,
  );
  return 0;
}

export function makeCommand(options: KeysOptions): number {
  const path = keyPath(options);
  if (options.file === undefined && keyOfEnvironment() !== undefined) {
    throw new CliError(
      `${KEY_VARIABLE} is set and is used in place of a key file. Name another file with --file.`,
    );
  }
  const key = newKeyFile(new Uint8Array(randomBytes(32)), new Date().toISOString());
  try {
    writeNewKey(path, key);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const exists = `${path} is there already, and logs depend on it. "agentguard keys rotate" hands them over to a new key.`;
    throw new CliError(code === 'EEXIST' ? exists : `The key can't be written: ${message}.`);
  }
  return showCommand({ ...options, file: path });
}

export function thumbprintCommand(options: KeysOptions): number {
  const { kid } = keyOf(options).key.signer;
  return print(options, { thumbprint: kid }, [kid]);
}

export function showCommand(options: KeysOptions): number {
  const { key, source } = keyOf(options);
  const { signer, former, since, certificate } = key;
  const row = (label: string, text: string): string => labelled(label, text, LABEL);
  const before = former.map(({ publicKey, until, signer: old }) => {
    const waits = old === undefined ? '' : '; its private half is kept until every log is handed over';
    return row('before', `${thumbprint(publicKey)}${until === undefined ? '' : `, until ${until}`}${waits}`);
  });
  const report = {
    thumbprint: signer.kid,
    publicKey: base64url(signer.publicKey),
    source,
    since,
    former: former.map(({ publicKey, until }) => ({ thumbprint: thumbprint(publicKey), until })),
    certificate,
  };
  return print(options, report, [
    row('thumbprint', signer.kid),
    row('public key', base64url(signer.publicKey)),
    row('source', source),
    ...(since === undefined ? [] : [row('since', since)]),
    ...before,
    ...(certificate === undefined ? [] : [row('certified by', certificate.root)]),
  ]);
}

/** The public halves as a JWK Set, to be published where the logs' writer can't change it unseen. */
export function exportCommand(options: KeysOptions): number {
  const { key } = keyOf(options);
  const jwk = (publicKey: Uint8Array, since: string | undefined, until?: string): object => ({
    ...publicJwk(publicKey),
    alg: 'Ed25519',
    use: 'sig',
    ...(since !== undefined && { valid_from: since }),
    ...(until !== undefined && { valid_until: until }),
  });
  const former = key.former.map(({ publicKey, since, until }) => jwk(publicKey, since, until));
  const set = { keys: [jwk(key.signer.publicKey, key.since), ...former] };
  process.stdout.write(`${JSON.stringify(set, undefined, 2)}\n`);
  return 0;
}

/** Certifies a key with a root that lies in a file, or stores a certificate that was made elsewhere. */
export function certifyCommand(options: KeysOptions & { root?: string; certificate?: string }): number {
  const { root, certificate: made } = options;
  const path = keyPath(options);
  const { key } = keyOf({ ...options, file: path });
  if (root === undefined)
    throw new CliError('Name the root with --root: its key file, or with --certificate its public key.');
  let certificate;
  if (made === undefined) {
    const rootFile = readKey(resolve(root));
    if (rootFile === undefined) throw new CliError(`There is no key file ${resolve(root)}.`);
    certificate = signKeyCertificate(key.signer.kid, rootFile.signer);
  } else {
    certificate = parseKeyCertificate(readText(made, '--certificate'));
    if (certificate.kid !== key.signer.kid || !verifyKeyCertificate(certificate, rootKey(root))) {
      throw new CliError('--certificate: that root has not certified this key.');
    }
  }
  replaceKey(path, { ...key, certificate });
  process.stdout.write(`${JSON.stringify(certificate)}\n`);
  return 0;
}

/** Makes a new key and hands every log over to it. What was interrupted is taken up again. */
export async function rotateCommand(options: KeysOptions & { keepOld?: boolean }): Promise<number> {
  if (options.file === undefined && keyOfEnvironment() !== undefined) {
    throw new CliError(
      `The key comes from ${KEY_VARIABLE}. Put a new JWK there, with the old one in its list "previous"; each log is ` +
        'handed over when it is opened next.',
    );
  }
  if (options.file !== undefined) ignoreEnvironmentKey();
  const path = keyPath(options);
  const { key: old } = keyOf({ ...options, file: path });
  const pending = old.former.some(({ seed }) => seed !== undefined);
  const key = pending ? old : successor(old);
  if (!pending) replaceKey(path, key);
  const logs = logsOf(dirname(path)).filter((log) => keyFileOf(log) === path);
  const failed: { log: string; problem: string }[] = [];
  for (const log of logs) {
    try {
      await handOver(dirname(log), path);
    } catch (error) {
      failed.push({ log, problem: (error as Error).message });
    }
  }
  const isDone = failed.length === 0;
  // The old key is dead in every log now; what can't be found can't be used for anything.
  if (isDone && options.keepOld !== true) replaceKey(path, { ...key, former: key.former.map(publicHalf) });
  const report = {
    thumbprint: key.signer.kid,
    replaced: thumbprint(key.former[0]?.publicKey ?? new Uint8Array(32)),
    logs,
    failed,
  };
  const kept =
    options.keepOld === true ? 'The private half of the old key is kept, for logs that lie elsewhere.' : GONE;
  const lines = [
    `${pending ? 'Went on with' : 'Made'} the new key ${key.signer.kid}.`,
    `${countText(logs.length - failed.length, 'log')} handed over.`,
    ...failed.map(({ log, problem }) => `Not handed over: ${log}: ${problem}`),
    isDone ? kept : 'The old key is kept. Mend these logs and run the command again.',
  ];
  print(options, report, lines);
  return isDone ? 0 : 1;
}

const GONE =
  'The private half of the old key is gone. For a log that lies elsewhere, restore the old key file there first.';

function successor(old: KeyFile): KeyFile {
  const now = new Date().toISOString();
  const { seed, signer, since, former } = old;
  const last: DatedKey = {
    publicKey: signer.publicKey,
    signer,
    seed,
    until: now,
    ...(since !== undefined && { since }),
  };
  return newKeyFile(new Uint8Array(randomBytes(32)), now, [last, ...former]);
}

function publicHalf({ publicKey, since, until }: DatedKey): DatedKey {
  return { publicKey, ...(since !== undefined && { since }), ...(until !== undefined && { until }) };
}

/** Opening a log for writing hands it over. */
async function handOver(dir: string, keyFile: string): Promise<void> {
  if (!existsSync(join(dir, LOG_FILE))) return;
  const ledger = fileLedger({ dir, keyFile });
  try {
    await ledger.balances([]);
  } finally {
    await ledger.close();
  }
}
