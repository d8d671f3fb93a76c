/**
 * What the AI SDK says, in this package's words: usage, cost, served model, prompt. Pure. Shapes of `ai` 4 to 7
 * are told apart by their structure, since a model of one version may run inside another.
 */
import type { PromptFile, PromptImage, PromptShape } from '../src/estimate.ts';
import type { CallOutcome } from '../src/settlement.ts';
import { soundParts, type ReportedUsage } from '../src/usage.ts';
import { attempt, fieldsOf, isFields, json, listOf, sum, textOf, type Fields } from '../src/wire/fields.ts';
import { hourWritesIn, openRouterCost, openRouterUpstream, wholeOutput } from '../src/wire/reported.ts';

/** `openai` of `openai.responses`: whose options a call reads, and whose price list its models are in. */
export function namespaceOf(provider: unknown): string {
  const text = String(provider);
  const dot = text.indexOf('.');
  return (dot < 0 ? text : text.slice(0, dot)).trim();
}

/** Tokens written to Anthropic's cache, which usage before V3 has no field for. */
function cacheWritesBeforeV3(metadata: Fields): unknown {
  const anthropic = fieldsOf(metadata['anthropic']);
  const bedrock = fieldsOf(fieldsOf(metadata['bedrock'])['usage']);
  const raw = fieldsOf(anthropic['usage']);
  return (
    anthropic['cacheCreationInputTokens'] ??
    raw['cache_creation_input_tokens'] ??
    bedrock['cacheWriteInputTokens']
  );
}

/** V1: `promptTokens`. V2: numbers. V3 and V4: `inputTokens` and `outputTokens` are objects. */
function partsOfUsage(
  usage: Fields,
  metadata: Fields,
): { [K in keyof ReportedUsage]: unknown } & { noCache?: unknown } {
  const { inputTokens, outputTokens } = usage;
  if (isFields(inputTokens) || isFields(outputTokens)) {
    const input = fieldsOf(inputTokens);
    const output = fieldsOf(outputTokens);
    const { noCache, cacheRead, cacheWrite } = input;
    const total = input['total'] ?? (noCache === undefined ? undefined : sum(noCache, cacheRead, cacheWrite));
    return {
      inputTokens: total,
      outputTokens: output['total'],
      cacheReadTokens: cacheRead,
      // a V2 model inside ai 6 or 7 lost the figure on the way
      cacheWriteTokens: cacheWrite ?? (noCache === undefined ? cacheWritesBeforeV3(metadata) : undefined),
      reasoningTokens: output['reasoning'],
      noCache,
    };
  }
  const isV1 = 'promptTokens' in usage || 'completionTokens' in usage;
  // V1 has no fields for parts; models of OpenAI's format tell them under their own names
  const told = isV1 ? Object.values(metadata).map(fieldsOf) : [fieldsOf(metadata['openai'])];
  const openai = told.find((each) => 'cachedPromptTokens' in each || 'reasoningTokens' in each) ?? {};
  const anthropic = fieldsOf(metadata['anthropic']);
  const cacheReadTokens =
    usage['cachedInputTokens'] ?? openai['cachedPromptTokens'] ?? anthropic['cacheReadInputTokens'];
  return {
    inputTokens: isV1 ? usage['promptTokens'] : inputTokens,
    outputTokens: isV1 ? usage['completionTokens'] : outputTokens,
    cacheReadTokens,
    cacheWriteTokens: cacheWritesBeforeV3(metadata),
    reasoningTokens: usage['reasoningTokens'] ?? openai['reasoningTokens'],
  };
}

/**
 * Usage of any version in normal form, as far as it was reported: cache tokens as parts of the input, reasoning as
 * part of the output. `seenOutputTokens` is what arrived by our own count.
 */
export function reportedUsage(
  usage: unknown,
  from: { provider?: string; metadata?: unknown; seenOutputTokens?: number } = {},
): ReportedUsage | undefined {
  if (!isFields(usage)) return undefined;
  const metadata = fieldsOf(from.metadata);
  const parts = partsOfUsage(usage, metadata);
  const { noCache, cacheReadTokens, cacheWriteTokens, reasoningTokens } = parts;
  let { inputTokens, outputTokens } = parts;
  // Anthropic counts cached input apart from the rest; its models before V3 passed that on.
  const countsApart = noCache === undefined && /anthropic|bedrock/.test(from.provider ?? '');
  if (countsApart && typeof inputTokens === 'number') {
    inputTokens += sum(cacheReadTokens, cacheWriteTokens);
  }
  const { totalTokens, raw } = usage;
  outputTokens = wholeOutput(inputTokens, outputTokens, totalTokens ?? fieldsOf(raw)['total_tokens']);
  // Converters turn a missing figure into 0; no call has an empty prompt, and what arrived was not nothing.
  if (inputTokens === 0) inputTokens = undefined;
  if (outputTokens === 0 && sum(from.seenOutputTokens) > 0) outputTokens = undefined;
  const told: ReportedUsage = {
    inputTokens,
    outputTokens,
    ...(cacheReadTokens !== undefined && { cacheReadTokens }),
    ...(cacheWriteTokens !== undefined && { cacheWriteTokens }),
    ...hourWritesIn(raw),
    ...hourWritesIn(fieldsOf(metadata['anthropic'])['usage']),
    ...(reasoningTokens !== undefined && { reasoningTokens }),
  };
  return { ...told, ...soundParts(soundIn(raw, metadata), told) };
}

