/** `agentguard share`: a link that proves receipts of one call and shows nothing else of the log. */
import { createReadStream } from 'node:fs';
import { equalBytes } from '../../receipts/base64.ts';
import { originOf, parseCheckpoint, type ParsedCheckpoint } from '../../receipts/checkpoint.ts';
import { fromBase64url } from '../../receipts/keys.ts';
import { inclusionProof, leafHash, TreeFrontier } from '../../receipts/merkle.ts';
import { verifyNote } from '../../receipts/note.ts';
import type { Payload } from '../../receipts/payloads.ts';
import { makeShareLink } from '../../receipts/share-link.ts';
import { parseLine } from '../../receipts/verify.ts';
import { checkpointOf } from './checkpoint.ts';
import { findLog, readText } from './locate.ts';
import { CliError, countText, printable } from './output.ts';

export interface ShareCommandOptions {
  /** Every receipt of the call, not its decision alone. */
  all?: boolean;
  /** One receipt by its number, in place of a call. */
  seq?: string;
  base?: string;
  /** The file of a checkpoint to prove against. Default: a new one. */
  checkpoint?: string;
  json?: boolean;
  keyFile?: string;
}

/** Prints the link alone; what it shows goes to standard error. */
export async function shareCommand(
  call: string | undefined,
  path: string | undefined,
  options: ShareCommandOptions,
): Promise<number> {
  const { seq } = options;
  if ((call === undefined) === (seq === undefined))
    throw new CliError('Name a call, "latest", or --seq <number>.');
  if (seq !== undefined && !/^\d{1,15}$/.test(seq))
    throw new CliError('--seq: expected the number of a receipt.');
  const file = findLog(path, 'share');
  const checkpoint = await provingCheckpoint(file, options);
  const read = await readLog(file, checkpoint, {
    call,
    seq: seq === undefined ? undefined : Number(seq),
    all: options.all,
  });
  if (read.wanted.length === 0) throw new CliError(missing(call, seq, checkpoint));
  const lines = withSigners(read).map(({ line, payload }) => ({
    line,
    index: payload.seq,
    proof: inclusionProof(read.leaves, payload.seq),
  }));
  const publicKey = read.owners.find(
    (key) => verifyNote(checkpoint.signed, originOf(checkpoint.log), key) === 'signed',
  );
  const base = options.base === undefined ? {} : { base: options.base };
  let link: string;
  try {
    link = await makeShareLink({
      ...base,
      lines,
      checkpoint: checkpoint.note,
      ...(publicKey && { publicKey }),
    });
  } catch (error) {
    throw new CliError(`No link can be made: ${(error as Error).message}.`);
  }
  const shown = lines.map(({ index }) => index);
  if (options.json === true) {
    const report = { link, length: link.length, log: checkpoint.log, size: checkpoint.size, receipts: shown };
    process.stdout.write(`${JSON.stringify(report, undefined, 2)}\n`);
    return 0;
  }
  const numbers = shown.map((index) => `#${index}`).join(', ');
  process.stderr.write(
    `This link shows receipt ${numbers} of log ${checkpoint.log} in full, with scope and model names, to whoever has ` +
      `it; it proves that it is among the first ${countText(checkpoint.size, 'line')}.\n`,
  );
  process.stdout.write(`${link}\n`);
  return 0;
}

function missing(call: string | undefined, seq: string | undefined, { size }: ParsedCheckpoint): string {
  if (seq !== undefined)
    return `There is no receipt #${seq} among the ${countText(size, 'line')} of the checkpoint.`;
  if (call === 'latest') return 'There is no call in this log.';
  return `There is no call ${printable(call ?? '')} among the ${countText(size, 'line')} of the checkpoint.`;
}

async function provingCheckpoint(
  file: string,
  { checkpoint: given, keyFile }: ShareCommandOptions,
): Promise<ParsedCheckpoint> {
  const note =
    given === undefined ? (await checkpointOf(file, keyFile)).note : readText(given, '--checkpoint');
  const checkpoint = parseCheckpoint(note);
  if ('problem' in checkpoint) throw new CliError(`--checkpoint: ${checkpoint.problem}.`);
  return checkpoint;
}

