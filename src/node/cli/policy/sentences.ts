/** A policy in plain sentences, for whoever pays. */
import { formatUsd, nanoUsdFromUsd } from '../../../money.ts';
import type { Cap, Policy } from '../../../policy.ts';
import type { Ceiling, PolicyRecord, Rule } from '../../../policy/types.ts';
import type { ScopeField, SpendScope } from '../../../scope.ts';
import { countText } from '../output.ts';
import { isPattern, modelsFitting, modelsUnder, priceOf, priceText } from './known-models.ts';

export interface PolicySentences {
  /** Which calls it is for, and since when. */
  head: readonly string[];
  caps: readonly string[];
  rules: readonly string[];
  /** What holds beside caps and rules. */
  also: readonly string[];
}

/** `a`, `a and b`, `a, b and c` */
export function listText(words: readonly string[], last = 'and'): string {
  if (words.length < 2) return words[0] ?? '';
  return `${words.slice(0, -1).join(', ')} ${last} ${words.at(-1)}`;
}

/** From the outside in, as people think of it. */
const OUTER_FIRST: readonly ScopeField[] = ['tenantId', 'teamId', 'userId', 'agentId', 'task', 'taskId'];

export function scopeText(scope: SpendScope): string {
  const fields = OUTER_FIRST.filter((field) => scope[field] !== undefined);
  return listText(fields.map((field) => `${field} ${scope[field]}`));
}

const DAY_NAMES: Readonly<Record<string, string>> = {
  sunday: 'Sunday',
  monday: 'Monday',
  tuesday: 'Tuesday',
  wednesday: 'Wednesday',
  thursday: 'Thursday',
  friday: 'Friday',
  saturday: 'Saturday',
};

/** When an amount is counted anew: `on a day in Europe/Berlin`. */
export function windowText({ window }: Pick<Cap, 'window'>, { timeZone, weekStart }: PolicyRecord): string {
  switch (window) {
    case 'per_call':
      return 'by one call';
    case 'per_minute':
      return 'within any 60 seconds';
    case 'per_hour':
      return 'within any 60 minutes';
    case 'per_day':
      return `on a day in ${timeZone}`;
    case 'per_week':
      return `in a week from ${DAY_NAMES[weekStart]} in ${timeZone}`;
    case 'per_month':
      return `in a calendar month in ${timeZone}`;
    case 'per_task':
      return 'by one task (taskId)';
    case 'total':
      return 'in all';
  }
}

/** A model with its price, or a pattern with how many it means. */
export function modelText(name: string): string {
  if (isPattern(name)) {
    const count = modelsFitting(name);
    return `${name} (${countText(count, 'known model')})`;
  }
  const price = priceOf(name);
  return price === undefined ? `${name} (no known price)` : `${name} (${priceText(price)})`;
}

function modelsText(names: readonly string[], last = 'or'): string {
  return listText(names.map(modelText), last);
}

function ladderText(names: readonly string[]): string {
  const [first = '', ...others] = names.map(modelText);
  return others.length === 0
    ? first
    : `${first}, or where that can’t carry a call to ${listText(others, 'or')}`;
}

function capSentence(cap: Cap, record: PolicyRecord): string {
  const amount = formatUsd(BigInt(cap.amount));
  const when = windowText(cap, record);
  const isCall = cap.window === 'per_call';
  const who = cap.per === undefined ? '' : `, counted for each ${listText(cap.per)} on its own`;
  switch (cap.action) {
    case 'block':
      return isCall
        ? `Blocks a call that alone could cost more than ${amount}.`
        : `Blocks a call that could take spending above ${amount} ${when}${who}.`;
    case 'downgrade': {
      const to = ladderText(cap.downgradeTo ?? []);
      return isCall
        ? `Sends a call that alone could cost more than ${amount} to ${to}.`
        : `Once ${amount} is spent ${when}${who}, sends calls to ${to}.`;
    }
    case 'ask':
      return isCall
        ? `Asks a person about a call that alone could cost more than ${amount}; without a yes it is blocked.`
        : `Asks a person before a call could take spending above ${amount} ${when}${who}; without a yes it is blocked.`;
    case 'shadow':
      return isCall
        ? `Only records the calls that alone could cost more than ${amount}; refuses none.`
        : `Only records the calls that could take spending above ${amount} ${when}${who}; refuses none.`;
    case 'allow':
      return `Counts against ${amount} ${when}${who}, and never refuses.`;
  }
}

function capText(cap: Cap, record: PolicyRecord): string {
  const amount = BigInt(cap.amount);
  const alerts = (cap.alerts ?? []).map((share) => formatUsd((amount * BigInt(share)) / 10_000n));
  return [
    capSentence(cap, record),
    ...(cap.models === undefined ? [] : [`Counts only calls that may go to ${modelsText(cap.models)}.`]),
    ...(cap.sticky === undefined ? [] : ['A task that was sent to another model stays there.']),
    ...(alerts.length === 0 ? [] : [`Alerts at ${listText(alerts)}, once in each window.`]),
    ...(cap.reason === undefined ? [] : [`“${cap.reason}”`]),
  ].join(' ');
}

