/** What of LangChain's `metadata` is meant for this package. Pure. */
import { AgentGuardError } from '../src/errors.ts';
import { checkScope, type SpendScope } from '../src/scope.ts';
import { fieldsOf, isFields, type Fields } from '../src/wire/fields.ts';

/** The scope in `metadata.spendGuard`. Metadata never reaches a request. Throws for what is no scope. */
export function takeScope(metadata: unknown): SpendScope | undefined {
  const { spendGuard } = fieldsOf(metadata);
  if (spendGuard === undefined || spendGuard === null) return undefined;
  if (!isFields(spendGuard) || Array.isArray(spendGuard)) {
    throw new AgentGuardError('invalid_config', 'metadata.spendGuard: expected the fields of a scope');
  }
  return checkScope('metadata.spendGuard', spendGuard as SpendScope);
}

/** The versions of LangChain's packages that a model is made of. */
export function versionsIn(model: object): unknown {
  return fieldsOf((model as Fields)['metadata'])['versions'];
}
