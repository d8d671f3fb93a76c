/** Receipts: reading and verifying a log, its checkpoints, and single receipts of it. */
export { heldHead, LogVerifier, parseLine, verifyLog } from './verify.ts';
export type {
  Anchor,
  Completeness,
  KeyStanding,
  LineProblem,
  LogVerdict,
  ParsedLine,
  SignatureCheck,
  SignaturePolicy,
  SignatureRule,
  Trust,
  VerifierStart,
  VerifyLogOptions,
} from './verify.ts';
export { canonicalJson } from './canonical-json.ts';
export { base64url, digestOf, fromBase64url, signerFromKeys, signerFromSeed, thumbprint } from './keys.ts';
export type { Signer, SigningKeys } from './keys.ts';
export {
  keyCertificateText,
  parseKeyCertificate,
  signKeyCertificate,
  verifyKeyCertificate,
} from './key-certificate.ts';
export type { KeyCertificate } from './key-certificate.ts';
export { checkpointProblem, originOf, parseCheckpoint, signCheckpoint } from './checkpoint.ts';
export type { Checkpoint, CheckpointProblem, LogOwner, ParsedCheckpoint } from './checkpoint.ts';
export { CheckpointCheck } from './checkpoint-check.ts';
export type { CheckpointFinding } from './checkpoint-check.ts';
export { noteKeyId, noteVerifierKey, parseNote, signNote, verifyNote } from './note.ts';
export type { Note, NoteSignature } from './note.ts';
export {
  consistencyProof,
  inclusionProof,
  leafHash,
  TreeFrontier,
  verifyConsistency,
  verifyInclusion,
} from './merkle.ts';
export type { ConsistencyClaim, InclusionClaim } from './merkle.ts';
export { judgeShare, makeShareLink, openShareLink, readShareLink } from './share-link.ts';
export type { OpenedLink, ProvedLine, ShareOptions, ShareVerdict } from './share-link.ts';
export type { Payload, Receipt, ReceiptType } from './payloads.ts';
