import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  createSpendGuard,
  loadPrices,
  memoryLedger,
  setCostOverride,
  type SpendEvent,
} from '../../src/index.ts';
import { verifyLog } from '../../src/receipts/index.ts';
import { fromBase64url } from '../../src/receipts/keys.ts';
import { writePriceFile } from '../../src/node/price-file.ts';
import { findPrice, hasHourCacheRate } from '../../src/pricing/find-price.ts';
import { clearCostOverrides } from '../../src/pricing/overrides.ts';
import { parsePriceList, priceListText, type PriceList } from '../../src/pricing/price-list.ts';
import { suggestModels } from '../../src/pricing/suggest.ts';
import { lookAgain } from '../../src/pricing/synced.ts';

let home = '';

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'agentguard-prices-'));
  vi.stubEnv('AGENTGUARD_HOME', home);
  clearCostOverrides();
  lookAgain();
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllEnvs();
  rmSync(home, { recursive: true, force: true });
  loadPrices(null);
  lookAgain();
});

const LIST: PriceList = {
  source: 'openrouter',
  url: 'https://openrouter.ai/api/v1/models',
  fetchedAt: '2026-11-24T10:00:00.000Z',
  rows: [
    {
      model: 'openai/gpt-5',
      input: '1.5',
      output: '12',
      contextLength: 400_000,
      maxOutputTokens: 5000,
      features: ['tools'],
      overrides: [{ above: 200_000, between: [60, 120], days: [0, 6], input: '3' }],
      aliases: ['openai/gpt-5-slug'],
    },
    { model: 'new/model', input: '0.1', output: '0.2', features: ['tools'] },
    { model: 'anthropic/claude-haiku-4.5', input: '1', output: '5', cacheRead: '0.1', cacheWrite: '1.25' },
    { model: 'google/gemini-3.1-pro-preview', input: '2', output: '12' },
    { model: 'openai/gpt-5-mini', input: '0.3', output: '2' },
  ],
  unknown: [['openai/gpt-5-nano', 'its price varies (prompt is -1)']],
};

function found(model: string, provider?: string): string {
  const answer = findPrice(model, provider);
  if ('unknown' in answer) return answer.unknown;
  const { row } = answer.price;
  return `${row.source} ${row.input}/${row.output}`;
}

const file = (): string => join(home, 'prices.json');

