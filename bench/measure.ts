/** Timing helpers for the benchmarks. */

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export function range(values: readonly number[]): string {
  return `${Math.min(...values).toFixed(2)}–${Math.max(...values).toFixed(2)}`;
}

/** Microseconds for one call, `count` calls one after another. */
export async function perCall(count: number, call: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  for (let index = 0; index < count; index++) await call();
  return ((performance.now() - start) / count) * 1000;
}

/** Calls per second with `inFlight` calls under way at once. */
export async function perSecond(
  count: number,
  inFlight: number,
  call: () => Promise<unknown>,
): Promise<number> {
  let left = count;
  const start = performance.now();
  const worker = async (): Promise<void> => {
    while (left-- > 0) await call();
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  return (count / (performance.now() - start)) * 1000;
}
