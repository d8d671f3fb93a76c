/** A ledger's state as a document, so that opening a log doesn't grow with its history. */
import * as v from 'valibot';
import { policyFromRecord, type PolicyRecord } from '../policy.ts';
import { canonicalJson } from '../receipts/canonical-json.ts';
import { SETTLED_OUTCOMES } from '../receipts/payloads.ts';
import { WINDOW_KINDS } from '../windows.ts';
import { marksBody } from './marks.ts';
import { LedgerState } from './state.ts';

const whole = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
// The ends of windows that never end, and of very distant leases, are whole numbers too.
const nano = v.pipe(v.string(), v.regex(/^-?\d{1,31}$/));

const snapshotBody = v.strictObject({
  v: v.literal(1),
  log: v.string(),
  seq: whole,
  hash: v.string(),
  time: whole,
  /** Where the log's next line begins, in bytes. */
  offset: whole,
  keys: v.array(v.tuple([v.string(), v.string()])),
  /** the log's own key, and keys whose place others have taken */
  own: v.exactOptional(v.string()),
  replaced: v.exactOptional(v.array(v.string())),
  policies: v.array(v.record(v.string(), v.unknown())),
  prices: v.array(v.string()),
  /** Absent in what earlier versions wrote. */
  marks: v.optional(marksBody),
  /** key, window, start, end, spent, held */
  buckets: v.array(v.tuple([v.string(), v.picklist(WINDOW_KINDS), whole, whole, nano, nano])),
  /** call, amount, provider's id, outcome, accounts of calls whose true cost is still to come */
  awaited: v.exactOptional(
    v.array(
      v.tuple([
        v.string(),
        nano,
        v.string(),
        v.picklist(SETTLED_OUTCOMES),
        v.array(v.tuple([v.string(), whole])),
      ]),
    ),
  ),
  /** call, amount, lease end, accounts */
  holds: v.array(v.tuple([v.string(), nano, whole, v.array(v.tuple([v.string(), whole]))])),
});

type SnapshotBody = v.InferOutput<typeof snapshotBody>;

/** The RFC 8785 text of `state` as it stands, for a log whose next line begins at byte `offset`. */
export function snapshotText(state: LedgerState, offset: number): string {
  const buckets: SnapshotBody['buckets'] = [];
  for (const [key, byStart] of state.accounts) {
    for (const { window, start, end, spent, held } of byStart.values()) {
      buckets.push([key, window, start, end, spent.toString(), held.toString()]);
    }
  }
  const awaited = Array.from(
    state.awaited.values(),
    ({ call, amount, providerRef, outcome, accounts }): NonNullable<SnapshotBody['awaited']>[number] => [
      call,
      amount.toString(),
      providerRef,
      outcome,
      accounts.map(([key, start]): [string, number] => [key, start]),
    ],
  );
  const body: SnapshotBody = {
    ...state.head,
    ...(awaited.length > 0 && { awaited }),
    buckets,
    holds: Array.from(state.holds.values(), ({ call, amount, until, accounts }) => [
      call,
      amount.toString(),
      until,
      accounts.map(([key, start]): [string, number] => [key, start]),
    ]),
    keys: [...state.keys],
    marks: state.marks.body(),
    offset,
    ...(state.own !== undefined && { own: state.own }),
    ...(state.replaced.size > 0 && { replaced: [...state.replaced] }),
    policies: Array.from(state.policies.values(), ({ record }) => ({ ...record })),
    prices: [...state.prices.keys()],
    v: 1,
  };
  return canonicalJson(body);
}

/** The state that a snapshot describes. Throws when the text isn't a snapshot body. */
export function stateFromSnapshot(text: string): { state: LedgerState; offset: number } {
  const body = v.parse(snapshotBody, JSON.parse(text));
  const { log, seq, hash, time, offset } = body;
  const state = new LedgerState({ log, seq, hash, time });
  state.restoredFromSnapshot();
  for (const [kid, publicKey] of body.keys) state.keys.set(kid, publicKey);
  state.own = body.own;
  for (const kid of body.replaced ?? []) state.replaced.add(kid);
  for (const record of body.policies) {
    const policy = policyFromRecord(record as unknown as PolicyRecord);
    state.policies.set(policy.digest, policy);
  }
  for (const digest of body.prices) state.prices.set(digest, true);
  for (const [key, window, start, end, spent, held] of body.buckets) {
    state.restoreBucket(key, { window, start, end, spent: BigInt(spent), held: BigInt(held) });
  }
  if (body.marks !== undefined) state.marks.restore(body.marks);
  for (const [call, amount, until, accounts] of body.holds) {
    state.restoreHold({ call, amount: BigInt(amount), until, accounts });
  }
  for (const [call, amount, providerRef, outcome, accounts] of body.awaited ?? []) {
    state.awaited.set(call, { call, amount: BigInt(amount), providerRef, outcome, accounts });
  }
  return { state, offset };
}
