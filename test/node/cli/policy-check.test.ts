import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { describe, expect, it } from 'vitest';
import type { ModelRule, SpendCap, SpendPolicy } from '../../../src/index.ts';
import { findingsIn } from '../../../src/node/cli/policy/findings.ts';
import { policySentences } from '../../../src/node/cli/policy/sentences.ts';
import { policiesIn } from '../../../src/node/policy-file/read.ts';
import { agentguard, cliArguments, cliEnvironment, newHome } from './run-cli.ts';

const HAIKU = 'anthropic/claude-haiku-4-5';
const SONNET = 'anthropic/claude-sonnet-4-6';
const OPUS = 'anthropic/claude-opus-4-7';
const MINI = 'openai/gpt-5-mini';
const GPT_5 = 'openai/gpt-5';

const NOW = Date.parse('2026-06-01T12:00:00Z');

function policyOf(more: Partial<SpendPolicy> = {}): SpendPolicy {
  const caps: SpendCap[] = [{ amountCents: 20_000, window: 'per_day', action: 'block' }];
  return { id: 'p', scope: { tenantId: 'acme' }, version: 1, effectiveFrom: '2026-01-01', caps, ...more };
}

const block = (amountCents: number, more: Partial<SpendCap> = {}): SpendCap => ({
  amountCents,
  window: 'per_day',
  action: 'block',
  ...more,
});

const down = (
  amountCents: number,
  downgradeTo: string | string[],
  more: Partial<SpendCap> = {},
): SpendCap => ({
  amountCents,
  window: 'per_day',
  action: 'downgrade',
  downgradeTo,
  ...more,
});

/** Code and field of everything that is found. */
function found(policies: SpendPolicy | SpendPolicy[], severity: 'warning' | 'note' = 'warning'): string[] {
  const { policies: filed, problems } = policiesIn(JSON.stringify(policies), 'p.json');
  expect(problems).toEqual([]);
  return findingsIn(filed, NOW)
    .filter((finding) => finding.severity === severity)
    .map(({ code, path }) => `${code} ${path.join('.')}`);
}

const withCaps = (...caps: SpendCap[]): SpendPolicy => policyOf({ caps });
const withRules = (...rules: ModelRule[]): SpendPolicy => policyOf({ rules });

