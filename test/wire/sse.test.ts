import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SseEvents } from '../../src/wire/sse.ts';

const encoder = new TextEncoder();
const decoder = new TextDecoder();

function cut(bytes: Uint8Array, at: readonly number[]): Uint8Array[] {
  const places = [0, ...at.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return places.slice(1).map((end, index) => bytes.subarray(places[index], end));
}

function read(chunks: readonly Uint8Array[]): { data: (string | undefined)[]; text: string } {
  const events = new SseEvents();
  const found = [...chunks.flatMap((chunk) => events.push(chunk)), ...events.flush()];
  return {
    data: found.map(({ data }) => data).filter((data) => data !== undefined),
    text: decoder.decode(Buffer.concat(found.map(({ bytes }) => bytes))),
  };
}

const whole = (text: string): ReturnType<typeof read> => read([encoder.encode(text)]);

describe('SseEvents', () => {
  it.each<[string, string, string[]]>([
    ['one event', 'data: {"a":1}\n\n', ['{"a":1}']],
    ['no space after the colon', 'data:x\n\n', ['x']],
    ['two spaces: one is content', 'data:  x\n\n', [' x']],
    ['several lines of data', 'data: a\ndata: b\n\n', ['a\nb']],
    ['a comment', ': OPENROUTER PROCESSING\n\ndata: x\n\n', ['x']],
    ['names and ids', 'event: response.completed\nid: 7\ndata: x\n\n', ['x']],
    ['CRLF', 'data: a\r\n\r\ndata: b\r\n\r\n', ['a', 'b']],
    ['several lines with CRLF', 'data: a\r\ndata: b\r\n\r\n', ['a\nb']],
    ['every line end in turn', 'data: a\r\ndata: b\rdata: c\n\r\n', ['a\nb\nc']],
    ['CR', 'data: a\r\rdata: b\r\r', ['a', 'b']],
    ['blank lines before', '\n\n\ndata: a\n\n', ['a']],
    ['an end without a blank line', 'data: a\n\ndata: [DONE]', ['a', '[DONE]']],
    ['data without a value', 'data\n\n', ['']],
    ['a field that only begins like data', 'database: x\n\n', []],
    ['nothing', '', []],
  ])('%s', (_name, text, data) => {
    expect(whole(text)).toEqual({ data, text });
  });

  it('finds the same events however the bytes are cut, and loses none of them', () => {
    const line = fc.constantFrom(
      'data: x',
      'data: {"é":"空🌧"}',
      ': comment',
      'event: y',
      'data:',
      'id: 1',
      '',
    );
    const text = fc
      .array(fc.tuple(line, fc.constantFrom('\n', '\r\n', '\r')), { maxLength: 30 })
      .map((lines) => lines.map((parts) => parts.join('')).join(''));
    fc.assert(
      fc.property(text, fc.array(fc.nat({ max: 500 }), { maxLength: 40 }), (given, places) => {
        const bytes = encoder.encode(given);
        const pieces = read(cut(bytes, places));
        expect(pieces).toEqual(whole(given));
        expect(pieces.text).toBe(given);
      }),
      { numRuns: 300 },
    );
  });
});
