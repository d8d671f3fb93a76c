/** The policies of a guard as they are now, and the scope that it inherits from them. */
import { AgentGuardError } from './errors.ts';
import type { SpendEvent } from './events.ts';
import { parsePolicy, type Policy, type SpendPolicy } from './policy.ts';
import { isPolicySource, type PolicyReader, type PolicySource } from './policy/source.ts';
import { checkScope, layerScopes, SCOPE_FIELDS, type SpendScope } from './scope.ts';

/** One policy, several, or a source of them. */
export type PolicyOption = SpendPolicy | readonly SpendPolicy[] | PolicySource;

interface ShelfOptions {
  scope: SpendScope | undefined;
  /** True when the ledger was chosen by the tenant of the policies, so that another tenant would need another one. */
  bindsTenant: boolean;
  tell: (event: SpendEvent) => void;
}

export class PolicyShelf {
  policies: readonly Policy[];
  scope: SpendScope;
  readonly #own: SpendScope;
  readonly #reader: PolicyReader | undefined;
  readonly #name: string;
  readonly #options: ShelfOptions;

  constructor(given: PolicyOption, options: ShelfOptions) {
    this.#options = options;
    this.#own = checkScope('scope', options.scope);
    this.#reader = isPolicySource(given) ? given.open() : undefined;
    this.#name = isPolicySource(given) ? given.name : '';
    this.policies =
      this.#reader?.policies ?? [given as SpendPolicy | readonly SpendPolicy[]].flat().map(parsePolicy);
    if (this.policies.length === 0)
      throw new AgentGuardError('invalid_config', 'policy: expected at least one policy');
    this.scope = this.#scopeOf(this.policies);
  }

  /** Takes in what has changed. A change that can't be taken leaves everything as it is, and is told. */
  refresh(): void {
    const found = this.#reader?.look();
    if (found === undefined) return;
    const { tell } = this.#options;
    const problem = found.problem ?? this.#refusal(found.policies);
    if (problem !== undefined) {
      const message = `${problem}\nThe policies of before stay in force.`;
      tell({ type: 'warning', code: 'policy_not_reloaded', message });
      return;
    }
    const { policies = [] } = found;
    const before = new Set(this.policies.map(({ digest }) => digest));
    const isSame = policies.length === before.size && policies.every(({ digest }) => before.has(digest));
    if (isSame) return;
    this.scope = this.#scopeOf(policies);
    this.policies = policies;
    const versions = policies.map(({ record: { id, version }, digest }) => ({ id, version, digest }));
    tell({ type: 'policy', source: this.#name, policies: versions });
  }

  /** Why a running guard can't take these policies. */
  #refusal(policies: readonly Policy[]): string | undefined {
    if (this.#options.bindsTenant && tenantOf(policies, this.#own) !== tenantOf(this.policies, this.#own)) {
      const tenant = tenantOf(this.policies, this.#own);
      return `${this.#name}: the tenant was ${tenant}, and this guard writes to its log; start the program anew.`;
    }
    try {
      this.#scopeOf(policies);
      return undefined;
    } catch (error) {
      return `${this.#name}: ${(error as Error).message}.`;
    }
  }

  /** The guard's own scope, filled up from its only policy, or with what all policies of a source agree on. */
  #scopeOf(policies: readonly Policy[]): SpendScope {
    const [first, ...others] = policies;
    const inherits = others.length === 0 || this.#reader !== undefined;
    const common: SpendScope = {};
    for (const field of inherits ? SCOPE_FIELDS : []) {
      const value = first?.record.scope[field];
      if (value === undefined || others.some(({ record }) => record.scope[field] !== value)) continue;
      common[field] = value;
    }
    const { scope, conflict } = layerScopes([common, this.#own]);
    if (conflict === undefined) return scope;
    const own = JSON.stringify(this.#own[conflict]);
    throw new AgentGuardError(
      'invalid_config',
      `scope.${conflict} is ${own}, but policy ${first?.record.id} is for ${JSON.stringify(common[conflict])}`,
    );
  }
}

/**
 * The tenant whose log a guard writes to: its own, or the one that all its policies are for. `default` for a guard
 * of several tenants.
 */
export function tenantOf(policies: readonly Policy[], scope: SpendScope): string {
  const tenants = new Set(policies.map(({ record }) => record.scope.tenantId));
  const common = tenants.size === 1 ? [...tenants][0] : undefined;
  return scope.tenantId ?? common ?? 'default';
}
