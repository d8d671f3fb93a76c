/** Logs built receipt by receipt, with any keys, for what no writer of ours would write. */
import { base64url, signerFromSeed, type Signer } from '../../src/receipts/keys.ts';
import { signKeyCertificate } from '../../src/receipts/key-certificate.ts';
import { inclusionProof, leafHash, TreeFrontier } from '../../src/receipts/merkle.ts';
import type { Draft, Receipt } from '../../src/receipts/payloads.ts';
import { headAfter, keyProofText, seal, type Head } from '../../src/receipts/seal.ts';
import { signCheckpoint } from '../../src/receipts/checkpoint.ts';
import type { ProvedLine } from '../../src/receipts/share-link.ts';

export const signerOf = (seed: number): Signer => signerFromSeed(new Uint8Array(32).fill(seed));

export const LOG = 'hY3xv0c2Qm6Jk8sT1bWzLg';
const START = Date.parse('2026-11-23T07:00:00.000Z');

const encoder = new TextEncoder();

export class LogKit {
  readonly receipts: Receipt[] = [];
  head: Head;

  constructor(by: Signer, options: { log?: string; root?: Signer; bare?: boolean } = {}) {
    this.head = { log: options.log ?? LOG, seq: -1, hash: '', time: 0 };
    const certificate = options.root && signKeyCertificate(by.kid, options.root, START);
    this.append(
      {
        type: 'genesis',
        ...(certificate && {
          certificate: { issued_at: certificate.issued_at, root: certificate.root, sig: certificate.sig },
        }),
        ledger: 'acme',
        public_key: base64url(by.publicKey),
        sdk: '@agentguard-run/spend/0.3.0',
      },
      by,
    );
  }

  append(draft: Draft, by: Signer, now: number = Math.max(this.head.time, START) + 1000): Receipt {
    const receipt = seal(draft, this.head, { signer: by, now });
    this.head = headAfter(receipt);
    this.receipts.push(receipt);
    return receipt;
  }

  /** A log that goes on behind receipts that were made elsewhere. */
  static behind(receipts: readonly Receipt[]): LogKit {
    const log = Object.create(LogKit.prototype) as LogKit;
    return Object.assign(log, { receipts: [...receipts], head: headAfter(receipts.at(-1) as Receipt) });
  }

  with(draft: Draft, by: Signer): this {
    this.append(draft, by);
    return this;
  }

  /** A receipt that says nothing about keys. */
  note(by: Signer, count = 1): this {
    for (let index = 0; index < count; index++) this.append({ type: 'close', open_holds: index }, by);
    return this;
  }

  /** Admits `next`, in the place of the key `replaces` if one is named. `proof` is who proves possession. */
  admit(next: Signer, by: Signer, replaces?: string, proof: Signer = next): this {
    const { log, seq, hash } = this.head;
    const sig = Buffer.from(proof.sign(keyProofText(log, seq + 1, hash, next.kid))).toString('hex');
    this.append(
      {
        type: 'key',
        kid: next.kid,
        proof: sig,
        public_key: base64url(next.publicKey),
        ...(replaces !== undefined && { replaces }),
      },
      by,
    );
    return this;
  }

  get bytes(): Uint8Array {
    return encoder.encode(this.receipts.map(({ line }) => `${line}\n`).join(''));
  }

  get leaves(): Uint8Array[] {
    return this.receipts.map(({ line }) => leafHash(encoder.encode(line)));
  }

  checkpoint(by: Signer, size: number = this.receipts.length): string {
    const tree = new TreeFrontier();
    for (const leaf of this.leaves.slice(0, size)) tree.add(leaf);
    return signCheckpoint(this.head.log, size, tree.root(), by).note;
  }

  proved(index: number, size: number = this.receipts.length): ProvedLine {
    const line = (this.receipts[index] as Receipt).line;
    return { line, index, proof: inclusionProof(this.leaves.slice(0, size), index) };
  }
}
