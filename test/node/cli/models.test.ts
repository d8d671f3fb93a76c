import { chmod, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { startSimulator, type SimulatorModel } from '../../../src/node/simulator/index.ts';
import { agentguard, newHome, type CliRun } from './run-cli.ts';

const SAMPLE = JSON.parse(
  await readFile(new URL('../../fixtures/openrouter-models-sample.json', import.meta.url), 'utf8'),
) as { data: SimulatorModel[] };

/** A simulator of OpenRouter with the sample of its real list, changed by `change`. */
async function simulator(
  change: (models: SimulatorModel[]) => SimulatorModel[] = (models) => models,
): Promise<string> {
  const running = await startSimulator({ models: change(structuredClone(SAMPLE.data)) });
  onTestFinished(() => running.close());
  return running.url;
}

/** A server that answers as it likes. */
async function server(answer: (response: ServerResponse) => void): Promise<string> {
  const listening = createServer((_request, response) => answer(response));
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    listening.closeAllConnections();
    listening.close();
  });
  return `http://127.0.0.1:${(listening.address() as AddressInfo).port}/api/v1`;
}

function sync(home: string, url: string, ...more: string[]): Promise<CliRun> {
  return agentguard(['models', '--sync-pricing', '--url', url, ...more], { AGENTGUARD_HOME: home });
}

const priced =
  (change: (pricing: SimulatorModel['pricing'], id: string) => object) => (models: SimulatorModel[]) =>
    models.map((model) => ({ ...model, pricing: { ...model.pricing, ...change(model.pricing, model.id) } }));

const file = (home: string): string => join(home, 'prices.json');

