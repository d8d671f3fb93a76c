/** The files in `examples/policies`, as they are, in front of a provider: what arrives there, and what doesn't. */
import { fileURLToPath } from 'node:url';
import { readdirSync, readFileSync } from 'node:fs';
import { generateText } from 'ai';
import { describe, expect, it } from 'vitest';
import { spendOptions } from '../../middleware/ai-sdk.ts';
import { blockedError } from '../../src/index.ts';
import { PRESET_NAMES } from '../../src/node/cli/init/presets.ts';
import { findingsIn } from '../../src/node/cli/policy/findings.ts';
import { loadPolicies } from '../../src/node/policy-file/index.ts';
import { readPolicies } from '../../src/node/policy-file/read.ts';
import { DEFAULT_MODELS } from '../../src/node/simulator/models.ts';
import { EXAMPLE_POLICIES, examplePolicy } from '../../tools/example-policies.ts';
import { HAIKU, OPUS, openDesk, SONNET, type Desk } from './ai-sdk-kit.ts';

const GPT_55 = 'openai/gpt-5.5';
const MINI = 'openai/gpt-5-mini';
const GEMINI = 'google/gemini-3.1-pro-preview';

const MODELS = [
  ...DEFAULT_MODELS,
  { id: GPT_55, context_length: 1_050_000, pricing: { prompt: '0.000005', completion: '0.00003' } },
  { id: GEMINI, context_length: 1_048_576, pricing: { prompt: '0.000002', completion: '0.000012' } },
];

function pathOf(name: string): string {
  return fileURLToPath(new URL(`${name}.yaml`, EXAMPLE_POLICIES));
}

function deskOf(...names: string[]): Promise<Desk> {
  return openDesk(
    names.flatMap((name) => loadPolicies(pathOf(name))),
    { models: MODELS },
    { scope: { tenantId: 'acme' } },
  );
}

interface Ask {
  model?: string;
  task: string;
  claims?: string[];
  settings?: Parameters<Desk['model']>[1];
}

/** What the provider got of the call, or the reason why it got nothing. */
async function sent(desk: Desk, { model = OPUS, task, claims, settings }: Ask): Promise<unknown> {
  const before = desk.bodies().length;
  try {
    await generateText({
      model: desk.model(model, settings),
      prompt: 'Shall this be done?',
      maxOutputTokens: 100,
      maxRetries: 0,
      providerOptions: spendOptions({ scope: { task }, ...(claims && { claims }) }),
    });
  } catch (error) {
    const blocked = blockedError(error);
    if (blocked === undefined) throw error;
    expect(desk.bodies()).toHaveLength(before);
    return blocked.reason;
  }
  return desk.bodies().at(-1);
}

const files = readdirSync(fileURLToPath(EXAMPLE_POLICIES));

describe('examples/policies', () => {
  it.each(files)('%s is valid, and nothing is to be warned of', (file) => {
    const read = readPolicies(pathOf(file.replace(/\.yaml$/, '')));
    expect(read.problems).toEqual([]);
    expect(findingsIn(read.policies, Date.now()).filter(({ severity }) => severity === 'warning')).toEqual(
      [],
    );
    expect(readFileSync(pathOf(file.replace(/\.yaml$/, '')), 'utf8')).toMatch(
      /^# yaml-language-server: \$schema=\.\.\/\.\.\/policy\.schema\.json\n/,
    );
  });

  it.each(PRESET_NAMES)('%s is what agentguard init writes', (name) => {
    expect(readFileSync(pathOf(name), 'utf8')).toBe(examplePolicy(name));
  });
});

