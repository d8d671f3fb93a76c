import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { reviewerScript } from '../../../src/node/cli/demo-agent.ts';
import { demoReport } from '../../../src/node/cli/demo-report.ts';
import { runDemo } from '../../../src/node/cli/demo.ts';
import { startSimulator } from '../../../src/node/simulator/index.ts';
import { agentguard, newHome } from './run-cli.ts';

describe('agentguard demo', () => {
  it('goes through allow, downgrade and block, and its ledger equals the bill', async () => {
    const home = await newHome();
    const facts = await runDemo({ dir: join(home, 'demo') });
    const decisions = facts.steps.map(({ decision }) => decision);
    expect(new Set(decisions)).toEqual(new Set(['allow', 'downgrade', 'block']));
    expect(decisions.join(' ')).toMatch(/^(allow ){2,}(downgrade ){3,}block$/);
    expect(facts.billed).toBe(facts.settled);
    expect(facts.billed).toBeGreaterThan(0n);
    expect(facts.billed).toBeLessThanOrEqual(facts.hardCap);
    expect(facts.audit.verdict.integrity).toBe('valid');
    expect(facts.steps.at(-1)?.balance).toBe(facts.settled);
    expect(facts.saved).toBeGreaterThan(0n);
    expect(facts.refusal).toContain('cap_spent');
    const wrong = demoReport({ ...facts, billed: facts.billed + 1n, agrees: false });
    expect(wrong).toContain('they differ by $0.000000001');
  });

  it('sends the cheaper model without fallbacks, an output limit, and nothing when blocked', async () => {
    const home = await newHome();
    const { steps, sent } = await runDemo({ dir: join(home, 'demo') });
    const passed = steps.filter(({ decision }) => decision !== 'block');
    expect(sent.map(({ model }) => model)).toEqual(passed.map(({ routed }) => routed));
    const cheaper = sent.filter((_, index) => passed[index]?.decision === 'downgrade');
    expect(new Set(cheaper.map(({ model }) => model))).toEqual(new Set(['anthropic/claude-haiku-4-5']));
    for (const { models, maxTokens } of sent) {
      expect(models).toBeUndefined();
      expect(maxTokens).toBe(500);
    }
  });

  it('prints a page that fits, ends 0, and leaves a log that verifies', async () => {
    const home = await newHome();
    for (const columns of [80, 100]) {
      const dir = join(home, `demo-${columns}`);
      const run = await agentguard(['demo', '--dir', dir], { COLUMNS: String(columns) });
      expect(run).toMatchObject({ code: 0, stderr: '' });
      expect(run.stdout).not.toContain('\u001b');
      expect(run.stdout).toContain('equal to the nano-dollar');
      expect(run.stdout).toMatch(/^integrity +valid/m);
      // paths and commands can't be broken
      const lines = run.stdout.split('\n').filter((line) => !line.includes(dir));
      for (const line of lines) expect(line.length, line).toBeLessThanOrEqual(columns);
      expect(await agentguard(['verify', dir])).toMatchObject({ code: 0 });
    }
  });

  it('gives one JSON document', async () => {
    const home = await newHome();
    const { code, stdout } = await agentguard(['demo', '--json', '--dir', join(home, 'demo')]);
    expect(code).toBe(0);
    const document = JSON.parse(stdout) as { billed: string; settled: string };
    expect(document).toMatchObject({ agrees: true, integrity: 'valid', live: false });
    expect(document.billed).toBe(document.settled);
  });

  it('runs live against whatever answers as OpenRouter, and judges by the reported costs', async () => {
    const home = await newHome();
    await using simulator = await startSimulator({ respond: reviewerScript });
    vi.stubEnv('OPENROUTER_API_KEY', 'sk-or-v1-test');
    onTestFinished(() => void vi.unstubAllEnvs());
    const facts = await runDemo({ live: true, baseURL: simulator.url, dir: join(home, 'demo') });
    expect(facts).toMatchObject({ live: true, agrees: true });
    expect(facts.billed).toBe(simulator.billed);
    expect(facts.billed).toBe(facts.settled);
  });

  it('says what to install when the optional frameworks are absent', async () => {
    const hooks = `
      import { registerHooks } from 'node:module';
      const missing = () => Object.assign(new Error('gone'), { code: 'ERR_MODULE_NOT_FOUND' });
      registerHooks({ resolve(id, context, next) { if (id === 'ai') throw missing(); return next(id, context); } });`;
    const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(hooks)}` };
    const run = await agentguard(['demo'], env);
    expect(run).toMatchObject({ code: 2, stdout: '' });
    expect(run.stderr).toContain('npm install ai @openrouter/ai-sdk-provider');
  });

  it('says what is missing: a key for --live, an empty folder', async () => {
    const home = await newHome();
    const live = await agentguard(['demo', '--live']);
    expect(live).toMatchObject({ code: 2, stdout: '' });
    expect(live.stderr).toContain('OPENROUTER_API_KEY');
    const dir = join(home, 'demo');
    await agentguard(['demo', '--dir', dir]);
    const log = await readFile(join(dir, 'acme', 'decisions.ndjson'), 'utf8');
    const again = await agentguard(['demo', '--dir', dir]);
    expect(again.code).toBe(2);
    expect(again.stderr).toContain('is not empty');
    expect(await readFile(join(dir, 'acme', 'decisions.ndjson'), 'utf8')).toBe(log);
  });
});
