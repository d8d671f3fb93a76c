/**
 * A map in order of last use, from which the least used entries can be dropped. What it holds depends only on what
 * was done to it, never on where a state was begun: processes that share a log must know the same policies and keys.
 */
export class RecentMap<V> extends Map<string, V> {
  readonly #kept: number;
  #latest: string | undefined;

  constructor(kept: number) {
    super();
    this.#kept = kept;
  }

  override set(key: string, value: V): this {
    this.#latest = key;
    return super.set(key, value);
  }

  /** Makes `key` the last used. */
  touch(key: string): void {
    if (key === this.#latest) return;
    const value = this.get(key);
    if (value === undefined) return;
    this.delete(key);
    this.set(key, value);
  }

  /** Drops the least used entries beyond the number that is kept, once there are twice as many. */
  prune(): void {
    if (this.size < 2 * this.#kept) return;
    for (const key of this.keys()) {
      if (this.size <= this.#kept) return;
      this.delete(key);
    }
  }
}
