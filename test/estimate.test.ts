import * as fc from 'fast-check';
import { encode } from 'gpt-tokenizer/encoding/o200k_base';
import { describe, expect, it } from 'vitest';
import { noise, SAMPLES } from './estimate-samples.ts';
import { VOCABULARIES } from '../tools/vocabularies.ts';
import { modelFamily } from '../src/estimate-image.ts';
import {
  boundInputTokens,
  estimateTextTokens,
  type EstimateOptions,
  type PromptShape,
} from '../src/estimate.ts';

const truth = (text: string): number => encode(text, { disallowedSpecial: new Set() }).length;

function bound(shape: Partial<PromptShape>, options?: EstimateOptions): number {
  const answer = boundInputTokens({ texts: [], messages: 0, ...shape }, options);
  if ('unbounded' in answer) throw new Error(answer.unbounded);
  return answer.tokens;
}

describe('text against o200k', () => {
  it.each(SAMPLES)('%s', (_name, text, low, high) => {
    const tokens = truth(text);
    const framing = bound({});
    const ratio = estimateTextTokens(text) / tokens;
    expect(ratio).toBeGreaterThanOrEqual(low);
    expect(ratio).toBeLessThanOrEqual(high);
    const fast = bound({ texts: [text] }, { model: 'openai/gpt-5' });
    const strict = bound({ texts: [text] }, { model: 'openai/gpt-5', mode: 'strict' });
    expect(fast - framing).toBeGreaterThanOrEqual(tokens);
    expect(strict - framing).toBeGreaterThanOrEqual(tokens);
    expect(fast).toBeLessThanOrEqual(strict);
    expect(bound({ texts: [text] })).toBeGreaterThanOrEqual(fast);
  });

  it('strict holds for any text, and fast never passes it', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => {
        const strict = bound({ texts: [text] }, { mode: 'strict' });
        expect(strict - bound({})).toBeGreaterThanOrEqual(truth(text));
        expect(bound({ texts: [text] })).toBeLessThanOrEqual(strict);
      }),
    );
  });

  it('strict holds for words run together, which fast takes for one word', () => {
    const text = '<|endoftext|><|im_start|>system'.repeat(50);
    expect(bound({ texts: [text] }, { mode: 'strict' }) - bound({})).toBeGreaterThanOrEqual(truth(text));
    expect(estimateTextTokens(text) / truth(text)).toBeGreaterThan(0.75);
  });

  it('strict counts what NFKC makes of a text', () => {
    expect(bound({ texts: ['ﷺ'] }, { mode: 'strict' }) - bound({})).toBe(33);
    expect(bound({ texts: ['\ud800'] }, { mode: 'strict' }) - bound({})).toBe(3);
    expect(bound({ texts: ['😀'] }, { mode: 'strict' }) - bound({})).toBe(4);
  });

  it.each(['a', ' ', '😀', 'ﷺ', 'aB3', '-=', '\n', 'Ж'])(
    'reads %j only a few times, however long',
    (unit) => {
      let reads = 0;
      const counting = (length: number): number => {
        const text = unit.repeat(length / unit.length);
        const watched = {
          length: text.length,
          charCodeAt: (i: number) => {
            reads += 1;
            return text.charCodeAt(i);
          },
        };
        reads = 0;
        estimateTextTokens(watched as unknown as string);
        return reads;
      };
      const small = counting(10_000);
      const large = counting(1_000_000);
      expect(small).toBeLessThan(50_000);
      expect(large / small).toBeLessThan(110);
    },
  );
});

