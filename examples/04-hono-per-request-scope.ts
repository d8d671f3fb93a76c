/**
 * A Hono server whose every request is under its own user's allowance: the server says who is calling, and a request
 * that would pass the allowance gets a real HTTP 402.
 *
 *   npm run example 04
 *
 * Runs offline on the simulator that comes with the package, asks itself as two users, and ends. With `--serve` it
 * stays up (npm run example 04 -- --serve):
 * curl -H 'authorization: Bearer token-of-alice' -d '{"text":"…"}' localhost:8788/summary
 */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { serve } from '@hono/node-server';
import { createOpenRouter } from '@openrouter/ai-sdk-provider';
import { generateText, wrapLanguageModel } from 'ai';
import { Hono } from 'hono';
import { createSpendGuard, formatUsd, type SpendScope } from '@agentguard-run/spend';
import { spendGuard } from '@agentguard-run/spend/ai-sdk';
import { guardRoute } from '@agentguard-run/spend/http';
import { fileLedger } from '@agentguard-run/spend/ledgers/file';
import { startSimulator } from '@agentguard-run/spend/testing';

// The log lies in a new folder here; without `ledger` it would be ~/.agentguard/acme/decisions.ndjson.
const guard = createSpendGuard({
  policy: {
    id: 'summaries-v1',
    scope: { tenantId: 'acme' },
    caps: [
      { amountCents: 1, window: 'per_day', action: 'block', per: ['userId'], reason: 'daily allowance' },
    ],
    version: 1,
    effectiveFrom: '2026-01-01T00:00:00Z',
  },
  ledger: fileLedger({ dir: mkdtempSync(join(tmpdir(), 'agentguard-hono-')), tenantId: 'acme' }),
});

const simulator = await startSimulator({
  respond: () => ({ text: 'A summary of it, in one sentence.', outputTokens: 150 }),
});
const openrouter = createOpenRouter({ apiKey: 'offline', baseURL: simulator.url });
const model = wrapLanguageModel({
  model: openrouter('anthropic/claude-opus-4-7'),
  middleware: spendGuard(guard),
});

/** Who has which token. A real server verifies a signed one. */
const USERS: Readonly<Record<string, string>> = { 'token-of-alice': 'alice', 'token-of-bob': 'bob' };

/** From the request's own credentials, never from its JSON. */
function scopeOf(request: Request): SpendScope | Response {
  const token = /^Bearer (.+)$/.exec(request.headers.get('authorization') ?? '')?.[1] ?? '';
  const userId = USERS[token];
  return userId === undefined ? Response.json({ error: 'unknown token' }, { status: 401 }) : { userId };
}

const summary = guardRoute({ scope: scopeOf }, async (request: Request) => {
  const { text } = (await request.json()) as { text: string };
  const answer = await generateText({
    model,
    prompt: `Summarise in one sentence: ${text}`,
    maxOutputTokens: 200,
    maxRetries: 0,
    // a client that hangs up ends the call
    abortSignal: request.signal,
  });
  return Response.json({ summary: answer.text });
});

const app = new Hono().post('/summary', (context) => summary(context.req.raw));

const isServing = process.argv.includes('--serve');
const server = serve({ fetch: app.fetch, hostname: '127.0.0.1', port: isServing ? 8788 : 0 });
if (!server.listening) await new Promise((resolve) => server.once('listening', resolve));
const address = server.address();
const url = `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : ''}/summary`;
console.log(`listening on ${url.replace(/:\d+/, isServing ? ':8788' : ':…')}`);

if (!isServing) {
  const body = JSON.stringify({ text: 'A long text about the moon.', scope: { userId: 'somebody-else' } });
  for (const token of ['token-of-alice', 'token-of-alice', 'token-of-alice', 'token-of-bob', 'stolen']) {
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
    const response = await fetch(url, { method: 'POST', headers, body });
    const wait = response.headers.get('retry-after') === null ? '' : ' (Retry-After is set)';
    const { summary: text, reason, error } = (await response.json()) as Record<string, string>;
    console.log(`${token.padEnd(14)} ${response.status} ${text ?? reason ?? error}${wait}`);
  }
  for (const userId of ['alice', 'bob']) {
    for (const { window, spent, amount } of await guard.balances({ userId })) {
      console.log(`${userId.padEnd(14)} ${window}: ${formatUsd(spent)} of ${formatUsd(amount)}`);
    }
  }
  console.log(`billed         ${formatUsd(simulator.billed)}`);
  server.close();
  await guard.close();
  await simulator.close();
}
