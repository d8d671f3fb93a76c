/**
 * Spend control for LangChain.js, `@langchain/core` 0.3 and 1.x: a callback handler, a guarded model, and a middleware
 * for `createAgent`. Nothing of LangChain is imported; see docs/langchain.md for which calls each of them sees.
 */
import { adapterGuard, type Guarding } from '../src/adapter.ts';
import { AgentGuardError } from '../src/errors.ts';
import type { SpendScope } from '../src/scope.ts';
import { AgentGuardSpendHandler, type SpendGuardHandler } from './langchain-handler.ts';
import { middlewareFor, type ExitBehavior, type SpendGuardMiddleware } from './langchain-middleware.ts';
import { guardedModel, unguarded, type Guarded } from './langchain-model.ts';
import { readLadder } from './langchain-route.ts';

export type { SpendGuardHandler } from './langchain-handler.ts';
export type { SpendGuardMiddleware } from './langchain-middleware.ts';

export interface LangChainGuardOptions {
  /** With a policy, the guard's scope; with a guard, a layer of scope of every call that comes this way. */
  scope?: SpendScope;
}

export interface GuardModelOptions extends LangChainGuardOptions {
  /**
   * The models that a downgrade may come to: by the names that policies call them, or a list of models that have
   * these names themselves. Without it, and for names that are not in it, the call is sent by the same model under
   * the other name, where the model shows that it will write it.
   */
  ladder?: Readonly<Record<string, object>> | readonly object[];
}

export interface SpendGuardMiddlewareOptions extends GuardModelOptions {
  /**
   * What happens to an agent whose call is refused: `error` (default) rejects with the refusal, `end` ends it with a
   * message to the user that reveals nothing of balances.
   */
  exitBehavior?: ExitBehavior;
}

/**
 * A handler for `callbacks`: decides every call that it is told of, holds its worst case, settles and records it.
 * Pass it where a chain or an agent is invoked, and models inside of tools and sub-agents are under it, too. Takes a
 * policy, several, or a guard that other adapters share.
 *
 * A callback can't change a call: a downgrade that it comes to is a block (`no_route`), and a call without an output
 * limit holds the model's maximum. Calls of models of `guardModel` with the same guard are left to them.
 *
 * Throws `AgentGuardError` at once for a policy or scope that isn't valid.
 */
export function spendGuardHandler(policy: Guarding, options: LangChainGuardOptions = {}): SpendGuardHandler {
  return new AgentGuardSpendHandler(policy, options.scope);
}

function settingsFor(policy: Guarding, { scope, ladder }: GuardModelOptions): Guarded {
  const adapter = adapterGuard(policy, scope);
  return { adapter, rungs: readLadder(ladder, (model) => unguarded(model, adapter.guard)) };
}

/**
 * The same model with every call under the guard, in whichever way it is made: `invoke`, `stream`, `batch`,
 * `streamEvents` of every version, tools and structured output. Carries out downgrades and output limits, settles
 * streams that nobody reads on, and decides each attempt of a call that is tried again. What `bindTools`,
 * `withConfig` and `withStructuredOutput` give is guarded, too.
 *
 * Its calls reject with `AgentGuardBlockedError` when they may not be made; every other error is the model's own.
 * Throws `AgentGuardError` at once for a policy, scope or ladder that isn't valid.
 */
export function guardModel<Model extends object>(
  model: Model,
  policy: Guarding,
  options: GuardModelOptions = {},
): Model {
  return guardedModel(model, settingsFor(policy, options)) as Model;
}

/**
 * A middleware for `createAgent`: the agent's own model becomes a guarded one, and a refusal inside of a tool stops
 * the agent instead of being told to the model. Share its guard with a handler in `callbacks`, so that models inside
 * of tools are under it as well. Throws as `guardModel` does.
 */
export function spendGuardMiddleware(
  policy: Guarding,
  options: SpendGuardMiddlewareOptions = {},
): SpendGuardMiddleware {
  const { exitBehavior = 'error' } = options;
  if (exitBehavior !== 'error' && exitBehavior !== 'end') {
    throw new AgentGuardError('invalid_config', 'exitBehavior: expected "error" or "end"');
  }
  return middlewareFor(settingsFor(policy, options), exitBehavior);
}
