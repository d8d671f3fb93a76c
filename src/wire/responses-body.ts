/** What of a request in the format of OpenAI's Responses API has a cost that nobody can bound. Pure. */
import { fieldsOf, isFields, json, listOf, type Fields } from './fields.ts';

/** Fields of responses by which the provider adds input, or work, that the request doesn't show. */
const KEPT = ['previous_response_id', 'conversation', 'prompt', 'context_management'] as const;

/** Tools of responses that the caller's own code runs, besides functions. */
const RUN_BY_CALLER = /^(function|custom|local_shell|apply_patch|computer|computer_use_preview)$/;

/** `namespace` holds tools of its own. */
function isRunByCaller(tool: unknown): boolean {
  const { type, tools } = fieldsOf(tool);
  if (type === 'namespace') return listOf(tools).every(isRunByCaller);
  return typeof type === 'string' && RUN_BY_CALLER.test(type);
}

/** A reference may leave out its type: it is what has neither that nor a role. */
function isReference(item: unknown): boolean {
  const { type, role } = fieldsOf(item);
  return type === 'item_reference' || (isFields(item) && type == null && role == null);
}

/** Why the cost of a request has no bound, where a field of its own body says so. */
export function feeInResponses(body: Fields): string | undefined {
  const kept = KEPT.find((name) => body[name] != null);
  if (kept !== undefined) return `${kept}: input that the provider keeps has no bound`;
  if (body['background'] === true) return 'background: an answer that comes later has no bound';
  if (body['image'] != null) return 'image: pictures in an answer have prices of their own';
  const { mode } = fieldsOf(body['reasoning']);
  if (mode != null && mode !== 'standard') return `reasoning.mode ${json(mode)} has no known bound`;
  if (listOf(body['input']).some(isReference))
    return 'item_reference: input that the provider keeps has no bound';
  return listOf(body['tools']).every(isRunByCaller)
    ? undefined
    : 'the fee of a tool that the provider runs has no bound';
}
