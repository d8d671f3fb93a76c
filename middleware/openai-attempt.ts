/** One attempt of a request of the OpenAI client: decided before it leaves, settled at its end. */
import { notCarriedOut, type AdapterGuard } from '../src/adapter.ts';
import type { GuardedCall } from '../src/guarded-call.ts';
import type { CallOutcome } from '../src/settlement.ts';
import { failureOutcome } from '../src/wire/failure.ts';
import { drawnUsage } from '../src/wire/pictures.ts';
import { watchedResponse } from './openai-response.ts';
import { carryOut, spendRequest, type Carried, type Sending } from './openai-wire.ts';

/** A request that the client has put together, on its way to `fetch`. */
export interface RequestLike {
  body?: unknown;
  method?: string;
}

/** An attempt of a request that was let through. */
export interface Attempt {
  call: GuardedCall;
  carried: Carried;
  /** How many answers it gets. */
  choices: number;
  signal: AbortSignal | undefined;
  isSent: boolean;
}

/** Decides an attempt. `undefined` for what isn't guarded; `request` is changed to what was decided. */
export async function openAttempt(
  request: RequestLike,
  sending: Sending,
  signal: AbortSignal | undefined,
  adapter: AdapterGuard,
): Promise<Attempt | undefined> {
  if (sending.endpoint.kind === 'free') return undefined;
  const asked = spendRequest(sending);
  const call = await adapter.begin({ ...asked, ...(signal && { signal }) });
  // a guard that is off
  if (call.receipt === undefined) return undefined;
  const model = call.decision === 'downgrade' ? call.model : undefined;
  const usage = call.reason !== 'no_caps' && call.reason !== 'shadow';
  const { maxOutputTokens: limit, maxPrice } = call;
  const carried = carryOut(sending, { model, limit, maxPrice, usage });
  if (carried === undefined) throw await notCarriedOut(call, asked.model);
  if (carried.body !== sending.body) request.body = carried.body;
  return { call, carried, choices: asked.choices ?? 1, signal, isSent: false };
}

/** Sends an attempt and settles it: at once where it failed, else at the end of its answer. */
export async function sendAttempt(
  attempt: Attempt,
  fetch: (url: string) => Promise<Response>,
  own: AbortSignal | undefined,
): Promise<Response> {
  const { call, carried, signal } = attempt;
  attempt.isSent = true;
  let response: Response;
  try {
    response = await fetch(carried.url);
  } catch (error) {
    await call.settle(failureOutcome(error, signal));
    throw error;
  }
  if (!response.ok) {
    await call.settle(failureOutcome({ status: response.status }, undefined));
    return response;
  }
  try {
    return await watchedAnswer(attempt, response, own);
  } catch (error) {
    // an answer of a kind that can't be watched: it was paid for, and its hold is not left behind
    await call.settle({ outcome: 'error' });
    throw error;
  }
}

/** The outcome, with the parts of a drawing's usage that have rates of their own. */
function drawnOutcome({ endpoint, fields }: Carried, outcome: CallOutcome): CallOutcome {
  if (endpoint.kind !== 'images' || outcome.usage === undefined) return outcome;
  const hasPictures = ['image', 'images', 'mask'].some((name) => fields?.[name] != null);
  return { ...outcome, usage: drawnUsage(outcome.usage, hasPictures) };
}

function watchedAnswer(
  { call, carried, choices, signal }: Attempt,
  response: Response,
  own: AbortSignal | undefined,
): Promise<Response> {
  const { stream } = carried.fields ?? {};
  return watchedResponse(response, stream === true || stream === 'true', {
    choices,
    hidesUsage: carried.addsUsage,
    signal: own,
    settle: (outcome) => call.settle(drawnOutcome(carried, outcome)),
    broken({ how }, isStream) {
      // the client's own controller is the caller's, for a stream; else only its timeout uses it
      const gaveUp = how === 'cancelled' || signal?.aborted === true || (isStream && own?.aborted === true);
      return gaveUp ? 'aborted' : how === 'failed' ? 'error' : undefined;
    },
  });
}
