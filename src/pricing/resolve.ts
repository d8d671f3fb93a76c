/** From a model id as callers write it to the exact catalogue keys that may hold its price. */

/** An exact key of the catalogue. */
export interface ModelKey {
  provider: string;
  id: string;
}

/**
 * Where to look, in this order: the first step that finds a row decides. The keys of one step are equally
 * good, so that different prices within a step make the id ambiguous. Or why the id can't have a fixed price.
 */
export type ResolvedModelId = { steps: readonly (readonly ModelKey[])[] } | { refused: string };

/** What frameworks call a provider, where that isn't the catalogue's name for it. */
const PROVIDER_ALIASES: ReadonlyMap<string, string> = new Map([
  ['amazon-bedrock', 'aws'],
  ['bedrock', 'aws'],
  ['azure-openai', 'azure'],
  ['gemini', 'google'],
  ['google-vertex', 'google'],
  ['vertex', 'google'],
  ['mistralai', 'mistral'],
  ['moonshot', 'moonshotai'],
  ['togetherai', 'together'],
  ['voyage', 'voyageai'],
  ['xai', 'x-ai'],
  ['z-ai', 'zai'],
]);

/** Providers whose rows price their own models. A bare id without a provider is looked up at all of these. */
const VENDORS: readonly string[] = [
  'openai',
  'anthropic',
  'google',
  'azure',
  'mistral',
  'deepseek',
  'x-ai',
  'cohere',
  'perplexity',
  'moonshotai',
  'minimax',
  'zai',
  'voyageai',
];

/** Providers that host the models of others under ids of their own, slashes included: exact ids only. */
const HOSTS: ReadonlySet<string> = new Set(['groq', 'together', 'fireworks', 'cerebras']);

/**
 * Whose rows price a model that a provider resells at the vendor's price (as the source of the catalogue
 * says).
 */
const RESOLD_FROM: ReadonlyMap<string, readonly string[]> = new Map([
  ['azure', ['openai', 'anthropic', 'deepseek', 'x-ai', 'moonshotai']],
  ['google', ['anthropic']],
]);

/** Longer than any model id; keeps hostile input from costing anything. */
export const MAX_MODEL_ID_LENGTH = 200;

const UNLISTED = /[^\w.:/@~-]/;
const DATE_SUFFIX = /[-@]20\d\d(-?)(0[1-9]|1[0-2])\1(0[1-9]|[12]\d|3[01])$/;
/** Suffixes with a list price of their own: only an exact row has it. */
const LISTED_SUFFIXES: ReadonlySet<string> = new Set(['free', 'batch', 'thinking', 'extended']);

/** `openai.responses` is OpenAI, `xai.chat` is x-ai: the part before the dot, by the catalogue's name. */
function providerName(provider: string): string {
  const name = (provider.split('.')[0] as string).toLowerCase();
  return PROVIDER_ALIASES.get(name) ?? name;
}

/** `claude-opus-4-7` and `claude-opus-4.7` are one model: Anthropic writes the dash, OpenRouter the dot. */
function spellings(id: string): string[] {
  if (!/(^|\/)claude-/.test(id)) return [id];
  const dotted = id.replace(/(\d)-(\d{1,2})(?!\d)/, '$1.$2');
  const dashed = id.replace(/(\d)\.(\d{1,2})(?!\d)/, '$1-$2');
  return [...new Set([id, dotted, dashed])];
}

/** The id as it stands, then without its date: two lists of spellings, the second maybe empty. */
function forms(id: string): string[][] {
  const undated = id.replace(DATE_SUFFIX, '');
  return undated === id ? [spellings(id)] : [spellings(id), spellings(undated)];
}

function keysAt(provider: string, ids: readonly string[]): ModelKey[][] {
  return ids.map((id) => [{ provider, id }]);
}

/**
 * Bedrock: `us.`, `eu.`, … and bare ids are the regional row (dearer than `global.`), an inference profile's
 * ARN ends in its id, and `-v1:0` and the date may be missing on either side.
 */
function bedrockSteps(id: string): ModelKey[][] {
  const profile = /^arn:aws:bedrock:[a-z0-9-]*:\d*:(?:inference-profile|foundation-model)\/([^/]+)$/.exec(id);
  const name = profile?.[1] ?? id;
  const bare = name.replace(/^(us|eu|apac|jp|au)\./, '');
  const stems = bare.startsWith('global.') ? [bare] : [name, `regional.${bare}`, bare];
  const steps = stems.flatMap((stem) => {
    const [, base = stem, version = ''] = /^(.*?)(-v\d+(?::\d+)?)?$/.exec(stem) ?? [];
    const versions = [...new Set([version, '-v1:0', ''])];
    const bases = [...new Set([base, base.replace(DATE_SUFFIX, '')])];
    return bases.flatMap((b) => versions.map((v) => `${b}${v}`));
  });
  return keysAt('aws', [...new Set(steps)]);
}

/**
 * `vendor/model`: OpenRouter's rows, then the vendor's own; the dated id everywhere before the undated one.
 */
