/** `agentguard demo`: a real agent through allow, downgrade and block, judged by the provider's own bill. */
import { mkdirSync, mkdtempSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { blockedError } from '../../errors.ts';
import type { SpendEvent } from '../../events.ts';
import { createSpendGuard } from '../../guard.ts';
import type { NanoUsd } from '../../money.ts';
import { findPrice } from '../../pricing/find-price.ts';
import { costOf } from '../../pricing/price.ts';
import type { Payload } from '../../receipts/payloads.ts';
import { fileLedger } from '../file-ledger/index.ts';
import { KEY_FILE, LOG_FILE } from '../home.ts';
import { startSimulator, type Simulator } from '../simulator/index.ts';
import type { LogAudit } from './audit-log.ts';
import {
  requireFrameworks,
  demoPolicy,
  reviewerScript,
  runAgent,
  type AgentEnd,
  type AgentOptions,
} from './demo-agent.ts';
import { demoJson, demoReport } from './demo-report.ts';
import type { KeyChoice } from './locate.ts';
import { CliError } from './output.ts';
import { verifyFile } from './verify.ts';

export interface DemoOptions {
  /** On the real OpenRouter, with `OPENROUTER_API_KEY`. */
  live?: boolean;
  /** OpenRouter's address for `live`, where it isn't the usual one. */
  baseURL?: string;
  /** Where the log goes; made when missing, refused when not empty. Default: a new temporary folder. */
  dir?: string;
  /** Told of each step as it ends. */
  onStep?: (step: DemoStep) => void;
}

/** One call of the agent, as guard and log saw it. Amounts are nano-USD. */
export interface DemoStep {
  number: number;
  callId: string;
  decision: 'allow' | 'downgrade' | 'block';
  reason: string;
  asked: string;
  /** The model that the call was sent to; absent when blocked. */
  routed?: string;
  /** Held while the call was in flight; of a blocked call, what it could have cost. */
  hold: NanoUsd;
  actual?: NanoUsd;
  /** What the provider says that it charged. */
  reported?: NanoUsd;
  /** Spent on the day's account after the step. */
  balance: NanoUsd;
  /** The same tokens at the price of the model that was asked for. */
  atAsked?: NanoUsd;
  receipt: { seq: number; hash: string };
}

/** What the demo found out. Amounts are nano-USD. */
export interface DemoFacts {
  live: boolean;
  folder: string;
  log: string;
  hardCap: NanoUsd;
  steps: readonly DemoStep[];
  reviews: number;
  /** The refusal's message, where the agent was stopped by one. */
  refusal?: string;
  /** The simulator's own bill; live, the sum of what the provider reported for its calls. */
  billed: NanoUsd;
  /** Sum of the settled amounts, added up from the log. */
  settled: NanoUsd;
  agrees: boolean;
  /** What the downgraded steps would have cost more on the model that they asked for. */
  saved: NanoUsd;
  /** What was sent, in order: the models that the bodies named. Empty when live. */
  sent: readonly { model: unknown; models: unknown; maxTokens: unknown }[];
  audit: LogAudit;
  key: KeyChoice;
}

/** Runs the demo and prints it. Exit codes: 0 all well, 1 ledger and bill differ or the log isn't valid, 2 not run. */
export async function demoCommand(options: DemoOptions & { json?: boolean }): Promise<number> {
  const { json = false, ...rest } = options;
  apiKeyFor(rest);
  await requireFrameworks();
  const cap = demoPolicy(new Date()).caps[1]?.amountCents;
  if (rest.live === true && !json) {
    process.stderr.write(
      `Running on OpenRouter: this spends real money, at most the hard cap of ${cap} cents.\n`,
    );
  }
  const showsSteps = rest.live === true && process.stderr.isTTY;
  const facts = await runDemo({
    ...rest,
    ...(showsSteps && { onStep: (step) => process.stderr.write(`  step ${step.number}: ${step.reason}\n`) }),
  });
  process.stdout.write(json ? demoJson(facts) : demoReport(facts));
  return facts.agrees && facts.audit.verdict.integrity === 'valid' ? 0 : 1;
}

/** Runs the agent and gathers the facts. Rejects with `CliError` when the demo can't run. */
export async function runDemo(options: DemoOptions = {}): Promise<DemoFacts> {
  const live = options.live ?? false;
  const apiKey = apiKeyFor(options);
  await requireFrameworks();
  const folder = demoFolder(options.dir);
  const logFolder = join(folder, 'acme');
  const steps = new StepRecorder(options.onStep);
  await using simulator = live ? undefined : await startSimulator({ respond: reviewerScript, latencyMs: 20 });
  const policy = demoPolicy(new Date());
  const guard = createSpendGuard({
    policy,
    scope: { userId: 'alice', agentId: 'code-reviewer' },
    ledger: fileLedger({ dir: logFolder, keyFile: join(folder, KEY_FILE), tenantId: 'acme' }),
    onEvent: (event) => steps.see(event),
  });
  const baseURL = simulator?.url ?? options.baseURL;
  const end = await runGuarded({ guard, apiKey, ...(baseURL !== undefined && { baseURL }) }, folder);
  await simulator?.idle();
  const log = join(logFolder, LOG_FILE);
  const { audit, key } = await verifyFile(log);
  const billed = simulator?.billed ?? sum(steps.all.map((step) => step.reported));
  const { settled } = audit.totals;
  const refusal = blockedError(end.blocked)?.message;
  return {
    live,
    folder,
    log,
    hardCap: BigInt(policy.caps[1]?.amountCents ?? 0) * 10_000_000n,
    steps: steps.all,
    reviews: end.reviews,
    ...(refusal !== undefined && { refusal }),
    billed,
    settled,
    agrees: live ? steps.all.every(agreesWithReport) : billed === settled,
    saved: sum(steps.all.map(savedBy)),
    sent: simulator === undefined ? [] : sentTo(simulator),
    audit,
    key,
  };
}

/** Throws `CliError` when the run needs a key that isn't there. */
function apiKeyFor({ live = false }: DemoOptions): string {
  const apiKey = live ? process.env['OPENROUTER_API_KEY'] : 'sk-or-v1-simulated';
  if (apiKey !== undefined && apiKey.trim() !== '') return apiKey;
  throw new CliError(
    'demo --live needs an OpenRouter key in OPENROUTER_API_KEY. Without --live the demo runs offline.',
  );
}

/** Closes the guard whatever becomes of the agent, so that the log ends with its last receipt. */
async function runGuarded(options: AgentOptions, folder: string): Promise<AgentEnd> {
  try {
    return await runAgent(options);
  } catch (error) {
    throw new CliError(`The agent failed: ${(error as Error).message} Its receipts so far lie in ${folder}.`);
  } finally {
    await options.guard.close();
  }
}

/** A step without a reported cost (an error, say) is settled at an estimate that errs high. */
function agreesWithReport({ actual, reported }: DemoStep): boolean {
  return reported === undefined || reported === actual;
}

function demoFolder(dir: string | undefined): string {
  if (dir === undefined) return mkdtempSync(join(tmpdir(), 'agentguard-demo-'));
  const folder = resolve(dir);
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    if (readdirSync(folder).length === 0) return folder;
  } catch (error) {
    throw new CliError(`The demo can't write to ${folder}: ${(error as Error).message}.`);
  }
  throw new CliError(`${folder} is not empty. Name a new folder, so that the demo's log stands by itself.`);
}