interface Line {
  line: string;
  payload: Payload;
}

interface Wanted {
  call: string | undefined;
  seq: number | undefined;
  all: boolean | undefined;
}

interface ReadLog {
  leaves: Uint8Array[];
  wanted: Line[];
  genesis: Line | undefined;
  keys: Line[];
  /** Public keys that are or were the log's own. */
  owners: Uint8Array[];
}

/** Reads the lines that the checkpoint covers, and looks only into those that may matter. */
async function readLog(
  file: string,
  { size, root, log }: ParsedCheckpoint,
  wanted: Wanted,
): Promise<ReadLog> {
  const read: ReadLog = { leaves: [], wanted: [], genesis: undefined, keys: [], owners: [] };
  const tree = new TreeFrontier();
  for await (const bytes of linesOf(file)) {
    if (tree.size === size) break;
    const leaf = leafHash(bytes);
    tree.add(leaf);
    read.leaves.push(leaf);
    const index = tree.size - 1;
    if (index === 0 || index === wanted.seq || MAY_MATTER.some((part) => bytes.includes(part))) {
      const parsed = parseLine(bytes);
      if (!('problem' in parsed)) take(read, { line: parsed.text, payload: parsed.payload }, wanted);
    }
  }
  if (tree.size !== size || !equalBytes(tree.root(), root) || read.genesis?.payload.log !== log) {
    throw new CliError(
      'The checkpoint is not one of this log as it is now. Run "agentguard verify" on the log.',
    );
  }
  return read;
}

const MAY_MATTER = ['"type":"decision"', '"type":"settlement"', '"type":"adjustment"', '"type":"key"'];

function take(read: ReadLog, line: Line, { call, seq, all }: Wanted): void {
  const { payload } = line;
  if (payload.type === 'genesis') {
    read.genesis = line;
    read.owners.push(fromBase64url(payload.public_key, 32));
  }
  if (payload.type === 'key') {
    read.keys.push(line);
    if (payload.replaces !== undefined) read.owners.push(fromBase64url(payload.public_key, 32));
  }
  if (payload.seq === seq) read.wanted = [line];
  if (call === undefined || !('call' in payload)) return;
  if (payload.type === 'decision' && (call === 'latest' || payload.call === call)) read.wanted = [line];
  else if (all === true && wantedCall(read) === payload.call) read.wanted.push(line);
}

function wantedCall({ wanted }: ReadLog): string | undefined {
  const payload = wanted[0]?.payload;
  return payload !== undefined && 'call' in payload ? payload.call : undefined;
}

/** The receipts that are meant, and those that say whose keys signed them. */
function withSigners({ wanted, genesis, keys }: ReadLog): Line[] {
  const lines = new Map(wanted.map((line) => [line.payload.seq, line]));
  const signers = new Set(wanted.map(({ payload }) => payload.issuer_id));
  const handOvers = keys.filter(({ payload }) => payload.type === 'key' && payload.replaces !== undefined);
  const admissions = [...signers].flatMap((kid) => {
    const first = wanted.find(({ payload }) => payload.issuer_id === kid)?.payload.seq ?? 0;
    const found = keys.findLast(
      ({ payload }) => payload.type === 'key' && payload.kid === kid && payload.seq < first,
    );
    return found === undefined ? [] : [found];
  });
  const isNeeded =
    genesis?.payload.type === 'genesis' &&
    (genesis.payload.certificate !== undefined || handOvers.length > 0);
  for (const line of [...handOvers, ...admissions, ...(isNeeded ? [genesis] : [])])
    lines.set(line.payload.seq, line);
  return [...lines.values()].sort((a, b) => a.payload.seq - b.payload.seq);
}

async function* linesOf(file: string): AsyncGenerator<Buffer> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of createReadStream(file, { highWaterMark: 256 * 1024 }) as AsyncIterable<Buffer>) {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let start = 0;
    for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, start)) {
      yield bytes.subarray(start, end);
      start = end + 1;
    }
    rest = bytes.subarray(start);
  }
}
