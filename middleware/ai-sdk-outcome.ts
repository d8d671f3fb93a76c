/** How a call through the AI SDK ended, from its result, the parts of its stream, or its error. Pure. */
import { estimateTextTokens } from '../src/estimate.ts';
import type { CallOutcome } from '../src/settlement.ts';
import { knownUsage } from '../src/usage.ts';
import { attempt, fieldsOf, isFields, listOf, textOf, type Fields } from '../src/wire/fields.ts';
import { reportedMetadata, reportedResponse, reportedUsage, sentModel } from './ai-sdk-usage.ts';

/** An estimate of the output tokens in a result: `content` since V2, fields of its own in V1. */
function seenInResult(result: Fields): number {
  const texts = [textOf(result['text']), textOf(result['reasoning'])];
  for (const part of listOf(result['content'])) {
    const { text, input } = fieldsOf(part);
    texts.push(textOf(text) ?? textOf(input));
  }
  for (const call of listOf(result['toolCalls'])) texts.push(textOf(fieldsOf(call)['args']));
  return estimateTextTokens(texts.filter((text) => text !== undefined).join('\n'));
}

/** Where a call was sent: whose figures its answer has, and the model that its request should name. */
export interface SentTo {
  provider: string;
  model: string;
}

/** The model that the request named instead of the one that was decided on, where that came about. */
function strayModel(result: unknown, { model }: SentTo): Pick<CallOutcome, 'servedModel'> {
  const named = sentModel(result);
  return named === undefined || named === model ? {} : { servedModel: named };
}

/** The usage of a result. Its output is counted here only where what was reported can't be believed as it is. */
function usageOf(result: Fields, provider: string): Pick<CallOutcome, 'usage' | 'seenOutputTokens'> {
  const { usage, providerMetadata: metadata } = result;
  const told = attempt(() => reportedUsage(usage, { provider, metadata }), undefined);
  const isWhole = told !== undefined && told.outputTokens !== 0 && !('unknown' in knownUsage(told));
  if (isWhole) return { usage: told };
  const seenOutputTokens = attempt(() => seenInResult(result), 0);
  const doubted = attempt(() => reportedUsage(usage, { provider, metadata, seenOutputTokens }), undefined);
  return { seenOutputTokens, ...(doubted !== undefined && { usage: doubted }) };
}

/** The end of a call that answered in one piece. Never throws. */
export function resultOutcome(result: unknown, to: SentTo): CallOutcome {
  const { provider } = to;
  const outcome = attempt<CallOutcome | undefined>(() => {
    const fields = fieldsOf(result);
    return {
      outcome: 'ok',
      ...usageOf(fields, provider),
      ...strayModel(result, to),
      ...reportedResponse(fields['response']),
      ...reportedMetadata(fields['providerMetadata'], fields['usage'], provider),
    };
  }, undefined);
  // Fields of a result may throw when they are read; only then is its whole text counted.
  return outcome ?? { outcome: 'ok', seenOutputTokens: attempt(() => seenInResult(fieldsOf(result)), 0) };
}

/** An estimate of the output tokens in one part of a stream, of any version. */
function seenInPart(part: Fields): number {
  const { type, delta, textDelta, argsTextDelta } = part;
  const isOutput = type === 'reasoning' || (typeof type === 'string' && type.endsWith('-delta'));
  const text = textOf(delta) ?? textOf(textDelta) ?? textOf(argsTextDelta);
  return isOutput && text !== undefined ? estimateTextTokens(text) : 0;
}

/** Reasons to finish that only a model gives; others stand for a stream that broke off. */
const FINISHED: ReadonlySet<unknown> = new Set(['stop', 'length', 'tool-calls', 'content-filter']);

/** Adds up what the parts of a stream say, for the one outcome at its end. Nothing here throws. */
export class StreamTally {
  readonly #provider: string;
  readonly #stray: Pick<CallOutcome, 'servedModel'>;
  #seen = 0;
  #callsWithoutDeltas = 0;
  #response: ReturnType<typeof reportedResponse> = {};
  #finish: Fields | undefined;
  #failed = false;

  /** `opened` is what `doStream` resolved with. */
  constructor(opened: unknown, to: SentTo) {
    this.#provider = to.provider;
    this.#stray = attempt(() => strayModel(opened, to), {});
  }

  see(part: unknown): void {
    attempt(() => this.#see(part), undefined);
  }

  #see(part: unknown): void {
    const fields = fieldsOf(part);
    const { type, input, args } = fields;
    this.#seen += seenInPart(fields);
    if (type === 'tool-call')
      this.#callsWithoutDeltas += estimateTextTokens(textOf(input) ?? textOf(args) ?? '');
    else if (type === 'response-metadata')
      this.#response = { ...this.#response, ...reportedResponse(fields) };
    else if (type === 'finish') this.#finish = fields;
    else if (type === 'error') this.#failed = true;
  }

  /**
   * The outcome. Usage that came counts whatever the ending, but for a stream that broke off: what a provider has
   * then is a count from before the break, which counts only if it comes with the provider's own cost.
   */
  outcome(broken: 'aborted' | 'error' | undefined): CallOutcome {
    const failed = broken ?? (this.#failed ? 'error' : undefined);
    const seenOutputTokens = Math.max(this.#seen, this.#callsWithoutDeltas);
    const unread: CallOutcome = {
      outcome: failed ?? 'ok',
      seenOutputTokens,
      ...this.#stray,
      ...this.#response,
    };
    return attempt(() => ({ ...unread, ...this.#told(failed, seenOutputTokens) }), unread);
  }

  /** What the last part says. */
  #told(failedBefore: 'aborted' | 'error' | undefined, seenOutputTokens: number): CallOutcome {
    const { usage, providerMetadata: metadata, finishReason } = this.#finish ?? {};
    const reason = isFields(finishReason) ? finishReason['unified'] : finishReason;
    const isFinished = this.#finish !== undefined && FINISHED.has(reason);
    const failed = failedBefore ?? (reason === 'error' ? 'error' : undefined);
    const provider = this.#provider;
    const told = reportedUsage(usage, { provider, metadata, seenOutputTokens });
    const reported = reportedMetadata(metadata, usage, provider);
    const counts = isFinished || (failed === undefined && reason !== 'interrupted') || 'cost' in reported;
    return {
      outcome: isFinished && !this.#failed ? 'ok' : (failed ?? 'ok'),
      ...(told !== undefined && counts && { usage: told }),
      ...reported,
    };
  }
}
