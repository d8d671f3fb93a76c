/** The closed schema of each receipt type. `docs/receipt-format.md` says what the members mean. */
import * as v from 'valibot';
import { compileSchema, type Fits } from './fast-schema.ts';

const text = v.pipe(v.string(), v.maxLength(512));
const nano = v.pipe(v.string(), v.regex(/^(0|[1-9]\d{0,30})$/));
const signedNano = v.pipe(v.string(), v.regex(/^(0|-?[1-9]\d{0,30})$/));
const whole = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
/** @internal */
export const instant = v.pipe(
  v.string(),
  v.regex(/^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{3}Z$/),
  v.check(isRealDate, 'no such date'),
);

/** Rules out the 30th of February, which some readers take for the 2nd of March. */
function isRealDate(text: string): boolean {
  if (text.charCodeAt(8) < 0x33 && text.slice(8, 10) !== '29') return true;
  const [year, month, day] = [text.slice(0, 4), text.slice(5, 7), text.slice(8, 10)].map(Number);
  return (
    (day as number) <= new Date(Date.UTC(2000 + ((year as number) % 400), month as number, 0)).getUTCDate()
  );
}

const digest = v.pipe(v.string(), v.regex(/^sha256:[0-9a-f]{64}$/));
const id = v.pipe(v.string(), v.regex(/^[A-Za-z0-9_-]{22}$/));
const kid = v.pipe(v.string(), v.regex(/^[A-Za-z0-9_-]{43}$/));
const hexSignature = v.pipe(v.string(), v.regex(/^[0-9a-f]{128}$/));

/**
 * An empty list would fit an object all of whose members may be absent.
 * @internal
 */
export const noList = v.check((value: unknown) => !Array.isArray(value), 'expected an object, got a list');

const anything = v.pipe(v.unknown(), noList, v.record(v.string(), v.unknown()));

const certificate = v.strictObject({ issued_at: instant, root: kid, sig: hexSignature });

const scope = v.pipe(
  v.unknown(),
  noList,
  v.strictObject({
    agentId: v.exactOptional(text),
    task: v.exactOptional(text),
    taskId: v.exactOptional(text),
    teamId: v.exactOptional(text),
    tenantId: v.exactOptional(text),
    userId: v.exactOptional(text),
  }),
);

const money = { currency: v.literal('USD'), scale: v.literal(9) };

const cost = v.strictObject({
  amount: nano,
  /** the call ran on the caller's own key at the upstream: the provider charged its fee only */
  byok: v.exactOptional(v.literal(true)),
  /** tokens × price, where usage and price are known */
  computed: v.exactOptional(nano),
  /** what the provider itself charged, without what the upstream bills to the caller's own key */
  fee: v.exactOptional(nano),
  /** what the provider said, where it said so */
  reported: v.exactOptional(nano),
  source: v.picklist(['provider', 'tokens', 'estimate', 'hold', 'none']),
  /** what the upstream charged, where the provider said so */
  upstream: v.exactOptional(nano),
});

const usage = v.strictObject({
  cache_read_audio_tokens: v.exactOptional(whole),
  cache_read_tokens: v.exactOptional(whole),
  cache_write_hour_tokens: v.exactOptional(whole),
  cache_write_tokens: v.exactOptional(whole),
  input_audio_tokens: v.exactOptional(whole),
  input_image_tokens: v.exactOptional(whole),
  input_tokens: whole,
  output_audio_tokens: v.exactOptional(whole),
  output_image_tokens: v.exactOptional(whole),
  output_tokens: whole,
  reasoning_tokens: v.exactOptional(whole),
});

/** How a call can have ended. */
export const SETTLED_OUTCOMES = [
  'ok',
  'error',
  'refused',
  'aborted',
  'abandoned',
  'not_sent',
  'expired',
] as const;

/** A signed capability that came with a call. The token itself is in no receipt. */
const capability = v.strictObject({
  caps: v.array(text),
  exp: whole,
  iss: v.exactOptional(text),
  jti: v.exactOptional(text),
  max: v.exactOptional(nano),
  nbf: v.exactOptional(whole),
  problem: v.exactOptional(text),
  replayed: v.exactOptional(v.literal(true)),
  sha256: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)),
  sub: v.exactOptional(text),
});

const settled = {
  call: id,
  cost,
  ...money,
  outcome: v.picklist(SETTLED_OUTCOMES),
  provider_ref: v.exactOptional(text),
  served: v.exactOptional(
    v.pipe(
      v.unknown(),
      noList,
      v.strictObject({
        fallback: v.exactOptional(v.literal(true)),
        model: v.exactOptional(text),
        provider: v.exactOptional(text),
      }),
    ),
  ),
  unknown_usage: v.exactOptional(text),
  usage: v.exactOptional(usage),
};

