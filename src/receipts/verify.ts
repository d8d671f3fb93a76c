/** Strict verification of a log, line by line: encoding, schema, chain, keys and signatures. */
import { canonicalJson, strictUtf8 } from './canonical-json.ts';
import { isCertified, type CertifiedBy, type KeyCertificate } from './key-certificate.ts';
import { admitPublicKey, fromBase64url, sha256Text, digestOf, thumbprint, verifySignature } from './keys.ts';
import { checkPayload, MAX_LINE_BYTES, type KeyPayload, type Payload, type Receipt } from './payloads.ts';
import { headAfter, instantOf, keyProofText, type Head } from './seal.ts';
import { verifyingKey, type VerifyingKey } from '#platform';

/** What is known before the first line is read. Trust never comes from the log itself. */
export interface Trust {
  /** Public keys that the verifier holds from elsewhere: the installation key, or a root. 32 bytes each. */
  keys: readonly Uint8Array[];
  /** Roots: keys that sign no receipts, but certify those of logs. 32 bytes each. */
  roots?: readonly Uint8Array[];
  /** Certificates that came beside the log; its genesis receipt may carry one as well. */
  certificates?: readonly KeyCertificate[];
  /** The log that is expected, where it is known. */
  log?: string;
}

/** Why a line can't stand. `undecidable` means that a key or a format is unknown, not that the line is wrong. */
export interface LineProblem {
  verdict: 'invalid' | 'undecidable';
  /** 1-based. */
  line: number;
  cause: string;
}

/** A trusted place in the middle of a log. */
export interface VerifierStart {
  head: Head;
  /** 1-based number of the head's line. */
  line: number;
  /** Public keys that the log had admitted by then, as base64url by `kid`. They are not checked again. */
  admitted: ReadonlyMap<string, string>;
  /** Keys that others had taken the place of by then, by `kid`. */
  replaced?: Iterable<string>;
}

interface Signature {
  alg: string;
  kid: string;
  sig: string;
}

/** A line taken apart, its encoding checked but nothing else. */
export interface ParsedLine {
  text: string;
  payload: Payload;
  signature: Signature;
}

const SIGNATURE_TAIL = ',"signature":';

/** Takes one line apart, or says what is wrong with its encoding or schema. */
export function parseLine(bytes: Uint8Array): ParsedLine | { problem: string } {
  if (bytes.length > MAX_LINE_BYTES) return { problem: `the line is longer than ${MAX_LINE_BYTES} bytes` };
  let text: string;
  let value: unknown;
  try {
    text = strictUtf8(bytes);
  } catch {
    return { problem: 'the line is not valid UTF-8' };
  }
  try {
    value = JSON.parse(text);
  } catch {
    return { problem: 'the line is not JSON' };
  }
  const envelope = value as { payload?: unknown; signature?: Partial<Signature> };
  try {
    if (canonicalJson(value) !== text) return { problem: 'the line is not in its RFC 8785 form' };
  } catch (error) {
    return { problem: (error as Error).message };
  }
  if (Object.keys(envelope).join() !== 'payload,signature') {
    return { problem: 'expected the members "payload" and "signature" and no others' };
  }
  const signature = envelope.signature;
  const isSignature =
    Object.keys(signature ?? {}).join() === 'alg,kid,sig' &&
    signature?.alg === 'EdDSA' &&
    typeof signature.kid === 'string' &&
    typeof signature.sig === 'string';
  if (!isSignature) {
    return { problem: 'expected a signature with "alg": "EdDSA", "kid" and "sig"' };
  }
  const checked = checkPayload(envelope.payload);
  if ('problem' in checked) return checked;
  return { text, payload: checked.payload, signature: signature as Signature };
}

/**
 * Verifies receipts one after another. Start it at the beginning of a log, or behind a state whose head and keys
 * are already trusted.
 */
export class LogVerifier {
  #head: Head | undefined;
  #line: number;
  readonly #keys = new Map<string, VerifyingKey>();
  /** Keys that may speak for the log itself: the verifier's own, and those that took their place. */
  readonly #trusted: Set<string>;
  readonly #replaced: Set<string>;
  readonly #certified: CertifiedBy;
  readonly #admittedBefore: ReadonlyMap<string, string>;
  readonly #expectedLog: string | undefined;

  constructor(trust: Trust, start?: VerifierStart) {
    for (const key of trust.keys) this.#admit(key);
    this.#admittedBefore = start?.admitted ?? new Map();
    this.#trusted = new Set(trust.keys.map(thumbprint));
    this.#certified = (payload) => isCertified(payload, trust.roots ?? [], trust.certificates ?? []);
    this.#replaced = new Set(start?.replaced);
    this.#expectedLog = trust.log;
    this.#head = start?.head;
    this.#line = start?.line ?? 0;
  }

