/** What every ledger seals by itself: the first receipt, keys, and drafts one after another. */
import { toHex } from '#platform';
import { base64url, type Signer } from '../receipts/keys.ts';
import type { Draft, Receipt } from '../receipts/payloads.ts';
import { headAfter, keyProofText, seal, type Head, type SealOptions } from '../receipts/seal.ts';
import { SDK } from '../version.ts';
import type { LedgerState } from './state.ts';

/** The first receipt of a log. The key in it is information, not a source of trust. */
function genesisDraft(ledger: string, signer: Signer): Draft {
  return { type: 'genesis', ledger, public_key: base64url(signer.publicKey), sdk: SDK };
}

/** Admits a signer to the log, with the proof that whoever asks holds its key. */
function keyDraft(head: Head, signer: Signer): Draft {
  const proof = signer.sign(keyProofText(head.log, head.seq + 1, head.hash, signer.kid));
  return {
    type: 'key',
    kid: signer.kid,
    proof: toHex(proof),
    public_key: base64url(signer.publicKey),
  };
}

/** Seals drafts one after another, then applies them to `state` and puts them into `log`. Returns those of this call. */
export function sealInto(
  log: Receipt[],
  drafts: readonly Draft[],
  state: LedgerState,
  { durableSeq, ...options }: SealOptions,
): Receipt[] {
  const sealed: Receipt[] = [];
  let { head } = state;
  for (const draft of drafts) {
    const first = sealed.length === 0 && durableSeq !== undefined;
    const receipt = seal(draft, head, first ? { ...options, durableSeq } : options);
    head = headAfter(receipt);
    sealed.push(receipt);
  }
  // A draft that can't be sealed throws above, and then none of them counts.
  for (const receipt of sealed) {
    state.apply(receipt);
    log.push(receipt);
  }
  return sealed;
}

/** Seals what must come before a transaction's own receipts: genesis in an empty log, and a key that is new to it. */
export function sealPreamble(
  log: Receipt[],
  state: LedgerState,
  { signer, ...options }: SealOptions & { ledgerName: string; ledgerSigner: Signer },
): void {
  const own = { ...options, signer: options.ledgerSigner };
  if (state.head.seq < 0) sealInto(log, [genesisDraft(options.ledgerName, options.ledgerSigner)], state, own);
  if (!state.keys.has(signer.kid)) sealInto(log, [keyDraft(state.head, signer)], state, own);
}