/** The sound in a prompt: of OpenAI's format, or of Google's own, in which it has a list of all kinds. */
function soundIn(raw: unknown, metadata: Fields): unknown {
  const google = fieldsOf(fieldsOf(metadata['google'])['usageMetadata']);
  const { prompt_tokens_details: details, promptTokensDetails: kinds } = { ...google, ...fieldsOf(raw) };
  if (!Array.isArray(kinds)) return fieldsOf(details)['audio_tokens'];
  const heard = kinds.map(fieldsOf).filter(({ modality }) => modality === 'AUDIO');
  return sum(...heard.map(({ tokenCount }) => tokenCount));
}

/**
 * What a provider says about the money: its own cost in US dollars, who served, its id for the call. `usage` is
 * the result's, whose `raw` has OpenRouter's figures also where another client was used.
 */
export function reportedMetadata(
  metadata: unknown,
  usage: unknown,
  provider: string,
): Pick<CallOutcome, 'cost' | 'upstreamCost' | 'isByok' | 'servedProvider' | 'providerRef'> {
  const all = fieldsOf(metadata);
  const told = fieldsOf(all['openrouter']);
  const toldUsage = fieldsOf(told['usage']);
  const raw = fieldsOf(fieldsOf(usage)['raw']);
  const isOpenRouter = namespaceOf(provider) === 'openrouter' || 'is_byok' in raw || 'cost_details' in raw;
  const gateway = fieldsOf(all['gateway']);
  const perplexity = fieldsOf(fieldsOf(all['perplexity'])['cost']);
  const figures = {
    cost: toldUsage['cost'] ?? raw['cost'],
    upstream:
      fieldsOf(toldUsage['costDetails'])['upstreamInferenceCost'] ??
      fieldsOf(raw['cost_details'])['upstream_inference_cost'],
    isByok: raw['is_byok'],
  };
  const cost = isOpenRouter ? openRouterCost(figures) : (gateway['cost'] ?? perplexity['totalCost']);
  const servedProvider = textOf(told['provider']);
  const providerRef = textOf(gateway['generationId']);
  const reported: ReturnType<typeof reportedMetadata> = isOpenRouter ? openRouterUpstream(figures) : {};
  if (cost !== undefined && cost !== null) reported.cost = cost;
  if (servedProvider !== undefined) reported.servedProvider = servedProvider;
  if (providerRef !== undefined) reported.providerRef = providerRef;
  return reported;
}

/** The served model and the provider's id for the call, from `response` or a `response-metadata` part. */
export function reportedResponse(response: unknown): Pick<CallOutcome, 'servedModel' | 'providerRef'> {
  const { id, modelId } = fieldsOf(response);
  const servedModel = textOf(modelId);
  const providerRef = textOf(id);
  return {
    ...(servedModel !== undefined && { servedModel }),
    ...(providerRef !== undefined && { providerRef }),
  };
}

/** A body that names its model first, as nearly all do: the rest, which has the prompt, need not be read. */
const MODEL_FIRST = /^\{"model":("(?:[^"\\]|\\.)*")/;

function parsedBody(text: string): unknown {
  const [, model] = MODEL_FIRST.exec(text) ?? [];
  return attempt<unknown>(
    () => (model === undefined ? JSON.parse(text) : { model: JSON.parse(model) as unknown }),
    undefined,
  );
}

/** The model that the request named, where the provider shows its body (`ai` 4: `rawCall`). */
export function sentModel(result: unknown): string | undefined {
  const { request, rawCall } = fieldsOf(result);
  const { body } = fieldsOf(request);
  const named = fieldsOf(typeof body === 'string' ? parsedBody(body) : body)['model'];
  return textOf(named) ?? textOf(fieldsOf(fieldsOf(rawCall)['rawSettings'])['model']);
}

interface Collected {
  texts: string[];
  images: PromptImage[];
  files: PromptFile[];
  /** Texts of reasoning, which providers' options repeat. */
  reasoning: Set<string>;
}

function addFile(into: Collected, part: Fields): void {
  const { mediaType, mimeType, image } = part;
  let data = part['data'] ?? image ?? part['url'];
  if (isFields(data) && typeof data['type'] === 'string') {
    if (data['type'] === 'text') {
      into.texts.push(String(data['text']));
      return;
    }
    data = data['data'] ?? data['url'];
  }
  const url =
    data instanceof URL || /^(https?|data|file|gs|s3):/.test(String(data).slice(0, 8))
      ? String(data)
      : undefined;
  const inline = url === undefined || url.startsWith('data:') ? (url ?? data) : undefined;
  const bytes = inline instanceof Uint8Array || typeof inline === 'string' ? inline : undefined;
  const type = textOf(mediaType) ?? textOf(mimeType);
  const isImage =
    image !== undefined || type?.startsWith('image') || String(part['type']).startsWith('image');
  if (isImage) {
    into.images.push({
      ...(bytes !== undefined && { data: bytes }),
      ...(type !== undefined && { mediaType: type }),
    });
    return;
  }
  const byteLength = typeof bytes === 'string' ? Math.ceil((bytes.length * 3) / 4) : bytes?.byteLength;
  into.files.push({
    mediaType: type ?? 'application/octet-stream',
    ...(byteLength !== undefined && { byteLength }),
  });
}