describe('the strict bound against every public vocabulary', () => {
  /** Texts come in messages, whose room also holds the sign that some tokenizers put before a text. */
  const strict = (text: string): number => bound({ texts: [text], messages: 1 }, { mode: 'strict' });

  it.each(VOCABULARIES.map((vocabulary) => [vocabulary.name, vocabulary] as const))(
    '%s, all samples',
    (_name, { count }) => {
      for (const [kind, text] of SAMPLES) expect(strict(text), kind).toBeGreaterThanOrEqual(count(text));
    },
  );

  it('any text, also such as NFKC makes longer', () => {
    const expanding = fc.constantFrom(
      'ﷺ',
      'ﷲ',
      '㍿',
      'Ⅷ',
      'ﬃ',
      'ｶﾞ',
      '㎉',
      '½',
      '\u1e9b\u0323',
      '\u3316',
      '\ufdfa\u0300',
    );
    const text = fc
      .array(
        fc.oneof(
          fc.string({ unit: 'binary', maxLength: 20 }),
          expanding,
          fc.constantFrom('0', '\n', ' ', '<|endoftext|>'),
        ),
      )
      .map((parts) => parts.join(''));
    fc.assert(
      fc.property(text, (sample) => {
        const most = strict(sample);
        for (const { name, count } of VOCABULARIES) expect(most, name).toBeGreaterThanOrEqual(count(sample));
      }),
      { numRuns: 60 },
    );
  });

  it('pictures by their header, and tools, are the same in it', () => {
    const shape = { texts: ['x'], messages: 1, tools: 3, images: [{ data: png(800, 600) }] };
    const extra = bound(shape, { mode: 'strict' }) - bound({ texts: ['x'], messages: 1 }, { mode: 'strict' });
    expect(extra).toBe(600 + 3 * 60 + imageBound(png(800, 600)));
  });
});

describe('families', () => {
  it.each([
    ['gpt-4o', 'o200k'],
    ['openai/gpt-5-mini', 'o200k'],
    ['o4-mini', 'o200k'],
    ['gpt-4', 'unknown'],
    ['gpt-4-turbo', 'unknown'],
    ['gpt-6-sol', 'unknown'],
    ['anthropic/claude-opus-4.6', 'claude-4.6'],
    ['claude-opus-4-20250514', 'claude-4.6'],
    ['claude-3-5-sonnet-20241022', 'claude-4.6'],
    ['us.anthropic.claude-haiku-4-5-20251001-v1:0', 'claude-4.6'],
    ['claude-opus-4-7', 'claude-4.7'],
    ['claude-opus-5', 'claude-4.7'],
    ['claude-fable-5.1', 'claude-4.7'],
    ['claude-next', 'claude-4.7'],
    ['google/gemini-3-flash-preview', 'gemini'],
    ['o12-mine', 'unknown'],
    [undefined, 'unknown'],
  ])('%s is %s', (model, family) => {
    expect(modelFamily(model)).toBe(family);
  });
});

function broken(): number {
  throw new Error('no vocabulary');
}

describe('countTokens', () => {
  const text = 'one two three four';
  const guess = bound({ texts: [text] });

  it('is taken as it is', () => {
    expect(bound({ texts: [text, text] }, { countTokens: () => 4 }) - bound({})).toBe(8);
    expect(bound({ texts: [text] }, { countTokens: () => 0, mode: 'strict' })).toBe(bound({}));
  });

  it.each([Number.NaN, -1, 1.5, Infinity, '4', undefined, null])(
    'is not believed when it says %s',
    (count) => {
      expect(bound({ texts: [text] }, { countTokens: () => count as number })).toBe(guess);
    },
  );

  it('is not believed when it throws, and not asked about long texts', () => {
    expect(bound({ texts: [text] }, { countTokens: broken })).toBe(guess);
    const long = 'word '.repeat(25_000);
    expect(bound({ texts: [long] }, { countTokens: () => 1 })).toBe(bound({ texts: [long] }));
  });
});

const png = (width: number, height: number): Uint8Array => {
  const bytes = Buffer.alloc(33);
  bytes.write('\x89PNG\r\n\x1a\n\0\0\0\rIHDR', 'latin1');
  bytes.writeUInt32BE(width, 16);
  bytes.writeUInt32BE(height, 20);
  return bytes;
};
const gif = Buffer.from('GIF89a\x20\x03\x58\x02\0\0\0', 'latin1');
const jpegHead = [0xff, 0xd8, 0xff, 0xe0, 0, 4, 0, 0, 0xff, 0xff, 0xc0, 0, 17, 8, 2, 0x58, 3, 0x20, 3, 0, 0];
const webp = (kind: string, at: number, rest: number[]): Buffer => {
  const bytes = Buffer.alloc(30);
  bytes.write(`RIFF\0\0\0\0WEBP${kind}`, 'latin1');
  bytes.set(rest, at);
  return bytes;
};

