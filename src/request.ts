/** What an adapter says of a call, checked, and the facts in it that a decision rests on. */
import type { PresentedCapability, RequestFacts } from './decide.ts';
import { boundInputTokens, type EstimateMode, type PromptShape } from './estimate.ts';
import { AgentGuardError } from './errors.ts';
import { relevantCapabilities } from './capability-names.ts';
import { MODEL_FEATURES, type ModelFeature } from './pricing/price.ts';
import type { SpendScope } from './scope.ts';

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
  /**
   * True when the adapter sends the decision's `maxPrice` with the call, so that the provider keeps to it. Without it
   * `openrouter/auto` is never let through under a cap. Default false.
   */
  ceilingCanBeSet?: boolean;
  /** What the model must be able to do; a downgrade goes only to models that aren't known to lack it. */
  features?: readonly ModelFeature[];
  /** Input tokens that the model's prompt cache is expected to hold. Default: what the task's last call left there. */
  cachedTokens?: number;
  /** Capabilities that the call has, on the word of the code that makes it. */
  claims?: readonly string[];
  /** Signed capabilities, as tokens. Each is for one call. */
  capability?: string | readonly string[];
  /** Whether the adapter can send this call to another model. Default: it can. */
  canRoute?: (model: string) => boolean;
  /** The call's own layer of scope. */
  scope?: SpendScope;
  /** Gives up waiting for holds. */
  signal?: AbortSignal;
}

/** How a guard estimates. */
export interface EstimateSettings {
  estimate: EstimateMode;
  countTokens?: (text: string) => number;
}

/** What the policies of a call ask about. */
export interface PolicyNeeds {
  /** Models that the call may be sent to instead of its own. */
  ladder: readonly string[];
  /** Capabilities that a rule asks for. */
  asksFor: ReadonlySet<string>;
  /** True when a rule or a cap is about some models only. */
  isAboutModels: boolean;
  hasCeiling: boolean;
}

/** Longer names are cut: nothing that a caller passes may make a receipt grow without bound. */
const MAX_NAME = 128;

// oxlint-disable-next-line no-control-regex -- each of them would take six characters in a receipt
const CONTROL = /[\u0000-\u001f\u007f]/g;

/** What nearly every name is: printable ASCII, which needs no other look. */
const PLAIN = /^[ -~]{0,128}$/;

export function nameText(text: string): string {
  if (PLAIN.test(text)) return text;
  return text.slice(0, MAX_NAME).toWellFormed().replaceAll(CONTROL, '\ufffd');
}

/** What is wrong with a request that didn't come through the type checker. */
export function requestProblem(request: SpendRequest): string | undefined {
  if (typeof request !== 'object' || request === null)
    return 'begin: expected a request such as { model, prompt }';
  const { model, fallbacks, prompt, provider, unbounded, canRoute } = request as {
    [K in keyof SpendRequest]: unknown;
  };
  if (typeof model !== 'string' || model === '') return 'model: expected the name of a model';
  if (provider !== undefined && typeof provider !== 'string')
    return 'provider: expected the name of a provider';
  if (unbounded !== undefined && typeof unbounded !== 'string')
    return 'unbounded: expected a reason in words';
  for (const field of ['limitCanBeSet', 'ceilingCanBeSet', 'hourCache'] as const) {
    const value: unknown = request[field];
    if (value !== undefined && typeof value !== 'boolean') return `${field}: expected a boolean`;
  }
  if (canRoute !== undefined && typeof canRoute !== 'function') return 'canRoute: expected a function';
  if (fallbacks !== undefined) {
    const isList = Array.isArray(fallbacks) && fallbacks.every((name) => typeof name === 'string');
    if (!isList) return 'fallbacks: expected a list of model names';
    if (fallbacks.length > MAX_FALLBACKS)
      return `fallbacks: expected at most ${MAX_FALLBACKS}, got ${fallbacks.length}`;
  }
  const given = featuresProblem(request.features) ?? capabilityProblem(request.capability);
  if (given !== undefined) return given;
  if (prompt !== undefined) {
    const texts = (prompt as { texts?: unknown } | null)?.texts;
    const isShape = Array.isArray(texts) && texts.every((text) => typeof text === 'string');
    if (!isShape) return 'prompt: expected { texts: string[], messages: number }';
  }
  return undefined;
}

