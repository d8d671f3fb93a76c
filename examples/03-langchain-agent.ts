/**
 * An agent of LangChain.js under a soft cap and a hard cap: its own model, and a model inside of one of its tools.
 *
 *   npm run example 03
 *
 * Runs offline on the simulator that comes with the package. With OPENROUTER_API_KEY and `--live` it calls the real
 * OpenRouter and spends real money, at most the hard cap of 2 cents.
 */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ChatOpenRouter } from '@langchain/openrouter';
import { createAgent, tool } from 'langchain';
import {
  blockedError,
  createSpendGuard,
  formatUsd,
  withSpendScope,
  type SpendPolicy,
} from '@agentguard-run/spend';
import { spendGuardHandler, spendGuardMiddleware } from '@agentguard-run/spend/langchain';
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
};

/** Calls in flight, as they were decided. */
const shown = new Map<string, string>();

// The log lies in a new folder here; without `ledger` it would be ~/.agentguard/acme/decisions.ndjson.
const folder = mkdtempSync(join(tmpdir(), 'agentguard-example-'));
const guard = createSpendGuard({
  policy,
  ledger: fileLedger({ dir: folder, tenantId: 'acme' }),
  onEvent(event) {
    if (event.type === 'decision') {
      const { userId = '' } = event.scope;
      const routed = event.model === undefined ? '' : ` → ${event.model}`;
      shown.set(
        event.callId,
        `${event.decision.padEnd(9)} ${userId.padEnd(5)} ${event.requestedModel}${routed}`,
      );
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

// LangChain tries a failed request again by itself, six times by default: each attempt is a call of its own here.
const openrouter = (model: string, maxTokens: number): ChatOpenRouter =>
  new ChatOpenRouter({
    model,
    maxTokens,
    maxRetries: 2,
    apiKey: apiKey ?? 'offline',
    ...(simulator && { baseURL: simulator.url }),
  });

// A model of a tool's own, which the agent's middleware doesn't see: the handler below does.
const translator = openrouter('anthropic/claude-haiku-4-5', 60);

const orderStatus = tool(
  async (input: unknown) => {
    const { id } = input as { id: string };
    const { text } = await translator.invoke(`Translate to German: order ${id} has been shipped`);
    return text;
  },
  {
    name: 'orderStatus',
    description: 'Looks an order up.',
    schema: { type: 'object', properties: { id: { type: 'string' } }, required: ['id'] },
  },
);

const agent = createAgent({
  model: openrouter('anthropic/claude-opus-4-7', 165),
  tools: [orderStatus],
  // carries out downgrades, and stops the agent where a call of one of its tools is refused
  middleware: [spendGuardMiddleware(guard)],
});

// every other model that runs inside of this agent
const callbacks = [spendGuardHandler(guard)];

try {
  for (let customer = 1; customer <= 50; customer++) {
    // who is calling comes from the server, around everything that belongs to the request
    await withSpendScope({ tenantId: 'acme', userId: customer % 2 === 0 ? 'alice' : 'bob' }, () =>
      agent.invoke(
        {
          messages: [
            { role: 'user', content: `Customer ${customer}: where is my order ${1000 + customer}?` },
          ],
        },
        { callbacks },
      ),
    );
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

/** What the simulated models say: one look-up, then an answer; and a translation. */
function supportAgent({ messages, tools, id }: SimulatedRequest): Reply {
  if (tools.length === 0) return { text: 'Die Bestellung ist unterwegs.', outputTokens: 12 };
  const last = messages.at(-1) as { role?: string };
  if (last.role === 'user') {
    return { toolCalls: [{ name: 'orderStatus', arguments: { id: String(1000 + id) } }], outputTokens: 90 };
  }
  return { text: 'Your order has been shipped.', outputTokens: 160 };
}
