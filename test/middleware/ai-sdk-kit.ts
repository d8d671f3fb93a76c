/** A guard on a memory ledger in front of a simulator, with what both recorded. */
import { createOpenRouter } from '@openrouter/ai-sdk-provider';
import { wrapLanguageModel } from 'ai';
import { spendGuard, type AiSdkGuardOptions } from '../../middleware/ai-sdk.ts';
import {
  createSpendGuard,
  memoryLedger,
  type SpendCap,
  type SpendEvent,
  type SpendGuard,
  type SpendGuardOptions,
  type SpendPolicy,
} from '../../src/index.ts';
import { startSimulator, type Simulator, type SimulatorOptions } from '../../src/node/simulator/index.ts';
import type { Payload, Receipt } from '../../src/receipts/payloads.ts';
import { receiptsOf } from '../../src/testing/conformance-kit.ts';

export const OPUS = 'anthropic/claude-opus-4-7';
export const HAIKU = 'anthropic/claude-haiku-4-5';
export const SONNET = 'anthropic/claude-sonnet-4-6';

type Of<T extends Payload['type']> = Extract<Payload, { type: T }>;

export interface Desk extends AsyncDisposable {
  sim: Simulator;
  guard: SpendGuard;
  events: SpendEvent[];
  openrouter(options?: Parameters<typeof createOpenRouter>[0]): ReturnType<typeof createOpenRouter>;
  /** A guarded OpenRouter model. */
  model(
    id?: string,
    settings?: Parameters<ReturnType<typeof createOpenRouter>>[1],
    options?: AiSdkGuardOptions,
  ): ReturnType<typeof wrapLanguageModel>;
  wrap(
    model: Parameters<typeof wrapLanguageModel>[0]['model'],
    options?: AiSdkGuardOptions,
  ): ReturnType<typeof wrapLanguageModel>;
  receipts<T extends Payload['type']>(type: T): Promise<Of<T>[]>;
  /** Bodies of the chat completions that the simulator got. */
  bodies(): Record<string, unknown>[];
  warnings(): string[];
  /** Every receipt, as it stands in the log. */
  log(): Promise<Receipt[]>;
  spent(): Promise<bigint>;
  held(): Promise<bigint>;
}

export function policyOf(caps: readonly SpendCap[], more: Partial<SpendPolicy> = {}): SpendPolicy {
  return { id: 'test', scope: {}, version: 1, effectiveFrom: '2026-01-01', caps, ...more };
}

/** $100 in all: never in the way, but in play. */
export const WIDE: SpendCap = { amountCents: 10_000, window: 'total', action: 'block' };

/** Downgrades every call that could cost more than nothing. */
export function ladder(...downgradeTo: string[]): SpendCap {
  return { amountCents: 0, window: 'per_call', action: 'downgrade', downgradeTo };
}

export async function openDesk(
  policy: SpendPolicy | SpendPolicy[] = policyOf([WIDE]),
  simulator: SimulatorOptions = {},
  more: Partial<SpendGuardOptions> = {},
): Promise<Desk> {
  const sim = await startSimulator(simulator);
  const ledger = memoryLedger();
  const events: SpendEvent[] = [];
  const guard = createSpendGuard({ policy, ledger, onEvent: (event) => events.push(event), ...more });
  const openrouter: Desk['openrouter'] = (options) =>
    createOpenRouter({ apiKey: 'sk-or-test', baseURL: sim.url, ...options });
  const wrap: Desk['wrap'] = (model, options) =>
    wrapLanguageModel({ model, middleware: spendGuard(guard, options) });
  const amounts = async (which: 'spent' | 'held'): Promise<bigint> =>
    (await guard.balances()).reduce((most, cap) => (cap[which] > most ? cap[which] : most), 0n);
  return {
    sim,
    guard,
    events,
    openrouter,
    wrap,
    model: (id = OPUS, settings = {}, options) => wrap(openrouter()(id, settings), options),
    async receipts<T extends Payload['type']>(type: T) {
      const found: Of<T>[] = [];
      for await (const { payload } of ledger.read()) if (payload.type === type) found.push(payload as Of<T>);
      return found;
    },
    bodies: () =>
      sim.requests
        .filter(({ method }) => method === 'POST')
        .map(({ body }) => body as Record<string, unknown>),
    warnings: () => events.flatMap((event) => (event.type === 'warning' ? [event.code] : [])),
    log: () => receiptsOf(ledger),
    spent: () => amounts('spent'),
    held: () => amounts('held'),
    [Symbol.asyncDispose]: () => sim.close(),
  };
}
