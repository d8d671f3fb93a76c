/** The page's verdicts, in a real Chromium: those of the library and the command line, on everything there is. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildCorpus, type CorpusCase } from '../receipts/corpus/index.ts';
import type { Ed25519Vector } from '../receipts/ed25519-vectors.ts';
import { canRun, pageKit, verdicts, verifyFiles, type PageKit, type Shown } from './browser.ts';

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const vector = (name: string): string => at(`../vectors/${name}`);

describe.skipIf(!canRun)('the page', () => {
  let kit: PageKit;
  beforeAll(async () => {
    kit = await pageKit();
  });
  afterAll(() => kit?.[Symbol.asyncDispose]());

  /** Cases that are verified under the same pins, in one go. */
  function byPins(cases: readonly CorpusCase[]): CorpusCase[][] {
    const groups = Map.groupBy(cases, ({ keys, log, head }) => JSON.stringify([keys, log, head]));
    return [...groups.values()];
  }

  async function corpusVerdicts(cases: readonly CorpusCase[], before?: string): Promise<Map<string, Shown>> {
    const found = new Map<string, Shown>();
    for (const group of byPins(cases)) {
      const { page } = await kit.open(before === undefined ? {} : { before });
      const [{ keys, log, head }] = group as [CorpusCase];
      await page.locator('#keys').fill(keys.join('\n'));
      if (log !== undefined) await page.locator('#log').fill(log);
      if (head !== undefined) {
        await page.locator('#more summary').click();
        await page.locator('#head').fill(`${head.seq}:${head.hash}`);
      }
      const shown = await verifyFiles(
        page,
        group.map(({ bytes }, index) => ({ name: `${index}.ndjson`, bytes })),
      );
      expect(shown.map(({ file }) => file)).toEqual(group.map((_each, index) => `${index}.ndjson`));
      for (const [index, { name }] of group.entries()) found.set(name, shown[index] as Shown);
      await page.context().close();
    }
    return found;
  }

  function expectVerdicts(cases: readonly CorpusCase[], found: ReadonlyMap<string, Shown>): void {
    for (const { name, bytes, expected } of cases) {
      const shown = found.get(name) as Shown;
      expect({ name, integrity: shown.integrity, line: shown.line, complete: shown.complete }).toEqual({
        name,
        integrity: expected.integrity,
        line: bytes.length === 0 ? undefined : expected.line,
        complete: expected.provedUpTo,
      });
      if (expected.cause !== undefined) expect(shown.cause, name).toMatch(new RegExp(expected.cause));
      else expect(shown.title, name).toMatch(/^Signatures valid under/);
    }
  }

  it('comes to the one verdict on every log of the corpus', { timeout: 180_000 }, async () => {
    const corpus = await buildCorpus();
    const found = await corpusVerdicts(corpus);
    expectVerdicts(corpus, found);
    console.log(`the page: ${found.size} logs of the corpus, the one verdict on each`);
  });

  it('comes to it without WebCrypto’s Ed25519 as well', { timeout: 180_000 }, async () => {
    const corpus = await buildCorpus();
    const short = corpus.filter(
      ({ bytes, group }) => bytes.length < 40_000 && (group === 'signature' || group === 'keys'),
    );
    expect(short.length).toBeGreaterThan(30);
    const before = `crypto.subtle.importKey = () => Promise.reject(new DOMException('', 'NotSupportedError'));
      crypto.subtle.verify = () => { throw new Error('not to be called'); };`;
    expectVerdicts(short, await corpusVerdicts(short, before));
  });

  interface Manifest {
    keys: Record<'own', { thumbprint: string; publicKey: string }>;
    logs: {
      name: string;
      log: string;
      checkpoint?: string;
      certificate?: string;
      root?: string;
      key?: string;
      exit: number;
      line?: number;
    }[];
    links: { name: string; link: string; key?: string; exit: number }[];
  }
  const manifest = JSON.parse(readFileSync(vector('manifest.json'), 'utf8')) as Manifest;

  it(
    'comes to the exit code of every frozen log, checkpoints and roots included',
    { timeout: 180_000 },
    async () => {
      const groups = Map.groupBy(manifest.logs, ({ checkpoint, certificate, root, key }) =>
        JSON.stringify([checkpoint, certificate, root, key]),
      );
      for (const group of groups.values()) {
        const { page } = await kit.open();
        // Frozen logs have made-up decisions, which no policy leads to.
        await page.locator('#replay').uncheck();
        const [{ checkpoint, certificate, root, key }] = group as [Manifest['logs'][number]];
        await page.locator('#keys').fill(key ?? manifest.keys.own.thumbprint);
        if (root !== undefined) {
          await page.locator('#more summary').click();
          await page.locator('#roots').fill(root);
        }
        const besides = [checkpoint, certificate].flatMap((name) => (name === undefined ? [] : [name]));
        const shown = await verifyFiles(page, [
          ...besides.map((name) => ({ name, bytes: readFileSync(vector(name)) })),
          ...group.map(({ log }) => ({ name: log, bytes: readFileSync(vector(log)) })),
        ]);
        for (const [index, { name, exit, line }] of group.entries()) {
          const { exit: code, line: at } = shown[index] as Shown;
          // An empty log has no line that could be named.
          const expected = name === 'empty' ? undefined : line;
          expect({ name, code, line: at }).toEqual({ name, code: exit, line: expected });
        }
        await page.context().close();
      }
    },
  );

  it('comes to the verdict on every frozen link', async () => {
    for (const { name, link, key, exit } of manifest.links) {
      const fragment = new URL(link).hash;
      const { page } = await kit.open({ fragment });
      // Not every link shows the key that its log began with, so a thumbprint would not be enough.
      await page.locator('#keys').fill(key ?? manifest.keys.own.publicKey);
      await page.locator('#keys').blur();
      const [shown] = await verdicts(page);
      expect({ name, code: shown?.exit }).toEqual({ name, code: exit });
      // What is in the address gets into histories and screenshots.
      expect(page.url()).not.toContain('#');
      await page.context().close();
    }
  });

  it('agrees on every signature, by Chromium’s own WebCrypto and by noble', async () => {
    const vectors = JSON.parse(readFileSync(vector('ed25519.json'), 'utf8')) as Ed25519Vector[];
    const { outputFiles } = await build({
      stdin: {
        contents: `
          export { disagreements } from './ed25519-vectors.ts';
          export { verify, verifyLater, verifyingKey } from '../../src/platform-web.ts';`,
        resolveDir: at('../receipts'),
        loader: 'ts',
      },
      bundle: true,
      write: false,
      format: 'iife',
      globalName: 'kit',
      conditions: ['agentguard-source'],
    });
    const { page } = await kit.open();
    const report: Record<string, string[]> = await page.evaluate(`(async () => {
      ${outputFiles[0]?.text}
      const vectors = ${JSON.stringify(vectors)};
      const webcrypto = async (key, message, signature) => {
        const imported = await crypto.subtle.importKey('raw', key, 'Ed25519', false, ['verify']);
        return crypto.subtle.verify('Ed25519', imported, signature, message);
      };
      return {
        webcrypto: await kit.disagreements(vectors, webcrypto),
        'as the page does': await kit.disagreements(vectors, kit.verifyLater),
        noble: await kit.disagreements(vectors, kit.verify),
        // Without the rule Chromium's own verdicts are others, or the vectors would test nothing.
        unruled: (await Promise.all(vectors.map(async ({ publicKey, message, signature, verdict, name }) => {
          const bytes = (hex) => Uint8Array.from(hex.match(/../g) ?? [], (byte) => parseInt(byte, 16));
          const isValid = await webcrypto(bytes(publicKey), bytes(message), bytes(signature)).catch(() => false);
          return isValid === (verdict === 'valid') ? [] : [name];
        }))).flat(),
      };
    })()`);
    const { unruled, ...ruled } = report;
    expect(ruled).toEqual({ webcrypto: [], 'as the page does': [], noble: [] });
    expect(unruled?.length).toBeGreaterThan(0);
    console.log(
      `Chromium ${kit.browser.version()}: ${vectors.length} vectors, one verdict; without the rule ${unruled?.length} others`,
    );
  });
});
