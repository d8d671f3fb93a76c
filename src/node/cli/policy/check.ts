/** `agentguard policy check`: a policy file in plain sentences, and what is wrong with it. */
import type { FiledPolicy, FileProblem, ReadPolicies } from '../../policy-file/read.ts';
import { problemLine, readPipedPolicies, readPolicies, STANDARD_INPUT } from '../../policy-file/read.ts';
import { pathText } from '../../../policy/problems.ts';
import { countText, failure, printable, styled, wrapped } from '../output.ts';
import { findingsIn, type Finding } from './findings.ts';
import { policySentences, type PolicySentences } from './sentences.ts';

export interface CheckOptions {
  strict?: boolean;
  json?: boolean;
}

type Located = FileProblem & { severity: 'error' | Finding['severity']; code: string };

interface Checked {
  file: string;
  policies: readonly { filed: FiledPolicy; sentences: PolicySentences }[];
  findings: readonly Located[];
  exitCode: 0 | 1;
}

/** Prints what the file says and what is wrong with it. Returns 0 fine, 1 wrong, 2 not readable. */
export function checkCommand(path: string, options: CheckOptions): number {
  if (options.json !== true) {
    const checked = check(path, options);
    process.stdout.write(`${report(checked).join('\n')}\n`);
    return checked.exitCode;
  }
  let document: { exitCode: number; [member: string]: unknown };
  try {
    document = jsonReport(check(path, options));
  } catch (error) {
    const { message, exitCode } = failure(error);
    document = { exitCode, error: message };
  }
  process.stdout.write(`${JSON.stringify(document, undefined, 2)}\n`);
  return document.exitCode;
}

function check(path: string, { strict = false }: CheckOptions): Checked {
  const now = Date.now();
  const read = path === STANDARD_INPUT ? readPipedPolicies() : readPolicies(path);
  const findings: Located[] = [
    ...read.problems.map((problem) => ({ severity: 'error' as const, code: 'invalid', ...problem })),
    ...findingsIn(read.policies, now).map((finding) => located(read, finding)),
  ];
  const counts = (severity: Located['severity']): number =>
    findings.filter((finding) => finding.severity === severity).length;
  const isWrong = counts('error') > 0 || (strict && counts('warning') > 0);
  return {
    file: read.file,
    policies: read.policies.map((filed) => ({ filed, sentences: policySentences(filed.policy, now) })),
    findings: findings.toSorted((a, b) => a.line - b.line || a.column - b.column),
    exitCode: isWrong ? 1 : 0,
  };
}

function located({ policies }: ReadPolicies, { policy, path, severity, code, message }: Finding): Located {
  const filed = policies[policy] as FiledPolicy;
  return {
    severity,
    code,
    ...filed.place(path),
    policy: filed.policy.record.id,
    field: pathText(path),
    message,
  };
}

const PRICES = 'Prices are list prices in US dollars per million tokens.';

const COLOURS = { error: 'red', warning: 'yellow', note: 'cyan' } as const;

function report({ file, policies, findings }: Checked): string[] {
  return [
    ...policies.flatMap(({ filed, sentences }) => [...policyReport(filed, sentences), '']),
    ...(policies.length === 0 ? [] : [styled('dim', PRICES), '']),
    ...findings.flatMap((finding) => [findingText(file, finding), '']),
    summary(file, findings, policies.length),
  ];
}

function policyReport({ policy: { record } }: FiledPolicy, sentences: PolicySentences): string[] {
  const name = record.name === undefined ? '' : `  ${printable(record.name)}`;
  const title = `${styled('bold', printable(record.id))}${name}, version ${record.version}`;
  const numbered = (kind: string, texts: readonly string[]): string[] =>
    texts.map((text, index) => {
      const label = `${kind} ${index}`.padEnd(8);
      return `  ${styled('dim', label)}${wrapped(printable(text), 10)}`;
    });
  return [
    title,
    ...sentences.head.map((text) => `  ${wrapped(printable(text), 2)}`),
    ...numbered('cap', sentences.caps),
    ...numbered('rule', sentences.rules),
    ...(sentences.also.length === 0 ? [] : [`  ${wrapped(printable(sentences.also.join(' ')), 2)}`]),
  ];
}

function findingText(file: string, finding: Located): string {
  const { severity, ...problem } = finding;
  const [place = '', ...words] = problemLine(printable(file), problem).split(': ');
  return `${styled(COLOURS[severity], severity)} ${styled('bold', place)}\n  ${wrapped(printable(words.join(': ')), 2)}`;
}

function summary(file: string, findings: readonly Located[], policies: number): string {
  const counted = (['error', 'warning', 'note'] as const).flatMap((severity) => {
    const count = findings.filter((finding) => finding.severity === severity).length;
    return count === 0 ? [] : [styled(COLOURS[severity], countText(count, severity))];
  });
  const what = counted.length === 0 ? styled('green', 'nothing to say against it') : counted.join(', ');
  const size = policies === 0 ? '' : ` ${policies === 1 ? 'one policy' : `${policies} policies`},`;
  return `${printable(file)}:${size} ${what}.`;
}

function jsonReport({ file, policies, findings, exitCode }: Checked): {
  exitCode: number;
  [member: string]: unknown;
} {
  return {
    file,
    exitCode,
    policies: policies.map(({ filed: { policy }, sentences }) => ({
      id: policy.record.id,
      ...(policy.record.name !== undefined && { name: policy.record.name }),
      version: policy.record.version,
      mode: policy.record.mode,
      digest: policy.digest,
      scope: policy.record.scope,
      ...sentences,
    })),
    findings,
  };
}
