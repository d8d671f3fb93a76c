/** Who is calling, and how the layers that say so are put together. */
import { AsyncLocalStorage } from '#platform';
import { capabilityName, isCapabilityName } from './capability-names.ts';
import { AgentGuardError } from './errors.ts';

/** Who is calling. Every field is optional; a policy applies to the calls whose fields equal its own. */
export interface SpendScope {
  tenantId?: string;
  teamId?: string;
  userId?: string;
  agentId?: string;
  taskId?: string;
  /** The kind of work, e.g. `code-review`. */
  task?: string;
}

export type ScopeField = keyof SpendScope;

/** In the order of receipts' members. */
export const SCOPE_FIELDS: readonly ScopeField[] = [
  'agentId',
  'task',
  'taskId',
  'teamId',
  'tenantId',
  'userId',
];

/** Scope layers merged from the outside in. An inner layer only fills what is unset. */
export interface LayeredScope {
  scope: SpendScope;
  /** The first field that an inner layer gave another value, when one did. */
  conflict?: ScopeField;
}

/** Merges scope layers, outermost first. Fields that are not scope fields are ignored. */
export function layerScopes(layers: readonly (SpendScope | undefined)[]): LayeredScope {
  const scope: SpendScope = {};
  let conflict: ScopeField | undefined;
  for (const layer of layers) {
    if (layer === undefined) continue;
    for (const field of SCOPE_FIELDS) {
      const value = layer[field];
      if (value === undefined) continue;
      if (scope[field] === undefined) scope[field] = value;
      else if (scope[field] !== value) conflict ??= field;
    }
  }
  return conflict === undefined ? { scope } : { scope, conflict };
}

const encoder = new TextEncoder();

/** Text that has room in a receipt, whatever it is. */
function isScopeValue(value: unknown): boolean {
  if (typeof value !== 'string' || value === '' || value.length > 128) return false;
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  const isText = value.isWellFormed() && !/[\u0000-\u001f\u007f]/.test(value);
  // Three bytes for each unit at most: what is short needs no count.
  return isText && (value.length * 3 <= 128 || encoder.encode(value).length <= 128);
}

/** True for what has no field of its own and isn't just an empty object: a promise, a response, a map. */
function isSomethingElse(scope: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(scope);
  const isPlain = prototype === null || Object.getPrototypeOf(prototype) === null;
  return !isPlain && Object.keys(scope).length === 0;
}

/** Checks a scope that came from the outside. Throws `AgentGuardError` that names the field. */
export function checkScope(name: string, scope: SpendScope | undefined): SpendScope {
  const isObject = typeof scope === 'object' && scope !== null && !Array.isArray(scope);
  if (scope !== undefined && (!isObject || isSomethingElse(scope))) {
    throw new AgentGuardError('invalid_config', `${name}: expected an object with fields like userId`);
  }
  for (const [field, value] of Object.entries(scope ?? {})) {
    if (!SCOPE_FIELDS.includes(field as keyof SpendScope)) {
      throw new AgentGuardError(
        'invalid_config',
        `${name}.${field}: unknown; expected ${SCOPE_FIELDS.join(', ')}`,
      );
    }
    if (value === undefined) continue;
    if (!isScopeValue(value)) {
      throw new AgentGuardError(
        'invalid_config',
        `${name}.${field}: expected text of 1 to 128 bytes without control characters`,
      );
    }
  }
  return scope ?? {};
}

/** True when every field that `filter` names has the same value in `scope`. */
export function scopeMatches(filter: SpendScope, scope: SpendScope): boolean {
  return SCOPE_FIELDS.every((field) => filter[field] === undefined || filter[field] === scope[field]);
}

interface ScopeStorage {
  getStore(): SpendScope | undefined;
  run<T>(scope: SpendScope, fn: () => T): T;
}

// Bundlers put several copies of this package into one process (Next.js does); they must see one scope.
const STORAGE = Symbol.for('agentguard.spend/scope@1');

function scopeStorage(): ScopeStorage | undefined {
  const shared = globalThis as { [STORAGE]?: ScopeStorage };
  if (shared[STORAGE] === undefined && AsyncLocalStorage !== undefined) {
    shared[STORAGE] = new AsyncLocalStorage<SpendScope>();
  }
  return shared[STORAGE];
}

/** The scope of the surrounding `withSpendScope`, if any. */
export function currentScope(): SpendScope | undefined {
  return scopeStorage()?.getStore();
}

