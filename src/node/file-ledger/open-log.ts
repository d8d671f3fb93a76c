/** Opening a log: from its last snapshot, verifying everything since; damage is told apart from a crash. */
import { AgentGuardError } from '../../errors.ts';
import { LedgerState } from '../../ledgers/state.ts';
import { randomId, sha256Text } from '../../receipts/keys.ts';
import type { Receipt } from '../../receipts/payloads.ts';
import type { Head } from '../../receipts/seal.ts';
import type { LogKeys } from '../../receipts/signers.ts';
import { LogVerifier, parseLine, type LineProblem } from '../../receipts/verify.ts';
import type { LogFile } from './log-file.ts';
import { readSnapshot } from './snapshots.ts';

/** A log read up to `offset`, as far as its lines could be verified. */
export interface OpenedLog {
  state: LedgerState;
  /** Where the next line begins. */
  offset: number;
}

const NEWLINE = 0x0a;
/** How much of the end of a log is searched for its last snapshot, and has its hash links checked. */
const TAIL_BYTES = 512 * 1024;
const CHUNK_BYTES = 1024 * 1024;

/** The whole lines of `bytes`, without their newlines, with where each begins. */
export function* wholeLines(bytes: Uint8Array): Generator<{ start: number; line: Uint8Array }> {
  let start = 0;
  for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, start)) {
    yield { start, line: bytes.subarray(start, end) };
    start = end + 1;
  }
}

/**
 * Reads a log to its last whole line, or to the first that can't stand. Doesn't need the lock: what other processes
 * append meanwhile, and what is wrong with a line, is looked at by whoever holds it.
 */
export async function openLog(log: LogFile, keys: LogKeys): Promise<OpenedLog> {
  const opened = fromSnapshot(log, keys);
  if (opened !== undefined) {
    await readOn(log, opened, keys);
    // Its snapshot had already forgotten windows that are open again.
    if (!opened.state.needsReplay) return opened;
  }
  const replayed = { state: new LedgerState({ log: randomId(), seq: -1, hash: '', time: 0 }), offset: 0 };
  replayed.state.forgets = false;
  await readOn(log, replayed, keys);
  replayed.state.forgets = true;
  return replayed;
}

/** Verifies everything behind `state`'s head. */
export function verifierAt(state: LedgerState, keys: LogKeys): LogVerifier {
  const { head, keys: admitted, replaced } = state;
  // A log may have begun under a key that came before; from where on it is dead the log itself says.
  const trust = { keys: [keys.signer, ...keys.former].map(({ publicKey }) => publicKey) };
  return new LogVerifier(trust, head.seq < 0 ? undefined : { head, line: head.seq + 1, admitted, replaced });
}

