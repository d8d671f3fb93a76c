/** Guarded calls to a simulator on one file ledger, made the same way by a test and by its child processes. */
import { createSpendGuard, type SpendGuard } from '../../../src/guard.ts';
import { isBlocked, blockedError } from '../../../src/errors.ts';
import { fileLedger } from '../../../src/node/file-ledger/index.ts';
import type { SpendPolicy } from '../../../src/policy.ts';
import { setCostOverride } from '../../../src/pricing/overrides.ts';
import type { SpendEvent } from '../../../src/events.ts';
import { startSimulator, type Simulator } from '../../../src/node/simulator/index.ts';

export const MODEL = 'test/model';
/** Nano-USD for each output token; input is free. */
export const TOKEN_NANO = 2000n;

export interface Load {
  dir: string;
  url: string;
  /** The cap, in output tokens. */
  capTokens: number;
  /** The output limit of each call. */
  limit: number;
  waitForHoldsMs?: number;
  leaseMs?: number;
}

export interface Tally {
  passed: number;
  blocked: Record<string, number>;
}

export function loadPolicy(capTokens: number): SpendPolicy {
  const amountCents = `${BigInt(capTokens) * TOKEN_NANO}e-7`;
  return {
    id: 'load',
    scope: {},
    caps: [{ amountCents, window: 'total', action: 'block' }],
    version: 1,
    effectiveFrom: '2020-01-01T00:00:00Z',
  };
}

export function loadGuard(
  { dir, capTokens, waitForHoldsMs = 0, leaseMs }: Load,
  onEvent: (event: SpendEvent) => void = () => undefined,
): SpendGuard {
  setCostOverride(MODEL, { inputCentsPerKtok: 0, outputCentsPerKtok: '0.2' });
  return createSpendGuard({
    policy: loadPolicy(capTokens),
    ledger: fileLedger({ dir }),
    waitForHoldsMs,
    onEvent,
    ...(leaseMs !== undefined && { leaseMs }),
  });
}

/** A simulator whose model costs what `loadGuard` thinks it does. `used` is what an answer takes of its limit. */
export function loadSimulator(used = 1, latencyMs = 0): Promise<Simulator> {
  return startSimulator({
    latencyMs,
    models: [{ id: MODEL, pricing: { prompt: '0', completion: '0.000002' } }],
    respond: ({ maxOutputTokens = 0 }) => ({
      inputTokens: 100,
      outputTokens: Math.floor(maxOutputTokens * used),
    }),
  });
}

/** One call, over HTTP. False when it was refused. */
export async function callOnce(guard: SpendGuard, { url, limit }: Load, tally: Tally): Promise<boolean> {
  let call;
  try {
    call = await guard.begin({ model: MODEL, inputTokens: 100, maxOutputTokens: limit });
  } catch (error) {
    if (!isBlocked(error)) throw error;
    const { reason = 'unknown' } = blockedError(error) ?? {};
    tally.blocked[reason] = (tally.blocked[reason] ?? 0) + 1;
    return false;
  }
  const response = await fetch(`${url}/chat/completions`, {
    method: 'POST',
    headers: { authorization: 'Bearer test', 'content-type': 'application/json' },
    body: JSON.stringify({
      model: call.model,
      max_tokens: call.maxOutputTokens ?? limit,
      messages: [{ role: 'user', content: 'hi' }],
    }),
  });
  const body = (await response.json()) as {
    usage: { prompt_tokens: number; completion_tokens: number; cost: number };
  };
  await call.settle({
    outcome: 'ok',
    usage: { inputTokens: body.usage.prompt_tokens, outputTokens: body.usage.completion_tokens },
    cost: body.usage.cost,
  });
  tally.passed += 1;
  return true;
}

export function newTally(): Tally {
  return { passed: 0, blocked: {} };
}

/** Makes `count` calls, `atOnce` of them at a time. */
export async function callMany(guard: SpendGuard, load: Load, count: number, atOnce = count): Promise<Tally> {
  const tally = newTally();
  let left = count;
  const agent = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      await callOnce(guard, load, tally);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, agent));
  return tally;
}

/** Runs agents that make one call after another until one is refused. */
export async function callUntilRefused(guard: SpendGuard, load: Load, agents: number): Promise<Tally> {
  const tally = newTally();
  const agent = async (): Promise<void> => {
    while (await callOnce(guard, load, tally));
  };
  await Promise.all(Array.from({ length: agents }, agent));
  return tally;
}