describe('policy check warns of', () => {
  it.each<[string, SpendPolicy | SpendPolicy[], string[]]>([
    [
      'a soft cap above the hard one',
      withCaps(down(30_000, HAIKU), block(20_000)),
      ['soft_above_hard caps.0.amountCents'],
    ],
    [
      'a soft cap as high as the hard one',
      withCaps(block(20_000), down(20_000, HAIKU)),
      ['soft_above_hard caps.1.amountCents'],
    ],
    [
      'a question that is never asked',
      withCaps(block(100), { ...block(100), action: 'ask' }),
      ['soft_above_hard caps.1.amountCents'],
    ],
    [
      'a shadow cap that records nothing',
      withCaps(block(100), { ...block(200), action: 'shadow' }),
      ['soft_above_hard caps.1.amountCents'],
    ],
    [
      'an hour’s cap above the day’s',
      withCaps(block(5000), block(6000, { window: 'per_hour' })),
      ['never_reached caps.1.amountCents'],
    ],
    [
      'one call’s cap above the day’s',
      withCaps(block(5000), block(6000, { window: 'per_call' })),
      ['never_reached caps.1.amountCents'],
    ],
    [
      'each user’s cap above that of all',
      withCaps(block(5000), block(6000, { per: ['userId'] })),
      ['never_reached caps.1.amountCents'],
    ],
    [
      'a team’s cap above its tenant’s, in another policy',
      [
        withCaps(block(5000)),
        policyOf({
          id: 'q',
          scope: { tenantId: 'acme', teamId: 'eng' },
          caps: [block(6000, { per: ['userId'] }), down(5000, HAIKU)],
        }),
      ],
      ['never_reached caps.0.amountCents', 'soft_above_hard caps.1.amountCents'],
    ],
    [
      'one cap in two policies',
      [withCaps(block(5000)), policyOf({ id: 'q', caps: [block(5000)] })],
      ['never_reached caps.0.amountCents'],
    ],
    ['a cap twice', withCaps(block(5000), block(5000)), ['never_reached caps.1.amountCents']],
    [
      'a cap on some models above that on all',
      withCaps(block(5000), down(6000, HAIKU, { models: 'anthropic/*' })),
      ['soft_above_hard caps.1.amountCents'],
    ],
    ['a cap of zero', withCaps(block(0)), ['cap_zero caps.0.amountCents']],
    [
      'an alert beyond a block cap',
      withCaps(block(100, { alerts: [0.5, 1.2] })),
      ['alert_never caps.0.alerts.1'],
    ],
    ['counting for each of one', withCaps(block(100, { per: ['tenantId'] })), ['per_of_one caps.0.per']],
    [
      'counting one call for each of something',
      withCaps(block(100, { window: 'per_call', per: ['userId'] })),
      ['per_of_one caps.0.per'],
    ],
    [
      'a cap that nothing fits under',
      policyOf({ caps: [block(2, { window: 'per_call' })], rules: [{ models: OPUS }] }),
      ['nothing_fits caps.0.amountCents'],
    ],
    [
      'a downgrade to something dearer',
      policyOf({ caps: [down(100, OPUS)], rules: [{ models: [SONNET, OPUS] }] }),
      ['dearer_downgrade caps.0.downgradeTo'],
    ],
    [
      'a ladder that leads upwards',
      withCaps(down(100, [HAIKU, SONNET])),
      ['ladder_upwards caps.0.downgradeTo.1'],
    ],
    [
      'a target that nobody can price',
      withCaps(down(100, 'openai/gpt-5-minni')),
      ['unpriced_model caps.0.downgradeTo'],
    ],
    [
      'a route that nobody can price',
      withRules({ routeTo: [HAIKU, 'anthropic/claude-haiku-9'] }),
      ['unpriced_model rules.0.routeTo.1'],
    ],
    [
      'an allowed model that nobody can price',
      withRules({ models: [HAIKU, 'nobody/knows'] }),
      ['unpriced_model rules.0.models.1'],
    ],
    ['a pattern as a target', withCaps(down(100, 'anthropic/*')), ['no_such_model caps.0.downgradeTo']],
    ['a pattern that fits nothing', withRules({ models: ['antropic/*'] }), ['no_such_model rules.0.models']],
    [
      'a pattern that fits nothing in a filter',
      withRules({ when: { models: 'OpenAI/*' }, maxPrice: 1 }),
      ['no_such_model rules.0.when.models'],
    ],
    [
      'the auto router without a ceiling',
      withRules({ models: ['openrouter/auto', HAIKU] }),
      ['unpriced_model rules.0.models.0'],
    ],
    [
      'a ceiling for single tokens',
      withRules({ maxPrice: '0.0000002' }),
      ['ceiling_too_low rules.0.maxPrice'],
    ],
    [
      'a rule that never matches',
      policyOf({ scope: { task: 'chat' }, rules: [{ when: { task: ['code-*', 'risk'] }, models: HAIKU }] }),
      ['never_matches rules.0.when.task'],
    ],
    [
      'a rung that a rule forbids',
      policyOf({ caps: [down(100, MINI)], rules: [{ models: 'anthropic/*' }] }),
      ['forbidden_target caps.0.downgradeTo'],
    ],
    [
      'a route that another rule forbids',
      withRules({ routeTo: MINI }, { models: 'anthropic/*' }),
      ['forbidden_target rules.0.routeTo'],
    ],
    [
      'a route above a ceiling',
      withRules({ when: { task: 'a' }, routeTo: OPUS }, { when: { task: 'a*' }, maxPrice: 10 }),
      ['forbidden_target rules.0.routeTo'],
    ],
    [
      'a route that another policy forbids',
      [withRules({ routeTo: MINI }), policyOf({ id: 'q', caps: [], rules: [{ models: 'anthropic/*' }] })],
      ['forbidden_target rules.0.routeTo'],
    ],
    [
      'routes that agree on nothing',
      withRules({ routeTo: HAIKU }, { routeTo: MINI }),
      ['routes_disagree rules.0.routeTo', 'routes_disagree rules.1.routeTo'],
    ],
    ['one id twice', [policyOf(), policyOf()], ['same_id id']],
    ['a policy of tomorrow', policyOf({ effectiveFrom: '2026-06-02' }), ['not_effective_yet effectiveFrom']],
  ])('%s', (_name, policies, expected) => {
    expect(found(policies)).toEqual(expected);
  });
});

