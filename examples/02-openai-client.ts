/**
 * The OpenAI client on OpenRouter, under the caps of a team: a soft daily cap that drops to a cheaper model, a hard
 * one that blocks, and a burst guard.
 *
 *   npm run example 02
 *
 * Runs offline on the simulator that comes with the package. With OPENROUTER_API_KEY and `--live` it calls the real
 * OpenRouter and spends real money, at most the hard cap of 5 cents.
 */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import OpenAI from 'openai';
import {
  blockedError,
  formatUsd,
  setCostOverride,
  withSpendGuard,
  withSpendScope,
  type SpendEvent,
  type SpendPolicy,
} from '@agentguard-run/spend';
import { fileLedger } from '@agentguard-run/spend/ledgers/file';
import { startSimulator, type Reply, type SimulatedRequest } from '@agentguard-run/spend/testing';

// Prices that you have agreed on, in cents per 1000 tokens. Without them the embedded list counts.
setCostOverride('anthropic/claude-opus-4-7', { inputCentsPerKtok: 0.5, outputCentsPerKtok: 2.5 });
setCostOverride('anthropic/claude-haiku-4-5', { inputCentsPerKtok: 0.1, outputCentsPerKtok: 0.5 });

const policy: SpendPolicy = {
  id: 'code-review-team-v1',
  name: 'Code review team',
  scope: { tenantId: 'acme', teamId: 'engineering' },
  caps: [
    {
      amountCents: 2,
      window: 'per_day',
      action: 'downgrade',
      downgradeTo: 'anthropic/claude-haiku-4-5',
      reason: 'over 2 cents a day, drop to haiku',
    },
    { amountCents: 5, window: 'per_day', action: 'block', reason: 'hard daily ceiling' },
    { amountCents: 4, window: 'per_minute', action: 'block', reason: 'runaway loop detection' },
  ],
  mode: 'enforce',
  version: 1,
  effectiveFrom: '2026-01-01T00:00:00Z',
  maxOutputTokens: 400,
};

const apiKey = process.env['OPENROUTER_API_KEY'];
const isLive = process.argv.includes('--live');
if (isLive && apiKey === undefined) throw new Error('--live needs OPENROUTER_API_KEY');
const simulator = isLive ? undefined : await startSimulator({ respond: reviewer });

// The standard client, pointed at OpenRouter, with the headers that name your app there.
const client = new OpenAI({
  apiKey: isLive ? (apiKey as string) : 'offline',
  baseURL: simulator?.url ?? 'https://openrouter.ai/api/v1',
  defaultHeaders: { 'HTTP-Referer': 'https://your-app.example.com', 'X-Title': 'Your App Name' },
});

// Wrap it. The log lies in a new folder here; without `ledger` it would be ~/.agentguard/acme/decisions.ndjson.
const folder = mkdtempSync(join(tmpdir(), 'agentguard-example-'));
const ledger = fileLedger({ dir: folder, tenantId: 'acme' });
const guarded = withSpendGuard(client, {
  policy,
  scope: { tenantId: 'acme', teamId: 'engineering' },
  config: { ledger, onEvent: show },
});

const model = 'anthropic/claude-opus-4-7';

try {
  // One call, for one user.
  const review = await withSpendScope({ userId: 'alice' }, () =>
    guarded.chat.completions.create({
      model,
      messages: [{ role: 'user', content: 'Review this PR for security issues: …' }],
    }),
  );
  console.log(`alice     ${review.choices[0]?.message.content}`);

  // A streamed one.
  let words = '';
  const stream = await guarded.chat.completions.create({
    model,
    stream: true,
    messages: [{ role: 'user', content: 'And this one: …' }],
  });
  for await (const { choices } of stream) words += choices[0]?.delta.content ?? '';
  console.log(`stream    ${words}`);

  // An agent that calls tools until it is done: every step is decided by itself.
  for (let file = 1; file <= 20; file++) {
    const runner = guarded.chat.completions.runTools({
      model,
      messages: [{ role: 'user', content: `Read file ${file} and review it.` }],
      tools: [
        {
          type: 'function',
          function: {
            name: 'readFile',
            description: 'Reads a file of the PR.',
            parameters: { type: 'object', properties: { file: { type: 'number' } }, required: ['file'] },
            parse: (text: string) => JSON.parse(text) as { file: number },
            function: (given: { file: number }) => `export const answer = ${given.file};`,
          },
        },
      ],
    });
    await runner.done();
  }
} catch (error) {
  // A call rejects with the refusal itself; runners wrap it.
  const blocked = blockedError(error);
  if (blocked === undefined) throw error;
  console.log(`stopped   ${blocked.reason}: ${blocked.message}`);
} finally {
  await ledger.close();
  await simulator?.close();
}

if (simulator !== undefined) console.log(`billed    ${formatUsd(simulator.billed)}`);
console.log(`log       ${folder}`);

/** Tells what was decided, as it is decided. */
function show(event: SpendEvent): void {
  if (event.type !== 'decision') return;
  const routed = event.model === undefined ? '' : ` → ${event.model}`;
  console.log(`${event.decision.padEnd(9)} ${event.requestedModel}${routed}`);
}

/** What the simulated model says: one look at a file where it has a tool, then a review. */
function reviewer({ messages, tools, id }: SimulatedRequest): Reply {
  const last = messages.at(-1) as { role?: string };
  if (tools.length > 0 && last.role === 'user') {
    return { toolCalls: [{ name: 'readFile', arguments: { file: id } }], outputTokens: 60 };
  }
  return { text: 'No secrets, no injections. One name could be better.', outputTokens: 250 };
}
