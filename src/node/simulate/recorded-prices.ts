/** Prices as a log recorded them, and those of today for models that it doesn't know. */
import { findPrice } from '../../pricing/find-price.ts';
import { compilePrice, type Price, type PriceRow } from '../../pricing/price.ts';
import type { PricesPayload } from '../../receipts/payloads.ts';

const NO_SOURCE = 'none';

export class RecordedPrices {
  /** Models that the log has no price for, priced by the lists of today. */
  readonly today: Set<string> = new Set();
  /** Models without any price. */
  readonly unknown: Set<string> = new Set();
  readonly #sets = new Map<string, ReadonlyMap<string, Price>>();
  /** The last price of each model. */
  readonly #last = new Map<string, Price>();
  readonly #listed = new Map<string, Price | undefined>();

  add({ digest, rows }: PricesPayload): void {
    const set = new Map<string, Price>();
    for (const [model, row] of rows) {
      const price = compiled(row as unknown as PriceRow);
      if (price === undefined) continue;
      set.set(model, price);
      // A row without a source stands for what has no price.
      if (price.row.source !== NO_SOURCE) this.#last.set(model, price);
    }
    this.#sets.set(digest, set);
  }

  /** The prices that a call is decided on: its own, else the last one in the log, else today's. */
  of(
    models: readonly string[],
    digest: string | undefined,
    provider: string | undefined,
  ): Map<string, Price> {
    const own = digest === undefined ? undefined : this.#sets.get(digest);
    const found = new Map<string, Price>();
    for (const model of models) {
      const price = own?.get(model) ?? this.#last.get(model) ?? this.#today(model, provider);
      if (price !== undefined) found.set(model, price);
    }
    return found;
  }

  #today(model: string, provider: string | undefined): Price | undefined {
    const key = JSON.stringify([model, provider ?? null]);
    if (!this.#listed.has(key)) {
      const found = findPrice(model, provider);
      this.#listed.set(key, 'price' in found ? found.price : undefined);
      ('price' in found ? this.today : this.unknown).add(model);
    }
    return this.#listed.get(key);
  }
}

function compiled(row: PriceRow): Price | undefined {
  try {
    return compilePrice(row);
  } catch {
    // What is no price is none.
    return undefined;
  }
}
