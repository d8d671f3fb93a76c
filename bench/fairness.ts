/** (e) Four processes that contend for one log: who passes how often, and who waits how long. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

interface Report {
  calls: number;
  longestMs: number;
  p50Ms: number;
}

const WORKER = fileURLToPath(new URL('./fairness-worker.ts', import.meta.url));

async function contend(processes: number, seconds: number): Promise<Report[]> {
  const folder = mkdtempSync(join(tmpdir(), 'agentguard-bench-'));
  const startAt = Date.now() + 1500;
  const run = async (): Promise<Report> => {
    const child = spawn(process.execPath, [WORKER, folder, String(startAt), String(seconds)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let text = '';
    for await (const chunk of child.stdout) text += String(chunk);
    return JSON.parse(text) as Report;
  };
  const reports = await Promise.all(Array.from({ length: processes }, run));
  rmSync(folder, { recursive: true, force: true });
  return reports;
}

export async function fairness(): Promise<string[]> {
  const [alone] = await contend(1, 5);
  const reports = await contend(4, 10);
  const passes = reports.map((report) => report.calls);
  const total = passes.reduce((sum, count) => sum + count, 0);
  const rate = (calls: number, seconds: number): string => `${(calls / seconds).toFixed(0)} calls/s`;
  return [
    '(e) four processes, 16 calls in flight each, one log, every receipt durable, 10 s',
    ...reports.map(
      ({ calls, longestMs, p50Ms }, index) =>
        `    process ${index + 1}: ${calls} passes (${((100 * calls) / total).toFixed(0)} %), ` +
        `p50 ${p50Ms.toFixed(1)} ms, longest wait ${longestMs.toFixed(0)} ms`,
    ),
    `    fewest / most passes: ${(Math.min(...passes) / Math.max(...passes)).toFixed(2)}; ` +
      `all four ${rate(total, 10)}, one alone ${rate(alone!.calls, 5)} (longest wait ${alone!.longestMs.toFixed(0)} ms)`,
  ];
}
