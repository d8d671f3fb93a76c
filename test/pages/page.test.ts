/** What the page does beside its verdicts: nothing that it shouldn't, and everything that it says. */
import { execFileSync } from 'node:child_process';
import { createServer as createHttpServer, request as httpRequest } from 'node:http';
import { readFileSync } from 'node:fs';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { deflateRawSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Page } from 'playwright-core';
import { servePages } from '../../src/node/page-server.ts';
import { makeShareLink } from '../../src/receipts/share-link.ts';
import type { Ledger } from '../../src/ledgers/ledger.ts';
import type { Draft, Payload } from '../../src/receipts/payloads.ts';
import { honestLog, INSTALLATION, policy, write } from '../receipts/corpus/logs.ts';
import { bytesOf } from '../receipts/log-kit.ts';
import { LogKit, signerOf } from '../receipts/made-log.ts';
import { canRun, give, pageKit, verdicts, verifyFiles, type OpenedPage, type PageKit } from './browser.ts';

const KEY = INSTALLATION.kid;
const MEGABYTE = 1_000_000;
/** The size of the long log. 200 takes minutes. */
const LONG_MB = Number(process.env['PAGE_LOG_MB'] ?? 4);
const MOST_MEMORY_MB = 300;

const own = signerOf(1);
const app = signerOf(2);
const made = new LogKit(own).note(own, 20).admit(app, own).note(app, 19);

const EVIL = {
  markup: '</script><script>hit=1</script><img src=x onerror="hit=2">',
  bidi: 'a\u202etxt.exe\u202c \u2066\u200b\u{e0041}',
  controls: '\u0000\u001b[31m',
  long: 'x'.repeat(500),
  zalgo: `a${'\u0301'.repeat(50)}`,
};

/** A log that says all of it, as far as a guard lets that through, and a receipt that no guard would write. */
async function evilLog(): Promise<Uint8Array> {
  const reason = `${EVIL.bidi}${EVIL.markup}`;
  const lines = await honestLog({
    log: 40,
    calls: 1,
    guard: {
      policy: policy({
        name: EVIL.markup,
        caps: [
          { amountCents: 1000, window: 'per_day', action: 'block', reason },
          { amountCents: 1, window: 'per_month', action: 'downgrade', downgradeTo: [EVIL.markup] },
        ],
      }),
      scope: { userId: EVIL.bidi, task: EVIL.markup, taskId: EVIL.zalgo },
    },
    more: async (_guard, ledger) => {
      const payload = await firstDecision(ledger);
      const scope = { userId: `${EVIL.controls}${reason}`, task: EVIL.long, taskId: EVIL.zalgo };
      const request = { ...payload.request, model: `${reason}${EVIL.controls}` };
      await write(ledger, [{ ...draftOf(payload), scope, request, reason: EVIL.markup }]);
    },
  });
  return bytesOf(lines);
}

type Decision = Extract<Payload, { type: 'decision' }>;

async function firstDecision(ledger: Ledger): Promise<Decision> {
  for await (const { payload } of ledger.read()) if (payload.type === 'decision') return payload;
  throw new Error('there is no decision');
}

/** A receipt's content, to be sealed once more. */
function draftOf(payload: Decision): Extract<Draft, { type: 'decision' }> {
  const { v: _v, log: _log, seq: _seq, previousReceiptHash: _hash, issued_at: _at, ...rest } = payload;
  const { issuer_id: _issuer, durable_seq: _durable, clock_back_ms: _back, ...draft } = rest;
  return draft;
}

