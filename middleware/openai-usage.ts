/** How a request of the OpenAI client ended, from the body of its answer or the events of its stream. Pure. */
import { estimateTextTokens } from '../src/estimate.ts';
import type { CallOutcome } from '../src/settlement.ts';
import { attempt, fieldsOf, isFields, listOf, textOf, type Fields } from '../src/wire/fields.ts';
import { costInUsage, reportedInBody } from '../src/wire/reported.ts';

/** What an answer wrote, as text: chat, legacy completions and responses, whole or a piece of it. */
function writtenIn(fields: Fields): string {
  const texts: unknown[] = [];
  for (const choice of listOf(fields['choices'])) {
    const { message, delta, text } = fieldsOf(choice);
    const said = fieldsOf(message ?? delta);
    texts.push(text, said['content'], said['reasoning'], said['reasoning_content'], said['refusal']);
    for (const call of listOf(said['tool_calls'])) {
      const { function: named, custom } = fieldsOf(call);
      texts.push(fieldsOf(named)['arguments'], fieldsOf(custom)['input']);
    }
  }
  for (const item of listOf(fields['output'])) {
    const { content, summary, arguments: args, input } = fieldsOf(item);
    texts.push(args, input);
    for (const part of [...listOf(content), ...listOf(summary)]) texts.push(fieldsOf(part)['text']);
  }
  return texts.filter((text) => typeof text === 'string').join('');
}

/** True where an answer with status 200 says that it failed. */
function tellsFailure(body: Fields): boolean {
  if (isFields(body['error'])) return true;
  return listOf(body['choices']).some((choice) => {
    const { error, finish_reason: reason } = fieldsOf(choice);
    return isFields(error) || reason === 'error';
  });
}

/** The end of a request that was answered in one piece. Never throws. */
export function bodyOutcome(text: string): CallOutcome {
  const unread: CallOutcome = { outcome: 'error' };
  return attempt<CallOutcome>(() => {
    const body = fieldsOf(JSON.parse(text));
    const seenOutputTokens = estimateTextTokens(writtenIn(body));
    const outcome = tellsFailure(body) ? 'error' : 'ok';
    return { outcome, seenOutputTokens, ...reportedInBody(body, seenOutputTokens) };
  }, unread);
}

/** Events that a stream of responses, pictures or transcripts ends with, and that tell the usage. */
const LAST_EVENTS: ReadonlySet<unknown> = new Set([
  'response.completed',
  'response.incomplete',
  'response.failed',
  'image_generation.completed',
  'image_edit.completed',
]);

/** Adds up what the events of a stream say, for the one outcome at its end. Nothing here throws. */
export class EventTally {
  readonly #choices: number;
  readonly #finished = new Set<unknown>();
  #seen = 0;
  #told: ReturnType<typeof reportedInBody> = {};
  /** The usage that came is that of the whole answer. */
  #isFinal = false;
  #isDone = false;
  #failed = false;

  /** `choices` is how many answers the stream has. */
  constructor(choices: number) {
    this.#choices = choices;
  }

  /** Sees one event's data. True for one that has the usage and nothing else. */
  see(data: string | undefined): boolean {
    if (data === undefined) return false;
    if (data.trim() === '[DONE]') {
      this.#isDone = true;
      return false;
    }
    return attempt(() => this.#see(fieldsOf(JSON.parse(data))), false);
  }

  #see(event: Fields): boolean {
    const { type, response, choices, usage } = event;
    const isLast = LAST_EVENTS.has(type);
    const body = isFields(response) ? response : event;
    if (tellsFailure(body) || type === 'error') this.#failed = true;
    // a stream of responses repeats in its last event what came in pieces
    if (!isLast) this.#seen += estimateTextTokens(this.#pieceOf(event));
    for (const choice of listOf(choices)) {
      const { finish_reason: reason, index } = fieldsOf(choice);
      if (reason != null && reason !== 'error') this.#finished.add(index);
    }
    const isUsage = isFields(fieldsOf(body)['usage']);
    const isAlone = isFields(usage) && Array.isArray(choices) && choices.length === 0;
    if (isUsage || 'model' in body || 'id' in body) {
      // item and sequence ids of events name no call
      const told = isLast || isFields(response) || Array.isArray(choices) ? reportedInBody(body) : {};
      this.#told = { ...this.#told, ...told };
    }
    const isWhole = isLast || isAlone || this.#finished.size >= this.#choices;
    if (isUsage && (isWhole || costInUsage(body['usage']) != null)) this.#isFinal = true;
    if (isLast) this.#isDone = true;
    return isAlone;
  }

  #pieceOf(event: Fields): string {
    const { type, delta } = event;
    if (typeof type === 'string') return type.endsWith('.delta') ? (textOf(delta) ?? '') : '';
    return writtenIn(event);
  }

  /**
   * The outcome. Usage that came counts whatever the ending if it is that of the whole answer; what a provider has
   * counted before a break is less than the bill.
   */
  outcome(broken: 'aborted' | 'error' | undefined): CallOutcome {
    const isWhole = this.#isDone || (this.#isFinal && this.#finished.size >= this.#choices);
    // the client hangs up on a stream that says that it failed
    const failed = this.#failed ? 'error' : broken;
    const outcome = isWhole && !this.#failed ? 'ok' : (failed ?? 'ok');
    const { usage, cost, ...served } = this.#told;
    const counts = this.#isFinal || (this.#isDone && usage !== undefined);
    // a missing figure is 0 in some converters; what arrived was not nothing
    const isSilent = usage !== undefined && usage.outputTokens === 0 && this.#seen > 0;
    const believed = isSilent ? { ...usage, outputTokens: undefined } : usage;
    return {
      outcome,
      seenOutputTokens: this.#seen,
      ...served,
      ...(counts && believed !== undefined && { usage: believed }),
      ...(counts && cost !== undefined && { cost }),
    };
  }
}
