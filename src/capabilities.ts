/** Verifies signed capabilities: JWTs of one issuer, signed with Ed25519, short-lived, each for one call. */
import { createLocalJWKSet, errors, jwtVerify, type JWTPayload } from 'jose';
import type { CapabilityVerifier, VerifiedCapability } from './capability.ts';
import { capabilityName, isCapabilityName } from './capability-names.ts';
import { AgentGuardError } from './errors.ts';
import { nanoUsdFromUsd } from './money.ts';

export type { CapabilityVerifier, VerifiedCapability } from './capability.ts';

/** A public Ed25519 key as a JWK. */
export interface CapabilityKey {
  kty: 'OKP';
  crv: 'Ed25519';
  x: string;
  kid?: string;
}

export interface CapabilityVerifierOptions {
  /** Whose capabilities count: the token's `iss`. */
  issuer: string;
  /** The issuer's public keys, as a JWK set. They are given here; nothing is fetched. Several need a `kid` each. */
  jwks: { keys: readonly CapabilityKey[] };
  /** Who the capabilities must be for: the token's `aud`, e.g. the tenant. */
  audience: string;
}

/** The header `typ` of a capability, so that no other token of the issuer passes for one. */
export const CAPABILITY_TYPE = 'agentguard-cap+jwt';

const ALGORITHM = 'Ed25519';
const CLOCK_SKEW_S = 5;
/** From `iat` to `exp`. */
const LONGEST_LIFE_S = 15 * 60;
const MOST_NAMES = 16;

/**
 * A verifier for `createSpendGuard({ capabilities })`. A token counts when its header says `typ: agentguard-cap+jwt`
 * and `alg: Ed25519`, its signature fits one of `jwks`, `iss` and `aud` are those given here, `iat` and `exp` lie at
 * most 15 minutes apart, now is between `nbf` and `exp` (5 seconds of skew are let pass), and it has a `jti` and
 * `caps`. `max`, a decimal of US dollars, bounds what the call may cost; `sub` must be the call's `agentId`.
 *
 * Throws `AgentGuardError` (`invalid_config`) for options that can't be meant.
 */
export function capabilityVerifier(options: CapabilityVerifierOptions): CapabilityVerifier {
  const problem = optionsProblem(options);
  if (problem !== undefined) throw new AgentGuardError('invalid_config', `capabilityVerifier: ${problem}`);
  const { issuer, audience, jwks } = options;
  const keys = createLocalJWKSet({
    keys: jwks.keys.map(({ x, kid }) => ({
      kty: 'OKP',
      crv: 'Ed25519',
      x,
      alg: ALGORITHM,
      ...(kid !== undefined && { kid }),
    })),
  });
  return {
    async verify(token, now) {
      try {
        const { payload } = await jwtVerify(token, keys, {
          algorithms: [ALGORITHM],
          typ: CAPABILITY_TYPE,
          issuer,
          audience,
          clockTolerance: CLOCK_SKEW_S,
          currentDate: new Date(now),
          requiredClaims: ['iss', 'aud', 'iat', 'exp', 'jti', 'caps'],
        });
        return verified(payload, now);
      } catch (error) {
        return { problem: problemText(error) };
      }
    },
  };
}

function optionsProblem(options: CapabilityVerifierOptions): string | undefined {
  const { issuer, audience, jwks } = (options ?? {}) as { [K in keyof CapabilityVerifierOptions]?: unknown };
  if (typeof issuer !== 'string' || issuer === '') return 'issuer: expected the iss of the capabilities';
  if (typeof audience !== 'string' || audience === '')
    return 'audience: expected the aud of the capabilities';
  const keys = (jwks as { keys?: unknown } | undefined)?.keys;
  if (!Array.isArray(keys) || keys.length === 0)
    return 'jwks: expected { keys: [ … ] } with at least one key';
  const wrong = keys.findIndex(
    (key: Partial<Record<string, unknown>> | null) =>
      key?.['kty'] !== 'OKP' || key['crv'] !== 'Ed25519' || typeof key['x'] !== 'string',
  );
  if (wrong >= 0)
    return `jwks.keys[${wrong}]: expected an Ed25519 public key, { kty: "OKP", crv: "Ed25519", x }`;
  const secret = keys.findIndex((key: object) => 'd' in key);
  // Whoever can verify must not be able to mint.
  if (secret >= 0) return `jwks.keys[${secret}]: this is a private key; give its public half, without d`;
  const kids = keys.map((key: { kid?: unknown }) => key.kid);
  if (keys.length > 1 && (kids.includes(undefined) || new Set(kids).size < kids.length))
    return 'jwks: several keys need a kid each';
  return undefined;
}

/** What a token with a good signature says, or why it doesn't count. */
function verified(payload: JWTPayload, now: number): VerifiedCapability | { problem: string } {
  const { iss, jti, iat, exp, nbf, sub, caps, max } = payload as JWTPayload & {
    caps?: unknown;
    max?: unknown;
  };
  if (iss === undefined || iat === undefined || exp === undefined) return { problem: 'a claim is missing' };
  if (exp - iat > LONGEST_LIFE_S) return { problem: 'it lives for more than 15 minutes' };
  if (iat * 1000 > now + CLOCK_SKEW_S * 1000) return { problem: 'it is not valid yet' };
  if (!isShortText(jti)) return { problem: 'its jti is not a text of 1 to 128 characters' };
  if (sub !== undefined && !isShortText(sub))
    return { problem: 'its sub is not a text of 1 to 128 characters' };
  if (!Array.isArray(caps) || caps.length > MOST_NAMES || !caps.every(isCapabilityName))
    return { problem: 'its caps are not a list of up to 16 capabilities' };
  const limit = maximum(max);
  if (limit === 'wrong') return { problem: 'its max is not a decimal of US dollars as text' };
  return {
    issuer: iss,
    jti,
    names: (caps as string[]).map(capabilityName),
    expires: Math.floor(exp * 1000),
    ...(nbf !== undefined && { notBefore: Math.floor(nbf * 1000) }),
    ...(sub !== undefined && { subject: sub }),
    ...(limit !== undefined && { max: limit }),
  };
}

function isShortText(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= 128 && value.isWellFormed();
}

/** A float would not be exact, so only text counts. */
function maximum(max: unknown): bigint | undefined | 'wrong' {
  if (max === undefined) return undefined;
  try {
    const amount = typeof max === 'string' ? nanoUsdFromUsd(max) : -1n;
    return amount < 0n ? 'wrong' : amount;
  } catch {
    return 'wrong';
  }
}

/** Our own words: the library's may quote what the token says. */
function problemText(error: unknown): string {
  if (error instanceof errors.JWTExpired) return 'it has expired';
  if (error instanceof errors.JWTClaimValidationFailed) {
    const { claim, reason } = error;
    if (claim === 'nbf') return 'it is not valid yet';
    if (reason === 'missing') return `it has no ${claim}`;
    const names: Record<string, string> = { iss: 'issuer', aud: 'audience', typ: 'type' };
    return `its ${names[claim] ?? 'content'} is wrong`;
  }
  if (error instanceof errors.JOSEAlgNotAllowed) return 'its algorithm is not Ed25519';
  if (error instanceof errors.JWKSNoMatchingKey) return 'it is signed with another key';
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'its signature is wrong';
  return 'it is no signed capability';
}
