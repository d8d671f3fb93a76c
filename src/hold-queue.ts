/** Calls that wait for other calls' holds, in fair order: first come, first served on each account. */

/** What the ledger said: the call is decided, or other calls' holds on these accounts stand in its way. */
export type Answer<T> = { decided: T } | { inTheWay: readonly string[] };

/** Asks the ledger again. With `last` the call must be decided. */
export type Attempt<T> = (last: boolean) => Promise<Answer<T>>;

interface Waiter {
  /** Arrival: who comes first is asked first. */
  readonly ticket: number;
  readonly attempt: Attempt<unknown>;
  /** The accounts that stood in the way at the last attempt. */
  accounts: readonly string[];
  /** True while an attempt is under way. */
  isTrying: boolean;
  /** True when the wait is over: the next attempt decides. */
  isDue: boolean;
  /** True when nobody waits for an answer any more. */
  isDone: boolean;
  finish: (decided: unknown) => void;
  fail: (error: unknown) => void;
}

/** Who waits for one account, in order of arrival. */
interface Line {
  waiters: Set<Waiter>;
  newest: number;
}

/** How often the ledger is asked for holds that another process let go. */
const POLL_MS = 25;
/** Attempts under way at once on one account, at most; they share a batch of the ledger. */
const MAX_TOGETHER = 64;

export class HoldQueue {
  readonly #lines = new Map<string, Line>();
  #tickets = 0;
  /** Accounts to ask about in the next round. */
  #dirty = new Set<string>();
  #isPumping = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Those of `accounts` that earlier calls wait for, so that a newcomer must queue behind them. */
  busyAmong(accounts: readonly string[]): readonly string[] {
    return accounts.filter((account) => this.#lines.has(account));
  }

  /**
   * Waits behind those who came earlier on `accounts`, until an attempt decides; for `waitMs` at most, then one last
   * attempt decides. Rejects with the signal's reason when it aborts, and with whatever an attempt throws.
   */
  async wait<T>(
    accounts: readonly string[],
    attempt: Attempt<T>,
    waitMs: number,
    signal?: AbortSignal,
  ): Promise<T> {
    signal?.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const waiter: Waiter = {
      ticket: this.#tickets++,
      attempt,
      accounts: [],
      isTrying: false,
      isDue: false,
      isDone: false,
      finish: resolve as (decided: unknown) => void,
      fail: reject,
    };
    const giveUp = (): void => reject(signal?.reason);
    const deadline = setTimeout(() => void this.#endWait(waiter), waitMs);
    signal?.addEventListener('abort', giveUp, { once: true });
    this.#standIn(waiter, accounts);
    this.#schedule();
    try {
      return await promise;
    } finally {
      clearTimeout(deadline);
      signal?.removeEventListener('abort', giveUp);
      waiter.isDone = true;
      const left = waiter.accounts;
      this.#standIn(waiter, []);
      // Whoever was behind this one may be first now.
      this.pump(left);
    }
  }

  /** Holds on `accounts` may have been let go: asks those who wait for them. */
  pump(accounts: readonly string[]): void {
    for (const account of accounts) if (this.#lines.has(account)) this.#dirty.add(account);
    if (this.#dirty.size === 0 || this.#isPumping) return;
    this.#isPumping = true;
    void this.#run();
  }

  async #run(): Promise<void> {
    while (this.#dirty.size > 0) {
      const accounts = [...this.#dirty];
      this.#dirty.clear();
      await Promise.all(accounts.map((account) => this.#askLine(account)));
    }
    this.#isPumping = false;
    this.#schedule();
  }

  /** Asks the first of a line, then twice as many, as long as all of them get an answer. */
  async #askLine(account: string): Promise<void> {
    for (let together = 1; ; together = Math.min(together * 2, MAX_TOGETHER)) {
      const next: Waiter[] = [];
      for (const waiter of this.#lines.get(account)?.waiters ?? []) {
        if (waiter.isTrying) break;
        next.push(waiter);
        if (next.length === together) break;
      }
      if (next.length === 0) return;
      const answered = await Promise.all(next.map((waiter) => this.#try(waiter)));
      if (answered.includes(false)) return;
    }
  }

  /** One attempt; false when the waiter still has to wait. */
  async #try(waiter: Waiter): Promise<boolean> {
    waiter.isTrying = true;
    try {
      let answer = await waiter.attempt(waiter.isDue);
      // The wait ended while the attempt was under way.
      if ('inTheWay' in answer && waiter.isDue) answer = await waiter.attempt(true);
      this.#standIn(waiter, 'inTheWay' in answer && !waiter.isDone ? answer.inTheWay : []);
      if ('inTheWay' in answer) return false;
      waiter.finish(answer.decided);
    } catch (error) {
      this.#standIn(waiter, []);
      waiter.fail(error);
    } finally {
      waiter.isTrying = false;
    }
    return true;
  }

  async #endWait(waiter: Waiter): Promise<void> {
    waiter.isDue = true;
    if (!waiter.isTrying && !waiter.isDone) await this.#try(waiter);
  }

  /** Puts a waiter into the lines of `accounts` and takes it out of all others. */
  #standIn(waiter: Waiter, accounts: readonly string[]): void {
    for (const account of waiter.accounts) {
      if (accounts.includes(account)) continue;
      const line = this.#lines.get(account);
      line?.waiters.delete(waiter);
      if (line?.waiters.size === 0) this.#lines.delete(account);
    }
    for (const account of accounts) {
      if (waiter.accounts.includes(account)) continue;
      let line = this.#lines.get(account);
      if (line === undefined) this.#lines.set(account, (line = { waiters: new Set(), newest: -1 }));
      line.waiters.add(waiter);
      if (waiter.ticket < line.newest) sortByArrival(line);
      line.newest = Math.max(line.newest, waiter.ticket);
    }
    waiter.accounts = accounts;
  }

  #schedule(): void {
    if (this.#lines.size === 0) {
      clearTimeout(this.#timer);
      this.#timer = undefined;
    } else this.#timer ??= setTimeout(() => this.#tick(), POLL_MS);
  }

  #tick(): void {
    this.#timer = undefined;
    this.pump([...this.#lines.keys()]);
    this.#schedule();
  }
}

/** Only needed when a call that waited elsewhere comes to a line that newer ones stand in. */
function sortByArrival(line: Line): void {
  line.waiters = new Set([...line.waiters].sort((a, b) => a.ticket - b.ticket));
}
