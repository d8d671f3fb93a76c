/** A ledger in memory: for tests, and for functions that accept losing it. */
import { randomBytes } from '#platform';
import type { AccountSelector } from '../accounts.ts';
import { AgentGuardError } from '../errors.ts';
import { randomId, sha256Text, signerFromSeed, type Signer } from '../receipts/keys.ts';
import { checkedSigner } from '../receipts/signers.ts';
import type { Draft, Payload, Receipt } from '../receipts/payloads.ts';
import type { WindowSpan } from '../windows.ts';
import type { Balance, Committed, Ledger, LedgerView, TransactOptions, Transaction } from './ledger.ts';
import { LineStore } from './line-store.ts';
import { sealInto, sealPreamble } from './sealing.ts';
import { LedgerState } from './state.ts';

export interface MemoryLedgerOptions {
  /** Signs the log and admits other keys. Default: a new random key. */
  signer?: Signer;
  /** Milliseconds since 1970. Default: `Date.now`. */
  now?: () => number;
  /** The tenant that the log is for, as its genesis receipt names it. Default `default`. */
  tenantId?: string;
  /** Id of the log, 22 characters of base64url. Default: random. */
  logId?: string;
}

/** A ledger that lives and dies with the process. Serialised by the event loop; nothing is durable. */
export function memoryLedger(options: MemoryLedgerOptions = {}): Ledger {
  const signer =
    options.signer === undefined
      ? signerFromSeed(randomBytes(32))
      : checkedSigner('memoryLedger: signer', options.signer);
  const now = options.now ?? Date.now;
  // Lines only: what a receipt says is short-lived, and keeping it would cost the garbage collector dearly.
  const lines = new LineStore();
  const state = new LedgerState({ log: options.logId ?? randomId(), seq: -1, hash: '', time: 0 });
  // Windows that were over by a wrong clock count again when it is set back. Every line is kept here anyway.
  state.keepEverything();
  let closed = false;

  function keep(receipts: readonly Receipt[]): void {
    for (const { line } of receipts) lines.push(line);
  }

  function assertOpen(): void {
    if (closed)
      throw new AgentGuardError('ledger_unavailable', 'the memory ledger is closed; make a new guard');
  }

  return {
    name: 'memory',
    // Nothing in here waits, so each transact runs to its end before the next one begins.
    async transact<T>(
      _accounts: readonly AccountSelector[],
      body: (view: LedgerView) => Transaction<T>,
      { signer: by = signer }: TransactOptions = {},
    ): Promise<Committed<T>> {
      assertOpen();
      // One instant for what is decided and what is written, or a replay could not tell which window counted.
      const at = now();
      const { drafts, result } = body(state.view(at));
      if (drafts.length === 0) return { result, receipts: [] };
      const receipts: Receipt[] = [];
      const sealing = {
        signer: by,
        now: at,
        ledgerName: options.tenantId ?? 'default',
        ledgerSigner: signer,
      };
      try {
        sealPreamble(receipts, state, sealing);
        return { result, receipts: sealInto(receipts, drafts, state, sealing) };
      } finally {
        keep(receipts);
      }
    },
    async *read(from = 0): AsyncIterable<Receipt> {
      for (let seq = from; seq < lines.length; seq++) yield receiptOf(lines.at(seq));
    },
    async balances(
      accounts: readonly (AccountSelector & { span(now: number): WindowSpan })[],
    ): Promise<Balance[]> {
      assertOpen();
      const at = state.view(now()).now;
      return accounts.map((account) => ({ account, ...state.amounts(account, account.span(at), at) }));
    },
    async flush(): Promise<void> {},
    async close(): Promise<void> {
      if (closed) return;
      const draft: Draft = { type: 'close', open_holds: state.holds.size };
      if (state.head.seq >= 0) keep(sealInto([], [draft], state, { signer, now: now() }));
      closed = true;
    },
  };
}

function receiptOf(line: string): Receipt {
  const { payload } = JSON.parse(line) as { payload: Payload };
  return { line, payload, hash: sha256Text(line) };
}
