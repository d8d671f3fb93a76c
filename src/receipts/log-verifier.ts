/** Strict verification of a log, line by line: encoding, schema, chain, keys and signatures. */
import { isCertified, type CertifiedBy, type KeyCertificate } from './key-certificate.ts';
import {
  admitPublicKey,
  base64url,
  digestOf,
  fromBase64url,
  sha256Text,
  thumbprint,
  verifySignature,
} from './keys.ts';
import { parseLine, signedBytes, type ParsedLine } from './parse-line.ts';
import type { KeyPayload, Payload, Receipt } from './payloads.ts';
import type { PlainLine } from './plain-line.ts';
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

/** Which keys count at a place in a log. */
export interface KeyStanding {
  /** Public keys that the log had admitted by then, as base64url by `kid`. They are not checked again. */
  admitted: ReadonlyMap<string, string>;
  /** Keys that others had taken the place of by then, by `kid`. */
  replaced?: Iterable<string>;
  /** Keys that may speak for the log itself, by `kid`. Default: those of the trust. */
  own?: Iterable<string>;
}

/** A trusted place in the middle of a log. */
export interface VerifierStart extends KeyStanding {
  head: Head;
  /** 1-based number of the head's line. */
  line: number;
}

/** What every receipt says of its place in the log. */
export type PlacedPayload = Pick<Payload, 'issued_at' | 'issuer_id' | 'log' | 'seq' | 'type'> & {
  durable_seq?: number | undefined;
  previousReceiptHash?: string | undefined;
};

/** A signature that is to be checked, by a key that the log has admitted. */
export interface SignatureCheck {
  payload: PlacedPayload;
  key: VerifyingKey;
  message: Uint8Array;
  /** As it stands in the line: hex, if it is any good. */
  signature: string;
}

/** Checks a signature, or puts it off and answers `true`. Whoever puts one off must come back to it. */
export type SignatureRule = (check: SignatureCheck) => boolean;

/** What is said of a line whose signature is wrong. */
export const UNSIGNED = 'the signature does not fit the payload';

export const checkAtOnce: SignatureRule = ({ key, message, signature }) =>
  verifySignature(key, message, signature);

/**
 * Verifies receipts one after another. Start it at the beginning of a log, or behind a state whose head and keys
 * are already trusted.
 */
export class LogVerifier {
  #head: Head | undefined;
  #line: number;
  readonly #keys = new Map<string, VerifyingKey>();
  /** The keys that count now, as base64url by `kid`. */
  readonly #publicKeys = new Map<string, string>();
  /** Keys that may speak for the log itself: the verifier's own, and those that took their place. */
  readonly #trusted: Set<string>;
  readonly #replaced: Set<string>;
  readonly #certified: CertifiedBy;
  readonly #admittedBefore: ReadonlyMap<string, string>;
  readonly #expectedLog: string | undefined;
  readonly #isSigned: SignatureRule;

  constructor(trust: Trust, start?: VerifierStart, isSigned: SignatureRule = checkAtOnce) {
    this.#isSigned = isSigned;
    for (const key of trust.keys) this.#admit(key);
    this.#admittedBefore = start?.admitted ?? new Map();
    this.#trusted = new Set(start?.own ?? trust.keys.map(thumbprint));
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

  /** Which keys count for the next receipt. */
  get standing(): KeyStanding {
    const admitted = new Map([...this.#admittedBefore, ...this.#publicKeys]);
    for (const kid of this.#replaced) admitted.delete(kid);
    return { admitted, replaced: [...this.#replaced], own: [...this.#trusted] };
  }

  /** Goes on behind `head`, whose line and all before it were verified by somebody else under these keys. */
  skipTo(head: Head): void {
    this.#head = head;
    this.#line = head.seq + 1;
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
    const { payload } = parsed;
    const misplaced = this.#misplaced(payload);
    if (misplaced !== undefined) return this.#invalid(misplaced);
    if (payload.type === 'genesis' && this.#certified(payload)) this.#trust(payload.public_key);
    const unproved = this.#unproved(payload, parsed.signature, signedBytes(bytes, parsed.text));
    if (unproved !== undefined) return unproved;
    const wrong = this.#wrongContent(payload);
    if (wrong !== undefined) return this.#invalid(wrong);
    const receipt = { line: parsed.text, payload, hash: sha256Text(bytes) };
    this.#head = headAfter(receipt);
    return receipt;
  }

  /**
   * `next` for a line that was found to be in its schema without being taken apart, and whose type promises nothing
   * else of its content. `message` are the bytes that its signature is over.
   */
  nextPlain(line: PlainLine, bytes: Uint8Array, message: Uint8Array): LineProblem | undefined {
    this.#line += 1;
    const misplaced = this.#misplaced(line);
    if (misplaced !== undefined) return this.#invalid(misplaced);
    const unproved = this.#unproved(line, line.signature, message);
    if (unproved !== undefined) return unproved;
    this.#head = headAfter({ payload: line, hash: sha256Text(bytes) });
    return undefined;
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
    const kid = thumbprint(publicKey);
    this.#keys.set(kid, admitted.key);
    this.#publicKeys.set(kid, base64url(publicKey));
    return undefined;
  }

  /** Checks the place in the chain. */
  #misplaced(payload: PlacedPayload): string | undefined {
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
    if (payload.type !== 'clock' && instantOf(payload.issued_at) < head.time)
      return 'issued_at goes backwards';
    if (payload.durable_seq !== undefined && payload.durable_seq > head.seq)
      return 'durable_seq is ahead of the log';
    return undefined;
  }

  /** Checks key and signature. */
  #unproved(
    payload: PlacedPayload,
    signature: ParsedLine['signature'],
    message: Uint8Array,
  ): LineProblem | undefined {
    if (signature.kid !== payload.issuer_id) return this.#invalid('signature.kid is not issuer_id');
    if (this.#replaced.has(signature.kid)) return this.#invalid('signed by a key that was replaced before');
    const key = this.#key(signature.kid);
    if (key === undefined) {
      const cause = `signed by the unknown key ${signature.kid}`;
      return { verdict: 'undecidable', line: this.#line, cause };
    }
    const check = { payload, key, message, signature: signature.sig };
    return this.#isSigned(check) ? undefined : this.#invalid(UNSIGNED);
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
    this.#publicKeys.delete(old);
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
