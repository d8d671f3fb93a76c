/** As many caps as a policy may have, on every kind of window. */
import type { SpendCap } from '../../../src/policy.ts';
import { WINDOW_KINDS } from '../../../src/windows.ts';

export function capsOfEveryKind(): SpendCap[] {
  return Array.from({ length: 32 }, (_, index): SpendCap => {
    const window = WINDOW_KINDS[index % WINDOW_KINDS.length] as SpendCap['window'];
    return {
      amountCents: 1_000_000 + index,
      window,
      action: 'block',
      ...(index > 15 && { per: ['userId'] }),
    };
  });
}
