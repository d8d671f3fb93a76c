/** The page in a real Chromium. */
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core';
import { pageHtml } from '../../tools/build-pages.ts';

/** Debian's package; another place by CHROMIUM_PATH. */
const CHROMIUM = process.env['CHROMIUM_PATH'] ?? '/usr/bin/chromium';
/** In CI a browser that is missing is a failure. */
export const canRun: boolean = existsSync(CHROMIUM) || process.env['CI'] !== undefined;
if (!existsSync(CHROMIUM))
  console.warn(`SKIPPED: the page in a browser: no Chromium at ${CHROMIUM} (apt-get install chromium)`);

export interface PageKit extends AsyncDisposable {
  browser: Browser;
  html: string;
  folder: string;
  /** The page from `file://`, or from `url`. What its console said, and what it asked the network for, is kept. */
  open(options?: OpenOptions): Promise<OpenedPage>;
}

export interface OpenOptions extends BrowserContextOptions {
  url?: string;
  fragment?: string;
  /** Runs before the page's own script. */
  before?: string;
}

export interface OpenedPage {
  page: Page;
  console: string[];
  requests: string[];
}

export async function pageKit(): Promise<PageKit> {
  const folder = await mkdtemp(join(tmpdir(), 'agentguard-page-'));
  const html = await pageHtml('verify');
  const file = join(folder, 'verify.html');
  await writeFile(file, html);
  const browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--no-first-run'],
  });
  return {
    browser,
    html,
    folder,
    async open({ url = pathToFileURL(file).href, fragment = '', before, ...options } = {}) {
      const context = await browser.newContext(options);
      const page = await context.newPage();
      page.setDefaultTimeout(50_000);
      const console: string[] = [];
      const requests: string[] = [];
      page.on('console', (message) => console.push(message.text()));
      page.on('pageerror', (error) => console.push(`error: ${error.message}`));
      page.on('request', (request) => requests.push(request.url()));
      if (before !== undefined) await page.addInitScript(before);
      await page.goto(url + fragment);
      return { page, console, requests };
    },
    async [Symbol.asyncDispose]() {
      await browser.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export interface GivenFile {
  name: string;
  bytes: Uint8Array;
}

export interface Shown {
  file: string;
  kind: string;
  integrity?: string;
  exit?: number;
  line?: number;
  cause?: string;
  receipts?: number;
  complete?: number;
  replay?: string;
  title: string;
}

/** Gives the page files as a person would, and waits until it has a verdict on each. */
export async function verifyFiles(page: Page, files: readonly GivenFile[]): Promise<Shown[]> {
  await give(page, files);
  return verdicts(page);
}

export function give(page: Page, files: readonly GivenFile[]): Promise<void> {
  return page.locator('#files').setInputFiles(
    files.map(({ name, bytes }) => ({
      name,
      mimeType: 'application/octet-stream',
      buffer: Buffer.from(bytes),
    })),
  );
}

/** What the page shows, once it has come to an end. */
export async function verdicts(page: Page): Promise<Shown[]> {
  await page.locator('#results[data-done]').waitFor({ state: 'attached' });
  return page.evaluate(`Array.from(document.querySelectorAll('.result'), (result) => {
    const { line, receipts, complete, exit, ...rest } = result.dataset;
    const number = (name, text) => text === undefined ? {} : { [name]: Number(text) };
    return {
      ...rest, ...number('line', line), ...number('receipts', receipts), ...number('complete', complete),
      ...number('exit', exit), title: result.querySelector('h2').textContent,
    };
  })`);
}