describe('a synced list', () => {
  it('comes after overrides and before the catalogue, for the ids of OpenRouter', () => {
    expect(found('openai/gpt-5')).toBe('catalogue 1.25/10');
    writePriceFile(LIST);
    lookAgain();
    expect(found('openai/gpt-5')).toBe('openrouter 1.5/12');
    expect(found('openai/gpt-5', 'openrouter.chat')).toBe('openrouter 1.5/12');
    expect(found('openai/gpt-5-slug')).toBe('openrouter 1.5/12');
    expect(found('openai/gpt-5-2025-08-07')).toBe('openrouter 1.5/12');
    expect(found('new/model')).toBe('openrouter 0.1/0.2');
    expect(found('anthropic/claude-haiku-4-5')).toBe('openrouter 1/5');
    expect(found('gpt-5', 'openai')).toBe('catalogue 1.25/10');
    expect(found('openai/gpt-5', 'gateway')).toBe('catalogue 1.25/10');
    expect(found('x-ai/grok-4')).toContain('catalogue');
    setCostOverride('openai/gpt-5', { inputCentsPerKtok: 1, outputCentsPerKtok: 1 });
    expect(found('openai/gpt-5')).toBe('override 10.00/10.00');
  });

  it('says where its rows come from, and of when', () => {
    writePriceFile(LIST);
    lookAgain();
    const answer = findPrice('new/model');
    expect('price' in answer && answer.price.row).toEqual({
      model: 'new/model',
      input: '0.1',
      output: '0.2',
      features: ['tools'],
      source: 'openrouter',
      version: 'OpenRouter list, 2026-11-24T10:00:00.000Z',
    });
  });

  it('that says that a price varies is believed: the catalogue is not asked', () => {
    writePriceFile(LIST);
    lookAgain();
    expect(found('openai/gpt-5-nano')).toContain(
      'its price varies (prompt is -1), says the list of 2026-11-24',
    );
    expect(found('openai/gpt-5:nitro')).toContain('suffix :nitro');
    expect(found('openai/gpt-5:floor')).toBe('openrouter 1.5/12');
    expect(found('openrouter/auto')).toContain('lets OpenRouter choose');
  });

  it("gets the vendor's terms that OpenRouter passes on and does not list, where the rates agree", () => {
    writePriceFile(LIST);
    lookAgain();
    const gemini = findPrice('google/gemini-3.1-pro-preview');
    expect('price' in gemini && gemini.price.row.tiers).toEqual([
      expect.objectContaining({ above: 200_000, input: '4', output: '18' }),
    ]);
    expect(hasHourCacheRate('anthropic/claude-haiku-4.5')).toBe(true);
    const mini = findPrice('openai/gpt-5-mini');
    expect('price' in mini && mini.price.row).not.toHaveProperty('tiers');
  });

  it('is picked up when it changes, and looked at only every few seconds', () => {
    vi.useFakeTimers({ now: Date.now(), toFake: ['Date'] });
    lookAgain();
    expect(found('new/model')).toContain('unknown');
    writePriceFile(LIST);
    expect(found('new/model')).toContain('unknown');
    vi.setSystemTime(Date.now() + 3001);
    expect(found('new/model')).toBe('openrouter 0.1/0.2');
    const rows = LIST.rows.map((row) => ({ ...row, input: '0.4' }));
    writePriceFile({ ...LIST, fetchedAt: '2026-11-24T11:00:00.000Z', rows });
    vi.setSystemTime(Date.now() + 3001);
    expect(found('new/model')).toBe('openrouter 0.4/0.2');
    rmSync(file());
    vi.setSystemTime(Date.now() + 3001);
    expect(found('new/model')).toContain('unknown');
  });

  it('is asked about in suggestions', () => {
    writePriceFile(LIST);
    lookAgain();
    expect(suggestModels('new/modell')).toEqual(['new/model']);
  });
});

describe('a call priced by a synced list', () => {
  it('is answered under the slug of its model without being taken for a fallback', async () => {
    writePriceFile(LIST);
    lookAgain();
    const ledger = memoryLedger();
    const events: SpendEvent[] = [];
    const caps = [{ amountCents: 100, window: 'per_day' as const, action: 'block' as const }];
    const guard = createSpendGuard({
      policy: { id: 'p', scope: {}, caps, version: 1, effectiveFrom: '2020-01-01', maxOutputTokens: 'model' },
      ledger,
      onEvent: (event) => events.push(event),
    });
    const call = await guard.begin({ model: 'openai/gpt-5', provider: 'openrouter', inputTokens: 10 });
    expect(call.maxOutputTokens).toBe(5000);
    const usage = { inputTokens: 10, outputTokens: 10 };
    const { amount } = await call.settle({ outcome: 'ok', usage, servedModel: 'openai/gpt-5-slug' });
    expect(amount).toBe(10n * 1500n + 10n * 12_000n);
    expect(events.some((event) => event.type === 'warning' && event.code === 'route_not_taken')).toBe(false);
    const other = await guard.begin({
      model: 'openai/gpt-5',
      provider: 'openrouter',
      inputTokens: 10,
      maxOutputTokens: 9,
    });
    await other.settle({ outcome: 'ok', usage, servedModel: 'new/model' });
    expect(events.some((event) => event.type === 'warning' && event.code === 'route_not_taken')).toBe(true);
    const lines: Uint8Array[] = [];
    let key = '';
    for await (const { line, payload } of ledger.read()) {
      lines.push(new TextEncoder().encode(`${line}\n`));
      if (payload.type === 'genesis') key = payload.public_key;
      if (payload.type === 'prices')
        expect(payload.rows[0]?.[1]).toMatchObject({ features: ['tools'], overrides: [{ days: [0, 6] }] });
    }
    expect(await verifyLog(lines, { keys: [fromBase64url(key, 32)] })).toMatchObject({ integrity: 'valid' });
  });
});

