/** What receipts rest on, collected while a log is read: keys, policies, prices. */
import { fromBase64url, thumbprint } from '../../receipts/keys.ts';
import type { DecisionPayload, Payload, PricesPayload } from '../../receipts/payloads.ts';
import type { Trust } from '../../receipts/verify.ts';

/** More than any writer keeps; a log that changes them all the time must not fill memory. */
const KEPT = 256;

export interface KnownKey {
  publicKey: Uint8Array;
  /** How it came to count: pinned, or by which receipt. */
  how: 'pinned' | 'certified' | { admittedBy: number };
  /** `seq` of the receipt that put another key in its place. */
  until?: number;
}

export class Foundations {
  readonly keys = new Map<string, KnownKey>();
  readonly #policies = new Map<string, Record<string, unknown>>();
  readonly #prices = new Map<string, PricesPayload['rows']>();

  constructor(trust: Trust) {
    for (const publicKey of trust.keys) this.keys.set(thumbprint(publicKey), { publicKey, how: 'pinned' });
  }

  /** The next receipt that verified. */
  add(payload: Payload): void {
    switch (payload.type) {
      case 'genesis':
        if (!this.keys.has(payload.issuer_id))
          this.keys.set(payload.issuer_id, {
            publicKey: fromBase64url(payload.public_key, 32),
            how: 'certified',
          });
        break;
      case 'key': {
        const replaced = this.keys.get(payload.replaces ?? '');
        if (replaced !== undefined) replaced.until = payload.seq;
        if (!this.keys.has(payload.kid))
          this.keys.set(payload.kid, {
            publicKey: fromBase64url(payload.public_key, 32),
            how: { admittedBy: payload.seq },
          });
        break;
      }
      case 'policy':
        keep(this.#policies, payload.digest, payload.policy);
        break;
      case 'prices':
        keep(this.#prices, payload.digest, payload.rows);
        break;
    }
  }

  policiesOf(decision: DecisionPayload): (Record<string, unknown> | undefined)[] {
    return decision.policies.map((digest) => this.#policies.get(digest));
  }

  pricesOf(decision: DecisionPayload): PricesPayload['rows'] {
    return this.#prices.get(decision.prices ?? '') ?? [];
  }
}

function keep<V>(map: Map<string, V>, key: string, value: V): void {
  map.delete(key);
  if (map.size >= KEPT) map.delete(map.keys().next().value as string);
  map.set(key, value);
}
