/** The generated parts of docs/prices.md: which ids have a price, and a session with the command line. */
import { execFile } from 'node:child_process';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startSimulator, type SimulatorModel } from '../src/node/simulator/index.ts';
import { findPrice } from '../src/pricing/find-price.ts';
import { convertOpenRouterList } from '../src/pricing/openrouter-list.ts';
import { priceListText } from '../src/pricing/price-list.ts';
import { loadPrices } from '../src/pricing/synced.ts';

const fixture = async (name: string): Promise<{ data: SimulatorModel[] }> =>
  JSON.parse(await readFile(new URL(`../test/fixtures/${name}`, import.meta.url), 'utf8')) as {
    data: SimulatorModel[];
  };

const HAIKU_PROFILE =
  'arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-haiku-4-5-20251001-v1:0';

/** Ids as calls spell them, by who gets the call. */
const PROBES: Readonly<Record<string, readonly string[]>> = {
  openrouter: [
    'anthropic/claude-opus-4.7',
    'anthropic/claude-opus-4-7',
    'anthropic/claude-sonnet-4.6',
    'anthropic/claude-haiku-4.5',
    'anthropic/claude-haiku-4.5-20251001',
    'anthropic/claude-haiku-4.5:floor',
    'anthropic/claude-opus-5.5',
    'openai/gpt-5',
    'openai/gpt-5:nitro',
    'openai/gpt-5-mini',
    'openai/gpt-5-nano',
    'openai/gpt-6-sol',
    'openai/gpt-6-sol:batch',
    'openai/gpt-oss-120b',
    'openai/gpt-oss-120b:free',
    'google/gemini-3.1-pro-preview',
    'google/gemini-3.1-pro',
    'google/gemini-2.5-flash',
    'deepseek/deepseek-v3.2',
    'deepseek/deepseek-chat-v3.1',
    'meta-llama/llama-3.3-70b-instruct',
    'meta-llama/llama-3.3-70b-instruct:free',
    'moonshotai/kimi-k2.6',
    'x-ai/grok-4.3',
    'perplexity/sonar',
    'openrouter/auto',
  ],
  anthropic: ['claude-opus-4-7', 'claude-opus-4.7', 'claude-sonnet-4-5-20250929', 'claude-haiku-4-5'],
  openai: ['gpt-5', 'gpt-5-mini-2025-08-07', 'gpt-4o-2024-05-13', 'o4-mini', 'gpt-6-sol'],
  google: ['gemini-2.5-pro', 'models/gemini-2.5-pro', 'gemini-3-flash-preview', 'claude-sonnet-4-5@20250929'],
  'amazon-bedrock': [
    'anthropic.claude-opus-4-7',
    'us.anthropic.claude-opus-4-7-v1:0',
    'global.anthropic.claude-opus-4-7-v1:0',
    HAIKU_PROFILE,
    'amazon.nova-pro-v1:0',
  ],
  azure: ['gpt-5.5'],
};

/** `5 / 25`, or why there is no price. */
function priceCell(id: string, provider: string): { text: string; isKnown: boolean } {
  const found = findPrice(id, provider);
  if ('price' in found) {
    const { model, input, output, tiers, request } = found.price.row;
    const as = model === id ? '' : ` as \`${model}\``;
    const fee = request === undefined ? '' : ` and ${request} a request`;
    return {
      text: `${input} / ${output}${fee}${tiers === undefined ? '' : ', more when long'}${as}`,
      isKnown: true,
    };
  }
  const reason = found.unknown.slice(found.unknown.indexOf('is unknown: ') + 'is unknown: '.length);
  return { text: `**refused**: ${reason.replace(/ Set one with .*$/, '')}`, isKnown: false };
}

/** Every probe id with its price by the embedded catalogue, and with OpenRouter's list of June 2026 synced. */
export async function coverageTable(): Promise<string> {
  const { rows, unknown } = convertOpenRouterList(await fixture('openrouter-models-2026-06.json'));
  const list = priceListText({ source: 'openrouter', fetchedAt: '2026-06-30T00:00:00.000Z', rows, unknown });
  const probes = Object.entries(PROBES).flatMap(([provider, ids]) => ids.map((id) => ({ provider, id })));
  loadPrices([]);
  const embedded = probes.map(({ provider, id }) => priceCell(id, provider));
  loadPrices(JSON.parse(list) as object);
  const synced = probes.map(({ provider, id }) => priceCell(id, provider));
  loadPrices(null);
  const known = (cells: readonly { isKnown: boolean }[]): number =>
    cells.filter(({ isKnown }) => isKnown).length;
  const lines = probes.map(({ provider, id }, index) => {
    const [before, after] = [embedded[index]?.text, synced[index]?.text];
    return `| ${provider} | \`${id}\` | ${before} | ${after === before ? '=' : after} |`;
  });
  return [
    `${known(embedded)} of ${probes.length} ids have a price in the embedded catalogue, ${known(synced)} with OpenRouter’s list of June 2026`,
    `synced (${rows.length} of its ${rows.length + unknown.length} models have one). USD per million tokens, input / output.\n`,
    '| sent to | id | embedded | synced |',
    '| --- | --- | --- | --- |',
    ...lines,
    '',
  ].join('\n');
}

