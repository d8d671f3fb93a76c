/**
 * A run of whole lines from the middle of a log, verified by itself, so that several threads can share a log. What
 * stands before it is taken from its first line's own word; whoever puts segments together checks that word.
 */
import { leafHash } from './leaf-hash.ts';
import { parseLine } from './parse-line.ts';
import { plainLine, signedPart } from './plain-line.ts';
import { instantOf, type Head } from './seal.ts';
import { entryOf, sheetOf, type TallyEntry, type TallySheet } from './tally.ts';
import { wantsSignature, type SignaturePolicy } from './verdict.ts';
import { checkAtOnce, LogVerifier, type KeyStanding, type Trust } from './log-verifier.ts';

export interface SegmentTask {
  /** Whole lines, each with its newline. */
  bytes: Uint8Array;
  trust: Trust;
  /** The keys that count at the segment's beginning, as far as they were known. */
  standing: KeyStanding;
  signatures: SignaturePolicy;
  wantsLeaves: boolean;
  /** Whether its receipts are to be summed up there, and are then looked at by nobody. */
  wantsSheet?: boolean;
}

/** A segment in which every line stands, given that its first one does. */
export interface CleanSegment {
  /** What the first line says of its place. */
  first: { log: string; seq: number; previous: string; time: number };
  last: Head;
  /** Where each line's newline is. */
  ends: Uint32Array;
  /** The Merkle leaf of each line, 32 bytes after 32 bytes. */
  leaves?: Uint8Array;
  sheet?: TallySheet;
  /** The keys that it was verified under, as `standingText` has them. Others may count by the time it is looked at. */
  standing: string;
}

/** `undefined` when the segment must be looked at line by line: something is wrong, or changes which keys count. */
export function verifySegment(task: SegmentTask): CleanSegment | undefined {
  const { bytes, trust, signatures, wantsLeaves } = task;
  const ends = lineEnds(bytes);
  const start = parseLine(bytes.subarray(0, ends[0]));
  if ('problem' in start) return undefined;
  const { log, seq, previousReceiptHash: previous, issued_at: issuedAt } = start.payload;
  if (previous === undefined) return undefined;
  const time = instantOf(issuedAt);
  const head = { log, seq: seq - 1, hash: previous, time };
  const verifier = new LogVerifier(
    trust,
    { ...task.standing, head, line: seq },
    (check) => !wantsSignature(signatures, check.payload) || checkAtOnce(check),
  );
  const leaves = wantsLeaves ? new Uint8Array(ends.length * 32) : undefined;
  const entries: TallyEntry[] | undefined = task.wantsSheet === true ? [] : undefined;
  const before = standingText(verifier.standing);
  let from = 0;
  for (const [index, end] of ends.entries()) {
    const line = bytes.subarray(from, end);
    const entry = entryAfter(verifier, line);
    if (entry === undefined) return undefined;
    entries?.push(entry);
    leaves?.set(leafHash(line), index * 32);
    from = end + 1;
  }
  // Whoever comes next must be told of other keys.
  if (standingText(verifier.standing) !== before) return undefined;
  const last = verifier.head as Head;
  return {
    first: { log, seq, previous, time },
    last,
    ends,
    standing: standingText(task.standing),
    ...(leaves && { leaves }),
    ...(entries && { sheet: sheetOf(entries) }),
  };
}

/** What the next line adds, if it stands. */
function entryAfter(verifier: LogVerifier, line: Uint8Array): TallyEntry | undefined {
  const plain = plainLine(line);
  if (plain !== undefined) {
    return verifier.nextPlain(plain, line, signedPart(line)) === undefined ? plain.entry : undefined;
  }
  const next = verifier.next(line);
  return 'verdict' in next ? undefined : entryOf(next.payload);
}

function lineEnds(bytes: Uint8Array): Uint32Array {
  const ends: number[] = [];
  for (let end = bytes.indexOf(0x0a); end >= 0; end = bytes.indexOf(0x0a, end + 1)) ends.push(end);
  return Uint32Array.from(ends);
}

/** The same text for the same keys in the same places. */
export function standingText({ admitted, replaced = [], own = [] }: KeyStanding): string {
  return JSON.stringify([[...admitted.keys()], [...replaced], [...own]]);
}