describe('the sentences of the quick start', () => {
  it('code reviews go to haiku', async () => {
    await using desk = await deskOf('code-reviews-go-to-haiku');
    const provider = { max_price: { prompt: 1, completion: 5, request: 0 } };
    for (const model of [OPUS, SONNET, MINI, HAIKU])
      expect(await sent(desk, { model, task: 'code-review' })).toMatchObject({ model: HAIKU, provider });
    // A fallback would be a way round.
    const body = await sent(desk, { model: HAIKU, task: 'code-review', settings: { models: [OPUS] } });
    expect(body).toMatchObject({ model: HAIKU });
    expect(body).not.toHaveProperty('models');
    expect(await sent(desk, { task: 'risk-analysis' })).toMatchObject({ model: OPUS });
  });

  it('payment approvals require gpt-5.5 with a payment-execute capability claim', async () => {
    await using desk = await deskOf('payment-approvals-need-a-capability');
    const task = 'payment-approval';
    expect(await sent(desk, { model: GPT_55, task, claims: ['payment_execute'] })).toMatchObject({
      model: GPT_55,
    });
    expect(await sent(desk, { model: GPT_55, task, claims: ['payment-execute'] })).toMatchObject({
      model: GPT_55,
    });
    expect(await sent(desk, { model: GPT_55, task })).toBe('capability_missing');
    expect(await sent(desk, { model: GPT_55, task, claims: ['payment_initiate'] })).toBe(
      'capability_missing',
    );
    expect(await sent(desk, { model: OPUS, task, claims: ['payment_execute'] })).toBe('model_not_allowed');
    expect(await sent(desk, { model: `${GPT_55}:nitro`, task, claims: ['payment_execute'] })).toBe(
      'model_not_allowed',
    );
    const settings = { models: [OPUS] };
    expect(await sent(desk, { model: GPT_55, task, claims: ['payment_execute'], settings })).toBe(
      'model_not_allowed',
    );
    expect(await sent(desk, { task: 'chat' })).toMatchObject({ model: OPUS });
  });

  it('read-only research allows any model under $0.20/1M', async () => {
    await using desk = await deskOf('read-only-research');
    const task = 'read-only-research';
    const provider = { max_price: { prompt: 0.2, completion: 0.2, request: 0 } };
    for (const model of ['openai/gpt-oss-120b', 'openrouter/auto'])
      expect(await sent(desk, { model, task })).toMatchObject({ model, provider });
    // Cheap in, dear out.
    for (const model of [HAIKU, OPUS, 'openai/gpt-5-nano', 'meta-llama/llama-3.3-70b-instruct'])
      expect(await sent(desk, { model, task }), model).toBe('price_ceiling');
    expect(await sent(desk, { model: 'nobody/knows', task })).toBe('unknown_price');
    expect(await sent(desk, { model: 'openai/gpt-oss-120b', task, settings: { models: [OPUS] } })).toBe(
      'price_ceiling',
    );
    expect(await sent(desk, { task: 'chat' })).toMatchObject({ model: OPUS });
  });
});

describe('the table of tasks of the quick start', () => {
  it.each<[task: string, model: string, claims?: string[]]>([
    ['code-review', HAIKU],
    ['risk-analysis', 'openai/gpt-5'],
    ['payment-approval', OPUS, ['payment_execute']],
    ['chargeback-evidence', SONNET],
    ['agent-support', MINI],
    ['repo-scan', GEMINI],
  ])('%s goes to %s, and to nothing dearer', async (task, model, claims) => {
    await using desk = await deskOf(...PRESET_NAMES);
    expect(await sent(desk, { model, task, ...(claims && { claims }) })).toMatchObject({ model });
    const other = await sent(desk, { model: 'x-ai/grok-4.3', task, ...(claims && { claims }) });
    const isRouted = task === 'code-review' || task === 'agent-support';
    if (isRouted) expect(other).toMatchObject({ model });
    else expect(other).toBe('model_not_allowed');
  });

  it.each([
    ['risk-analysis', 'openai/gpt-5', MINI, 2500],
    ['chargeback-evidence', SONNET, HAIKU, 3000],
    ['repo-scan', GEMINI, MINI, 4000],
  ])('%s falls back from %s to %s once its soft cap is spent', async (task, model, fallback, cents) => {
    await using desk = await deskOf(task);
    await desk.guard
      .charge({ label: 'spent before', usd: cents / 100 - 0.01, scope: { task } })
      .catch(() => undefined);
    // A charge above the cap for one call comes in parts.
    while ((await desk.spent()) < BigInt(cents) * 10_000_000n)
      await desk.guard.charge({ label: 'spent before', usd: 1, scope: { task } });
    expect(await sent(desk, { model, task })).toMatchObject({ model: fallback });
  });
});
