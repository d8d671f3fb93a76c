/** The page as the command gives it out. */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, expect, it } from 'vitest';
import { pageHtml } from '../../tools/build-pages.ts';
import { agentguard, cliArguments, cliEnvironment, newHome } from '../node/cli/run-cli.ts';

const html = await pageHtml('verify');
const digest = createHash('sha256').update(html).digest('hex');

describe('agentguard verify --page', () => {
  it('prints the page that the sources make, byte for byte', async () => {
    const { code, stdout } = await agentguard(['verify', '--page']);
    expect(code).toBe(0);
    // Another page than this is an old build: npm run build.
    expect(createHash('sha256').update(stdout).digest('hex')).toBe(digest);
  });

  it('writes it to a file, and says its digest', async () => {
    const file = join(await newHome(), 'verify.html');
    const { code, stdout, stderr } = await agentguard(['verify', '--page', file]);
    expect({ code, stdout }).toEqual({ code: 0, stdout: '' });
    expect(stderr).toContain(digest);
    expect(readFileSync(file, 'utf8')).toBe(html);
    expect((await agentguard(['verify', '--page', '--sha256'])).stdout).toBe(`${digest}  verify.html\n`);
    const refused = await agentguard(['verify', '--page', '/no/such/folder/verify.html']);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toMatch(/it can't be written/);
  });
});

describe('the page’s file', () => {
  it('is one file without a reference to another', () => {
    expect(html.match(/<(?:link|img|iframe|script)\b[^>]*\b(?:src|href)=/g)).toBeNull();
    expect(html.match(/<script/g)).toHaveLength(1);
    expect(html).not.toMatch(/<!--|\son\w+=|style="/);
    expect(Buffer.byteLength(html)).toBeLessThan(200 * 1024);
  });

  it('has a policy under which nothing but its own script and style counts', () => {
    const [, policy = ''] = /http-equiv="Content-Security-Policy" content="([^"]*)"/.exec(html) ?? [];
    const rules = new Map(policy.split('; ').map((rule) => [rule.split(' ')[0], rule.split(' ').slice(1)]));
    for (const name of [
      'default-src',
      'connect-src',
      'img-src',
      'frame-src',
      'worker-src',
      'base-uri',
      'form-action',
    ])
      expect(rules.get(name), name).toEqual(["'none'"]);
    const own = (tag: string): string => {
      const [, text = ''] = new RegExp(`<${tag}>([^]*)</${tag}>`).exec(html) ?? [];
      return `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
    };
    expect(rules.get('script-src')).toEqual([own('script')]);
    expect(rules.get('style-src')).toEqual([own('style')]);
    // Only what stands behind it is under it.
    expect(html.indexOf('<script')).toBeGreaterThan(html.indexOf('Content-Security-Policy'));
  });
});

describe('agentguard serve', () => {
  it('serves the page until it is told to stop', async () => {
    const child = spawn(process.execPath, cliArguments(['serve']), { env: cliEnvironment() });
    const [url] = (await once(createInterface(child.stdout), 'line')) as [string];
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/verify$/);
    const response = await fetch(url);
    expect(await response.text()).toBe(html);
    expect(response.headers.get('content-security-policy')).toContain("frame-ancestors 'none'");
    const taken = await agentguard(['serve', '--port', new URL(url).port]);
    expect({ code: taken.code, said: taken.stderr }).toEqual({
      code: 2,
      said: expect.stringMatching(/is taken/),
    });
    child.kill('SIGTERM');
    const [code] = (await once(child, 'exit')) as [number];
    expect(code).toBe(0);
  });

  it('refuses what is no port', async () => {
    for (const port of ['x', '70000', '-1', ''])
      expect((await agentguard(['serve', `--port=${port}`])).code).toBe(2);
  });
});