/**
 * Runs `fn` so that every guarded call inside it, however deep and however late, carries `scope`. Nested calls
 * may only add fields: another value for a field that is already set is refused with `scope_conflict` when the
 * call is made. `claims` are capabilities of these calls; those of all layers count together. `capability` are
 * signed ones, as tokens; each is for one call. Returns what `fn` returns. Throws `AgentGuardError` (`invalid_config`) for a scope that isn't valid,
 * and on a runtime without AsyncLocalStorage.
 */
export function withSpendScope<T>(
  scope: SpendScope,
  fn: () => T,
  { claims, capability }: { claims?: readonly string[]; capability?: string | readonly string[] } = {},
): T {
  const storage = scopeStorage();
  if (storage === undefined) {
    throw new AgentGuardError(
      'invalid_config',
      'withSpendScope needs AsyncLocalStorage, which this runtime lacks. Pass the scope with the call instead ' +
        '(providerOptions.spendGuard for the AI SDK).',
    );
  }
  checkScope('withSpendScope', scope);
  const outer = storage.getStore();
  const merged = layerScopes([outer, scope]);
  if (claims !== undefined && !(Array.isArray(claims) && claims.every(isCapabilityName))) {
    throw new AgentGuardError(
      'invalid_config',
      'withSpendScope: claims: expected a list of capabilities such as ["payment_execute"]',
    );
  }
  // A contradiction is kept as it was asked for, so that the guard can refuse the call with a receipt.
  const conflict = carriedConflict(outer) ?? merged.conflict;
  const held = [...claimsIn(outer), ...(claims ?? []).map(capabilityName)];
  const tokens = [...capabilitiesIn(outer), ...(capability === undefined ? [] : [capability].flat())];
  const carried: SpendScope & Carried = {
    ...merged.scope,
    ...(conflict !== undefined && { [CONFLICT]: conflict }),
    ...(held.length > 0 && { [CLAIMS]: held }),
    ...(tokens.length > 0 && { [CAPABILITIES]: tokens }),
  };
  return storage.run(carried, fn);
}

type Bound<A extends unknown[], R> = (...args: A) => R;

/** What every runtime with AsyncLocalStorage but the oldest has. */
interface Snapshots {
  snapshot?: () => <A extends unknown[], R>(fn: Bound<A, R>, ...args: A) => R;
}

/**
 * `fn` bound to its surroundings of now, the scope above all: queues run their work in the surroundings of whoever
 * made room for it, and that may be another caller.
 */
export function withinThis<A extends unknown[], R>(fn: Bound<A, R>): Bound<A, R> {
  const run = (AsyncLocalStorage as Snapshots | undefined)?.snapshot?.();
  if (run !== undefined) return (...args) => run(fn, ...args);
  const within = scopeHere();
  return (...args) => within(() => fn(...args));
}

/** Runs a function in a scope. */
export type InScope = <T>(fn: () => T) => T;

/** What runs functions in the scope of now, wherever they are called; of all other surroundings they keep their own. */
export function scopeHere(): InScope {
  const storage = scopeStorage();
  if (storage === undefined) return (fn) => fn();
  const scope = storage.getStore();
  return (fn) => storage.run(scope as SpendScope, fn);
}

const CONFLICT = Symbol.for('agentguard.spend/scope-conflict@1');

const CLAIMS = Symbol.for('agentguard.spend/claims@1');
const CAPABILITIES = Symbol.for('agentguard.spend/capabilities@1');

/** What travels with a scope beside its fields. */
interface Carried {
  [CONFLICT]?: ScopeField;
  [CLAIMS]?: readonly string[];
  [CAPABILITIES]?: readonly string[];
}

function claimsIn(scope: SpendScope | undefined): readonly string[] {
  return (scope as Carried | undefined)?.[CLAIMS] ?? [];
}

function capabilitiesIn(scope: SpendScope | undefined): readonly string[] {
  return (scope as Carried | undefined)?.[CAPABILITIES] ?? [];
}

/** The signed capabilities of the surrounding `withSpendScope` calls, as tokens. */
export function currentCapabilities(): readonly string[] {
  return capabilitiesIn(currentScope());
}

/** The claims of the surrounding `withSpendScope` calls. */
export function currentClaims(): readonly string[] {
  return claimsIn(currentScope());
}

/** The field that nested `withSpendScope` calls contradicted each other on, when they did. */
export function carriedConflict(scope: SpendScope | undefined): ScopeField | undefined {
  return (scope as Carried | undefined)?.[CONFLICT];
}