describe('policy check has nothing against', () => {
  it.each<[string, SpendPolicy | SpendPolicy[]]>([
    ['a soft cap below the hard one', withCaps(down(5000, HAIKU), block(20_000))],
    ['a day below a month', withCaps(block(5000), block(100_000, { window: 'per_month' }))],
    ['a larger amount for all than for each', withCaps(block(500, { per: ['userId'] }), block(5000))],
    ['a cap on some models below that on all', withCaps(block(500, { models: 'anthropic/*' }), block(5000))],
    [
      'a cap on other models',
      withCaps(block(500, { models: 'anthropic/*' }), down(5000, MINI, { models: 'openai/*' })),
    ],
    ['a cap for each task above a day’s', withCaps(block(500), block(5000, { window: 'per_task' }))],
    ['always downgrading', withCaps(down(0, HAIKU, { window: 'per_call' }))],
    ['a counter above the hard cap', withCaps(block(100), { ...block(200), action: 'allow' })],
    ['alerts up to the cap', withCaps(block(100, { alerts: [0.5, 1] }))],
    [
      'a downgrade to something cheaper',
      policyOf({ caps: [down(100, MINI)], rules: [{ models: [GPT_5, MINI] }] }),
    ],
    ['a ladder that leads downwards', withCaps(down(100, [SONNET, HAIKU]))],
    [
      'a rule for other calls that forbids a route',
      withRules({ when: { task: 'a' }, routeTo: MINI }, { when: { task: 'b' }, models: 'anthropic/*' }),
    ],
    [
      'a rule about other models',
      withRules({ routeTo: MINI }, { when: { models: 'anthropic/*' }, maxPrice: 1 }),
    ],
    [
      'a policy for other calls that forbids a route',
      [
        withRules({ routeTo: MINI }),
        policyOf({ id: 'q', scope: { tenantId: 'globex' }, rules: [{ models: 'anthropic/*' }] }),
      ],
    ],
    ['routes that agree on one', withRules({ routeTo: [HAIKU, MINI] }, { routeTo: [MINI] })],
    ['the auto router', withRules({ models: ['openrouter/auto', 'openai/*'], maxPrice: 5 })],
    ['a model by its vendor’s own name', withRules({ models: ['claude-haiku-4-5', 'gpt-5'] })],
    [
      'a filter that the scope answers',
      policyOf({ scope: { task: 'code-review' }, rules: [{ when: { task: 'code-*' }, models: HAIKU }] }),
    ],
  ])('%s', (_name, policies) => {
    expect(found(policies)).toEqual([]);
  });
});