const common = {
  clock_back_ms: v.exactOptional(whole),
  durable_seq: v.exactOptional(whole),
  issued_at: instant,
  issuer_id: kid,
  log: id,
  previousReceiptHash: v.exactOptional(digest),
  seq: whole,
  v: v.literal(1),
};

/** What each type holds beside the common members. */
export const PAYLOADS = {
  genesis: v.strictObject({
    ...common,
    type: v.literal('genesis'),
    ledger: text,
    /** a root's word that this key is the log's own */
    certificate: v.exactOptional(certificate),
    public_key: v.string(),
    sdk: text,
  }),
  key: v.strictObject({
    ...common,
    type: v.literal('key'),
    kid,
    proof: hexSignature,
    public_key: v.string(),
    /** the key whose place this one takes; dead from the next line on */
    replaces: v.exactOptional(kid),
  }),
  policy: v.strictObject({
    ...common,
    type: v.literal('policy'),
    digest,
    policy: anything,
  }),
  prices: v.strictObject({
    ...common,
    type: v.literal('prices'),
    digest,
    /** price rows by the names that models were asked for by */
    rows: v.array(v.strictTuple([text, anything])),
  }),
  decision: v.strictObject({
    ...common,
    type: v.literal('decision'),
    call: id,
    /** indexes into `caps` of `ask` caps that somebody let the call pass */
    approved: v.exactOptional(v.array(whole)),
    caps: v.array(v.strictTuple([whole, nano, nano])),
    ...money,
    decision: v.picklist(['allow', 'downgrade', 'block']),
    decisive_cap: v.exactOptional(whole),
    decisive_rule: v.exactOptional(v.strictTuple([whole, whole])),
    frozen: v.exactOptional(scope),
    /** what live grants add to caps */
    granted: v.exactOptional(v.array(v.strictTuple([whole, nano]))),
    hold: nano,
    lease_until: v.exactOptional(instant),
    not_effective: v.exactOptional(v.array(whole)),
    policies: v.array(digest),
    prices: v.exactOptional(digest),
    reason: text,
    request: v.strictObject({
      audio: v.exactOptional(v.literal(true)),
      cached_tokens: v.exactOptional(whole),
      capabilities: v.exactOptional(v.array(capability)),
      ceiling_can_be_set: v.exactOptional(v.literal(true)),
      choices: v.exactOptional(whole),
      claims: v.exactOptional(v.array(text)),
      fallbacks: v.exactOptional(v.array(text)),
      features: v.exactOptional(v.array(text)),
      fixed_cost: v.exactOptional(nano),
      hour_cache: v.exactOptional(v.literal(true)),
      images: v.exactOptional(whole),
      input_tokens: v.exactOptional(whole),
      limit_can_be_set: v.exactOptional(v.literal(true)),
      max_output_tokens: v.exactOptional(whole),
      model: text,
      provider: v.exactOptional(text),
      reasoning_tokens: v.exactOptional(whole),
      unbounded_input: v.exactOptional(text),
    }),
    require_tenant: v.exactOptional(v.literal(true)),
    route: v.exactOptional(
      v.strictObject({
        fallbacks: v.exactOptional(v.array(text)),
        limit: v.picklist(['own', 'injected', 'clamped', 'model', 'none']),
        max_output_tokens: v.exactOptional(whole),
        max_price: v.exactOptional(
          v.pipe(
            v.unknown(),
            noList,
            v.strictObject({
              input: v.exactOptional(text),
              output: v.exactOptional(text),
              request: v.exactOptional(text),
            }),
          ),
        ),
        model: text,
      }),
    ),
    rules: whole,
    /** the rung that the call's task is on, for sticky caps */
    rungs: v.exactOptional(v.array(v.strictTuple([whole, text]))),
    scope,
    scope_conflict: v.exactOptional(text),
    shadow: v.exactOptional(
      v.strictObject({ decision: v.picklist(['allow', 'downgrade', 'block']), reason: text }),
    ),
    spans: v.array(v.strictTuple([whole, whole])),
    uncarried: v.exactOptional(v.array(text)),
    /** indexes into `caps` of caps whose models the route is none of */
    uncounted: v.exactOptional(v.array(whole)),
  }),
  settlement: v.strictObject({
    ...common,
    type: v.literal('settlement'),
    ...settled,
    over_hold: v.exactOptional(nano),
  }),
  adjustment: v.strictObject({
    ...common,
    type: v.literal('adjustment'),
    ...settled,
    accounts: v.array(v.strictTuple([v.string(), whole])),
    change: signedNano,
    previous: nano,
  }),
  grant: v.strictObject({
    ...common,
    type: v.literal('grant'),
    amount: nano,
    by: v.exactOptional(text),
    cap: whole,
    ...money,
    policy: text,
    reason: v.exactOptional(text),
    scope,
    until: instant,
    window: text,
  }),
  freeze: v.strictObject({
    ...common,
    type: v.literal('freeze'),
    by: v.exactOptional(text),
    frozen: v.boolean(),
    reason: v.exactOptional(text),
    scope,
  }),
  approval: v.strictObject({
    ...common,
    type: v.literal('approval'),
    by: v.exactOptional(text),
    call: id,
    /** as `decisive_cap` */
    cap: whole,
    ...money,
    /** the most that the call may cost by it */
    hold: nano,
    outcome: v.picklist(['approved', 'denied', 'timeout', 'failed']),
    reason: v.exactOptional(text),
  }),
  alert: v.strictObject({
    ...common,
    type: v.literal('alert'),
    amount: nano,
    cap: whole,
    ...money,
    name: text,
    policy: text,
    /** in ten-thousandths of the amount */
    share: whole,
    spent: nano,
    /** until when it isn't given again, in milliseconds; 0 for ever */
    until: whole,
    window: text,
  }),
  snapshot: v.strictObject({
    ...common,
    type: v.literal('snapshot'),
    body: digest,
    covers: whole,
    covers_hash: digest,
  }),
  recovered: v.strictObject({
    ...common,
    type: v.literal('recovered'),
    dropped_bytes: whole,
    dropped_sha256: digest,
    quarantine: text,
  }),
  clock: v.strictObject({ ...common, type: v.literal('clock'), from: instant, to: instant }),
  close: v.strictObject({ ...common, type: v.literal('close'), open_holds: whole }),
} as const;