describe('agentguard models --sync-pricing', () => {
  it('writes the list, which is then used, and says what changed the next time', async () => {
    const home = await newHome();
    const first = await sync(home, await simulator());
    expect(first).toMatchObject({ code: 0, stderr: '' });
    expect(first.stdout).toMatch(
      /^Synced the prices of 19 models from 127\.0\.0\.1:\d+, 20.* \(19 new\)\.\n/,
    );
    expect(first.stdout).toContain('1 model without a price');
    expect(await readdir(home)).toEqual(['prices.json']);
    const shown = await agentguard(['models', 'claude-haiku'], { AGENTGUARD_HOME: home });
    expect(shown.stdout).toMatch(/anthropic\/claude-haiku-4\.5 +1\.00 +5\.00 +200k +20\d\d-\d\d-\d\d synced/);

    const same = await sync(home, await simulator());
    expect(same.stdout).toContain('nothing changed');
    const url = await simulator(
      priced(({ prompt }, id) => (id === 'openai/gpt-5' ? { prompt: '0.000002' } : { prompt })),
    );
    const third = await sync(home, `${url}/models/`);
    expect(third.stdout).toContain('(1 changed rate)');
    expect(third.stdout).toContain('openai/gpt-5: input 1.25 → 2');
  });

  it('prints one JSON document', async () => {
    const home = await newHome();
    const url = await simulator();
    const run = await sync(home, url, '--json');
    expect(run).toMatchObject({ code: 0, stderr: '' });
    expect(JSON.parse(run.stdout)).toMatchObject({
      exitCode: 0,
      synced: true,
      path: file(home),
      url: `${url}/models`,
      models: 19,
      unknown: { 'openrouter/auto': expect.stringContaining('choice') },
      added: 19,
      changes: [],
    });
    const failed = await sync(home, 'http://127.0.0.1:9/api/v1', '--json');
    expect(failed.code).toBe(2);
    expect(JSON.parse(failed.stdout)).toMatchObject({
      exitCode: 2,
      synced: false,
      error: expect.stringContaining("can't be reached"),
      kept: expect.stringContaining('stays in force'),
    });
  });

  const html = '<!doctype html><title>Log in</title>';
  const whole = JSON.stringify(SAMPLE);
  const answers: [string, (response: ServerResponse) => void, number, string][] = [
    ['a 404', (r) => r.writeHead(404).end('{}'), 2, 'answered 404 Not Found. Is --url the base of the API'],
    ['a 500', (r) => r.writeHead(500).end(), 2, 'Try again later'],
    ['a 401', (r) => r.writeHead(401).end(), 2, 'needs no key'],
    [
      'a web page',
      (r) => r.writeHead(200, { 'content-type': 'text/html' }).end(html),
      2,
      'a web page (HTML)',
    ],
    [
      'a page that calls itself JSON',
      (r) => r.writeHead(200, { 'content-type': 'application/json' }).end(html),
      2,
      'HTML',
    ],
    ['JSON that is cut off', (r) => r.end(whole.slice(0, 5000)), 2, 'was cut off'],
    ['nothing', (r) => r.end(), 2, 'answered with nothing'],
    ['an error in JSON', (r) => r.end('{"error":{"code":1}}'), 2, 'has no list of models'],
    ['an empty list', (r) => r.end('{"data":[]}'), 2, 'is empty'],
    ['models without ids', (r) => r.end('{"data":[{},{}]}'), 1, 'not one of its models has a price'],
    ['a connection that breaks', (r) => r.destroy(), 2, "can't be reached"],
    [
      'a body that breaks',
      (r) => {
        r.writeHead(200, { 'content-length': '99999' });
        r.write(whole.slice(0, 3000), () => r.destroy());
      },
      2,
      "can't be reached",
    ],
  ];

  it.each(answers)('keeps the old list when the answer is %s', async (_name, answer, code, message) => {
    const home = await newHome();
    await sync(home, await simulator());
    const before = await readFile(file(home), 'utf8');
    const run = await sync(home, await server(answer));
    expect(run).toMatchObject({ code, stdout: '' });
    expect(run.stderr).toContain(message);
    expect(run.stderr).toMatch(/The list of 20.* UTC stays in force\./);
    expect(await readFile(file(home), 'utf8')).toBe(before);
    expect(await readdir(home)).toEqual(['prices.json']);
  });

  it('gives up on a server that does not answer', async () => {
    const home = await newHome();
    const run = await sync(home, await server(() => undefined), '--timeout', '0.3');
    expect(run.code).toBe(2);
    expect(run.stderr).toContain('did not answer within 0.3 seconds');
    expect(run.stderr).toContain('There is no synced list yet; the catalogue of this package');
  });

  it.each([
    [
      'prices a million times too high',
      priced(({ prompt }) => ({ prompt: String(Number(prompt) * 1e6) })),
      'per million',
    ],
    [
      'prices a thousand times too high',
      priced(({ prompt }) => ({ prompt: (Number(prompt) * 1e3).toFixed(9) })),
      'input moved from $',
    ],
    [
      'prices a hundred times too low',
      priced(({ completion }) => ({ completion: (Number(completion) / 100).toFixed(15) })),
      'output moved from $',
    ],
    [
      'far fewer models',
      (models: SimulatorModel[]) => models.slice(0, 3),
      'prices for 3 models, where the list before had 19',
    ],
    ['a model twice', (models: SimulatorModel[]) => [...models, models[0]!], 'is listed twice'],
  ])('refuses a list with %s, and takes it when forced', async (_name, change, message) => {
    const home = await newHome();
    await sync(home, await simulator());
    const before = await readFile(file(home), 'utf8');
    const url = await simulator(change);
    const run = await sync(home, url);
    expect(run.code).toBe(1);
    expect(run.stderr).toContain('The list was not taken');
    expect(run.stderr).toContain(message);
    expect(run.stderr).toContain('--force');
    expect(await readFile(file(home), 'utf8')).toBe(before);
    const forced = await sync(home, url, '--force');
    expect(forced.stdout + forced.stderr).toContain(message.includes('per million') ? 'a token' : message);
  });

  it('makes negative prices and prices that are none unknown, and takes the rest', async () => {
    const home = await newHome();
    const bad: Record<string, string> = { 'openai/gpt-5': '-0.000001', 'openai/gpt-5-mini': 'NaN' };
    const run = await sync(
      home,
      await simulator(priced(({ prompt }, id) => ({ prompt: bad[id] ?? prompt }))),
    );
    expect(run).toMatchObject({ code: 0 });
    expect(run.stdout).toContain('Synced the prices of 17 models');
    const compared = await agentguard(['models', 'compare', 'openai/gpt-5', 'openai/gpt-5-nano'], {
      AGENTGUARD_HOME: home,
    });
    expect(compared).toMatchObject({ code: 1, stdout: '' });
    expect(compared.stderr).toContain('prompt is "-0.000001", which is no price');
  });

  it('replaces a damaged file, and says so', async () => {
    const home = await newHome();
    await writeFile(file(home), '{"v":1');
    const listed = await agentguard(['models', 'haiku'], { AGENTGUARD_HOME: home });
    expect(listed.stdout).toContain('are not used: it is not JSON');
    const run = await sync(home, await simulator());
    expect(run.stdout).toContain('could not be used (it is not JSON, or was cut off) and is replaced');
  });

  it('says what to do when the home cannot be written', async () => {
    const home = await newHome();
    await writeFile(join(home, 'file'), '');
    const run = await sync(join(home, 'file', 'below'), await simulator());
    expect(run.code).toBe(2);
    expect(run.stderr).toContain("can't be written (ENOTDIR)");
    expect(run.stderr).toContain('set AGENTGUARD_HOME');
    if (process.getuid?.() === 0) return;
    await mkdir(join(home, 'locked'));
    await chmod(join(home, 'locked'), 0o500);
    expect((await sync(join(home, 'locked'), await simulator())).stderr).toContain('EACCES');
  });

  it('leaves one whole list when several sync at once', async () => {
    const home = await newHome();
    const url = await simulator();
    const runs = await Promise.all(Array.from({ length: 4 }, () => sync(home, url)));
    for (const run of runs) expect(run).toMatchObject({ code: 0, stderr: '' });
    expect(await readdir(home)).toEqual(['prices.json']);
    const listed = await agentguard(['models', '--json', '--all'], { AGENTGUARD_HOME: home });
    expect((JSON.parse(listed.stdout) as { problem?: string }).problem).toBeUndefined();
  });

  it.each([
    [['--url', 'openrouter.ai'], '--url openrouter.ai: expected an address'],
    [['--url', 'ftp://x/api'], 'expected an address'],
    [['--url', 'https://me:secret@example.com/api/v1'], 'must not hold a user name or password'],
    [['--timeout', 'soon'], '--timeout soon: expected seconds'],
    [['haiku'], 'takes no models'],
  ])('refuses %j', async (args, message) => {
    const run = await agentguard(['models', '--sync-pricing', ...args], { AGENTGUARD_HOME: await newHome() });
    expect(run).toMatchObject({ code: 2, stdout: '' });
    expect(run.stderr).toContain(message);
    expect(run.stderr).not.toContain('secret');
  });
});

