/** Verifying a whole log from its bytes. Runs wherever the core runs. */
import { LogReading } from './log-reading.ts';
import { MAX_LINE_BYTES, type Receipt } from './payloads.ts';
import type { LogVerdict, VerifyLogOptions } from './verdict.ts';
import type { Trust } from './log-verifier.ts';

/**
 * Verifies a whole log from its bytes, however they are chunked. An empty log and an unknown key are undecidable,
 * never valid.
 */
export async function verifyLog(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  trust: Trust,
  options: VerifyLogOptions | ((receipt: Receipt) => void) = {},
): Promise<LogVerdict> {
  const reading = new LogReading(trust, typeof options === 'function' ? { onReceipt: options } : options);
  let rest: Uint8Array = new Uint8Array(0);
  for await (const chunk of chunks) {
    rest = joined(rest, chunk);
    let start = 0;
    for (let end = rest.indexOf(0x0a, start); end >= 0; end = rest.indexOf(0x0a, start)) {
      const stopped = await reading.take(rest.subarray(start, end));
      if (stopped !== undefined) return stopped;
      start = end + 1;
    }
    rest = rest.subarray(start);
    if (rest.length > MAX_LINE_BYTES) break;
  }
  return reading.end(rest.length);
}

export function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  if (a.length === 0) return b;
  const whole = new Uint8Array(a.length + b.length);
  whole.set(a);
  whole.set(b, a.length);
  return whole;
}
