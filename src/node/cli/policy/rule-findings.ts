/** Mistakes between rules: such as can never match, and such as forbid where others send calls to. */
import { allowsModel, isRuleFor } from '../../../policy/patterns.ts';
import type { PolicyRecord, Rule } from '../../../policy/types.ts';
import { SCOPE_FIELDS, scopeMatches, type ScopeField, type SpendScope } from '../../../scope.ts';
import type { Path } from '../../policy-file/document.ts';
import type { Find } from './findings.ts';
import { isAboveCeiling, priceOf, priceText } from './known-models.ts';
import { ceilingWords } from './sentences.ts';

export function ruleFindings(record: PolicyRecord, all: readonly PolicyRecord[], find: Find): void {
  for (const [index, rule] of (record.rules ?? []).entries()) {
    const never = neverMatches(record, rule);
    if (never !== undefined) {
      const [field, values] = never;
      find({
        code: 'never_matches',
        path: ['rules', index, 'when', field],
        message: `the rule never matches: the policy is only for ${field} ${record.scope[field]}, and the rule for ${values.join(', ')}`,
      });
      continue;
    }
    const sample = sampleScope(record, rule);
    targets(rule.routeTo ?? [], ['rules', index, 'routeTo'], bindingOn(sample, record, all), find);
    disagreeing(rule, index, bindingOn(sample, record, all), find);
  }
  const always = bindingOn(record.scope, record, all);
  for (const [index, { downgradeTo = [] }] of record.caps.entries()) {
    targets(downgradeTo, ['caps', index, 'downgradeTo'], always, find);
  }
}

/** The field whose values the policy's own scope rules out. */
function neverMatches({ scope }: PolicyRecord, { when }: Rule): [ScopeField, readonly string[]] | undefined {
  for (const field of SCOPE_FIELDS) {
    const values = when?.[field];
    const fixed = scope[field];
    if (values === undefined || fixed === undefined) continue;
    if (!isRuleFor({ when: { [field]: values } }, { [field]: fixed })) return [field, values];
  }
  return undefined;
}

/** A scope whose calls the rule is for. */
function sampleScope({ scope }: PolicyRecord, { when }: Rule): SpendScope {
  const sample: SpendScope = { ...scope };
  for (const field of SCOPE_FIELDS) {
    const [value] = when?.[field] ?? [];
    if (sample[field] === undefined && value !== undefined) sample[field] = value.replaceAll('*', 'x');
  }
  return sample;
}

interface Binding {
  rule: Rule;
  /** As a message names it. */
  name: string;
}

/** The rules of the file that bind every call of a scope, whatever its model. */
function bindingOn(scope: SpendScope, own: PolicyRecord, all: readonly PolicyRecord[]): Binding[] {
  return all.flatMap((policy) => {
    if (!scopeMatches(policy.scope, scope)) return [];
    return (policy.rules ?? []).flatMap((rule, index): Binding[] => {
      if (rule.when?.models !== undefined || !isRuleFor(rule, scope)) return [];
      return [{ rule, name: policy === own ? `rule ${index}` : `rule ${index} of policy ${policy.id}` }];
    });
  });
}

/** A model that calls are sent to must pass the rules that bind these calls. */
function targets(models: readonly string[], path: Path, binding: readonly Binding[], find: Find): void {
  for (const [position, model] of models.entries()) {
    const at = models.length === 1 ? path : [...path, position];
    const price = priceOf(model);
    for (const { rule, name } of binding) {
      if (rule.models !== undefined && !allowsModel(rule.models, model)) {
        const message = `${name} doesn’t allow ${model}, so no call is sent there; allow it there, or name another model`;
        find({ code: 'forbidden_target', path: at, message });
      } else if (rule.maxPrice !== undefined && price !== undefined && isAboveCeiling(price, rule.maxPrice)) {
        const message = `${model} (${priceText(price)}) is above the ceiling of ${name} (${ceilingWords(rule.maxPrice)}), so no call is sent there`;
        find({ code: 'forbidden_target', path: at, message });
      }
    }
  }
}

/** Where several rules send a call somewhere, it goes where all of them agree on. */
function disagreeing({ routeTo }: Rule, index: number, binding: readonly Binding[], find: Find): void {
  if (routeTo === undefined) return;
  const other = binding.find(
    ({ rule }) => rule.routeTo !== undefined && !rule.routeTo.some((model) => routeTo.includes(model)),
  );
  if (other === undefined) return;
  const message = `${other.name} sends the same calls to ${other.rule.routeTo?.join(', ')}: they agree on no model, so these calls are blocked (no_route)`;
  find({ code: 'routes_disagree', path: ['rules', index, 'routeTo'], message });
}
