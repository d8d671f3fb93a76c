/**
 * A tool-calling agent of the AI SDK on OpenRouter, under a soft cap and a hard cap.
 *
 *   npm run example
 *
 * Runs offline on the simulator that comes with the package. With OPENROUTER_API_KEY and `--live` it calls the real
 * OpenRouter and spends real money, at most the hard cap of 2 cents.
 */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateText, isStepCount, jsonSchema, tool, wrapLanguageModel } from 'ai';
import { createOpenRouter } from '@openrouter/ai-sdk-provider';
import { blockedError, createSpendGuard, formatUsd, type SpendPolicy } from '@agentguard-run/spend';
import { spendGuard } from '@agentguard-run/spend/ai-sdk';
import { fileLedger } from '@agentguard-run/spend/ledgers/file';
import { startSimulator, type SimulatedRequest, type Reply } from '@agentguard-run/spend/testing';

const policy: SpendPolicy = {
  id: 'support-agent-v1',
  scope: { tenantId: 'acme', task: 'support' },
  caps: [
    {
      amountCents: 1,
      window: 'per_day',
      action: 'downgrade',
      downgradeTo: 'anthropic/claude-haiku-4-5',
      reason: 'over 1 cent a day, drop to haiku',
    },
    { amountCents: 2, window: 'per_day', action: 'block', reason: 'hard daily ceiling' },
  ],
  version: 1,
  effectiveFrom: '2026-01-01T00:00:00Z',
  maxOutputTokens: 165,
};

/** Calls in flight, as they were decided. */
const shown = new Map<string, string>();

// The log lies in a new folder here; without `ledger` it would be ~/.agentguard/acme/decisions.ndjson.
const folder = mkdtempSync(join(tmpdir(), 'agentguard-example-'));
const guard = createSpendGuard({
  policy,
  scope: { userId: 'alice' },
  ledger: fileLedger({ dir: folder, tenantId: 'acme' }),
  onEvent(event) {
    if (event.type === 'decision') {
      const routed = event.model === undefined ? '' : ` → ${event.model}`;
      shown.set(event.callId, `${event.decision.padEnd(9)} ${event.requestedModel}${routed}`);
    } else if (event.type === 'settlement') {
      console.log(`${shown.get(event.callId)}, ${formatUsd(event.cost)}`);
      shown.delete(event.callId);
    }
  },
});

const apiKey = process.env['OPENROUTER_API_KEY'];
const isLive = process.argv.includes('--live');
if (isLive && apiKey === undefined) throw new Error('--live needs OPENROUTER_API_KEY');
const simulator = isLive ? undefined : await startSimulator({ respond: supportAgent });

const openrouter = isLive
  ? createOpenRouter({ apiKey: apiKey as string })
  : createOpenRouter({ apiKey: 'offline', baseURL: (simulator as { url: string }).url });

const model = wrapLanguageModel({
  model: openrouter('anthropic/claude-opus-4-7'),
  middleware: spendGuard(guard),
});

const tools = {
  orderStatus: tool({
    description: 'Looks up an order.',
    inputSchema: jsonSchema<{ id: string }>({
      type: 'object',
      properties: { id: { type: 'string' } },
      required: ['id'],
    }),
    execute: ({ id }) => Promise.resolve({ id, status: 'shipped', eta: '2026-12-01' }),
  }),
};

try {
  for (let customer = 1; customer <= 50; customer++) {
    await generateText({
      model,
      tools,
      stopWhen: isStepCount(4),
      prompt: `Customer ${customer} asks where order ${1000 + customer} is. Look it up, then answer politely.`,
    });
  }
} catch (error) {
  const blocked = blockedError(error);
  if (blocked === undefined) throw error;
  console.log(`stopped   ${blocked.reason}: ${blocked.message}`);
} finally {
  await guard.close();
  await simulator?.close();
}

if (simulator !== undefined) console.log(`billed    ${formatUsd(simulator.billed)}`);
console.log(`log       ${folder}`);

/** What the simulated model says: one look-up, then an answer. */
function supportAgent({ messages, id }: SimulatedRequest): Reply {
  const last = messages.at(-1) as { role?: string };
  if (last.role === 'user') {
    return { toolCalls: [{ name: 'orderStatus', arguments: { id: String(1000 + id) } }], outputTokens: 90 };
  }
  return {
    text: 'Your order has been shipped and should arrive on the first of December.',
    outputTokens: 160,
  };
}
