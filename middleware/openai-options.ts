/** What `withSpendGuard` takes, checked. */
import { adapterGuard, type AdapterGuard, type Guarding } from '../src/adapter.ts';
import { AgentGuardError } from '../src/errors.ts';
import { createSpendGuard, isSpendGuard, type SpendGuard } from '../src/guard.ts';
import type { SpendGuardOptions } from '../src/options.ts';
import type { PolicyOption } from '../src/policy-shelf.ts';
import type { SpendScope } from '../src/scope.ts';
import { fieldsOf, isFields, type Fields } from '../src/wire/fields.ts';

/** What goes with the policy or the guard. */
interface ClientOptions {
  /** With a policy, the guard's scope; with a guard, a layer of scope of every call through this client. */
  scope?: SpendScope;
  /**
   * Whose price list the models' names belong to, e.g. `openrouter`. Default: by the host of the request; for a
   * host that isn't known, every list.
   */
  provider?: string;
}

/** A policy, or several, with everything else that `createSpendGuard` takes in `config`; or a guard. */
export type OpenAIGuardOptions =
  | (ClientOptions & {
      policy: PolicyOption;
      config?: Omit<SpendGuardOptions, 'policy' | 'scope'>;
    })
  | (ClientOptions & { guard: SpendGuard });

const KNOWN: ReadonlySet<string> = new Set(['policy', 'guard', 'scope', 'config', 'provider']);

export function invalid(message: string, options?: { cause: unknown }): AgentGuardError {
  return new AgentGuardError('invalid_config', `withSpendGuard: ${message}`, options);
}

/** The guard, its layer of scope and the provider that were asked for. */
export function readGuarding(given: Guarding | OpenAIGuardOptions): {
  adapter: AdapterGuard;
  provider?: string;
} {
  const isOptions = isFields(given) && !isSpendGuard(given) && ('policy' in given || 'guard' in given);
  if (!isOptions) {
    if (isFields(given)) return { adapter: adapterGuard(given as Guarding) };
    throw invalid('expected a guard, or { policy, scope, config }');
  }
  const { policy, guard, scope, config, provider } = given as Fields;
  const unknown = Object.keys(given).find((name) => !KNOWN.has(name));
  if (unknown !== undefined) throw invalid(`${unknown}: unknown option; expected ${[...KNOWN].join(', ')}`);
  if (policy === undefined && guard === undefined) throw invalid('expected a policy, or a guard');
  if (policy !== undefined && guard !== undefined) throw invalid('expected policy or guard, not both');
  if (provider !== undefined && typeof provider !== 'string')
    throw invalid('provider: expected the name of a provider');
  const named = typeof provider === 'string' ? { provider } : {};
  const layer = scope as SpendScope | undefined;
  if (policy === undefined || isSpendGuard(policy)) {
    const shared = policy ?? guard;
    if (!isSpendGuard(shared)) throw invalid('guard: expected what createSpendGuard returns');
    if (config !== undefined) throw invalid('config: a guard has its own; pass it to createSpendGuard');
    return { adapter: adapterGuard(shared, layer), ...named };
  }
  const more = fieldsOf(config);
  const twice = ['policy', 'scope'].find((name) => name in more);
  if (twice !== undefined) throw invalid(`config.${twice}: set it beside config`);
  const options = { ...more, policy, ...(layer !== undefined && { scope: layer }) } as SpendGuardOptions;
  return { adapter: adapterGuard(createSpendGuard(options)), ...named };
}
