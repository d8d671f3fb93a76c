/** Names of capabilities: four tiers in order, and free ones. */

/** Each tier includes those before it. */
export const CAPABILITY_TIERS = ['read_only', 'data_write', 'payment_initiate', 'payment_execute'] as const;

export type CapabilityTier = (typeof CAPABILITY_TIERS)[number];

const CAPABILITY_NAME = /^[A-Za-z0-9][\w.:/-]{0,63}$/;

export function isCapabilityName(name: unknown): boolean {
  return typeof name === 'string' && CAPABILITY_NAME.test(name);
}

/** `payment-execute` is the tier `payment_execute`; other names stay as they are. */
export function capabilityName(name: string): string {
  const tier = name.replaceAll('-', '_');
  return tierOf(tier) < 0 ? name : tier;
}

/** The place of a tier; -1 for a free name. */
function tierOf(name: string): number {
  return (CAPABILITY_TIERS as readonly string[]).indexOf(name);
}

/** True when one of `held` is `required`, or a higher tier. */
export function hasCapability(held: readonly string[], required: string): boolean {
  const least = tierOf(required);
  return held.some((name) => name === required || (least >= 0 && tierOf(name) > least));
}

/** Those of `held` that can matter where these are required: the others need not be recorded. */
export function relevantCapabilities(held: readonly string[], required: ReadonlySet<string>): string[] {
  if (held.length === 0) return [];
  const highest = held.reduce((most, name) => Math.max(most, tierOf(name)), -1);
  const asksForTier = [...required].some((name) => tierOf(name) >= 0);
  return [...new Set(held)]
    .filter((name) => (tierOf(name) < 0 ? required.has(name) : asksForTier && tierOf(name) === highest))
    .toSorted();
}
