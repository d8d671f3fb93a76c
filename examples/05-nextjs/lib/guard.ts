/** One guard for the whole app. Making it does no I/O: `next build` creates no log. */
import { after } from 'next/server';
import { createSpendGuard, type SpendPolicy } from '@agentguard-run/spend';

const policy: SpendPolicy = {
  id: 'chat-v1',
  scope: { tenantId: 'acme' },
  caps: [
    {
      amountCents: 500,
      window: 'per_day',
      action: 'downgrade',
      downgradeTo: 'anthropic/claude-haiku-4-5',
      reason: 'over $5 a day, drop to haiku',
    },
    { amountCents: 2000, window: 'per_day', action: 'block', reason: 'hard daily ceiling' },
    {
      amountCents: 5,
      window: 'per_day',
      action: 'block',
      per: ['userId'],
      reason: 'daily allowance of a user',
    },
  ],
  version: 1,
  effectiveFrom: '2026-01-01T00:00:00Z',
};

export const guard = createSpendGuard({
  policy,
  // A settlement may come after the response, when the client has hung up: `after` keeps the function alive for it.
  waitUntil: (work) => after(work),
});
