/** What `agentguard init` writes: a commented policy for each of six tasks. */

/** What is asked before a file is written. */
export interface Answers {
  tenantId: string;
  teamId?: string;
  timeZone: string;
  /** A date, or an instant with its zone. */
  effectiveFrom: string;
  mode: 'enforce' | 'shadow';
}

interface Preset {
  title: string;
  /** One line for the list to choose from. */
  hint: string;
  /** What a person should know before the policy. */
  about: readonly string[];
  /** The YAML of caps and rules, at the indentation of a policy's fields. */
  body: string;
}

/** Amounts are beginnings; whoever pays sets them. */
export const PRESETS = {
  'code-review': {
    title: 'Code review',
    hint: 'anthropic/claude-haiku-4-5, whatever the code asks for',
    about: [
      'Every code review goes to haiku, whichever model the program asks for.',
      'There is nothing cheaper to fall back to, so a full day blocks.',
    ],
    body: `
caps:
  - amountCents: 2000 # $20 a day for all reviews together
    window: per_day
    action: block
    alerts: [0.8, 1] # tell somebody at $16 and at $20
    reason: code reviews, hard daily ceiling
  - amountCents: 100 # $1 within any 60 seconds: a loop that runs away
    window: per_minute
    action: block
    reason: runaway loop
rules:
  - routeTo: anthropic/claude-haiku-4-5 # $1.00 per million tokens in, $5.00 out
    reason: code reviews go to haiku`,
  },
  'risk-analysis': {
    title: 'Risk analysis',
    hint: 'openai/gpt-5, then openai/gpt-5-mini',
    about: [
      'Risk analysis begins on gpt-5. Once $25 are spent on a day, the rest of',
      'that day goes to gpt-5-mini; at $100 it stops.',
    ],
    body: `
caps:
  - amountCents: 2500 # from $25 a day on: the smaller model
    window: per_day
    action: downgrade
    downgradeTo: openai/gpt-5-mini
    reason: over $25 a day, drop to gpt-5-mini
  - amountCents: 10000 # $100 a day: stop
    window: per_day
    action: block
    alerts: [0.5, 0.8, 1]
    reason: risk analysis, hard daily ceiling
rules:
  - models: [openai/gpt-5, openai/gpt-5-mini] # no others
    reason: risk analysis runs on gpt-5`,
  },
  'payment-approval': {
    title: 'Payment approval',
    hint: 'anthropic/claude-opus-4-7, with a capability; blocks, never downgrades',
    about: [
      'Payments are approved by the strongest model or not at all: no downgrade.',
      'The calling code must claim payment_execute. Add "signed: true" to the rule',
      'where only signed capabilities shall count.',
    ],
    body: `
caps:
  - amountCents: 5000 # $50 a day
    window: per_day
    action: block
    alerts: [0.8, 1]
    reason: payment approvals, hard daily ceiling
  - amountCents: 200 # one approval never costs more than $2
    window: per_call
    action: block
    reason: an approval is short
rules:
  - models: anthropic/claude-opus-4-7
    requires: payment_execute
    reason: payments are approved by opus, by code that may execute payments`,
  },
  'chargeback-evidence': {
    title: 'Chargeback evidence',
    hint: 'anthropic/claude-sonnet-4-6, then anthropic/claude-haiku-4-5',
    about: [
      'Long transcripts, so sonnet with its long context. Haiku takes over once $30',
      'are spent on a day, for what fits into its shorter context.',
    ],
    body: `
caps:
  - amountCents: 3000 # from $30 a day on: haiku
    window: per_day
    action: downgrade
    downgradeTo: anthropic/claude-haiku-4-5
    sticky: task # a case (its taskId) that was sent to haiku stays there
    reason: over $30 a day, drop to haiku
  - amountCents: 8000 # $80 a day: stop
    window: per_day
    action: block
    reason: chargeback evidence, hard daily ceiling
  # A budget for each case. Calls must then name their case as taskId.
  # - amountCents: 300
  #   window: per_task
  #   action: block
  #   reason: one case
rules:
  - models: [anthropic/claude-sonnet-4-6, anthropic/claude-haiku-4-5]
    reason: evidence is written by sonnet or haiku`,
  },
  'agent-support': {
    title: 'Agent support',
    hint: 'openai/gpt-5-mini',
    about: ['Answers for support agents: fast and cheap, and nothing dearer.'],
    body: `
caps:
  - amountCents: 4000 # $40 a day
    window: per_day
    action: block
    alerts: [0.8, 1]
    reason: agent support, hard daily ceiling
  # A balance for each user. Calls must then name their userId.
  # - amountCents: 50
  #   window: per_day
  #   action: block
  #   per: [userId]
  #   reason: one user, one day
rules:
  - routeTo: openai/gpt-5-mini # $0.25 per million tokens in, $2.00 out
    reason: support answers come from gpt-5-mini`,
  },
  'repo-scan': {
    title: 'Repository scan',
    hint: 'google/gemini-3.1-pro-preview, then openai/gpt-5-mini',
    about: [
      'A scan reads much and writes little: a long context first, gpt-5-mini once',
      '$40 are spent in a week.',
    ],
    body: `
caps:
  - amountCents: 4000 # from $40 a week on: gpt-5-mini
    window: per_week
    action: downgrade
    downgradeTo: openai/gpt-5-mini
    reason: over $40 a week, drop to gpt-5-mini
  - amountCents: 15000 # $150 a week: stop
    window: per_week
    action: block
    reason: repository scans, hard weekly ceiling
  - amountCents: 500 # one call never costs more than $5
    window: per_call
    action: block
    reason: one call of a scan
rules:
  - models: [google/gemini-3.1-pro-preview, openai/gpt-5-mini]
    reason: scans run on gemini or gpt-5-mini`,
  },
} as const satisfies Record<string, Preset>;

