/** A guarded call that is answered in one piece and isn't a language model's: embeddings and images. */
import type { AdapterGuard } from '../src/adapter.ts';
import { notCarriedOut } from '../src/adapter.ts';
import type { SpendRequest } from '../src/prepare.ts';
import type { CallOutcome } from '../src/settlement.ts';
import { failureOutcome } from '../src/wire/failure.ts';
import { fieldsOf, type Fields } from '../src/wire/fields.ts';
import { readBody, type Wire } from '../src/wire/request-body.ts';
import { takeScope } from './ai-sdk-scope.ts';

/** A model of any kind, as far as its request's name is concerned. */
export interface NamedModel {
  readonly provider: string;
  readonly modelId: string;
}

/** What the model's own settings put into the request: models, fees. */
export function settingsWire(model: NamedModel): Wire {
  const { settings, config } = model as { settings?: unknown; config?: unknown };
  const own = fieldsOf(settings);
  const body = { ...own, ...fieldsOf(fieldsOf(config)['extraBody']), ...fieldsOf(own['extraBody']) };
  return readBody({ model: model.modelId, ...body }, model.modelId, []);
}

export interface WholeCall<M extends NamedModel, R> {
  model: M;
  given: Fields;
  request: (params: Fields) => SpendRequest;
  /** The model to use for a route, where there is one. */
  routed: (id: string) => M | undefined;
  send: (model: M, params: Fields) => PromiseLike<R>;
  outcome: (result: R, model: M) => CallOutcome;
}

/** Decides, sends and settles. Rejects with `AgentGuardBlockedError`, or with what the model rejects with. */
export async function guardedWhole<M extends NamedModel, R>(
  adapter: AdapterGuard,
  { model, given, request, routed, send, outcome }: WholeCall<M, R>,
): Promise<R> {
  const { params, scope, ...words } = takeScope(given);
  const signal = given['abortSignal'] as AbortSignal | undefined;
  const asked = request(params);
  const call = await adapter.begin({
    ...asked,
    ...words,
    ...(scope !== undefined && { scope }),
    ...(signal !== undefined && { signal }),
  });
  const target = call.decision === 'downgrade' ? routed(call.model) : model;
  if (target === undefined) throw await notCarriedOut(call, asked.model);
  if (signal?.aborted === true) {
    await call.settle({ outcome: 'not_sent' });
    throw signal.reason;
  }
  let result: R;
  try {
    result = await send(target, params);
  } catch (error) {
    await call.settle(failureOutcome(error, signal));
    throw error;
  }
  await call.settle(outcome(result, target));
  return result;
}
