/** Mistakes in policies that are valid, and what to know about them. */
import type { Path } from '../../policy-file/document.ts';
import type { FiledPolicy } from '../../policy-file/read.ts';
import { capFindings } from './cap-findings.ts';
import { modelFindings } from './model-findings.ts';
import { ruleFindings } from './rule-findings.ts';

/** A `warning` is most likely a mistake; a `note` is what somebody may not have thought of. */
export interface Finding {
  severity: 'warning' | 'note';
  /** Never changes; for programs. */
  code: string;
  /** Position of the policy in the file. */
  policy: number;
  path: Path;
  message: string;
}

export type Find = (finding: Omit<Finding, 'policy' | 'severity'>, severity?: Finding['severity']) => void;

/** Everything that is worth a word, policy by policy. */
export function findingsIn(policies: readonly FiledPolicy[], now: number): Finding[] {
  const found: Finding[] = [];
  const records = policies.map((each) => each.policy.record);
  for (const [policy, filed] of policies.entries()) {
    const find: Find = (finding, severity = 'warning') => found.push({ severity, policy, ...finding });
    const { record } = filed.policy;
    wholeFindings(filed, policies.slice(0, policy), now, find);
    capFindings(record, records, find);
    modelFindings(record, find);
    ruleFindings(record, records, find);
  }
  return found;
}

/** What concerns a policy as a whole. */
function wholeFindings(
  { policy }: FiledPolicy,
  before: readonly FiledPolicy[],
  now: number,
  find: Find,
): void {
  const { record, effectiveFrom } = policy;
  if (before.some((other) => other.policy.record.id === record.id)) {
    find({
      code: 'same_id',
      path: ['id'],
      message: `another policy of this file is called ${record.id}, too; grants and errors name policies by their id, so give each its own`,
    });
  }
  if (effectiveFrom > now) {
    find({
      code: 'not_effective_yet',
      path: ['effectiveFrom'],
      message:
        'this lies in the future, and until then the policy’s calls are blocked; to let them go on as before, put the file in place on that day',
    });
  }
  if (record.mode === 'shadow') {
    find(
      {
        code: 'shadow',
        path: ['mode'],
        message: 'the policy only records; set mode to enforce to let it act',
      },
      'note',
    );
  }
  if (record.caps.length === 0 && (record.rules ?? []).length === 0) {
    find(
      {
        code: 'allows_everything',
        path: ['caps'],
        message: 'the policy has neither caps nor rules, so it lets everything pass',
      },
      'note',
    );
  }
  if (record.unknownPrice === 'allow' && record.caps.length > 0) {
    find(
      {
        code: 'unknown_price_allowed',
        path: ['unknownPrice'],
        message: 'models without a known price are not held back by any cap',
      },
      'note',
    );
  }
  if (FIXED.test(record.timeZone)) {
    const turned = record.timeZone.startsWith('Etc/')
      ? ', and Etc/GMT+5 is five hours behind UTC, not ahead'
      : '';
    const message = `a fixed offset knows no summer time${turned}; a zone such as Europe/Berlin or America/New_York does`;
    find({ code: 'fixed_offset', path: ['timeZone'], message }, 'note');
  }
}

/** Offsets, also under names that look as if they had a summer time. */
const FIXED = /^([+-]|EST$|MST$|HST$|Etc\/GMT[+-])/;
