/** Alerts by webhook: a POST for each, tried again for a while, never on a call's path. */
import type { SpendAlert } from './alerts.ts';
import { AgentGuardError } from './errors.ts';
import { usdText } from './money.ts';

export interface WebhookOptions {
  url: string;
  /** Sent with every request, e.g. an authorization. Never recorded. */
  headers?: Readonly<Record<string, string>>;
  /** Waits before the second and later tries, in milliseconds. Default 1 s, 5 s, 30 s, 2 min. */
  retryDelaysMs?: readonly number[];
}

const RETRY_DELAYS_MS = [1000, 5000, 30_000, 120_000];
const TRY_TIMEOUT_MS = 10_000;

/** Checks what was passed as `webhook`. Throws `AgentGuardError` (`invalid_config`). */
export function readWebhook(given: string | WebhookOptions | undefined): WebhookOptions | undefined {
  if (given === undefined) return undefined;
  const options = typeof given === 'string' ? { url: given } : given;
  const url = URL.canParse(options?.url) ? new URL(options.url) : undefined;
  if (url?.protocol === 'https:' || url?.protocol === 'http:') return options;
  throw new AgentGuardError('invalid_config', 'webhook: expected an http(s) URL, or { url, headers? }');
}

/** What is posted. `id` is the receipt's hash, by which a receiver tells a repetition. */
function bodyOf(alert: SpendAlert): string {
  const { id, policyId, cap, window, share, spent, amount, reason, at } = alert;
  return JSON.stringify({
    type: 'agentguard.alert',
    id,
    policy: policyId,
    cap,
    window,
    share,
    spentUsd: usdText(spent),
    amountUsd: usdText(amount),
    reason,
    at: at.toISOString(),
  });
}

/** Posts an alert until it is taken or the tries are used up. Resolves with whether it was; never rejects. */
export async function postAlert(alert: SpendAlert, options: WebhookOptions): Promise<boolean> {
  const { url, headers, retryDelaysMs = RETRY_DELAYS_MS } = options;
  const body = bodyOf(alert);
  for (const wait of [0, ...retryDelaysMs]) {
    if (wait > 0) await pause(wait);
    try {
      const answer = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'idempotency-key': alert.id, ...headers },
        body,
        redirect: 'error',
        signal: AbortSignal.timeout(TRY_TIMEOUT_MS),
      });
      await answer.body?.cancel();
      if (answer.ok) return true;
      // A receiver that says no will say it again; one that is busy or broken may not.
      if (answer.status < 500 && answer.status !== 429 && answer.status !== 408) return false;
    } catch {
      // not reached: tried again
    }
  }
  return false;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    const timer: unknown = setTimeout(resolve, ms);
    // An alert must not keep a process alive that has nothing else to do.
    (timer as { unref?: () => void }).unref?.();
  });
}