describe('agentguard models', () => {
  it.each([
    ['80', 80],
    ['120', 120],
  ])('fits into %s columns', async (columns, width) => {
    const home = await newHome();
    await sync(home, await simulator());
    for (const args of [
      ['haiku'],
      ['gemini'],
      ['--all'],
      ['compare', 'openai/gpt-5', 'anthropic/claude-haiku-4.5'],
    ]) {
      const run = await agentguard(['models', ...args], { AGENTGUARD_HOME: home, COLUMNS: columns });
      expect(run).toMatchObject({ code: 0, stderr: '' });
      const table = run.stdout
        .split('\n')
        .filter((line) => !line.startsWith('*') && !line.startsWith('For '));
      for (const line of table) expect(line.length, line).toBeLessThanOrEqual(width);
    }
  });

  it('lists, searches by parts of ids, and says how many there are more', async () => {
    const env = { AGENTGUARD_HOME: await newHome() };
    const all = await agentguard(['models'], env);
    expect(all.stdout).toMatch(/^\d{3} models, USD per million tokens\n/);
    expect(all.stdout).toContain('more: search for a part of an id, or --all');
    expect(all.stdout).toContain('--sync-pricing');
    for (const words of [
      ['search', 'opus', 'AWS'],
      ['opus', 'aws'],
    ]) {
      const run = await agentguard(['models', ...words, '--json'], env);
      const { models } = JSON.parse(run.stdout) as { models: { id: string; seller: string }[] };
      expect(models.length).toBeGreaterThan(3);
      for (const { id, seller } of models) expect(`${seller} ${id}`).toMatch(/^aws .*opus/);
    }
    const one = await agentguard(['models', '--provider', 'anthropic', 'opus-4-7', '--json'], env);
    expect(JSON.parse(one.stdout)).toMatchObject({
      unit: 'USD per million tokens',
      models: [
        { id: 'claude-opus-4-7', seller: 'anthropic', input: '5', cacheWriteHour: '10', source: 'embedded' },
      ],
    });
  });

  it('tells of dearer long prompts and times of the day', async () => {
    const env = { AGENTGUARD_HOME: await newHome() };
    const run = await agentguard(['models', 'deepseek-v4-pro', '--provider', 'deepseek'], env);
    expect(run.stdout).toContain('01:00–04:00 UTC 1.32 in, 3.96 out; 06:00–10:00 UTC 1.32 in, 3.96 out');
    const gemini = await agentguard(['models', 'gemini-3.1-pro-preview'], env);
    expect(gemini.stdout).toContain('above 200,000 tokens 4.00 in, 18.00 out');
  });

  it('compares at a number of tokens', async () => {
    const env = { AGENTGUARD_HOME: await newHome() };
    const models = ['openai/gpt-5', 'openai/gpt-5-mini'];
    for (const tokens of [['10000', '1000'], ['10,000/1_000'], []]) {
      const run = await agentguard(['models', 'compare', ...models, ...tokens], env);
      expect(run).toMatchObject({ code: 0, stderr: '' });
      expect(run.stdout).toContain('10,000 tokens in, 1,000 out');
      expect(run.stdout).toMatch(/cost +\$0\.0225 +\$0\.0045/);
      expect(run.stdout).toMatch(/to the cheapest +5\.00 × +1\.00 ×/);
    }
    const json = await agentguard(['models', 'compare', ...models, '1000000', '0', '--json'], env);
    expect(JSON.parse(json.stdout)).toMatchObject({
      inputTokens: 1_000_000,
      outputTokens: 0,
      models: [
        { id: 'openai/gpt-5', costUsd: '1.25' },
        { id: 'openai/gpt-5-mini', costUsd: '0.25' },
      ],
    });
  });

  it.each([
    [['gpt-7-mega'], 1, 'No model with a price has "gpt-7-mega" in its id.'],
    [['claude-opus-4-77'], 1, 'Did you mean'],
    [['compare', 'openai/gpt-5'], 2, 'at least two models'],
    [['compare', 'openai/gpt-5', 'openai/gpt-6-pro-max'], 1, 'is unknown'],
    [['compare', 'openai/gpt-5', 'openai/GPT-5-mini'], 1, 'Did you mean openai/gpt-5-mini'],
    [['compare', 'openai/gpt-5', 'openrouter/auto'], 1, 'lets OpenRouter choose'],
    [['compare', 'openai/gpt-5', 'openai/gpt-5-mini', '1', '2', '3'], 2, 'input and output tokens'],
    [['compare', 'openai/gpt-5', 'openai/gpt-5-mini', '99999999999'], 2, 'up to a billion'],
    [['--provider', 'aol'], 2, 'expected one of openrouter, anthropic'],
    [['--force'], 2, '--force belongs to --sync-pricing'],
    [['--colour'], 2, "unknown option '--colour'"],
  ])('%j: says what to do', async (args, code, message) => {
    const env = { AGENTGUARD_HOME: await newHome() };
    const run = await agentguard(['models', ...args], env);
    expect(run).toMatchObject({ code, stdout: '' });
    expect(run.stderr).toContain(message);
    if (args[0] === '--colour') return;
    const json = await agentguard(['models', ...args, '--json'], env);
    expect(json.code).toBe(code);
    expect(JSON.parse(json.stdout)).toMatchObject({ exitCode: code, error: expect.any(String) });
  });
});
