/** For tests: a guard with a clock of its own, the suite that every ledger must pass, and a provider to call. */
export {
  DEFAULT_TEST_PRICE,
  testGuard,
  type TestClock,
  type TestGuard,
  type TestGuardOptions,
} from './test-guard.ts';
export { ledgerConformance, type LedgerUnderTest, type TestRunner } from './conformance.ts';
export * from '../node/simulator/index.ts';
