/**
 * Share links: receipts of a log with the proof that they are in it, and nothing of the others. Everything is in the
 * fragment, which browsers send to no server.
 */
import { strictUtf8 } from './canonical-json.ts';
import { fromBase64, toBase64 } from './base64.ts';
import { checkpointProblem, parseCheckpoint, type LogOwner, type ParsedCheckpoint } from './checkpoint.ts';
import { base64url, fromBase64url, thumbprint } from './keys.ts';
import { leafHash, verifyInclusion } from './merkle.ts';
import type { Payload, Receipt } from './payloads.ts';
import { LogVerifier, parseLine, type Trust } from './verify.ts';

/** A line of a log, and its way to the root of a checkpoint. */
export interface ProvedLine {
  /** Without its newline. */
  line: string;
  /** Its place in the log, from 0. */
  index: number;
  proof: readonly Uint8Array[];
}

export interface ShareOptions {
  /** Where the verifying page is. Default `https://agentguard.run/verify`. */
  base?: string;
  /**
   * What is shared, in the order of the log: the receipts that are meant, and the `genesis` and `key` receipts without
   * which their signers would be unknown.
   */
  lines: readonly ProvedLine[];
  /** The signed note that the proofs lead to. */
  checkpoint: string;
  /** The key that signed the checkpoint, so that whoever holds its thumbprint needs nothing else. */
  publicKey?: Uint8Array;
}

/** What a link comes to under the verifier's own keys. */
export interface ShareVerdict {
  verdict: 'valid' | 'invalid' | 'undecidable';
  /** Why it isn't valid. */
  cause?: string;
  /** The log that the checkpoint is of. */
  log?: string;
  /** How many lines that log had; what came later the link doesn't know of. */
  size?: number;
  /** The receipts that are in the log, in its order. Empty unless the verdict is valid. */
  receipts: readonly Receipt[];
  /** The signed note. */
  checkpoint?: string;
}

const DEFAULT_BASE = 'https://agentguard.run/verify';
/** What a link may unfold to. */
const MAX_BYTES = 64 * 1024;
const MAX_LINK = 128 * 1024;
const PROOF_HEADER = 'c2sp.org/tlog-proof@v1';
const PROOF = /^c2sp\.org\/tlog-proof@v1\nindex (0|[1-9]\d{0,15})\n((?:[A-Za-z0-9+/]{43}=\n){0,64})\n/;

/** Makes a link. Throws `RangeError` for more than a link may hold. */
export async function makeShareLink(options: ShareOptions): Promise<string> {
  const { base = DEFAULT_BASE, lines, checkpoint, publicKey } = options;
  const parts = lines.map(({ line, index, proof }) => {
    const hashes = proof.map((hash) => `${toBase64(hash)}\n`).join('');
    return `${line}\n${PROOF_HEADER}\nindex ${index}\n${hashes}\n`;
  });
  const bytes = new TextEncoder().encode(parts.join('') + checkpoint);
  if (lines.length === 0) throw new RangeError('a share link needs a receipt');
  if (bytes.length > MAX_BYTES) {
    throw new RangeError(`a share link may hold ${MAX_BYTES} bytes, and these receipts are ${bytes.length}`);
  }
  const deflated = await throughStream(bytes, new CompressionStream('deflate-raw'), Number.POSITIVE_INFINITY);
  const key = publicKey === undefined ? '' : `&k=${base64url(publicKey)}`;
  return `${base}#r=${base64url(deflated)}${key}`;
}

/** What a link holds, taken apart; nothing in it has been verified. */
export interface OpenedLink {
  lines: readonly (ProvedLine & { bytes: Uint8Array; payload: Payload })[];
  checkpoint: ParsedCheckpoint;
  /** Keys that the link shows. Trust none of them for that; they are there to be found by a thumbprint. */
  shownKeys: readonly Uint8Array[];
}

