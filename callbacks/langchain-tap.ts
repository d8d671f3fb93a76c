/**
 * Listens to what comes over the wire where a model's package hands it through a method of the model: LangChain drops
 * costs, cache writes and whole usages on the way from there to its messages.
 */
import type { CallOutcome } from '../src/settlement.ts';
import { attempt, fieldsOf, isFields, type Fields } from '../src/wire/fields.ts';
import { reportedInBody } from '../src/wire/reported.ts';
import type { Method, Wraps } from './langchain-lens.ts';

/** The methods by which ChatOpenAI and ChatAnthropic send a request; other packages have taken the names over. */
const SENDS = ['completionWithRetry', 'createStreamWithRetry'] as const;

/** What was heard of one answer. */
export class WireTap {
  #body: Fields = {};
  /** What Anthropic counts at the start of a stream, without what is written after. */
  #atStart: Fields = {};
  #answers = 0;

  /** True once something was answered, and is to be paid for. */
  get hasHeard(): boolean {
    return this.#answers > 0;
  }

  readonly wraps: Wraps = Object.fromEntries(SENDS.map((name) => [name, (own) => this.#listening(own)]));

  #listening(own: Method): Method {
    return async (...args) => {
      const answer = await own(...args);
      this.#answers += 1;
      return isFields(answer) && Symbol.asyncIterator in answer
        ? this.#listened(answer)
        : this.#heard(answer);
    };
  }

  /**
   * What the wire says about the money, where it says something of usage. A completion model asks several times for
   * many prompts, and adds up what it was told by itself.
   */
  outcome(seenOutputTokens: number | undefined): Partial<CallOutcome> {
    const { usage } = this.#body;
    if (this.#answers > 1 || !isFields(usage) || Object.keys(usage).length === 0) return {};
    return attempt(() => reportedInBody(this.#body, seenOutputTokens), {});
  }

  /** A whole answer, a chunk of one, or an event that has the answer or its beginning in it. */
  #heard<T>(answer: T): T {
    attempt(() => {
      const fields = fieldsOf(answer);
      const told = [fields['response'], fields['message']].find(isFields) ?? fields;
      const { id, model, provider, usage } = told;
      const isStart = fields['type'] === 'message_start';
      if (isStart) this.#atStart = known(usage);
      const whole = isStart || !isFields(usage) ? undefined : { ...this.#atStart, ...known(usage) };
      this.#body = { ...this.#body, ...known({ id, model, provider, usage: whole }) };
    }, undefined);
    return answer;
  }

  /** The same stream, its parts heard as they are read. */
  #listened(stream: Fields): Fields {
    const heard = (part: unknown): unknown => this.#heard(part);
    const parts = async function* (): AsyncGenerator {
      for await (const part of stream as unknown as AsyncIterable<unknown>) yield heard(part);
    };
    return new Proxy(stream, {
      get(target, key) {
        if (key === Symbol.asyncIterator) return parts;
        const value: unknown = Reflect.get(target, key, target);
        return typeof value === 'function' ? (value as () => unknown).bind(target) : value;
      },
    });
  }
}

/** The fields that say something. */
function known(fields: unknown): Fields {
  return Object.fromEntries(Object.entries(fieldsOf(fields)).filter(([, value]) => value != null));
}