const MAIN = fileURLToPath(new URL('../src/node/cli/main.ts', import.meta.url));

interface Run {
  output: string;
  code: number;
}

function run(args: readonly string[], env: Record<string, string>): Promise<Run> {
  const options = { env: { PATH: process.env['PATH'] ?? '', NO_COLOR: '1', COLUMNS: '80', ...env } };
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      ['--conditions=agentguard-source', MAIN, ...args],
      options,
      (error, stdout, stderr) => {
        resolve({ output: stdout + stderr, code: error === null ? 0 : Number(error.code) });
      },
    );
  });
}

/** What differs from run to run, and from machine to machine, as it is for a reader. */
function settled(text: string, home: string, hosts: readonly string[]): string {
  let shown = text.replaceAll(home, '~/.agentguard');
  for (const host of hosts)
    shown = shown.replaceAll(`http://${host}`, 'https://openrouter.ai').replaceAll(host, 'openrouter.ai');
  return shown
    .replaceAll(/20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} UTC/g, '2026-11-25 09:00:00.000 UTC')
    .replaceAll(/20\d\d-\d\d-\d\d synced/g, '2026-11-25 synced')
    .replaceAll(/"(fetchedAt)": "[^"]+"/g, '"$1": "2026-11-25T09:00:00.000Z"')
    .replaceAll(/node\s+--conditions=agentguard-source\s+\S+main\.ts/g, 'agentguard');
}

/** A server on a free port that answers every request with a web page. */
async function webPage(): Promise<{ host: string; close: () => Promise<unknown> }> {
  const server = createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>Log in</title>');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = (): Promise<unknown> => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  return { host: `127.0.0.1:${(server.address() as AddressInfo).port}`, close };
}

/** A session against the simulator: a sync, looks at the list, and the mistakes that a sync can meet. */
export async function priceTranscript(): Promise<string> {
  const { data } = await fixture('openrouter-models-sample.json');
  const absurd = data.map((model) => {
    const { prompt } = model.pricing;
    return {
      ...model,
      pricing: {
        ...model.pricing,
        prompt: model.id === 'openai/gpt-5' ? String(Number(prompt) * 1e6) : prompt,
      },
    };
  });
  const home = await mkdtemp(join(tmpdir(), 'agentguard-docs-'));
  const [good, bad] = await Promise.all([
    startSimulator({ models: data }),
    startSimulator({ models: absurd }),
  ]);
  const [page, gone] = await Promise.all([webPage(), webPage()]);
  await gone.close();
  const hosts = [good, bad].map(({ url }) => new URL(url).host);
  const sync = ['models', '--sync-pricing', '--url'];
  const session: string[][] = [
    [...sync, good.url],
    ['models', 'claude-haiku'],
    ['models', 'compare', 'anthropic/claude-haiku-4.5', 'openai/gpt-5-mini', '10000', '1000'],
    ['models', 'compare', 'openai/gpt-5', 'openai/gpt5-mini'],
    [...sync, bad.url],
    [...sync, `http://${page.host}`],
    [...sync, `http://${gone.host}/api/v1`],
    [...sync, good.url, '--json'],
  ];
  try {
    const shown: string[] = [];
    for (const args of session) {
      const { output, code } = await run(args, { AGENTGUARD_HOME: home });
      shown.push(`$ agentguard ${args.join(' ')}\n${output}$ echo $?\n${code}\n`);
    }
    const text = shown
      .join('\n')
      .replaceAll(page.host, 'proxy.example')
      .replaceAll(gone.host, 'gateway.example');
    return `\`\`\`console\n${settled(text, home, hosts)}\`\`\`\n`;
  } finally {
    await Promise.all([good.close(), bad.close(), page.close(), rm(home, { recursive: true, force: true })]);
  }
}