async function readOn(log: LogFile, opened: OpenedLog, keys: LogKeys): Promise<void> {
  const verifier = verifierAt(opened.state, keys);
  const size = log.size();
  while (opened.offset < size) {
    const from = opened.offset;
    for (const { line } of wholeLines(log.read(from, Math.min(CHUNK_BYTES, size - from)))) {
      const next = verifier.next(line);
      if ('verdict' in next) return;
      opened.state.apply(next);
      opened.offset += line.length + 1;
    }
    if (opened.offset === from) return;
    // A log without snapshots may be long; other work goes on between its pieces.
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** The state of the last snapshot that can be trusted, with the hash links of the lines around it checked. */
function fromSnapshot(log: LogFile, keys: LogKeys): OpenedLog | undefined {
  const size = log.size();
  const from = Math.max(0, size - TAIL_BYTES);
  const tail = log.read(from, size - from);
  const lines = [...wholeLines(tail)];
  // The first line of the tail is most likely cut.
  if (from > 0) lines.shift();
  for (const { line } of lines.toReversed()) {
    const parsed = parseLine(line);
    if ('problem' in parsed || parsed.payload.type !== 'snapshot') continue;
    const { covers, body, covers_hash: hash } = parsed.payload;
    const snapshot = readSnapshot(log.path, covers, body);
    if (snapshot === undefined || snapshot.state.head.hash !== hash || snapshot.offset > size) continue;
    const { state, offset } = snapshot;
    // Written before logs could be handed over: it doesn't say whose this one is.
    if (state.own === undefined && keys.former.length > 0) continue;
    if (signatureVerdict(line, state, keys) !== 'valid') continue;
    const broken = brokenLink(lines, offset - from, state.head, from === 0);
    if (broken !== undefined) throw damaged(log.path, { verdict: 'invalid', ...broken });
    return { state, offset };
  }
  return undefined;
}

/** The verdict on a receipt's own signature; its place in the chain is checked when the lines before it are read. */
function signatureVerdict(
  line: Uint8Array,
  state: LedgerState,
  keys: LogKeys,
): LineProblem['verdict'] | 'valid' {
  const parsed = parseLine(line);
  if ('problem' in parsed) return 'invalid';
  const { seq, log, issued_at: issuedAt, previousReceiptHash } = parsed.payload;
  const before = { log, seq: seq - 1, hash: previousReceiptHash ?? '', time: Date.parse(issuedAt) };
  const start = { head: before, line: seq, admitted: state.keys, replaced: state.replaced };
  // Here nothing says yet whether a former key is dead: it counts as long as logs are still handed over by it.
  const living = keys.former.filter(({ signer }) => signer !== undefined);
  const trust = { keys: [keys.signer, ...living].map(({ publicKey }) => publicKey) };
  const next = new LogVerifier(trust, start).next(line);
  // Of an empty state any log may be the one.
  if (state.head.seq >= 0 && log !== state.head.log) return 'invalid';
  return 'verdict' in next ? next.verdict : 'valid';
}

/**
 * Checks the hash links of the lines that a snapshot covers, as far as the tail shows them. Everything before
 * the tail is left to `agentguard verify`; everything after the snapshot is verified in full.
 */
function brokenLink(
  lines: readonly { start: number; line: Uint8Array }[],
  coveredTo: number,
  covered: Head,
  isWholeLog: boolean,
): { line: number; cause: string } | undefined {
  const before = lines.filter(({ start }) => start < coveredTo);
  let seq = isWholeLog ? -1 : undefined;
  let hash: string | undefined;
  for (const [index, { line }] of before.entries()) {
    const parsed = parseLine(line);
    // Where the tail begins only its lines say how many there were before.
    const number = seq === undefined ? covered.seq + 2 - before.length + index : seq + 2;
    if ('problem' in parsed) return { line: number, cause: parsed.problem };
    const { payload } = parsed;
    if (seq !== undefined && payload.seq !== seq + 1) {
      return { line: number, cause: `seq is ${payload.seq}, expected ${seq + 1}` };
    }
    if (hash !== undefined && payload.previousReceiptHash !== hash) {
      return { line: number - 1, cause: 'the next line does not point to it' };
    }
    ({ seq } = payload);
    hash = sha256Text(line);
  }
  if (hash === undefined || (hash === covered.hash && seq === covered.seq)) return undefined;
  return { line: (seq ?? covered.seq) + 1, cause: 'it is not the line that the snapshot covers' };
}

/** The error for a log that somebody changed. The file is left as it is. */
export function damaged(path: string, { verdict, line, cause }: LineProblem): AgentGuardError {
  const what = verdict === 'undecidable' ? 'can’t be trusted' : 'was changed';
  return new AgentGuardError(
    'log_damaged',
    `line ${line} of ${path} ${what}: ${cause}. The file is left as it is. Run "agentguard verify ${path}"; ` +
      'restore the log from a backup, or move it away to start a new one.',
  );
}

/**
 * Whether the bytes from a bad line on can be what a crash left: lines that were written but never reached the
 * disk whole. They can't when the bad line is a whole receipt, or when a later receipt says, signed, that the
 * disk had it.
 */
export function isCrashDamage(bad: Uint8Array, state: LedgerState, keys: LogKeys): boolean {
  const first = wholeLines(bad).next().value?.line;
  if (first !== undefined && isWholeReceipt(first)) return false;
  const seq = state.head.seq + 1;
  return [...laterReceipts(bad)].every((line) => {
    const durable = signedDurableSeq(line, state, keys);
    return durable === undefined || durable < seq;
  });
}

const RECEIPT_START = new TextEncoder().encode('{"payload":{');

/** What may be a receipt behind the first line, also where the newline before it is what was damaged. */
function* laterReceipts(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = bytes.indexOf(0x7b, 1); at >= 0; at = bytes.indexOf(0x7b, at + 1)) {
    if (RECEIPT_START.some((byte, index) => bytes[at + index] !== byte)) continue;
    const end = bytes.indexOf(NEWLINE, at);
    yield bytes.subarray(at, end < 0 ? bytes.length : end);
  }
}

function isWholeReceipt(line: Uint8Array): boolean {
  try {
    const value = JSON.parse(new TextDecoder().decode(line)) as Record<string, unknown> | null;
    return typeof value === 'object' && value !== null;
  } catch {
    return false;
  }
}

/** What a receipt says that the disk had. A key that isn't known may have been admitted by the very line in doubt. */
function signedDurableSeq(line: Uint8Array, state: LedgerState, keys: LogKeys): number | undefined {
  const parsed = parseLine(line);
  if ('problem' in parsed || signatureVerdict(line, state, keys) === 'invalid') return undefined;
  const { payload } = parsed;
  return payload.type === 'snapshot' ? payload.covers : payload.durable_seq;
}

/** A receipt as another process appended it: linked and well formed, its signature not checked again. */
export function linkedReceipt(line: Uint8Array, state: LedgerState): Receipt | LineProblem {
  const number = state.head.seq + 2;
  const parsed = parseLine(line);
  if ('problem' in parsed) return { verdict: 'invalid', line: number, cause: parsed.problem };
  const { payload, text } = parsed;
  const { head } = state;
  if (head.seq >= 0 && (payload.previousReceiptHash !== head.hash || payload.log !== head.log)) {
    return { verdict: 'invalid', line: number, cause: 'it does not point to the line before' };
  }
  if (payload.seq !== head.seq + 1) {
    return { verdict: 'invalid', line: number, cause: `seq is ${payload.seq}, expected ${head.seq + 1}` };
  }
  return { line: text, payload, hash: sha256Text(line) };
}
