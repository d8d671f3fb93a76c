/** Runs once when the server starts. Without a key, the app talks to a simulator of OpenRouter in this process. */
export async function register(): Promise<void> {
  if (process.env.NEXT_RUNTIME !== 'nodejs' || process.env.OPENROUTER_API_KEY !== undefined) return;
  const { startSimulator } = await import('@agentguard-run/spend/testing');
  const simulator = await startSimulator();
  process.env.OPENROUTER_BASE_URL = simulator.url;
  process.env.OPENROUTER_API_KEY = 'offline';
}
