/** Signed capabilities, as the guard looks at them. Verifying one is the verifier's; it is passed in by those who use it. */
import { sha256Hex } from '#platform';
import type { PresentedCapability } from './decide.ts';

/** What a verified token says. */
export interface VerifiedCapability {
  issuer: string;
  jti: string;
  /** Capabilities by their one spelling. */
  names: readonly string[];
  /** In milliseconds. */
  expires: number;
  notBefore?: number;
  /** The agent that it was given to. */
  subject?: string;
  /** The most that the call may cost, in nano-USD. */
  max?: bigint;
}

/** Checks signed capabilities. `capabilityVerifier` of `@agentguard-run/spend/capabilities` makes one. */
export interface CapabilityVerifier {
  /** What the token says at `now` (milliseconds), or why it doesn't count. The reason never holds the token. */
  verify(token: string, now: number): Promise<VerifiedCapability | { problem: string }>;
}

/** Far longer than any capability. */
const MAX_TOKEN_LENGTH = 8192;

/** Verifies the tokens of a call. Never rejects: one that can't be verified is presented as one that doesn't count. */
export function presentedCapabilities(
  tokens: readonly string[],
  verifier: CapabilityVerifier | undefined,
  now: number,
): Promise<PresentedCapability[]> | PresentedCapability[] {
  if (tokens.length === 0) return [];
  return Promise.all(tokens.map((token) => presented(token, verifier, now)));
}

async function presented(
  token: string,
  verifier: CapabilityVerifier | undefined,
  now: number,
): Promise<PresentedCapability> {
  const hash = sha256Hex(token);
  const refused = (problem: string): PresentedCapability => ({ hash, names: [], expires: 0, problem });
  if (verifier === undefined) return refused('the guard has no verifier for it (option capabilities)');
  if (token.length > MAX_TOKEN_LENGTH) return refused('it is too long');
  try {
    const verified = await verifier.verify(token, now);
    return 'problem' in verified ? refused(verified.problem) : { hash, ...verified };
  } catch {
    // Whatever was thrown may quote the token.
    return refused('its verification failed');
  }
}
