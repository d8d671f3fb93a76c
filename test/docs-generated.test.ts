/** The generated parts of the pages are what their scripts make today: tools/write-docs.ts writes them anew. */
import { describe, expect, it } from 'vitest';
import { GENERATED, partOf } from '../tools/write-docs.ts';

describe('generated parts of the documentation', () => {
  it.each(GENERATED)('%s: %s', async (page, part, make) => {
    const made = await make();
    expect(made.length).toBeGreaterThan(500);
    expect(partOf(page, part)).toBe(made);
  });
});
