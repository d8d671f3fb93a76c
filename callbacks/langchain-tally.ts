/** Adds up what the chunks or events of a model's stream say, for the one outcome at its end. Nothing here throws. */
import { estimateTextTokens } from '../src/estimate.ts';
import type { CallOutcome } from '../src/settlement.ts';
import { attempt, fieldsOf, isFields, textOf, type Fields } from '../src/wire/fields.ts';
import { usageInBody } from '../src/wire/reported.ts';
import {
  believed,
  moneyFromRaw,
  seenIn,
  servedBy,
  usageFromMetadata,
  type AnsweredBy,
} from './langchain-usage.ts';

/** Counts of `usage_metadata`, added up over chunks as LangChain does. */
interface Counted {
  input: unknown;
  output: unknown;
  inputDetails: Fields;
  outputDetails: Fields;
}

function added(before: unknown, more: unknown): unknown {
  if (before === undefined) return more;
  return typeof before === 'number' && typeof more === 'number' ? before + more : (more ?? before);
}

export class StreamTally {
  readonly #from: AnsweredBy;
  #seen = 0;
  #atStart = 0;
  #counted: Counted | undefined;
  #raw: Fields | undefined;
  #served: ReturnType<typeof servedBy> = {};
  #isFinished = false;

  constructor(from: AnsweredBy) {
    this.#from = from;
  }

  /** Sees a `ChatGenerationChunk`, a `GenerationChunk` or an event of the newer protocol. */
  see(part: unknown): void {
    attempt(() => {
      const fields = fieldsOf(part);
      if (typeof fields['event'] === 'string') this.#seeEvent(fields);
      else this.#seeChunk(fields);
    }, undefined);
  }

  #seeChunk(chunk: Fields): void {
    const message = fieldsOf(chunk['message']);
    const metadata = fieldsOf(message['response_metadata']);
    const info = fieldsOf(chunk['generationInfo']);
    this.#seen += seenIn(message, chunk['text']);
    this.#count(message['usage_metadata']);
    this.#seeRaw(metadata['usage']);
    this.#served = {
      ...this.#served,
      ...servedBy({ ...message, response_metadata: { ...info, ...metadata } }),
    };
    const kwargs = fieldsOf(message['additional_kwargs']);
    const reason =
      info['finish_reason'] ??
      info['finishReason'] ??
      metadata['finish_reason'] ??
      kwargs['stop_reason'] ??
      metadata['status'];
    if (typeof reason === 'string' && reason !== 'error' && reason !== 'in_progress') this.#isFinished = true;
  }

  #seeEvent(event: Fields): void {
    const { event: kind, usage, reason, delta, id, payload } = event;
    if (isFields(usage)) this.#countEvent(kind, usage);
    const metadata = fieldsOf(event['responseMetadata'] ?? event['metadata']);
    this.#seeRaw(metadata['usage']);
    this.#served = { ...this.#served, ...servedBy({ id, response_metadata: { ...metadata } }) };
    if (kind === 'provider') this.#served = { ...this.#served, ...servedBy(named(payload)) };
    if (kind === 'content-block-delta') {
      const { text, reasoning, args } = fieldsOf(delta);
      const spoken =
        textOf(text) ??
        textOf(reasoning) ??
        textOf(args) ??
        textOf(fieldsOf(fieldsOf(delta)['fields'])['args']);
      if (spoken !== undefined) this.#seen += estimateTextTokens(spoken);
    }
    if (kind === 'message-finish' && reason !== 'error') this.#isFinished = true;
  }

  /** Events tell the usage so far. Anthropic's has the count of its beginning in it twice. */
  #countEvent(kind: unknown, usage: Fields): void {
    const { output_tokens: output } = usage;
    const isAnthropic = this.#from.provider === 'anthropic' && typeof output === 'number';
    this.#counted = undefined;
    this.#count(isAnthropic ? { ...usage, output_tokens: Math.max(0, output - this.#atStart) } : usage);
    if (isAnthropic && kind === 'message-start') this.#atStart = output;
  }

  #count(metadata: unknown): void {
    if (!isFields(metadata)) return;
    const { input_tokens: input, output_tokens: output } = metadata;
    const {
      input: before,
      output: outputBefore,
      inputDetails = {},
      outputDetails = {},
    } = this.#counted ?? {};
    // Anthropic's last count is of the whole answer, its first one of a beginning that the last has in it
    const isWhole = this.#from.provider === 'anthropic' && typeof output === 'number' && output > 0;
    this.#counted = {
      input: added(before, input),
      output: isWhole ? output : added(outputBefore, output),
      inputDetails: { ...inputDetails, ...known(metadata['input_token_details']) },
      outputDetails: { ...outputDetails, ...known(metadata['output_token_details']) },
    };
  }

  #seeRaw(usage: unknown): void {
    if (isFields(usage) && Object.keys(usage).length > 0) this.#raw = { ...this.#raw, ...usage };
  }

  /**
   * The outcome. What arrived whole counts whatever the ending; of a stream that broke off, counts from before the
   * break count only if they come with the provider's own cost.
   */
  outcome(broken: 'aborted' | 'error' | undefined): CallOutcome {
    const seenOutputTokens = this.#seen;
    const unread: CallOutcome = { outcome: broken ?? 'ok', seenOutputTokens, ...this.#served };
    return attempt(() => ({ ...unread, ...this.#told(broken, seenOutputTokens) }), unread);
  }

  #told(broken: 'aborted' | 'error' | undefined, seenOutputTokens: number): Partial<CallOutcome> {
    const raw = this.#raw ?? {};
    const counted = this.#counted;
    const metadata = counted && {
      input_tokens: counted.input,
      output_tokens: counted.output,
      input_token_details: counted.inputDetails,
      output_token_details: counted.outputDetails,
    };
    const money = moneyFromRaw(raw, undefined);
    const isWhole = typeof raw['prompt_tokens'] === 'number';
    const usage = isWhole ? usageInBody(raw) : usageFromMetadata(metadata, this.#from, raw);
    const told = believed(usage, seenOutputTokens);
    const hasCost = money.cost !== undefined;
    // Anthropic counts at the beginning, too
    const isEnd = broken === undefined && this.#from.provider !== 'anthropic';
    const counts = isEnd || this.#isFinished || hasCost;
    return {
      ...(this.#isFinished && told !== undefined && counts && { outcome: 'ok' }),
      ...(told !== undefined && counts && { usage: told }),
      ...(hasCost && money),
    };
  }
}

/** A provider's own event, as far as it says who serves. */
function named(payload: unknown): Fields {
  const { id, model } = fieldsOf(payload);
  return { id, response_metadata: { model } };
}

function known(details: unknown): Fields {
  return Object.fromEntries(Object.entries(fieldsOf(details)).filter(([, value]) => value !== undefined));
}
