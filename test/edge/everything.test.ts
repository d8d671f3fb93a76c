/** Everything outside src/node loads in the edge runtime. */
import { expect, it } from 'vitest';

declare global {
  interface ImportMeta {
    /** Vite's: a loader for each file that the patterns find. */
    glob<M>(patterns: readonly string[]): Record<string, () => Promise<M>>;
  }
}

const modules = import.meta.glob<Record<string, unknown>>([
  '../../src/**/*.ts',
  '../../middleware/**/*.ts',
  '../../callbacks/**/*.ts',
  '!../../src/node/**',
  '!../../src/testing/**',
  // the browser's own, checked in a browser
  '!../../src/pages/**',
]);

it('has modules to look at', () => expect(Object.keys(modules).length).toBeGreaterThan(50));

it.each(Object.entries(modules))('%s', async (_path, load) => {
  expect(typeof (globalThis as { EdgeRuntime?: unknown }).EdgeRuntime).toBe('string');
  expect(typeof (await load())).toBe('object');
});