describe('policy check notes', () => {
  it.each<[string, SpendPolicy, string[]]>([
    ['what calls must name', withCaps(block(100, { per: ['userId'] })), ['must_be_named caps.0.per']],
    ['a budget of each task', withCaps(block(100, { window: 'per_task' })), ['must_be_named caps.0.window']],
    ['that somebody must answer', withCaps({ ...block(100), action: 'ask' }), ['needs_answer caps.0.action']],
    ['that nothing stops', withCaps(down(100, HAIKU)), ['no_hard_cap caps']],
    ['shadow mode', policyOf({ mode: 'shadow' }), ['shadow mode']],
    ['a policy that says nothing', withCaps(), ['allows_everything caps']],
    [
      'amounts that look like dollars',
      withCaps(block(50, { window: 'per_month' })),
      ['small_amount caps.0.amountCents'],
    ],
    ['models without a price', policyOf({ unknownPrice: 'allow' }), ['unknown_price_allowed unknownPrice']],
    ['a fixed offset', policyOf({ timeZone: '+02:00' }), ['fixed_offset timeZone']],
    ['a fixed offset with a name', policyOf({ timeZone: 'EST' }), ['fixed_offset timeZone']],
    ['a fixed offset the other way round', policyOf({ timeZone: 'Etc/GMT+5' }), ['fixed_offset timeZone']],
  ])('%s', (_name, policy, expected) => {
    expect(found(policy, 'note')).toEqual(expected);
    expect(found(policy)).toEqual([]);
  });
});

describe('policy check doesn’t warn of', () => {
  const acme = withCaps(block(5000));
  const eng = (more: Partial<SpendPolicy>): SpendPolicy =>
    policyOf({ id: 'q', scope: { tenantId: 'acme', teamId: 'eng' }, caps: [block(6000)], ...more });
  it.each<[string, SpendPolicy[]]>([
    ['a wider policy’s cap above a narrower one’s', [withCaps(block(7000)), eng({})]],
    ['a cap above one of another tenant', [acme, eng({ scope: { tenantId: 'globex' } })]],
    ['a cap above one that only records', [{ ...acme, mode: 'shadow' }, eng({})]],
    ['a cap above one for each of something else', [withCaps(block(5000, { per: ['userId'] })), eng({})]],
  ])('%s', (_name, policies) => {
    expect(found(policies)).toEqual([]);
  });
});

it('policy check says “never” only of what never is', () => {
  const words = (...caps: SpendCap[]): string => {
    const { policies } = policiesIn(JSON.stringify(withCaps(...caps)), 'p.json');
    return findingsIn(policies, NOW)[0]?.message ?? '';
  };
  const month = block(10_000, { window: 'per_month' });
  // The last days of a month and the first of the next are one week.
  expect(words(month, block(15_000, { window: 'per_week' }))).toContain(
    'blocks only across the turn of a month',
  );
  expect(words(month, block(20_001, { window: 'per_week' }))).toContain('never blocks');
  expect(words(month, block(15_000))).toContain('never blocks');
  expect(words(block(5000), down(6000, HAIKU, { window: 'per_hour' }))).toContain(
    'downgrades only across the turn of a day',
  );
  expect(words(block(5000, { window: 'per_hour' }), block(6000, { window: 'per_minute' }))).toContain(
    'never blocks',
  );
});

it('policy check says of a rung without a price that no call is sent there', () => {
  const { policies } = policiesIn(JSON.stringify(withCaps(block(100), down(50, 'x/y'))), 'p.json');
  expect(
    findingsIn(policies, NOW)
      .map(({ message }) => message)
      .join('\n'),
  ).toContain('no call is sent there');
});

function sentencesOf(more: Partial<SpendPolicy>): ReturnType<typeof policySentences> {
  const { policies } = policiesIn(JSON.stringify(policyOf({ timeZone: 'Europe/Berlin', ...more })), 'p.json');
  return policySentences(policies[0]!.policy, NOW);
}

