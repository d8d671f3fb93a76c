/** Where the receipts of a file are, so that a log of any length can be looked through without being kept in memory. */
import { parseLine, type ParsedLine } from '../../receipts/parse-line.ts';
import type { Payload } from '../../receipts/payloads.ts';

/** What a list can be narrowed down to. */
export const GROUPS = ['allowed', 'downgraded', 'blocked', 'settled', 'other'] as const;
export type Group = (typeof GROUPS)[number];

function groupOf(payload: Payload): Group {
  switch (payload.type) {
    case 'decision':
      return ({ allow: 'allowed', downgrade: 'downgraded', block: 'blocked' } as const)[payload.decision];
    case 'settlement':
    case 'adjustment':
      return 'settled';
    default:
      return 'other';
  }
}

/** 13 bytes for each receipt. */
export class ReceiptIndex {
  readonly #file: Blob;
  /** Where each line begins; the line behind the last one as well. */
  #starts = new Float64Array(1024);
  #lines = 0;
  #groups = new Uint8Array(1024);
  /** The first bits of each receipt's call id, 0 for none. */
  #calls = new Uint32Array(1024);
  #verified = 0;
  readonly counts: Record<Group, number> = { allowed: 0, downgraded: 0, blocked: 0, settled: 0, other: 0 };

  constructor(file: Blob) {
    this.#file = file;
  }

  /** Receipts that verified. */
  get size(): number {
    return this.#verified;
  }

  /** The next line begins here. */
  addLine(start: number): void {
    if (this.#lines === this.#starts.length) {
      const starts = new Float64Array(this.#lines * 2);
      starts.set(this.#starts);
      this.#starts = starts;
    }
    this.#starts[this.#lines++] = start;
  }

  /** The next receipt verified. */
  addReceipt(payload: Payload): void {
    if (this.#verified === this.#groups.length) {
      const groups = new Uint8Array(this.#verified * 2);
      groups.set(this.#groups);
      this.#groups = groups;
      const calls = new Uint32Array(this.#verified * 2);
      calls.set(this.#calls);
      this.#calls = calls;
    }
    const group = groupOf(payload);
    this.counts[group] += 1;
    this.#groups[this.#verified] = GROUPS.indexOf(group);
    this.#calls[this.#verified] = 'call' in payload ? callBits(payload.call) : 0;
    this.#verified += 1;
  }

  /** Numbers of the receipts that belong to these groups, from `from` on, `count` at most. */
  pick(groups: ReadonlySet<Group>, skip: number, count: number): number[] {
    if (groups.size === GROUPS.length || groups.size === 0) {
      const last = Math.min(this.#verified, skip + count);
      return Array.from({ length: Math.max(0, last - skip) }, (_, index) => skip + index);
    }
    const wanted = GROUPS.map((group) => groups.has(group));
    const found: number[] = [];
    let left = skip;
    for (let seq = 0; seq < this.#verified && found.length < count; seq++) {
      if (wanted[this.#groups[seq] as number] !== true) continue;
      if (left > 0) left -= 1;
      else found.push(seq);
    }
    return found;
  }

  /** Numbers of receipts that may be of this call: whoever reads them must compare the whole id. */
  ofCall(call: string, most: number): number[] {
    const bits = callBits(call);
    const found: number[] = [];
    for (let seq = 0; seq < this.#verified && found.length < most; seq++) {
      if (this.#calls[seq] === bits) found.push(seq);
    }
    return found;
  }

  /** The bytes of a line as they are in the file now, without the newline. */
  async bytes(line: number, most: number = Number.POSITIVE_INFINITY): Promise<Uint8Array | undefined> {
    if (line < 0 || line >= this.#lines) return undefined;
    const start = this.#starts[line] as number;
    const end = line + 1 < this.#lines ? (this.#starts[line + 1] as number) - 1 : this.#file.size;
    const bytes = new Uint8Array(await this.#file.slice(start, Math.min(end, start + most)).arrayBuffer());
    const newline = bytes.indexOf(0x0a);
    return newline < 0 ? bytes : bytes.subarray(0, newline);
  }

  async read(seq: number): Promise<(ParsedLine & { bytes: Uint8Array }) | undefined> {
    const bytes = await this.bytes(seq);
    if (bytes === undefined) return undefined;
    const parsed = parseLine(bytes);
    return 'problem' in parsed ? undefined : { ...parsed, bytes };
  }
}

const encoder = new TextEncoder();

function callBits(call: string): number {
  let bits = 2166136261;
  for (const byte of encoder.encode(call)) bits = Math.imul(bits ^ byte, 16777619);
  return bits >>> 0 || 1;
}