/** Whom a rule is about: `For task code-review: `. */
function whenText({ when }: Rule): string {
  if (when === undefined) return '';
  const scope = OUTER_FIRST.flatMap((field) => {
    const values = when[field];
    return values === undefined ? [] : [`${field} ${listText(values, 'or')}`];
  });
  const models = when.models === undefined ? [] : [`calls that may go to ${modelsText(when.models)}`];
  const parts = listText([...scope, ...models]);
  return parts === '' ? '' : `For ${parts}: `;
}

export function ceilingWords({ input, output, request }: Ceiling): string {
  const usd = (text: string): string => formatUsd(nanoUsdFromUsd(text));
  const both = input !== undefined && input === output;
  const tokens = both
    ? [`${usd(input)} per million tokens, in and out alike`]
    : [
        ...(input === undefined ? [] : [`${usd(input)} per million tokens in`]),
        ...(output === undefined ? [] : [`${usd(output)} per million tokens out`]),
      ];
  const fee =
    request === undefined || /^0(\.0+)?$/.test(request)
      ? 'without a fee for each request'
      : `${usd(request)} a request`;
  return `${tokens.join(' and ')}${tokens.length === 0 ? '' : ', '}${fee}`;
}

function ruleText(rule: Rule): string {
  const { routeTo, models, maxPrice, requires, signed } = rule;
  const sentences = [
    ...(routeTo === undefined ? [] : [`calls go to ${ladderText(routeTo)}.`]),
    ...(models === undefined
      ? []
      : [`only ${modelsText(models, 'and')} ${isOne(models) ? 'is' : 'are'} allowed.`]),
    ...(maxPrice === undefined
      ? []
      : [
          `only models up to ${ceilingWords(maxPrice)} are allowed (${countText(modelsUnder(maxPrice), 'known model')}).`,
        ]),
    ...(requires === undefined
      ? []
      : [
          `the call must have the ${signed === true ? 'signed ' : ''}${requires.length === 1 ? 'capability' : 'capabilities'} ${listText(requires)}.`,
        ]),
  ];
  const [first = '', ...others] = sentences;
  const text = [`${whenText(rule)}${first}`, ...others].map(capitalised).join(' ');
  return rule.reason === undefined ? text : `${text} “${rule.reason}”`;
}

function isOne(models: readonly string[]): boolean {
  return models.length === 1 && !isPattern(models[0] ?? '');
}

function capitalised(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}`;
}

function alsoText({ caps, clampOutput, maxOutputTokens, unknownPrice }: PolicyRecord): string[] {
  // Caps that only count ask nothing of a call.
  const acting = caps.filter(({ action }) => action !== 'allow' && action !== 'shadow');
  if (acting.length === 0) return [];
  const counted = acting.every(({ models }) => models !== undefined) ? ' where a cap counts it' : '';
  const limit =
    maxOutputTokens === 'model'
      ? `A call that sets no output limit gets its model’s own${counted}.`
      : `A call that sets no output limit gets one of ${maxOutputTokens.toLocaleString('en-US')} tokens${counted}.`;
  const clamp =
    clampOutput === undefined
      ? []
      : [
          `Where a block cap leaves too little room, the output limit shrinks, down to ${clampOutput.minTokens.toLocaleString('en-US')} tokens, if all policies of the call have it so.`,
        ];
  const unknown =
    unknownPrice === 'block'
      ? 'A model without a known price is blocked.'
      : 'A model without a known price is let through, if all policies of the call have it so and no price ceiling is on it; no cap holds it back.';
  return [limit, ...clamp, unknown];
}

/** The policy in sentences; `now` decides whether it holds already. */
export function policySentences({ record, effectiveFrom }: Policy, now: number): PolicySentences {
  const scope = scopeText(record.scope);
  const since =
    record.effectiveFrom.length === 10 ? `${record.effectiveFrom} (midnight in UTC)` : record.effectiveFrom;
  const mode =
    record.mode === 'shadow' ? 'Shadow mode: records what it would decide, and changes nothing.' : undefined;
  return {
    head: [
      scope === '' ? 'For every call.' : `For calls with ${scope}.`,
      ...(effectiveFrom > now ? [`From ${since} on; until then its calls are blocked.`] : []),
      ...(mode === undefined ? [] : [mode]),
    ],
    caps: record.caps.map((cap) => capText(cap, record)),
    rules: (record.rules ?? []).map(ruleText),
    also: alsoText(record),
  };
}
