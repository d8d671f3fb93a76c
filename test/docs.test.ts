/** Every TypeScript block of the pages in `docs` runs as it stands. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { blocksOf, openBlocks, ROOT, type BlockRunner } from './doc-blocks.ts';

let runner: BlockRunner;
beforeAll(async () => {
  runner = await openBlocks();
});
afterAll(() => runner[Symbol.asyncDispose]());

const pages = readdirSync(join(ROOT, 'docs')).filter((name) => name.endsWith('.md'));
/** All but parts of programs, which say so: they declare what is the reader's own. */
const blocks = pages
  .flatMap((page) => blocksOf(join('docs', page)).map((block) => ({ page, ...block })))
  .filter(({ code }) => !code.includes('\ndeclare const '));

it('has blocks to run', () => expect(blocks.length).toBeGreaterThan(5));

it.each(blocks)('$page, block $index runs ($first)', async ({ page, code, index }) => {
  const run = await runner.run(`${page.replace('.md', '')}-${index}`, code);
  expect(run, run.stderr).toMatchObject({ code: 0, stderr: '' });
});

describe('docs/ai-sdk.md', () => {
  const outputOf = async (text: string): Promise<string> => {
    const { code, index } = blocksOf('docs/ai-sdk.md').find((block) => block.code.includes(text)) ?? {};
    return (await runner.run(`ai-sdk-again-${index}`, code ?? '')).stdout;
  };

  it('is right about where a downgrade goes', async () =>
    expect(await outputOf('resolveModel')).toBe('openai/gpt-5-mini\n'));

  it('is right about the responses', async () => {
    const stdout = await outputOf('toGuardedResponse(result)');
    expect(stdout).toContain('200 true\n402 {');
    expect(stdout).toMatch(
      /reason: 'cap_spent'[\s\S]*cap: \{\s*policyId: 'trial-v1'[\s\S]*retryAfterMs: \d+/,
    );
  });
});

describe('docs/openai.md', () => {
  const [first, second] = blocksOf('docs/openai.md');

  it('is right about what its quick start prints and sends', async () => {
    const { simulator } = runner;
    simulator.reset();
    const { stdout } = await runner.run('openai-first', first?.code ?? '');
    expect(stdout).toContain('was blocked (cap_per_call)');
    // one call was served, the refused one never left
    expect(simulator.requests).toHaveLength(1);
    expect(simulator.requests[0]?.headers).toMatchObject({ 'x-title': 'Your App Name' });
  });

  it('is right about who is calling', async () => {
    const { stdout } = await runner.run('openai-second', second?.code ?? '');
    expect(stdout).toMatch(/^You said: .*\nper_day: \$0\.00\d+ of \$0\.50$/m);
  });
});
