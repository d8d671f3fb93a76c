/** The balances of decisions that are only imagined: the ledger's own rules, without a log. */
import type { Policy } from '../../policy.ts';
import type { Hold, LedgerView } from '../../ledgers/ledger.ts';
import { LedgerState } from '../../ledgers/state.ts';
import type { Draft, Payload } from '../../receipts/payloads.ts';
import { instantText } from '../../receipts/seal.ts';

export class VirtualLedger {
  readonly #state = new LedgerState({ log: '', seq: -1, hash: '', time: 0 });
  #seq = 0;

  view(time: number): LedgerView {
    return this.#state.view(time);
  }

  hold(call: string): Hold | undefined {
    return this.#state.holds.get(call);
  }

  get time(): number {
    return this.#state.head.time;
  }

  /** True when the log's clock was set back over windows that were closed already. */
  get isUncertain(): boolean {
    return this.#state.needsReplay;
  }

  /** Takes in drafts as if they had been sealed at `time`. */
  write(drafts: readonly Draft[], time: number): void {
    for (const draft of drafts) {
      const at = draft.type === 'clock' ? Date.parse(draft.to) : Math.max(time, this.#state.head.time);
      const issued = { issued_at: instantText(at), issuer_id: '', log: '', seq: this.#seq++, v: 1 as const };
      const payload = { ...draft, ...issued } as unknown as Payload;
      this.#state.apply({ line: '', payload, hash: '' });
    }
  }

  /** Makes policies known that a decision rests on. */
  know(policies: readonly Policy[], time: number): void {
    for (const { digest, record } of policies) {
      if (!this.#state.knows(digest)) this.write([{ type: 'policy', digest, policy: { ...record } }], time);
    }
  }
}