describe('the sentences of a policy', () => {
  it.each<[SpendCap, string]>([
    [block(20_000), 'Blocks a call that could take spending above $200.00 on a day in Europe/Berlin.'],
    [block(5, { window: 'per_call' }), 'Blocks a call that alone could cost more than $0.05.'],
    [
      block(500, { window: 'per_minute' }),
      'Blocks a call that could take spending above $5.00 within any 60 seconds.',
    ],
    [
      block(500, { window: 'per_week', per: ['userId'] }),
      'Blocks a call that could take spending above $5.00 in a week from Monday in Europe/Berlin, counted for each userId on its own.',
    ],
    [
      down(5000, [HAIKU, MINI]),
      `Once $50.00 is spent on a day in Europe/Berlin, sends calls to ${HAIKU} ($1.00 in, $5.00 out), or where that can’t carry a call to ${MINI} ($0.25 in, $2.00 out).`,
    ],
    [
      down(10, HAIKU, { window: 'per_call', sticky: 'task' }),
      `Sends a call that alone could cost more than $0.10 to ${HAIKU} ($1.00 in, $5.00 out). A task that was sent to another model stays there.`,
    ],
    [
      { ...block(100, { window: 'total' }), action: 'ask' },
      'Asks a person before a call could take spending above $1.00 in all; without a yes it is blocked.',
    ],
    [
      { ...block(100, { window: 'per_month' }), action: 'shadow' },
      'Only records the calls that could take spending above $1.00 in a calendar month in Europe/Berlin; refuses none.',
    ],
    [
      { ...block(100, { window: 'per_hour' }), action: 'allow' },
      'Counts against $1.00 within any 60 minutes, and never refuses.',
    ],
    [
      block(1000, { alerts: [0.5, 1], reason: 'enough' }),
      'Blocks a call that could take spending above $10.00 on a day in Europe/Berlin. Alerts at $5.00 and $10.00, once in each window. “enough”',
    ],
    [
      block(1000, { models: OPUS }),
      `Blocks a call that could take spending above $10.00 on a day in Europe/Berlin. Counts only calls that may go to ${OPUS} ($5.00 in, $25.00 out).`,
    ],
  ])('say what a cap does: %o', (cap, sentence) => {
    expect(sentencesOf({ caps: [cap] }).caps).toEqual([sentence]);
  });

  it('say what becomes of a call without limit or price only where a cap acts on it', () => {
    const allow: SpendCap = { amountCents: 100, window: 'per_day', action: 'allow' };
    expect(sentencesOf({ caps: [allow, { ...allow, action: 'shadow' }] }).also).toEqual([]);
    expect(sentencesOf({ caps: [allow, block(100, { models: OPUS })] }).also[0]).toBe(
      'A call that sets no output limit gets one of 8,192 tokens where a cap counts it.',
    );
  });

  it.each<[ModelRule, string | RegExp]>([
    [{ routeTo: HAIKU }, `Calls go to ${HAIKU} ($1.00 in, $5.00 out).`],
    [
      { when: { task: ['a', 'b'], userId: 'x' }, models: [HAIKU] },
      `For userId x and task a or b: only ${HAIKU} ($1.00 in, $5.00 out) is allowed.`,
    ],
    [
      { maxPrice: '0.20', reason: 'cheap' },
      /^Only models up to \$0\.20 per million tokens, in and out alike, without a fee for each request are allowed \(\d+ known models\)\. “cheap”$/,
    ],
    [
      { maxPrice: { output: 5, request: '0.01' } },
      /^Only models up to \$5\.00 per million tokens out, \$0\.01 a request are allowed/,
    ],
    [
      { requires: ['payment-execute'], signed: true },
      'The call must have the signed capability payment_execute.',
    ],
    [{ models: 'anthropic/*' }, /^Only anthropic\/\* \(\d+ known models\) are allowed\.$/],
  ])('say what a rule does: %o', (rule, sentence) => {
    const [text] = sentencesOf({ rules: [rule] }).rules;
    if (typeof sentence === 'string') expect(text).toBe(sentence);
    else expect(text).toMatch(sentence);
  });
});