function featuresProblem(features: unknown): string | undefined {
  if (features === undefined) return undefined;
  const isList =
    Array.isArray(features) &&
    features.every((each) => (MODEL_FEATURES as readonly unknown[]).includes(each));
  return isList ? undefined : `features: expected a list of ${MODEL_FEATURES.join(', ')}`;
}

const MAX_CAPABILITIES = 4;

function capabilityProblem(given: unknown): string | undefined {
  if (given === undefined) return undefined;
  const tokens: unknown[] = [given].flat();
  if (tokens.some((token) => typeof token !== 'string' || token === ''))
    return 'capability: expected a signed capability as text, or a list of them';
  if (tokens.length <= MAX_CAPABILITIES) return undefined;
  return `capability: expected at most ${MAX_CAPABILITIES} tokens, got ${tokens.length}`;
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

/** What else is known of a call: its claims and verified capabilities, and what its model's cache is thought to hold. */
export interface Surroundings {
  claims: readonly string[];
  capabilities: readonly PresentedCapability[];
  cachedTokens: number;
}

/**
 * The facts that a decision rests on. What no policy of the call asks about is left out, so that receipts stay as
 * short as the policies are simple.
 */
export function requestFacts(
  request: SpendRequest,
  { ladder, asksFor, isAboutModels, hasCeiling }: PolicyNeeds,
  around: Surroundings,
  options: EstimateSettings,
): RequestFacts {
  wholeNumber('inputTokens', request.inputTokens, 0, MAX_TOKENS);
  wholeNumber('maxOutputTokens', request.maxOutputTokens, 1, MAX_TOKENS);
  wholeNumber('choices', request.choices, 1, MAX_CHOICES);
  wholeNumber('reasoningTokens', request.reasoningTokens, 0, MAX_TOKENS);
  wholeNumber('cachedTokens', request.cachedTokens, 0, MAX_TOKENS);
  const cachedTokens = request.cachedTokens ?? around.cachedTokens;
  const asked = request.features ?? [];
  const features = asked.length === 0 ? asked : MODEL_FEATURES.filter((feature) => asked.includes(feature));
  const claims = relevantCapabilities(around.claims, asksFor);
  const { capabilities } = around;
  const fallbacks = (request.fallbacks ?? []).map(nameText);
  const facts: RequestFacts = {
    model: nameText(request.model),
    fallbacks,
    input: inputBound(request, [...fallbacks, ...ladder], options),
    choices: request.choices ?? 1,
    limitCanBeSet: request.limitCanBeSet ?? true,
  };
  if (isAboutModels && request.provider !== undefined) facts.provider = nameText(request.provider);
  if (ladder.length > 0 && cachedTokens > 0) facts.cachedTokens = cachedTokens;
  if (hasCeiling && request.ceilingCanBeSet === true) facts.ceilingCanBeSet = true;
  if (features.length > 0 && (ladder.length > 0 || hasCeiling)) facts.features = features;
  if (claims.length > 0) facts.claims = claims;
  if (capabilities.length > 0)
    facts.capabilities = capabilities.map((each) => ({
      ...each,
      names: relevantCapabilities(each.names, asksFor),
    }));
  if (request.maxOutputTokens !== undefined) facts.maxOutputTokens = request.maxOutputTokens;
  if (request.reasoningTokens !== undefined) facts.reasoningTokens = request.reasoningTokens;
  if (request.hourCache === true) facts.hourCache = true;
  addMedia(facts, request.prompt);
  return facts;
}

/** What of a prompt may have rates of its own. */
function addMedia(facts: RequestFacts, { images, files }: Partial<PromptShape> = {}): void {
  if (files?.some(({ mediaType }) => /^(audio|video)\//i.test(mediaType))) facts.audio = true;
  if (images !== undefined && images.length > 0) facts.images = images.length;
}

/** One bound for every model that may get the prompt, for they make different numbers of tokens of it. */
function inputBound(
  request: SpendRequest,
  others: readonly string[],
  options: EstimateSettings,
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
