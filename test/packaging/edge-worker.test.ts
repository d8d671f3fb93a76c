/** The edge example, bundled for the edge and run in an edge runtime: only web APIs, its own ledger, a real 402. */
import { EdgeVM } from '@edge-runtime/vm';
import { build } from 'esbuild';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startSimulator, type Simulator } from '../../src/node/simulator/index.ts';

const WORKER = fileURLToPath(new URL('../../examples/06-edge-worker/worker.ts', import.meta.url));

let simulator: Simulator;
let bundle: string;

beforeAll(async () => {
  simulator = await startSimulator({ respond: () => ({ text: 'Hello from the edge.', outputTokens: 160 }) });
  const built = await build({
    entryPoints: [WORKER],
    bundle: true,
    write: false,
    format: 'iife',
    globalName: 'worker',
    // nothing of Node is marked as external: what reaches for it fails to bundle
    platform: 'browser',
    conditions: ['edge-light', 'worker', 'import'],
    mainFields: ['module', 'main'],
    logLevel: 'silent',
  });
  bundle = built.outputFiles[0]?.text ?? '';
});

afterAll(() => simulator?.close());

it('decides, settles and answers 402 in an edge runtime', async () => {
  const vm = new EdgeVM();
  vm.evaluate(bundle);
  const answers = await vm.evaluate<Promise<{ status: number; text: string }[]>>(`
    (async () => {
      const env = { OPENROUTER_API_KEY: 'k', OPENROUTER_BASE_URL: '${simulator.url}' };
      const answers = [];
      for (const user of ['alice', 'alice', 'alice', 'bob', undefined]) {
        const headers = user === undefined ? {} : { 'x-verified-user': user };
        const request = new Request('https://worker.example/', { method: 'POST', headers, body: 'Hello?' });
        const response = await worker.default.fetch(request, env, { waitUntil: () => undefined });
        answers.push({ status: response.status, text: await response.text() });
      }
      return answers;
    })()
  `);
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 402, 200, 401]);
  expect(answers[0]?.text).toBe('Hello from the edge.');
  expect(JSON.parse(answers[2]?.text ?? '')).toMatchObject({
    reason: 'cap_spent',
    cap: { window: 'per_minute' },
  });
  expect(simulator.requests).toHaveLength(3);
});

it('brings no Node into the bundle', () => {
  expect(bundle.length).toBeGreaterThan(100_000);
  expect(bundle).not.toMatch(/require\(["']node:|from ["']node:|node:sqlite/);
});
