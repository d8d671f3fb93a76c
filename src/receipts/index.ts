/** Receipts: reading and verifying a log. */
export { verifyLog, LogVerifier, parseLine } from './verify.ts';
export type { LineProblem, LogVerdict, ParsedLine, Trust, VerifierStart } from './verify.ts';
export { canonicalJson } from './canonical-json.ts';
export { base64url, digestOf, fromBase64url, signerFromKeys, signerFromSeed, thumbprint } from './keys.ts';
export type { Signer, SigningKeys } from './keys.ts';
export type { Payload, Receipt, ReceiptType } from './payloads.ts';
