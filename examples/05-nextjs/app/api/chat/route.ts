import { convertToModelMessages, isStepCount, jsonSchema, streamText, tool, type UIMessage } from 'ai';
import { toGuardedResponse } from '@agentguard-run/spend/ai-sdk';
import { guardRoute } from '@agentguard-run/spend/http';
import { model } from '@/lib/model';
import { scopeOf } from '@/lib/session';

const tools = {
  orderStatus: tool({
    description: 'Looks up an order.',
    inputSchema: jsonSchema<{ id: string }>({
      type: 'object',
      properties: { id: { type: 'string' } },
      required: ['id'],
    }),
    execute: async ({ id }) => ({ id, status: 'shipped', eta: '2026-12-01' }),
  }),
};

/**
 * An agent's answer as a stream. Refused before its first token it is a 402; refused in the middle of its loop, the
 * stream ends with a text that `useChat` has in `error`.
 */
export const POST = guardRoute({ scope: scopeOf }, async (request: Request) => {
  const { messages } = (await request.json()) as { messages: UIMessage[] };
  const result = streamText({
    model: model(),
    tools,
    stopWhen: isStepCount(5),
    messages: await convertToModelMessages(messages),
    maxOutputTokens: 300,
    // No `abortSignal`: when the client hangs up, the answer is read to its end and settled at what it cost. With
    // `abortSignal: request.signal` the call ends at once; what it cost is then unknown and settles at its worst case.
    onError: () => {},
  });
  return toGuardedResponse(result);
});
