import { generateText } from 'ai';
import { guardRoute } from '@agentguard-run/spend/http';
import { model } from '@/lib/model';
import { scopeOf } from '@/lib/session';

/** One answer. When the policy refuses it, `guardRoute` makes a 402 of the error. */
export const POST = guardRoute({ scope: scopeOf }, async (request: Request) => {
  const { text } = (await request.json()) as { text: string };
  const answer = await generateText({
    model: model(),
    prompt: `Summarise in one sentence: ${text}`,
    maxOutputTokens: 200,
    abortSignal: request.signal,
  });
  return Response.json({ summary: answer.text });
});