function vendorSlashModel(id: string, throughOpenRouter: boolean): ModelKey[][] {
  const slash = id.indexOf('/');
  const vendor = providerName(id.slice(0, slash));
  const steps: ModelKey[][] = [];
  for (const written of forms(id)) {
    if (throughOpenRouter) steps.push(...keysAt('openrouter', written));
    if (VENDORS.includes(vendor))
      steps.push(
        ...keysAt(
          vendor,
          written.map((form) => form.slice(slash + 1)),
        ),
      );
  }
  return steps;
}

function stepsFor(id: string, provider: string | undefined): ModelKey[][] {
  if (provider === 'aws') return bedrockSteps(id);
  if (provider === undefined && /^(arn:aws:|[a-z]+\.)/.test(id)) return bedrockSteps(id);
  if (provider !== undefined && HOSTS.has(provider)) return keysAt(provider, [id]);
  if (id.includes('/')) {
    const exact = provider === undefined || provider === 'gateway' ? [] : keysAt(provider, [id]);
    return [...exact, ...vendorSlashModel(id, provider !== 'gateway')];
  }
  if (provider === undefined) {
    return forms(id).map((ids) =>
      VENDORS.flatMap((vendor) => ids.map((form) => ({ provider: vendor, id: form }))),
    );
  }
  const sellers = [provider, ...(RESOLD_FROM.get(provider) ?? [])];
  return forms(id).flatMap((ids) => sellers.flatMap((seller) => keysAt(seller, ids)));
}

/** Why the id can't be looked up at all, whatever the lists hold. */
function refusal(id: string, suffix: string | undefined): string | undefined {
  if (id === '') return 'is empty';
  if (id.length > MAX_MODEL_ID_LENGTH) return `is longer than ${MAX_MODEL_ID_LENGTH} characters`;
  const odd = UNLISTED.exec(id)?.[0];
  if (odd !== undefined) return `contains ${JSON.stringify(odd)}, which no model id does`;
  if (id.startsWith('~')) return 'stands for whichever model is the latest, so it has no fixed price';
  if (id.startsWith('openrouter/')) return 'lets OpenRouter choose the model, so it has no fixed price';
  if (suffix === undefined || suffix === 'floor' || LISTED_SUFFIXES.has(suffix)) return undefined;
  return /^\d+$/.test(suffix)
    ? undefined
    : `has the suffix :${suffix}, which may cost more than the list price`;
}

/**
 * The one place that knows about id aliases. Returns the finite list of exact catalogue keys to try, or a
 * reason to refuse. Nothing is matched by prefix or by likeness, and nothing is folded: an id in other
 * letters or another case than the list's is another id.
 *
 * - The exact id comes first, everywhere. `models/` (Gemini's resource name) is dropped.
 * - `vendor/model` is OpenRouter's spelling, whichever client carries it: OpenRouter's rows, then the
 *   vendor's.
 * - `claude-x-4-7` is `claude-x-4.7`; a date suffix (`-20250929`, `-2025-09-29`, `@20250929`) is dropped
 *   after the dated id has been looked for.
 * - `:floor` never costs more than the base row. `:free`, `:batch`, `:thinking`, `:extended` need a row of
 *   their own. `:nitro`, `:exacto`, `:online` and any other suffix are refused, since they may cost more.
 * - Ids that choose among models (`openrouter/auto`, `~vendor/latest`) are refused.
 * - A bare id without a provider is looked up at every vendor; hosts of other people's models must be named.
 *
 * `provider` is a catalogue name or what a framework calls it (`openai.responses`, `amazon-bedrock`); the AI
 * Gateway (`gateway`) passes on the vendors' prices. One that the catalogue doesn't know finds nothing.
 */
export function resolveModelId(id: string, provider?: string): ResolvedModelId {
  const colon = id.lastIndexOf(':');
  const suffix = colon > 0 && !id.startsWith('arn:') ? id.slice(colon + 1) : undefined;
  const reason = refusal(id, suffix);
  if (reason !== undefined) return { refused: reason };
  const seller = provider === undefined ? undefined : providerName(provider);
  if (suffix !== undefined && LISTED_SUFFIXES.has(suffix)) {
    const slash = id.indexOf('/');
    const sellers = seller !== undefined ? [seller] : slash > 0 ? [] : VENDORS;
    const exact = sellers.map((name) => ({ provider: name, id }));
    return { steps: slash > 0 ? [exact, [{ provider: 'openrouter', id }]] : [exact] };
  }
  const base = suffix === 'floor' ? id.slice(0, colon) : id;
  if (base.startsWith('models/')) return { steps: stepsFor(base.slice(7), seller ?? 'google') };
  return { steps: stepsFor(base, seller) };
}

/** True when two ids are names of one model: equal, or with a catalogue key in common. */
export function isSameModel(a: string, b: string, provider?: string): boolean {
  if (a === b) return true;
  const keys = keyNames(a, provider);
  for (const key of keyNames(b, provider)) if (keys.has(key)) return true;
  return false;
}

function keyNames(id: string, provider: string | undefined): Set<string> {
  const resolved = resolveModelId(id, provider);
  if ('refused' in resolved) return new Set();
  return new Set(resolved.steps.flat().map((key) => `${key.provider} ${key.id}`));
}
