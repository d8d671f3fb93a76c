/** What every ledger seals by itself: the first receipt, keys, and drafts one after another. */
import { toHex } from '#platform';
import { base64url, type Signer } from '../receipts/keys.ts';
import type { Draft, Receipt } from '../receipts/payloads.ts';
import { headAfter, keyProofText, seal, type Head, type SealOptions } from '../receipts/seal.ts';
import { SDK } from '../version.ts';
import type { FormerKey, LogKeys } from '../receipts/signers.ts';
import { AgentGuardError } from '../errors.ts';
import type { LedgerState } from './state.ts';

/** The first receipt of a log. The key in it is information, not a source of trust. */
function genesisDraft(ledger: string, { signer, certificate }: LogKeys): Draft {
  const { issued_at: issuedAt, root, sig } = certificate ?? {};
  return {
    type: 'genesis',
    ...(issuedAt !== undefined && root && sig && { certificate: { issued_at: issuedAt, root, sig } }),
    ledger,
    public_key: base64url(signer.publicKey),
    sdk: SDK,
  };
}

/** Admits a signer to the log, with the proof that whoever asks holds its key; maybe in the place of another. */
function keyDraft(head: Head, signer: Signer, replaces?: string): Draft {
  const proof = signer.sign(keyProofText(head.log, head.seq + 1, head.hash, signer.kid));
  return {
    type: 'key',
    kid: signer.kid,
    proof: toHex(proof),
    public_key: base64url(signer.publicKey),
    ...(replaces !== undefined && { replaces }),
  };
}

/** Seals drafts one after another, then applies them to `state` and puts them into `log`. Returns those of this call. */
export function sealInto(
  log: Receipt[],
  drafts: readonly Draft[],
  state: LedgerState,
  options: SealOptions,
): Receipt[] {
  const sealed: Receipt[] = [];
  let { head } = state;
  for (const draft of drafts) {
    const { signer, now } = options;
    const receipt = seal(draft, head, sealed.length === 0 ? options : { signer, now });
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

export interface PreambleOptions extends SealOptions {
  ledgerName: string;
  /** The log's own key, which may sign the preamble only. */
  ledgerSigner: Signer;
  /** The keys before it, and a root's certificate. */
  ledgerKeys?: Omit<LogKeys, 'signer'>;
}

/**
 * Seals what must come before a transaction's own receipts: genesis in an empty log, the hand-over of a log whose own
 * key has changed, and a key that is new to it. Throws `AgentGuardError` for a key that another has replaced.
 */
export function sealPreamble(log: Receipt[], state: LedgerState, options: PreambleOptions): void {
  const { signer, ledgerSigner } = options;
  if (state.head.seq < 0) {
    const { ledgerName, ledgerKeys = { former: [] } } = options;
    const genesis = genesisDraft(ledgerName, { ...ledgerKeys, signer: ledgerSigner });
    sealInto(log, [genesis], state, { ...options, signer: ledgerSigner });
  }
  if (state.own !== undefined && state.own !== ledgerSigner.kid) {
    const former = formerSigner(state, state.own, ledgerSigner, options.ledgerKeys?.former ?? []);
    const handOver = keyDraft(state.head, ledgerSigner, state.own);
    sealInto(log, [handOver], state, { ...options, signer: former });
  }
  if (state.replaced.has(signer.kid)) {
    throw new AgentGuardError(
      'invalid_config',
      `signingKeys: the log has replaced the key ${signer.kid}; use the key that took its place, or a new one`,
    );
  }
  if (!state.keys.has(signer.kid))
    sealInto(log, [keyDraft(state.head, signer)], state, { ...options, signer: ledgerSigner });
}

/** What hands a log over from its own key to the one that shall take its place. */
function formerSigner(state: LedgerState, own: string, next: Signer, former: readonly FormerKey[]): Signer {
  const found = former.find(({ signer }) => signer?.kid === own)?.signer;
  if (found !== undefined && !state.replaced.has(next.kid)) return found;
  const problem = state.replaced.has(next.kid)
    ? `the log has replaced the key ${next.kid} by ${own}, which is not in this key file`
    : `the log belongs to the key ${own}, and this key file has no private half of it`;
  throw new AgentGuardError(
    'key_unsafe',
    `${problem}; restore the key file that the log was last written with`,
  );
}
