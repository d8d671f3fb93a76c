/** One log of the corpus, and the one verdict on it. */
import { fromBase64url } from '../../../src/receipts/keys.ts';
import { heldHead, type LogVerdict } from '../../../src/receipts/verdict.ts';
import { verifyLog } from '../../../src/receipts/verify-log.ts';
import { hashOf, bytesOf } from '../log-kit.ts';
import { INSTALLATION } from './logs.ts';
import { base64url } from '../../../src/receipts/keys.ts';

export type Group = 'honest' | 'log' | 'encoding' | 'signature' | 'keys';

export interface CorpusCase {
  name: string;
  group: Group;
  bytes: Uint8Array;
  /** What the verifier holds: public keys as base64url, and the log id and head where it kept them. */
  keys: readonly string[];
  log?: string;
  head?: { seq: number; hash: string };
  expected: {
    integrity: LogVerdict['integrity'];
    /** The first bad line, from 1. */
    line?: number;
    /** The cause, as a regular expression. */
    cause?: string;
    /** How far a kept head proves it; absent where none was kept. */
    provedUpTo?: number;
  };
}

const PINNED = [base64url(INSTALLATION.publicKey)];

type Log = readonly string[] | Uint8Array;

function bytes(log: Log): Uint8Array {
  return log instanceof Uint8Array ? log : bytesOf(log as readonly string[]);
}

type More = Partial<Pick<CorpusCase, 'keys' | 'log' | 'head'>>;

/** A log that must be valid. */
export function honest(
  name: string,
  log: Log,
  more: More & { provedUpTo?: number } = {},
  group: Group = 'honest',
): CorpusCase {
  const { provedUpTo, ...held } = more;
  const expected = { integrity: 'valid' as const, ...(provedUpTo !== undefined && { provedUpTo }) };
  return { name, group, bytes: bytes(log), keys: PINNED, ...held, expected };
}

/** A log that must be invalid at a line, for a cause. Without a line, what was kept outside contradicts it. */
export function bad(
  group: Group,
  name: string,
  log: Log,
  line: number | undefined,
  cause: RegExp,
  more: More = {},
): CorpusCase {
  const expected = {
    integrity: 'invalid' as const,
    ...(line !== undefined && { line }),
    cause: cause.source,
  };
  return { name, group, bytes: bytes(log), keys: PINNED, ...more, expected };
}

/** A log on which nothing can be said from a line on. */
export function undecidable(
  group: Group,
  name: string,
  log: Log,
  line: number,
  cause: RegExp,
  more: More = {},
): CorpusCase {
  return {
    ...bad(group, name, log, line, cause, more),
    expected: { integrity: 'undecidable', line, cause: cause.source },
  };
}

/** The head of a log at line `seq + 1`, as somebody would keep it. */
export function headAt(lines: readonly string[], seq: number): { seq: number; hash: string } {
  return { seq, hash: hashOf(lines[seq] as string) };
}

/** The library's verdict. */
export function verdictOfCase({ bytes: log, keys, log: id, head }: CorpusCase): Promise<LogVerdict> {
  const trust = { keys: keys.map((key) => fromBase64url(key, 32)), ...(id !== undefined && { log: id }) };
  return verifyLog([log], trust, head === undefined ? {} : { anchor: heldHead(head.hash, head.seq) });
}
