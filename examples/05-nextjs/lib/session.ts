import type { SpendScope } from '@agentguard-run/spend';

/** Who has which session. A real app asks its own session store or verifies a token here. */
const SESSIONS: Readonly<Record<string, string>> = { 'session-of-alice': 'alice', 'session-of-bob': 'bob' };

/** The scope of a request, from its session cookie: what the client writes into its JSON is not asked. */
export function scopeOf(request: Request): SpendScope | Response {
  const session = /(?:^|;\s*)session=([^;]+)/.exec(request.headers.get('cookie') ?? '')?.[1];
  const userId = session === undefined ? undefined : SESSIONS[session];
  if (userId === undefined) return Response.json({ error: 'sign in first' }, { status: 401 });
  return { userId };
}