export type PresetName = keyof typeof PRESETS;

export const PRESET_NAMES = Object.keys(PRESETS) as PresetName[];

/** Text that YAML would take for something else stands in quotes. */
function yamlText(text: string): string {
  return /^[A-Za-z][\w./-]*$/.test(text) && !/^(true|false|null|yes|no|on|off)$/i.test(text)
    ? text
    : JSON.stringify(text);
}

function indented(text: string, by: number): string {
  return text.replaceAll(/^(?=.)/gm, ' '.repeat(by));
}

function policyText(name: PresetName, answers: Answers): string {
  const { title, about, body }: Preset = PRESETS[name];
  const { tenantId, teamId, timeZone, effectiveFrom, mode } = answers;
  const scope = [
    `tenantId: ${yamlText(tenantId)}`,
    ...(teamId === undefined ? [] : [`teamId: ${yamlText(teamId)}`]),
    `task: ${name}`,
  ].join(', ');
  const shadow = mode === 'shadow' ? ' # records what it would decide; "enforce" lets it act' : '';
  const fields = `id: ${name}
name: ${title}
scope: { ${scope} }
version: 1 # raise it with each edit
effectiveFrom: ${effectiveFrom} # calls before it are blocked
timeZone: ${yamlText(timeZone)} # whose days, weeks and months
mode: ${mode}${shadow}${body}
`;
  const comment = about.map((line) => `  # ${line}\n`).join('');
  return `${comment}  - ${indented(fields, 4).trimStart()}`;
}

export interface FileNames {
  /** As the commands in the comments name the file. */
  file: string;
  /** Where the editor finds the schema, from the file. */
  schema: string;
}

/** A policy file with these presets, as YAML. */
export function presetFile(
  names: readonly PresetName[],
  answers: Answers,
  { file, schema }: FileNames,
): string {
  return `# yaml-language-server: $schema=${schema}
#
# A call is under a policy when its scope has all the values of the policy's
# scope, so the program must say what task it works on (README: scope).
# All policies that match apply, and the strictest wins. Amounts are US cents.
#
# After each edit:  agentguard policy check ${file}
# Before it binds:  agentguard policy simulate ${file} --log ${answers.tenantId}
policies:
${names.map((name) => policyText(name, answers)).join('\n')}`;
}
