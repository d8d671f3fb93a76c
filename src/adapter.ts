/** What every adapter does with a guard: takes one or makes one, adds its layer of scope, and begins calls. */
import { AgentGuardBlockedError, AgentGuardError } from './errors.ts';
import type { GuardedCall } from './guarded-call.ts';
import { createSpendGuard, isSpendGuard, type SpendGuard } from './guard.ts';
import type { PolicyOption } from './policy-shelf.ts';
import type { SpendRequest } from './prepare.ts';
import { checkScope, layerScopes, withSpendScope, type SpendScope } from './scope.ts';

/** What adapters take: a policy, several, a policy file, or a guard that other adapters share. */
export type Guarding = PolicyOption | SpendGuard;

/** A guard as an adapter uses it. */
export interface AdapterGuard {
  readonly guard: SpendGuard;
  /** The adapter's own layer of scope; the scope of a guard that was made for it is the guard's. */
  readonly layer: SpendScope;
  /** `guard.begin` with the adapter's layer of scope between the surrounding one and the call's own. */
  begin(request: SpendRequest): Promise<GuardedCall>;
}

/**
 * Throws `AgentGuardError` for options that aren't an object with these fields alone. Scope fields that stand beside
 * `scope` instead of in it would count for nobody.
 */
export function checkOptions(name: string, options: unknown, known: readonly string[]): void {
  const expected = `expected { ${known.join(', ')} }`;
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new AgentGuardError('invalid_config', `${name}: ${expected}`);
  }
  const stray = Object.keys(options).find((key) => !known.includes(key));
  if (stray !== undefined)
    throw new AgentGuardError('invalid_config', `${name}: ${stray}: unknown; ${expected}`);
}

/**
 * The guard of an adapter. `scope` is the guard's own where it is made here, and a layer of every call where the
 * guard is shared. Throws `AgentGuardError` for a policy or a scope that isn't valid.
 */
export function adapterGuard(guarding: Guarding, scope?: SpendScope): AdapterGuard {
  const checked = checkScope('scope', scope);
  if (!isSpendGuard(guarding)) {
    const guard = createSpendGuard({ policy: guarding, scope: checked });
    return { guard, layer: {}, begin: (request) => guard.begin(request) };
  }
  return { guard: guarding, layer: checked, begin: (request) => beginLayered(guarding, checked, request) };
}

function beginLayered(guard: SpendGuard, layer: SpendScope, request: SpendRequest): Promise<GuardedCall> {
  const { scope, conflict } = layerScopes([layer, request.scope]);
  // carried as a contradiction, so that the guard refuses the call with a receipt
  if (conflict !== undefined) return withSpendScope(layer, () => guard.begin(request));
  return guard.begin({ ...request, scope });
}

/** Ends a call whose decision an adapter can't carry out. A call never leaves in another way than it was decided. */
export async function notCarriedOut(call: GuardedCall, model: string): Promise<AgentGuardBlockedError> {
  await call.settle({ outcome: 'not_sent' });
  const message = `${model} was blocked (no_route): the decision could not be carried out`;
  return new AgentGuardBlockedError({ reason: 'no_route', message, model, callId: call.id });
}
