/** From what an adapter knows of a call to what `decide` needs: scope, policies, caps, prices, bounds. */
import { capLayout, type CapLayout } from './accounts.ts';
import type { DecideInput, RequestFacts } from './decide.ts';
import { boundInputTokens, type EstimateMode, type PromptShape } from './estimate.ts';
import { AgentGuardError } from './errors.ts';
import type { LedgerView } from './ledgers/ledger.ts';
import type { NanoUsd } from './money.ts';
import type { Policy } from './policy.ts';
import type { findPrice } from './pricing/find-price.ts';
import { compilePrice, type Price } from './pricing/price.ts';
import {
  carriedConflict,
  checkScope,
  currentScope,
  layerScopes,
  scopeMatches,
  type ScopeField,
  type SpendScope,
} from './scope.ts';
import { spanAt, type WindowSpan } from './windows.ts';

/** What an adapter knows before a call. */
export interface SpendRequest {
  /** The model as the provider is asked for it. */
  model: string;
  /** False for what isn't a model's work and has no price of its own: only `unbounded` then says what it costs. */
  isModel?: boolean;
  /** Whose price list the model's name belongs to, e.g. `openrouter` or `anthropic`. */
  provider?: string;
  /** Other models that may serve the call without asking again (OpenRouter's `models`). */
  fallbacks?: readonly string[];
  /** An upper bound of the input tokens, where it is known. Else it is estimated from `prompt`. */
  inputTokens?: number;
  prompt?: PromptShape;
  /** Why the cost can't be bounded, where the adapter knows a reason (a plugin with an open-ended fee). */
  unbounded?: string;
  /** The call's own output limit. */
  maxOutputTokens?: number;
  /** Answers asked for in one call (`n`). Default 1. */
  choices?: number;
  /** The call's reasoning budget. */
  reasoningTokens?: number;
  /**
   * The call asks for a prompt cache that lasts an hour. It is bounded by that cache's own rate; where the price list
   * has none (`hasHourCacheRate` says so beforehand), the call is `unbounded_cost`.
   */
  hourCache?: boolean;
  /** False when the adapter can't set an output limit on a call that has none. Default true. */
  limitCanBeSet?: boolean;
  /** Whether the adapter can send this call to another model. Default: it can. */
  canRoute?: (model: string) => boolean;
  /** The call's own layer of scope. */
  scope?: SpendScope;
  /** Gives up waiting for holds. */
  signal?: AbortSignal;
}

/** How a guard looks at every request. */
export interface PrepareOptions {
  policies: readonly Policy[];
  scope: SpendScope;
  requireScope: boolean;
  estimate: EstimateMode;
  countTokens?: (text: string) => number;
  priceOf: typeof findPrice;
}

/**
 * The models that the adapter can't send a call to. It is asked only about models that a decision comes to, for
 * trying a route on a request takes time, and most calls are never downgraded.
 */
class Uncarried {
  /** The models that were asked about and can't be reached. */
  readonly found: string[] = [];
  readonly #answers = new Map<string, boolean>();
  readonly #canRoute: (model: string) => boolean;

  constructor(canRoute: (model: string) => boolean) {
    this.#canRoute = canRoute;
  }

  has(model: string): boolean {
    let answer = this.#answers.get(model);
    if (answer === undefined) {
      answer = !this.#canRoute(model);
      this.#answers.set(model, answer);
      if (answer) this.found.push(model);
    }
    return answer;
  }
}

/** A request made ready: everything that doesn't depend on the ledger. */
export interface Prepared {
  scope: SpendScope;
  scopeConflict?: ScopeField;
  requireTenant: boolean;
  policies: readonly Policy[];
  layout: CapLayout;
  request: RequestFacts;
  prices: ReadonlyMap<string, Price>;
  /** Why models have no price, for the error. */
  unpriced: ReadonlyMap<string, string>;
  uncarried: Uncarried;
}

/** Longer names are cut: nothing that a caller passes may make a receipt grow without bound. */
const MAX_NAME = 128;

// oxlint-disable-next-line no-control-regex -- each of them would take six characters in a receipt
const CONTROL = /[\u0000-\u001f\u007f]/g;

/** What nearly every name is: printable ASCII, which needs no other look. */
const PLAIN = /^[ -~]{0,128}$/;