export type ReceiptType = keyof typeof PAYLOADS;

type PayloadOf<T extends ReceiptType> = v.InferOutput<(typeof PAYLOADS)[T]>;

export type GenesisPayload = PayloadOf<'genesis'>;
export type KeyPayload = PayloadOf<'key'>;
export type PolicyPayload = PayloadOf<'policy'>;
export type PricesPayload = PayloadOf<'prices'>;
export type DecisionPayload = PayloadOf<'decision'>;
export type SettlementPayload = PayloadOf<'settlement'>;
export type AdjustmentPayload = PayloadOf<'adjustment'>;
export type GrantPayload = PayloadOf<'grant'>;
export type FreezePayload = PayloadOf<'freeze'>;
export type ApprovalPayload = PayloadOf<'approval'>;
export type AlertPayload = PayloadOf<'alert'>;
export type SnapshotPayload = PayloadOf<'snapshot'>;
export type RecoveredPayload = PayloadOf<'recovered'>;
export type ClockPayload = PayloadOf<'clock'>;
export type ClosePayload = PayloadOf<'close'>;

export type Payload =
  | GenesisPayload
  | KeyPayload
  | PolicyPayload
  | PricesPayload
  | DecisionPayload
  | SettlementPayload
  | AdjustmentPayload
  | GrantPayload
  | FreezePayload
  | ApprovalPayload
  | AlertPayload
  | SnapshotPayload
  | RecoveredPayload
  | ClockPayload
  | ClosePayload;

type CommonMember = keyof typeof common;

/** A payload before it is sealed: what its type holds, without the members that the ledger adds. */
export type Draft = Payload extends infer P ? (P extends Payload ? Omit<P, CommonMember> : never) : never;

/** A sealed receipt: the line as it stands in the log, and what it says. */
export interface Receipt {
  /** The line without its newline. */
  readonly line: string;
  readonly payload: Payload;
  /** `sha256:` and hex of the whole line; the next receipt's `previousReceiptHash`. */
  readonly hash: string;
}

/** Longer lines are no receipts. The longest are policies and price lists with all that they may hold. */
export const MAX_LINE_BYTES: number = 256 * 1024;

const FITS: ReadonlyMap<string, Fits> = new Map(
  Object.entries(PAYLOADS).map(([type, schema]) => [type, compileSchema(schema)]),
);

/** The payload in its type's closed schema, or what is wrong with it. */
export function checkPayload(value: unknown): { payload: Payload } | { problem: string } {
  const type = (value as { type?: unknown } | null)?.type;
  if (typeof type !== 'string' || !Object.hasOwn(PAYLOADS, type)) {
    return { problem: `unknown receipt type ${JSON.stringify(type) ?? 'undefined'}` };
  }
  if (FITS.get(type)?.(value) === true) return { payload: value as Payload };
  const parsed = v.safeParse(PAYLOADS[type as ReceiptType], value);
  // The value itself: the parser leaves out members with names like `constructor`, which are part of a digest.
  if (parsed.success) return { payload: value as Payload };
  const issue = parsed.issues[0];
  const path = issue.path?.map((item) => String(item.key)).join('.') ?? '';
  return { problem: `${type}: ${path === '' ? '' : `${path}: `}${issue.message}` };
}
