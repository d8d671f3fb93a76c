/** Runs the command from its sources as a user would: in a process of its own, with a home of its own. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { createSpendGuard, type SpendGuard, type SpendPolicy } from '../../../src/index.ts';
import { fileLedger } from '../../../src/node/file-ledger/index.ts';

const MAIN = fileURLToPath(new URL('../../../src/node/cli/main.ts', import.meta.url));

export interface CliRun {
  code: number;
  stdout: string;
  stderr: string;
}

/** An environment without colours and without npm's own variables, and `env`. */
export function cliEnvironment(env: Record<string, string> = {}): Record<string, string> {
  const { PATH = '', TMPDIR = tmpdir(), SystemRoot = '' } = process.env;
  return { PATH, TMPDIR, SystemRoot, NO_COLOR: '1', ...env };
}

export function cliArguments(args: readonly string[]): string[] {
  return ['--conditions=agentguard-source', MAIN, ...args];
}

export function agentguard(args: readonly string[], env: Record<string, string> = {}): Promise<CliRun> {
  return new Promise((resolve) => {
    execFile(process.execPath, cliArguments(args), { env: cliEnvironment(env) }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

/** A new home that is removed when the test ends. */
export async function newHome(): Promise<string> {
  const home = await mkdtemp(join(tmpdir(), 'agentguard-cli-'));
  onTestFinished(() => rm(home, { recursive: true, force: true }));
  return home;
}

export const POLICY: SpendPolicy = {
  id: 'cli-test',
  scope: {},
  caps: [
    { amountCents: 100, window: 'per_day', action: 'block', reason: 'daily ceiling' },
    { amountCents: 100, window: 'per_minute', action: 'block' },
  ],
  version: 1,
  effectiveFrom: '2020-01-01T00:00:00Z',
};

/** A guard on the log of a tenant in `home`; `clock` is added to the time of day. */
export function guardIn(
  home: string,
  tenant: string,
  options: { policy?: SpendPolicy; clock?: () => number; waitForHoldsMs?: number } = {},
): SpendGuard {
  const { policy = POLICY, clock = () => 0, waitForHoldsMs = 0 } = options;
  const dir = join(home, tenant);
  const keyFile = join(home, 'installation-key.json');
  const now = () => Date.now() + clock();
  return createSpendGuard({
    policy,
    waitForHoldsMs,
    ledger: fileLedger({ dir, keyFile, now, durability: 'os', tenantId: tenant }),
  });
}

/** Two settled calls, one that is refused, and one that stays open. Returns the log's path. */
export async function writeLog(home: string, tenant: string, userId = 'alice'): Promise<string> {
  const guard = guardIn(home, tenant);
  const request = {
    model: 'anthropic/claude-haiku-4-5',
    provider: 'openrouter',
    inputTokens: 1000,
    scope: { userId },
  };
  for (const cost of [0.0021, 0.0034]) {
    const call = await guard.begin({ ...request, maxOutputTokens: 1000 });
    await call.settle({
      outcome: 'ok',
      cost,
      usage: { inputTokens: 900, outputTokens: 240 },
      servedModel: request.model,
      servedProvider: 'Anthropic',
      providerRef: 'gen-1',
    });
  }
  await guard.begin({ ...request, maxOutputTokens: 1_000_000 }).catch(() => undefined);
  await guard.begin({ ...request, maxOutputTokens: 1000 });
  await guard.close();
  return join(home, tenant, 'decisions.ndjson');
}