  /** Where the verified part of the log ends; `undefined` before the first receipt. */
  get head(): Head | undefined {
    return this.#head;
  }

  /** True when `kid` may speak for the log itself. */
  isOwn(kid: string): boolean {
    return this.#trusted.has(kid);
  }

  /** Verifies the next line (without its newline). After a problem the verifier must not be used again. */
  next(bytes: Uint8Array): Receipt | LineProblem {
    this.#line += 1;
    const parsed = parseLine(bytes);
    if ('problem' in parsed) return this.#invalid(parsed.problem);
    const misplaced = this.#misplaced(parsed.payload);
    if (misplaced !== undefined) return this.#invalid(misplaced);
    const unproved = this.#unproved(parsed, bytes);
    if (unproved !== undefined) return unproved;
    const wrong = this.#wrongContent(parsed.payload);
    if (wrong !== undefined) return this.#invalid(wrong);
    const receipt = { line: parsed.text, payload: parsed.payload, hash: sha256Text(bytes) };
    this.#head = headAfter(receipt);
    return receipt;
  }

  #invalid(cause: string): LineProblem {
    return { verdict: 'invalid', line: this.#line, cause };
  }

  #key(kid: string): VerifyingKey | undefined {
    const before = this.#keys.has(kid) ? undefined : this.#admittedBefore.get(kid);
    if (before !== undefined) this.#keys.set(kid, verifyingKey(fromBase64url(before, 32)));
    return this.#keys.get(kid);
  }

  #admit(publicKey: Uint8Array): string | undefined {
    const admitted = admitPublicKey(publicKey);
    if ('refused' in admitted) return admitted.refused;
    this.#keys.set(thumbprint(publicKey), admitted.key);
    return undefined;
  }

  /** Checks the place in the chain. */
  #misplaced(payload: Payload): string | undefined {
    const head = this.#head;
    if (head === undefined) {
      if (payload.seq !== 0 || payload.type !== 'genesis')
        return 'the log does not begin with its genesis receipt';
      if (payload.previousReceiptHash !== undefined) return 'the first receipt points to an earlier one';
      const expected = this.#expectedLog;
      if (expected !== undefined && payload.log !== expected)
        return `this is log ${payload.log}, not ${expected}`;
      return undefined;
    }
    if (payload.type === 'genesis') return 'a second genesis receipt';
    if (payload.log !== head.log) return `the receipt belongs to log ${payload.log}`;
    if (payload.seq !== head.seq + 1) return `seq is ${payload.seq}, expected ${head.seq + 1}`;
    if (payload.previousReceiptHash !== head.hash)
      return 'previousReceiptHash is not the hash of the line before';
    if (payload.type !== 'clock' && Date.parse(payload.issued_at) < head.time)
      return 'issued_at goes backwards';
    if (payload.durable_seq !== undefined && payload.durable_seq > head.seq)
      return 'durable_seq is ahead of the log';
    return undefined;
  }

  /** Checks key and signature. */
  #unproved({ payload, signature, text }: ParsedLine, bytes: Uint8Array): LineProblem | undefined {
    if (signature.kid !== payload.issuer_id) return this.#invalid('signature.kid is not issuer_id');
    if (this.#replaced.has(signature.kid)) return this.#invalid('signed by a key that was replaced before');
    if (payload.type === 'genesis' && this.#certified(payload)) this.#trust(payload.public_key);
    const key = this.#key(signature.kid);
    if (key === undefined) {
      const cause = `signed by the unknown key ${signature.kid}`;
      return { verdict: 'undecidable', line: this.#line, cause };
    }
    // The envelope has one canonical form, so the signed bytes are a slice of the line.
    const tail = text.length - text.lastIndexOf(SIGNATURE_TAIL);
    const signed = bytes.subarray('{"payload":'.length, bytes.length - tail);
    return verifySignature(key, signed, signature.sig)
      ? undefined
      : this.#invalid('the signature does not fit the payload');
  }

  /** Checks what a type promises about its own content, and admits keys. */
  #wrongContent(payload: Payload): string | undefined {
    switch (payload.type) {
      case 'genesis':
        return thumbprintOf(payload.public_key) === payload.issuer_id
          ? undefined
          : 'public_key is not the issuer’s';
      case 'policy':
        return digestOf(payload.policy) === payload.digest ? undefined : 'digest is not that of the policy';
      case 'prices':
        return digestOf(payload.rows) === payload.digest ? undefined : 'digest is not that of the prices';
      case 'key':
        return this.#admitByReceipt(payload);
      case 'clock':
        if (payload.to !== payload.issued_at || instantOf(payload.from) !== this.#head?.time) {
          return 'from and to are not the times before and after the receipt';
        }
        return this.#ledgersOwn(payload);
      case 'freeze':
      case 'grant':
      case 'recovered':
      case 'snapshot':
        return this.#ledgersOwn(payload);
      default:
        return undefined;
    }
  }

  /** What a ledger says of itself, and of keys, only its own key may say. */
  #ledgersOwn(payload: Payload): string | undefined {
    if (this.#trusted.has(payload.issuer_id)) return undefined;
    return `a ${payload.type} receipt may be signed only by the installation key`;
  }

  #admitByReceipt(payload: KeyPayload): string | undefined {
    const foreign = this.#ledgersOwn(payload);
    if (foreign !== undefined) return foreign;
    if (thumbprintOf(payload.public_key) !== payload.kid) return 'kid is not the thumbprint of public_key';
    if (this.#replaced.has(payload.kid)) return 'it admits a key that was replaced before';
    const refused = this.#admit(fromBase64url(payload.public_key, 32));
    if (refused !== undefined) return refused;
    const proof = keyProofText(payload.log, payload.seq, payload.previousReceiptHash ?? '', payload.kid);
    const key = this.#keys.get(payload.kid) as VerifyingKey;
    if (!verifySignature(key, proof, payload.proof))
      return 'the new key did not prove that its holder has it';
    return payload.replaces === undefined ? undefined : this.#replace(payload.replaces, payload.kid);
  }

  /** The new key takes the place of the old one, which is dead from the next line on. */
  #replace(old: string, kid: string): string | undefined {
    if (old === kid) return 'a key can’t replace itself';
    if (this.#key(old) === undefined) return 'it replaces a key that the log had not admitted';
    if (this.#trusted.delete(old)) this.#trusted.add(kid);
    this.#replaced.add(old);
    this.#keys.delete(old);
    return undefined;
  }

  #trust(publicKey: string): void {
    const bytes = fromBase64url(publicKey, 32);
    if (this.#admit(bytes) === undefined) this.#trusted.add(thumbprint(bytes));
  }
}

function thumbprintOf(publicKey: string): string | undefined {
  try {
    return thumbprint(fromBase64url(publicKey, 32));
  } catch {
    return undefined;
  }
}

/** The verdict on a log. Completeness beyond the last line can't be proved from the log alone. */
export interface LogVerdict {
  integrity: 'valid' | 'invalid' | 'undecidable';
  /** Receipts that verified before the end or the first problem. */
  receipts: number;
  log?: string;
  /** Hash of the last receipt that verified. */
  head?: string;
  /** 1-based line of the first problem, with its cause. */
  line?: number;
  cause?: string;
}

/**
 * Verifies a whole log from its bytes, however they are chunked. Calls `onReceipt` for each receipt that
 * verified. An empty log and an unknown key are undecidable, never valid.
 */
export async function verifyLog(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  trust: Trust,
  onReceipt?: (receipt: Receipt) => void,
): Promise<LogVerdict> {
  const verifier = new LogVerifier(trust);
  let rest: Uint8Array = new Uint8Array(0);
  let receipts = 0;
  const verdict = (problem?: LineProblem): LogVerdict => ({
    integrity: problem?.verdict ?? 'valid',
    receipts,
    ...(verifier.head && { log: verifier.head.log, head: verifier.head.hash }),
    ...(problem && { line: problem.line, cause: problem.cause }),
  });
  for await (const chunk of chunks) {
    rest = joined(rest, chunk);
    let start = 0;
    for (let end = rest.indexOf(0x0a, start); end >= 0; end = rest.indexOf(0x0a, start)) {
      const next = verifier.next(rest.subarray(start, end));
      if ('verdict' in next) return verdict(next);
      receipts += 1;
      onReceipt?.(next);
      start = end + 1;
    }
    rest = rest.subarray(start);
    if (rest.length > MAX_LINE_BYTES) break;
  }
  if (rest.length > 0) return verdict(unfinished(rest, receipts + 1));
  if (receipts === 0) return verdict({ verdict: 'undecidable', line: 1, cause: 'the log is empty' });
  return verdict();
}

/** A line that a writer is still at, or died at: nobody has been told that it counts, and the next writer removes it. */
function unfinished(rest: Uint8Array, line: number): LineProblem {
  if (rest.length > MAX_LINE_BYTES) return { verdict: 'invalid', line, cause: 'the line is too long' };
  return { verdict: 'undecidable', line, cause: 'the last line has no end' };
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  if (a.length === 0) return b;
  const whole = new Uint8Array(a.length + b.length);
  whole.set(a);
  whole.set(b, a.length);
  return whole;
}
