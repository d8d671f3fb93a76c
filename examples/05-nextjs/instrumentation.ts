/** Runs once when the server starts. Without a key, the app talks to a simulator of OpenRouter in this process. */
export async function register(): Promise<void> {
  if (process.env.NEXT_RUNTIME !== 'nodejs' || process.env.OPENROUTER_API_KEY !== undefined) return;
  const { startSimulator } = await import('@agentguard-run/spend/testing');
  const simulator = await startSimulator({
    // what the simulated model says: one look-up, then an answer
    respond: ({ messages, tools }) => {
      const { role } = messages.at(-1) as { role?: string };
      if (tools.length === 0) return { text: 'A summary of it, in one sentence.', outputTokens: 120 };
      if (role === 'user') {
        return { toolCalls: [{ name: 'orderStatus', arguments: { id: '1001' } }], outputTokens: 90 };
      }
      return {
        text: 'It has been shipped and should arrive on the first of December.',
        outputTokens: 160,
        chunkDelayMs: 80,
      };
    },
  });
  process.env.OPENROUTER_BASE_URL = simulator.url;
  process.env.OPENROUTER_API_KEY = 'offline';
}