function sum(amounts: readonly (NanoUsd | undefined)[]): NanoUsd {
  return amounts.reduce<NanoUsd>((total, amount) => total + (amount ?? 0n), 0n);
}

/** Nothing for a call that kept its model; a blocked call is not counted either, since nobody knows its cost. */
function savedBy({ decision, actual, atAsked }: DemoStep): NanoUsd {
  return decision === 'downgrade' && actual !== undefined && atAsked !== undefined ? atAsked - actual : 0n;
}

function sentTo(simulator: Simulator): DemoFacts['sent'] {
  const completions = simulator.requests.filter(({ path }) => path.endsWith('/chat/completions'));
  return completions.map(({ body }) => {
    const { model, models, max_tokens: maxTokens } = body as Record<string, unknown>;
    return { model, models, maxTokens };
  });
}

/** Turns the guard's events into steps. */
class StepRecorder {
  readonly all: DemoStep[] = [];
  readonly #onStep: ((step: DemoStep) => void) | undefined;
  #spent: NanoUsd = 0n;

  constructor(onStep: ((step: DemoStep) => void) | undefined) {
    this.#onStep = onStep;
  }

  see(event: SpendEvent): void {
    if (event.type === 'decision') {
      const { callId, decision, reason, requestedModel: asked, model: routed, hold, receipt } = event;
      const step: DemoStep = {
        number: this.all.length + 1,
        callId,
        decision,
        reason,
        asked,
        ...(routed !== undefined && { routed }),
        hold,
        balance: this.#spent,
        receipt: { seq: receipt.payload.seq, hash: receipt.hash },
      };
      this.all.push(step);
      if (decision === 'block') this.#onStep?.(step);
    } else if (event.type === 'settlement') {
      const step = this.all.find(({ callId }) => callId === event.callId);
      if (step !== undefined) this.#settle(step, event.cost, event.receipt?.payload);
    }
  }

  #settle(step: DemoStep, cost: NanoUsd, payload: Payload | undefined): void {
    this.#spent += cost;
    step.actual = cost;
    step.balance = this.#spent;
    if (payload?.type === 'settlement') {
      if (payload.cost.reported !== undefined) step.reported = BigInt(payload.cost.reported);
      const atAsked = costAt(step.asked, payload.usage);
      if (atAsked !== undefined) step.atAsked = atAsked;
    }
    this.#onStep?.(step);
  }
}

type RecordedUsage = Extract<Payload, { type: 'settlement' }>['usage'];

/** What the recorded tokens come to at the list price of another model. */
function costAt(model: string, usage: RecordedUsage): NanoUsd | undefined {
  const found = findPrice(model, 'openrouter');
  if (usage === undefined || !('price' in found)) return undefined;
  return costOf(found.price, {
    inputTokens: usage.input_tokens,
    outputTokens: usage.output_tokens,
    ...(usage.cache_read_tokens !== undefined && { cacheReadTokens: usage.cache_read_tokens }),
    ...(usage.cache_write_tokens !== undefined && { cacheWriteTokens: usage.cache_write_tokens }),
    ...(usage.reasoning_tokens !== undefined && { reasoningTokens: usage.reasoning_tokens }),
  });
}
