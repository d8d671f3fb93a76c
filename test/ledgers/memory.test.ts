import { describe, expect, it } from 'vitest';
import { memoryLedger } from '../../src/ledgers/memory.ts';
import { ledgerConformance } from '../../src/testing/conformance.ts';

ledgerConformance({ describe, it, expect }, { name: 'memoryLedger', open: () => memoryLedger() });
