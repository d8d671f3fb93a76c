/** Strict verification: of lines one by one, of a whole log, and what is known before and said after. */
export { heldHead } from './verdict.ts';
export type { Anchor, Completeness, LogVerdict, SignaturePolicy, VerifyLogOptions } from './verdict.ts';
export { LogVerifier } from './log-verifier.ts';
export type {
  KeyStanding,
  LineProblem,
  SignatureCheck,
  SignatureRule,
  Trust,
  VerifierStart,
} from './log-verifier.ts';
export { parseLine, type ParsedLine } from './parse-line.ts';
export { verifyLog } from './verify-log.ts';