describe('a damaged list', () => {
  const whole = priceListText(LIST);

  it.each([
    ['', 'it is empty'],
    [whole.slice(0, 300), 'not JSON, or was cut off'],
    ['<html>', 'not JSON'],
    [whole.replace('"0.1"', '"0.01"'), 'digest does not fit'],
    [whole.replace('"0.1"', '"-1"'), 'expected a decimal'],
    [whole.replace('"v": 1', '"v": 2'), 'newer than this package'],
    [whole.replace('"rows"', '"lines"'), 'rows'],
    ['{}', 'Expected'],
    ['[]', 'Expected'],
    ['null', 'Expected'],
  ])('%# is not used, and said', async (text, reason) => {
    writeFileSync(file(), text);
    lookAgain();
    const events: SpendEvent[] = [];
    const guard = createSpendGuard({
      policy: { id: 'p', scope: {}, caps: [], version: 1, effectiveFrom: '2020-01-01' },
      ledger: memoryLedger(),
      onEvent: (event) => events.push(event),
    });
    expect(found('openai/gpt-5')).toBe('catalogue 1.25/10');
    for (let n = 0; n < 3; n += 1)
      await guard.begin({ model: 'openai/gpt-5', inputTokens: 1, maxOutputTokens: 1 });
    const warnings = events.filter((event) => event.type === 'warning');
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatchObject({
      code: 'prices_unusable',
      message: expect.stringContaining(reason) as string,
    });
    expect(warnings[0]).toMatchObject({ message: expect.stringContaining(file()) as string });
    writePriceFile(LIST);
    lookAgain();
    expect(found('openai/gpt-5')).toBe('openrouter 1.5/12');
  });

  it('that is a folder is not used either', () => {
    mkdirSync(file());
    lookAgain();
    expect(found('openai/gpt-5')).toBe('catalogue 1.25/10');
  });
});

describe('the document', () => {
  it('is read as it was written', () => {
    expect(parsePriceList(priceListText(LIST))).toEqual(LIST);
  });

  it('gives way to a list that was fetched later', () => {
    expect(writePriceFile(LIST)).toBe(true);
    expect(writePriceFile({ ...LIST, fetchedAt: '2026-11-24T09:59:59.999Z' })).toBe(false);
    lookAgain();
    const answer = findPrice('new/model');
    expect('price' in answer && answer.price.row.version).toContain('10:00:00');
  });
});

describe('loadPrices', () => {
  const row = { model: 'edge/model', source: 'mine', version: '7', input: '1', output: '2' };

  it('takes rows, or the content of a file, in front of the file', () => {
    writePriceFile(LIST);
    lookAgain();
    expect(loadPrices([row])).toEqual({ models: 1, version: '7' });
    expect(found('edge/model')).toBe('mine 1/2');
    expect(found('new/model')).toContain('unknown');
    expect(loadPrices(JSON.parse(priceListText(LIST)) as object)).toMatchObject({ models: 5 });
    expect(found('new/model')).toBe('openrouter 0.1/0.2');
    loadPrices(null);
    expect(found('edge/model')).toContain('unknown');
    expect(found('new/model')).toBe('openrouter 0.1/0.2');
  });

  it.each([
    [[{ ...row, input: -1 }], /row 0: input/],
    [[{ ...row, input: '-1' }], /row 0: input: expected a decimal/],
    [[{ ...row, colour: 'red' }], /row 0: colour/],
    [[row, { ...row, output: undefined }], /row 1: output/],
    [[null], /row 0/],
    [{ data: [] }, /expected the content of a prices.json, or price rows/],
  ])('refuses %j and changes nothing', (prices, message) => {
    loadPrices([row]);
    expect(() => loadPrices(prices as object)).toThrow(message);
    expect(found('edge/model')).toBe('mine 1/2');
  });
});
