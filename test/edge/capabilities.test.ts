/** Signed capabilities in an edge runtime, verified by its own WebCrypto. */
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { expect, it } from 'vitest';
import { capabilityVerifier, type CapabilityKey } from '../../src/capabilities.ts';

it('are verified on the edge', async () => {
  const { privateKey, publicKey } = await generateKeyPair('Ed25519', { extractable: true });
  const jwk = (await exportJWK(publicKey)) as CapabilityKey;
  const verifier = capabilityVerifier({ issuer: 'i', audience: 'a', jwks: { keys: [jwk] } });
  const mint = (aud: string): Promise<string> =>
    new SignJWT({ caps: ['read_only'], jti: 'one' })
      .setProtectedHeader({ alg: 'Ed25519', typ: 'agentguard-cap+jwt' })
      .setIssuer('i')
      .setAudience(aud)
      .setIssuedAt()
      .setExpirationTime('5m')
      .sign(privateKey);
  expect(await verifier.verify(await mint('a'), Date.now())).toMatchObject({
    jti: 'one',
    names: ['read_only'],
  });
  expect(await verifier.verify(await mint('b'), Date.now())).toEqual({ problem: 'its audience is wrong' });
});