function nameText(text: string): string {
  if (PLAIN.test(text)) return text;
  return text.slice(0, MAX_NAME).toWellFormed().replaceAll(CONTROL, '\ufffd');
}

/** What is wrong with a request that didn't come through the type checker. */
function requestProblem(request: SpendRequest): string | undefined {
  if (typeof request !== 'object' || request === null)
    return 'begin: expected a request such as { model, prompt }';
  const { model, fallbacks, prompt, provider, unbounded, limitCanBeSet, canRoute, hourCache } = request as {
    [K in keyof SpendRequest]: unknown;
  };
  if (typeof model !== 'string' || model === '') return 'model: expected the name of a model';
  if (provider !== undefined && typeof provider !== 'string')
    return 'provider: expected the name of a provider';
  if (unbounded !== undefined && typeof unbounded !== 'string')
    return 'unbounded: expected a reason in words';
  if (limitCanBeSet !== undefined && typeof limitCanBeSet !== 'boolean')
    return 'limitCanBeSet: expected a boolean';
  if (hourCache !== undefined && typeof hourCache !== 'boolean') return 'hourCache: expected a boolean';
  if (canRoute !== undefined && typeof canRoute !== 'function') return 'canRoute: expected a function';
  if (fallbacks !== undefined) {
    const isList = Array.isArray(fallbacks) && fallbacks.every((name) => typeof name === 'string');
    if (!isList) return 'fallbacks: expected a list of model names';
    if (fallbacks.length > MAX_FALLBACKS)
      return `fallbacks: expected at most ${MAX_FALLBACKS}, got ${fallbacks.length}`;
  }
  if (prompt !== undefined) {
    const texts = (prompt as { texts?: unknown } | null)?.texts;
    const isShape = Array.isArray(texts) && texts.every((text) => typeof text === 'string');
    if (!isShape) return 'prompt: expected { texts: string[], messages: number }';
  }
  return undefined;
}

/** Far beyond any model, and small enough that every cost has room in a receipt. */
const MAX_TOKENS = 1e9;
const MAX_CHOICES = 1e4;
const MAX_FALLBACKS = 8;

function wholeNumber(field: string, value: number | undefined, least: number, most: number): void {
  const isSound = Number.isSafeInteger(value) && !Object.is(value, -0);
  if (value === undefined || (isSound && value >= least && value <= most)) return;
  throw new AgentGuardError(
    'invalid_config',
    `${field}: expected a whole number from ${least} to ${most}, got ${value}`,
  );
}

function requestFacts(
  request: SpendRequest,
  ladders: readonly string[],
  options: PrepareOptions,
): RequestFacts {
  wholeNumber('inputTokens', request.inputTokens, 0, MAX_TOKENS);
  wholeNumber('maxOutputTokens', request.maxOutputTokens, 1, MAX_TOKENS);
  wholeNumber('choices', request.choices, 1, MAX_CHOICES);
  wholeNumber('reasoningTokens', request.reasoningTokens, 0, MAX_TOKENS);
  const fallbacks = (request.fallbacks ?? []).map(nameText);
  return {
    model: nameText(request.model),
    fallbacks,
    input: inputBound(request, [...fallbacks, ...ladders], options),
    ...(request.maxOutputTokens !== undefined && { maxOutputTokens: request.maxOutputTokens }),
    choices: request.choices ?? 1,
    ...(request.reasoningTokens !== undefined && { reasoningTokens: request.reasoningTokens }),
    ...(request.hourCache === true && { hourCache: true as const }),
    ...mediaOf(request.prompt),
    limitCanBeSet: request.limitCanBeSet ?? true,
  };
}

