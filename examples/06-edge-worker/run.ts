/** Asks the worker three times, offline, on the simulator that comes with the package. */
import { startSimulator } from '@agentguard-run/spend/testing';
import worker from './worker.ts';

const simulator = await startSimulator({
  respond: () => ({ text: 'Hello from the edge.', outputTokens: 160 }),
});
const env = { OPENROUTER_API_KEY: 'offline', OPENROUTER_BASE_URL: simulator.url };
for (let turn = 1; turn <= 3; turn++) {
  const headers = { 'x-verified-user': 'alice' };
  const request = new Request('https://worker.example/', { method: 'POST', headers, body: 'Hello?' });
  const response = await worker.fetch(request, env, { waitUntil: () => undefined });
  console.log(`${turn}: ${response.status} ${await response.text()}`);
}
await simulator.close();