describe.skipIf(!canRun)('the page', () => {
  let kit: PageKit;
  let log: Uint8Array;
  beforeAll(async () => {
    kit = await pageKit();
    log = bytesOf(await honestLog({ calls: 40 }));
  });
  afterAll(() => kit?.[Symbol.asyncDispose]());

  const openReceipt = async (page: Page, seq: number): Promise<string> => {
    await page.locator(`.slot:not([hidden]) [data-seq="${seq}"]`).click();
    await page.locator(`.slot:not([hidden]) .detail h3`, { hasText: `#${seq} ` }).waitFor();
    await page.locator('.slot:not([hidden]) .detail summary').first().click();
    return page.locator('.slot:not([hidden]) .detail').innerText();
  };

  describe('reaches nothing', () => {
    /**
     * A server that keeps what it is sent. Chromium connects ahead of a frame or a form that it then refuses, and sends
     * nothing on such a connection.
     */
    async function trap(): Promise<{ url: string; sent: () => string } & AsyncDisposable> {
      let sent = '';
      const sockets = new Set<Socket>();
      const server = createServer((socket) => {
        sockets.add(socket);
        socket.on('data', (bytes) => {
          sent += bytes.toString('latin1');
        });
        socket.on('error', () => undefined);
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      const { port } = server.address() as AddressInfo;
      return {
        url: `127.0.0.1:${port}`,
        sent: () => sent,
        [Symbol.asyncDispose]: () => {
          for (const socket of sockets) socket.destroy();
          return new Promise((resolve) => server.close(() => resolve()));
        },
      };
    }

    const ATTEMPTS = (url: string): Record<string, string> => ({
      fetch: `fetch('http://${url}/').catch(() => {})`,
      'fetch without cors': `fetch('http://${url}/', { mode: 'no-cors' }).catch(() => {})`,
      xhr: `{ const request = new XMLHttpRequest(); request.open('GET', 'http://${url}/'); request.send(); }`,
      beacon: `navigator.sendBeacon('http://${url}/', 'x')`,
      socket: `new WebSocket('ws://${url}/')`,
      events: `new EventSource('http://${url}/')`,
      image: `new Image().src = 'http://${url}/x.png'`,
      audio: `new Audio('http://${url}/x.mp3').play().catch(() => {})`,
      style: `document.head.append(Object.assign(document.createElement('link'), { rel: 'stylesheet', href: 'http://${url}/x.css' }))`,
      'style rule': `document.head.append(Object.assign(document.createElement('style'), { textContent: '@import url(http://${url}/y.css); body { background: url(http://${url}/z.png) }' }))`,
      font: `document.fonts.add(new FontFace('x', 'url(http://${url}/x.woff)')); document.fonts.load('1em x').catch(() => {})`,
      frame: `document.body.append(Object.assign(document.createElement('iframe'), { src: 'http://${url}/' }))`,
      object: `document.body.append(Object.assign(document.createElement('object'), { data: 'http://${url}/' }))`,
      worker: `try { new Worker('http://${url}/w.js') } catch {}`,
      'blob worker': `try { new Worker(URL.createObjectURL(new Blob(['fetch("http://${url}/")']))) } catch {}`,
      form: `{ const form = document.createElement('form'); form.action = 'http://${url}/'; document.body.append(form); form.submit(); }`,
      ping: `{ const a = document.createElement('a'); a.href = '#x'; a.ping = 'http://${url}/'; document.body.append(a); a.click(); }`,
      manifest: `document.head.append(Object.assign(document.createElement('link'), { rel: 'manifest', href: 'http://${url}/m' }))`,
      prefetch: `document.head.append(Object.assign(document.createElement('link'), { rel: 'prefetch', href: 'http://${url}/p' }))`,
      preload: `document.head.append(Object.assign(document.createElement('link'), { rel: 'modulepreload', href: 'http://${url}/q.js' }))`,
    });

    async function tryEverything({ page, console, requests }: OpenedPage, document: string): Promise<void> {
      await using server = await trap();
      await page.locator('#keys').fill(KEY);
      await verifyFiles(page, [{ name: 'decisions.ndjson', bytes: log }]);
      expect(requests, 'verifying').toEqual([document]);
      expect(console, 'verifying').toEqual([]);
      for (const [name, code] of Object.entries(ATTEMPTS(server.url))) {
        await page.evaluate(`(() => { try { ${code} } catch {} })()`).catch((error: Error) => {
          throw new Error(`${name}: ${error.message}`);
        });
      }
      // Each refusal is said in the browser's own log; what would get through would be there by now as well.
      const refused = (): number => console.filter((text) => /Content Security Policy/.test(text)).length;
      await expect.poll(refused, { timeout: 30_000 }).toBeGreaterThanOrEqual(15);
      expect(server.sent()).toBe('');
      expect(page.url()).toMatch(/verify(\.html)?(#x)?$/);
    }

    it('from a file', async () => {
      const opened = await kit.open();
      await tryEverything(opened, opened.page.url());
      await opened.page.context().close();
    });

    it('from the server on this machine', async () => {
      await using server = await servePages(new Map([['/verify', kit.html]]));
      const opened = await kit.open({ url: `${server.url}/verify` });
      await tryEverything(opened, `${server.url}/verify`);
      await opened.page.context().close();
    });

    it('runs no script but its own', async () => {
      const { page, console } = await kit.open();
      // In a turn of its own: what a debugger evaluates may evaluate more.
      const ran = await page.evaluate(`new Promise((resolve) => setTimeout(() => {
        globalThis.hit = 0;
        const tries = [
          () => document.body.insertAdjacentHTML('beforeend', '<img src=x onerror="hit = 1">'),
          () => { const s = document.createElement('script'); s.text = 'hit = 2'; document.body.append(s); },
          () => { document.body.setAttribute('onclick', 'hit = 3'); document.body.click(); },
          () => { new Function('hit = 4')(); },
          () => { document.body.innerHTML = '<b>x</b>'; hit = 5; },
        ];
        for (const each of tries) { try { each(); } catch {} }
        setTimeout(() => resolve(globalThis.hit), 200);
      }))`);
      expect(ran).toBe(0);
      expect(console.length).toBeGreaterThan(3);
      await page.context().close();
    });
  });

  it('shows hostile texts harmlessly, wherever they stand', async () => {
    const opened = await kit.open();
    const { page, console } = opened;
    let dialogs = 0;
    page.on('dialog', (dialog) => {
      dialogs += 1;
      void dialog.dismiss();
    });
    await page.locator('#keys').fill(KEY);
    const name = `${EVIL.markup.replaceAll('/', '')}${EVIL.bidi.replaceAll('\u0000', '')}.ndjson`;
    const bytes = await evilLog();
    // The second is refused, and shows its first bad line.
    const bad = Uint8Array.from(bytes);
    bad.set(new TextEncoder().encode('\u202e<img src=x onerror=hit=1>'), 40);
    const shown = await verifyFiles(page, [
      { name, bytes },
      { name: 'bad.ndjson', bytes: bad },
    ]);
    expect(shown.map(({ integrity }) => integrity)).toEqual(['valid', 'invalid']);
    let said = '';
    for (const seq of [0, 1, 2, 3, 4, 6]) said += await openReceipt(page, seq);
    // Every one of them was looked at: as text, by its number, or cut.
    expect(said).toContain('</script><script>');
    for (const code of ['U+202E', 'U+2066', 'U+200B', 'U+0000', 'U+001B', 'U+E0041'])
      expect(said).toContain(code);
    expect(said).toMatch(/x{300}… 505 characters in all/);
    await page.locator('.tab').nth(1).click();
    expect(await page.locator('.bad-line pre').innerText()).toContain('<img src=x onerror=hit=1>');
    const state: Record<string, unknown> = await page.evaluate(`({
      hit: globalThis.hit,
      scripts: document.scripts.length,
      images: document.images.length,
      handlers: Array.from(document.querySelectorAll('*')).filter((e) => e.getAttributeNames().some((n) => n.startsWith('on'))).length,
      odd: /[\\u202a-\\u202e\\u2066-\\u2069\\u200b\\u0000\\u001b]/.test(document.body.textContent),
      stacked: /\\u0301{6}/.test(document.body.textContent),
    })`);
    expect(state).toEqual({ scripts: 1, images: 0, handlers: 0, odd: false, stacked: false });
    expect({ dialogs, console, requests: opened.requests.length }).toEqual({
      dialogs: 0,
      console: [],
      requests: 1,
    });
    await page.context().close();
  });

  describe('share links', () => {
    const link = (indexes: readonly number[]): Promise<string> =>
      makeShareLink({
        lines: indexes.map((index) => made.proved(index)),
        checkpoint: made.checkpoint(own),
        publicKey: own.publicKey,
      });

    it('shows the receipt with its proof, under the key that was pinned', async () => {
      const { page, requests } = await kit.open({ fragment: new URL(await link([7])).hash });
      const [before] = await verdicts(page);
      expect(before).toMatchObject({
        kind: 'link',
        integrity: 'undecidable',
        title: 'Undecided: you have not pinned a key',
      });
      expect(page.url()).not.toContain('#');
      expect(await page.locator('.compare code').innerText()).toBe(own.kid);
      await page.locator('.compare button').click();
      await page.locator('.banner.good').waitFor();
      const text = await page.locator('.result').innerText();
      expect(text).toContain('Receipt #7 is among the first 41 lines');
      expect(text).toContain(
        'lead from it to the root of the checkpoint of 41 lines: it is line 8 of that log',
      );
      expect(text).toContain(own.kid);
      expect(requests).toHaveLength(1);
      await page.context().close();
    });

    it('takes one that is pasted, and says what is wrong with another', async () => {
      const { page } = await kit.open();
      await page.locator('#keys').fill(own.kid);
      const paste = async (text: string): Promise<string> => {
        await page.locator('#link').fill(text);
        await page.locator('#open-link').click();
        const [shown] = await verdicts(page);
        return `${shown?.integrity}: ${shown?.cause ?? ''}`;
      };
      expect(await paste(await link([7]))).toBe('valid: ');
      const bomb = deflateRawSync(Buffer.alloc(50 * MEGABYTE, '{'), { level: 9 }).toString('base64url');
      expect(await paste(`https://x.example/#r=${bomb.slice(0, 120_000)}`)).toBe(
        'invalid: the link unfolds to more than 65536 bytes',
      );
      expect(await paste(`https://x.example/#r=${'A'.repeat(200_000)}`)).toBe(
        'invalid: the link is too long',
      );
      expect(await paste('https://x.example/')).toMatch(/^invalid: the link holds no receipt/);
      await page.context().close();
    });

    it('finds a link against the checkpoint that was kept', async () => {
      const other = new LogKit(own)
        .note(own, 19)
        .with({ type: 'close', open_holds: 99 }, own)
        .admit(app, own)
        .note(app, 19);
      const { page } = await kit.open();
      await page.locator('#keys').fill(own.kid);
      await page.locator('#checkpoint').fill(other.checkpoint(own));
      await page.locator('#link').fill(await link([7]));
      await page.locator('#open-link').click();
      const [shown] = await verdicts(page);
      expect(shown).toMatchObject({
        integrity: 'invalid',
        cause: expect.stringMatching(/has another root: the log was rewritten/),
      });
      await page.context().close();
    });
  });

  describe('says what is proved and what is not', () => {
    it('under no key: undecided, with the key to compare, and pinned by hand', async () => {
      const { page } = await kit.open();
      const [before] = await verifyFiles(page, [{ name: 'decisions.ndjson', bytes: log }]);
      expect(before).toMatchObject({ integrity: 'undecidable', exit: 2, line: 1, receipts: 0 });
      expect(await page.locator('.result').innerText()).toMatch(
        /If that key is the right one, all 85 receipts fit together\. A forger’s log would say the same/,
      );
      expect(await page.locator('.banner.good, .fields .good').count()).toBe(0);
      await page.locator('.compare button').click();
      await page.locator('.banner.good').waitFor();
      const [after] = await verdicts(page);
      expect(after).toMatchObject({ integrity: 'valid', exit: 0, receipts: 85, replay: 'follows' });
      const text = await page.locator('.banner').innerText();
      expect(text).toContain(KEY);
      expect(text).toContain('Whether lines were cut from the end is not proved.');
      await page.context().close();
    });

    it('a checkpoint proves so far and no further; a key among the files is not trusted', async () => {
      const { page } = await kit.open();
      const files = [
        { name: 'acme.checkpoint', bytes: new TextEncoder().encode(made.checkpoint(own, 30)) },
        {
          name: 'key.json',
          bytes: new TextEncoder().encode(
            JSON.stringify({
              kty: 'OKP',
              crv: 'Ed25519',
              x: Buffer.from(own.publicKey).toString('base64url'),
            }),
          ),
        },
        { name: 'decisions.ndjson', bytes: made.bytes },
      ];
      const [before] = await verifyFiles(page, files);
      expect(before).toMatchObject({ integrity: 'undecidable' });
      await page.locator('#keys').fill(own.kid);
      await page.locator('#keys').blur();
      const [after] = await verdicts(page);
      expect(after).toMatchObject({ integrity: 'valid', complete: 29 });
      expect(await page.locator('.banner').innerText()).toContain(
        'Complete up to #29; completeness beyond that is not proved.',
      );
      await page.locator('#log').fill('not an id');
      await page.locator('#log').blur();
      await page.locator('#results [role=alert]').waitFor();
      expect(await page.locator('.banner').count()).toBe(0);
      await page.context().close();
    });

    it('names what does not follow, of a log whose signatures are right', async () => {
      const lines = await honestLog({
        log: 41,
        calls: 1,
        more: async (_guard, ledger) => {
          await write(ledger, [draftOf(await firstDecision(ledger))]);
        },
        close: false,
      });
      const { page } = await kit.open();
      await page.locator('#keys').fill(KEY);
      const [shown] = await verifyFiles(page, [{ name: 'decisions.ndjson', bytes: bytesOf(lines) }]);
      expect(shown).toMatchObject({
        integrity: 'valid',
        replay: 'wrong',
        exit: 1,
        title: expect.stringMatching(/but a decision does not follow$/),
      });
      await page.context().close();
    });

    it('takes files that are dropped anywhere on it, and says what changed with the pins', async () => {
      const { page } = await kit.open();
      await page.evaluate(`(() => {
        const data = new DataTransfer();
        data.items.add(new File([Uint8Array.from(${JSON.stringify([...log.subarray(0, 20_000)])})], 'cut.ndjson'));
        document.querySelector('footer').dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }));
      })()`);
      expect((await verdicts(page))[0]).toMatchObject({ file: 'cut.ndjson', integrity: 'undecidable' });
      await page.locator('#keys').fill(KEY);
      await page.locator('#keys').blur();
      const [shown] = await verdicts(page);
      expect(shown).toMatchObject({ integrity: 'undecidable', title: 'Undecided: the last line is cut off' });
      expect(shown?.receipts).toBeGreaterThan(15);
      await page.context().close();
    });

    it('knows what is no log', async () => {
      const { page } = await kit.open();
      const [shown] = await verifyFiles(page, [
        { name: 'notes.txt', bytes: new TextEncoder().encode('hello\n') },
      ]);
      expect(shown).toMatchObject({ kind: 'not-a-log', title: 'This is not an AgentGuard log' });
      expect(shown?.integrity).not.toBe('valid');
      await page.context().close();
    });

    it('shows each receipt: in words, as it stands, with its own checks', async () => {
      const { page } = await kit.open();
      await page.locator('#keys').fill(KEY);
      await verifyFiles(page, [{ name: 'decisions.ndjson', bytes: log }]);
      const decision = await openReceipt(page, 6);
      expect(decision).toMatch(/Signature valid under key \S+ – which #1 has admitted/);
      expect(decision).toContain('Names the hash of #5');
      expect(decision).toContain('tenant acme');
      expect(decision).toContain('"type": "decision"');
      await page.getByRole('button', { name: '#7 settlement', exact: true }).click();
      await page.locator('.detail h3', { hasText: '#7 settlement' }).waitFor();
      await page.getByRole('button', { name: 'Last' }).click();
      await page.locator('[data-seq="84"]').waitFor();
      await page.getByRole('button', { name: /^settled 40/ }).click();
      await page.locator('[data-seq="5"]').waitFor();
      expect(await page.locator('.row .type').allInnerTexts()).toEqual(
        Array.from({ length: 25 }, () => 'settlement'),
      );
      await page.context().close();
    });
  });

  it('can be cancelled at any time, and is not in the way meanwhile', async () => {
    const { page } = await kit.open();
    const cdp = await page.context().newCDPSession(page);
    await cdp.send('Emulation.setCPUThrottlingRate', { rate: 10 });
    await page.locator('#keys').fill(KEY);
    const long = bytesOf(await honestLog({ calls: 600 }));
    await give(page, [{ name: 'long.ndjson', bytes: long }]);
    await page.getByRole('button', { name: 'Cancel' }).click();
    const [shown] = await verdicts(page);
    expect(shown).toMatchObject({ kind: 'cancelled', title: 'Cancelled: no verdict' });
    await cdp.send('Emulation.setCPUThrottlingRate', { rate: 1 });
    await page.getByRole('button', { name: 'Verify again' }).click();
    await page.locator('.banner.good').waitFor();
    expect((await verdicts(page))[0]).toMatchObject({ integrity: 'valid', receipts: 1205 });
    await page.context().close();
  });

  it('streams a long log within 300 MB', { timeout: 900_000 }, async () => {
    // On disk: what is given as bytes goes through the browser's own memory.
    const file = `${kit.folder}/long.ndjson`;
    execFileSync(process.execPath, [
      '--conditions=agentguard-source',
      '--max-old-space-size=8000',
      fileURLToPath(new URL('write-log.ts', import.meta.url)),
      file,
      String(LONG_MB * MEGABYTE),
    ]);
    const { page } = await kit.open();
    const browser = await kit.browser.newBrowserCDPSession();
    await page.locator('#keys').fill(KEY);
    const processes = async (): Promise<number[]> =>
      (await browser.send('SystemInfo.getProcessInfo')).processInfo
        .filter(({ type }) => type === 'renderer')
        .map(({ id }) => id);
    /** What a renderer took at its peak, without the browser's own program, which all of them share. */
    const peakOf = (pid: number): number => {
      const status = readFileSync(`/proc/${pid}/status`, 'utf8');
      const megabytes = (name: string): number =>
        Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1]) / 1024;
      return megabytes('VmHWM') - megabytes('RssFile') - megabytes('RssShmem');
    };
    const peak = async (): Promise<number> => Math.max(...(await processes()).map(peakOf));
    const before = await peak();
    await page.locator('#files').setInputFiles(file);
    await page.locator('#results[data-done]').waitFor({ state: 'attached', timeout: 880_000 });
    const [shown] = await verdicts(page);
    expect(shown).toMatchObject({ integrity: 'valid', replay: 'follows' });
    const after = await peak();
    console.log(
      `the page: ${LONG_MB} MB, ${shown?.receipts} receipts; peak of the renderer ${Math.round(before)} → ${Math.round(after)} MB`,
    );
    expect(after).toBeLessThan(MOST_MEMORY_MB);
    await page.context().close();
  });

  it.each([
    ['light', 1200],
    ['dark', 360],
  ] as const)('can be read and reached by everybody: %s, %i wide', async (colorScheme, width) => {
    const { page } = await kit.open({ colorScheme, viewport: { width, height: 800 } });
    const checks = `(() => {
      const controls = Array.from(document.querySelectorAll('button, input, textarea, select')).filter((e) => e.checkVisibility());
      const lightness = (text) => {
        const [r, g, b] = text.match(/[\\d.]+/g).slice(0, 3).map((n) => { const c = n / 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const behind = (e) => { for (let at = e; at; at = at.parentElement) { const c = getComputedStyle(at).backgroundColor; if (!/, 0\\)$|transparent/.test(c)) return c; } return 'rgb(255,255,255)'; };
      const faint = [];
      const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
      for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const e = node.parentElement;
        if (!node.data.trim() || !e.checkVisibility() || e.closest('script, style, :disabled')) continue;
        const [a, b] = [lightness(getComputedStyle(e).color), lightness(behind(e))].sort((x, y) => y - x);
        if ((a + 0.05) / (b + 0.05) < 4.5) faint.push(node.data.trim().slice(0, 40) + ' ' + getComputedStyle(e).color + ' on ' + behind(e));
      }
      return {
        nameless: controls.filter((e) => !(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.length)).map((e) => e.outerHTML),
        faint: [...new Set(faint)],
        wide: document.documentElement.scrollWidth > innerWidth,
      };
    })()`;
    const fine = { nameless: [], faint: [], wide: false };
    expect(await page.evaluate(checks), 'empty').toEqual(fine);
    await page.locator('#keys').fill(KEY);
    const bad = Uint8Array.from(log);
    bad[bad.length - 200] = 0x7e;
    await verifyFiles(page, [
      { name: 'good.ndjson', bytes: log },
      { name: 'bad.ndjson', bytes: bad },
    ]);
    await openReceipt(page, 6);
    expect(await page.evaluate(checks), 'valid').toEqual(fine);
    await page.locator('.tab').nth(1).click();
    expect(await page.evaluate(checks), 'tampered').toEqual(fine);
    // By keys alone: a receipt is opened and its heading has the focus.
    await page.locator('.tab').nth(0).click();
    await page.locator('.slot:not([hidden]) [data-seq="4"]').focus();
    await page.keyboard.press('Enter');
    await page.locator('.slot:not([hidden]) .detail h3', { hasText: '#4 ' }).waitFor();
    await expect.poll(() => page.evaluate('document.activeElement.id')).toBe('receipt-title');
    await page.context().close();
  });
});

describe('the server', () => {
  async function get(
    url: string,
    options: { host?: string; method?: string } = {},
  ): Promise<{ status: number; headers: Record<string, unknown>; text: string }> {
    const { promise, resolve, reject } = Promise.withResolvers<{
      status: number;
      headers: Record<string, unknown>;
      text: string;
    }>();
    const { host, method = 'GET' } = options;
    const request = httpRequest(url, { method, headers: host === undefined ? {} : { host } }, (response) => {
      let text = '';
      response.on('data', (chunk) => (text += chunk));
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text }),
      );
    });
    request.on('error', reject);
    request.end();
    return promise;
  }

  it('is for this machine, for reading, and for nobody else’s page', async () => {
    const html = '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'">page';
    await using server = await servePages(new Map([['/verify', html]]));
    const { port } = new URL(server.url);
    expect(new URL(server.url).hostname).toBe('127.0.0.1');
    const page = await get(`${server.url}/verify?x=1`);
    expect(page).toMatchObject({ status: 200, text: html });
    expect(page.headers['content-security-policy']).toBe("default-src 'none'; frame-ancestors 'none'");
    expect(page.headers['access-control-allow-origin']).toBeUndefined();
    expect(page.headers['referrer-policy']).toBe('no-referrer');
    expect(page.headers['x-content-type-options']).toBe('nosniff');
    expect(await get(`${server.url}/verify`, { host: `localhost:${port}` })).toMatchObject({ status: 200 });
    expect(await get(`${server.url}/verify`, { method: 'HEAD' })).toMatchObject({ status: 200, text: '' });
    // A name that somebody made resolve to this machine, and other ports' pages.
    for (const host of [
      `evil.example:${port}`,
      'evil.example',
      '127.0.0.1',
      `127.0.0.1:${Number(port) + 1}`,
      `127.0.0.1.evil.example:${port}`,
    ])
      expect(await get(`${server.url}/verify`, { host }), host).toMatchObject({ status: 421 });
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS'])
      expect(await get(`${server.url}/verify`, { method }), method).toMatchObject({ status: 405 });
    for (const path of ['/', '/../package.json', '/verify/', '/favicon.ico', '/%2e%2e/'])
      expect(await get(`${server.url}${path}`), path).toMatchObject({ status: 404 });
  });

  it('says when its port is taken', async () => {
    const other = createHttpServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { port } = other.address() as AddressInfo;
    await expect(servePages(new Map(), port)).rejects.toThrow(/EADDRINUSE/);
    other.close();
  });
});