/** Hidden reasoning that goes back to the model inside provider options: encrypted or redacted, or as details. */
function addHidden(into: Collected, part: Fields): void {
  for (const options of Object.values(fieldsOf(part['providerOptions'] ?? part['providerMetadata']))) {
    const { reasoning_details: details, redactedData, reasoningEncryptedContent } = fieldsOf(options);
    const hidden = [redactedData, reasoningEncryptedContent];
    for (const detail of listOf(details)) {
      const { text, summary, data } = fieldsOf(detail);
      hidden.push(text, summary, data);
    }
    for (const text of hidden) {
      if (typeof text !== 'string' || into.reasoning.has(text)) continue;
      into.reasoning.add(text);
      into.texts.push(text);
    }
  }
}

/** `output` since V2, `result` or `content` in V1; lists of parts may hold files. */
function addToolResult(into: Collected, part: Fields): void {
  const output = part['output'] ?? part['content'] ?? part['result'];
  const value =
    isFields(output) && typeof output['type'] === 'string' && 'value' in output ? output['value'] : output;
  const parts = listOf(value);
  const isContent =
    parts.length > 0 && (fieldsOf(output)['type'] === 'content' || part['content'] !== undefined);
  if (isContent) for (const each of parts) addPart(into, each);
  else into.texts.push(typeof value === 'string' ? value : json(value));
}

function addPart(into: Collected, part: unknown): void {
  if (!isFields(part)) return;
  const { type, text } = part;
  if (type === 'tool-call') {
    const input = part['input'] ?? part['args'];
    into.texts.push(`${String(part['toolName'])}${typeof input === 'string' ? input : json(input)}`);
  } else if (type === 'tool-result') {
    into.texts.push(String(part['toolName']));
    addToolResult(into, part);
  } else if (typeof text === 'string') {
    if (type === 'reasoning') into.reasoning.add(text);
    into.texts.push(text);
  } else if (type === 'redacted-reasoning') into.texts.push(String(part['data']));
  else if ('data' in part || 'image' in part || 'url' in part) addFile(into, part);
  else if (typeof type === 'string' && /file|image/.test(type)) addFile(into, part);
  else into.texts.push(json(part));
  addHidden(into, part);
}

/** The tools of a call: V1 keeps them, and the schema of an object, in `mode`. */
export function toolsOf(params: Fields): readonly unknown[] {
  const mode = fieldsOf(params['mode']);
  const tools = listOf(params['tools'] ?? mode['tools']);
  return mode['tool'] === undefined ? tools : [...tools, mode['tool']];
}

/** Tools that the caller's own code runs, among those that a provider defines. */
const RUN_BY_CALLER =
  /^(anthropic\.(bash|text_editor|computer|memory)_|openai\.(local_shell|apply_patch|custom))/;

/** The first tool that the provider runs itself, at a fee and with results that nobody can bound. */
export function providerRunTool(params: Fields): string | undefined {
  for (const tool of toolsOf(params)) {
    const { type, id } = fieldsOf(tool);
    if ((type === 'provider' || type === 'provider-defined') && !RUN_BY_CALLER.test(String(id)))
      return String(id);
  }
  return undefined;
}

/** What of a call's prompt costs tokens: messages, tools and schemas. Never base64 as text. */
export function promptShape(params: Fields): PromptShape {
  const into: Collected = { texts: [], images: [], files: [], reasoning: new Set() };
  const prompt = listOf(params['prompt']);
  for (const message of prompt) {
    const { content } = fieldsOf(message);
    addHidden(into, fieldsOf(message));
    if (typeof content === 'string') into.texts.push(content);
    else for (const part of listOf(content)) addPart(into, part);
  }
  const tools = toolsOf(params);
  for (const tool of tools) {
    const { name, description, inputSchema, parameters, inputExamples, id, args } = fieldsOf(tool);
    into.texts.push(
      json({ name, description, parameters: inputSchema ?? parameters, inputExamples, id, args }),
    );
  }
  for (const format of [fieldsOf(params['responseFormat']), fieldsOf(params['mode'])]) {
    const { schema, name, description } = format;
    if (schema !== undefined) into.texts.push(json({ schema, name, description }));
  }
  return {
    texts: into.texts,
    messages: prompt.length,
    ...(tools.length > 0 && { tools: tools.length }),
    ...(into.images.length > 0 && { images: into.images }),
    ...(into.files.length > 0 && { files: into.files }),
  };
}