/** Takes a link apart, or says why it is none. */
export async function readShareLink(link: string): Promise<OpenedLink | { problem: string }> {
  if (link.length > MAX_LINK) return { problem: 'the link is too long' };
  const fields = new URLSearchParams(link.trim().replace(/^[^#]*#/, ''));
  let text: string;
  try {
    const deflated = bytesOf(fields.get('r') ?? '');
    if (deflated.length === 0)
      return { problem: 'the link holds no receipt (its part behind #r= is missing)' };
    text = strictUtf8(await unfolded(deflated));
    // Some runtimes pass over what stands behind the end of the packed part, and others don't.
    const isLonger = await unfolded(deflated.slice(0, -1)).then(
      () => true,
      () => false,
    );
    if (isLonger) return { problem: 'the link has something behind its end' };
  } catch (error) {
    const isTooLong = error instanceof RangeError && error.message === TOO_LONG;
    return { problem: isTooLong ? TOO_LONG : 'the link is damaged: it can’t be unfolded' };
  }
  const parsed = parseShare(text);
  if ('problem' in parsed) return parsed;
  return { ...parsed, shownKeys: shownKeys(parsed.lines, fields.get('k')) };
}

function parseShare(text: string): Omit<OpenedLink, 'shownKeys'> | { problem: string } {
  const lines: OpenedLink['lines'][number][] = [];
  let rest = text;
  while (rest.startsWith('{')) {
    const end = rest.indexOf('\n');
    const line = rest.slice(0, end);
    const [whole = '', index, hashes = ''] = PROOF.exec(rest.slice(end + 1)) ?? [];
    if (end < 0 || index === undefined) return { problem: 'a receipt of the link has no proof behind it' };
    const bytes = new TextEncoder().encode(line);
    const parsed = parseLine(bytes);
    if ('problem' in parsed) return { problem: `a receipt of the link is none: ${parsed.problem}` };
    const proof = hashes.split('\n', hashes.length / 45).map((hash) => fromBase64(hash));
    if (proof.includes(undefined)) return { problem: 'a proof of the link holds something that is no hash' };
    const { payload } = parsed;
    lines.push({ line, bytes, payload, index: Number(index), proof: proof as Uint8Array[] });
    rest = rest.slice(end + 1 + whole.length);
  }
  if (lines.length === 0) return { problem: 'the link holds no receipt' };
  const checkpoint = parseCheckpoint(rest);
  if ('problem' in checkpoint) return { problem: `the link’s checkpoint is none: ${checkpoint.problem}` };
  return { lines, checkpoint };
}

function shownKeys(lines: OpenedLink['lines'], hint: string | null): Uint8Array[] {
  const texts = lines.map(({ payload }) => ('public_key' in payload ? payload.public_key : null));
  return [hint, ...texts].flatMap((text) => {
    try {
      return text === null ? [] : [fromBase64url(text, 32)];
    } catch {
      return [];
    }
  });
}

/**
 * The verdict on a link under the verifier's own keys: each receipt is strict, signed by a key that counts, and in the
 * tree whose root one of the log's own keys has signed. Says nothing of what else is in the log.
 */
export async function openShareLink(link: string, trust: Trust): Promise<ShareVerdict> {
  const opened = await readShareLink(link);
  if ('problem' in opened) return { verdict: 'invalid', cause: opened.problem, receipts: [] };
  return judgeShare(opened, trust);
}

/** The verdict on a link that has been taken apart. */
export function judgeShare({ lines, checkpoint }: OpenedLink, trust: Trust): ShareVerdict {
  const { log, size, root, note } = checkpoint;
  const known = { log, size, checkpoint: note, receipts: [] };
  const invalid = (cause: string): ShareVerdict => ({ ...known, verdict: 'invalid', cause });
  if (trust.log !== undefined && trust.log !== log) return invalid(`this is log ${log}, not ${trust.log}`);
  let before = -1;
  for (const { bytes, index, proof, payload } of lines) {
    if (index <= before) return invalid('its receipts are not in the order of the log');
    before = index;
    if (payload.log !== log) return invalid(`receipt #${payload.seq} belongs to log ${payload.log}`);
    if (payload.seq !== index) return invalid(`receipt #${payload.seq} is proved at the place of #${index}`);
    // The size is the signed one, and the leaf is worked out from the line: nothing else is believed.
    if (!verifyInclusion({ leaf: leafHash(bytes), index, size, root, proof })) {
      return invalid(`the proof of receipt #${index} does not lead to the root of the checkpoint`);
    }
  }
  const ring = new KeyRing(trust);
  const receipts: Receipt[] = [];
  for (const line of lines) {
    const receipt = ring.next(line);
    if ('verdict' in receipt) return { ...known, verdict: receipt.verdict, cause: receipt.cause };
    receipts.push(receipt);
  }
  const problem = checkpointProblem(checkpoint, ring.owners);
  if (problem !== undefined) return { ...known, ...problem };
  return { ...known, verdict: 'valid', receipts };
}

/** The keys of a log as far as single receipts of it tell. */
class KeyRing {
  readonly #trust: Trust;
  readonly #admitted = new Map<string, string>();
  readonly #replaced = new Set<string>();
  /** The log's own keys, each with the last line that it may sign for. */
  readonly owners: LogOwner[];

  constructor(trust: Trust) {
    this.#trust = trust;
    this.owners = trust.keys.map((publicKey) => ({ publicKey }));
  }

  next({ bytes, payload }: OpenedLink['lines'][number]): ReturnType<LogVerifier['next']> {
    const { seq, log, previousReceiptHash: hash = '' } = payload;
    const time = Date.parse(payload.type === 'clock' ? payload.from : payload.issued_at);
    const head = { log, seq: seq - 1, hash, time };
    const start = { head, line: seq, admitted: this.#admitted, replaced: this.#replaced };
    const keys = this.owners.map(({ publicKey }) => publicKey);
    const verifier = new LogVerifier({ ...this.#trust, keys }, seq === 0 ? undefined : start);
    const receipt = verifier.next(bytes);
    if (!('verdict' in receipt)) this.#take(receipt.payload, verifier);
    return receipt;
  }

  #take(payload: Payload, verifier: LogVerifier): void {
    if (payload.type !== 'key' && payload.type !== 'genesis') return;
    const publicKey = fromBase64url(payload.public_key, 32);
    const kid = payload.type === 'key' ? payload.kid : payload.issuer_id;
    this.#admitted.set(kid, payload.public_key);
    if (verifier.isOwn(kid)) this.owners.push({ publicKey });
    const old = payload.type === 'key' ? payload.replaces : undefined;
    if (old === undefined) return;
    this.#replaced.add(old);
    for (const owner of this.owners) if (thumbprint(owner.publicKey) === old) owner.until = payload.seq;
  }
}

function unfolded(deflated: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  return throughStream(deflated, new DecompressionStream('deflate-raw'), MAX_BYTES);
}

const TOO_LONG = `the link unfolds to more than ${MAX_BYTES} bytes`;

/** Runs bytes through a stream and stops as soon as more than `most` come out. */
async function throughStream(
  bytes: Uint8Array<ArrayBuffer>,
  stream: CompressionStream | DecompressionStream,
  most: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const written = new Blob([bytes]).stream().pipeTo(stream.writable);
  // What goes wrong shows on the reading side.
  written.catch(() => undefined);
  const reader = (stream.readable as ReadableStream<Uint8Array>).getReader();
  const chunks: Uint8Array[] = [];
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    length += value.length;
    if (length > most) {
      await reader.cancel().catch(() => undefined);
      throw new RangeError(TOO_LONG);
    }
    chunks.push(value);
  }
  const whole = new Uint8Array(length);
  let offset = 0;
  for (const chunk of chunks) {
    whole.set(chunk, offset);
    offset += chunk.length;
  }
  return whole;
}

/** The bytes of unpadded base64url of any length. Throws for anything else. */
function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  if (!/^[\w-]*$/.test(text)) throw new RangeError('not base64url');
  const binary = atob(text.replaceAll('-', '+').replaceAll('_', '/'));
  return Uint8Array.from(binary, (char) => char.charCodeAt(0));
}
