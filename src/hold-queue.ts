/** Calls that wait for other calls' holds, in fair order: first come, first served on each account. */

/** Asks the ledger again. With `last`, it must decide. Resolves with `true` when it still has to wait. */
export type Attempt = (last: boolean) => Promise<boolean>;

interface Waiter {
  accounts: readonly string[];
  attempt: Attempt;
  /** True while an attempt is under way. */
  trying: boolean;
  finish: () => void;
  fail: (error: unknown) => void;
}

/** How often the ledger is asked for holds that another process let go. */
const POLL_MS = 25;
/** Attempts under way at once, at most; they share a batch of the ledger. */
const MAX_TOGETHER = 64;

export class HoldQueue {
  readonly #waiters = new Set<Waiter>();
  #pumping = false;
  #pumpAgain = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** True when an earlier call waits for one of these accounts, so that a newcomer must queue behind it. */
  isBusy(accounts: readonly string[]): boolean {
    for (const waiter of this.#waiters) {
      if (waiter.accounts.some((account) => accounts.includes(account))) return true;
    }
    return false;
  }

  /**
   * Waits until an attempt succeeds, for `waitMs` at most; then attempts once more, for good. Rejects with the
   * signal's reason when it aborts, and with whatever an attempt throws.
   */
  async wait(
    accounts: readonly string[],
    attempt: Attempt,
    waitMs: number,
    signal?: AbortSignal,
  ): Promise<void> {
    signal?.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiter: Waiter = { accounts, attempt, trying: false, finish: resolve, fail: reject };
    const giveUp = (): void => reject(signal?.reason);
    const deadline = setTimeout(() => void this.#lastAttempt(waiter), waitMs);
    signal?.addEventListener('abort', giveUp, { once: true });
    this.#waiters.add(waiter);
    this.pump();
    try {
      await promise;
    } finally {
      clearTimeout(deadline);
      signal?.removeEventListener('abort', giveUp);
      this.#waiters.delete(waiter);
      this.#schedule();
    }
  }

  /** Holds may have been let go: asks again for those who wait longest. */
  pump(): void {
    if (this.#waiters.size === 0) return;
    if (this.#pumping) {
      this.#pumpAgain = true;
      return;
    }
    this.#pumping = true;
    void this.#run().finally(() => {
      this.#pumping = false;
      this.#schedule();
      if (this.#pumpAgain) {
        this.#pumpAgain = false;
        this.pump();
      }
    });
  }

  /** Asks the foremost waiter of each account, then twice as many, as long as all of them get an answer. */
  async #run(): Promise<void> {
    const blocked = new Set<string>();
    let together = 1;
    for (;;) {
      const next = this.#foremost(blocked, together);
      if (next.length === 0) return;
      const still = await Promise.all(next.map((waiter) => this.#try(waiter, false)));
      next.forEach((waiter, index) => {
        if (still[index]) for (const account of waiter.accounts) blocked.add(account);
      });
      together = Math.min(together * 2, MAX_TOGETHER);
    }
  }

  #foremost(blocked: ReadonlySet<string>, count: number): Waiter[] {
    const found: Waiter[] = [];
    for (const waiter of this.#waiters) {
      if (found.length === count) break;
      if (!waiter.trying && !waiter.accounts.some((account) => blocked.has(account))) found.push(waiter);
    }
    return found;
  }

  async #try(waiter: Waiter, last: boolean): Promise<boolean> {
    waiter.trying = true;
    try {
      const still = await waiter.attempt(last);
      if (!still) this.#leave(waiter, waiter.finish);
      return still;
    } catch (error) {
      this.#leave(waiter, () => waiter.fail(error));
      return false;
    } finally {
      waiter.trying = false;
    }
  }

  #leave(waiter: Waiter, tell: () => void): void {
    this.#waiters.delete(waiter);
    tell();
  }

  async #lastAttempt(waiter: Waiter): Promise<void> {
    if (!this.#waiters.has(waiter)) return;
    // An attempt that is under way may still succeed; the next one decides for good either way.
    const { attempt } = waiter;
    if (waiter.trying) waiter.attempt = () => attempt(true);
    else await this.#try(waiter, true);
  }

  #schedule(): void {
    if (this.#waiters.size === 0) {
      clearTimeout(this.#timer);
      this.#timer = undefined;
    } else this.#timer ??= setTimeout(() => this.#tick(), POLL_MS);
  }

  #tick(): void {
    this.#timer = undefined;
    this.pump();
  }
}