/** What of a prompt may have rates of its own. */
function mediaOf(prompt: PromptShape | undefined): Pick<RequestFacts, 'audio' | 'images'> {
  const { images, files } = prompt ?? {};
  const hasAudio = files?.some(({ mediaType }) => /^(audio|video)\//i.test(mediaType)) ?? false;
  return {
    ...(hasAudio && { audio: true as const }),
    ...(images !== undefined && images.length > 0 && { images: images.length }),
  };
}

/** One bound for every model that may get the prompt, for they make different numbers of tokens of it. */
function inputBound(
  request: SpendRequest,
  others: readonly string[],
  options: PrepareOptions,
): RequestFacts['input'] {
  if (request.unbounded !== undefined) return { unbounded: request.unbounded };
  if (request.inputTokens !== undefined) return { tokens: request.inputTokens };
  if (request.prompt === undefined) return { unbounded: 'neither inputTokens nor a prompt was given' };
  return boundInputTokens(request.prompt, {
    model: request.model,
    otherModels: others,
    mode: options.estimate,
    ...(options.countTokens && { countTokens: options.countTokens }),
  });
}

/** The scope and the policies of a call. */
function matchPolicies(
  layer: SpendScope | undefined,
  options: PrepareOptions,
): Pick<Prepared, 'scope' | 'scopeConflict' | 'requireTenant' | 'policies' | 'layout'> {
  checkScope('scope', layer);
  const surrounding = currentScope();
  const { scope, conflict } = layerScopes([options.scope, surrounding, layer]);
  const scopeConflict = carriedConflict(surrounding) ?? conflict;
  const policies = options.policies.filter((policy) => scopeMatches(policy.record.scope, scope));
  return {
    scope,
    ...(scopeConflict !== undefined && { scopeConflict }),
    requireTenant: options.requireScope,
    policies,
    layout: capLayout(policies, scope),
  };
}

/** Stands for what has no price of its own, so that its unbounded cost is what it is refused for. */
function unpricedRow(model: string): Price {
  return compilePrice({ model, source: 'none', version: 'not a model', input: '0', output: '0' });
}

export function prepare(request: SpendRequest, options: PrepareOptions): Prepared {
  const problem = requestProblem(request);
  if (problem !== undefined) throw new AgentGuardError('invalid_config', problem);
  const matched = matchPolicies(request.scope, options);
  const { ladder } = matched.layout;
  const facts = requestFacts(request, ladder, options);
  const prices = new Map<string, Price>();
  const unpriced = new Map<string, string>();
  for (const model of [facts.model, ...facts.fallbacks, ...ladder]) {
    const found =
      request.isModel === false && model === facts.model
        ? { price: unpricedRow(model) }
        : options.priceOf(model, request.provider);
    if ('price' in found) prices.set(model, found.price);
    else unpriced.set(model, found.unknown);
  }
  const uncarried = new Uncarried(request.canRoute ?? (() => true));
  return { ...matched, request: facts, prices, unpriced, uncarried };
}

/** Prepares a charge of a known amount for something that isn't a model call. */
export function prepareCharge(
  label: string,
  amount: NanoUsd,
  scope: SpendScope | undefined,
  options: PrepareOptions,
): Prepared {
  const request: RequestFacts = {
    model: nameText(label),
    fallbacks: [],
    input: { tokens: 0 },
    choices: 1,
    limitCanBeSet: false,
    fixedCost: amount,
  };
  const none = new Map<string, never>();
  const uncarried = new Uncarried(() => true);
  return { ...matchPolicies(scope, options), request, prices: none, unpriced: none, uncarried };
}

/** A clock that went back by more than this blocks calls; less is the everyday correction of a clock. */
export const CLOCK_TOLERANCE_MS: number = 5 * 60_000;

/** The input of `decide` at one look at the ledger, with the spans of the distinct windows. */
export function decideInput(
  prepared: Prepared,
  view: LedgerView,
  hostNow: number,
): { input: DecideInput; spans: WindowSpan[] } {
  const { layout, policies } = prepared;
  const spans = layout.windows.map(({ kind, calendar }) => spanAt(kind, calendar, view.now));
  const input: DecideInput = {
    now: view.now,
    scope: prepared.scope,
    ...(prepared.scopeConflict !== undefined && { scopeConflict: prepared.scopeConflict }),
    requireTenant: prepared.requireTenant,
    clockWrong: view.now - view.wall > CLOCK_TOLERANCE_MS,
    // The host that wrote `effectiveFrom` may be ahead of the ledger's clock; that must not block its calls.
    policies: policies.map((policy) => ({
      policy,
      effective: policy.effectiveFrom <= Math.max(hostNow, view.now),
    })),
    caps: layout.caps.map((ref) => {
      const span = ref.window === undefined ? undefined : spans[ref.window];
      if (ref.account === undefined || span === undefined) return { ref, spent: 0n, held: 0n, resetsAt: 0 };
      const { spent, held } = view.amounts(ref.account, span);
      return { ref, spent, held, resetsAt: span.end };
    }),
    request: prepared.request,
    prices: prepared.prices,
    uncarried: prepared.uncarried,
  };
  return { input, spans };
}