describe('agentguard policy check', () => {
  async function file(policies: unknown, name = 'policies.yaml'): Promise<string> {
    const path = join(await newHome(), name);
    writeFileSync(path, typeof policies === 'string' ? policies : stringify(policies));
    return path;
  }

  it('reads standard input', async () => {
    const path = await file(policyOf());
    const command = [...cliArguments(['policy', 'check', '-'])].map((word) => `'${word}'`).join(' ');
    const run = execFileSync('sh', ['-c', `'${process.execPath}' ${command} < '${path}'`], {
      env: cliEnvironment(),
      encoding: 'utf8',
    });
    expect(run).toMatch(/^standard input: one policy, nothing to say against it\.$/m);
  });

  it('explains a sound file', async () => {
    const path = await file(policyOf({ name: 'Everything of acme' }));
    const run = await agentguard(['policy', 'check', path], { COLUMNS: '80' });
    expect(run).toMatchObject({ code: 0, stderr: '' });
    expect(run.stdout).toMatch(/^p {2}Everything of acme, version 1$/m);
    expect(run.stdout).toContain('For calls with tenantId acme.');
    expect(run.stdout).toMatch(/one policy, nothing to say against it\.\n$/);
    const longest = Math.max(
      ...run.stdout
        .split('\n')
        .filter((line) => !line.includes(path))
        .map((line) => line.length),
    );
    expect(longest).toBeLessThanOrEqual(80);
  });

  it('ends with 0 for warnings, with 1 where --strict asks for it, and says where they are', async () => {
    const path = await file([policyOf(), policyOf()]);
    const plain = await agentguard(['policy', 'check', path]);
    expect(plain).toMatchObject({ code: 0, stderr: '' });
    expect(plain.stdout).toMatch(new RegExp(`^warning ${path}:10:7$`, 'm'));
    expect(plain.stdout).toContain('1 warning');
    expect(await agentguard(['policy', 'check', path, '--strict'])).toMatchObject({ code: 1 });
    const json = await agentguard(['policy', 'check', path, '--strict', '--json']);
    expect(json.code).toBe(1);
    expect(JSON.parse(json.stdout)).toMatchObject({
      exitCode: 1,
      policies: [{ id: 'p', caps: [expect.stringContaining('$200.00')] }, { id: 'p' }],
      findings: [{ severity: 'warning', code: 'same_id', line: 10, column: 7, field: 'id', policy: 'p' }],
    });
  });

  it('tells every error, and what is sound beside it', async () => {
    const path = await file([policyOf(), { ...policyOf(), id: 'q', mode: 'off', version: 'two' }]);
    const run = await agentguard(['policy', 'check', path]);
    expect(run).toMatchObject({ code: 1, stderr: '' });
    expect(run.stdout).toContain('For calls with tenantId acme.');
    expect(run.stdout).toMatch(/mode: expected "enforce" or\s+"shadow", got "off"/);
    expect(run.stdout).toContain('one policy, 2 errors.');
  });

  it('shows what could steer a terminal as what it is', async () => {
    const path = await file(policyOf({ name: 'a\u001b[2Jb', caps: [block(1, { reason: '\u202Egnp.exe' })] }));
    const run = await agentguard(['policy', 'check', path]);
    expect(run.stdout).toContain('a\\u{1b}[2Jb');
    expect(run.stdout).toContain('\\u{202e}gnp.exe');
  });

  it.each([
    [['policy', 'check'], "missing required argument 'file'"],
    [['policy', 'check', 'none.yaml'], 'agentguard init'],
    [['policy', 'check', '.'], 'folder'],
    [['policy', 'chek', 'x.yaml'], "unknown command 'chek'"],
  ])('ends with 2 and says what to do for %s', async (args, words) => {
    const run = await agentguard(args);
    expect(run).toMatchObject({ code: 2, stdout: '' });
    expect(run.stderr).toContain(words);
  });

  it('ends with 2 in JSON, too', async () => {
    const run = await agentguard(['policy', 'check', 'none.yaml', '--json']);
    expect(run.code).toBe(2);
    expect(JSON.parse(run.stdout)).toMatchObject({
      exitCode: 2,
      error: expect.stringContaining('none.yaml'),
    });
  });
});