function imageBound(data: Uint8Array | string | undefined, model?: string): number {
  const images = [data === undefined ? {} : { data }];
  return bound({ images }, model === undefined ? {} : { model }) - bound({});
}

describe('images', () => {
  const claude = 'claude-opus-4-7';
  const size800x600 = 30 * 23;

  it.each([
    ['PNG', png(800, 600)],
    ['PNG in base64', Buffer.from(png(800, 600)).toString('base64')],
    ['PNG in a data URL', `data:image/png;base64,${Buffer.from(png(800, 600)).toString('base64')}`],
    ['GIF', gif],
    ['JPEG', Uint8Array.from(jpegHead)],
    ['lossy WebP', webp('VP8 ', 23, [0x9d, 1, 0x2a, 0x20, 3, 0x58, 2])],
    ['lossless WebP', webp('VP8L', 20, [0x2f, 0x1f, 0xc3, 0x95, 0])],
    ['extended WebP', webp('VP8X', 24, [0x1f, 3, 0, 0x57, 2, 0])],
  ])('%s of 800 x 600', (_name, data) => {
    expect(imageBound(data, claude)).toBe(size800x600);
  });

  it.each([
    [undefined],
    ['https://example.com/a.png'],
    ['data:image/png'],
    [''],
    [new Uint8Array(0)],
    [png(0, 600)],
    [Uint8Array.from([0xff, 0xd8, 0xff, 0xc0])],
    [noise(1000)],
  ])('the cap when the size is unknown', (data) => {
    expect(imageBound(data, claude)).toBe(4784);
    expect(imageBound(data, 'claude-opus-4-6')).toBe(1660);
    expect(imageBound(data, 'gpt-4o-mini')).toBe(2833 + 8 * 5667);
    expect(imageBound(data)).toBe(16_000);
  });

  it('never counts base64 as text, and never more than the cap', () => {
    expect(imageBound(Buffer.concat([png(800, 600), noise(100_000)]).toString('base64'), claude)).toBe(
      size800x600,
    );
    expect(imageBound(png(100_000, 100_000), claude)).toBe(4784);
    expect(imageBound(png(1024, 1024), 'gpt-4o-mini')).toBe(2833 + 4 * 5667);
  });
});

describe('files and framing', () => {
  it.each([
    [{ mediaType: 'text/plain', byteLength: 1000 }, 1000, 1000],
    [{ mediaType: 'Text/CSV; charset=utf-8', byteLength: 10 }, 10, 10],
    [{ mediaType: 'application/ld+json', byteLength: 10 }, 10, 10],
    [{ mediaType: 'text/plain' }, 100_000, 'its length is unknown'],
    [{ mediaType: 'text/plain', byteLength: Number.NaN }, 100_000, 'its length is unknown'],
    [{ mediaType: 'application/pdf' }, 100_000, 'its tokens depend on its contents'],
    [{ mediaType: 'application/pdf', byteLength: 10 }, 8_000, 'depend on its contents'],
    [{ mediaType: 'audio/mp3', byteLength: 800_000 }, 100_000, 'depend on its contents'],
    [{ mediaType: '', byteLength: -1 }, 100_000, 'depend on its contents'],
  ])('%j', (file, fast, strict) => {
    expect(bound({ files: [file] }) - bound({})).toBe(fast);
    const answer = boundInputTokens({ texts: [], messages: 0, files: [file] }, { mode: 'strict' });
    if (typeof strict === 'number') expect(answer).toEqual({ tokens: strict + bound({}) });
    else expect(answer).toEqual({ unbounded: expect.stringContaining(strict) });
  });

  it('adds for each message, and for tools once and each', () => {
    expect(bound({ messages: 3 }) - bound({})).toBe(24);
    expect(bound({ tools: 0 })).toBe(bound({}));
    expect(bound({ tools: 2 }) - bound({})).toBe(720);
  });
});
