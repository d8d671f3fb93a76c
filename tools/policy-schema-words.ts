/** What each field of a policy means, as an editor shows it beside the field. */
import { SCOPE_FIELDS } from '../src/scope.ts';

const SCOPE_WORDS: Readonly<Record<(typeof SCOPE_FIELDS)[number], string>> = {
  tenantId: 'the customer or company',
  teamId: 'the team',
  userId: 'the user',
  agentId: 'the agent',
  taskId: 'one run of a task',
  task: 'the kind of work, e.g. code-review',
};

export const DESCRIPTIONS: Readonly<Record<string, string>> = {
  id: 'Names the policy in errors and receipts.',
  name: 'For people.',
  scope:
    'The calls that the policy is for: those with the same value in every field named here. {} is for all calls.',
  caps: 'Amounts, each in a window, with what happens when one would be passed. [] for none.',
  rules: 'Which models and capabilities the calls may use. Every rule that fits a call binds it.',
  mode: '"shadow" records what would have been decided and changes nothing.',
  version: 'Yours; recorded with every decision. Raise it with each edit.',
  effectiveFrom: 'From when the policy holds, e.g. 2026-06-01T00:00:00+02:00. Calls before it are blocked.',
  timeZone: 'The calendar of day, week and month windows, e.g. Europe/Berlin.',
  weekStart: 'First day of per_week windows.',
  maxOutputTokens:
    'The output limit set on calls that have none of their own, where a cap depends on it. "model" for the model’s own.',
  unknownPrice: 'What happens to a model without a known price while a cap is in play.',
  clampOutput: 'Shrinks the output limit to what the block caps leave instead of refusing a call.',
  'clampOutput.minTokens': 'The smallest output limit that a call is shrunk to.',
  'caps.amountCents': 'US cents: 5000 is $50.',
  'caps.window':
    'What the amount is counted over. Minute and hour roll; day, week and month follow timeZone.',
  'caps.action':
    'block refuses, downgrade sends to downgradeTo, ask asks a person, shadow only records, allow only counts.',
  'caps.downgradeTo': 'The cheaper model, or a ladder tried in order. Only with action "downgrade".',
  'caps.sticky': '"task" keeps a task on the model that it was sent to. Only with action "downgrade".',
  'caps.models': 'Counts only calls to these models: ids, or patterns with *. Default: every call.',
  'caps.per': 'A separate balance for each value of these fields, e.g. [userId].',
  'caps.alerts': 'Parts of the amount at which an alert is given, once in each window: [0.5, 0.8, 1].',
  'caps.reason': 'Your words; they appear in errors and receipts.',
  'rules.when': 'The calls that the rule is for. Default: every call of the policy.',
  'rules.when.models': 'The rule is about these models only: ids, or patterns with *.',
  'rules.models': 'The only models that these calls may go to: ids, or patterns with *.',
  'rules.maxPrice':
    'The dearest list price, in USD per million tokens: "0.20" for input and output alike, or { input, output, request }.',
  'rules.maxPrice.input': 'USD per million input tokens.',
  'rules.maxPrice.output': 'USD per million output tokens.',
  'rules.maxPrice.request': 'USD for each request. Default: no such fee is allowed.',
  'rules.requires':
    'Capabilities that the call must have, all of them: read_only, data_write, payment_initiate, payment_execute (each includes those before it), or names of your own.',
  'rules.signed': 'true when only signed capabilities count.',
  'rules.routeTo': 'Sends these calls to the first of these models that can carry them.',
  'rules.reason': 'Your words; they appear in errors.',
  ...Object.fromEntries(
    SCOPE_FIELDS.flatMap((field) => [
      [`scope.${field}`, `Only calls of this value: ${SCOPE_WORDS[field]}.`],
      [`rules.when.${field}`, `Calls with one of these values, * for any text: ${SCOPE_WORDS[field]}.`],
    ]),
  ),
};
