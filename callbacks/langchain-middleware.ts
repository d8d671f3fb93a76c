/** The middleware for `createAgent`: guards the agent's own model, and stops the agent where a tool is refused. */
import { blockedError, type AgentGuardBlockedError } from '../src/errors.ts';
import { fieldsOf, listOf, textOf, type Fields } from '../src/wire/fields.ts';
import { guardedModel, type Guarded } from './langchain-model.ts';

/** Fits `middleware` of `createAgent` without its types. */
export interface SpendGuardMiddleware {
  readonly name: string;
  wrapModelCall<Result>(
    request: object,
    handler: (request: never) => Result | PromiseLike<Result>,
  ): Promise<Result>;
  wrapToolCall<Result>(
    request: object,
    handler: (request: never) => Result | PromiseLike<Result>,
  ): Promise<Result>;
}

export type ExitBehavior = 'error' | 'end';

type MessageClass = new (fields: Fields) => object;

/** The class that all of LangChain's messages have in common, found from one of them. */
function baseOf(message: unknown): MessageClass | undefined {
  let found: MessageClass | undefined;
  if (typeof message !== 'object') return undefined;
  for (
    let each: object | null = message;
    each !== null;
    each = Object.getPrototypeOf(each) as object | null
  ) {
    if (Object.hasOwn(each, 'getType')) found = each.constructor as MessageClass;
  }
  return found;
}

/**
 * A message of LangChain's own kind, for there is nothing to import it from: made by the class of a message that is
 * there, or as a kind of the class that all messages have in common.
 */
function messageOf(type: 'ai' | 'tool', fields: Fields, known: readonly unknown[]): object | undefined {
  const same = known.find((each) => fieldsOf(each)['type'] === type);
  if (same !== undefined) return new (fieldsOf(same).constructor as unknown as MessageClass)(fields);
  const Base = baseOf(known[0]);
  if (Base === undefined) return undefined;
  const className = type === 'ai' ? 'AIMessage' : 'ToolMessage';
  const Kind = class extends Base {
    static lc_name(): string {
      return className;
    }
    constructor(given: Fields) {
      super(given);
      const more = type === 'ai' ? { tool_calls: [], invalid_tool_calls: [] } : given;
      Object.assign(this, more, { type });
    }
    _getType(): string {
      return type;
    }
    getType(): string {
      return type;
    }
  };
  return new Kind(fields);
}

/** What `createAgent` does with the errors of tools when no middleware wraps them: the model is told. */
function asToolError(error: unknown, toolCall: unknown): Error {
  const message = `${String(error)}\n Please fix your mistakes.`;
  const marks = { '~brand': 'ToolInvocationError', toolCall, toolError: error };
  return Object.assign(new Error(message, { cause: error }), marks);
}

function isLeftAlone(error: unknown, request: Fields): boolean {
  const { '~brand': brand, is_bubble_up: bubblesUp } = fieldsOf(error);
  const signal = fieldsOf(request['runtime'])['signal'] as AbortSignal | undefined;
  return brand === 'ToolInvocationError' || bubblesUp === true || signal?.aborted === true;
}

export function middlewareFor(settings: Guarded, exitBehavior: ExitBehavior): SpendGuardMiddleware {
  // messages that stand for a refused tool, at which an agent ends
  const refusals = new WeakSet<object>();

  function farewell(refusal: AgentGuardBlockedError, messages: readonly unknown[]): object | undefined {
    return messageOf('ai', { content: refusal.publicMessage }, messages);
  }

  return {
    name: 'SpendGuardMiddleware',
    async wrapModelCall(request, handler) {
      const { messages, model } = request as Fields;
      const list = listOf(messages);
      const last = list.at(-1);
      if (typeof last === 'object' && last !== null && refusals.has(last)) {
        const content = textOf(fieldsOf(last)['content']) ?? '';
        return messageOf('ai', { content }, list) as never;
      }
      try {
        return await handler({ ...request, model: guardedModel(model, settings) } as never);
      } catch (error) {
        const refusal = blockedError(error);
        const ended = refusal && exitBehavior === 'end' ? farewell(refusal, list) : undefined;
        if (ended === undefined) throw error;
        return ended as never;
      }
    },
    async wrapToolCall(request, handler) {
      try {
        return await handler(request as never);
      } catch (error) {
        const fields = request as Fields;
        const refusal = blockedError(error);
        const { toolCall, state } = fields;
        if (refusal === undefined) throw isLeftAlone(error, fields) ? error : asToolError(error, toolCall);
        if (exitBehavior === 'error') throw error;
        const { id, name } = fieldsOf(toolCall);
        const given = { content: refusal.publicMessage, tool_call_id: id, name, status: 'error' };
        const told = messageOf('tool', given, listOf(fieldsOf(state)['messages']));
        if (told === undefined) throw error;
        refusals.add(told);
        return told as never;
      }
    },
  };
}
