/** What the prompt caches of models are thought to hold for a task, from what its last call reported. */
import type { SpendScope } from './scope.ts';
import type { TokenUsage } from './usage.ts';

/** Providers keep what was written for five minutes, or the hour that was asked for, from its last use on. */
const LIFE_MS = 5 * 60_000;
const LONG_LIFE_MS = 60 * 60_000;
const KEPT = 1024;

export class PromptCaches {
  readonly #held = new Map<string, { tokens: number; until: number }>();

  /** Remembers what a call of a task left in its model's cache. Calls that name no task leave nothing. */
  remember(
    scope: SpendScope,
    model: string,
    usage: TokenUsage | undefined,
    now: number,
    isLong = false,
  ): void {
    const name = nameOf(scope, model);
    if (name === undefined || usage === undefined) return;
    const tokens = (usage.cacheReadTokens ?? 0) + (usage.cacheWriteTokens ?? 0);
    this.#held.delete(name);
    if (tokens === 0) return;
    this.#held.set(name, { tokens, until: now + (isLong ? LONG_LIFE_MS : LIFE_MS) });
    const oldest = this.#held.keys().next().value;
    if (this.#held.size > KEPT && oldest !== undefined) this.#held.delete(oldest);
  }

  tokens(scope: SpendScope, model: string, now: number): number {
    const name = nameOf(scope, model);
    const held = name === undefined ? undefined : this.#held.get(name);
    return held !== undefined && held.until > now ? held.tokens : 0;
  }
}

function nameOf({ tenantId, agentId, taskId }: SpendScope, model: string): string | undefined {
  return taskId === undefined ? undefined : JSON.stringify([tenantId, agentId, taskId, model]);
}
